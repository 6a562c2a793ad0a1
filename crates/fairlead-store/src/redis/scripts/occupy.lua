-- KEYS: slots. ARGV: call, pod, limit, usage, life in ms, then the living pods (none: not known).
-- Returns granted, count.
local mine = redis.call('HGET', KEYS[1], ARGV[1])
if mine then
  local usage = string.match(mine, '^%S+ (%S+)$') or ARGV[4]
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. usage)
  return {1, redis.call('HLEN', KEYS[1])}
end
if #ARGV > 5 then
  local living = {}
  for i = 6, #ARGV do living[ARGV[i]] = true end
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if not living[string.match(all[i + 1], '^(%S+)') or ''] then redis.call('HDEL', KEYS[1], all[i]) end
  end
end
local count = redis.call('HLEN', KEYS[1])
local limit = tonumber(ARGV[3])
if limit > 0 and count >= limit then return {0, count} end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {1, count + 1}
