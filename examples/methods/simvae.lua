--- SimVAE through the public interface: the decoder learns from all pairs of parameters and output (eq. 3), then the
-- encoder. With paper = true by the paper's recipe, through the frozen decoder and without labels (eq. 4); else the
-- default: a flow posterior by likelihood, on the simulator's own pairs.
local support = require "methods.support"
local sv = require "simvae"

local simvae = {}

-- The declarations of a simulator's parameters.
local function declared(params)
  local list = {}
  for i, p in ipairs(params) do
    list[i] = { name = p.name, low = p.low, high = p.high, unit = p.unit, scale = p.scale, period = p.period,
      levels = p.levels, grid = p.grid }
  end
  return list
end

--- A simulator whose prior is a pool: draws are the pool's samples.
-- @tparam Pool pool
-- @treturn Simulator
function simvae.pooled(pool)
  local sim = pool.sim
  return sv.simulator {
    name = sim.name, params = declared(sim.params), output = sim.output, correlated = sim.correlated,
    prior = function(rng) return pool.rows[rng:integer(1, pool.count)] end,
    batch = function(z, out) out:copy(sim:run(z)) end,
  }
end

--- Trains it: both stages for the run's steps.
-- @tparam Run run
-- @tparam ?table options paper (false)
-- @treturn table answer
function simvae.train(run, options)
  local paper = options and options.paper or false
  local model = sv.model { simulator = simvae.pooled(run.pool), net = run.net, width = run.width, seed = run.seed,
    posterior = paper and "gaussian" or "flow" }
  model:train {
    recipe = paper and "paper" or "default", batch = run.batch, quiet = true,
    decoder = { steps = run.steps }, encoder = { steps = run.steps, labels = not paper and 1 or nil },
    on_step = function(stage, step, loss)
      local at = stage == "decoder" and step or run.steps + step
      run.curves[at] = { at, loss }
      if run.watch then run.watch(at, 2 * run.steps, loss) end
    end,
  }
  local answer = run:named(nil)
  answer.latents = support.batched(function(x) return (model:encode(x)) end)
  answer.decode = support.batched(function(v) return model:decode(v) end)
  return answer
end

return simvae
