--- A normal distribution with a diagonal covariance, over codes.
local normals = require "simvae.posterior.support.normals"

return {
  options = {},
  new = function(t) return normals.new(t, 1) end,
}
