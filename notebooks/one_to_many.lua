--- Measures known encoders by every metric: the tables of one_to_many.md.
--
--     eval "$(make -s env)"; lua5.4 notebooks/one_to_many.lua             # a few seconds
--
-- No network is trained. An encoder here is a function of the true parameters; E(S(E(x))) is the same function
-- applied twice.
local core = require "simvae.core"
local sv = require "simvae"
local parameter = require "simvae.simulator.parameter"
local parameters = require "simvae.simulator.parameters"
local symmetry = require "simvae.simulator.symmetry"

local command_line = require "simvae.cli.command_line"

local parser = require "argparse"("lua one_to_many.lua", "Measures known encoders by every metric: the tables of "
  .. "one_to_many.md.")
command_line.number(parser, "--samples", "Samples of each simulator.", 400, nil, 2000)
command_line.number(parser, "--seed", "Seed of samples and noise.", 0, nil, 1)
local arguments = parser:parse()
local samples, seed = arguments.samples, arguments.seed

-- ---- encoders -------------------------------------------------------------------------

-- A parameter's position in its range, on its scale.
local function share(p, v)
  return parameter.to_unit(p, parameter.positive(p, v))
end
local function changed(sim, row, f)
  local u = {}
  for i, p in ipairs(sim.params) do u[i] = share(p, row[i]) end
  f(u)
  local result = {}
  for i, p in ipairs(sim.params) do result[i] = parameter.from_unit(p, u[i]) end
  return result
end

-- What the output determines: of all equivalents the one nearest to a fixed point.
local kept = setmetatable({}, { __mode = "k" })
local function canonical(sim, row)
  if kept[row] then return kept[row] end
  local point = {}
  for i, p in ipairs(sim.params) do point[i] = parameter.from_unit(p, 0.2 + 0.6 * (i - 1) / (#sim.params - 1)) end
  kept[row] = symmetry.nearest(sim, row, point, true)
  return kept[row]
end

local function noisy(size)
  return function(sim, row, rng)
    return changed(sim, canonical(sim, row), function(u)
      for i = 1, #u do u[i] = u[i] + rng:normal(0, size) end
    end)
  end
end

local encoders = {
  { "exact", function(sim, row) return canonical(sim, row) end },
  { "a random equivalent each time", function(sim, row, rng) return symmetry.random(sim, row, rng) end },
  { "noise of 2% of the range", noisy(0.02) },
  { "noise of 5% of the range", noisy(0.05) },
  { "mixes the first two", function(sim, row) -- rotated by 45 degrees about the middle
    return changed(sim, canonical(sim, row), function(u)
      local a, b = u[1] - 0.5, u[2] - 0.5
      u[1], u[2] = 0.5 + (a + b) / 2 ^ 0.5, 0.5 + (a - b) / 2 ^ 0.5
    end)
  end },
  { "blind to the first", function(sim, row)
    return changed(sim, canonical(sim, row), function(u) u[1] = 0.5 end)
  end },
  { "collapsed: constant result", function(sim, row)
    return changed(sim, row, function(u)
      for i = 1, #u do u[i] = 0.4 + 0.02 * i end
    end)
  end },
  { "parameters of another sample", function(sim, _, rng) return sim:sample(1, rng)[1]:totable() end },
}

-- ---- metrics -----------------------------------------------------------------------------

local function within(sim, rows)
  local result = {}
  for i, row in ipairs(rows) do result[i] = parameters.within(sim.params, row) end
  return result
end

-- S(z) of rows within the bounds, accumulated over batches with the outputs of the true rows.
local function resimulate(sim, truth, answers)
  local sum, iou = require "simvae.metrics.support.residual".new(), 0
  local pictures = #sim.output == 3 and sim.output[1] == 1
  for from = 1, #truth, 250 do
    local scope <close> = core.scope()
    local to = math.min(from + 249, #truth)
    local x = sim:run(core.tensor(table.move(truth, from, to, 1, {})))
    local y = sim:run(core.tensor(table.move(answers, from, to, 1, {})))
    sum:add(x, y)
    if pictures then iou = iou + sv.metrics.iou(x, y) * (to - from + 1) end
  end
  return sum:r2(), pictures and iou / #truth or nil
end

--- Every metric of an encoder, on samples (a tensor and its rows) of a simulator's prior.
local function judge(sim, encode, v, truth)
  local rng = core.rng(seed + 1)
  local answers, again = {}, {}
  for i, row in ipairs(truth) do answers[i] = encode(sim, row, rng) end
  local moved = within(sim, answers)
  for i, row in ipairs(moved) do again[i] = encode(sim, row, rng) end
  local names, levels = parameters.columns(sim.params)
  local m = sv.metrics.mim(parameters.scaled(sim.params, answers), parameters.scaled(sim.params, truth), {
    names = names, levels = levels, z_levels = levels, constant = "zero" })
  local result, z = { mig = (sv.metrics.mig(m)), diagonal = 0 }, core.tensor(answers)
  for i = 1, #names do result.diagonal = result.diagonal + m:get(i, i) / #names end
  local range = { low = {}, high = {}, log = {}, period = {} }
  for i, p in ipairs(sim.params) do
    range.low[i], range.high[i], range.log[i], range.period[i] = p.low, p.high, p.scale == "log", p.period
  end
  local _, relative = sv.metrics.rmse(core.tensor(moved), v, range)
  result.rmse = math.max(table.unpack(relative))
  local orbit = sv.metrics.orbit_mim(z, v, { simulator = sim })
  result.accuracy, result.separation = orbit.score, orbit.separation
  result.consistent = sv.metrics.consistent_mim(z, core.tensor(again), { simulator = sim, v = v }).score
  result.r2, result.iou = resimulate(sim, truth, moved)
  result.invariants = sv.metrics.invariant_mim(core.tensor(moved), v, { simulator = sim })
  return result
end

-- ---- tables --------------------------------------------------------------------------------

local function number(x, format)
  if not x then return "–" end
  local text = string.format(format or "%.2f", x)
  return tonumber(text) == 0 and text:gsub("^-", "") or text
end

local function print_table(sim, note)
  local head = { "encoder", "MIG", "MIM diagonal", "largest RMSE", "orbit: accuracy", "orbit: separation", "consistent",
    "re-simulation R²" }
  local rows, v = {}, sim:sample(samples, core.rng(seed))
  local truth = v:totable()
  for i, e in ipairs(encoders) do
    local r = judge(sim, e[2], v, truth)
    rows[i] = { e[1], number(r.mig), number(r.diagonal), number(100 * r.rmse, "%.0f%%"), number(r.accuracy),
      number(r.separation), number(r.consistent), number(r.r2, "%.3f") }
    if r.iou then
      head[9] = "IoU"
      rows[i][9] = number(r.iou)
    elseif r.invariants then
      for k, name in ipairs(r.invariants.names) do
        head[8 + k] = name .. ": slope, R²"
        local fit = r.invariants.by[name]
        rows[i][8 + k] = number(fit.slope, "%.3f") .. ", " .. number(fit.r2, "%.3f")
      end
    end
  end
  print(string.format("\n### %s\n\n%s\n", sim.name, note))
  print("| " .. table.concat(head, " | ") .. " |\n|" .. (" --- |"):rep(#head))
  for _, row in ipairs(rows) do print("| " .. table.concat(row, " | ") .. " |") end
end

-- Truth of a simulator: MIG(V, V) and MIG(V, V-bar).
local function print_truth()
  print "| simulator | MIG(V, V) | MIG(V, V̄) | chance | the paper |\n| --- | --- | --- | --- | --- |"
  local published = { box = "0.82", fourier = "1", polygon = "0", rlc = "0.07", dsprites = "1" }
  for _, name in ipairs { "box", "fourier", "polygon", "rlc", "dsprites" } do
    local sim = require("simvae.simulators." .. name)
    local rng = core.rng(seed)
    local truth = sim:sample(10000, rng):totable()
    local names, levels = parameters.columns(sim.params)
    local settings = { names = names, levels = levels, z_levels = levels }
    local v = parameters.scaled(sim.params, truth)
    local bar = parameters.scaled(sim.params, symmetry.equivalents(sim, truth, rng))
    local function gap(z) return number((sv.metrics.mig(sv.metrics.mim(z, v, settings))), "%.3f") end
    print(string.format("| %s | %s | %s | %s | %s |", name, gap(v), symmetry.declared(sim) and gap(bar) or "–",
      number(sv.metrics.chance(bar, v, settings).mig, "%.3f"), published[name]))
  end
end

print_truth()
print_table(require "simvae.simulators.polygon", "Four corners in any of eight orders.")
print_table(require "simvae.simulators.rlc" { engine = "analytic" }, "R, L and C up to a scaling of the impedance.")
print_table(require "simvae.simulators.box", "No symmetry, but parameters that depend on each other.")
