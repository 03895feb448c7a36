-- Not a script: stands before those that change a lease, and before line.lua.
-- Redis may run a command long after it was sent, when its sender has answered that nobody knows, and has taken it back:
-- what a frozen server's socket holds is run when it goes on. So each change but a taking back says until when it may
-- run, in its last ARGV, not_after: milliseconds since 1970 on this server's clock, or "" for no end. Past it the script
-- changes nothing and returns {"late", now_ms}.

-- The mark at the end of a lease that was renewed: somebody counts on it, so no undo takes it back. Not a JSON string's
-- end, so that no owner's text can imitate it.
local RENEWED = ',"renewed":true}'

local function clock_us()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function is_late(not_after, now_us)
  return not_after ~= '' and now_us > tonumber(not_after) * 1000
end

local function late(now_us)
  return {'late', string.format('%.0f', math.floor(now_us / 1000))}
end

-- The lease with the mark, and without that of an offer, which a renewal takes.
local function renewed(lease)
  lease = string.gsub(lease, ',"offered":"[%w-]+"}$', '}')
  return string.sub(lease, -#RENEWED) == RENEWED and lease or string.sub(lease, 1, -2) .. RENEWED
end
