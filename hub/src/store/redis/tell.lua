-- KEYS: 2 the feed. ARGV: 3 news, 4 how long the feed is.
at = redis.call('HINCRBY', KEYS[1], 'n', 1)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], at .. '-0', 'w', ARGV[3])
return {lost, at}
