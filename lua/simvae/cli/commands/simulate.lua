--- simvae simulate: draws of the prior and the simulator's outputs, as a file, or as a shard of a data set.
local check = require "simvae.util.check"
local command_line = require "simvae.cli.command_line"
local core = require "simvae.core"
local files = require "simvae.io"
local outcome = require "simvae.cli.outcome"
local progress = require "simvae.train.progress"
local sampler = require "simvae.sampler"
local shards = require "simvae.cli.shards"
local source = require "simvae.cli.source"

local MOST_BYTES = 0xFFFFF000 -- that are held in memory for a .npz file

-- What --out takes: a file, or the folder of shards.
local function output(text)
  if text:sub(-4):lower() == ".npz" then return command_line.new_file ".npz" (text) end
  local folder = shards.folder(text)
  if folder then return folder end
  return nil, string.format("the file's name ends in .npz, or it is a folder; got '%s'", text)
end

local function one_of(text)
  local shard, of = text:match "^(%d+)/(%d+)$"
  shard, of = math.tointeger(shard), math.tointeger(of)
  if shard and of and shard >= 1 and shard <= of then return { shard = shard, of = of } end
  return nil, string.format("--shard takes a number and how many there are, as 1/64 to 64/64; got '%s'", text)
end

local function define(command)
  local number = command_line.number
  command:argument("simulator", source.text)
  number(command, "-n --number", "Samples; with --shard, of all shards together.", 1, nil, 1000)
  command:option("-o --out", "The file, .npz: arrays z (n, parameters) and x (n, output); or a folder of shards, from "
    .. "which simvae merge makes a file.", "data.npz"):argname "<file>":convert(output)
  number(command, "--seed", "Seed of the samples.", 0, nil, 1)
  number(command, "--workers", "Processes that run the simulator; 0: none.", 0, sampler.options.workers.max, 0)
  command:option("--shard", "Draws one part of the samples into the folder of --out: 3/64 is the third of 64.")
    :argname "<k/m>":convert(one_of)
  command:flag("--allow-changed", shards.changed_text)
  command:option("--cache", "Sample cache, which training can read as well; of a file alone."):argname "<file>"
  command:flag("--no-noise", "Outputs without the noise of a measurement that the simulator declares; of a file alone. "
    .. "Shards have none: simvae merge adds it.")
  command:flag("--quiet", "No progress.")
end

local function check_size(sim, n)
  local each = #sim.params + check.count(sim.output)
  local bytes = n * each * core.io.number_sizes[core.real == "double" and "f8" or "f4"]
  if bytes >= MOST_BYTES then
    outcome.fail("%d samples of %d numbers take %.1f GB of memory: --out FOLDER writes shards instead, of which simvae "
      .. "merge makes a .npz file of any size", n, each, bytes / 1e9)
  end
end

local function failed_text(failed)
  return failed > 0 and string.format(", %d failed and were drawn again", failed) or ""
end

local function to_file(a)
  local sim = source.simulator(a.simulator)
  check_size(sim, a.number)
  local bar <close> = progress.new { title = "simulate", total = a.number, quiet = a.quiet }
  local z, x, failed = require "simvae".simulate(sim, a.number, core.rng(a.seed), { workers = a.workers,
    cache = a.cache, noise = not a.no_noise, watch = function(done) bar:update(done, sim.name) end })
  if not z then outcome.fail("%s", x) end
  outcome.need(files.save_npz(a.out, { z = z, x = x }))
  bar:finish(string.format("%d samples%s", a.number, failed_text(failed)))
end

local function to_folder(a)
  local settings, from, script = shards.settings(a.simulator)
  local part = a.shard or { shard = 1, of = 1 }
  local first, last = require "simvae.sampler.shards.files".range(a.number, part.shard, part.of)
  local bar, shown
  local drawn, failed = require "simvae.sampler.shards".draw {
    simulator = settings.simulator, out = a.out, total = a.number, shard = part.shard, of = part.of, seed = a.seed,
    script = script, source = from, changed = a.allow_changed, workers = a.workers,
    max_failures = settings.max_failures, timeout = a.workers > 0 and settings.timeout or nil,
    watch = function(done)
      if bar and done > shown then bar:update(done, settings.simulator.name) end
      bar = bar or progress.new { title = string.format("shard %d/%d", part.shard, part.of), total = last - first + 1,
        done = done, quiet = a.quiet }
      shown = done
    end,
  }
  if not drawn then outcome.fail("%s", failed) end
  bar:finish(string.format("%d samples%s%s", drawn, failed_text(failed),
    drawn < last - first + 1 and string.format(", %d were there,", last - first + 1 - drawn) or ""))
end

local function run(a, parser, command)
  local is_file = a.out:sub(-4):lower() == ".npz"
  local function refuse(...) parser.error(command.parser, string.format(...)) end
  if is_file and a.shard then refuse "--shard goes with --out FOLDER, to which all shards are written" end
  if is_file and a.allow_changed then refuse "--allow-changed goes with --out FOLDER" end
  if not is_file and (a.cache or a.no_noise) then
    refuse("%s goes with a file, --out data.npz", a.cache and "--cache" or "--no-noise")
  end
  if a.shard and a.shard.of > a.number then
    refuse("--shard %d/%d: there are %d samples (-n), fewer than shards", a.shard.shard, a.shard.of, a.number)
  end
  if is_file then to_file(a) else to_folder(a) end
  print(a.out)
end

return {
  order = 100,
  summary = "Writes draws of the prior and the simulator's outputs: a .npz file, or shards of it.",
  text = "Draws parameters of the prior, runs the simulator on them, and writes both to a .npz file: arrays z (n, "
    .. "parameters), in their units, and x (n, output). The samples of a seed are the same for any number of workers. "
    .. "With --shard K/M it draws one of M parts into a folder, which processes on any machines share; the same "
    .. "command goes on where one was interrupted or killed (SIGTERM included), and simvae merge makes the file that "
    .. "one process would have written.",
  examples = { "simvae simulate box -n 1000 --out data.npz", "simvae simulate ring.lua -n 100000 --workers 2",
    "simvae simulate ring.lua -n 1000000 --shard 3/64 --out shards",
    "parallel simvae simulate ring.lua -n 1000000 --shard {}/64 --out shards ::: {1..64}" },
  define = define,
  run = run,
}
