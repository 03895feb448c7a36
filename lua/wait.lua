-- Puts a waiter in line, unless it stands there. Where the key is free, the first in line has it.
-- KEYS[1] lock    the lease, JSON          KEYS[2] seq     last sequence of the shard
-- KEYS[3] tokens  zset key -> token        KEYS[4] queue   zset waiter -> place in line
-- ARGV[1] key     ARGV[2] shard            ARGV[3] floor   ARGV[4] push      all as acquire.lua has them
-- ARGV[5] waiter  six lines of text, as line.lua has them
-- ARGV[6] wait_ms how long it may wait at most: the line is kept at least so long
-- ARGV[7] place   where it stood before the line was lost or it was dropped from it, or "" for the end of the line
-- ARGV[8] not_after  see lease.lua
-- Returns {"waiting", place, left_ms, offered}   left_ms of the lease that it waits for (-1: no expiry, -2: the key is
--                            free); offered: the sidecar that this lease is on offer to, or ""
--       | {"turn", token}    its turn has come already, so it is not in the line
--       | {"late", now_ms}   see lease.lua
-- A free key stays free when a waiter comes back to its place: others that stood before it may be about to, too.
-- Whoever comes back to an empty line says so to all. Fails, and has changed nothing, when no place is left.
-- A script, because a key that is freed between a look and the joining would wake nobody.
local lock, queue              = KEYS[1], KEYS[4]
local key, push                = ARGV[1], ARGV[4]
local waiter, wait_ms, place   = ARGV[5], tonumber(ARGV[6]), ARGV[7]
local not_after                = ARGV[8]

local refusal = late(not_after)
if refusal then
  return refusal
end
local lease = look(lock)
if type(lease) == 'table' and not string.find(lease.err, '^WRONGTYPE') then
  return lease
end
local sidecar, identity, attempt = string.match(waiter, '^([^\n]*)\n[^\n]*\n%d+\n([^\n]*)\n([^\n]*)\n')
if type(lease) == 'string' then
  local token, rest = string.match(lease, '^{"token":"(%d+)",(.*)$')
  -- Without the last quote: behind its own sending there may be others.
  local own = identity .. string.sub(attempt, 1, -3)
  if token and string.sub(rest, 1, #own) == own and string.find(rest, '^[" ]', #own + 1) then
    return {'turn', token}
  end
end
local comes_back = place ~= ''
if not comes_back then
  local sequence, used_up = next_sequence(KEYS, ARGV)
  if used_up then
    return used_up
  end
  -- The sequence numbers the places, too: it rises whatever happens to Redis.
  place = whole(sequence)
end
local is_new = redis.call('ZADD', queue, 'NX', place, waiter) == 1
-- A line whose sidecars all died must not stay for ever.
local keep_ms = whole(wait_ms + 60000)
if redis.call('PEXPIRE', queue, keep_ms, 'NX') == 0 then
  redis.call('PEXPIRE', queue, keep_ms, 'GT')
end
if comes_back and is_new and redis.call('ZCARD', queue) == 1 then
  redis.call('SPUBLISH', push .. 'all', 'lost\n' .. key .. '\n' .. sidecar)
end
if not lease and not comes_back and hand_over(KEYS, ARGV) then
  lease = redis.call('GET', lock)
end
local offered = type(lease) == 'string' and string.match(lease, ',"offered":"([%w-]+)"}$') or ''
return {'waiting', place, redis.call('PTTL', lock), offered}
