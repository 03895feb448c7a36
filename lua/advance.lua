-- Moves the line on when the lease before it has ended, and tells a waiter's sidecar where it stands.
-- KEYS[1] lock    the lease, JSON          KEYS[2] seq     last sequence of the shard
-- KEYS[3] tokens  zset key -> token        KEYS[4] queue   zset waiter -> place in line
-- ARGV[1] key     ARGV[2] shard            ARGV[3] floor   ARGV[4] push      all as acquire.lua has them
-- ARGV[5] waiter  one of the caller's in this line
-- ARGV[6] silent  a sidecar that was offered the key and was not heard to take it, or "": where the key is free now, it
--                 did not, and all its waiters leave the line
-- Returns {"held", lease, left_ms, stands}   the key is held (left_ms < 0: no expiry), perhaps from just now on;
--                                            stands: "queued", or "missing" where the waiter is not in the line
--       | {"stranger", stands}               something that is no string lies under the key
--       | {"free", stands}                   it is free; and where the waiter is queued, Redis would not grant it
-- A free key stays free when the waiter is missing: the line was lost, perhaps, and must stand again first.
-- A script, because whose turn it is must be decided once, however many sidecars ask at the same moment.
local lock, queue    = KEYS[1], KEYS[4]
local key, push      = ARGV[1], ARGV[4]
local waiter, silent = ARGV[5], ARGV[6]

local lease = look(lock)
if type(lease) == 'table' and not string.find(lease.err, '^WRONGTYPE') then
  return lease
end
local stands = redis.call('ZSCORE', queue, waiter) and 'queued' or 'missing'
if not lease and stands == 'queued' then
  if silent ~= '' then
    drop(KEYS, silent)
    redis.call('SPUBLISH', push .. silent, 'dropped\n' .. key)
  end
  if hand_over(KEYS, ARGV) then
    lease = redis.call('GET', lock)
  end
end
if not lease then
  return {'free', stands}
end
if type(lease) == 'table' then
  return {'stranger', stands}
end
return {'held', lease, redis.call('PTTL', lock), stands}
