-- KEYS: peer. ARGV: 1 to remove all other columns, then column, value, ... An empty value removes its column.
-- Returns the host column of before.
local host = redis.call('HGET', KEYS[1], 'host')
if ARGV[1] == '1' then redis.call('DEL', KEYS[1]) end
for i = 2, #ARGV, 2 do
  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[1], ARGV[i])
  else redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
return host or ''
