-- KEYS: 2 the feed. ARGV: 3 news, 4 how long the feed is, 5 how many bytes it has.
at = make_room(KEYS[2], #ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]))
redis.call('XADD', KEYS[2], at .. '-0', 'w', ARGV[3])
return {lost, at}
