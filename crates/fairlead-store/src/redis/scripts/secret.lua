-- KEYS: secret. ARGV: candidate. Returns 1 when it was made now, and the secret.
if redis.call('SETNX', KEYS[1], ARGV[1]) == 1 then return {1, ARGV[1]} end
return {0, redis.call('GET', KEYS[1])}
