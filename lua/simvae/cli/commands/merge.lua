--- simvae merge: one data set of the shards in a folder.
local command_line = require "simvae.cli.command_line"
local core = require "simvae.core"
local outcome = require "simvae.cli.outcome"
local progress = require "simvae.train.progress"
local shards = require "simvae.cli.shards"
local source = require "simvae.cli.source"
local survey = require "simvae.sampler.shards.survey"

local function define(command)
  command:argument("folder", "Folder of the shards."):convert(shards.folder)
  command:option("-o --out", "The file: .npz, as simvae simulate writes it; or .samples, a sample cache that training "
    .. "reads (--cache).", "data.npz"):argname "<file>":convert(command_line.new_file(".npz", ".samples"))
  command:option("--simulator", "Where its noise of a measurement comes from; default: the script or name that the "
    .. "shards were drawn with."):argname "<simulator>"
  command:flag("--no-noise", "Outputs without the noise of a measurement that the simulator declares. A sample cache "
    .. "has none.")
  command:flag("--allow-changed", shards.changed_text)
  command:flag("--quiet", "No progress.")
end

-- The simulator whose noise is added; nil: none is.
local function measured(a, about)
  if a.no_noise or not about.set.noise or a.out:sub(-4):lower() ~= ".npz" then return nil end
  local from = a.simulator or about.set.source
  if not from or not a.simulator and from:find "/" and core.system.kind(from) ~= "file" then
    outcome.fail("%s: the noise of a measurement is that of simulator '%s', which is not at %s: give --simulator, or "
      .. "--no-noise", a.folder, about.simulator, from or "a known place")
  end
  return source.simulator(from)
end

local function run(a)
  local about, refused = survey(a.folder, a.allow_changed)
  if not about then outcome.fail("%s", refused) end
  local sim = measured(a, about)
  local bar <close> = progress.new { title = "merge", total = about.set.total, quiet = a.quiet }
  local r, why = require "simvae.sampler.shards".merge(a.folder, a.out, { simulator = sim, noise = sim ~= nil,
    changed = a.allow_changed, watch = function(done) bar:update(done, about.simulator) end })
  if not r then outcome.fail("%s", why) end
  local notes = {}
  for _, one in ipairs { { r.replaced, "failed draws that others replace" }, { r.doubles, "samples were there twice" },
    { r.damaged, "damaged records of which there were others" } } do
    if one[1] > 0 then notes[#notes + 1] = string.format(", %d %s", one[1], one[2]) end
  end
  bar:finish(string.format("%d samples of %d shard%s%s", r.samples, about.set.of, about.set.of == 1 and "" or "s",
    table.concat(notes)))
  print(a.out)
end

return {
  order = 102,
  summary = "Makes one data set of shards.",
  text = "Makes one data set of the shards that simvae simulate --shard has written to a folder: the file that one "
    .. "process would have written, byte for byte. Refuses shards of different simulators, seeds, numbers of samples "
    .. "or versions, and samples that are missing or damaged. It reads and writes one batch at a time, so that the "
    .. "data may be larger than memory.",
  examples = { "simvae merge shards -o data.npz", "simvae merge shards -o ring.samples" },
  define = define,
  run = run,
}
