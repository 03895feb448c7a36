-- Removes the index entries of leases that have expired, or whose key is a stranger's by now.
-- n is at most 5000, for Lua passes them on as arguments.
-- KEYS[1] tokens   zset key -> token    KEYS[2..n+1] locks   the leases that n entries speak of, JSON
-- ARGV[1..n] keys  the entries, in the order of the locks
-- Returns {"swept", count}   count of entries that were dropped, as a string
-- A script, because the key may be granted again between seeing it free and dropping its entry.
local tokens = KEYS[1]

local dead = {}
for i, key in ipairs(ARGV) do
  local lease = redis.pcall('GETRANGE', KEYS[i + 1], 0, #LEASE - 1)
  if type(lease) == 'table' and not string.find(lease.err, '^WRONGTYPE') then
    return lease
  end
  -- A cheap look, since the entry of what only begins like a lease does no harm.
  if lease ~= LEASE then
    dead[#dead + 1] = key
  end
end
if #dead > 0 then
  redis.call('ZREM', tokens, unpack(dead))
end
return {'swept', tostring(#dead)}
