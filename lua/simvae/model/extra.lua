--- Latents beside the named parameters, for what these do not explain in the outputs: lighting, texture, a simulator's
-- own random numbers.
--
-- Beside the decoder, which predicts outputs from the parameters alone and is what all else uses, a second one takes
-- the parameters' code and n numbers e. A second encoder infers e from the output and from what the first decoder
-- leaves of it: a conditional variational autoencoder (Sohn, Lee and Yan 2015), p(x | z, e) with e ~ N(0, 1), trained
-- by its evidence lower bound in stage 1. What e tells of the parameters costs KL and gains nothing, as the decoder
-- has them.
local check = require "simvae.util.check"
local core = require "simvae.core"
local inference = require "simvae.model.inference"
local input = require "simvae.model.input"
local nn = require "simvae.nn"

local Model = {} -- methods that simvae.model takes over
local extra = { methods = Model }

local WIDEST = 7 -- log standard deviations are within this of 0
local START = -3 -- of the log standard deviations: a decoder ignores latents that are mostly noise
local FINEST = 0.1 -- standard deviations of the outputs, to which they are explained

--- A decoder with extra latents, as a layer over codes alone.
-- @tparam Layer net the decoder (N, size) -> (N, …output)
-- @tparam Layer rich the second one (N, size + n) -> (N, …output)
-- @tparam Layer recogniser outputs and their residuals, one behind the other along axis 2, -> (N, 2 n)
-- @tparam integer n latents
-- @treturn Layer net, with the others inside, and a field extra = n
function extra.layer(net, rich, recogniser, n)
  net.name, rich.name, recogniser.name = "net", "rich", "recogniser"
  return nn.layer {
    label = string.format("decoder with %d extra latents", n), inner = { net, rich, recogniser }, extra = n,
    forward = function(_, code) return net(code) end,
  }
end

--- What the second encoder takes: twice the channels of an image, or the numbers of a vector.
-- @tparam {integer,...} output
-- @treturn {integer,...}
function extra.input(output)
  return { 2 * output[1], table.unpack(output, 2) }
end

--- Raises for models that extra latents do not suit.
-- @tparam table model options of sv.model
-- @tparam integer level
function extra.check(model, level)
  if model.extra == 0 then return end
  local function fail(...) check.fail(level + 1, "model: extra " .. string.format(...)) end
  if model.members > 1 then fail("takes one network; the model has %d members", model.members) end
  if model.set then fail("takes single outputs; the model is of sets") end
  if type(model.net) == "table" then fail("takes a net by name or a builder function, which makes a second encoder") end
end

-- Mean and log standard deviation of q(e | x): x as networks see outputs, raw the decoder's output for its parameters.
local function recognised(model, layer, x, raw)
  local n, residual = layer.extra, x - model.loss:as_seen(raw:detach())
  local h = layer.inner[3](core.concat({ x, residual }, 2))
  return core.slice(h, 2, 1, n), core.tanh((core.slice(h, 2, n + 1, 2 * n) + START) / WIDEST) * WIDEST
end

-- The weight of a KL in nats beside a misfit D that is a mean over `count` numbers: of squared errors a normal
-- distribution, of absolute ones Laplace's, whose scale is that of maximum likelihood (Rybkin et al. 2021), or FINEST
-- where outputs are reproduced better than that: without it, of outputs without noise, the KL would have no weight.
local function weight(kind, D, count)
  if kind == "mse" then return core.clamp(D:detach(), FINEST ^ 2, math.huge) * (2 / count) end
  if kind == "l1" then return core.clamp(D:detach(), FINEST, math.huge) / count end
  return 1 / count
end

--- The decoder's output in a step of stage 1, and the bound's loss, in units of the misfit.
-- @tparam Model model
-- @tparam Layer net the decoder
-- @tparam tensor code (N, size)
-- @tparam tensor x (N, …output) as networks see outputs
-- @tparam rng rng
-- @tparam function misfit (raw) -> tensor of one number
-- @treturn tensor raw (N, …output), of the parameters alone
-- @treturn ?tensor one number; nil without extra latents
function extra.decoded(model, net, code, x, rng, misfit)
  local raw = net(code)
  if not net.extra then return raw end
  local mean, log_std = recognised(model, net, x, raw)
  local e = mean + core.exp(log_std) * rng:normal(0, 1, mean.shape)
  local D = misfit(net.inner[2](core.concat({ code, e }, 2)))
  local kl = core.gaussian_kl(mean, log_std, "sum") / code.shape[1]
  return raw, D + kl * weight(model.loss.kind, D, check.count(model.simulator.output))
end

local options = check.declare("model:encode_extra", {
  z = { "table|tensor", doc = "the outputs' parameters (N, K), in units; default: the model's estimates" },
})

--- Infers the extra latents of outputs (sv.model { extra = n }): mean and standard deviation of q(e | x, z). Their
-- prior is normal, with mean 0 and standard deviation 1. They hold what the parameters do not explain.
-- @tparam tensor x (N, …output), or one output
-- @tparam ?table t options
-- @treturn tensor mean (N, n)
-- @treturn tensor std (N, n)
-- @raise a model without extra latents, outputs or parameters of another shape
-- @usage
-- local rich = sv.model { simulator = ring, width = 8, extra = 2 }
-- print(rich:encode_extra(x)[1])
function Model:encode_extra(x, t)
  if self.extra == 0 then check.fail(2, "encode_extra: the model has no extra latents: sv.model { extra = 2 }") end
  x = input.outputs("encode_extra", self, x)
  local z = check.options("encode_extra", t, options).z or self:encode(x)
  z = input.parameters("encode_extra", self, z)
  if z.shape[1] ~= x.shape[1] then
    check.fail(2, "encode_extra: z takes a row for each output; got %d for %d", z.shape[1], x.shape[1])
  end
  self.decoder:eval()
  return inference.in_chunks(x, function(part, before)
    local code = self.latent:to_code(core.slice(z, 1, before + 1, before + part.shape[1]))
    local mean, log_std = recognised(self, self.decoder, self.loss:standardise(part), self.decoder(code))
    return mean, core.exp(log_std)
  end)
end

--- The prediction at extra latents, for model:decode(z, { extra = e }).
-- @tparam Model self
-- @tparam tensor z (N, K), checked
-- @tparam table t options of decode
-- @tparam integer level of the caller of decode
-- @treturn tensor (N, …output)
function extra.decode(self, z, t, level)
  if self.extra == 0 then
    check.fail(level, "decode: option 'extra' is of models with extra latents: sv.model { extra = 2 }")
  end
  if t.samples then check.fail(level, "decode: takes samples or extra; got both") end
  local e = t.extra
  if type(e) == "table" and getmetatable(e) == nil then e = core.tensor(e) end
  local wanted = { z.shape[1], self.extra }
  if getmetatable(e) ~= core.metatable or check.shape_text(e.shape) ~= check.shape_text(wanted) then
    check.fail(level, "decode: option 'extra' takes a tensor %s, a row for each of z; got %s", check.shape_text(wanted),
      check.shape_of(e))
  end
  self.decoder:eval()
  return inference.in_chunks(z, function(part, before)
    local own = core.slice(e, 1, before + 1, before + part.shape[1])
    return self.loss:to_output(self.decoder.inner[2](core.concat({ self.latent:to_code(part), own }, 2)))
  end)
end

return extra
