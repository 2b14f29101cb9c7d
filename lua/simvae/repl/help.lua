--- ?name: help on a variable of the session, a function, a method, an option or a module.
local help = require "simvae.util.help"
local look_up = require "simvae.repl.look_up"

local question = {}

local text = [[
?name          help on a function, a method, an option or a variable: ?sv.model, ?model:train, ?train.labels, ?sv.nn
_              the last result
Tab            completes names, fields, methods, options and file names
x:show()       shows an image or a curve
Ctrl-C         interrupts what runs; a training with `out` goes on from there when it is called again
Ctrl-D, exit   leaves
print(sv) lists what there is.]]

--- Is this line a question? "?", "?sv.conv2d", "model:encode?"
-- @tparam string line
-- @treturn ?string the name that is asked about, "" for none
function question.name(line)
  return line:match "^%s*%?%s*(.-)%s*$" or line:match "^%s*([%a_][%w_.:]*)%s*%?%s*$"
end

--- The help on a name. A variable comes before a function of simvae of the same name.
-- @tparam string name
-- @tparam table env the session's global variables
-- @treturn ?string
function question.text(name, env)
  local v = look_up.name(name, env)
  if v == nil or name:match "^[^.:]+" == "sv" and help.text(name) then return help.text(name) end
  return help.about(v)
end

--- Prints the help. A variable comes before a function of simvae of the same name.
-- @tparam string name
-- @tparam table env the session's global variables
function question.answer(name, env)
  if name == "" then return print(text) end
  name = name:gsub("%(.*$", "")
  local v = look_up.name(name, env)
  if v == nil or name:match "^[^.:]+" == "sv" and help.text(name) then return help.help(name) end
  help.help(v)
end

--- What was typed as a function: one that answers a question, or code.
-- @tparam ?string asked the name that is asked about
-- @tparam string typed
-- @tparam table env the session's global variables
-- @tparam function compile (text, env), of simvae.repl.chunk or simvae.jupyter.cell
-- @return what compile returns
function question.compile(asked, typed, env, compile)
  if asked then return function() question.answer(asked, env) end, false end
  return compile(typed, env)
end

return question
