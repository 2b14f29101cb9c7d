--- Outputs of constant value, that vary by no more than their rounding, or with outliers (as Loss:fit finds them);
-- pictures outside [0, 1].
local check = require "simvae.util.check"
local core = require "simvae.core"
local enumeration = require "simvae.util.enumeration"
local loss = require "simvae.model.loss"

local MOST = 0.25 -- of a picture's pixels that are the same, more is no finding: its margin is

local reported = { order = 20 }

local function capitalised(d, list)
  return (enumeration.elements(d.sim.output, list):gsub("^%l", string.upper))
end

local function of_vector(d, add)
  local constant, coarse, stretched = loss.new(nil, d.sim.output):fit(d.x)
  local count = d.sim.output[1]
  local function say(list, kind, one, several, try)
    if #list == 0 then return end
    add { kind = kind, elements = list, try = try,
      text = string.format("%s of the output (%d of %d) %s over %d draws of the prior.",
        capitalised(d, list), #list, count, #list == 1 and one or several, d.x.shape[1]) }
  end
  say(constant, "constant outputs", "is constant", "are constant", "Leave what is constant out of the output; where it "
    .. "should vary, see whether simulate fills it.")
  say(coarse, "output scale", "varies by no more than its rounding", "vary by no more than their rounding",
    "Let the simulator subtract a reference value: single precision has 7 digits.")
  say(stretched, "output scale", "has outliers", "have outliers", "Let the simulator give a logarithm, clip them, or "
    .. "return nil and a reason for them: beside outliers the other values hardly differ.")
end

local function of_picture(d, add)
  local C, same = d.sim.output[1], {}
  local away = core.max(core.abs(d.x - core.slice(d.x, 1, 1, 1)), 1):reshape(C, check.count(d.sim.output) // C)
  for c, largest in ipairs(core.max(away, 2):totable()) do
    if largest == 0 then same[#same + 1] = c end
  end
  if #same > 0 then
    add { kind = "constant outputs", elements = same, text = string.format("%s of the pictures (%d of %d) %s the "
      .. "same in all of %d draws of the prior.", capitalised(d, same), #same, C, #same == 1 and "is" or "are",
      d.x.shape[1]),
      try = "Leave what is constant out of the output; where it should vary, see whether simulate draws it." }
  end
  local low, high = core.min(d.x):item(), core.max(d.x):item()
  if d.sim.loss == nil and (low < -MOST or high > 1 + MOST) then
    add { kind = "output scale", text = string.format("Pixels of the pictures go from %.3g to %.3g; those of "
      .. "pictures are from 0 (black) to 1 (white).", low, high),
      try = "Divide them by their largest value, or give the simulator loss = \"mse\"." }
  end
end

function reported.find(d, add)
  if not d.x then return end
  if #d.sim.output == 3 then of_picture(d, add) else of_vector(d, add) end
end

return { reported = reported }
