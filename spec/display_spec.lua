-- Tensors as text, against NumPy; as images and plots, against the expected terminal output.
local helper = require "spec.helper"
local core = require "simvae.core"
local sv = require "simvae"
require "simvae.tensor"

local expected = dofile "spec/fixtures/io/expected.lua"

local function show(t, options)
  options = options or {}
  options.print = false
  if options.colour == nil then options.colour = false end
  return t:show(options)
end

describe("a tensor's text", function()
  it("is NumPy's, with the shape after it", function()
    for _, want in ipairs(expected.text) do
      local t = core.tensor(want.numbers):reshape(table.unpack(want.shape))
      local shape = table.concat(want.shape, ", ") .. (#want.shape == 1 and "," or "")
      assert.equal(want.text .. " (" .. shape .. ")", tostring(t))
    end
  end)

  it("is a number without axes, and says when there is nothing", function()
    assert.equal("2.5", tostring(core.tensor(2.5)))
    assert.equal("nan", tostring(core.tensor(0 / 0)))
    assert.equal("-inf", tostring(core.tensor(-math.huge)))
    assert.equal("[] (0, 3)", tostring(core.zeros(0, 3)))
  end)

  it("does not raise for what went with its tape", function()
    local t
    do
      local tape <close> = core.tape()
      t = core.zeros(2, 3)
      assert.truthy(tape)
    end
    assert.equal("tensor (2, 3), released with its tape", tostring(t))
    assert.error_matches(function() t:show() end, "released with its tape")
  end)

  it("reads few numbers of a large tensor", function()
    local t = core.zeros(3000, 1000)
    local start = os.clock()
    assert.truthy(tostring(t):find "…")
    assert(os.clock() - start < 0.1)
  end)
end)

describe("show", function()
  it("draws half blocks, upper pixel in front of lower", function()
    local white, black, nan = "255;255;255", "0;0;0", "255;0;255"
    assert.equal("\27[38;2;" .. white .. ";48;2;" .. black .. "m▀\27[0m",
      show(core.tensor { { 1 }, { 0 } }, { colour = true }))
    assert.equal("\27[38;2;" .. nan .. ";49m▀\27[38;2;" .. black .. ";49m▀\27[0m",
      show(core.tensor { { 0 / 0, -3 } }, { colour = true }))
    local rgb = core.tensor { { { 1 } }, { { 0.2 } }, { { 0 } } }
    assert.equal("\27[38;2;255;51;0;49m▀\27[0m", show(rgb, { colour = true }))
    local same = show(core.ones(2, 5), { colour = true })
    assert.equal("\27[38;2;255;255;255;48;2;255;255;255m▀▀▀▀▀\27[0m", same)
  end)

  it("draws letters elsewhere, dense where it is dark", function()
    assert.equal(" @?\n =@", show(core.tensor { { 1, 0, 0 / 0 }, { 1, 0, 0 }, { 1, 0.56, 0 } }):gsub("\n ", "\n "))
    local out = helper.run("NO_COLOR= COLUMNS=40 " .. helper.lua_command("-e", [[
      require "simvae.tensor".zeros(2, 3):show()]]))
    assert.equal("@@@\n", out)
  end)

  it("scales down to the width, keeping means", function()
    local t = core.zeros(40, 200)
    for i = 1, 40 do t[i] = core.arange(1, 200) end
    local lines = {}
    for line in (show(core.div(t, 200), { width = 50 }) .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
    assert.equal(5, #lines)
    for _, line in ipairs(lines) do
      assert.equal(50, #line)
      assert.equal("@", line:sub(1, 1))
      assert.equal(" ", line:sub(-1))
    end
    assert.equal("=====", show(core.full(0.6, 3, 100, 200), { width = 20 }):sub(1, 5):gsub("[-+]", "="))
  end)

  it("puts the pictures of a batch in rows", function()
    local t = core.ones(5, 1, 4, 16)
    t[2] = core.zeros(1, 4, 16)
    local text = show(t, { width = 50 })
    local first = (" "):rep(16) .. " " .. ("@"):rep(16) .. " " .. (" "):rep(16)
    assert.equal(first .. "\n" .. first .. "\n\n" .. ((" "):rep(33) .. "\n" .. (" "):rep(33)), text)
    assert.truthy(show(core.ones(9, 1, 2, 2), { most = 4 }):find "and 5 more")
    assert.equal(show(core.ones(2, 3, 4, 4)), show(core.ones(2, 1, 4, 4)))
  end)

  it("puts other numbers of channels side by side", function()
    assert.equal("@@@ @@@", show(core.zeros(2, 2, 3)))
  end)

  it("plots a vector with its extremes", function()
    local text = show(core.arange(0, 79), { height = 2, width = 46 })
    assert.equal("79 ┤", text:match "^79 ┤")
    local lines = {}
    for line in (text .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
    assert.equal(2, #lines)
    assert.equal(" 0 ┤", lines[2]:sub(1, #" 0 ┤"))
    -- rising: the lower left and the upper right are drawn, the other corners empty
    local function cell(line, i)
      return utf8.codepoint(line, utf8.offset(line, i))
    end
    assert.equal(0x2800, cell(lines[1], 5))
    assert.equal(0x2800, cell(lines[2], utf8.len(lines[2])))
    assert(cell(lines[2], 5) & 0x40 ~= 0 and cell(lines[1], utf8.len(lines[1])) & 0x08 ~= 0)
  end)

  it("leaves gaps where numbers are not finite", function()
    assert.equal("nothing to plot: no finite numbers", show(core.tensor { 0 / 0, math.huge }))
    local whole, gap = show(core.tensor { 1, 1, 1 }), show(core.tensor { 1, 0 / 0, 1 })
    local function drawn(text)
      local count = 0
      for _, code in utf8.codes(text) do if code > 0x2800 and code <= 0x28FF then count = count + 1 end end
      return count
    end
    assert.equal(20, drawn(whole))
    assert.equal(2, drawn(gap))
  end)

  it("checks what it is given", function()
    assert.error_matches(function() core.ones(2, 2, 2, 2, 2):show() end, "at most 4 axes.*%(2, 2, 2, 2, 2%)")
    assert.error_matches(function() core.ones(2):show { widht = 3 } end, "did you mean 'width'")
    assert.equal("2.5", show(core.tensor(2.5)))
    assert.equal("[] (0, 3)", show(core.zeros(0, 3)))
  end)

  it("leaves an open tape as it was", function()
    local w = core.parameter(core.ones(2, 1, 2, 2))
    local tape <close> = core.tape()
    local y = core.mul(w, 2)
    show(y)
    tape:backward(y:sum())
    assert.same(core.full(2, 2, 1, 2, 2):totable(), w.grad:totable())
  end)
end)

describe("objects", function()
  it("print what they are, and tables their content", function()
    local box = require "simvae.simulators.box"
    local model = sv.model { simulator = box, width = 4 }
    local sampler <close> = sv.sampler.new { simulator = box, batch = 8 }
    assert.equal("(3, 64, 64)", tostring(box.output))
    assert.matches('name   "w"', tostring(box.params[1]), 1, true)
    assert.equal("code of 4 numbers for w, h, x, y", tostring(model.latent))
    assert.equal("loss bce of outputs (3, 64, 64)", tostring(model.loss))
    assert.equal("canvas (1, 4, 4)", tostring(sv.draw(sv.zeros(1, 4, 4))))
    assert.equal("sampler of box: 8 samples a batch, 0 drawn", tostring(sampler))
    assert.matches("batch +64\n", tostring(sv.recipes.paper))
  end)
end)
