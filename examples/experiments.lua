--- The settings of the paper's five experiments (simvae.cli.experiments), with the pictures of this folder, for
-- train_NAME.lua and reproduce.lua.
--
--     sv.experiment(dofile(folder .. "experiments.lua").box())
--
-- Run by itself, `lua examples/experiments.lua [NAME]`, it lists them.
local folder = debug.getinfo(1, "S").source:match "^@(.*/)" or ""
local installed = require "simvae.cli.experiments"

local experiments = setmetatable({}, { __index = installed })

function experiments.fourier()
  local settings, pictures = installed.fourier(), {}
  for i, name in ipairs { "freehand", "scribble", "thick_pen", "dashed", "noisy", "square_wave", "large", "chalk" } do
    pictures[i] = folder .. "curves/" .. name .. ".png"
  end
  settings.pictures = pictures
  return settings
end

-- ---- run by itself ----------------------------------------------------------------------

local function list(names)
  local content = require "simvae.util.content"
  for _, name in ipairs(names) do
    local made, settings = pcall(experiments[name])
    print(string.format("%s: %s", name, made and settings.doc or settings))
    if made and #names == 1 then
      print(settings.simulator)
      settings.simulator, settings.doc = nil, nil
      print(content(settings))
    end
  end
  print("\nlua examples/train_NAME.lua runs one; --help tells its options")
end

if arg and arg[0] == debug.getinfo(1, "S").source:sub(2) then
  local names = { "box", "fourier", "polygon", "dsprites", "rlc" }
  local parser = require "argparse"("lua experiments.lua", "Lists the paper's experiments; lua examples/train_NAME.lua "
    .. "runs one.")
  parser:argument("name", "One experiment, with its settings: " .. table.concat(names, ", ") .. "."):args "?"
    :choices(names)
  local a = parser:parse()
  list(a.name and { a.name } or names)
end

return experiments
