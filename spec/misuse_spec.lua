-- Every public function and method with wrong arguments: no message is Lua's own,
-- raised inside a function of the library.
local core = require "simvae.core"
local helper = require "spec.helper"
local sv = require "simvae"

local own_words = { "attempt to index", "bad argument #", "attempt to compare", "attempt to perform arithmetic",
  "attempt to call", "attempt to concatenate", "attempt to get length", "number has no integer representation",
  "'for' initial value", "stack traceback" }

local function wrong_arguments()
  return {
    {}, { nil, 1 }, { 1 }, { -1 }, { 0 }, { 0.5 }, { 1e300 }, { 0 / 0 }, { "x" }, { "" }, { true }, { {} },
    { { 1, "a" } }, { { nonsense = 1 } }, { print }, { sv.zeros(0) }, { sv.zeros(2, 3) },
    { sv.zeros(2, 3), sv.zeros(5) },
    { sv.zeros(2, 3), "x" }, { sv.zeros(2, 3), {} }, { sv.zeros(2, 3), { nonsense = 1 } }, { 1, 2, 3, 4 },
    { "a", "b", "c" }, { {}, {}, {} }, { sv.rng(1) }, { sv.nn.relu() },
  }
end

-- Calls f with each list of wrong arguments; the messages in Lua's own words.
local function walk(what, f, self)
  local found = {}
  for number, arguments in ipairs(wrong_arguments()) do
    local n = 0
    for i in pairs(arguments) do n = math.max(n, i) end
    local ok, message
    do
      local scope <close> = sv.scope() -- luacheck: ignore 211
      if self ~= nil then
        ok, message = pcall(f, self, table.unpack(arguments, 1, n))
      else
        ok, message = pcall(f, table.unpack(arguments, 1, n))
      end
    end
    if not ok then
      for _, words in ipairs(own_words) do
        if tostring(message):find(words, 1, true) then
          found[#found + 1] = string.format("%s, arguments %d: %s", what, number, message)
        end
      end
    end
  end
  return found
end

local function add(all, more) table.move(more, 1, #more, #all + 1, all) end

local function walk_module(path, module, left_out)
  local all = {}
  local sorted = {}
  for name, f in pairs(module) do
    if type(f) == "function" and not (left_out and left_out[name]) then sorted[#sorted + 1] = name end
  end
  table.sort(sorted)
  for _, name in ipairs(sorted) do add(all, walk(path .. "." .. name, module[name])) end
  return all
end

local function walk_methods(word, object, methods, left_out)
  local all = {}
  for name, f in pairs(methods) do
    if type(f) == "function" and name:sub(1, 1) ~= "_" and not (left_out and left_out[name]) then
      add(all, walk(word .. ":" .. name, f, object()))
      local ok, message = pcall(f)
      if not ok then
        for _, words in ipairs(own_words) do
          if tostring(message):find(words, 1, true) then
            all[#all + 1] = string.format("%s.%s without its object: %s", word, name, message)
          end
        end
      end
    end
  end
  return all
end

local function ring()
  return sv.simulator { name = "ring", params = { { name = "x", low = 0, high = 1 } }, output = { 4 },
    simulate = function(z, out) out:fill(z.x) end }
end

describe("wrong arguments have messages of their own", function()
  it("in the functions of sv", function()
    assert.same({}, walk_module("sv", sv, { help = true, experiment = true, threads = true, report = true }))
  end)

  -- pairs draws a tensor of any kind to the path "x"; check takes a level, too
  it("in modules", function()
    for name, left_out in pairs { nn = {}, optim = {}, io = {}, preprocess = {}, metrics = {},
      figures = { pairs = true }, linalg = {}, symmetry = {}, recipes = {}, nets = {}, sampler = { check = true } } do
      assert.same({}, walk_module("sv." .. name, sv[name], left_out))
    end
  end)

  it("in methods of tensors, generators and tapes", function()
    assert.same({}, walk_methods("tensor", function() return sv.zeros(2, 2) end, core.methods, { show = true }))
    assert.same({}, walk_methods("rng", function() return sv.rng(1) end, getmetatable(sv.rng(1)).__index))
    local tape <close> = sv.tape()
    assert.same({}, walk_methods("tape", function() return tape end, getmetatable(tape).__index, { close = true }))
  end)

  it("in methods of layers, optimizers, simulators, samplers and canvases", function()
    local net = sv.nn.linear(2, 2)
    assert.same({}, walk_methods("layer", function() return net end, sv.nn.class))
    assert.same({}, walk_methods("optimizer", function() return sv.optim.adam(net:parameters()) end,
      getmetatable(sv.optim.adam(net:parameters())).__index))
    assert.same({}, walk_methods("canvas", function() return sv.draw(sv.zeros(1, 4, 4)) end,
      getmetatable(sv.draw(sv.zeros(1, 4, 4)))))
    assert.same({}, walk_methods("simulator", ring, getmetatable(ring()),
      { try = true, run_one = true, describe_z = true })) -- the sampler's, which checks before)
  end)

  it("in methods of models and samplers", function()
    local model = sv.model { simulator = ring(), width = 4 }
    local trains = {}
    for name in pairs(getmetatable(model)) do trains[name] = name:find "^train" ~= nil or nil end
    trains.save = true -- "x" is a path
    assert.same({}, walk_methods("model", function() return model end, getmetatable(model), trains))
    local made = {}
    local function new()
      made[#made + 1] = sv.sampler.new { simulator = ring(), batch = 4 }
      return made[#made]
    end
    assert.same({}, walk_methods("sampler", new, getmetatable(new())))
    for _, s in ipairs(made) do s:close() end
  end)

  it("for operators that tensors have not", function()
    local x, y = sv.zeros(2), sv.zeros(2)
    helper.raises("misuse_spec.lua:%d+: tensors have no operator < or >: compare numbers", function() return x < y end)
    helper.raises("tensors have no operator <= or >=", function() return x >= y end)
    helper.raises("tensors have no operator //", function() return x // 2 end)
    helper.raises("tensors have no operator %%", function() return x % 2 end)
    helper.raises("tensors have no operator ..: tostring", function() return "x: " .. x end)
  end)

  it("of metrics that compare outputs, which name both", function()
    for _, name in ipairs { "iou", "decoder_error", "resimulation" } do
      helper.raises("misuse_spec.lua:%d+: " .. name .. ": x takes outputs, a tensor %(N, …%); got nothing",
        function() sv.metrics[name]() end)
      helper.raises(name .. ": y takes outputs, a tensor %(N, …%); got 3", sv.metrics[name], sv.ones(2, 3), 3)
      helper.raises(name .. ": x has shape %(2, 3%), y has %(2, 4%); they must agree", sv.metrics[name], sv.ones(2, 3),
        sv.ones(2, 4))
    end
    helper.raises("chance: takes a table of options; got 3", sv.metrics.chance, sv.ones(4, 2), sv.ones(4, 2), 3)
    helper.raises("refined: takes a model first; got 1", sv.metrics.refined, 1)
    helper.raises("misuse_spec.lua:%d+: nets.mlp: option 'code' is missing",
      function() sv.nets.mlp { heads = 2, output = { 3 } } end)
    helper.raises("nets.dcgan: output%[2%] must be at least 1; got 0", sv.nets.dcgan,
      { code = 1, heads = 2, output = { 1, 0, 16 } })
    helper.raises("symmetry.distance: takes params, then two rows of as many numbers; argument 2 is missing",
      sv.symmetry.distance, ring().params)
  end)

  it("of methods, which name the line that called them, however deep they are found", function()
    local model = sv.model { simulator = sv.simulator { name = "flat", output = { 4 },
      params = { { name = "v", low = 0, high = 1 } }, simulate = function(z, out) out:fill(z.v) end }, width = 4 }
    for wanted, f in pairs {
      ["posterior: takes"] = function() return (model:posterior(sv.zeros(3))) end,
      ["train: decoder: steps takes"] = function() return (model:train { decoder = { steps = "x" } }) end,
      ["decode: takes"] = function() return (model:decode(sv.zeros(3, 3))) end,
    } do
      helper.raises("^spec/misuse_spec.lua:%d+: " .. wanted, f)
    end
  end)

  it("in functions of symmetries that are given no simulator or no rows", function()
    helper.raises("symmetry.nearest: takes a simulator first; got nil", function() sv.symmetry.nearest() end)
    helper.raises("symmetry.align: rows takes a table; got 3", function() sv.symmetry.align(ring(), 3) end)
  end)

  it("for a builder of nets that returns nothing", function()
    local ok, message = pcall(sv.model, { simulator = ring(), net = function() end })
    assert.is_false(ok)
    assert.matches("net", message)
    for _, words in ipairs(own_words) do assert.is_nil(message:find(words, 1, true)) end
  end)

  it("that name the method and what was given in place of its object or argument", function()
    local x, rng = sv.zeros(2, 2), sv.rng(1)
    helper.raises("^[^:]*:%d+: get: is a method, tensor:get%(…%) with a colon; its first argument is 1$",
      function() x.get(1) end)
    helper.raises("uniform: is a method, rng:uniform%(…%) with a colon; its first argument is 0",
      function() rng.uniform(0, 1) end)
    helper.raises("size: is a method, tensor:size%(…%)", function() x.size(1) end)
    helper.raises("get: argument 1 must be a whole number; got \"a\"", function() x:get("a", 1) end)
    helper.raises("uniform: argument 2 must be a number; got a table", function() rng:uniform(0, {}) end)
    helper.raises("full: argument 1 must be a number; got nothing", function() sv.full() end)
    helper.raises("zeros: a shape is whole numbers >= 0, such as {64, 3}; got a", function() sv.zeros "a" end)
    helper.raises("backward: is a method, tape:backward%(…%) with a colon; its first argument is a tensor", function()
      local tape <close> = sv.tape()
      tape.backward(x)
    end)
  end)
end)
