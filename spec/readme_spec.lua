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

describe("the README", function()
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
    local printed = run("local sv = require 'simvae'\n" .. block_with "local net")
    assert.near(0.25, tonumber(printed:match "[%d.]+"), 0.05)
  end)

  it("shows a circuit", function()
    if not helper.have_ngspice() then return pending "no libngspice" end
    local code = block_with("sv.spice"):match "^(.-)%-%- a program"
    local printed = run("local sv = require 'simvae'\n" .. code
      .. "print(filter:run(sv.tensor { { 1000, 1e-6 } }):get(1, 31))")
    -- -10 log10(1 + (2 pi f R C)^2) at 100 kHz
    assert.near(-10 * math.log(1 + (2 * math.pi * 1e5 * 1e-3) ^ 2, 10), tonumber(printed), 0.01)
  end)
end)
