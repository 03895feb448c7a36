-- Counts the leases of several shards, and finds the oldest grant.
-- KEYS[1..n] tokens   zset key -> token: the indexes; or on a cluster, which wants keys to be of one slot:
-- ARGV[1..n] tokens
-- Returns {"counted", count, oldest}   count of entries; the lowest token, or 0 where there is none; both as strings
-- A script, because to ask for each shard by itself takes 128 commands.
local count, oldest = 0, false
local function add(tokens)
  local first = redis.call('ZRANGE', tokens, 0, 1, 'WITHSCORES')
  -- The last token of the shard is there, too: see LAST in head.lua. Behind all others, unless a part of the index is lost.
  local last = redis.call('ZMSCORE', tokens, '\255')[1]
  if first[1] == '\255' then
    first = {first[3], first[4]}
  end
  if first[1] then
    count = count + redis.call('ZCARD', tokens) - (last and 1 or 0)
    local token = tonumber(first[2])
    oldest = oldest and math.min(oldest, token) or token
  end
end

for _, tokens in ipairs(KEYS) do
  add(tokens)
end
for _, tokens in ipairs(ARGV) do
  add(tokens)
end
return {'counted', tostring(count), string.format('%.0f', oldest or 0)}
