--- The scale of a model's outputs, from the first samples of its simulator.
local enumeration = require "simvae.util.enumeration"
local notice = require "simvae.model.notice"

local NAMED = 8 -- elements that a notice lists

--- Fits the standardisation, and says once which elements of an output tell little or nothing.
-- @tparam Model model
-- @tparam tensor x (N, …output)
-- @tparam tensor measured the same with the noise of a measurement: what encoders see. Numbers that differ by less than
-- it are not to be told apart by their ranks
return function(model, x, measured)
  local constant, coarse, stretched = model.loss:fit(x)
  if model.scores then model.scores:fit(model.loss:standardise(measured)) end
  local total = model.loss.mean and model.loss.mean.count or 0
  local function say(list, subject, text)
    if #list == 0 then return end
    local elements = enumeration.elements(model.simulator.output, list, NAMED)
    notice(model, subject, string.format("train: %s of the output (%d of %d) %s over %d draws of the prior%s",
      elements, #list, total, #list == 1 and text[1] or text[2], x.shape[1], text[3]))
  end
  say(constant, "constant", { "is constant", "are constant", ": nothing can be learned from that" })
  say(coarse, "coarse", { "varies by no more than its rounding", "vary by no more than their rounding",
    ": single precision has 7 digits; let the simulator subtract a reference value" })
  say(stretched, "stretched", { "has outliers", "have outliers", ", beside which the other values hardly differ: let "
    .. "the simulator give a logarithm, clip them, or return nil and a reason for them" })
end
