--- Simplifications of a graph: dead nodes, batch norms behind convolutions and linear layers, needless expansions.
local core = require "simvae.core"
local dim = require "simvae.export.support.dim"

-- How often each value is used.
local function uses(graph)
  local n = {}
  local function add(value) n[value] = (n[value] or 0) + 1 end
  for _, node in ipairs(graph.nodes) do
    for _, input in ipairs(node.inputs) do
      if input then add(input) end
    end
  end
  for _, output in ipairs(graph.outputs) do add(output.value) end
  return n
end

-- Puts a value in place of another one wherever that is used.
local function replace(graph, old, new)
  for _, node in ipairs(graph.nodes) do
    for k, input in ipairs(node.inputs) do
      if input == old then node.inputs[k] = new end
    end
  end
  for _, output in ipairs(graph.outputs) do
    if output.value == old then output.value = new end
  end
end

local function remove_dead(graph)
  local alive, kept = {}, {}
  for _, output in ipairs(graph.outputs) do alive[output.value] = true end
  for i = #graph.nodes, 1, -1 do
    local node = graph.nodes[i]
    for _, input in ipairs(alive[node] and node.inputs or {}) do
      if input then alive[input] = true end
    end
  end
  for _, node in ipairs(graph.nodes) do
    if alive[node] then kept[#kept + 1] = node end
  end
  graph.nodes = kept
end

-- ---- products and sums by channel behind a layer with weights ---------------------------------------------

local out_axis = { linear = 1, conv2d = 1, conv_transpose2d = 2 }

-- The number for each output channel that a constant of a product or a sum has, as (C,); nil: it is of another shape.
local function by_channel(node, constant)
  local layer = node.inputs[1]
  local C, shape = layer.inputs[2].shape[out_axis[layer.op]], constant.shape
  local wanted = layer.op == "linear" and #layer.shape == #node.shape and { C } or { C, 1, 1 }
  if #layer.shape ~= (layer.op == "linear" and 2 or 4) then return nil end
  local count = 1
  for _, n in ipairs(shape) do count = count * n end
  if count == 1 then return core.expand(core.reshape(constant.tensor, 1), { C }) end
  if #shape ~= #wanted then return nil end
  for i, n in ipairs(wanted) do
    if shape[i] ~= n then return nil end
  end
  return core.reshape(constant.tensor, C)
end

local function fold(graph, node)
  local layer, constant = node.inputs[1], node.inputs[2]
  local by = by_channel(node, constant)
  if not by then return end
  local w, b = layer.inputs[2].tensor, layer.inputs[3] and layer.inputs[3].tensor
  local summand = node.op == "add" and by or node.op == "sub" and -by or nil
  if summand then
    layer.inputs[3] = graph:constant(b and b + summand or summand)
  else
    local factor = node.op == "div" and 1 / by or by
    local each = {}
    for i = 1, w.ndim do each[i] = i == out_axis[layer.op] and factor.count or 1 end
    layer.inputs[2] = graph:constant(w * core.reshape(factor, each))
    if b then layer.inputs[3] = graph:constant(b * factor) end
  end
  replace(graph, node, layer)
end

local foldable = { add = true, sub = true, mul = true, div = true }

local function fold_products(graph)
  local n = uses(graph)
  for _, node in ipairs(graph.nodes) do
    local a, b = node.inputs[1], node.inputs[2]
    if (node.op == "add" or node.op == "mul") and a.kind == "constant" then
      node.inputs[1], node.inputs[2] = b, a
      a, b = b, a
    end
    if foldable[node.op] and a.kind == "node" and b.kind == "constant" and out_axis[a.op] and n[a] == 1
      and a.options.activation == "none" and a.inputs[2].kind == "constant"
      and (not a.inputs[3] or a.inputs[3].kind == "constant") then
      n[a] = n[node]
      fold(graph, node)
    end
  end
end

-- ---- activations behind a layer that fuses them -------------------------------------------------------------

local fused = { linear = {}, conv2d = { relu = true, leaky_relu = true },
  conv_transpose2d = { relu = true, leaky_relu = true } }
for _, name in ipairs(core.fused_activations) do fused.linear[name] = true end

local function fuse_activations(graph)
  local n = uses(graph)
  for _, node in ipairs(graph.nodes) do
    local layer = node.inputs[1]
    if layer and layer.kind == "node" and n[layer] == 1 and fused[layer.op] and fused[layer.op][node.op]
      and layer.options.activation == "none" and (node.options.slope or 0) >= 0 then
      layer.options.activation, layer.options.slope = node.op, node.options.slope or layer.options.slope
      n[layer] = n[node]
      replace(graph, node, layer)
    end
  end
end

-- ---- expansions -----------------------------------------------------------------------------------------------

local broadcast = { add = true, sub = true, mul = true, div = true, pow = true, maximum = true, minimum = true,
  atan2 = true }

local function equal(a, b)
  for i, d in ipairs(a) do
    if d ~= b[i] then return false end
  end
  return #a == #b
end

local function skip_expansions(graph)
  for _, node in ipairs(graph.nodes) do
    for k = 1, broadcast[node.op] and 2 or 0 do
      local from = node.inputs[k]
      if from.kind == "node" and from.op == "expand" then
        local shapes = { node.inputs[1].shape, node.inputs[2].shape }
        shapes[k] = from.inputs[1].shape
        if equal(dim.joined(shapes[1], shapes[2]), node.shape) then node.inputs[k] = from.inputs[1] end
      end
    end
  end
end

-- ---- shapes of shapes ------------------------------------------------------------------------------------------

-- A reshape of a reshape is one, and one to the shape that was there already none.
local function join_reshapes(graph)
  for _, node in ipairs(graph.nodes) do
    local from = node.inputs[1]
    while node.op == "reshape" and from.kind == "node" and from.op == "reshape" do
      from = from.inputs[1]
      node.inputs[1] = from
    end
    if node.op == "reshape" and equal(from.shape, node.shape) then replace(graph, node, from) end
    if node.op == "reshape" and from.kind == "constant" and not dim.any(node.shape) then
      replace(graph, node, graph:constant(core.reshape(from.tensor, node.shape)))
    end
  end
end

--- @tparam Graph graph is changed
return function(graph)
  remove_dead(graph)
  join_reshapes(graph)
  skip_expansions(graph)
  remove_dead(graph)
  fold_products(graph)
  remove_dead(graph)
  fuse_activations(graph)
  remove_dead(graph)
end
