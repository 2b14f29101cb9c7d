--- Could the simulator have made this output? How unusual it is among the simulator's own outputs.
--
-- Five numbers are compared with those of reference simulations, in the networks' units:
--
--   distance   of the farthest element from its mean, in standard deviations
--   whole      root mean square difference from the decoder's output for the best of the posterior's candidates
--   worst      the same of the worst block of a picture, or element of a vector
--   quiet      and of the median one: noise where there was little
--   features   Mahalanobis distance of the encoder's numbers from their mean (of more than 32, in 32 random directions)
--
-- An output's surprise is the quantile, among those of the reference, of its largest quantile of the five: uniform in
-- [0, 1] for the simulator's own outputs. Vectors' differences are divided by the reference's root mean square in each
-- element. This takes several passes of the decoder, and is done when p.surprise is read; the notices of encode and
-- invert are those of simvae.model.novelty.
local check = require "simvae.util.check"
local cholesky = require "simvae.util.cholesky"
local core = require "simvae.core"
local levels = require "simvae.model.levels"
local sets = require "simvae.model.sets"
local streams = require "simvae.util.streams"

local surprise = {}

local SAMPLES, LEAST, ONE_IN = 512, 64, 32 -- of the reference: one in so many simulations of a training, within bounds
local NUMBERS = 1 << 22     -- of all outputs of the reference, about
local CANDIDATES = 4        -- of a posterior, of which the decoder's best is compared
local BLOCKS = 8            -- along a side of a picture
local DIRECTIONS = 32
local RIDGE = 1e-3          -- added to variances of features: a share of their mean
local CHUNK = 128
local FIVE = 5

--- How many simulations a reference takes.
-- @tparam Simulator sim
-- @tparam integer drawn simulations of the training
-- @treturn integer
function surprise.samples(sim, drawn)
  local most = math.max(LEAST, math.min(SAMPLES, NUMBERS // check.count(sim.output)))
  return math.max(LEAST, math.min(most, drawn // ONE_IN))
end

-- ---- differences from the decoder's outputs ---------------------------------------------------

-- Squares of differences as blocks (N, B): of a picture averages over blocks of pixels.
local function blocks_of(squares, output)
  if #output == 1 then return squares end
  local size = 1
  while output[2] % (2 * size) == 0 and output[3] % (2 * size) == 0
    and math.min(output[2], output[3]) >= 2 * size * BLOCKS do
    size = 2 * size
  end
  if size > 1 then squares = core.avg_pool2d(squares, size) end
  return core.reshape(squares, squares.shape[1], -1)
end

-- Mean squares (N, B) of the difference of x (N, …), standardised, and the decoder's output for codes.
local function differences(model, x, code)
  local squares, M = sets.squares(model, x, code)
  local blocks = blocks_of(squares, model.simulator.output)
  return M == 1 and blocks or core.mean(core.reshape(blocks, -1, M, blocks.shape[2]), 2)
end

-- whole, worst and quiet of each sample: lists of rows.
local function summaries(blocks, scale)
  if scale then blocks = blocks / scale end
  local sorted = core.sort(blocks, 2)
  local middle = (blocks.shape[2] + 1) // 2
  return core.sqrt(core.concat({ core.mean(blocks, 2, true), core.max(blocks, 2, true),
    core.slice(sorted, 2, middle, middle) }, 2)):totable()
end

-- Of each sample the summaries of the candidate that the decoder reproduces best.
local function best_of(model, codes, x, scale)
  local best
  for _, code in ipairs(codes) do
    local scope <close> = core.scope()
    local rows = summaries(differences(model, x, code), scale)
    if not best then best = rows end
    for i, row in ipairs(rows) do
      if row[1] < best[i][1] then best[i] = row end
    end
  end
  return best
end

-- ---- features -----------------------------------------------------------------------------------

-- Centre (F,) and matrix (F, k) after which the encoder's numbers h (n, F) have mean 0 and covariance about 1.
local function whitening(h)
  local n, F = h.shape[1], h.shape[2]
  local centre, std = core.mean(h, 1), core.sqrt(core.var(h, 1))
  local unit = core.clamp(std, math.max(RIDGE * core.mean(std):item(), 1e-12), math.huge)
  local away = (h - centre) / unit
  local to = core.reshape(1 / unit, F, 1)
  if F > DIRECTIONS then
    local directions = streams.directions():normal { F, DIRECTIONS } / math.sqrt(F)
    away, to = core.matmul(away, directions), to * directions
  else
    local identity = core.zeros(F, F)
    for i = 1, F do identity:set(1, i, i) end
    to = to * identity
  end
  local covariance = (core.matmul(core.transpose(away, 1, 2), away) / (n - 1)):totable()
  local trace = 0
  for i, row in ipairs(covariance) do trace = trace + row[i] / #covariance end
  for i, row in ipairs(covariance) do row[i] = row[i] + RIDGE * trace end
  return centre, core.matmul(to, core.transpose(core.tensor(cholesky.inverse_factor(covariance)), 1, 2))
end

-- Squared Mahalanobis distances (N,) as a list.
local function squared_distances(h, centre, whiten)
  return core.sum(core.square(core.matmul(h - centre, whiten)), 2):totable()
end

-- Distances of the reference's own samples, each from mean and covariance of the others.
local function own_distances(h, centre, whiten)
  local n, list = h.shape[1], squared_distances(h, centre, whiten)
  for i, d in ipairs(list) do
    local left = math.max(1 - n * d / (n - 1) ^ 2, 1 / n)
    list[i] = math.sqrt((n - 2) * n ^ 2 / (n - 1) ^ 3 * d / left)
  end
  return list
end

-- ---- quantiles ------------------------------------------------------------------------------------

-- The quantile of v among ascending values, equal ones halved.
local function quantile_of(values, v)
  local function first(beyond) -- the first value that is not below v (beyond: that is above)
    local low, high = 1, #values + 1
    while low < high do
      local middle = (low + high) // 2
      if values[middle] < v or beyond and values[middle] == v then low = middle + 1 else high = middle end
    end
    return low
  end
  if v ~= v then return 1 end
  return (first(false) + first(true) - 2) / 2 / #values
end

local function largest_quantile(reference, row)
  local q = 0
  for k = 1, FIVE do q = math.max(q, quantile_of(reference[k], row[k])) end
  return q
end

-- ---- measuring ------------------------------------------------------------------------------------

-- The distance of the farthest element (N,), a list; zeros where outputs have no scale.
local function farthest(model, x)
  if not model.loss.mean then return core.zeros(x.shape[1]):totable() end
  return core.max(core.reshape(core.abs(x), x.shape[1], -1), 2):totable()
end

-- Candidates of a posterior, lists of (N, size).
local function candidates_of(model, h)
  return (model.head:candidates(h, CANDIDATES))
end

-- Rows of the five numbers of outputs x (N, …), standardised; h (N, F) of the encoder, codes the candidates.
local function numbers_of(model, usual, h, x, codes)
  local far, best = farthest(model, x), best_of(model, codes, x, usual.scale)
  local away = squared_distances(h, usual.centre, usual.whiten)
  for i, row in ipairs(best) do best[i] = { far[i], row[1], row[2], row[3], math.sqrt(away[i]) } end
  return best
end

-- The pieces of n rows: of each its number, first and last row.
local function pieces_of(n)
  return function(_, piece)
    local from = piece * CHUNK + 1
    if from <= n then return piece + 1, from, math.min(from + CHUNK - 1, n) end
  end, nil, 0
end

-- f(rows of h, rows of x, number of the piece) of pieces of a batch; the lists that it returns are joined.
local function in_pieces(h, x, f)
  local all = {}
  for piece, from, to in pieces_of(x.shape[1]) do
    local scope <close> = core.scope()
    local rows = core.no_grad(f, core.slice(h, 1, from, to), core.slice(x, 1, from, to), piece)
    table.move(rows, 1, #rows, #all + 1, all)
  end
  return all
end

-- The root mean square difference in each element of a vector; false for pictures. codes: the candidates of each piece.
local function scale_of(model, codes, x)
  if #model.simulator.output ~= 1 then return false end
  local total = 0
  for piece, from, to in pieces_of(x.shape[1]) do
    total = total + core.sum(differences(model, core.slice(x, 1, from, to), codes[piece][1]), 1, true)
  end
  local mean = total / x.shape[1]
  return core.buffer(mean + math.max(RIDGE * core.mean(mean):item(), 1e-12))
end

local function measured(model, x, noise)
  local seen, pieces = levels.seen(model, x, noise), {}
  for piece, from, to in pieces_of(x.shape[1]) do
    pieces[piece] = model:encoder_outputs(core.slice(seen, 1, from, to))
  end
  x = model.loss:standardise(x)
  local h = #pieces == 1 and pieces[1] or core.concat(pieces, 1)
  local centre, whiten = whitening(h)
  local codes = {}
  for piece, from, to in pieces_of(x.shape[1]) do
    local inner <close> = core.scope()
    local list = candidates_of(model, core.slice(h, 1, from, to))
    for i, code in ipairs(list) do list[i] = inner:keep(code) end
    codes[piece] = list
  end
  local usual = { centre = core.buffer(centre), whiten = core.buffer(whiten), scale = scale_of(model, codes, x) }
  local rows = in_pieces(h, x, function(a, b, piece) return numbers_of(model, usual, a, b, codes[piece]) end)
  for i, d in ipairs(own_distances(h, centre, whiten)) do rows[i][FIVE] = d end
  local reference = {}
  for k = 1, FIVE do
    reference[k] = {}
    for i, row in ipairs(rows) do reference[k][i] = row[k] end
    table.sort(reference[k])
  end
  reference[FIVE + 1] = {}
  for i, row in ipairs(rows) do reference[FIVE + 1][i] = largest_quantile(reference, row) end
  table.sort(reference[FIVE + 1])
  usual.reference = core.buffer(core.tensor(reference))
  return usual
end

--- Takes the reference: outputs of the simulator, which the model keeps as `usual`; nothing where the networks' numbers
-- are not finite.
-- @tparam Model model
-- @tparam tensor x (n, …output) as measured, in units; 4 or more
-- @tparam ?tensor noise (n,) levels of it (simvae.model.levels)
function surprise.measure(model, x, noise)
  model.usual = false
  if x.shape[1] < 4 then return end
  local scope <close> = core.scope()
  local usual = core.no_grad(measured, model, x, noise)
  for _, t in pairs(usual) do
    if t and not t:finite() then return end
  end
  model.usual = usual
end

--- The surprise of outputs.
-- @tparam Model model
-- @tparam tensor h (N, F) of its encoder
-- @tparam tensor x (N, …output), in units
-- @treturn ?tensor (N,) in [0, 1]; nil where there is no reference
function surprise.of(model, h, x)
  local usual = model.usual
  if not usual then return nil end
  if x.shape[1] == 0 then return core.zeros(0) end
  local reference = usual.reference:totable()
  local list = in_pieces(h, model.loss:standardise(x), function(a, b)
    return numbers_of(model, usual, a, b, candidates_of(model, a))
  end)
  for i, row in ipairs(list) do list[i] = quantile_of(reference[FIVE + 1], largest_quantile(reference, row)) end
  return core.tensor(list)
end

-- ---- files ------------------------------------------------------------------------------------------

--- Its tensors by name, for a model's file.
function surprise.state(model)
  local usual, map = model.usual, {}
  if usual then
    for _, name in ipairs { "reference", "scale", "centre", "whiten" } do
      map["surprise." .. name] = usual[name] or nil
    end
  end
  return map
end

-- Why tensors of a file are no reference of this model; nil: they are one.
local function fault(model, t)
  local function shape(name, ...)
    local given, wanted = t[name], { ... }
    if not given then return name .. " is missing" end
    local fits = given.ndim == #wanted and given:finite()
    for i, n in ipairs(wanted) do fits = fits and (not n or given.shape[i] == n) end
    return not fits and name .. " does not fit the model" or nil
  end
  local F = model.head.outputs
  local vector = #model.simulator.output == 1
  local why = shape("reference", FIVE + 1, false) or shape("centre", F) or shape("whiten", F, math.min(F, DIRECTIONS))
    or vector and shape("scale", 1, model.simulator.output[1])
  if why then return why end
  if vector and core.min(t.scale):item() <= 0 then return "scale is not above 0" end
  for _, row in ipairs(t.reference:totable()) do
    for i = 2, #row do
      if row[i] < row[i - 1] then return "reference does not ascend" end
    end
  end
end

--- Takes the tensors of a file.
-- @tparam Model model
-- @tparam table map tensors by name
-- @treturn boolean true, or nil and what does not fit
function surprise.load(model, map)
  local t, any = {}, false
  for _, name in ipairs { "reference", "scale", "centre", "whiten" } do
    t[name] = map["surprise." .. name] or false
    any = any or t[name]
  end
  if not any then
    model.usual = false
    return true
  end
  local why = fault(model, t)
  if why then return nil, "surprise." .. why end
  for name, tensor in pairs(t) do t[name] = tensor and core.buffer(tensor) end
  model.usual = t
  return true
end

return surprise
