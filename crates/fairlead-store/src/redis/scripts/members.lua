-- KEYS: members. ARGV: after how many ms a member is forgotten. Returns the store's time and all members.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local seen = tonumber(string.match(all[i + 1], '^(%d+) ') or '0')
  if now - seen >= tonumber(ARGV[1]) then redis.call('HDEL', KEYS[1], all[i]) end
end
return {now, redis.call('HVALS', KEYS[1])}
