--- Traces of a function at several sizes of its inputs, aligned: what differs between them is a multiple of the sizes,
-- or no graph describes the function.
--
-- The inputs' numbers differ between the traces as well. So a number that Lua computes from them, and the path of
-- control flow that they decide, show as a difference; and reading a tensor that depends on an input is refused.
local check = require "simvae.util.check"
local core = require "simvae.core"
local dim = require "simvae.export.support.dim"
local refuse = require "simvae.export.support.refuse"

local trace = {}

-- Sizes of the traces: each differs from the first in one symbol. They are unusual, so that no fixed dimension is
-- taken for one of them in all traces.
local SIZES = { { batch = 2, draws = 5 }, { batch = 3, draws = 5 }, { batch = 2, draws = 7 } }

local function uses_draws(inputs)
  for _, input in ipairs(inputs) do
    for _, d in ipairs(input.shape) do
      if dim.is(d) and d.symbols.draws then return true end
    end
  end
  return false
end

local function place(i, entry)
  return string.format("op %d, '%s'", i, entry.by or entry.op)
end

local DATA = "; a graph has the same ops whatever its input is: control flow must not depend on data, nor on the size "
  .. "of the batch"

-- The entries of a list that depend on an input, with their `place`; known: what each tensor is, { input = k } or,
-- added here, { entry = number among them }. Reads and writes of what depends on an input are refused.
local function dependents(list, known)
  local live, used = {}, {}
  for i, entry in ipairs(list) do
    local depends, n = false, entry.count or #entry.inputs
    for k = 1, n do depends = depends or known[entry.inputs[k]] ~= nil end
    if entry.op == "read" and depends then
      refuse.because("%s reads numbers that depend on the input; ops on tensors, such as sv.maximum, sv.clamp or "
        .. "sv.gather, can leave, and computing in Lua cannot", place(i, entry))
    elseif entry.op == "write" and (depends or known[entry.output] or used[entry.output]) then
      refuse.because("%s writes into a tensor that the graph uses; make a new one by ops instead", place(i, entry))
    end
    if depends and entry.output then
      for k = 1, n do used[entry.inputs[k] or 0] = true end
      live[#live + 1], entry.place, entry.count = entry, place(i, entry), n
      known[entry.output] = { entry = #live }
    end
  end
  return live
end

-- One run of f: the entries that depend on an input, the outputs, and what each tensor is.
local function run(f, inputs, sizes, number)
  local given, known = {}, {}
  for k, input in ipairs(inputs) do
    given[k] = input.make(sizes, number)
    known[given[k]] = { input = k }
  end
  local results = table.pack(core.trace(core.no_grad, f, table.unpack(given)))
  return { list = dependents(results[1], known), known = known,
    outputs = table.move(results, 2, results.n, 1, {}) }
end

-- The lists of all runs have the same ops on the same operands.
local function compare_entries(runs)
  local first = runs[1]
  local function number(one, t)
    local k = one.known[t]
    return k and (k.input or -k.entry)
  end
  for r = 2, #runs do
    local other = runs[r]
    for i = 1, math.max(#first.list, #other.list) do
      local a, b = first.list[i], other.list[i]
      if not (a and b) or a.op ~= b.op or a.by ~= b.by or a.count ~= b.count then
        refuse.because("%s is applied in one run, and %s in another%s", (a or b).place,
          a and b and "'" .. (b.by or b.op) .. "'" or "nothing", DATA)
      end
      for k = 1, a.count do
        if number(first, a.inputs[k]) ~= number(other, b.inputs[k]) then
          refuse.because("%s takes another operand in another run%s", a.place, DATA)
        end
      end
    end
  end
end

-- Values of all runs as one: fixed, or multiples of the sizes.
local function settle(values, sizes, what)
  for r = 2, #values do
    if type(values[r]) ~= type(values[1]) then refuse.because("%s differs between runs%s", what, DATA) end
  end
  if type(values[1]) == "table" then
    local list = {}
    for r = 2, #values do
      if #values[r] ~= #values[1] then refuse.because("%s differs between runs%s", what, DATA) end
    end
    for i = 1, #values[1] do
      local each = {}
      for r, v in ipairs(values) do each[r] = v[i] end
      list[i] = settle(each, sizes, what)
    end
    return list
  end
  if math.type(values[1]) == "integer" then
    local d = dim.fit(values, sizes)
    if not d then
      refuse.because("%s is %s at batches of %d and %d, neither fixed nor a multiple of the batch", what,
        table.concat(values, " and ", 1, 2), sizes[1].batch, sizes[2].batch)
    end
    return d
  end
  for r = 2, #values do
    if values[r] ~= values[1] then refuse.because("%s differs between runs%s", what, DATA) end
  end
  return values[1]
end

local function shape_of(t) return table.move(t.shape, 1, t.ndim, 1, {}) end

--- The shape of a tensor of each run, as one.
-- @tparam {tensor,...} tensors
-- @tparam {table,...} sizes
-- @tparam string what it is, for messages
function trace.shape(tensors, sizes, what)
  local shapes = {}
  for r, t in ipairs(tensors) do shapes[r] = shape_of(t) end
  return settle(shapes, sizes, "the shape of " .. what)
end

local function options_of(runs, i)
  local result, name = {}, runs[1].list[i].place
  for option in pairs(runs[1].list[i].options or {}) do
    local values = {}
    for r, one in ipairs(runs) do values[r] = one.list[i].options[option] end
    result[option] = settle(values, runs.sizes, string.format("option %s of %s", option, name))
  end
  return result
end

--- Traces a function.
-- @tparam function f of the inputs, which returns tensors
-- @tparam {table,...} inputs shape (of dim), make(sizes, number) -> tensor, with other numbers for each `number`
-- @treturn table sizes; entries: { op, inputs, options, shape, output }, those that depend on an input, whose operands
-- are { input = k }, { entry = number among them }, { constant = tensors of each run } or false (none); outputs: such
-- operands
function trace.of(f, inputs)
  local sizes = table.move(SIZES, 1, uses_draws(inputs) and 3 or 2, 1, {})
  local runs = { sizes = sizes }
  for r, s in ipairs(sizes) do runs[r] = run(f, inputs, s, r) end
  compare_entries(runs)
  local function operand(get)
    local t = get(runs[1])
    if not t then return false end
    if getmetatable(t) ~= core.metatable then refuse.because("the function returns %s", check.describe(t)) end
    if runs[1].known[t] then return runs[1].known[t] end
    local tensors = {}
    for r, one in ipairs(runs) do tensors[r] = get(one) end
    return { constant = tensors }
  end
  local entries = {}
  for i, entry in ipairs(runs[1].list) do
    local e, results = { op = entry.op, inputs = {}, options = options_of(runs, i), place = entry.place }, {}
    for k = 1, entry.count do
      e.inputs[k] = operand(function(one) return one.list[i].inputs[k] end)
    end
    for r, one in ipairs(runs) do results[r] = one.list[i].output end
    e.shape = trace.shape(results, sizes, "the result of " .. e.place)
    entries[i] = e
  end
  local outputs = {}
  for k = 1, #runs[1].outputs do outputs[k] = operand(function(one) return one.outputs[k] end) end
  return { sizes = sizes, entries = entries, outputs = outputs }
end

return trace
