--- Distributions q(x | z) of the simulator's outputs about those of the decoder: what makes a decoder probabilistic.
-- A distribution is a file of this folder, registered nowhere else; models, training, importance resampling and metrics
-- use it through this interface alone (simvae.model.likelihood).
--
-- Its module returns a table:
--
--     options         its own options, as check.options takes them: whole numbers with default, min and max
--     vectors         true: for vector outputs {n} alone (optional)
--     logits          true: of the decoder's raw outputs, which are logits (loss "bce"; optional)
--     continuous      true: its measurement noise is learned with it, as it has no density that noise could be added to
--                     (optional)
--     new(t) -> q     t: code (how many numbers it has), output, count (how many numbers an output has), floor (the
--                     least standard deviation of a number), unknown (what was not measured), rng (of initial
--                     weights), and the options by name
--
-- and a distribution has
--
--     net             a layer with its weights, trained in stage 1, and in its buffers what is measured after it
--
-- and methods over y (R, count), the decoder's outputs, codes (R, size) and outputs x (R, count), all in the units that
-- networks see:
--
--     log_prob(y, code, x, variance) -> (R,)   log density; variance (1, count) or (R, count): of
--                                           further, normal noise, or nil
--     draw(y, code, n, rng) -> (R, n, count)
--     trained         true: stage 1 minimises -log_prob on detached y, so that the decoder's outputs stay those of
--                     its own loss (optional)
--     fit(y, code, x) measures statistics after stage 1 (optional)
--     fitted() -> boolean                      whether they were measured (optional)
local catalogue = require "simvae.util.catalogue"
local check = require "simvae.util.check"
local core = require "simvae.core"

local likelihood = { names = catalogue.files "simvae.likelihood", default = "homoscedastic" }

--- A variance or standard deviation that was not measured.
likelihood.unknown = -1

local function module_of(name) return require("simvae.likelihood." .. name) end

--- The rules of a distribution's options.
-- @tparam string name
-- @treturn table
function likelihood.rules(name)
  return module_of(name).options
end

-- Name and options of what sv.model was given: "name", or { "name", option = value, … }.
local function read(given, level)
  local name, options = given, {}
  if type(given) == "table" then
    name = given[1]
    for k, v in pairs(given) do
      if k ~= 1 then options[k] = v end
    end
  end
  if name == nil and type(given) == "table" then
    check.fail(level + 1, "model: decoder takes a name, such as \"normal\", or { \"lowrank\", rank = 4 }; got no name")
  end
  check.value("model", "decoder", name, { "string", one_of = likelihood.names }, level + 2)
  return name, check.options(string.format("model: decoder \"%s\"", name), options, module_of(name).options, level + 1)
end

--- Takes the distribution of a model from its options.
-- @tparam table model options of sv.model, with simulator and loss; its `decoder` (a name, { name, option = value, … },
-- or nil) is removed
-- @tparam table t code, output
-- @tparam integer level of the caller that is blamed
-- @treturn function (rng of initial weights) -> the distribution, with its name and settings
function likelihood.take(model, t, level)
  local name, settings = read(model.decoder == nil and likelihood.default or model.decoder, level)
  local module, sim, loss = module_of(name), model.simulator, model.loss
  model.decoder = nil
  if module.vectors and #t.output ~= 1 then
    check.fail(level + 1, "model: decoder \"%s\" is a distribution of vectors {n}; the output of simulator '%s' is %s: "
      .. "\"normal\" takes images", name, sim.name, check.shape_text(t.output))
  end
  if module.logits and (loss.kind ~= "bce" or sim.noise) then
    check.fail(level + 1, "model: decoder \"%s\" takes outputs in [0, 1] under loss \"bce\", without noise of a "
      .. "measurement; %s", name, sim.noise and "the simulator declares noise" or "the loss is \"" .. loss.name .. "\"")
  end
  if module.continuous and sim.noise_range then
    check.fail(level + 1, "model: decoder \"%s\" learns the noise of a measurement, and is not told its level; "
      .. "simulator '%s' has a range of them: \"normal\" adds the noise of the level", name, sim.name)
  end
  t.unknown, t.count = likelihood.unknown, check.count(t.output)
  t.floor = loss.mean and 1e-4 or 1e-3 -- images in [0, 1]: the rounding of 8 bits
  for option, value in pairs(settings) do t[option] = value end
  return function(rng)
    t.rng = rng
    local q = module.new(t)
    q.name, q.settings, q.logits = name, settings, module.logits
    -- noise that cannot be added to the density is learned with it; a function's is measured where nothing is trained
    local by_function = type(sim.noise) == "function"
    q.as_measured = q.trained and (module.continuous and sim.noise ~= nil or by_function) or false
    if by_function and not q.as_measured then
      q.net.buffers.measurement = core.buffer(core.full(likelihood.unknown, { t.count }))
    end
    return q
  end
end

return likelihood
