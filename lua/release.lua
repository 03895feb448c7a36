-- Releases a lease that is still the caller's; the next waiter has it next, or when the rest that it leaves is over.
-- KEYS[1] lock    the lease, JSON          KEYS[2] tokens  zset key -> token, and the last token of the shard
-- KEYS[3] queue   zset entry -> position
-- KEYS[4] watch   zset with one member, see lease.lua
-- ARGV[1] key     ARGV[2] shard            ARGV[3] floor   ARGV[4] push      all as acquire.lua has them
-- ARGV[5] token, or "" for whichever lease this owner has
-- ARGV[6] identity  the owner as the lease spells it
-- ARGV[7] sending   of an attempt that releases what it was told of, and nothing that a later sending, or another attempt of
--                   its owner, was told of, too; or "" for a caller that has the token
-- ARGV[8] rest_ms   the key stays taken for so long from now on at least; or "" for no longer than the terms say
-- ARGV[9] how       "resigns" for a sending whose holder has stopped counting on the lease already, which the next waiter is
--                   to know; "shows" for a caller that is to be shown what it released; else ""
-- ARGV[10] not_after see lease.lua
-- Returns {"released"}         or {"released", lease} where it is shown
--       | {"lost"}           nothing lies under the key, or of the leases that share it none has this token
--       | {"told"}           another sending was told of the lease later, or another attempt: it stays, without this one
--       | {"other", lease}   not this owner's lease (of this token); the caller tells lost from not yours
--       | {"stranger"}       something that is no lease lies under the key
--       | {"late", now_ms}   see lease.lua
-- A lease that a connection to a sidecar holds (its field "hold") and that is released by its token is said to all.
-- A caller that has the token leaves a rest behind until "min" and rest_ms are over, see lease.lua. A sending does not end
-- its lease so surely: of one with terms the end is set, to "delay" from now or "min", and never later than it was; and
-- once, since its owner may renew it before a repetition of this runs.
-- A script, because between a GET and a DEL the lease may expire and be granted to another.
local lock, tokens, queue, watch = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local key, push                  = ARGV[1], ARGV[4]
local token, identity            = ARGV[5], ARGV[6]
local sending, rest_ms, how      = ARGV[7], ARGV[8], ARGV[9]
local not_after                  = ARGV[10]

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
  if token == '' then
    local last, text = awaited(lock, count_shares(lock))
    return {'other', shown(text, last)}
  end
  share = token
  lease, ends = share_of(lock, token)
end
if not lease then
  return {'lost'}
end
local mine
if token == '' then
  local begin = string.match(lease, '^{"token":"%d+",()')
  mine = begin and string.sub(lease, begin, begin + #identity - 1) == identity
else
  local beginning = '{"token":"' .. token .. '",' .. identity
  mine = string.sub(lease, 1, #beginning) == beginning
end
if not mine then
  return {'other', shown(lease, share)}
end
local ttl, delay, min = terms_of(lease)
if sending ~= '' then
  local by, opens, closes = told(lease)
  -- Another attempt of its owner counts on the lease until its own time, whatever was told of it later.
  if string.match(by, '[^ ]*$') ~= sending or string.find(' ' .. by, ' +', 1, true) then
    local first, last = find_sending(by, sending)
    local expires = first and (ends or redis.call('PEXPIRETIME', lock)) or -1
    if expires > 0 then
      by = without(by, first, last)
      -- The work of this one may go on: an undo of the later one must not skip the delay.
      if ttl and not find_sending(by, CLOSED) then
        by = CLOSED .. ' ' .. by
      end
      store(lock, share, lease, tell(lease, by, opens, closes), expires, expires)
    end
    return {'told'}
  end
  local free_from = ttl and math.max(now_ms + delay, since_of(lease) + min) or 0
  if free_from > now_ms then
    local was, expires = ends or redis.call('PEXPIRETIME', lock), nil
    if was < 0 or free_from < was then
      shortened(watch, queue, push, key, token_of(lease), free_from)
      expires = free_from
    end
    store(lock, share, lease, tell(lease, by .. ' ' .. CLOSED, opens, closes), expires or was, was)
    return {'released'}
  end
else
  if string.find(lease, ',"hold":"', 1, true) then
    redis.call('SPUBLISH', push .. 'all', 'released\n' .. key .. '\n' .. token_of(lease))
  end
  local free_from = math.max(ttl and since_of(lease) + min or 0, rest_ms ~= '' and now_ms + rest_ms or 0)
  if free_from > now_ms then
    take_offer(queue, token_of(lease))
    local rest = string.gsub(lease, '^{"token":"%d+",', '%0"rest":true,', 1)
    local was = ends or redis.call('PEXPIRETIME', lock)
    if free_from < was then
      shortened(watch, queue, push, key, token_of(lease), free_from)
    end
    store(lock, share, lease, rest, free_from, was)
    tell_watchers(watch, queue, push, 'released', key, token_of(lease))
    return {'released', how == 'shows' and shown(lease, share) or nil}
  end
end
local is_shared_still = remove(lock, tokens, key, share)
pass_on(KEYS, ARGV, token_of(lease), 'released', how == 'resigns', is_shared_still)
return {'released', how == 'shows' and shown(lease, share) or nil}
