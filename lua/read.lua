-- Reads leases with their expiry, and how many wait for each.
-- KEYS[..]   of each key its lock, the lease, JSON, and its queue, zset entry -> position; all of one shard
-- ARGV[..]   of each key the token of the lease that is asked for where leases share it; or "" for all of them; or "each" for
--            all of them, and for what is known of those that are not among the oldest
-- Returns an array with a row of each key, in the order of KEYS:
--         {"lease", waiters, lease, valid_until_ms, left_ms}   a string; < 0: no expiry, so a stranger's. Or the lease that
--                                                              was asked for of those that share the key
--       | {"shared", waiters, count, left_ms, first_ms, newest, others, lease ..}   leases share the key, so many, the last one
--                                                              for left_ms yet, the first to end for first_ms; the newest
--                                                              token; of "each" the others' tokens and left_ms, in a text,
--                                                              a space between two; and of the hundred oldest the lease,
--                                                              valid_until_ms, left_ms. Or none shares it, and the key
--                                                              only says that leases do
--       | {"free", waiters}                                    nothing lies under the key, or no lease of this token
--       | {"stranger", waiters}                                something that is no lease lies under the key
-- A script, because a value and an expiry read apart may belong to two leases.
local rows = {}
local MOST_SHOWN, EACH = 100, 'each'

for i, token in ipairs(ARGV) do
  local lock, queue = KEYS[i * 2 - 1], KEYS[i * 2]
  local lease = look(lock)
  local waiters = redis.pcall('ZCOUNT', queue, '(0', '+inf')
  waiters = type(waiters) == 'number' and waiters or 0
  if type(lease) == 'table' and is_shared(lock) then
    if token ~= '' and token ~= EACH then
      local text, ends = share_of(lock, token)
      rows[#rows + 1] = text and {'lease', waiters, shown(text, token), ends, ends - now_ms} or {'free', waiters}
    else
      local texts, times, newest, lasting = shares(lock, MOST_SHOWN)
      local left_ms = math.max(redis.call('PEXPIRETIME', lock) - now_ms, 0)
      local first_ms, others = lasting[2] and lasting[2] - now_ms or left_ms, {}
      if token == EACH and #lasting > 2 * #texts then
        local is_shown = {}
        for _, text in ipairs(texts) do
          is_shown[token_of(text)] = true
        end
        for at = 1, #lasting, 2 do
          if not is_shown[lasting[at]] then
            others[#others + 1] = lasting[at] .. ' ' .. whole(lasting[at + 1] - now_ms)
          end
        end
      end
      local row = {'shared', waiters, #lasting / 2, left_ms, first_ms, newest, table.concat(others, ' ')}
      for at, text in ipairs(texts) do
        row[#row + 1], row[#row + 2], row[#row + 3] = shown(text, token_of(text)), times[at], times[at] - now_ms
      end
      rows[#rows + 1] = row
    end
  elseif type(lease) == 'table' then
    if not string.find(lease.err, '^WRONGTYPE') then
      return lease
    end
    rows[#rows + 1] = {'stranger', waiters}
  elseif not lease then
    rows[#rows + 1] = {'free', waiters}
  elseif lease == '' and redis.call('GETRANGE', lock, '0', #SHARED) == SHARED then
    local left_ms = math.max(redis.call('PEXPIRETIME', lock) - now_ms, 0)
    rows[#rows + 1] = {'shared', waiters, 0, left_ms, left_ms, '0', ''}
  else
    rows[#rows + 1] = {'lease', waiters, lease, redis.call('PEXPIRETIME', lock), redis.call('PTTL', lock)}
  end
end
return rows
