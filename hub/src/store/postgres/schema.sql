-- Version 1. It stands in a schema of its own, which is first in the search path.

-- The number of the feed's last entry, under an era: a new one makes all positions void. Whoever numbers has its lock.
-- What is oldest is known here and below, since looking for it would go over all that was deleted before.
CREATE TABLE head (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    number bigint NOT NULL DEFAULT 0,
    oldest bigint NOT NULL DEFAULT 1,
    era uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO head DEFAULT VALUES;

-- What each node reads: messages, and news, which have no stream. Its numbers have no gaps.
CREATE TABLE feed (number bigint PRIMARY KEY, stream text, seq bigint, body text NOT NULL);

CREATE TABLE stream (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    seq bigint NOT NULL DEFAULT 0,
    oldest bigint NOT NULL DEFAULT 1,
    used timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE TABLE message (
    stream bigint NOT NULL,
    seq bigint NOT NULL,
    sender text NOT NULL,
    id text,
    body text NOT NULL,
    PRIMARY KEY (stream, seq)
);
CREATE UNIQUE INDEX message_id ON message (stream, sender, id);

CREATE TABLE disabled (name text PRIMARY KEY);
CREATE TABLE revoked (token text PRIMARY KEY, until bigint NOT NULL);

-- Locks the head. If the database knows less than the node, it lost what was acknowledged: then a new era begins, behind
-- what was known.
CREATE FUNCTION guard(known bigint, OUT front bigint, OUT this_era uuid) LANGUAGE plpgsql AS $$
BEGIN
    SELECT number, era INTO STRICT front, this_era FROM head FOR UPDATE;
    IF front < known THEN
        UPDATE head SET number = known + 1, era = gen_random_uuid() RETURNING number, era INTO front, this_era;
    END IF;
END $$;

-- Numbers, keeps and passes on, in this order. `most`: how many of a stream are kept; `entries`: of the feed.
CREATE FUNCTION take(
    known bigint, streams text[], senders text[], ids text[], bodies text[], most bigint, entries bigint
) RETURNS TABLE (place integer, given bigint, epoch text, duplicate boolean) LANGUAGE plpgsql AS $$
DECLARE
    front bigint;
    this_era uuid;
    which bigint;
    last bigint;
    first bigint;
BEGIN
    SELECT * INTO front, this_era FROM guard(known);
    FOR place IN 1 .. cardinality(bodies) LOOP
        IF streams[place] IS NULL THEN
            front := front + 1;
            INSERT INTO feed (number, body) VALUES (front, bodies[place]);
            RETURN QUERY SELECT place, 0::bigint, '', false;
            CONTINUE;
        END IF;
        LOOP
            SELECT s.number, s.seq, s.oldest INTO which, last, first FROM stream s WHERE s.name = streams[place];
            EXIT WHEN FOUND;
            -- Who opens a stream may make it at the same time.
            INSERT INTO stream (name) VALUES (streams[place]) ON CONFLICT DO NOTHING;
        END LOOP;
        SELECT m.seq INTO given FROM message m
            WHERE m.stream = which AND m.sender = senders[place] AND m.id = ids[place];
        duplicate := FOUND;
        IF NOT duplicate THEN
            given := last + 1;
            front := front + 1;
            UPDATE stream s SET seq = given, oldest = greatest(first, given - most + 1), used = now()
                WHERE s.number = which;
            INSERT INTO message (stream, seq, sender, id, body)
                VALUES (which, given, senders[place], ids[place], bodies[place]);
            DELETE FROM message m WHERE m.stream = which AND m.seq BETWEEN first AND given - most;
            INSERT INTO feed (number, stream, seq, body) VALUES (front, streams[place], given, bodies[place]);
        END IF;
        RETURN QUERY SELECT place, given, which || '.' || this_era, duplicate;
    END LOOP;
    SELECT oldest INTO first FROM head;
    DELETE FROM feed f WHERE f.number BETWEEN first AND front - entries;
    UPDATE head SET number = front, oldest = greatest(first, front - entries + 1);
    PERFORM pg_notify(current_schema()::text, '');
END $$;

-- Forgets streams in which nothing was said for so long (seconds), a hundred at once, and empty ones after an hour.
CREATE FUNCTION forget(keep double precision) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    gone bigint[];
BEGIN
    PERFORM FROM guard(0);
    SELECT array_agg(number) INTO gone FROM (
        SELECT number FROM stream
            WHERE used < now() - make_interval(secs => CASE WHEN seq = 0 THEN least(keep, 3600) ELSE keep END)
            LIMIT 100
    ) unused;
    DELETE FROM message WHERE stream = ANY (gone);
    DELETE FROM stream WHERE number = ANY (gone);
END $$;
