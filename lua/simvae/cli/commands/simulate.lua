--- simvae simulate: draws of the prior and the simulator's outputs, as a file.
local check = require "simvae.util.check"
local command_line = require "simvae.cli.command_line"
local core = require "simvae.core"
local files = require "simvae.io"
local outcome = require "simvae.cli.outcome"
local progress = require "simvae.train.progress"
local sampler = require "simvae.sampler"
local source = require "simvae.cli.source"

local MOST_BYTES = 0xFFFFF000 -- of a .npz file

local function define(command)
  local number = command_line.number
  command:argument("simulator", source.text)
  number(command, "-n --number", "Samples.", 1, nil, 1000)
  command:option("-o --out", "The file, .npz: arrays z (n, parameters) and x (n, output).", "data.npz"):argname "<file>"
    :convert(command_line.new_file ".npz")
  number(command, "--seed", "Seed of the samples.", 0, nil, 1)
  number(command, "--workers", "Processes that run the simulator; 0: none.", 0, sampler.options.workers.max, 0)
  command:option("--cache", "Sample cache, which training can read as well."):argname "<file>"
  command:flag("--no-noise", "Outputs without the noise of a measurement that the simulator declares.")
  command:flag("--quiet", "No progress.")
end

local function run(a)
  local sim = source.simulator(a.simulator)
  local each = #sim.params + check.count(sim.output)
  local bytes = a.number * each * core.io.number_sizes[core.real == "double" and "f8" or "f4"]
  if bytes >= MOST_BYTES then
    outcome.fail("%d samples of %d numbers take %.1f GB; a .npz file holds less than 4 GB: give -n %d or less, and "
      .. "another --seed for more", a.number, each, bytes / 1e9, a.number * MOST_BYTES // bytes - 1)
  end
  local bar <close> = progress.new { title = "simulate", total = a.number, quiet = a.quiet }
  local z, x, failed = require "simvae".simulate(sim, a.number, core.rng(a.seed), { workers = a.workers,
    cache = a.cache, noise = not a.no_noise, watch = function(done) bar:update(done, sim.name) end })
  if not z then outcome.fail("%s", x) end
  outcome.need(files.save_npz(a.out, { z = z, x = x }))
  bar:finish(string.format("%d samples%s", a.number, failed > 0 and string.format(", %d failed and were drawn again",
    failed) or ""))
  print(a.out)
end

return {
  order = 100,
  summary = "Writes draws of the prior and the simulator's outputs to a .npz file.",
  text = "Draws parameters of the prior, runs the simulator on them, and writes both to a .npz file: arrays z (n, "
    .. "parameters), in their units, and x (n, output). The samples of a seed are the same for any number of workers.",
  examples = { "simvae simulate box -n 1000 --out data.npz", "simvae simulate ring.lua -n 100000 --workers 2" },
  define = define,
  run = run,
}
