-- Takes back what an attempt was granted, when nobody was told of the grant.
-- KEYS[1] lock   the lease, JSON    KEYS[2] tokens    zset key -> token
-- ARGV[1] key
-- ARGV[2] attempt  owner, nonce and request as the lease spells them: "kind":"user","owner":"alice","nonce":"n-1","by":"r-1",
-- Returns {"undone"}
--       | {"nothing"}   this sending of the attempt has no lease
--       | {"told"}      a repetition of the attempt was told of the lease: it stays
-- A script, because a repetition may be told of the lease between a GET and a DEL.
local lock, tokens = KEYS[1], KEYS[2]
local key, attempt = ARGV[1], ARGV[2]

local lease = redis.pcall('GET', lock)
if type(lease) == 'table' and not string.find(lease.err, '^WRONGTYPE') then
  return lease
end
local begin = type(lease) == 'string' and string.match(lease, '^{"token":"%d+",()')
if not begin or string.sub(lease, begin, begin + #attempt - 1) ~= attempt then
  return {'nothing'}
end
if string.sub(lease, -13) == ',"told":true}' then
  return {'told'}
end
-- The index first: were it of another type, Redis would refuse here, before anything is changed.
redis.call('ZREM', tokens, key)
redis.call('DEL', lock)
return {'undone'}
