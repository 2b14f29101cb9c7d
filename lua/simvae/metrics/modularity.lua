--- Modularity.
--
-- Definition (Ridgeway and Mozer, "Learning deep disentangled embeddings with the
-- F-statistic loss", NeurIPS 2018, as computed by disentanglement_lib): a latent is
-- modular if it has information about one factor only. With m_ij the mutual information of latent i
-- and factor j in nats, its score is 1 - (sum_j m_ij² - max_j m_ij²) / (max_j m_ij²
-- (M - 1)), and 0 for a latent without information; modularity is the mean over latents.
--
-- Known weaknesses: it does not measure whether a factor is encoded at all, so that one
-- informative latent and noise scores high for its part; the bias of each small m_ij
-- counts; with one factor it is not defined. For categorical and continuous factors
-- alike it rests on the histogram estimate, weaknesses included.
local information = require "simvae.metrics.support.information"
local check = require "simvae.util.check"
local matrix = require "simvae.metrics.support.matrix"

--- Modularity of each latent and their mean.
-- @tparam tensor z (N, K)
-- @tparam tensor v (N, M), M >= 2
-- @tparam[opt] table opts options
-- @treturn number in [0, 1]
-- @treturn table the score of each latent
-- @raise tensors that are not matrices of equal numbers of rows, unknown options
-- @usage print(sv.metrics.modularity(model:encode(x), z, { bins = 8 }))
local function modularity(z, v, opts)
  z, v = matrix.pair("modularity", z, v)
  local M = v.shape[2]
  if M < 2 then check.fail(2, "modularity: needs at least two factors; v has one column") end
  local shares, entropy = information.matrix("modularity", z, v, opts)
  local scores, sum = {}, 0
  for i, row in ipairs(shares:totable()) do
    local squares, maximum = 0, 0
    for j, share in ipairs(row) do
      local square = (share * entropy[j]) ^ 2
      squares, maximum = squares + square, math.max(maximum, square)
    end
    scores[i] = maximum > 0 and 1 - (squares - maximum) / (maximum * (M - 1)) or 0
    sum = sum + scores[i]
  end
  return sum / #scores, scores
end

return { compute = modularity }
