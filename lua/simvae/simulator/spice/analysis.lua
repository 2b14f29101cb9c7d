--- Analyses: parsed into words, and rebuilt from the words that were recognised.
local number = require "simvae.simulator.spice.number"

local analysis = {}

local example = "for example \".ac dec 20 100 100k\", \".tran 1u 1m\", \".dc v1 0 5 0.1\", \".op\""

-- Words of a card; a {…} or '…' expression is one of them.
local function words_of(text)
  local words, i = {}, 1
  while true do
    i = text:find("%S", i)
    if not i then return words end
    local word = text:match("^%b{}", i) or text:match("^'[^']*'", i) or text:match("^[^%s{']+", i) or text:sub(i, i)
    words[#words + 1] = word
    i = i + #word
  end
end

local function is_expression(word)
  local inside = word:match "^{(.*)}$" or word:match "^'(.*)'$"
  return inside and not inside:find "[^%w_%s.+*/()^,?:<>=!&|\128-\255-]" or false
end

local function is_value(word)
  return word ~= nil and (number.is(word) or is_expression(word))
end

-- The number of a word; nil for an expression, which ngspice evaluates.
local function value_of(word)
  return word and not is_expression(word) and number.parse(word) or nil
end

-- One parser for each analysis, given its words. Returns nil, or what is missing; records what is known of the axis.
local readers = {}

function readers.op(words)
  if #words > 1 then return "takes no numbers" end
end

function readers.ac(words, found)
  local sweep = (words[2] or ""):lower()
  if sweep ~= "dec" and sweep ~= "oct" and sweep ~= "lin" then return "takes dec, oct or lin, then numbers" end
  for i = 3, 5 do
    if not is_value(words[i]) then return "takes a number of points, then the first and the last frequency" end
  end
  if #words > 5 then return "takes no more than five words" end
  local from, to = value_of(words[4]), value_of(words[5])
  if from and from <= 0 or from and to and to < from then return "needs 0 < first frequency <= last frequency" end
  found.axis = { name = "frequency", unit = "Hz", scale = sweep ~= "lin" and "log" or nil }
end

local swept_units = { v = "V", i = "A", t = "degC", r = "ohm" }

function readers.dc(words, found)
  if #words ~= 5 and #words ~= 9 then return "takes a source, then its first value, its last value and the step" end
  for first = 2, #words, 4 do
    if not words[first]:find "^%a[%w_.:#-]*$" then return "names a source" end
    for i = first + 1, first + 3 do
      if not is_value(words[i]) then return "takes a source, then its first value, its last value and the step" end
    end
    if value_of(words[first + 3]) == 0 then return "has a step of 0" end
  end
  if #words == 5 then
    found.axis = { name = words[2], unit = swept_units[words[2]:lower():sub(1, 1)] }
  end
end

-- The same analysis, stored from one largest step before its start on: ngspice's first point after a start lies
-- anywhere within that step, and the start's own values are interpolated.
local function stored_earlier(words, last, step, stop, start)
  local maximum = last == 5 and value_of(words[5]) or math.min(step, (stop - start) / 50) -- ngspice's default
  local result = string.format("tran %s %s %.17g %.17g", words[2], words[3], math.max(0, start - maximum), maximum)
  return last < #words and result .. " uic" or result
end

function readers.tran(words, found)
  local last = #words
  if words[last]:lower() == "uic" then last = last - 1 end
  for i = 2, last do
    if not is_value(words[i]) then return "takes step, stop, then start and largest step, then uic" end
  end
  if last < 3 or last > 5 then return "takes step and stop: \".tran 1u 1m\"" end
  local step, stop, start = value_of(words[2]), value_of(words[3]), last > 3 and value_of(words[4])
  if step and step <= 0 then return "needs a step above 0, which is also that of the even grid" end
  if last == 3 then start = 0 end
  if stop and start and stop <= start then return "stops before it starts" end
  if step and stop and start then
    if step > stop - start then return "steps farther than it runs" end
    if start > 0 and (last < 5 or value_of(words[5])) then
      found.stored_earlier = stored_earlier(words, last, step, stop, start):lower()
    end
    found.points = math.floor((stop - start) / step * (1 + 1e-9) + 1e-9) + 1
    found.first, found.last, found.step = start, stop, step
  end
  found.axis = { name = "time", unit = "s" }
end

--- Reads an analysis.
-- @tparam string text ".ac …", ".dc …", ".tran …" or ".op"
-- @treturn ?table kind; command: written anew; in_deck: expressions in it are for ngspice, as a card of the netlist;
--   stored_earlier: of .tran with a start, the command that lets values there be interpolated; axis: name, unit, scale
--   of what is swept, nil where there is none; of .tran with numbers, points: steps from first to last; or nil, message
function analysis.parse(text)
  local function bad(why) return nil, string.format("analysis %q %s; %s", text, why, example) end
  if text:find "[;`$\"\\]" or text:find "[^%C\t]" then
    return bad "holds more than one analysis is made of: it is one line, without ; ` $ \" or \\"
  end
  local words = words_of(number.plain_micro(text))
  local kind = (words[1] or ""):lower():match "^%.?(%a+)$"
  local read = readers[kind]
  if not read then
    return nil, string.format("analysis is \".ac …\", \".tran …\", \".dc …\" or \".op\"; got %q", text)
  end
  local found = { kind = kind, text = text }
  local why = read(words, found)
  if why then return bad("is not complete, or has too much: ." .. kind .. " " .. why) end
  words[1] = kind
  for _, word in ipairs(words) do found.in_deck = found.in_deck or is_expression(word) end
  found.command = table.concat(words, " "):lower() -- commands, unlike cards, are not without case to ngspice
  return found
end

return analysis
