--- How close samples of a posterior are to its reference samples.
local core = require "simvae.core"
local sv = require "simvae"

local score = {}

-- The mean over the parameters of a sample's standard deviation over the reference's.
local function width(reference, samples)
  local theirs, ours, sum = core.var(reference, 1):totable(), core.var(samples, 1):totable(), 0
  for k, v in ipairs(ours) do sum = sum + math.sqrt(v / theirs[k]) / #ours end
  return sum
end

-- C2ST by boosted trees, of the worker `trees`.
local function by_trees(trees, reference, samples, folder)
  local path = folder .. "/compared.npz"
  assert(sv.io.save_npz(path, { reference = reference, samples = samples }))
  assert(trees:ask("load", "reference", "samples", path))
  local answer = assert(trees:ask("check", "reference", "samples"))
  os.remove(path)
  return assert(tonumber(answer))
end

--- Compares the posteriors of a task.
-- @tparam {table,...} observations as of tasks.observations
-- @tparam function sample (observation, its place in the list) -> (M, P)
-- @tparam integer count of samples that are compared, at most those of the reference
-- @tparam ?Worker trees
-- @tparam string folder for files in between
-- @treturn table c2st, trees, std: a number for each observation
function score.compare(observations, sample, count, trees, folder)
  local r = { c2st = {}, std = {}, trees = trees and {} }
  for i, o in ipairs(observations) do
    local n = math.min(count, o.reference.shape[1])
    local reference = o.reference:slice(1, 1, n)
    local samples = sample(o, i):slice(1, 1, n)
    r.c2st[i], r.std[i] = sv.metrics.c2st(reference, samples), width(reference, samples)
    if trees then r.trees[i] = by_trees(trees, reference, samples, folder) end
  end
  return r
end

--- Mean and greatest of a list of numbers.
function score.summary(list)
  local sum, most = 0, -math.huge
  for _, v in ipairs(list) do sum, most = sum + v, math.max(most, v) end
  return sum / #list, most
end

return score
