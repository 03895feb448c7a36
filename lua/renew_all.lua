-- Sets the remaining time of several leases that are still the caller's, or of none of them: each as renew.lua does.
-- KEYS[..]  of each lease: lock, queue, forced, watch, as renew.lua has them
-- ARGV[..]  of each lease: key, token, identity, ttl_ms, push, longest_ms, as renew.lua has them; and behind all of
--           them not_after, see lease.lua
-- Returns {"renewed", row, ..}    of each lease its row
--       | {"refused", row, ..}    nothing is renewed, for one lease is not the caller's: of each its row, renewed
--                                 where it would have been
--       | {"late", now_ms}        see lease.lua
-- The function renew stands before this text: the script renew.lua of its KEYS and ARGV.
-- A script, because a lease that is seen to last may end before another one is renewed.
local not_after, count = ARGV[#ARGV], #KEYS / 4
local rows             = {}

local refusal = late(not_after)
if refusal then
  return refusal
end
local is_refused = false
for pass = 1, 2 do
  local how = pass == 1 and 'check' or 'set'
  for n = 1, count do
    local key, token, identity, ttl_ms, push, longest_ms = unpack(ARGV, 6 * n - 5, 6 * n)
    rows[n] = renew({unpack(KEYS, 4 * n - 3, 4 * n)},
      {key, token, identity, ttl_ms, push, how, '', longest_ms, not_after})
    if rows[n].err then
      return rows[n]
    end
    is_refused = is_refused or rows[n][1] ~= 'renewed'
  end
  if is_refused then
    return {'refused', unpack(rows)}
  end
end
return {'renewed', unpack(rows)}
