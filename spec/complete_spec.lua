-- Completion of the interactive session: what can stand at the cursor, written out by hand.
local assert = require "luassert"
local complete = require "simvae.repl.complete"
local helper = require "spec.helper"
local sv = require "simvae"

local env = setmetatable({}, { __index = _G })
for name, v in pairs(_G) do env[name] = v end
env.sv = sv
env.ring = sv.simulator { name = "ring", params = { { name = "r", low = 1, high = 2 } }, output = { 2 },
  simulate = function(z, out) out:fill(z.r) end }
env.model = sv.model { simulator = env.ring, width = 4 }
env.x = sv.zeros(2, 2)
env.t = { alpha = 1, beta = { gamma = function() end, ["no name"] = 1 }, list = { { key = 2 } }, _hidden = 3 }

local function of(before) return (complete.candidates(before, env)) end

local function has(list, word)
  for _, v in ipairs(list) do
    if v == word then return true end
  end
  return false
end

describe("completion", function()
  it("gives the names of variables and keywords", function()
    assert.same({ "string" }, of "stri")
    assert.same({ "require" }, of "local a = requ")
    assert.same({ "function" }, of "functi")
    assert.same({}, of "nosuchname")
    assert.same({}, of "x = 0xf")
    assert.same({}, of "-- mod")
    assert.same({}, of "--[[ mod")
    assert.is_true(has(of "if a then mod", "model"))
  end)

  it("gives fields after a dot, through lists and brackets, and hides names with an underscore", function()
    assert.same({ "alpha", "beta", "list" }, of "t.")
    assert.same({ "gamma" }, of "print(1 + t.beta.g")
    assert.same({ "key" }, of "t.list[1].")
    assert.same({ "gamma" }, of "t['beta'].g")
    assert.same({ "_hidden" }, of "t._")
    assert.same({}, of "nothing.at.all.")
    assert.same({}, of "f(x).")
  end)

  it("gives methods after a colon, of objects, tensors and strings", function()
    assert.same({ "posterior" }, of "model:post")
    assert.same({ "log_prior" }, of "ring:log")
    assert.same({ "sub", "sum" }, of "x:su")
    assert.same({ "shape" }, of "x.sh")
    assert.is_false(has(of "x.", "sum"))
    env.word = "text"
    assert.same({ "rep" }, of "word:rep")
    assert.same({ "simulator" }, of "model.sim")
  end)

  it("gives names of modules that are not loaded yet, without loading them", function()
    local folder = helper.temporary_folder()
    local out = helper.run("cd " .. folder .. " && " .. helper.lua_command_in(folder, "-e", [[
      sv = require "simvae"
      local complete = require "simvae.repl.complete"
      print((complete.candidates("sv.figu", _G))[1], package.loaded["simvae.figures"])]]))
    assert.equal("figures\tnil\n", out)
    assert.same({ "pairs" }, of "sv.figures.pai")
  end)

  it("gives the options of the call under the cursor, but for those that it has", function()
    assert.same({ "posterior = " }, of "sv.model { simulator = ring, pos")
    assert.same({ "posterior = " }, of "m = sv.model {\n  simulator = ring,\n  pos")
    local all = of "sv.model { net = 'mlp', "
    assert.is_true(has(all, "width = "))
    assert.is_false(has(all, "net = "))
    assert.same({ "batch = " }, of "model:train { bat")
    assert.same({ "steps = " }, of "model:train { out = 'x', decoder = { st")
    assert.same({ "truth = " }, of "sv.figures.pairs(p, 'x.png', { tru")
    assert.same({ "stride = " }, of "sv.conv2d(x, w, { str")
    assert.is_true(has(of "sv.model { simulator = ri", "ring")) -- a value
    assert.is_true(has(of "f { mo", "model"))                    -- an unknown function
  end)

  it("gives values of options, modules, names that have help, and files within strings", function()
    assert.same({ "gaussian" }, of "sv.model { posterior = 'gau")
    assert.same({ "relu" }, of "sv.conv2d(x, w, { activation = \"rel")
    assert.same({ "simvae.simulators.box" }, of "require 'simvae.simulators.bo")
    assert.same({ "conv_transpose2d", "conv_transpose2d_norm" }, of "sv.help \"conv_transpose2d")
    local folder = helper.temporary_folder()
    assert(os.execute("cd " .. folder .. " && mkdir runs && touch 'run one.npy' .hidden"))
    assert.same({ folder .. "/run one.npy", folder .. "/runs/" }, of("sv.load(\"" .. folder .. "/r"))
    assert.same({ folder .. "/.hidden" }, of("'" .. folder .. "/.h"))
    assert.same({}, of "sv.load '/no/such/folder/")
  end)

  it("raises nothing, whatever is typed", function()
    for _, text in ipairs { "", ".", ":", "]", "{", "sv..", "a[", "t[1", "((((", "sv.model {{{", "]].x", "x = = {", "'",
      "\\", "sv.zeros.", "t.alpha.", "\xff\xfe.", "[==[", "0x", "1..", "a.b:c:d.", "}",
      "sv.model { decoder = { rank = {" } do
      assert.is_table(of(text))
    end
  end)

  it("begins each candidate with the word that readline replaces", function()
    local line = "y = 2*model:post"
    assert.same({ "2*model:posterior" }, complete.line(line, 5, #line + 1, env))
    line = "sv.load 'my runs/x" -- readline's word is "runs/x"
    assert.same({}, complete.line(line, 13, #line + 1, env))
    assert.same({ "t.alpha" }, complete.line("f(t.al, 3)", 3, 7, env))
  end)
end)
