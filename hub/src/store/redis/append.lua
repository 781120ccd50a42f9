-- KEYS: 2 the stream, 3 its history, 4 the feed. ARGV: 3 sender and id, 4 the message without its number, 5 how many are
-- kept, 6 for how many milliseconds, 7 how long the feed is, 8 the stream's name, 9 how many bytes are kept,
-- 10 how many bytes the feed has.
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
local kept = redis.call('XLEN', KEYS[3])
local bytes = tonumber(redis.call('HGET', KEYS[2], 'b') or '0') + #ARGV[4]
while kept > 0 and (kept >= tonumber(ARGV[5]) or bytes > tonumber(ARGV[9])) do
  local old = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
  redis.call('XDEL', KEYS[3], old[1])
  redis.call('HDEL', KEYS[2], old[2][2])
  -- Where not all were counted, this is the least that there are.
  bytes = math.max(bytes - #old[2][4], #ARGV[4])
  kept = kept - 1
end
redis.call('XADD', KEYS[3], number .. '-0', 'k', ARGV[3], 'b', ARGV[4])
redis.call('HSET', KEYS[2], ARGV[3], number, 'b', bytes)
redis.call('PEXPIRE', KEYS[2], ARGV[6])
redis.call('PEXPIRE', KEYS[3], ARGV[6])
at = make_room(KEYS[4], #ARGV[4], tonumber(ARGV[7]), tonumber(ARGV[10]))
redis.call('XADD', KEYS[4], at .. '-0', 's', ARGV[8], 'q', number, 'b', ARGV[4])
return {lost, at, number, epoch .. generation, 0}
