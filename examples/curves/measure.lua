--- Makes measured_rlc.csv, the curve of train_noisy_filter.lua: the response of a known RLC circuit at 61 frequencies,
-- as an instrument with noise of 0.5 dB and 0.04 rad reads it. `lua examples/curves/measure.lua` writes it again.
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""

local rlc = require "simvae.simulators.rlc" { engine = "analytic" }
local x, rng = rlc:run(sv.tensor { { 150, 22e-3, 47e-9 } }), sv.rng(4)
local lines = { "frequency,gain,phase\n" }
for k = 1, 61 do
  lines[k + 1] = string.format("%.1f,%.2f,%.3f\n", 100 * 10 ^ ((k - 1) / 20), x:get(1, k) + rng:normal(0, 0.5),
    x:get(1, 61 + k) + rng:normal(0, 0.04))
end
local file <close> = assert(io.open(folder .. "measured_rlc.csv", "w"))
file:write(table.concat(lines))
