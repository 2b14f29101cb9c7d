--- Explicitness: can factors be read off all latents by a simple rule?
--
-- Definition: Ridgeway and Mozer (NeurIPS 2018) take the ROC area of a logistic
-- regression for each class of a discrete factor. For continuous factors, which have no
-- classes, the counterpart used here is the R² of linear least squares from all latents
-- together on held-out samples (every second one), not below 0, averaged over factors.
--
-- Known weaknesses: a factor that is bent into its latent, or periodic, is not explicit
-- though no information is lost; for categorical factors the size of the numbers that
-- stand for the classes matters: leave them out.
local check = require "simvae.check"
local matrix = require "simvae.matrix"

-- Solves the symmetric system a x = b for several b, by elimination with pivots.
local function solve(a, b)
  local n = #a
  for c = 1, n do
    local pivot = c
    for r = c + 1, n do
      if math.abs(a[r][c]) > math.abs(a[pivot][c]) then pivot = r end
    end
    a[c], a[pivot], b[c], b[pivot] = a[pivot], a[c], b[pivot], b[c]
    for r = 1, n do
      if r ~= c then
        local f = a[r][c] / a[c][c]
        for k = c, n do a[r][k] = a[r][k] - f * a[c][k] end
        for k = 1, #b[c] do b[r][k] = b[r][k] - f * b[c][k] end
      end
    end
  end
  for r = 1, n do
    for k = 1, #b[r] do b[r][k] = b[r][k] / a[r][r] end
  end
  return b
end

-- Columns as standard scores; a constant one as zeros.
local function standard(columns)
  local result = {}
  for k, c in ipairs(columns) do
    local mean, square, s = 0, 0, {}
    for _, x in ipairs(c) do mean = mean + x / #c end
    for _, x in ipairs(c) do square = square + (x - mean) ^ 2 / #c end
    local scale = square > 0 and 1 / math.sqrt(square) or 0
    for i, x in ipairs(c) do s[i] = (x - mean) * scale end
    result[k] = s
  end
  return result
end

--- Explicitness.
-- @tparam tensor z (N, K)
-- @tparam tensor v (N, M) continuous factors
-- @tparam[opt] table opts names of v's columns
-- @treturn number in [0, 1]
-- @treturn table R² of each factor
local function explicitness(z, v, opts)
  opts = check.options("explicitness", opts, { names = { "table" } })
  z, v = matrix.scored("explicitness", z, v, opts.names)
  local n, K = z.shape[1], z.shape[2]
  if n < 4 * (K + 1) then
    check.fail(2, "explicitness: %d samples are too few for %d latents; give at least %d", n, K, 4 * (K + 1))
  end
  local zs, vs = standard(matrix.columns(z)), standard(matrix.columns(v))
  zs[K + 1] = {}
  for i = 1, n do zs[K + 1][i] = 1 end
  local a, b = {}, {}
  for r, x in ipairs(zs) do
    a[r], b[r] = {}, {}
    for c, y in ipairs(zs) do
      local sum = r == c and 1e-9 * n or 0 -- latents that repeat each other share the weight
      for i = 1, n, 2 do sum = sum + x[i] * y[i] end
      a[r][c] = sum
    end
    for j, y in ipairs(vs) do
      local sum = 0
      for i = 1, n, 2 do sum = sum + x[i] * y[i] end
      b[r][j] = sum
    end
  end
  local weights, scores, total = solve(a, b), {}, 0
  for j, y in ipairs(vs) do
    local mean, count, error, variance = 0, n // 2, 0, 0
    for i = 2, n, 2 do mean = mean + y[i] / count end
    for i = 2, n, 2 do
      local p = 0
      for r, x in ipairs(zs) do p = p + weights[r][j] * x[i] end
      error, variance = error + (p - y[i]) ^ 2, variance + (y[i] - mean) ^ 2
    end
    scores[j] = math.max(0, 1 - error / variance)
    total = total + scores[j]
  end
  return total / #scores, scores
end

return explicitness
