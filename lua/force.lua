-- Force-releases a lease of any owner, or its rest; the next waiter gets the key, whatever the lease's terms are.
-- KEYS[1] lock    the lease, JSON          KEYS[2] tokens  zset key -> token, and the last token of the shard
-- KEYS[3] queue   zset entry -> position
-- KEYS[4] watch   zset with one member, see lease.lua
-- KEYS[5] forced  string, the token that was last removed; kept for a minute, so that its holder can be told
-- ARGV[1] key     ARGV[2] shard            ARGV[3] floor   ARGV[4] push      all as acquire.lua has them
-- ARGV[5] token, or "" for whichever lease there is      ARGV[6] not_after  see lease.lua
-- Returns {"forced", lease}
--       | {"free"}           nothing lies under the key
--       | {"other", lease}   a lease of another token, or a stranger's string
--       | {"stranger"}       something that is no string lies under the key
--       | {"late", now_ms}   see lease.lua
-- A script, because the lease that is removed must be the one that was looked at.
local lock, tokens, forced        = KEYS[1], KEYS[2], KEYS[5]
local key, push                   = ARGV[1], ARGV[4]
local token, not_after            = ARGV[5], ARGV[6]

local refusal = late(not_after)
if refusal then
  return refusal
end
local lease = look(lock)
if type(lease) == 'table' then
  return string.find(lease.err, '^WRONGTYPE') and {'stranger'} or lease
end
if not lease then
  return {'free'}
end
-- The whole of a lease, for here a text that only begins like one has no token to match.
local whole_lease = string.gsub(lease, '^({"token":"%d+",)"rest":true,', '%1', 1)
local found = string.match(whole_lease, '^{"token":"(%d+)","kind":"%l+","owner":".*","since":%d+,"ttl":%d+[,}]')
if not found or (token ~= '' and token ~= found) then
  return {'other', lease}
end
-- The index first: were it of another type, Redis would refuse here, before anything is changed.
redis.call('ZREM', tokens, key)
redis.call('DEL', lock)
redis.call('SET', forced, found, 'EX', 60)
redis.call('SPUBLISH', push .. 'all', 'forced\n' .. key .. '\n' .. found)
pass_on(KEYS, ARGV, found, 'forced')
return {'forced', lease}
