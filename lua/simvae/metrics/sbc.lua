--- Simulation-based calibration (SBC): are the ranks of the truth among posterior samples uniform?
--
-- Definition (Talts et al. 2018): for each of N simulations with true parameters v, the rank of v_k among L samples of
-- the posterior's k-th marginal is uniform on 0 … L if the posterior is right on average. Ranks are counted into B
-- bins of equal width; uniformity is tested by the supremum of the difference of the empirical distribution function
-- of (rank + 1/2) / (L + 1) from the uniform one (Kolmogorov-Smirnov; conservative, as ranks are whole), and by a
-- simultaneous band as of Säilynoja, Bürkner and Vehtari (2022): uniform ranks stay within it at every level together
-- with a probability of 95% (found here by simulating uniform ranks).
--
-- Known weaknesses: it averages over the prior, so that errors that cancel are not detected; it tests marginals alone;
-- the prior as posterior passes.
local check = require "simvae.util.check"
local core = require "simvae.core"
local uniformity = require "simvae.metrics.support.uniformity"

local options = check.declare("metrics.sbc", {
  names = { "table", doc = "names of the K parameters, by which results are found as well; default: numbers alone" },
  bins = { "integer", default = 20, min = 2, max = 1000, doc = "of the histograms" },
  level = { "number", default = 0.95, above = 0, max = 0.9999, doc = "of the simultaneous band" },
  seed = { "integer", default = 1, doc = "of the band's simulation and of ties" },
})

local BAND_DRAWS, BAND_POINTS = 500, 50

-- Where the distribution function is evaluated: numbers of ranks, of the samples + 1 that there are, evenly.
local function levels_of(samples)
  local points, list = math.min(BAND_POINTS, samples + 1), {}
  for p = 1, points - 1 do list[p] = p * (samples + 1) // points end
  return list
end

-- The largest distance of the counts of ranks below each level from those of uniform ranks, in standard deviations.
local function largest_z(ranks, levels, samples)
  local counts, n, z = {}, #ranks, 0
  for r = 0, samples do counts[r] = 0 end
  for _, r in ipairs(ranks) do counts[r] = counts[r] + 1 end
  local below, r = 0, 0
  for _, level in ipairs(levels) do
    while r < level do below, r = below + counts[r], r + 1 end
    local q = level / (samples + 1)
    z = math.max(z, math.abs(below - n * q) / math.sqrt(n * q * (1 - q)))
  end
  return z
end

-- The z that the worst level stays below in all but 1 - level of uniform ranks: a band of constant z about n q has the
-- simultaneous level.
local bands = {}
local function band_width(n, samples, levels, o)
  local key = table.concat({ n, samples, o.level, o.seed }, " ")
  if bands[key] then return bands[key] end
  local rng, worst = core.rng(o.seed), {}
  for d = 1, BAND_DRAWS do
    local ranks = {}
    for i = 1, n do ranks[i] = rng:integer(0, samples) end
    worst[d] = largest_z(ranks, levels, samples)
  end
  table.sort(worst)
  bands[key] = worst[math.ceil(o.level * BAND_DRAWS)]
  return bands[key]
end

--- Simulation-based calibration.
-- @tparam tensor samples (N, L, K) of the posterior of each simulation, in units
-- @tparam tensor v (N, K) the true parameters
-- @tparam[opt] table opts options
-- @treturn table by parameter's number (and name): ranks (N), histogram (bins), d (Kolmogorov-Smirnov), p, z (largest
-- distance of the empirical distribution function, in standard deviations of a point), band (that z which uniform ranks
-- stay below with the level's probability), uniform (z <= band)
-- @raise unequal numbers of simulations or parameters, numbers that are not finite
-- @usage
-- local r = sv.metrics.sbc(p:sample(50, sv.rng(3)), z, { names = ring.names, bins = 10 })
-- print(r.x.p, r.x.uniform)
local function sbc(samples, v, opts)
  local o = check.options("sbc", opts, options)
  samples, v = uniformity.check("sbc", samples, v)
  local n, l, k = table.unpack(samples.shape)
  local levels = levels_of(l)
  local rng, band, truth, result = core.rng(o.seed, 1), band_width(n, l, levels, o), v:totable(), {}
  for j = 1, k do result[j] = { ranks = {}, histogram = {}, band = band } end
  for i = 1, n do
    local rows = samples[i]:totable()
    for j = 1, k do
      local below, equal = 0, 0
      for s = 1, l do
        local x = rows[s][j]
        if x < truth[i][j] then below = below + 1 elseif x == truth[i][j] then equal = equal + 1 end
      end
      result[j].ranks[i] = below + (equal > 0 and rng:integer(0, equal) or 0) -- ties are broken at random
    end
  end
  for j, r in ipairs(result) do
    local u = {}
    for b = 1, o.bins do r.histogram[b] = 0 end
    for i, rank in ipairs(r.ranks) do
      u[i] = (rank + 0.5) / (l + 1)
      local b = math.floor(u[i] * o.bins) + 1
      r.histogram[b] = r.histogram[b] + 1
    end
    r.d = uniformity.supremum(u)
    r.p = uniformity.p_value(math.max(0, r.d - 0.5 / (l + 1)), n)
    r.z = largest_z(r.ranks, levels, l)
    r.uniform = r.z <= band
    if o.names then result[o.names[j]] = r end
  end
  return result
end

return { compute = sbc }
