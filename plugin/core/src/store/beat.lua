-- Tells the store that a member lives, and gives it the messages of members that do not, and the digests that are due.
--
-- KEYS[1]  the members, a sorted set by the time of their last call (ms)
-- KEYS[2]  the causes that have a digest, a sorted set by the time at which it is due (ms)
-- KEYS[3]  the disabled targets, a hash
-- ARGV     base, member, room, where the list of its messages goes on (0: at the start; -: it wants none), the number of
--          ids that it confirms, those ids, and ids that it declines
--   base   what the keys of this outbox start with. The keys below have the same hash tag:
--          <base>:held:<member>, <base>:given:<member>, <base>:tally:<cause>, <base>:seen:<id>
-- Returns {members, {id, body, …} given and not confirmed, {id, …} some of its messages, {target, …} disabled, where the
--          list goes on}
--   body   'm' and a message, or 't' and the tallies of a digest, separated by blanks; of a long one 'p' and its length
local base, member, room, cursor, confirmed = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local held, given = base .. ':held:' .. member, base .. ':given:' .. member
-- Messages that no member has, because the last one that got them could not send them.
local nobody = '-'

for i = 6, #ARGV do
  local body = redis.call('HGET', given, ARGV[i])
  if body then
    redis.call('HDEL', given, ARGV[i])
    if i < 6 + confirmed then
      redis.call('HSET', held, ARGV[i], body)
    else
      redis.call('HSET', base .. ':held:' .. nobody, ARGV[i], body)
      redis.call('ZADD', KEYS[1], 0, nobody)
    end
  end
end

-- If nobody called for a while, the store was out of reach, and the members are not dead.
local last = tonumber(redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2])
if last and now - last > 1500 then
  for _, other in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], 1, '+inf')) do redis.call('ZADD', KEYS[1], now, other) end
end
redis.call('ZADD', KEYS[1], now, member)

local room = room - redis.call('HLEN', given)
local function give(id, body)
  redis.call('HSET', given, id, body)
  redis.call('SET', base .. ':seen:' .. id, '1', 'PX', 600000)
  room = room - 1
end

for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - 3000, 'LIMIT', 0, 16)) do
  local left = 0
  for _, kind in ipairs({ ':given:', ':held:' }) do
    local key = base .. kind .. dead
    for _, id in ipairs(redis.call('HKEYS', key)) do
      if room <= 0 then break end
      give(id, redis.call('HGET', key, id))
      redis.call('HDEL', key, id)
    end
    left = left + redis.call('HLEN', key)
  end
  if left == 0 then redis.call('ZREM', KEYS[1], dead) end
end

-- The members' last counts come a little after the digest is due.
for _, cause in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - 1500, 'LIMIT', 0, math.max(room, 0))) do
  local key = base .. ':tally:' .. cause
  local parts, first, bodies = redis.call('HGETALL', key), nil, {}
  for i = 1, #parts, 2 do
    redis.call('SET', base .. ':seen:' .. parts[i], '1', 'PX', 600000)
    if not first or parts[i] < first then first = parts[i] end
    bodies[#bodies + 1] = string.match(parts[i + 1], ' (.*)$')
  end
  if first then give(first, 't' .. table.concat(bodies, ' ')) end
  redis.call('DEL', key)
  redis.call('ZREM', KEYS[2], cause)
end

-- Replies are short: see fetch.lua.
local all, out, size = redis.call('HGETALL', given), {}, 0
for i = 1, #all, 2 do
  local body = all[i + 1]
  if #body > 12000 then body = 'p' .. #body end
  size = size + #body
  if size > 24000 then break end
  out[i], out[i + 1] = all[i], body
end
local mine = {}
if cursor ~= '-' then
  local page = redis.call('HSCAN', held, cursor, 'COUNT', 200)
  cursor = page[1]
  for i = 1, math.min(#page[2], 1000), 2 do mine[#mine + 1] = page[2][i] end
  if cursor == '0' then cursor = '-' end
end
redis.call('PEXPIRE', held, 604800000)
redis.call('PEXPIRE', given, 604800000)
return { redis.call('ZCOUNT', KEYS[1], now - 3000, '+inf'), out, mine, redis.call('HKEYS', KEYS[3]),
  cursor }
