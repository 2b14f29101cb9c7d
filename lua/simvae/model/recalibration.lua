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
local VERSION = 2               -- of the draws whose quantiles maps refer to: those of 1 are another sample
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
    local share = core.distribution.cdf("normal", level)
    if math.min(share, 1 - share) * #truths >= BEYOND then
      add(levels, quantile(drawn, share))
      add(values, quantile(truths, share))
    end
  end
  return levels, values
end

-- Coordinates of a parameter's truths, numbers of the cube or cells of it: of what a map g takes to them, or without it
-- their own.
local function coordinates_of(one, g)
  local c = one.cells and recalibrated.coordinates_within(one, g, one.cells)
    or recalibrated.coordinates(one, g, one.truths)
  return core.reshape(c, -1):totable()
end

-- The map of one parameter. Coordinates of draws are only near to normal: the quantiles that a coordinate is made of
-- come from the same random numbers for every output, so that their errors do not average out. Quantiles of the truths'
-- coordinates, and once more of those that they have then, as distributions that are cut off at the bounds differ.
local function map_of(one)
  local levels, values = quantiles_of(coordinates_of(one), one.drawn)
  for _ = 1, one.cells and PASSES.cells or PASSES.numbers do
    local scope <close> = core.scope()
    local g = recalibrated.maps { { levels = levels, values = values } }
    local _, again = quantiles_of(coordinates_of(one, g), one.drawn)
    values = recalibrated.values(g, core.tensor { again }):totable()[1]
  end
  return { levels = levels, values = values }
end

-- Whether the truths of a parameter lie elsewhere among its marginal distributions than draws do: the test of
-- Kolmogorov and Smirnov that their ranks among draws are uniform (simulation-based calibration: Talts and others
-- 2018), equal ones in random order, at a level of 5%.
local function displaced(one, rng)
  local shares = {}
  for i, row in ipairs(one.draws:totable()) do
    local low, below, same = one.known[i][1], 0, 0
    local high = one.known[i][2] or low
    for _, u in ipairs(row) do
      if u < low then below = below + 1 elseif u <= high then same = same + 1 end
    end
    shares[i] = (below + rng:uniform() * (same + 1)) / (#row + 1)
  end
  return supremum(shares) > KOLMOGOROV / math.sqrt(#shares)
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

-- The cell whose middle u is: as a number, truths would all be at the middle of what their posterior holds.
local function cell_of(p, u, rng)
  local half = 0.5 / parameter.cells(p)
  return { u - half, u + half, rng:uniform() }
end

-- Adds the true numbers of the cube, or their cells, to lists, one a parameter.
local function add_truths(lists, params, points, rng)
  for _, u in ipairs(points) do
    for k, p in ipairs(params) do
      lists[k][#lists[k] + 1] = p.grid and cell_of(p, u[k], rng) or { u[k] }
    end
  end
end

-- What the correction is found from: of each parameter that is no class the true numbers of the cube, `known`, also as
-- tensors, `truths` (n, 1) or of a grid `cells`, and draws of the posteriors, `draws` (n, M); of each the errors of the
-- estimates in their standard deviations. Also what the model's own head is given (n, outputs).
local function gathered(self, z, x, levels, kinds)
  local inference = require "simvae.model.inference" -- which takes this file
  local params, n, rng = self.simulator.params, z.shape[1], streams.knots(1)
  local all, known_of, drawn, numbers_of = {}, {}, {}, {}
  for k in ipairs(params) do all[k], known_of[k], drawn[k] = { errors = {} }, {}, {} end
  local each = math.max(EACH.least, math.min(EACH.most, EACH.all // n))
  for from = 1, n, CHUNK do
    local scope <close> = core.scope()
    local to = math.min(from + CHUNK - 1, n)
    local part, known = core.slice(x, 1, from, to), core.slice(z, 1, from, to)
    local told = noise.told(levels, from, to)
    local h = inference.numbers(self, part, told and told.noise)
    numbers_of[#numbers_of + 1] = scope:keep(h)
    add_truths(known_of, params, cube.from_units(self.latent, known:totable()), rng)
    local draws, off = core.no_grad(self.head.sample, self.head, h, each, rng), errors_of(self, known,
      self:encode(part, told))
    for k, one in ipairs(all) do
      drawn[k][#drawn[k] + 1] = scope:keep(core.reshape(cube.column(draws, k), to - from + 1, each))
      table.move(off[k], 1, #off[k], #one.errors + 1, one.errors)
    end
  end
  for k, one in ipairs(all) do
    if kinds[k] ~= "class" then
      local rows = core.tensor(known_of[k])
      local function column(j) return core.slice(rows, 2, j, j) end
      one.known, one.draws = known_of[k], core.concat(drawn[k], 1)
      if params[k].grid then
        one.cells = { low = column(1), high = column(2), share = column(3) }
      else
        one.truths = rows
      end
    end
  end
  return all, core.concat(numbers_of, 1)
end

-- Adds to some parameters the quantiles `at` (n, 19) and `cut` of the outputs, and the sorted coordinates of the draws.
local function measure(self, all, h, kinds, columns)
  local cuts, quantiles = recalibrated.measure(self.head, h, kinds, columns)
  for i, k in ipairs(columns) do
    local one = all[k]
    one.at = core.reshape(core.slice(quantiles, 2, i, i), cuts.shape[1], quantiles.shape[3])
    one.cut = kinds[k] == "circle" and core.slice(cuts, 2, i, i) or nil
    one.drawn = core.reshape(recalibrated.coordinates(one, nil, one.draws), -1):totable()
    table.sort(one.drawn)
  end
  return cuts, quantiles
end

-- where_needed: corrects only what the pairs show to be wrong, as a map of a few hundred pairs is itself uncertain.
-- Also returns what the head is given, and where its parameters with maps are cut, and their quantiles.
local function fit(self, z, x, levels, where_needed)
  local kinds, columns, rng = recalibrated.kinds(self.latent), {}, streams.knots(2)
  local all, h = gathered(self, z, x, levels, kinds)
  local result = { version = VERSION, simulations = z.shape[1], maps = {}, factors = {} }
  for k, one in ipairs(all) do
    local interval = kinds[k] ~= "class"
    if interval and (not where_needed or displaced(one, rng)) then columns[#columns + 1] = k end
    result.factors[k] = interval and (not where_needed or misstated(one.errors)) and factor_of(one.errors) or 1
    result.maps[k] = false
  end
  if #columns == 0 then return result end
  local cuts, quantiles = measure(self, all, h, kinds, columns)
  for _, k in ipairs(columns) do result.maps[k] = map_of(all[k]) end
  return result, h, cuts, quantiles
end

-- Whether a result corrects the posterior's density, and whether it corrects anything.
local function corrects(result)
  local density, spread = false, false
  for k, map in ipairs(result.maps) do
    density, spread = density or map ~= false, spread or result.factors[k] ~= 1
  end
  return density, density or spread
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
    r.head = recalibrated.new(model.head, model.latent, r.maps)
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
  return r and { version = r.version, simulations = r.simulations, maps = r.maps, factors = r.factors } or nil
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

--- Whether a model's was found by an earlier version, whose quantiles were others.
function recalibration.is_old(model)
  local r = model.recalibration
  return r and r.version < VERSION
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
  local version = t.version == nil and 1 or math.tointeger(t.version)
  if not version or version < 1 or version > VERSION then
    file.refuse("%s.version is 1 to %d; got %s", what, VERSION, tostring(t.version))
  end
  local result = { version = version, simulations = n, maps = {},
    factors = numbers(t.factors, what .. ".factors", #params, #params) }
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

--- Recalibrates what is measurably wrong, on pairs: a training's held-out samples as they are measured. Nothing is
-- changed where their parameters would become less probable, as where a map of quantiles moves modes apart.
-- @tparam Model self
-- @tparam tensor z (N, K) in units
-- @tparam tensor x (N, …output)
-- @tparam ?tensor levels (N,) of the noise, of a simulator with a range of them
function recalibration.on(self, z, x, levels)
  local scope <close> = core.scope()
  self.recalibration = false
  local found, h, cuts, quantiles = fit(self, z, x, levels, true)
  local density, anything = corrects(found)
  if not anything then return end
  if density then
    local head = recalibrated.new(self.head, self.latent, found.maps)
    local u = core.reshape(core.tensor((cube.from_units(self.latent, z:totable()))), z.shape[1], 1, z.shape[2])
    local after, before = core.no_grad(function()
      return core.mean(head:log_prob(head:with(h, cuts, quantiles), u)):item(),
        core.mean(self.head:log_prob(h, u)):item()
    end)
    if after >= before then self.recalibration = found end
  else
    self.recalibration = found
  end
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
  self.recalibration = (interrupt.during("recalibrate: interrupted; nothing was changed", fit, self,
    z, x, levels))
  return self
end

return recalibration
