--- ?name: help on a function, a method, a module or an object.
local help = require "simvae.util.help"
local names = require "simvae.util.names"

local question = {}

-- What a name stands for in the session: "model:encode" -> the method, "z" -> a tensor.
local function look_up(name, env)
  local v = env
  for part in name:gmatch "[^.:]+" do
    local holder = v
    local ok, inner = pcall(function() return holder[part] end)
    v = ok and inner or nil
    if v == nil then return nil end
  end
  return v
end

-- The class of an object, as help names it.
local function class_of(object)
  local meta = getmetatable(object)
  for _, word in ipairs { "model", "simulator", "layer" } do
    local module = word == "layer" and "simvae.nn" or "simvae." .. word
    if package.loaded[module] and package.loaded[module].class == meta then return word end
  end
end

--- Is this line a question? "?", "?sv.conv2d", "model:encode?"
-- @tparam string line
-- @treturn ?string the name that is asked about, "" for none
function question.name(line)
  return line:match "^%s*%?%s*(.-)%s*$" or line:match "^%s*([%a_][%w_.:]*)%s*%?%s*$"
end

--- Prints the help.
-- @tparam string name
-- @tparam table env the session's global variables
function question.answer(name, env)
  if name == "" then
    print [[
?name          help on a function, a method or a variable: ?sv.model, ?model:encode, ?sv.nn
_              the last result
Tab            completes names, fields, methods, options and file names
x:show()       shows an image or a curve
Ctrl-C         interrupts what runs; a training with `out` goes on from there when it is called again
Ctrl-D, exit   leaves
print(sv) lists what there is.]]
    return
  end
  name = name:gsub("%(.*$", "")
  local object, method = name:match "^(.-)[.:]([%w_]+)$"
  local holder = object and look_up(object, env)
  local class = holder ~= nil and class_of(holder)
  local text = class and help.text(class .. "." .. method) or help.text(name)
  local v = not text and look_up(name, env)
  if not text and v then text = type(v) == "function" and help.of_function(names.original[v] or v) end
  if text then
    print(text)
  elseif v and (getmetatable(v) ~= nil and type(v) ~= "string") then
    help.help(v)
  else
    help.help(name)
  end
end

return question
