-- Reads leases with their expiry.
-- KEYS[1..n] locks   the leases, JSON, all of one shard
-- Returns an array of n rows, in the order of KEYS:
--         {"lease", lease, valid_until_ms, left_ms}   a string; < 0: no expiry, so a stranger's
--       | {"free"}                                    nothing lies under the key
--       | {"stranger"}                                something that is no string lies under the key
-- A script, because a value and an expiry read apart may belong to two leases.
local rows = {}
for i, lock in ipairs(KEYS) do
  local lease = look(lock)
  if type(lease) == 'table' then
    if not string.find(lease.err, '^WRONGTYPE') then
      return lease
    end
    rows[i] = {'stranger'}
  elseif not lease then
    rows[i] = {'free'}
  else
    rows[i] = {'lease', lease, redis.call('PEXPIRETIME', lock), redis.call('PTTL', lock)}
  end
end
return rows
