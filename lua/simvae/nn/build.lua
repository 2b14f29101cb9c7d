--- The decoder and encoder of a model: a network by name (simvae.nn.nets), or a user-defined one.
local catalogue = require "simvae.util.catalogue"
local check = require "simvae.util.check"
local core = require "simvae.core"
local layers = require "simvae.nn.nets.support.layers"
local nn = require "simvae.nn"

local LONG = 256 -- elements of a series, from which on convolutions infer more than an mlp (notebooks/choosing.md)
local OWN_WIDTH = 128 -- width passed to a user-defined builder by default

local build = { names = catalogue.files "simvae.nn.nets" }

local known = {}
for _, name in ipairs(build.names) do known[name] = true end

--- The net of an output where none is given.
-- @tparam {integer,...} output
-- @treturn string
function build.default(output)
  if #output == 1 and output[1] >= LONG then return "conv1d" end
  return layers.suits(output) and "conv" or "mlp"
end

--- The width of a net where none is given.
-- @param net as of `nets`
-- @treturn integer
function build.width(net)
  return known[net] and require("simvae.nn.nets." .. net).width or OWN_WIDTH
end

-- A user-defined network as a layer in evaluation mode.
local function own_layer(net, part)
  if type(net) == "function" then net = nn.func(net) end
  if not nn.is(net) then
    check.fail(4, "net: the %s must be a layer (sv.nn) or a function; got %s; a builder returns decoder, encoder", part,
      check.describe(net))
  end
  return net:eval()
end

-- Raises unless a user-defined network maps tensors of these shapes.
local function try_shapes(net, part, given, wanted)
  local ok, shape = pcall(core.no_grad, function()
    local scope <close> = core.scope()
    local y = net(core.zeros(given))
    return check.shape_of(y)
  end)
  local takes = string.format("net: the %s takes %s and gives %s", part, check.shape_text(given),
    check.shape_text(wanted))
  if not ok then check.fail(4, "%s; it failed: %s", takes, tostring(shape)) end
  if shape ~= check.shape_text(wanted) then check.fail(4, "%s; this one gives %s", takes, shape) end
end

-- User-defined decoder and encoder as layers, checked on two samples.
local function own_nets(decoder, encoder, t)
  decoder, encoder = own_layer(decoder, "decoder"), own_layer(encoder, "encoder")
  try_shapes(decoder, "decoder", { 2, t.code }, { 2, table.unpack(t.output) })
  try_shapes(encoder, "encoder", { 2, table.unpack(t.input or t.output) }, { 2, t.heads })
  return decoder, encoder
end

--- Builds the nets of a model.
-- @param net a name, a builder function, or { decoder = Layer, encoder = Layer }
-- @tparam table t as a net's `build` takes it
-- @treturn Layer decoder
-- @treturn Layer encoder
function build.nets(net, t)
  local decoder, encoder
  if type(net) == "table" and net.decoder and net.encoder then
    decoder, encoder = own_nets(net.decoder, net.encoder, t)
    return decoder, encoder
  elseif type(net) == "function" then
    decoder, encoder = nn.with_rng(t.rng, net, t)
    decoder, encoder = own_nets(decoder, encoder, t)
    return decoder, encoder
  end
  if not known[net] then
    check.fail(3, "net is \"%s\", a function, or { decoder =, encoder = }; got %s", table.concat(build.names, "\", \""),
      check.describe(net))
  end
  return require("simvae.nn.nets." .. net).build(t)
end

return build
