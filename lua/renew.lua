-- Sets the remaining time of a lease that is still the caller's; never adds to it.
-- KEYS[1] lock   the lease, JSON           KEYS[2] queue     zset entry -> position
-- KEYS[3] forced string, the tokens that were last removed by force, see force.lua
-- KEYS[4] watch  zset with one member, see lease.lua
-- ARGV[1] key    ARGV[2] token             ARGV[3] identity  the owner as the lease spells it
-- ARGV[4] ttl_ms >= 1, or "" for the lease's own
-- ARGV[5] push   first part of the channels on which sidecars hear of their waiters' turns
-- ARGV[6] how    "set", for a caller that has the token: the time is ttl_ms, longer or shorter
--                | "check", for one that has it and asks what "set" would say: nothing is changed
--                | "extend", for a connection that holds the lease: a time that is longer stays
--                | "keep", for a sending that waits for other keys and was told of the lease: a time that is longer stays
--                | "take", for a waiter whose turn it is: a time that is longer stays where others were told of it
-- ARGV[7] sending  whose the hold, the wait or the turn is, as the lease names it; "" for "set" and "check"
-- ARGV[8] longest_ms  of ttl_ms and the delay of the lease's terms together, for "set"; or "" for no bound
-- ARGV[9] not_after  see lease.lua
-- Returns {"renewed", lease, valid_until_ms, left_ms}   when the key gets free
--       | {"capped"}         its terms let nothing be promised any more: it ends, or has ended
--       | {"too_long", delay_ms}  longest_ms is exceeded by the delay
--       | {"lost"}           nothing lies under the key, or of the leases that share it none has this token
--       | {"forced"}         the lease was removed by force
--       | {"superseded"}     "extend": another sending of the attempt was told of the lease later, and holds it now;
--                            "keep": this one is not among those that are told
--       | {"other", lease}   not this owner's lease of this token; the caller tells lost from not yours
--       | {"stranger"}       something that is no lease lies under the key
--       | {"late", now_ms}   see lease.lua
-- A time that gets shorter is said to all, for those who wait for the lease or hold it.
-- The time is that of the promise: the terms of a lease may let the key be taken for longer, see lease.lua.
-- A script, because between a GET and a PEXPIREAT the lease may expire and be granted to another.
local lock, queue, forced, watch         = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local key, token, identity, ttl_ms, push = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local how, sending                       = ARGV[6], ARGV[7]
local longest_ms, not_after              = ARGV[8], ARGV[9]

local refusal = late(not_after)
if refusal then
  return refusal
end
local lease = look(lock)
local share, ends
if type(lease) == 'table' then
  if not is_shared(lock) then
    return string.find(lease.err, '^WRONGTYPE') and {'stranger'} or lease
  end
  share = token
  lease, ends = share_of(lock, token)
end
local mine = '{"token":"' .. token .. '",' .. identity
if not lease or string.sub(lease, 1, #mine) ~= mine then
  if is_among(redis.pcall('GET', forced), token) then
    return {'forced'}
  end
  return lease and {'other', shown(lease, share)} or {'lost'}
end
local own_ttl_ms, delay_ms = terms_of(lease)
if ttl_ms == '' then
  ttl_ms = own_ttl_ms or string.match(lease, '"ttl":(%d+)')
  if not ttl_ms then
    return {'other', shown(lease, share)}
  end
elseif delay_ms and longest_ms ~= '' and ttl_ms + delay_ms > tonumber(longest_ms) then
  return {'too_long', delay_ms}
end
local valid_until = free_at(lease, ttl_ms)
if not valid_until then
  return {'capped'}
end
local text, may_shorten = lease, how == 'set'
if how == 'check' then
  return {'renewed', shown(lease, share), valid_until, valid_until - now_ms}
elseif how == 'set' then
  -- It is told to a caller that counts on the lease from now on.
  text = renewed(lease)
elseif how == 'keep' then
  if not find_sending(told(lease), sending) then
    return {'superseded'}
  end
elseif how == 'extend' then
  local by = told(lease)
  if by ~= sending and latest(by) ~= sending then
    return {'superseded'}
  end
else
  take_offer(queue, token)
  local by, opens, closes = told(lease)
  -- A repetition of its attempt, or its owner's re-entrant acquire, took the offer meanwhile.
  if not find_sending(by, sending) then
    by = sending .. ' ' .. by
    text = tell(lease, by, opens, closes)
  end
  may_shorten = by == sending and renewed(lease) ~= lease
end
local left_ms = valid_until - now_ms
if share then
  if valid_until < ends and not may_shorten then
    valid_until, left_ms = ends, ends - now_ms
  end
  store(lock, share, lease, text, valid_until, ends)
  if valid_until < ends and (how == 'set' or redis.call('EXISTS', queue, watch) > 0) then
    shortened(watch, queue, push, key, token, valid_until)
  end
  return {'renewed', shown(text, share), valid_until, left_ms}
end
if redis.call('PEXPIREAT', lock, whole(valid_until), 'GT') == 0 then
  local expires = not may_shorten and redis.call('PEXPIRETIME', lock) or -1
  if expires > 0 then
    valid_until, left_ms = expires, expires - now_ms
  else
    local is_shorter = valid_until < redis.call('PEXPIRETIME', lock)
    redis.call('PEXPIREAT', lock, whole(valid_until))
    if is_shorter and (how == 'set' or redis.call('EXISTS', queue, watch) > 0) then
      shortened(watch, queue, push, key, token, valid_until)
    end
  end
end
if text ~= lease then
  redis.call('SET', lock, text, 'PXAT', whole(valid_until))
end
return {'renewed', text, valid_until, left_ms}
