--- Convolutions, layer norm and pooling (csrc/ops/conv.c, norm.c, pool.c).
local elementwise = require "simvae.export.support.onnx.ops.elementwise"

local ops = {}

local function convolution(op, transposed)
  return function(b, inputs, o, at)
    local p, w = o.padding, at.shapes[2]
    local attributes = { kernel_shape = { w[3], w[4] }, strides = { o.stride, o.stride },
      dilations = { o.dilation, o.dilation }, pads = { p + o.top, p + o.left, p + o.bottom, p + o.right } }
    if transposed then attributes.output_padding = { o.output_padding, o.output_padding } end
    return elementwise.activate(b, b:node(op, { inputs[1], inputs[2], inputs[3] or nil }, attributes), o)
  end
end

ops.conv2d = convolution("Conv", false)
ops.conv_transpose2d = convolution("ConvTranspose", true)

function ops.layer_norm(b, inputs, o)
  return b:node("LayerNormalization", inputs, { axis = -1, epsilon = o.eps + 0.0 })
end

function ops.avg_pool2d(b, inputs, o)
  return b:node("AveragePool", inputs, { kernel_shape = { o.kernel, o.kernel }, strides = { o.kernel, o.kernel } })
end

function ops.upsample2d(b, inputs, o)
  return b:node("Resize", { inputs[1], false, b:numbers { 1, 1, o.factor, o.factor } },
    { mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor" })
end

return { ops = ops }
