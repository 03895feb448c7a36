-- Not a script: stands before lease.lua, and at the very beginning of what batch.lua runs. It makes one function, since each
-- costs every call: those that only what is not plain needs are in the other texts.

-- To Redis, too, all that happens in one call happens in one instant; so its clock is asked once.
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now_ms = math.floor(now_us / 1000)

local TOKEN_EPOCH_MS = 1735689600000 -- 2025-01-01T00:00:00Z
local SEQUENCE_END = 140737488355328 -- 2^47: from here on a token would not be exact in a double
-- The clock's own position among sequences: there are 64 a millisecond, so that the last one seldom has to be moved on.
local now_sequence = math.floor((now_us - TOKEN_EPOCH_MS * 1000) * 64 / 1000)

-- The member of an index that has the last token of the shard, so that tokens rise whatever is released. It sorts behind
-- every key, for no key has this byte: it stays in its place where it is raised, and a key is found before it.
local LAST = '\255'

-- How a lease begins, and nothing that other programs are likely to write.
local LEASE = '{"token":"'
-- The mark at the end of a lease that its owner renewed by its token: a caller counts on it, so no undo frees the key.
local RENEWED = ',"renewed":true}'
-- The member of a key that leases share which says so, see shared.lua; and how many may where a request says nothing of it.
local SHARED = '{"shared":true}'
local MOST_SHARES = 10000
-- Bytes of a key that are read at first: nearly every lease, and little of another program's value. Texts, like all
-- numbers that go to Redis often: it would spell them each time.
local FIRST_READ, FIRST_READ_END = 4096, '4095'

-- A whole number below 2^53 as an argument to Redis: as text, since 7.2.0 to 7.2.4 write one with many zeros at its end as
-- 1.7954e+12. In two parts, for %d takes 32 bits on some machines, and %.0f is several times as dear.
local function whole(number)
  if number < 1e9 then
    return string.format('%d', number)
  end
  local low = math.fmod(number, 1e9)
  return string.format('%d%09d', (number - low) / 1e9, low)
end
