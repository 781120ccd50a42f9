-- Makes room in the feed for an entry of so many bytes, and gives its number. `f` of KEYS[1] has the bytes of all entries.
local function make_room(feed, size, entries, most)
  local kept = redis.call('XLEN', feed)
  local bytes = tonumber(redis.call('HGET', KEYS[1], 'f') or '0') + size
  while kept > 0 and (kept >= entries or bytes > most) do
    local old = redis.call('XRANGE', feed, '-', '+', 'COUNT', 1)[1]
    redis.call('XDEL', feed, old[1])
    -- Where not all were counted, this is the least that there are.
    bytes = math.max(bytes - #old[2][#old[2]], size)
    kept = kept - 1
  end
  if kept == 0 then
    bytes = size
  end
  redis.call('HSET', KEYS[1], 'f', bytes)
  return redis.call('HINCRBY', KEYS[1], 'n', 1)
end
