-- What begins each script. KEYS[1] has the number of the feed's last entry and the generation. ARGV[1]: the number that
-- this node has seen; ARGV[2]: a new name. Redis knows less than the node: it lost what was acknowledged. Then all
-- positions of before are void, by a new generation, and the numbers go on behind those that were seen.
local lost = 0
local seen = redis.call('HGET', KEYS[1], 'n') or '0'
if tonumber(seen) < tonumber(ARGV[1]) then
  lost = 1
  redis.call('HSET', KEYS[1], 'n', ARGV[1], 'g', ARGV[2])
end
local generation = redis.call('HGET', KEYS[1], 'g')
if not generation then
  generation = ARGV[2]
  redis.call('HSET', KEYS[1], 'g', generation)
end
