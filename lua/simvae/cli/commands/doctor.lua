--- simvae doctor: what is learned well, what is not, why, and what to try.
local assess = require "simvae.cli.assess"
local core = require "simvae.core"
local experiment = require "simvae.cli.experiment"
local json = require "simvae.io.json"
local outcome = require "simvae.cli.outcome"
local page = require "simvae.report.page"
local parameter = require "simvae.simulator.parameter"
local runs = require "simvae.cli.runs"
local source = require "simvae.cli.source"
local texts = require "simvae.cli.texts"
local wrapped = require "simvae.reference.text".wrapped

local SAMPLES = 2000 -- of the evaluation, by default

local function define(command)
  assess.options(command, "The folder of a run, the file of a model, or a simulator: a script FILE.lua, a built-in "
    .. "name.")
  command:flag("--json", "Prints JSON.")
end

local function print_learned(list, well, title)
  for _, one in ipairs(list) do
    if one.well == well then
      if title then print("\n" .. title) end
      title = nil
      print(string.format("  %s: error %.3g%s, %s of the range%s", one.name, one.error,
        parameter.unit_text(one), page.percent(one.share), one.within
          and string.format("; %s of the truths within 68%% intervals", page.percent(one.within)) or ""))
    end
  end
end

local function print_page(d)
  local width = texts.width()
  print(string.format("%s: %d draws of the simulator, %.3g ms each%s", d.simulator, d.tried, 1e3 * d.seconds_per_sample,
    d.samples and string.format("; the model on %d samples", d.samples) or ""))
  print_learned(d.learned, true, "Learned well")
  print_learned(d.learned, false, "Known less precisely")
  if #d.findings == 0 then
    print "\nNothing wrong was found."
    return
  end
  print "\nWhat was found"
  for i, f in ipairs(d.findings) do
    print(string.format("%3d. %s%s", i, f.kind, f.parameters and ": " .. table.concat(f.parameters, ", ") or ""))
    print(wrapped(f.text, "     ", "     ", width))
    print(wrapped("Try: " .. f.try, "     ", "     ", width))
  end
end

-- What is diagnosed: a simulator by name or script, or the model of a run.
local function subject_of(a)
  local kind = core.system.kind(a.run)
  if a.run:find "%.lua$" or not kind then
    if a.simulator then outcome.misuse("--simulator goes with a model; %s is a simulator itself", a.run) end
    if not kind and a.run:find "/" then outcome.fail("%s: there is no such file or folder", a.run) end
    return source.simulator(a.run)
  end
  local model, folder, settings, asked = assess.load(a)
  return model, folder, settings, { samples = math.min(asked.samples, a.samples or SAMPLES), factors = asked.factors,
    calibration = asked.calibration, max_failures = 0.9 }
end

local function run(a)
  local subject, folder, settings, asked = subject_of(a)
  local d
  if folder then
    d = select(3, experiment.measure(subject, settings, asked, { simulations = runs.simulations(folder),
      quiet = a.quiet }))
  else
    d = require "simvae".diagnose(subject)
  end
  if a.json then
    local plain = texts.rounded(d)
    json.list(plain.findings)
    json.list(plain.learned)
    print(json.encode(plain, true))
  else
    print_page(d)
  end
  return #d.findings > 0 and outcome.codes.findings or outcome.codes.success
end

return {
  order = 65,
  summary = "Tells what is learned well, what is not, why, and what to try.",
  text = "Tells what is learned well, what is not, why, and what to try: parameters that no output depends on or that "
    .. "several values explain, symmetries that are not declared, constant or badly scaled outputs, failures and where "
    .. "they lie, a weak decoder or encoder, too few simulations, intervals that do not hold. Of a simulator, before "
    .. "anything is trained, what can be told of it. The exit code is 3 where something was found.",
  examples = { "simvae doctor ring.lua", "simvae doctor runs/ring" },
  define = define,
  run = run,
}
