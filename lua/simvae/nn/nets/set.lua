--- Deep sets, for outputs whose elements are in no order.
local check = require "simvae.util.check"
local core = require "simvae.core"
local layers = require "simvae.nn.nets.support.layers"
local nn = require "simvae.nn"

local WIDTH = 64
local hidden = layers.hidden

-- Elements of an output, and numbers of each.
local function elements(output)
  if #output == 1 then return output[1], 1 end
  return check.count(output) // output[1], output[1]
end

-- (N, n, width) -> (N, 2 width): the mean over the elements, and the largest number.
local function pooled(h)
  return core.concat({ core.mean(h, 2), core.max(h, 2) }, 2)
end

local function encoder(t)
  local n, d = elements(t.output)
  local total, width, rng = check.count(layers.input(t)), t.width or WIDTH, t.rng
  local each, more = total // n, total % n -- a level of noise is one number more, of sets {d, 1, n} of each element
  local phi = { nn.linear(each, width, { std = layers.he(each), rng = rng }), nn.silu() }
  for _ = 1, 2 do
    phi[#phi + 1] = nn.linear(width, width, { std = layers.he(width), rng = rng })
    phi[#phi + 1] = nn.silu()
  end
  phi = nn.sequential(phi)
  local rho = nn.sequential(layers.head({}, 2 * width + more, t.heads, rng))
  return nn.layer {
    label = string.format("encoder of sets of %d elements of %d numbers", n, d), inner = { phi, rho },
    exchangeable = true,
    forward = function(_, x)
      local N = x.shape[1]
      x = core.reshape(x, N, total)
      local own = core.reshape(more > 0 and core.slice(x, 2, 1, total - more) or x, N, each, n)
      local found = pooled(phi(core.permute(own, 1, 3, 2)))
      return rho(more > 0 and core.concat({ found, core.slice(x, 2, total - more + 1, total) }, 2) or found)
    end,
  }
end

--- Deep sets (Zaheer and others 2017), for outputs of exchangeable elements, such as independent observations, hits or
-- arrivals: {n}, n numbers, or {d, 1, n}, n elements of d numbers, a channel each. Estimates do not depend on their
-- order: one perceptron, of three layers of `width`, reads each element, and another the mean and the largest of what
-- it gives. All elements are standardised alike. What the parameters tell of an element is the same for all of them:
-- the decoder gives each the same numbers. Where the simulator's outputs do have an order, take the decoder of another
-- net (notebooks/choosing.md). A posterior "gaussian" learns through the decoder, and so from the mean alone.
-- @tparam table t options
-- @treturn Layer decoder: (N, code) -> (N, …output)
-- @treturn Layer encoder: (N, …input) -> (N, heads)
-- @raise unknown options
-- @usage
-- local decoder, encoder = sv.nets.set { code = 3, heads = 6, output = { 2, 1, 50 }, width = 8 }
-- print(encoder(decoder(rng:normal { 2, 3 })).shape)
local function set(t)
  local _, d = elements(t.output)
  local output = t.output
  local decoder = layers.hidden_layers({}, t.code, 2, nn.silu, t.rng)
  decoder[#decoder + 1] = nn.linear(hidden, d, { std = layers.he(hidden), rng = t.rng })
  decoder[#decoder + 1] = nn.func(function(x) -- (N, d) to all elements
    local N = x.shape[1]
    local one = #output == 1 and x or core.reshape(x, N, d, 1, 1)
    return core.expand(one, { N, table.unpack(output) })
  end)
  return nn.sequential(decoder), encoder(t)
end

return { build = set, width = WIDTH }
