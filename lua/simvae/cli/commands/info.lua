--- simvae info: what a file holds.
local contents = require "simvae.cli.contents"
local json = require "simvae.io.json"

local function define(command)
  command:argument("file", "A model, a checkpoint, a sample cache, data (.npy, .npz, HDF5, MATLAB, PNG, CSV), the "
    .. "folder of a run or of shards, or a simulator.")
  command:flag("--json", "Prints JSON.")
end

local function run(a)
  local about = contents.of(a.file)
  print(a.json and json.encode(about, true) or contents.text(about))
end

return {
  order = 110,
  summary = "Tells what a file holds: models, checkpoints, sample caches, data.",
  examples = { "simvae info runs/box", "simvae info data.npz --json" },
  define = define,
  run = run,
}
