--- Refined inference of single outputs: gradient descent through the decoder, starting at the encoder's estimate, as in
-- semi-amortized inference (Kim, Wiseman, Miller, Sontag and Rush 2018).
--
--     local z = model:invert(x)                          -- from the encoder's estimate
--     local z = model:invert(x, { starts = 3 })          -- and from other candidates, or points near it, to
--                                                        -- escape local optima
--     local z, misfit = model:invert(x, { starts = 8, keep = 3 })   -- (N, 3, K): the three best of them, (N, 3)
local check = require "simvae.util.check"
local core = require "simvae.core"
local input = require "simvae.model.input"
local interrupt = require "simvae.util.interrupt"
local levels = require "simvae.model.levels"
local noise = require "simvae.simulator.noise"
local novelty = require "simvae.model.novelty"
local optim = require "simvae.nn.optim"
local sets = require "simvae.model.sets"

local Model = {} -- methods that simvae.model takes over

local CHUNK = 64      -- samples per chunk
local CANDIDATES = 8  -- candidate points for each start besides the encoder's
local POOL = 32       -- candidates of a posterior that is drawn from, of which the best are the starts

local options = check.declare("model:invert", {
  steps = { "integer", default = 100, min = 0, doc = "of Adam through the decoder" },
  lr = { "number", default = 0.1, above = 0, doc = "learning rate in code space; it falls as a cosine" },
  starts = { "integer", default = 1, min = 1,
    doc = "places to begin at: the encoder's answers first (of a flow the best of 32 estimates and draws), then "
      .. "points near them; the best result is kept" },
  spread = { "number", default = 0.3, above = 0,
    doc = "standard deviation of the points near the first, as a share of half the range" },
  seed = { "integer", default = 1, doc = "of the places to begin at" },
  keep = { "integer", min = 1, doc = "how many results of each output are returned, at most `starts`" },
  noise = noise.level_rule,
})

-- The best parameters so far for the outputs of one chunk: of each output up to `keep` results, the best first, rows in
-- units with their misfits.
local Best = {}
Best.__index = Best

-- The parameters of a code, in units (a class is rounded), and their misfit.
function Best:offer(code)
  local scope <close> = core.scope()
  local of = self.model
  local units = of.latent:to_units(code)
  local again = of.latent:to_code(units)
  local misfit = core.no_grad(function() return sets.misfit(of.loss, of.decoder(again), self.x) end):totable()
  local rows = units:totable()
  for i, value in ipairs(misfit) do self:add(i, { misfit = value, row = rows[i] }) end
  return self
end

-- Adds a result of output i.
function Best:add(i, one)
  local list = self[i] or {}
  self[i] = list
  local at = #list + 1
  while at > 1 and one.misfit < list[at - 1].misfit do at = at - 1 end
  table.insert(list, at, one)
  list[self.keep + 1] = nil
end

-- The best rows (n, K).
function Best:rows()
  local rows = {}
  for i, list in ipairs(self) do rows[i] = list[1].row end
  return core.tensor(rows)
end

local function best_of(self, x, keep)
  return setmetatable({ model = self, x = x, keep = keep }, Best)
end

-- Descends from a code: Adam on each sample's misfit.
local function descend(self, x, code, o)
  local raw = core.parameter(self.latent:unsquash(code))
  local opt = optim.adam({ raw }, { lr = o.lr })
  for step = 1, o.steps do
    local tape <close> = core.tape()
    local misfit = sets.misfit(self.loss, self.decoder(self.latent:squash(raw)), x)
    -- sums, so that the result does not depend on the batch size
    tape:backward(core.sum(misfit) + self.latent:overshoot(raw) * x.shape[1])
    opt:step(o.lr * 0.5 * (1 + math.cos(math.pi * (step - 1) / o.steps)))
  end
  return core.no_grad(self.latent.squash, self.latent, raw)
end

-- The best of several points about a code, for each sample.
local function nearby(self, x, code, rng, spread)
  local found = best_of(self, x, 1)
  for _ = 1, CANDIDATES do
    local scope <close> = core.scope()
    local raw = self.latent:unsquash(code + rng:normal(code.shape) * spread)
    found:offer(core.no_grad(self.latent.squash, self.latent, raw))
  end
  return self.latent:to_code(found:rows())
end

-- Implements invert, on outputs (N, …) and its options.
local function refine(self, x, o)
  self.encoder:eval()
  self.decoder:eval()
  local frozen <close> = setmetatable({}, { __close = function() self.decoder:unfreeze() end }) -- errors included
  self.decoder:freeze()
  local results, n = {}, x.shape[1]
  for from = 1, n, CHUNK do
    local scope <close> = core.scope()
    local to = math.min(from + CHUNK - 1, n)
    local seen = levels.seen(self, core.slice(x, 1, from, to), levels.part(o.noise, from, to))
    local part = levels.plain(self.simulator, seen)
    local codes = core.no_grad(self.ranked, self, seen, math.max(o.starts, POOL))
    core.no_grad(novelty.check, "invert", self, seen, function() return codes[1] end, from - 1)
    local rng = core.rng(o.seed, from)
    local best, first = best_of(self, part, o.keep or 1), best_of(self, part, 1):offer(codes[1])
    if o.steps > 0 then first:offer(descend(self, part, codes[1], o)) end
    for i, list in ipairs(first) do best:add(i, list[1]) end
    for start = 2, (o.steps > 0 or o.keep) and o.starts or 1 do
      local code = codes[start] or nearby(self, part, codes[1], rng, o.spread)
      best:offer(o.steps > 0 and descend(self, part, code, o) or code)
    end
    table.move(best, 1, #best, #results + 1, results)
  end
  return results
end

-- Results as tensors: rows (N, keep, K) and their misfits (N, keep).
local function kept(self, results, keep)
  local K = #self.simulator.params
  if #results == 0 then return core.zeros(0, keep, K), core.zeros(0, keep) end
  local rows, misfits = {}, {}
  for i, list in ipairs(results) do
    rows[i], misfits[i] = {}, {}
    for k, one in ipairs(list) do rows[i][k], misfits[i][k] = one.row, one.misfit end
  end
  return core.tensor(rows), core.tensor(misfits)
end

--- Refines the encoder's estimate: minimises the misfit of x and G(z) (Loss:misfit; that of stage 2) by Adam through
-- the decoder. Slower than encode, and never worse by that measure.
-- @tparam tensor x (N, …output)
-- @tparam ?table t options
-- @treturn tensor z (N, K), in units; with keep (N, keep, K), the best first
-- @treturn number the mean over the N outputs of the misfit that was reached: 0 where the decoder reproduces x exactly
-- (under "gaussian" it may be below); of outputs in other units than pixels in standard deviations of theirs; with keep
-- a tensor (N, keep), the misfit of each result
-- @raise outputs of another shape, unknown options
-- @usage
-- local best, misfit = model:invert(x[1], { starts = 4, steps = 20 })
-- print(best, misfit)
function Model:invert(x, t)
  local o = check.options("invert", t, options)
  x = input.outputs("invert", self, x)
  o.noise = noise.levels("invert", self.simulator, o.noise, x.shape[1], 2)
  if o.keep and o.keep > o.starts then
    check.fail(2, "invert: keep = %d takes as many starts; got starts = %d", o.keep, o.starts)
  end
  local results = interrupt.during("invert: interrupted", refine, self, x, o)
  if o.keep then
    local z, misfits = kept(self, results, o.keep) -- no tail call: errors point at the caller
    return z, misfits
  end
  if #results == 0 then return core.zeros(0, #self.simulator.params), 0 end
  local rows, total = {}, 0
  for i, list in ipairs(results) do rows[i], total = list[1].row, total + list[1].misfit end
  return core.tensor(rows), total / #results
end

return { methods = Model }
