-- Reads leases with their expiry, and how many wait for each.
-- KEYS[..]   of each key its lock, the lease, JSON, and its queue, zset entry -> position; all of one shard
-- Returns an array with a row of each key, in the order of KEYS:
--         {"lease", waiters, lease, valid_until_ms, left_ms}   a string; < 0: no expiry, so a stranger's
--       | {"free", waiters}                                    nothing lies under the key
--       | {"stranger", waiters}                                something that is no string lies under the key
-- A script, because a value and an expiry read apart may belong to two leases.
local rows = {}

for i = 1, #KEYS, 2 do
  local lock, queue = KEYS[i], KEYS[i + 1]
  local lease = look(lock)
  local waiters = redis.pcall('ZCOUNT', queue, '(0', '+inf')
  waiters = type(waiters) == 'number' and waiters or 0
  if type(lease) == 'table' then
    if not string.find(lease.err, '^WRONGTYPE') then
      return lease
    end
    rows[#rows + 1] = {'stranger', waiters}
  elseif not lease then
    rows[#rows + 1] = {'free', waiters}
  else
    rows[#rows + 1] = {'lease', waiters, lease, redis.call('PEXPIRETIME', lock), redis.call('PTTL', lock)}
  end
end
return rows
