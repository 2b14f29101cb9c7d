--- Circuits as simulators, through ngspice.
--
--     local rc = sv.spice {
--       name = "rc",
--       netlist = [[
--         RC low-pass filter
--         V1 in 0 dc 0 ac 1
--         R1 in out {R}
--         C1 out 0 {C}
--       ]],
--       params = { { name = "R", low = 100, high = 10e3, unit = "ohm", scale = "log" }, … },
--       analysis = ".ac dec 10 100 100k",
--       output = { "vdb(out)", "vp(out)" },
--     }
--
-- The netlist is an ngspice netlist, such as KiCad and PySpice write, with the title in its first line. A parameter
-- is a top-level ngspice parameter (.param), so that {R}, {2*R} and parameters of subcircuits follow ngspice's rules.
-- lines.lua reads the netlist, cards.lua classifies its cards, parameters.lua finds uses of the parameters,
-- analysis.lua and outputs.lua parse the analysis and outputs, engine.lua runs it.
local absolute = require "simvae.util.absolute"
local check = require "simvae.util.check"
local core = require "simvae.core"
local simulator = require "simvae.simulator"
local analysis = require "simvae.simulator.spice.analysis"
local cards = require "simvae.simulator.spice.cards"
local Engine = require "simvae.simulator.spice.engine"
local lines = require "simvae.simulator.spice.lines"
local number = require "simvae.simulator.spice.number"
local outputs = require "simvae.simulator.spice.outputs"
local parameter = require "simvae.simulator.parameter"
local parameters = require "simvae.simulator.spice.parameters"

local spice = {}

local fields = check.declare("spice", {
  name = { "string", default = "circuit", doc = "of files, figures and messages" },
  netlist = { "string", required = true, doc = "path of a file, or text of several lines" },
  params = { "table", required = true, each = parameter.rules,
    doc = "named parameters with bounds and units, as of sv.simulator; each is an ngspice parameter that the "
      .. "netlist uses as {NAME} or in expressions, and replaces its .param" },
  analysis = { "string", doc = "\".ac …\", \".tran …\", \".dc …\" or \".op\"; default: the netlist's own" },
  output = { "table", required = true,
    doc = "list of vectors: v(node), v(a,b), i(source); of .ac vdb (dB), vp (rad, without jumps), vm, vr, vi and "
      .. "the same with i; \"@device[parameter]\"; \"meas:NAME\" or NAME, a .meas of the netlist: one number" },
  points = { "integer", min = 1,
    doc = "numbers of each vector; default: what a run at the middle of the parameters gives" },
  grid = { "string", default = "even", one_of = { "even", "steps" },
    doc = "times of .tran: \"even\" interpolates at start, start + step, … to stop, or at points even times; "
      .. "\"steps\" keeps ngspice's own, whose number must be the same for all parameters" },
  probe = { "boolean", default = true,
    doc = "runs ngspice when the simulator is made, at the middle of the parameters; false needs points" },
  trusted = { "boolean", default = false,
    doc = "runs the netlist's .control block before each analysis, refuses nothing, and leaves the process the "
      .. "user's rights, folder and .spiceinit" },
  compatibility = { "string", one_of = { "ps", "psa", "lt", "lta", "ltps", "ltpsa", "hs", "hsa", "ki", "kiltpsa" },
    doc = "ngspice's ngbehavior, such as \"ltps\" for included models of LTspice and PSPICE, \"ltpsa\" for the "
      .. "netlist as well; default: none" },
  timeout = { "number", default = 60, above = 0, doc = "seconds for a run" },
  restart = { "integer", default = 20000, min = 1, doc = "runs after which ngspice is restarted" },
})
local shared = simulator.share_options(fields)

-- The netlist's text and the folder of its relative paths.
local function read_netlist(given)
  if given:find "[\r\n]" then return given, "" end
  local file, why = io.open(given, "rb")
  if not file then return nil, why end
  local text = file:read "a"
  file:close()
  if not text then return nil, given .. ": is a folder" end
  return text, given:match "^(.*/)" or ""
end

local function print_notices(what, notices)
  for _, text in ipairs(notices) do io.stderr:write(what, ": ", text, "\n") end
end

-- The netlist's cards, classified; raises their errors.
local function read_cards(what, text, folder, trusted)
  local list, why = lines.read(text, absolute(folder), trusted)
  if not list then check.fail(3, "%s: %s", what, why) end
  if #list == 0 then check.fail(3, "%s: the netlist has no elements", what) end
  if lines.title_is_card(list) then
    check.fail(3, "%s: a netlist's first line is its title, and this is a card of the circuit: %s", what, list.title)
  end
  local sorted
  sorted, why = cards.sort(list, trusted)
  if not sorted then check.fail(3, "%s: %s", what, why) end
  sorted.list.included, sorted.controls = list.included, trusted and list.controls
  return sorted
end

-- Without an "a" at its end, ngspice's ngbehavior is for the included files alone; these are part of the netlist here.
local function compatibility_of(given, included)
  return given and included and given ~= "ki" and not given:find "a$" and given .. "a" or given
end

-- The engine's plan, without the number of points.
local function make_plan(what, given, sorted)
  local function must(value, why)
    if not value then check.fail(4, "%s: %s", what, why) end
    return value
  end
  local index = must(parameters.index(given.params))
  local read = must(analysis.parse(given.analysis or must(cards.choose(sorted.analyses))))
  local placed = must(parameters.place(sorted.list, index, read))
  local plan = { lines = placed.list, alter = not sorted.controls and placed.alter, analysis = read, outputs = {},
    given = {}, trusted = given.trusted,
    compatibility = compatibility_of(given.compatibility, sorted.list.included),
    grid = read.kind == "tran" and given.grid or nil }
  local measures = false
  for i, one in ipairs(index.list) do plan.given[i] = one.given end
  for k, line in ipairs(plan.lines) do
    plan.lines[k] = number.ascii(line)
    plan.random = plan.random or cards.is_random(line)
  end
  plan.numbers = #plan.given + (plan.random and 1 or 0)
  if plan.random then plan.alter = nil end
  for k, text in ipairs(given.output) do
    local o = must(outputs.parse(text, sorted.measurements))
    plan.outputs[k] = o
    if o.save then plan.save = (plan.save or "save all") .. " " .. o.save end
    if o.meas then
      must(sorted.measurements[o.meas] == read.kind, string.format("output %q: its .meas is of %s, the analysis is %q",
        text, sorted.measurements[o.meas], read.text))
      measures, plan.alter = true, nil -- ngspice puts the first results in the place of names in .meas … param=
      table.insert(plan.lines, string.format(".meas %s sv_meas_%d param='%s'", read.kind, k, o.meas))
    end
  end
  must(#plan.outputs > 0, "output names no vector")
  if plan.grid == "even" and not measures then read.command = read.stored_earlier or read.command end
  return plan
end

-- Values for a first run: the middle of each parameter, else draws of the prior.
local function trials(given)
  local all = { name = given.name, params = given.params, output = { 1 }, simulate = function() end }
  all.prior = given.prior
  local sim = simulator.new(all)
  local middle = {}
  for i, p in ipairs(sim.params) do
    middle[i] = parameter.from_unit(p, 0.5)
  end
  local list = sim:sample(3, core.rng(1)):totable()
  table.insert(list, 1, middle)
  return list, sim
end

-- Each row with a seed of its own for ngspice's random numbers, where the circuit has any.
local function with_seeds(plan, rows, rngs)
  if plan.random then
    for i, row in ipairs(rows) do row[plan.numbers] = rngs[i]:integer(1, 2 ^ 31 - 1) end
  end
  return rows
end

-- Determines the number of points by a run.
local function learn(what, given, plan)
  local predicted = plan.grid == "even" and plan.analysis.points
  plan.count, plan.points = 1, 1
  local engine, first_reason = Engine.new(plan, given.timeout, given.restart), nil
  local list, sim = trials(given)
  for _, values in ipairs(list) do
    local n, from, to, passed_over = engine:probe(with_seeds(plan, { values }, { core.rng(1) })[1])
    if n then
      print_notices(what, passed_over)
      local axis = plan.analysis.axis
      if axis then axis.low, axis.high = from, to end
      return predicted or n, n
    end
    if from:find "apt%-get install" then return nil, from end
    first_reason = first_reason or string.format("%s (at %s)", from, sim:describe_z(values))
    if from:find("(timeout)", 1, true) then break end
  end
  check.fail(4, "%s: the circuit does not run: %s", what, first_reason)
end

-- Sets the number of points and the even grid.
local function set_points(what, given, plan)
  local read = plan.analysis
  if not given.probe then
    if not given.points then check.fail(3, "%s: probe = false needs points", what) end
    plan.points = given.points
  else
    local learnt, own = learn(what, given, plan)
    if not learnt then return nil, own end
    if given.points and given.points ~= learnt and plan.grid ~= "even" then
      check.fail(3, "%s: points is %d, but ngspice gives %d for %q", what, given.points, learnt, read.text)
    end
    if plan.grid == "even" and not (given.points or read.points) then
      check.fail(3, "%s: %q has expressions in it: say into how many even points = n its time is cut", what,
        read.text)
    end
    plan.points = given.points or learnt
  end
  plan.count = 0
  for _, o in ipairs(plan.outputs) do plan.count = plan.count + (o.meas and 1 or plan.points) end
  if plan.grid == "even" and read.first then
    plan.first, plan.last = read.first, given.points and read.last or read.first + (plan.points - 1) * read.step
    if read.axis then read.axis.low, read.axis.high = plan.first, plan.last end
  end
  return true
end

--- A circuit as a simulator.
-- @tparam table t options; besides its own, those of sv.simulator
-- @treturn Simulator its output is {n}, vector after vector; or nil, message where a file or ngspice is missing
-- @raise a netlist that does not run, a placeholder without a parameter, a parameter without a place, an analysis or
--   output that is none
-- @usage
-- local filter = sv.spice {
--   name = "filter", netlist = "RC filter\nV1 in 0 AC 1\nR1 in out {R}\nC1 out 0 {C}\n.end",
--   params = { { name = "R", low = 100, high = 1e4, scale = "log", unit = "ohm" },
--              { name = "C", low = 1e-9, high = 1e-6, scale = "log", unit = "F" } },
--   analysis = ".ac dec 10 100 100k", output = { "vdb(out)" }, points = 31,
-- }
-- if filter then filter:run(sv.tensor { { 1000, 1e-7 } })[1]:show() end -- nil, message: ngspice is missing
function spice.spice(t)
  local what = type(t) == "table" and type(t.name) == "string" and "spice '" .. t.name .. "'" or "spice"
  local given = check.options(what, t, fields)
  local text, folder = read_netlist(given.netlist)
  if not text then return nil, string.format("%s: netlist %s", what, folder) end
  local sorted = read_cards(what, text, folder, given.trusted)
  local plan = make_plan(what, given, sorted)
  local ok, why = set_points(what, given, plan)
  if not ok then return nil, string.format("%s: %s", what, why) end
  print_notices(what, sorted.notices)

  local engine = Engine.new(plan, given.timeout, given.restart)
  local all = {
    name = given.name,
    params = given.params,
    output = { plan.count },
    simulate = function(z, out, rng)
      local failures = engine:run(with_seeds(plan, { { table.unpack(z, 1, #plan.given) } }, { rng }),
        out:reshape(1, out.count))
      if failures[1] then return false, failures[1] end
      return out
    end,
    batch = function(z, x, rngs) return engine:run(with_seeds(plan, z:totable(), rngs), x) end,
    close = function() engine:stop() end,
  }
  for _, name in ipairs(shared) do all[name] = given[name] end
  if all.series == nil and given.probe and plan.grid ~= "steps" then
    all.series = outputs.series(plan.outputs, plan.analysis.axis)
  end
  return simulator.new(all)
end

return spice
