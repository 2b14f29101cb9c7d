--- Reads the documentation of a function: the comment above it, or the text of its row in C.
--
-- Text comes first; then lines that begin with a tag, each with the lines that follow it:
--
--     @tparam TYPE NAME text     a parameter; @tparam[opt] or ?TYPE: it may be left out
--     @param NAME text           the same, of any type
--     @treturn TYPE text         a result
--     @overload fun(…): TYPE     a way to call it that has a result of its own type
--     @raise text                what raises an error
--     @option TYPE NAME text     of a function in C: an option (simvae.util.check declares those of Lua)
--     @usage code                an example, which a spec runs
local names = require "simvae.util.names"

local comment = {}

-- ---- reading a text ------------------------------------------------------------------------------

-- A type at the start of a text ("?{string,...}|nil name") and the rest.
local function read_type(text)
  local depth, i = 0, 1
  while i <= #text do
    local c = text:sub(i, i)
    if c == "{" then depth = depth + 1 elseif c == "}" then depth = depth - 1 end
    if depth == 0 and c:find "%s" then break end
    i = i + 1
  end
  local type = text:sub(1, i - 1):gsub("[;,:]$", "")
  local optional = type:sub(1, 1) == "?"
  return optional and type:sub(2) or type, text:sub(i):gsub("^%s+", ""), optional
end

local function read_parameter(tag, option, text)
  local type, optional = "any", false
  if tag == "tparam" then type, text, optional = read_type(text) end
  local name, rest = text:match "^(%S+)%s*(.*)$"
  return { name = name or "", type = type, optional = optional or option:find "^%[opt" ~= nil,
    default = option:match "^%[opt=(.*)%]$", text = rest or "" }
end

local function read_result(tag, text)
  local type, optional = "any", false
  if tag == "treturn" then type, text, optional = read_type(text) end
  if type:find "|nil$" then type, optional = type:gsub("|nil$", ""), true end
  return { type = type, optional = optional, text = text }
end

-- Removes the indentation that all lines of an example share.
local function outdented(lines)
  local least = math.huge
  for _, line in ipairs(lines) do
    if line:find "%S" then least = math.min(least, #line:match "^ *") end
  end
  for i, line in ipairs(lines) do lines[i] = line:sub(least + 1) end
  return table.concat(lines, "\n")
end

--- Reads the lines of a documentation.
-- @tparam {string,...} lines without comment marks
-- @treturn table text, params and returns (lists of { name =, type =, optional =, text = }), raises (list of texts),
--   overloads (list of types), usage (list of examples, Lua code), options (rules by name, or nil)
function comment.parse(lines)
  local doc = { text = "", params = {}, returns = {}, raises = {}, usage = {}, overloads = {} }
  local text, current = {}, nil
  local function finish()
    if not current then return end
    local tag, option = current.tag, current.option
    local joined = table.concat(current.lines, " "):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")
    if tag == "tparam" or tag == "param" then
      table.insert(doc.params, read_parameter(tag, option, joined))
    elseif tag == "treturn" or tag == "return" then
      table.insert(doc.returns, read_result(tag, joined))
    elseif tag == "option" then
      local type, rest = read_type(joined)
      local name, words = rest:match "^(%S+)%s*(.*)$"
      doc.options = doc.options or {}
      doc.options[name] = { type, doc = words }
    elseif tag == "overload" then
      table.insert(doc.overloads, joined)
    elseif tag == "raise" then
      table.insert(doc.raises, joined)
    elseif tag == "usage" then
      if current.lines[1] == "" then table.remove(current.lines, 1) end
      table.insert(doc.usage, outdented(current.lines))
    end
  end
  for _, line in ipairs(lines) do
    local tag, option, rest = line:match "^%s*@(%a+)(%b[])%s*(.*)$"
    if not tag then
      option, tag, rest = "", line:match "^%s*@(%a+)%s*(.*)$"
    end
    if tag then
      finish()
      current = { tag = tag, option = option, lines = { rest } }
    else
      local to = current and current.lines or text
      to[#to + 1] = line
    end
  end
  finish()
  while text[#text] == "" do text[#text] = nil end
  doc.text = table.concat(text, "\n")
  return doc
end

--- Reads the text of a row in C.
-- @tparam string text
-- @treturn table as of parse
function comment.of_text(text)
  local lines = {}
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  return comment.parse(lines)
end

-- ---- finding it -----------------------------------------------------------------------------------

local files = {}

local function lines_of(path)
  if files[path] == nil then
    local file, lines = io.open(path, "r"), {}
    if file then
      for line in file:lines() do lines[#lines + 1] = line end
      file:close()
    end
    files[path] = file and lines or false
  end
  return files[path]
end

-- The lines of the comment that ends above line `first` of a file.
local function above(path, first)
  local lines, found = lines_of(path), {}
  for i = first - 1, 1, -1 do
    local text = lines and lines[i]:match "^%s*%-%-+ ?(.*)"
    if not text then break end
    table.insert(found, 1, text)
  end
  return #found > 0 and found or nil
end

--- The documentation of a Lua function.
-- @tparam function f
-- @treturn ?table as of parse, with path, first, last (line numbers of the function), signature (the names of its
--   parameters as written); nil: it has no comment, or is written in C
function comment.of(f)
  f = names.original[f] or f
  local about = debug.getinfo(f, "Su")
  if about.what == "C" or about.source:sub(1, 1) ~= "@" then return nil end
  local path = about.source:sub(2)
  local lines = above(path, about.linedefined)
  if not lines then return nil end
  local doc = comment.parse(lines)
  doc.path, doc.first, doc.last = path, about.linedefined, about.lastlinedefined
  doc.arguments = {}
  for i = 1, about.nparams do doc.arguments[i] = debug.getlocal(f, i) end
  if about.isvararg then doc.arguments[#doc.arguments + 1] = "..." end
  return doc
end

--- The comment at the head of a file.
-- @tparam string path
-- @treturn ?string
function comment.head_of(path)
  local found = {}
  for _, line in ipairs(lines_of(path) or {}) do
    local text = line:match "^%-%-+ ?(.*)"
    if not text then break end
    found[#found + 1] = text
  end
  return #found > 0 and table.concat(found, "\n") or nil
end

--- The comment at the head of a module's file.
-- @tparam string module "simvae.metrics"
-- @treturn ?string
function comment.head(module)
  local path = package.searchpath(module, package.path)
  return path and comment.head_of(path)
end

return comment
