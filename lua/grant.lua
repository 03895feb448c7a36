-- Not a script: stands behind shared.lua, before those that grant: how a key is granted, alone or to be shared.
-- `keys` and `args` are those of the script, as queue.lua has them.

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
  local sequence = math.max(now_sequence, args[3] + 1)
  local token = whole(sequence * 64 + args[2])
  -- The index before the lease: what Redis may refuse comes first, and a refused script has granted nothing. Both change only
  -- where the token is above the last one.
  if sequence >= SEQUENCE_END or redis.pcall('ZADD', tokens, 'GT', 'CH', token, LAST, token, key) ~= 2 then
    local refusal
    sequence, refusal = next_sequence(keys, args)
    if refusal then
      redis.pcall('ZREM', tokens, key)
      return nil, nil, nil, refusal
    end
    token = whole(sequence * 64 + args[2])
    redis.call('ZADD', tokens, token, key)
  end
  local since = now_ms
  local valid_until = since + valid_ms
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

-- Grants a share of the key, which is shared already or free, as `grant` does.
local function grant_share(keys, args, attempt, ttl_ms, further, valid_ms, is_shared_already)
  local lock, tokens, key = keys[1], keys[2], args[1]
  local sequence, refusal = next_sequence(keys, args)
  if refusal then
    return nil, nil, nil, refusal
  end
  local token = whole(sequence * 64 + args[2])
  local since, valid_until = now_ms, whole(now_ms + valid_ms)
  local lease = '{"token":"' .. token .. '",' .. attempt .. '"since":' .. since .. ',"ttl":' .. ttl_ms .. further .. '}'
  local members = members_of(token, lease)
  local named = string.match(attempt, '^(.*)"by":"[^"]*",$')
  if named then
    members[#members + 1] = '-' .. token
    members[#members + 1] = 'a\n' .. named
  end
  redis.call('ZADD', tokens, token, key .. '\n' .. token)
  -- Where the key is not there this changes nothing, but Redis does not refuse it later. Without an expiry a key is taken to
  -- expire later than any time.
  local lengthened = redis.call('PEXPIREAT', lock, valid_until, 'GT')
  local added = redis.pcall('ZADD', lock, '0', SHARED, valid_until, token, unpack(members))
  if type(added) == 'table' then
    redis.call('ZREM', tokens, key .. '\n' .. token)
    return nil, nil, nil, added
  end
  if not is_shared_already then
    redis.call('PEXPIREAT', lock, valid_until)
  elseif lengthened == 0 then
    settle(lock) -- It may have had another end than that of its last lease: none was left.
  end
  return token, since, since + valid_ms
end
