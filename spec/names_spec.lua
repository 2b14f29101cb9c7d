-- Misspelt names, methods without a colon, and tables that print their content.
local helper = require "spec.helper"
local json = require "dkjson"
local sv = require "simvae"

local raises = helper.raises

local function read(object, name) return function() return object[name] end end

local function ring()
  return sv.simulator { name = "ring", params = { { name = "x", low = 0, high = 1 } }, output = { 4 },
    simulate = function(z, out) out:fill(z.x) end }
end

describe("a misspelt name", function()
  it("of a function is an error at the caller's line, with the nearest name", function()
    raises("names_spec.lua:%d+: sv%.evalute: there is no such function; did you mean 'evaluate'%?$",
      read(sv, "evalute"))
    raises("sv%.nn%.liner: .*'linear'", read(sv.nn, "liner"))
    raises("sv%.nn%.Conv2D: .*'conv2d'", read(sv.nn, "Conv2D"))
    raises("sv%.optim%.admaw: .*'adamw'", read(sv.optim, "admaw"))
    raises("sv%.io%.load_pgn: .*'load_png'", read(sv.io, "load_pgn"))
    raises("sv%.conv: .*'conv2d'", read(sv, "conv"))
    raises("sv%.MSELoss: .*'mse_loss'", read(sv, "MSELoss"))
  end)

  it("of a function in a file that is not loaded yet too", function()
    raises("sv%.metrics%.mgi: there is no such metric; did you mean 'mig'%?$", read(sv.metrics, "mgi"))
    raises("sv%.figures%.heat_map: there is no such figure; did you mean 'heatmap'%?$", read(sv.figures, "heat_map"))
  end)

  it("of a method is an error with the nearest name", function()
    local tape <close> = sv.tape()
    local x, rng = sv.zeros(2, 2), sv.rng(1)
    raises("names_spec.lua:%d+: a tensor has no 'shpae'; did you mean 'shape'%?$", read(x, "shpae"))
    raises("a tensor has no 'totabel'; did you mean 'totable'", function() return x:totabel() end)
    raises("an rng has no 'unifrom'; did you mean 'uniform'", function() return rng:unifrom() end)
    raises("a tape has no 'backwards'; did you mean 'backward'", function() return tape:backwards(x) end)
    local net = sv.nn.linear(2, 2)
    raises("a layer has no 'paramters'; did you mean 'parameters'", function() return net:paramters() end)
    local adam = sv.optim.adam(net:parameters())
    raises("an optimizer has no 'setp'; did you mean 'step'", function() return adam:setp() end)
    raises("a simulator has no 'smaple'; did you mean 'sample'", function() return ring():smaple(3, rng) end)
    local model = sv.model { simulator = ring(), width = 4 }
    raises("a model has no 'enocde'; did you mean 'encode'", function() return model:enocde(x) end)
    raises("a model has no 'latnet'; did you mean 'latent'", read(model, "latnet"))
    raises("a sampler has no 'nxet'; did you mean 'next'", read(sv.sampler.new { simulator = ring() }, "nxet"))
    raises("a canvas has no 'cirlce'; did you mean 'circle'", read(sv.draw(sv.zeros(1, 4, 4)), "cirlce"))
  end)

  it("is nil where a library probes, by rawget, and of what an object may lack", function()
    local x, model = sv.zeros(2), sv.model { simulator = ring(), width = 4 }
    for _, object in ipairs { sv, sv.nn, sv.metrics, x, sv.rng(1), model, model.simulator, model.decoder } do
      assert.is_nil(object.__tojson)
      assert.is_nil(object.__jsonorder)
      assert.is_nil(object._VERSION)
      assert.is_nil(type(object) == "table" and rawget(object, "evalute") or nil)
    end
    assert.is_nil(x.grad)
    assert.is_nil(x.class)
    assert.is_nil(model.seconds)
    assert.is_nil(model.simulator.prior)
    assert.is_nil(model.is_instance_of)
  end)
end)

describe("a method without its colon", function()
  it("is an error that shows the call", function()
    local net = sv.nn.linear(2, 2)
    raises("names_spec.lua:%d+: count: is a method, layer:count%(…%) with a colon; its first argument is missing",
      function() net.count() end)
    raises("sample: is a method, simulator:sample%(…%) with a colon; its first argument is 3",
      function() ring().sample(3, sv.rng(1)) end)
    raises("step: is a method, optimizer:step%(…%)", function() sv.optim.sgd(net:parameters()).step(0.1) end)
    raises("circle: is a method, canvas:circle%(…%)", function() sv.draw(sv.zeros(1, 4, 4)).circle(1, 2, 3) end)
    local model = sv.model { simulator = ring(), width = 4 }
    raises("save: is a method, model:save%(…%) with a colon; its first argument is \"x\"",
      function() model.save "x" end)
  end)
end)

describe("a table of ours", function()
  it("prints its content", function()
    assert.equal("(2, 3)", tostring(sv.zeros(2, 3).shape))
    assert.equal("(4,)", tostring(sv.zeros(4).shape))
    assert.equal("()", tostring(sv.tensor(1).shape))
    assert.matches("^sv:\n.*evaluate.*metrics.*zeros", tostring(sv))
    assert.matches("conv2d, .*linear", tostring(sv.nn))
    assert.matches("mig, mim", tostring(sv.metrics))
    assert.equal("live    0\npeak", tostring(sv.memory()):match "^live    0\npeak")
    local r = require "simvae.util.content" { mig = 0.5, rmse = { w = 2.8125, h = 3 }, names = { "w", "h" },
      mim = sv.zeros(2, 2), errors = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, deep = { a = { b = { 1 } } } }
    assert.equal(table.concat({
      "deep", "  a", "    b  { 1 }",
      "errors  { 1, 2, 3, 4, 5, 6, 7, 8, … 10 in all }",
      "mig     0.5",
      "mim     tensor (2, 2)",
      'names   { "w", "h" }',
      "rmse    { h = 3, w = 2.8125 }" }, "\n"), tostring(r))
    r.itself = r
    assert.matches("itself\n  …", tostring(r))
  end)

  it("is otherwise a plain table", function()
    local shape = sv.zeros(2, 3).shape
    assert.same({ 2, 3 }, shape)
    assert.equal(2, #shape)
    assert.same({ 2, 3 }, { table.unpack(shape) })
    assert.equal("2 3", table.concat(shape, " "))
    assert.equal("[2,3]", json.encode(shape))
    assert.equal("[]", json.encode(sv.tensor(1).shape))
    local keys = {}
    for i, n in pairs(shape) do keys[i] = n end
    assert.same({ 2, 3 }, keys)
    assert.is_true(sv.zeros(2, 3).shape == sv.ones(2, 3).shape)
    assert.is_false(sv.zeros(2, 3).shape == sv.ones(3, 2).shape)
    local r = require "simvae.util.content" { list = { 1, 2 }, by = { a = 0.5 } }
    assert.equal('{"by":{"a":0.5},"list":[1,2]}', json.encode(r, { keyorder = { "by", "list" } }))
    assert.is_nil(r.anything)
  end)

  it("is one of them for pairs, loaded or not", function()
    local code = [[
      local sv = require "simvae"
      local seen = {}
      for name, value in pairs(sv) do seen[name] = type(value) end
      assert(seen.evaluate == "function" and seen.nn == "table" and seen.zeros == "function")
      assert(next(sv) and rawget(sv, "nn"))
      io.write("good")]]
    assert.equal("good", (helper.run(helper.lua_command("-e", code))))
  end)
end)

describe("the prompt", function()
  it("prints what show draws once", function()
    local code = "sv = require 'simvae'\nsv.zeros(1, 3):show()\nx = sv.zeros(1, 3):show()\n"
    local out = helper.run("printf '%s\n' " .. helper.quote(code) .. " | NO_COLOR= " .. helper.lua_command("-i"))
    assert.equal(2, select(2, out:gsub("@@@", "")))
    assert.equal("@@@", sv.zeros(1, 3):show { print = false, colour = false })
  end)
end)
