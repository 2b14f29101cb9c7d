--- Operators that move numbers without computing (csrc/ops/shape.c).
local builder = require "simvae.export.support.onnx.builder"

local ops = {}

--- Lengths that depend on the batch are 0 where they stay as they are, -1 once, and computed otherwise.
function ops.reshape(_, inputs, _, at)
  local lengths, open = {}, false
  for i, n in ipairs(at.shape) do
    if math.type(n) == "integer" then
      lengths[i] = n
    elseif at.shapes[1][i] == n then
      lengths[i] = 0
    else
      lengths[i], open = open and n or -1, true
    end
  end
  return inputs[1]:reshape(at.lengths(lengths))
end

function ops.permute(_, inputs, o)
  local order = {}
  for i, axis in ipairs(o.axes) do order[i] = axis - 1 end
  return inputs[1]:permute(order)
end

--- first, last and step count from the start of an axis; one that grows with the batch is the axis's end. The last
-- entry is included; ONNX takes the one behind it.
function ops.slice(b, inputs, o)
  local stop = math.type(o.last) == "integer" and o.last or math.maxinteger
  if o.step < 0 then stop = o.last > 1 and o.last - 2 or math.mininteger + 1 end
  local start = math.type(o.first) == "integer" and o.first - 1 or -1
  return b:node("Slice", { inputs[1], b:integers { start }, b:integers { stop }, b:integers { o.axis - 1 },
    b:integers { o.step } })
end

--- An axis that is as long as before is one here, which Expand leaves as it is.
function ops.expand(b, inputs, _, at)
  local from, to, shape = at.shapes[1], at.shape, {}
  for i = 1, #to do
    local own = i - (#to - #from)
    shape[i] = own >= 1 and math.type(from[own]) ~= "integer" and 1 or to[i]
  end
  return b:node("Expand", { inputs[1], at.lengths(shape) })
end

function ops.pad(b, inputs, o, at)
  local rank, pads = #at.shape, {}
  for i = 1, 2 * rank do pads[i] = 0 end
  local top, bottom, left, right = table.unpack(o.widths)
  pads[rank - 1], pads[rank], pads[2 * rank - 1], pads[2 * rank] = top, left, bottom, right
  return b:node("Pad", { inputs[1], b:integers(pads), b:number(o.value) })
end

function ops.concat(_, inputs, o)
  return builder.concat(inputs, o.axis - 1)
end

--- Indices are floats, from 1.
function ops.gather(b, inputs, o)
  return b:node("GatherElements", { inputs[1], (inputs[2] - 1):to_integer() }, { axis = o.axis - 1 })
end

return { ops = ops }
