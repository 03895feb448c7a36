-- Not a script: stands behind head.lua, before those that look at a lease or change it, and before queue.lua.
-- Redis may run a command long after it was sent, when its sender has answered that the outcome is unknown and has undone
-- it: what a frozen server's socket holds is run when it goes on. So each change says until when it may run, in its last
-- ARGV, not_after: milliseconds since 1970 on this server's clock, or "" for no end. Past it the script changes nothing
-- and returns {"late", now_ms}.
-- A lease is a JSON text: {"token":"N", the owner, the attempt, then "by" (see `told`), "since", "ttl" and further fields.
-- Inside a JSON string each quote is escaped, so that no owner's text can imitate a field.
-- A lease may have terms, "terms":"ttl=N delay=N min=N max=N", all in milliseconds, 0 for what was not asked for:
--   ttl    how long it was promised for; then "ttl" of the lease is how long the key was taken for by the grant
--   delay  the key stays taken for so long behind the promise, unless the lease is released
--   min    it stays taken for so long from the grant on, even where the lease is released
--   max    no renewal promises it beyond so long from the grant on
-- What a release leaves of a lease with "min" is a rest, {"token":"N","rest":true, and what the lease had: it takes the key,
-- and no owner has it, since none stands behind the token.

-- In "by" behind a sending whose connection has closed, where the lease's terms keep the key: it ends no lease any more.
local CLOSED = '!'
-- The member of `watch`.
local WATCHED = 'n'
-- Bytes of "by", so that no lease grows without bound.
local LONGEST_BY = 512
-- Longer than any lease that lockside writes.
local LONGEST_LEASE = 262144

-- What lies under a key: a lease; '' for another program's text, which may be a large one; false for nothing; or a
-- table, Redis's error. Behind it, where that is false and `watch` is given, whether there is none who watches.
local function look(lock, watch)
  local text = redis.pcall('GETRANGE', lock, '0', FIRST_READ_END)
  if type(text) == 'table' then
    return text
  end
  if string.sub(text, 1, #LEASE) == LEASE then
    if #text < FIRST_READ then
      return text
    end
    return redis.call('STRLEN', lock) <= LONGEST_LEASE and redis.call('GET', lock) or ''
  end
  if text ~= '' then
    return ''
  end
  -- EXISTS counts a key as often as it is named: what is odd is the lock.
  local found = watch and redis.call('EXISTS', lock, watch, watch) or redis.call('EXISTS', lock)
  return found % 2 == 1 and '', watch and found == 0
end

-- The row to return where it is too late, or nil.
local function late(not_after)
  if not_after ~= '' and now_us > not_after * 1000 then
    return {'late', now_ms}
  end
end

-- The terms of a lease, as texts: ttl, delay, min, max; or nil where it has none.
local function terms_of(lease)
  return string.match(lease, ',"terms":"ttl=(%d+) delay=(%d+) min=(%d+) max=(%d+)"')
end

-- When a lease was granted.
local function since_of(lease)
  return tonumber(string.match(lease, '"since":(%d+),"ttl":'))
end

-- When the key of a lease gets free that is promised for ttl_ms from now, as its terms have it; or nil where they let
-- nothing be promised any more.
local function free_at(lease, ttl_ms)
  local promised_until = now_ms + ttl_ms
  local ttl, delay, min, max = terms_of(lease)
  if not ttl then
    return promised_until
  end
  local since = since_of(lease)
  if max ~= '0' then
    promised_until = math.min(promised_until, since + max)
  end
  if promised_until <= now_ms then
    return nil
  end
  return math.max(promised_until + delay, since + min)
end

-- Whether the promise of a lease goes on whose key expires then.
local function is_promised(lease, expires)
  local ttl, delay, _, max = terms_of(lease)
  return not ttl or (expires - delay > now_ms and (max == '0' or since_of(lease) + max > now_ms))
end

local function token_of(lease)
  return string.match(lease, '^{"token":"(%d+)",')
end

-- Whether these words stand behind the token of a lease, as its owner does, and then its attempt.
local function has(lease, words)
  local begin = string.match(lease, '^{"token":"%d+",()') or #lease + 1
  return string.sub(lease, begin, begin + #words - 1) == words
end

-- The lease with the mark.
local function renewed(lease)
  return string.sub(lease, -#RENEWED) == RENEWED and lease or string.sub(lease, 1, -2) .. RENEWED
end

-- The sendings that were told of a lease and not undone, oldest first, with a space between two: those of the attempt
-- that was granted it, and with a + before them those of other attempts of its owner (+* for many of them). And where
-- that text stands in the lease, from the quote before it to the quote behind it: where there is none yet, the attempt's
-- only sending is its nonce.
local function told(lease)
  local _, opens = string.find(lease, '","by":"', 1, true)
  if opens then
    local closes = string.find(lease, '"', opens + 1, true)
    return string.sub(lease, opens + 1, closes - 1), opens, closes
  end
  return string.match(lease, '","nonce":"([^"]*)","since":') or ''
end

-- The lease, told of by these.
local function tell(lease, by, opens, closes)
  if opens then
    return string.sub(lease, 1, opens) .. by .. string.sub(lease, closes)
  end
  local field = string.find(lease, '"since":', 1, true)
  return string.sub(lease, 1, field - 1) .. '"by":"' .. by .. '",' .. string.sub(lease, field)
end

-- Whether a sending is among those that were told; where it begins and where it ends in ' ' .. by .. ' '.
local function find_sending(by, sending)
  return string.find(' ' .. by .. ' ', ' ' .. sending .. ' ', 1, true)
end

-- Whether this sending can be told of a lease that those in `by` were told of.
local function can_be_told(by, sending)
  return find_sending(by, sending) or find_sending(by, '+*') or #by + #sending < LONGEST_BY
end

-- The latest sending of the attempt itself that was told, or nil.
local function latest(by)
  local last
  for sending in string.gmatch(by, '[^ ]+') do
    last = string.sub(sending, 1, 1) ~= '+' and sending or last
  end
  return last
end

-- `by` without what stands from `first` to `last`, as find_sending gives them.
local function without(by, first, last)
  by = ' ' .. by .. ' '
  return string.sub(string.sub(by, 1, first) .. string.sub(by, last + 1), 2, -2)
end

-- Tells those who watch the shard that something happened at a key: a word, and the token of the lease it is about, or 0.
-- `watch` exists while a sidecar watches: its member's score is the number of the last message, so that one who missed a
-- message learns of it. Where the slot moves to another server, and the key may be missing for that, `queue` stands in
-- for it. Nothing that fails here fails the script.
-- Channel push .. "events": granted, released, forced, shortened, waiting (key, token, number).
local function tell_watchers(watch, queue, push, word, key, token)
  if watch == queue then
    return
  end
  local number = redis.pcall('ZADD', watch, 'XX', 'INCR', '1', WATCHED)
  if number then
    number = type(number) == 'table' and '' or number
    redis.pcall('SPUBLISH', push .. 'events', word .. '\n' .. key .. '\n' .. token .. '\n' .. number)
  end
end

-- Says to all that a lease ends sooner than it did.
local function shortened(watch, queue, push, key, token, ends)
  redis.call('SPUBLISH', push .. 'all', 'shortened\n' .. key .. '\n' .. token .. '\n' .. whole(ends - now_ms))
  tell_watchers(watch, queue, push, 'shortened', key, token)
end

-- The mark of an offer of this lease in the queue, see queue.lua; or nil.
local function offer_of(queue, token)
  local marks = redis.pcall('ZRANGEBYSCORE', queue, '0', '0')
  if marks.err then
    return nil -- What is no queue has no offers.
  end
  for _, mark in ipairs(marks) do
    if string.match(mark, '^offer\n(%d+)\n') == token then
      return mark
    end
  end
end

-- Removes the mark of an offer of this lease from the queue; whether there was one.
local function take_offer(queue, token)
  local mark = offer_of(queue, token)
  if mark then
    redis.call('ZREM', queue, mark)
  end
  return mark ~= nil
end
