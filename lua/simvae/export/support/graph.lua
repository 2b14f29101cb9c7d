--- A graph of ops: what every format is written from.
--
--     local g = graph.of { name = "decode", f = f, inputs = { … }, outputs = { … } }
--     for _, node in ipairs(g.nodes) do print(node.op, dim.text(node.shape)) end
--     local x = g:run { z }                              -- by the engine's ops
--
-- A graph has inputs, nodes in an order in which operands come first, and outputs. A value is a table:
--
--     kind     "input", "constant" or "node"
--     shape    of whole numbers and, where they grow with the batch, dimensions of simvae.export.support.dim
--     tensor   of a constant: its numbers; all its dimensions are whole numbers
--     op, inputs, options   of a node: the engine's op; false stands for an operand that is left out
--     name     of an input or an output
--     make     of an input: make(sizes, number) -> tensor, typical numbers, others for each `number`
--     labels   of an input or an output, the numbers of its last axis: { name, unit, low, high }, …
--
-- Ops are the engine's (sv.help NAME), fewer of them: simvae.export.support.canonical has the list. Constants are
-- folded, dead nodes gone, batch norm is part of the weights before it or a product and a sum.
local canonical = require "simvae.export.support.canonical"
local core = require "simvae.core"
local dim = require "simvae.export.support.dim"
local refuse = require "simvae.export.support.refuse"
local simplify = require "simvae.export.support.simplify"
local trace = require "simvae.export.support.trace"

local Graph = {}
Graph.__index = Graph

local graph = {}

-- ---- constants ----------------------------------------------------------------------------------

-- Whether two tensors hold the same numbers; NaN is the same as NaN.
local function same(a, b)
  if a == b then return true end
  local p, q = core.reshape(a, -1):totable(), core.reshape(b, -1):totable()
  for i, v in ipairs(p) do
    if v ~= q[i] and (v == v or q[i] == q[i]) then return false end
  end
  return true
end

-- The first `factor` entries along an axis, of which t is a repetition; nil: it is none.
local function tile(t, axis, factor)
  if t.shape[axis] == factor then return t end
  local first = core.slice(t, axis, 1, factor)
  local split, wide = {}, {}
  for i = 1, t.ndim do
    if i == axis then
      split[#split + 1], wide[#wide + 1] = 1, t.shape[i] // factor
      split[#split + 1], wide[#wide + 1] = factor, factor
    else
      split[#split + 1], wide[#wide + 1] = t.shape[i], t.shape[i]
    end
  end
  return same(core.reshape(core.expand(core.reshape(first, split), wide), t.shape), t) and first or nil
end

-- A constant whose rows are repeated with the batch: its rows once, expanded.
local function repeated(self, small, shape)
  local split, wide = {}, {}
  for _, d in ipairs(shape) do
    if dim.is(d) then
      for _, s in ipairs(dim.symbols) do
        if d.symbols[s] then split[#split + 1], wide[#wide + 1] = 1, dim.of(s) end
      end
    end
    local factor = dim.is(d) and d.factor or d
    if not dim.is(d) or factor > 1 then split[#split + 1], wide[#wide + 1] = factor, factor end
  end
  local value = self:constant(core.reshape(small, split))
  value = self:node("expand", { value }, { shape = wide }, wide)
  return self:node("reshape", { value }, { shape = shape }, shape)
end

-- A constant from its tensors in all traces.
local function constant_of(self, tensors, sizes, place)
  local what = "a constant of " .. place
  local shape = trace.shape(tensors, sizes, what)
  if not dim.any(shape) then
    for r = 2, #tensors do
      if not same(tensors[1], tensors[r]) then
        refuse.because("%s has other numbers in another run: they depend on the input through Lua, or are random; "
          .. "compute them by ops on tensors, and apply dropout where layer.training alone", what)
      end
    end
    return self:constant(tensors[1])
  end
  local small
  for r, t in ipairs(tensors) do
    local part = t
    for axis, d in ipairs(shape) do
      if part and dim.is(d) then part = tile(part, axis, d.factor) end
    end
    if not part or small and not same(small, part) then
      refuse.because("%s grows with the batch, and its rows differ between runs: they depend on the input through Lua, "
        .. "or are random; compute them by ops on tensors", what)
    end
    small = r == 1 and part or small
  end
  return repeated(self, small, shape)
end

--- Adds a constant.
-- @tparam tensor t
-- @treturn table value
function Graph:constant(t)
  local known = self.by_tensor[t]
  if not known then
    known = { kind = "constant", shape = table.move(t.shape, 1, t.ndim, 1, {}), tensor = t }
    self.by_tensor[t] = known
  end
  return known
end

--- Adds a node at the end, in its canonical form.
-- @tparam string op
-- @tparam {table,...} inputs values; false: left out
-- @tparam table options as of the engine, with dimensions
-- @tparam {Dim|integer,...} shape of its result
-- @treturn table value: another one where nothing is to be computed
function Graph:node(op, inputs, options, shape)
  local rewrite = canonical[op]
  if rewrite then
    local value = rewrite(self, inputs, options, shape)
    if value then return value end
  end
  return self:raw(op, inputs, options, shape)
end

--- Adds a node as it is.
function Graph:raw(op, inputs, options, shape)
  local node = { kind = "node", op = op, inputs = inputs, options = options, shape = shape }
  self.nodes[#self.nodes + 1] = node
  return node
end

-- ---- making one -----------------------------------------------------------------------------------

local function build(self, t, traced)
  local values = {}
  local function value_of(operand, place)
    if not operand then return false end
    if operand.input then return self.inputs[operand.input] end
    if operand.entry then return values[operand.entry] end
    return constant_of(self, operand.constant, traced.sizes, place)
  end
  for i, e in ipairs(traced.entries) do
    local inputs = {}
    for k, operand in ipairs(e.inputs) do inputs[k] = value_of(operand, e.place) end
    values[i] = self:node(e.op, inputs, e.options, e.shape)
  end
  for k, output in ipairs(t.outputs) do
    if not traced.outputs[k] then refuse.because("the function does not give its output '%s'", output.name) end
    local value = value_of(traced.outputs[k], "output " .. output.name)
    self.outputs[k] = { name = output.name, text = output.text, labels = output.labels, value = value,
      shape = value.shape }
  end
end

--- The graph of a function, verified.
-- @tparam table t name; text: a sentence about it; f of the inputs; inputs: { name, shape, text, labels, low, high,
-- make(sizes, number) }; outputs: { name, text, labels } of each result
-- @treturn Graph
function graph.of(t)
  local scope <close> = core.scope()
  local self = setmetatable({ name = t.name, text = t.text, inputs = {}, nodes = {}, outputs = {}, by_tensor = {},
    symbols = {} }, Graph)
  local used = {}
  for k, input in ipairs(t.inputs) do
    self.inputs[k] = { kind = "input", name = input.name, shape = input.shape, text = input.text,
      labels = input.labels, low = input.low, high = input.high, make = input.make }
    for _, d in ipairs(input.shape) do
      for s in pairs(dim.is(d) and d.symbols or {}) do used[s] = true end
    end
  end
  for _, s in ipairs(dim.symbols) do
    if used[s] then self.symbols[#self.symbols + 1] = s end
  end
  build(self, t, trace.of(t.f, t.inputs))
  simplify(self)
  for _, value in pairs(self.by_tensor) do value.tensor = core.buffer(value.tensor) end
  self.by_tensor = {}
  self:verify(t)
  return self
end

--- The constants that nodes or outputs use, in the order of their first use.
-- @treturn {table,...} values
function Graph:constants()
  local list, seen = {}, {}
  local function add(value)
    if value and value.kind == "constant" and not seen[value] then
      seen[value] = true
      list[#list + 1] = value
    end
  end
  for _, node in ipairs(self.nodes) do
    for _, input in ipairs(node.inputs) do add(input) end
  end
  for _, output in ipairs(self.outputs) do add(output.value) end
  return list
end

-- ---- running ----------------------------------------------------------------------------------------

local lists = { concat = true }

-- Options of a node at sizes of the symbols.
local function options_at(options, sizes)
  local result = {}
  for name, v in pairs(options) do
    if type(v) == "table" and not dim.is(v) then
      result[name] = dim.all_at(v, sizes)
    else
      result[name] = dim.at(v, sizes)
    end
  end
  return next(result) and result or nil
end

--- Sizes of the symbols from the inputs' tensors.
-- @tparam {tensor,...} tensors
-- @treturn {[string]=integer}
function Graph:sizes(tensors)
  local sizes = {}
  for k, input in ipairs(self.inputs) do
    for axis, d in ipairs(input.shape) do
      for s in pairs(dim.is(d) and d.symbols or {}) do sizes[s] = tensors[k].shape[axis] // d.factor end
    end
  end
  return sizes
end

--- Runs the graph by the engine's ops.
-- @tparam {tensor,...} tensors of the inputs
-- @tparam ?function replace (constant) -> tensor or nil: other numbers in place of a constant's
-- @treturn {tensor,...} the outputs
function Graph:run(tensors, replace)
  local values, sizes = {}, self:sizes(tensors)
  for k, input in ipairs(self.inputs) do values[input] = tensors[k] end
  for _, value in ipairs(self:constants()) do values[value] = replace and replace(value) or value.tensor end
  return core.no_grad(function()
    for _, node in ipairs(self.nodes) do
      local given, n = {}, #node.inputs
      for k, input in ipairs(node.inputs) do given[k] = input and values[input] or nil end
      local call, options = core.ops[node.op].call, options_at(node.options, sizes)
      if lists[node.op] then
        values[node] = call(given, options)
      else
        if options then n = n + 1; given[n] = options end
        values[node] = call(table.unpack(given, 1, n))
      end
    end
    local outputs = {}
    for k, output in ipairs(self.outputs) do outputs[k] = values[output.value] end
    return outputs
  end)
end

-- ---- verification -------------------------------------------------------------------------------------

--- The largest difference of two tensors, as a share of the second one's largest number (at least 1e-30); infinite
-- where one has infinities or NaN that the other has not.
-- @tparam tensor a
-- @tparam tensor b
-- @treturn number
function graph.difference(a, b)
  local p, q, largest, far = core.reshape(a, -1):totable(), core.reshape(b, -1):totable(), 1e-30, 0
  if #p ~= #q then return math.huge end
  for i, v in ipairs(q) do
    local size = math.abs(v)
    if size < math.huge then largest = math.max(largest, size) end
    if p[i] ~= v and (v == v or p[i] == p[i]) then
      local d = math.abs(p[i] - v)
      far = math.max(far, d == d and d or math.huge)
    end
  end
  return far / largest
end

local CHECKED = { { batch = 5, draws = 3 }, { batch = 1, draws = 1 } }
local TOLERANCE, LARGEST = 2e-5, 1e-3 -- least and largest tolerance of a difference: of a series of steps 1e-5 is usual
local ROUNDING = 2^-22  -- relative change of the inputs, about that of a product's rounding
local MARGIN = 30       -- of the change of an output that it makes; rounding alone reaches a tenth of it

-- A tolerance for each output: rounding is magnified as a small change of the inputs is, most by narrow posteriors.
local function tolerances_of(self, given, wanted)
  local rng, near, list = core.rng(1), {}, {}
  for k, t in ipairs(given) do near[k] = t * rng:uniform(1 - ROUNDING, 1 + ROUNDING, t.shape) end
  for k, got in ipairs(self:run(near)) do
    list[k] = math.max(TOLERANCE, math.min(LARGEST, MARGIN * graph.difference(got, wanted[k])))
  end
  return list
end

local function compare(self, wanted, got, tolerances, what)
  for k, output in ipairs(self.outputs) do
    local far = graph.difference(got[k], wanted[k])
    if far > tolerances[k] then
      refuse.because("the graph's '%s' differs from the model's by %.3g of the largest number%s; a net whose result "
        .. "depends on the size of the batch, or on the other rows of it, cannot leave", output.name, far, what)
    end
  end
end

--- Compares the graph with its function at sizes that were not traced, and rows computed one by one with the same rows
-- of a batch.
-- @tparam table t as of `graph.of`
-- @raise a difference
function Graph:verify(t)
  local scope <close> = core.scope()
  for number, sizes in ipairs(CHECKED) do
    local given = {}
    for k, input in ipairs(t.inputs) do given[k] = input.make(sizes, 100 + number) end
    local wanted = table.pack(core.no_grad(t.f, table.unpack(given)))
    compare(self, wanted, self:run(given), tolerances_of(self, given, wanted),
      string.format(" at a batch of %d", sizes.batch))
    for i = 1, sizes.batch > 1 and sizes.batch or 0 do
      local row, of_row = {}, {}
      for k in ipairs(given) do row[k] = core.slice(given[k], 1, i, i) end
      for k in ipairs(self.outputs) do
        if wanted[k].shape[1] ~= sizes.batch then
          refuse.because("output '%s' has the shape %s; its first axis is to be the batch", t.outputs[k].name,
            dim.text(self.outputs[k].shape))
        end
        of_row[k] = core.slice(wanted[k], 1, i, i)
      end
      compare(self, of_row, self:run(row), tolerances_of(self, row, of_row), string.format(", row %d by itself", i))
    end
  end
end

--- How many numbers its constants have.
function Graph:count()
  local n = 0
  for _, value in ipairs(self:constants()) do n = n + value.tensor.count end
  return n
end

function Graph:__tostring()
  local number, lines = {}, {}
  lines[1] = string.format("graph %s of %d nodes, %d numbers in constants", self.name, #self.nodes, self:count())
  for i, node in ipairs(self.nodes) do number[node] = i end
  for i, node in ipairs(self.nodes) do
    local operands, options = {}, {}
    for k, v in ipairs(node.inputs) do
      operands[k] = v and (v.kind == "node" and "%" .. number[v] or v.kind == "input" and v.name or dim.text(v.shape))
        or "-"
    end
    for name, v in pairs(node.options) do
      options[#options + 1] = name .. "=" .. (type(v) == "table" and not dim.is(v) and dim.text(v) or tostring(v))
    end
    table.sort(options)
    lines[#lines + 1] = string.format("  %%%d = %s(%s) %s %s", i, node.op, table.concat(operands, ", "),
      table.concat(options, " "), dim.text(node.shape))
  end
  return table.concat(lines, "\n")
end

return graph
