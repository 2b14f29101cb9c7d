--- Disentanglement, completeness and informativeness.
--
-- Definition (Eastwood and Williams, "A framework for the quantitative evaluation of
-- disentangled representations", ICLR 2018): a predictor of each factor from all
-- latents gives importances R_ij of latent i for factor j. Disentanglement of a latent
-- is 1 minus the entropy (base M) of its row of R as a distribution, averaged with the
-- rows' shares of R; completeness of a factor is 1 minus the entropy (base K) of its
-- column, averaged with the columns' shares; informativeness is the quality of
-- the predictions on held-out samples. As in disentanglement_lib the predictor is gradient
-- boosted trees (100 of depth 3, rate 0.1), here for the squared error: factors are
-- continuous, and R² is their informativeness; a categorical factor is predicted as its
-- classes' indicators, its importances are those of all of them together, and its
-- informativeness is accuracy. The first two thirds of the samples train, the rest test.
--
-- Known weaknesses: the score depends on the predictor; importances are those of its
-- splits, so that a redundant latent has none or half; dependent factors share
-- importances (box: below 1 for the truth itself); small importances of many
-- uninformative latents add up.
local core = require "simvae.core"
local check = require "simvae.util.check"
local matrix = require "simvae.metrics.support.matrix"

local options = check.declare("metrics.dci", {
  levels = { "table",
    doc = "classes of categorical columns of v, { [i] = n } or { name = n }; default: all columns are continuous" },
  names = { "table", doc = "names of the columns of v, for messages and results; default: their numbers" },
  trees = { "integer", default = 100, min = 1, max = 10000, doc = "boosting rounds for a column of v" },
  depth = { "integer", default = 3, min = 1, max = 6, doc = "of the trees" },
  rate = { "number", default = 0.1, above = 0, doc = "learning rate of boosting" },
})

-- 1 - entropy of shares in base n; nil if all entries are 0.
local function order(values)
  local sum, entropy = 0, 0
  for _, x in ipairs(values) do sum = sum + x end
  if sum <= 0 then return 0, 0 end
  for _, x in ipairs(values) do
    if x > 0 then entropy = entropy - x / sum * math.log(x / sum) end
  end
  return #values > 1 and 1 - entropy / math.log(#values) or 1, sum
end

local function weighted(lists)
  local total, result = 0, 0
  for _, values in ipairs(lists) do
    local score, sum = order(values)
    total, result = total + sum, result + score * sum
  end
  return total > 0 and result / total or 0
end

-- Targets of the trees: standardised, or an indicator of each class.
local function targets(columns, levels)
  local list, owner = {}, {}
  for j, y in ipairs(columns) do
    if levels[j] then
      local classes, seen = {}, {}
      for _, c in ipairs(y) do
        if not seen[c] then
          seen[c] = true
          classes[#classes + 1] = c
        end
      end
      table.sort(classes)
      for _, c in ipairs(classes) do
        local t = {}
        for i, x in ipairs(y) do t[i] = x == c and 1 or 0 end
        list[#list + 1], owner[#owner + 1] = t, { factor = j, class = c }
      end
    else
      local mean, square = 0, 0
      for _, x in ipairs(y) do mean = mean + x / #y end
      for _, x in ipairs(y) do square = square + (x - mean) ^ 2 / #y end
      local t, scale = {}, math.sqrt(square)
      for i, x in ipairs(y) do t[i] = (x - mean) / scale end
      list[#list + 1], owner[#owner + 1] = t, { factor = j }
    end
  end
  return list, owner
end

local function rows(columns, from, to)
  local result = {}
  for i = from, to do
    local row = {}
    for k, c in ipairs(columns) do row[k] = c[i] end
    result[#result + 1] = row
  end
  return core.tensor(result)
end

-- R² of a continuous factor, accuracy of a categorical one, on the rows from `first` on.
local function informativeness(j, columns, levels, list, owner, predicted, first)
  local own = {}
  for t, o in ipairs(owner) do
    if o.factor == j then own[#own + 1] = t end
  end
  if levels[j] then
    local right = 0
    for i, row in ipairs(predicted) do
      local best = own[1]
      for _, t in ipairs(own) do
        if row[t] > row[best] then best = t end
      end
      if owner[best].class == columns[j][first + i - 1] then right = right + 1 end
    end
    return right / #predicted
  end
  local t, mean, error, variance = own[1], 0, 0, 0
  for i = 1, #predicted do mean = mean + list[t][first + i - 1] / #predicted end
  for i, row in ipairs(predicted) do
    local y = list[t][first + i - 1]
    error, variance = error + (row[t] - y) ^ 2, variance + (y - mean) ^ 2
  end
  return 1 - error / variance
end

local dci = {}

--- Disentanglement and completeness of a matrix of importances.
-- @tparam tensor|table importance (K, M), not negative
-- @treturn number disentanglement
-- @treturn number completeness
function dci.of(importance)
  importance = matrix.check("dci.of", "importance", importance)
  matrix.check_finite("dci.of", "importance", importance)
  return weighted(importance:totable()), weighted(matrix.columns(importance))
end

--- DCI scores.
-- @function dci
-- @tparam tensor z (N, K)
-- @tparam tensor v (N, M)
-- @tparam[opt] table opts options
-- @treturn table {disentanglement =, completeness =, informativeness = mean, each = list by factor,
--   importance = (K, M), columns add up to 1}
-- @raise tensors that are not matrices of equal numbers of rows, unknown options
-- @usage print(sv.metrics.dci(model:encode(x), z, { trees = 10 }).disentanglement)
local function scores(_, z, v, opts)
  opts = check.options("dci", opts, options)
  z, v = matrix.scored("dci", z, v, opts.names)
  local n, K, M = z.shape[1], z.shape[2], v.shape[2]
  if n < 60 then check.fail(2, "dci: %d samples are too few to train and test trees; give at least 60", n) end
  local levels = matrix.per_column("dci", "levels", opts.levels, M, opts.names)
  local zs, vs = matrix.columns(z), matrix.columns(v)
  local list, owner = targets(vs, levels)
  local train = n * 2 // 3
  local predicted, gains = core.boosted_trees(rows(zs, 1, train), rows(list, 1, train), rows(zs, train + 1, n),
    { trees = opts.trees, depth = opts.depth, rate = opts.rate })
  predicted, gains = predicted:totable(), gains:totable()
  local importance = core.zeros(K, M)
  for j = 1, M do
    local sums, total = {}, 0
    for i = 1, K do
      sums[i] = 0
      for t, o in ipairs(owner) do
        if o.factor == j then sums[i] = sums[i] + gains[i][t] end
      end
      total = total + sums[i]
    end
    for i = 1, K do importance:set(total > 0 and sums[i] / total or 0, i, j) end
  end
  local r, sum = { importance = importance, each = {} }, 0
  r.disentanglement, r.completeness = dci.of(importance)
  for j = 1, M do
    r.each[j] = informativeness(j, vs, levels, list, owner, predicted, train + 1)
    sum = sum + r.each[j]
  end
  r.informativeness = sum / M
  return r
end

return { compute = setmetatable(dci, { __call = scores }) }
