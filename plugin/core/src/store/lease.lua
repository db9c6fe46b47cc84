-- Settles the leases of one lessee on counters that share a hash tag, in one atomic step. A lessee is one VM of one
-- member of the fleet.
--
-- KEYS[i]  the counter of line i, a hash:
--   s, e     start and end of the window (ms; e is 0 if the window never ends)
--   g, u     requests granted to all lessees, and used by all
--   a, p     the last alert: the count, and the percentage in millionths
--   n        lessees in this window
--   h        when a lessee last found all requests granted, but not all used
--   ps pu pa pp   the window before: s, u, a and p
--   f        the start of the window in which the end of the quota was foretold
--   x        alerts that no lessee has confirmed: name:seq:time:kind:percentage:count:start, separated by
--            blanks
--   @name    of a lessee: seq:start:used:claim, start:used of the window before, and the part of u that it was
--            granted since it said what it used
-- ARGV[1]  the lessee's name
-- Per line 13 more values:
--   max, window   the limit (window in ms; 0: it never ends)
--   seq           the number of this call; a number that is not above the stored one changes nothing
--   start         the window that the lessee speaks of; 0: none
--   used, claim   totals of that window, never increments, so that a call whose outcome is unknown is settled by the
--                 next one
--   want          the requests that it asks for
--   need          the part of them that wait
--   ahead         1: it reads ahead; 0: a granted request counts as used at once
--   alerts        at:percentage,… ascending, with the percentage in millionths
--   confirmed     the number of a call; the lessee has taken care of the alerts of its reply, and of earlier ones
--   within, from  a forecast is told at most this long before the quota's end (ms), from this count on; 0: no forecast
-- All wants of a call are granted (at least one request each), or none.
-- Returns the time, then per line: seq, start, end, used, claim, granted to all, used by all, lessees, verdict,
--   hungry, the number of alerts, and for each alert its kind, percentage, count, and the start of its window.
--   kind     1 a threshold was crossed, 2 a window ended in which one was, 3 the quota will be used up; then the time
--            stands in the place of the percentage
--            An alert is returned until the lessee confirms it. If it does not for 10 seconds, another one gets it.
--   verdict  0 used up, 1 granted or nothing asked, 2 overtaken by a later call, 3 all granted but not all used,
--            4 another line of the call was not granted
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local field = '@' .. ARGV[1]
local lines, room = {}, true

local function alert(l, kind, percent, count, start)
  l.x = l.x .. table.concat({ ARGV[1], l.seq, now, kind, percent, count, start }, ':') .. ' '
end

-- The last alert of the window that began at start, after the threshold that its use has reached is reported.
local function crossed(l, u, a, p, start)
  -- While the use stays at or above the alert's percentage, a raised limit does not cause the same alert again.
  if p > 0 and u * 100000000 >= p * l.max and u > a then a = u end
  local at, percent
  for x, y in string.gmatch(l.alerts, '(%d+):(%d+)') do
    if tonumber(x) <= u then at, percent = tonumber(x), tonumber(y) end
  end
  if at and not (p >= percent and a >= at) then
    alert(l, 1, percent, u, start)
    return u, percent
  end
  return a, p
end

-- Tells once in a window when the quota will be used up: see forecast.rs.
local function foretell(l)
  local elapsed, intervals = now - l.s, l.u - 1
  if l.within == 0 or l.window == 0 or l.f == l.s or l.u < l.from or l.u >= l.max then return end
  if elapsed * 100 < l.window or (intervals - math.sqrt(intervals)) * l.window <= l.max * elapsed then return end
  local left = math.floor(elapsed * (l.max - l.u) / intervals)
  if left > l.within then return end
  l.f = l.s
  alert(l, 3, now + left, l.u, l.s)
end

-- The alerts that are still to be confirmed, and those for this lessee.
local function unconfirmed(l)
  local kept, open = '', {}
  local parts = '(%S-):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+) '
  for name, seq, at, kind, percent, count, start in string.gmatch(l.x, parts) do
    local is_own = name == ARGV[1]
    if not (is_own and tonumber(seq) <= l.confirmed) then
      if not is_own and now - tonumber(at) > 10000 then name, seq, at, is_own = ARGV[1], l.seq, now, true end
      kept = kept .. table.concat({ name, seq, at, kind, percent, count, start }, ':') .. ' '
      if is_own then
        for _, v in ipairs({ tonumber(kind), tonumber(percent), tonumber(count), tonumber(start) }) do open[#open + 1] = v end
      end
    end
  end
  return kept, open
end

-- The lessee takes part in the current window.
local function join(l)
  l.lpstart, l.lpused = l.lstart, l.lused + l.open
  l.lstart, l.lused, l.lclaim, l.open, l.n = l.s, 0, 0, 0, l.n + 1
end

for i = 1, #KEYS do
  local b = 2 + (i - 1) * 13
  local l = {
    max = tonumber(ARGV[b]), window = tonumber(ARGV[b + 1]), seq = tonumber(ARGV[b + 2]), start = tonumber(ARGV[b + 3]),
    used = tonumber(ARGV[b + 4]), claim = tonumber(ARGV[b + 5]), want = tonumber(ARGV[b + 6]),
    need = tonumber(ARGV[b + 7]), ahead = ARGV[b + 8], alerts = ARGV[b + 9], confirmed = tonumber(ARGV[b + 10]),
    within = tonumber(ARGV[b + 11]), from = tonumber(ARGV[b + 12]), verdict = 1, told = {},
  }
  local h = redis.call('HMGET', KEYS[i], 's', 'e', 'g', 'u', 'a', 'p', 'n', 'h', 'ps', 'pu', 'pa', 'pp', field, 'x', 'f')
  local function number(at) return tonumber(h[at]) or 0 end
  l.s, l.e, l.g, l.u = number(1), number(2), number(3), number(4)
  l.a, l.p, l.n, l.h = number(5), number(6), number(7), number(8)
  l.ps, l.pu, l.pa, l.pp = number(9), number(10), number(11), number(12)
  local f = {}
  for value in string.gmatch(h[13] or '', '%d+') do f[#f + 1] = tonumber(value) end
  l.x, l.f = h[14] or '', number(15)
  l.lstart, l.lused, l.lclaim, l.lpstart, l.lpused = f[2] or 0, f[3] or 0, f[4] or 0, f[5] or 0, f[6] or 0
  l.open = f[7] or 0
  if l.seq <= (f[1] or 0) then
    l.verdict = 2
  else
    if l.s == 0 and l.start > 0 and l.claim > 0 and (l.window == 0 or l.start + l.window > now) then
      -- The store lost this window. The lessees rebuild it.
      l.s, l.e = l.start, l.window == 0 and 0 or l.start + l.window
    end
    if l.start > 0 and l.start == l.s then
      if l.lstart ~= l.s then join(l) end
      l.u, l.g = l.u + l.used - l.lused - l.open, l.g + l.claim - l.lclaim
      l.a, l.p = crossed(l, l.u, l.a, l.p, l.s)
      foretell(l)
      l.lused, l.lclaim, l.open = l.used, l.claim, 0
    elseif l.lstart == l.s then
      -- It knows nothing of this window: the reply that granted something was lost.
      l.u, l.g = l.u - l.open, l.g + l.lused - l.lclaim
      l.lclaim, l.open = l.lused, 0
    end
    if l.start > 0 and l.start == l.ps then
      if l.lstart == l.ps then l.lpstart, l.lpused = l.ps, l.lused + l.open end
      if l.lpstart ~= l.ps then l.lpstart, l.lpused = l.ps, 0 end
      l.pu = l.pu + l.used - l.lpused
      l.pa, l.pp = crossed(l, l.pu, l.pa, l.pp, l.ps)
      l.lpused = l.used
      if l.lstart == l.ps then l.lused, l.open = l.used, 0 end
    end
    if l.want > 0 and (l.s == 0 or (l.e > 0 and now >= l.e)) then
      if l.p > 0 then alert(l, 2, l.p, l.u, l.s) end
      if l.s > 0 then
        -- Only reports of the window that ends now can still come.
        local all = redis.call('HGETALL', KEYS[i])
        for j = 1, #all, 2 do
          if string.sub(all[j], 1, 1) == '@' and tonumber(string.match(all[j + 1], ':(%d+):')) < l.s then
            redis.call('HDEL', KEYS[i], all[j])
          end
        end
      end
      l.ps, l.pu, l.pa, l.pp = l.s, l.u, l.a, l.p
      l.s, l.e = now, l.window == 0 and 0 or now + l.window
      l.g, l.u, l.a, l.p, l.n, l.h = 0, 0, 0, 0, 0, 0
    end
    if l.want > 0 and l.g >= l.max then room = false end
  end
  lines[i] = l
end

local out = { now }
for i, l in ipairs(lines) do
  if l.verdict ~= 2 then
    local given = 0
    if l.want > 0 then
      local left = l.max - l.g
      if left <= 0 then
        l.verdict = l.u >= l.max and 0 or 3
        if l.verdict == 3 then l.h = now end
      elseif not room then
        l.verdict = 4
      else
        given = math.min(l.want, left)
        if l.ahead == '1' then
          -- Grants shrink near the limit and near the next threshold, so that reports come in time and no lessee holds
          -- what another one needs. Where little is left, only requests that wait get something.
          local until_next = l.max - l.u
          for at in string.gmatch(l.alerts, '(%d+):') do
            if tonumber(at) > l.u then until_next = math.min(until_next, tonumber(at) - l.u) break end
          end
          local live = 2 * math.max(l.n, 1)
          local fair = math.floor(math.min(left, until_next) / live)
          given = math.min(given, fair < 8 and l.need or fair)
        end
        if l.lstart ~= l.s then join(l) end
        l.g, l.lclaim = l.g + given, l.lclaim + given
      end
    end
    if l.ahead == '0' and given > 0 then
      l.u, l.open = l.u + given, l.open + given
      l.a, l.p = crossed(l, l.u, l.a, l.p, l.s)
      foretell(l)
    end
    if l.x ~= '' then
      l.x, l.told = unconfirmed(l)
    end
    if l.s > 0 then
      redis.call('HSET', KEYS[i], 's', l.s, 'e', l.e, 'g', l.g, 'u', l.u, 'a', l.a, 'p', l.p, 'n', l.n, 'h', l.h,
        'ps', l.ps, 'pu', l.pu, 'pa', l.pa, 'pp', l.pp, 'x', l.x, 'f', l.f,
        field, table.concat({ l.seq, l.lstart, l.lused, l.lclaim, l.lpstart, l.lpused, l.open }, ':'))
      if l.e > 0 then
        -- A window with an alert is kept for another window, in which its end can be reported.
        local keep = l.p > 0 and math.min(l.window, 86400000) or 0
        redis.call('PEXPIREAT', KEYS[i], l.e + 60000 + keep)
      end
    end
  end
  local is_own = l.lstart == l.s
  for _, v in ipairs({ l.seq, l.s, l.e, is_own and l.lused or 0, is_own and l.lclaim or 0, l.g, l.u, l.n, l.verdict,
    (l.h > 0 and now - l.h < 2000) and 1 or 0, #l.told / 4 }) do
    out[#out + 1] = v
  end
  for _, v in ipairs(l.told) do out[#out + 1] = v end
end
return out
