-- Not a script: stands before those that grant, or that free a key and so let the next one in line have it.
-- `at` names the place: lock, seq, tokens, queue (keys); key, shard, floor, push (see acquire.lua).
-- queue is a zset, waiter -> place in line. A waiter is six lines of text that its sidecar made:
--   sidecar, waiter (names without a newline), ttl_ms, identity, nonce and request, further (as acquire.lua has them)
-- Channels: push .. sidecar for one sidecar's waiters, push .. "all" for every sidecar that has any.

local TOKEN_EPOCH_MS = 1735689600000 -- 2025-01-01T00:00:00Z
local SEQUENCE_END = 140737488355328 -- 2^47: from here on a token would not be exact in a double
-- A waiter's grant counts when its sidecar has taken it, by renew.lua, within this time.
local OFFER_MS = 1500

local function clock_us()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Grants the key, valid for valid_ms: token, since, valid_until; or a fourth, an error, when the tokens are used up.
local function grant(at, attempt, ttl_ms, further, valid_ms, now_us)
  -- 64 sequences a millisecond: the clock's own position in it first, so that the counter seldom has to move it on.
  local sequence = math.max(math.floor((now_us - TOKEN_EPOCH_MS * 1000) * 64 / 1000), at.floor + 1)
  if sequence < SEQUENCE_END then
    local last = math.floor(tonumber(redis.call('SET', at.seq, string.format('%.0f', sequence), 'GET') or 0) or 0)
    if last >= sequence then
      sequence = last + 1
      redis.call('SET', at.seq, string.format('%.0f', sequence))
    end
  end
  if sequence >= SEQUENCE_END then
    return nil, nil, nil, redis.error_reply('ERR the sequence of shard ' .. at.shard .. ' is used up: no token is left above it')
  end
  local now_ms = math.floor(now_us / 1000)
  local token = string.format('%.0f', sequence * 64 + at.shard)
  local since = string.format('%.0f', now_ms)
  local valid_until = string.format('%.0f', now_ms + valid_ms)
  -- The index before the lease: what Redis may refuse comes first, and a refused script has granted nothing.
  redis.call('ZADD', at.tokens, token, at.key)
  redis.call('SET', at.lock,
    '{"token":"' .. token .. '",' .. attempt .. '"since":' .. since .. ',"ttl":' .. ttl_ms .. further .. '}',
    'NX', 'PXAT', valid_until)
  return token, since, valid_until
end

-- Offers a free key to the first waiter whose sidecar listens; those before it are dropped. Whether there was one.
local function hand_over(at)
  -- What is no line holds nobody up.
  local popped = redis.pcall('ZPOPMIN', at.queue)
  while popped[1] do
    local sidecar, waiter, ttl_ms, identity, attempt, further =
      string.match(popped[1], '^([^\n]*)\n([^\n]*)\n(%d+)\n([^\n]*)\n([^\n]*)\n([^\n]*)$')
    if sidecar then
      local token = grant(at, identity .. attempt, ttl_ms, further, OFFER_MS, clock_us())
      if not token then
        return false
      end
      local turn = 'turn\n' .. at.key .. '\n' .. waiter .. '\n' .. token
      if redis.call('PUBLISH', at.push .. sidecar, turn) > 0 then
        if redis.call('EXISTS', at.queue) == 1 then
          redis.call('PUBLISH', at.push .. 'all', 'offer\n' .. at.key .. '\n' .. OFFER_MS .. '\n' .. sidecar)
        end
        return true
      end
      -- Nobody listens: the sidecar has gone, and its waiters with it.
      redis.call('ZREM', at.tokens, at.key)
      redis.call('DEL', at.lock)
    end
    popped = redis.call('ZPOPMIN', at.queue)
  end
  return false
end

