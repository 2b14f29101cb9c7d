-- ONNX files of models: checked by onnx.checker, run by onnxruntime, and compared with the model's own methods, for the
-- built-in simulators, all posteriors, and models of one's own.
local every_net = require "spec.every_net"
local helper = require "spec.helper"
local core = require "simvae.core"
local files = require "simvae.io"
local sv = require "simvae"

local TOLERANCE = 1e-4 -- of a parameter's range, of an output's largest number, of 1 + the size of log densities
local TAILS = 1e-2     -- draws under priors with a shape: a share next to 1 has few digits in single precision
local BATCHES, DRAWS = { 1, 64 }, 3

local function python()
  local program, why = helper.python("onnx", "onnxruntime", "numpy")
  if not program then return nil, pending(why) end
  return program
end

-- The largest difference of parameters (…, K) as a share of their range.
local function by_range(a, b, sim)
  assert.same(b.shape, a.shape)
  local far, apart = 0, core.max(core.abs(core.reshape(a - b, -1, #sim.params)), 1):totable()
  for k, p in ipairs(sim.params) do
    local ends = p.axis or p
    far = math.max(far, apart[k] / (p.levels and p.levels - 1 or ends.high - ends.low))
  end
  return far
end

-- Of log densities: those of -inf are the same ones.
local function by_size(a, b)
  assert.same(b.shape, a.shape)
  local p, far = core.reshape(a, -1):totable(), 0
  for i, v in ipairs(core.reshape(b, -1):totable()) do
    if p[i] ~= v then far = math.max(far, math.abs(p[i] - v) / (1 + math.abs(v))) end
  end
  return far
end

-- Of outputs: a share of their largest number.
local function by_largest(a, b)
  assert.same(b.shape, a.shape)
  return core.max(core.abs(a - b)):item() / core.max(core.abs(b)):item()
end

-- ---- cases --------------------------------------------------------------------------------------------

-- Inputs of each graph for a batch, and what the model gives.
local function expected(model, n)
  local sim, rng = model.simulator, sv.rng(n)
  local z, x = sv.simulate(sim, n, rng)
  local K = #sim.params
  local several = core.reshape(sim:sample(n * DRAWS, rng), n, DRAWS, K)
  local graphs = sv.export.graph(model, { what = { "encode", "posterior" } })
  local noise = sim.noise_range and core.full((sim.noise_range.low + sim.noise_range.high) / 2, { n })
  local told = noise and { noise = noise } or nil
  local function given(...) return noise and { x, noise, ... } or { x, ... } end
  local u = rng:uniform(0, 1, { n, DRAWS, graphs[2].inputs[#graphs[2].inputs].shape[3] })
  local estimates = graphs[1]:run(given())
  local mean, std = model:encode(x, told)
  if model.head.name ~= "gaussian" or model.members > 1 then mean, std = estimates[1], estimates[2] end
  return {
    decode = { feed = { z = z }, want = { x = model:decode(z) }, by = by_largest },
    encode = { feed = { x = x, noise = noise }, want = { mean = mean, std = std }, by = by_range },
    sample = { feed = { x = x, noise = noise, u = u }, want = { z = graphs[2]:run(given(u))[1] }, by = by_range },
    log_prob = { feed = { x = x, noise = noise, z = several }, by = by_size,
      want = { log_prob = model:posterior(x, told):log_prob(several) } },
  }
end

-- Exports a model into a folder with inputs for all batches; adds what is to be compared to `list`. shaped: there are
-- priors with a shape.
local function export(folder, name, model, list, shaped)
  assert(sv.export.onnx(model, folder .. "/" .. name .. ".onnx", { what = { "decode", "encode", "posterior" } }))
  for _, n in ipairs(BATCHES) do
    for graph, case in pairs(expected(model, n)) do
      case.sim, case.name = model.simulator, string.format("%s/%s.%s.%d", folder, name, graph, n)
      case.tolerance = shaped and graph == "sample" and TAILS or TOLERANCE
      assert(files.save_npz(case.name .. ".npz", case.feed))
      list[#list + 1] = case
    end
  end
end

local function compare(program, folder, list)
  local output, code = helper.run(program .. " spec/fixtures/run_onnx.py " .. folder)
  assert.same(0, code, output)
  local wrong = {}
  for _, case in ipairs(list) do
    local got = assert(files.load_npz(case.name .. ".out.npz"))
    for name, want in pairs(case.want) do
      local far = case.by(got[name], want, case.sim)
      if far ~= far or far >= case.tolerance then
        wrong[#wrong + 1] = string.format("%s, %s: %.2g", case.name, name, far)
      end
    end
  end
  assert.same({}, wrong)
end

local function trained(options, steps)
  local model = sv.model(options)
  model:train { batch = 16, simulations = 256, decoder = { steps = steps }, encoder = { steps = steps }, quiet = true,
    held_out = 0 }
  return model
end

local widths = { box = 4, dsprites = 4, fourier = 4, polygon = 4, rlc = 16 }

-- Parameters of every kind: a prior, a logarithm, a circle, a grid and, with a flow or a mixture, classes.
local function mixed(noise)
  return sv.simulator {
    name = "mixed",
    params = {
      { name = "a", prior = { "normal", 1, 2 } }, { name = "b", low = 0.01, high = 10, scale = "log", unit = "s" },
      { name = "c", low = 0, high = 360, period = 360, unit = "deg" }, { name = "d", low = 0, high = 1, grid = 5 },
      { name = "e", levels = 3 }, { name = "f", prior = { "gamma", 2, 3 } },
    },
    output = { 12 }, noise = noise,
    simulate = function(z, out)
      local angle = math.rad(z.c)
      for i = 1, 12 do
        out[i] = z.a * math.cos(i / 4) + math.log(z.b) * math.sin(i / 3) + math.cos(angle + i) + z.d * i / 4
          + (i % 3 + 1 == z.e and 1 or 0) + math.log(z.f) * i / 12
      end
    end,
  }
end

-- ---- specs -----------------------------------------------------------------------------------------------

describe("sv.export.onnx", function()
  it("gives what the model gives: the built-in simulators, with each posterior", function()
    local program = python()
    if not program then return end
    local folder, list = helper.temporary_folder(), {}
    for name, width in pairs(widths) do
      local sim = require("simvae.simulators." .. name)
      if name == "rlc" then sim = sim { engine = "analytic" } end
      for _, head in ipairs { "gaussian", "mixture", "flow" } do
        export(folder, name .. "_" .. head, trained({ simulator = sim, width = width, posterior = head }, 4), list)
      end
    end
    compare(program, folder, list)
  end)

  it("does so for narrow posteriors, parameters of every kind, levels of noise and ensembles", function()
    local program = python()
    if not program then return end
    local folder, list = helper.temporary_folder(), {}
    local rlc = require "simvae.simulators.rlc" { engine = "analytic", noise = 0.3 }
    export(folder, "rlc_trained", trained({ simulator = rlc, width = 32 }, 500), list)
    for _, head in ipairs { "mixture", "flow" } do
      export(folder, "mixed_" .. head, trained({ simulator = mixed(0.1), width = 16, posterior = head }, 50), list,
        true)
    end
    export(folder, "levels", trained({ simulator = mixed { low = 0.1, high = 0.5 }, width = 16 }, 10), list, true)
    export(folder, "members", trained({ simulator = rlc, width = 8, members = 2 }, 10), list)
    for name, t in pairs { recalibrated_flow = { simulator = mixed(0.1), transforms = 2 },
      recalibrated_mixture = { simulator = rlc, posterior = "mixture" } } do
      t.width = 16
      export(folder, name, trained(t, 50):recalibrate { simulations = 100 }, list, name == "recalibrated_flow")
    end
    compare(program, folder, list)
  end)

  it("writes nets of one's own", function()
    local program = python()
    if not program then return end
    local folder, list = helper.temporary_folder(), {}
    local nn = sv.nn
    local function norms(t)
      return nn.sequential { nn.linear(t.code, 16), nn.layer_norm(16), nn.tanh(), nn.linear(16, t.output[1]) },
        nn.sequential { nn.linear(t.output[1], 24), nn.batch_norm(24), nn.softplus(),
          nn.func(function(x) return sv.concat({ x * 0.5, sv.sort(x, 2) }, 2) end), nn.linear(48, t.heads) }
    end
    local rlc = require "simvae.simulators.rlc" { engine = "analytic" }
    export(folder, "norms", trained({ simulator = rlc, net = norms }, 10), list)
    local function pictures(t)
      return nn.sequential { nn.linear(t.code, 64), nn.reshape { 4, 4, 4 },
          nn.func(function(x) return sv.upsample2d(x, 4) end), nn.conv2d(4, t.output[1], 3, { padding = 1 }) },
        nn.sequential { nn.func(function(x) return sv.avg_pool2d(x, 2) end),
          nn.conv2d(t.output[1], 4, 3, { stride = 2 }), nn.batch_norm(4), nn.leaky_relu(0.1), nn.reshape { 36 },
          nn.linear(36, t.heads) }
    end
    local disc = sv.simulator {
      name = "disc", output = { 1, 16, 16 },
      params = { { name = "x", low = 4, high = 12, unit = "px" }, { name = "r", low = 1, high = 5, unit = "px" } },
      simulate = function(z, out) sv.draw(out):clear(1):circle(z.x, 8, z.r, { stroke = 0, width = 2 }) end,
    }
    export(folder, "pictures", trained({ simulator = disc, net = pictures, posterior = "mixture" }, 10), list)
    compare(program, folder, list)
  end)

  it("writes every net", function()
    local program = python()
    if not program then return end
    local folder, list = helper.temporary_folder(), {}
    every_net.each(function(name, options)
      options.posterior = "mixture"
      export(folder, name, trained(options, 10), list)
    end)
    compare(program, folder, list)
  end)

  local function small(posterior)
    return sv.model { simulator = require "simvae.simulators.rlc" { engine = "analytic" }, width = 8, seed = 5,
      posterior = posterior or "gaussian" }
  end

  it("names inputs and outputs, with units and bounds in texts and metadata", function()
    local program = python()
    if not program then return end
    local path = helper.temporary_folder() .. "/rlc.onnx"
    local written, all = sv.export.onnx(small(), path)
    assert.same({ path, { path } }, { written, all })
    local output = helper.run(program .. " -c " .. helper.quote [[
import json, sys, onnx
m = onnx.load(sys.argv[1])
meta = {p.key: p.value for p in m.metadata_props}
z, x = m.graph.input[0], m.graph.output[0]
columns = json.loads(meta["inputs"])[0]["columns"]
print(m.producer_name, m.producer_version, m.ir_version, m.opset_import[0].version)
print(meta["simulator"], meta["direction"])
print(z.name, [d.dim_param or d.dim_value for d in z.type.tensor_type.shape.dim], z.doc_string)
print(x.name, [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim], x.doc_string)
print([(c["name"], c["unit"], c["low"], c["high"], c["scale"]) for c in columns])
print(json.loads(meta["series"])["axis"]["unit"])
]] .. " " .. path)
    assert.same({
      "simvae " .. core.version .. " 8 17",
      "rlc decode",
      "z ['batch', 3] parameters, in their units: R in ohm, from 10 to 1000; L in H, from 0.001 to 0.1; "
        .. "C in F, from 1e-08 to 1e-06",
      "x ['batch', 122] output of the simulator",
      "[('R', 'ohm', 10, 1000, 'log'), ('L', 'H', 0.001, 0.1, 'log'), ('C', 'F', 1e-08, 1e-06, 'log')]",
      "Hz",
    }, { (output:gsub("\n$", "")):match(("([^\n]*)\n"):rep(5) .. "([^\n]*)") })
  end)

  it("gives the same bytes for the same model", function()
    local folder = helper.temporary_folder()
    local what, names = { what = { "encode", "posterior" } }, { "encode", "sample", "log_prob" }
    local _, first = assert(sv.export.onnx(small "flow", folder .. "/a.onnx", what))
    local _, second = assert(sv.export.onnx(small "flow", folder .. "/b.onnx", what))
    for i, name in ipairs(names) do
      assert.same(folder .. "/a." .. name .. ".onnx", first[i])
      assert(helper.read(first[i]) == helper.read(second[i]), name)
    end
  end)

  it("leaves a file that exists, unless it is to be replaced", function()
    local path = helper.temporary_folder() .. "/rlc.onnx"
    helper.write(path, "mine")
    local value, why = sv.export.onnx(small(), path)
    assert.is_nil(value)
    assert.truthy(why:find("exists already; overwrite = true replaces it", 1, true), why)
    assert.same("mine", helper.read(path))
    assert.same(path, assert(sv.export.onnx(small(), path, { overwrite = true, what = "log_prob" })))
    assert(#helper.read(path) > 1000)
  end)

  it("returns nil and a message for a path that cannot be written", function()
    local path = helper.temporary_folder() .. "/none/rlc.onnx"
    local value, why = sv.export.onnx(small(), path)
    assert.is_nil(value)
    assert.truthy(why:find(path, 1, true), why)
  end)

  it("names an op that has no conversion, and what to do", function()
    local rlc = require "simvae.simulators.rlc" { engine = "analytic" }
    local model = sv.model { simulator = rlc, net = function(t)
      return sv.nn.sequential { sv.nn.linear(t.code, 4), sv.nn.func(function(x)
        local square = sv.reshape(x, -1, 2, 2)
        return sv.reshape(sv.linalg.cholesky(sv.matmul(square, square, { transpose_y = true })
          + sv.tensor { { 1, 0 }, { 0, 1 } }), -1, 4)
      end), sv.nn.linear(4, t.output[1]) }, sv.nn.linear(t.output[1], t.heads)
    end }
    local ok, why = pcall(sv.export.onnx, model, helper.temporary_folder() .. "/a.onnx")
    assert.is_false(ok)
    assert.truthy(why:find("'linalg_cholesky' has no conversion to ONNX", 1, true), why)
    assert.truthy(why:find("simvae/export/support/onnx/ops", 1, true), why)
    assert.truthy(why:find("^spec/onnx_spec.lua") or why:find("onnx_spec.lua:", 1, true), why)
  end)

  it("refuses what is no model, no path, no direction", function()
    helper.raises("export.onnx: takes a model; got", sv.export.onnx, {}, "a.onnx")
    helper.raises("export.onnx: path takes the name of the file; got nil", sv.export.onnx, small())
    helper.raises("what is one of decode, encode, .*; did you mean 'encode'", sv.export.onnx, small(), "a.onnx",
      { what = "encod" })
  end)
end)
