-- Not a script: stands behind lease.lua, before those that know that leases may share a key.
-- A lease lies under `lock` alone, as a string: exclusive; or with others, in a zset of these members, of each lease, by its
-- token N:
--   N                     -> when the lease ends, milliseconds, so that those that last can be counted
--   the lease             -> -N   its JSON text, so that the oldest come last
--   "s\n", sending        -> -N   each sending that was told of it
--   "a\n", identity, nonce  -> -N   its attempt, where its nonce does not name the sending
-- and SHARED -> 0, the mark of such a zset. The key expires when the last lease ends; what ended earlier is removed when it
-- is met. One of them is a lease of its key as an exclusive one is: it has an owner, terms and a rest of its own.
-- What a lease is follows from where it lies, never from its text. So a row has it with "shared":true before its token,
-- where it shares its key: see `shown`. Its "limit", where it has one, is what its request asked for, not what others may.
-- To the index it is known as the key, "\n" and its token.

-- Leases that ended and are removed at once.
local MOST_PRUNED = 64

-- Whether leases share the key, of which `look` found that it is no string.
local function is_shared(lock)
  local marks = redis.pcall('ZMSCORE', lock, SHARED)
  return not marks.err and marks[1] ~= false
end

-- How many may share the key where the request for this lease is to be granted; nil where it wants it alone.
local function limit_of(further)
  if string.sub(further, 1, 16) ~= ',"mode":"shared"' then
    return nil
  end
  return tonumber(string.match(further, '^,"limit":"(%d+)"', 17)) or MOST_SHARES
end

-- The lease of this token that shares the key, and when it ends; or nil.
local function share_of(lock, token)
  local ends = tonumber(redis.call('ZMSCORE', lock, token)[1] or 0)
  if ends <= now_ms then
    return nil
  end
  local members = redis.call('ZRANGEBYSCORE', lock, '-' .. token, '-' .. token)
  return members[#members], ends
end

-- The token of the lease that shares the key and has this member; or nil.
local function token_at(lock, member)
  local score = redis.call('ZMSCORE', lock, member)[1]
  return score and whole(-tonumber(score)) or nil
end

-- The lease as a row has it; `share`: its token, where it shares its key.
local function shown(lease, share)
  return share and lease ~= '' and '{"shared":true,' .. string.sub(lease, 2) or lease
end

-- The leases that share the key and last, oldest first, at most `most`: texts, ends. And the newest token; and all that last,
-- the first to end first, as Redis returns them: token, end, token, end ..
local function shares(lock, most)
  local ends, texts, times, newest = {}, {}, {}, 0
  local lasting = redis.call('ZRANGEBYSCORE', lock, '(' .. whole(now_ms), '+inf', 'WITHSCORES')
  for i = 1, #lasting, 2 do
    ends[lasting[i]] = tonumber(lasting[i + 1])
    newest = math.max(newest, tonumber(lasting[i]))
  end
  local from = 0
  repeat
    local members = redis.call('ZRANGE', lock, '(0', '-inf', 'BYSCORE', 'REV', 'LIMIT', from, 256)
    for _, member in ipairs(members) do
      local token = token_of(member)
      if token and ends[token] and #texts < most then
        texts[#texts + 1], times[#times + 1] = member, ends[token]
      end
    end
    from = from + 256
  until #members < 256 or #texts >= most
  return texts, times, whole(newest), lasting
end

-- The oldest lease of this owner that shares the key, and when it ends; or nil.
local function share_of_owner(lock, identity)
  local leases, times = shares(lock, MOST_SHARES)
  for i, lease in ipairs(leases) do
    if has(lease, identity) then
      return lease, times[i]
    end
  end
end

-- Whether force.lua named this token; `tokens`: what it left.
local function is_among(tokens, token)
  return type(tokens) == 'string' and string.find(' ' .. tokens .. ' ', ' ' .. token .. ' ', 1, true)
end

-- How many leases share the key.
local function count_shares(lock)
  return redis.call('ZCOUNT', lock, '(' .. whole(now_ms), '+inf')
end

-- The lease whose end a request waits for, of `count` that share the key: for a limit that is reached the one that makes room,
-- else the last to end. Its token, its text, and when it ends.
local function awaited(lock, count, limit)
  local token
  if limit and count >= limit then
    local from = whole(count - limit)
    token = redis.call('ZRANGEBYSCORE', lock, '(' .. whole(now_ms), '+inf', 'LIMIT', from, '1')[1]
  else
    local last = whole(math.max(redis.call('PEXPIRETIME', lock), 1))
    token = redis.call('ZRANGEBYSCORE', lock, last, last)[1]
  end
  if not token then
    return '', '', now_ms -- In the millisecond in which the last one ends.
  end
  local members = redis.call('ZRANGEBYSCORE', lock, '-' .. token, '-' .. token)
  return token, members[#members], tonumber(redis.call('ZMSCORE', lock, token)[1])
end

-- The members of a lease but for its token and its attempt, each behind its score.
local function members_of(token, lease)
  local members = {'-' .. token, lease}
  for sending in string.gmatch(told(lease), '[^ ]+') do
    sending = string.match(sending, '^%+?(.*)$')
    if sending ~= '*' and sending ~= CLOSED then
      members[#members + 1] = '-' .. token
      members[#members + 1] = 's\n' .. sending
    end
  end
  return members
end

-- Sets the key's expiry to the last end of its leases, and so removes it where all have ended; whether there is one left.
local function settle(lock)
  local ends = tonumber(redis.call('ZRANGE', lock, '-1', '-1', 'WITHSCORES')[2])
  redis.call('PEXPIREAT', lock, whole(ends))
  return ends > now_ms
end

-- Changes nothing: what Redis may refuse of a change comes before its first part. And it is a write that Redis does even
-- when it is out of memory; then it does the others, too.
local function begin_change(zset)
  redis.call('ZREM', zset, '')
  redis.call('ZADD', zset, 'XX', '0', '')
end

-- Changes a lease to this text and this end; `share`: its token, where it shares its key, which it does until `ends`.
local function store(lock, share, lease, text, valid_until, ends)
  if not share then
    -- A write that Redis does even when it is out of memory; then it does the SET, too.
    redis.call('PEXPIREAT', lock, whole(valid_until))
    if text ~= lease then
      -- Not KEEPTTL: a lease in its last millisecond ends here, and the SET would make it one that never does.
      redis.call('SET', lock, text, 'PXAT', whole(valid_until))
    end
    return
  end
  begin_change(lock)
  redis.call('PEXPIREAT', lock, whole(valid_until), 'GT')
  local members = {}
  if text ~= lease then
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', lock, '-' .. share, '-' .. share)) do
      if string.sub(member, 1, 2) ~= 'a\n' then
        redis.call('ZREM', lock, member)
      end
    end
    members = members_of(share, text)
  end
  redis.call('ZADD', lock, whole(valid_until), share, unpack(members))
  if valid_until < ends then
    settle(lock)
  end
end

-- All members of a lease that shares the key.
local function all_members(lock, token)
  local members = redis.call('ZRANGEBYSCORE', lock, '-' .. token, '-' .. token)
  members[#members + 1] = token
  return unpack(members)
end

-- Ends a lease; `share` as above. Whether others share the key still.
local function remove(lock, tokens, key, share)
  -- The index first: were it of another type, Redis would refuse here, before anything is changed.
  redis.call('ZREM', tokens, share and key .. '\n' .. share or key)
  if share then
    redis.call('ZREM', lock, all_members(lock, share))
    return settle(lock)
  end
  redis.call('DEL', lock)
  return false
end

-- Removes leases that have ended from a key that is shared, the zset: which is no change for any caller.
local function prune(zset, tokens, key)
  local ended = redis.call('ZRANGEBYSCORE', zset, '(0', whole(now_ms), 'LIMIT', '0', MOST_PRUNED)
  for _, token in ipairs(ended) do
    redis.call('ZREM', tokens, key .. '\n' .. token)
    redis.call('ZREM', zset, all_members(zset, token))
  end
end
