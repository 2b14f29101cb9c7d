-- simvae slurm on a real Slurm: slurmctld and slurmd of one node with two CPUs, on this machine.
local helper = require "spec.helper"
local assert = require "luassert"
local core = require "simvae.core"
local json = require "simvae.io.json"
local simvae = require "spec.fixtures.simvae"
local slurm = require "spec.fixtures.slurm"

local folder, run, write = simvae.folder, simvae.run, simvae.write

-- 20 ms a sample in tasks of an array, quick elsewhere; fails in a tenth of the prior.
local slow = [[
local sv = require "simvae"
local seconds = os.getenv "SLURM_ARRAY_TASK_ID" and 0.02 or 0
local simulator = sv.simulator {
  name = "slow", output = { 40 }, noise = 0.1,
  params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 0, high = 10 } },
  simulate = function(z, out, rng)
    require("simvae.core").system.sleep(seconds)
    if z.a > 0.8 then return false, "too steep" end
    for i = 1, 40 do out[i] = z.a * i + z.b * rng:normal() end
  end,
}
return { simulator = simulator, posterior = "gaussian", width = 4, refine = { samples = 2, steps = 1 } }
]]

local N = 400

local function read(name) return helper.read(folder .. "/" .. name) end

local function status(name) return json.decode((simvae.output("status", name, "--json"))) end

describe("simvae slurm", function()
  local missing = slurm.missing()
  local cluster, env

  setup(function()
    write("slow.lua", slow)
    if missing then return end
    cluster = slurm.start(2)
    env = simvae.on_path()
  end)

  teardown(function()
    if cluster then cluster:stop() end
  end)

  local function slurm_run(command)
    local out, code = cluster:run(env .. command)
    assert.equal(0, code, command .. "\n" .. out)
    return out
  end

  local function wait_for(state, job)
    slurm.wait(60, function() return cluster:state(job) == state end, function()
      return job .. " to be " .. state .. ":\n" .. cluster:run("scontrol show job " .. job) .. "\n"
        .. cluster:run("tail -n 20 " .. cluster.folder .. "/*.log " .. folder .. "/shards/*.log")
    end)
  end

  it("draws what one process draws, whatever is killed and requeued, and trains on it", function()
    if missing then return pending(missing) end
    local jobs = slurm_run("simvae slurm slow.lua -n 400 --tasks 2 --out shards --submit "
      .. "--train='--steps 3 --samples 500 --quiet'")
    local job, following = jobs:match "^(%d+)\n(%d+)\n"
    slurm.wait(60, function()
      local s = status "shards"
      return s and s.shards[1].done > 10 and s.shards[2].done > 10 and s.rate > 0
    end, "samples of both tasks")
    local s = status "shards"
    assert.same({ running = 2 }, s.states)
    assert.is_true(s.rate < 100 and s.left > 1)

    -- the first is cancelled and requeued by hand
    slurm_run("scancel " .. job .. "_1")
    wait_for("CANCELLED", job .. "_1")
    slurm_run("scontrol requeue " .. job .. "_1")
    -- the second is told that its time is nearly over, and requeues itself
    slurm_run("scancel --signal=TERM " .. job .. "_2")
    for task = 1, 2 do
      wait_for("PENDING", job .. "_" .. task)
      slurm_run("scontrol update JobId=" .. job .. "_" .. task .. " StartTime=now+2") -- else two minutes later
    end
    assert.equal("interrupted", status "shards".shards[2].state)
    -- once more, killed by the system
    slurm.wait(60, function() return status "shards".shards[2].state == "running" end, "the second task")
    helper.run("kill -KILL " .. status "shards".shards[2].pid)
    wait_for("FAILED", job .. "_2")
    s = status "shards"
    assert.equal("killed", s.shards[2].state)
    assert.is_true(s.shards[2].done < N // 2)
    slurm_run("scontrol requeue " .. job .. "_2 && scontrol update JobId=" .. job .. "_2 StartTime=now+2")
    wait_for("COMPLETED", job .. "_1")
    wait_for("COMPLETED", job .. "_2")
    wait_for("COMPLETED", following)

    s = status "shards"
    assert.equal(N, s.done)
    assert.equal(2, s.states.done)
    assert.is_true(s.failed > 10 and s.failures:find "too steep" ~= nil)
    local out, code = run("simulate", "slow.lua", "-n", "400", "-o", "whole.npz", "--cache", "whole.samples")
    assert.equal(0, code, out)
    local whole = read "whole.samples" -- to which the training has appended
    assert.is_true(read "shards/data.samples":sub(1, #whole) == whole)
    out, code = run("merge", "shards", "-o", "merged.npz")
    assert.equal(0, code, out)
    assert.is_true(read "whole.npz" == read "merged.npz")
    assert.equal("file", core.system.kind(folder .. "/runs/slow/report.html"))
  end)
end)
