-- Runs several operations one after another, each as its own script would, in one call.
-- KEYS[..]  the operations' keys, one operation's after another's
-- ARGV[..]  of each operation: its name, how many keys and how many arguments it has, its arguments
-- Returns a row of each operation, as its own script has it, or {"error", text} where that script fails
-- The operations stand before this text: operations.<name> is the script <name>.lua as a function of its KEYS and ARGV.
-- Redis looks for room and for replicas before a call's first write only: what one operation may write, all may.
-- A script, because entering one and reading from a socket cost Redis more than an operation does.
local rows, next_key, next_arg = {}, 1, 1
while ARGV[next_arg] do
  local operation, key_count, arg_count = operations[ARGV[next_arg]], ARGV[next_arg + 1], ARGV[next_arg + 2]
  local keys = {unpack(KEYS, next_key, next_key + key_count - 1)}
  local args = {unpack(ARGV, next_arg + 3, next_arg + 2 + arg_count)}
  next_key, next_arg = next_key + key_count, next_arg + 3 + arg_count
  local is_done, row = pcall(operation, keys, args)
  if not is_done or row.err then
    row = {'error', type(row) == 'table' and row.err or tostring(row)}
  end
  rows[#rows + 1] = row
end
return rows
