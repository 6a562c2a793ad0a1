-- KEYS: peer. ARGV: column, value, ... Writes only into a peer that is there.
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], unpack(ARGV)) end
return 1
