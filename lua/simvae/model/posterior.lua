--- The posterior q(z | x) of outputs, in the simulator's units, as returned by model:posterior(x).
--
--     local p = model:posterior(x)
--     p:sample(1000, sv.rng(3))                       -- (N, 1000, K), within the prior's support
--     p:sample(1000, sv.rng(3), { resample = true })  -- corrected by the decoder's likelihood (simvae.model.resample)
--     p:log_prob(z)                                   -- (N,): the log density at z (N, K), per unit of each parameter
--     p:mean() p:std() p:mode()                       -- (N, K)
--     p:quantile { 0.05, 0.5, 0.95 }                  -- (N, 3, K)
--     p:probabilities "shape"                         -- (N, levels): of a class, exact
--     p.surprise                                      -- (N,): how unusual each output is, a quantile (model.surprise)
--
-- Mean, standard deviation, quantiles and mode are those of 2,048 draws of each posterior, of a fixed stream.
local check = require "simvae.util.check"
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local recalibration = require "simvae.model.recalibration"
local parameters = require "simvae.simulator.parameters"
local prior = require "simvae.simulator.prior"
local resample = require "simvae.model.resample"
local streams = require "simvae.util.streams"
local surprise = require "simvae.model.surprise"
local likelihood = require "simvae.model.likelihood"
local names = require "simvae.util.names"
local notice = require "simvae.model.notice"
local parameter = require "simvae.simulator.parameter"
local take_rows = require "simvae.util.take_rows"
local quantile = require "simvae.util.quantile"

local DRAWS = 2048         -- of each posterior, for its summaries
local AT_ONCE = 1 << 16    -- draws or points per chunk

local Posterior = {}

-- surprise is measured when it is first asked for.
function Posterior.__index(self, name)
  if name ~= "surprise" then return Posterior[name] end
  local model = rawget(self, "model")
  if not (model and rawget(self, "x")) then return nil end
  local h = core.slice(self.h, 2, 1, model.head.outputs)
  local value = surprise.of(model, h, self.x)
  if not value then
    check.fail(2, "posterior: surprise needs a reference, simulations that the end of a training takes; this model has "
      .. "none")
  end
  rawset(self, "surprise", value)
  return value
end

local posterior = {}

--- @tparam Model model
-- @tparam tensor h (N, outputs) what its encoder gives
-- @tparam ?tensor x (N, …output) the outputs themselves, in units, for importance resampling
-- @tparam ?tensor noise (N,) levels of the outputs' noise (simvae.model.levels)
-- @treturn Posterior
function posterior.new(model, h, x, noise)
  local head, numbers = recalibration.head(model, h)
  return setmetatable({ model = model, head = head, h = numbers, x = x or false, noise = noise or false,
    count = h.shape[1] }, Posterior)
end

-- The posterior of some of the outputs, from their numbers.
local function part_of(self, h)
  return setmetatable({ model = self.model, head = self.head, h = h, x = false, noise = false,
    count = h.shape[1] }, Posterior)
end

function Posterior:__tostring()
  return string.format("posterior \"%s\" of %d output%s of %s over %s", self.head.name, self.count,
    self.count == 1 and "" or "s", self.model.simulator.name, table.concat(self.model.simulator.names, ", "))
end

-- f(rows of h, first, last) for as many posteriors as fit into one piece, of `each` draws or points a posterior; each
-- of its results is joined.
local function in_pieces(self, each, f)
  local step = math.max(1, AT_ONCE // each)
  local parts, others = {}, {}
  for from = 1, math.max(self.count, 1), step do
    local scope <close> = core.scope()
    local to = math.min(from + step - 1, self.count)
    local first, second = core.no_grad(f, core.slice(self.h, 1, from, to), from, to)
    parts[#parts + 1], others[#others + 1] = scope:keep(first), second and scope:keep(second)
  end
  local function joined(list) return #list > 1 and core.concat(list, 1) or list[1] end
  return joined(parts), joined(others)
end

local sample_options = check.declare("posterior:sample", {
  resample = { "boolean", default = false,
    doc = "draws are proposals, which the decoder's likelihood and the prior weigh (sampling importance resampling): "
      .. "more accurate where the decoder is, and slower; log_prob stays that of the proposals" },
})

-- Of the proposals, a share of effective ones below which there is a notice. On sbibm's two_moons and slcp draws of
-- less were worse than the posterior's own.
local FEW = 0.01

-- Draws that the decoder's likelihood corrects, and effective sample sizes.
local function resampled(self, n, rng)
  local model = self.model
  if not self.x then check.fail(3, "sample: resample needs a posterior of outputs, as model:posterior(x) gives it") end
  likelihood.check("sample: resample", model, 4)
  if not prior.known(model.simulator) then
    check.fail(3, "sample: resample weighs draws by the prior's density, and the prior of simulator '%s' is a function "
      .. "without one: prior = { draw = function(rng) … end, log_density = function(z) … end }", model.simulator.name)
  end
  if self.count == 0 then return core.zeros(0, n, #model.simulator.params), core.zeros(0) end
  model.decoder:eval()
  local m = resample.proposals(n)
  local z, sizes = in_pieces(self, m, function(h, from, to)
    return resample.draw(model, self.head, h, core.slice(self.x, 1, from, to), n, m, rng,
      self.noise and core.slice(self.noise, 1, from, to))
  end)
  local at = math.tointeger(core.argmin(sizes):item())
  if sizes:get(at) < FEW * m then
    notice(model, "resample", string.format("sample: resample: the effective sample size of output %d is %.1f of %d "
      .. "proposals, less than %g%%: the decoder's likelihood and the posterior contradict each other, and "
      .. "draws without resample may be better", at, sizes:get(at), m, 100 * FEW))
  end
  return z, sizes
end

--- Draws parameters.
-- @tparam integer n draws of each posterior
-- @tparam rng rng
-- @tparam ?table t options
-- @treturn tensor (N, n, K), in units, within the prior's support
-- @treturn ?tensor of resample: effective sample sizes (N,), of max(10 n, 4096) proposals; below 1% there is a notice
-- @raise resample: a decoder that has not been trained, a prior whose density is not known
-- @usage
-- local draws = p:sample(100, sv.rng(3))
-- print(draws.shape)
function Posterior:sample(n, rng, t)
  check.value("sample", "n", n, { "integer", min = 1, max = 1 << 24 })
  check.value("sample", "rng", rng, { "rng" })
  if check.options("sample", t, sample_options).resample then
    local z, sizes = resampled(self, n, rng) -- no tail call: errors point at the caller
    return z, sizes
  end
  local head, latent = self.head, self.model.latent
  return (in_pieces(self, n, function(h) return cube.to_units(latent, head:sample(h, n, rng)) end))
end

-- z as (N, M, K) and whether it came so; levels: of the caller of log_prob.
local function points(self, z)
  if type(z) == "table" and getmetatable(z) == nil then z = core.tensor(z) end
  local names_of = self.model.simulator.names
  local K, N = #names_of, self.count
  if getmetatable(z) ~= core.metatable or z.ndim < 2 or z.ndim > 3 or z.shape[1] ~= N or z.shape[z.ndim] ~= K then
    check.fail(3, "log_prob: takes a tensor (%d, %d) or (%d, M, %d), of parameters %s; got %s", N, K, N, K,
      table.concat(names_of, ", "), check.describe(z))
  end
  return z.ndim == 3 and z or core.reshape(z, N, 1, K), z.ndim == 3
end

--- The logarithm of the density at parameters, per unit of each (of a class: of its probability); it is normalised over
-- the prior's support, and -inf outside.
-- @tparam tensor z (N, K), a row for each posterior, or (N, M, K), M rows for each; in units
-- @treturn tensor (N,) or (N, M)
-- @raise z of another number of rows or columns
-- @usage print(p:log_prob(z)[1])
function Posterior:log_prob(z)
  local whole, several = points(self, z)
  local head, latent = self.head, self.model.latent
  local M, K = whole.shape[2], whole.shape[3]
  local result = in_pieces(self, math.max(M, 1), function(h, from, to)
    local n = to - from + 1
    if n * M == 0 then return core.zeros(n, M) end
    local rows = core.reshape(core.slice(whole, 1, from, to), n * M, K):totable()
    local u, slopes = cube.from_units(latent, rows)
    return head:log_prob(h, core.reshape(core.tensor(u), n, M, K)) + core.reshape(core.tensor(slopes), n, M)
  end)
  return several and result or core.reshape(result, self.count)
end

-- ---- classes ------------------------------------------------------------------------------------

-- The places of named classes among a simulator's classes, in the order of the names.
local function class_places(sim, wanted)
  local place, classes, list = {}, {}, {}
  for _, p in ipairs(sim.params) do
    if p.levels then
      classes[#classes + 1] = p.name
      place[p.name] = #classes
    end
  end
  if #classes == 0 then
    check.fail(3, "probabilities: simulator '%s' has no class among its parameters %s", sim.name,
      table.concat(sim.names, ", "))
  end
  if wanted == nil then wanted = classes elseif type(wanted) == "string" then wanted = { wanted } end
  check.value("probabilities", "names", wanted, { "table" }, 3)
  for i, name in ipairs(wanted) do
    if not place[name] then
      check.fail(3, "probabilities: takes names of classes, %s; got %s%s", table.concat(classes, ", "),
        check.describe(name), check.suggestion(name, classes))
    end
    for k = 1, i - 1 do
      if wanted[k] == name then check.fail(3, "probabilities: '%s' is named twice", name) end
    end
    list[i] = place[name]
  end
  return list, #classes
end

--- The probabilities of classes: exact sums over the others, not shares of draws.
-- @tparam ?string|{string,...} wanted names of parameters with `levels`; default: all of them
-- @treturn tensor (N, levels) of one, (N, levels, levels) jointly of two, and so on, in the order of the names
-- @raise names of parameters that are no classes
-- @usage print(look:posterior(sv.full(2, { 1, 1 })):probabilities "side")
function Posterior:probabilities(wanted)
  local places, count = class_places(self.model.simulator, wanted)
  local joint = in_pieces(self, 64, function(h) return self.head:class_shares(h) end)
  local order, rest = { 1 }, {}
  for i, place in ipairs(places) do order[i + 1] = place + 1 end
  for axis = 2, count + 1 do
    local taken = false
    for _, place in ipairs(places) do taken = taken or place + 1 == axis end
    if not taken then rest[#rest + 1] = axis end
  end
  table.move(rest, 1, #rest, #order + 1, order)
  local moved = count > 1 and core.permute(joint, order) or joint
  for axis = count + 1, #places + 2, -1 do moved = core.sum(moved, axis) end
  return moved
end

-- ---- summaries of draws -----------------------------------------------------------------------

-- The draws (n, DRAWS, K) of some of the posteriors, of a fixed stream.
local function draws(self, h, first)
  return cube.to_units(self.model.latent, self.head:sample(h, DRAWS, streams.summaries(first)))
end

-- Applies f(values, p) to each parameter's draws, lists in ascending order of each posterior's, circles unwrapped about
-- their mean direction; returns (N, K) or, of lists, (N, width, K).
local function summarise(self, width, f)
  local params = self.model.simulator.params
  return in_pieces(self, DRAWS, function(h, from)
    local z = draws(self, h, from)
    local n, columns = h.shape[1], {}
    for k, p in ipairs(params) do
      local values = core.reshape(cube.column(z, k), n, DRAWS)
      if not p.period then values = core.sort(values, 2) end
      columns[k] = {}
      for i, list in ipairs(values:totable()) do columns[k][i] = f(list, p) end
    end
    local rows = {}
    for i = 1, n do
      local row = {}
      for w = 1, width do
        for k = 1, #params do row[(w - 1) * #params + k] = columns[k][i][w] end
      end
      rows[i] = row
    end
    if n == 0 then return core.zeros(0, width, #params) end
    return core.reshape(core.tensor(rows), n, width, #params)
  end)
end

local function mean_of(list)
  local total = 0
  for _, v in ipairs(list) do total = total + v end
  return total / #list
end

local function most_frequent(list)
  local counts, best = {}, list[1]
  for _, v in ipairs(list) do
    counts[v] = (counts[v] or 0) + 1
    if counts[v] > counts[best] then best = v end
  end
  return best
end

-- Signed angular distances from a centre to values of a circle, in ascending order.
local function ways(list, p, centre)
  local result = {}
  for i, v in ipairs(list) do result[i] = parameter.difference(p, v, centre) end
  table.sort(result)
  return result
end

--- The mean of each parameter: of a circle the mean direction, of a class the most probable one.
-- @treturn tensor (N, K), in units
-- @usage print(p:mean()[1])
function Posterior:mean()
  return core.reshape(summarise(self, 1, function(list, p)
    return { p.levels and most_frequent(list) or p.period and parameter.direction(p, list) or mean_of(list) }
  end), self.count, #self.model.simulator.params)
end

--- The standard deviation of each parameter; of a circle about its mean direction, of a class that of its number.
-- @treturn tensor (N, K), in units
-- @usage print(p:std()[1])
function Posterior:std()
  return core.reshape(summarise(self, 1, function(list, p)
    local away = list
    if p.period then away = ways(list, p, parameter.direction(p, list)) end
    local centre, total = p.period and 0 or mean_of(away), 0
    for _, v in ipairs(away) do total = total + (v - centre) ^ 2 end
    return { math.sqrt(total / #away) }
  end), self.count, #self.model.simulator.params)
end

--- Quantiles of each parameter's marginal distribution; of a circle, counted from the opposite of its mean direction.
-- @tparam {number,...} q shares from 0 to 1
-- @treturn tensor (N, #q, K), in units
-- @raise shares outside [0, 1]
-- @usage print(p:quantile({ 0.05, 0.5, 0.95 }).shape)
function Posterior:quantile(q)
  if type(q) == "number" then q = { q } end
  check.value("quantile", "q", q, { "table" })
  if getmetatable(q) ~= nil or #q == 0 then
    check.fail(2, "quantile: q takes a list of shares, such as { 0.05, 0.5, 0.95 }; got %s", check.describe(q))
  end
  for i, share in ipairs(q) do check.value("quantile", "q[" .. i .. "]", share, { "number", min = 0, max = 1 }) end
  return (summarise(self, #q, function(list, p)
    local centre = p.period and parameter.direction(p, list) or 0
    local sorted, values = p.period and ways(list, p, centre) or list, {}
    for i, share in ipairs(q) do
      local v = p.levels and sorted[math.floor(share * (#sorted - 1) + 1.5)] or quantile.interpolated(sorted, share)
      values[i] = parameter.wrap(p, centre + v)
    end
    return values
  end))
end

--- The point of maximum density among each posterior's draws and the centres of its components.
-- @treturn tensor (N, K), in units
-- @usage print(p:mode()[1])
function Posterior:mode()
  local model, K = self.model, #self.model.simulator.params
  local function densest(h, from)
    local n = h.shape[1]
    if n == 0 then return core.zeros(0, K) end
    local found = { draws(self, h, from) }
    for _, code in ipairs((self.head:candidates(h))) do
      local centre = model.latent:to_units(code):totable()
      for i, row in ipairs(centre) do centre[i] = parameters.within(model.simulator.params, row) end
      found[#found + 1] = core.reshape(core.tensor(centre), n, 1, K)
    end
    local z = core.concat(found, 2)
    local best = core.argmax(part_of(self, h):log_prob(z), 2)
    return core.reshape(take_rows(z, best), n, K)
  end
  return in_pieces(self, DRAWS, densest)
end

names.class(Posterior, "posterior", {
  { "model", "Model", "whose posterior it is" },
  { "count", "integer", "the number of outputs" },
  { "surprise", "tensor", "(N,): how unusual each output is among the simulator's own, a quantile" },
  "head", "h", "x", "noise" })

return posterior
