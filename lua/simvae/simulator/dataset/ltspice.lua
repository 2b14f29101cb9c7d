--- What LTspice's "Export data as text" writes beside a table: lines between the runs of a .step, and complex numbers.
--
--     time    V(out)
--     Step Information: R=1K C=100n  (Run: 1/12)
--     0.000000000000000e+00   0.000000e+00
--
-- Cells of an AC analysis are (-3.01e+00dB,-4.5e+01°), with the degree sign in UTF-8 or Latin-1, or 7.07e-01,-5e-01.
local number = require "simvae.simulator.spice.number"

local ltspice = {}

-- A value as LTspice writes it: 4.7K, 10µ, 1Meg, and 4K7.
local function value_of(text)
  text = number.plain_micro(text)
  local whole, letter, digits = text:match "^([+-]?%d+)(%a+)(%d+)$"
  if whole and not letter:lower():find "^[ed]$" then text = whole .. "." .. digits .. letter end
  return number.is(text) and number.parse(text) or nil
end

--- Is it the line between two runs?
function ltspice.is_step(text) return text:find "^Step Information:" ~= nil end

--- The stepped parameters of such a line.
-- @tparam string text
-- @treturn {string,...} names, in the order of the line
-- @treturn {[string]=number}; or nil, what is wrong
function ltspice.step(text)
  local names, values = {}, {}
  local list = text:match "^Step Information:%s*(.*)$":gsub("%(%a+:%s*%d+/%d+%)%s*$", "")
  for word in list:gmatch "%S+" do
    local name, given = word:match "^([^=]+)=(.+)$"
    local value = given and value_of(given)
    if not value or values[name] then return nil, string.format("%q is no parameter = number of a step", word) end
    names[#names + 1], values[name] = name, value
  end
  if #names == 0 then return nil, "the step names no parameter" end
  return names, values
end

local real = "([+-]?[%d.]+[eE][+-]?%d+)"
local forms = {
  { "^%(" .. real .. "dB,%s*" .. real .. "\xC2?\xB0%)$", { { " magnitude", "dB" }, { " phase", "deg" } } },
  { "^%(" .. real .. ",%s*" .. real .. "\xC2?\xB0%)$", { { " magnitude" }, { " phase", "deg" } } },
  { "^" .. real .. "," .. real .. "$", { { " real part" }, { " imaginary part" } } },
}

--- The two parts of a complex cell.
-- @tparam string cell
-- @treturn ?string the first number; nil: it is none
-- @treturn string the second one
-- @treturn {table,...} what they are: the end of the curve's name, unit
function ltspice.complex(cell)
  for _, form in ipairs(forms) do
    local a, b = cell:match(form[1])
    if a then return a, b, form[2] end
  end
end

--- The name and unit of a column, as far as its header says: time, Freq., V(…), I(…).
-- @tparam string header
-- @treturn string name
-- @treturn ?string unit
function ltspice.column(header)
  if header == "time" then return header, "s" end
  if header == "Freq." then return "frequency", "Hz" end
  return header, header:find "^V%(" and "V" or header:find "^I[%a]?%(" and "A" or nil
end

return ltspice
