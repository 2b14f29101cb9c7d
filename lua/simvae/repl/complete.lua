--- Completion: names of variables, fields and methods, keywords, options of the call under the cursor, and within
-- strings values of options, modules, names that have help, and files.
local context = require "simvae.repl.context"
local core = require "simvae.core"
local keywords = require "simvae.util.keywords"
local look_up = require "simvae.repl.look_up"
local names = require "simvae.util.names"
local options = require "simvae.repl.options"
local reference = require "simvae.reference"
local sorted_names = require "simvae.util.sorted_names"

local complete = {}

-- ---- names -------------------------------------------------------------------------------------

-- Calls add(name, value) for each name of an object: its own, and those of the tables behind it.
local function each_name(v, add)
  if type(v) == "table" then
    for _, name in ipairs(names.module_names(v) or {}) do add(name, nil, true) end
    for name, inner in next, v do add(name, inner, true) end
  end
  local meta = getmetatable(v)
  if meta == core.metatable then
    for _, field in ipairs(reference.tensor_fields) do add(field[1], nil, true) end
    for name, method in next, core.methods do add(name, method) end
    return
  end
  for _ = 1, 8 do -- a chain of classes
    local behind = type(meta) == "table" and rawget(meta, "__index")
    if type(behind) == "function" and type(rawget(meta, "__name")) ~= "string" then behind = meta end
    if type(behind) ~= "table" then return end
    for name, method in next, behind do add(name, method) end
    local next_meta = getmetatable(behind)
    if next_meta == meta then return end
    meta = next_meta
  end
end

local function begins(name, partial)
  return name:sub(1, #partial) == partial and (partial:sub(1, 1) == "_" or name:sub(1, 1) ~= "_")
end

-- Fields after a dot, methods after a colon.
local function members(v, partial, method)
  local found = {}
  each_name(v, function(name, inner, own)
    if type(name) ~= "string" or not name:find "^[%a_][%w_]*$" or not begins(name, partial) then return end
    local callable = type(inner) == "function" or inner == nil and own
    if method and callable or not method and (own or type(v) ~= "table" and type(inner) ~= "function") then
      found[name] = true
    end
  end)
  return sorted_names(found)
end

local function variables(partial, env)
  local found = {}
  for name in next, env do
    if type(name) == "string" and name:find "^[%a_][%w_]*$" and begins(name, partial) then found[name] = true end
  end
  if partial ~= "" then
    for word in pairs(keywords) do
      if begins(word, partial) then found[word] = true end
    end
  end
  return sorted_names(found)
end

-- ---- options -----------------------------------------------------------------------------------

local function rules_of(call, env)
  local f = look_up.path(call.path, env)
  return f ~= nil and options.of(f, call.keys) or nil
end

local function option_names(call, partial, env)
  local found = {}
  for name in pairs(rules_of(call, env) or {}) do
    if begins(name, partial) and not call.given[name] then found[name .. " = "] = true end
  end
  return sorted_names(found)
end

-- ---- strings -----------------------------------------------------------------------------------

local function files(part)
  local folder, start = part:match "^(.*/)([^/]*)$"
  folder, start = folder or "", start or part
  local there = folder:gsub("^~/", (os.getenv "HOME" or "~") .. "/")
  local found = {}
  for _, name in ipairs(core.system.list(there ~= "" and there or ".") or {}) do
    if name:sub(1, #start) == start and (start ~= "" or name:sub(1, 1) ~= ".") then
      local kind = core.system.kind(there .. name)
      found[folder .. name .. (kind == "folder" and "/" or "")] = true
    end
  end
  return sorted_names(found)
end

local function modules(part)
  local found = {}
  for _, template in ipairs { "simvae", "simvae.simulators" } do
    local path = package.searchpath("simvae.init", package.path) or package.searchpath("simvae", package.path)
    local folder = path and path:match "^(.*)/[^/]*$" .. template:sub(7):gsub("%.", "/")
    for _, file in ipairs(folder and core.system.list(folder) or {}) do
      local name = file:match "^([%a_][%w_]*)%.lua$" or template == "simvae" and file:match "^([%a_][%w_]*)$"
      if name and name ~= "init" then found[template .. "." .. name] = true end
    end
  end
  for name in pairs(package.loaded) do
    if not name:find "^simvae" then found[name] = true end
  end
  local list = {}
  for _, name in ipairs(sorted_names(found)) do
    if name:sub(1, #part) == part then list[#list + 1] = name end
  end
  return list
end

local function filtered(list, part)
  local found = {}
  for _, v in ipairs(list) do
    if type(v) == "string" and v:sub(1, #part) == part then found[#found + 1] = v end
  end
  return found
end

local function within_string(c, env)
  local called = c.of and table.concat(c.of, ".") or ""
  if called == "require" then return modules(c.string) end
  if called == "sv.help" then return filtered(require("simvae.util.help").names(), c.string) end
  local rules = c.call and c.value and rules_of(c.call, env)
  local rule = rules and rules[c.value]
  if rule and rule.one_of then return filtered(rule.one_of, c.string) end
  return files(c.string)
end

-- ---- lines -------------------------------------------------------------------------------------

--- What can stand at the cursor.
-- @tparam string before the text before the cursor
-- @tparam table env global variables
-- @treturn {string,...} sorted
-- @treturn string the part of them that is typed already
function complete.candidates(before, env)
  local asked = before:match "^%s*%?%s*([%w_.:]*)$"
  local c = context.of(asked or before)
  if c.comment then return {}, "" end
  if c.string then return within_string(c, env), c.string end
  if c.path then
    local v = #c.path > 0 and look_up.path(c.path, env) or nil
    return v ~= nil and members(v, c.partial, c.method) or {}, c.partial
  end
  if c.call and c.key then
    local found = option_names(c.call, c.partial, env)
    if #found > 0 then return found, c.partial end
  end
  return variables(c.partial, env), c.partial
end

--- The candidates as readline takes them: each begins with the word before the cursor.
-- @tparam string line
-- @tparam integer from first byte of the word
-- @tparam integer to the byte at the cursor, the first one behind the word
-- @tparam table env global variables
-- @treturn {string,...}
function complete.line(line, from, to, env)
  local before = line:sub(1, to - 1)
  local word = line:sub(from, to - 1)
  local list, part = complete.candidates(before, env)
  for i, candidate in ipairs(list) do
    if #part <= #word then
      list[i] = word:sub(1, #word - #part) .. candidate
    else -- the word begins within what is typed already, such as a path with a blank
      list[i] = candidate:sub(#part - #word + 1)
    end
  end
  return list
end

return complete
