-- Lets go of a lease that is still the caller's; the first in line has it next.
-- KEYS[1] lock    the lease, JSON          KEYS[2] seq     last sequence of the shard
-- KEYS[3] tokens  zset key -> token        KEYS[4] queue   zset waiter -> place in line
-- ARGV[1] key     ARGV[2] shard            ARGV[3] floor   ARGV[4] push      all as acquire.lua has them
-- ARGV[5] token, or "" for whichever lease this owner has
-- ARGV[6] identity  the owner as the lease spells it    ARGV[7] not_after  see lease.lua
-- Returns {"released"}
--       | {"lost"}           nothing lies under the key
--       | {"other", lease}   not this owner's lease (of this token); the caller tells lost from not yours
--       | {"stranger"}       something that is no string lies under the key
--       | {"late", now_ms}   see lease.lua
-- A script, because between a GET and a DEL the lease may expire and be granted to another.
local lock, tokens               = KEYS[1], KEYS[3]
local key                        = ARGV[1]
local token, identity, not_after = ARGV[5], ARGV[6], ARGV[7]

local refusal = late(not_after)
if refusal then
  return refusal
end
local lease = redis.pcall('GET', lock)
if type(lease) == 'table' then
  return string.find(lease.err, '^WRONGTYPE') and {'stranger'} or lease
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
  return {'other', is_lease(lease) and lease or ''}
end
-- The index first: were it of another type, Redis would refuse here, before anything is changed.
redis.call('ZREM', tokens, key)
redis.call('DEL', lock)
pass_on(KEYS, ARGV)
return {'released'}
