local helper = require "spec.helper"

local metric = [=[
--- Median absolute error of the first parameter.
local function median(z, v)
  local list = {}
  for i = 1, z.shape[1] do list[i] = math.abs(z:get(i, 1) - v:get(i, 1)) end
  table.sort(list)
  return list[(#list + 1) // 2]
end
return { compute = median, reported = {
  order = 35,
  measure = function(_, _, r) r.median = median(r.mean, r.z) end,
  numbers = function(r) return { median = r.median } end,
  cards = function(r, add)
    add("Median error", string.format("%.2f", r.median), "good", "Half of the errors are below.")
  end,
  line = function(r) return string.format("median %.2f", r.median) end,
} }
]=]

local figure = [=[
--- A black picture.
local function black(path) return require "simvae.io".save_png(path, require "simvae.core".zeros(1, 4, 4)) and path end
return { draw = black, reported = { order = 95, figures = function(folder)
  return { { path = black(folder .. "/black.png"), caption = "All is black." } }
end } }
]=]

local script = [=[
local sv = require "simvae"
local sim = sv.simulator {
  name = "plain", params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 0, high = 1 } }, output = { 4 },
  simulate = function(z, out) out[1], out[2] = z.a, z.b end,
}
local model = sv.model { simulator = sim, width = 4 }
function model:encode(x) return sv.slice(x, 2, 1, 2) + 0.25, sv.ones(x.shape[1], 2) end
local out = arg[1]
local r = sv.evaluate(model, { samples = 500, chance = 0, interval = 0 })
print(sv.experiment and require "simvae.cli.experiment".line(model, r))
print("median in numbers", require "simvae.cli.experiment".numbers(model, r).median)
print("by name", sv.metrics.median(r.mean, r.z))
local figures = require "simvae.cli.experiment".figures(model, r, out)
assert(sv.report(out, { model = model, results = r, figures = figures }))
]=]

describe("a file that is added", function()
  it("to the metrics or the figures is measured, printed, reported and drawn", function()
    local folder = helper.temporary_folder()
    os.execute(string.format("cp -r %s/share %s/lib %s/ && mkdir %s/run", helper.quote(helper.build),
      helper.quote(helper.build), folder, folder))
    local function write(path, text) helper.write(folder .. "/" .. path, text) end
    write("share/lua/5.4/simvae/metrics/median.lua", metric)
    write("share/lua/5.4/simvae/figures/black.lua", figure)
    write("script.lua", script)
    local command = helper.lua_command(folder .. "/script.lua", folder .. "/run")
      :gsub("LUA_PATH=%S+", string.format("LUA_PATH='%s/share/lua/5.4/?.lua;%s/share/lua/5.4/?/init.lua;;'", folder,
        folder))
    local said, code = helper.run(command)
    assert.are.equal(0, code, said)
    assert.matches("median 0.25", said, 1, true)
    assert.matches("median in numbers%s+0.25", said)
    assert.matches("by name%s+0.25", said)
    local page = helper.read(folder .. "/run/report.html")
    assert.matches("Median error", page, 1, true)
    assert.matches("All is black.", page, 1, true)
  end)

  it("is asked for by its name, and a name without a file is an error with the nearest one", function()
    local sv = require "simvae"
    helper.raises("sv.metrics.orbit_min: there is no such metric; did you mean 'orbit_mim'", function()
      return sv.metrics.orbit_min
    end)
    helper.raises("sv.figures.grids: there is no such figure; did you mean 'grid'", function()
      return sv.figures.grids
    end)
  end)
end)
