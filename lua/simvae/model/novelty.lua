--- Detection of outputs unlike those of the training.
--
-- Two measures, in the networks' units: the maximum distance of an element from its mean, in standard deviations, and
-- the root mean square difference between the output and the decoder's output for the encoder's estimate. Training
-- records the maximum of each over its last batch; an output beyond a multiple of them is a notice, once. That is less
-- than simvae.model.surprise measures, on purpose: encode and invert do it for every batch, at the cost of one pass of
-- the decoder, and models without a reference of simulations have it as well.
local core = require "simvae.core"
local levels = require "simvae.model.levels"
local notice = require "simvae.model.notice"
local sets = require "simvae.model.sets"

local novelty = {}

local BEYOND = 2     -- times the largest in training; more where that is of few draws
local LOOKED_AT = 32 -- samples that go through the decoder, of a batch of so many at most,
local OF_MORE = 4    -- and the first of a larger one: encode stays as fast as its encoder
local ALWAYS = 64    -- small batches that the decoder looks at, then one in so many: it costs as much as the encoder
local ONE_IN = 128

local function rows(t)
  return core.reshape(t, t.shape[1], -1)
end

-- The largest element of each sample, in standard deviations (N,), and its place; nil where outputs have no scale.
local function distances(model, x)
  if not model.loss.mean then return nil end
  local away = rows(core.abs(x))
  return core.max(away, 2), core.argmax(away, 2)
end

-- (N,)
local function misfits(model, x, code)
  local squares, M = sets.squares(model, x, code)
  return core.sqrt(sets.mean(core.mean(rows(squares), 2), M))
end

local function largest(t)
  return t and core.max(t):item() or 0
end

--- Takes the measures of outputs like those of the training; the model keeps them as `seen`.
-- @tparam Model model
-- @tparam tensor x (N, …output)
-- @tparam ?tensor noise (N,) levels of it (simvae.model.levels)
function novelty.measure(model, x, noise)
  local scope <close> = core.scope()
  core.no_grad(function()
    local codes = model:ranked(levels.seen(model, x, noise))
    x = model.loss:standardise(x)
    local seen = { draws = x.shape[1], distance = largest(distances(model, x)),
      misfit = largest(misfits(model, x, codes[1])) }
    model.seen = seen.distance < math.huge and seen.misfit < math.huge and seen
  end)
end

--- Keeps a model from reporting unusual outputs until the result is closed: where they are the simulator's own, of
-- which some are rarer than all that training recorded.
-- @tparam Model model
-- @return closed, it lets the model report again; nil: the value is no model of simvae
function novelty.silenced(model)
  local noticed = rawget(model, "noticed")
  if not noticed then return nil end
  local before = noticed.novelty
  noticed.novelty = before or "of the simulator's own outputs"
  return setmetatable({}, { __close = function() noticed.novelty = before end })
end

--- Gives notice of the first sample that is far from all that was seen.
-- @tparam string what the method's name
-- @tparam Model model
-- @tparam tensor x (N, …) as the encoder takes it
-- @tparam function code () -> (N, size), the encoder's answers: called where the decoder is asked
-- @tparam integer before samples of the caller's batch that came before these
function novelty.check(what, model, x, code, before)
  local seen = model.seen
  if not seen or model.noticed.novelty or x.shape[1] == 0 then return end
  local scope <close> = core.scope()
  x = levels.plain(model.simulator, x)
  local times = BEYOND * (1 + 8 / seen.draws)
  local away, place = distances(model, x)
  if away and largest(away) > times * seen.distance then
    local s = math.tointeger(core.argmax(away):item())
    notice(model, "novelty", string.format("%s: sample %d is far from every output seen in training: element %d is "
      .. "%.3g standard deviations from its mean (%d outputs of the training: at most %.3g)", what, before + s,
      place:get(s) // 1, away:get(s), seen.draws, seen.distance))
    return
  end
  local small = x.shape[1] <= LOOKED_AT
  if small then
    local looks = (model.noticed.looks or 0) + 1
    model.noticed.looks = looks
    if looks > ALWAYS and looks % ONE_IN ~= 0 then return end
  end
  local n = small and x.shape[1] or OF_MORE
  local misfit = misfits(model, core.slice(x, 1, 1, n), core.slice(code(), 1, 1, n))
  if largest(misfit) > times * seen.misfit then
    local s = math.tointeger(core.argmax(misfit):item())
    notice(model, "novelty", string.format("%s: sample %d is unlike every output seen in training: the decoder's "
      .. "output for the answer is %.3g times as far from it as in the worst of %d of the training's", what,
      before + s, misfit:get(s) / seen.misfit, seen.draws))
  end
end

return novelty
