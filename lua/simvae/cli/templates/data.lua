--- simvae new --kind data: pairs of parameters and outputs in files, damped oscillations.
local core = require "simvae.core"
local files = require "simvae.io"

local ROWS, TIMES = 8000, 40

-- Damped oscillations, to train on until one's own data are there.
local function write_example(path)
  local rng = core.rng(1)
  local z, x = core.zeros(ROWS, 3), core.zeros(ROWS, TIMES)
  for i = 1, ROWS do
    local amplitude, frequency, damping = rng:uniform(0.5, 2), rng:uniform(0.5, 3), rng:uniform(0, 1)
    for k, v in ipairs { amplitude, frequency, damping } do z:set(v, i, k) end
    for t = 1, TIMES do
      local s = (t - 1) * 0.05
      x:set(amplitude * math.exp(-damping * s) * math.cos(2 * math.pi * frequency * s) + 0.02 * rng:normal(), i, t)
    end
  end
  return files.save_npz(path, { z = z, x = x })
end

return {
  doc = "Pairs of parameters and outputs in a file, here damped oscillations.",
  made = { [".npz"] = write_example },
  files = { [".lua"] = [==[
--- @NAME@: pairs of parameters and outputs (@NAME@.npz): amplitude, frequency and damping of oscillations.
--
--     simvae train @NAME@.lua                    # writes runs/@NAME@: model, figures, report.html
--     simvae doctor runs/@NAME@                  # what is learned well, what is not, and what to try
--     simvae encode runs/@NAME@ measured.npy     # the parameters of an output, with their uncertainty
--
-- @NAME@.npz is an example; replace it with your own data, as np.savez("@NAME@.npz", z=z, x=x) writes them: an array
-- z (rows, parameters) and an array x, (rows, numbers) of vectors or (rows, channels, height, width) of pictures.
-- Without np.savez: z = "z.npy", x = "x.npy"; or path = a folder of PNGs and a CSV file that names them.
local sv = require "simvae"
local folder = debug.getinfo(1, "S").source:match "^@(.*/)" or ""

local simulator = assert(sv.dataset {
  name = "@NAME@",
  path = folder .. "@NAME@.npz",

  -- The columns of z. Left out: z1, z2, …, from the least to the largest value of each.
  params = {
    { name = "amplitude", low = 0.5, high = 2, unit = "V" },
    { name = "frequency", low = 0.5, high = 3, unit = "Hz" },
    { name = "damping", low = 0, high = 1, unit = "1/s" },
  },
})

-- How it is trained; `simvae train --help` lists the options that replace these. A part of the rows is not trained on:
-- it decides when the training ends. model:train { held_out = 0.2 } changes how many.
return {
  simulator = simulator,
  posterior = "flow",          -- of any shape
  decoder = { steps = 4000 },
  encoder = { steps = 6000 },
}
]==] },
}
