--- Dimensions of exported tensors: a whole number, or a multiple of symbols, which stand for sizes that a caller
-- chooses: "batch", the number of rows, and of posteriors "draws", the number of draws or points of each row.
local dim = {}

local Dim = {}
Dim.__index = Dim

--- The symbols in the order in which rows are numbered: row n of the batch has its draws one after the other.
dim.symbols = { "batch", "draws" }

--- factor times the symbols.
-- @tparam integer factor
-- @tparam {[string]=boolean} symbols
-- @treturn Dim|integer a number where there are no symbols
function dim.new(factor, symbols)
  return next(symbols) and setmetatable({ factor = factor, symbols = symbols }, Dim) or factor
end

--- The dimension that a symbol is.
function dim.of(name) return dim.new(1, { [name] = true }) end

--- Is it a multiple of symbols?
function dim.is(d) return getmetatable(d) == Dim end

function Dim.__eq(a, b)
  if a.factor ~= b.factor then return false end
  for _, s in ipairs(dim.symbols) do
    if a.symbols[s] ~= b.symbols[s] then return false end
  end
  return true
end

function Dim:__tostring()
  local parts = {}
  for _, s in ipairs(dim.symbols) do
    if self.symbols[s] then parts[#parts + 1] = s end
  end
  if self.factor ~= 1 then parts[#parts + 1] = tostring(self.factor) end
  return table.concat(parts, " * ")
end

--- Its value at sizes of the symbols.
-- @tparam Dim|integer d
-- @tparam {[string]=integer} sizes
-- @treturn integer
function dim.at(d, sizes)
  if not dim.is(d) then return d end
  local n = d.factor
  for s in pairs(d.symbols) do n = n * sizes[s] end
  return n
end

--- A shape, or a list of options, at sizes of the symbols.
function dim.all_at(shape, sizes)
  local list = {}
  for i, d in ipairs(shape) do list[i] = dim.at(d, sizes) end
  return list
end

--- Does any of a list have a symbol?
function dim.any(shape)
  for _, d in ipairs(shape) do
    if dim.is(d) then return true end
  end
  return false
end

--- The dimension that has these values at the sizes of several traces; nil: none has.
-- @tparam {integer,...} values one a trace
-- @tparam {table,...} sizes of the symbols in each trace; trace i > 1 differs from the first in one symbol alone
-- @treturn ?Dim|integer
function dim.fit(values, sizes)
  local symbols, factor = {}, values[1]
  for i = 2, #values do
    if values[i] ~= values[1] then
      for s, n in pairs(sizes[i]) do
        if n ~= sizes[1][s] then symbols[s] = true end
      end
    end
  end
  for s in pairs(symbols) do
    if factor % sizes[1][s] ~= 0 then return nil end
    factor = factor // sizes[1][s]
  end
  local d = dim.new(factor, symbols)
  for i, v in ipairs(values) do
    if dim.at(d, sizes[i]) ~= v then return nil end
  end
  return d
end

--- A shape as text: (batch, 3, 64, 64).
function dim.text(shape)
  local list = {}
  for i, d in ipairs(shape) do list[i] = tostring(d) end
  return "(" .. table.concat(list, ", ") .. (#list == 1 and ",)" or ")")
end

--- The shape of a result of two operands, which are broadcast.
-- @tparam {Dim|integer,...} a
-- @tparam {Dim|integer,...} b
-- @treturn {Dim|integer,...}
function dim.joined(a, b)
  local shape, n = {}, math.max(#a, #b)
  for i = 1, n do
    local p, q = a[#a - n + i] or 1, b[#b - n + i] or 1
    shape[i] = p == 1 and q or p
  end
  return shape
end

return dim
