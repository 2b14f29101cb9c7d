--- A model: a simulator, a decoder that stands in for it, and an encoder that inverts it.
--
--     local model = sv.model { simulator = box, net = "dcgan", width = 32, seed = 1 }
--     model:train { out = "runs/box", decoder = { steps = 4000 }, encoder = { steps = 4000 } }
--     local mean, std = model:encode(x)       -- (N, …) -> (N, K), (N, K), in units
--     local y = model:decode(mean)            -- (N, K) -> (N, …)
--     model:save "box.safetensors"
local check = require "simvae.check"
local core = require "simvae.core"
local json = require "dkjson"
local latent = require "simvae.latent"
local loss = require "simvae.loss"
local nets = require "simvae.nets"
local simulator = require "simvae.simulator"

local model = {}
local Model = {}
Model.__index = Model

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
    output = sim.output, width = self.width, rng = core.rng(self.seed, 0x6e6574),
  })
  self.decoder:eval()
  self.encoder:eval()
  self.trained = { decoder = 0, encoder = 0 }
  return setmetatable(self, Model)
end

--- Is this a model?
function model.is(v)
  return getmetatable(v) == Model
end

function Model:__tostring()
  return string.format("model of %s: decoder %d, encoder %d parameters; trained for %s steps",
    self.simulator.name, self.decoder:count(), self.encoder:count(), model.steps_text(self.trained))
end

--- Stages of a training in their order. Sleep is the first part of stage 2, where there is any.
model.stages = { "decoder", "sleep", "encoder" }

--- Steps of each stage as text: "4000 + 8000", or with sleep between them "4000 + 3000 + 8000".
-- @tparam {[string]=integer} trained
-- @tparam ?boolean named "4000 decoder + 8000 encoder"
-- @treturn string
function model.steps_text(trained, named)
  local parts = {}
  for _, stage in ipairs(model.stages) do
    local steps = trained[stage] or 0
    if steps > 0 or stage ~= "sleep" then
      parts[#parts + 1] = string.format(named and "%d %s" or "%d", steps, stage)
    end
  end
  return table.concat(parts, " + ")
end

-- ---- the two directions, in code space (with gradients) -----------------------------

--- The encoder's answers as normal distributions over codes: row (n - 1) A + a is answer a of the A (`answers` of
-- sv.model, else 1) to output n.
-- @tparam tensor x (N, …), standardised
-- @treturn tensor mean (N A, size)
-- @treturn tensor std (N A, size)
-- @treturn tensor the encoder's raw outputs for the mean (N A, size)
-- @treturn ?tensor (N, A) logits of the answers' probabilities; nil where A is 1
function Model:posterior(x)
  local heads = self.encoder(x)
  local n, A, score = self.latent.size, self.answers, nil
  if A > 1 then
    score = core.slice(heads, 2, 2 * n * A + 1)
    heads = core.reshape(core.slice(heads, 2, 1, 2 * n * A), -1, 2 * n)
  end
  local raw, log_std = core.slice(heads, 2, 1, n), core.slice(heads, 2, n + 1, 2 * n)
  local mean = self.bounded and self.latent:squash(raw, self.bounded) or raw
  return mean, core.exp(core.clamp(log_std - 1, -7, 1)), raw, score
end

--- One row of each sample's.
-- @tparam tensor t (N, A, size)
-- @tparam tensor index (N,) numbers from 1 to A
-- @treturn tensor (N, size)
function model.pick(t, index)
  local n, size = index.shape[1], t.shape[3]
  return core.reshape(core.gather(t, core.expand(core.reshape(index, n, 1, 1), n, 1, size), 2), n, size)
end

--- One answer to each output, of those that posterior gives.
-- @tparam tensor t (N A, …)
-- @tparam tensor index (N,) numbers from 1 to A
-- @treturn tensor (N, …)
function Model:choose(t, index)
  return model.pick(core.reshape(t, index.shape[1], self.answers, t.shape[2]), index)
end

--- The encoder's answers, the one that the decoder reproduces best first.
-- @tparam tensor x (N, …), standardised
-- @treturn {tensor,...} means (N, size), one of each answer
-- @treturn {tensor,...} stds (N, size)
function Model:ranked(x)
  local mean, std = self:posterior(x)
  local A = self.answers
  if A == 1 then return { mean }, { std } end
  local n, misfits = x.shape[1], {}
  for a = 1, A do
    local scope <close> = core.scope()
    local code = self:choose(mean, core.full(a, { n }))
    misfits[a] = self.loss:misfit(self.decoder(code), x):totable()
    for i, v in ipairs(misfits[a]) do misfits[a][i] = v == v and v or math.huge end
  end
  local order = {}
  for i = 1, n do
    local list = {}
    for a = 1, A do list[a] = a end
    table.sort(list, function(a, b)
      if misfits[a][i] == misfits[b][i] then return a < b end
      return misfits[a][i] < misfits[b][i]
    end)
    for rank, a in ipairs(list) do
      order[rank] = order[rank] or {}
      order[rank][i] = a
    end
  end
  local means, stds = {}, {}
  for rank, index in ipairs(order) do
    index = core.tensor(index)
    means[rank], stds[rank] = self:choose(mean, index), self:choose(std, index)
  end
  return means, stds
end

-- ---- use, in units ---------------------------------------------------------------------

-- Applies f to chunks of rows of x, and joins each of its results.
local function in_chunks(x, f)
  local n = x.shape[1]
  local parts = {}
  for from = 1, math.max(n, 1), CHUNK do
    local scope <close> = core.scope()
    local to = math.min(from + CHUNK - 1, n)
    local results = table.pack(core.no_grad(f, n <= CHUNK and x or core.slice(x, 1, from, to)))
    for i = 1, results.n do
      parts[i] = parts[i] or {}
      parts[i][#parts[i] + 1] = scope:keep(results[i])
    end
  end
  local joined = {}
  for i, list in ipairs(parts) do joined[i] = #list == 1 and list[1] or core.concat(list, 1) end
  return table.unpack(joined)
end

--- A batch of the right shape: the tensor itself, a table made one, or one sample as a batch of one.
function model.check_batch(what, x, shape, axes)
  if type(x) == "table" and getmetatable(x) == nil then x = core.tensor(x) end
  if getmetatable(x) ~= core.metatable then
    check.fail(3, "%s: takes a tensor (N, %s); got %s", what, axes, check.describe(x))
  end
  local fits = x.ndim == #shape + 1
  for i, n in ipairs(shape) do fits = fits and x.shape[i + 1] == n end
  if not fits and check.shape_text(x.shape) == check.shape_text(shape) then
    return x:reshape { 1, table.unpack(shape) }
  end
  if not fits then
    check.fail(3, "%s: takes (N, %s); got %s", what, axes, check.shape_text(x.shape))
  end
  return x
end

--- Infers the parameters of outputs: of several answers (`answers` of sv.model) the one that the decoder reproduces
-- best.
-- @tparam tensor x (N, …output), or one output
-- @treturn tensor mean (N, K), in the simulator's units
-- @treturn tensor std (N, K), in the same units
function Model:encode(x)
  x = model.check_batch("encode", x, self.simulator.output, table.concat(self.simulator.output, ", "))
  self.encoder:eval()
  self.decoder:eval()
  return in_chunks(x, function(part)
    local codes, spreads = self:ranked(self.loss:standardise(part))
    return self.latent:to_units(codes[1], spreads[1])
  end)
end

--- All answers to outputs, as a mixture of normal distributions.
-- @tparam tensor x (N, …output), or one output
-- @treturn tensor means (N, A, K), in the simulator's units; A is `answers` of sv.model
-- @treturn tensor standard deviations (N, A, K), in the same units
-- @treturn tensor probabilities (N, A)
function Model:infer(x)
  x = model.check_batch("infer", x, self.simulator.output, table.concat(self.simulator.output, ", "))
  self.encoder:eval()
  local A, K = self.answers, #self.simulator.params
  return in_chunks(x, function(part)
    local n = part.shape[1]
    local code, spread, _, score = self:posterior(self.loss:standardise(part))
    local mean, std = self.latent:to_units(code, spread)
    local shares = score and core.softmax(score, 2) or core.ones(n, 1)
    return core.reshape(mean, n, A, K), core.reshape(std, n, A, K), shares
  end)
end

--- Predicts the simulator's output.
-- @tparam tensor z (N, K), in units
-- @treturn tensor (N, …output)
function Model:decode(z)
  z = model.check_batch("decode", z, { #self.simulator.params }, table.concat(self.simulator.names, ", "))
  self.decoder:eval()
  return in_chunks(z, function(part)
    return self.loss:to_output(self.decoder(self.latent:to_code(part)))
  end)
end

-- ---- saving ------------------------------------------------------------------------------

--- All weights and statistics by name.
function Model:state()
  local map = {}
  for _, part in ipairs { "decoder", "encoder" } do
    for name, t in pairs(self[part]:state()) do map[part .. "." .. name] = t end
  end
  for name, t in pairs(self.loss.own) do map["loss." .. name] = t end
  if self.loss.mean then map["output.mean"], map["output.std"] = self.loss.mean, self.loss.std end
  return map
end

--- Fills the weights from such a map.
-- @treturn boolean true, or nil and what does not fit
function Model:load_state(map)
  for _, part in ipairs { "decoder", "encoder" } do
    local ok, why = self[part]:load_state(map, part .. ".")
    if not ok then return nil, why end
  end
  local rest = {}
  for name, t in pairs(self.loss.own) do rest["loss." .. name] = t end
  if self.loss.mean then rest["output.mean"], rest["output.std"] = self.loss.mean, self.loss.std end
  for name, t in pairs(rest) do
    if not map[name] or map[name].count ~= t.count then return nil, string.format("'%s' is missing", name) end
    t:copy(map[name])
  end
  return true
end

--- What identifies the model besides its weights.
-- @treturn table plain values only
function Model:description()
  local params = {}
  for i, p in ipairs(self.simulator.params) do
    params[i] = { name = p.name, low = p.low, high = p.high, unit = p.unit, scale = p.scale, period = p.period,
      levels = p.levels }
  end
  return {
    simulator = self.simulator.name, params = params, output = self.simulator.output,
    net = type(self.net) == "string" and self.net or "custom", width = self.width, loss = self.loss.name,
    loss_given = self.loss.given,
    bounded = self.bounded, seed = self.seed, answers = self.answers,
  }
end

--- Saves weights, names, units and bounds. The file is replaced as a whole or not at all.
-- @tparam string path ends in .safetensors
-- @treturn boolean true, or nil and why not
function Model:save(path)
  local io = require "simvae.io"
  check.value("save", "path", path, { "string" })
  local about = self:description()
  about.trained = self.trained
  return io.save_safetensors(path, self:state(), { metadata = {
    format = "simvae", version = core.version, model = json.encode(about, { keyorder = { "simulator", "params" } }),
  } })
end

-- The simulator a file speaks of: the one given, a built-in, or a stand-in that cannot run.
local function simulator_of(about, given, path)
  if given then
    local names = {}
    for i, p in ipairs(about.params) do names[i] = p.name end
    if table.concat(names, ", ") ~= table.concat(given.names, ", ")
      or check.shape_text(about.output) ~= check.shape_text(given.output) then
      return nil, string.format("%s holds a model of %s: (%s) -> %s; the simulator given is %s", path,
        about.simulator, table.concat(names, ", "), check.shape_text(about.output), tostring(given))
    end
    return given
  end
  local found, builtin = pcall(require, "simvae.simulators." .. about.simulator)
  if found and simulator.is(builtin) then return builtin end
  return simulator.new {
    name = about.simulator, params = about.params, output = about.output,
    simulate = function()
      error(string.format("this model was loaded without its simulator: sv.load(%q, simulator)", path), 0)
    end,
  }
end

--- Loads a model.
-- @tparam string path
-- @tparam ?Simulator sim a simulator of your own that the model belongs to
-- @tparam ?table settings net and loss, where the model had its own
-- @treturn Model or nil and why not
function model.load(path, sim, settings)
  local io = require "simvae.io"
  check.value("load", "path", path, { "string" })
  if sim ~= nil and not simulator.is(sim) then
    check.fail(2, "load: the second argument is a simulator; got %s", check.describe(sim))
  end
  settings = check.options("load", settings, { net = options.net, loss = options.loss })
  local state, metadata = io.load_safetensors(path)
  if not state then return nil, metadata end
  if metadata.format ~= "simvae" or not metadata.model then
    return nil, path .. ": a safetensors file, but not of a simvae model"
  end
  local about, _, broken = json.decode(metadata.model, 1, nil)
  if not about or type(about.params) ~= "table" then
    return nil, string.format("%s: its description cannot be read (%s)", path, broken or "no parameters")
  end
  if about.net == "custom" and not settings.net then
    return nil, path .. ": the model has a net of its own; sv.load(path, simulator, { net = … })"
  end
  if about.loss == "function" and not settings.loss then
    return nil, path .. ": the model has a loss of its own; sv.load(path, simulator, { loss = … })"
  end
  local whose, why = simulator_of(about, sim, path)
  if not whose then return nil, why end
  local self = model.new {
    simulator = whose, net = settings.net or about.net, width = about.width, seed = about.seed,
    loss = settings.loss or about.loss_given and about.loss or nil, bounded = about.bounded, answers = about.answers,
  }
  local ok, misfit = self:load_state(state)
  if not ok then return nil, string.format("%s: %s", path, misfit) end
  self.trained = about.trained or self.trained
  return self
end

-- simvae.train and simvae.invert add their methods.
model.class = Model

return model
