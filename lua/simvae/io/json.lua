--- JSON (RFC 8259): a reader for untrusted files, with limits on depth and size, and a writer with canonical output.
--
-- The reader calls file.refuse: code that reads a format inside file.read uses it as it is (io.safetensors);
-- json.decode is for text that is already there, and returns nil and the reason.
local core = require "simvae.core"
local file = require "simvae.io.file"

local json = {}

local refuse = file.refuse

local MAX_DEPTH = 32
local MAX_BYTES = 16 << 20
local MAX_DIGITS = 1000 -- of a number; the longest exact double has 767

local escapes = {
  ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}

-- ---- reading ------------------------------------------------------------------------------

local Reader = {}
Reader.__index = Reader

--- A reader at the start of a text.
-- @tparam string text
-- @tparam string what the text's name in messages: "its header"
function json.reader(text, what)
  return setmetatable({ text = text, what = what, at = 1 }, Reader)
end

--- Ends reading with a syntax error.
function Reader:bad(wanted)
  local found = self.text:match("^[%g]", self.at)
  refuse("%s is not valid: %s expected at byte %d, found %s", self.what, wanted, self.at,
    found and "'" .. found .. "'" or self.at > #self.text and "its end" or "an unexpected byte")
end

function Reader:skip()
  self.at = self.text:find("[^ \t\r\n]", self.at) or #self.text + 1
end

--- Takes the character if it is next.
function Reader:take(character)
  self:skip()
  if self.text:sub(self.at, self.at) ~= character then return false end
  self.at = self.at + 1
  return true
end

--- Takes a word such as null if it is next.
function Reader:word(word)
  self:skip()
  if self.text:sub(self.at, self.at + #word - 1) ~= word then return false end
  self.at = self.at + #word
  return true
end

function Reader:expect(character)
  if not self:take(character) then self:bad("'" .. character .. "'") end
end

--- Refuses what follows the value.
function Reader:finish()
  self:skip()
  if self.at <= #self.text then self:bad("nothing more") end
end

function Reader:code_unit()
  local digits = self.text:match("^%x%x%x%x", self.at)
  if not digits then self:bad("four hexadecimal digits") end
  self.at = self.at + 4
  return tonumber(digits, 16)
end

function Reader:escape()
  local letter = self.text:sub(self.at, self.at)
  self.at = self.at + 1
  if letter ~= "u" then
    if not escapes[letter] then self:bad("an escape sequence") end
    return escapes[letter]
  end
  local code = self:code_unit()
  if code >= 0xD800 and code < 0xDC00 and self.text:sub(self.at, self.at + 1) == "\\u" then
    self.at = self.at + 2
    local low = self:code_unit()
    if low < 0xDC00 or low > 0xDFFF then self:bad("the second half of a surrogate pair") end
    code = 0x10000 + (code - 0xD800) * 0x400 + low - 0xDC00
  end
  if code >= 0xD800 and code < 0xE000 then self:bad("a character, not half of one") end
  return utf8.char(code)
end

function Reader:string()
  self:expect '"'
  local parts = {}
  while true do
    local plain, last = self.text:match('^([^"\\%c]*)()', self.at)
    parts[#parts + 1] = plain
    self.at = last + 1
    local stop = self.text:sub(last, last)
    if stop == '"' then break end
    if stop ~= "\\" then
      self.at = last
      self:bad("the end of a string")
    end
    parts[#parts + 1] = self:escape()
  end
  local s = table.concat(parts)
  if not utf8.len(s) then refuse("%s is not valid: a string is not UTF-8", self.what) end
  return s
end

function Reader:whole_number()
  self:skip()
  local digits, last = self.text:match("^(%d+)()", self.at)
  if not digits or self.text:find("^[%.eE]", last) or digits:find "^0%d" then self:bad("a whole number from 0 on") end
  if #digits > 15 then refuse("%s names the number %s, more than any file holds", self.what, digits:sub(1, 40)) end
  self.at = last
  return math.tointeger(tonumber(digits))
end

--- Any number; whole ones without point and exponent come as integers, those beyond double precision as infinity.
function Reader:number()
  self:skip()
  local digits, last = self.text:match("^([%d%.eE+-]+)()", self.at)
  local whole = digits and digits:match "^-?(%d+)$"
  local plain = digits and (whole or digits:match "^-?(%d+)%.%d+$" or digits:match "^-?(%d+)[eE][+-]?%d+$"
    or digits:match "^-?(%d+)%.%d+[eE][+-]?%d+$")
  if not plain or plain:find "^0%d" or #digits > MAX_DIGITS then self:bad("a number") end
  self.at = last
  local value = tonumber(digits)
  return whole and math.tointeger(value) or value
end

--- Calls each() for every entry between two brackets, commas between them.
function Reader:entries(open, close, each)
  self:expect(open)
  if self:take(close) then return end
  repeat each() until not self:take ","
  self:expect(close)
end

--- Calls each(key) for every entry of an object; it reads the value. A key that comes twice is refused.
function Reader:object(each)
  local seen = {}
  self:entries("{", "}", function()
    local key = self:string()
    if seen[key] then refuse("%s names '%s' twice", self.what, key) end
    seen[key] = true
    self:expect ":"
    each(key)
  end)
end

--- Any value, at most `depth` brackets deep: null is nil; objects and lists are tables.
function Reader:value(depth)
  self:skip()
  local first = self.text:sub(self.at, self.at)
  if first == '"' then return self:string() end
  if first == "{" or first == "[" then
    if depth == 0 then refuse("%s is not valid: its brackets are nested too deeply", self.what) end
    local result, n = {}, 0
    if first == "{" then
      self:object(function(key) result[key] = self:value(depth - 1) end)
    else
      self:entries("[", "]", function()
        n = n + 1
        result[n] = self:value(depth - 1)
      end)
    end
    return result
  end
  if self:word "true" then return true end
  if self:word "false" then return false end
  if self:word "null" then return nil end
  return self:number()
end

--- The value of a text.
-- @tparam string text
-- @tparam ?table limits max_depth (32) of nested brackets, max_bytes (16 MiB), what: the text's name in the reason
-- @return the value (null: nil); or nil and why there is none
function json.decode(text, limits)
  limits = limits or {}
  local what, maximum = limits.what or "the JSON text", limits.max_bytes or MAX_BYTES
  if #text > maximum then return nil, string.format("%s has %d bytes, more than %d", what, #text, maximum) end
  local reader = json.reader(text, what)
  return file.attempt(function()
    local value = reader:value(limits.max_depth or MAX_DEPTH)
    reader:finish()
    return value
  end)
end

-- ---- writing ------------------------------------------------------------------------------

--- A string with its quotes.
function json.quote(s)
  return '"' .. s:gsub('[%c"\\]', function(c)
    return c == '"' and '\\"' or c == "\\" and "\\\\" or string.format("\\u%04x", c:byte())
  end) .. '"'
end

-- The shortest of 15 to 17 digits that is the same double, with a point whatever the locale.
local function number_text(v)
  if v ~= v or v == math.huge or v == -math.huge then error("json: " .. v .. " has no form in JSON", 0) end
  if math.type(v) == "integer" then return string.format("%d", v) end
  for digits = 15, 17 do
    local text = string.format("%." .. digits .. "g", v)
    if tonumber(text) == v or digits == 17 then return (text:gsub(",", ".")) end
  end
end

local write

local List = {}

--- Marks a table as a list, which is written as [] where it is empty.
-- @tparam table t
-- @treturn table t
function json.list(t)
  return setmetatable(t, List)
end

-- o.lenient: null for what is not finite. indent: a line's end and its indentation; nil: all in one line.
local function write_table(t, depth, o, indent)
  if depth == 0 then error("json: tables are nested more than " .. MAX_DEPTH .. " deep", 0) end
  local parts, keys, brackets = {}, {}, "{}"
  local inner = indent and indent .. "  "
  if #t > 0 or getmetatable(t) == List then
    brackets = "[]"
    for i, v in ipairs(t) do parts[i] = write(v, depth - 1, o, inner) end
  else
    for k in pairs(t) do
      if type(k) ~= "string" and not (o.lenient and type(k) == "number") then
        error("json: keys are strings; got " .. tostring(k), 0)
      end
      keys[#keys + 1] = k
    end
    table.sort(keys, function(a, b)
      if type(a) == type(b) then return a < b end
      return type(a) == "number"
    end)
    for i, k in ipairs(keys) do
      parts[i] = json.quote(tostring(k)) .. (indent and ": " or ":") .. write(t[k], depth - 1, o, inner)
    end
  end
  if #parts == 0 or not indent then
    return brackets:sub(1, 1) .. table.concat(parts, ",") .. brackets:sub(2)
  end
  return brackets:sub(1, 1) .. inner .. table.concat(parts, "," .. inner) .. indent .. brackets:sub(2)
end

function write(v, depth, o, indent)
  local kind = type(v)
  if kind == "table" then return write_table(v, depth, o, indent) end
  if kind == "string" then return json.quote(v) end
  if kind == "number" then
    if o.lenient and (v ~= v or v == math.huge or v == -math.huge) then return "null" end
    return number_text(v)
  end
  if kind == "boolean" then return tostring(v) end
  error("json: no form for a " .. kind, 0)
end

--- A value as text: keys sorted, numbers exact, so that equal values give equal bytes in any process and locale.
-- @param v table (a list where it has an entry 1, or that `list` has marked), string, finite number or boolean
-- @tparam ?boolean lenient a number that is not finite becomes null (false: it raises)
-- @treturn string
function json.encode(v, lenient)
  return write(v, MAX_DEPTH, { lenient = lenient })
end

--- Writes a value to a file for people and other programs: indented, a number that is not finite as null.
-- @tparam string path
-- @param v as of `encode`
-- @treturn boolean true, or nil and why not
function json.save(path, v)
  local ok, why = core.io.write(path, { write(v, MAX_DEPTH, { lenient = true }, "\n"), "\n" })
  if not ok then return nil, path .. ": " .. why end
  return true
end

--- Reads a file that holds one value.
-- @tparam string path
-- @tparam ?table limits as of `decode`
-- @return the value; or nil and why there is none
function json.load(path, limits)
  local text, why = file.read(path, function(source) return file.need(source:read(0, source:size())) end)
  if not text then return nil, why end
  local value, reason = json.decode(text, limits)
  if reason then return file.failure(path, reason) end
  return value
end

return json
