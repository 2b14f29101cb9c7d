local helper = require "spec.helper"
local json = require "dkjson"

local folder = helper.temporary_folder()

local function reproduce(...)
  return helper.run(helper.lua_command("examples/reproduce.lua", "--only", "polygon", "--seeds", "2", "--paper-seeds",
    "0", "--steps", "2", "--width", "2", "--samples", "400", "--quiet", "--out", folder .. "/out", ...))
end

local function slurp(name)
  local file <close> = assert(io.open(name, "rb"))
  return file:read "a"
end

describe("the reproduction", function()
  it("trains, writes tables, figures and a report, and goes on where it stopped #long", function()
    local said, code = reproduce("--commit", folder .. "/results")
    assert.are.equal(0, code, said)
    local t = assert(json.decode(slurp(folder .. "/out/table.json")))
    local polygon = t.simulators.polygon
    assert.are.equal(2, #polygon.runs)
    for seed, run in ipairs(polygon.runs) do
      assert.are.equal(seed, run.seed)
      assert.are.equal(seed, run.numbers.seed)
      assert.are.same({ decoder = 2, encoder = 2 }, run.numbers.steps)
      assert.are.equal("polygon-default-" .. seed, run.out)
      assert.is_true(run.measures.seconds > 0)
    end
    local a, b = polygon.runs[1].measures.iou, polygon.runs[2].measures.iou
    assert.near((a + b) / 2, polygon.means.iou.mean, 1e-6)
    assert.near(math.abs(a - b) / math.sqrt(2), polygon.means.iou.spread, 1e-6)
    assert.is_false(polygon.goals[1].met)
    assert.is_true(polygon.means.truth.mean < 0.1)
    local text = slurp(folder .. "/out/table.md")
    assert.is_truthy(text:find("| polygon | 0.00 | ", 1, true))
    assert.is_truthy(text:find("polygon: IoU, refined ≥ 0.88: not reached", 1, true))
    assert.is_truthy(text:find("| polygon | the simulator's pairs | ", 1, true))
    local page = slurp(folder .. "/out/report.html")
    assert.is_nil(page:find 'src="[^d]')
    for _, figure in ipairs { "Figure 1", "Figure 2", "Figure 4" } do assert.is_truthy(page:find(figure, 1, true)) end
    assert.is_truthy(slurp(folder .. "/results/table.md"))
    assert.are.equal("\137PNG", slurp(folder .. "/results/figure1_polygon_samples.png"):sub(1, 4))

    said, code = reproduce()
    assert.are.equal(0, code, said)
    assert.is_nil(said:find("== polygon", 1, true)) -- nothing was run again
    assert.are.equal(polygon.runs[1].measures.seconds,
      json.decode(slurp(folder .. "/out/table.json")).simulators.polygon.runs[1].measures.seconds)
  end)

  it("says what it does not know, and where it cannot write", function()
    local said, code = helper.run(helper.lua_command("examples/reproduce.lua", "--only", "boxes"))
    assert.is_true(code ~= 0)
    assert.is_truthy(said:find("there is no experiment 'boxes'", 1, true))
    said, code = helper.run(helper.lua_command("examples/reproduce.lua", "--only", "box", "--out", "/dev/null/out"))
    assert.are.equal(1, code)
    assert.is_truthy(said:find("/dev/null", 1, true))
  end)
end)
