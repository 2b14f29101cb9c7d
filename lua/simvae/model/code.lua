--- A model's encoder and decoder in code space, with gradients: what training, sleep and refinement use.
local core = require "simvae.core"

local Model = {} -- methods that simvae.model takes over
local code = { methods = Model }

--- The encoder's answers as normal distributions over codes: row (n - 1) A + a is answer a of the A (`answers` of
-- sv.model, else 1) to output n.
-- @tparam tensor x (N, …), standardised
-- @treturn tensor mean (N A, size)
-- @treturn tensor std (N A, size)
-- @treturn tensor the encoder's raw outputs for the mean (N A, size)
-- @treturn ?tensor (N, A) logits of the answers' probabilities; nil where A is 1
function Model:posterior(x)
  local heads = self.encoder(x)
  local n, A, score = self.latent.size, self.answers, nil
  if A > 1 then
    score = core.slice(heads, 2, 2 * n * A + 1)
    heads = core.reshape(core.slice(heads, 2, 1, 2 * n * A), -1, 2 * n)
  end
  local raw, log_std = core.slice(heads, 2, 1, n), core.slice(heads, 2, n + 1, 2 * n)
  local mean = self.bounded and self.latent:squash(raw, self.bounded) or raw
  return mean, core.exp(core.clamp(log_std - 1, -7, 1)), raw, score
end

--- One row of each sample's.
-- @tparam tensor t (N, A, size)
-- @tparam tensor index (N,) numbers from 1 to A
-- @treturn tensor (N, size)
function code.pick(t, index)
  local n, size = index.shape[1], t.shape[3]
  return core.reshape(core.gather(t, core.expand(core.reshape(index, n, 1, 1), n, 1, size), 2), n, size)
end

--- One answer to each output, of those that posterior gives.
-- @tparam tensor t (N A, …)
-- @tparam tensor index (N,) numbers from 1 to A
-- @treturn tensor (N, …)
function Model:choose(t, index)
  return code.pick(core.reshape(t, index.shape[1], self.answers, t.shape[2]), index)
end

--- The encoder's answers, the one that the decoder reproduces best first.
-- @tparam tensor x (N, …), standardised
-- @treturn {tensor,...} means (N, size), one of each answer
-- @treturn {tensor,...} stds (N, size)
function Model:ranked(x)
  local mean, std = self:posterior(x)
  local A = self.answers
  if A == 1 then return { mean }, { std } end
  local n, misfits = x.shape[1], {}
  for a = 1, A do
    local scope <close> = core.scope()
    local answer = self:choose(mean, core.full(a, { n }))
    misfits[a] = self.loss:misfit(self.decoder(answer), x):totable()
    for i, v in ipairs(misfits[a]) do misfits[a][i] = v == v and v or math.huge end
  end
  local order = {}
  for i = 1, n do
    local list = {}
    for a = 1, A do list[a] = a end
    table.sort(list, function(a, b)
      if misfits[a][i] == misfits[b][i] then return a < b end
      return misfits[a][i] < misfits[b][i]
    end)
    for rank, a in ipairs(list) do
      order[rank] = order[rank] or {}
      order[rank][i] = a
    end
  end
  local means, stds = {}, {}
  for rank, index in ipairs(order) do
    index = core.tensor(index)
    means[rank], stds[rank] = self:choose(mean, index), self:choose(std, index)
  end
  return means, stds
end

return code
