-- Force-releases leases of any owners, or their rests; the next waiter gets the key, whatever the leases' terms are.
-- KEYS[1] lock    the lease, JSON          KEYS[2] tokens  zset key -> token, and the last token of the shard
-- KEYS[3] queue   zset entry -> position
-- KEYS[4] watch   zset with one member, see lease.lua
-- KEYS[5] forced  string, the tokens that were last removed, a space between two; kept for a minute, so that
--                 their holders can be told
-- ARGV[1] key     ARGV[2] shard            ARGV[3] floor   ARGV[4] push      all as acquire.lua has them
-- ARGV[5] token, or "" for all leases that there are      ARGV[6] not_after  see lease.lua
-- Returns {"forced", lease ..}   the leases that were; of a key that was not shared, one; none where the key only said that
--                            leases share it
--       | {"free"}           nothing lies under the key
--       | {"other", lease}   a lease of another token, or a stranger's string; "" where leases of other tokens share the key
--       | {"stranger"}       something that is no lease lies under the key
--       | {"late", now_ms}   see lease.lua
-- A script, because the lease that is removed must be the one that was looked at.
local lock, tokens, queue         = KEYS[1], KEYS[2], KEYS[3]
local watch, forced               = KEYS[4], KEYS[5]
local key, push                   = ARGV[1], ARGV[4]
local token, not_after            = ARGV[5], ARGV[6]

local refusal = late(not_after)
if refusal then
  return refusal
end
local lease = look(lock)
if type(lease) == 'table' then
  if not is_shared(lock) then
    return string.find(lease.err, '^WRONGTYPE') and {'stranger'} or lease
  end
  local leases = {}
  if token == '' then
    leases = shares(lock, MOST_SHARES)
  else
    leases[1] = share_of(lock, token)
  end
  if not leases[1] and token ~= '' then
    return {'other', ''}
  end
  if not leases[1] then
    prune(lock, tokens, key)
    remove(lock, tokens, key)
    pass_on(KEYS, ARGV, '0', 'forced')
    return {'forced'}
  end
  local row, removed, is_shared_still = {'forced'}, {}, false
  for i, text in ipairs(leases) do
    local taken = token_of(text)
    row[i + 1], removed[i] = shown(text, taken), taken
    take_offer(queue, taken)
    is_shared_still = remove(lock, tokens, key, taken)
    redis.call('SPUBLISH', push .. 'all', 'forced\n' .. key .. '\n' .. taken)
    if i < #leases then
      tell_watchers(watch, queue, push, 'forced', key, taken)
    end
  end
  redis.call('SET', forced, table.concat(removed, ' '), 'EX', 60)
  pass_on(KEYS, ARGV, removed[#removed], 'forced', nil, is_shared_still)
  return row
end
if not lease then
  return {'free'}
end
if lease == '' and token == '' and redis.call('GETRANGE', lock, '0', #SHARED) == SHARED then
  remove(lock, tokens, key)
  pass_on(KEYS, ARGV, '0', 'forced')
  return {'forced'}
end
-- The whole of a lease, for here a text that only begins like one has no token to match.
local whole_lease = string.gsub(lease, '^({"token":"%d+",)"rest":true,', '%1', 1)
local found = string.match(whole_lease, '^{"token":"(%d+)","kind":"%l+","owner":".*","since":%d+,"ttl":%d+[,}]')
if not found or (token ~= '' and token ~= found) then
  return {'other', lease}
end
-- The index first: were it of another type, Redis would refuse here, before anything is changed.
redis.call('ZREM', tokens, key)
redis.call('DEL', lock)
redis.call('SET', forced, found, 'EX', 60)
redis.call('SPUBLISH', push .. 'all', 'forced\n' .. key .. '\n' .. found)
pass_on(KEYS, ARGV, found, 'forced')
return {'forced', lease}
