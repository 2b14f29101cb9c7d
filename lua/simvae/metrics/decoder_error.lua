--- Decoder error: difference of decoder and simulator.
--
-- Definition: mean squared error of an output number, G(z) against S(z), and R² = 1 - E||G(z) - S(z)||² / E||S(z) -
-- mean S(z)||².
--
-- Known weakness: outputs of several kinds (dB beside radians) are dominated by the one with the larger numbers.
local matrix = require "simvae.metrics.support.matrix"
local residual = require "simvae.metrics.support.residual"
local page = require "simvae.report.page"

--- Squared error and R² of the decoder's outputs.
-- @tparam tensor x (N, …) S(z)
-- @tparam tensor y (N, …) G(z), row by row
-- @treturn number mean squared error
-- @treturn number|nil R²; nil where all x are the same
-- @raise outputs of unequal shape
-- @usage print(sv.metrics.decoder_error(x, model:decode(z)))
local function decoder_error(x, y)
  matrix.outputs("decoder_error", x, y)
  local sums = residual.new():add(x, y)
  return sums:mse(), sums:r2()
end

local reported = { order = 40 }

function reported.start()
  return residual.new()
end

function reported.add(sums, batch, run)
  sums:add(batch.x, run.model:decode(batch.known))
end

function reported.measure(_, sums, r)
  r.decoder_mse, r.decoder_r2 = sums:mse(), sums:r2()
end

function reported.numbers(r)
  return { decoder_mse = r.decoder_mse, decoder_r2 = r.decoder_r2 }
end

function reported.cards(r, add)
  add("Decoder R²", r.decoder_r2 and string.format("%.4f", r.decoder_r2) or "–", page.grade(r.decoder_r2, 0.97, 0.9),
    string.format("Agreement of decoder and simulator. Mean squared error %s. Good from R² 0.97 on, fair from 0.9. "
      .. "The decoder limits the accuracy of the encoder that is trained through it.", page.number(r.decoder_mse)))
end

function reported.measures(n)
  return { { "decoder_r2", n.decoder_r2, title = "decoder R²", digits = 4, table = true } }
end

function reported.line(r)
  return string.format("decoder MSE %.5g", r.decoder_mse)
end

return { compute = decoder_error, reported = reported }
