-- The bench's arithmetic and its workers, and the bench itself on a small workload without any peer.
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

  it("knows no workload that is not there", function()
    local output, code = helper.run(helper.lua_command("spec/bench/run.lua", "--only", "knitting"))
    assert.is_true(code ~= 0)
    assert.matches("no workload", output)
  end)
end)
