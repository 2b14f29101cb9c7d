local helper = require "spec.helper"
local sv = require "simvae"

-- References: observations, true parameters and posterior samples of the benchmark sbibm, not ours.
local data, why = helper.shared_data()
local folder = data and data .. "/sbibm"

local function array(name) return assert(sv.io.load_npy(folder .. "/" .. name)) end

local function task(name)
  local t = dofile("spec/bench/sbibm/" .. name .. ".lua")
  return type(t) == "function" and t(array "bernoulli_glm_stimulus.npy") or t
end

local tasks = { "two_moons", "slcp", "gaussian_linear", "gaussian_linear_uniform", "gaussian_mixture", "bernoulli_glm",
  "sir", "lotka_volterra" }

-- Mean and standard deviation of each output at some parameters.
local function moments(sim, z, n)
  local x = sim:run(sv.expand(z:reshape(1, #sim.params), n, #sim.params), sv.rng(5))
  return sv.mean(x, 1):totable(), sv.sqrt(sv.var(x, 1)):totable()
end

describe("the tasks of sbibm", function()
  if not folder then
    return it("are checked against its data", function() pending(why) end)
  end
  for _, name in ipairs(tasks) do
    it(name .. ": what was observed is a likely draw at the true parameters", function()
      local sim, off, count = task(name), 0, 0
      for k = 1, 5 do
        local z, x = array(name .. "/" .. k .. "/true_parameters.npy"), array(name .. "/" .. k .. "/observation.npy")
        local mean, std = moments(sim, z, 200)
        for i, v in ipairs(x:reshape(-1):totable()) do
          if std[i] > 0 then
            off, count = off + ((v - mean[i]) / std[i]) ^ 2, count + 1
          else
            assert.near(v, mean[i], 1e-4)
          end
        end
      end
      -- the mean of squared standard scores is 1, give or take its spread (heavy tails: gaussian_mixture, sir)
      assert.is_true(off / count > 0.1 and off / count < 2.5, string.format("%.3f over %d", off / count, count))
    end)

    it(name .. ": the reference posterior lies within the prior's bounds", function()
      local sim = task(name)
      local low, high = sv.min(array(name .. "/1/reference.npy"), 1), sv.max(array(name .. "/1/reference.npy"), 1)
      for i, p in ipairs(sim.params) do assert.is_true(low:get(i) >= p.low and high:get(i) <= p.high, p.name) end
      assert.same({ 1, #sim.params }, sim:sample(1, sv.rng(1)).shape)
    end)
  end
end)
