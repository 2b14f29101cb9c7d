--- Heads of the posterior q(z | x): the meaning of an encoder's outputs. A head is a file of this folder, registered
-- nowhere else; models, training, inversion and metrics use it through this interface alone.
--
-- Its module returns a table:
--
--     options         its own options of sv.model, as check.options takes them: whole numbers with default, min and max
--                     (and before: of files that lack it)
--     new(t) -> head  t: latent (simvae.model.latent), bounded (as of sv.model) and the head's options by name
--
-- and a head has
--
--     outputs         number of outputs of the encoder
--     locations       { count =, size = }: which of them are locations in code space (simvae.nn.nets; optional)
--     net, build(rng) a layer with weights of the head, trained with the encoder's, and a function that makes it after
--                     the networks (optional)
--     likelihood      true: trained by `loss` alone, on draws of the prior through the frozen decoder (optional)
--
-- and methods over h (N, outputs), the encoder's numbers. Codes are as of simvae.model.latent; u are points
-- of the unit cube, one number a parameter (simvae.posterior.support.cube):
--
--     draw(h, rng, noise) -> code, mean, penalty   stage 2, with gradients: codes (N, size) at `noise` times the spread
--                                                  about the most probable mean; penalty: one number, or nil (a head
--                                                  with `likelihood` has none)
--     loss(h, codes) -> number                     sleep, with gradients: codes {(N, size), ...} are equivalent causes
--     spread_loss(h, codes) -> number              of the spread alone, beside stage 2 without sleep
--     loss(h, u) -> number                         instead of both, with `likelihood`: points u (N, K) that were drawn
--     typical(h) -> code                           (N, size): one for comparison by the decoder
--     candidates(h, n) -> codes, spreads           lists of (N, size), of which the decoder chooses: one or more for
--                                                  estimates, up to n as starts of an inversion
--     sample(h, n, rng) -> u (N, n, K)
--     reparameterised(h, rng) -> u (N, K)          one draw each with gradients, of no classes (optional)
--     class_shares(h) -> (N, L1, L2, …)            the joint probabilities of all classes, in the parameters' order
--     log_prob(h, u (N, M, K)) -> (N, M)           log density over the unit cube (of classes: log probability)
--     uniforms(), transport(h, v) -> u (N, n, K)   draws from uniform numbers v (N, n, uniforms), by tensor ops alone
--                                                  (simvae.export, model:recalibrate; optional)
--     draws(h, v) -> u (N, n, K)                   the same from v (1, n, uniforms) for every output, in any order
--                                                  (optional, where it is faster)
--     estimate(h) -> code, spread                  (N, size) twice: one estimate, by tensor ops alone, without the
--                                                  decoder (simvae.export; optional)
--     components(h) -> codes, spreads, shares      (N, A, size) twice and (N, A), of a mixture (optional)
local catalogue = require "simvae.util.catalogue"
local check = require "simvae.util.check"
local ensemble = require "simvae.posterior.support.ensemble"

local posterior = { names = catalogue.files "simvae.posterior", default = "flow" }

local function module_of(name) return require("simvae.posterior." .. name) end

--- Options of all heads, as check.options takes them, without their defaults.
-- @treturn table
function posterior.options()
  local all = {}
  for _, name in ipairs(posterior.names) do
    for option, rule in pairs(module_of(name).options) do
      all[option] = { rule[1], min = rule.min, max = rule.max,
        doc = string.format("of posterior \"%s\": %s; default %d", name, rule.doc, rule.default) }
    end
  end
  return all
end

-- The options of a head among those of a model, filled in; those of other heads are errors.
local function settings_of(name, given, level)
  local own, settings = module_of(name).options, {}
  for option in pairs(posterior.options()) do
    if given[option] ~= nil and not own[option] then
      local of = {}
      for _, other in ipairs(posterior.names) do
        if module_of(other).options[option] then of[#of + 1] = string.format("posterior = \"%s\"", other) end
      end
      check.fail(level + 1, "model: %s is an option of %s; the posterior is \"%s\"", option,
        table.concat(of, " and of "), name)
    end
  end
  for option, rule in pairs(own) do
    settings[option] = given[option] == nil and rule.default or given[option]
  end
  return settings
end

--- The rules of a head's options, for reading them from a file.
-- @tparam string name
-- @treturn table
function posterior.rules(name)
  return module_of(name).options
end

--- Makes the head of a model's options, and removes these options.
-- @tparam table model options of sv.model: posterior and those of the head
-- @tparam table t latent, bounded, members: the number of such heads that are one (simvae.posterior.support.ensemble)
-- @tparam integer level of the caller that is blamed
-- @treturn table the head, with its name and settings
function posterior.take(model, t, level)
  local name = model.posterior or posterior.default
  local settings = settings_of(name, model, level)
  model.posterior = nil
  for option, value in pairs(settings) do
    t[option], model[option] = value, nil
  end
  local heads = {}
  for i = 1, t.members do heads[i] = module_of(name).new(t) end
  local head = #heads > 1 and ensemble.new(heads) or heads[1]
  head.name, head.settings = name, settings
  return head
end

return posterior
