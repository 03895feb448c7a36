-- Not a script: stands before acquire_all.lua, behind attempt.lua and acquire, share and undo, the scripts of these names
-- as functions of their KEYS and ARGV. A leg is one of the keys that are to be granted together: `keys` and `args` are
-- those of the script that grants it alone.

-- Whether a leg may be granted, or told of again, as far as that is seen without a change.
local function looks_free(keys, args)
  local lock, queue = keys[1], keys[3]
  local identity, nonce, request, limit = args[5], args[6], args[7], limit_of(args[9])
  if redis.call('EXISTS', lock, queue) == 0 then
    return true
  end
  local lease = look(lock)
  if type(lease) == 'string' then
    return has(lease, identity .. nonce)
  end
  if lease then
    if not is_shared(lock) then
      return false
    end
    local _, _, _, is_replay = own_share(lock, identity, nonce, request, 'refuse')
    if is_replay then
      return true
    end
    if not limit or count_shares(lock) >= limit then
      return false
    end
  end
  local waiters = redis.pcall('ZCOUNT', queue, '(0', '+inf')
  return type(waiters) == 'table' or waiters == 0 -- What is no queue holds up no caller.
end

-- Asks for a leg: its row, or Redis's error, and then whether it is granted, or told of again.
local function ask_leg(keys, args)
  local is_done, row = pcall(limit_of(args[9]) and share or acquire, keys, args)
  if not is_done then
    return type(row) == 'table' and row or redis.error_reply(tostring(row)), false
  end
  return row, row[1] == 'granted' or row[1] == 'replayed'
end

-- Undoes what this sending of a leg was granted or told of.
local function undo_leg(keys, args)
  local sending = args[7] ~= '' and args[7] or string.match(args[6], '^"nonce":"([^"]*)')
  pcall(undo, keys, {args[1], args[2], args[3], args[4], args[5], sending, '', args[11]})
end
