--- The posterior of a chain, as chain:posterior returns it: probabilities of all combinations of classes, or weighted
-- draws.
local check = require "simvae.util.check"
local core = require "simvae.core"
local importance = require "simvae.util.importance"
local names = require "simvae.util.names"

local Composed = {}
Composed.__index = Composed

local composed = {}

--- Weights that sum to 1 from their logarithms, in place.
-- @treturn ?{number,...} the list; nil where none is above 0
-- @treturn number their effective sample size
function composed.normalised(list)
  local sum, squares = importance.weigh(list)
  if sum == 0 then return nil end
  for i, w in ipairs(list) do list[i] = w / sum end
  return list, sum * sum / squares
end

--- @tparam table t chain, count, exact, weights: N lists; rows: of the rule's parameters, if exact shared by all
-- observations, else a list of each; results: the rule's outputs at them (exact); size (draws)
-- @treturn Composed
function composed.new(t)
  t.names = t.chain.rule.sim.names
  t.results, t.size = t.results or false, t.size or false
  return setmetatable(t, Composed)
end

function Composed:__tostring()
  return string.format("posterior of %d observation%s over %s of %s: %s", self.count, self.count == 1 and "" or "s",
    table.concat(self.names, ", "), self.chain.rule.sim.name, self.exact and string.format("all %d combinations",
    #self.rows) or string.format("%d weighted draws", #self.rows[1]))
end

local function rows_of(self, n) return self.exact and self.rows or self.rows[n] end

local function check_exact(self, what)
  if not self.exact then
    check.fail(3, "%s: the rule '%s' has parameters that are no classes; its posterior is made of draws: sample, mean "
      .. "and std", what, self.chain.rule.sim.name)
  end
end

local function check_observation(self, what, n)
  check.value(what, "n", n, { "integer", min = 1, max = math.max(self.count, 1) }, 4)
end

-- Entries { 1 =, 2 =, …, probability = } from the most probable one to the least, those of equal probability in order.
local function sorted(list)
  for i, entry in ipairs(list) do entry.place = i end
  table.sort(list, function(a, b)
    if a.probability ~= b.probability then return a.probability > b.probability end
    return a.place < b.place
  end)
  for _, entry in ipairs(list) do entry.place = nil end
  return list
end

--- The combinations of one observation, the most probable first.
-- @tparam ?integer n of the observation (1)
-- @tparam ?number least probability that is listed (0.001)
-- @treturn {table,...} the rule's parameters by name, and probability
-- @raise a posterior made of draws, an observation that there is not
-- @usage
-- local q = coins:posterior { draw = { { 2 } } }
-- for _, entry in ipairs(q:list()) do print(entry.a, entry.b, entry.probability) end
function Composed:list(n, least)
  check_exact(self, "list")
  n, least = n or 1, least or 0.001
  check_observation(self, "list", n)
  check.value("list", "least", least, { "number", min = 0, max = 1 })
  local list = {}
  for c, probability in ipairs(self.weights[n]) do
    if probability >= least then
      local entry = { probability = probability }
      for k, name in ipairs(self.names) do entry[name] = math.tointeger(self.rows[c][k]) end
      list[#list + 1] = entry
    end
  end
  return sorted(list)
end

--- The rule's outputs of one observation, the most probable first: sums over the combinations that give the same.
-- @tparam ?integer n of the observation (1)
-- @tparam ?number least probability that is listed (0.001)
-- @treturn {table,...} lists of the outputs, with a field probability
-- @raise a posterior made of draws, an observation that there is not
-- @usage
-- local q = coins:posterior { draw = { { 2 } } }
-- print(q:outputs()[1][1], q:outputs()[1].probability)
function Composed:outputs(n, least)
  check_exact(self, "outputs")
  n, least = n or 1, least or 0.001
  check_observation(self, "outputs", n)
  check.value("outputs", "least", least, { "number", min = 0, max = 1 })
  local by_text, list = {}, {}
  for c, probability in ipairs(self.weights[n]) do
    local text = table.concat(self.results[c], " ")
    if not by_text[text] then
      by_text[text] = table.move(self.results[c], 1, #self.results[c], 1, { probability = 0 })
      list[#list + 1] = by_text[text]
    end
    by_text[text].probability = by_text[text].probability + probability
  end
  local kept = {}
  for _, entry in ipairs(sorted(list)) do
    if entry.probability >= least then kept[#kept + 1] = entry end
  end
  return kept
end

--- The most probable outputs of the rule.
-- @treturn tensor (N, n)
-- @treturn tensor their probabilities (N,)
-- @raise a posterior made of draws
-- @usage
-- local q = coins:posterior { draw = { { 2 } } }
-- print(q:most_probable_outputs())
function Composed:most_probable_outputs()
  check_exact(self, "most_probable_outputs")
  local values, probabilities = {}, {}
  for n = 1, self.count do
    local best = self:outputs(n, 0)[1]
    values[n], probabilities[n] = table.move(best, 1, #best, 1, {}), best.probability
  end
  return core.tensor(values), core.tensor(probabilities)
end

--- The probabilities of the rule's parameters, jointly.
-- @tparam ?string|{string,...} wanted names; default: all of them
-- @treturn tensor (N, levels) of one, (N, levels, levels) of two, and so on, in the order of the names
-- @raise a posterior made of draws, names of no parameters
-- @usage
-- local q = coins:posterior { draw = { { 2 } } }
-- print(q:probabilities())
function Composed:probabilities(wanted)
  check_exact(self, "probabilities")
  local sim = self.chain.rule.sim
  if wanted == nil then wanted = self.names elseif type(wanted) == "string" then wanted = { wanted } end
  check.value("probabilities", "names", wanted, { "table" })
  local columns, shape, seen = {}, { self.count }, {}
  for i, name in ipairs(wanted) do
    local k = sim.index[name]
    if not k or seen[k] then
      check.fail(2, "probabilities: takes different names of the rule's parameters, %s; got %s%s",
        table.concat(self.names, ", "), check.describe(name), k and "" or check.suggestion(name, self.names))
    end
    columns[i], shape[i + 1], seen[k] = k, sim.params[k].levels, true
  end
  local flat, size = {}, check.count(shape) // math.max(self.count, 1)
  for n = 1, self.count do
    local sums = {}
    for at = 1, size do sums[at] = 0 end
    for c, probability in ipairs(self.weights[n]) do
      local at = 0
      for i, k in ipairs(columns) do at = at * shape[i + 1] + self.rows[c][k] - 1 end
      at = math.tointeger(at + 1)
      sums[at] = sums[at] + probability
    end
    flat[n] = sums
  end
  return core.reshape(core.tensor(flat), shape)
end

--- The most probable combination of each observation.
-- @treturn tensor (N, K)
-- @raise a posterior made of draws
-- @usage
-- local q = coins:posterior { draw = { { 2 } } }
-- print(q:mode())
function Composed:mode()
  check_exact(self, "mode")
  local list = {}
  for n, weights in ipairs(self.weights) do
    local best = 1
    for c, w in ipairs(weights) do
      if w > weights[best] then best = c end
    end
    list[n] = self.rows[best]
  end
  return core.tensor(list)
end

--- Draws the rule's parameters: of weighted draws by systematic resampling, in random order.
-- @tparam integer n draws of each observation
-- @tparam rng rng
-- @treturn tensor (N, n, K), in units
-- @raise a number of draws below 1, an rng of another type
-- @usage
-- local line = sv.simulator { name = "line", output = { 3 }, params = { { name = "at", low = 8, high = 24 } },
--   simulate = function(v, out) out[1], out[2], out[3] = v.at, v.at, 5 end }
-- local q = sv.chain { line, draw = { model } }:posterior { draw = { x[1] }, samples = 256 }
-- print(q:sample(5, sv.rng(1)))
function Composed:sample(n, rng)
  check.value("sample", "n", n, { "integer", min = 1, max = 1 << 24 })
  check.value("sample", "rng", rng, { "rng" })
  local all = {}
  for i = 1, self.count do
    local rows, mixed = rows_of(self, i), {}
    for k, at in ipairs(importance.resampled(self.weights[i], 1, n, rng)) do mixed[k] = rows[at] end
    all[i] = mixed
  end
  return core.tensor(all)
end

-- Weighted means of f(value, column, observation), (N, K).
local function averaged(self, f)
  local list = {}
  for n, weights in ipairs(self.weights) do
    local rows, sums = rows_of(self, n), {}
    for k = 1, #self.names do sums[k] = 0 end
    for c, w in ipairs(weights) do
      for k, v in ipairs(rows[c]) do sums[k] = sums[k] + w * f(v, k, n) end
    end
    list[n] = sums
  end
  return list
end

--- The mean of each parameter; of a class that of its number.
-- @treturn tensor (N, K), in units
-- @usage
-- local line = sv.simulator { name = "line", output = { 3 }, params = { { name = "at", low = 8, high = 24 } },
--   simulate = function(v, out) out[1], out[2], out[3] = v.at, v.at, 5 end }
-- local q = sv.chain { line, draw = { model } }:posterior { draw = { x[1] }, samples = 256 }
-- print(q:mean())
function Composed:mean()
  return core.tensor(averaged(self, function(v) return v end))
end

--- The standard deviation of each parameter; of a class that of its number.
-- @treturn tensor (N, K), in units
-- @usage
-- local line = sv.simulator { name = "line", output = { 3 }, params = { { name = "at", low = 8, high = 24 } },
--   simulate = function(v, out) out[1], out[2], out[3] = v.at, v.at, 5 end }
-- local q = sv.chain { line, draw = { model } }:posterior { draw = { x[1] }, samples = 256 }
-- print(q:std())
function Composed:std()
  local means = averaged(self, function(v) return v end)
  local squares = averaged(self, function(v, k, n) return (v - means[n][k]) ^ 2 end)
  for _, row in ipairs(squares) do
    for k, v in ipairs(row) do row[k] = math.sqrt(v) end
  end
  return core.tensor(squares)
end

names.class(Composed, "composed", {
  { "count", "integer", "the number of observations" },
  { "exact", "boolean", "whether it is a sum over all combinations; else weighted draws" },
  { "size", "tensor|boolean", "(N,): effective sample sizes of weighted draws; false: exact" },
  "chain", "names", "rows", "results", "weights" })
composed.class = Composed

return composed
