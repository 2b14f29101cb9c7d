--- Metrics of an inverse: how well z, the encoder's answer, tells v, the parameters
-- that made the sample. Each metric is a file of this folder that returns a
-- function; it is loaded when first asked for, so a new file is a new metric.
--
--     local m = sv.metrics.mim(z, v)        -- (N, K), (N, M) -> (K, M)
--     print(sv.metrics.mig(m))
return require("simvae.names").folder("simvae.metrics", "sv.metrics", "metric")
