--- simvae export: a model as a file of another format. Formats are the files of lua/simvae/export with a suffix; their
-- options are options of the command.
local catalogue = require "simvae.util.catalogue"
local command_line = require "simvae.cli.command_line"
local directions = require "simvae.export.support.directions"
local outcome = require "simvae.cli.outcome"
local runs = require "simvae.cli.runs"

-- Formats by their order: name, suffix, rules of their options.
local function formats()
  local list = {}
  for _, name in ipairs(catalogue.files "simvae.export") do
    local format = require("simvae.export." .. name)
    if format.suffix then
      list[#list + 1] = { name = name, suffix = format.suffix, rules = format.rules or {}, order = format.order }
    end
  end
  table.sort(list, function(a, b) return a.order < b.order end)
  return list
end

-- What an option is on the command line: "dashed-words".
local function words_of(name) return "--" .. name:gsub("_", "-") end

-- Options of the formats beside those that all have: name -> rule and the formats' names.
local function own_options()
  local options, names = {}, {}
  for _, format in ipairs(formats()) do
    for name, rule in pairs(format.rules) do
      if not directions.rules[name] and name ~= "overwrite" then
        if not options[name] then names[#names + 1] = name end
        options[name] = options[name] or { rule = rule, formats = {} }
        table.insert(options[name].formats, format.name)
      end
    end
  end
  table.sort(names)
  return options, names
end

local function sentence(doc) return doc:sub(1, 1):upper() .. doc:sub(2) .. "." end

local function define(command)
  local list, suffixes, names = formats(), {}, {}
  for i, format in ipairs(list) do suffixes[i], names[i] = format.suffix, format.name end
  command:argument("model", "The folder of a run, or the file of a model.")
  command:option("-o --out", "The file: " .. table.concat(suffixes, ", ") .. "; default: MODEL's name, of the format.")
    :argname "<file>":convert(command_line.new_file(table.unpack(suffixes)))
  command:option("--format", "One of " .. table.concat(names, ", ") .. "; default: by the file's suffix.")
    :choices(names)
  command:option("--what", "Directions: " .. table.concat(directions.names, ", ") .. "; several with commas. "
    .. "Default: decode, of a page all."):argname "<directions>"
  command_line.number(command, "--measurements", "Of a model of sets: measurements of an observation.", 1)
  command:flag("--not-recalibrated", "Leaves out the recalibration of the posterior, which takes 512 draws of each "
    .. "output.")
  command:flag("--overwrite", "Replaces files that exist.")
  local options, own = own_options()
  for _, name in ipairs(own) do
    local one = options[name]
    local text = string.format("(%s) %s", table.concat(one.formats, ", "), sentence(one.rule.doc))
    if one.rule[1] == "boolean" then
      command:flag(words_of(name), text)
    elseif one.rule[1] == "integer" then
      command_line.number(command, words_of(name), text, one.rule.min or 0, one.rule.max)
    else
      local option = command:option(words_of(name), text):argname("<" .. name .. ">")
      if one.rule.one_of then option:choices(one.rule.one_of) end
    end
  end
  runs.option(command)
end

-- The format that is asked for, and the path.
local function chosen(a)
  local list, of_suffix = formats(), nil
  for _, format in ipairs(list) do
    if a.out and a.out:sub(-#format.suffix):lower() == format.suffix then of_suffix = of_suffix or format end
  end
  if not a.format and not a.out then outcome.misuse "give -o FILE, or --format" end
  for _, format in ipairs(list) do
    if format.name == (a.format or of_suffix.name) then
      if of_suffix and of_suffix.suffix ~= format.suffix then
        outcome.misuse("--format %s writes files %s; got '%s'", format.name, format.suffix, a.out)
      end
      local base = a.model:gsub("/+$", ""):match "([^/]+)$" or "model"
      return format, a.out or base:gsub("%.safetensors$", "") .. format.suffix
    end
  end
end

local function run(a)
  local format, path = chosen(a)
  local o = { what = a.what and {}, measurements = a.measurements, overwrite = a.overwrite }
  for word in (a.what or ""):gmatch "[^,%s]+" do table.insert(o.what, word) end
  if a.not_recalibrated then o.recalibrated = false end
  for name, one in pairs((own_options())) do
    if a[name] ~= nil then
      if not format.rules[name] then
        outcome.misuse("%s is of %s, not of %s", words_of(name), table.concat(one.formats, ", "), format.name)
      end
      o[name] = a[name]
    end
  end
  local model = runs.load(a.model, { simulator = a.simulator })
  local written, about = require("simvae.export")[format.name](model, path, o)
  print(outcome.need(written, about))
  if type(about) == "table" and about.header then
    print(string.format("%s: %d bytes of constants, %d of working memory", about.header, about.constants,
      about.workspace))
  end
  if type(about) == "table" and about.notice then print(written .. ": " .. about.notice) end
end

return {
  order = 95,
  summary = "Writes a model for use without simvae: ONNX, C, FMU, a web page, …",
  text = "Writes a model for use without simvae, in the simulator's units: decode predicts outputs, encode infers "
    .. "parameters and their standard deviations, sample draws of the posterior, log_prob is its density; posterior is "
    .. "both of these.",
  examples = { "simvae export runs/box -o box.onnx", "simvae export runs/rlc -o rlc.c --what decode,encode --int8",
    "simvae export runs/rlc -o rlc.fmu", "simvae export runs/box -o box.html" },
  define = define,
  run = run,
}
