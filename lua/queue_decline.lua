-- Refuses an offer whose waiter is not there any more; the next waiter has the key next.
-- KEYS[1] lock    the lease, JSON          KEYS[2] tokens  zset key -> token, and the last token of the shard
-- KEYS[3] queue   zset entry -> position
-- KEYS[4] watch   zset with one member, see lease.lua
-- ARGV[1] key     ARGV[2] shard            ARGV[3] floor   ARGV[4] push      all as acquire.lua has them
-- ARGV[5] token   of the lease on offer    ARGV[6] sidecar  that it is on offer to
-- Returns {"declined"}
--       | {"nothing"}   this lease is not on offer to this sidecar (any more), or its owner was told of it meanwhile
-- A script, because the lease may be taken, or told of, between a GET and a DEL.
local lock, tokens, queue = KEYS[1], KEYS[2], KEYS[3]
local key                 = ARGV[1]
local token, sidecar      = ARGV[5], ARGV[6]

local marks = redis.pcall('ZMSCORE', queue, 'offer\n' .. token .. '\n' .. sidecar)
if marks.err or not marks[1] then
  return {'nothing'}
end
local lease, share = look(lock), nil
if type(lease) == 'table' and is_shared(lock) then
  share, lease = token, share_of(lock, token)
end
if type(lease) ~= 'string' or token_of(lease) ~= token or renewed(lease) == lease
  or string.find(told(lease), ' ', 1, true) then
  return {'nothing'}
end
local is_shared_still = remove(lock, tokens, key, share)
pass_on(KEYS, ARGV, token, 'released', nil, is_shared_still)
return {'declined'}
