--- Classifier two-sample test (C2ST): accuracy of a small network in distinguishing two samples.
--
-- Definition (Friedman 2004; Lopez-Paz and Oquab, ICLR 2017; as in the benchmark sbibm of Lueckmann et al., AISTATS
-- 2021): both samples are standardised by mean and standard deviation of the first; a perceptron of two hidden ReLU
-- layers of 10 K units is trained by Adam to classify them until its loss stops falling; the score is its accuracy on
-- held-out rows, averaged over the folds of a cross-validation. 0.5: indistinguishable; 1: fully separable.
--
-- Known weaknesses: a smooth classifier on standardised axes misses narrow or multimodal differences that boosted trees
-- detect; with fewer rows scores are closer to 0.5: compare scores of equal N only.
local check = require "simvae.util.check"
local core = require "simvae.core"
local matrix = require "simvae.metrics.support.matrix"
local nn = require "simvae.nn"
local optim = require "simvae.nn.optim"

local options = check.declare("metrics.c2st", {
  seed = { "integer", default = 1, doc = "of the folds and initial weights" },
  folds = { "integer", default = 5, min = 2, max = 100, doc = "of cross-validation" },
  epochs = { "integer", default = 1000, min = 1, doc = "of a classifier's training, at most" },
  batch = { "integer", default = 200, min = 1, doc = "samples in a step" },
})

local PATIENCE, TOLERANCE = 10, 1e-4 -- training ends after PATIENCE epochs without such a decrease, as in scikit-learn

-- Rows of a matrix by number.
local function take(t, rows)
  local n, k = rows.shape[1], t.shape[2]
  return core.gather(t, core.expand(core.reshape(rows, n, 1), n, k), 1)
end

local function classifier(inputs, rng)
  local width = 10 * inputs
  local function layer(from, to) -- the uniform initialisation of Glorot and Bengio (2010), as in scikit-learn
    local l = nn.linear(from, to, { rng = rng })
    local bound = math.sqrt(6 / (from + to))
    for _, p in ipairs(l:parameters()) do p:copy(rng:uniform(-bound, bound, p.shape)) end
    return l
  end
  return nn.sequential { layer(inputs, width), nn.relu(), layer(width, width), nn.relu(), layer(width, 1) }
end

-- Trains until the mean loss of an epoch has not fallen for PATIENCE epochs.
local function fit(net, x, label, o, rng)
  local adam, n = optim.adam(net:parameters(), { lr = 1e-3 }), x.shape[1]
  local best, without = math.huge, 0
  for _ = 1, o.epochs do
    local order, total = rng:permutation(n), 0
    for from = 1, n, o.batch do
      local tape <close> = core.tape()
      local rows = core.slice(order, 1, from, math.min(from + o.batch - 1, n))
      local loss = core.bce_with_logits(net(take(x, rows)), take(label, rows))
      total = total + loss:item() * rows.shape[1]
      tape:backward(loss)
      adam:step()
    end
    if total / n > best - TOLERANCE then without = without + 1 else without = 0 end
    best = math.min(best, total / n)
    if without >= PATIENCE then break end
  end
end

-- Share of correctly classified rows.
local function accuracy(net, x, label)
  local logits, right = core.no_grad(net, x):reshape(-1):totable(), 0
  for i, y in ipairs(label:reshape(-1):totable()) do
    if (logits[i] > 0) == (y > 0.5) then right = right + 1 end
  end
  return right / #logits
end

-- Numbers of the rows in fold f (1 …) of a permutation, and of all others.
local function split(order, f, folds)
  local n, inside, outside = order.shape[1], {}, {}
  local from, to = (f - 1) * n // folds + 1, f * n // folds
  for i, row in ipairs(order:totable()) do table.insert(i >= from and i <= to and inside or outside, row) end
  return core.tensor(inside), core.tensor(outside)
end

--- Classifier two-sample test.
-- @tparam tensor a (N, K) the reference
-- @tparam tensor b (M, K); the longer one is cut to the other's rows
-- @tparam[opt] table opts options
-- @treturn number accuracy on held-out rows, 0.5 to 1
-- @treturn {number,...} that of each fold
-- @raise columns that are constant or not finite, fewer rows than folds, unequal columns
-- @usage print(sv.metrics.c2st(rng:normal { 200, 2 }, rng:normal { 200, 2 }, { epochs = 20 }))
local function c2st(a, b, opts)
  local o = check.options("c2st", opts, options)
  a, b = matrix.check("c2st", "a", a), matrix.check("c2st", "b", b)
  matrix.check_varied("c2st", "a", a)
  matrix.check_finite("c2st", "b", b)
  local n, k = math.min(a.shape[1], b.shape[1]), a.shape[2]
  if b.shape[2] ~= k then check.fail(2, "c2st: a has %d columns, b has %d", k, b.shape[2]) end
  if n < 2 * o.folds then check.fail(2, "c2st: %d rows are too few for %d folds", n, o.folds) end
  local both
  do
    local scope <close> = core.scope()
    local first = core.slice(a, 1, 1, n)
    local mean, std = core.mean(first, 1), core.sqrt(core.var(first, 1))
    both = scope:keep((core.concat({ first, core.slice(b, 1, 1, n) }, 1) - mean) / std)
  end
  local label = core.concat({ core.zeros(n, 1), core.ones(n, 1) }, 1)
  local rng, scores, total = core.rng(o.seed), {}, 0
  local order = rng:permutation(2 * n)
  for f = 1, o.folds do
    local test, train = split(order, f, o.folds)
    local net = classifier(k, rng)
    fit(net, take(both, train), take(label, train), o, rng)
    scores[f] = accuracy(net, take(both, test), take(label, test))
    total = total + scores[f]
  end
  return total / o.folds, scores
end

return { compute = c2st }
