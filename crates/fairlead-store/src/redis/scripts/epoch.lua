-- KEYS: epoch. ARGV: period in ms, least number. Returns the epoch, when it began, and the store's time.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local stored = redis.call('HMGET', KEYS[1], 'epoch', 'since')
local epoch, since = tonumber(stored[1] or '0'), tonumber(stored[2] or '0')
local was = epoch
if epoch == 0 or now - since >= tonumber(ARGV[1]) then epoch = epoch + 1 end
if epoch < tonumber(ARGV[2]) then epoch = tonumber(ARGV[2]) end
if epoch ~= was then
  since = now
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'since', string.format('%d', since))
end
return {epoch, since, now}
