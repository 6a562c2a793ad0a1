-- Marks a count of a nonce as used; true only the first time. Count -1 (no qop) uses the nonce up.
local function take_nonce(key, count, life)
  local top = redis.call('HGET', key, 'top')
  if not top then redis.call('HSET', key, 'top', '0') redis.call('PEXPIRE', key, life) top = '0' end
  top = tonumber(top)
  if count < 0 then
    redis.call('HSET', key, 'top', '4294967295')
    return top == 0
  end
  if count > top then
    redis.call('HSET', key, 'top', count, count, '1')
    for _, used in ipairs(redis.call('HKEYS', key)) do
      local n = tonumber(used)
      if n and n <= count - 64 then redis.call('HDEL', key, used) end
    end
    return true
  end
  if top == 4294967295 or count == 0 or count <= top - 64 then return false end
  return redis.call('HSETNX', key, count, '1') == 1
end
