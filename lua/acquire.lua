-- Grants a key to an owner, unless it is held or others wait for it.
-- KEYS[1] lock      the lease, JSON         KEYS[2] seq     last sequence of the shard
-- KEYS[3] tokens    zset key -> token       KEYS[4] queue   zset waiter -> place in line
-- ARGV[1] key       ARGV[2] shard   0 to 63
-- ARGV[3] floor     a sequence that every new one must exceed: the highest the caller has seen in this shard
-- ARGV[4] push      first part of the channels on which sidecars hear of their waiters' turns
-- ARGV[5] identity  the owner as the lease spells it: "kind":"user","owner":"alice",
-- ARGV[6] nonce     the attempt as the lease spells it: "nonce":"n-1",
-- ARGV[7] request   this sending of the attempt, for undo.lua: "by":"r-1", or nothing where the nonce names it
-- ARGV[8] ttl_ms    >= 1
-- ARGV[9] further   further fields of the lease, each a JSON string with a comma before it, or nothing
-- ARGV[10] own      what to do when this owner has the key by another attempt: "refuse"
--                   | "renew" (valid for ttl_ms from now) | "extend" (the same where that is longer, else as it is)
-- Returns {"granted", token, since_ms, valid_until_ms}
--       | {"replayed", lease, valid_until_ms, left_ms}   this very attempt has it; from now on undo.lua leaves it alone
--       | {"renewed", lease, valid_until_ms, left_ms}    the owner had it, and own says so: same token
--       | {"held", lease, valid_until_ms, left_ms}       another attempt, owner or program has it (< 0: no expiry)
--       | {"stranger"}                                   something that is no string lies under the key
-- Times are strings of milliseconds since 1970 on this server's clock; a lease begins {"token":"N", and then identity,
-- nonce, request. A free key that others wait for goes to the first of them, and is held.
-- Fails, and has granted nothing, when no token is left above the last one (ERR … used up).
-- A script, because the token must be drawn from the same instant in which the key is seen to be free.
local lock, seq, tokens, queue             = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local key, shard, floor, push              = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local identity, nonce, request, ttl_ms     = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local further, own                         = ARGV[9], ARGV[10]

local function found(word, lease)
  local valid_until, left = redis.call('PEXPIRETIME', lock), redis.call('PTTL', lock)
  return {word, lease, string.format('%.0f', valid_until), string.format('%.0f', left)}
end

local lease = redis.pcall('GET', lock)
if type(lease) == 'table' then
  return string.find(lease.err, '^WRONGTYPE') and {'stranger'} or lease
end
if lease then
  local begin = string.match(lease, '^{"token":"%d+",()') or #lease + 1
  local attempt = identity .. nonce
  if string.sub(lease, begin, begin + #attempt - 1) == attempt then
    if string.sub(lease, -13) ~= ',"told":true}' then
      lease = string.sub(lease, 1, -2) .. ',"told":true}'
      -- Changes nothing, but is a write that Redis does even when it is out of memory; then it does the SET, too.
      redis.call('PEXPIREAT', lock, redis.call('PEXPIRETIME', lock))
      redis.call('SET', lock, lease, 'KEEPTTL')
    end
    return found('replayed', lease)
  end
  if own == 'refuse' or string.sub(lease, begin, begin + #identity - 1) ~= identity then
    return found('held', lease)
  end
end

local now_us = clock_us()
if lease then
  local valid_until = string.format('%.0f', math.floor(now_us / 1000) + tonumber(ttl_ms))
  if own == 'renew' then
    redis.call('PEXPIREAT', lock, valid_until)
    return {'renewed', lease, valid_until, ttl_ms}
  end
  redis.call('PEXPIREAT', lock, valid_until, 'GT')
  local own_ttl = tonumber(string.match(lease, '"ttl":(%d+)'))
  if own_ttl and own_ttl < tonumber(ttl_ms) then
    lease = string.gsub(lease, '"ttl":%d+', '"ttl":' .. ttl_ms, 1)
    redis.call('SET', lock, lease, 'KEEPTTL')
  end
  return found('renewed', lease)
end

local at = {lock = lock, seq = seq, tokens = tokens, queue = queue, key = key, shard = shard, floor = floor, push = push}
if redis.call('EXISTS', queue) == 1 and hand_over(at) then
  return found('held', redis.call('GET', lock))
end
local token, since, valid_until = grant(at, identity .. nonce .. request, ttl_ms, further, tonumber(ttl_ms), now_us)
if not token then
  return since
end
return {'granted', token, since, valid_until}
