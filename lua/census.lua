-- Counts the leases of several shards, and finds the oldest grant.
-- ARGV[1..n] tokens   zset key -> token: the indexes. No KEYS, which a cluster wants to be of one slot
-- Returns {"counted", count, oldest}   count of entries; the lowest token, or 0 where there is none; both as strings
-- A script, because to ask for each shard by itself takes 128 commands.
local count, oldest = 0, false
for _, tokens in ipairs(ARGV) do
  local first = redis.call('ZRANGE', tokens, 0, 0, 'WITHSCORES')
  if first[1] then
    count = count + redis.call('ZCARD', tokens)
    local token = tonumber(first[2])
    oldest = oldest and math.min(oldest, token) or token
  end
end
return {'counted', tostring(count), string.format('%.0f', oldest or 0)}
