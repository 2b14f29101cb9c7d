--- simvae decode: what the decoder predicts for parameters.
local command_line = require "simvae.cli.command_line"
local core = require "simvae.core"
local files = require "simvae.io"
local json = require "simvae.io.json"
local outcome = require "simvae.cli.outcome"
local parameter = require "simvae.simulator.parameter"
local runs = require "simvae.cli.runs"
local texts = require "simvae.cli.texts"

local function define(command)
  command:argument("model", "The folder of a run, or the file of a model.")
  command:argument("values", "A value of each parameter: w=20 h=10."):args "+"
  command:option("-o --out", "File of the output: .png of pictures, .npy or .csv; without it it is shown.")
    :argname "<file>":convert(command_line.new_file(".png", ".npy", ".csv"))
  runs.option(command)
  command:flag("--json", "Prints JSON: the parameters and the output.")
end

-- The parameters of the command line as a list in their order.
local function parameters_of(model, words)
  local sim, given, list, missing = model.simulator, {}, {}, {}
  for _, word in ipairs(words) do
    local name, text = word:match "^([^=]+)=(.*)$"
    if not name then outcome.misuse("'%s' is no parameter: they are given as name=value, such as %s=%g", word,
      sim.names[1], (sim.params[1].low + sim.params[1].high) / 2) end
    if not sim.index[name] then
      outcome.misuse("'%s' has no parameter '%s'%s", sim.name, name, runs.suggestion(model, name))
    end
    if given[name] then outcome.misuse("%s is given twice", name) end
    given[name] = tonumber(text)
    if not given[name] then outcome.misuse("%s takes a number; got '%s'", name, text) end
  end
  for i, p in ipairs(sim.params) do
    list[i] = given[p.name]
    if not list[i] then missing[#missing + 1] = string.format("%s (%s%s)", p.name, parameter.bounds_text(p),
      parameter.unit_text(p)) end
  end
  if #missing > 0 then outcome.misuse("parameters without a value: %s", table.concat(missing, ", ")) end
  return list
end

-- The numbers of an output as rows of CSV: a row of pixels, or one number a row; with series a column each.
local function rows_of(sim, y)
  if #sim.output == 3 then return nil, y:reshape(1, y.count):totable() end
  local count = sim.series and #sim.series or 1
  local header, rows, length = {}, {}, y.count // count
  for c = 1, count do header[c] = sim.series and sim.series[c].name or "value" end
  for r = 1, length do
    rows[r] = {}
    for c = 1, count do rows[r][c] = y:get((c - 1) * length + r) end
  end
  return header, rows
end

local function save(path, sim, y)
  if path:find "%.png$" then
    if #sim.output ~= 3 then
      outcome.misuse("outputs of '%s' are %d numbers and no pictures: -o takes .npy or .csv", sim.name, sim.output[1])
    end
    outcome.need(files.save_png(path, y))
  elseif path:find "%.npy$" then
    outcome.need(files.save_npy(path, y))
  else
    local ok, why = core.io.write(path, { texts.csv_text(rows_of(sim, y)) })
    outcome.need(ok, path .. ": " .. tostring(why))
  end
end

local function run(a)
  local model = runs.load(a.model, { simulator = a.simulator })
  local z = parameters_of(model, a.values)
  local y = model:decode { z }[1]
  local sim = model.simulator
  if a.out then
    save(a.out, sim, y)
    if not a.json then print(a.out) end
  elseif not a.json and core.system.isatty(1) then
    y:show()
  elseif not a.json then
    texts.csv(rows_of(sim, y))
  end
  if a.json then
    local named = {}
    for i, p in ipairs(sim.params) do named[p.name] = z[i] end
    print(json.encode { simulator = sim.name, parameters = named, file = a.out,
      shape = table.move(y.shape, 1, #y.shape, 1, {}),
      output = not a.out and texts.rounded(y:totable()) or nil })
  end
end

return {
  order = 80,
  summary = "Predicts the simulator's output for parameters.",
  text = "Predicts the simulator's output for parameters, by the decoder. Without -o a terminal shows it, and "
    .. "elsewhere it is printed as CSV.",
  examples = { "simvae decode runs/box w=20 h=10 x=5 y=8 -o out.png" },
  define = define,
  run = run,
}
