--- A row's check string as data: its tensors, and its options by name and kind.
local core = require "simvae.core"

local checks = {}

--- The metatable of what stands for a random tensor: a list of its sizes.
local marks = {}
checks.marks = marks

--- Reads the example call of an op.
-- @tparam table row of core.ops
-- @treturn table inputs (tensors and marks; list: they are given as one list), options, kinds (of whole numbers, axes
-- …; by name), choices (of enums, by name)
function checks.read(row)
  local function read(r)
    local env = setmetatable({ r = r }, { __index = core })
    return load("local pack = ... return pack(" .. row.check .. ")", "=check", "t", env)(table.pack)
  end
  local ok, args = pcall(read, function(...) return setmetatable({ ... }, marks) end)
  if not ok then -- it computes with r(…): a tensor as it is
    args = read(function(...) return core.rng(1):uniform(0.2, 0.9, { ... }) end)
  end
  local tensors, options = row.signature:match "^([^;]*);?(.*)$"
  local inputs, kinds, order = {}, {}, {}
  for input in tensors:gmatch "[%w_]+" do inputs[#inputs + 1] = input end
  local choices = {}
  for name, kind, rest in options:gmatch "([%w_]+):(%l+)(%b())" do
    if kind == "enum" then
      choices[name] = {}
      for choice in rest:gmatch "[%w_]+" do table.insert(choices[name], choice) end
    end
  end
  for name, kind in options:gmatch "([%w_]+):(%l+)" do
    if kind ~= "enum" then kinds[name] = kind end
    order[#order + 1] = name
  end
  local given, at = {}, 1
  local list = tensors:find "%*" ~= nil
  local call = { list = list, inputs = {}, options = given, kinds = kinds, choices = choices }
  local function is_tensor(a)
    return getmetatable(a) == marks or getmetatable(a) == core.metatable or type(a) == "table" and list
  end
  while at <= args.n and #call.inputs < #inputs and is_tensor(args[at]) do
    call.inputs[#call.inputs + 1] = args[at]
    at = at + 1
  end
  if list then call.inputs = call.inputs[1] end
  for i = at, args.n do
    if type(args[i]) == "table" and next(args[i]) and not args[i][1] then
      for name, value in pairs(args[i]) do given[name] = value end
    else
      local name = table.remove(order, 1)
      if kinds[name] == "ints" and type(args[i]) ~= "table" then
        given[name] = { table.unpack(args, i, args.n) }
        break
      end
      given[name] = args[i]
    end
  end
  return call
end

return checks
