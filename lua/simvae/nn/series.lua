--- Layers for series: convolutions of one axis.
local check = require "simvae.util.check"
local core = require "simvae.core"
local initial = require "simvae.nn.initial"

local rectifiers = { relu = true, leaky_relu = true } -- that convolutions fuse

-- A series (N, C, L) as images one pixel high, for f(image); images (N, C, 1, L) stay ones.
local function as_image(what, x, f)
  if getmetatable(x) ~= core.metatable or x.ndim ~= 3 and (x.ndim ~= 4 or x.shape[3] ~= 1) then
    check.fail(3, "%s: x must be (N, C, L), or (N, C, 1, L); got %s", what, check.shape_of(x))
  end
  if x.ndim == 4 then return f(x) end
  local y = f(core.reshape(x, x.shape[1], x.shape[2], 1, x.shape[3]))
  return core.reshape(y, y.shape[1], y.shape[2], y.shape[4])
end

local conv_options = check.declare("nn.conv1d", initial.with {
  stride = { "integer", default = 1, min = 1, doc = "elements" },
  padding = { "integer", default = 0, min = 0, doc = "zeros at both ends" },
  left = { "integer", default = 0, min = 0, doc = "zeros at the start, beyond padding; (kernel - 1) dilation makes a "
    .. "causal convolution" },
  right = { "integer", default = 0, min = 0, doc = "zeros at the end, beyond padding" },
  dilation = { "integer", default = 1, min = 1, doc = "elements from tap to tap; above 1 with stride 1 alone" },
})

local transposed_options = check.declare("nn.conv_transpose1d", initial.with {
  stride = { "integer", default = 1, min = 1, doc = "elements" },
  padding = { "integer", default = 0, min = 0, doc = "elements cut off at both ends" },
  left = { "integer", default = 0, min = 0, doc = "elements cut off at the start, beyond padding" },
  right = { "integer", default = 0, min = 0, doc = "elements cut off at the end, beyond padding" },
  output_padding = { "integer", default = 0, min = 0, doc = "elements added at the end" },
  dilation = { "integer", default = 1, min = 1, doc = "elements from tap to tap; above 1 with stride 1 alone" },
})

-- Weights (…, K) as those of an image's convolution.
local function kernel_of(self)
  local s = self.own.weight.shape
  return core.reshape(self.own.weight, s[1], s[2], 1, s[3])
end

return function(nn)
  --- Convolution of one axis: (N, in, L) -> (N, out, (L + 2 padding + left + right - (kernel - 1) dilation - 1) /
  -- stride + 1); also (N, in, 1, L) -> (N, out, 1, …), which keeps the layout of several in sequence.
  -- @tparam integer inputs channels
  -- @tparam integer outputs channels
  -- @tparam integer kernel elements
  -- @tparam ?table options options
  -- @treturn Layer
  -- @raise numbers below 1, unknown options
  -- @usage print(sv.nn.conv1d(1, 8, 5, { dilation = 2, padding = 4 })(sv.ones(2, 1, 100)).shape)
  function nn.conv1d(inputs, outputs, kernel, options)
    check.value("nn.conv1d", "kernel", kernel, { "integer", min = 1 })
    initial.check_kernel("nn.conv1d", inputs, outputs, kernel)
    local o = check.options("nn.conv1d", options, conv_options)
    return nn.layer {
      label = string.format("conv1d %d -> %d, %d, stride %d, dilation %d", inputs, outputs, kernel, o.stride,
        o.dilation),
      own = initial.weights({ outputs, inputs, kernel }, inputs * kernel, outputs, o),
      fuses = rectifiers,
      forward = function(self, x, activation, slope)
        return as_image("conv1d", x, function(image)
          return core.conv2d(image, kernel_of(self), self.own.bias, o.stride, 0, activation, slope, self.precision, 0,
            0, o.padding + o.left, o.padding + o.right, o.dilation)
        end)
      end,
    }
  end

  --- Transposed convolution of one axis: (N, in, L) -> (N, out, (L - 1) stride - 2 padding - left - right + (kernel -
  -- 1) dilation + 1 + output_padding); also (N, in, 1, L) -> (N, out, 1, …).
  -- @tparam integer inputs channels
  -- @tparam integer outputs channels
  -- @tparam integer kernel elements
  -- @tparam ?table options options
  -- @treturn Layer
  -- @raise numbers below 1, unknown options
  -- @usage print(sv.nn.conv_transpose1d(8, 1, 8, { stride = 4, padding = 2 })(sv.ones(2, 8, 25)).shape)
  function nn.conv_transpose1d(inputs, outputs, kernel, options)
    check.value("nn.conv_transpose1d", "kernel", kernel, { "integer", min = 1 })
    initial.check_kernel("nn.conv_transpose1d", inputs, outputs, kernel)
    local o = check.options("nn.conv_transpose1d", options, transposed_options)
    if o.output_padding >= o.stride then
      check.fail(2, "nn.conv_transpose1d: output_padding must be 0 to stride - 1; got %d with stride %d",
        o.output_padding, o.stride)
    end
    return nn.layer {
      label = string.format("conv_transpose1d %d -> %d, %d, stride %d, dilation %d", inputs, outputs, kernel, o.stride,
        o.dilation),
      own = initial.weights({ inputs, outputs, kernel }, outputs * kernel, outputs, o),
      fuses = rectifiers,
      forward = function(self, x, activation, slope)
        return as_image("conv_transpose1d", x, function(image)
          -- output_padding is along both axes: what it adds to the height is cut off again
          return core.conv_transpose2d(image, kernel_of(self), self.own.bias, o.stride, 0, o.output_padding, activation,
            slope, self.precision, 0, o.output_padding, o.padding + o.left, o.padding + o.right, o.dilation)
        end)
      end,
    }
  end
end
