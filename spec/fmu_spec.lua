-- FMUs: validated and simulated by FMPy, and compared with model:decode and the engine's gradients; both versions of
-- FMI, both types of interface.
local core = require "simvae.core"
local files = require "simvae.io"
local graph_module = require "simvae.export.support.graph"
local helper = require "spec.helper"
local npz = require "simvae.io.npz"
local sv = require "simvae"
local units = require "simvae.export.support.units"

local N = 3
local TOLERANCE = 1e-5   -- of the largest number
local DERIVATIVES = 1e-3 -- of the largest derivative
local KINDS = { "CoSimulation", "ModelExchange" }

local folder = helper.temporary_folder()

local function python()
  local program, why = helper.python("fmpy", "lxml", "numpy")
  if not program then return nil, pending(why) end
  if not helper.have "cc" then return nil, pending "no C compiler" end
  return program
end

local function trained(options, steps)
  local model = sv.model(options)
  model:train { batch = 16, simulations = 256, decoder = { steps = steps or 20 }, encoder = { steps = 1 }, quiet = true,
    held_out = 0 }
  return model
end

-- A damped oscillation, over time in milliseconds: at 21 points.
local decay = sv.simulator {
  name = "decay", output = { 42 }, doc = "a damped oscillator, released at 1 m",
  params = { { name = "frequency", low = 1, high = 3, unit = "Hz" },
    { name = "rate", low = 0.5, high = 2, unit = "1/s", scale = "log" } },
  series = { { name = "x", unit = "m" }, { name = "v", unit = "m/s" },
    axis = { name = "time", unit = "ms", low = 100, high = 1100 } },
  simulate = function(z, out)
    for i = 1, 21 do
      local t, w = 0.1 + (i - 1) / 20, 2 * math.pi * z.frequency
      local size = math.exp(-z.rate * t)
      out:set(size * math.cos(w * t), i)
      out:set(-w * size * math.sin(w * t), 21 + i)
    end
  end,
}

-- Parameters of every kind, and a name that FMI's naming convention of arrays does not allow.
local mixed = sv.simulator {
  name = "mixed 1", output = { 12 },
  params = {
    { name = "a", prior = { "normal", 1, 2 } }, { name = "b", low = 0.01, high = 10, scale = "log", unit = "µm" },
    { name = "an angle", low = 0, high = 360, period = 360, unit = "deg" }, { name = "kind", levels = 3 },
    { name = "f", prior = { "gamma", 2, 3 }, unit = "px" }, { name = "output", low = 0, high = 1, grid = 5 },
  },
  simulate = function(z, out)
    local angle = math.rad(z["an angle"])
    for i = 1, 12 do
      out[i] = z.a * math.cos(i / 4) + math.log(z.b) * math.sin(i / 3) + math.cos(angle + i) + z.output * i / 4
        + (i % 3 + 1 == z.kind and 1 or 0) + math.log(z.f) * i / 12
    end
  end,
}

local dot = sv.simulator {
  name = "dot", output = { 1, 12, 10 },
  params = { { name = "x", low = 2, high = 8, unit = "px" }, { name = "y", low = 2, high = 8, unit = "px" } },
  simulate = function(z, out) sv.draw(out):clear(1):circle(z.x, z.y, 2, { stroke = 0, width = 1 }) end,
}

local function picture_net(t)
  local nn = sv.nn
  local decoder = nn.sequential { nn.linear(t.code, 5 * 3 * 3), nn.tanh(), nn.reshape { 5, 3, 3 },
    nn.conv_transpose2d(5, 7, 3, { stride = 3, padding = 2, output_padding = 2 }), nn.batch_norm(7), nn.relu(),
    nn.func(function(x) return sv.pad(sv.upsample2d(x, 2), { 1, 0, 0, 1 }, 0.5) end),
    nn.conv2d(7, 1, 5, { padding = 1 }), nn.func(function(x) return sv.slice(sv.slice(x, 3, 1, 12), 4, 2, 11) end) }
  return decoder, nn.sequential { nn.reshape { 120 }, nn.linear(120, t.heads) }
end

-- ---- what the model gives -----------------------------------------------------------------------------------

-- Directions of a tenth of the range; classes stay.
local function directions(sim, rng)
  local columns = {}
  for k, p in ipairs(sim.params) do
    local range = p.levels and 0 or ((p.axis or p).high - (p.axis or p).low) / 10
    columns[k] = rng:normal(0, 1, { N, 1 }) * range
  end
  return core.concat(columns, 2)
end

-- Derivatives of the outputs in the directions: of each number by the engine's gradient. numbers: which.
local function gradients(model, z, dz, numbers)
  local rows = {}
  for j, at in ipairs(numbers) do
    local tape <close> = sv.tape()
    local given = sv.parameter(core.buffer(z))
    local x = model.loss:to_output(model.decoder(units.to_code(model.latent, given)))
    tape:backward(sv.sum(sv.slice(sv.reshape(x, N, -1), 2, at, at)))
    rows[j] = core.buffer(core.reshape(core.sum(given.grad * dz, 2), N, 1))
  end
  return core.concat(rows, 2)
end

-- (N, …) at the points of a series, as (N, series) at a place of the axis from 0 to 1.
local function at_place(x, series, share)
  local points = x.shape[2] // series
  local place = share * (points - 1)
  local first = math.min(math.floor(place), points - 2)
  local values = core.reshape(x, N, series, points)
  local low, high = core.slice(values, 3, first + 1, first + 1), core.slice(values, 3, first + 2, first + 2)
  return core.reshape(low + (high - low) * (place - first), N, series)
end

local function add(name, model, o)
  for fmi = 2, 3 do
    local path = string.format("%s/%s%d.fmu", folder, name, fmi)
    local _, about = assert(sv.export.fmu(model, path, { fmi = fmi, series = o and o.series }))
    assert.is_nil(about.notice)
    assert.truthy(about.derivatives and about.binary)
    local z, dz = model.simulator:sample(N, sv.rng(3)), directions(model.simulator, sv.rng(4))
    assert(files.save_npz(string.format("%s/%s%d.npz", folder, name, fmi), { z = z, dz = dz }))
  end
end

local function near(wanted, got, tolerance, what)
  local far = graph_module.difference(core.reshape(got, -1), core.reshape(wanted, -1))
  assert(far <= tolerance, string.format("%s: %.3g", what, far))
end

-- What FMPy found of an exported model. series: how many, over time.
local function compare(name, model, series)
  for fmi = 2, 3 do
    local case = assert(npz.load(string.format("%s/%s%d.npz", folder, name, fmi)))
    local x = core.reshape(model:decode(case.z), N, -1)
    local numbers = {}
    for i = 1, x.shape[2] do numbers[i] = i end
    local slopes = gradients(model, case.z, case.dz, numbers)
    for _, kind in ipairs(KINDS) do
      local what = string.format("%s%d %s", name, fmi, kind)
      local got = assert(npz.load(string.format("%s/%s.%s%d.npz", folder, kind, name, fmi)))
      local times = got.time:totable()
      assert(#times >= 8, what)
      for i, t in ipairs(times) do
        local share = (t - times[1]) / (times[#times] - times[1])
        near(series and at_place(x, series, share) or x, core.slice(got.x, 2, i, i), TOLERANCE, what)
      end
      near(series and at_place(slopes, series, 1) or slopes, got.dx, DERIVATIVES, what .. ", derivatives")
    end
  end
end

-- ---- specs ---------------------------------------------------------------------------------------------------

describe("sv.export.fmu", function()
  it("gives what model:decode gives: vectors, functions of time, images", function()
    local program = python()
    if not program then return end
    local rlc = require "simvae.simulators.rlc" { engine = "analytic" }
    local models = {
      rlc = trained { simulator = rlc, width = 16, posterior = "gaussian" },
      decay = trained { simulator = decay, width = 8, posterior = "gaussian" },
      mixed = trained { simulator = mixed, width = 8, posterior = "flow", transforms = 1 },
      dot = trained { simulator = dot, net = picture_net, posterior = "gaussian" },
    }
    for name, model in pairs(models) do add(name, model) end
    local output, code = helper.run(program .. " spec/fixtures/run_fmu.py " .. folder)
    assert.same(0, code, output)
    for name, model in pairs(models) do compare(name, model, name == "decay" and 2 or nil) end
  end)

  -- A member of what simvae.io.zip wrote, inflated by gzip.
  local function inflated(packed, crc, size)
    helper.write(folder .. "/member.gz", "\x1f\x8b\8\0\0\0\0\0\0\3" .. packed .. string.pack("<I4I4", crc, size))
    local out, code = helper.run(string.format("gzip -dc %s/member.gz > %s/member", folder, folder))
    assert.equal(0, code, out)
    return helper.read(folder .. "/member")
  end

  local function unpacked(path, name)
    local bytes = helper.read(path)
    local at = 1
    while bytes:sub(at, at + 3) == "PK\3\4" do
      local method, crc, packed, size, name_length, extra = string.unpack("<I2xxxxI4I4I4I2I2", bytes, at + 8)
      local start = at + 30 + name_length + extra
      if bytes:sub(at + 30, at + 29 + name_length) == name then
        local data = bytes:sub(start, start + packed - 1)
        return method == 8 and inflated(data, crc, size) or data
      end
      at = start + packed
    end
  end

  local small = sv.model { simulator = decay, width = 8, posterior = "gaussian", seed = 1 }

  it("describes names, units, bounds and classes", function()
    local path = folder .. "/described.fmu"
    local _, about = assert(sv.export.fmu(small, path, { compiler = "none" }))
    assert.matches("compiler = \"none\"", about.notice)
    assert.is_nil(about.binary)
    assert.equal("time", about.time)
    local text = unpacked(path, "modelDescription.xml")
    for _, part in ipairs {
      '<Float64 name="frequency" valueReference="1" causality="input" variability="continuous" unit="Hz" min="1" '
        .. 'max="3" start="2"/>', '<BaseUnit m="1" s="-1"/>', 'startTime="0.1', 'stopTime="1.1',
      'unit="s" description="the axis', 'instantiationToken="' .. about.token .. '"' } do
      assert(text:find(part, 1, true), part .. "\n" .. text)
    end
    assert.is_nil(text:find "Dimension")
    assert(sv.export.fmu(small, path, { compiler = "none", series = "array", overwrite = true }))
    text = unpacked(path, "modelDescription.xml")
    assert.matches('name="v" [^>]*>%s*<Dimension start="21"/>', text)
    local model = sv.model { simulator = mixed, width = 8, posterior = "flow", transforms = 1 }
    assert(sv.export.fmu(model, path, { compiler = "none", fmi = 2, overwrite = true }))
    text = unpacked(path, "modelDescription.xml")
    assert.matches('name="kind" [^>]*variability="discrete"[^>]*>%s*<Integer min="1" max="3" start="2"/>', text)
    assert.matches('variableNamingConvention="flat"', text)
    assert.matches('<BaseUnit m="1" factor="9.99999[0-9]*e%-07"/>', text)
    assert.matches('<Unit name="px"/>', text)
    assert.matches('name="output_2%[12%]"', text)
    assert.matches('<Unknown index="19"/>', text)
    assert.is_nil(text:find('min="-inf', 1, true))
  end)

  it("gives equal bytes for equal models, and other tokens for others", function()
    local a, b = folder .. "/a.fmu", folder .. "/b.fmu"
    local _, first = assert(sv.export.fmu(small, a))
    assert(sv.export.fmu(small, b))
    assert(helper.read(a) == helper.read(b))
    local other = sv.model { simulator = decay, width = 8, posterior = "gaussian", seed = 2 }
    local _, second = assert(sv.export.fmu(other, b, { overwrite = true, compiler = "none" }))
    assert.are_not.equal(first.token, second.token)
  end)

  it("is deflated", function()
    local path = folder .. "/deflated.fmu"
    assert(sv.export.fmu(small, path, { compiler = "none", overwrite = true }))
    assert(#unpacked(path, "sources/decay.c") > 2 * #helper.read(path))
  end)

  it("has sources that compile strictly, with and without a prefix of names", function()
    for _, compiler in ipairs { "gcc", "clang" } do
      for fmi = 2, helper.have(compiler) and 3 or 1 do
        local path, own = folder .. "/strict.fmu", string.format("%s/%s%d", folder, compiler, fmi)
        assert(core.system.mkdir(own))
        assert(sv.export.fmu(small, path, { fmi = fmi, compiler = "none", overwrite = true }))
        for _, name in ipairs { "decay.h", "decay.c", "decay_fmi.c" } do
          helper.write(own .. "/" .. name, (assert(unpacked(path, "sources/" .. name))))
        end
        local output, code = helper.run(string.format("cd %s && %s -std=c99 -Wall -Wextra -Wpedantic -Werror "
          .. "-c decay.c decay_fmi.c && %s -std=c99 -DFMI%d_FUNCTION_PREFIX=my_ -c decay_fmi.c -o own.o "
          .. "&& nm decay_fmi.o own.o", own, compiler, compiler, fmi))
        assert.equal(0, code, output)
        assert.matches(" T fmi" .. fmi .. "DoStep", output)
        assert.matches(" T my_fmi" .. fmi .. "DoStep", output)
        assert.is_nil(output:find "malloc" or output:find "printf")
      end
    end
  end)

  it("warns of inputs outside their bounds, and survives misuse", function()
    if not helper.have "cc" then return pending "no C compiler" end
    local path, own = folder .. "/misuse.fmu", folder .. "/misuse"
    assert(core.system.mkdir(own))
    local _, about = assert(sv.export.fmu(small, path, { compiler = "none" }))
    for _, name in ipairs { "decay.h", "decay.c", "decay_fmi.c" } do
      helper.write(own .. "/" .. name, (assert(unpacked(path, "sources/" .. name))))
    end
    local output, code = helper.run(string.format("cc -std=c99 -g -Wall -Wextra -Werror -fsanitize=address,undefined "
      .. "-fno-sanitize-recover=all %s/decay.c %s/decay_fmi.c spec/fixtures/fmu_driver.c -o %s/driver -lm "
      .. "&& ASAN_OPTIONS=detect_leaks=1 LD_PRELOAD= %s/driver %s", own, own, own, own, about.token))
    assert.equal(0, code, output)
  end)

  it("refuses what it is not, and says what is missing", function()
    local path = folder .. "/refused.fmu"
    helper.raises("an FMU is of what = \"decode\" alone; got \"encode\"", sv.export.fmu, small, path,
      { what = "encode" })
    helper.raises("got \"decode\", \"encode\"", sv.export.fmu, small, path, { what = { "decode", "encode" } })
    helper.raises("path ends in \".fmu\"", sv.export.fmu, small, folder .. "/refused.zip")
    helper.raises("fmi", sv.export.fmu, small, path, { fmi = 1 })
    helper.raises("takes a model", sv.export.fmu, 1, path)
    local plain = sv.model { simulator = dot, width = 2, net = picture_net, posterior = "gaussian" }
    helper.raises("series = \"time\", and the simulator declares no series", sv.export.fmu, plain, path,
      { series = "time" })
    local found, why = sv.export.fmu(small, path, { compiler = "no-such-compiler" })
    assert.is_nil(found)
    assert.matches("no%-such%-compiler", why)
    found, why = sv.export.fmu(small, folder .. "/none/a.fmu", { compiler = "none" })
    assert(found == nil and why:find "none/a.fmu", why)
    assert.is_nil(io.open(path))
    assert(sv.export.fmu(small, path, { compiler = "none" }))
    found, why = sv.export.fmu(small, path, { compiler = "none" })
    assert(found == nil and why:find "exists already; overwrite = true", why)
  end)

  it("exports without derivatives where an op has no rule", function()
    local function net(t)
      local nn = sv.nn
      return nn.sequential { nn.linear(t.code, 42), nn.func(function(x)
        return x - sv.max(x, 2, true)
      end) }, nn.linear(42, t.heads)
    end
    local model = sv.model { simulator = decay, net = net, posterior = "gaussian" }
    local path = folder .. "/max.fmu"
    local _, about = assert(sv.export.fmu(model, path, { compiler = "none" }))
    assert.is_false(about.derivatives)
    assert.matches("without directional derivatives: op 'max' has no rule", about.notice)
    assert.matches('providesDirectionalDerivatives="false"', unpacked(path, "modelDescription.xml"))
  end)
end)

describe("tangents of graphs", function()
  it("are the engine's derivatives, of every op with a rule", function()
    local tangent = require "simvae.export.support.tangent"
    local function net(t)
      local nn = sv.nn
      local norm = { scale = sv.parameter(sv.rng(2):normal(1, 0.1, { 6 })),
        shift = sv.parameter(sv.rng(3):normal(0, 1, { 6 })) }
      local decoder = nn.sequential { nn.linear(t.code, 12), nn.func(function(x)
        local a, b = sv.slice(x, 2, 1, 6), sv.slice(x, 2, 7, 12)
        local p = sv.abs(b) + 0.5
        local rows = { sv.maximum(a, b), sv.minimum(a, 0.1), sv.pow(p, a), sv.atan2(a, p), sv.sqrt(p), sv.log(p),
          sv.exp(-a), sv.sin(a), sv.cos(b), sv.clamp(a, -0.3, 0.4), sv.softplus(a), sv.silu(b), sv.gelu(a),
          sv.leaky_relu(b, 0.2), sv.tanh(a), sv.sigmoid(b), sv.normal_cdf(a), sv.normal_quantile(sv.sigmoid(b)),
          sv.softmax(a, 2), sv.log_softmax(b, 2), sv.square(a) / p, sv.layer_norm(a, norm.scale, norm.shift),
          a - sv.mean(b, 2, true), a * sv.sum(b, 2, true) - sv.floor(a),
          sv.reshape(sv.matmul(sv.reshape(a, -1, 2, 3), sv.permute(sv.reshape(b, -1, 2, 3), 1, 3, 2)), -1, 4) }
        return sv.slice(sv.concat(rows, 2), 2, 1, 148)
      end) }
      return decoder, nn.linear(148, t.heads)
    end
    local sim = sv.simulator { name = "rules", output = { 148 },
      params = { { name = "a", low = -1, high = 1 }, { name = "b", prior = { "gamma", 2, 3 } } },
      simulate = function(z, out) for i = 1, 148 do out:set(z.a * i + z.b, i) end end }
    local model = sv.model { simulator = sim, net = net, posterior = "gaussian" }
    local z, dz = sim:sample(N, sv.rng(3)), directions(sim, sv.rng(4))
    local numbers = {}
    for i = 1, 148 do numbers[i] = i end
    local g = assert(tangent(sv.export.graph(model)[1]))
    near(gradients(model, z, dz, numbers), g:run({ z, dz })[1], DERIVATIVES, "tangents")
  end)
end)
