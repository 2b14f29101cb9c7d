--- Products (csrc/ops/matmul.c) and softmaxes (csrc/ops/softmax.c).
local elementwise = require "simvae.export.support.onnx.ops.elementwise"

local ops = {}

-- The last two axes exchanged.
local function transposed(x, rank)
  local order = {}
  for i = 1, rank do order[i] = i - 1 end
  order[rank - 1], order[rank] = rank - 1, rank - 2
  return x:permute(order)
end

function ops.matmul(_, inputs, o, at)
  local x, y = inputs[1], inputs[2]
  if o.transpose_x then x = transposed(x, #at.shapes[1]) end
  if o.transpose_y then y = transposed(y, #at.shapes[2]) end
  return x:matmul(y)
end

--- x times w transposed, plus b, activated. Gemm takes matrices; x of more axes passes MatMul.
function ops.linear(b, inputs, o, at)
  local x, w, bias = inputs[1], inputs[2], inputs[3]
  if #at.shapes[1] == 2 then
    return elementwise.activate(b, b:node("Gemm", { x, w, bias or nil }, { transB = 1 }), o)
  end
  local y = x:matmul(transposed(w, 2))
  return elementwise.activate(b, bias and y + bias or y, o)
end

function ops.softmax(b, inputs, o)
  return b:node("Softmax", inputs, { axis = o.axis - 1 })
end

function ops.log_softmax(b, inputs, o)
  return b:node("LogSoftmax", inputs, { axis = o.axis - 1 })
end

return { ops = ops }
