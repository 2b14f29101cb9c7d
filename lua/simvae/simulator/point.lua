--- The parameters of one sample as passed to the functions of a simulator: z.NAME and z[i], in units, read-only.
--
-- z[1] … z[K] are there in order; #z, ipairs, table.unpack and sv.tensor { z } go over them, pairs over names. A name
-- that is no parameter raises, with the nearest one.
local check = require "simvae.util.check"
local nearest = require "simvae.util.names".nearest

local point = {}

local rawget, setmetatable, unpack = rawget, setmetatable, table.unpack -- a sample takes microseconds

local function unknown(sim, key)
  if type(key) == "string" then
    local near = nearest(key, sim.names)
    return string.format("'%s' is no parameter%s", key, near and string.format("; did you mean '%s'?", near)
      or "; the parameters are " .. table.concat(sim.names, ", "))
  end
  return string.format("%s is no parameter; they have names, and positions 1 to %d", check.describe(key), #sim.names)
end

local function raise_unknown(sim, key)
  error(string.format("simulator '%s': z.%s: %s", sim.name, tostring(key), unknown(sim, key)), 3)
end

local function next_name(state, name)
  local i = name and state.index[name] + 1 or 1
  name = state.names[i]
  if name then return name, state.z[i] end
end

local function metatable(sim, read)
  local index, names, K = sim.index, sim.names, #sim.names
  return {
    __name = "z",
    __index = read,
    __newindex = function(_, key)
      if not index[key] and math.type(key) ~= "integer" then raise_unknown(sim, key) end
      error(string.format("simulator '%s': z is read-only (here '%s' is set); a local variable can hold another value",
        sim.name, tostring(key)), 2)
    end,
    __pairs = function(z) return next_name, { index = index, names = names, z = z } end,
    __tostring = function(z)
      local values = {}
      for i = 1, K do values[i] = rawget(z, i) end
      return "z(" .. sim:describe_z(values) .. ")"
    end,
  }
end

-- The value of a missing key.
local function missing(sim)
  local K = #sim.names
  return function(_, key)
    if key ~= K + 1 then raise_unknown(sim, key) end -- nil there ends ipairs
  end
end

-- Of a z by itself.
local function own_metatable(sim)
  local index, none = sim.index, missing(sim)
  return metatable(sim, function(z, key)
    local i = index[key]
    if i then return rawget(z, i) end
    return none(z, key)
  end)
end

--- Makes z.
-- @tparam Simulator sim
-- @tparam {number,...} values in order, in units
function point.new(sim, values)
  local meta = sim.point_metatable
  if not meta then
    meta = own_metatable(sim)
    sim.point_metatable = meta
  end
  return setmetatable(table.move(values, 1, #sim.names, 1, {}), meta)
end

--- A reusable z for consecutive samples, which shares its table of names.
-- @tparam Simulator sim
-- @treturn table with open(values) -> z and close(z)
function point.maker(sim)
  local names, K = sim.names, #sim.names
  local current = setmetatable({}, { __index = missing(sim) })
  local in_use, kept = metatable(sim, current), own_metatable(sim)
  local self = {}
  function self.open(values)
    local z = { unpack(values, 1, K) }
    for i = 1, K do current[names[i]] = z[i] end
    return setmetatable(z, in_use)
  end
  function self.close(z) setmetatable(z, kept) end
  return self
end

--- The position whose value a function has changed, or nil. (Assignments by name raise at once.)
function point.changed(z, values)
  for i = 1, #values do
    local v, w = values[i], rawget(z, i)
    if v ~= w and (v == v or w == w) then return i end
  end
end

local function fail(sim, who, format, ...)
  error(string.format("simulator '%s': %s " .. format, sim.name, who, ...), 0)
end

--- The values that a function of the user's returned by name or in order (the prior, a map).
-- @tparam Simulator sim
-- @tparam string who returned it, for messages
-- @param t what was returned
-- @treturn {number,...} in order
-- @raise a table that does not give each parameter once
function point.values(sim, who, t)
  local names, index = sim.names, sim.index
  if type(t) ~= "table" then
    fail(sim, who, "returned %s; it returns a table by parameter name, such as { %s = … }", check.describe(t), names[1])
  end
  local K = #names
  if #t == K and next(t, K) == nil then -- a list
    local numbers = true
    for i = 1, K do numbers = numbers and type(t[i]) == "number" end
    if numbers then return t end
  end
  local values, given = {}, 0
  for i, name in ipairs(names) do
    local v = t[name]
    if v == nil then v = t[i] end
    if type(v) ~= "number" then
      for key in pairs(t) do
        if not index[key] and math.type(key) ~= "integer" then
          fail(sim, who, "gave no number for '%s': %s", name, unknown(sim, key))
        end
      end
      fail(sim, who, "gave no number for '%s', but %s; it returns a table such as { %s = … }", name, check.describe(v),
        name)
    end
    values[i] = v
  end
  for key in pairs(t) do
    given = given + 1
    if not index[key] and not names[key] then
      fail(sim, who, "returned an unknown name: %s", unknown(sim, key))
    end
  end
  if given > K then fail(sim, who, "gave parameters twice, by name and by position") end
  return values
end

return point
