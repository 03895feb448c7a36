-- Undoes what one sending of an attempt was granted or told of: it is told of it no more. A lease that no other sending
-- was told of is freed, and goes to the next waiter.
-- KEYS[1] lock    the lease, JSON          KEYS[2] tokens  zset key -> token, and the last token of the shard
-- KEYS[3] queue   zset entry -> position
-- KEYS[4] watch   zset with one member, see lease.lua
-- ARGV[1] key     ARGV[2] shard            ARGV[3] floor   ARGV[4] push      all as acquire.lua has them
-- ARGV[5] identity  the owner as the lease spells it
-- ARGV[6] sending  its name, which no other sending has; or "" to remove the entry alone
-- ARGV[7] entry    its entry in the queue, to be removed, too; or "" where it has none
-- ARGV[8] not_after  see lease.lua
-- Returns {"undone"}       the lease is freed
--       | {"nothing"}      this sending was told of no lease
--       | {"told"}         another sending was told of the lease, or it was renewed: it stays, without this sending
--       | {"late", now_ms} see lease.lua
-- A lease that stays keeps its time, also what this sending added to it: those who stay may have been told of that, by a
-- repetition, a renewal or a look.
-- A script, because a repetition may be told between a GET and a DEL, and a turn come between leaving the queue and a GET.
local lock, tokens, queue, watch = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local key, push                  = ARGV[1], ARGV[4]
local identity, sending, entry   = ARGV[5], ARGV[6], ARGV[7]
local not_after                  = ARGV[8]

local refusal = late(not_after)
if refusal then
  return refusal
end
local lease = look(lock)
local share, ends
if type(lease) == 'table' then
  if is_shared(lock) then
    share = token_at(lock, 's\n' .. sending) or '0'
    lease, ends = share_of(lock, share)
  elseif not string.find(lease.err, '^WRONGTYPE') then
    return lease
  end
end
if entry ~= '' then
  local left = redis.pcall('ZREM', queue, entry)
  if type(left) == 'table' and not string.find(left.err, '^WRONGTYPE') then
    return left
  end
  if left == 1 then
    tell_watchers(watch, queue, push, 'waiting', key, '0')
    if share then
      hand_over(KEYS, ARGV, nil, nil, nil, nil, true) -- Those behind it may have room.
    end
  end
end
if sending == '' then
  return {'nothing'}
end
local begin = type(lease) == 'string' and string.match(lease, '^{"token":"%d+",()')
if not begin or string.sub(lease, begin, begin + #identity - 1) ~= identity then
  return {'nothing'}
end
local by, opens, closes = told(lease)
local first, last = find_sending(by, sending)
if not first then
  sending = '+' .. sending
  first, last = find_sending(by, sending)
end
if not first then
  return {'nothing'}
end
local others = without(by, first, last)
if others ~= '' or renewed(lease) == lease then
  take_offer(queue, token_of(lease))
  local expires = ends or redis.call('PEXPIRETIME', lock)
  if expires > 0 then
    store(lock, share, lease, tell(lease, others, opens, closes), expires, expires)
  end
  return {'told'}
end
local is_shared_still = remove(lock, tokens, key, share)
pass_on(KEYS, ARGV, token_of(lease), 'released', nil, is_shared_still)
return {'undone'}
