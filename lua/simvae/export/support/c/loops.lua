--- Nests of loops over tensors, as C.
local c_kernels = require "simvae.export.support.c.kernels"
local core = require "simvae.core"
local plan = require "simvae.export.support.c.plan"

local loops = {}

local VARIABLES = { "i", "j", "k", "l", "m", "q", "r", "s" }

--- Strides of a shape in row-major order.
function loops.row_major(shape)
  local steps, step = {}, 1
  for axis = #shape, 1, -1 do
    steps[axis] = step
    step = step * shape[axis]
  end
  return steps
end

--- Strides of an operand that is broadcast to a shape: 0 where it is repeated.
-- @tparam {integer,...} from shape of the operand
-- @tparam {integer,...} to
function loops.broadcast(from, to)
  local own, steps = loops.row_major(from), {}
  for axis = 1, #to do
    local k = axis - (#to - #from)
    steps[axis] = k >= 1 and from[k] ~= 1 and own[k] or 0
  end
  return steps
end

--- Axes of more than one entry, adjacent ones joined where all operands allow it.
-- @tparam {integer,...} shape
-- @tparam {table,...} strides of each operand, one an axis
-- @treturn {integer,...} shape
-- @treturn {table,...} strides
function loops.merged(shape, strides)
  local to, steps = {}, {}
  for k in ipairs(strides) do steps[k] = {} end
  for axis, n in ipairs(shape) do
    if n ~= 1 then
      local last, joins = #to, #to > 0
      for k, s in ipairs(strides) do joins = joins and steps[k][last] == s[axis] * n end
      if joins then
        to[last] = to[last] * n
        for k, s in ipairs(strides) do steps[k][last] = s[axis] end
      else
        to[last + 1] = n
        for k, s in ipairs(strides) do steps[k][last + 1] = s[axis] end
      end
    end
  end
  return to, steps
end

--- The index of an operand within a nest.
-- @tparam {integer,...} steps one a loop
-- @tparam ?integer at offset
function loops.index(steps, at)
  local terms = {}
  for k, s in ipairs(steps) do
    if s == 1 then
      terms[#terms + 1] = VARIABLES[k]
    elseif s ~= 0 then
      terms[#terms + 1] = s < 0 and string.format("(size_t)%d * %s", s, VARIABLES[k])
        or string.format("%d * %s", s, VARIABLES[k])
    end
  end
  if at and at ~= 0 then table.insert(terms, 1, tostring(at)) end
  return #terms == 0 and "0" or table.concat(terms, " + ")
end

--- A nest of loops.
-- @tparam {integer,...} shape
-- @tparam {string,...} body lines
-- @tparam ?integer first number of the first variable
-- @treturn {string,...} lines
function loops.nest(shape, body, first)
  local lines, indent = {}, ""
  for k, n in ipairs(shape) do
    local v = VARIABLES[k + (first or 1) - 1]
    lines[#lines + 1] = string.format("%sfor (size_t %s = 0; %s < %d; %s++)%s", indent, v, v, n, v,
      k == #shape and #body > 1 and " {" or "")
    indent = indent .. "    "
  end
  if #shape == 0 and #body > 1 then
    lines[1], indent = "{", "    "
  end
  for _, line in ipairs(body) do lines[#lines + 1] = indent .. line end
  if #body > 1 then lines[#lines + 1] = indent:sub(1, -5) .. "}" end
  return lines
end

-- ---- elementwise ------------------------------------------------------------------------------------

local unary = { neg = "-%s", square = "%s * %s", sqrt = "sqrtf(%s)", abs = "fabsf(%s)", sin = "sinf(%s)",
  cos = "cosf(%s)", floor = "floorf(%s)", relu = "%s > 0.0f ? %s : 0.0f" }
local binary = { add = "%s + %s", sub = "%s - %s", mul = "%s * %s", div = "%s / %s", pow = "powf(%s, %s)",
  atan2 = "atan2f(%s, %s)" }
local kernels = { exp = true, log = true, tanh = true, sigmoid = true, softplus = true, silu = true, gelu = true,
  normal_cdf = true, normal_quantile = true }
local activations = {}
for _, op in ipairs(c_kernels.activations) do activations[op] = true end

--- A number as a C literal of type float.
-- @tparam number v
-- @treturn string
loops.literal = core.number.float_literal

-- The value of an elementwise op of operands that are names or literals.
local function expression(out, node, operands)
  local op, a, b = node.op, operands[1], operands[2]
  if unary[op] then return (unary[op]:gsub("%%s", function() return a end)) end
  if binary[op] then return string.format(binary[op], a, b) end
  if kernels[op] then
    out:kernel(op)
    return string.format("@_%s(%s)", op, a)
  end
  if op == "maximum" then return string.format("%s > %s ? %s : %s", a, b, a, b) end
  if op == "minimum" then return string.format("%s < %s ? %s : %s", a, b, a, b) end
  if op == "leaky_relu" then
    local slope = node.options.slope
    local scaled = string.format("%s * %s", loops.literal(slope), a)
    if slope > 0 and slope <= 1 then return string.format("%s > %s ? %s : %s", a, scaled, a, scaled) end -- no branch
    return string.format("%s > 0.0f ? %s : %s", a, a, scaled)
  elseif op == "clamp" then
    local low, high = node.options.low, node.options.high
    local from, to = loops.literal(low), loops.literal(high)
    local upper = high < math.huge and string.format("%s > %s ? %s : %s", a, to, to, a) or a
    return low == -math.huge and upper or string.format("%s < %s ? %s : %s", a, from, from, upper)
  elseif op == "cubic_hermite" then
    out:kernel "cubic_hermite"
    local values, slopes = node.inputs[2], node.inputs[3]
    local count = plan.count(values)
    return string.format("@_cubic_hermite(%s, %s, %s, %d, %.17g, %.17g)", a, out:pointer(values), out:pointer(slopes),
      count, node.options.low, (node.options.high - node.options.low) / (count - 1))
  end
  error("no expression of op " .. op)
end

-- A literal may be negative: a - -1.0f.
local function as_operand(v)
  local text = loops.literal(v)
  return text:sub(1, 1) == "-" and "(" .. text .. ")" or text
end

-- Names, in one loop, of a node's value, of all fused into it and of what they read.
local function collect(out, node, names, leaves, lines)
  local shape, list = plan.shape(node), {}
  for k = 1, node.op == "cubic_hermite" and 1 or #node.inputs do
    local input = node.inputs[k]
    local root = out.plan:root(input)
    if out.plan.fused[root] then
      list[k] = names[root] or collect(out, root, names, leaves, lines)
    elseif root.kind == "constant" and plan.count(input) == 1 then
      list[k] = as_operand(root.tensor:reshape(root.tensor.count):get(1))
    else
      local leaf = { value = input, steps = loops.broadcast(plan.shape(input), shape), axes = {} }
      for axis, n in ipairs(shape) do
        if n ~= 1 then leaf.axes[#leaf.axes + 1] = leaf.steps[axis] end
      end
      local key = out:key(input) .. ":" .. table.concat(leaf.axes, ",")
      if not leaves[key] then
        leaf.name = "v" .. #leaves + 1
        leaves[#leaves + 1], leaves[key] = leaf, leaf
        lines[#lines + 1] = leaf
      end
      list[k] = leaves[key].name
    end
  end
  names[node] = "t" .. #lines + 1
  lines[#lines + 1] = { name = names[node], text = expression(out, node, list) }
  return names[node]
end

local SEVERAL = 16 -- numbers from which an activation is a call

-- The call of an activation of as many numbers as it gives; nil: it is none, or of a constant or a fused node.
local function applied(out, node)
  local x = node.inputs[1]
  if not activations[node.op] or plan.count(node) < SEVERAL or plan.count(x) ~= plan.count(node)
    or out.plan.fused[out.plan:root(x)] or not out.plan:place(x) then return nil end
  out:kernel("apply_" .. node.op)
  return { string.format("@_apply_%s(%s, %s, %d);", node.op, out:pointer(x), out:pointer(node), plan.count(node)) }
end

--- The loop of an elementwise node and of all that are fused into it.
-- @tparam table out the emitter
-- @tparam table node
-- @treturn {string,...} lines
function loops.elementwise(out, node)
  local call = applied(out, node)
  if call then return call end
  local leaves, steps, shape, axes = {}, {}, {}, plan.shape(node)
  local found = {}
  collect(out, node, {}, leaves, found)
  for _, n in ipairs(axes) do
    if n ~= 1 then shape[#shape + 1] = n end
  end
  steps[1] = loops.row_major(shape)
  for k, leaf in ipairs(leaves) do steps[k + 1] = leaf.axes end
  local merged, by = loops.merged(shape, steps)
  for k, leaf in ipairs(leaves) do leaf.index = by[k + 1] end
  local body = {}
  for k, line in ipairs(found) do
    if line.index then
      body[k] = string.format("const float %s = %s;", line.name, out:read(line.value, line.index))
    elseif k == #found then
      body[k] = string.format("%s = %s;", out:at(node, by[1]), line.text)
    else
      body[k] = string.format("const float %s = %s;", line.name, line.text)
    end
  end
  return loops.nest(merged, body)
end

return loops
