-- Removes the index entries of leases that have expired, or whose key is a stranger's by now.
-- n is at most 5000, for Lua passes them on as arguments.
-- KEYS[1] tokens   zset entry -> token   KEYS[2..n+1] locks   where the leases lie that n entries speak of
-- ARGV[1..n] entries  keys; or of a lease that shares its key the key, a newline and its token. In the order of the locks
-- Returns {"swept", count}   count of entries that were dropped, as a string
-- A script, because the key may be granted again between seeing it free and dropping its entry.
local tokens = KEYS[1]

local dead = {}
for i, entry in ipairs(ARGV) do
  local share = string.match(entry, '\n(%d+)$')
  local lease
  if share then
    lease = redis.pcall('ZMSCORE', KEYS[i + 1], share)
  else
    lease = redis.pcall('GETRANGE', KEYS[i + 1], 0, #LEASE - 1)
  end
  if type(lease) == 'table' and lease.err and not string.find(lease.err, '^WRONGTYPE') then
    return lease
  end
  if share and not lease.err and tonumber(lease[1] or 0) > now_ms then
    lease = LEASE
  end
  -- A cheap look, since the entry of what only begins like a lease does no harm.
  if lease ~= LEASE then
    dead[#dead + 1] = entry
  end
end
if #dead > 0 then
  redis.call('ZREM', tokens, unpack(dead))
end
return {'swept', tostring(#dead)}
