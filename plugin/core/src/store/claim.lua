-- Claims a cause for a message, or releases the claim, in one atomic step. A repeated call of the same message changes
-- nothing.
--
-- KEYS[1]  the cause
-- ARGV[1]  the message's id
-- ARGV[2]  how long the claim holds (ms); 0: release it
-- Returns 1 if the message has the claim, else 0.
local owner = redis.call('GET', KEYS[1])
if ARGV[2] == '0' then
  if owner == ARGV[1] then redis.call('DEL', KEYS[1]) end
  return 0
end
if not owner then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1
end
return owner == ARGV[1] and 1 or 0
