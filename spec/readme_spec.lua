-- The README's scripts run as they stand (with fewer steps).
local helper = require "spec.helper"

local function blocks()
  local file = assert(io.open("README.md"))
  local text = file:read "a"
  file:close()
  local list = {}
  for block in text:gmatch "```lua\n(.-)```" do list[#list + 1] = block end
  return list
end

local function block_with(what)
  for _, b in ipairs(blocks()) do
    if b:find(what, 1, true) then return b end
  end
  error("README has no block with " .. what)
end

-- Runs a block and returns what it printed.
local function run(code)
  local printed = {}
  local env = setmetatable({ print = function(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    printed[#printed + 1] = table.concat(parts, "\t", 1, parts.n)
  end }, { __index = _G })
  assert(load(code, "=README.md", "t", env))()
  return table.concat(printed, "\n")
end

-- What its scripts expect to find beside them.
local function workplace()
  local sv = require "simvae"
  local folder = helper.temporary_folder()
  assert(sv.io.save_npy(folder .. "/z.npy", sv.rng(1):uniform { 20, 2 }))
  assert(sv.io.save_npy(folder .. "/x.npy", sv.rng(2):uniform { 20, 8 }))
  local box = require "simvae.simulators.box"
  local _, x = box:simulate_batch(1, sv.rng(3))
  assert(sv.io.save_png(folder .. "/picture.png", x[1]))
  local model = sv.model { simulator = box, net = "dcgan", width = 4, seed = 1 }
  model:train { batch = 4, out = folder .. "/runs/box", quiet = true, decoder = { steps = 2 }, encoder = { steps = 2 } }
  assert(model:save(folder .. "/runs/box/model.safetensors"))
  assert(os.execute("ln -s \"$PWD/examples\" " .. folder .. "/examples"))
  return folder
end

describe("the README", function()
  it("has scripts that run alone #long", function()
    local folder = workplace()
    for i, code in ipairs(blocks()) do
      local runs = (helper.have_ngspice() or not code:find "sv.spice") and (helper.python() or not code:find "python3")
      code = code:gsub("steps = 1000", "steps = 5"):gsub("samples = 2000", "samples = 500")
      local file <close> = assert(io.open(folder .. "/block" .. i .. ".lua", "w"))
      file:write(code)
      file:close()
      if runs then
        assert(os.execute(helper.lua_command_in(folder, "block" .. i .. ".lua") .. " > out 2>&1"),
          "block " .. i .. ": " .. io.open(folder .. "/out"):read "a")
      end
    end
  end)

  it("has scripts that stop where a file is missing", function()
    local folder = helper.temporary_folder()
    for name, words in pairs { ["sv.load"] = "model.safetensors", ["sv.dataset"] = "z.npy" } do
      local file <close> = assert(io.open(folder .. "/block.lua", "w"))
      file:write(block_with(name))
      file:close()
      local pipe <close> = assert(io.popen(helper.lua_command_in(folder, "block.lua") .. " 2>&1"))
      assert.matches(words .. ": No such file", pipe:read "a", 1, true)
    end
  end)

  it("shows a simulator of one's own that trains and evaluates", function()
    local code = block_with "local ring"
    local lines = select(2, code:gsub("\n[^\n]", ""))
    assert.is_true(lines <= 25)
    code = code:gsub("steps = 1000", "steps = 15"):gsub("samples = 2000", "samples = 500")
      :gsub('"runs/ring"', string.format("%q, quiet = true", helper.temporary_folder() .. "/ring"))
    local printed = run(code)
    assert.matches("MIG\t%d%.%d", printed)
    assert.matches("%(5, 3%)", printed)
  end)

  it("shows a network that learns x squared plus y squared", function()
    local printed = run(block_with "local net")
    assert.near(0.25, tonumber(printed:match "[%d.]+"), 0.05)
  end)

  it("shows a circuit", function()
    if not helper.have_ngspice() then return pending "no libngspice" end
    local code = block_with "sv.spice"
    local printed = run(code
      .. "print(filter:run(sv.tensor { { 1000, 1e-6 } }):get(1, 31))")
    -- -10 log10(1 + (2 pi f R C)^2) at 100 kHz
    assert.near(-10 * math.log(1 + (2 * math.pi * 1e5 * 1e-3) ^ 2, 10), tonumber(printed), 0.01)
  end)
end)
