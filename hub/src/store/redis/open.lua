-- KEYS: 2 the stream, 3 its history. ARGV: 3 so many of the last, or -1; 4 the epoch and 5 the number that were asked for;
-- 6 how many at most; 7 how many milliseconds a stream without messages is remembered; 8 about how many bytes at most.
local epoch = redis.call('HGET', KEYS[2], 'e')
if not epoch then
  epoch = ARGV[2]
  -- Whatever is left belongs to an epoch of before.
  redis.call('DEL', KEYS[3])
  redis.call('HSET', KEYS[2], 'e', epoch)
  redis.call('PEXPIRE', KEYS[2], ARGV[7])
end
local last = tonumber(redis.call('HGET', KEYS[2], 's') or '0')
local oldest = last + 1
local first = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
if first then
  oldest = tonumber(string.match(first[1], '^%d+'))
end
local recovered, from = 1, nil
if tonumber(ARGV[3]) >= 0 then
  from = math.max(oldest, last + 1 - tonumber(ARGV[3]))
else
  from = tonumber(ARGV[5]) + 1
  if ARGV[4] ~= epoch .. generation or from < oldest or from > last + 1 then
    recovered, from = 0, last + 1
  end
end
local found, left, bytes = {}, tonumber(ARGV[6]), 0
-- A few at once: no more is read than goes out.
while from <= last and left > 0 and bytes <= tonumber(ARGV[8]) do
  local entries = redis.call('XRANGE', KEYS[3], from .. '-0', '+', 'COUNT', math.min(left, 8))
  if #entries == 0 then
    break
  end
  for _, entry in ipairs(entries) do
    if bytes <= tonumber(ARGV[8]) then
      local number = string.match(entry[1], '^%d+')
      found[#found + 1] = number
      found[#found + 1] = entry[2][4]
      bytes = bytes + #entry[2][4]
      left = left - 1
      from = tonumber(number) + 1
    end
  end
end
return {lost, at, epoch .. generation, last, recovered, found}
