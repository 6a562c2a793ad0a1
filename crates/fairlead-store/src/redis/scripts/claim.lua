-- KEYS: owner. ARGV: cseq, call, branch, life in ms. Returns who holds it already, or nothing.
local held = redis.call('GET', KEYS[1])
if held then
  local cseq, call = string.match(held, '^(%d+) (%S+) ')
  if cseq and (call == ARGV[2] or tonumber(cseq) >= tonumber(ARGV[1])) then return held end
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. ARGV[3], 'PX', ARGV[4])
return ''
