--- A normal distribution with a diagonal covariance, over codes. Its mean is trained through the decoder (eq. 4 of the
-- paper) or, in sleep, by its absolute error; its standard deviations by likelihood, on draws of the prior that went
-- through the decoder and its noise.
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local normals = require "simvae.posterior.support.normals"
local take_rows = require "simvae.util.take_rows"

-- Weight of the standard deviations' likelihood. Its gradient must not dominate that of the means in the layers that
-- they share; how well the spread is learned does not depend on it (Adam).
local SPREAD = 0.02

-- The one of equivalent codes {(N, size), ...} that is nearest to means (N, size), and the mean of its absolute errors.
local function nearest_of(mean, codes)
  if #codes == 1 then return codes[1], core.mean(core.abs(mean - codes[1])) end
  local n, size = mean.shape[1], mean.shape[2]
  local images = core.stack(codes, 2)
  local errors = core.mean(core.abs(core.reshape(mean, n, 1, size) - images), 3)
  return core.reshape(take_rows(images, core.argmin(errors, 2)), n, size), core.mean(core.min(errors, 2))
end

-- The negative log-likelihood of codes (N, size), a mean over parameters, in the standard deviations alone: these
-- converge to the size of the errors of the means, which another loss trains.
local function about(self, t, codes)
  t.mean = t.mean:detach()
  return self:surprise(t, cube.from_code(self.latent, codes)) * (SPREAD / #self.latent.parts)
end

local function spread_loss(self, h, codes)
  local t = self:parts(h)
  return about(self, t, (nearest_of(core.reshape(t.mean, h.shape[1], self.size), codes)))
end

local function loss(self, h, codes)
  local t, raw = self:parts(h)
  local nearest, error_of = nearest_of(core.reshape(t.mean, h.shape[1], self.size), codes)
  return error_of + self.latent:overshoot(raw) + about(self, t, nearest)
end

return {
  options = {},
  new = function(t)
    local head = normals.new(t, 1)
    head.loss, head.spread_loss = loss, spread_loss
    return head
  end,
}
