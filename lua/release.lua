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
  return {'stranger'}
end
if not lease then
  return {'lost'}
end
local expected = token == '' and '%d+' or token
local _, beginning = string.find(lease, '^{"token":"' .. expected .. '",')
local mine = beginning and string.sub(lease, beginning + 1, beginning + #identity) == identity
if not mine then
  return {'other', lease}
end
redis.call('DEL', lock)
redis.call('ZREM', tokens, key)
return {'released'}
