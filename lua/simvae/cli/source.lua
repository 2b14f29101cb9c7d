--- The simulator that a command is given: the name of a built-in one, or a script that returns a simulator or a table
-- of experiment settings (simvae.cli.experiment) with `simulator`.
local absolute = require "simvae.util.absolute"
local builtin = require "simvae.simulator.builtin"
local check = require "simvae.util.check"
local core = require "simvae.core"
local experiments = require "simvae.cli.experiments"
local interrupt = require "simvae.util.interrupt"
local outcome = require "simvae.cli.outcome"
local simulator = require "simvae.simulator"

local source = {}

local NAMES = table.concat(builtin, ", ")

local is_builtin = {}
for _, name in ipairs(builtin) do is_builtin[name] = true end

--- What arguments that name a simulator take, for help.
source.text = "A built-in simulator (" .. NAMES .. "), or a script FILE.lua that returns a simulator."

-- An error with the place in the script where it was raised, unless it has one outside simvae; of a tail call, as in
-- `return sv.simulator { … }`, the script alone.
local function placed(e, path)
  if type(e) ~= "string" or interrupt.is(e) then return e end
  local text, ours = outcome.read(e)
  if ours or text == e and e:find "^[^:\n]+:%d+: " then return e end
  local level = 3
  local about = debug.getinfo(level, "Sl")
  while about and about.source ~= "@" .. path do
    level = level + 1
    about = debug.getinfo(level, "Sl")
  end
  return string.format("%s:%s %s", path, about and about.currentline .. ":" or "", text)
end

-- The lines of the user's files that were called when an error was raised, below the one that raised it.
local function callers()
  local lines, level = {}, 3
  local about = debug.getinfo(level, "Sl")
  while about do
    if about.source:sub(1, 1) == "@" and about.currentline > 0 and not outcome.is_own(about.source:sub(2)) then
      lines[#lines + 1] = string.format("\n  called at %s:%d", about.short_src, about.currentline)
    end
    level = level + 1
    about = debug.getinfo(level, "Sl")
  end
  return table.concat(lines, "", 2)
end

-- Runs a script, as lua does: `arg` is its own. Errors have the script's file and line.
local function results_of(path, words)
  local script, wrong = loadfile(path)
  if not script then outcome.fail("%s", wrong:gsub("^cannot open ", ""):gsub("^cannot read ", "")) end
  local before = arg
  _G.arg = { [0] = path, table.unpack(words or {}) }
  local result = table.pack(xpcall(script, function(e)
    local text = placed(e, path)
    return type(text) == "string" and not interrupt.is(text) and text .. callers() or text
  end, table.unpack(words or {})))
  _G.arg = before
  if not result[1] then error(result[2], 0) end
  return table.unpack(result, 2, result.n)
end

--- Runs a script.
-- @tparam string path
-- @tparam ?{string,...} words its arguments
-- @return what it returns
-- @raise what it raises, with the file and line
function source.run(path, words)
  return results_of(path, words)
end

local function of_script(path)
  local made = results_of(path)
  if simulator.is(made) then return { simulator = made } end
  if type(made) == "table" and simulator.is(rawget(made, "simulator")) then return made end
  local returns = made == nil and "nothing" or check.describe(made)
  outcome.fail("%s returns %s; its last line has to return a simulator, as `return sv.simulator { … }`, or a table of "
    .. "settings, as `return { simulator = …, width = 32 }`%s", path, returns,
    made == nil and ". `simvae run` runs scripts that return nothing" or "")
end

--- Settings of an experiment, for a simulator by name or script.
-- @tparam string name "box", or the path of a script
-- @treturn table settings as simvae.cli.experiment takes them
-- @treturn string what finds it again: the name, or the absolute path of the script
function source.settings(name)
  if is_builtin[name] and core.system.kind(name) ~= "file" then
    local made = rawget(experiments, name)
    return made and made() or { simulator = require("simvae.simulators." .. name) }, name
  end
  if core.system.kind(name) == "folder" then
    outcome.fail("%s is a folder; a simulator is one of %s, or a script FILE.lua that returns one", name, NAMES)
  end
  if core.system.kind(name) ~= "file" then
    if name:find "%.lua$" or name:find "/" then outcome.fail("%s: there is no such file", name) end
    local script = name .. ".lua"
    if core.system.kind(script) == "file" then
      outcome.fail("there is no simulator '%s'; did you mean the script %s?", name, script)
    end
    outcome.fail("there is no simulator '%s'%s", name, check.suggestion(name, builtin, "; built in are " .. NAMES
      .. "; your own is a script, such as " .. script .. " (simvae new " .. name .. " writes one)"))
  end
  return of_script(name), absolute(name)
end

--- The simulator by name or script.
-- @tparam string name
-- @treturn Simulator
function source.simulator(name)
  return source.settings(name).simulator
end

return source
