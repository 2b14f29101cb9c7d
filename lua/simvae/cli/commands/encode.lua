--- simvae encode: the parameters of outputs.
local command_line = require "simvae.cli.command_line"
local core = require "simvae.core"
local json = require "simvae.io.json"
local outputs = require "simvae.cli.outputs"
local parameter = require "simvae.simulator.parameter"
local runs = require "simvae.cli.runs"
local texts = require "simvae.cli.texts"
local wrapped = require "simvae.reference.text".wrapped

local MOST_DRAWS = 1000000
local APART = 0.75 -- standard deviations between a value and the posterior's mean from which it is one of many

local function define(command)
  outputs.options(command)
  command:option("--level", "Probability of the interval.", "0.95"):convert(function(text)
    local level = tonumber(text)
    if level and level > 0 and level < 1 then return level end
    return nil, string.format("--level takes a number between 0 and 1; got '%s'", text)
  end)
  command_line.number(command, "--samples", "Prints so many draws of the posterior as CSV, in place of the table; with "
    .. "--json besides.", 1, MOST_DRAWS)
  command_line.number(command, "--seed", "Seed of the draws.", 0, nil, 1)
  runs.option(command)
  command:flag("--json", "Prints JSON.")
end

-- Names of the parameters whose value is no estimate of the posterior's mean; nil: there are none.
local function one_of_many(params, told, mean)
  local names = {}
  for k, p in ipairs(params) do
    local away = p.levels and 0 or math.abs(parameter.difference(p, told[k].value, mean[k]))
    if away > APART * told[k].std then names[#names + 1] = p.name end
  end
  return #names > 0 and names or nil
end

-- What is known of each output: a table of each parameter.
local function results_of(model, x, names, a)
  local told = a.noise and { noise = a.noise } or nil
  local p = model:posterior(x, told)
  local value, mean, std = model:encode(x, told), p:mean(), p:std()
  local interval = p:quantile { (1 - a.level) / 2, (1 + a.level) / 2 }
  value, mean, std, interval = value:totable(), mean:totable(), std:totable(), interval:totable()
  local surprise = rawget(model, "usual") and p.surprise:totable()
  local draws = a.samples and p:sample(a.samples, core.rng(a.seed)):totable()
  local list = {}
  for i, name in ipairs(names) do
    local one = { output = name, parameters = {}, surprise = surprise and surprise[i] or nil, level = a.level,
      samples = draws and draws[i] or nil }
    for k, q in ipairs(model.simulator.params) do
      one.parameters[k] = { name = q.name, value = value[i][k], std = std[i][k], low = interval[i][1][k],
        high = interval[i][2][k], unit = q.unit ~= "" and q.unit or nil }
    end
    one.one_of_many = one_of_many(model.simulator.params, one.parameters, mean[i])
    list[i] = one
  end
  return list
end

local function print_table(model, one, several)
  if several then print(one.output) end
  local rows = { { "name", "value", "unit", "std", string.format("%g%% interval", 100 * one.level) } }
  for k, q in ipairs(model.simulator.params) do
    local v = one.parameters[k]
    local function text(number) return texts.value(q, number, v.std) end
    rows[k + 1] = { v.name, text(v.value), v.unit or "", string.format("%.2g", v.std),
      text(v.low) .. " to " .. text(v.high) }
  end
  print(texts.table(rows))
  if one.one_of_many then
    print(wrapped(string.format("%s: several values explain the output. The value is one of them, not their mean; "
      .. "--samples 1000 draws from all.", table.concat(one.one_of_many, ", ")), "", "", texts.width()))
  end
  if one.surprise and one.surprise > 0.99 then
    print(wrapped(string.format("Unusual: more so than %.1f%% of the simulator's own outputs; the values may mean "
      .. "nothing.", math.min(99.9, 100 * one.surprise)), "", "", texts.width()))
  end
end

local function print_draws(model, list)
  local header, rows = { table.unpack(model.simulator.names) }, {}
  if #list > 1 then table.insert(header, 1, "output") end
  for _, one in ipairs(list) do
    for _, row in ipairs(one.samples) do
      rows[#rows + 1] = #list > 1 and { one.output, table.unpack(row) } or row
    end
  end
  texts.csv(header, rows)
end

local function run(a)
  local model = runs.load(a.model, { simulator = a.simulator })
  local x, names = outputs.read(a.outputs, model, a)
  local list = results_of(model, x, names, a)
  if a.json then
    print(json.encode(texts.rounded(list), true))
  elseif a.samples then
    print_draws(model, list)
  else
    for i, one in ipairs(list) do
      if i > 1 then print() end
      print_table(model, one, #list > 1)
    end
  end
end

return {
  order = 70,
  summary = "Infers parameters from outputs: value, standard deviation, interval.",
  text = "Infers the parameters of outputs of a simulator: pictures, arrays or tables. Prints each parameter's value "
    .. "(the posterior's mean, or where that is unlikely, as between two solutions, a likely point that the decoder "
    .. "reproduces the output from), unit, and the posterior's standard deviation and interval. A CSV file has a row "
    .. "an output, or one column of one output; of a simulator with `series` a column a series, beside that of the "
    .. "axis.",
  examples = { "simvae encode runs/box picture.png", "simvae encode runs/rlc measured.csv --json",
    "simvae encode runs/box picture.png --samples 1000 > draws.csv" },
  define = define,
  run = run,
}
