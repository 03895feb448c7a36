-- Grants a key to an owner, unless it is held or others wait for it.
-- KEYS[1] lock      the lease, JSON         KEYS[2] seq     last sequence of the shard
-- KEYS[3] tokens    zset key -> token       KEYS[4] queue   zset waiter -> place in line
-- ARGV[1] key       ARGV[2] shard   0 to 63
-- ARGV[3] floor     a sequence that every new one must exceed: the highest the caller has seen in this shard
-- ARGV[4] push      first part of the channels on which sidecars hear of their waiters' turns
-- ARGV[5] identity  the owner as the lease spells it: "kind":"user","owner":"alice",
-- ARGV[6] nonce     the attempt as the lease spells it: "nonce":"n-1",
-- ARGV[7] request   this sending of the attempt, a word; or nothing where the nonce names it
-- ARGV[8] ttl_ms    >= 1
-- ARGV[9] further   further fields of the lease, each a JSON string with a comma before it, or nothing
-- ARGV[10] own      what to do when this owner has the key by another attempt: "refuse"
--                   | "renew" (valid for ttl_ms from now) | "extend" (the same where that is longer, else as it is)
-- ARGV[11] not_after  see lease.lua
-- Returns {"granted", token, since_ms, valid_until_ms}
--       | {"replayed", lease, valid_until_ms, left_ms}   this very attempt has it, also by this sending now
--       | {"renewed", lease, valid_until_ms, left_ms}    the owner had it, and own says so: same token
--       | {"held", lease, valid_until_ms, left_ms}       another attempt, owner or program has it (< 0: no expiry);
--                                                  another program's lease is ""
--       | {"stranger"}                                   something that is no string lies under the key
--       | {"late", now_ms}                               see lease.lua
-- Times are milliseconds since 1970 on this server's clock; a lease begins {"token":"N", and then identity,
-- nonce, and "by":"r-1 r-2", of the sendings that were told of it, or "by":"*", when there are many; see undo.lua.
-- A free key that others wait for goes to the first of them, and is held; they are told of an expiry that comes sooner.
-- Fails, and has granted nothing, when no token is left above the last one (ERR … used up).
-- A script, because the token must be drawn from the same instant in which the key is seen to be free.
local lock, queue                          = KEYS[1], KEYS[4]
local key, push                            = ARGV[1], ARGV[4]
local identity, nonce, request, ttl_ms     = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local further, own, not_after              = ARGV[9], ARGV[10], ARGV[11]

local LONGEST_BY = 512 -- so that no lease grows without bound

local function found(word, lease)
  local valid_until = redis.call('PEXPIRETIME', lock)
  return {word, lease, valid_until, valid_until < 0 and valid_until or math.max(valid_until - clock_ms(), 0)}
end

local refusal = late(not_after)
if refusal then
  return refusal
end
-- A key is free nearly always when it is asked for, and nobody waits for it.
local is_taken = redis.call('EXISTS', lock, queue) > 0
local lease = is_taken and look(lock)
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
      redis.call('PEXPIREAT', lock, whole(expires))
      redis.call('SET', lock, lease, 'PXAT', whole(expires))
    end
    return found('replayed', lease)
  end
  if own == 'refuse' or string.sub(lease, begin, begin + #identity - 1) ~= identity then
    return found('held', lease)
  end
end

if lease then
  local valid_until, left_ms = clock_ms() + ttl_ms, ttl_ms
  if own == 'extend' then
    local expires = redis.call('PEXPIRETIME', lock)
    if expires > valid_until then
      valid_until, left_ms = expires, expires - clock_ms()
    end
  end
  -- A write that Redis does even when it is out of memory; then it does the SET, too.
  if redis.call('PEXPIREAT', lock, whole(valid_until), 'GT') == 0 then
    redis.call('PEXPIREAT', lock, whole(valid_until))
    if own == 'renew' and redis.call('EXISTS', queue) == 1 then
      redis.call('SPUBLISH', push .. 'all', 'offer\n' .. key .. '\n' .. ttl_ms .. '\n')
    end
  end
  local text = renewed(lease)
  local own_ttl_ms = own == 'extend' and tonumber(string.match(text, '"ttl":(%d+)'))
  if own_ttl_ms and own_ttl_ms < tonumber(ttl_ms) then
    text = string.gsub(text, '"ttl":%d+', '"ttl":' .. ttl_ms, 1)
  end
  if text ~= lease then
    -- Not KEEPTTL: see above.
    redis.call('SET', lock, text, 'PXAT', whole(valid_until))
  end
  return {'renewed', text, valid_until, left_ms}
end

if is_taken and hand_over(KEYS, ARGV) then
  return found('held', redis.call('GET', lock))
end
local by = request ~= '' and '"by":"' .. request .. '",' or ''
local token, since, valid_until, used_up = grant(KEYS, ARGV, identity .. nonce .. by, ttl_ms, further, ttl_ms)
if used_up then
  return used_up
end
return {'granted', token, since, valid_until}
