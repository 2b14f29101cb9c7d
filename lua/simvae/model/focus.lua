--- The observation that a model was trained for in rounds (simvae.train.rounds): for others its posterior is that of
-- the prior restricted to this one's support. Model.focus: observation (1, …output), rounds, and distance: how far the
-- outputs of the last round were from it at most, root mean square in the networks' units.
local core = require "simvae.core"
local notice = require "simvae.model.notice"
local sets = require "simvae.model.sets"

local focus = {}

-- Observations; of sets their means.
local function means(model, x)
  x = model.loss:standardise(x)
  return sets.is(model, x) and core.mean(x, 2) or x
end

-- (N,)
local function distances(model, x, observation)
  local away = core.square(means(model, x) - means(model, observation))
  return core.sqrt(core.mean(core.reshape(away, x.shape[1], -1), 2))
end

--- @tparam Model model
-- @tparam tensor observation (1, …output)
-- @tparam integer rounds
-- @tparam tensor x (N, …output) outputs of the last round, as measured
-- @treturn table a model's focus
function focus.new(model, observation, rounds, x)
  local scope <close> = core.scope()
  return { observation = core.buffer(observation), rounds = rounds,
    distance = core.max(distances(model, x, observation)):item() }
end

--- Gives notice of an output that is as far from the observation as none of the last round's.
-- @tparam string what the method's name
-- @tparam Model model
-- @tparam tensor x (N, …output)
function focus.check(what, model, x)
  local f = model.focus
  if not f or model.noticed.focus or x.shape[1] == 0 then return end
  local scope <close> = core.scope()
  local away = core.no_grad(distances, model, x, f.observation)
  local furthest = core.max(away):item()
  if furthest > f.distance then
    notice(model, "focus", string.format("%s: the model was trained in %d rounds for one observation; sample %d is "
      .. "%.3g times as far from it as any output of the last round, and its posterior is of a prior without most of "
      .. "the parameters that give it", what, f.rounds, math.tointeger(core.argmax(away):item()),
      furthest / math.max(f.distance, 1e-30)))
  end
end

return focus
