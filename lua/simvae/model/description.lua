--- The description of a model in its file: names, units and bounds of the parameters, shape of the output, network. It
-- is untrusted: every field is checked before anything is built from it, and none of its text reaches a loader, a path
-- or a format string.
local check = require "simvae.util.check"
local core = require "simvae.core"
local file = require "simvae.io.file"
local likelihood = require "simvae.likelihood"
local loss = require "simvae.model.loss"
local marginal = require "simvae.simulator.marginal"
local nets = require "simvae.nn.build"
local noise = require "simvae.simulator.noise"
local parameter = require "simvae.simulator.parameter"
local posterior = require "simvae.posterior"
local recalibration = require "simvae.model.recalibration"

local description = {}

local MAX_WIDTH = 1 << 20        -- channels or units of a layer
local MAX_AXIS = 1 << 31       -- along one axis of an output, or seconds and steps of a training
local MAX_MEMBERS = 64
local MAX_EXTRA = 64
local refuse = file.refuse

--- The version of the format of model files (notebooks/model_files.md) that is written, and the last one that is read.
-- Files without one are version 1.
description.FORMAT = 1

--- Refuses a file of a later version of the format.
-- @tparam {[string]=string} metadata of the file
function description.check_version(metadata)
  if metadata.format_version == nil then return end
  local version = metadata.format_version:find "^%d+$" and math.tointeger(tonumber(metadata.format_version))
  if not version or version < 1 then refuse("its format_version is %q, which is none", metadata.format_version) end
  if version <= description.FORMAT then return end
  local by = metadata.version and "simvae " .. metadata.version or "a later simvae"
  refuse("%s wrote it, in version %d of the format of model files; this is simvae %s, which reads versions up to "
    .. "%d: install %s or a later one", by, version, core.version, description.FORMAT,
    metadata.version and by or "that one")
end

--- Of a model: plain values only.
-- @tparam Model model
-- @treturn table
function description.of(model)
  local sim, params = model.simulator, {}
  for i, p in ipairs(sim.params) do params[i] = parameter.declaration(p) end
  local about = {
    simulator = sim.name, params = params, output = sim.output,
    net = type(model.net) == "string" and model.net or "custom", width = model.width, loss = model.loss.name,
    loss_given = model.loss.given, bounded = model.bounded, seed = model.seed, posterior = model.head.name,
    likelihood = { name = model.likelihood.name },
  }
  for option, value in pairs(model.likelihood.settings) do about.likelihood[option] = value end
  for option, value in pairs(model.head.settings) do about[option] = value end
  if model.members > 1 then about.members = model.members end
  if model.extra > 0 then about.extra = model.extra end
  about.noise = noise.description(sim)
  if model.set then about.set = { low = model.set.low, high = model.set.high } end
  return about
end

--- A description, or options of sv.model, with former names replaced: `answers` by a posterior and its components,
-- net "place" by "coordconv".
-- @tparam table t
-- @treturn table a copy
function description.current(t)
  local result = {}
  for k, v in pairs(t) do result[k] = v end
  if result.net == "place" then result.net = "coordconv" end
  local answers = result.answers
  result.answers = nil
  if answers ~= nil then
    result.posterior = result.posterior or answers == 1 and "gaussian" or "mixture"
    if answers ~= 1 and result.components == nil then result.components = answers end
  end
  return result
end

--- The description of a file, with former names replaced; earlier versions wrote no posterior where it was "gaussian".
-- @tparam table t
-- @treturn table a copy
function description.of_file(t)
  local result = description.current(t)
  result.posterior = result.posterior or "gaussian"
  return result
end

-- ---- checks of single fields --------------------------------------------------------------

local function shown(v)
  if type(v) == "string" then return string.format("%q", #v > 60 and v:sub(1, 60) .. "..." or v) end
  return type(v) == "table" and "a table" or tostring(v)
end

local function text(v, what, may_be_empty)
  if type(v) ~= "string" then refuse("%s takes a name; got %s", what, shown(v)) end
  local why = check.name_fault(v) or v == "" and not may_be_empty and "is empty"
  if why then refuse("%s takes a name; got %s, which %s", what, shown(v), why) end
  return v
end

local function whole(v, what, minimum, maximum)
  if math.type(v) == "float" then v = math.tointeger(v) or v end
  if math.type(v) ~= "integer" or v < minimum or v > maximum then
    refuse("%s takes a whole number from %d to %d; got %s", what, minimum, maximum, shown(v))
  end
  return v
end

local function finite(v, what)
  if type(v) ~= "number" or v ~= v or v == math.huge or v == -math.huge then
    refuse("%s takes a finite number; got %s", what, shown(v))
  end
  return v
end

local function one_of(v, what, list)
  for _, known in ipairs(list) do
    if v == known then return v end
  end
  refuse("%s is one of %s; got %s", what, table.concat(list, ", "), shown(v))
end

-- The entries of a list of at most `maximum`.
local function list(v, what, maximum)
  if type(v) ~= "table" or #v == 0 or #v > maximum then
    refuse("%s takes a list of 1 to %d entries; got %s", what, maximum,
      type(v) == "table" and #v .. " of them" or shown(v))
  end
  for k in pairs(v) do
    if math.type(k) ~= "integer" or k < 1 or k > #v then refuse("%s takes a list; got a table of names", what) end
  end
  return v
end

local function known_fields(t, what, known)
  for k in pairs(t) do
    if not known[k] then refuse("%s has an unknown field %s", what, shown(k)) end
  end
end

-- ---- description --------------------------------------------------------------------------

local param_fields = { name = true, low = true, high = true, unit = true, scale = true, period = true, levels = true,
  grid = true, prior = true }

-- A prior other than uniform, or nil: a name and finite numbers; simvae.simulator.marginal checks that they are one.
local function prior_of(t, what)
  if t == nil then return nil end
  local result = {}
  for i, v in ipairs(list(t, what, 3)) do result[i] = i == 1 and text(v, what) or finite(v, what) end
  local why = marginal.fault(result)
  if why then refuse("%s", (why:gsub("^has a prior", what .. " is"))) end
  return result
end

-- A parameter as sv.simulator takes it.
local function param_of(p, i, numbers)
  local what = string.format("parameter %d", i)
  if type(p) ~= "table" then refuse("%s takes a table; got %s", what, shown(p)) end
  known_fields(p, what, param_fields)
  local q = { name = text(p.name, what .. "'s name"),
    unit = p.unit == nil and "" or text(p.unit, what .. "'s unit", true) }
  q.scale = p.scale ~= nil and one_of(p.scale, what .. "'s scale", { "linear", "log" }) or nil
  if p.levels ~= nil then
    q.levels = whole(p.levels, what .. "'s levels", 2, math.max(2, numbers))
    if p.low ~= nil and p.low ~= 1 or p.high ~= nil and p.high ~= q.levels then
      refuse("%s counts from 1 to its %d levels; its bounds differ", what, q.levels)
    end
    if p.period ~= nil or q.scale == "log" or p.prior ~= nil then
      refuse("%s has levels, and a period, a scale or a prior", what)
    end
    return q
  end
  q.prior = prior_of(p.prior, what .. "'s prior")
  if q.prior then
    if p.period ~= nil then refuse("%s has a period and a prior", what) end
    q.low, q.high = p.low and finite(p.low, what .. "'s low"), p.high and finite(p.high, what .. "'s high")
    return q
  end
  q.low, q.high = finite(p.low, what .. "'s low"), finite(p.high, what .. "'s high")
  if q.low >= q.high then refuse("%s has low = %g and high = %g; low must be below high", what, q.low, q.high) end
  if q.scale == "log" and q.low <= 0 then refuse("%s on a log scale has low = %g; it must be above 0", what, q.low) end
  if p.period ~= nil then
    q.period = finite(p.period, what .. "'s period")
    if q.period <= 0 then refuse("%s has period %g; it must be above 0", what, q.period) end
  end
  if p.grid ~= nil then
    q.grid = whole(p.grid, what .. "'s grid", 2, 4096)
    if q.scale == "log" then refuse("%s has a grid and a logarithmic scale", what) end
  end
  return q
end

local stage_names = { decoder = true, sleep = true, encoder = true }

local function trained_of(t)
  local result = { decoder = 0, encoder = 0 }
  if t == nil then return result end
  if type(t) ~= "table" then refuse("trained takes steps by stage; got %s", shown(t)) end
  known_fields(t, "trained", stage_names)
  for stage, steps in pairs(t) do result[stage] = whole(steps, "trained." .. stage, 0, 1 << 53) end
  return result
end

-- The decoder's distribution as sv.model takes it; files of earlier versions have none.
local function likelihood_of(t)
  if t == nil then return { likelihood.default } end
  if type(t) ~= "table" then refuse("likelihood takes a table; got %s", shown(t)) end
  local result = { one_of(t.name, "likelihood.name", likelihood.names) }
  local rules, known = likelihood.rules(result[1]), { name = true }
  for option, rule in pairs(rules) do
    known[option] = true
    result[option] = whole(t[option], "likelihood." .. option, rule.min, rule.max)
  end
  known_fields(t, "likelihood", known)
  return result
end

-- Results of simvae.model.novelty; files of earlier versions have none.
local function seen_of(t)
  if t == nil then return nil end
  if type(t) ~= "table" then refuse("seen takes measures by name; got %s", shown(t)) end
  local result = { draws = whole(t.draws, "seen.draws", 1, MAX_AXIS) }
  for _, name in ipairs { "distance", "misfit" } do
    result[name] = finite(t[name], "seen." .. name)
    if result[name] < 0 then refuse("seen.%s takes a number from 0 on; got %g", name, result[name]) end
  end
  return result
end

-- The noise of a measurement (simvae.simulator.noise); files of earlier versions say nothing of it.
local function noise_of(t)
  if t == nil then return nil end
  if type(t) ~= "table" then refuse("noise takes a table; got %s", shown(t)) end
  known_fields(t, "noise", { low = true, high = true, std = true })
  local result = {}
  if t.std ~= nil then
    result.std = {}
    for i, v in ipairs(list(t.std, "noise.std", noise.LISTED)) do
      result.std[i] = finite(v, "noise.std")
      if v < 0 then refuse("noise.std takes numbers from 0 on; got %g", v) end
    end
  end
  if t.low == nil and t.high == nil then return result end
  result.low, result.high = finite(t.low, "noise.low"), finite(t.high, "noise.high")
  if result.low <= 0 or result.low >= result.high then
    refuse("noise has levels from %g to %g", result.low, result.high)
  end
  if not result.std then refuse("noise has levels, and no standard deviations that they multiply") end
  return result
end

-- The sizes of a model's sets.
local function set_of(t)
  if t == nil then return nil end
  if type(t) ~= "table" then refuse("set takes a table; got %s", shown(t)) end
  known_fields(t, "set", { low = true, high = true })
  local low = whole(t.low, "set.low", 1, MAX_AXIS)
  return { low = low, high = whole(t.high, "set.high", low, MAX_AXIS) }
end

-- Of a model that was trained in rounds, what simvae.model.focus has beside the observation.
local function focus_of(t)
  if t == nil then return nil end
  if type(t) ~= "table" then refuse("focus takes a table; got %s", shown(t)) end
  known_fields(t, "focus", { rounds = true, distance = true })
  local distance = finite(t.distance, "focus.distance")
  if distance < 0 then refuse("focus.distance takes a number from 0 on; got %g", distance) end
  return { rounds = whole(t.rounds, "focus.rounds", 1, MAX_AXIS), distance = distance }
end

-- Elements of an output, each axis and all of them within what a tensor can have.
local function output_of(t)
  local shape, count = {}, 1
  for i, n in ipairs(list(t, "output", 3)) do
    shape[i] = whole(n, "output", 1, MAX_AXIS)
    count = count * shape[i]
    if count > MAX_AXIS then refuse("output (%s) is more than any network gives", table.concat(t, ", ")) end
  end
  if #shape == 2 then refuse("output is {channels, height, width} or {n}; got %s", check.shape_text(shape)) end
  return shape
end

--- The checked description: each field of the right type and within bounds, or refused (file.refuse).
-- @tparam table t as decoded
-- @tparam integer numbers in all tensors of the file: what is larger cannot be of this file
-- @treturn table as `of` gives it, trained = { decoder =, encoder =[, sleep =] }, recalibration (or false) and, where
-- there are any, seen and focus
function description.check(t, numbers)
  if type(t) ~= "table" then refuse("its description takes a table; got %s", shown(t)) end
  t = description.of_file(t)
  local d = { simulator = text(t.simulator, "simulator"), params = {}, output = output_of(t.output) }
  local seen = {}
  for i, p in ipairs(list(t.params, "params", math.max(1, numbers))) do
    local q = param_of(p, i, numbers)
    if seen[q.name] then refuse("two parameters are named '%s'", q.name) end
    seen[q.name], d.params[i] = true, q
  end
  local known = table.move(nets.names, 1, #nets.names, 1, {})
  known[#known + 1] = "custom"
  d.net = one_of(t.net, "net", known)
  d.width = whole(t.width, "width", 1, MAX_WIDTH)
  d.seed = t.seed == nil and 1 or whole(t.seed, "seed", math.mininteger, math.maxinteger)
  d.posterior = one_of(t.posterior, "posterior", posterior.names)
  for option in pairs(posterior.options()) do
    if t[option] ~= nil and not posterior.rules(d.posterior)[option] then
      refuse("%s is no option of its posterior, %s", option, d.posterior)
    end
  end
  for option, rule in pairs(posterior.rules(d.posterior)) do
    d[option] = t[option] == nil and rule.before or whole(t[option], option, rule.min, rule.max)
  end
  d.members = t.members == nil and 1 or whole(t.members, "members", 1, MAX_MEMBERS)
  d.extra = t.extra == nil and 0 or whole(t.extra, "extra", 0, MAX_EXTRA)
  d.likelihood = likelihood_of(t.likelihood)
  d.bounded = t.bounded == nil and "clamp" or t.bounded
  if d.bounded ~= false then one_of(d.bounded, "bounded", { "clamp", "tanh" }) end
  known = table.move(loss.names, 1, #loss.names, 1, {})
  known[#known + 1] = "function"
  d.loss = one_of(t.loss, "loss", known)
  if t.loss_given ~= nil and type(t.loss_given) ~= "boolean" then
    refuse("loss_given is true or false; got %s", shown(t.loss_given))
  end
  d.loss_given = t.loss_given
  d.set, d.noise = set_of(t.set), noise_of(t.noise)
  d.trained, d.seen, d.focus = trained_of(t.trained), seen_of(t.seen), focus_of(t.focus)
  d.recalibration = recalibration.check(t.recalibration, d.params)
  return d
end

-- ---- comparison ---------------------------------------------------------------------------

--- The first difference between a file's model and a simulator, as text; nil where there is none.
-- @tparam table d a checked description
-- @tparam Simulator sim
-- @treturn ?string "parameter 'x' has high = 24, the simulator's 32"
function description.difference(d, sim)
  for i = 1, math.max(#d.params, #sim.params) do
    local a, b = d.params[i], sim.params[i]
    if not a or not b then
      return string.format("it has %d parameters, the simulator %d", #d.params, #sim.params)
    elseif a.name ~= b.name then
      return string.format("parameter %d is '%s', the simulator's '%s'", i, a.name, b.name)
    end
    local field, old, new = parameter.mismatch(a, b, true)
    if field then
      return string.format("parameter '%s' has %s = %s, the simulator's %s", a.name, field, old, new)
    end
  end
  local function levels(range)
    return range and range.low and string.format("%.10g to %.10g", range.low, range.high) or "none"
  end
  if levels(d.noise) ~= levels(sim.noise_range) then
    return string.format("its encoder is told levels of noise, %s, the simulator's are %s", levels(d.noise),
      levels(sim.noise_range))
  end
  local own = d.noise and noise.description(sim)
  if own and (own.std == nil) ~= (d.noise.std == nil) then
    local function kind(t) return t.std and "standard deviations" or "a function" end
    return string.format("its noise is declared by %s, the simulator's by %s", kind(d.noise), kind(own))
  end
  if check.shape_text(d.output) ~= check.shape_text(sim.output) then
    return string.format("its output is %s, the simulator's %s", check.shape_text(d.output),
      check.shape_text(sim.output))
  end
end

return description
