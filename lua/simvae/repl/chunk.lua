--- From text that was typed to a function.
--
-- An expression becomes a function that returns its values. The local variables of statements become global ones, so
-- that code copied from a script or a guide can be continued on the next line.
local chunk = {}

local NAME = "=input"

-- Names in `local x <close> = …`, which are over at the end of their chunk.
local function closed_names(text)
  local names = {}
  for name in text:gmatch "([%a_][%w_]*)%s*<%s*close%s*>" do names[name] = true end
  return names
end

-- A function that copies the local variables of its caller to env, and returns its arguments. The caller holds it in
-- its first local variable.
local function keeper(env, text)
  local closed = closed_names(text)
  return function(...)
    local i = 2
    while true do
      local name, value = debug.getlocal(2, i)
      if not name then return ... end
      if name:find "^[%a_]" and not closed[name] then env[name] = value end
      i = i + 1
    end
  end
end

--- Compiles what was typed.
-- @tparam string text
-- @tparam table env its global variables
-- @treturn ?function nil: it cannot be compiled
-- @treturn boolean|string of a function, whether it is an expression, whose values are to be shown; else "incomplete",
--   or what is wrong
function chunk.compile(text, env)
  text = text:gsub("^%s*=", "return ", 1)
  if load("return " .. text, NAME, "t", env) then
    -- no tail call: errors of functions name the line that called them
    local call = "local _all <const> = ... return _all(" .. text
    local f = load(call .. ")", NAME, "t", env) or load(call .. "\n)", NAME, "t", env) -- behind a comment
      or load("return " .. text, NAME, "t", env)
    return function() return f(function(...) return ... end) end, true
  end
  local plain, why = load(text, NAME, "t", env)
  if not plain then return nil, why:find "<eof>'?$" and "incomplete" or why end
  -- text that ends with a return keeps its local variables to itself
  local keeping = load("local _keep <const> = ... " .. text .. "\n_keep()", NAME, "t", env)
  if not keeping then return plain, true end
  local keep = keeper(env, text)
  return function() return keeping(keep) end, false
end

--- Compiles statements and an expression behind them, which sees their local variables.
-- @tparam string statements that end with a newline
-- @tparam string expression
-- @tparam table env
-- @treturn ?function that returns the expression's values; nil: it cannot be compiled
function chunk.compile_with_result(statements, expression, env)
  local text = "local _keep <const> = ... " .. statements .. " _keep() return _keep(" .. expression
  local f = load(text .. ")", NAME, "t", env) or load(text .. "\n)", NAME, "t", env) -- behind a comment
  if not f then return nil end
  local keep = keeper(env, statements)
  return function() return f(keep) end
end

return chunk
