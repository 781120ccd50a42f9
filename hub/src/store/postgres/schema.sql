-- Version 1, but for what version 2 makes. It stands in a schema of its own, which is first in the search path.

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
