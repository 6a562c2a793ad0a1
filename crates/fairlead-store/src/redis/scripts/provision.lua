-- KEYS: peer. ARGV: uid that may give way or '', column of the sum, number of runtime columns, their names, then column,
-- value, ... as they are to be, the mark among them.
-- Returns 'taken' and the mark (none: ''), 'unchanged', or 'written', the host column of before, and the columns put right.
local all = redis.call('HGETALL', KEYS[1])
local stored = {}
for i = 1, #all, 2 do stored[all[i]] = all[i + 1] end
local first = 4 + tonumber(ARGV[3])
local runtime, wanted = {}, {}
for i = 4, first - 1 do runtime[ARGV[i]] = true end
for i = first, #ARGV, 2 do wanted[ARGV[i]] = ARGV[i + 1] end
local uid = stored.fairlead_uid or ''
if #all > 0 and (uid == '' or (uid ~= wanted.fairlead_uid and uid ~= ARGV[1])) then
  return {'taken', uid, stored.fairlead_origin or '', stored.fairlead_generation or ''}
end
local same = true
for _, column in ipairs({'fairlead_uid', 'fairlead_origin', 'fairlead_generation'}) do
  if stored[column] ~= wanted[column] then same = false end
end
local wrong, excess = {}, {}
for column, value in pairs(wanted) do
  if stored[column] ~= value and not (same and runtime[column]) then wrong[#wrong + 1] = column end
end
for column in pairs(stored) do
  if not wanted[column] and not runtime[column] then excess[#excess + 1] = column end
end
if #wrong + #excess == 0 then return {'unchanged'} end
for _, column in ipairs(wrong) do redis.call('HSET', KEYS[1], column, wanted[column]) end
for _, column in ipairs(excess) do redis.call('HDEL', KEYS[1], column) end
local reply = {'written', stored.host or ''}
if same and #all > 0 then
  for _, column in ipairs(wrong) do if column ~= ARGV[2] then reply[#reply + 1] = column end end
  for _, column in ipairs(excess) do reply[#reply + 1] = column end
end
return reply
