-- Not a script: stands, behind lease.lua, before those that grant, or that free a key and so let the next in line have it.
-- Each of them has lock, seq, tokens, queue as its first KEYS and key, shard, floor, push as its first ARGV (see
-- acquire.lua), and hands both on as they are: `keys`, `args`.
-- queue is a zset, waiter -> place in line. A waiter is six lines of text that its sidecar made:
--   sidecar, waiter (names without a newline), ttl_ms, identity, nonce and "by", further (as acquire.lua has them)
-- Channel push .. sidecar, for one sidecar: turn (key, waiter, token), dropped (key: its waiters left the line).
-- Channel push .. "all", for every sidecar that has waiters or holds locks: offer (key, left_ms, sidecar: the lease in
-- front ends so soon, and is on offer to that sidecar, if one is named), lost (key, sidecar: it found its waiters gone
-- from the line), forced (key, token: this lease was taken away).

local TOKEN_EPOCH_MS = 1735689600000 -- 2025-01-01T00:00:00Z
local SEQUENCE_END = 140737488355328 -- 2^47: from here on a token would not be exact in a double
-- A waiter's grant counts when its sidecar has taken it, by renew.lua, within this time. Until then the lease ends in
-- ,"offered":"sidecar"}, so that whoever looks knows who did not take it.
local OFFER_MS = 1500
-- The same where that sidecar does not listen just now. It may have lost its connection and find the offer by itself
-- when it listens again; or it has gone, and all its waiters with it.
local UNHEARD_OFFER_MS = 700

-- The next sequence of the shard, or nil and an error; nothing is changed then.
local function next_sequence(keys, args)
  -- 64 sequences a millisecond: the clock's own position in it first, so that the counter seldom has to move it on.
  local sequence = math.max(math.floor((clock_us() - TOKEN_EPOCH_MS * 1000) * 64 / 1000), args[3] + 1)
  if sequence < SEQUENCE_END then
    local stored = redis.pcall('SET', keys[2], whole(sequence), 'GET')
    if type(stored) == 'table' then
      return nil, stored
    end
    local last = math.floor(tonumber(stored or 0) or 0)
    if last >= sequence then
      sequence = last + 1
      redis.call('SET', keys[2], whole(sequence))
    end
  end
  if sequence >= SEQUENCE_END then
    return nil, redis.error_reply('ERR the sequence of shard ' .. args[2] .. ' is used up: no token is left above it')
  end
  return sequence
end

-- Grants the key, valid for valid_ms: token, since, valid_until; or a fourth, an error, and nothing is granted.
local function grant(keys, args, attempt, ttl_ms, further, valid_ms)
  local sequence, refusal = next_sequence(keys, args)
  if refusal then
    return nil, nil, nil, refusal
  end
  local token = whole(sequence * 64 + args[2])
  local since = clock_ms()
  local valid_until = since + valid_ms
  -- The index before the lease: what Redis may refuse comes first, and a refused script has granted nothing.
  local indexed = redis.pcall('ZADD', keys[3], token, args[1])
  if type(indexed) == 'table' then
    return nil, nil, nil, indexed
  end
  -- Lua writes a number in 14 digits, and a time of ours has 13.
  local set = redis.pcall('SET', keys[1],
    '{"token":"' .. token .. '",' .. attempt .. '"since":' .. since .. ',"ttl":' .. ttl_ms .. further .. '}',
    'NX', 'PXAT', whole(valid_until))
  if type(set) == 'table' and set.err then
    redis.call('ZREM', keys[3], args[1]) -- A key that was freed while its slot moves to another server.
    return nil, nil, nil, set
  end
  return token, since, valid_until
end

-- Takes all waiters of a sidecar out of the line. If it lives it puts them back, each at its place, once it is told or
-- listens again.
local function drop(keys, sidecar)
  for _, waiter in ipairs(redis.call('ZRANGE', keys[4], 0, -1)) do
    if string.sub(waiter, 1, #sidecar + 1) == sidecar .. '\n' then
      redis.call('ZREM', keys[4], waiter)
    end
  end
end

-- Offers a free key to the first waiter. Whether there was one.
local function hand_over(keys, args)
  local queue, key, push = keys[4], args[1], args[4]
  -- Changes nothing, but is a write that Redis does even when it is out of memory; then it does the grant, too.
  if type(redis.pcall('ZREMRANGEBYRANK', queue, 1, 0)) == 'table' then
    return false -- What is no line holds nobody up.
  end
  local first = redis.call('ZRANGE', queue, 0, 0)[1]
  while first do
    local sidecar, waiter, ttl_ms, identity, attempt, further =
      string.match(first, '^([%w-]+)\n([^\n]*)\n(%d+)\n([^\n]*)\n([^\n]*)\n([^\n]*)$')
    if sidecar then
      local listens = redis.call('PUBSUB', 'SHARDNUMSUB', push .. sidecar)[2] > 0
      local offer_ms = listens and OFFER_MS or UNHEARD_OFFER_MS
      local mark = ',"offered":"' .. sidecar .. '"'
      local token = grant(keys, args, identity .. attempt, ttl_ms, further .. mark, offer_ms)
      if not token then
        return false
      end
      redis.call('ZREM', queue, first)
      if not listens then
        drop(keys, sidecar)
      end
      redis.call('SPUBLISH', push .. sidecar, 'turn\n' .. key .. '\n' .. waiter .. '\n' .. token)
      if redis.call('EXISTS', queue) == 1 then
        redis.call('SPUBLISH', push .. 'all', 'offer\n' .. key .. '\n' .. offer_ms .. '\n' .. sidecar)
      end
      return true
    end
    redis.call('ZREM', queue, first) -- Not one that a sidecar made.
    first = redis.call('ZRANGE', queue, 0, 0)[1]
  end
  return false
end

-- What whoever frees a key does at the end: offers it to the first waiter. Where Redis takes no new key here, as while
-- the slot moves to another server, those who wait are told to look for themselves.
local function pass_on(keys, args)
  if redis.call('EXISTS', keys[4]) == 1 and not hand_over(keys, args) and redis.call('EXISTS', keys[4]) == 1 then
    redis.call('SPUBLISH', args[4] .. 'all', 'offer\n' .. args[1] .. '\n0\n')
  end
end
