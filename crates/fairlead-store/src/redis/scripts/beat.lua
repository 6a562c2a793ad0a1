-- KEYS: members. ARGV: pod, member. The time is the store's.
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d', t[1] * 1000 + math.floor(t[2] / 1000)) .. ' ' .. ARGV[2])
return 1
