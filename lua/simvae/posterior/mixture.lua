--- A mixture of normal distributions with diagonal covariances, over codes (mixture density network: Bishop 1994): for
-- outputs that several parameters give, exactly or nearly, while their average gives another output.
local normals = require "simvae.posterior.support.normals"

return {
  options = { components = { "integer", default = 8, min = 1, max = 64 } },
  new = function(t) return normals.new(t, t.components) end,
}
