--- Weights in the order in which kernels read them.
local kernels = require "simvae.export.support.c.kernels"

local pack = {}

--- How many outputs are computed, with those that fill the last block.
function pack.size(outputs, P)
  local n = 0
  for _, block in ipairs(kernels.blocks(outputs, P)) do n = n + (block[3] + block[2] - 1) // block[2] * block[2] end
  return n
end

-- Appends numbers in blocks of outputs: at(o, i) of output o (from 0) and product i (from 0).
local function blocks(list, outputs, P, count, at)
  for _, block in ipairs(kernels.blocks(outputs, P)) do
    local first, width, used = table.unpack(block)
    for o = first, first + used - 1, width do
      for i = 0, count - 1 do
        for k = o, o + width - 1 do list[#list + 1] = k < first + used and at(k, i) or 0 end
      end
    end
  end
  return list
end

--- Weights (out, in) of a linear layer.
-- @tparam tensor w
-- @tparam integer P rows at once
-- @treturn {number,...}
function pack.linear(w, P)
  local rows = w:totable()
  return blocks({}, w.shape[1], P, w.shape[2], function(o, i) return rows[o + 1][i + 1] end)
end

--- Weights of a convolution, phase by phase; of a product the channels come last, then the columns, then the rows.
-- @tparam tensor w
-- @tparam table node
-- @tparam table g geometry (simvae.export.support.c.ops)
-- @tparam integer P places at once
-- @treturn {number,...}
function pack.conv(w, node, g, P)
  local S, d = node.options.stride, node.options.dilation
  w = w:totable()
  local transposed = node.op == "conv_transpose2d"
  local C = node.inputs[1].shape[2]
  local outputs, list = node.shape[2], {}
  for _, p in ipairs(g.phases) do
    blocks(list, outputs, P, p.down * p.across * C, function(o, i)
      local c, u, t = i % C + 1, i // C % p.across, i // C // p.across
      local ky, kx = t, u
      if transposed then ky, kx = p.ky + S * (p.down - 1 - t), p.kx + S * (p.across - 1 - u) end
      if ky % d + kx % d > 0 then return 0 end -- between two taps
      return (transposed and w[c][o + 1] or w[o + 1][c])[ky // d + 1][kx // d + 1]
    end)
  end
  return list
end

--- A matrix's transpose.
function pack.transposed(t) return t:transpose() end

return pack
