-- Extends a lease that is still the caller's: sets its remaining time, never adds to it.
-- KEYS[1] lock   the lease, JSON
-- ARGV[1] token  ARGV[2] identity  the owner as the lease spells it
-- ARGV[3] ttl_ms >= 1, or "" for the lease's own
-- Returns {"renewed", lease, valid_until_ms, left_ms}
--       | {"lost"}           nothing lies under the key
--       | {"other", lease}   not this owner's lease of this token; the caller tells lost from not yours
--       | {"stranger"}       something that is no string lies under the key
-- A script, because between a GET and a PEXPIREAT the lease may expire and be granted to another.
local lock                    = KEYS[1]
local token, identity, ttl_ms = ARGV[1], ARGV[2], ARGV[3]

local lease = redis.pcall('GET', lock)
if type(lease) == 'table' then
  return string.find(lease.err, '^WRONGTYPE') and {'stranger'} or lease
end
if not lease then
  return {'lost'}
end
local mine = '{"token":"' .. token .. '",' .. identity
if string.sub(lease, 1, #mine) ~= mine then
  return {'other', lease}
end
if ttl_ms == '' then
  ttl_ms = string.match(lease, '"ttl":(%d+)')
  if not ttl_ms then
    return {'other', lease}
  end
end
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local valid_until = string.format('%.0f', now_ms + tonumber(ttl_ms))
redis.call('PEXPIREAT', lock, valid_until)
return {'renewed', lease, valid_until, ttl_ms}
