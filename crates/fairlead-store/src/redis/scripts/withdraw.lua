-- KEYS: peer, bindings. ARGV: uid. Returns 'removed' and the host column, 'absent', or 'other'.
local had = redis.call('HMGET', KEYS[1], 'fairlead_uid', 'host')
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('DEL', KEYS[2])
  return {'absent', ''}
end
if not had[1] or had[1] == '' or had[1] ~= ARGV[1] then return {'other', ''} end
redis.call('DEL', KEYS[1], KEYS[2])
return {'removed', had[2] or ''}
