-- Grants several keys to an owner, or none of them: each as acquire.lua grants it alone, or share.lua to be shared.
-- KEYS[..]  of each key: lock, tokens, queue, watch, as acquire.lua has them
-- ARGV[..]  of each key: key, shard, floor, push, identity, nonce, request, ttl_ms, further, own, as the script has them
--           that grants it; and behind all of them not_after, see lease.lua
-- Returns {"granted", row, ..}    of each key its row: granted, or replayed
--       | {"refused", n, row}     nothing is granted, for the n-th key is not: its row
--       | {"late", now_ms}        see lease.lua
-- All keys are looked at before the first is granted, so that those who watch hear of no grant that cannot stay. What a
-- later key refuses all the same is undone here, before any other caller can see it.
-- Fails, and has granted nothing, where the script of one key fails.
-- A script, because another caller must never see one key held by an owner that does not get the others.
local not_after, count = ARGV[#ARGV], #KEYS / 4
local legs, rows       = {}, {}
for n = 1, count do
  local args = {unpack(ARGV, 10 * n - 9, 10 * n)}
  args[11] = not_after
  legs[n] = {keys = {unpack(KEYS, 4 * n - 3, 4 * n)}, args = args}
end

local refusal = late(not_after)
if refusal then
  return refusal
end
for pass = 1, 2 do
  for n, leg in ipairs(legs) do
    if not rows[n] and (pass == 2 or not looks_free(leg.keys, leg.args)) then
      local row, is_mine = ask_leg(leg.keys, leg.args)
      if not is_mine then
        for told in pairs(rows) do
          undo_leg(legs[told].keys, legs[told].args)
        end
        if row.err then
          undo_leg(leg.keys, leg.args) -- As it may have failed behind a change.
          return row
        end
        return {'refused', n, row}
      end
      rows[n] = row
    end
  end
end
return {'granted', unpack(rows)}
