-- What begins each script. KEYS[1] has the number of the feed's last entry and the generation. ARGV[1]: the highest number
-- that this node knows; ARGV[2]: a new name. If Redis knows less than the node, it lost what was acknowledged. Then all
-- positions of before are void, by a new generation, and the numbers go on behind those that were known: one is left out,
-- by which the other nodes see it.
local lost = 0
local at = tonumber(redis.call('HGET', KEYS[1], 'n') or '0')
if at < tonumber(ARGV[1]) then
  lost = 1
  at = tonumber(ARGV[1]) + 1
  redis.call('HSET', KEYS[1], 'n', at, 'g', ARGV[2])
end
local generation = redis.call('HGET', KEYS[1], 'g')
if not generation then
  generation = ARGV[2]
  redis.call('HSET', KEYS[1], 'g', generation)
end
