--- Parameters as sliders: the value, its place in the range, and the posterior of the output.
local panels = require "simvae.repl.explore.panels"
local parameter = require "simvae.simulator.parameter"

local sliders = {}

-- A value to a thousandth of the parameter's range, so that its places stay as it moves.
local function number(s, p, v)
  if p.levels then return string.format("%d", math.floor(v + 0.5)) end
  local low, high = s.bounds(p)
  local places = math.ceil(3 - math.log(high - low, 10))
  if (p.axis or p).scale == "log" or places > 6 or places < -3 then return string.format("%.4g", v) end
  return string.format("%." .. math.max(0, places) .. "f", v)
end

-- The line of a slider: the range, the posterior's central 90% thick, the value a dot.
local function bar(s, k, width, paint)
  local p = s.params[k]
  local function cell(v) return 1 + math.floor(s.place(p, v) * (width - 1) + 0.5) end
  local at, from, to = cell(s.z[k]), 0, -1
  local interval = s.intervals and s.intervals[k]
  if interval then from, to = cell(interval.low), cell(interval.high) end
  local parts = {}
  for c = 1, width do
    if c == at then
      parts[c] = paint(k == s.chosen and "prompt" or "title", "●")
    elseif c >= from and c <= to then
      parts[c] = paint("string", "━")
    else
      parts[c] = paint("faint", "─")
    end
  end
  return table.concat(parts)
end

-- "19.1 to 20.5"
local function interval_text(s, k)
  local interval = s.intervals and s.intervals[k]
  if not interval then return "" end
  local p = s.params[k]
  return string.format("%s  %s to %s", number(s, p, interval.median), number(s, p, interval.low),
    number(s, p, interval.high))
end

local POSTERIOR, WIDE_POSTERIOR, WIDE = 30, 38, 96 -- columns; the wide one on screens of at least WIDE

--- The lines of the parameters.
-- @tparam State s
-- @tparam integer columns
-- @tparam integer rows for them, the title's among these: some around the chosen one
-- @tparam function paint of simvae.repl.style
-- @treturn {string,...}
function sliders.lines(s, columns, rows, paint)
  local names, values = 0, 0
  for k, p in ipairs(s.params) do
    names = math.max(names, utf8.len(p.name) or #p.name)
    values = math.max(values, #number(s, p, s.z[k]) + 1 + (utf8.len(p.unit or "") or 0))
  end
  names, values = math.min(names, 16), math.max(10, math.min(values, 18))
  local posterior = columns >= WIDE and WIDE_POSTERIOR or POSTERIOR
  local width = math.max(10, columns - names - values - posterior - 8)
  local count = math.min(#s.params, rows - 1)
  local first = math.max(1, math.min(s.chosen - count // 2, #s.params - count + 1))
  local title = (" "):rep(names + values + width + 7) .. "posterior: median, 90%"
  local lines = { paint("faint", panels.fit(title, columns)) }
  for k = first, first + count - 1 do
    local p = s.params[k]
    local unit = parameter.unit_text(p)
    lines[#lines + 1] = (k == s.chosen and paint("prompt", "▸ ") or "  ") .. panels.fit(p.name, names) .. "  "
      .. panels.fit(number(s, p, s.z[k]) .. unit, values) .. " " .. bar(s, k, width, paint) .. "  "
      .. paint("string", panels.fit(interval_text(s, k), posterior))
  end
  return lines
end

return sliders
