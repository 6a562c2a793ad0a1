-- KEYS: nonce. ARGV: count, life in ms.
if take_nonce(KEYS[1], tonumber(ARGV[1]), ARGV[2]) then return 1 end
return 0
