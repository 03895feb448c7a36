-- Puts a waiter's entry into the queue, unless it is there. Where the key is free, the first waiter has it.
-- KEYS[1] lock    the lease, JSON          KEYS[2] tokens  zset key -> token, and the last token of the shard
-- KEYS[3] queue   zset entry -> position
-- KEYS[4] watch   zset with one member, see lease.lua
-- ARGV[1] key     ARGV[2] shard            ARGV[3] floor   ARGV[4] push      all as acquire.lua has them
-- ARGV[5] entry   six lines of text, as queue.lua has them
-- ARGV[6] sending the attempt's, as the lease would name it
-- ARGV[7] wait_ms how long it may wait at most: the queue is kept at least so long
-- ARGV[8] position  what it had before the queue was lost or it was dropped from it, or "" for the end of the queue; and a
--                   second line, "missing", where its sidecar has found it gone, and was told nothing
-- ARGV[9] own     as acquire.lua has it: with "extend" a waiter whose owner has the key does not wait
-- ARGV[10] not_after  see lease.lua
-- Returns {"waiting", position, left_ms}   left_ms of the lease that the first one waits for (-1: no expiry,
--                      -2: the key is free)
--       | {"turn", token}    its turn has come already, so it is not in the queue
--       | {"own"}            its owner has the key, or its owner or its attempt shares it: it is to ask for it again, and is
--                            not in the queue
--       | {"late", now_ms}   see lease.lua
-- A free key stays free when a waiter comes back to its position: others that stood before it may be about to, too. The
-- first to come back to an empty queue, or to find itself gone from one to which others have come since, says so to all, and
-- no waiter is served for REJOIN_MS.
-- Fails, and has changed nothing, when no position is left.
-- A script, because a key that is freed between a look and the joining would wake no waiter.
local lock, queue, watch          = KEYS[1], KEYS[3], KEYS[4]
local key, push                   = ARGV[1], ARGV[4]
local entry, sending, wait_ms     = ARGV[5], ARGV[6], tonumber(ARGV[7])
local position, own, not_after    = ARGV[8], ARGV[9], ARGV[10]

local refusal = late(not_after)
if refusal then
  return refusal
end
local lease, is_unwatched = look(lock, watch)
if type(lease) == 'table' and not string.find(lease.err, '^WRONGTYPE') then
  return lease
end
local sidecar, identity = string.match(entry, '^([^\n]*)\n[^\n]*\n%d+\n([^\n]*)\n')
local is_shared_already = type(lease) == 'table' and is_shared(lock)
if is_shared_already then
  local token, lasting = token_at(lock, 's\n' .. sending), nil
  if token then
    lasting = share_of(lock, token)
  end
  if lasting and has(lasting, identity) then
    return {'turn', token}
  end
  if has_share(lock, queue, entry) then
    return {'own'}
  end
elseif type(lease) == 'string' and lease ~= '' then
  if has(lease, identity) then
    if find_sending((told(lease)), sending) then
      return {'turn', token_of(lease)}
    end
    if own == 'extend' and is_promised(lease, redis.call('PEXPIRETIME', lock)) then
      return {'own'}
    end
  end
end
local comes_back, is_missing = position ~= '', string.find(position, '\nmissing', 1, true)
if comes_back then
  position = string.match(position, '^%d+')
else
  local sequence, used_up = next_sequence(KEYS, ARGV)
  if used_up then
    return used_up
  end
  -- The sequence numbers the positions, too: it rises whatever happens to Redis.
  position = whole(sequence)
end
-- EXISTS counts a key as often as it is named: what is odd is the queue.
local found = redis.call('EXISTS', queue, watch, watch)
local is_first = found % 2 == 0
local is_new = redis.call('ZADD', queue, 'NX', position, entry) == 1
-- A queue whose sidecars all died must not stay for ever.
redis.call('PEXPIRE', queue, whole(wait_ms + 60000), is_first and 'NX' or 'GT')
if is_new and found > 1 then
  tell_watchers(watch, queue, push, 'waiting', key, '0')
end
if comes_back and (is_first or is_missing and is_new and not is_rejoining(queue)) then
  redis.call('ZADD', queue, 0, 'rejoin\n' .. whole(now_ms + REJOIN_MS))
  redis.call('SPUBLISH', push .. 'all', 'lost\n' .. key .. '\n' .. sidecar)
end
local waits_ms
if (not lease or is_shared_already) and not comes_back then
  waits_ms = select(2, hand_over(KEYS, ARGV, nil, nil, nil, is_unwatched, is_shared_already))
end
if is_shared_already or (not lease and is_shared(lock)) then
  local _, _, ends = awaited_by_first(lock, queue)
  local ends_ms = math.max(ends - now_ms, 0)
  return {'waiting', position, math.min(ends_ms, waits_ms or ends_ms)}
end
return {'waiting', position, redis.call('PTTL', lock)}
