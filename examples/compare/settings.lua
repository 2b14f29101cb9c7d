--- The comparison's methods, experiments and published values.
local settings = {}

--- Methods, in the order of the table. supervision: what of the simulator's parameters they see. net: of images, where
-- it is not the experiment's.
settings.methods = {
  { name = "supervised", title = "supervised inverse (eq. 5)", file = "supervised", supervision = "all" },
  { name = "vae", title = "VAE", file = "vae", options = { beta = 1 }, supervision = "none" },
  { name = "beta-vae-4", title = "β-VAE, β = 4", file = "vae", options = { beta = 4 }, supervision = "none" },
  { name = "beta-vae-16", title = "β-VAE, β = 16", file = "vae", options = { beta = 16 }, supervision = "none" },
  { name = "beta-tcvae", title = "β-TCVAE, β = 6", file = "beta_tcvae", options = { beta = 6 }, supervision = "none" },
  { name = "factor-vae", title = "FactorVAE, γ = 10", file = "factor_vae", options = { gamma = 10 },
    supervision = "none" },
  { name = "infogan", title = "InfoGAN", file = "infogan", net = "dcgan", supervision = "none" },
  { name = "dc-ign", title = "DC-IGN", file = "dc_ign", supervision = "which one varies" },
  { name = "semi-1", title = "semi-supervised VAE, 1% labels", file = "semi_supervised", options = { labels = 0.01 },
    supervision = "1%" },
  { name = "semi-10", title = "semi-supervised VAE, 10% labels", file = "semi_supervised", options = { labels = 0.1 },
    supervision = "10%" },
  { name = "simvae-paper", title = "SimVAE, the paper's recipe", file = "simvae", options = { paper = true },
    supervision = "decoder: all; encoder: none" },
  { name = "simvae", title = "SimVAE, the default", file = "simvae", supervision = "all" },
}

--- Experiments by name, in the order of settings.order. net and width are those of all methods; steps is a factor of
-- the number of steps: dSprites is what published values are of, and vectors cost a hundredth of what images do.
-- factors: the parameters that MIG is averaged over, as in the paper; default: all.
settings.experiments = {
  dsprites = { net = "conv", width = 8, steps = 2, factors = { "scale", "orientation", "posX", "posY" } },
  box = { net = "conv", width = 8, steps = 1 },
  rlc = { net = "mlp", width = 64, steps = 8 },
  fourier = { net = "conv", width = 8, steps = 1 },
  polygon = { net = "conv", width = 8, steps = 1 },
}

settings.order = { "dsprites", "rlc", "box", "fourier", "polygon" }

--- The net of a method on an experiment.
function settings.net(name, method)
  local net = settings.experiments[name].net
  return net == "mlp" and net or method.net or net
end

--- The simulator of an experiment; the circuit's in closed form, which needs no ngspice.
function settings.simulator(name)
  local sim = require("simvae.simulators." .. name)
  return name == "rlc" and sim { engine = "analytic" } or sim
end

--- Numbers of the parameters that MIG is averaged over.
function settings.factors(name, sim)
  local list = {}
  for i, p in ipairs(sim.names) do
    local chosen = not settings.experiments[name].factors
    for _, factor in ipairs(settings.experiments[name].factors or {}) do chosen = chosen or factor == p end
    if chosen then list[#list + 1] = i end
  end
  return list
end

--- Published MIG of dSprites, over all five factors: low, high.
settings.published = {
  source = "Locatello et al. 2018, 300,000 steps, over methods and hyperparameters, as the SimVAE paper cites them",
  dsprites = { low = 0, high = 0.4, methods = { "vae", "beta-vae-4", "beta-vae-16", "beta-tcvae", "factor-vae" } },
}

return settings
