--- Chains of trained models and simulators: what models read goes into a rule, and what it gives is drawn by models.
--
--     local multiply = sv.simulator { name = "multiply", params = { { name = "a", levels = 10 }, … }, … }
--     local chain = sv.chain { digits, digits, multiply, draw = { digits, digits } }
--
--     local pictures, values = chain:apply { first, second }     -- read two digits, multiply, draw the product
--     local p = chain:posterior { draw = { tens, ones } }        -- factor a drawn product: a posterior over the pairs
--     p:list()                                                   -- { { a = 3, b = 4, probability = 0.2 }, … }
--
-- The generative model is that of the rule: parameters z, of the rule's prior, and its outputs y = f(z). A model that
-- reads has z as its latents, and a model that draws has y as its latents; their outputs x are the observations. Bayes'
-- rule needs each part alone, as it was trained:
--
--     p(z | x) ~ p(z) * product over observed parts of q_i(v_i | x_i) / p_i(v_i)
--
-- v_i: the part's bound latents at z, q_i its posterior and p_i its own prior. Where all parameters of the rule are
-- classes, the posterior is the exact sum over their combinations; else it is made of weighted draws
-- (simvae.chain.draws).
--
-- A rule that is a model gives its decoder's outputs, so that two models chain where outputs of one are latents of the
-- next: sv.chain { source, draw = { sensor } }.
local check = require "simvae.util.check"
local core = require "simvae.core"
local exact = require "simvae.chain.exact"
local draws = require "simvae.chain.draws"
local model = require "simvae.model"
local names = require "simvae.util.names"
local part = require "simvae.chain.part"
local simulator = require "simvae.simulator"

local chain = {}
local Chain = {}
Chain.__index = Chain

local options = check.declare("chain", {
  draw = { "table", default = {},
    doc = "what draws the rule's outputs, in order: models, or simulators, which do not read; { part =, params = { "
      .. "names } } binds other parameters than a part's classes, or all of one without classes" },
})

-- ---- making -------------------------------------------------------------------------------------

-- Checks that values of one parameter can be those of another one.
local function check_match(what, name, levels, unit, p, level)
  if levels ~= nil and levels ~= (p.levels or false) then
    local function kind(n) return n and string.format("a class of %d", n) or "a number" end
    check.fail(level + 1, "%s: '%s' of the rule is %s and '%s' of the part is %s", what, name, kind(levels), p.name,
      kind(p.levels))
  end
  if (unit or "") ~= "" and (p.unit or "") ~= "" and unit ~= p.unit then
    check.fail(level + 1, "%s: '%s' of the rule is in %s and '%s' of the part in %s", what, name, unit, p.name, p.unit)
  end
end

local function read_parts(list, sim, level)
  local parts, at = {}, 0
  for j, given in ipairs(list) do
    local one = part.new("chain: part " .. j, given, true, level + 1)
    one.first = at + 1
    for _, p in ipairs(one.params) do
      at = at + 1
      local own = sim.params[at]
      if own then check_match(one.what, own.name, own.levels or false, own.unit, p, level + 1) end
    end
    parts[j] = one
  end
  if #list > 0 and at ~= #sim.params then
    check.fail(level + 1, "chain: the parts before the rule read %d parameters, and the rule '%s' takes %d: %s", at,
      sim.name, #sim.params, table.concat(sim.names, ", "))
  end
  return parts
end

local function draw_parts(list, rule, level)
  local parts, at, sim = {}, 0, rule.sim
  for j, given in ipairs(list) do
    local one = part.new(string.format("chain: draw[%d]", j), given, false, level + 1)
    one.first = at + 1
    for _, p in ipairs(one.params) do
      at = at + 1
      local series = sim.series and #sim.series == sim.output[1] and sim.series[at]
      check_match(one.what, series and series.name or "output " .. at, nil, series and series.unit, p, level + 1)
    end
    if one.classes and rule.model then
      check.fail(level + 1, "%s: takes classes of '%s', which the rule gives, a model whose outputs are numbers; a "
        .. "simulator gives classes", one.what, one.sim.name)
    end
    parts[j] = one
  end
  if #list > 0 and at ~= sim.output[1] then
    check.fail(level + 1, "chain: draw takes %d numbers, and the rule '%s' gives %d", at, sim.name, sim.output[1])
  end
  return parts
end

--- Chains trained models and simulators.
-- @tparam table t the parts in order, the last one the rule: a simulator, or a model, with a vector output; those
-- before it are models that read its parameters, in order, each its classes (without classes: all its parameters), or
-- { part = model, params = { names } }; and options
-- @treturn Chain
-- @raise parts that do not fit: numbers of parameters and outputs, classes, units; a rule that is stochastic
-- @usage
-- local place = sv.simulator { name = "place", output = { 3 },
--   params = { { name = "along", low = 8, high = 24, unit = "px" }, { name = "size", low = 2, high = 8 } },
--   simulate = function(v, out) out[1], out[2], out[3] = v.along, 32 - v.along, v.size end }
-- local rings = sv.chain { place, draw = { model } }
-- print(rings)
-- print(rings:run { { 10, 4 } })
function chain.new(t)
  check.value("chain", "the argument", t, { "table" }, 3)
  local given, list = {}, {}
  for k, v in pairs(t) do
    if math.type(k) == "integer" then list[k] = v else given[k] = v end
  end
  local o = check.options("chain", given, options, 3)
  if #list == 0 then
    check.fail(2, "chain: takes parts, of which the last is the rule: { digits, digits, multiply }")
  end
  local rule = list[#list]
  local self = { rule = {}, log = false }
  if model.is(rule) then
    self.rule.model, self.rule.sim = rule, rule.simulator
  elseif simulator.is(rule) then
    self.rule.sim = rule
  else
    check.fail(2, "chain: the last part is the rule, a simulator or a model; got %s", check.describe(rule))
  end
  local sim = self.rule.sim
  if #sim.output ~= 1 then
    check.fail(2, "chain: the rule '%s' gives pictures %s; it gives numbers, output = { n }", sim.name,
      check.shape_text(sim.output))
  end
  list[#list] = nil
  self.given = { read = list, draw = o.draw, rule = rule }
  self.read = read_parts(list, sim, 2)
  self.draw_parts = draw_parts(o.draw, self.rule, 2)
  self.classes = true
  for _, p in ipairs(sim.params) do self.classes = self.classes and p.levels ~= nil end
  setmetatable(self, Chain)
  if self.classes then self.table = exact.table(self, 2) end
  return self
end

function Chain:__tostring()
  local function said(list)
    local words = {}
    for j, one in ipairs(list) do
      words[j] = string.format("%s (%s)", one.sim.name, table.concat(one.names, ", "))
    end
    return table.concat(words, ", ")
  end
  local sim, text = self.rule.sim, {}
  if #self.read > 0 then text[1] = said(self.read) .. " ->" end
  text[#text + 1] = string.format("%s (%s)", sim.name, table.concat(sim.names, ", "))
  if #self.draw_parts > 0 then text[#text + 1] = "-> " .. said(self.draw_parts) end
  return "chain: " .. table.concat(text, " ")
end

-- ---- use ------------------------------------------------------------------------------------------

--- The rule's outputs: a simulator's, or a model's decoder.
-- @tparam tensor z (N, K) the rule's parameters, in units
-- @treturn tensor (N, n)
-- @raise z of another number of columns
-- @usage
-- local double = sv.simulator { name = "double", params = { { name = "a", low = 0, high = 1 } }, output = { 1 },
--   simulate = function(v, out) out[1] = 2 * v.a end }
-- print(sv.chain { double }:run { { 0.25 } })
function Chain:run(z)
  if self.rule.model then return self.rule.model:decode(z) end
  return self.rule.sim:run(z)
end

local draw_options = check.declare("chain:draw", {
  rng = { "rng", doc = "draws the parameters that the chain does not bind; default: they are in the middle of their "
    .. "priors" },
})

--- Draws values by the parts of `draw`.
-- @tparam tensor values (N, n) the rule's outputs
-- @tparam ?table t options
-- @treturn {tensor,...} of each part (N, …output); zeros where it is left out, its classes all 0
-- @raise values of another number of columns; classes that a part does not have
-- @usage
-- local place = sv.simulator { name = "place", params = { { name = "at", low = 8, high = 24 } }, output = { 3 },
--   simulate = function(v, out) out[1], out[2], out[3] = v.at, v.at, 4 end }
-- local rings = sv.chain { place, draw = { model } }
-- print(rings:draw(rings:run { { 10 }, { 20 } })[1].shape)
function Chain:draw(values, t)
  local o = check.options("draw", t, draw_options)
  if type(values) == "table" and getmetatable(values) == nil then values = core.tensor(values) end
  local n = self.rule.sim.output[1]
  if #self.draw_parts == 0 then
    check.fail(2, "draw: the chain has no parts that draw: sv.chain { …, draw = { … } }")
  end
  if getmetatable(values) ~= core.metatable or values.ndim ~= 2 or values.shape[2] ~= n then
    check.fail(2, "draw: takes outputs of the rule '%s', (N, %d); got %s", self.rule.sim.name, n,
      check.describe(values))
  end
  local pictures = {}
  for j, one in ipairs(self.draw_parts) do
    pictures[j] = one:draw(core.slice(values, 2, one.first, one.first + #one.params - 1), o.rng)
  end
  return pictures
end

-- Posteriors of the observations of some parts: a list with false where a part was left out; and N.
local function observed(what, parts, given, count, level)
  local list = {}
  if given == nil then return nil, count end
  if type(given) ~= "table" or getmetatable(given) ~= nil or #given ~= #parts then
    check.fail(level + 1, "posterior: %s takes a list of %d outputs, one of each part%s; got %s", what, #parts,
      what == "draw" and ", or false for one that is left out" or "",
      type(given) == "table" and getmetatable(given) == nil and "a list of " .. #given or check.describe(given))
  end
  for j, x in ipairs(given) do
    local one = parts[j]
    if x == false and what == "draw" and one.classes then
      list[j] = false
    elseif x == false then
      check.fail(level + 1, "posterior: %s[%d] cannot be left out: only classes of a drawn part have a value, 0, that "
        .. "says so", what, j)
    else
      local p = one:posterior_of("posterior", x, level + 1)
      if count and p.count ~= count then
        check.fail(level + 1, "posterior: %s[%d] has %d outputs, others %d", what, j, p.count, count)
      end
      list[j], count = p, p.count
    end
  end
  return list, count
end

local posterior_options = check.declare("chain:posterior", {
  read = { "table", doc = "what the parts before the rule read, in order: each (N, …output), or one output" },
  draw = { "table", doc = "what the parts of `draw` drew, in order: each (N, …output), or one output; false: the part "
    .. "was left out, as its class is 0" },
  samples = { "integer", default = 4096, min = 16, max = 1 << 20,
    doc = "weighted draws, where the rule's parameters are not all classes" },
  rng = { "rng", doc = "of these draws; default: sv.rng(1)" },
})

--- The posterior of the rule's parameters, given outputs of parts that read, of parts that draw, or of both.
-- @tparam table t options
-- @treturn Composed of N observations (simvae.chain.composed)
-- @raise no observations, or another number of them; observations that no parameters of the rule explain; a part
-- without an inverse; a prior without a density
-- @usage
-- local both = sv.simulator { name = "both", output = { 3 },
--   params = { { name = "at", low = 8, high = 24 }, { name = "size", low = 2, high = 8 } },
--   simulate = function(v, out) out[1], out[2], out[3] = v.at, v.at, v.size end }
-- local rings = sv.chain { both, draw = { model } }
-- local q = rings:posterior { draw = { x[1] }, samples = 256 }
-- print(q)
-- print(q:mean(), q:std())
function Chain:posterior(t)
  local o = check.options("posterior", t, posterior_options)
  local read, drawn, count
  read, count = observed("read", self.read, o.read, nil, 2)
  drawn, count = observed("draw", self.draw_parts, o.draw, count, 2)
  if not count then
    check.fail(2, "posterior: takes observations, read = { … } or draw = { … }, of which one is an output")
  end
  if self.classes then return exact.posterior(self, read, drawn, count, 2) end
  return draws.posterior(self, read, drawn, count, o.samples, o.rng or core.rng(1), 2)
end

--- Reads outputs, applies the rule to what is most probable, and draws the result.
-- @tparam {tensor,...} x what the parts before the rule read, in order, each (N, …output), or one output
-- @tparam ?table t as of chain:draw
-- @treturn {tensor,...} of each part of `draw` (N, …output); an empty list where the chain has none
-- @treturn tensor the rule's most probable outputs (N, n); of draws the outputs at their mean
-- @treturn ?tensor their probabilities (N,), where all parameters of the rule are classes
-- @raise as of chain:posterior and chain:draw
-- @usage
-- local sum = sv.simulator { name = "sum", output = { 1 }, params = { { name = "x", low = 8, high = 24 },
--     { name = "y", low = 8, high = 24 }, { name = "r", low = 2, high = 8 } },
--   simulate = function(v, out) out[1] = v.x + v.y + v.r end }
-- local _, values = sv.chain { model, sum }:apply { x[1] }
-- print(values)
function Chain:apply(x, t)
  local p = self:posterior { read = x }
  local values, probabilities
  if self.classes then
    values, probabilities = p:most_probable_outputs()
  else
    values = self:run(p:mean())
  end
  return #self.draw_parts > 0 and self:draw(values, t) or {}, values, probabilities
end

--- A chain with another part in place of one, wherever it is; nothing is trained.
-- @tparam Model|Simulator old the part
-- @tparam Model|Simulator new with the same bound parameters
-- @treturn Chain
-- @raise a part that the chain does not have; a new one that does not fit
-- @usage
-- local flat = sv.simulator { name = "flat", params = { { name = "at", low = 8, high = 24 } }, output = { 3 },
--   simulate = function(v, out) out[1], out[2], out[3] = v.at, 16, 4 end }
-- local rings = sv.chain { flat, draw = { model } }
-- print(rings:swap(model, ring))
function Chain:swap(old, new)
  local found = false
  local function other(given)
    if given == old then
      found = true
      return new
    end
    if type(given) == "table" and getmetatable(given) == nil then
      return { part = other(given.part), params = given.params }
    end
    return given
  end
  local t = { draw = {} }
  for j, given in ipairs(self.given.read) do t[j] = other(given) end
  t[#t + 1] = other(self.given.rule)
  for j, given in ipairs(self.given.draw) do t.draw[j] = other(given) end
  if not found then check.fail(2, "swap: %s is no part of the chain", check.describe(old)) end
  return chain.new(t)
end

names.class(Chain, "chain", { "rule", "log", "given", "read", "draw_parts", "classes", "table" })
chain.class = Chain

return chain
