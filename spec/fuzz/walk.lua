--- Calls every op with hostile numbers in each of its options and in each axis of each tensor, forward and backward
-- (spec/sizes_spec.lua runs it in a process of its own):
--
--   lua5.4 spec/fuzz/walk.lua PROGRESS
--
-- Each call must return tensors of a plausible size or an error that begins with the op's name and names the argument.
-- PROGRESS is a file with the current call, in case it never ends.
local core = require "simvae.core"
require "simvae.tensor"
pcall(require, "simvae.linalg")
require "simvae".threads(1)
local checks = require "spec.fuzz.checks"
local marks = checks.marks

local progress = assert(io.open((...), "w"))
progress:setvbuf "no"

local numbers = { 0, 1, -1, 2, 3, -7, 1 << 31, 1 << 32, -(1 << 31), 1 << 53, 1 << 62, math.maxinteger, math.mininteger,
  0 / 0, 1 / 0, -1 / 0, 1.5, 2.0, 1e30, "x", false }
local sizes = { 0, 1, 7 }

-- ---- one call ---------------------------------------------------------------------------------------

local function make(mark)
  if getmetatable(mark) ~= marks then return mark end
  return core.parameter(core.rng(1):uniform(0.2, 0.9, { table.unpack(mark) }))
end

local function describe(v)
  if getmetatable(v) == marks then return "r(" .. table.concat(v, ", ") .. ")" end
  if getmetatable(v) == core.metatable then return "tensor(" .. table.concat(v.shape, ", ") .. ")" end
  if type(v) == "table" then
    local parts = {}
    for k, x in pairs(v) do parts[#parts + 1] = (type(k) == "string" and k .. " = " or "") .. describe(x) end
    return "{" .. table.concat(parts, ", ") .. "}"
  end
  return tostring(v)
end

local failures, calls, results = {}, 0, 0

local function run(name, row, call, varied)
  local text = name .. describe(call.inputs) .. describe(call.options)
  progress:seek "set"
  progress:write(text, "\n")
  calls = calls + 1
  local tensors, args = {}, {}
  for i, mark in ipairs(call.inputs) do tensors[i] = make(mark) end
  if call.list then args[1] = tensors else args = { table.unpack(tensors) } end
  if next(call.options) then args[#args + 1] = call.options end
  local tape <close> = core.tape()
  local ok, out = pcall(row.call, table.unpack(args))
  local function fail(why) failures[#failures + 1] = text .. ": " .. why end
  if not ok then
    if type(out) ~= "string" then return fail "raised no string" end
    local said = out:gsub("^[^:]*:%d+: ", "")
    if said:find "^not enough memory" then return end
    if not said:find("^" .. name .. ": ") then return fail("raised " .. out) end
    if varied and not said:find(varied, 1, true) then return fail("does not name " .. varied .. ": " .. out) end
    return
  end
  results = results + 1
  if out.count > 1e9 then return fail("gave " .. describe(out)) end
  if not out.needs_grad then return end
  local passed, why = pcall(function() tape:backward(out:sum()) end)
  if not passed then return fail("backward: " .. why) end
  for i, t in ipairs(tensors) do
    if t.grad and describe(t.grad) ~= describe(t) then
      fail(string.format("the gradient of tensor %d is %s", i, describe(t.grad)))
    end
  end
end

-- ---- the walk --------------------------------------------------------------------------------------

local function copy(t)
  local c = setmetatable({}, getmetatable(t) == marks and marks or nil)
  for k, v in pairs(t) do c[k] = v end
  return c
end

local function with_option(call, name, value)
  local c = copy(call)
  c.options = copy(call.options)
  c.options[name] = value
  return c
end

local function vary_options(name, row, call)
  for option, kind in pairs(call.kinds) do
    local given = call.options[option]
    for _, v in ipairs(numbers) do
      if kind == "ints" or kind == "axes" then
        local list = type(given) == "table" and given or { given or 1 }
        for i = 1, #list do
          local changed = copy(list)
          changed[i] = v
          run(name, row, with_option(call, option, changed))
        end
        if kind == "ints" then run(name, row, with_option(call, option, { v, v })) end
      else
        run(name, row, with_option(call, option, v), kind == "int" and option or nil)
      end
    end
    if kind == "ints" or kind == "axes" then
      for _, v in ipairs { {}, { 1, 1, 1, 1, 1, 1, 1, 1, 1 }, { 1, 1 } } do
        run(name, row, with_option(call, option, v))
      end
    end
  end
end

local function vary_sizes(name, row, call)
  local function with(change)
    local c = copy(call)
    c.inputs = {}
    for i, mark in ipairs(call.inputs) do
      c.inputs[i] = getmetatable(mark) == marks and change(copy(mark), i) or mark
    end
    run(name, row, c)
  end
  for k, mark in ipairs(call.inputs) do
    if getmetatable(mark) == marks then
      for axis, was in ipairs(mark) do
        for _, n in ipairs(sizes) do
          with(function(m, i) -- this axis alone
            if i == k then m[axis] = n end
            return m
          end)
          with(function(m) -- all that are as long
            for a = 1, #m do if m[a] == was then m[a] = n end end
            return m
          end)
        end
        with(function(m, i) -- an axis less
          if i == k then table.remove(m, axis) end
          return m
        end)
      end
      with(function(m, i)
        if i == k then table.insert(m, 1, 2) end
        return m
      end)
      with(function(m, i) return i == k and setmetatable({ 1, 1, 1, 1, 1, 1, 1, 1 }, marks) or m end)
    end
  end
  with(function(m)
    for a = 1, #m do m[a] = 0 end
    return m
  end)
  with(function(m)
    for a = 1, #m do m[a] = 1 end
    return m
  end)
end

local names = {}
for name, row in pairs(core.ops) do if row.check then names[#names + 1] = name end end
table.sort(names)
for _, name in ipairs(names) do
  local row = core.ops[name]
  local call = checks.read(row)
  run(name, row, call)
  vary_options(name, row, call)
  vary_sizes(name, row, call)
end
for i = 1, math.min(#failures, 40) do print(failures[i]) end
print(string.format("%d ops, %d calls, %d results, %d failures", #names, calls, results, #failures))
