--- Sampling importance resampling of a posterior (Rubin 1988): its draws are proposals, which the decoder's likelihood
-- and the prior correct. A draw z of the head has the weight
--
--     w = q(x | z) p(z) / q(z | x)
--
-- truncated at sqrt(m) times the mean of m weights (Ionides 2008), which bounds their variance. The effective sample
-- size (sum w)^2 / sum w^2, of the weights as they are, says how many independent draws of the corrected posterior the
-- proposals are worth (Kong 1992).
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local importance = require "simvae.util.importance"
local likelihood = require "simvae.model.likelihood"
local take_rows = require "simvae.util.take_rows"

local resample = {}

local TIMES, LEAST = 10, 4096 -- proposals: so many for each draw, and at least so many

--- How many proposals n draws are chosen from.
-- @tparam integer n
-- @treturn integer
function resample.proposals(n)
  return math.max(TIMES * n, LEAST)
end

-- Truncates weights at sqrt(m) times their mean, in place; returns their sum.
local function truncate(weights)
  local sum, total = 0, 0
  for _, w in ipairs(weights) do sum = sum + w end
  local most = sum / #weights * math.sqrt(#weights)
  for i, w in ipairs(weights) do
    weights[i] = math.min(w, most)
    total = total + weights[i]
  end
  return total
end

--- Draws of some posteriors.
-- @tparam Model model
-- @tparam table head whose draws are proposals
-- @tparam tensor h (N, outputs) its numbers
-- @tparam tensor x (N, …output) as measured, in units
-- @tparam integer n
-- @tparam integer m proposals of each posterior
-- @tparam rng rng
-- @tparam ?tensor noise (N,) levels of the noise of x
-- @treturn tensor (N, n, K), in units
-- @treturn tensor (N,) effective sample sizes, at most m
function resample.draw(model, head, h, x, n, m, rng, noise)
  local u = head:sample(h, m, rng)
  local N, K = u.shape[1], u.shape[3]
  local codes = cube.to_code(model.latent, u)
  local weights = likelihood.at(model, x, codes, noise) - head:log_prob(h, u)
  if model.simulator.prior then
    local log_prior = cube.log_prior(model.latent, model.simulator, core.reshape(u, N * m, K))
    weights = weights + core.reshape(log_prior, N, m)
  end
  local rows, sizes = weights:totable(), {}
  for i, list in ipairs(rows) do
    local sum, squares = importance.weigh(list)
    sizes[i] = squares > 0 and sum * sum / squares or 0
    if squares == 0 then
      for k = 1, m do list[k] = 1 end
    end
    rows[i] = importance.resampled(list, truncate(list), n, rng)
  end
  return cube.to_units(model.latent, take_rows(u, core.tensor(rows))), core.tensor(sizes)
end

return resample
