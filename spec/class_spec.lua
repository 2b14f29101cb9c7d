-- Classes whose methods are written in several files.
local helper = require "spec.helper"
local class = require "simvae.util.class"

describe("a class of several files", function()
  it("is whole for whoever requires its module alone", function()
    local said, code = helper.run(helper.lua_command("-e", [[
      local simulator, model = require "simvae.simulator", require "simvae.model"
      local line = simulator.new { name = "line", params = { { name = "a", low = -1, high = 1 } }, output = { 2 },
        simulate = function(z, out) out[1], out[2] = z.a, -z.a end }
      local m = model.new { simulator = line, width = 4 }
      m:train { decoder = { steps = 2 }, encoder = { steps = 2 }, quiet = true }
      local x = line:run { { 0.5 } }
      print(#(m:encode(x)).shape, #(m:invert(x, { steps = 2 })).shape, m:decode { { 0.5 } }.count,
        tostring(m:decode { { 0 } }.shape))
      print(pcall(function() return m.trian end))]]))
    assert.equal(0, code, said)
    assert.matches("2\t2\t2\t(1, 2)\n", said, 1, true)
    assert.matches("did you mean 'train'", said, 1, true)
  end)

  it("takes a method from one file alone", function()
    package.preload["spec.methods_a"] = function() return { methods = { f = print } } end
    local methods = class.take({}, "spec.methods_a")
    assert.equal(print, methods.f)
    helper.raises("spec.methods_a: there is a method 'f' already", class.take, methods, "spec.methods_a")
  end)
end)
