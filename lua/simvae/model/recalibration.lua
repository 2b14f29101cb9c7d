--- Recalibration: correction of a trained posterior on held-out simulations, so that its intervals hold the truth as
-- often as they state.
--
-- A training of a posterior by likelihood ends with it, on its held-out samples (simvae.train).
--
--     model:recalibrate { simulations = 1000 }
--     model:recalibrate(false)                      -- as it was trained
--
-- For model:posterior a monotone map of each parameter's marginal quantiles (simvae.posterior.support.recalibrated); of
-- model:encode a factor of each parameter's standard deviations: the 68.3% quantile of the errors in stated standard
-- deviations (conformal prediction: Lei and others 2018), so that one of them holds 68.3% of the truths.
local check = require "simvae.util.check"
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local file = require "simvae.io.file"
local input = require "simvae.model.input"
local interrupt = require "simvae.util.interrupt"
local noise = require "simvae.simulator.noise"
local parameter = require "simvae.simulator.parameter"
local recalibrated = require "simvae.posterior.support.recalibrated"
local streams = require "simvae.util.streams"
local supremum = require "simvae.metrics.support.uniformity".supremum

local Model = {} -- methods that simvae.model takes over
local recalibration = { methods = Model }

local LEAST = 100               -- simulations
local NORMAL = 0.6827           -- of a normal distribution within one standard deviation
local LEVELS = { -2.3263, -2, -1.6449, -1.2816, -0.8416, -0.4399, 0, 0.4399, 0.8416, 1.2816, 1.6449, 2, 2.3263 }
local KOLMOGOROV, TWO_SIDED = 1.36, 1.96 -- of tests at a level of 5%
local BEYOND = 5                -- simulations beyond the outermost level, at least
local DISTANCE = 1e-3           -- of two values of a map, at least
local CHUNK = 256
local PASSES = { numbers = 1, cells = 4 } -- of a map's fit, beyond the first
-- Draws of an output whose coordinates those of truths are compared with: at least, at most, and of all outputs.
local EACH = { least = 4, most = 16, all = 1 << 16 }

local options = check.declare("model:recalibrate", {
  simulations = { "integer", default = 1000, min = LEAST, doc = "fresh draws of the prior that the simulator runs on" },
  seed = { "integer", default = 1, doc = "of these draws" },
  z = { "tensor", doc = "parameters (N, K) of pairs that training has not seen, in place of new simulations" },
  x = { "tensor", doc = "their measured outputs (N, …output)" },
  noise = noise.level_rule,
  workers = { "integer", min = 0, max = 256, doc = "processes that run the simulator; default 0" },
  timeout = { "number", above = 0, doc = "seconds for a sample; needs workers; default: no limit" },
})

-- ---- fitting --------------------------------------------------------------------------------

-- The value below which a share of ascending numbers lies.
local function quantile(sorted, share)
  local at = share * #sorted + 0.5
  local below = math.max(1, math.min(#sorted - 1, math.floor(at)))
  return sorted[below] + (at - below) * (sorted[below + 1] - sorted[below])
end

-- Quantiles of the coordinates of draws, and of truths at the same shares, both ascending.
local function quantiles_of(truths, drawn)
  table.sort(truths)
  local levels, values = {}, {}
  local function add(list, v) list[#list + 1] = math.max(v, (list[#list] or -math.huge) + DISTANCE) end
  for _, level in ipairs(LEVELS) do
    local share = recalibrated.share_below(level)
    if math.min(share, 1 - share) * #truths >= BEYOND then
      add(levels, quantile(drawn, share))
      add(values, quantile(truths, share))
    end
  end
  return levels, values
end

-- Coordinates of truths, numbers of the cube or cells of it: of what a map g takes to them, or without it their own.
local function coordinates_of(measured, truths, g)
  local list = {}
  for i, u in ipairs(truths) do
    local cell = type(u) == "table"
    list[i] = (cell and recalibrated.coordinate_within or recalibrated.coordinate_before)(measured[i], g, u)
  end
  return list
end

-- The map of one parameter, from the coordinates of some outputs, the true numbers of the cube, and the sorted
-- coordinates of draws. These are only near to normal: the quantiles that a coordinate is made of come from the same
-- random numbers for every output, so that their errors do not average out. Quantiles of the truths' coordinates, and
-- once more of those that they have then, as distributions that are cut off at the bounds differ.
local function map_of(measured, truths, drawn)
  local levels, values = quantiles_of(coordinates_of(measured, truths), drawn)
  for _ = 1, type(truths[1]) == "table" and PASSES.cells or PASSES.numbers do
    local g = recalibrated.map(levels, values)
    local _, again = quantiles_of(coordinates_of(measured, truths, g), drawn)
    for j, c in ipairs(again) do values[j] = recalibrated.value(g, c) end
  end
  return { levels = levels, values = values }
end

-- The share of ascending numbers below c.
local function share_of(sorted, c)
  local low, high = 0, #sorted
  while low < high do
    local middle = (low + high + 1) // 2
    if sorted[middle] < c then low = middle else high = middle - 1 end
  end
  return low / #sorted
end

-- Whether the truths of a parameter lie elsewhere among its marginal distributions than draws do: the test of
-- Kolmogorov and Smirnov that their shares below are uniform, at a level of 5%.
local function displaced(measured, truths, drawn)
  local shares = {}
  for i, c in ipairs(coordinates_of(measured, truths)) do shares[i] = share_of(drawn, c) end
  return supremum(shares) > KOLMOGOROV / math.sqrt(#truths)
end

-- Whether another share of errors is within one stated standard deviation than of a normal distribution, at 5%.
local function misstated(errors)
  local within = 0
  for _, e in ipairs(errors) do within = within + (e <= 1 and 1 or 0) end
  return math.abs(within / #errors - NORMAL) > TWO_SIDED * math.sqrt(NORMAL * (1 - NORMAL) / #errors)
end

-- The factor of a parameter's standard deviations from the errors in stated ones.
local function factor_of(errors)
  table.sort(errors)
  return math.max(errors[math.min(#errors, math.ceil(NORMAL * (#errors + 1)))], 1e-6)
end

-- Errors of encode's estimates in its standard deviations: lists of each parameter; of classes none.
local function errors_of(self, z, mean, std)
  local lists = {}
  local known, estimates, stds = z:totable(), mean:totable(), std:totable()
  for k, p in ipairs(self.simulator.params) do
    lists[k] = {}
    for i = 1, p.levels and 0 or #known do
      local d, width = parameter.difference(p, known[i][k], estimates[i][k]), stds[i][k]
      if p.scale == "log" and estimates[i][k] > 0 then
        d, width = math.log(known[i][k] / estimates[i][k]), width / estimates[i][k]
      end
      lists[k][#lists[k] + 1] = math.abs(d) / math.max(width, 1e-30)
    end
  end
  return lists
end

-- Adds the coordinates of `each` further draws of some outputs to lists, one a parameter.
local function add_draws(lists, p, rows, each, rng)
  local draws = core.no_grad(p.head.sample, p.head, p.h, each, rng):totable()
  for i, row in ipairs(rows) do
    for _, u in ipairs(draws[i]) do
      for k, one in ipairs(row) do
        if one then lists[k][#lists[k] + 1] = recalibrated.coordinate(one, u[k]) end
      end
    end
  end
end

-- The cell whose middle u is: as a number, truths would all be at the middle of what their posterior holds.
local function cell_of(p, u, rng)
  local half = 0.5 / parameter.cells(p)
  return { low = u - half, high = u + half, share = rng:uniform() }
end

-- What the correction is found from, of each parameter: the coordinates of the outputs, the true numbers of the cube,
-- sorted coordinates of draws, and errors of the estimates in their standard deviations.
local function gathered(self, z, x, levels)
  local K, n = #self.simulator.params, z.shape[1]
  local kinds, rng = recalibrated.kinds(self.latent), streams.knots(1)
  local measured, truths, drawn, errors = {}, {}, {}, {}
  for k = 1, K do measured[k], truths[k], drawn[k], errors[k] = {}, {}, {}, {} end
  local each = math.max(EACH.least, math.min(EACH.most, EACH.all // n))
  for from = 1, n, CHUNK do
    local scope <close> = core.scope()
    local to = math.min(from + CHUNK - 1, n)
    local part, known = core.slice(x, 1, from, to), core.slice(z, 1, from, to)
    local told = noise.told(levels, from, to)
    local p = self:posterior(part, told)
    local rows, points = recalibrated.measure(p.head, p.h, kinds), cube.from_units(self.latent, known:totable())
    for i, u in ipairs(points) do
      for k, q in ipairs(self.simulator.params) do
        measured[k][from + i - 1], truths[k][from + i - 1] = rows[i][k], q.grid and cell_of(q, u[k], rng) or u[k]
      end
    end
    add_draws(drawn, p, rows, each, rng)
    local off = errors_of(self, known, self:encode(part, told))
    for k = 1, K do table.move(off[k], 1, #off[k], #errors[k] + 1, errors[k]) end
  end
  for k = 1, K do table.sort(drawn[k]) end
  return measured, truths, drawn, errors
end

-- where_needed: corrects only what the pairs show to be wrong, as a map of a few hundred pairs is itself uncertain.
local function fit(self, z, x, levels, where_needed)
  local result = { simulations = z.shape[1], maps = {}, factors = {} }
  local measured, truths, drawn, errors = gathered(self, z, x, levels)
  for k, p in ipairs(self.simulator.params) do
    local interval = not p.levels
    result.maps[k] = interval and (not where_needed or displaced(measured[k], truths[k], drawn[k]))
      and map_of(measured[k], truths[k], drawn[k])
    result.factors[k] = interval and (not where_needed or misstated(errors[k])) and factor_of(errors[k]) or 1
  end
  return result
end

-- Whether a result corrects anything.
local function corrects(result)
  for k, map in ipairs(result.maps) do
    if map or result.factors[k] ~= 1 then return true end
  end
  return false
end

-- ---- use ----------------------------------------------------------------------------------

--- The head that a model's posteriors draw from and are judged by.
-- @tparam Model model
-- @tparam tensor h (N, outputs) of the model's own head
-- @treturn table the head
-- @treturn tensor its numbers
function recalibration.head(model, h)
  local r = model.recalibration
  if not r then return model.head, h end
  if not r.head then
    local maps = {}
    for k, map in ipairs(r.maps) do maps[k] = map and recalibrated.map(map.levels, map.values) end
    r.head = recalibrated.new(model.head, model.latent, maps)
  end
  return r.head, r.head:extend(h)
end

--- Standard deviations of encode's estimates, corrected.
-- @tparam Model model
-- @tparam tensor std (N, K)
-- @treturn tensor
function recalibration.spread(model, std)
  local r = model.recalibration
  return r and std * core.tensor(r.factors) or std
end

--- What a model file keeps of it: plain values.
function recalibration.description(model)
  local r = model.recalibration
  return r and { simulations = r.simulations, maps = r.maps, factors = r.factors } or nil
end

-- ---- files --------------------------------------------------------------------------------

local function numbers(t, what, minimum, maximum)
  if type(t) ~= "table" or #t < minimum or #t > maximum then
    file.refuse("%s takes %d to %d numbers", what, minimum, maximum)
  end
  for i, v in ipairs(t) do
    if type(v) ~= "number" or v ~= v or math.abs(v) == math.huge then
      file.refuse("%s takes finite numbers; number %d is %s", what, i, tostring(v))
    end
  end
  return t
end

--- What a file says, checked: untrusted (simvae.model.description).
-- @param t as decoded
-- @tparam {table,...} params their declarations
-- @treturn table
function recalibration.check(t, params)
  if t == nil then return false end
  local what = "recalibration"
  if type(t) ~= "table" then file.refuse("%s takes a table", what) end
  local n = math.tointeger(t.simulations)
  if not n or n < 1 then file.refuse("%s.simulations takes a whole number from 1 on", what) end
  local result = { simulations = n, maps = {}, factors = numbers(t.factors, what .. ".factors", #params, #params) }
  if type(t.maps) ~= "table" or #t.maps ~= #params then file.refuse("%s.maps takes one for each parameter", what) end
  for k, factor in ipairs(t.factors) do
    if factor <= 0 then file.refuse("%s.factors are above 0; number %d is %g", what, k, factor) end
    local map = t.maps[k]
    if map ~= false then
      if type(map) ~= "table" then file.refuse("%s.maps[%d] takes levels and values", what, k) end
      local levels = numbers(map.levels, what .. ".levels", 3, #LEVELS)
      local values = numbers(map.values, what .. ".values", #levels, #levels)
      for i = 2, #levels do
        if levels[i] <= levels[i - 1] or values[i] <= values[i - 1] then
          file.refuse("%s.maps[%d] takes ascending numbers", what, k)
        end
      end
      map = { levels = levels, values = values }
    end
    result.maps[k] = map
  end
  return result
end

-- The mean log density of the parameters of pairs.
local function mean_log_prob(self, z, x, levels)
  local n, total = z.shape[1], 0
  for from = 1, n, CHUNK do
    local scope <close> = core.scope()
    local to = math.min(from + CHUNK - 1, n)
    local p = self:posterior(core.slice(x, 1, from, to), noise.told(levels, from, to))
    total = total + core.sum(p:log_prob(core.slice(z, 1, from, to))):item()
  end
  return total / n
end

--- Recalibrates what is measurably wrong, on pairs: a training's held-out samples as they are measured. Nothing is
-- changed where their parameters would become less probable, as where a map of quantiles moves modes apart.
-- @tparam Model self
-- @tparam tensor z (N, K) in units
-- @tparam tensor x (N, …output)
-- @tparam ?tensor levels (N,) of the noise, of a simulator with a range of them
function recalibration.on(self, z, x, levels)
  local scope <close> = core.scope()
  self.recalibration = false
  local found = fit(self, z, x, levels, true)
  if not corrects(found) then return end
  local before = mean_log_prob(self, z, x, levels)
  self.recalibration = found
  local after = mean_log_prob(self, z, x, levels)
  self.recalibration = after >= before and found
end

-- ---- the method -----------------------------------------------------------------------------

-- Held-out pairs, and levels of their noise: given ones, or fresh simulations as they are measured.
local function pairs_of(self, o)
  local sim = self.simulator
  if o.z or o.x then
    if not (o.z and o.x) then check.fail(3, "recalibrate: takes z and x together, parameters and outputs") end
    local z = input.parameters("recalibrate", self, o.z)
    local x = input.outputs("recalibrate", self, o.x)
    if z.shape[1] ~= x.shape[1] or z.shape[1] < LEAST then
      check.fail(3, "recalibrate: takes %d pairs or more, as many rows of z as of x; got %d and %d", LEAST, z.shape[1],
        x.shape[1])
    end
    return z, x, noise.levels("recalibrate", sim, o.noise, z.shape[1], 3)
  end
  if self.focus then
    check.fail(3, "recalibrate: the model was trained in rounds for one observation, whose posterior draws of the "
      .. "prior do not measure; give z and x, pairs near it")
  elseif self.set then
    check.fail(3, "recalibrate: the model is of sets of measurements; give z (N, K) and x (N, M, …), of as many "
      .. "measurements as it is used for")
  elseif sim.rows then
    check.fail(3, "recalibrate: the rows of a data set were used in training; give z and x, pairs that were not")
  end
  local z, x, _, levels = require "simvae.sampler".simulate(sim, o.simulations, streams.recalibration(o.seed),
    { workers = o.workers, timeout = o.timeout })
  return z, x, levels
end

--- Recalibrates the posterior on held-out simulations. sample, log_prob (which stays normalised), mean, std, quantile
-- and mode of model:posterior use the correction, and encode's standard deviations; the model's file keeps it, and
-- further training ends it. Probabilities of classes stay as they are.
-- @tparam ?table|false t options; false: removes the correction
-- @treturn Model itself
-- @raise a model whose encoder was never trained; too few pairs
-- @usage
-- model:recalibrate { simulations = 200 }
-- print(model.recalibration ~= false)
-- model:recalibrate(false)
function Model:recalibrate(t)
  if t == false then
    self.recalibration = false
    return self
  end
  local o = check.options("recalibrate", t, options)
  if type(self.net) == "string" and (self.trained.encoder or 0) + (self.trained.sleep or 0) == 0 then
    check.fail(2, "recalibrate: the model's encoder has not been trained")
  end
  local scope <close> = core.scope()
  local z, x, levels = pairs_of(self, o)
  local before = self.recalibration
  local _scope <close> = setmetatable({}, { __close = function() -- errors included
    self.recalibration = self.recalibration or before
  end })
  self.recalibration = false
  self.recalibration = interrupt.during("recalibrate: interrupted; nothing was changed", fit, self, z, x, levels)
  return self
end

return recalibration
