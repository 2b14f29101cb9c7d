--- The eight tasks: their simulators, observations and published results.
local core = require "simvae.core"
local sv = require "simvae"

local tasks = {}

tasks.names = { "two_moons", "slcp", "gaussian_linear", "gaussian_linear_uniform", "gaussian_mixture",
  "bernoulli_glm", "sir", "lotka_volterra" }

-- C2ST at 1,000, 10,000 and 100,000 simulations, 10,000 samples each: NPE of Lueckmann et al. (AISTATS 2021),
-- main_paper.csv of sbi-benchmark/results; and of 2025, summary.csv of mackelab/npe-pfn.
tasks.published = {
  two_moons = { { 0.73, 0.61, 0.54 }, { 0.70, 0.55, 0.53 } },
  slcp = { { 0.98, 0.90, 0.83 }, { 0.97, 0.87, 0.72 } },
  gaussian_linear = { { 0.69, 0.55, 0.51 }, { 0.75, 0.60, 0.53 } },
  gaussian_linear_uniform = { { 0.70, 0.55, 0.51 }, { 0.75, 0.61, 0.54 } },
  gaussian_mixture = { { 0.72, 0.62, 0.55 }, { 0.67, 0.54, 0.52 } },
  bernoulli_glm = { { 0.86, 0.68, 0.56 }, { 0.88, 0.69, 0.60 } },
  sir = { { 0.82, 0.68, 0.58 }, { 0.70, 0.56, 0.52 } },
  lotka_volterra = { { 1.00, 1.00, 0.98 }, { 1.00, 0.97, 0.88 } },
}
tasks.budgets = { [1000] = 1, [10000] = 2, [100000] = 3 } -- where the published numbers of each budget stand

local function array(path)
  local a, why = sv.io.load_npy(path)
  if not a then error(why, 0) end
  return a
end

--- The simulator of a task.
-- @tparam string name
-- @tparam string data folder of bernoulli_glm_stimulus.npy
function tasks.simulator(name, data)
  local t = dofile("spec/bench/sbibm/" .. name .. ".lua")
  return type(t) == "function" and t(array(data .. "/bernoulli_glm_stimulus.npy")) or t
end

--- The observations of a task and the reference samples of their posteriors.
-- @tparam string name
-- @tparam string data folder that holds TASK/K/observation.npy and TASK/K/reference.npy
-- @tparam integer first
-- @tparam integer last
-- @treturn {table,...} number, x (D,), reference (M, P): those that are there
-- @raise a folder without any
function tasks.observations(name, data, first, last)
  local list = {}
  for k = first, last do
    local folder = string.format("%s/%s/%d/", data, name, k)
    if core.system.kind(folder .. "observation.npy") == "file" then
      list[#list + 1] = { number = k, x = array(folder .. "observation.npy"),
        reference = array(folder .. "reference.npy") }
    end
  end
  if #list == 0 then
    error(string.format("--data %s: no observation of %s from %d to %d (%s/K/observation.npy)", data, name, first,
      last, name), 0)
  end
  return list
end

--- The first simulations of a seed: drawn once, kept in a cache that training reads as well.
-- @tparam Simulator sim
-- @tparam integer count
-- @tparam integer seed
-- @tparam string folder of the cache
-- @treturn tensor z (count, P)
-- @treturn tensor x (count, D)
-- @treturn string path of the cache
function tasks.simulations(sim, count, seed, folder)
  local cache = string.format("%s/%s-%d.cache", folder, sim.name, seed)
  local made <close>, why = sv.sampler.new { simulator = sim, seed = seed, batch = count, cache = cache }
  if not made then error(why, 0) end
  local z, x = made:next()
  return z, x, cache
end

return tasks
