-- KEYS: 2 the stream, 3 its history, 4 the feed. ARGV: 3 sender and id, 4 the message without its number, 5 how many are
-- kept, 6 for how many milliseconds, 7 how long the feed is, 8 the stream's name.
local epoch = redis.call('HGET', KEYS[2], 'e')
if not epoch then
  epoch = ARGV[2]
  -- Whatever is left belongs to an epoch of before.
  redis.call('DEL', KEYS[3])
  redis.call('HSET', KEYS[2], 'e', epoch)
end
local known = redis.call('HGET', KEYS[2], ARGV[3])
if known then
  return {lost, at, tonumber(known), epoch .. generation, 1}
end
local number = redis.call('HINCRBY', KEYS[2], 's', 1)
local over = redis.call('XLEN', KEYS[3]) + 1 - tonumber(ARGV[5])
if over > 0 then
  for _, old in ipairs(redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', over)) do
    redis.call('HDEL', KEYS[2], old[2][2])
  end
end
redis.call('XADD', KEYS[3], 'MAXLEN', ARGV[5], number .. '-0', 'k', ARGV[3], 'b', ARGV[4])
redis.call('HSET', KEYS[2], ARGV[3], number)
redis.call('PEXPIRE', KEYS[2], ARGV[6])
redis.call('PEXPIRE', KEYS[3], ARGV[6])
at = redis.call('HINCRBY', KEYS[1], 'n', 1)
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[7], at .. '-0', 's', ARGV[8], 'q', number, 'b', ARGV[4])
return {lost, at, number, epoch .. generation, 0}
