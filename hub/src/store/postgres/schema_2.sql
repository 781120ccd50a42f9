-- Version 2. From when on the tokens of users are good, in seconds since 1970; and how many bytes streams and the feed have.
CREATE TABLE valid_from (name text PRIMARY KEY, time bigint NOT NULL);

ALTER TABLE stream ADD COLUMN bytes bigint NOT NULL DEFAULT 0;
UPDATE stream s
    SET bytes = (SELECT coalesce(sum(octet_length(m.body)), 0) FROM message m WHERE m.stream = s.number);
ALTER TABLE head ADD COLUMN bytes bigint NOT NULL DEFAULT 0;
UPDATE head SET bytes = (SELECT coalesce(sum(octet_length(f.body)), 0) FROM feed f);

-- Numbers, keeps and passes on, in this order. `most`, `most_bytes`: how many messages of a stream are kept, and bytes of them;
-- `entries`, `entry_bytes`: the same of the feed. The last message of a stream and the last entry stay. What was not counted as it
-- should be is, once nothing else is left.
CREATE FUNCTION take(
    known bigint, streams text[], senders text[], ids text[], bodies text[], most bigint, entries bigint,
    most_bytes bigint, entry_bytes bigint
) RETURNS TABLE (place integer, given bigint, epoch text, duplicate boolean) LANGUAGE plpgsql AS $$
DECLARE
    front bigint;
    this_era uuid;
    which bigint;
    last bigint;
    first bigint;
    held bigint;
    size bigint := 0;
    fed bigint := 0;
BEGIN
    SELECT * INTO front, this_era FROM guard(known);
    FOR place IN 1 .. cardinality(bodies) LOOP
        IF streams[place] IS NULL THEN
            front := front + 1;
            size := octet_length(bodies[place]);
            fed := fed + size;
            INSERT INTO feed (number, body) VALUES (front, bodies[place]);
            RETURN QUERY SELECT place, 0::bigint, '', false;
            CONTINUE;
        END IF;
        LOOP
            SELECT s.number, s.seq, s.oldest, s.bytes INTO which, last, first, held
                FROM stream s WHERE s.name = streams[place];
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
            size := octet_length(bodies[place]);
            fed := fed + size;
            INSERT INTO message (stream, seq, sender, id, body)
                VALUES (which, given, senders[place], ids[place], bodies[place]);
            WITH gone AS (
                DELETE FROM message m WHERE m.stream = which AND m.seq BETWEEN first AND given - most
                    RETURNING octet_length(m.body) AS length
            )
            SELECT held + size - coalesce(sum(g.length), 0) INTO held FROM gone g;
            first := greatest(first, given - most + 1);
            WHILE held > most_bytes AND first < given LOOP
                WITH gone AS (
                    DELETE FROM message m WHERE m.stream = which AND m.seq = first RETURNING octet_length(m.body) AS length
                )
                SELECT held - coalesce(sum(g.length), 0) INTO held FROM gone g;
                first := first + 1;
            END LOOP;
            IF first = given THEN
                held := size;
            END IF;
            UPDATE stream s SET seq = given, oldest = first, bytes = held, used = now() WHERE s.number = which;
            INSERT INTO feed (number, stream, seq, body) VALUES (front, streams[place], given, bodies[place]);
        END IF;
        RETURN QUERY SELECT place, given, which || '.' || this_era, duplicate;
    END LOOP;
    SELECT h.oldest, h.bytes + fed INTO first, held FROM head h;
    WITH gone AS (
        DELETE FROM feed f WHERE f.number BETWEEN first AND front - entries RETURNING octet_length(f.body) AS length
    )
    SELECT held - coalesce(sum(g.length), 0) INTO held FROM gone g;
    first := greatest(first, front - entries + 1);
    WHILE held > entry_bytes AND first < front LOOP
        WITH gone AS (
            DELETE FROM feed f WHERE f.number = first RETURNING octet_length(f.body) AS length
        )
        SELECT held - coalesce(sum(g.length), 0) INTO held FROM gone g;
        first := first + 1;
    END LOOP;
    IF first = front AND fed > 0 THEN
        held := size;
    END IF;
    UPDATE head SET number = front, oldest = first, bytes = held;
    PERFORM pg_notify(current_schema()::text, '');
END $$;
