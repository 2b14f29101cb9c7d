--- What layers and losses do differently where a batch is computed in microbatches (simvae.train.microbatches): what
-- depends on the whole batch is exchanged among them. Each runs in a coroutine, which yields what it has.
local core = require "simvae.core"

local batch_moments, batch_norm_by = core.ops.batch_moments.call, core.ops.batch_norm_by.call

local microbatch = {}

--- The microbatch that is computed now: count, of how many; number, from 0; stream, of its random numbers. nil: none.
microbatch.now = nil

--- Batch normalisation by the statistics of the whole batch.
-- @tparam Layer layer with own.weight, own.bias, buffers and eps
-- @tparam tensor x (N, C) or (N, C, H, W) of the microbatch
-- @tparam string activation
-- @tparam number slope
-- @treturn tensor
function microbatch.batch_norm(layer, x, activation, slope)
  local rows = x.count // math.max(x.shape[2], 1)
  local own = layer.own
  local mean, var = coroutine.yield("moments", batch_moments(x), layer, rows)
  return batch_norm_by(x, own.weight, own.bias, mean, var, microbatch.now.count, layer.eps, activation, slope)
end

--- The rows of the whole batch, in its order: those of this microbatch with their gradient, the others as constants.
-- @tparam tensor t (N, …)
-- @treturn tensor (N count, …)
-- @treturn integer count; without microbatches t itself and 1
function microbatch.rows(t)
  local now = microbatch.now
  if not now then return t, 1 end
  local all, n = coroutine.yield("rows", t), t.shape[1]
  local parts, first, last = {}, now.number * n, (now.number + 1) * n
  if first > 0 then parts[1] = core.slice(all, 1, 1, first) end
  parts[#parts + 1] = t
  if last < all.shape[1] then parts[#parts + 1] = core.slice(all, 1, last + 1, all.shape[1]) end
  return core.concat(parts, 1), now.count
end

--- The stream of a dropout: the layer's count of its own calls, or of those in this microbatch.
-- @tparam Layer layer
-- @tparam integer calls
-- @treturn integer
function microbatch.dropout_stream(layer, calls)
  local now = microbatch.now
  if not now then return calls end
  now.calls = now.calls or {}
  now.calls[layer] = (now.calls[layer] or 0) + 1
  return now.stream << 8 | now.calls[layer] & 255
end

return microbatch
