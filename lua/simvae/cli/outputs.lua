--- Outputs of a simulator from files, for the encoder of a model: PNG, .npy, .npz (array x), CSV, or standard input
-- ("-") in one of these formats, which the first bytes tell apart.
local check = require "simvae.util.check"
local core = require "simvae.core"
local files = require "simvae.io"
local format_of = require "simvae.io.file".format
local outcome = require "simvae.cli.outcome"
local preprocess = require "simvae.model.preprocess"
local tables = require "simvae.cli.tables"

local outputs = {}

outputs.text = "Outputs: PNG, .npy, .npz (its array x) or CSV files; - reads standard input."

--- Adds the arguments and options of commands that read outputs.
-- @tparam table command of argparse
function outputs.options(command)
  command:argument("model", "The folder of a run, or the file of a model.")
  command:argument("outputs", outputs.text):args "+"
  command:option("--fit", "What is done to a picture of another size: pad it to the model's proportions and resize it; "
    .. "stretch it; or refuse it (exact).", "pad"):choices { "pad", "stretch", "exact" }
  command:option("--ground", "Inverts pictures whose ground is the other one.", "keep"):choices { "keep", "light",
    "dark" }
  command:flag("--contrast", "Stretches the contrast of pictures: ground to 1, the darkest ink to 0.")
  command:option("--noise", "Level of the measurement's noise, of a model of a range of levels."):convert(function(text)
    return tonumber(text), "--noise takes a number; got '" .. text .. "'"
  end)
end

-- ---- pictures ----------------------------------------------------------------------------------

local function size_text(shape)
  return string.format("%d x %d pixels in %d channel%s", shape[3], shape[2], shape[1], shape[1] == 1 and "" or "s")
end

local function of_png(path, name, shape, o)
  if #shape ~= 3 then
    outcome.fail("%s is a picture; the model takes %d numbers (.npy or CSV)", name, shape[1])
  end
  local x = outcome.need(files.load_png(path))
  local other = x.shape[2] ~= shape[2] or x.shape[3] ~= shape[3]
  if other then
    local sizes = string.format("%s has %s; the model takes %s", name, size_text(x.shape), size_text(shape))
    if o.fit == "exact" then
      outcome.fail("%s. --fit pad or --fit stretch resizes it", sizes)
    end
    io.stderr:write(string.format("%s: it is %s. --fit %s, or --fit exact refuses it\n", sizes,
      o.fit == "pad" and "padded with its background and resized" or "stretched", o.fit == "pad" and "stretch changes "
      .. "its proportions" or "pad keeps its proportions"))
    if o.fit == "stretch" then x = preprocess.resize(x, shape[2], shape[3]) end
  end
  if other or x.shape[1] ~= shape[1] or o.ground ~= "keep" or o.contrast then
    x = preprocess.picture(x, shape, { ground = o.ground, stretch = o.contrast or false })
  end
  return x:reshape { 1, table.unpack(shape) }
end

-- ---- arrays ------------------------------------------------------------------------------------

-- A batch (N, …output) from an array; sets of measurements (N, M, …output) stay as they are.
local function batch_of(x, name, model)
  local shape = model.simulator.output
  local n, each = x.ndim, #shape
  local tail = {}
  for i = math.max(1, n - each + 1), n do tail[#tail + 1] = x.shape[i] end
  local fits = check.shape_text(tail) == check.shape_text(shape)
  if fits and n == each then return x:reshape { 1, table.unpack(shape) } end
  if fits and (n == each + 1 or n == each + 2 and model.set) then return x end
  local list = table.concat(shape, ", ")
  outcome.fail("%s has the shape %s; the model takes %s, or several as (N, %s)", name, check.shape_text(x.shape),
    check.shape_text(shape), list)
end

local function of_npz(path, name, model)
  local shapes, others = require "simvae.io.npz".shapes(path)
  if not shapes then outcome.fail("%s", others) end
  if not shapes.x then
    local names = {}
    for key in pairs(shapes) do names[#names + 1] = key end
    table.sort(names)
    outcome.fail("%s has no array x; it has %s", name, #names > 0 and table.concat(names, ", ") or "none")
  end
  return batch_of(outcome.need(files.load_npz(path, { names = { "x" } })).x, name, model)
end

-- ---- all of them -------------------------------------------------------------------------------

-- Standard input in a temporary file, which is removed when the second result is closed.
local function from_input()
  if core.system.isatty(0) then io.stderr:write("reading an output from standard input, up to its end (Ctrl-D)\n") end
  local bytes = io.stdin:read "a"
  if bytes == "" then outcome.fail("standard input is empty: - takes a PNG, .npy, .npz or CSV there") end
  local path = os.tmpname()
  local file <close> = outcome.need(io.open(path, "wb"))
  outcome.need(file:write(bytes))
  return path, setmetatable({}, { __close = function() os.remove(path) end })
end

local function read(path, name, model, o)
  local file <close> = outcome.need(io.open(path, "rb"))
  local format = format_of(file:read(8) or "")
  if format == "png" then return of_png(path, name, model.simulator.output, o) end
  if format == "npy" then return batch_of(outcome.need(files.load_npy(path)), name, model) end
  if format == "npz" then return of_npz(path, name, model) end
  return tables.read(path, name, model.simulator)
end

--- Reads outputs.
-- @tparam {string,...} paths of files; "-" is standard input
-- @tparam Model model
-- @tparam table o what the command line says: fit, ground, contrast
-- @treturn tensor (N, …output)
-- @treturn {string,...} a name for each: its file, with its number where the file has several
function outputs.read(paths, model, o)
  local parts, names = {}, {}
  for i, path in ipairs(paths) do
    local name = path
    if path == "-" then
      name = "standard input"
      local temporary, _scope <close> = from_input()
      parts[i] = read(temporary, name, model, o)
    else
      if core.system.kind(path) ~= "file" then outcome.fail("%s: there is no such file", path) end
      parts[i] = read(path, name, model, o)
    end
    local n = parts[i].shape[1]
    for k = 1, n do names[#names + 1] = n == 1 and name or string.format("%s, output %d", name, k) end
  end
  return #parts == 1 and parts[1] or core.concat(parts, 1), names
end

return outputs
