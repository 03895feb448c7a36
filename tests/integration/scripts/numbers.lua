-- Stands before each script in the tests: no large number goes to Redis as a number, for 7.2.0 to 7.2.4 spell some of them
-- with an exponent, which no command takes for an integer.
local real = redis
local function checked(command)
  return function(...)
    for i, argument in ipairs({...}) do
      assert(type(argument) == 'string' or argument < 1e6, 'argument ' .. i .. ' is a large number')
    end
    return command(...)
  end
end
local redis = {call = checked(real.call), pcall = checked(real.pcall), error_reply = real.error_reply}
