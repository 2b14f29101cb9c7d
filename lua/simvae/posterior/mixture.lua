--- A mixture of normal distributions over codes (mixture density network: Bishop 1994), with full covariances, within
-- the prior's bounds. Trained by likelihood.
local normals = require "simvae.posterior.support.normals"

local function loss(self, h, u)
  local t, raw = self:parts(h)
  return self:surprise(t, u) + self.latent:overshoot(raw)
end

return {
  options = {
    components = { "integer", default = 8, min = 1, max = 64, doc = "normal distributions in the mixture" },
    correlations = { "integer", default = 1, min = 0, max = 1, before = 0,
      doc = "1: full covariances; 0: diagonal ones" },
  },
  new = function(t)
    local head = normals.new(t, t.components, t.correlations == 1)
    head.likelihood, head.loss = true, loss
    return head
  end,
}
