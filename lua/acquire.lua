-- Grants a key to an owner alone, unless it is held or others wait for it.
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
--       | {"shared", lease, valid_until_ms, left_ms, count, waiters, why}   leases share it, so many; the last one to end;
--                                                  why is "mode", or "own" for an owner that shares it and would have that:
--                                                  it waits in vain
--       | {"stranger"}                                   something that is no lease lies under the key
--       | {"rejoining", until_ms, left_ms}               it is free, but its queue was lost, and those who waited are
--                                                  coming back to their positions until then
--       | {"late", now_ms}                               see lease.lua
-- Times are milliseconds since 1970 on this server's clock. The lease names the sendings that were told of it: see
-- lease.lua; undo.lua takes one out. A repetition is told of the lease that its attempt has, also where that shares the key.
-- A free key that others wait for goes to the first of them, and is held. A repetition that is told of a lease on offer
-- takes it: it is valid for ttl_ms from now where that is longer.
-- The terms of a lease are those of its grant. Where its promise has ended, and the key is not free yet, it is held.
-- Fails, and has granted nothing, when no token is left above the last one (ERR … used up).
-- A script, because the token must be drawn from the same instant in which the key is seen to be free.
local lock, queue, watch                   = KEYS[1], KEYS[3], KEYS[4]
local key, push                            = ARGV[1], ARGV[4]
local identity, nonce, request, ttl_ms     = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local further, own, not_after              = ARGV[9], ARGV[10], ARGV[11]

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
  if not is_shared(lock) then
    return string.find(lease.err, '^WRONGTYPE') and {'stranger'} or lease
  end
  local share, text, ends, is_replay = own_share(lock, identity, nonce, request, own)
  local row = is_replay and told_again(KEYS, ARGV, text, ends, share, true)
  if row then
    return row
  end
  return shared_row(lock, queue, nil, share and not is_replay and 'own' or 'mode')
end
if lease then
  local is_replay = has(lease, identity .. nonce)
  local is_own = is_replay or (own == 'extend' and has(lease, identity))
  -- What does not expire is no lease of ours any more, whatever it looks like.
  local expires = is_own and redis.call('PEXPIRETIME', lock) or -1
  local row = expires >= 0 and told_again(KEYS, ARGV, lease, expires, nil, is_replay)
  if row then
    return row
  end
  return found('held', lock, lease)
end

if is_taken then
  local handed, left_ms = hand_over(KEYS, ARGV, nil, nil, nil, is_unwatched)
  if handed == 'rejoining' then
    return {'rejoining', now_ms + left_ms, left_ms}
  end
  if handed then
    lease = look(lock)
    if type(lease) == 'table' then
      return shared_row(lock, queue, nil, 'mode')
    end
    return found('held', lock, lease)
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
