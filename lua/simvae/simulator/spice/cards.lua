--- Classification of a netlist's cards: analyses, measurements, output cards, and refused ones.
local cards = {}

-- The analyses that sv.spice runs, and those that only the ngspice program does.
local run_here = { op = true, ac = true, dc = true, tran = true }
local run_elsewhere = { noise = true, tf = true, sens = true, pz = true, disto = true, pss = true, sp = true }

-- Cards that control printing and saving, or of other programs; they do not change the circuit.
local dropped = { save = true, print = true, plot = true, width = true, csparam = true, backanno = true }
local with_notice = { four = true, hardcopy = true }

-- First words that are commands of ngspice and no elements, and code models that start programs or load code.
local commands = { codemodel = true, pre_codemodel = true, osdi = true, pre_osdi = true }
local models = { "d_process", "d_cosim", "process_file" }

-- Why a card is refused, or nil.
local function danger(line)
  local lower = line:lower()
  if line:find("`", 1, true) then return "a backquote, which ngspice may take for a shell command" end
  if commands[lower:match "^%.?([%a_]+)" or ""] and not lower:find "^%.?[%a_]+%s*=" then
    return "it loads code into ngspice"
  end
  for _, name in ipairs(models) do
    if lower:find(name, 1, true) then return "'" .. name .. "' starts a program or loads code" end
  end
  return nil
end

-- The name of a .meas card: .meas tran NAME …
local function measurement(line)
  local analysis, name = line:lower():match "^%.meas%a*%s+(%a+)%s+([%w_.]+)"
  return name, analysis
end

--- Sorts a netlist's cards.
-- @tparam {string,…} list of lines.read
-- @tparam boolean trusted refuses nothing
-- @treturn ?table list: the cards that describe the circuit; analyses: those of the netlist; measurements: name ->
--   analysis; notices: texts; or nil, message
function cards.sort(list, trusted)
  local result = { list = {}, analyses = {}, measurements = {}, notices = {} }
  local lines, skip = result.list, false
  for _, line in ipairs(list) do
    local why = not trusted and danger(line)
    if why then
      return nil, string.format("refused: %s: %s; with trusted = true a netlist may do anything", why, line)
    end
    local kind = line:lower():match "^%.([%a_]+)"
    if trusted and kind and kind:find "^control" then skip = true end
    if skip then
      lines[#lines + 1] = line
      if kind and kind:find "^endc" then skip = false end
    elseif kind == "step" then
      return nil, line .. ": sv.spice varies a circuit by its parameters: leave .step out, put {NAME} in the place of "
        .. "the value and give { name = \"NAME\", low = …, high = … } in params"
    elseif run_here[kind] or run_elsewhere[kind] then
      result.analyses[#result.analyses + 1] = line
    elseif with_notice[kind] then
      result.notices[#result.notices + 1] = line .. ": left out; sv.spice reads vectors and .meas results"
    elseif not dropped[kind] then
      local name, analysis = measurement(line)
      if name then result.measurements[name] = analysis end
      lines[#lines + 1] = line
    end
  end
  for _, line in ipairs(lines) do
    if line:lower():find "%f[%w]trnoise%f[%W]" or line:lower():find "%f[%w]trrandom%f[%W]" then
      result.notices[#result.notices + 1] = line .. ": ngspice draws this noise from a generator that takes no seed: "
        .. "other values in each run"
    end
  end
  if list.controls and not trusted then
    result.notices[#result.notices + 1] = string.format("the netlist's .control block is skipped (%d lines): sv.spice "
      .. "runs its own analysis; trusted = true runs the block first", #list.controls)
  end
  return result
end

local random = { agauss = true, gauss = true, aunif = true, unif = true, limit = true }

--- Does a card call random functions of ngspice's, which its command setseed seeds?
function cards.is_random(line)
  for word in line:lower():gmatch "(%a+)%s*%(" do
    if random[word] then return true end
  end
  return false
end

--- Which of a netlist's analyses is run.
-- @treturn ?string the card, or nil, message
function cards.choose(analyses)
  if #analyses == 0 then return nil, "analysis is missing, here and in the netlist" end
  if #analyses > 1 then
    return nil, string.format("the netlist has %d analyses: %s; say which with analysis = \"…\"", #analyses,
      table.concat(analyses, "; "))
  end
  return analyses[1]
end

return cards
