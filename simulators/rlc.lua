--- A series RLC circuit (SimVAE, section 4): a resistance, an inductance and a capacitance in
-- series, driven by an AC source of 1 V, output across the capacitance. 61 frequencies from
-- 100 Hz to 100 kHz, 20 a decade: 61 gains in dB, then 61 unwrapped phases in radians.
--
-- The response depends on R, L, C only through f0 and Q: scaling the impedance, (R/s, L/s, C s),
-- leaves it unchanged.
--
--     local rlc = require "simvae.simulators.rlc"        -- through ngspice
--     local fast = rlc { engine = "analytic" }           -- in closed form, where ngspice is missing
--     local measured = rlc { noise = 0.3 }               -- noise of a measurement, as of sv.simulator
-- @usage
-- local rlc = require "simvae.simulators.rlc" { engine = "analytic" }
-- local _, curves = sv.simulate(rlc, 8, sv.rng(1))
-- sv.figures.curves("rlc.png", { curves }, { series = rlc.series })
local check = require "simvae.util.check"
local core = require "simvae.core"
local simulator = require "simvae.simulator"
local spice = require "simvae.simulator.spice"

local engines = { "ngspice", "analytic" }

local function netlist()
  return assert(package.searchpath("simvae.simulators.rlc", package.path)):gsub("%.lua$", ".cir")
end

local variant_options = check.declare("simulators.rlc", {
  engine = { "string", default = "ngspice", one_of = engines, doc = "a simulation by ngspice, or the closed form" },
  timeout = { "number", default = 60, above = 0, doc = "seconds for a run of ngspice" },
  restart = { "integer", default = 20000, min = 1, doc = "runs after which ngspice is restarted" },
  noise = { "number|table|tensor|function", doc = "of a measurement, as of sv.simulator; default: none" },
})

local function make(options)
  options = check.options("rlc", options, variant_options)
  local t = {
    name = "rlc", noise = options.noise,
    doc = core.builtin.rlc.doc,
    params = {
      { name = "R", low = 10, high = 1000, unit = "ohm", scale = "log", doc = "resistance" },
      { name = "L", low = 1e-3, high = 100e-3, unit = "H", scale = "log", doc = "inductance" },
      { name = "C", low = 10e-9, high = 1e-6, unit = "F", scale = "log", doc = "capacitance" },
    },
    invariants = {
      -- compared below 10 kHz and a Q of 4, as in the paper's figure 3
      { name = "f0", unit = "Hz", scale = "log", high = 10e3,
        value = function(z) return 1 / (2 * math.pi * math.sqrt(z.L * z.C)) end },
      { name = "Q", unit = "", scale = "log", high = 4, value = function(z) return math.sqrt(z.L / z.C) / z.R end },
    },
    series = {
      { name = "gain", unit = "dB" }, { name = "phase", unit = "rad" },
      axis = { name = "frequency", unit = "Hz", low = 100, high = 100e3, scale = "log" },
    },
    symmetry = {
      { name = "impedance", free = { low = 0, high = math.huge, scale = "log" },
        map = function(z, s) return { R = z.R / s, L = z.L / s, C = z.C * s } end },
    },
  }
  local made
  if options.engine == "analytic" then
    t.output, t.batch = { 122 }, core.builtin.rlc.draw
    made = simulator.new(t)
  else
    t.netlist, t.output, t.timeout, t.restart = netlist(), { "vdb(out)", "vp(out)" }, options.timeout, options.restart
    t.points, t.probe = 61, false -- so that ngspice starts with the first run
    made = assert(spice.spice(t))
  end
  made.variant = make
  return made
end

return make()
