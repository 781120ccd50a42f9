-- KEYS: 1 from when on users' tokens are good. ARGV: 1 a user, 2 from when on, in seconds since 1970.
if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
