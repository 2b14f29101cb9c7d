--- Shards: a data set that processes on any machines draw in parts into one folder.
--
-- Sample i of a seed is the same whoever draws it, so that the merged shards are the data set that one process draws,
-- byte for byte. Every process writes files of its own (simvae.sampler.shards.files): nothing is locked, a process that
-- is killed leaves nothing to repair, and samples that were drawn twice are the same.
--
--     simvae simulate ring.lua -n 1000000 --shard 3/64 --out shards
--     simvae status shards
--     simvae merge shards -o data.npz
return {
  draw = require "simvae.sampler.shards.draw",
  merge = require "simvae.sampler.shards.merge",
  status = require "simvae.sampler.shards.status",
}
