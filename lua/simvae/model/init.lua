--- A model: a simulator, a decoder that stands in for it, and an encoder that inverts it.
--
--     local model = sv.model { simulator = box, net = "dcgan", width = 32, seed = 1 }
--     model:train { out = "runs/box", decoder = { steps = 4000 }, encoder = { steps = 4000 } }
--     local mean, std = model:encode(x)       -- (N, …) -> (N, K), (N, K), in units
--     local y = model:decode(mean)            -- (N, K) -> (N, …)
--     model:save "box.safetensors"
local check = require "simvae.util.check"
local class = require "simvae.util.class"
local code_space = require "simvae.model.code"
local content = require "simvae.util.content"
local core = require "simvae.core"
local input = require "simvae.model.input"
local latent = require "simvae.model.latent"
local loss = require "simvae.model.loss"
local nets = require "simvae.nn.nets"
local novelty = require "simvae.model.novelty"
local names = require "simvae.util.names"
local simulator = require "simvae.simulator"
local stages = require "simvae.train.stages"

local model = {}
local Model = {}
Model.__index = Model
class.take(Model, "simvae.model.code", "simvae.model.save", "simvae.model.invert", "simvae.train")
model.pick = code_space.pick

local CHUNK = 256 -- samples that go through a network at once outside training

local options = {
  simulator = { "table", required = true },
  net = { "string|function|table" },
  width = { "integer", min = 1 },
  seed = { "integer", default = 1 },
  loss = { "string|function" },        -- D of both stages; default: by the output
  bounded = { "string|boolean", default = "clamp", one_of = { "clamp", "tanh" } }, -- false: the paper's plain form
  answers = { "integer", default = 1, min = 1, max = 64 },
}

--- Makes a model with fresh weights.
-- @tparam table t simulator; net ("conv" for square images, "place" for figures with edges that it should get sharp,
-- "dcgan" the paper's, "mlp" for all else; a builder; or { decoder =, encoder = }), width (conv and place 16,
-- dcgan 32, mlp 128), seed (1), loss ("bce", "mse", "l1", "gaussian", or a function (prediction, x) -> number),
-- bounded ("clamp" or "tanh": how the encoder's mean is kept within the prior's bounds; false: the paper's plain form),
-- answers (1): how many the encoder gives to an output, each with a probability, where many parameters give one output
-- or nearly so and an average of them gives another (mixture density network: Bishop 1994); needs train's sleep
-- @treturn Model
function model.new(t)
  local self = check.options("model", t, options)
  if not simulator.is(self.simulator) then
    check.fail(2, "model: simulator must be made by sv.simulator, or be a built-in such as "
      .. "require \"simvae.simulators.box\"; got %s", check.describe(self.simulator))
  end
  self.simulator:check_precision(3)
  return model.build(self, core.rng(self.seed, 0x6e6574))
end

--- A model from checked options.
-- @tparam table self options of `new`, which becomes the model
-- @tparam rng rng of the initial weights
-- @treturn Model
function model.build(self, rng)
  local sim = self.simulator
  if self.bounded == true then self.bounded = "clamp" end
  local image = #sim.output == 3
  if self.net == nil then self.net = image and sim.output[2] == sim.output[3] and "conv" or "mlp" end
  if self.width == nil then self.width = ({ conv = 16, place = 16, dcgan = 32 })[self.net] or 128 end
  self.latent = latent.new(sim.params)
  self.loss = loss.new(self.loss or sim.loss, sim.output)
  local A, size = self.answers, self.latent.size
  self.decoder, self.encoder = nets.build(self.net, {
    code = size, answers = A, heads = 2 * A * size + (A > 1 and A or 0),
    output = sim.output, width = self.width, rng = rng,
  })
  self.decoder:eval()
  self.encoder:eval()
  self.trained = content { decoder = 0, encoder = 0 }
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
  return string.format("model of %s: decoder %d, encoder %d parameters; %s", self.simulator.name, self.decoder:count(),
    self.encoder:count(), steps == 0 and "untrained" or "trained for " .. stages.text(self.trained) .. " steps")
end

-- ---- use, in units ---------------------------------------------------------------------

-- Applies f(chunk, rows before it) to chunks of rows of x, and joins each of its results.
local function in_chunks(x, f)
  local n = x.shape[1]
  local parts = {}
  for from = 1, math.max(n, 1), CHUNK do
    local scope <close> = core.scope()
    local to = math.min(from + CHUNK - 1, n)
    local results = table.pack(core.no_grad(f, n <= CHUNK and x or core.slice(x, 1, from, to), from - 1))
    for i = 1, results.n do
      parts[i] = parts[i] or {}
      parts[i][#parts[i] + 1] = scope:keep(results[i])
    end
  end
  local joined = {}
  for i, list in ipairs(parts) do joined[i] = #list == 1 and list[1] or core.concat(list, 1) end
  return table.unpack(joined)
end

--- Infers the parameters of outputs: of several answers (`answers` of sv.model) the one that the decoder reproduces
-- best.
-- @tparam tensor x (N, …output), or one output
-- @treturn tensor mean (N, K), in the simulator's units
-- @treturn tensor std (N, K), in the same units
function Model:encode(x)
  x = input.outputs("encode", self, x)
  self.encoder:eval()
  self.decoder:eval()
  return in_chunks(x, function(part, before)
    part = self.loss:standardise(part)
    local codes, spreads = self:ranked(part)
    novelty.check("encode", self, part, codes[1], before)
    return self.latent:to_units(codes[1], spreads[1])
  end)
end

--- All answers to outputs, as a mixture of normal distributions.
-- @tparam tensor x (N, …output), or one output
-- @treturn tensor means (N, A, K), in the simulator's units; A is `answers` of sv.model
-- @treturn tensor standard deviations (N, A, K), in the same units
-- @treturn tensor probabilities (N, A)
function Model:infer(x)
  x = input.outputs("infer", self, x)
  self.encoder:eval()
  self.decoder:eval()
  local A, K = self.answers, #self.simulator.params
  return in_chunks(x, function(part, before)
    local n = part.shape[1]
    part = self.loss:standardise(part)
    local code, spread, _, score = self:posterior(part)
    novelty.check("infer", self, part, score and self:choose(code, core.argmax(score, 2)) or code, before)
    local mean, std = self.latent:to_units(code, spread)
    local shares = score and core.softmax(score, 2) or core.ones(n, 1)
    return core.reshape(mean, n, A, K), core.reshape(std, n, A, K), shares
  end)
end

--- Predicts the simulator's output.
-- @tparam tensor z (N, K), in units
-- @treturn tensor (N, …output)
function Model:decode(z)
  z = input.parameters("decode", self, z)
  self.decoder:eval()
  return in_chunks(z, function(part)
    return self.loss:to_output(self.decoder(self.latent:to_code(part)))
  end)
end

model.load = require "simvae.model.load"

names.class(Model, "model", { "simulator", "net", "width", "seed", "loss", "bounded", "answers", "latent", "decoder",
  "encoder", "trained", "seconds" })

return model
