-- A page of a stream, in one snapshot. $1: its name; $2: how many of the last, or null, and then $3 and $4, the position
-- to go on from; $5: how many messages at most; $6: about how many bytes, one message is always in.
SELECT head.number, head.era::text, e.epoch, s.seq, r.recovered, p.numbers, p.bodies
FROM head
CROSS JOIN stream s
CROSS JOIN LATERAL (SELECT s.number || '.' || head.era AS epoch) e
CROSS JOIN LATERAL (
    SELECT $2::bigint IS NOT NULL OR ($3::text = e.epoch AND $4::bigint BETWEEN s.oldest - 1 AND s.seq) AS recovered
) r
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN $2 IS NOT NULL THEN greatest(s.seq - $2, s.oldest - 1)
        WHEN r.recovered THEN $4
        ELSE s.seq
    END AS after
) a
CROSS JOIN LATERAL (
    SELECT
        coalesce(array_agg(m.seq ORDER BY m.seq), '{}') AS numbers,
        coalesce(array_agg(m.body ORDER BY m.seq), '{}') AS bodies
    FROM (
        SELECT seq, body, sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS before
        FROM message WHERE stream = s.number AND seq > a.after AND seq <= a.after + $5::bigint
    ) m
    WHERE m.before <= $6::bigint
) p
WHERE s.name = $1
