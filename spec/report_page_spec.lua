-- The report of a model as a browser shows it: Chromium, headless, at 390 and 1,400 px.
local assert = require "luassert"
local browser = require "spec.browser"
local helper = require "spec.helper"
local sv = require "simvae"

local folder

local function train(simulator, net)
  local model = sv.model { simulator = simulator, net = net, width = 8 }
  model:train { quiet = true, batch = 16, decoder = { steps = 20 }, encoder = { steps = 20 } }
  return model
end

local image = { name = "disc", output = { 1, 16, 16 },
  params = { { name = "x", low = 4, high = 12, unit = "px", doc = "the centre's place" },
    { name = "kind", levels = 2 }, { name = "angle", low = 0, high = 360, period = 360, unit = "deg" } },
  simulate = function(z, out) sv.draw(out):clear(1):circle(z.x, 8, 2 + z.kind, { fill = 0 }) end }
local vector = { name = "lines", output = { 10 }, series = { { name = "up", unit = "V" }, { name = "down <&>" } },
  params = { { name = "top", low = 1, high = 1000, scale = "log" } },
  simulate = function(z, out)
    for i = 1, 5 do
      out:set(z.top * i, i)
      out:set(1 - z.top * i, i + 5)
    end
  end }

local pages, models = {}, {}

setup(function()
  folder = helper.temporary_folder()
  for name, settings in pairs { image = image, vector = vector } do
    os.execute("mkdir -p " .. folder .. "/" .. name)
    local model = train(sv.simulator(settings), "mlp")
    models[name] = model
    local r = sv.evaluate(model, { samples = 400, calibration = 50, interval = 0 })
    pages[name] = assert(sv.report(folder .. "/" .. name, { results = r, model = model }))
  end
end)

describe("the report of a model", function()
  for _, name in ipairs { "image", "vector" } do
    it("fits narrow and wide screens, and names every picture, " .. name, function()
      for _, width in ipairs { 390, 1400 } do
        local said, why = browser(folder, pages[name], width, "return [Math.max(0, d.documentElement.scrollWidth - "
          .. width .. "), "
          .. [[ [...d.querySelectorAll("img")].filter(i => !i.alt || !i.naturalWidth).length,
            [...d.querySelectorAll("[role=img]")].filter(i => !i.getAttribute("aria-label")).length,
            d.querySelectorAll(".traversal").length, d.querySelectorAll(".posterior").length,
            d.querySelectorAll(".posterior .density").length] ]])
        if not said then return pending(why) end
        assert.equal(name == "image" and "[0,0,0,3,3,9]" or "[0,0,0,1,3,3]", said)
      end
    end)
  end

  it("moves what is shown with its sliders", function()
    local said, why = browser(folder, pages.image, 1000, [[
      const t = d.querySelector(".traversal"), input = t.querySelector("input"), frame = t.querySelector(".frame");
      const seen = () => [t.querySelector("output").textContent, w.getComputedStyle(frame).backgroundPosition];
      const list = [seen()];
      for (const v of [0, 16]) {
        input.value = v;
        input.dispatchEvent(new Event("input", { bubbles: true }));
        list.push(seen());
      }
      return list; ]])
    if not said then return pending(why) end
    assert.equal('[["8 px","50% 0px"],["4 px","0% 0px"],["12 px","100% 0px"]]', said)
    said = browser(folder, pages.vector, 1000, [[
      const t = d.querySelector(".traversal"), input = t.querySelector("input");
      input.value = 3;
      input.dispatchEvent(new Event("input", { bubbles: true }));
      return [...t.querySelectorAll("svg")].map(s => [...s.querySelectorAll("g")]
        .map(g => w.getComputedStyle(g).display).indexOf("inline")); ]])
    assert.equal("[3,3]", said)
  end)

  it("is dark where that is preferred, and has no other files", function()
    local text = helper.read(pages.image)
    assert.matches("prefers%-color%-scheme: dark", text)
    assert.matches("@media print", text)
    for url in text:gmatch "url%(([^)]*)%)" do assert.matches("^data:image/png;base64,", url) end
    for url in text:gmatch 'src="([^"]*)"' do assert.matches("^data:image/png;base64,", url) end
    assert.is_nil(text:find "href=")
  end)

  it("holds the decoder's own frames", function()
    local text = helper.read(pages.image)
    local bytes = assert(text:match "background%-image:url%(data:image/png;base64,([^)]*)%)")
    helper.write(folder .. "/frames.b64", bytes)
    assert(os.execute("base64 -d " .. folder .. "/frames.b64 > " .. folder .. "/frames.png"))
    local frames = assert(sv.io.load_png(folder .. "/frames.png"))
    assert.same({ 16, 17 * 16 }, { frames.shape[2], frames.shape[3] })
    local y = models.image:decode { { 12, 2, 180 } } -- x at its end, the others in the middle
    local last = frames:slice(3, 16 * 16 + 1, 17 * 16):slice(1, 1, 1):reshape(1, 1, 16, 16)
    assert.is_true(sv.max(sv.abs(last - sv.clamp(y, 0, 1))):item() < 1 / 255)
  end)
end)
