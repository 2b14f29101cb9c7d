--- How an output of the simulator is compared with a decoder's: the D of eqs. 3 and 4.
--
--   bce        binary cross-entropy of pixels in [0, 1]; the decoder's raw output is a logit
--   mse, l1    squared, absolute differences
--   gaussian   negative log-likelihood of a normal with one learned scale per output channel
--              (images) or per number (vectors)
--   function   D(prediction, x) -> a tensor of one number
--
-- Vector outputs are standardised: each number by its mean and standard deviation
-- under the prior. The decoder's raw output is in those units.
local check = require "simvae.check"
local core = require "simvae.core"

local loss = {}
local Loss = {}
Loss.__index = Loss

loss.names = { "bce", "mse", "l1", "gaussian" }

--- Chooses by the output where nothing is asked for: bce for images, mse for vectors
-- (`given` is false then, and a recipe may compare in its own way).
-- @param kind a name, a function, or nil
-- @tparam {integer,...} output the simulator's
-- @treturn Loss
function loss.new(kind, output)
  local given = kind ~= nil
  kind = kind or (#output == 3 and "bce" or "mse")
  check.value("model", "loss", kind, { "string|function", one_of = loss.names }, 4)
  local self = setmetatable({ kind = kind, given = given, output = output, own = {} }, Loss)
  self.name = type(kind) == "string" and kind or "function"
  if #output == 1 then
    self.mean = core.buffer(core.zeros(output[1]))
    self.std = core.buffer(core.ones(output[1]))
  end
  if kind == "gaussian" then
    self.own.log_std = core.parameter(core.zeros(table.unpack(#output == 3 and { output[1], 1, 1 } or output)))
  end
  return self
end

--- Standardises by a sample of outputs. Numbers that never change keep scale 1.
-- @tparam tensor x (N, n)
function Loss:fit(x)
  if not self.mean then return end
  local scope <close> = core.scope()
  self.mean:copy(core.mean(x, 1))
  local std = core.sqrt(core.var(x, 1)):totable()
  for i, s in ipairs(std) do self.std:set(s > 1e-8 and s or 1, i) end
end

--- Outputs in the units of the decoder's raw output.
function Loss:standardise(x)
  return self.mean and (x - self.mean) / self.std or x
end

--- What the decoder means by its raw output, in the simulator's units.
function Loss:to_output(raw)
  if self.mean then return raw * self.std + self.mean end
  return self.kind == "bce" and core.sigmoid(raw) or raw
end

--- D[x, G], a tensor of one number.
-- @tparam tensor raw the decoder's output
-- @tparam tensor x the simulator's, standardised by :standardise
function Loss:__call(raw, x)
  local kind = self.kind
  if kind == "bce" then return core.bce_with_logits(raw, x) end
  if kind == "mse" then return core.mse_loss(raw, x) end
  if kind == "l1" then return core.l1_loss(raw, x) end
  if kind == "gaussian" then
    local scale = self.own.log_std
    return core.mean(core.square((raw - x) * core.exp(-scale)) * 0.5 + scale)
  end
  local value = kind(self:to_output(raw), self.mean and x * self.std + self.mean or x)
  if getmetatable(value) ~= core.metatable or value.count ~= 1 then
    error("loss: your function must return a tensor of one number (sv.mean(…))", 0)
  end
  return value
end

return loss
