-- Moves the queue on when what it waits for has ended, and tells a sidecar how its waiters stand.
-- KEYS[1] lock    the lease, JSON          KEYS[2] tokens  zset key -> token, and the last token of the shard
-- KEYS[3] queue   zset entry -> position
-- KEYS[4] watch   zset with one member, see lease.lua
-- ARGV[1] key     ARGV[2] shard            ARGV[3] floor   ARGV[4] push      all as acquire.lua has them
-- ARGV[5] process the caller's: it is awake
-- ARGV[6] how     "rank": rows say exactly how the entries stand and when the lease ends; "": only what is needed to wait
-- ARGV[7..] entries  of the caller's waiters: the first and the last in the queue at least
-- Returns {"held", lease, valid_until_ms, left_ms, rank ..}   the key is held (< 0: no expiry), perhaps from just now on;
--                              the lease is "" where it is another program's; valid_until_ms -1 where how is "" and the
--                              lease has no terms
--       | {"shared", lease, valid_until_ms, left_ms, look_ms, rank ..}   leases share the key; the one whose end the first
--                              waiter waits for, and after how many milliseconds to look again at the latest
--       | {"stranger", rank ..}   something that is no lease lies under the key
--       | {"free", left_ms, rank ..}   it is free: Redis would not grant it, or waiters are missing or coming back;
--                              left_ms of the time that they have for that, < 0 where that is over
-- rank: how many wait before this entry (0 where how is ""), or -1 where it is not in the queue; before it moved on. -2 where
-- its attempt or its owner has a lease that shares the key, and it is to ask for that; see `has_share`.
-- A free key stays free when an entry is missing: the queue was lost, perhaps, and must be restored first.
-- A script, because whose turn it is must be decided once, however many sidecars ask at the same moment.
local lock, queue, watch = KEYS[1], KEYS[3], KEYS[4]
local process, how       = ARGV[5], ARGV[6]

local function row(fields, ranks)
  for _, rank in ipairs(ranks) do
    fields[#fields + 1] = rank
  end
  return fields
end

local lease, is_unwatched = look(lock, watch)
if type(lease) == 'table' and not string.find(lease.err, '^WRONGTYPE') then
  return lease
end
local entries = {unpack(ARGV, 7)}
local scores = redis.pcall('ZMSCORE', queue, unpack(entries))
if scores.err then
  return scores
end
local ranks, is_whole = {}, true
for i, entry in ipairs(entries) do
  ranks[i] = scores[i] and 0 or -1
  is_whole = is_whole and scores[i]
  if scores[i] and how == 'rank' then
    ranks[i] = redis.call('ZRANK', queue, entry) - redis.call('ZCOUNT', queue, '-inf', 0)
  end
end
local is_shared_already = type(lease) == 'table' and is_shared(lock)
for i, entry in ipairs(is_shared_already and entries or {}) do
  if scores[i] and has_share(lock, queue, entry) then
    ranks[i] = -2
  end
end
local left_ms
if (not lease or is_shared_already) and is_whole then
  left_ms = select(2, hand_over(KEYS, ARGV, nil, process, nil, is_unwatched, is_shared_already))
  lease = look(lock)
end
if not lease then
  return row({'free', left_ms or -1}, ranks)
end
if type(lease) == 'table' and is_shared(lock) then
  local token, text, ends = awaited_by_first(lock, queue)
  local ends_ms = math.max(ends - now_ms, 0)
  return row({'shared', shown(text, token), ends, ends_ms, math.min(ends_ms, left_ms or ends_ms)}, ranks)
end
if type(lease) == 'table' then
  return row({'stranger'}, ranks)
end
local valid_until = (how == 'rank' or terms_of(lease)) and redis.call('PEXPIRETIME', lock) or -1
return row({'held', lease, valid_until, redis.call('PTTL', lock)}, ranks)
