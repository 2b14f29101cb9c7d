--- Runs what was typed; errors become a message with the lines of the user's own code that led to it.
local interrupt = require "simvae.util.interrupt"
local progress = require "simvae.train.progress"

local evaluate = {}

local MOST = 8       -- lines of a traceback
local LEVELS = 1000  -- of the stack that it is taken from: finding level n takes n steps

-- The folder of the library's own files.
local own = debug.getinfo(1, "S").source:match "^@(.*/)repl/[^/]*$"

local function is_users(about)
  return about.what ~= "C" and not (own and about.source:sub(2, #own + 1) == own)
end

-- "in function 'simulate'"; nothing for a chunk
local function where(about)
  if about.what == "main" then return "" end
  return about.name and string.format(", in '%s'", about.name)
    or string.format(", in the function of line %d", about.linedefined)
end

-- The places in the user's code at level and above, the innermost first, down to what was typed.
local function places(level)
  local list = {}
  for at = level, LEVELS do
    local about = debug.getinfo(at, "Slnf")
    if not about or about.func == evaluate.run then return list end
    if is_users(about) and about.currentline > 0 then
      list[#list + 1] = { at = string.format("%s:%d", about.short_src, about.currentline), where = where(about),
        typed = about.what == "main" and about.source == "=input" }
    end
  end
  return list
end

local function text_of(e)
  local meta = getmetatable(e)
  if type(e) == "string" then return e end
  if meta and meta.__tostring then
    local ok, text = pcall(tostring, e)
    if ok then return text end
  end
  return string.format("(error object is %s)", type(e) == "table" and "a table" or tostring(e))
end

-- Lua's message and where it came from, without what the message says itself.
local function explain(e)
  if interrupt.is(e) then return { interrupted = true, text = type(e) == "string" and "interrupted" or tostring(e) } end
  local text, lines = text_of(e), {}
  local list = places(3)
  if #list == 1 and list[1].typed then text = text:gsub("^input:1: ", "") end
  if #list > 0 and list[#list].at == "input:1" and list[#list].typed then list[#list] = nil end
  for i, place in ipairs(list) do
    local said = text:sub(1, #place.at + 1) == place.at .. ":"
    if not (i == 1 and said and place.where == "") then
      lines[#lines + 1] = "  at " .. place.at .. place.where
    end
  end
  if #lines > MOST then
    local left = #lines - MOST
    table.move(lines, #lines - 1, #lines, MOST - 1)
    lines[MOST - 2] = string.format("  … %d more", left + 1)
    for i = #lines, MOST + 1, -1 do lines[i] = nil end
  end
  return { text = text, traceback = table.concat(lines, "\n") }
end

--- Runs a function.
-- @tparam function f
-- @treturn ?table its results, with n; nil: it raised
-- @treturn ?table then text, traceback ("" where the message tells all), interrupted
function evaluate.run(f)
  local results = table.pack(xpcall(f, explain))
  if results[1] then
    return table.move(results, 2, results.n, 1, { n = results.n - 1 })
  end
  progress.clear()
  local failure = results[2]
  -- an error in the handler itself, such as a stack overflow's, is a string
  if type(failure) ~= "table" then failure = { text = text_of(failure), traceback = "" } end
  return nil, failure
end

--- Runs a function, and then what shows its results.
-- @tparam function f
-- @tparam ?function show called with the results
-- @treturn ?table nil, or what failed: as the second result of run
function evaluate.show(f, show)
  local results, failure = evaluate.run(f)
  if results and show then failure = select(2, evaluate.run(function() show(results) end)) end
  return failure
end

return evaluate
