-- KEYS: peer, bindings. ARGV: version, contacts, asked, time of expiry in ms, schema, then column, value, ...
-- Returns 1 when the record was older than this one.
local have = tonumber(redis.call('HGET', KEYS[2], 'version') or '0')
if have >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[2], 'schema', ARGV[5], 'version', ARGV[1], 'contacts', ARGV[2], 'asked', ARGV[3])
redis.call('PEXPIREAT', KEYS[2], ARGV[4])
if #ARGV > 5 and redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], unpack(ARGV, 6)) end
return 1
