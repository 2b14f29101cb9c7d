--- Random programs of ops, with a fixed seed each:
--
--   lua5.4 spec/fuzz/ops.lua SEED PROGRAMS [SECONDS]      (or SIMVAE_FUZZ_OPS="SEED PROGRAMS SECONDS")
--
-- runs programs SEED, SEED + 1, … until that many, or so many seconds, have passed. A program makes tensors of random
-- shapes, calls ops with any of them (the same one twice, views, stale ones) and any options, opens, closes, drops and
-- collects tapes, runs backward, raises in callbacks, leaves coroutines, calls methods with wrong objects. Errors
-- are allowed if they are strings; crashes, endless loops and memory that remains without an open tape are failures.
-- The last line has the counts; a failing program is named.
local core = require "simvae.core"
local sv = require "simvae"
local sorted_names = require "simvae.util.sorted_names"
pcall(require, "simvae.linalg")
local checks = require "spec.fuzz.checks"

local random = math.random

local function one_of(list) return list[random(#list)] end

local rows, examples = {}, {}
for _, name in ipairs(sorted_names(core.ops)) do
  local row = core.ops[name]
  if row.check then
    rows[#rows + 1] = row
    examples[#rows] = checks.read(row)
  end
end

-- ---- random values ----------------------------------------------------------------------------------

local sizes = { 0, 1, 1, 2, 2, 3, 3, 4, 5, 8, 17, 33 }
local numbers = { 0, 1, -1, 2, 3, 5, 0.5, 1.5, -2, 1e-3, 1e30, 0 / 0, 1 / 0, 1 << 31, 1 << 62, math.mininteger,
  "2", "x" }

local function shape()
  local s = {}
  for i = 1, random(0, 4) do s[i] = one_of(sizes) end
  return s
end

local function tensor(s)
  local t = core.rng(random(1000)):uniform(random() < 0.5 and 0 or -1, 1, s)
  return random() < 0.5 and core.parameter(t) or t
end

-- ---- a program's state -------------------------------------------------------------------------------

local pool, tapes, waiting

local function keep(t) if getmetatable(t) == core.metatable then pool[random(24)] = t end end
local function any() return pool[random(24)] or tensor(shape()) end
local foreign = { io.stdout, "text", 3, {}, print, coroutine.create(print), setmetatable({}, core.metatable) }
local function anything() return random() < 0.8 and any() or random() < 0.5 and one_of(foreign) or tapes[#tapes] end

local generators = {
  num = function() return one_of(numbers) end,
  int = function() return random() < 0.8 and random(-2, 5) or one_of(numbers) end,
  axis = function() return random() < 0.9 and random(-4, 4) or one_of(numbers) end,
  bool = function() return random() < 0.5 end,
  axes = function() return random() < 0.5 and random(-3, 3) or { random(-3, 4), random(-3, 4) } end,
  ints = function()
    local list = {}
    for i = 1, random(0, 4) do list[i] = random() < 0.9 and random(-1, 6) or one_of(numbers) end
    return list
  end,
}

-- The example of an op with its sizes drawn anew, equal ones alike, and some options changed.
local function plausible(i)
  local example, map, inputs, options = examples[i], {}, {}, {}
  for k, mark in ipairs(example.inputs) do
    inputs[k] = mark
    if getmetatable(mark) == checks.marks then
      local s = {}
      for axis, n in ipairs(mark) do
        map[n] = map[n] or (random() < 0.6 and n or one_of(sizes))
        s[axis] = map[n]
      end
      local same = k > 1 and random() < 0.2 and inputs[k - 1]
      inputs[k] = same or tensor(s)
      if random() < 0.1 then inputs[k] = any() end
    end
  end
  for name, value in pairs(example.options) do options[name] = value end
  for _, name in ipairs(sorted_names(example.kinds)) do
    local generate = generators[example.kinds[name]]
    if random() < 0.3 and generate then options[name] = generate() end
  end
  for _, name in ipairs(sorted_names(example.choices)) do
    if random() < 0.5 then options[name] = one_of(example.choices[name]) end
  end
  if example.list then inputs = { inputs } end
  if next(options) then inputs[#inputs + 1] = options end
  return table.unpack(inputs)
end

local function whatever(i)
  local args = {}
  for k = 1, random(1, 4) do args[k] = random() < 0.8 and anything() or one_of(numbers) end
  if random() < 0.3 then args[#args + 1] = { [sorted_names(examples[i].kinds)[1] or "x"] = one_of(numbers) } end
  return table.unpack(args)
end

local run_steps

local actions = {
  function() keep(tensor(shape())) end,
  function() keep(one_of { core.zeros, core.ones }(table.unpack(shape()))) end,
  function() for _ = 1, 3 do local i = random(#rows) keep(rows[i].call(plausible(i))) end end,
  function() local i = random(#rows) keep(rows[i].call(plausible(i))) end,
  function() local i = random(#rows) keep(rows[i].call(whatever(i))) end,
  function() keep(any() + any()) keep(any() * 2) keep(-any()) end,
  -- methods
  function() keep(any():reshape(-1)) keep(any():detach()) keep(any():clone()) keep(any()[random(-2, 3)]) end,
  function() any():fill(one_of(numbers)) end,
  function() any():copy(any()) end,
  function() any()[random(-2, 3)] = random() < 0.5 and any() or one_of(numbers) end,
  function() any():set(1, random(-1, 2), random(-1, 2)) end,
  function() local t = any() return t:item() or t:totable() end,
  function() local t = any() return tostring(t), #t, t.shape, t.grad, t:finite(), t.alive end,
  function() any():requires_grad(random() < 0.7) end,
  function() any():zero_grad() keep(any().grad) end,
  -- tapes
  function() tapes[#tapes + 1] = random() < 0.8 and core.tape() or core.scope() end,
  function() tapes[#tapes] = nil end, -- dropped
  function() local t = table.remove(tapes, random(math.max(1, #tapes))) if t then t:close() end end,
  function() local t = tapes[random(math.max(1, #tapes))] if t then keep(t:keep(any())) end end,
  function()
    local t = tapes[#tapes]
    if t then t:backward(any():sum(), { retain = random() < 0.3 }) end
  end,
  function()
    local tape <close> = core.tape()
    local i = random(#rows)
    local out = rows[i].call(plausible(i))
    keep(out)
    for _ = 1, random(0, 3) do out = (out + any()) * any() end
    tape:backward(random() < 0.5 and out:sum() or (out * out):sum())
  end,
  function() core.no_grad(random() < 0.8 and run_steps or function() error "raised" end, random(3)) end,
  -- callbacks that raise
  function()
    local tape <close> = core.tape() -- luacheck: ignore 211
    run_steps(random(4))
    if random() < 0.5 then error "a callback that raises" end
  end,
  -- coroutines that wait, go on, are closed or dropped
  function()
    local co = coroutine.create(function()
      local outer = random() < 0.5 and core.tape() or nil -- luacheck: ignore 211
      local tape <close> = random() < 0.7 and core.tape() or nil -- luacheck: ignore 211
      run_steps(2)
      coroutine.yield()
      core.no_grad(function()
        run_steps(2)
        coroutine.yield()
      end)
      run_steps(2)
    end)
    coroutine.resume(co)
    waiting[random(4)] = co
  end,
  function() local co = waiting[random(4)] if co then coroutine.resume(co) end end,
  function()
    local i = random(4)
    if waiting[i] and random() < 0.5 then coroutine.close(waiting[i]) end
    waiting[i] = nil
  end,
  -- the collector, and finalizers
  function() collectgarbage("step", random(0, 200)) end,
  function() if random() < 0.1 then collectgarbage() end end,
  function()
    local tape = tapes[#tapes]
    setmetatable({}, { __gc = function()
      pcall(run_steps, 2)
      if tape and random() < 0.5 then pcall(tape.close, tape) end
    end })
  end,
  function()
    local meta = getmetatable(one_of { any(), core.rng(1), tapes[#tapes] or any() })
    local method = meta[one_of { "__gc", "__close", "__index", "__newindex", "__len", "__tostring", "__add", "__eq" }]
    if type(method) == "function" then method(anything(), anything(), anything()) end
  end,
  function()
    local name = one_of(sorted_names(core.methods))
    if name ~= "show" then keep(core.methods[name](anything(), anything(), one_of(numbers))) end
  end,
  function() core.release_memory() end,
  function() sv.threads(random(1, 3)) end,
  function()
    local p = any()
    local m, v = core.zeros(p.shape), random() < 0.9 and core.zeros(p.shape) or any()
    core.optim.adam({ { tensor = p, steps = 0, m = m, v = v } }, 1e-3, 0.9, 0.999, 1e-8, 0, false)
  end,
  function() core.optim.grad_norm { any(), any() } core.optim.scale_grads({ any() }, 0.5) end,
}

function run_steps(n)
  for _ = 1, n do
    local ok, why = pcall(one_of(actions))
    if not ok and type(why) ~= "string" then error("an error that is no string: " .. tostring(why), 0) end
  end
end

local function program(seed)
  math.randomseed(seed)
  pool, tapes, waiting = {}, {}, {}
  run_steps(120)
  pool, tapes, waiting = {}, {}, {}
  collectgarbage()
  collectgarbage()
  core.zeros(1) -- the safe point at which what was collected goes
  collectgarbage()
  core.zeros(1)
  if core.memory().live ~= 0 then error("memory stays: " .. core.memory().live .. " bytes", 0) end
end

local words = {}
for word in (os.getenv "SIMVAE_FUZZ_OPS" or table.concat(arg, " ")):gmatch "%S+" do
  words[#words + 1] = tonumber(word)
end
local first, most, seconds = words[1] or 1, words[2] or 100, words[3] or math.huge
local stop, failed, count = core.system.clock() + seconds, 0, 0
for seed = first, first + most - 1 do
  if core.system.clock() > stop then break end
  io.stderr:write("program ", seed, "\r") -- the last one is the one that crashed
  local ok, why = pcall(program, seed)
  count = count + 1
  if not ok then
    failed = failed + 1
    print(string.format("program %d: %s", seed, why))
  end
end
print(string.format("\n%d programs, %d failed", count, failed))
os.exit(failed == 0)
