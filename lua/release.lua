-- Lets go of a lease that is still the caller's.
-- KEYS[1] lock   the lease, JSON    KEYS[2] tokens    zset key -> token
-- ARGV[1] key    ARGV[2] token, or "" for whichever lease this owner has
-- ARGV[3] identity  the owner as the lease spells it
-- Returns {"released"}
--       | {"lost"}           nothing lies under the key
--       | {"other", lease}   not this owner's lease (of this token); the caller tells lost from not yours
--       | {"stranger"}       something that is no string lies under the key
-- A script, because between a GET and a DEL the lease may expire and be granted to another.
local lock, tokens         = KEYS[1], KEYS[2]
local key, token, identity = ARGV[1], ARGV[2], ARGV[3]

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
  return {'other', lease}
end
-- The index first: were it of another type, Redis would refuse here, before anything is changed.
redis.call('ZREM', tokens, key)
redis.call('DEL', lock)
return {'released'}
