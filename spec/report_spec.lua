local core = require "simvae.core"
require "simvae.tensor"
local report = require "simvae.report"

local folder

setup(function()
  folder = os.tmpname()
  os.remove(folder)
  assert(os.execute("mkdir -p '" .. folder .. "'"))
end)

teardown(function() os.execute("rm -rf '" .. folder .. "'") end)

local function slurp(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function results(change)
  local m = core.tensor { { 0.8, 0.1 }, { 0.05, 0.7 } }
  local r = {
    mim = m, mig = 0.675, gaps = { w = 0.75, h = 0.6 }, truth = { mim = m, mig = 0.7 }, samples = 1234,
    rmse = { w = 0.5, h = 1.5 }, rmse_relative = { w = 0.01, h = 0.12 }, resimulation_r2 = 0.85, decoder_mse = 0.001,
    decoder_r2 = 0.99, coverage = { one = 0.3, two = 0.5, by = {} }, names = { "w", "h" }, notes = {},
    options = { samples = 1234, bins = 20, seed = 7 }, seconds = 3,
  }
  for k, v in pairs(change or {}) do r[k] = v end
  return r
end

local simulator = {
  name = "a <b> & 'c'", doc = "draws \"it\"", output = { 1, 8, 8 },
  params = { { name = "w", low = 0, high = 64, unit = "<px>", scale = "linear" }, { name = "h", low = 1, high = 10,
    unit = "", scale = "log" } },
}

describe("report", function()
  it("is one page with everything inside", function()
    require "simvae.io".save_png(folder .. "/p.png", core.zeros(3, 4, 4))
    local path = assert(report(folder, { results = results(), simulator = simulator,
      figures = { { path = folder .. "/p.png", caption = "A & B" }, { path = "p.png" },
        { path = "gone.png", caption = "?" } },
      numbers = { seed = 42, steps = { decoder = 10, encoder = 20 }, training_seconds = 100 } }))
    assert.are.equal(folder .. "/report.html", path)
    local page = slurp(path)
    assert.is_truthy(page:find('src="data:image/png;base64,iVBORw0KGgo', 1, true))
    assert.is_nil(page:find "<script")
    assert.is_nil(page:find 'src="[^d]')
    assert.is_nil(page:find 'href=')
    for _, text in ipairs { "0.675", "0.8500", "1234", ">42<", "10 decoder + 20 encoder", "1.7 min", "A &amp; B",
      "Not drawn: " } do
      assert.is_truthy(page:find(text, 1, true), text)
    end
    -- every opened element is closed
    for _, tag in ipairs { "div", "table", "tr", "td", "th", "figure", "p", "main", "span" } do
      local _, opened = page:gsub("<" .. tag .. "[ >]", "")
      local _, closed = page:gsub("</" .. tag .. ">", "")
      assert.are.equal(opened, closed, tag)
    end
  end)

  it("escapes what is not its own", function()
    assert(report(folder, { results = results { notes = { "<script>alert(1)</script>" } }, simulator = simulator }))
    local page = slurp(folder .. "/report.html")
    assert.is_truthy(page:find("a &lt;b&gt; &amp; &#39;c&#39;", 1, true))
    assert.is_truthy(page:find("&lt;px&gt;", 1, true))
    assert.is_truthy(page:find("&lt;script&gt;", 1, true))
    assert.is_nil(page:find("<script", 1, true))
  end)

  it("grades by the thresholds that it states", function()
    local function verdict(change, title)
      assert(report(folder, { results = results(change), simulator = simulator }))
      local page = slurp(folder .. "/report.html")
      local at = assert(page:find("<h3>" .. title, 1, true), title)
      return page:match('class="mark %w+">([%w ]+)<', at)
    end
    assert.are.equal("good", verdict({ mig = 0.6 }, "Mutual information gap"))
    assert.are.equal("fair", verdict({ mig = 0.5 }, "Mutual information gap"))
    assert.are.equal("poor", verdict({ mig = 0.4 }, "Mutual information gap"))
    assert.are.equal("no verdict", verdict({ mig = 0.4, truth = { mig = 0.01 } }, "Mutual information gap"))
    assert.are.equal("good", verdict({ resimulation_r2 = 0.95 }, "Re-simulation"))
    assert.are.equal("fair", verdict({}, "Re-simulation"))
    assert.are.equal("poor", verdict({ resimulation_r2 = -1 }, "Re-simulation"))
    assert.are.equal("poor", verdict({}, "Largest parameter error"))
    assert.are.equal("poor", verdict({}, "Predicted uncertainty"))
    assert.are.equal("good", verdict({ coverage = { one = 0.7, two = 0.95, by = {} } }, "Predicted uncertainty"))
  end)

  it("encodes pictures as coreutils does", function()
    local bytes = {}
    for i = 1, 256 do bytes[i] = string.char((i * 167) % 256) end
    for _, n in ipairs { 254, 255, 256 } do
      local name = folder .. "/bytes.bin"
      local file = assert(io.open(name, "wb"))
      file:write(table.concat(bytes, "", 1, n))
      file:close()
      local pipe = assert(io.popen("base64 -w0 '" .. name .. "'"))
      local expected = pipe:read "a"
      pipe:close()
      assert(report(folder, { results = results(), figures = { { path = name } } }))
      assert.is_truthy(slurp(folder .. "/report.html"):find("base64," .. expected .. '"', 1, true))
    end
  end)

  it("says where it cannot be written, and what it was not given", function()
    local ok, message = report(folder .. "/none", { results = results() })
    assert.is_nil(ok)
    assert.is_truthy(message:find("none", 1, true))
    assert.has_error(function() report(folder, {}) end, "report: option 'results' is missing")
    assert.has_error(function() report(folder, { results = {} }) end,
      "report: results takes what sv.evaluate returned; it has no mig")
  end)
end)
