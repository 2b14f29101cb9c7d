--- simvae invert: refined inference of outputs.
local command_line = require "simvae.cli.command_line"
local json = require "simvae.io.json"
local outputs = require "simvae.cli.outputs"
local parameter = require "simvae.simulator.parameter"
local runs = require "simvae.cli.runs"
local texts = require "simvae.cli.texts"

local function define(command)
  outputs.options(command)
  local number = command_line.number
  number(command, "--starts", "Places that gradient descent starts at.", 1, 100000, 8)
  number(command, "--keep", "Results that are printed, at most as many as starts.", 1, 100000, 1)
  number(command, "--steps", "Steps of gradient descent.", 0, nil, 100)
  number(command, "--seed", "Seed of the starts.", 0, nil, 1)
  runs.option(command)
  command:flag("--json", "Prints JSON.")
end

local function run(a)
  local model = runs.load(a.model, { simulator = a.simulator })
  local x, names = outputs.read(a.outputs, model, a)
  local z, misfits = model:invert(x, { starts = a.starts, keep = a.keep, steps = a.steps, seed = a.seed,
    noise = a.noise })
  z, misfits = z:totable(), misfits:totable()
  if a.json then
    local list = {}
    for i, name in ipairs(names) do
      list[i] = { output = name, results = {} }
      for k, row in ipairs(z[i]) do
        local parameters = {}
        for j, p in ipairs(model.simulator.params) do parameters[p.name] = row[j] end
        list[i].results[k] = { parameters = parameters, misfit = misfits[i][k] }
      end
    end
    print(json.encode(texts.rounded(list), true))
    return
  end
  for i, name in ipairs(names) do
    if #names > 1 then print((i > 1 and "\n" or "") .. name) end
    local rows = { { "misfit" } }
    for j, p in ipairs(model.simulator.params) do rows[1][j + 1] = p.name .. parameter.unit_text(p) end
    for k, row in ipairs(z[i]) do
      rows[k + 1] = { string.format("%.4g", misfits[i][k]) }
      for j, p in ipairs(model.simulator.params) do rows[k + 1][j + 1] = texts.value(p, row[j]) end
    end
    print(texts.table(rows))
  end
end

return {
  order = 90,
  summary = "Infers parameters by gradient descent through the decoder.",
  text = "Refines the encoder's estimate by gradient descent through the decoder, from several starts, and prints the "
    .. "results with the smallest misfit: how far the decoder's output for them is from the one given.",
  examples = { "simvae invert runs/box picture.png --starts 32 --keep 5" },
  define = define,
  run = run,
}
