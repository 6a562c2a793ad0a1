-- KEYS: peer, bindings[, nonce]. ARGV: version planned from, new version, contacts, key of the question or '',
-- time of expiry in ms, schema, how many questions are remembered, nonce count, nonce life in ms,
-- then column, value, column, value ...
local have = redis.call('HGET', KEYS[2], 'version') or '0'
if have ~= ARGV[1] then
  return {'conflict', redis.call('HMGET', KEYS[2], 'version', 'contacts', 'asked')}
end
if KEYS[3] and not take_nonce(KEYS[3], tonumber(ARGV[8]), ARGV[9]) then return {'used'} end
if ARGV[4] ~= '' then
  local asked = {}
  for key in string.gmatch(redis.call('HGET', KEYS[2], 'asked') or '', '%S+') do asked[#asked + 1] = key end
  asked[#asked + 1] = ARGV[4]
  while #asked > tonumber(ARGV[7]) do table.remove(asked, 1) end
  redis.call('HSET', KEYS[2], 'asked', table.concat(asked, ' '))
end
redis.call('HSET', KEYS[2], 'schema', ARGV[6], 'version', ARGV[2], 'contacts', ARGV[3])
redis.call('PEXPIREAT', KEYS[2], ARGV[5])
if #ARGV > 10 and redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HSET', KEYS[1], unpack(ARGV, 10))
end
return {'bound', ARGV[2]}
