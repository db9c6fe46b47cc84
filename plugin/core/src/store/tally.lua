-- Takes one member's count of the events that a cool-down or a cap held back. The counts of all members become one
-- digest.
--
-- KEYS[1]  the counts for this cause, a hash of the member's tally and its total
-- KEYS[2]  the causes that have a digest, a sorted set by the time at which it is due (ms)
-- KEYS[3]  the mark of the member's tally, which is set when it was reported
-- ARGV     tally, cause, events, body, in how many ms the digest is due if there is none for this cause yet
-- Returns {1, in how many ms the digest is due}, or {2, 0} if the tally was reported before
if redis.call('EXISTS', KEYS[3]) == 1 then return { 2, 0 } end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
-- A late copy of an earlier call has a smaller total.
local known = redis.call('HGET', KEYS[1], ARGV[1])
if not known or tonumber(string.match(known, '^%d+')) < tonumber(ARGV[3]) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3] .. ' ' .. ARGV[4])
end
local due = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[2]))
if not due then
  due = now + tonumber(ARGV[5])
  redis.call('ZADD', KEYS[2], due, ARGV[2])
end
redis.call('PEXPIRE', KEYS[1], math.max(due - now, 0) + 604800000)
return { 1, math.max(due - now, 0) }
