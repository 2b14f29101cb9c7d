-- The benchmark's statistics and workers, and a run of a small workload without peers.
local helper = require "spec.helper"
local core = require "simvae.core"
local sv = require "simvae"
local measure = dofile "spec/bench/measure.lua"
local worker = dofile "spec/bench/worker.lua"
local workloads = dofile "spec/bench/workloads.lua"

describe("bench", function()
  it("summarises by median and quartiles", function()
    local s = measure.summary { 4, 1, 3, 2 } -- numpy.percentile([4, 1, 3, 2], [25, 50, 75])
    assert.same({ 1.75, 2.5, 3.25 }, { s.low, s.median, s.high })
    assert.same({ 7, 7, 7 }, { measure.summary({ 7 }).low, measure.summary({ 7 }).median, measure.summary({ 7 }).high })
  end)

  it("compares numbers, and takes a missing one or NaN for a difference", function()
    assert.near(0.1, measure.difference({ 1, 11 }, { 1, 10 }), 1e-12)
    assert.near(1, measure.difference({ 1, 11 }, { 1, 10 }, true), 1e-12)
    assert.equal(math.huge, measure.difference({ 1 }, { 1, 10 }))
    local d = measure.difference({ 0 / 0, 10 }, { 1, 10 })
    assert.is_true(d ~= d)
  end)

  it("counts a training step's products as its networks have them", function()
    -- a weight takes part in one product for each sample and place: of a convolution's output, of a
    -- transposed one's input
    local places = { decoder = { 1, 16, 64, 256, 1024 }, encoder = { 1024, 256, 64, 16, 1 } }
    local batch, width = 2, 8
    local decoder, encoder = sv.nets.dcgan { code = 4, heads = 8, output = { 3, 64, 64 }, width = width }
    local function products(net, where)
      local list = {}
      for _, p in ipairs(net:parameters()) do
        if p.ndim > 1 then list[#list + 1] = 2 * batch * p.count * where[#list + 1] end
      end
      local total = 0
      for _, v in ipairs(list) do total = total + v end
      return total, list[1]
    end
    local down, first_down = products(decoder, places.decoder)
    local up, first_up = products(encoder, places.encoder)
    assert.equal(3 * down - first_down, workloads.dcgan_flops(1, width, batch))
    assert.equal(2 * down + 3 * up - first_up, workloads.dcgan_flops(2, width, batch))
    assert.equal(2 * 5 * (2 * 3 * 7 + 3 * 7 * 2), workloads.mlp_flops({ 3, 7, 2 }, 5))
  end)

  -- A worker that answers as told: answers[request](…), "" where there is none.
  local function fake(answers)
    return { said = {}, ask = function(self, what, ...)
      table.insert(self.said, what)
      if not answers[what] then return "" end
      return answers[what](...)
    end }
  end

  local function whole(ours, peer, rounds, budget)
    local forms = {
      mine = { worker = "simvae", form = "all", label = "mine" },
      slow = { worker = "peer", form = "slow", label = "slow" },
      fast = { worker = "peer", form = "fast", label = "fast" },
    }
    local work = { name = "w", measure = "whole", goal = 0.5, every = 10, tolerance = 1e-3, targets = {},
      forms = { "mine", "slow", "fast" }, beside = { name = "step", targets = {} } }
    local o = { fresh = rounds, budget = budget, skip = function() end }
    local workers = { simvae = ours, peer = peer }
    return measure.run(work, forms, o, function(name) return workers[name], "not here" end)
  end

  it("times a run until its goal, for simvae and the faster form of a peer", function()
    local migs, at = { 0.2, 0.6, 0.3, 0.4, 0.55, 0.4, 0.45, 0.5, 0.1, 0.2, 0.3 }, 0
    local ours = fake {
      check = function() return "1 2" end,
      run = function(_, _, steps) return tostring(0.1 * steps) end,
      mig = function()
        at = at + 1
        return tostring(migs[at])
      end,
    }
    local peer = fake {
      check = function() return "1 2.0001" end,
      run = function(_, form, steps) return tostring((form == "fast" and 0.2 or 0.3) * steps) end,
    }
    local result, beside = whole(ours, peer, 2, { 20, 30 })
    local mine, slow, fast = table.unpack(result.forms)
    -- seed 1: fast ends at 0.6, mine at 0.55; seed 2: fast ends at 0.5, mine never
    assert.equal(#migs, at)
    assert.same({ "8.0", "10.0" }, { string.format("%.1f", fast.samples[1]), string.format("%.1f", fast.samples[2]) })
    assert.equal(1, #mine.samples)
    assert.near(5, mine.median, 1e-9)
    assert.matches("2 of 2 runs got to MIG 0.5: 0.600, 0.500 after 20, 30 steps of the encoder", fast.note, 1, true)
    assert.matches("1 of 2 runs got to MIG 0.5: 0.550, 0.300 after 30, 30 steps of the encoder", mine.note, 1, true)
    assert.equal("left out: 300.0 ms a step in a trial, fast 200.0 ms", slow.missing)
    assert.near(0.1, beside.forms[1].median, 1e-9)
    assert.near(0.2, beside.forms[3].median, 1e-9)
    assert.equal(slow.missing, beside.forms[2].missing)
    assert.near(5e-5, fast.difference, 1e-9)
    assert.is_false(fast.wrong)
  end)

  it("says what a training led to, and why one could not be", function()
    local work = { name = "m", measure = "outcome", workload = "m", steps = 7, targets = {},
      forms = { "half", "full" } }
    local forms = { half = { worker = "simvae", form = "bf16", label = "half" },
      full = { worker = "simvae", form = "all", label = "full" } }
    local seeds = {}
    local ours = fake {
      load = function(name, form)
        if form == "bf16" then return nil, "this CPU offers fp32" end
        seeds[#seeds + 1] = name
        return ""
      end,
      check = function(name) return name == "m-7s1" and "0.25" or "0.75" end,
    }
    local o = { fresh = 2, skip = function() end }
    local result = measure.run(work, forms, o, function() return ours end)
    assert.equal("this CPU offers fp32", result.forms[1].missing)
    assert.same({ 0.25, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75 }, result.forms[2].samples) -- one seed says too little
    assert.equal(0.75, result.forms[2].median)
    assert.equal("m-7s1 m-7s2 m-7s3 m-7s4 m-7s5 m-7s6 m-7s7 m-7s8", table.concat(seeds, " "))
    assert.is_nil(result.forms[2].paired)
  end)

  it("compares what trainings led to seed by seed", function()
    local work = { name = "m", measure = "outcome", workload = "m", steps = 7, forms = { "half", "full" },
      targets = { { within = 0.02, of = "full" } } }
    local forms = { half = { worker = "simvae", form = "bf16", label = "half" },
      full = { worker = "simvae", form = "all", label = "full" } }
    local ours = fake { check = function(name, form)
      local seed = tonumber(name:match "%d+$")
      return tostring(seed * (form == "bf16" and 1 + 0.01 * (seed % 3) or 1)) -- ratios 1.01 1.02 1.00 1.01 …
    end }
    local result = measure.run(work, forms, { fresh = 1, skip = function() end }, function() return ours end)
    assert.near(1.01, result.forms[2].paired.median, 1e-9)
    assert.near(1, result.forms[2].paired.low, 0.01)
    assert.matches("seed by seed, of 8 seeds, half is 1.010 of it", result.forms[2].note, 1, true)
    local report = dofile "spec/bench/report.lua"
    local judged = report.values({ about = {}, results = { result } }).results[1].targets[1]
    assert.same({ "within 2% of full's, seed by seed", "+1.0%", true }, { judged.text, judged.value, judged.met })
  end)

  it("names every form that a workload or a target speaks of", function()
    for _, work in ipairs(workloads) do
      local has = {}
      for _, id in ipairs(work.forms) do
        assert.is_table(workloads.forms[id], work.name .. ": " .. id)
        has[id] = true
      end
      for _, target in ipairs(work.targets) do
        for _, id in ipairs(target.than or { target.of }) do assert.is_true(has[id], work.name .. ": " .. id) end
      end
    end
  end)

  it("goes on without a worker that is missing, says no, or dies", function()
    local w, why = worker.start { "simvae-no-such-program" }
    assert.is_nil(w)
    assert.is_string(why)
    w, why = worker.start { "sh", "-c", "printf 'missing\\tno such module\\n'" }
    assert.is_nil(w)
    assert.equal("no such module", why)
    w, why = worker.start { "sh", "-c", "echo broken >&2; exit 3" }
    assert.is_nil(w)
    assert.equal("broken", why)

    w = assert(worker.start { "sh", "-c",
      "printf 'ready\\tsh 1\\n'; read x; printf 'no\\tnot that\\n'; read x; printf 'ok\\t%s\\n' \"$x\"; read x" })
    assert.equal("sh 1", w.versions)
    assert.same({ n = 2, nil, "not that" }, table.pack(w:ask "load"))
    assert.equal("run\t5", w:ask("run", 5))
    local answer
    answer, why = w:ask "run"
    assert.is_nil(answer)
    assert.matches("ended", why)
    assert.is_nil((w:ask "run"))
    w:close()
  end)

  it("runs, and runs without any peer", function()
    local path = os.tmpname()
    local output, code = helper.run(helper.lua_command("spec/bench/run.lua", "--only", "mim", "--rounds", "2",
      "--seconds", "0.001", "--python", "simvae-no-such-python", "--json", path))
    local file <close> = assert(io.open(path))
    local run = require("dkjson").decode(file:read("a"))
    os.remove(path)
    assert.equal(0, code, output)
    assert.matches("\nmim: MIM of 10,000", output)
    assert.matches("target: 5 x NumPy's histogram2d form; not to be said here", output, 1, true)
    assert.matches("\nmissing +numpy: ", output)
    local ours, numpy = run.results[1].forms[1], run.results[1].forms[3]
    assert.equal(2, #ours.samples)
    assert.is_true(ours.median > 0 and ours.median < 5)
    assert.is_nil(numpy.median)
    assert.is_string(numpy.missing)
    assert.matches("simvae " .. core.version, run.about.versions, 1, true)
  end)

  it("knows no workload and no peer that is not there", function()
    local output, code = helper.run(helper.lua_command("spec/bench/run.lua", "--only", "knitting"))
    assert.is_true(code ~= 0)
    assert.matches("no workload", output)
    output, code = helper.run(helper.lua_command("spec/bench/run.lua", "--list", "--without", "compile,jax"))
    assert.is_true(code ~= 0)
    assert.matches("give it once for each", output, 1, true)
  end)
end)
