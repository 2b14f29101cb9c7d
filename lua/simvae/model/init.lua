--- A model: a simulator, a decoder that emulates it, and an encoder that inverts it.
--
--     local model = sv.model { simulator = box, net = "dcgan", width = 32, seed = 1 }
--     model:train { out = "runs/box", decoder = { steps = 4000 }, encoder = { steps = 4000 } }
--     local mean, std = model:encode(x)       -- (N, …) -> (N, K), (N, K), in units
--     local p = model:posterior(x)            -- q(z | x): p:sample(n, rng), p:log_prob(z), p:quantile { 0.05, 0.95 }
--     local y = model:decode(mean)            -- (N, K) -> (N, …); with { samples = 8, rng = } draws of q(x | z)
--     model:log_likelihood(x, z)              -- (N,): log q(x | z)
--     model:save "box.safetensors"
local check = require "simvae.util.check"
local class = require "simvae.util.class"
local content = require "simvae.util.content"
local description = require "simvae.model.description"
local extra = require "simvae.model.extra"
local inference = require "simvae.model.inference"
local input = require "simvae.model.input"
local latent = require "simvae.model.latent"
local distribution = require "simvae.model.likelihood"
local likelihood = require "simvae.likelihood"
local levels = require "simvae.model.levels"
local loss = require "simvae.model.loss"
local members = require "simvae.nn.members"
local names = require "simvae.util.names"
local nets = require "simvae.nn.build"
local normal_scores = require "simvae.model.normal_scores"
local posterior = require "simvae.posterior"
local precision = require "simvae.nn.precision"
local set_encoder = require "simvae.nn.set"
local sets = require "simvae.model.sets"
local simulator = require "simvae.simulator"
local stages = require "simvae.train.stages"
local streams = require "simvae.util.streams"

local model = {}
local Model = {}
Model.__index = Model
class.take(Model, "simvae.model.extra", "simvae.model.inference", "simvae.model.likelihood", "simvae.model.save",
  "simvae.model.invert", "simvae.model.recalibration", "simvae.train", "simvae.repl.explore")

local options = check.declare("model", {
  simulator = { "table", class = "Simulator", required = true,
    doc = "what is learned: made by sv.simulator, sv.command, sv.spice or sv.dataset, or a built-in one" },
  net = { "string|function|table",
    doc = "\"conv\" for images of 8 to 512 pixels either way, \"coordconv\" for figures whose edges are to be sharp, "
      .. "\"dcgan\" the paper's, \"resnet\" and \"vit\" for images in which other things hide what is to be inferred, "
      .. "\"conv1d\", \"gru\" and \"lstm\" for series, \"set\" for elements in no order, \"mlp\" for all else; a "
      .. "function that builds one, as those of sv.nets; or { decoder =, encoder = } of layers; default: conv for such "
      .. "images, conv1d for vectors of 256 elements or more, else mlp" },
  width = { "integer", min = 1,
    doc = "of the networks: channels of the first convolution, or units of a hidden layer; default: conv, "
      .. "coordconv, resnet, vit, conv1d, gru and lstm 16, dcgan 32, set 64, mlp 128" },
  seed = { "integer", default = 1, doc = "of the initial weights, and of training by default" },
  loss = { "string|function",
    doc = "how outputs are compared: \"bce\", \"mse\", \"l1\", \"gaussian\", or a function (prediction, x) -> "
      .. "number; default: by the output" },
  bounded = { "string|boolean", default = "clamp", one_of = { "clamp", "tanh" },
    doc = "how the encoder's mean is kept within the prior's bounds; false: not, as in the paper" },
  posterior = { "string", default = posterior.default, one_of = posterior.names,
    doc = "the family of q(z | x): \"gaussian\", one normal distribution with a diagonal covariance; \"mixture\", "
      .. "several within the prior's support (mixture density network: Bishop 1994); \"flow\", a neural spline "
      .. "flow, a density of any shape" },
  members = { "integer", default = 1, min = 1, max = 64,
    doc = "of an ensemble, each with networks of its own, trained together: decode gives the mean of the decoders, "
      .. "the posterior is the encoders' mixture, which is broader where few simulations leave it uncertain; "
      .. "everything takes as many times longer" },
  extra = { "integer", default = 0, min = 0, max = 64,
    doc = "latents beside the parameters, for what these do not explain in the outputs, such as lighting or texture: "
      .. "model:encode_extra infers them, and model:decode(z, { extra = e }) uses them; all else is of the parameters "
      .. "alone; default: none" },
  set = { "boolean|table", fields = sets.rules,
    doc = "an observation is a set of measurements of the same parameters: true, or from how many to how many; "
      .. "default: one measurement" },
  decoder = { "string|table",
    doc = "the distribution q(x | z) about the decoder's output: \"homoscedastic\", a normal one whose standard "
      .. "deviations are those of its errors, of vectors a scale mixture of up to three; learned in stage 1: "
      .. "\"normal\", whose standard deviations depend on z; of vectors { \"lowrank\", rank = 4 }, { \"mixture\", "
      .. "components = 4 }, { \"flow\", transforms = 5, bins = 8 }; of outputs in [0, 1] \"bernoulli\"; of "
      .. "binary images of one channel { \"pixelcnn\", channels = 16, layers = 4 }; default \"homoscedastic\"" },
  precision = { "string",
    doc = "\"fp32\" or \"bf16\": of the factors of convolutions, in training and in use, on this CPU; not saved; "
      .. "default \"fp32\"" },
})
for name, rule in pairs(posterior.options()) do options[name] = rule end

--- Makes a model with initial weights.
-- @tparam table t options
-- @treturn Model
-- @raise unknown options, a value that is not a simulator, a net that does not suit the output
-- @usage print(sv.model { simulator = ring, net = "conv", width = 8, posterior = "flow", seed = 2 })
function model.new(t)
  local self = check.options("model", type(t) == "table" and description.current(t) or t, options)
  if not simulator.is(self.simulator) then
    check.fail(2, "model: simulator must be made by sv.simulator, or be a built-in such as "
      .. "require \"simvae.simulators.box\"; got %s", check.describe(self.simulator))
  end
  self.simulator:check_precision(3)
  if self.precision then precision.check("model", self.precision) end
  return model.build(self, streams.weights(self.seed))
end

local function set_precision(self, name)
  for _, net in ipairs { self.decoder, self.encoder } do net:set_precision(name) end
  self.precision = name
  return self
end

--- A model from checked options.
-- @tparam table self options of `new`, which becomes the model
-- @tparam rng rng of the initial weights
-- @treturn Model
function model.build(self, rng)
  local sim = self.simulator
  if self.bounded == true then self.bounded = "clamp" end
  if self.net == nil then self.net = nets.default(sim.output) end
  if self.width == nil then self.width = nets.width(self.net) end
  self.latent = latent.new(sim.params)
  self.loss = loss.new(self.loss or sim.loss, sim.output)
  self.scores = normal_scores.new(sim.output)
  self.members, self.set = self.members or 1, sets.check(self.set, 3)
  if self.members > 1 and type(self.net) == "table" then
    check.fail(2, "model: members = %d takes a net by name or a builder function, which makes a network for each; got "
      .. "two layers", self.members)
  end
  self.head = posterior.take(self, { latent = self.latent, bounded = self.bounded, members = self.members }, 3)
  local q = likelihood.take(self, { code = self.latent.size, output = sim.output }, 3)
  self.extra = self.extra or 0
  extra.check(self, 3)
  local one, decoders, encoders = self.members > 1 and self.head.members[1] or self.head, {}, {}
  local seen = levels.input(sim)
  for i = 1, self.members do
    decoders[i], encoders[i] = nets.nets(self.net, {
      code = self.latent.size, heads = self.set and set_encoder.features or one.outputs,
      locations = not self.set and one.locations or nil, output = sim.output, input = seen, width = self.width,
      rng = rng,
    })
    if #sim.output == 1 and encoders[i].exchangeable then self.loss.alike, self.scores.alike = true, true end
    if self.set then encoders[i] = set_encoder.encoder(encoders[i], seen, one.outputs, rng) end
  end
  if self.extra > 0 then
    local rich, recogniser = nets.nets(self.net, { code = self.latent.size + self.extra, heads = 2 * self.extra,
      output = sim.output, input = extra.input(sim.output), width = self.width, rng = rng })
    decoders[1] = extra.layer(decoders[1], rich, recogniser, self.extra)
  end
  self.decoder, self.encoder = members.join(decoders, encoders)
  if self.head.build then self.head:build(rng) end
  self.likelihood = q(rng)
  self.decoder:eval()
  self.encoder:eval()
  if self.precision then set_precision(self, self.precision) end
  self.trained = content { decoder = 0, encoder = 0 }
  self.recalibration, self.usual = false, false
  self.seen, self.noticed = false, {} -- see simvae.model.novelty and notice
  return setmetatable(self, Model)
end

--- Is this a model?
function model.is(v)
  return getmetatable(v) == Model
end

function Model:__tostring()
  local steps = 0
  for _, n in pairs(self.trained) do steps = steps + n end
  local count = self.members > 1 and string.format("%d members, ", self.members) or ""
  return string.format("model of %s: %sdecoder %d, encoder %d parameters; %s", self.simulator.name, count,
    self.decoder:count(), self.encoder:count(),
    (steps == 0 and "untrained" or "trained for " .. stages.text(self.trained) .. " steps")
      .. (self.focus and string.format(", in %d rounds for one observation", self.focus.rounds) or ""))
end

--- Sets the precision of the model's convolutions, in training and in use.
-- @tparam string name "fp32" (in a build of doubles "fp64"), or "bf16" where the CPU has products of it
-- @treturn Model itself
-- @raise a precision that this CPU has no products of
-- @usage model:set_precision "fp32"
function Model:set_precision(name)
  precision.check("set_precision", name)
  return set_precision(self, name)
end

--- The numbers of the posterior's head.
-- @tparam tensor x (N, …output) as networks see outputs (simvae.model.loss), with the level of a measured noise
-- @treturn tensor (N, head.outputs)
-- @usage print(model:encoder_outputs(x))
function Model:encoder_outputs(x)
  return self.encoder(self.scores and self.scores(x) or x)
end

-- ---- use, in units ---------------------------------------------------------------------

--- Predicts the simulator's output.
-- @tparam tensor z (N, K), in units
-- @tparam ?table t options
-- @treturn tensor (N, …output), or of draws (N, samples, …output)
-- @raise z of another number of columns, unknown options, draws of a decoder that has not been trained
-- @usage
-- local y = model:decode(z)
-- local draws = model:decode(z, { samples = 4, rng = sv.rng(2) })
-- print(y.shape, draws.shape)
-- sv.io.save_png("decoded.png", sv.concat({ x[1], y[1] }, 3), { scale = 4 })
function Model:decode(z, t)
  z = input.parameters("decode", self, z)
  self.decoder:eval()
  if type(t) == "table" and t.extra ~= nil then return extra.decode(self, z, t, 3) end
  if t ~= nil then
    local draws = distribution.samples(self, z, t, 3)
    return draws
  end
  return inference.in_chunks(z, function(part)
    return self.loss:to_output(self.decoder(self.latent:to_code(part)))
  end)
end

model.load = require "simvae.model.load"

names.class(Model, "model", {
  { "simulator", "Simulator", "what was learned" },
  { "decoder", "Layer", "the network from codes to outputs" },
  { "encoder", "Layer", "the network from outputs to the numbers of the posterior's head" },
  { "trained", "{[string]=integer}", "steps of each stage so far" },
  { "seed", "integer", "of the initial weights" },
  { "width", "?integer", "of the networks" },
  { "members", "integer", "of the ensemble; 1: none" },
  { "extra", "integer", "latents beside the parameters; 0: none" },
  { "recalibration", "table|boolean", "what model:recalibrate measured; false: nothing" },
  { "seconds", "?number", "that training took in all" },
  "net", "loss", "bounded", "head", "latent", "likelihood", "precision", "scores", "focus", "set", "usual" })
model.class = Model

return model
