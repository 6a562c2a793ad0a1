-- KEYS: surroundings. ARGV: version, JSON. Returns the version that is there now, and the JSON if it is newer.
local have, mine = tonumber(redis.call('HGET', KEYS[1], 'version') or '0'), tonumber(ARGV[1])
if mine > have then
  redis.call('HSET', KEYS[1], 'schema', '1', 'version', ARGV[1], 'json', ARGV[2])
  return {ARGV[1], ''}
end
if have > mine then return {redis.call('HGET', KEYS[1], 'version'), redis.call('HGET', KEYS[1], 'json') or ''} end
return {tostring(ARGV[1]), ''}
