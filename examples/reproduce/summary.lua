--- Measures of runs: their means and spreads, the goals that they reach, and their text.
local catalogue = require "simvae.util.catalogue"
local paper = require "reproduce.paper"

local summary = {}

-- Properties of the measures of all runs: name -> { title =, digits =, smaller_is_better =, table = }, and the names
-- in their order.
local about, measured = { seconds = { title = "seconds", digits = 0, table = true } }, {}

--- The measures of a run by name: those of the metrics' files, and seconds.
function summary.measures(n)
  local values = { seconds = (n.training_seconds or 0) + (n.evaluation_seconds or 0) }
  for _, metric in ipairs(catalogue.reported "simvae.metrics") do
    for _, m in ipairs(metric.measures and metric.measures(n) or {}) do
      local name = m[1]
      if not about[name] then measured[#measured + 1] = name end
      values[name], about[name] = m[2], m
    end
  end
  return values
end

--- Mean and standard deviation (over runs, n - 1) of each measure.
function summary.of(runs)
  local result = {}
  for name in pairs(about) do
    local values = {}
    for _, r in ipairs(runs) do values[#values + 1] = r.measures[name] end
    if #values > 0 then
      local mean, squares = 0, 0
      for _, v in ipairs(values) do mean = mean + v / #values end
      for _, v in ipairs(values) do squares = squares + (v - mean) ^ 2 end
      local low, high = math.min(table.unpack(values)), math.max(table.unpack(values))
      result[name] = { mean = mean, spread = #values > 1 and math.sqrt(squares / (#values - 1)) or nil, low = low,
        high = high, runs = #values }
    end
  end
  return result
end

local function reached(goal, value, which)
  local threshold = goal[which]
  if not threshold or not value then return nil end
  if about[goal[1]].smaller_is_better then return value <= threshold end
  return value >= threshold
end

--- The goals of an experiment and whether they were reached: { { measure, threshold, aim, value, met, aim_met }, … }
function summary.judge(name, means)
  local list = {}
  for i, goal in ipairs(paper.goals[name]) do
    local value = means[goal[1]] and means[goal[1]].mean
    list[i] = { measure = goal[1], must = goal[2], aim = goal[3], value = value, met = reached(goal, value, 2),
      aim_met = reached(goal, value, 3) }
  end
  return list
end

local function digits(name)
  return "%." .. (about[name] and about[name].digits or 3) .. "f"
end

--- A measure's title.
function summary.title(name)
  return about[name] and about[name].title or name
end

--- A measure's mean and spread as text.
function summary.text(means, name)
  local m = means and means[name]
  if not m then return "–" end
  local format = digits(name)
  if not m.spread then return string.format(format, m.mean) end
  return string.format(format .. " ± " .. format, m.mean, m.spread)
end

--- A goal, and whether it was reached, as text.
function summary.goal_text(g)
  local format = digits(g.measure)
  local below = about[g.measure] and about[g.measure].smaller_is_better
  return string.format("%s %s %s: %s", summary.title(g.measure), below and "≤" or "≥",
    (string.format(format, g.must):gsub("0+$", "")), g.met == nil and "not measured" or (g.met and "reached"
      or "not reached") .. string.format(" (" .. format .. ")", g.value))
end

--- Names of the measures that the second table shows.
function summary.columns()
  local list = {}
  for _, name in ipairs(measured) do
    if about[name].table then list[#list + 1] = name end
  end
  list[#list + 1] = "seconds"
  return list
end

return summary
