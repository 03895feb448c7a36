-- Grants an owner a lease that shares the key, unless it is held alone, as many share it as may, or others wait for it.
-- KEYS[1] lock      the lease, JSON         KEYS[2] tokens  zset key -> token, and the last token of the shard
-- KEYS[3] queue     zset entry -> position   KEYS[4] watch  zset with one member, see lease.lua
-- ARGV[1] key     ARGV[2] shard      ARGV[3] floor      ARGV[4] push    all as acquire.lua has them, and so are
-- ARGV[5] identity  ARGV[6] nonce     ARGV[7] request   ARGV[8] ttl_ms
-- ARGV[9] further   further fields of the lease; they begin with its mode and its limit, see queue.lua
-- ARGV[10] own      what to do when this owner shares the key by another attempt: "refuse" for nothing
--                   | "extend" (the oldest of its leases is valid for ttl_ms from now where that is longer, else as it is)
-- ARGV[11] not_after  see lease.lua
-- Returns {"granted", token, since_ms, valid_until_ms}
--       | {"replayed", lease, valid_until_ms, left_ms}   this very attempt has it, also by this sending now
--       | {"renewed", lease, valid_until_ms, left_ms}    the owner had it, and own says so: same token
--       | {"held", lease, valid_until_ms, left_ms}       it is held alone, as acquire.lua says it
--       | {"own", lease, valid_until_ms, left_ms}        likewise, by the owner itself, which would have the lease that it
--                                                  shares the key by: it waits in vain
--       | {"shared", lease, valid_until_ms, left_ms, count, waiters, why}   leases share it, so many; why is "full", and the
--                                                  lease the one whose end makes room, or "queue", and it is the last to end
--       | {"stranger"}                                   something that is no lease lies under the key
--       | {"rejoining", until_ms, left_ms}               as acquire.lua says it
--       | {"late", now_ms}                               see lease.lua
-- Only leases that last are counted, and no number of free ones is kept anywhere: none can be lost. The limit is this
-- request's alone, so that one that is lowered takes no lease away, and requests with different limits may share a key.
-- A repetition is told of the lease that its attempt has, also where that is exclusive.
-- Fails, and has granted nothing, when no token is left above the last one (ERR … used up).
-- A script, because the leases that share the key must be counted in the instant in which another is granted.
local lock, tokens, queue, watch           = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local key, push                            = ARGV[1], ARGV[4]
local identity, nonce, request, ttl_ms     = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local further, own, not_after              = ARGV[9], ARGV[10], ARGV[11]

local refusal = late(not_after)
if refusal then
  return refusal
end
local limit = limit_of(further)
-- EXISTS counts a key as often as it is named.
local found_keys = redis.call('EXISTS', lock, queue, watch, watch, watch)
local is_unwatched, is_shared_already = found_keys < 3, false
local lease = found_keys % 3 > 0 and look(lock)
if type(lease) == 'table' then
  if not is_shared(lock) then
    return string.find(lease.err, '^WRONGTYPE') and {'stranger'} or lease
  end
  is_shared_already = true
  local share, text, ends, is_replay = own_share(lock, identity, nonce, request, own)
  local row = share and told_again(KEYS, ARGV, text, ends, share, is_replay)
  if row then
    return row
  end
  if is_replay then
    return shared_row(lock, queue, limit, 'full')
  end
elseif lease then
  local is_replay = has(lease, identity .. nonce)
  local is_own = is_replay or (own == 'extend' and has(lease, identity))
  -- What does not expire is no lease of ours any more, whatever it looks like.
  local expires = is_own and redis.call('PEXPIRETIME', lock) or -1
  local row = is_replay and expires >= 0 and told_again(KEYS, ARGV, lease, expires, nil, true)
  if row then
    return row
  end
  if not is_replay and expires >= 0 and is_promised(lease, expires) then
    return found('own', lock, lease)
  end
  return found('held', lock, lease)
end

if found_keys % 3 > (is_shared_already and 1 or 0) then
  local handed, left_ms = hand_over(KEYS, ARGV, nil, nil, nil, is_unwatched, is_shared_already)
  if handed == 'rejoining' then
    return {'rejoining', now_ms + left_ms, left_ms}
  end
  if handed then
    lease = look(lock)
    if lease and type(lease) ~= 'table' then
      return found('held', lock, lease)
    end
    is_shared_already = type(lease) == 'table'
  end
  if is_shared_already and first_waiter(queue) then
    return shared_row(lock, queue, nil, 'queue')
  end
end
if is_shared_already then
  prune(lock, tokens, key)
  if count_shares(lock) >= limit then
    return shared_row(lock, queue, limit, 'full')
  end
end
local by = request ~= '' and '"by":"' .. request .. '",' or ''
local token, since, valid_until, used_up =
  grant_share(KEYS, ARGV, identity .. nonce .. by, ttl_ms, further, ttl_ms, is_shared_already)
if used_up then
  return used_up
end
if not is_unwatched then
  tell_watchers(watch, queue, push, 'granted', key, token)
end
return {'granted', token, since, valid_until}
