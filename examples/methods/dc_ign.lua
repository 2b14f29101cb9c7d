--- DC-IGN (Kulkarni, Whitney, Kohli and Tenenbaum 2015, section 3.2): mini-batches in which one parameter of the
-- simulator varies. The latents of the others are replaced by their means over the mini-batch, and their gradients by
-- the differences from those means, so that latent k alone answers to parameter k. It needs no values of parameters,
-- but a simulator that can vary one at a time.
--
-- A step takes several such mini-batches, so that batch norm sees the parameters' whole range.
local check = require "simvae.util.check"
local support = require "methods.support"
local sv = require "simvae"

local MINIBATCH = 8
local INVARIANCE = 0.01 -- factor of the differences from the means, as in the paper

local dc_ign = {}

--- Clamps the latents of mini-batches, one behind the other.
-- @tparam tensor z (G n, K)
-- @tparam {integer,...} active for each of the G mini-batches the number of its latent that varies
-- @treturn tensor (G n, K): the inactive ones at their means, through which no gradient passes
-- @treturn tensor one number, whose gradient with respect to the inactive latents is the difference from their means
-- @raise rows that are not divided by the mini-batches, a latent that does not exist
function dc_ign.clamp(z, active)
  local G, K = #active, z.shape[2]
  local n = z.shape[1] // math.max(G, 1)
  if G < 1 or n * G ~= z.shape[1] or n < 2 then
    check.fail(2, "clamp: %d rows are not %d mini-batches of 2 or more", z.shape[1], G)
  end
  local mask = {}
  for g, k in ipairs(active) do
    check.value("clamp", string.format("active[%d]", g), k, { "integer", min = 1, max = K })
    mask[g] = {}
    for i = 1, K do mask[g][i] = i == k and 1 or 0 end
  end
  mask = sv.tensor(mask):reshape(G, 1, K)
  local groups = z:reshape(G, n, K)
  local mean = sv.mean(groups, 2, true):detach()
  local inactive = (groups - mean) * (1 - mask)
  return (groups * mask + mean * (1 - mask)):reshape(G * n, K), sv.sum(sv.square(inactive)) * 0.5
end

--- Parameters of mini-batches: a draw of the pool whose parameter k takes the values that it has in other draws. Of a
-- prior whose parameters depend on each other these may be outside of its support.
-- @tparam Pool pool
-- @tparam integer n rows of a mini-batch
-- @treturn table mini-batches { active = k, rows = { row, … } }, as many as the pool's samples make
-- @raise a pool that is smaller than a mini-batch
function dc_ign.minibatches(pool, n)
  if pool.count < n then
    check.fail(2, "minibatches: a pool of %d samples is less than a mini-batch of %d", pool.count, n)
  end
  local list, K = {}, pool.z.shape[2]
  for g = 1, pool.count // n do
    local active, first = (g - 1) % K + 1, (g - 1) * n
    list[g] = { active = active, rows = {} }
    for i = 1, n do
      local row = { table.unpack(pool.rows[first + 1]) }
      row[active] = pool.rows[first + i][active]
      list[g].rows[i] = row
    end
  end
  return list
end

--- Trains it.
-- @tparam Run run
-- @treturn table answer
function dc_ign.train(run)
  local K = #run.sim.params
  local decoder, encoder = run:nets(K, 2 * K)
  local minibatches = dc_ign.minibatches(run.pool, MINIBATCH)
  local groups = math.max(1, run.batch // MINIBATCH)
  local player = run:player { decoder, encoder }
  function player.loss()
    local rows, active = {}, {}
    for g = 1, groups do
      local one = run.rng:choice(minibatches)
      active[g] = one.active
      table.move(one.rows, 1, #one.rows, #rows + 1, rows)
    end
    local x = run.seen(run.sim:run(sv.tensor(rows)))
    local mean, log_std = support.split(encoder(x))
    local clamped, invariance = dc_ign.clamp(support.sample(mean, log_std, run.rng), active)
    return run.loss(decoder(clamped), x) + support.kl(mean, log_std) + invariance * INVARIANCE
  end
  run:train { player }
  return run:autoencoder(decoder, encoder)
end

return dc_ign
