--- Reading untrusted files: shared by the readers of all formats.
--
-- A reader checks a file's fields and calls refuse(…) for invalid ones; the public
-- function returns nil and a message with the path.
local core = require "simvae.core"

local file = {}

local refusal = {}

--- Ends reading with an error of the file.
function file.refuse(format, ...)
  error(setmetatable({ reason = string.format(format, ...) }, refusal), 0)
end

--- The value, or an error of the file for the reason after it.
function file.need(value, reason)
  if value == nil then file.refuse("%s", reason) end
  return value
end

local function escaped(c)
  return (c:gsub(".", function(byte) return string.format("\\x%02x", byte:byte()) end))
end

--- Text from a file as a terminal can show it: control characters (C0, DEL, C1) as \xNN, and every byte beyond ASCII
-- where it is not UTF-8. A file's text cannot move the cursor, colour lines or forge new ones.
-- @tparam string text
-- @treturn string
function file.printable(text)
  if not utf8.len(text) then return (text:gsub("[%c\128-\255]", escaped)) end
  return (text:gsub("%c", escaped):gsub("\xC2[\x80-\x9F]", escaped))
end

local starts = { ["\137PNG"] = "png", ["\147NUMPY"] = "npy", ["PK\3\4"] = "npz" }

--- The format of a file by its first bytes.
-- @tparam string start six of them or more
-- @treturn ?string "png", "npy" or "npz"
function file.format(start)
  return starts[start:sub(1, 4)] or starts[start:sub(1, 6)]
end

local MAX_REASON = 1000 -- bytes of a message: names in a file may be long

--- nil, message as the functions of sv.io return it.
function file.failure(path, reason)
  if #reason > MAX_REASON then reason = reason:sub(1, MAX_REASON) .. "..." end
  return nil, path .. ": " .. file.printable(reason)
end

--- Runs body, which may call refuse.
-- @tparam function body
-- @return what it returns, or nil and the reason of the refusal
function file.attempt(body, ...)
  local results = table.pack(pcall(body, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  if getmetatable(results[2]) == refusal then return nil, results[2].reason end
  error(results[2], 0)
end

--- Runs body, which may call refuse, for the function of a path.
-- @tparam string path
-- @tparam function body
-- @return what it returns, or nil, message
function file.attempt_on(path, body)
  local results = table.pack(file.attempt(body))
  if results[1] == nil and results.n == 2 then return file.failure(path, results[2]) end
  return table.unpack(results, 1, results.n)
end

--- Runs body(source) on an open file and closes it, unless body keeps it.
-- @tparam string path
-- @tparam function body of the source; its results are returned
-- @tparam boolean keep the source stays open when body succeeds
-- @return what body returns, or nil, message
function file.read(path, body, keep)
  local source, reason = core.io.open_source(path)
  if not source then return file.failure(path, reason) end
  local results = table.pack(pcall(body, source))
  if not (keep and results[1]) then source:close() end
  if results[1] then return table.unpack(results, 2, results.n) end
  if getmetatable(results[2]) == refusal then return file.failure(path, results[2].reason) end
  error(results[2], 0)
end

--- Writes strings and tensors in sequence, atomically.
-- @tparam string path
-- @tparam {string|tensor,...} pieces
-- @tparam ?string previous path under which the old file is kept
-- @return true, or nil, message
function file.write(path, pieces, previous)
  local ok, reason = core.io.write(path, pieces, previous)
  if not ok then return file.failure(path, reason) end
  return true
end

local times_read = 64
file.default_bytes = 256 << 20

--- Rule of the option max_bytes of readers: memory of a file's tensors. Default: 256 MiB, or 64 times the file if that
-- is more, so that decompression bombs are refused before memory is allocated.
file.max_bytes = { "integer", min = 0,
  doc = "most memory of the tensors, in bytes, against decompression bombs; default: 256 MiB, or 64 times the file" }

--- The bytes that the tensors of a file may take.
-- @tparam source source
-- @tparam ?integer max_bytes the option
function file.limit(source, max_bytes)
  return max_bytes or math.max(file.default_bytes, times_read * source:size())
end

--- Ends reading if numbers exceed the memory limit.
-- @tparam integer count of numbers
-- @tparam integer limit bytes, of file.limit
-- @tparam string what they are, for the message
-- @treturn integer bytes that they take
function file.check_memory(count, limit, what)
  local bytes = count * (file.real == "f8" and 8 or 4)
  if bytes > limit then
    file.refuse("%s would take %d bytes in memory, over the limit of %d; max_bytes = n allows more", what, bytes, limit)
  end
  return bytes
end

local limit = 1 << 48

--- The product of a shape's entries; refuses overflow.
function file.count(shape)
  if #shape > 8 then file.refuse("an array has %d axes; tensors have at most 8", #shape) end
  local count = 1
  for _, n in ipairs(shape) do
    if n > limit or (n > 0 and count > limit // n) then
      file.refuse("the shape (%s) is more than any memory holds", table.concat(shape, ", "))
    end
    count = count * n
  end
  return count
end

--- Is this machine big-endian?
file.big_endian = string.pack("=I2", 1) == "\0\1"

--- Letters of a float of this build in NumPy's and safetensors' names.
file.real = core.real == "double" and "f8" or "f4"

--- The names of a table of tensors, sorted; raises at the public function's caller if it is none.
function file.names(what, tensors)
  if type(tensors) ~= "table" then
    error(string.format("%s: takes a table of name = tensor; got %s", what, type(tensors)), 3)
  end
  local names = {}
  for name, t in pairs(tensors) do
    if type(name) ~= "string" then
      error(string.format("%s: names are strings; got %s", what, tostring(name)), 3)
    elseif getmetatable(t) ~= core.metatable then
      error(string.format("%s: '%s' must be a tensor; got %s", what, name, type(t)), 3)
    end
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

--- Raises at the public function's caller unless path is a string.
function file.check_path(what, path)
  if type(path) ~= "string" then error(string.format("%s: path must be a string; got %s", what, type(path)), 3) end
end

--- Raises at the public function's caller unless t is a tensor.
function file.check_tensor(what, t)
  if getmetatable(t) ~= core.metatable then
    error(string.format("%s: takes a tensor; got %s", what, type(t)), 3)
  end
end

return file
