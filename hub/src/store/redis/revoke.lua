-- KEYS: 1 a token that was taken back. ARGV: 1 for how many seconds at least.
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], 1, 'EX', ARGV[1])
end
