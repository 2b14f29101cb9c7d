--- Reductions over axes (csrc/ops/reduce.c) and sorting (sort.c).
local ops = {}

-- Axes of Lua as those of ONNX, from 0.
local function from_zero(list)
  local axes = {}
  for i, axis in ipairs(list) do axes[i] = axis - 1 end
  return axes
end

local HUGE = 3e38 -- below the largest float: centres log-sum-exp where the maximum is infinite

local function reduction(op)
  return function(b, inputs, o)
    return b:node(op, inputs, { axes = from_zero(o.axes), keepdims = o.keepdims and 1 or 0 })
  end
end

ops.mean, ops.max, ops.min = reduction "ReduceMean", reduction "ReduceMax", reduction "ReduceMin"

function ops.sum(_, inputs, o)
  return inputs[1]:sum(from_zero(o.axes), o.keepdims)
end

--- How many numbers a result is of, as a Value or a number.
local function reduced_count(x, over, shape)
  local count, open = 1, {}
  for _, axis in ipairs(over) do
    local n = shape[axis + 1]
    if math.type(n) == "integer" then count = count * n else open[#open + 1] = axis end
  end
  for _, axis in ipairs(open) do count = x:shape(axis, axis):to_float() * count end
  return count
end

function ops.var(b, inputs, o, at)
  local x, over = inputs[1], from_zero(o.axes)
  local away = x - b:node("ReduceMean", { x }, { axes = over, keepdims = 1 })
  local count = reduced_count(x, over, at.shapes[1])
  return (away * away):sum(over, o.keepdims) / (count - o.correction)
end

function ops.logsumexp(b, inputs, o)
  local x, over = inputs[1], from_zero(o.axes)
  local function centre(keepdims)
    return b:node("ReduceMax", { x }, { axes = over, keepdims = keepdims }):clip(-HUGE, HUGE)
  end
  return (x - centre(1)):exp():sum(over, o.keepdims):log() + centre(o.keepdims and 1 or 0)
end

-- The index, from 1, of an extremum over one axis or over all; of several the reduced ones move to the end as one.
local function index(op)
  return function(b, inputs, o, at)
    local x, rank, over = inputs[1], #at.shapes[1], from_zero(o.axes)
    local at_axis = over[1]
    if #over > 1 then
      local order, taken, kept = {}, {}, 0
      for _, axis in ipairs(over) do taken[axis] = true end
      for axis = 0, rank - 1 do
        if not taken[axis] then order[#order + 1], kept = axis, kept + 1 end
      end
      table.move(over, 1, #over, #order + 1, order)
      local shape = {}
      for i = 1, kept do shape[i] = 0 end -- as it is
      shape[kept + 1] = -1
      x, at_axis = x:permute(order):reshape(shape), kept
    end
    local found = b:node(op, { x }, { axis = at_axis, keepdims = 0 }):to_float() + 1
    return o.keepdims and found:unsqueeze(over) or found
  end
end

ops.argmax, ops.argmin = index "ArgMax", index "ArgMin"

--- Ascending, by TopK of all.
function ops.sort(b, inputs, o, at)
  local axis = o.axis - 1
  local n = at.shapes[1][axis + 1]
  local count = math.type(n) == "integer" and b:integers { n } or inputs[1]:shape(axis, axis)
  return (b:node("TopK", { inputs[1], count }, { axis = axis, largest = 0, sorted = 1 }, 2))
end

return { ops = ops }
