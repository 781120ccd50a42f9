-- The head, and entries of the feed behind $1, up to $2: at most $3 of them, and about $4 bytes; one is always there.
SELECT head.number, head.era::text, f.number, f.stream, f.seq, f.body
FROM head
LEFT JOIN (
    SELECT number, stream, seq, body, sum(octet_length(body)) OVER (ORDER BY number) - octet_length(body) AS before
    FROM feed WHERE number > $1::bigint AND number <= least($1 + $3::bigint, $2::bigint)
) f ON f.before <= $4::bigint
ORDER BY f.number
