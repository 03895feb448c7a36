-- Grants a key to an owner, unless it is held or others wait for it.
-- KEYS[1] lock      the lease, JSON         KEYS[2] tokens  zset key -> token, and the last token of the shard
-- KEYS[3] queue     zset entry -> position   KEYS[4] watch  zset with one member, see lease.lua
-- ARGV[1] key       ARGV[2] shard   0 to 63
-- ARGV[3] floor     a sequence that every new one must exceed: the highest the caller has seen in this shard
-- ARGV[4] push      first part of the channels on which sidecars hear of their waiters' turns
-- ARGV[5] identity  the owner as the lease spells it: "kind":"user","owner":"alice",
-- ARGV[6] nonce     the attempt as the lease spells it: "nonce":"n-1",
-- ARGV[7] request   this sending of the attempt, a word; or nothing where the nonce names it
-- ARGV[8] ttl_ms    >= 1, how long a grant takes the key: as its terms have it, where `further` has terms; see lease.lua
-- ARGV[9] further   further fields of the lease, each a JSON string with a comma before it, or nothing
-- ARGV[10] own      what to do when this owner has the key by another attempt: "refuse"
--                   | "extend" (valid for ttl_ms from now where that is longer, else as it is)
-- ARGV[11] not_after  see lease.lua
-- Returns {"granted", token, since_ms, valid_until_ms}
--       | {"replayed", lease, valid_until_ms, left_ms}   this very attempt has it, also by this sending now
--       | {"renewed", lease, valid_until_ms, left_ms}    the owner had it, and own says so: same token
--       | {"held", lease, valid_until_ms, left_ms}       another attempt, owner or program has it (< 0: no expiry);
--                                                  another program's lease is ""; or too many sendings were told of it
--       | {"stranger"}                                   something that is no string lies under the key
--       | {"rejoining", until_ms, left_ms}               it is free, but its queue was lost, and those who waited are
--                                                  coming back to their positions until then
--       | {"late", now_ms}                               see lease.lua
-- Times are milliseconds since 1970 on this server's clock. The lease names the sendings that were told of it: see
-- lease.lua; undo.lua takes one out.
-- A free key that others wait for goes to the first of them, and is held. A repetition that is told of a lease on offer
-- takes it: it is valid for ttl_ms from now where that is longer.
-- The terms of a lease are those of its grant. Where its promise has ended, and the key is not free yet, it is held.
-- Fails, and has granted nothing, when no token is left above the last one (ERR … used up).
-- A script, because the token must be drawn from the same instant in which the key is seen to be free.
local lock, queue, watch                   = KEYS[1], KEYS[3], KEYS[4]
local key, push                            = ARGV[1], ARGV[4]
local identity, nonce, request, ttl_ms     = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local further, own, not_after              = ARGV[9], ARGV[10], ARGV[11]

local function found(word, lease)
  local valid_until = redis.call('PEXPIRETIME', lock)
  return {word, lease, valid_until, valid_until < 0 and valid_until or math.max(valid_until - now_ms, 0)}
end

local refusal = late(not_after)
if refusal then
  return refusal
end
-- A key is free nearly always when it is asked for, and no caller waits for it.
-- EXISTS counts a key as often as it is named.
local found_keys = redis.call('EXISTS', lock, queue, watch, watch, watch)
local is_taken, is_unwatched = found_keys > 0, found_keys < 3
local lease = is_taken and look(lock)
if type(lease) == 'table' then
  return string.find(lease.err, '^WRONGTYPE') and {'stranger'} or lease
end
if lease then
  local begin = string.match(lease, '^{"token":"%d+",()') or #lease + 1
  local attempt = identity .. nonce
  local is_replay = string.sub(lease, begin, begin + #attempt - 1) == attempt
  local is_own = is_replay or (own == 'extend' and string.sub(lease, begin, begin + #identity - 1) == identity)
  -- What does not expire is no lease of ours any more, whatever it looks like.
  local expires = is_own and redis.call('PEXPIRETIME', lock) or -1
  if expires < 0 then
    return found('held', lease)
  end
  -- How long this attempt would be promised it.
  local asked_ms = terms_of(further) or ttl_ms
  local valid_until, text = expires, lease

  local by, opens, closes = told(lease)
  local sending = request ~= '' and request or string.match(nonce, '^"nonce":"([^"]*)')
  sending = is_replay and sending or '+' .. sending
  local is_on_offer = take_offer(queue, token_of(lease))
  if is_on_offer then
    by = '' -- The waiter that it was offered to may be dead. If it takes its turn yet, it is told by that.
  elseif not is_promised(lease, expires) then
    return found('held', lease)
  end
  if not find_sending(by, sending) and not find_sending(by, '+*') then
    local is_full = #by + #sending >= LONGEST_BY
    if is_full and is_replay then
      return found('held', lease)
    end
    if is_full then
      by, sending = string.gsub(by, ' ?%+[^ ]+', ''), '+*'
    end
    text = tell(lease, by == '' and sending or by .. ' ' .. sending, opens, closes)
  end

  if not is_replay or is_on_offer then
    valid_until = math.max(expires, free_at(lease, asked_ms) or 0)
  end
  if not is_replay and not terms_of(lease) then
    local own_ttl_ms = tonumber(string.match(text, '"ttl":(%d+)'))
    if own_ttl_ms and own_ttl_ms < tonumber(asked_ms) then
      text = string.gsub(text, '"ttl":%d+', '"ttl":' .. asked_ms, 1)
    end
  end
  if text ~= lease or valid_until ~= expires then
    -- A write that Redis does even when it is out of memory; then it does the SET, too.
    redis.call('PEXPIREAT', lock, whole(valid_until))
    if text ~= lease then
      -- Not KEEPTTL: a lease in its last millisecond ends here, and the SET would make it one that never does.
      redis.call('SET', lock, text, 'PXAT', whole(valid_until))
    end
  end
  if is_replay and text ~= lease and string.find(lease, ',"hold":"', 1, true) then
    redis.call('SPUBLISH', push .. 'all', 'repeated\n' .. key .. '\n' .. token_of(lease))
  end
  local left_ms = math.max(valid_until - now_ms, 0)
  if is_replay then
    return {'replayed', text, valid_until, left_ms}
  end
  return {'renewed', text, valid_until, left_ms}
end

if is_taken then
  local handed, left_ms = hand_over(KEYS, ARGV, nil, nil, nil, is_unwatched)
  if left_ms then
    return {'rejoining', now_ms + left_ms, left_ms}
  end
  if handed then
    return found('held', look(lock))
  end
end
local by = request ~= '' and '"by":"' .. request .. '",' or ''
local token, since, valid_until, used_up = grant(KEYS, ARGV, identity .. nonce .. by, ttl_ms, further, ttl_ms)
if used_up then
  return used_up
end
if not is_unwatched then
  tell_watchers(watch, queue, push, 'granted', key, token)
end
return {'granted', token, since, valid_until}
