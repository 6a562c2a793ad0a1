-- KEYS: peer. ARGV: column, value, ... Writes only where no peer is.
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HSET', KEYS[1], unpack(ARGV)) end
return ''
