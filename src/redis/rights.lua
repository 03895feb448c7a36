-- Tells which commands of the scripts Redis refuses to the user who runs them.
-- KEYS[1..n] keys   some that the user may touch, all of one slot
-- Returns an array, a row for each such command, none where all may be run:
--         {"forbidden", command}   the user lacks the right
--       | {"unknown", command}     this server has no command of this name
-- A script, because only here Redis says it beforehand; the error of a script does not name the command before 7.2.
-- SPUBLISH is left out: it would be refused for its channel, too.
local key = KEYS[1]

local COMMANDS = {
  {'TIME'}, {'GET', key}, {'GETRANGE', key, '0', '1'}, {'STRLEN', key}, {'SET', key, ''}, {'DEL', key}, {'EXISTS', key},
  {'PEXPIRE', key, '1'}, {'PEXPIREAT', key, '1'}, {'PEXPIRETIME', key}, {'PTTL', key},
  {'ZADD', key, '1', 'a'}, {'ZREM', key, 'a'}, {'ZREMRANGEBYRANK', key, '0', '0'}, {'ZRANGE', key, '0', '0'},
  {'ZRANGEBYSCORE', key, '0', '0'}, {'ZMSCORE', key, 'a'}, {'ZRANK', key, 'a'}, {'ZCARD', key},
  {'ZCOUNT', key, '0', '0'}, {'PUBSUB', 'SHARDNUMSUB'},
}

local rows = {}
for _, command in ipairs(COMMANDS) do
  local name = string.lower(command[1] == 'PUBSUB' and 'PUBSUB|SHARDNUMSUB' or command[1])
  local is_known, is_allowed = pcall(redis.acl_check_cmd, unpack(command))
  if not is_known then
    rows[#rows + 1] = {'unknown', name}
  elseif not is_allowed then
    rows[#rows + 1] = {'forbidden', name}
  end
end
return rows
