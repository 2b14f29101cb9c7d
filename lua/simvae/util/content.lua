--- Tables of results: they are plain tables that print their content.
--
--     local r = content { mig = 0.71, rmse = { w = 2.8, h = 2.8 } }
--     print(r)              -- mig   0.71
--                           -- rmse  { h = 2.8, w = 2.8 }
local core = require "simvae.core"

local Content = {}

local shown, room = 8, 60 -- entries of a list and letters of a table that stay on one line

local function is_tensor(v) return getmetatable(v) == core.metatable end

local function shape_text(shape)
  return "(" .. table.concat(shape, ", ") .. (#shape == 1 and ",)" or ")")
end

local function scalar(v)
  if math.type(v) == "float" then return string.format("%.6g", v) end
  if type(v) == "string" then return string.format("%q", v) end
  if is_tensor(v) then return v.alive and v.ndim == 0 and tostring(v) or "tensor " .. shape_text(v.shape) end
  if type(v) == "function" or type(v) == "thread" then return type(v) end
  local meta = getmetatable(v)
  if type(v) == "table" and meta ~= Content and not (meta and meta.__tostring) then return nil end
  if meta == Content then return nil end
  return tostring(v)
end

local function sorted(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys, function(a, b)
    if type(a) == "number" and type(b) == "number" then return a < b end
    if type(a) ~= type(b) then return type(a) == "number" end
    return tostring(a) < tostring(b)
  end)
  return keys
end

-- A table on one line, or nil where it is too long or deep.
local function on_one_line(t)
  local n, parts = #t, {}
  for i = 1, math.min(n, shown) do
    parts[i] = scalar(t[i])
    if not parts[i] then return nil end
  end
  if n > shown then parts[#parts + 1] = string.format("… %d in all", n) end
  for _, k in ipairs(sorted(t)) do
    if not (math.type(k) == "integer" and k >= 1 and k <= n) then
      local text = scalar(t[k])
      if not text then return nil end
      parts[#parts + 1] = tostring(k) .. " = " .. text
    end
  end
  local line = "{ " .. table.concat(parts, ", ") .. " }"
  if #parts == 0 then return "{}" end
  return utf8.len(line) and utf8.len(line) <= room and line or n > 0 and #parts <= shown + 1 and line or nil
end

local function lines_of(t, indent, above, lines)
  if above[t] then
    lines[#lines + 1] = indent .. "…"
    return
  end
  above[t] = true
  local keys, width = sorted(t), 0
  local n = #t
  for _, k in ipairs(keys) do width = math.max(width, #tostring(k)) end
  for _, k in ipairs(keys) do
    if math.type(k) == "integer" and k > shown and k <= n then
      if k == n then lines[#lines + 1] = string.format("%s… %d in all", indent, n) end
    else
      local name = indent .. tostring(k) .. (" "):rep(width - #tostring(k)) .. "  "
      local text = scalar(t[k]) or on_one_line(t[k])
      lines[#lines + 1] = text and name .. text or indent .. tostring(k)
      if not text then lines_of(t[k], indent .. "  ", above, lines) end
    end
  end
  above[t] = nil
end

function Content.__tostring(t)
  if next(t) == nil then return "{}" end
  local lines = {}
  if #t > 0 then
    local line = on_one_line(t)
    if line then return line end
  end
  lines_of(t, "", {}, lines)
  return table.concat(lines, "\n")
end

local function mark(t, seen)
  if type(t) ~= "table" or getmetatable(t) ~= nil or seen[t] then return t end
  seen[t] = true
  for _, v in next, t do mark(v, seen) end
  return setmetatable(t, Content)
end

--- Makes a table, and the plain tables in it, print its content. All else about it stays as it was.
-- @tparam table t
-- @treturn table t
return function(t) return mark(t, {}) end
