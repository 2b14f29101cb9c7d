--- Exported C: compiled strictly, under sanitizers, and compared with the model.
local core = require "simvae.core"
local every_net = require "spec.every_net"
local graph = require "simvae.export.support.graph"
local helper = require "spec.helper"
local program = require "spec.c_program"
local sv = require "simvae"

local N, M = 3, 4
local TOLERANCE = 1e-5
local ALL = { "decode", "encode", "posterior" }

local folder = helper.temporary_folder()

local function trained(t, steps)
  local model = sv.model(t)
  model:train { decoder = { steps = steps or 3 }, encoder = { steps = steps or 3 }, batch = 8, quiet = true }
  return model
end

local function builtin(name, posterior, net)
  return trained { simulator = require("simvae.simulators." .. name), net = net, posterior = posterior,
    width = net == "mlp" and 4 or 2,
    components = posterior == "mixture" and 2 or nil, transforms = posterior == "flow" and 2 or nil }
end

local pulse = sv.simulator {
  name = "pulse", output = { 12 },
  params = { { name = "t", low = 0.2, high = 0.8, unit = "s" },
    { name = "w", low = 0.02, high = 0.2, scale = "log", unit = "s" }, { name = "kind", levels = 3 },
    { name = "phase", low = 0, high = 360, period = 360 } },
  simulate = function(z, out)
    for i = 1, 12 do out:set(math.exp(-0.5 * ((i / 12 - z.t) / z.w) ^ 2) * z.kind + math.cos(z.phase), i) end
  end,
}

-- Exports a model, and compiles it.
local function exported(model, name, o, t)
  local path = folder .. "/" .. name .. ".c"
  o.overwrite = true
  local written, about = assert(sv.export.c(model, path, o))
  assert.equal(path, written)
  local graphs = sv.export.graph(model, { what = o.what, measurements = o.measurements })
  return program.make(path, about, graphs, t), graphs, about
end

local function check_near(wanted, got, tolerance, what)
  local far = graph.difference(got, core.reshape(wanted, -1))
  assert(far <= tolerance, string.format("%s: %.3g", what, far))
end

-- Compares every function with the graph, which has the model's own numbers.
local function compare(model, name, t)
  local exe, graphs, about = exported(model, name, { what = ALL }, t)
  for _, g in ipairs(graphs) do
    local given = {}
    for k, input in ipairs(g.inputs) do given[k] = input.make({ batch = N, draws = M }, 7) end
    local wanted = g:run(given)
    for k, got in ipairs(program.run(exe, g, given)) do
      check_near(wanted[k], got, TOLERANCE, name .. " " .. g.name .. " " .. g.outputs[k].name)
    end
  end
  return exe, graphs, about
end

local function have(name)
  if not helper.have(name) then return nil, pending("no " .. name) end
  return true
end

describe("exported C", function()
  if not helper.have "gcc" then
    pending "no gcc"
    return
  end

  it("gives what the model gives, of all built-in simulators and posteriors", function()
    local cases = { { "rlc", "flow", "mlp" }, { "rlc", "mixture", "mlp" }, { "fourier", "gaussian", "conv" },
      { "polygon", "gaussian", "dcgan" }, { "box", "mixture", "dcgan" }, { "dsprites", "gaussian", "coordconv" } }
    for _, case in ipairs(cases) do
      local model = builtin(table.unpack(case))
      local exe, graphs = compare(model, table.concat(case, "_"))
      local z = model.simulator:sample(N, sv.rng(3))
      check_near(model:decode(z), program.run(exe, graphs[1], { z })[1], TOLERANCE, case[1] .. " decode")
    end
  end)

  it("gives what every net gives, and series with dilation", function()
    every_net.each(function(name, options)
      options.posterior = "gaussian"
      compare(trained(options), "net_" .. name)
    end)
    local wave = every_net.wave
    compare(trained { simulator = wave, width = 2, posterior = "gaussian", net = function(t)
      local nn, decoder, encoder = sv.nn, sv.nets.conv1d(t)
      return decoder, nn.sequential { nn.reshape { 1, 30 }, nn.conv1d(1, 4, 3, { left = 6, dilation = 3 }),
        nn.relu(), nn.conv_transpose1d(4, 1, 3, { padding = 2, dilation = 2 }), nn.reshape { 30 }, encoder }
    end }, "series")
  end)

  it("gives what model:encode gives of a gaussian posterior, and p:sample of a flow", function()
    local model = trained { simulator = pulse, posterior = "gaussian", width = 8 }
    local x = pulse:run(pulse:sample(N, sv.rng(3)))
    local exe, graphs = compare(model, "gaussian")
    local mean, std = model:encode(x)
    local got = program.run(exe, graphs[2], { x })
    check_near(mean, got[1], TOLERANCE, "mean")
    check_near(std, got[2], TOLERANCE, "std")
    local rlc = builtin("rlc", "flow")
    x = rlc:decode(rlc.simulator:sample(N, sv.rng(3)))
    exe, graphs = exported(rlc, "draws", { what = "posterior" })
    local p, K = rlc:posterior(x), #rlc.simulator.params
    local draws = p:sample(M, sv.rng(2))
    check_near(draws, program.run(exe, graphs[1], { x, sv.rng(2):uniform(0, 1, { N, M, K }) })[1], TOLERANCE, "draws")
    check_near(p:log_prob(draws), program.run(exe, graphs[2], { x, draws })[1], 1e-4, "log_prob")
  end)

  it("is made of nets of one's own", function()
    local function vector_net(t)
      local decoder = sv.nn.func(function(z, own)
        local h = sv.sin(sv.matmul(z, own.a)) * 2 + own.b
        return sv.concat({ sv.slice(h, 2, 1, -1, 2), sv.sort and sv.abs(sv.slice(h, 2, 2, 12, 2)) }, 2)
      end, { a = sv.parameter(sv.rng(1):normal(0, 0.5, { t.code, 12 })),
        b = sv.parameter(sv.rng(2):normal(0, 0.1, { 12 })) })
      local encoder = sv.nn.func(function(x, own)
        local parts = sv.reshape(x, x.shape[1], 2, 6)
        local h = sv.layer_norm(sv.mean(parts, 2), own.scale, own.shift)
        local top = sv.concat({ sv.max(x, 2, true), sv.min(x, 2, true), sv.logsumexp(x, 2, true), sv.var(x, 2, true),
          sv.argmax(x, 2, true), sv.pow(sv.abs(sv.sum(x, 2, true)), 0.5) }, 2)
        local outer = sv.matmul(sv.permute(parts, 1, 3, 2), parts)
        local sorted = sv.concat({ sv.sort(x, 2), sv.reshape(sv.sort(parts, 2), -1, 12) }, 2)
        return sv.matmul(sv.concat({ h, top, sv.softmax(h, 2), sv.log_softmax(h, 2), sv.reshape(outer, -1, 36),
          sorted }, 2), own.c)
      end, { c = sv.parameter(sv.rng(3):normal(0, 0.1, { 84, t.heads })), scale = sv.parameter(sv.ones(6)),
        shift = sv.parameter(sv.zeros(6)) })
      return decoder, encoder
    end
    compare(trained { simulator = pulse, net = vector_net, posterior = "gaussian" }, "own_vector")
    local picture = sv.simulator { name = "dot 2", output = { 1, 12, 10 }, loss = "mse",
      params = { { name = "x", low = 2, high = 8 }, { name = "y", low = 2, high = 8 } },
      simulate = function(z, out) sv.draw(out):clear(1):circle(z.x, z.y, 2, { stroke = 0, width = 1 }) end }
    local function picture_net(t)
      local nn = sv.nn
      local decoder = nn.sequential { nn.linear(t.code, 5 * 3 * 3), nn.tanh(), nn.reshape { 5, 3, 3 },
        nn.conv_transpose2d(5, 7, 3, { stride = 3, padding = 2, output_padding = 2 }), nn.batch_norm(7), nn.relu(),
        nn.func(function(x) return sv.pad(sv.upsample2d(x, 2), { 1, 0, 0, 1 }, 0.5) end),
        nn.conv2d(7, 1, 5, { padding = 1 }), nn.func(function(x) return sv.slice(sv.slice(x, 3, 1, 12), 4, 2, 11) end) }
      local encoder = nn.sequential { nn.conv2d(1, 6, 3, { stride = 2, padding = 2 }), nn.silu(),
        nn.func(function(x) return sv.avg_pool2d(sv.slice(sv.slice(x, 3, 1, 6), 4, 1, 6), 3) end),
        nn.reshape { 24 }, nn.linear(24, t.heads) }
      return decoder, encoder
    end
    local _, _, about = compare(trained { simulator = picture, net = picture_net, posterior = "flow", transforms = 1 },
      "own_picture")
    assert.equal("dot_2", about.prefix)
  end)

  it("takes levels of noise and sets, priors with a shape, grids and members", function()
    local noisy = sv.simulator { name = "noisy", output = { 12 }, noise = { low = 0.01, high = 0.1 },
      params = { { name = "a", prior = { "gamma", 2, 3 } },
        { name = "b", prior = { "normal", 0, 1 }, low = -0.5, high = 2 },
        { name = "c", low = 0, high = 1, grid = 11 } },
      simulate = function(z, out)
        for i = 1, 12 do out:set(math.sin(i * z.a) + i * z.b + z.c, i) end
      end }
    compare(trained { simulator = noisy, posterior = "flow", transforms = 1, width = 8, members = 2 }, "noisy")
    compare(trained { simulator = noisy, posterior = "mixture", components = 2, width = 8 }, "noisy_mixture")
    local of_sets = sv.model { simulator = pulse, width = 8, posterior = "gaussian", set = { low = 2, high = 4 } }
    local exe, graphs = exported(of_sets, "sets", { what = "encode", measurements = 3 })
    local sets = sv.reshape(pulse:run(pulse:sample(3 * N, sv.rng(3))), N, 3, 12)
    check_near((of_sets:encode(sets)), program.run(exe, graphs[1], { sets })[1], TOLERANCE, "sets")
  end)

  it("corrects posteriors as model:recalibrate does", function()
    for name, t in pairs { flow = { transforms = 1 }, mixture = { components = 2 },
      members = { posterior = "flow", transforms = 1, members = 2 } } do
      t.simulator, t.posterior, t.width = pulse, t.posterior or name, 8
      local model = trained(t):recalibrate { simulations = 100 }
      local exe, graphs = compare(model, "recalibrated_" .. name)
      local z = pulse:sample(N, sv.rng(3))
      local x, p = pulse:run(z), model:posterior(pulse:run(z))
      check_near(p:log_prob(z), program.run(exe, graphs[4], { x, z:reshape(N, 1, 4) })[1], 1e-4, name)
    end
  end)

  it("compiles under clang, as C++ and with optimisation", function()
    if not have "clang" then return end
    local model = builtin("rlc", "flow")
    local _, _, about = compare(model, "clang", { compiler = "clang", flags = "-O2" })
    compare(model, "optimised", { flags = "-O3 -march=native" })
    if not have "g++" then return end
    helper.write(folder .. "/user.cpp", string.format('#include "%s"\nint main() { float z[%d] = {}, x[1000], '
      .. "work[1000]; rlc_decode(1, z, x, work); return 0; }\n", about.header:match "[^/]+$", #model.simulator.params))
    local out, code = helper.run(string.format("g++ -Wall -Wextra -Wpedantic -Werror -c %s/user.cpp -o %s/user.o",
      folder, folder))
    assert.equal(0, code, out)
  end)

  it("computes the same numbers with vectors of any length, and without", function()
    local models = { rlc = builtin("rlc", "flow"), polygon = builtin("polygon", "gaussian", "conv"),
      dsprites = builtin("dsprites", "gaussian", "coordconv") }
    for name, model in pairs(models) do
      local found = {}
      for i, flags in ipairs { "-O2", "-O2 -D%s_PORTABLE", "-O1 -D%s_PORTABLE -U__SSE2__ -U__ARM_NEON" } do
        local exe, graphs = exported(model, name, { what = name == "rlc" and ALL or { "decode", "encode" } },
          { flags = flags:format(name:upper()) })
        found[i] = {}
        for g, one in ipairs(graphs) do
          local given = {}
          for k, input in ipairs(one.inputs) do given[k] = input.make({ batch = N, draws = M }, 7) end
          for k, got in ipairs(program.run(exe, one, given)) do found[i][g * 10 + k] = got:totable() end
        end
        assert.same(found[1], found[i], flags)
      end
    end
  end)

  it("keeps its working memory where it is told to, and nothing but that", function()
    local model = builtin("rlc", "gaussian")
    local exe, graphs, about = exported(model, "static", { what = "decode", workspace = "static", prefix = "my_rlc" },
      { static = true, flags = "-O2" })
    assert.same({ "my_rlc_decode" }, about.functions)
    local z = model.simulator:sample(N, sv.rng(3))
    check_near(model:decode(z), program.run(exe, graphs[1], { z })[1], TOLERANCE, "static")
    local symbols = helper.run("nm " .. folder .. "/static.o")
    assert(not symbols:find "malloc" and not symbols:find "printf", symbols)
    for symbol in symbols:gmatch " [TDBR] (%S+)" do
      assert.equal("my_rlc_decode", symbol)
    end
  end)

  it("has weights of bytes, with the error that its header states", function()
    local model = trained({ simulator = require "simvae.simulators.rlc", width = 32, posterior = "gaussian" }, 100)
    local _, _, whole = exported(model, "floats", { what = "decode" })
    local exe, graphs, about = exported(model, "bytes", { what = "decode", int8 = true })
    assert(about.constants < 0.4 * whole.constants)
    local z = model.simulator:sample(64, sv.rng(3))
    local got, wanted = program.run(exe, graphs[1], { z })[1], core.reshape(model:decode(z), -1)
    local far, stated = core.max(core.abs(got - wanted)):item(), about.errors[1][1]
    assert(far > 0 and far < 2 * stated.largest, far .. " " .. stated.largest)
    assert(stated.share < 0.1, stated.share)
    assert(helper.read(about.header):find(string.format("at most %.3g over", stated.largest), 1, true))
    local picture = builtin("box", "gaussian", "dcgan")
    exe, graphs, about = exported(picture, "picture", { what = "decode", int8 = true })
    z = picture.simulator:sample(N, sv.rng(3))
    got, wanted = program.run(exe, graphs[1], { z })[1], core.reshape(picture:decode(z), -1)
    assert(core.max(core.abs(got - wanted)):item() <= 2 * about.errors[1][1].largest + 1e-5)
  end)

  it("says names, units, bounds and sizes", function()
    local path, about = assert(sv.export.c(builtin("rlc", "gaussian"), folder .. "/said.c", { what = "decode" }))
    local text = helper.read(about.header)
    for _, part in ipairs { "0. ", "[", "#define RLC_DECODE_Z ", "#define RLC_DECODE_WORK ", "bytes of constants" } do
      assert(text:find(part, 1, true), part)
    end
    for line in text:gmatch "[^\n]+" do assert(#line <= 120, line) end
    local found, why = sv.export.c(builtin("rlc", "gaussian"), path)
    assert.is_nil(found)
    assert(why:find "exists already; overwrite = true", why)
  end)

  it("compiles for small controllers", function()
    local model = trained { simulator = pulse, width = 8, posterior = "gaussian" }
    local path = folder .. "/small.c"
    assert(sv.export.c(model, path, { what = { "decode", "encode" }, workspace = "static" }))
    assert(sv.export.c(model, folder .. "/small8.c", { what = "decode", int8 = true }))
    local any
    local targets = { ["avr-gcc"] = "-mmcu=atmega328p", ["arm-none-eabi-gcc"] = "-mcpu=cortex-m0 -mthumb" }
    for compiler, flags in pairs(targets) do
      if helper.have(compiler) then
        any = true
        for _, name in ipairs { "small", "small8" } do
          local file = folder .. "/" .. name
          local out, code = helper.run(string.format("%s %s -std=c99 -Os -Wall -Wextra -Wpedantic -Werror -c %s.c -o "
            .. "%s.o && %s %s.o", compiler, flags, file, file, compiler:gsub("gcc$", "size"), file))
          assert.equal(0, code, out)
          local text = tonumber(out:match "\n%s*(%d+)")
          assert(text > 500 and text < 16000, out)
        end
      end
    end
    if not any then pending "no avr-gcc or arm-none-eabi-gcc" end
  end)

  it("works as notebooks/c.md shows", function()
    local page, own = helper.read "notebooks/c.md", folder .. "/page"
    assert(core.system.mkdir(own))
    local model = builtin("rlc", "gaussian")
    assert(sv.export.c(model, own .. "/rlc.c", { what = { "decode", "encode" } }))
    local main = assert(page:match "```c\n(/%* main%.c %*/.-)```")
    helper.write(own .. "/main.c", main)
    local compile = assert(page:match "`(gcc [^`]-main%.c rlc%.c %-lm)`")
    local out, code = helper.run(string.format("cd %s && %s -Wall -Wextra -Wpedantic -Werror && ./a.out", own, compile))
    assert.equal(0, code, out)
    local x = model:decode { { 100, 1e-3, 1e-6 } }
    local mean, std = model:encode(x)
    local k = 0
    for m, s in out:gmatch "(%S+) %+%- (%S+)" do
      k = k + 1
      assert.near(1, tonumber(m) / mean:get(1, k), 1e-4)
      assert.near(1, tonumber(s) / std:get(1, k), 1e-4)
    end
    assert.equal(#model.simulator.params, k)
    if not have "luajit" then return end
    local script = assert(page:match "```lua\n(%-%- main%.lua.-)```")
    helper.write(own .. "/main.lua", script)
    local shared = assert(script:match "%-%- (gcc [^\n]+)")
    out, code = helper.run(string.format("cd %s && %s && luajit main.lua", own, shared))
    assert.equal(0, code, out)
    local first, last = out:match "(%S+)%s+(%S+)"
    assert.near(x:get(1, 1), tonumber(first), 1e-4 * math.abs(x:get(1, 1)) + 1e-6)
    assert.near(x:get(1, x.shape[2]), tonumber(last), 1e-4 * math.abs(x:get(1, x.shape[2])) + 1e-6)
  end)

  it("refuses what does not fit", function()
    local model = builtin("rlc", "gaussian")
    local function c(o, path)
      o.overwrite = true
      return sv.export.c(model, path or folder .. "/refused.c", o)
    end
    helper.raises("flash = 100, and the constants take %d+ bytes", c, { flash = 100 })
    helper.raises("ram = 16, and the arrays of working memory take %d+ bytes", c, { ram = 16 })
    helper.raises("path ends in", c, {}, folder .. "/refused.cc")
    helper.raises("prefix is an identifier", c, { prefix = "2 x" })
    helper.raises("unknown option", c, { prefx = "x" })
    helper.raises("takes a model", sv.export.c, 1, folder .. "/refused.c")
    local found, why = c({}, folder .. "/none/refused.c")
    assert(found == nil and why:find "none/refused.c", why)
    assert.is_nil(io.open(folder .. "/refused.c"))
    local own = sv.model { simulator = pulse, posterior = "gaussian", net = function(t)
      return sv.nn.linear(t.code, 12), sv.nn.func(function(x)
        local square = sv.reshape(sv.slice(x, 2, 1, 4), -1, 2, 2)
        local root = sv.reshape(sv.linalg.cholesky(sv.matmul(square, square, { transpose_y = true })
          + sv.tensor { { 1, 0 }, { 0, 1 } }), -1, 4)
        return sv.slice(sv.concat({ root, x, x }, 2), 2, 1, t.heads)
      end)
    end }
    helper.raises("op 'linalg_cholesky' has no C form", sv.export.c, own, folder .. "/refused.c", { what = "encode" })
  end)
end)
