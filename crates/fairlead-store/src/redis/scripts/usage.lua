-- KEYS: slots. ARGV: call, usage.
local mine = redis.call('HGET', KEYS[1], ARGV[1])
local pod = mine and string.match(mine, '^(%S+)')
if pod then redis.call('HSET', KEYS[1], ARGV[1], pod .. ' ' .. ARGV[2]) end
return 1
