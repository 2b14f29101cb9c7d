--- Gated recurrent unit, for time series.
local nn = require "simvae.nn"
local series = require "simvae.nn.nets.support.series"

--- Gated recurrent unit (Cho and others 2014), for time series of 16 elements or more whose parameters
-- are those of a process rather than of a shape: convolutions of stride 4 shorten the series to 256 steps or fewer, and
-- the head reads the last state and the mean of all states, 4 `width` numbers each. The decoder is that of "conv1d".
-- @tparam table t options
-- @treturn Layer decoder: (N, code) -> (N, …output)
-- @treturn Layer encoder: (N, …input) -> (N, heads)
-- @raise unknown options, an output that is not a series
-- @usage
-- local decoder, encoder = sv.nets.gru { code = 3, heads = 6, output = { 100 }, width = 8 }
-- print(encoder(decoder(rng:normal { 2, 3 })).shape)
local function gru(t)
  local lengths = series.lengths("gru", t.output)
  return series.decoder(t, lengths), series.recurrent(t, lengths, nn.gru)
end

return { build = gru, width = series.width }
