-- Numbers have a decimal point in any locale of the process.
local helper = require "spec.helper"

local folder = helper.temporary_folder()

-- A folder of locales with one whose decimal sign is a comma; nil where the system cannot make it.
local function german()
  local made = os.execute("localedef --no-archive -i de_DE -f UTF-8 " .. folder .. "/de_DE.UTF-8 > /dev/null 2>&1")
  local file = io.open(folder .. "/de_DE.UTF-8/LC_NUMERIC")
  if file then file:close() end
  return (made or file) and folder
end

local script = [[
local set = 'assert(os.setlocale "de_DE.UTF-8")'
if arg[1] == "before" then load(set)() assert(string.format("%.1f", 0.5) == "0,5") end
local sv = require "simvae"
if arg[1] == "after" then load(set)() end
local folder = arg[2]

assert(os.setlocale() == "de_DE.UTF-8" or os.setlocale():find "NUMERIC=de_DE") -- the process's stays as it was
local t = sv.tensor { 0.5, 1e-3 }
assert(tostring(t):find("0.5", 1, true) and not tostring(t):find "0,5", tostring(t))
assert(not sv.help "conv2d" or true)

local json = require "simvae.io.json"
assert(json.encode { 0.5 } == "[0.5]" and json.decode("[0.25]")[1] == 0.25)

local echo = sv.command { name = "echo", cmd = { "cat" }, output = { 2 },
  params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 0, high = 1 } } }
local x = echo:run { { 0.25, 0.125 } }
assert(x:get(1, 1) == 0.25 and x:get(1, 2) == 0.125)
assert(tostring(echo):find("a 0 to 1", 1, true))
assert(select(2, pcall(echo.run, echo, { { 0.25, 0 / 0 } })):find("a = 0.25", 1, true))
echo.close()

assert(sv.io.save_npz(folder .. "/a.npz", { a = t }))
assert(sv.io.load_npz(folder .. "/a.npz").a:get(1) == 0.5)
local line = sv.simulator { name = "line", params = { { name = "k", low = 0.25, high = 1.5 } }, output = { 4 },
  simulate = function(z) return { z[1], 2 * z[1], 3 * z[1], 0.5 } end }
local model = sv.model { simulator = line, net = "mlp", width = 8, seed = 1 }
model:train { batch = 16, out = folder .. "/run", quiet = true, decoder = { steps = 4, lr = 0.001 },
  encoder = { steps = 4, lr = 0.001 } }
assert(model:save(folder .. "/model.safetensors"))
local again = assert(sv.load(folder .. "/model.safetensors", line))
assert(again.simulator.params[1].low == 0.25)
for l in io.lines(folder .. "/run/log.csv") do
  local _, commas = l:gsub(",", "")
  columns = columns or commas
  assert(commas == columns, l)
end
print "read"
]]

describe("a locale with a decimal comma", function()
  for _, when in ipairs { "before", "after" } do
    it("changes nothing that is written or read when it is set " .. when .. " the library is loaded", function()
      if not german() then return pending "no locale de_DE (localedef)" end
      local path = folder .. "/script.lua"
      local file <close> = assert(io.open(path, "w"))
      file:write(script)
      file:close()
      local place = helper.temporary_folder()
      local out = helper.run("LOCPATH=" .. folder .. " " .. helper.lua_command(path, when, place) .. " 2>&1")
      assert.matches("read\n$", out)
    end)
  end
end)
