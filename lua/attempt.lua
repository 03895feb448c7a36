-- Not a script: stands behind queue.lua, before those that acquire: what they tell an attempt whose own lease is there, or
-- its owner's, and what they tell where a key is shared. `keys` and `args` are those of acquire.lua.

-- The row of a key that is held alone: a word, its lease, when it expires, and how long that is from now (< 0: no expiry).
local function found(word, lock, lease)
  local valid_until = redis.call('PEXPIRETIME', lock)
  return {word, lease, valid_until, valid_until < 0 and valid_until or math.max(valid_until - now_ms, 0)}
end

-- Of a key that leases share, the one that is this attempt's, else where `own` is "extend" the oldest one of its owner: its
-- token, its text, when it ends, whether it is the attempt's. Or nil.
local function own_share(lock, identity, nonce, request, own)
  local sending = string.match(nonce, '^"nonce":"([^"]*)')
  local token = token_at(lock, request ~= '' and 'a\n' .. identity .. nonce or 's\n' .. sending)
  local lease, ends = nil, nil
  if token then
    lease, ends = share_of(lock, token)
  end
  if lease and has(lease, identity .. nonce) then
    return token, lease, ends, true
  end
  if own == 'extend' then
    lease, ends = share_of_owner(lock, identity)
    return lease and token_of(lease), lease, ends, false
  end
end

-- The row of a key that leases share, and that is not granted to this request, and why not; `limit`: how many may share it,
-- as the request has it, where it waits for no more than that.
local function shared_row(lock, queue, limit, why)
  local count = count_shares(lock)
  local token, lease, ends = awaited(lock, count, limit)
  local waiters = redis.pcall('ZCOUNT', queue, '(0', '+inf')
  waiters = type(waiters) == 'number' and waiters or 0
  return {'shared', shown(lease, token), ends, math.max(ends - now_ms, 0), count, waiters, why}
end

-- Tells an attempt of a lease that it was granted (`is_replay`) or that its owner has, which it may take on: the row; or nil
-- where its promise has ended, or too many sendings were told of it. `share`: its token, where it shares its key.
local function told_again(keys, args, lease, expires, share, is_replay)
  local lock, queue, key, push = keys[1], keys[3], args[1], args[4]
  local nonce, request, ttl_ms, further = args[6], args[7], args[8], args[9]
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
    return nil
  end
  if not find_sending(by, sending) and not find_sending(by, '+*') then
    local is_full = not can_be_told(by, sending)
    if is_full and is_replay then
      return nil
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
    store(lock, share, lease, text, valid_until, expires)
  end
  if is_replay and text ~= lease and string.find(lease, ',"hold":"', 1, true) then
    redis.call('SPUBLISH', push .. 'all', 'repeated\n' .. key .. '\n' .. token_of(lease))
  end
  local left_ms = math.max(valid_until - now_ms, 0)
  return {is_replay and 'replayed' or 'renewed', shown(text, share), valid_until, left_ms}
end
