--- The lines of a netlist as ngspice 39 reads them, without comments, with continuation lines joined and included
-- files inserted. Comments are removed because ngspice executes comments that begin with `*#`.
local core = require "simvae.core"
local number = require "simvae.simulator.spice.number"

local lines = {}

local max_depth, max_files = 40, 10000 -- of included files: nested, and in total

-- ---- one line ------------------------------------------------------------------------

-- ngspice's end-of-line comments: ";" and "//" anywhere, "$" after a blank or a comma; not within "double quotes".
local function without_comment(line)
  local quoted, i = false, 1
  while i <= #line do
    local c = line:sub(i, i)
    if c == '"' then
      quoted = not quoted and line:find('"', i + 1, true) ~= nil
    elseif not quoted then
      local before = line:sub(i - 1, i - 1)
      if c == ";" or line:sub(i, i + 1) == "//" or c == "$" and (i == 1 or before:find "[ \t,]") then
        return line:sub(1, i - 1)
      end
    end
    i = i + 1
  end
  return line
end

-- Without comment and surrounding blanks; "" for a line that is a comment.
local function clean(line)
  line = line:match "^%s*(.-)%s*$"
  if line:find "^[*#]" then return "" end
  return (without_comment(line):gsub("%s+$", ""))
end

local function physical(text)
  text = text:gsub("^\u{FEFF}", ""):gsub("\r\n", "\n"):gsub("\r", "\n")
  return (number.plain_micro(text) .. "\n"):gmatch "(.-)\n"
end

-- ---- files -----------------------------------------------------------------------------

local function find_file(reader, path, folder)
  path = path:gsub("^~/", (os.getenv("HOME") or "~") .. "/")
  if path:find "^/" then return path end
  for _, base in ipairs { folder, reader.folder, "" } do
    if core.system.kind(base .. path) == "file" then return base .. path end
  end
  return folder .. path
end

local function read_file(path)
  local kind = core.system.kind(path)
  if kind and kind ~= "file" then return nil, path .. ": is no file" end -- a device or a pipe may be endless
  local file, why = io.open(path, "rb")
  if not file then return nil, why end
  local text = file:read "a"
  file:close()
  return text
end

-- The path and what follows it, of ".include 'path' …", ".lib path section".
local function path_of(line)
  local rest = line:match "^%.%a+%s*(.-)$"
  local quote = rest:match "^[\"']"
  if quote then return rest:match("^" .. quote .. "(.-)" .. quote .. "%s*(.-)$") end
  return rest:match "^(%S+)%s*(.-)$"
end

-- The lines between ".lib NAME" and ".endl" of a library's text; nil where it has no such section.
local function section_of(text, name)
  local found, inside = {}, false
  for line in physical(text) do
    local head = clean(line):lower()
    if inside and head:find "^%.endl" then return table.concat(found, "\n") end
    if inside then found[#found + 1] = line end
    if head:match "^%.lib%s+[\"']?([^\"'%s]+)[\"']?$" == name:lower() then inside = true end
  end
  return inside and table.concat(found, "\n") or nil
end

-- ---- reading ---------------------------------------------------------------------------

local Reader = {}
Reader.__index = Reader

function Reader:add(line)
  self.list[#self.list + 1] = line
end

-- A relative path in double quotes that names a file becomes absolute: ngspice runs in another folder.
local function absolute_paths(line, folder)
  return (line:gsub('"([^"]+)"', function(path)
    if path:find "^/" or folder == "" or core.system.kind(folder .. path) ~= "file" then return nil end
    return '"' .. folder .. path .. '"'
  end))
end

function Reader:include(line, folder, depth)
  local path, section = path_of(line)
  if not path or path == "" then return self:fail("%s: names no file", line) end
  self.files = (self.files or 0) + 1
  if depth > max_depth or self.files > max_files then
    return self:fail("%s: files that include each other, more than %d deep or %d in all", line, max_depth, max_files)
  end
  local full = find_file(self, path, folder)
  local text, why = read_file(full)
  if not text then return self:fail("%s: %s", line, why) end
  if line:lower():find "^%.lib" and section ~= "" then
    text = section_of(text, section:gsub("[\"']", ""))
    if not text then return self:fail("%s: %s has no section '%s'", line, full, section) end
  end
  self.included = true
  return self:read(physical(text), full:match "^(.*/)" or "", depth + 1)
end

-- A ".control" block; returns whether the line belongs to one.
function Reader:control(raw, trimmed)
  local lower = trimmed:lower()
  if lower:find "^%.control" then self.in_control = true end
  if not self.in_control then return false end
  self.controls = self.controls or {}
  if self.trusted then self:add(raw) else self.controls[#self.controls + 1] = trimmed end
  if lower:find "^%.endc" then self.in_control = false end
  return true
end

-- A line whose comment is off; head: what it adds to the card before it, if it goes on from there. What goes on from
-- the title or from an included file belongs to no card.
function Reader:put(line, head, folder, depth)
  local lower = line:lower()
  if head then
    if self.open then self.list[#self.list] = self.list[#self.list] .. " " .. head end
  elseif lower:find "^%.inc" or lower:find "^%.lib" then
    local ok, why = self:include(line, folder, depth)
    self.open = false
    return ok, why
  else
    self.open = not lower:find "^%.title"
    if self.open then self:add(absolute_paths(line, folder)) end
  end
  return true
end

function Reader:read(iterator, folder, depth)
  local ended, joined = false, false -- by two backslashes at the end of the line before
  self.open = false
  for raw in iterator do
    local line = clean(raw)
    local empty = self:control(raw, raw:match "^%s*(.-)%s*$") or line == ""
    if not empty and ended and depth == 0 then
      return self:fail("the netlist goes on after .end: %s; ngspice 39 reads on there, other SPICEs do not: take away "
        .. "one or the other", line)
    elseif line:lower():find "^%.end$" or line:lower():find "^%.end%s" then
      ended = true
    elseif not empty then
      local head = line:match "^%+%s*(.*)$" or joined and line
      joined = line:find "\\\\$" ~= nil
      if joined then line, head = line:gsub("\\\\$", ""), head and head:gsub("\\\\$", "") end
      local ok, why = self:put(line, head, folder, depth)
      if not ok then return nil, why end
    end
  end
  if self.in_control then return self:fail ".control has no .endc" end
  return true
end

function Reader:fail(format, ...)
  return nil, string.format(format, ...)
end

-- Words of a card, apart from name=value.
local function words_of(line)
  local words = {}
  for word in line:lower():gsub("%s*=%s*", "="):gmatch "%S+" do
    if not word:find "=" then words[#words + 1] = word end
  end
  return words
end

-- Nodes of elements whose cards name a model after them; of those whose cards give a value there.
local nodes_of = { d = 2, j = 3, m = 4, q = 3, r = 2, c = 2, l = 2, v = 2, i = 2, e = 4, g = 4, f = 2, h = 2 }

-- Nodes of elements whose value may be given as name=value.
local values_by_name = { r = 2, c = 2, l = 2, b = 2, e = 2, g = 2 }

local waveforms = { dc = true, ac = true, pulse = true, sin = true, exp = true, pwl = true, sffm = true, am = true }

-- What cards name: nodes, models, subcircuits; and parameters, in braces.
local function names_in(list)
  local named = { ["0"] = true, gnd = true }
  for _, line in ipairs(list) do
    local words = words_of(line)
    for k = 2, #words do named[words[k]] = true end
    for inside in line:lower():gmatch "%b{}" do
      for word in inside:gmatch "[%a_][%w_]*" do named[word] = true end
    end
  end
  return named
end

--- Is the title an element of this circuit, that is, was the title forgotten? It is one where it names nodes that other
-- cards name too, and after them a value, a model or a subcircuit of the netlist.
-- @tparam table list of lines.read
function lines.title_is_card(list)
  local title = clean(list.title)
  if title:find "^%." then return not title:lower():find "^%.title" end
  local words, assigns = words_of(title), title:find("=", 1, true) ~= nil
  local letter = (words[1] or ""):match "^([rclviegfhdjmqxb])[%w_]*$"
  local by_name = assigns and values_by_name[letter]
  local nodes = letter == "x" and #words - 2 or by_name or nodes_of[letter]
  local last = not by_name and nodes and words[nodes + 2]
  if not (by_name or last) then return false end
  local named = names_in(list)
  for k = 2, nodes + 1 do
    if not named[words[k]] then return false end
  end
  return not last or named[last] or number.is(last) or last:find "^[{']" ~= nil or waveforms[last:match "^%a+"] or false
end

local function blank(line)
  return not line:find "%S"
end

-- Does the card at a place of the list of lines go on in the next one?
local function continued(all, at)
  local line
  repeat
    at = at + 1
    line = all[at] and clean(all[at])
  until line ~= ""
  return line and line:find "^%+" ~= nil
end

-- The cards after a title, which is line number `at`; the fields of lines.read.
local function read_cards(all, at, folder, trusted)
  local reader = setmetatable({ list = {}, folder = folder, trusted = trusted }, Reader)
  local title = all[at]:match "^%s*(.-)%s*$"
  local ok, why = reader:read(function()
    at = at + 1
    return all[at]
  end, folder, 0)
  if not ok then return nil, why end
  local list = reader.list
  list.title, list.included, list.controls = title, reader.included, reader.controls
  return list
end

--- Reads a netlist.
-- @tparam string text
-- @tparam string folder where its relative paths begin: "" or a path that ends in "/"
-- @tparam boolean trusted leaves .control blocks in
-- @treturn ?table { "card", … } without the title; included: files were; controls: skipped lines of .control blocks;
--   title: the first line; or nil, message
function lines.read(text, folder, trusted)
  if text:find "^\xFF\xFE" or text:find "^\xFE\xFF" then
    return nil, "the netlist is UTF-16: save it as UTF-8 (LTspice: in its settings, or iconv -f UTF-16 -t UTF-8)"
  end
  if text:find "\0" then return nil, "the netlist holds a byte 0: it is no text" end
  local all, at = {}, 1
  for line in physical(text) do all[#all + 1] = line end
  while blank(all[at]) and all[at + 1] do at = at + 1 end
  if at == 1 or clean(all[at]) ~= "" and not continued(all, at) then
    local list, why = read_cards(all, at, folder, trusted)
    if at == 1 or not list or not lines.title_is_card(list) then return list, why end
  end
  return read_cards(all, at - 1, folder, trusted) -- a blank line is the title
end

return lines
