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

describe("the benchmark of sbibm", function()
  local folder_of_run = helper.temporary_folder()

  -- Runs it without Python, so that simvae is measured alone; what it printed, its exit code.
  local function run(...)
    return helper.run(helper.lua_command("spec/bench/sbibm/run.lua", "--python", "no-such-python", "--work",
      folder_of_run .. "/work", ...))
  end

  it("refuses a folder, tasks, budgets and methods that there are none of", function()
    for _, case in ipairs {
      { "there is no folder 'nowhere'", "--data", "nowhere" },
      { "'two_suns' is none of two_moons, slcp", "--data", ".", "--tasks", "two_moons,two_suns" },
      { "takes whole numbers of 100 or more; got '1e1'", "--data", ".", "--simulations", "1e1" },
      { "'npe' is none of simvae, sbi", "--data", ".", "--methods", "npe" },
      { "--tasks names none", "--data", ".", "--tasks", "," },
      { "no observation of two_moons from 1 to 10", "--data", ".", "--tasks", "two_moons", "--simulations", "100" },
    } do
      local out, code = run(table.unpack(case, 2))
      assert.equal(1, code, out)
      assert.matches(case[1], out, 1, true)
    end
  end)

  it("measures a posterior, keeps the result and goes on from there", function()
    -- the reference: gaussian_linear has the posterior N(x / 2, 0.05 I)
    local rng, place = sv.rng(3), folder_of_run .. "/data/gaussian_linear/2"
    assert(os.execute("mkdir -p " .. helper.quote(place)))
    local x = rng:normal { 1, 10 } * 0.4
    assert(sv.io.save_npy(place .. "/observation.npy", x))
    assert(sv.io.save_npy(place .. "/reference.npy", x * 0.5 + rng:normal { 100, 10 } * math.sqrt(0.05)))
    local words = { "--data", folder_of_run .. "/data", "--tasks", "gaussian_linear", "--simulations", "100", "--steps",
      "2", "--markdown", folder_of_run .. "/table.md" }
    local out, code = run(table.unpack(words))
    assert.equal(0, code, out)
    assert.matches("without peer.py: ", out, 1, true)
    local row = "\n| gaussian_linear | 100 | (0%.%d+) | (0%.%d+) | – | (%d%.%d+) | %d+ | %d+ | –"
    local mean, worst = out:match(row)
    assert.equal(mean, worst, out) -- of one observation
    assert.equal(out:match "\n(| gaussian_linear[^\n]*)", helper.read(folder_of_run .. "/table.md"):match
      "\n(| gaussian_linear[^\n]*)")
    local again = run(table.unpack(words))
    assert.equal(out:match "\n(| gaussian_linear[^\n]*)", again:match "\n(| gaussian_linear[^\n]*)")
  end)
end)
