local helper = require "spec.helper"
local sv = require "simvae"
local core = require "simvae.core"
local json = require "simvae.io.json"

local function ring(changes)
  local t = {
    name = "ring", output = { 4 },
    params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 1, high = 1000, scale = "log", unit = "mV" },
      { name = "c", period = 360, unit = "deg" }, { name = "d", levels = 3 } },
    simulate = function(z) return { z.a, z.b, z.c, z.d } end,
  }
  for k, v in pairs(changes or {}) do t[k] = v end
  return sv.simulator(t)
end

local folder = helper.temporary_folder()

-- A small model's tensors and its description.
local function parts()
  local path = folder .. "/whole.safetensors"
  assert(sv.model { posterior = "gaussian", simulator = ring(), width = 4, seed = 2 }:save(path))
  local state, metadata = assert(sv.io.load_safetensors(path))
  return state, json.decode(metadata.model), metadata
end

-- sv.load of a file with such tensors and such a description (a table, or text).
local function load(state, about, ...)
  local path = folder .. "/changed.safetensors"
  assert(sv.io.save_safetensors(path, state, { metadata = { format = "simvae",
    model = type(about) == "string" and about or json.encode(about) } }))
  return sv.load(path, ...)
end

-- Asserts nil and a reason that matches, on one line, without control characters.
local function refused(pattern, ok, why)
  assert.is_nil(ok)
  assert.equal("string", type(why))
  assert.matches(pattern, why)
  assert.is_nil(why:find "%c")
end

describe("a model file", function()
  it("gives the same model again", function()
    local state, about = parts()
    local again = assert(load(state, about))
    assert.equal("ring", again.simulator.name)
    for name, t in pairs(again:state()) do assert.same(state[name]:totable(), t:totable(), name) end
    assert(load(state, about, ring()))
  end)

  it("of an earlier version has no scale of pictures and no measure of how usual an output is: both stay so", function()
    local sim = sv.simulator { name = "grey", params = { { name = "a", low = 0, high = 1 } }, output = { 1, 4, 4 },
      loss = "mse", simulate = function(z, out) out:fill(z.a) end }
    local path = folder .. "/old.safetensors"
    local model = sv.model { posterior = "gaussian", simulator = sim, net = "mlp", width = 4 }
    model:train { quiet = true, batch = 4, decoder = { steps = 2 }, encoder = { steps = 2 } }
    assert(model:save(path))
    local state, metadata = assert(sv.io.load_safetensors(path))
    state["output.mean"], state["output.std"] = nil, nil
    local about = json.decode(metadata.model)
    assert.equal("table", type(about.seen))
    about.seen = nil
    local again = assert(load(state, about, sim))
    assert.is_true((again:encode(sv.full(100, { 1, 1, 4, 4 })):finite()))
    again:train_encoder { steps = 1, batch = 4, quiet = true }
    assert.same({ 0, 1 }, { again.loss.mean:item(), again.loss.std:item() })
  end)

  it("has the same bytes for the same model, in every process", function()
    local script = folder .. "/save.lua"
    local f <close> = assert(io.open(script, "w"))
    f:write [[
      local sv = require "simvae"
      local s = sv.simulator { name = "s", output = { 3 }, params = { { name = "x", low = 0, high = 1 / 3, unit = "m" },
        { name = "y", levels = 2 } }, simulate = function(z) return { z.x, z.y, 1 } end }
      local m = sv.model { posterior = "gaussian", simulator = s, width = 4 }
      m:train { quiet = true, batch = 4, decoder = { steps = 2 }, encoder = { steps = 2 } }
      assert(m:save(arg[1]))
    ]]
    f:close()
    local first
    for i = 1, 4 do
      local path = folder .. "/same" .. i
      local said, code = helper.run(helper.lua_command(script, path))
      assert.equal(0, code, said)
      first = first or helper.read(path)
      assert.is_true(first == helper.read(path))
    end
    local loaded = assert(sv.load(folder .. "/same1"))
    assert.equal(1 / 3, loaded.simulator.params[1].high) -- bounds come back to the last digit
  end)

  it("is refused with a reason for each field that is not as it should be", function()
    local state, whole = parts()
    local function with(change, pattern)
      local about = json.decode(json.encode(whole))
      change(about)
      refused(pattern, load(state, about))
    end
    local function field(name, value, pattern)
      with(function(about) about[name] = value end, pattern or name)
    end
    for _, value in ipairs { 1, true, { "box" }, "", "a\27[31mb", "two\nlines", ("x"):rep(300), "\u{9b}1A" } do
      field("simulator", value)
    end
    for _, value in ipairs { -1, 0, 1.5, 1e300, "4", {}, true, math.maxinteger } do field("width", value) end
    for _, value in ipairs { "build", "names", "resnet", 3, {}, { decoder = 1, encoder = 2 } } do
      field("net", value)
    end
    for _, value in ipairs { 0, 65, -1, 2.5, "1", {} } do
      field("answers", value, "components")
      with(function(about) about.posterior, about.components = "mixture", value end, "components")
    end
    for _, value in ipairs { "init", "support", "normals", 3, {}, true } do field("posterior", value) end
    for _, value in ipairs { "x", 1.5, {} } do field("seed", value) end
    for _, value in ipairs { "sigmoid", 3, {}, true } do field("bounded", value) end
    for _, value in ipairs { "huber", 3, {}, false } do field("loss", value) end
    field("loss_given", "yes")
    for _, value in ipairs { 4, "4", {}, { 0 }, { -4 }, { 4.5 }, { "4" }, { 4, 4 }, { 1, 2, 3, 4 }, { n = 4 },
      { 1 << 40 }, { 1 << 20, 1 << 20, 1 << 20 }, { math.maxinteger } } do
      field("output", value)
    end
    for _, value in ipairs { "abc", 3, { decoder = "x" }, { decoder = -1 }, { decoder = 1.5 }, { dreams = 3 } } do
      field("trained", value)
    end
    field("params", {})
    field("params", "x")
    field("params", { "a" }, "parameter 1 takes a table")
    for name, values in pairs {
      name = { 3, "", "a\n", "b", {} }, low = { 2, "0", {}, true }, high = { 0, -1, "1" }, unit = { 3, {}, "\27[2J" },
      scale = { "cubic", 3, {}, "log" }, period = { 0, -1, "x", {} }, levels = { 1, 0, -3, 2.5, "3", 1 << 40 },
      prior = { "normal" },
    } do
      for _, value in ipairs(values) do
        with(function(about) about.params[1][name] = value end, "parameter")
      end
    end
    for name, value in pairs { low = false, high = false, period = 3, scale = "log", unit = false } do
      with(function(about) about.params[4][name] = value end, "parameter 4") -- it has levels
    end
    for _, gone in ipairs { "simulator", "params", "output", "net", "width", "loss" } do field(gone, nil) end
  end)

  it("is refused where its description is no JSON, too deep, too long, twice or beyond numbers", function()
    local state, whole = parts()
    local text = json.encode(whole)
    for pattern, bad in pairs {
      ["not valid"] = "hello", ["takes a table"] = "5", ["takes a name"] = "[1,2]", ["nested"] = ("["):rep(1e6),
      ["nested too deeply"] = ('{"a":'):rep(1e5), ["more than"] = '"' .. ("x"):rep(2 << 20) .. '"',
      ["'width' twice"] = text:gsub('"width":4', '"width":4,"width":5'),
      ["got inf"] = text:gsub('"high":1,', '"high":1e999,'),
      ["a number expected"] = text:gsub('"high":1,', '"high":NaN,'),
      ["is empty"] = "null", ["expected"] = text:sub(1, -2),
      ["nothing more"] = text .. "x", ["end of a string"] = '{"a\nb":1}',
    } do
      refused(pattern, load(state, bad))
    end
  end)

  it("is refused before it is built where its network is larger than the file", function()
    local state, whole = parts()
    local before = core.memory().peak
    for _, change in ipairs { { width = 20000 }, { width = 1 << 20 }, { net = "dcgan", output = { 1, 64, 64 } },
      { net = "conv", output = { 3, 128, 128 }, width = 4096 }, { net = "coordconv", output = { 1, 32, 32 } },
      { net = "mlp", output = { 1, 1000, 1000 } }, { posterior = "mixture", components = 64 },
      { loss = "gaussian", output = { 1 << 20, 16, 16 } }, { output = { 1000000000 } } } do
      local about = json.decode(json.encode(whole))
      for k, v in pairs(change) do about[k] = v end
      if change.loss then about.loss_given = true end
      local pattern = change.loss and "'loss.log_std' does not have" or "more weights than the file"
      if change.output and #change.output == 1 then pattern = "'output.mean' has 4 numbers" end
      refused(pattern, load(state, about))
    end
    assert.is_true(core.memory().peak - before < 1 << 20)
  end)

  it("is refused where its tensors do not fit, are not finite or are not the model's", function()
    local function with(pattern, change)
      local state, about = parts()
      change(state)
      refused(pattern, load(state, about))
    end
    with("'decoder.1.weight' is missing", function(state) state["decoder.1.weight"] = nil end)
    with("'decoder.1.weight' has shape", function(state) state["decoder.1.weight"] = sv.zeros(4, 3) end)
    with("'encoder.1.bias' is not finite at element 2", function(state) state["encoder.1.bias"]:set(0 / 0, 2) end)
    with("'output.std' has numbers that are not above 0", function(state) state["output.std"]:set(0, 2) end)
    with("'output.mean' has 0 numbers", function(state) state["output.mean"] = nil end)
    with("'more' belongs to no part", function(state) state.more = sv.zeros(2) end)
  end)

  it("never reaches a loader, whatever its simulator is called", function()
    local state, about = parts()
    local marker = folder .. "/ran"
    local evil = folder .. "/evil.lua"
    local f <close> = assert(io.open(evil, "w"))
    f:write(string.format("io.open(%q, 'w'):close() return {}", marker))
    f:close()
    for _, name in ipairs { "x;" .. folder .. "/evil", folder .. "/evil", "../../evil", "..evil", "rlc.cir", "init",
      "%s%s%n", "$(touch " .. marker .. ")" } do
      about.simulator = name
      local made = assert(load(state, about))
      assert.equal(name, made.simulator.name)
      helper.raises("loaded without its simulator", made.simulator.run, made.simulator, sv.ones(1, 4))
      tostring(made)
    end
    assert.is_nil(io.open(marker))
  end)

  it("of a built-in simulator's name and another output is not taken for the built-in one", function()
    local state, about = parts()
    about.simulator = "box"
    local made = assert(load(state, about))
    assert.same({ 4 }, made.simulator.output)
    helper.raises("not the built%-in 'box': parameter 1 is 'a', the simulator's 'w'", made.simulator.run,
      made.simulator, sv.ones(1, 4))
    local names = {}
    for _, name in ipairs(core.system.list "simulators") do names[#names + 1] = name:match "^(.+)%.lua$" end
    table.sort(names)
    assert.same(names, require "simvae.simulator.builtin")
  end)

  it("is compared with the simulator given, and the first difference is named", function()
    local state, about = parts()
    for pattern, change in pairs {
      ["parameter 2 is 'b', the simulator's 'B'"] = function(p) p[2].name = "B" end,
      ["parameter 'a' has high = 1, the simulator's 2"] = function(p) p[1].high = 2 end,
      ["parameter 'a' has low = 0, the simulator's %-1"] = function(p) p[1].low = -1 end,
      ["parameter 'b' has scale = \"log\", the simulator's \"linear\""] = function(p) p[2].scale = nil end,
      ["parameter 'b' has unit = \"mV\", the simulator's \"V\""] = function(p) p[2].unit = "V" end,
      ["parameter 'c' has .* = .* the simulator's"] = function(p) p[3].period = 180 end,
      ["parameter 'd' has levels = 3, the simulator's 4"] = function(p) p[4].levels = 4 end,
      ["it has 4 parameters, the simulator 3"] = function(p) p[4] = nil end,
    } do
      local params = {}
      for i, p in ipairs(ring().params) do
        params[i] = { name = p.name, low = not p.levels and p.low or nil, high = not p.levels and p.high or nil,
          unit = p.unit, scale = p.scale, period = p.period, levels = p.levels }
      end
      change(params)
      if params[3].period == 180 then params[3].high = nil end
      refused(pattern, load(state, about, ring { params = params }))
    end
    refused("its output is %(4,%), the simulator's %(5,%)", load(state, about, ring { output = { 5 } }))
    local real, said = io.stderr, {}
    io.stderr = { write = function(_, ...) said[#said + 1] = table.concat { ... } end } -- luacheck: ignore
    local model = load(state, about, ring { name = "annulus" })
    io.stderr = real -- luacheck: ignore
    assert.is_truthy(model)
    assert.matches("is of the simulator '.*'; the one given is 'annulus'", table.concat(said))
  end)

  it("is refused where it is cut short, empty, a folder or a pipe", function()
    parts()
    local bytes = helper.read(folder .. "/whole.safetensors")
    local path = folder .. "/cut.safetensors"
    for _, content in ipairs { "", "x", bytes:sub(1, 8), bytes:sub(1, 500), bytes:sub(1, -2), bytes .. "x",
      ("\255"):rep(16), ("\0"):rep(16), string.pack("<I8", 1 << 40) .. "{}" } do
      local f <close> = assert(io.open(path, "wb"))
      f:write(content)
      f:close()
      refused("cut.safetensors: ", sv.load(path))
    end
    refused("directory", sv.load(folder))
    helper.run("mkfifo " .. helper.quote(folder .. "/pipe"))
    refused("regular file", sv.load(folder .. "/pipe"))
    refused("none", sv.load(folder .. "/none"))
  end)
end)

describe("JSON", function()
  it("is written with sorted keys and exact numbers, and read back as it was", function()
    local value = { b = { 1, 2.5, -3, 1 / 3, 1e300, 5e-324, math.maxinteger, 0.1 },
      a = { x = true, y = false, z = "é\n\"" } }
    local text = json.encode(value)
    assert.matches('^{"a":{"x":true,"y":false,"z":"é\\u000a\\""},"b":%[1,2.5,', text)
    assert.same(value, json.decode(text))
  end)

  it("goes to a file indented, with null for what is not finite, and comes back", function()
    local path = folder .. "/report.json"
    assert(json.save(path, { list = { 1, { a = 1 / 3 } }, none = 0 / 0, far = -math.huge, by = { [7] = "x" },
      no = {} }))
    local text = helper.read(path)
    assert.matches('"none": null', text, 1, true)
    assert.matches('\n  "list": [\n    1,\n    {\n      "a": 0.333', text, 1, true)
    assert.same({ list = { 1, { a = 1 / 3 } }, by = { ["7"] = "x" }, no = {} }, json.load(path))
    assert.same({ list = { 1, { a = 0.33333333333333 } } }, { list = { 1, { a = tonumber(string.format("%.14g",
      require "dkjson".decode(text).list[2].a)) } } })
    refused("none.json", json.load(folder .. "/none.json"))
    refused("whole.safetensors: the JSON text", json.load(folder .. "/whole.safetensors"))
  end)

  it("agrees with Python's json", function()
    local python, why = helper.python "json"
    if not python then return pending(why) end
    local value = { list = { 1, 2, { 3, "x" } }, n = { pi = math.pi, small = 1e-11, big = 1e30 }, s = "\1 é \\ / \"" }
    local path = folder .. "/value.json"
    local f <close> = assert(io.open(path, "w"))
    f:write(json.encode(value))
    f:close()
    local said = helper.run(python .. " -c 'import json, sys; print(json.dumps(json.load(open(sys.argv[1])), "
      .. "sort_keys=True))' " .. helper.quote(path))
    assert.same(value, json.decode(said))
  end)

  it("is refused where it is not valid", function()
    for _, text in ipairs { "", "{", "[1,]", '{"a":1,}', "{a:1}", "01", "1.", ".5", "+1", "--1", "1e", "0x10", "nul",
      "truex", '"\\x"', '"\\ud800"', '"\255"', "[1 2]", "1 2", "//", "'a'" } do
      local value, why = json.decode(text)
      assert.is_nil(value, text)
      assert.equal("string", type(why), text)
    end
  end)
end)

describe("the format of model files", function()
  it("has a version: later ones are refused with what to do, earlier ones load", function()
    local state, _, metadata = parts()
    assert.equal("1", metadata.format_version)
    local path = folder .. "/version.safetensors"
    local function with(version, by)
      metadata.format_version, metadata.version = version, by
      assert(sv.io.save_safetensors(path, state, { metadata = metadata }))
      return sv.load(path)
    end
    assert(with(nil, "0.2.0")) -- simvae 0.2 wrote none
    assert(with("1", "9.9.9"))
    refused("simvae 1%.4%.0 wrote it, in version 2 of the format of model files; this is simvae " .. core.version
      .. ", which reads versions up to 1: install simvae 1%.4%.0 or a later one", with("2", "1.4.0"))
    refused("a later simvae wrote it, in version 3 .*: install that one or a later one", with("3", nil))
    for _, none in ipairs { "", "0", "-1", "1.5", "x", "99999999999999999999" } do
      refused('its format_version is "' .. none:gsub("%p", "%%%0") .. '", which is none', with(none, "0.3.0"))
    end
  end)

  it("is enough for NumPy to decode, as notebooks/model_files.md shows", function()
    local python, none = helper.python "numpy"
    if not python then return pending(none) end
    local blocks = {}
    for block in helper.read "notebooks/model_files.md":gmatch "```python\n(.-)```" do blocks[#blocks + 1] = block end
    assert.equal(2, #blocks)
    helper.write(folder .. "/read_model.py", table.concat(blocks, "\n"))
    local sim = ring { output = { 6 }, simulate = function(z)
      local x = {}
      for i = 1, 6 do x[i] = 100 + 20 * math.cos(math.rad(z.c) + i) * z.a + math.log(z.b) + i * z.d end
      return x
    end }
    for _, bounded in ipairs { "clamp", "tanh" } do
      local model = sv.model { simulator = sim, net = "mlp", width = 12, seed = 3, posterior = "gaussian",
        bounded = bounded }
      model:train { quiet = true, batch = 16, decoder = { steps = 30 }, encoder = { steps = 4 } }
      assert(model:save(folder .. "/read.safetensors"))
      local z = sim:sample(20, sv.rng(4))
      assert(sv.io.save_npy(folder .. "/read_z.npy", z))
      local said = helper.run(string.format("cd %s && %s -c %s", helper.quote(folder), helper.quote(python),
        helper.quote("import numpy as np, read_model; np.save('read_x.npy', read_model.decode('read.safetensors', "
          .. "np.load('read_z.npy').astype(float)))")))
      assert.equal("", said)
      local x, y = assert(sv.io.load_npy(folder .. "/read_x.npy")), model:decode(z)
      assert.same({ 20, 6 }, { table.unpack(x.shape) })
      local scale = core.max(core.abs(y)):item()
      assert.is_true(core.max(core.abs(x - y)):item() <= 1e-5 * scale, "differs")
    end
  end)
end)
