--- Convolutions of one axis, for long series.
local layers = require "simvae.nn.nets.support.layers"
local nn = require "simvae.nn"
local series = require "simvae.nn.nets.support.series"

--- Convolutions of one axis, stride 4, kernels of 8, for series of 16 elements or more, and transposed ones in the
-- decoder; weights by fan in, SiLU, and hidden linear layers of 256 between code and series, as "conv" has for images.
-- Of features whose place varies it needs fewer samples than "mlp" (notebooks/choosing.md).
-- @tparam table t options
-- @treturn Layer decoder: (N, code) -> (N, …output)
-- @treturn Layer encoder: (N, …input) -> (N, heads)
-- @raise unknown options, an output that is not a series
-- @usage
-- local decoder, encoder = sv.nets.conv1d { code = 3, heads = 6, output = { 100 }, width = 8 }
-- print(encoder(decoder(rng:normal { 2, 3 })).shape)
local function conv1d(t)
  local lengths = series.lengths("conv1d", t.output)
  local decoder, levels = series.decoder(t, lengths), #lengths
  local found = layers.channels_at(t.width or series.width, levels) * lengths[levels]
  local reader = series.shortening({}, t, lengths, levels)
  reader[#reader + 1] = nn.reshape { found }
  return decoder, series.encoder(t, nn.sequential(reader), found)
end

return { build = conv1d, width = series.width }
