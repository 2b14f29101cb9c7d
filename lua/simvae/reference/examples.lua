--- Runs the examples of the reference, each on what the preamble makes.
local check = require "simvae.util.check"
local reference = require "simvae.reference"

local examples = {}

--- Lua code before every example: STEPS is the number of steps of each stage.
examples.preamble = [[
local sv = require "simvae"
local rng = sv.rng(1)

local ring = sv.simulator {
  name = "ring",
  params = { { name = "x", low = 8, high = 24, unit = "px" }, { name = "y", low = 8, high = 24, unit = "px" },
             { name = "r", low = 2, high = 8, unit = "px" } },
  output = { 1, 32, 32 },
  simulate = function(v, out) sv.draw(out):clear(1):circle(v.x, v.y, v.r, { stroke = 0, width = 2 }) end,
}

local needle = sv.simulator { -- half a turn of it changes nothing
  name = "needle",
  params = { { name = "length", low = 1, high = 2, unit = "m" },
             { name = "angle", period = 2 * math.pi, unit = "rad" } },
  output = { 16 },
  series = { { name = "field", unit = "V" }, axis = { name = "direction", unit = "rad", low = 0, high = 6 } },
  symmetry = { { name = "half turn", map = function(v) return { length = v.length, angle = v.angle + math.pi } end } },
  invariants = { { name = "direction", unit = "1", value = function(v) return math.cos(2 * v.angle) end } },
  simulate = function(v, out)
    for i = 1, 16 do out[i] = v.length * math.cos(2 * v.angle + (i - 1) * 0.4) end
  end,
}

local model = sv.model { simulator = ring, width = 8, posterior = "flow", seed = 1 }
model:train { decoder = { steps = STEPS }, encoder = { steps = STEPS }, out = "ring", quiet = true }
local z, x = sv.simulate(ring, 100, sv.rng(7)) -- 100 samples: parameters and images
local p = model:posterior(x)

local coin = sv.simulator { name = "coin", params = { { name = "side", levels = 2 } }, output = { 1 },
  simulate = function(v, out) out[1] = v.side end }
local look = sv.model { simulator = coin, width = 4, seed = 1 }
look:train { decoder = { steps = 50 }, encoder = { steps = 200 }, quiet = true }
local same = sv.simulator { name = "same", params = { { name = "a", levels = 2 }, { name = "b", levels = 2 } },
  output = { 1 }, simulate = function(v, out) out[1] = v.a == v.b and 2 or 1 end }
local coins = sv.chain { same, draw = { look } } -- shows one side if two coins differ, the other if not
]]

-- What an example sees: the locals of the preamble.
local results = "return { sv = sv, rng = rng, ring = ring, needle = needle, model = model, z = z, x = x, p = p, "
  .. "look = look, coins = coins }"

--- The code that the preamble is with a number of steps.
-- @tparam integer steps
-- @treturn string
function examples.prepared(steps)
  return (examples.preamble:gsub("STEPS", tostring(steps)))
end

--- All examples.
-- @treturn {table,...} { entry =, code = }
function examples.all()
  local list = {}
  for entry in reference.entries() do
    for _, code in ipairs(entry.doc.usage) do list[#list + 1] = { entry = entry, code = code } end
  end
  return list
end

--- Examples by their entries.
-- @tparam {table,...} list of examples
-- @treturn {[table]={table,...}}
function examples.by_entry(list)
  local of = {}
  for _, example in ipairs(list) do
    of[example.entry] = of[example.entry] or {}
    table.insert(of[example.entry], example)
  end
  return of
end

-- Names of the PNG files that a piece of code writes, in order.
local function pictures_of(code)
  local list = {}
  for name in code:gmatch '"([%w_]+%.png)"' do list[#list + 1] = name end
  return list
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local bytes = file:read "a"
  file:close()
  return bytes
end

-- Runs code with what it prints collected. The generator is that of the preamble, at its start.
local function run(code, name, shared)
  local lines = {}
  local function say(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    lines[#lines + 1] = table.concat(parts, "\t")
  end
  local env = setmetatable({ print = say }, { __index = function(_, key)
    local v = shared[key]
    if v == nil then v = _G[key] end
    return v
  end })
  shared.rng:rewind(0)
  local chunk, fault = load(code, "=example of " .. name, "t", env)
  if not chunk then return nil, fault, lines end
  local before = print
  print = say -- luacheck: ignore 121 (what x:show() and sv.help print)
  local ok, message = xpcall(chunk, debug.traceback)
  print = before -- luacheck: ignore 121
  return ok, message, lines
end

--- Runs all examples in the working directory, where they write files.
-- @tparam integer steps of each stage of the preamble's training
-- @tparam ?function watch called with the name of each entry before its example
-- @treturn {table,...} of each: entry, code, output (what it printed), picture (bytes of the last PNG that it wrote,
--   or nil), fault (an error with its traceback, or nil)
function examples.run(steps, watch)
  check.value("examples.run", "steps", steps, { "integer", min = 1 })
  local shared = assert(load(examples.prepared(steps) .. results, "=preamble"))()
  local list = examples.all()
  for _, example in ipairs(list) do
    local pictures = pictures_of(example.code)
    for _, picture in ipairs(pictures) do os.remove(picture) end
    if watch then watch(example.entry.name) end
    local ok, message, lines = run(example.code, example.entry.name, shared)
    example.fault = not ok and message or nil
    example.output = table.concat(lines, "\n")
    for i = #pictures, 1, -1 do example.picture = example.picture or read(pictures[i]) end
    collectgarbage()
  end
  return list
end

return examples
