-- Lets the scripts tell of what happens in some shards for as long as a sidecar watches them.
-- KEYS[1..n] marks  each a shard's `watch`, see lease.lua
-- ARGV[1] keep_ms   how long a mark stays unless it is renewed; it is renewed when half of that is over
-- Returns {"marked", now_ms, number, is_new ..}   of each mark: the number of the last message; and 1 where there was none
--                                     before, so that messages were not sent, else 0
-- A new number begins at the clock, in microseconds, and so is above all that were counted before the mark was lost.
-- A script, because messages are counted from the same instant in which the mark is seen to be there.
local keep_ms = ARGV[1]

local rows = {'marked', now_ms}
for _, mark in ipairs(KEYS) do
  local numbers = redis.pcall('ZMSCORE', mark, WATCHED)
  local number = not numbers.err and numbers[1]
  rows[#rows + 1] = number or whole(now_us)
  rows[#rows + 1] = number and 0 or 1
  if not number then
    if numbers.err then
      redis.call('DEL', mark)
    end
    redis.call('ZADD', mark, whole(now_us), WATCHED)
  end
  if redis.call('PTTL', mark) < keep_ms / 2 then
    redis.call('PEXPIRE', mark, keep_ms)
  end
end
return rows
