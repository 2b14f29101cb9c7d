--- Recurrent layers for series.
local check = require "simvae.util.check"
local core = require "simvae.core"
local initial = require "simvae.nn.initial"

local rules = {
  bias = { "boolean", default = true, doc = "adds biases" },
  last = { "boolean", default = false, doc = "the state behind the last element alone, (N, hidden)" },
  reverse = { "boolean", default = false, doc = "from the last element to the first; states stay with their elements" },
  rng = { "userdata|table", doc = "of the initial weights; default: see nn.with_rng" },
}

-- A recurrent layer of the op of this name with so many gates. Weights are uniform within 1 / sqrt(hidden), as those of
-- PyTorch.
local function recurrent(nn, op, gates, inputs, hidden, options)
  local what = "nn." .. op
  check.value(what, "inputs", inputs, { "integer", min = 1 })
  check.value(what, "hidden", hidden, { "integer", min = 1 })
  local o = check.options(what, options, rules)
  local wide = gates * hidden
  local own = { weight_ih = initial.uniform({ wide, inputs }, hidden, o.rng),
    weight_hh = initial.uniform({ wide, hidden }, hidden, o.rng) }
  if o.bias then
    own.bias_ih, own.bias_hh = initial.uniform({ wide }, hidden, o.rng), initial.uniform({ wide }, hidden, o.rng)
  end
  return nn.layer {
    label = string.format("%s %d -> %d%s%s", op, inputs, hidden, o.reverse and ", reverse" or "",
      o.last and ", last state" or ""),
    own = own,
    forward = function(self, x)
      if getmetatable(x) ~= core.metatable or x.ndim ~= 3 or x.shape[3] ~= inputs or x.shape[2] < 1 then
        check.fail(2, "%s: x must be (N, T, %d) of one element or more; got %s", op, inputs, check.shape_of(x))
      end
      if o.reverse then x = core.slice(x, 2, -1, 1, -1) end
      local y = core[op](core.linear(x, self.own.weight_ih, self.own.bias_ih), self.own.weight_hh,
        self.own.bias_hh or core.zeros(wide))
      if o.last then return core.reshape(core.slice(y, 2, -1, -1), y.shape[1], hidden) end
      return o.reverse and core.slice(y, 2, -1, 1, -1) or y
    end,
  }
end

return function(nn)
  check.declare("nn.gru", rules)
  check.declare("nn.lstm", rules)

  --- Gated recurrent unit (Cho and others 2014) over series of any length: (N, T, inputs) -> (N, T, hidden), from a
  -- state of zeros; with PyTorch's equations, names and order of gates (r, z, n).
  -- @tparam integer inputs numbers of an element
  -- @tparam integer hidden numbers of the state
  -- @tparam ?table options options
  -- @treturn Layer
  -- @raise numbers below 1, unknown options
  -- @usage print(sv.nn.gru(3, 8)(sv.ones(2, 20, 3)).shape, sv.nn.gru(3, 8, { last = true })(sv.ones(2, 50, 3)).shape)
  function nn.gru(inputs, hidden, options)
    local layer = recurrent(nn, "gru", 3, inputs, hidden, options)
    return layer
  end

  --- Long short-term memory (Hochreiter and Schmidhuber 1997) over series of any length: (N, T, inputs) -> (N, T,
  -- hidden), from states of zeros; with PyTorch's equations, names and order of gates (i, f, g, o).
  -- @tparam integer inputs numbers of an element
  -- @tparam integer hidden numbers of the state
  -- @tparam ?table options options
  -- @treturn Layer
  -- @raise numbers below 1, unknown options
  -- @usage print(sv.nn.lstm(3, 8)(sv.ones(2, 20, 3)).shape, sv.nn.lstm(3, 8, { last = true })(sv.ones(2, 50, 3)).shape)
  function nn.lstm(inputs, hidden, options)
    local layer = recurrent(nn, "lstm", 4, inputs, hidden, options)
    return layer
  end
end
