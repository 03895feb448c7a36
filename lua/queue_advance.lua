-- Moves the queue on when the lease before it has ended, and tells a sidecar how its waiters stand.
-- KEYS[1] lock    the lease, JSON          KEYS[2] seq     last sequence of the shard
-- KEYS[3] tokens  zset key -> token        KEYS[4] queue   zset entry -> position
-- KEYS[5] offer   see queue.lua
-- ARGV[1] key     ARGV[2] shard            ARGV[3] floor   ARGV[4] push      all as acquire.lua has them
-- ARGV[5] process the caller's: it is awake
-- ARGV[6..] entries  of the caller's waiters: the first and the last in the queue at least
-- Returns {"held", lease, valid_until_ms, left_ms, rank ..}   the key is held (< 0: no expiry), perhaps from just now on;
--                              the lease is "" where it is another program's
--       | {"stranger", rank ..}   something that is no string lies under the key
--       | {"free", left_ms, rank ..}   it is free: Redis would not grant it, or waiters are missing or coming back;
--                              left_ms of the time that they have for that, < 0 where that is over
-- rank: how many wait before this entry, or -1 where it is not in the queue; before the queue moved on.
-- A free key stays free when an entry is missing: the queue was lost, perhaps, and must be restored first.
-- A script, because whose turn it is must be decided once, however many sidecars ask at the same moment.
local lock, queue = KEYS[1], KEYS[4]
local process     = ARGV[5]

local function row(fields, ranks)
  for _, rank in ipairs(ranks) do
    fields[#fields + 1] = rank
  end
  return fields
end

local lease = look(lock)
if type(lease) == 'table' and not string.find(lease.err, '^WRONGTYPE') then
  return lease
end
local ahead = redis.pcall('ZCOUNT', queue, '-inf', 0)
if type(ahead) == 'table' then
  return ahead
end
local ranks, is_whole = {}, true
for i = 6, #ARGV do
  local rank = redis.call('ZRANK', queue, ARGV[i])
  ranks[#ranks + 1] = rank and rank - ahead or -1
  is_whole = is_whole and rank
end
local left_ms
if not lease and is_whole then
  left_ms = select(2, hand_over(KEYS, ARGV, process))
  lease = look(lock)
end
if not lease then
  return row({'free', left_ms or -1}, ranks)
end
if type(lease) == 'table' then
  return row({'stranger'}, ranks)
end
local valid_until = redis.call('PEXPIRETIME', lock)
return row({'held', lease, valid_until, valid_until < 0 and valid_until or math.max(valid_until - clock_ms(), 0)}, ranks)
