-- Grants a key to an owner, unless it is held.
-- KEYS[1] lock      the lease, JSON         KEYS[2] seq     last sequence of the shard
-- KEYS[3] tokens    zset key -> token
-- ARGV[1] key       ARGV[2] ttl_ms  >= 1    ARGV[3] shard   0 to 63
-- ARGV[4] floor     a sequence that every new one must exceed: the highest the caller has seen in this shard
-- ARGV[5] identity  the owner as the lease spells it: "kind":"user","owner":"alice",
-- ARGV[6] nonce     the attempt as the lease spells it: "nonce":"n-1",
-- ARGV[7] further   further fields of the lease, each with a comma before it, or nothing
-- ARGV[8] own       what to do when this owner has the key by another attempt: "refuse" | "renew" (valid for ttl_ms from now)
-- Returns {"granted", token, since_ms, valid_until_ms}
--       | {"replayed", lease, valid_until_ms}   this very attempt has it; from now on undo.lua leaves it alone
--       | {"renewed", lease, valid_until_ms}    own = "renew", and the owner had it: same token
--       | {"held", lease, valid_until_ms}       another attempt, owner or program has it (valid_until_ms < 0: no expiry)
--       | {"stranger"}                          something that is no string lies under the key
-- Times are strings of milliseconds since 1970 on this server's clock; a lease begins {"token":"N", and then identity, nonce.
-- A script, because the token must be drawn from the same instant in which the key is seen to be free.
local lock, seq, tokens                    = KEYS[1], KEYS[2], KEYS[3]
local key, ttl_ms, shard, floor            = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local identity, nonce, further, own        = ARGV[5], ARGV[6], ARGV[7], ARGV[8]

local TOKEN_EPOCH_MS = 1735689600000 -- 2025-01-01T00:00:00Z

local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now_ms = math.floor(now_us / 1000)
local valid_until = string.format('%.0f', now_ms + ttl_ms)

local lease = redis.pcall('GET', lock)
if type(lease) == 'table' then
  return {'stranger'}
end
if lease then
  -- Where our own leases name their owner. Anywhere else the same words are a stranger's.
  local _, beginning = string.find(lease, '^{"token":"%d+",')
  local function names(text)
    return beginning and string.sub(lease, beginning + 1, beginning + #text) == text
  end
  if names(identity .. nonce) then
    if string.sub(lease, -13) ~= ',"told":true}' then
      lease = string.sub(lease, 1, -2) .. ',"told":true}'
      redis.call('SET', lock, lease, 'KEEPTTL')
    end
    return {'replayed', lease, string.format('%.0f', redis.call('PEXPIRETIME', lock))}
  end
  if own == 'renew' and names(identity) then
    redis.call('PEXPIREAT', lock, valid_until)
    return {'renewed', lease, valid_until}
  end
  return {'held', lease, string.format('%.0f', redis.call('PEXPIRETIME', lock))}
end

-- 64 sequences a millisecond: the clock's own position in it first, so that the counter seldom has to move it on.
local sequence = math.max(math.floor((now_us - TOKEN_EPOCH_MS * 1000) * 64 / 1000), floor + 1)
local last = tonumber(redis.call('SET', seq, string.format('%.0f', sequence), 'GET') or 0) or 0
if last >= sequence then
  sequence = last + 1
  redis.call('SET', seq, string.format('%.0f', sequence))
end
local token = string.format('%.0f', sequence * 64 + shard)
local since = string.format('%.0f', now_ms)
redis.call('SET', lock,
  '{"token":"' .. token .. '",' .. identity .. nonce .. '"since":' .. since .. ',"ttl":' .. ARGV[2] .. further .. '}',
  'NX', 'PXAT', valid_until)
redis.call('ZADD', tokens, token, key)
return {'granted', token, since, valid_until}
