--- Point estimates of a posterior from draws: its mean, and where that is no likely point, as between two modes, the
-- centres of its densest groups of draws, of which a decoder can choose.
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local take_rows = require "simvae.util.take_rows"

local estimates = {}

local GROUPS = 8      -- of draws about a centre
local PASSES = 2      -- moves of a centre to the mean of its group
local UNLIKELY = 0.1  -- share of the draws with a smaller density than a mean that is kept
local FAR = 1e30

--- The direction of a mean of points on the circle, and the spread of their phase, with which the length of the mean is
-- exp(-spread^2 / 2) (wrapped normal distributions).
-- @tparam tensor mean (N, 2)
-- @treturn tensor (N, 2), of length 1
-- @treturn tensor (N, 2), the spread twice
function estimates.direction(mean)
  local length = core.sqrt(core.sum(core.square(mean), 2, true) + 1e-12)
  return mean / length, core.expand(core.sqrt(core.log(core.clamp(length, 1e-3, 1)) * -2), mean.shape)
end

--- A code within the support from a mean of codes: a point on the circle, the most probable class.
-- @tparam Latent latent
-- @tparam tensor code (N, size)
-- @treturn tensor (N, size)
function estimates.settled(latent, code)
  if latent.plain then return code end
  local pieces = {}
  for i, part in ipairs(latent.parts) do
    local c = core.slice(code, 2, part.first, part.last)
    if part.kind == "circle" then
      c = estimates.direction(c)
    elseif part.kind == "class" then
      local levels = part.param.levels
      c = cube.one_hot(cube.of_class(core.reshape(core.argmax(c, 2), c.shape[1], 1), levels), levels)
    end
    pieces[i] = c
  end
  return core.concat(pieces, 2)
end

local settled = estimates.settled

-- Where of (N,) or (N, 1) marks is 1, a of (N, size), else b.
local function either(mark, a, b)
  local m = core.reshape(mark, a.shape[1], 1)
  return a * m + b * (1 - m)
end

-- 1 where a >= b, else 0.
local function at_least(a, b)
  return core.clamp((a - b) * FAR + 1, 0, 1)
end

--- Centres of groups of draws, in the order of their densest draws: each begins at the densest draw that is in no
-- group yet and holds the draws nearest to it (in standard deviations of the posterior).
-- @tparam Latent latent
-- @tparam tensor codes (N, D, size) draws
-- @tparam tensor log (N, D) their log densities
-- @tparam tensor std (N, size) their standard deviations
-- @treturn {tensor,...} codes (N, size)
local function centres(latent, codes, log, std)
  local N, D, size = codes.shape[1], codes.shape[2], codes.shape[3]
  local unit = core.reshape(std + 1e-3, N, 1, size)
  local scaled, taken, list = codes / unit, core.zeros(N, D), {}
  local each = D // GROUPS
  for g = 1, GROUPS do
    local first = core.argmax(log - taken * FAR, 2)
    local centre = take_rows(scaled, first)
    local member
    for _ = 1, PASSES do
      local distance = core.sum(core.square(scaled - centre), 3) + taken * FAR
      member = at_least(core.slice(core.sort(distance, 2), 2, each, each), distance)
      centre = core.sum(scaled * core.reshape(member, N, D, 1), 2, true)
        / core.reshape(core.sum(member, 2), N, 1, 1)
    end
    taken = core.clamp(taken + member, 0, 1)
    list[g] = settled(latent, core.reshape(centre * unit, N, size))
  end
  return list
end

--- Estimates for each output: the mean of the draws where its density is not below that of nearly all of them, else the
-- centres of groups.
-- @tparam table head with latent and log_prob
-- @tparam tensor h (N, outputs)
-- @tparam tensor codes (N, D, size) draws
-- @tparam tensor u (N, D, K) the same on the cube
-- @tparam tensor log (N, D) their log densities
-- @tparam tensor mean (N, size)
-- @tparam tensor std (N, size)
-- @treturn {tensor,...} codes (N, size): one, or several where any output needs them
function estimates.of(head, h, codes, u, log, mean, std)
  local latent, N, D = head.latent, u.shape[1], u.shape[2]
  if N == 0 then return { mean } end
  mean = settled(latent, mean)
  local at = core.reshape(cube.from_code(latent, mean), N, 1, u.shape[3])
  local rank = math.max(1, math.floor(UNLIKELY * D))
  local likely = at_least(head:log_prob(h, at), core.slice(core.sort(log, 2), 2, rank, rank))
  if core.min(likely):item() == 1 then return { mean } end
  local list = centres(latent, codes, log, std)
  for g, centre in ipairs(list) do list[g] = either(likely, mean, centre) end
  return list
end

return estimates
