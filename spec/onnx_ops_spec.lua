-- Conversions of ops to ONNX, op by op: what onnxruntime computes from the operators, and the engine by its op. Every
-- op that has a conversion is here by its own example, and by inputs at the edges.
local helper = require "spec.helper"
local builder = require "simvae.export.support.onnx.builder"
local convert = require "simvae.export.support.onnx.convert"
local core = require "simvae.core"
local dim = require "simvae.export.support.dim"
local file = require "simvae.io.file"
local files = require "simvae.io"
require "simvae"

local TOLERANCE = 1e-5 -- of 1 + |number|

-- Inputs at the edges: calls as in an op's own example; a number is the tolerance where single precision has less.
local edges = {
  sigmoid = { "tensor{-90, -20, -5, 0, 5, 20, 90}" }, tanh = { "tensor{-90, -9, -1e-4, 0, 1e-4, 9}" },
  softplus = { "tensor{-90, -20, -5, 0, 5, 20, 90}" }, gelu = { "tensor{-12, -6, -1, -1e-3, 0, 1, 6}" },
  clamp = { "r(2, 3), -1 / 0, 0.5", "r(2, 3), -0.5, 1 / 0" }, leaky_relu = { "r(4, 5)" },
  atan2 = { "tensor{0, 0, 1, -1, 1, -1, 1e-30, 3, -3}, tensor{1, 0, 0, 0, -1, -1, 1, 1e-30, 1e30}" },
  pow = { "r(2, 3) + 5, 2" }, add = { "r(4, 1, 3), r(2, 1)", "1, r(3)" },
  matmul = { "r(2, 3, 4), r(2, 4, 5)", "r(3, 4), r(2, 4, 5)", "r(2, 4, 3), r(4, 5), {transpose_x = true}",
    "r(3, 4), r(5, 4), {transpose_y = true}" },
  linear = { "r(3, 4), r(5, 4)", "r(2, 3, 4), r(5, 4), r(5), 'silu'", "r(2, 3, 4), r(5, 4), 'tanh'",
    "r(7, 4), r(5, 4), r(5), 'leaky_relu', 0.3", "r(1, 4), r(5, 4), r(5), 'softplus'", "r(7, 4), r(5, 4), 'relu'" },
  conv2d = { "r(1, 3, 7, 5), r(4, 3, 3, 3), r(4), {stride = 2, padding = 1, activation = 'leaky_relu', slope = 0.1}",
    "r(2, 3, 6, 6), r(4, 3, 1, 1), {activation = 'relu'}", "r(2, 1, 9, 9), r(2, 1, 5, 5), r(2), {stride = 3}",
    "r(1, 2, 4, 4), r(1, 2, 4, 4), {padding = 3}",
    "r(1, 2, 8, 9), r(3, 2, 3, 2), r(3), {dilation = 3, top = 1, left = 2, bottom = 3, right = 4}" },
  conv_transpose2d = { "r(1, 3, 4, 5), r(3, 2, 4, 4), r(2), {stride = 2, padding = 1, activation = 'relu'}",
    "r(2, 3, 3, 3), r(3, 2, 3, 3), {stride = 3, padding = 1, output_padding = 2}",
    "r(2, 1, 2, 2), r(1, 1, 1, 1), r(1), {stride = 2, output_padding = 1}",
    "r(1, 2, 4, 5), r(2, 3, 3, 2), r(3), {dilation = 2, top = 1, left = 2, bottom = 1}" },
  avg_pool2d = { "r(1, 2, 6, 9), 3" }, softmax = { "r(2, 3, 4) * 30", "r(2, 3, 4), 1" },
  log_softmax = { "r(2, 3, 4) * 30, 2" },
  logsumexp = { "r(3, 4) * 60, 1, true", "tensor{{-1 / 0, -1 / 0}, {1, 2}}, 2" },
  sum = { "r(2, 3, 4)", "r(2, 3, 4), {2, 3}, true" }, mean = { "r(2, 3, 4)" }, max = { "r(2, 3, 4)" },
  var = { "r(2, 3, 4), {1, 2}, true, 0" }, argmax = { "r(2, 3, 4)", "r(2, 3, 4), {1, 3}", "r(2, 3, 4), {2, 3}, true" },
  argmin = { "r(2, 3, 4), 1, true", "tensor{3, 1, 1, 2}" }, sort = { "r(2, 7)" },
  reshape = { "r(2, 6), {12}", "r(12), {3, 1, 4}" }, slice = { "r(6, 2), 1, 5, 1, -2", "r(5), 1, 2, 3",
    "r(2, 5), 2, 4, 4" }, expand = { "r(2, 1, 3), {2, 4, 3}", "r(1), {3, 2}" },
  pad = { "r(1, 2, 3, 4), {0, 2, 0, 1}, 3" }, concat = { "{r(2, 1), r(2, 3), r(2, 2)}, 2" },
  gather = { "r(2, 3, 4), tensor{{{1, 1, 4, 2}, {2, 3, 1, 1}}}, 3" },
  normal_cdf = { "(arange(0, 180) * 0.1 - 9)" },
  normal_quantile = { "tensor{0, 1e-30, 1e-12, 1e-7, 1e-3, 0.07, 0.08, 0.5, 0.92, 0.93, 0.999, 0.9999999, 1, 2, -1}" },
  cubic_hermite = { "tensor{-9, -3, -2.99, 0, 0.1, 2.99, 3, 9}, r(9), r(9), -3, 3", "r(2, 3), r(2), r(2), -1, 1" },
  piecewise_linear = { "r(3, 5) * 4, sort(r(3, 6)), sort(r(3, 6))", "r(2, 3), tensor{{0, 1}}, tensor{{3, 5}}" },
  -- narrow bins magnify the rounding of their ends
  rational_quadratic_spline = { { "uniform(40, 2), r(40, 2, 31) * 2", 2e-4 },
    "uniform(40, 1), r(40, 1, 7) * 2, {inverse = true}", { "uniform(40, 2), r(40, 2, 31), tensor{1, 1}", 1e-4 },
    "tensor{{-1}, {0}, {1}, {2}}, r(4, 1, 13)",
    "tensor{{-1}, {0}, {1}, {2}}, r(4, 1, 13), {inverse = true}",
    { "uniform(40, 2), r(40, 2, 31), tensor{0, 1}, {inverse = true}", 1e-4 } },
  spline_coupling = { "uniform(12, 5), r(4, 62), tensor{1, 0, 2, 0}, {inverse = true}",
    "uniform(12, 4), r(12, 20), tensor{0, 1, 2}, {inverse = true}", "uniform(12, 2), r(3, 10), tensor{1}" },
  location_scale = { "uniform(60, 4), r(20, 4), tensor{1, 2, 1}, {inverse = true}",
    -- locations beyond both ends, and scales down to the least one: log densities of thousands
    { "uniform(400, 2), stack({r(400) * 3, r(400) * 0 - 5}, 2), tensor{1}", 1e-4 },
    { "uniform(400, 2), stack({r(400) * 3, r(400) * 0 - 5}, 2), tensor{1}, {inverse = true}", 1e-4 },
    { "uniform(400, 2), stack({r(400) * 3, r(400) * 0 - 12}, 2), tensor{1}", 1e-3 },
    { "uniform(400, 2), stack({r(400) * 3, r(400) * 0 - 12}, 2), tensor{1}, {inverse = true}", 1e-3 } },
  conditioner_layer = { "r(2, 3), uniform(6, 4), r(3, 3), tensor{1, 1, 1}",
    "r(6, 3), uniform(6, 4), r(4, 3), tensor{2, 0, 2}" },
}

-- ---- cases ------------------------------------------------------------------------------------

-- The trace of a call in the notation of an op's own example.
local function entry_of(op, text)
  local rng = core.rng(7)
  local env = setmetatable({ r = function(...) return rng:normal(0, 1, { ... }) end, tensor = core.tensor,
    uniform = function(...) return rng:uniform(0, 1, { ... }) end, call = core.ops[op].call }, { __index = core })
  local list = core.trace(assert(load("return call(" .. text .. ")", op, "t", env)))
  for i = #list, 1, -1 do
    if list[i].op == op then return list[i] end
  end
  error(op .. " is not in the trace of " .. text)
end

-- Options as those of a node of a graph.
local function canonical(o, rank, op)
  for _, name in ipairs { "axis", "axes" } do
    if type(o[name]) == "number" and o[name] < 0 then o[name] = o[name] + rank + 1 end
  end
  if core.ops[op].signature:find "axes:axes%?" then
    local all = {}
    for i = 1, rank do all[i] = i end
    o.axes = o.axes or all
    for i, axis in ipairs(o.axes) do o.axes[i] = axis < 0 and axis + rank + 1 or axis end
  end
  return o
end

-- What stays constant in every graph: marks of columns.
local marks = { spline_coupling = 3, location_scale = 3, conditioner_layer = 4, rational_quadratic_spline = 3 }

local function values_of(entry, feeds)
  local inputs, node_inputs = {}, {}
  for k = 1, entry.count do
    local t = entry.inputs[k]
    if not t then
      node_inputs[k] = false
    elseif marks[entry.op] == k then
      node_inputs[k] = { kind = "constant", tensor = t, shape = { table.unpack(t.shape) } }
    else
      local value = { kind = "input", name = "x" .. k, shape = table.move(t.shape, 1, t.ndim, 1, {}) }
      inputs[#inputs + 1], node_inputs[k], feeds[value.name] = value, value, t
    end
  end
  return inputs, node_inputs
end

-- Writes a file with one node, and its inputs.
local function write(folder, name, entry)
  local feeds = {}
  local inputs, node_inputs = values_of(entry, feeds)
  local out = entry.output
  local node = { kind = "node", op = entry.op, inputs = node_inputs, shape = table.move(out.shape, 1, out.ndim, 1, {}),
    options = canonical(entry.options, entry.inputs[1].ndim, entry.op) }
  local b, values = builder.new(), {}
  for _, input in ipairs(inputs) do values[input] = b:input(input.name, input.shape, "") end
  convert.graph(b, { inputs = inputs, nodes = { node }, outputs = {} }, values)
  b:output("y", values[node], node.shape, "")
  assert(file.write(folder .. "/" .. name .. ".onnx",
    b:model { name = name, doc = "", producer = "simvae", version = "", metadata = {} }.pieces))
  assert(files.save_npz(folder .. "/" .. name .. ".a.npz", feeds))
end

local function cases()
  local list = {}
  for op in pairs(convert.ops) do
    local texts = { core.ops[op].check, table.unpack(edges[op] or {}) }
    for i, text in ipairs(texts) do
      local tolerance = TOLERANCE
      if type(text) == "table" then text, tolerance = text[1], text[2] end
      list[#list + 1] = { name = string.format("%s_%d", op, i), op = op, text = text, tolerance = tolerance }
    end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

-- The largest difference, as a share of 1 + |number|; equal infinities and NaN differ by 0.
local function difference(a, b)
  local p, q, far = core.reshape(a, -1):totable(), core.reshape(b, -1):totable(), 0
  assert.same(#q, #p)
  for i, v in ipairs(q) do
    if p[i] ~= v and (p[i] == p[i] or v == v) then
      local d = math.abs(p[i] - v) / (1 + math.abs(v))
      far = math.max(far, d == d and d or math.huge)
    end
  end
  return far
end

-- ---- specs ---------------------------------------------------------------------------------------

describe("conversion to ONNX", function()
  it("computes what the engine does, of every op with a conversion", function()
    local python, why = helper.python("onnx", "onnxruntime", "numpy")
    if not python then return pending(why) end
    local folder, list = helper.temporary_folder(), cases()
    for _, case in ipairs(list) do
      case.entry = entry_of(case.op, case.text)
      write(folder, case.name, case.entry)
    end
    local output, code = helper.run(python .. " spec/fixtures/run_onnx.py " .. folder)
    assert.same(0, code, output)
    local wrong = {}
    for _, case in ipairs(list) do
      local y = assert(files.load_npz(folder .. "/" .. case.name .. ".a.out.npz")).y
      local far = difference(y, case.entry.output)
      if far > case.tolerance then wrong[#wrong + 1] = string.format("%s(%s): %.2g", case.op, case.text, far) end
    end
    assert.same({}, wrong)
    assert(#list > 100)
  end)

  it("takes axes that are as long as the caller's arrays", function()
    local python, why = helper.python("onnx", "onnxruntime", "numpy")
    if not python then return pending(why) end
    local folder, N, M = helper.temporary_folder(), dim.of "batch", dim.of "draws"
    local both = dim.new(1, { batch = true, draws = true })
    local x = { kind = "input", name = "x", shape = { N, M, 4 } }
    local function node(op, inputs, options, shape)
      return { kind = "node", op = op, inputs = inputs, options = options, shape = shape }
    end
    local rows = node("reshape", { x }, {}, { both, 4 })
    local back = node("reshape", { rows }, {}, { N, 2, M, 2 })
    local means = node("mean", { x }, { axes = { 2 }, keepdims = true }, { N, 1, 4 })
    local wide = node("expand", { means }, {}, { N, M, 4 })
    local ones = node("expand", { { kind = "constant", shape = { 1 }, tensor = core.tensor { 1 } } }, {}, { both, 2 })
    local reversed = node("slice", { x }, { axis = 2, first = M, last = 1, step = -1 }, { N, M, 4 })
    local b, values = builder.new(), {}
    values[x] = b:input("x", { "batch", "draws", 4 }, "")
    convert.graph(b, { inputs = { x }, nodes = { rows, back, means, wide, ones, reversed }, outputs = {} }, values)
    for name, of in pairs { back = back, wide = wide, ones = ones, reversed = reversed } do
      local shape = {}
      for i, d in ipairs(of.shape) do shape[i] = dim.is(d) and tostring(d) or d end
      b:output(name, values[of], shape, "")
    end
    local message = b:model { name = "sizes", doc = "", producer = "simvae", version = "", metadata = {} }
    assert(file.write(folder .. "/sizes.onnx", message.pieces))
    local given = {}
    for i, size in ipairs { { 1, 6 }, { 5, 2 }, { 3, 4 } } do
      given[i] = core.rng(i):normal { size[1], size[2], 4 }
      assert(files.save_npz(string.format("%s/sizes.%d.npz", folder, i), { x = given[i] }))
    end
    local output, code = helper.run(python .. " spec/fixtures/run_onnx.py " .. folder)
    assert.same(0, code, output)
    for i, t in ipairs(given) do
      local n, m = t.shape[1], t.shape[2]
      local y = assert(files.load_npz(string.format("%s/sizes.%d.out.npz", folder, i)))
      assert.same(core.reshape(t, n, 2, m, 2):totable(), y.back:totable())
      assert.same(core.ones(n * m, 2):totable(), y.ones:totable())
      assert.same(core.slice(t, 2, m, 1, -1):totable(), y.reversed:totable())
      assert(difference(y.wide, core.expand(core.mean(t, 2, true), n, m, 4)) < TOLERANCE)
    end
  end)
end)
