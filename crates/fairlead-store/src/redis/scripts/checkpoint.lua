-- KEYS: call. ARGV: epoch, owner, head, state, time of expiry in ms. Returns the epoch that fences, or -1 and the former owner.
local stored = redis.call('HMGET', KEYS[1], 'epoch', 'owner')
local epoch, mine = tonumber(stored[1] or '-1'), tonumber(ARGV[1])
if epoch > mine or (epoch == mine and stored[2] ~= ARGV[2]) then return {epoch, ''} end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'owner', ARGV[2], 'head', ARGV[3], 'state', ARGV[4])
redis.call('PEXPIREAT', KEYS[1], ARGV[5])
return {-1, stored[2] or ''}
