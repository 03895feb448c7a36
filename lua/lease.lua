-- Not a script: stands before those that change a lease, and before line.lua.
-- Redis may run a command long after it was sent, when its sender has answered that nobody knows, and has taken it back:
-- what a frozen server's socket holds is run when it goes on. So each change but a taking back says until when it may
-- run, in its last ARGV, not_after: milliseconds since 1970 on this server's clock, or "" for no end. Past it the script
-- changes nothing and returns {"late", now_ms}.

-- The mark at the end of a lease that was renewed: somebody counts on it, so no undo takes it back. Not a JSON string's
-- end, so that no owner's text can imitate it.
local RENEWED = ',"renewed":true}'

-- To Redis, too, all that happens in one call happens in one instant; so its clock is asked once.
local instant_us
local function clock_us()
  if not instant_us then
    local time = redis.call('TIME')
    instant_us = time[1] * 1000000 + time[2]
  end
  return instant_us
end

local function clock_ms()
  return math.floor(clock_us() / 1000)
end

-- A number as an argument to Redis: as text, since 7.2.0 to 7.2.4 write one with many zeros at its end as 1.7954e+12.
local function whole(number)
  return string.format('%.0f', number)
end

-- How a lease begins, and nothing that other programs are likely to write.
local LEASE = '{"token":"'

local function is_lease(text)
  return string.sub(text, 1, #LEASE) == LEASE
end

-- What lies under a key: a lease; '' for another program's text, which may be a large one; false for nothing; or a
-- table, Redis's error.
local function look(lock)
  local beginning = redis.pcall('GETRANGE', lock, 0, #LEASE - 1)
  if beginning == LEASE then
    return redis.call('GET', lock)
  end
  if beginning == '' then
    return redis.call('EXISTS', lock) == 1 and ''
  end
  return type(beginning) == 'table' and beginning or ''
end

-- The row to return where it is too late, or nil.
local function late(not_after)
  if not_after ~= '' and clock_us() > not_after * 1000 then
    return {'late', clock_ms()}
  end
end

-- The lease with the mark, and without that of an offer, which a renewal takes.
local function renewed(lease)
  lease = string.gsub(lease, ',"offered":"[%w-]+"}$', '}')
  return string.sub(lease, -#RENEWED) == RENEWED and lease or string.sub(lease, 1, -2) .. RENEWED
end
