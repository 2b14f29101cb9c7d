--- Refined inference of single outputs: gradient descent through the decoder, starting at the encoder's estimate, as in
-- semi-amortized inference (Kim, Wiseman, Miller, Sontag and Rush 2018).
--
--     local z = model:invert(x)                          -- from the encoder's estimate
--     local z = model:invert(x, { starts = 3 })          -- and from other candidates, or points near it, to
--                                                        -- escape local optima
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
  noise = { "number|table|tensor",
    doc = "the level of the noise of x, a number or one for each output, where the simulator declares a range of "
      .. "levels" },
})

-- The best parameters so far for the outputs of one chunk: rows in units, and their misfits.
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
  for i, value in ipairs(misfit) do
    if not self.misfit[i] or value < self.misfit[i] then self.misfit[i], self.rows[i] = value, rows[i] end
  end
end

local function best_of(self, x)
  return setmetatable({ model = self, x = x, misfit = {}, rows = {} }, Best)
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
  local found = best_of(self, x)
  for _ = 1, CANDIDATES do
    local scope <close> = core.scope()
    local raw = self.latent:unsquash(code + rng:normal(code.shape) * spread)
    found:offer(core.no_grad(self.latent.squash, self.latent, raw))
  end
  return self.latent:to_code(core.tensor(found.rows))
end

-- Implements invert, on outputs (N, …) and its options.
local function refine(self, x, o)
  self.encoder:eval()
  self.decoder:eval()
  local frozen <close> = setmetatable({}, { __close = function() self.decoder:unfreeze() end }) -- errors included
  self.decoder:freeze()
  local rows, total, n = {}, 0, x.shape[1]
  for from = 1, n, CHUNK do
    local scope <close> = core.scope()
    local to = math.min(from + CHUNK - 1, n)
    local seen = levels.seen(self, core.slice(x, 1, from, to), levels.part(o.noise, from, to))
    local part = levels.plain(self.simulator, seen)
    local codes = core.no_grad(self.ranked, self, seen, math.max(o.starts, POOL))
    core.no_grad(novelty.check, "invert", self, seen, function() return codes[1] end, from - 1)
    local rng = core.rng(o.seed, from)
    local best = best_of(self, part)
    best:offer(codes[1])
    if o.steps > 0 then
      for start = 1, o.starts do
        best:offer(descend(self, part, codes[start] or nearby(self, part, codes[1], rng, o.spread), o))
      end
    end
    for i, row in ipairs(best.rows) do
      rows[#rows + 1] = row
      total = total + best.misfit[i]
    end
  end
  if n == 0 then return core.zeros(0, #self.simulator.params), 0 end
  return core.tensor(rows), total / n
end

--- Refines the encoder's estimate: minimises the misfit of x and G(z) (Loss:misfit; that of stage 2) by Adam through
-- the decoder. Slower than encode, and never worse by that measure.
-- @tparam tensor x (N, …output)
-- @tparam ?table t options
-- @treturn tensor z (N, K), in units
-- @treturn number the mean over the N outputs of the misfit that was reached: 0 where the decoder reproduces x exactly
-- (under "gaussian" it may be below); of outputs in other units than pixels in standard deviations of theirs
function Model:invert(x, t)
  local o = check.options("invert", t, options)
  x = input.outputs("invert", self, x)
  o.noise = noise.levels("invert", self.simulator, o.noise, x.shape[1], 2)
  return interrupt.during("invert: interrupted", refine, self, x, o)
end

return { methods = Model }
