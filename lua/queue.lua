-- Not a script: stands, behind lease.lua, before those that grant, or that free a key and so offer it to the next waiter.
-- Each of them has lock, tokens, queue, watch as its first KEYS and key, shard, floor, push as its first ARGV (see
-- acquire.lua), and hands both on as they are: `keys`, `args`.
-- queue is a zset, entry -> position, from 1 on. An entry is six lines of text that its sidecar made:
--   sidecar, waiter (names without a newline), ttl_ms, identity, attempt, further
-- A sidecar's name is PROCESS-N, one for each thread of a process. attempt is the nonce, and "by" where the nonce does not
-- name the sending, as the lease has them; the other words are acquire.lua's.
-- Before them, at 0, may stand marks. "offer", token, sidecar: the lease was granted to a waiter, and its sidecar has yet to
-- take it, by renew.lua. The script that takes it or frees the key removes the mark; so one that is found beside a free key
-- lapsed, and none of that process's waiters is served before the process says that it is there. "rejoin", a time: the
-- queue was lost, and those who waited are coming back to their positions; until that time none of them is served. Marks
-- are no keys of their own, since on a cluster Redis runs a script in a slot that moves only where all its keys exist.
-- Channel push .. sidecar, for one sidecar: turn (key, waiter, token, left_ms, and "resigned" where the lease before was
-- released by a holder that had stopped counting on it), dropped (key: its entries left the queue),
-- offer (key, left_ms: the lease that its waiters wait for ends so soon).
-- Channel push .. "all", for every sidecar that has waiters or holds locks: offer (key, left_ms), lost (key, sidecar: it
-- found its entries gone from the queue), forced (key, token: this lease was removed by force), shortened (key, token,
-- left_ms: this lease ends so soon, and sooner than it did); and of a lease that a connection to a sidecar holds: released
-- (key, token: by its token), repeated (key, token: another sending of its attempt was told of it, and may hold it now).

-- A waiter's grant counts when its sidecar has taken it within this time.
local OFFER_MS = 1500
-- The time where that sidecar does not listen just now. It may have lost its connection and find the offer by itself
-- when it listens again; or it has ended, and all its waiters with it.
local UNHEARD_OFFER_MS = 700
-- A queue that was lost is restored by all its sidecars in this time.
local REJOIN_MS = 300
-- Waiters behind the one that is served whose sidecars are told: the one that is served may be dead, and the next ones,
-- too. The others look by themselves.
local TOLD_BEHIND = 4

-- The next sequence of the shard, or nil and an error; nothing is changed then.
local function next_sequence(keys, args)
  local tokens, shard = keys[2], args[2]
  local sequence = math.max(now_sequence, args[3] + 1)
  local raised = sequence < SEQUENCE_END and redis.pcall('ZADD', tokens, 'GT', 'CH', whole(sequence * 64 + shard), LAST)
  if type(raised) == 'table' then
    return nil, raised
  end
  if raised == 0 then
    sequence = math.floor(redis.call('ZMSCORE', tokens, LAST)[1] / 64) + 1
    if sequence < SEQUENCE_END then
      redis.call('ZADD', tokens, whole(sequence * 64 + shard), LAST)
    end
  end
  if sequence >= SEQUENCE_END then
    return nil, redis.error_reply('ERR the sequence of shard ' .. shard .. ' is used up: no token is left above it')
  end
  return sequence
end

-- Grants the key, valid for valid_ms: token, since, valid_until; or a fourth, an error, and nothing is granted.
local function grant(keys, args, attempt, ttl_ms, further, valid_ms)
  local lock, tokens, key = keys[1], keys[2], args[1]
  local sequence, refusal = next_sequence(keys, args)
  if refusal then
    redis.pcall('ZREM', tokens, key) -- As batch.lua may have left it.
    return nil, nil, nil, refusal
  end
  local token = whole(sequence * 64 + args[2])
  local since = now_ms
  local valid_until = since + valid_ms
  -- The index before the lease: what Redis may refuse comes first, and a refused script has granted nothing.
  redis.call('ZADD', tokens, token, key)
  -- Lua writes a number in 14 digits, and a time of ours has 13.
  local set = redis.pcall('SET', lock,
    '{"token":"' .. token .. '",' .. attempt .. '"since":' .. since .. ',"ttl":' .. ttl_ms .. further .. '}',
    'NX', 'PXAT', whole(valid_until))
  if type(set) == 'table' and set.err then
    redis.call('ZREM', tokens, key) -- A key that was freed while its slot moves to another server.
    return nil, nil, nil, set
  end
  return token, since, valid_until
end

-- Removes all entries of a process from the queue. If it lives it puts them back, each at its position, once it is told or
-- listens again.
local function drop(keys, args, process)
  local dropped = {}
  for _, entry in ipairs(redis.call('ZRANGE', keys[3], 0, -1)) do
    local sidecar = string.match(entry, '^([%w-]+)\n')
    if sidecar and string.sub(sidecar, 1, #process + 1) == process .. '-' then
      redis.call('ZREM', keys[3], entry)
      dropped[sidecar] = true
    end
  end
  for sidecar in pairs(dropped) do
    redis.call('SPUBLISH', args[4] .. sidecar, 'dropped\n' .. args[1])
  end
end

-- Offers a free key to the first waiter: "offered"; "rejoining" and for how long yet, milliseconds; or nil where there is
-- none to offer it to. `freed` is the token of the lease that ended just now, so that no offer of it lapsed; a process
-- that is `awake` did not let one lapse for want of life; `resigned`: see the channels above. Those who watch are told,
-- unless there are surely none.
local function hand_over(keys, args, freed, awake, resigned, is_unwatched)
  local queue, key, push = keys[3], args[1], args[4]
  -- Changes nothing, but is a write that Redis does even when it is out of memory; then it does the grant, too.
  if type(redis.pcall('ZREMRANGEBYRANK', queue, 1, 0)) == 'table' then
    return nil -- What is no queue holds up no caller.
  end
  for _, mark in ipairs(redis.call('ZRANGEBYSCORE', queue, '-inf', 0)) do
    local rejoin_until = tonumber(string.match(mark, '^rejoin\n(%d+)$'))
    local left_ms = (rejoin_until or 0) - now_ms
    -- More is left only where the clock went back.
    if left_ms > 0 and left_ms <= REJOIN_MS then
      return 'rejoining', left_ms
    end
    local token, process = string.match(mark, '^offer\n(%d+)\n(%w+)')
    if process and token ~= freed and process ~= awake then
      drop(keys, args, process)
    end
    redis.call('ZREM', queue, mark)
  end
  local first = redis.call('ZRANGE', queue, 0, 0)[1]
  while first do
    local sidecar, waiter, ttl_ms, identity, attempt, further =
      string.match(first, '^([%w-]+)\n([^\n]*)\n(%d+)\n([^\n]*)\n([^\n]*)\n([^\n]*)$')
    if sidecar then
      local listens = redis.call('PUBSUB', 'SHARDNUMSUB', push .. sidecar)[2] > 0
      local offer_ms = listens and OFFER_MS or UNHEARD_OFFER_MS
      local token = grant(keys, args, identity .. attempt, ttl_ms, further, offer_ms)
      if not token then
        return nil
      end
      -- In this order, so that the queue keeps its expiry.
      redis.call('ZADD', queue, 0, 'offer\n' .. token .. '\n' .. sidecar)
      redis.call('ZREM', queue, first)
      if not is_unwatched then
        tell_watchers(keys[4], queue, push, 'granted', key, token)
      end
      redis.call('SPUBLISH', push .. sidecar,
        'turn\n' .. key .. '\n' .. waiter .. '\n' .. token .. '\n' .. offer_ms .. (resigned and '\nresigned' or ''))
      local knows = {[sidecar] = true}
      for _, entry in ipairs(redis.call('ZRANGE', queue, 1, TOLD_BEHIND)) do
        local behind = string.match(entry, '^([%w-]+)\n')
        if behind and not knows[behind] then
          knows[behind] = true
          redis.call('SPUBLISH', push .. behind, 'offer\n' .. key .. '\n' .. offer_ms)
        end
      end
      return 'offered'
    end
    redis.call('ZREM', queue, first) -- Not one that a sidecar made.
    first = redis.call('ZRANGE', queue, 0, 0)[1]
  end
  return nil
end

-- What a script that freed a key, by ending the lease of the token `freed`, does at its end: tells those who watch how it
-- ended, in a word, and offers it to the first waiter. Where Redis takes no new key here, as while the slot moves to another
-- server, or waiters are coming back, those who wait are told to look for themselves.
-- `resigned` as above.
local function pass_on(keys, args, freed, word, resigned)
  -- EXISTS counts a key as often as it is named: 1 is the queue alone.
  local found = redis.call('EXISTS', keys[3], keys[4], keys[4])
  if found == 0 then
    return
  end
  local is_unwatched = found == 1
  if not is_unwatched then
    tell_watchers(keys[4], keys[3], args[4], word, args[1], freed)
  end
  local outcome, left_ms = hand_over(keys, args, freed, nil, resigned, is_unwatched)
  if outcome ~= 'offered' and redis.call('EXISTS', keys[3]) == 1 then
    redis.call('SPUBLISH', args[4] .. 'all', 'offer\n' .. args[1] .. '\n' .. (left_ms or 0))
  end
end
