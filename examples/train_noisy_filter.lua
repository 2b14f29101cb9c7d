--- What a noisy measurement says of a circuit: the posterior of R, L and C of a series RLC circuit, given its gain and
-- phase at 61 frequencies as an instrument reads them.
--
--     lua examples/train_noisy_filter.lua --out runs/noisy_filter --measured FILE.csv
--
-- The model learns from the circuit's simulator with the noise of the instrument, of any R, L and C, and is then given
-- the measured curve: a file of frequency (the simulator's, 100 Hz to 100 kHz), gain in dB and phase in radians. It
-- prints credible intervals and draws the posterior and the predictive band: where 90% of repeated measurements lie.
-- The response depends on the resonance frequency f0 and the quality factor Q alone: these are known well, and R, L and
-- C only up to a common factor of the impedance.
local command_line = require "simvae.cli.command_line"
local csv = require "simvae.io.csv"
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""

local POINTS = 61
local DRAWS = 1000 -- of the posterior

local number = command_line.number
local parser = require "argparse"("lua train_noisy_filter.lua", "The posterior of a circuit's components, given a "
  .. "measured, noisy response.")
command_line.training(parser, "runs/noisy_filter")
parser:option("--measured", "The response: frequency, gain in dB, phase in radians.",
  folder .. "curves/measured_rlc.csv")
parser:option("--gain-noise", "Standard deviation of a gain, dB.", "0.5"):convert(tonumber)
parser:option("--phase-noise", "Standard deviation of a phase, radians.", "0.04"):convert(tonumber)
number(parser, "--steps", "Steps of each stage, in place of the defaults.", 1)
number(parser, "--width", "Units of the hidden layers.", 1, 4096, 128)
local a = parser:parse()
if a.threads then sv.threads(a.threads) end

-- ---- the measurement ----------------------------------------------------------------------------

-- The response as the simulator gives it: gains, then phases, (1, 122).
local function read(path)
  local header, rows = csv.read(path)
  if not header then parser:error("--measured: " .. tostring(rows)) end
  if #header ~= 3 or #rows ~= POINTS then
    parser:error(string.format("--measured: %s takes %d rows of frequency, gain and phase; it has %d rows of %d", path,
      POINTS, #rows, #header))
  end
  local list = {}
  for k, row in ipairs(rows) do
    local frequency, gain, phase = tonumber(row[1]), tonumber(row[2]), tonumber(row[3])
    local expected = 100 * 10 ^ ((k - 1) / 20)
    if not (gain and phase and frequency and math.abs(frequency / expected - 1) < 0.01) then
      parser:error(string.format("--measured: %s, line %d: takes a gain and a phase at %.4g Hz; got '%s'", path,
        row.line, expected, table.concat(row, ",")))
    end
    list[k], list[POINTS + k] = gain, phase
  end
  return sv.tensor { list }
end

local measured = read(a.measured)

-- ---- training -----------------------------------------------------------------------------------

local noise = {}
for k = 1, POINTS do noise[k], noise[POINTS + k] = a.gain_noise, a.phase_noise end
local rlc = require "simvae.simulators.rlc" { engine = "analytic", noise = noise }
local model = sv.model { simulator = rlc, posterior = "flow", width = a.width, seed = a.seed }
local stage = { steps = a.steps }
model:train { out = a.out, decoder = stage, encoder = stage, quiet = a.quiet }

-- ---- what the measurement says ------------------------------------------------------------------

local posterior = model:posterior(measured)
local z = posterior:sample(DRAWS, sv.rng(a.seed))[1]

-- Quantiles of a list of numbers.
local function quantiles(list, shares)
  table.sort(list)
  local values = {}
  for i, q in ipairs(shares) do values[i] = list[math.max(1, math.ceil(q * #list))] end
  return values
end

-- The parameters, and what the response depends on, of each draw.
local known = {}
for i, row in ipairs(z:totable()) do
  local named = {}
  for k, p in ipairs(rlc.params) do named[p.name] = row[k] end
  for _, q in ipairs(rlc.invariants) do named[q.name] = q.value(named) end
  for name, v in pairs(named) do
    known[name] = known[name] or {}
    known[name][i] = v
  end
end
print "              5%       50%       95%   quantiles of the posterior"
for _, list in ipairs { rlc.params, rlc.invariants } do
  for _, p in ipairs(list) do
    local low, middle, high = table.unpack(quantiles(known[p.name], { 0.05, 0.5, 0.95 }))
    print(string.format("%-6s %9.3g %9.3g %9.3g   %s", p.name, low, middle, high, p.unit))
  end
end

-- Repeated measurements of circuits of the posterior: quantiles of each number, and how many of those measured lie
-- between 5% and 95%.
local repeated = rlc:run(z) + sv.rng(a.seed + 1):normal { DRAWS, 2 * POINTS } * sv.tensor(noise)
local bands, inside, columns = { {}, {}, {} }, 0, sv.transpose(repeated):totable()
for k, column in ipairs(columns) do
  local low, middle, high = table.unpack(quantiles(column, { 0.05, 0.5, 0.95 }))
  bands[1][k], bands[2][k], bands[3][k] = low, middle, high
  local v = measured:get(1, k)
  if v >= low and v <= high then inside = inside + 1 end
end
print(string.format("%.0f%% of the measured numbers lie within the predictive band of 90%%", 100 * inside / #columns))

local function drawn(path, why) print(path or "no picture: " .. why) end
drawn(sv.figures.pairs(posterior, a.out .. "/posterior.png"))
drawn(sv.figures.curves(a.out .. "/predictive.png", { sv.concat({ measured, sv.tensor(bands) }, 1) }, {
  labels = { "measured; 5%, 50% and 95%" }, series = rlc.series }))
