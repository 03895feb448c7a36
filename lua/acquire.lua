-- Grants a key to an owner, unless it is held.
-- KEYS[1] lock      the lease, JSON         KEYS[2] seq     last sequence of the shard
-- KEYS[3] tokens    zset key -> token
-- ARGV[1] key       ARGV[2] ttl_ms  >= 1    ARGV[3] shard   0 to 63
-- ARGV[4] floor     a sequence that every new one must exceed: the highest the caller has seen in this shard
-- ARGV[5] identity  the owner as the lease spells it: "kind":"user","owner":"alice",
-- ARGV[6] nonce     the attempt as the lease spells it: "nonce":"n-1",
-- ARGV[7] further   further fields of the lease, each a JSON string with a comma before it, or nothing
-- ARGV[8] own       what to do when this owner has the key by another attempt: "refuse"
--                   | "renew" (valid for ttl_ms from now) | "extend" (the same where that is longer, else as it is)
-- ARGV[9] request   this sending of the attempt, a word; or nothing where the nonce names it
-- Returns {"granted", token, since_ms, valid_until_ms}
--       | {"replayed", lease, valid_until_ms, left_ms}   this very attempt has it, also by this sending now
--       | {"renewed", lease, valid_until_ms, left_ms}    the owner had it, and own says so: same token
--       | {"held", lease, valid_until_ms, left_ms}       another attempt, owner or program has it (< 0: no expiry)
--       | {"stranger"}                                   something that is no string lies under the key
-- Times are strings of milliseconds since 1970 on this server's clock; a lease begins {"token":"N", and then identity,
-- nonce, and "by":"r-1 r-2", of the sendings that were told of it, or "by":"*", when there are many; see undo.lua.
-- Fails, and has granted nothing, when no token is left above the last one (ERR … used up).
-- A script, because the token must be drawn from the same instant in which the key is seen to be free.
local lock, seq, tokens                    = KEYS[1], KEYS[2], KEYS[3]
local key, ttl_ms, shard, floor            = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local identity, nonce, further, own        = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local request                              = ARGV[9]

local TOKEN_EPOCH_MS = 1735689600000 -- 2025-01-01T00:00:00Z
local SEQUENCE_END = 140737488355328 -- 2^47: from here on a token would not be exact in a double
local LONGEST_BY = 512               -- so that no lease grows without bound

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
  local is_replay = string.sub(lease, begin, begin + #attempt - 1) == attempt
  -- What does not expire is no lease of ours any more, whatever it looks like.
  local expires = is_replay and redis.call('PEXPIRETIME', lock) or -1
  if expires > 0 then
    local by, rest = string.match(lease, '^"by":"([^"]*)(.*)$', begin + #attempt)
    if by and request ~= '' and not string.find(' ' .. by .. ' ', ' ' .. request .. ' ', 1, true) then
      by = (by == '*' or #by + #request >= LONGEST_BY) and '*' or by .. ' ' .. request
      lease = string.sub(lease, 1, begin + #attempt - 1) .. '"by":"' .. by .. rest
      -- Changes nothing, but is a write that Redis does even when it is out of memory; then it does the SET, too. Not
      -- KEEPTTL: a lease in its last millisecond ends here, and the SET would make it one that never does.
      redis.call('PEXPIREAT', lock, expires)
      redis.call('SET', lock, lease, 'PXAT', expires)
    end
    return found('replayed', lease)
  end
  if own == 'refuse' or string.sub(lease, begin, begin + #identity - 1) ~= identity then
    return found('held', lease)
  end
end

local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now_ms = math.floor(now_us / 1000)
local valid_until = string.format('%.0f', now_ms + tonumber(ttl_ms))
if lease then
  local left_ms = ttl_ms
  if own == 'extend' then
    local expires = redis.call('PEXPIRETIME', lock)
    if expires > tonumber(valid_until) then
      valid_until, left_ms = string.format('%.0f', expires), string.format('%.0f', expires - now_ms)
    end
  end
  redis.call('PEXPIREAT', lock, valid_until)
  local own_ttl_ms = own == 'extend' and tonumber(string.match(lease, '"ttl":(%d+)'))
  if own_ttl_ms and own_ttl_ms < tonumber(ttl_ms) then
    lease = string.gsub(lease, '"ttl":%d+', '"ttl":' .. ttl_ms, 1)
    -- Not KEEPTTL: see above.
    redis.call('SET', lock, lease, 'PXAT', valid_until)
  end
  return {'renewed', lease, valid_until, left_ms}
end

-- 64 sequences a millisecond: the clock's own position in it first, so that the counter seldom has to move it on.
local sequence = math.max(math.floor((now_us - TOKEN_EPOCH_MS * 1000) * 64 / 1000), floor + 1)
if sequence < SEQUENCE_END then
  local last = math.floor(tonumber(redis.call('SET', seq, string.format('%.0f', sequence), 'GET') or 0) or 0)
  if last >= sequence then
    sequence = last + 1
    redis.call('SET', seq, string.format('%.0f', sequence))
  end
end
if sequence >= SEQUENCE_END then
  return redis.error_reply('ERR the sequence of shard ' .. shard .. ' is used up: no token is left above it')
end
local token = string.format('%.0f', sequence * 64 + shard)
local by = request ~= '' and '"by":"' .. request .. '",' or ''
local since = string.format('%.0f', now_ms)
-- The index before the lease: what Redis may refuse comes first, and a refused script has granted nothing.
redis.call('ZADD', tokens, token, key)
redis.call('SET', lock,
  '{"token":"' .. token .. '",' .. identity .. nonce .. by .. '"since":' .. since .. ',"ttl":' .. ttl_ms .. further .. '}',
  'NX', 'PXAT', valid_until)
return {'granted', token, since, valid_until}
