-- Runs operations one after another, each as its own script would, in one call; those that are plain in a shorter way.
-- KEYS[..]  the operations' keys, one operation's after another's
-- ARGV[..]  of each operation: its name, how many keys and how many arguments it has, and its arguments
-- Returns a row of each operation, as its own script has it, but for
--         "granted TOKEN SINCE_MS VALID_UNTIL_MS", "released"    short for a row of these words
--       | {"released", lease}, {"held", lease, valid_until_ms, left_ms}, {"renewed", lease, valid_until_ms, left_ms}
--       | {"error", text, how}   where the script fails; how: "returned" by it, or "raised" in it, perhaps behind a change
-- head.lua stands before this text, and then whole_operations, which makes all other functions: of what it returns, <name>
-- is the script <name>.lua as a function of its KEYS and ARGV.
-- A short way changes nothing before it knows that its operation is plain: a free key without a queue, or one to share that
-- has room and no lease that ended; a key that another attempt has; a release or a renewal by the token, of a lease without
-- terms that has its key alone. Only the latter two are plain in a shard that is watched, and no release is. Where it is not,
-- or Redis refuses a command, the whole operation follows as if nothing had been looked at, and says what there is to say; of
-- a token that was not above the last one it finds the entry in the index, and draws another.
-- Redis looks for room and for replicas before a call's first write only: what one operation may write, all may.
-- A script, because entering one and reading from a socket cost Redis more than an operation does.
local rows, count      = {}, 0
local next_key, at     = 1, 1
local since            = whole(now_ms)
local until_of, timely = {}, ''
local drawn            = {} -- The last sequence of each shard that was drawn here: their clock is one.
local operations

while at < #ARGV do
  local name, key_count, last = ARGV[at], ARGV[at + 1], at + 2 + ARGV[at + 2]
  local is_hot = name == 'acquire' or name == 'release' or name == 'renew' or name == 'share'
  -- Operations that were sent together have mostly the same one.
  local not_after, row = is_hot and ARGV[last], nil
  if is_hot and not_after ~= timely and (not_after == '' or now_us <= not_after * 1000) then
    timely = not_after
  end

  if not_after ~= timely then
    -- No hot one, or late.
  elseif name == 'acquire' then
    local lock, tokens, queue, watch = unpack(KEYS, next_key, next_key + 3)
    local key, shard, floor, _, identity, nonce, request, ttl_ms, further, own = unpack(ARGV, at + 3, last)
    local taken = redis.pcall('EXISTS', lock, queue, watch)
    if taken == 0 then
      local sequence = math.max(now_sequence, floor + 1, (drawn[shard] or 0) + 1)
      if sequence < SEQUENCE_END then
        drawn[shard] = sequence
        local token = whole(sequence * 64 + shard)
        until_of[ttl_ms] = until_of[ttl_ms] or whole(now_ms + ttl_ms)
        local by = request == '' and '' or '"by":"' .. request .. '",'
        -- Both change only where the token is above the last one.
        local set = redis.pcall('ZADD', tokens, 'GT', 'CH', token, LAST, token, key) == 2 and redis.pcall('SET', lock,
          LEASE .. token .. '",' .. identity .. nonce .. by .. '"since":' .. since .. ',"ttl":' .. ttl_ms .. further .. '}',
          'NX', 'PXAT', until_of[ttl_ms])
        if set and set.ok then
          row = 'granted ' .. token .. ' ' .. since .. ' ' .. until_of[ttl_ms]
        end
      end
    elseif type(taken) == 'number' and own == 'refuse' then
      local lease = redis.pcall('GETRANGE', lock, '0', FIRST_READ_END)
      if type(lease) == 'string' and #lease < FIRST_READ and string.sub(lease, 1, #LEASE) == LEASE then
        local attempt = identity .. nonce
        -- Behind the token, where this is a lease.
        local begin = string.find(lease, ',', #LEASE, true) or #lease
        if string.sub(lease, begin + 1, begin + #attempt) ~= attempt then
          local ends = redis.pcall('PEXPIRETIME', lock)
          if type(ends) == 'number' then
            row = {'held', lease, ends, ends < 0 and ends or math.max(ends - now_ms, 0)}
          end
        end
      end
    end
  elseif name == 'share' then
    local lock, tokens, queue, watch = unpack(KEYS, next_key, next_key + 3)
    local key, shard, floor, _, identity, nonce, request, ttl_ms, further, own = unpack(ARGV, at + 3, last)
    -- EXISTS counts a key as often as it is named: 1 is the lock alone.
    local taken = request == '' and own == 'refuse' and redis.pcall('EXISTS', lock, queue, queue, watch, watch)
    local sending = 's\n' .. (string.match(nonce, '^"nonce":"([^"]*)",$') or '')
    local sharing = taken == 0 and 0
    local marks = taken == 1 and redis.pcall('ZMSCORE', lock, SHARED, sending)
    if marks and marks[1] and not marks[2] and redis.pcall('ZCOUNT', lock, '(0', since) == 0 then
      sharing = redis.pcall('ZCOUNT', lock, '(' .. since, '+inf')
    end
    local sequence = math.max(now_sequence, floor + 1, (drawn[shard] or 0) + 1)
    local limit = tonumber(string.match(further, '^,"mode":"shared","limit":"(%d+)"')) or MOST_SHARES
    if type(sharing) == 'number' and sharing < limit and sequence < SEQUENCE_END then
      drawn[shard] = sequence
      local token = whole(sequence * 64 + shard)
      until_of[ttl_ms] = until_of[ttl_ms] or whole(now_ms + ttl_ms)
      local ends = until_of[ttl_ms]
      -- As grant.lua does it, and why.
      if redis.pcall('ZADD', tokens, 'GT', 'CH', token, LAST, token, key .. '\n' .. token) == 2
        and type(redis.pcall('PEXPIREAT', lock, ends, 'GT')) == 'number'
        and type(redis.pcall('ZADD', lock, '0', SHARED, ends, token, '-' .. token,
          LEASE .. token .. '",' .. identity .. nonce .. '"since":' .. since .. ',"ttl":' .. ttl_ms .. further .. '}',
          '-' .. token, sending)) == 'number'
        and (taken == 1 or redis.pcall('PEXPIREAT', lock, ends) == 1) then
        row = 'granted ' .. token .. ' ' .. since .. ' ' .. ends
      end
    end
  elseif name == 'release' then
    local lock, tokens, queue, watch = unpack(KEYS, next_key, next_key + 3)
    local key, token, identity, sending, rest_ms, how = ARGV[at + 3], unpack(ARGV, at + 7, at + 11)
    local lease = token ~= '' and sending == '' and rest_ms == '' and redis.pcall('GETRANGE', lock, '0', FIRST_READ_END)
    local mine = LEASE .. token .. '",' .. identity
    if type(lease) == 'string' and #lease < FIRST_READ and string.sub(lease, 1, #mine) == mine
      and not string.find(lease, ',"hold":"', 1, true) and not string.find(lease, ',"terms":"', 1, true)
      and redis.pcall('EXISTS', queue, watch) == 0
      and type(redis.pcall('ZREM', tokens, key)) == 'number' and redis.pcall('DEL', lock) == 1 then
      row = how == '' and 'released' or {'released', lease}
    end
  else
    local lock = KEYS[next_key]
    local token, identity, ttl_ms, _, how = unpack(ARGV, at + 4, at + 8)
    local lease = how == 'set' and ttl_ms ~= '' and redis.pcall('GETRANGE', lock, '0', FIRST_READ_END)
    local mine = LEASE .. token .. '",' .. identity
    if type(lease) == 'string' and #lease < FIRST_READ and string.sub(lease, 1, #mine) == mine
      and not string.find(lease, ',"terms":"', 1, true) then
      until_of[ttl_ms] = until_of[ttl_ms] or whole(now_ms + ttl_ms)
      -- In the millisecond in which it was set it ends then already.
      if redis.pcall('PEXPIREAT', lock, until_of[ttl_ms], 'GT') == 1
        or redis.pcall('PEXPIRETIME', lock) == now_ms + ttl_ms then
        local set = string.sub(lease, -#RENEWED) == RENEWED
        if not set then
          lease = string.sub(lease, 1, -2) .. RENEWED
          set = redis.pcall('SET', lock, lease, 'PXAT', until_of[ttl_ms]).ok
        end
        row = set and {'renewed', lease, until_of[ttl_ms], ttl_ms}
      end
    end
  end

  if not row then
    operations = operations or whole_operations()
    local keys, args = {unpack(KEYS, next_key, next_key + key_count - 1)}, {unpack(ARGV, at + 3, last)}
    local is_done
    is_done, row = pcall(operations[name], keys, args)
    if not is_done or row.err then
      row = {'error', type(row) == 'table' and row.err or tostring(row), is_done and 'returned' or 'raised'}
    end
  end
  count, next_key, at = count + 1, next_key + key_count, last + 1
  rows[count] = row
end
return rows
