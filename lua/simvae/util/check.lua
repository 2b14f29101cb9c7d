--- Checks of arguments. Errors name the argument, what was given and what is accepted, at the
-- caller's line.
local core = require "simvae.core"

local check = {}

local rng_class = getmetatable(core.rng(0))

-- The folder of the library's own files, and the command.
local own = debug.getinfo(1, "S").source:match "^@(.*/)util/[^/]*$" or "?"

local function is_own(source)
  return source:sub(2, #own + 1) == own or source:find "/bin/simvae$" ~= nil
end

-- The level of the first function from `level` on that is not ours, as its caller counts; level itself where all are.
local function users_level(level)
  local at = level + 1
  while true do
    local about = debug.getinfo(at, "S")
    if not about then return level end
    if about.what ~= "C" and not is_own(about.source) then return at - 1 end
    at = at + 1
  end
end

--- Raises at the line of the user's code that called a public function.
-- @tparam integer level of its caller, or of a function that it was called by
function check.fail(level, format, ...)
  error(string.format(format, ...), users_level(level + 1))
end

--- A word with its article: "a tensor", "an option".
function check.with_article(word)
  return (word:find "^[aeio]" or word == "rng") and "an " .. word or "a " .. word
end

--- Describes a value, for messages.
-- @treturn string "a tensor (2, 3)", "a table", "\"text\"", "2.5", …
function check.describe(v)
  local kind = type(v)
  if kind == "string" then return string.format("%q", #v > 60 and v:sub(1, 60) .. "…" or v) end
  if getmetatable(v) == core.metatable then return "a tensor " .. check.shape_text(v.shape) end
  if kind == "table" then return next(v) == nil and "an empty table" or "a table" end
  return kind == "function" and "a function" or tostring(v)
end
local describe = check.describe

--- The end of a message about an unknown name.
-- @param word as given
-- @tparam {string,...} known
-- @tparam ?string otherwise what it says where none of them is near ("")
-- @treturn string "; did you mean 'steps'?"
function check.suggestion(word, known, otherwise)
  local near = type(word) == "string" and core.nearest(word, known)
  return near and string.format("; did you mean '%s'?", near) or otherwise or ""
end

--- Options of public functions: "model:train" -> rules. Read by simvae.reference.
check.declared = {}

--- Declares the options of a public function: sv.help, the reference and the definitions show them.
--
-- Every rule has `doc`, a sentence with the unit, and the default where the rule has none. `fields` are the rules of a
-- table's own options, `each` those of its elements, `class` the class of an object ("Simulator").
-- @tparam string name of the function: "evaluate", "metrics.sbc", "model:train"
-- @tparam table rules as of check.options
-- @treturn table rules
function check.declare(name, rules)
  check.declared[name] = rules
  return rules
end

--- Reads a table of options against its declaration.
-- @tparam string what the function's name, for messages
-- @tparam table given the caller's table (nil: all defaults)
-- @tparam table known name -> {type or list of types joined by "|", default=, min=, max=, above=, one_of=,
-- required=, doc=}
-- @tparam ?integer level of the caller that is blamed (3: the caller of the function that calls this one)
-- @treturn table a new table with the defaults filled in
function check.options(what, given, known, level)
  level = level or 3
  if given == nil then given = {} end
  if type(given) ~= "table" then
    check.fail(level, "%s: takes a table of options; got %s", what, describe(given))
  end
  local result = {}
  for name, value in pairs(given) do
    local rule = known[name]
    if not rule then
      local names = {}
      for k in pairs(known) do names[#names + 1] = k end
      table.sort(names)
      check.fail(level, "%s: unknown option '%s'%s", what, tostring(name),
        check.suggestion(name, names, "; the options are " .. table.concat(names, ", ")))
    end
    check.value(what, name, value, rule, level + 1)
    result[name] = value
  end
  for name, rule in pairs(known) do
    if result[name] == nil then
      if rule.required then check.fail(level, "%s: option '%s' is missing", what, name) end
      result[name] = rule.default
    end
  end
  return result
end

--- One value against a rule as in check.options.
function check.value(what, name, value, rule, level)
  level = level or 3
  local kind = math.type(value) == "integer" and "integer" or type(value)
  local fits = false
  for allowed in rule[1]:gmatch "[^|]+" do
    fits = fits or allowed == kind or (allowed == "number" and kind == "integer")
      or (allowed == "integer" and kind == "number" and math.tointeger(value))
      or (allowed == "tensor" and getmetatable(value) == core.metatable)
      or (allowed == "rng" and getmetatable(value) == rng_class)
  end
  if not fits and rule[1] == "rng" then
    check.fail(level, "%s: %s takes a generator, such as sv.rng(%s); got %s", what, name,
      math.type(value) == "integer" and value or 1, describe(value))
  end
  if not fits then
    local wanted = rule[1]:gsub("|", " or "):gsub("integer", "whole number")
    check.fail(level, "%s: %s takes %s; got %s", what, name, check.with_article(wanted), describe(value))
  end
  if type(value) == "number" then
    if value ~= value or (rule.min and value < rule.min) or (rule.max and value > rule.max)
      or (rule.above and value <= rule.above) then
      check.fail(level, "%s: %s must be %s; got %s", what, name,
        rule.above and "above " .. rule.above .. (rule.max and " and at most " .. rule.max or "")
          or rule.max and string.format("from %s to %s", rule.min or "-inf", rule.max)
          or rule.min and "at least " .. rule.min or "a number", value)
    end
  end
  if rule.one_of and type(value) == "string" then
    for _, v in ipairs(rule.one_of) do
      if v == value then return end
    end
    check.fail(level, "%s: %s is one of %s; got %q", what, name, table.concat(rule.one_of, ", "), value)
  end
end

--- Whether two shapes are the same but for axes of one.
-- @tparam {integer,...} a
-- @tparam {integer,...} b
-- @treturn boolean
function check.same_but_for_ones(a, b)
  local i, j = 1, 1
  while true do
    while a[i] == 1 do i = i + 1 end
    while b[j] == 1 do j = j + 1 end
    if a[i] ~= b[j] then return false end
    if a[i] == nil then return true end
    i, j = i + 1, j + 1
  end
end

--- How many numbers a shape has.
-- @tparam {integer,...} shape
-- @treturn integer
function check.count(shape)
  local count = 1
  for _, n in ipairs(shape) do count = count * n end
  return count
end

--- Do an array's numbers, in order, make up an output? One list of them does, or its shape up to axes of one.
-- @tparam {integer,...} shape of the array
-- @tparam {integer,...} output
function check.fits(shape, output)
  return #shape == 1 and shape[1] == check.count(output) or check.same_but_for_ones(shape, output)
end

local max_name = 256 -- bytes

--- Why a text cannot name anything: names and units go into model files, tables and figures.
-- @treturn ?string "is not UTF-8", …; nil: it can
function check.name_fault(text)
  if #text > max_name then return string.format("is longer than %d bytes", max_name) end
  if not utf8.len(text) then return "is not UTF-8" end
  if text:find "%c" or text:find "\xC2[\x80-\x9F]" then return "holds control characters" end
  return nil
end

--- The shape of a tensor as text; of another value what it is.
function check.shape_of(v)
  return getmetatable(v) == core.metatable and check.shape_text(v.shape) or describe(v)
end

--- Text of a shape, as in messages: (64, 3, 32, 32).
function check.shape_text(shape)
  return "(" .. table.concat(shape, ", ") .. (#shape == 1 and ",)" or ")")
end

return check
