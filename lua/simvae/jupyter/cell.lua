--- From the text of a notebook's cell to a function.
--
-- A cell whose last lines are an expression shows its values, whatever statements come before. Local variables become
-- global ones, for the next cells, as in the interactive session (simvae.repl.chunk).
local chunk = require "simvae.repl.chunk"

local cell = {}

-- The place where each line begins.
local function line_starts(text)
  local starts, at = {}, 1
  while at do
    starts[#starts + 1] = at
    at = select(2, text:find("\n", at, true))
    at = at and at + 1
  end
  return starts
end

-- Can these lines begin an expression of their own? What begins with a bracket, a sign or a string may go on with the
-- line before.
local function begins_anew(tail)
  return tail:find "^%s*[%a_%d#]" and not tail:find "^%s*return%f[^%w_]"
end

-- Statements and the expression behind them, or of two expressions the last one; nil where the cell is not made of
-- both. Where all of it is not a list of statements, nothing in it goes on with the line before, and any line may begin
-- the expression.
local function split(text, env)
  local starts, whole = line_starts(text), load(text, "=input", "t", env)
  for i = #starts, 2, -1 do
    local head, tail = text:sub(1, starts[i] - 1), text:sub(starts[i])
    if (begins_anew(tail) or not whole) and load("return " .. tail, "=input", "t", env) then
      local both = chunk.compile_with_result(head, tail, env)
      if both then return both end
      local first, shown = chunk.compile(head, env)
      if first and not (shown and head:find "%f[%w_]return%f[^%w_]") then
        local last = chunk.compile(("\n"):rep(i - 1) .. tail, env)
        return function()
          first()
          return last()
        end
      end
    end
  end
end

--- Compiles a cell.
-- @tparam string text
-- @tparam table env its global variables
-- @treturn ?function nil: it cannot be compiled
-- @treturn boolean|string of a function, whether its values are to be shown; else "incomplete", or what is wrong
function cell.compile(text, env)
  text = text:gsub("%s+$", "")
  if not text:find "%S" then return function() end, false end
  if load("return " .. text, "=input", "t", env) then return chunk.compile(text, env) end
  local both = split(text, env)
  if both then return both, true end
  return chunk.compile(text, env)
end

return cell
