--- Refusals of an export: what cannot leave, and what to do. They end at the function that the user called.
local check = require "simvae.util.check"

local Refusal = {}

local refuse = {}

--- Ends the export.
-- @tparam string format of string.format
function refuse.because(format, ...)
  error(setmetatable({ text = string.format(format, ...) }, Refusal), 0)
end

--- f(…), with refusals raised at the line of the user's code.
-- @tparam string what the function's name
-- @tparam function f
function refuse.guard(what, f, ...)
  local results = table.pack(pcall(f, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  if getmetatable(results[2]) == Refusal then check.fail(3, "%s: %s", what, results[2].text) end
  error(results[2], 0)
end

return refuse
