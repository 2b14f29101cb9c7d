--- Metrics of an inverse: how well z, the encoder's answer, tells v, the parameters
-- that made the sample. Each metric is a file of this folder that returns a
-- function; it is loaded when first asked for, so a new file is a new metric.
--
--     local m = sv.metrics.mim(z, v)        -- (N, K), (N, M) -> (K, M)
--     print(sv.metrics.mig(m))
return setmetatable({}, {
  __index = function(self, name)
    if type(name) ~= "string" or not name:match "^[%a_][%w_]*$" then return nil end
    local module = "simvae.metrics." .. name
    if not package.loaded[module] and not package.searchpath(module, package.path) then
      error(string.format("metrics: there is no '%s' (no file simvae/metrics/%s.lua)", name, name), 2)
    end
    local metric = require(module)
    rawset(self, name, metric)
    return metric
  end,
})
