--- Loading models from untrusted files: a description is checked against the file's size before a network is built, and
-- any error of the file is `nil, reason`.
local check = require "simvae.util.check"
local core = require "simvae.core"
local description = require "simvae.model.description"
local file = require "simvae.io.file"
local json = require "simvae.io.json"
local noise = require "simvae.simulator.noise"
local notice = require "simvae.model.notice"
local posterior = require "simvae.posterior"
local recalibration = require "simvae.model.recalibration"
local sets = require "simvae.model.sets"
local simulator = require "simvae.simulator"

local refuse = file.refuse

--- A stand-in for the stream of initial weights: zeros, which the file's numbers replace, and not many more of them
-- than the file has (where a tensor is missing, load_state says which).
-- @tparam integer numbers
local function blank(numbers)
  local left = 2 * numbers + 4096
  local function zeros(_, _, _, shape)
    for _, n in ipairs(shape) do
      if n > left then refuse("its network has more weights than the file (%d numbers)", numbers) end
    end
    local count = 1
    for _, n in ipairs(shape) do count = math.min(count * n, left + 1) end
    left = left - count
    if left < 0 then refuse("its network has more weights than the file (%d numbers)", numbers) end
    return core.zeros(shape)
  end
  return { normal = zeros, uniform = zeros }
end

-- A message of our own without its source line.
local function without_place(message)
  return (tostring(message):gsub("^[^:]+:%d+: ", ""))
end

-- How many numbers the file has; none of them may be NaN or infinite.
local function count_numbers(state)
  local numbers = 0
  for name, t in pairs(state) do
    local finite, at = t:finite()
    if not finite then refuse("'%s' is not finite at element %d", name, at) end
    numbers = numbers + t.count
  end
  return numbers
end

-- Statistics of the output, which are read before the network is built.
local function check_statistics(d, state)
  local count = #d.output == 1 and d.loss ~= "bce" and d.output[1] or nil
  for _, name in ipairs { "output.mean", "output.std" } do
    local t = state[name]
    if count and (not t or t.count ~= count) then
      refuse("'%s' has %d numbers, an output %d", name, t and t.count or 0, count)
    end
  end
  if #d.output == 3 and d.loss == "gaussian" and
    not (state["loss.log_std"] and state["loss.log_std"].count == d.output[1]) then
    refuse("'loss.log_std' does not have the output's %d channels", d.output[1])
  end
  if state["output.std"] and core.min(state["output.std"]):item() <= 0 then
    refuse("'output.std' has numbers that are not above 0")
  end
end

-- The simulator of a file: the given one, an identical built-in, or a placeholder that cannot run.
local function simulator_of(d, given, path)
  local why
  if given then
    why = description.difference(d, given)
    if why then refuse("a model of '%s', and not of the simulator given: %s", d.simulator, why) end
    return given
  end
  for _, name in ipairs(require "simvae.simulator.builtin") do
    if name == d.simulator then
      local builtin = require("simvae.simulators." .. name)
      why = description.difference(d, builtin)
        or noise.differs(d.noise, builtin) and "the noise of its measurement differs"
      if not why then return builtin end
      why = string.format("; it is not the built-in '%s': %s", name, why)
    end
  end
  local message = string.format("this model was loaded without its simulator: sv.load(%q, simulator)%s", path,
    why or "")
  local ok, made = pcall(simulator.new, {
    name = d.simulator, params = d.params, output = d.output,
    noise = d.noise and noise.of_description(d.noise, d.output, message),
    simulate = function() error(message, 0) end,
  })
  if not ok then refuse("no simulator fits its description: %s", without_place(made)) end
  rawset(made, "placeholder", true)
  return made
end

-- Errors of user functions are raised; all others are errors of the file.
local function build(options, numbers, own)
  local model = require "simvae.model"
  if own then return model.new(options) end
  local ok, result = pcall(model.build, options, blank(numbers))
  if ok then return result end
  if type(result) ~= "string" then error(result, 0) end
  if result:find("interrupted!", 1, true) then error(result, 0) end
  refuse("no model can be built from its description: %s", without_place(result))
end

-- The observation of a model that was trained in rounds.
local function focus_of(self, d, state)
  if not d.focus then return nil end
  local x = state.observation
  local M = x and sets.is(self, x) and { x.shape[2] } or {}
  local wanted = check.shape_text { 1, table.unpack(table.move(self.simulator.output, 1, #self.simulator.output,
    #M + 1, M)) }
  if not x or check.shape_text(x.shape) ~= wanted then
    refuse("'observation' has shape %s, where this model has %s", x and check.shape_text(x.shape) or "none", wanted)
  end
  d.focus.observation = core.buffer(x)
  return d.focus
end

-- Builds the model of a file's tensors and description.
local function make(state, metadata, path, sim, settings)
  if metadata.format ~= "simvae" or not metadata.model then refuse("a safetensors file, but not of a simvae model") end
  description.check_version(metadata)
  local about, broken = json.decode(metadata.model, { max_bytes = 1 << 20, what = "its description" })
  if about == nil then refuse("%s", broken or "its description is empty") end
  local numbers = count_numbers(state)
  local d = description.check(about, numbers)
  if d.net == "custom" and not settings.net then
    refuse("the model has a net of its own; sv.load(path, simulator, { net = … })")
  end
  if d.loss == "function" and not (settings.loss or sim and sim.loss) then
    refuse("the model has a loss of its own; sv.load(path, simulator, { loss = … })")
  end
  check_statistics(d, state)
  local options = {
    simulator = simulator_of(d, sim, path), net = settings.net or d.net, width = d.width, seed = d.seed,
    loss = settings.loss or d.loss_given and d.loss ~= "function" and d.loss or nil, bounded = d.bounded,
    posterior = d.posterior, decoder = d.likelihood, members = d.members, set = d.set, extra = d.extra,
  }
  for option in pairs(posterior.rules(d.posterior)) do options[option] = d[option] end
  local self = build(options, numbers, settings.net)
  local ok, misfit = self:load_state(state)
  if not ok then refuse("%s", misfit) end
  self.focus = focus_of(self, d, state)
  local own = self:state()
  for name in pairs(state) do
    if not name:find "^output%." and not own[name] then refuse("'%s' belongs to no part of the model", name) end
  end
  self.trained, self.seen, self.recalibration = d.trained, d.seen or false, d.recalibration
  if sim and sim.name ~= d.simulator then
    notice(self, "simulator", string.format("load: %s is of the simulator '%s'; the one given is '%s'", path,
      d.simulator, sim.name))
  end
  if recalibration.is_old(self) then
    notice(self, "recalibration", string.format("load: %s was recalibrated by an earlier version: its intervals are up "
      .. "to four percentage points off; model:recalibrate { simulations = 1000 } corrects them", path))
  end
  if sim and d.noise and noise.differs(d.noise, sim) then
    notice(self, "noise", string.format("load: %s was trained with another noise of the measurement than the simulator "
      .. "given declares: its posteriors are of that", path))
  end
  return self
end

local load_options = check.declare("load", {
  net = { "string|function|table", doc = "the model's own net, where it had one; default: by the file" },
  loss = { "string|function", doc = "the model's own loss, where it had one; default: by the file" },
})

--- Loads a model.
-- @tparam string path
-- @tparam ?Simulator sim a simulator of your own that the model belongs to: names, bounds, scales, units, periods,
-- levels, output and range of noise levels have to be the model's
-- @tparam ?table settings options
-- @treturn Model or nil and why not (a file that cannot be read, is damaged, or is not of this simulator)
-- @raise arguments of another type
-- @usage
-- model:save "ring.safetensors"
-- local again = assert(sv.load("ring.safetensors", ring))
-- print(again)
return function(path, sim, settings)
  check.value("load", "path", path, { "string" })
  if sim ~= nil and not simulator.is(sim) then
    check.fail(2, "load: the second argument is a simulator; got %s", check.describe(sim))
  end
  settings = check.options("load", settings, load_options)
  local state, metadata = require "simvae.io".load_safetensors(path)
  if not state then return nil, metadata end
  local self, why = file.attempt(make, state, metadata, path, sim, settings)
  if not self then return file.failure(path, why) end
  return self
end
