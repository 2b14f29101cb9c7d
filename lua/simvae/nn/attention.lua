--- Self-attention, and blocks of a transformer.
local check = require "simvae.util.check"
local core = require "simvae.core"
local initial = require "simvae.nn.initial"

local rules = check.declare("nn.attention", {
  heads = { "integer", default = 4, min = 1, doc = "that attend on their own; size is a multiple of them" },
  rng = { "userdata|table", doc = "of the initial weights; default: see nn.with_rng" },
})

local block_rules = check.declare("nn.transformer", {
  heads = { "integer", default = 4, min = 1, doc = "of the attention; size is a multiple of them" },
  hidden = { "integer", min = 1, doc = "units of the two linear layers; default: 4 size" },
  rng = { "userdata|table", doc = "of the initial weights; default: see nn.with_rng" },
})

-- (N, T, D), a head's columns side by side -> (N heads, T, D / heads), transposed (N heads, D / heads, T); and back.
local function split(x, heads, transposed)
  local N, T, D = table.unpack(x.shape)
  local d = D // heads
  x = core.reshape(x, N, T, heads, d)
  if transposed then return core.reshape(core.permute(x, 1, 3, 4, 2), N * heads, d, T) end
  return core.reshape(core.permute(x, 1, 3, 2, 4), N * heads, T, d)
end

local function joined(x, heads)
  local N, T, d = x.shape[1] // heads, x.shape[2], x.shape[3]
  return core.reshape(core.permute(core.reshape(x, N, heads, T, d), 1, 3, 2, 4), N, T, heads * d)
end

-- Uniform within the root of 6 by the sum of both axes (Glorot and Bengio 2010), as PyTorch's.
local function glorot(outputs, inputs, rng)
  local bound = math.sqrt(6 / (outputs + inputs))
  return core.parameter((rng or initial.rng()):uniform(-bound, bound, { outputs, inputs }))
end

return function(nn)
  --- Multi-head self-attention (Vaswani and others 2017): (N, T, size) -> (N, T, size), of sets or series of T elements
  -- of any number; with PyTorch's equations and names.
  -- @tparam integer size numbers of an element
  -- @tparam ?table options options
  -- @treturn Layer
  -- @raise numbers below 1, a size that is no multiple of the heads, unknown options
  -- @usage print(sv.nn.attention(8, { heads = 2 })(sv.ones(2, 5, 8)).shape)
  function nn.attention(size, options)
    check.value("nn.attention", "size", size, { "integer", min = 1 })
    local o = check.options("nn.attention", options, rules)
    local heads = o.heads
    if size % heads ~= 0 then
      check.fail(2, "nn.attention: size is a multiple of heads = %d; got %d", heads, size)
    end
    return nn.layer {
      label = string.format("attention %d, %d heads", size, heads),
      own = { in_proj_weight = glorot(3 * size, size, o.rng), in_proj_bias = core.parameter(core.zeros(3 * size)),
        out_proj_weight = initial.uniform({ size, size }, size, o.rng),
        out_proj_bias = core.parameter(core.zeros(size)) },
      forward = function(self, x)
        if getmetatable(x) ~= core.metatable or x.ndim ~= 3 or x.shape[3] ~= size then
          check.fail(2, "attention: x must be (N, T, %d); got %s", size, check.shape_of(x))
        end
        local own = self.own
        local all = core.linear(x, own.in_proj_weight, own.in_proj_bias)
        local q = split(core.slice(all, 3, 1, size), heads)
        local k = split(core.slice(all, 3, size + 1, 2 * size), heads, true)
        local v = split(core.slice(all, 3, 2 * size + 1, 3 * size), heads)
        local weights = core.softmax(core.matmul(q * (size // heads) ^ -0.5, k), 3)
        return core.linear(joined(core.matmul(weights, v), heads), own.out_proj_weight, own.out_proj_bias)
      end,
    }
  end

  --- A transformer's block: attention, then two linear layers with GELU, each behind a layer norm and beside a skip
  -- connection (Vaswani and others 2017; norms first: Xiong and others 2020): (N, T, size) -> (N, T, size).
  -- @tparam integer size numbers of an element
  -- @tparam ?table options options
  -- @treturn Layer
  -- @raise numbers below 1, a size that is no multiple of the heads, unknown options
  -- @usage print(sv.nn.transformer(8, { heads = 2 })(sv.ones(2, 5, 8)).shape)
  function nn.transformer(size, options)
    check.value("nn.transformer", "size", size, { "integer", min = 1 })
    local o = check.options("nn.transformer", options, block_rules)
    local hidden = o.hidden or 4 * size
    if size % o.heads ~= 0 then
      check.fail(2, "nn.transformer: size is a multiple of heads = %d; got %d", o.heads, size)
    end
    local attend = nn.sequential { nn.layer_norm(size), nn.attention(size, { heads = o.heads, rng = o.rng }) }
    local each = nn.sequential { nn.layer_norm(size), nn.linear(size, hidden, { rng = o.rng }), nn.gelu(),
      nn.linear(hidden, size, { rng = o.rng }) }
    return nn.layer {
      label = string.format("transformer %d, %d heads", size, o.heads), inner = { attend, each },
      forward = function(_, x)
        x = x + attend(x)
        return x + each(x)
      end,
    }
  end
end
