-- Not a script: stands behind grant.lua, before those that grant, or that free a key and so offer it to the next waiter.
-- Each of them has lock, tokens, queue, watch as its first KEYS and key, shard, floor, push as its first ARGV (see
-- acquire.lua), and hands both on as they are: `keys`, `args`.
-- queue is a zset, entry -> position, from 1 on. An entry is six lines of text that its sidecar made:
--   sidecar, waiter (names without a newline), ttl_ms, identity, attempt, further
-- A sidecar's name is PROCESS-N, one for each thread of a process. attempt is the nonce, and "by" where the nonce does not
-- name the sending, as the lease has them; the other words are acquire.lua's. `further` begins ,"mode":"shared" and then
-- perhaps ,"limit":"N" of a waiter that would share the key, see shared.lua; and ends with OWN of one that would have the
-- lease that its owner has. First come, first served over both modes.
-- Before them, at 0, may stand marks. "offer", token, sidecar: the lease was granted to a waiter, and its sidecar has yet to
-- take it, by renew.lua. The script that takes it or frees the key removes the mark; so one that is found beside a free key
-- lapsed, and none of that process's waiters is served before the process says that it is there. "rejoin", a time: the
-- queue was lost, and those who waited are coming back to their positions; until that time none of them is served. And at
-- minus a time, "alive", a process: that of the first waiter of a key that leases share, and when it last said that it is
-- there, or was first waited for. Marks are no keys of their own, since on a cluster Redis runs a script in a slot that
-- moves only where all its keys exist.
-- Channel push .. sidecar, for one sidecar: turn (key, waiter, token, left_ms, and "resigned" where the lease before was
-- released by a holder that had stopped counting on it), again (key, waiter: it is to leave the queue, and to ask for the
-- lease that its attempt or its owner has), dropped (key: its entries left the queue), offer (key, left_ms: the lease that its
-- waiters wait for ends so soon).
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
-- Waiters that a key is offered to at once, where they can share it.
local MOST_OFFERS = 64
-- A process whose waiter keeps those behind it from a key that leases share is taken to be there for so long from its last
-- look on: somewhat longer than it leaves between two.
local ALIVE_MS = 1900

local ENTRY = '^([%w-]+)\n([^\n]*)\n(%d+)\n([^\n]*)\n([^\n]*)\n([^\n]*)$'
-- The end of an entry, and no part of any lease.
local OWN = ',"own":"extend"'

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

-- The first waiter's entry, and how many may share the key where it is served (nil where it wants it alone). `known`: the
-- first entry, where it was read already.
local function first_waiter(queue, known)
  while true do
    local first = known or redis.call('ZRANGEBYSCORE', queue, '(0', '+inf', 'LIMIT', '0', '1')[1]
    known = nil
    if not first then
      return nil
    end
    local further = select(6, string.match(first, ENTRY))
    if further then
      return first, limit_of(further)
    end
    redis.call('ZREM', queue, first) -- Not one that a sidecar made.
  end
end

-- Whether a waiter is to ask for a lease that shares the key instead of waiting for one of its own: another sending of its
-- attempt has it, or, where it would have that, its owner.
local function has_share(lock, queue, entry)
  local _, sending, _, identity, attempt, further = string.match(entry, ENTRY)
  local named = string.match(attempt, '^(.*)"by":"[^"]*",$')
  local token, lease, ends = named and token_at(lock, 'a\n' .. identity .. named), nil, nil
  if token then
    lease, ends = share_of(lock, token)
  end
  if lease and (is_promised(lease, ends) and can_be_told(told(lease), sending) or offer_of(queue, token)) then
    return true
  end
  if string.sub(further, -#OWN) ~= OWN then
    return false
  end
  lease, ends = share_of_owner(lock, identity)
  return lease and (is_promised(lease, ends) or offer_of(queue, token_of(lease))) and true or false
end

-- Removes the mark that says when the first waiter's process was there.
local function forget_alive(queue)
  for _, mark in ipairs(redis.call('ZRANGEBYSCORE', queue, '-inf', '(0')) do
    redis.call('ZREM', queue, mark)
  end
end

-- For how long the first waiter's process is taken to be there yet, milliseconds; it says that it is by its looks (`awake`).
local function alive_ms(queue, process, awake)
  local mark = 'alive\n' .. process
  local since = redis.call('ZMSCORE', queue, mark)[1]
  local left_ms = since and ALIVE_MS - now_ms - since
  -- More is left only where the clock went back.
  if process == awake or not since or left_ms > ALIVE_MS then
    forget_alive(queue)
    redis.call('ZADD', queue, '-' .. whole(now_ms), mark)
    return ALIVE_MS
  end
  return left_ms
end

-- The first waiter of a key that leases share, where there is room for it: its entry and how many may share the key then.
-- Where it must wait, nil, nil, and for how long its process is taken to be there yet. One that has a share already is told
-- so, and leaves the queue by itself; and one whose process is not there keeps none from the key.
local function first_with_room(keys, args, awake, known)
  local lock, tokens, queue, key, push = keys[1], keys[2], keys[3], args[1], args[4]
  prune(lock, tokens, key)
  while true do
    local first, limit = first_waiter(queue, known)
    known = nil
    if not first then
      return nil
    end
    local sidecar, process, waiter = string.match(first, '^((%w+)[%w-]*)\n([^\n]*)')
    if has_share(lock, queue, first) then
      redis.call('SPUBLISH', push .. sidecar, 'again\n' .. key .. '\n' .. waiter)
    elseif limit and count_shares(lock) < limit then
      return first, limit
    end
    local left_ms = alive_ms(queue, process, awake)
    if left_ms > 0 then
      return nil, nil, left_ms
    end
    drop(keys, args, process)
  end
end

-- What the first waiter waits for, of a key that leases share: the token of a lease, its text and its end. Where it need not
-- wait, as where Redis refuses its grant, a lease that ends soon or is looked at soon.
local function awaited_by_first(lock, queue)
  local _, limit = first_waiter(queue)
  local count = count_shares(lock)
  local token, lease, ends = awaited(lock, count, limit)
  if limit and count < limit then
    ends = math.min(ends, now_ms + REJOIN_MS)
  end
  return token, lease, ends
end

-- For how long yet a mark says that those who wait are coming back, milliseconds, or nil.
local function rejoin_ms(mark)
  local left_ms = (tonumber(string.match(mark, '^rejoin\n(%d+)$')) or 0) - now_ms
  -- More is left only where the clock went back.
  return left_ms > 0 and left_ms <= REJOIN_MS and left_ms or nil
end

-- Whether those who wait are coming back.
local function is_rejoining(queue)
  for _, mark in ipairs(redis.call('ZRANGEBYSCORE', queue, '0', '0')) do
    if rejoin_ms(mark) then
      return true
    end
  end
  return false
end

-- Removes the marks of offers that lapsed, and what their processes have in the queue; for how long waiters are coming back
-- yet, milliseconds, or nil. An offer stands while its lease shares the key: an exclusive one does not, since the key is
-- free of those. `freed`, `awake`: see `hand_over`.
local function clear_marks(keys, args, freed, awake, is_shared_still)
  local lock, queue = keys[1], keys[3]
  if not is_shared_still then
    forget_alive(queue)
  end
  for _, mark in ipairs(redis.call('ZRANGEBYSCORE', queue, '0', '0')) do
    local left_ms = rejoin_ms(mark)
    if left_ms then
      return left_ms
    end
    local token, process = string.match(mark, '^offer\n(%d+)\n(%w+)')
    if not (token and is_shared_still and share_of(lock, token)) then
      if process and token ~= freed and process ~= awake then
        drop(keys, args, process)
      end
      redis.call('ZREM', queue, mark)
    end
  end
end

-- Offers the key to a waiter, by its entry: whether Redis granted it.
local function offer(keys, args, entry, limit, is_shared_still, resigned, is_unwatched)
  local queue, key, push = keys[3], args[1], args[4]
  local sidecar, waiter, ttl_ms, identity, attempt, further = string.match(entry, ENTRY)
  if string.sub(further, -#OWN) == OWN then
    further = string.sub(further, 1, -#OWN - 1)
  end
  local listens = redis.call('PUBSUB', 'SHARDNUMSUB', push .. sidecar)[2] > 0
  local offer_ms = listens and OFFER_MS or UNHEARD_OFFER_MS
  local token
  if limit then
    token = grant_share(keys, args, identity .. attempt, ttl_ms, further, offer_ms, is_shared_still)
  else
    token = grant(keys, args, identity .. attempt, ttl_ms, further, offer_ms)
  end
  if not token then
    return nil
  end
  -- In this order, so that the queue keeps its expiry.
  redis.call('ZADD', queue, 0, 'offer\n' .. token .. '\n' .. sidecar)
  redis.call('ZREM', queue, entry)
  if not is_unwatched then
    tell_watchers(keys[4], queue, push, 'granted', key, token)
  end
  redis.call('SPUBLISH', push .. sidecar,
    'turn\n' .. key .. '\n' .. waiter .. '\n' .. token .. '\n' .. offer_ms .. (resigned and '\nresigned' or ''))
  return sidecar, offer_ms
end

-- Offers a key that is free, or that leases share (`is_shared_still`), to the first waiters, as many as have room: "offered";
-- "rejoining" and for how long yet, milliseconds; "blocked" where the first must wait; or nil where there is none to offer it
-- to. Behind "offered" and "blocked", where one must wait, after how many milliseconds to look again at the latest. `freed`
-- is the token of the lease that ended just now, so that no offer of it lapsed; a process that is `awake` did not let one
-- lapse for want of life; `resigned`: see the channels above. Those who watch are told, unless there are surely none.
local function hand_over(keys, args, freed, awake, resigned, is_unwatched, is_shared_still)
  local lock, tokens, queue, key, push = keys[1], keys[2], keys[3], args[1], args[4]
  -- Changes nothing, but is a write that Redis does even when it is out of memory; then it does the grant, too.
  if type(redis.pcall('ZREMRANGEBYRANK', queue, 1, 0)) == 'table' then
    return nil -- What is no queue holds up no caller.
  end
  -- Mostly no mark stands before the waiters.
  local head = redis.call('ZRANGE', queue, 0, TOLD_BEHIND, 'WITHSCORES')
  local is_marked = not head[2] or tonumber(head[2]) <= 0
  local left_ms = is_marked and clear_marks(keys, args, freed, awake, is_shared_still)
  if left_ms then
    return 'rejoining', left_ms
  end
  local knows, longest_ms, offered = {}, nil, 0
  local first, limit, waits_ms
  if is_shared_still then
    first, limit, waits_ms = first_with_room(keys, args, awake, not is_marked and head[1])
  else
    first, limit = first_waiter(queue, not is_marked and head[1])
  end
  while first and offered < MOST_OFFERS do
    local sidecar, offer_ms = offer(keys, args, first, limit, is_shared_still, resigned, is_unwatched)
    if not sidecar then
      break
    end
    offered, knows[sidecar], longest_ms = offered + 1, true, offer_ms
    if not limit then
      break
    end
    is_shared_still = true
    first, limit, waits_ms = first_with_room(keys, args, awake)
  end
  if is_marked and not first and not waits_ms then
    forget_alive(queue)
  end
  if offered == 0 then
    if is_shared_still and (first or waits_ms) then
      local _, _, ends = awaited_by_first(lock, queue)
      return 'blocked', math.max(math.min(ends - now_ms, waits_ms or REJOIN_MS), 0)
    end
    return nil
  end
  if offered == MOST_OFFERS then
    redis.call('SPUBLISH', push .. 'all', 'offer\n' .. key .. '\n0') -- They may have room, too.
  end
  local entries = {head[3], head[5], head[7], head[9]}
  if is_marked or limit or first ~= head[1] then
    entries = redis.call('ZRANGEBYSCORE', queue, '(0', '+inf', 'LIMIT', '0', TOLD_BEHIND)
  end
  for _, entry in ipairs(entries) do
    local behind = string.match(entry, '^([%w-]+)\n')
    if behind and not knows[behind] then
      knows[behind] = true
      redis.call('SPUBLISH', push .. behind, 'offer\n' .. key .. '\n' .. longest_ms)
    end
  end
  return 'offered', waits_ms
end

-- What a script does at its end that ended the lease of the token `freed`: tells those who watch how it ended, in a word,
-- and offers the key, which is free or which others share still, to the first waiter. Where that has to wait, or Redis takes
-- no new key here, as while the slot moves to another server, or waiters are coming back, those who wait are told to look
-- for themselves, and when. `resigned` as above.
local function pass_on(keys, args, freed, word, resigned, is_shared_still)
  -- EXISTS counts a key as often as it is named: 1 is the queue alone.
  local found = redis.call('EXISTS', keys[3], keys[4], keys[4])
  if found == 0 then
    return
  end
  local is_unwatched = found == 1
  if not is_unwatched then
    tell_watchers(keys[4], keys[3], args[4], word, args[1], freed)
  end
  local outcome, left_ms = hand_over(keys, args, freed, nil, resigned, is_unwatched, is_shared_still)
  if outcome ~= 'offered' and redis.call('EXISTS', keys[3]) == 1 then
    redis.call('SPUBLISH', args[4] .. 'all', 'offer\n' .. args[1] .. '\n' .. (left_ms or 0))
  end
end
