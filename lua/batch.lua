-- Runs several operations one after another, each as its own script would, in one call.
-- KEYS[..]  the operations' keys, one operation's after another's
-- ARGV[..]  of each operation, a list: its name, how many keys it has, the list of its arguments
-- Returns a row of each operation, as its own script has it, or where that script fails {"error", text, how}; how:
--         "returned" by the script, or "raised" in it, perhaps behind a change
-- The operations stand before this text: operations.<name> is the script <name>.lua as a function of its KEYS and ARGV.
-- Redis looks for room and for replicas before a call's first write only: what one operation may write, all may.
-- A script, because entering one and reading from a socket cost Redis more than an operation does.
local rows, next_key = {}, 1
for i, operation in ipairs(ARGV) do
  local name, key_count, args = unpack(operation)
  local is_done, row = pcall(operations[name], {unpack(KEYS, next_key, next_key + key_count - 1)}, args)
  if not is_done or row.err then
    row = {'error', type(row) == 'table' and row.err or tostring(row), is_done and 'returned' or 'raised'}
  end
  rows[i], next_key = row, next_key + key_count
end
return rows
