--- beta-VAE score.
--
-- Definition (Higgins et al., "beta-VAE: learning basic visual concepts with a
-- constrained variational framework", ICLR 2017; sample counts of disentanglement_lib):
-- take 64 pairs of samples that share factor k and differ in all others, average |z - z'|
-- over them, and let a linear classifier predict k from that average. It is trained on
-- 10,000 such points; its accuracy on 5,000 others is the score.
--
-- Here a pair that shares factor k is two neighbours in the order of factor k among the
-- given samples, which works for priors with dependent factors and needs no further runs
-- of the simulator. The classifier is a softmax regression on standardised
-- features, trained by full-batch gradient steps.
--
-- Known weaknesses: chance is 1 / M; a linear classifier can combine latents, so
-- that mixed factors may score 1 (Kim and Mnih 2018); it saturates early, and small
-- errors are not visible.
local core = require "simvae.core"
local check = require "simvae.util.check"
local matrix = require "simvae.metrics.support.matrix"
local optim = require "simvae.nn.optim"

local options = check.declare("metrics.beta_vae", {
  batch = { "integer", default = 64, min = 1, doc = "pairs of samples for a point" },
  train = { "integer", default = 10000, min = 10, doc = "points that the classifier is trained on" },
  test = { "integer", default = 5000, min = 10, doc = "points that it is tested on" },
  steps = { "integer", default = 300, min = 1, doc = "of the classifier's training" },
  seed = { "integer", default = 1, doc = "of the pairs" },
  names = { "table", doc = "names of the columns of v, for messages and results; default: their numbers" },
})

-- |z - z'| of neighbours in a factor's order, for each latent and position.
local function differences(zs, order)
  local result = {}
  for k, z in ipairs(zs) do
    local d = {}
    for place = 1, #order - 1 do d[place] = math.abs(z[order[place]] - z[order[place + 1]]) end
    result[k] = d
  end
  return result
end

local function points(count, tables, n, batch, rng)
  local x, y = {}, {}
  for p = 1, count do
    local j = rng:integer(1, #tables)
    local row = {}
    for k = 1, #tables[j] do row[k] = 0 end
    for _ = 1, batch do
      local place = rng:integer(1, n - 1)
      for k, d in ipairs(tables[j]) do row[k] = row[k] + d[place] / batch end
    end
    x[p], y[p] = row, j
  end
  return core.tensor(x), y
end

-- Accuracy of a softmax regression.
local function classify(x, y, x_test, y_test, classes, steps)
  local scope <close> = core.scope()
  local mean, std = x:mean(1), core.sqrt(core.var(x, 1))
  for k, s in ipairs(std:totable()) do
    if s == 0 then std:set(1, k) end
  end
  local function standard(t) return core.div(core.sub(t, mean), std) end
  local a, b = standard(x), standard(x_test)
  local w, bias = core.parameter(core.zeros(x.shape[2], classes)), core.parameter(core.zeros(1, classes))
  local classes_of, descent = core.tensor(y), optim.sgd({ w, bias }, { lr = 1, momentum = 0.9 })
  for _ = 1, steps do
    local tape <close> = core.tape()
    tape:backward(core.cross_entropy(core.add(core.matmul(a, w), bias), classes_of))
    descent:step()
  end
  local right = 0
  for i, row in ipairs(core.add(core.matmul(b, w), bias):totable()) do
    local best = 1
    for j = 2, classes do
      if row[j] > row[best] then best = j end
    end
    if best == y_test[i] then right = right + 1 end
  end
  return right / #y_test
end

--- beta-VAE score.
-- @tparam tensor z (N, K)
-- @tparam tensor v (N, M), M >= 2
-- @tparam[opt] table opts options
-- @treturn number in [0, 1]; chance is 1 / M
-- @raise tensors that are not matrices of equal numbers of rows, unknown options
-- @usage
-- local truth = ring:sample(1000, sv.rng(1))
-- print(sv.metrics.beta_vae(truth, truth, { train = 500, test = 200, steps = 50 }))
local function beta_vae(z, v, opts)
  opts = check.options("beta_vae", opts, options)
  z, v = matrix.scored("beta_vae", z, v, opts.names)
  local n, M = z.shape[1], v.shape[2]
  if M < 2 then check.fail(2, "beta_vae: needs at least two factors; v has one column") end
  if n < 1000 then
    check.fail(2, "beta_vae: %d samples are too few: neighbours would not share a factor; give at least 1000", n)
  end
  local rng, zs, tables = core.rng(opts.seed), matrix.columns(matrix.near_one(z)), {}
  for j, y in ipairs(matrix.columns(v)) do tables[j] = differences(zs, matrix.order(y, rng)) end
  local x, y = points(opts.train, tables, n, opts.batch, rng)
  local x_test, y_test = points(opts.test, tables, n, opts.batch, rng)
  return classify(x, y, x_test, y_test, M, opts.steps)
end

return { compute = beta_vae }
