-- Puts a waiter in line, unless it stands there. Where the key is free, the first in line has it.
-- KEYS[1] lock    the lease, JSON          KEYS[2] seq     last sequence of the shard
-- KEYS[3] tokens  zset key -> token        KEYS[4] queue   zset waiter -> place in line
-- ARGV[1] key     ARGV[2] shard            ARGV[3] floor   ARGV[4] push      all as acquire.lua has them
-- ARGV[5] waiter  six lines of text, as line.lua has them
-- ARGV[6] wait_ms how long it may wait at most: the line is kept at least so long
-- ARGV[7] place   where it stood before the line was lost or it was dropped from it, or "" for the end of the line
-- Returns {"waiting", place, left_ms}   left_ms of the lease that it waits for (< 0: no expiry)
-- A script, because a key that is freed between a look and the joining would wake nobody.
local lock, seq, tokens, queue = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local key, shard, floor, push  = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local waiter, wait_ms, place   = ARGV[5], tonumber(ARGV[6]), ARGV[7]

if place == '' then
  -- The sequence numbers the places, too: it rises, and is kept.
  place = string.format('%.0f', redis.call('INCR', seq))
end
redis.call('ZADD', queue, 'NX', place, waiter)
-- A line whose sidecars all died must not stay for ever.
local keep_ms = string.format('%.0f', wait_ms + 60000)
if redis.call('PEXPIRE', queue, keep_ms, 'NX') == 0 then
  redis.call('PEXPIRE', queue, keep_ms, 'GT')
end
if redis.call('EXISTS', lock) == 0 then
  hand_over({lock = lock, seq = seq, tokens = tokens, queue = queue, key = key, shard = shard, floor = floor, push = push})
end
return {'waiting', place, string.format('%.0f', redis.call('PTTL', lock))}
