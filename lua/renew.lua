-- Extends a lease that is still the caller's: sets its remaining time, never adds to it.
-- KEYS[1] lock   the lease, JSON           KEYS[2] queue     zset waiter -> place in line
-- KEYS[3] forced string, the token that was last taken away
-- ARGV[1] key    ARGV[2] token             ARGV[3] identity  the owner as the lease spells it
-- ARGV[4] ttl_ms >= 1, or "" for the lease's own
-- ARGV[5] push   first part of the channels on which sidecars hear of their waiters' turns
-- ARGV[6] not_after  see lease.lua
-- Returns {"renewed", lease, valid_until_ms, left_ms}
--       | {"lost"}           nothing lies under the key
--       | {"forced"}         the lease was taken away
--       | {"other", lease}   not this owner's lease of this token; the caller tells lost from not yours
--       | {"stranger"}       something that is no string lies under the key
--       | {"late", now_ms}   see lease.lua
-- Those who wait are told of an expiry that comes sooner than they knew. A lease on offer is taken by this: see line.lua.
-- A script, because between a GET and a PEXPIREAT the lease may expire and be granted to another.
local lock, queue, forced                = KEYS[1], KEYS[2], KEYS[3]
local key, token, identity, ttl_ms, push = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local not_after                          = ARGV[6]

local refusal = late(not_after)
if refusal then
  return refusal
end
local lease = redis.pcall('GET', lock)
if type(lease) == 'table' then
  return string.find(lease.err, '^WRONGTYPE') and {'stranger'} or lease
end
local mine = '{"token":"' .. token .. '",' .. identity
if not lease or string.sub(lease, 1, #mine) ~= mine then
  if redis.pcall('GET', forced) == token then
    return {'forced'}
  end
  return lease and {'other', is_lease(lease) and lease or ''} or {'lost'}
end
if ttl_ms == '' then
  ttl_ms = string.match(lease, '"ttl":(%d+)')
  if not ttl_ms then
    return {'other', lease}
  end
end
local valid_until = clock_ms() + ttl_ms
if redis.call('PEXPIREAT', lock, whole(valid_until), 'GT') == 0 then
  redis.call('PEXPIREAT', lock, whole(valid_until))
  if redis.call('EXISTS', queue) == 1 then
    redis.call('SPUBLISH', push .. 'all', 'offer\n' .. key .. '\n' .. ttl_ms .. '\n')
  end
end
-- The taking of an offer is the grant itself; any other renewal is told to somebody who then counts on the lease.
local text = string.gsub(lease, ',"offered":"[%w-]+"}$', '}')
if text == lease then
  text = renewed(lease)
end
if text ~= lease then
  redis.call('SET', lock, text, 'PXAT', whole(valid_until))
end
return {'renewed', text, valid_until, ttl_ms}
