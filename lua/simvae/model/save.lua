--- Weights of a model by name, and the file that holds them.
local check = require "simvae.util.check"
local core = require "simvae.core"
local description = require "simvae.model.description"
local json = require "simvae.io.json"
local recalibration = require "simvae.model.recalibration"
local surprise = require "simvae.model.surprise"

local Model = {} -- methods that simvae.model takes over

-- Statistics and weights that belong to the loss.
local function of_loss(self)
  local map = {}
  for name, t in pairs(self.loss.own) do map["loss." .. name] = t end
  if self.loss.mean then map["output.mean"], map["output.std"] = self.loss.mean, self.loss.std end
  return map
end

-- Networks by the prefix of their weights' names.
local function parts_of(self)
  return { decoder = self.decoder, encoder = self.encoder, posterior = self.head.net, likelihood = self.likelihood.net }
end

--- All weights and statistics by name.
-- @treturn {[string]=tensor} the tensors, not copied
-- @usage
-- local names = {}
-- for name in pairs(model:state()) do names[#names + 1] = name end
-- print(#names)
function Model:state()
  local map = of_loss(self)
  if self.scores then self.scores:save(map) end
  for part, layer in pairs(parts_of(self)) do
    for name, t in pairs(layer:state()) do map[part .. "." .. name] = t end
  end
  for name, t in pairs(surprise.state(self)) do map[name] = t end
  if self.focus then map.observation = self.focus.observation end
  return map
end

-- The map with tensors of a distribution that earlier versions did not have, as a new one has them: its noise was not
-- measured, or was normal.
local function with_likelihood(map, likelihood)
  local added = {}
  for _, name in ipairs(likelihood.added or {}) do
    local own = likelihood.net.buffers[name]
    if own and not map["likelihood." .. name] then added["likelihood." .. name] = own:clone() end
  end
  return next(added) and setmetatable(added, { __index = map }) or map
end

--- Fills the weights from such a map.
-- @treturn boolean true, or nil and what does not fit
-- @tparam {[string]=tensor} map as state returns it
-- @raise a value that is not a table
-- @usage
-- local other = sv.model { simulator = ring, width = 8, posterior = "flow" }
-- print(other:load_state(model:state()))
function Model:load_state(map)
  if type(map) ~= "table" then check.fail(2, "load_state: takes what state() gave; got %s", check.describe(map)) end
  local own = of_loss(self)
  for name, t in pairs(own) do
    local from = map[name]
    -- pictures were not standardised by earlier versions
    if not from and not (#self.simulator.output == 3 and name:find "^output%.") then
      return nil, string.format("'%s' is missing", name)
    elseif from and check.shape_text(from.shape) ~= check.shape_text(t.shape) then
      return nil, string.format("'%s' has shape %s, where this model has %s", name, check.shape_text(from.shape),
        check.shape_text(t.shape))
    end
  end
  for part, layer in pairs(parts_of(self)) do
    local ok, why = layer:load_state(part == "likelihood" and with_likelihood(map, self.likelihood) or map, part .. ".")
    if not ok then return nil, why end
  end
  if self.scores then
    local ok, why = self.scores:load(map)
    if not ok then return nil, why end
  end
  for name, t in pairs(own) do
    if map[name] then t:copy(map[name]) end
  end
  self.loss:restored()
  return surprise.load(self, map)
end

--- What identifies the model besides its weights.
-- @treturn table plain values only
-- @usage print(model:description().posterior)
function Model:description()
  return description.of(self)
end

--- Saves weights, names, units and bounds. The file is replaced as a whole or not at all; equal models give equal
-- bytes. It carries a checksum, which sv.load verifies.
-- @tparam string path ends in .safetensors
-- @treturn boolean true, or nil and why not
-- @raise a path that is not a string
-- @usage assert(model:save "ring.safetensors")
function Model:save(path)
  check.value("save", "path", path, { "string" })
  local about = self:description()
  about.trained, about.seen = self.trained, self.seen or nil
  if self.focus then about.focus = { rounds = self.focus.rounds, distance = self.focus.distance } end
  about.recalibration = recalibration.description(self)
  return require "simvae.io".save_safetensors(path, self:state(), { metadata = {
    format = "simvae", format_version = tostring(description.FORMAT),
    version = core.version, model = json.encode(about),
  }, checksum = true })
end

return { methods = Model }
