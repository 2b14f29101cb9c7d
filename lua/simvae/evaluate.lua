--- How good an inverse is, on fresh samples of its simulator.
--
--     local r = sv.evaluate(model, { samples = 10000, bins = 20, seed = 7 })
--     print(r.mig, r.truth.mig, r.resimulation_r2, r.rmse.w)
local core = require "simvae.core"
local check = require "simvae.check"
local content = require "simvae.content"
local metrics = require "simvae.metrics"
local parameters = require "simvae.parameters"
local residual = require "simvae.residual"
local symmetry = require "simvae.symmetry"

local options = {
  samples = { "integer", default = 10000, min = 4 },
  bins = { "integer", default = 20, min = 2, max = 1024 },
  seed = { "integer", default = 7 },
  batch = { "integer", default = 256, min = 1 },
  chance = { "integer", default = 5, min = 0 },
  interval = { "integer", default = 100, min = 0 },
  max_failures = { "number", default = 0.2, min = 0, max = 1 },
  factors = { "table" },
  refine = { "table" },
}

local refine_options = {
  samples = { "integer", default = 1000, min = 2 },
  steps = { "integer", min = 0 },
  lr = { "number", above = 0 },
  starts = { "integer", min = 1 },
  spread = { "number", above = 0 },
}

-- Evaluation draws from a stream of its own: the samples of a training run with the
-- same seed are not among them.
local STREAM = 0x6576616c << 24
local WORST = 12
local REFINED = 64 -- samples that are refined at a time

-- ---- running the simulator, failures and all ------------------------------------

local function clean(message)
  return (tostring(message):gsub("^[^:]+:%d+: ", ""))
end

-- One tensor of many of one shape; nil of none.
local function join(list)
  if #list == 0 then return nil end
  local shape = type(list[1]) ~= "number" and list[1].shape or {}
  local result = core.zeros { #list, table.unpack(shape) }
  for i, t in ipairs(list) do result[i] = t end
  return result
end

-- S(z) row by row where the batch failed: x, list of the rows that worked, a message.
local function run_some(sim, z)
  local good, parts, message = {}, {}, nil
  for i = 1, z.shape[1] do
    local ok, x = pcall(sim.run, sim, z[i]:reshape(1, z.shape[2]))
    if ok then
      good[#good + 1], parts[#parts + 1] = i, x[1]
    else
      message = message or clean(x)
    end
  end
  return join(parts), good, message
end

-- S(z): x of the rows that worked, and their numbers (nil: all).
local function run(sim, z)
  local ok, x = pcall(sim.run, sim, z)
  if ok then return x end
  return run_some(sim, z)
end

local function rows_of(t, numbers)
  local parts = {}
  for i, n in ipairs(numbers) do parts[i] = t[n] end
  return join(parts)
end

-- ---- parameters ------------------------------------------------------------------

-- Shares of samples within one and two standard deviations, of each parameter.
local function coverage(params, z, mean, std)
  local by, one, two, n = {}, 0, 0, 0
  for i, p in ipairs(params) do
    if not p.levels then
      local a, b = 0, 0
      for s = 1, #z do
        local d, width = z[s][i] - mean[s][i], std[s][i]
        if p.period then d = d - p.period * math.floor(d / p.period + 0.5) end
        if p.scale == "log" and mean[s][i] > 0 then
          d, width = math.log(z[s][i] / mean[s][i]), width / mean[s][i]
        end
        d = math.abs(d)
        if d <= width then a = a + 1 end
        if d <= 2 * width then b = b + 1 end
      end
      by[p.name] = { one = a / #z, two = b / #z }
      one, two, n = one + a / #z, two + b / #z, n + 1
    end
  end
  if n == 0 then return nil end
  return { one = one / n, two = two / n, by = by }
end

local function accuracy(params, z, mean)
  local result
  for i, p in ipairs(params) do
    if p.levels then
      local right = 0
      for s = 1, #z do
        if math.floor(mean[s][i] + 0.5) == math.floor(z[s][i] + 0.5) then right = right + 1 end
      end
      result = result or {}
      result[p.name] = right / #z
    end
  end
  return result
end

-- ---- one pass over the samples ------------------------------------------------------

local function check_finite(names, t, what, offset)
  local finite, at = t:finite()
  if finite then return end
  local K = #names
  error(string.format("evaluate: the encoder's %s of '%s' is not finite at sample %d; the model has diverged or was "
    .. "never trained", what, names[(at - 1) % K + 1], offset + (at - 1) // K + 1), 0)
end

local function append(list, rows)
  table.move(rows, 1, #rows, #list + 1, list)
end

-- Keeps the outputs of the samples that re-simulate worst, the worst first.
local function keep_worst(worst, x, y, z, errors)
  for i, e in ipairs(errors) do
    local at = #worst
    while at > 0 and worst[at].error < e do at = at - 1 end
    if at < WORST then
      table.insert(worst, at + 1, { error = e, x = core.buffer(x[i]), y = core.buffer(y[i]), z = z[i] })
      worst[WORST + 1] = nil
    end
  end
end

local function join_worst(worst)
  if #worst == 0 then return nil end
  local x, y, z = {}, {}, {}
  for i, w in ipairs(worst) do x[i], y[i], z[i] = w.x, w.y, w.z end
  return { x = join(x), y = join(y), z = core.tensor(z) }
end

-- Sums of S(answer) against x, the outputs of the simulator that were answered: of pictures in grey the IoU as well.
local function resimulation(sim)
  return { sim = sim, again = residual.new(), iou = 0, inked = #sim.output == 3 and sim.output[1] == 1 }
end

-- Adds a batch. Gives what the simulator drew again (nil: nothing), x of these samples, their numbers (nil: all), and
-- what it failed with.
local function add_again(sums, x, answer)
  local y, fine, message = run(sums.sim, answer)
  if y then
    if fine then x = rows_of(x, fine) end
    sums.again:add(x, y)
    if sums.inked then
      local mean, _, light = metrics.iou(x, y, { light = sums.light })
      sums.iou, sums.light = sums.iou + mean * x.shape[1], light
    end
  end
  return y, x, fine, message
end

-- Mean IoU and R² of all that was added; nil where there is none.
local function marks(sums)
  local n = sums.again.count
  if n == 0 then return nil end
  return sums.inked and sums.iou / n or nil, sums.again:r2()
end

-- What one batch of n samples adds to the lists and sums in `all`.
local function pass(model, n, rng, all, o)
  local scope <close> = core.scope()
  local sim, params = model.simulator, model.simulator.params
  local z = sim:sample(n, rng)
  local x, good, why = run(sim, z)
  if good then
    all.failures, all.message = all.failures + n - #good, all.message or why
    if all.failures > o.max_failures * o.samples then
      error(string.format("evaluate: the simulator failed on %d samples, more than %g%% of %d; the first: %s",
        all.failures, 100 * o.max_failures, o.samples, all.message), 0)
    end
    if not x then return end
    z = rows_of(z, good)
  end
  local mean, std = model:encode(x)
  check_finite(all.names, mean, "mean", #all.z)
  check_finite(all.names, std, "standard deviation", #all.z)
  all.decoder:add(x, model:decode(z))
  local answers, moved = mean:totable(), {}
  for i, row in ipairs(answers) do
    local outside
    moved[i], outside = parameters.within(params, row)
    if outside then all.outside = all.outside + 1 end
  end
  local first = #all.z
  local y, seen, numbers, message = add_again(all.resimulated, x, core.tensor(moved))
  if numbers then all.lost, all.message = all.lost + #answers - #numbers, all.message or message end
  if y then
    local m = seen.shape[1]
    local same = model:encode(y)
    check_finite(all.names, same, "mean", #all.z)
    append(all.same, same:totable())
    for i = 1, m do all.first[#all.first + 1] = answers[numbers and numbers[i] or i] end
    local errors = core.sub(seen:reshape(m, -1), y:reshape(m, -1)):square():mean(2):totable()
    local rows, known = z:totable(), {}
    for i, e in ipairs(errors) do
      local k = numbers and numbers[i] or i
      all.errors[first + k], known[i] = e, rows[k]
    end
    keep_worst(all.worst, seen, y, known, errors)
  end
  append(all.z, z:totable())
  append(all.mean, answers)
  append(all.std, std:totable())
end

-- The first samples once more, each answer refined through the decoder: how much closer model:invert is.
local function refined(model, all, o)
  local sim = model.simulator
  local settings = { steps = o.steps, lr = o.lr, starts = o.starts, spread = o.spread, seed = 1 }
  local n = math.min(o.samples, #all.z)
  local sums, known, answers = resimulation(sim), {}, {}
  local started = core.system.clock()
  for from = 1, n, REFINED do
    local scope <close> = core.scope()
    local to = math.min(from + REFINED - 1, n)
    local x, good = run(sim, core.tensor(table.move(all.z, from, to, 1, {})))
    if x then
      local answer = model:invert(x, settings)
      for i, row in ipairs(answer:totable()) do
        known[#known + 1] = all.z[from - 1 + (good and good[i] or i)]
        answers[#answers + 1] = row
      end
      add_again(sums, x, answer)
    end
  end
  local iou, r2 = marks(sums)
  return { samples = #answers, z = known, mean = answers, iou = iou, resimulation_r2 = r2,
    seconds = core.system.clock() - started, steps = o.steps, starts = o.starts }
end

-- Mutual information gap of the columns of some factors; chance level and interval on request.
local function gap_of(z, v, o, settings, which, seed)
  local own, columns = {}, {}
  for k, value in pairs(settings) do own[k] = value end
  own.levels, own.names, own.z_names = {}, {}, settings.names
  for j, k in ipairs(which) do
    own.levels[j], own.names[j] = settings.levels[k], settings.names[k]
    columns[j] = core.slice(v, 2, k, k)
  end
  if #which < #settings.names then v = #columns == 1 and columns[1] or core.concat(columns, 2) end
  local result = {}
  result.mig, result.gaps = metrics.mig(metrics.mim(z, v, own))
  own.seed = seed
  if o.chance > 0 then
    own.repeats = o.chance
    result.chance = metrics.chance(z, v, own)
  end
  if o.interval >= 20 then
    own.repeats = o.interval
    result.interval = metrics.interval(z, v, own).mig
  end
  return result
end

-- Numbers of the factors that count.
local function factor_numbers(sim, factors)
  local which = {}
  if not factors then
    for i = 1, #sim.params do which[i] = i end
    return which
  end
  for j, name in ipairs(factors) do
    which[j] = sim.index[name]
    if not which[j] then
      local near = core.nearest(tostring(name), sim.names)
      check.fail(3, "evaluate: factors names '%s', which is no parameter of '%s'%s", tostring(name), sim.name,
        near and string.format("; did you mean '%s'?", near) or "")
    end
  end
  if #which == 0 then check.fail(3, "evaluate: factors is empty; leave it out for all") end
  return which
end

-- The truth with itself, and with a random equivalent where the simulator declares a symmetry.
local function truth_of(sim, all, v, o, settings, which)
  local plain = gap_of(v, v, { chance = 0, interval = 0 }, settings, which)
  local result = { plain = { mim = metrics.mim(v, v, settings), mig = plain.mig } }
  local bar = v
  if symmetry.declared(sim) then
    bar = parameters.scaled(sim.params, symmetry.equivalents(sim, all.z, core.rng(o.seed ~ STREAM, 1)))
  end
  local gap = gap_of(bar, v, o, settings, which)
  result.mim = bar == v and result.plain.mim or metrics.mim(bar, v, settings)
  result.mig, result.interval, result.chance = gap.mig, gap.interval, gap.chance
  return result
end

local function check_model(model, refine)
  local sim = type(model) == "table" and model.simulator
  if not sim or not sim.params or not model.encode or not model.decode then
    check.fail(3, "evaluate: takes a model (sv.model, sv.load), with :encode, :decode and .simulator; got %s",
      check.describe(model))
  end
  if refine and not model.invert then check.fail(3, "evaluate: refine takes a model with :invert") end
  return sim
end

-- Encoders that answer always the same, in words.
local function collapsed(params, rows)
  local notes = {}
  for i, p in ipairs(params) do
    local same = true
    for s = 2, #rows do
      if rows[s][i] ~= rows[1][i] then
        same = false
        break
      end
    end
    if same then
      notes[#notes + 1] = string.format("the encoder answers %s = %.4g for every sample", p.name, rows[1][i])
    end
  end
  return notes
end

local by_name = parameters.by_name

--- Evaluates a model on fresh samples.
--
-- Parameters on a log scale are compared by their logarithms in the mutual information
-- (the bins are then as wide in every decade) and in the relative error; classes are
-- rounded. Before the simulator sees the encoder's answers they are brought within the
-- parameters' bounds; `outside` tells how many were not.
-- @tparam Model model with :encode, :decode and .simulator
-- @tparam[opt] table opts samples (10000), bins (20), seed (7), batch (256); chance (5): shuffles for the chance
--   level, interval (100): bootstrap resamples, 0 for none; max_failures (0.2): share of samples that the simulator
--   may fail on; factors: names of the parameters that MIG is averaged over (all), the others count as noise;
--   refine: { samples (1000), steps, lr, starts, spread (as of model:invert) }: what that makes of the first samples
-- @treturn table
--   mim (K, K), mig, gaps[name]; chance.mim, chance.mig: of shuffled samples; interval: {low, high} of mig at 95%;
--   truth.mim, truth.mig, truth.chance, truth.interval: the same of the parameters with themselves, each replaced by a
--   random equivalent where the simulator declares a symmetry; truth.plain.mim, truth.plain.mig: without that;
--   orbit: of metrics.orbit_mim; consistent: of metrics.consistent_mim; invariants: of metrics.invariant_mim, where
--   the simulator declares some; iou: mean intersection over union of S(E(x)) with x, of grey pictures;
--   rmse[name] in units, rmse_relative[name] as a share of the range; accuracy[name] of classes;
--   resimulation_r2, decoder_mse, decoder_r2; outside: share of answers beyond the bounds;
--   coverage: {one = share within 1 std, two = within 2, by = {[name] = {one =, two =}}} (a normal posterior has 0.683
--   and 0.954);
--   z, mean, std (N, K) in units; errors: each sample's mean squared re-simulation error;
--   worst.x, worst.y, worst.z: the twelve samples with the largest such error, what came back, their parameters;
--   refined: where asked for, of model:invert's answers: iou, resimulation_r2, rmse, rmse_relative, z, mean, samples,
--   steps, starts, seconds;
--   samples, failures, seconds, names, notes (sentences about what is odd), options
-- @raise a model that is none, answers that are not finite, too few samples, a simulator that fails too often
local function evaluate(model, opts)
  local o = check.options("evaluate", opts, options)
  if o.refine then o.refine = check.options("evaluate: refine", o.refine, refine_options) end
  local sim = check_model(model, o.refine)
  local params = sim.params
  local started = core.system and core.system.clock and core.system.clock() or os.time()
  local names, levels = {}, {}
  for i, p in ipairs(params) do names[i], levels[i] = p.name, p.levels or false end
  local all = {
    z = {}, mean = {}, std = {}, errors = {}, worst = {}, names = names, outside = 0, failures = 0, lost = 0,
    decoder = residual.new(), resimulated = resimulation(sim), first = {}, same = {},
  }
  local which = factor_numbers(sim, o.factors)
  local rng = core.rng(o.seed ~ STREAM)
  for from = 1, o.samples, o.batch do
    pass(model, math.min(o.batch, o.samples - from + 1), rng, all, o)
  end
  if #all.z == 0 then error("evaluate: the simulator failed on every sample: " .. tostring(all.message), 0) end

  all.known = {}
  for s, row in ipairs(all.mean) do -- a log scale has no zero
    all.known[s] = table.move(row, 1, #row, 1, {})
    for i, p in ipairs(params) do
      if p.scale == "log" then all.known[s][i] = math.max(row[i], p.low * 1e-3) end
    end
  end
  local v, z = parameters.scaled(params, all.z), parameters.scaled(params, all.mean)
  local settings = { bins = o.bins, levels = levels, z_levels = levels, names = names, constant = "zero" }
  local gap = gap_of(z, v, o, settings, which)
  local gaps = {}
  for j, k in ipairs(which) do gaps[names[k]] = gap.gaps[j] end
  local r = {
    mim = metrics.mim(z, v, settings), mig = gap.mig, gaps = gaps, chance = gap.chance, interval = gap.interval,
    truth = truth_of(sim, all, v, o, settings, which),
    z = core.tensor(all.z), mean = core.tensor(all.mean), std = core.tensor(all.std), errors = all.errors,
    worst = join_worst(all.worst),
    decoder_mse = all.decoder:mse(), decoder_r2 = all.decoder:r2(),
    coverage = coverage(params, all.z, all.mean, all.std),
    accuracy = accuracy(params, all.z, all.mean),
    outside = all.outside / #all.z, samples = #all.z, failures = all.failures, names = names, options = o,
    notes = collapsed(params, all.mean),
  }
  local about = { simulator = sim, bins = o.bins }
  r.iou, r.resimulation_r2 = marks(all.resimulated)
  r.orbit = metrics.orbit_mim(r.mean, r.z, about)
  r.invariants = metrics.invariant_mim(core.tensor(all.known), r.z, about)
  if #all.first > 0 then
    if #all.first >= o.bins * o.bins then
      r.consistent = metrics.consistent_mim(core.tensor(all.first), core.tensor(all.same), about)
    end
  end
  local range = { names = names, low = {}, high = {}, period = {}, log = {} }
  for i, p in ipairs(params) do
    range.low[i], range.high[i], range.period[i], range.log[i] = p.low, p.high, p.period, p.scale == "log"
  end
  local function errors(mean, known)
    local absolute, relative = metrics.rmse(mean, known, range)
    return by_name(params, absolute), by_name(params, relative)
  end
  r.rmse, r.rmse_relative = errors(core.tensor(all.known), r.z)
  if o.refine then
    local f = refined(model, all, o.refine)
    if f.samples > 0 then
      f.z, f.mean = core.tensor(f.z), core.tensor(f.mean)
      f.rmse, f.rmse_relative = errors(f.mean, f.z)
      r.refined = f
    end
  end
  if all.failures > 0 then
    r.notes[#r.notes + 1] = string.format("the simulator failed on %d of %d samples, which were left out; the first: "
      .. "%s", all.failures, o.samples, all.message)
  end
  if all.lost > 0 then
    r.notes[#r.notes + 1] = string.format("the simulator failed on %d of the encoder's answers, which re-simulation "
      .. "leaves out; the first: %s", all.lost, all.message)
  end
  r.seconds = (core.system and core.system.clock and core.system.clock() or os.time()) - started
  return content(r)
end

return evaluate
