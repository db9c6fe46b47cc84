-- Decides whether a message may go out, and holds it for the member that sends it, in one atomic step. Before each
-- attempt the member calls it again.
--
-- KEYS[1]  the member's messages, a hash of id and body
-- KEYS[2]  messages of other members that were given to it and that it has not confirmed, likewise
-- KEYS[3]  the mark of the message's id, for ten minutes
-- KEYS[4]  the cause of its cool-down: the id of the message that holds it
-- KEYS[5]  the cap of its handler: a sorted set of ids by time
-- KEYS[6]  the members: see beat.lua. A late copy of a call can come when the member is dead and its messages are given
--          away. Then it is added again, so that its message is given away, too.
-- ARGV     id, body, 1 before the first attempt, the cool-down's period (ms; 0: none), the cap (0: none), member
-- Returns {verdict, ms}
--   verdict  0 held back by a cool-down that ends in ms, 1 may go out, 2 another member has it, or it has ended,
--            3 held back by the cap
local id, body, is_first, period, most = ARGV[1], ARGV[2], ARGV[3] == '1', tonumber(ARGV[4]), tonumber(ARGV[5])
for i = 1, 2 do
  if redis.call('HEXISTS', KEYS[i], id) == 1 then
    redis.call('HSET', KEYS[i], id, body)
    return { 1, 0 }
  end
end
if redis.call('EXISTS', KEYS[3]) == 1 then return { 2, 0 } end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if is_first then
  local holder = period > 0 and redis.call('GET', KEYS[4])
  if holder and holder ~= id then return { 0, math.max(redis.call('PTTL', KEYS[4]), 0) } end
  if most > 0 then
    redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now - 60000)
    if redis.call('ZCARD', KEYS[5]) >= most then return { 3, 0 } end
    redis.call('ZADD', KEYS[5], now, id)
    redis.call('PEXPIRE', KEYS[5], 60000)
  end
  if period > 0 and not holder then redis.call('SET', KEYS[4], id, 'PX', period) end
end
redis.call('SET', KEYS[3], '1', 'PX', 600000)
redis.call('HSET', KEYS[1], id, body)
redis.call('PEXPIRE', KEYS[1], 604800000)
redis.call('ZADD', KEYS[6], 'NX', now, ARGV[6])
return { 1, 0 }
