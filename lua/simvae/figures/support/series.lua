--- The parts of a vector and the axis under them, as sv.simulator declares them in `series`.
local check = require "simvae.util.check"
local output = require "simvae.figures.support.output"
local parameter = require "simvae.simulator.parameter"

local series = {}

--- The series of vectors: those that were given, or one over the element's number.
-- @tparam string what the figure's name
-- @tparam ?table given { { name =, unit = }, …, axis = }
-- @tparam integer length of a vector
-- @tparam integer level of the figure's caller
-- @treturn table
-- @treturn integer numbers of each
function series.of(what, given, length, level)
  local list = given or { { name = "output" } }
  if #list == 0 or length % #list ~= 0 then
    check.fail(level + 1, "%s: %d series do not make up %d numbers", what, #list, length)
  end
  return list, length // #list
end

--- The place of element i of n on the axis.
-- @tparam ?table axis
-- @tparam integer i
-- @tparam integer n
-- @treturn number
function series.place(axis, i, n)
  if not axis then return i end
  return parameter.from_unit(axis, n > 1 and (i - 1) / (n - 1) or 0)
end

--- What gnuplot is told of the axis, before the panels.
-- @tparam ?table axis
-- @tparam function add (format, …) adds a command
function series.set_axis(axis, add)
  if not axis then return end
  if axis.scale == "log" then add "set logscale x\nset format x '%%.0s%%c'" end
  add("set xrange [%.8g:%.8g]", axis.low, axis.high)
end

--- The label under a panel.
-- @tparam ?table axis
-- @treturn string
function series.label(axis) return axis and output.with_unit(axis.name, axis.unit) or "element" end

return series
