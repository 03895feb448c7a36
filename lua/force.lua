-- Takes a lease away from whoever has it.
-- KEYS[1] lock   the lease, JSON    KEYS[2] tokens    zset key -> token
-- ARGV[1] key    ARGV[2] token, or "" for whichever lease there is
-- Returns {"forced", lease}
--       | {"free"}           nothing lies under the key
--       | {"other", lease}   a lease of another token, or a stranger's string
--       | {"stranger"}       something that is no string lies under the key
-- A script, because the lease that is taken away must be the one that was looked at.
local lock, tokens = KEYS[1], KEYS[2]
local key, token   = ARGV[1], ARGV[2]

local lease = redis.pcall('GET', lock)
if type(lease) == 'table' then
  return string.find(lease.err, '^WRONGTYPE') and {'stranger'} or lease
end
if not lease then
  return {'free'}
end
-- The whole of a lease, for here a text that only begins like one has no token to match.
local found = string.match(lease, '^{"token":"(%d+)","kind":"%l+","owner":".*","since":%d+,"ttl":%d+[,}]')
if not found or (token ~= '' and token ~= found) then
  return {'other', lease}
end
-- The index first: were it of another type, Redis would refuse here, before anything is changed.
redis.call('ZREM', tokens, key)
redis.call('DEL', lock)
return {'forced', lease}
