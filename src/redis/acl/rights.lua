-- Tells which rights Redis refuses to the user who runs this.
-- ARGV[1] keyed    commands that take a key, a space between two
-- ARGV[2] keyless  commands that take none, a space between two; a subcommand as PUBSUB|SHARDNUMSUB
-- ARGV[3..] three lists, the length of each before it: keys, further keys, channels
-- Returns an array, a row for each right that is refused, none where all is allowed:
--         {"forbidden", command}   the user may not run it
--       | {"unknown", command}     this server has no command of this name
--       | {"key", key}             the user may not read and write it
--       | {"further", key}         the same of a further key
--       | {"channel", channel}     the user may not publish to it
-- Asks only, and changes nothing. It needs no KEYS: a key that is refused is an answer here, and no error.
-- A script, because only here Redis says it beforehand; the error of a script does not name the command before 7.2.
local keyed, keyless, at = ARGV[1], ARGV[2], 3

local function list()
  local first, last = at + 1, at + ARGV[at]
  at = last + 1
  return {unpack(ARGV, first, last)}
end
local keys, further, channels = list(), list(), list()

local rows, are_told = {}, {}
local function tell(word, what)
  if not are_told[what] then
    are_told[what] = true
    rows[#rows + 1] = {word, what}
  end
end

-- Whether it is allowed, and whether this server knows it.
local function may(...)
  local is_known, is_allowed = pcall(redis.acl_check_cmd, ...)
  return is_known and is_allowed, is_known
end

-- Each key of a script must be readable and writable.
local function may_touch(...)
  return (may('EVALSHA', '', tostring(select('#', ...)), ...))
end

local function ask(command, key)
  local name, subcommand = string.match(command, '^([^|]*)|?(.*)$')
  local first = subcommand ~= '' and subcommand or key
  -- Not even an argument that is nil.
  local is_allowed, is_known = may(unpack({name, first}))
  if not is_allowed then
    tell(is_known and 'forbidden' or 'unknown', command)
  end
end

local key = keys[1]
-- All at once where all are allowed.
if not may_touch(unpack(keys)) then
  key = nil
  for _, one in ipairs(keys) do
    if may_touch(one) then
      key = key or one
    else
      tell('key', one)
    end
  end
end
for _, one in ipairs(further) do
  if not may_touch(one) then
    tell('further', one)
  end
end
-- Without any key that is allowed, each command would be refused for that.
for command in string.gmatch(key and keyed or '', '%S+') do
  ask(command, key)
end
for command in string.gmatch(keyless, '%S+') do
  ask(command)
end
for _, channel in ipairs(channels) do
  local may_publish, is_known = may('SPUBLISH', channel, '')
  if not is_known then
    tell('unknown', 'spublish')
  elseif not may_publish then
    -- It is refused here, too, and the error says for what.
    local refusal = redis.pcall('SPUBLISH', channel, '')
    if string.find(refusal.err or '', 'channel', 1, true) then
      tell('channel', channel)
    else
      tell('forbidden', 'spublish')
    end
  else
    ask('ssubscribe', channel)
  end
end
return rows
