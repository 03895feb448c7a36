-- Takes back what one sending of an attempt was granted or told of, unless another sending of it was told, too.
-- What is freed goes to the first in line.
-- KEYS[1] lock    the lease, JSON          KEYS[2] seq     last sequence of the shard
-- KEYS[3] tokens  zset key -> token        KEYS[4] queue   zset waiter -> place in line
-- ARGV[1] key     ARGV[2] shard            ARGV[3] floor   ARGV[4] push      all as acquire.lua has them
-- ARGV[5] attempt  owner and nonce as the lease spells them: "kind":"user","owner":"alice","nonce":"n-1",
-- ARGV[6] request  the sending, a word; or nothing where the nonce names it
-- ARGV[7] waiter   its place in the queue, to be given up, too; or "" where it has none
-- Returns {"undone"}
--       | {"nothing"}   this sending of the attempt has no lease
--       | {"told"}      another sending of the attempt was told of the lease: it stays, without this one; or it was renewed
-- A script, because a repetition may be told between a GET and a DEL, and a turn come between leaving the line and a GET.
local lock, tokens, queue      = KEYS[1], KEYS[3], KEYS[4]
local key                      = ARGV[1]
local attempt, request, waiter = ARGV[5], ARGV[6], ARGV[7]

local lease = redis.pcall('GET', lock)
if type(lease) == 'table' and not string.find(lease.err, '^WRONGTYPE') then
  return lease
end
if waiter ~= '' then
  local left = redis.pcall('ZREM', queue, waiter)
  if type(left) == 'table' and not string.find(left.err, '^WRONGTYPE') then
    return left
  end
end
local begin = type(lease) == 'string' and string.match(lease, '^{"token":"%d+",()')
if not begin or string.sub(lease, begin, begin + #attempt - 1) ~= attempt then
  return {'nothing'}
end
local by, rest = string.match(lease, '^"by":"([^"]*)(.*)$', begin + #attempt)
if by == '*' or string.sub(lease, -#RENEWED) == RENEWED then
  return {'told'}
end
if (by or '') ~= request then
  local sendings = ' ' .. (by or '') .. ' '
  local first, last = string.find(sendings, ' ' .. request .. ' ', 1, true)
  if request == '' or not first then
    return {'nothing'}
  end
  local others = string.sub(string.sub(sendings, 1, first) .. string.sub(sendings, last + 1), 2, -2)
  local expires = redis.call('PEXPIRETIME', lock)
  if expires > 0 then
    -- As in acquire.lua: the first write lets the second through when Redis is out of memory.
    redis.call('PEXPIREAT', lock, whole(expires))
    lease = string.sub(lease, 1, begin + #attempt - 1) .. '"by":"' .. others .. rest
    redis.call('SET', lock, lease, 'PXAT', whole(expires))
  end
  return {'told'}
end
-- The index first: were it of another type, Redis would refuse here, before anything is changed.
redis.call('ZREM', tokens, key)
redis.call('DEL', lock)
pass_on(KEYS, ARGV)
return {'undone'}
