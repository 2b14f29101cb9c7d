--- Exported pages in Chromium: their numbers are the model's, sliders and pointers change them, nothing is requested.
local core = require "simvae.core"
local browser = require "spec.browser"
local every_net = require "spec.every_net"
local helper = require "spec.helper"
local json = require "simvae.io.json"
local kernels = require "simvae.export.support.web.kernels"
local page_engine = require "spec.page_engine"
local sv = require "simvae"

local TOLERANCE = 1e-3
local folder = helper.temporary_folder()

local function trained(t, steps)
  local model = sv.model(t)
  model:train { decoder = { steps = steps }, encoder = { steps = steps }, batch = 8, quiet = true }
  return model
end

local function builtin(name, net, posterior, width)
  return { simulator = require("simvae.simulators." .. name), net = net, posterior = posterior, width = width, seed = 1,
    components = posterior == "mixture" and 2 or nil, transforms = posterior == "flow" and 2 or nil }
end

local pulse = sv.simulator {
  name = "pulse", output = { 12 }, doc = "A pulse <&> its phase.",
  params = { { name = "t", low = 0.2, high = 0.8, unit = "s" },
    { name = "w", low = 0.02, high = 0.2, scale = "log", unit = "s" }, { name = "kind", levels = 3 },
    { name = "phase", low = 0, high = 360, period = 360 }, { name = "n", low = 0, high = 4, grid = 5 },
    { name = "free", prior = { "normal", 2, 0.5 } } },
  noise = { low = 0.01, high = 0.1 },
  series = { { name = "left", unit = "V" }, { name = "right" },
    axis = { name = "time", unit = "s", low = 0, high = 1 } },
  simulate = function(z, out)
    local base = math.cos(math.rad(z.phase)) * z.free
    for i = 1, 12 do out:set(math.exp(-0.5 * ((i / 12 - z.t) / z.w) ^ 2) * z.kind + base, i) end
  end,
}

local of_pulse = { simulator = pulse, net = "mlp", width = 8, posterior = "flow", transforms = 2, seed = 1 }

-- Writes a page.
local function written(name, model, o)
  o = o or {}
  o.overwrite = true
  local path, about = assert(sv.export.web(model, folder .. "/" .. name .. ".html", o))
  return path, about
end

-- What a script says of a page, when its model is there. Frames are timers, as Chromium's virtual time passes without
-- frames where the machine is busy.
local function said(name, width, script)
  local text, why = browser(folder, name .. ".html", width, "const { simvae } = w; await simvae.ready; "
    .. "w.requestAnimationFrame = (f) => w.setTimeout(f, 16); w.cancelAnimationFrame = w.clearTimeout;"
    .. "const { state } = simvae, wait = async () => { do await new Promise((go) => w.setTimeout(go, 50));"
    .. "while (state.busy()); };" .. script)
  if not text then return nil, why end
  return assert(json.decode((text:gsub("&gt;", ">"):gsub("&lt;", "<"):gsub("&amp;", "&"))))
end

local function rows(t) return json.encode(core.reshape(t, t.shape[1], -1):totable()) end

-- Numbers of a page against a graph's; parameters as shares of their range.
local function check_near(wanted, got, sim, what)
  local list = core.reshape(wanted, -1):totable()
  assert.equal(#list, #got)
  for i, v in ipairs(list) do
    local p = sim and sim.params[(i - 1) % #sim.params + 1]
    local width = p and (p.axis or p).high - (p.axis or p).low or 1
    assert(math.abs(v - got[i]) <= TOLERANCE * width, string.format("%s: number %d is %g, not %g", what, i, got[i], v))
  end
end

-- Runs every graph of a page on inputs, and compares the outputs. run: `said` by default.
local function compare(name, model, run)
  written(name, model)
  local sim, graphs, inputs, arguments = model.simulator, {}, {}, {}
  for i, g in ipairs(sv.export.graph(model, { what = { "decode", "encode", "sample" } })) do
    local list = {}
    graphs[i], inputs[i] = g, {}
    for k, input in ipairs(g.inputs) do
      inputs[i][k] = input.make({ batch = 3, draws = 4 }, 7)
      list[k] = string.format("%s: %s", input.name, rows(inputs[i][k]))
    end
    arguments[i] = string.format("%s: { %s }", g.name, table.concat(list, ", "))
  end
  local result, why = (run or said)(name, 1000, string.format([[
    const given = { %s }, found = {};
    for (const name in given) {
      found[name] = {};
      for (let i = 0; i < 3; i++) {
        const one = {};
        for (const key in given[name]) one[key] = given[name][key][i];
        const out = simvae.run(name, one, 4);
        for (const key in out) found[name][key] = (found[name][key] ?? []).concat(Array.from(out[key]));
      }
    }
    return found;
  ]], table.concat(arguments, ", ")))
  if not result then return pending(why) end
  for i, g in ipairs(graphs) do
    for k, wanted in ipairs(g:run(inputs[i])) do
      local scale, own = g.name == "decode" and math.max(1, core.max(core.abs(wanted)):item()) or 1, {}
      for n, v in ipairs(result[g.name][g.outputs[k].name]) do own[n] = v / scale end
      check_near(wanted / scale, own, g.name ~= "decode" and sim, name .. " " .. g.name)
    end
  end
end

describe("sv.export.web", function()
  setup(function() sv.threads(1) end)

  it("embeds kernels of this source", function()
    local bytes, current = kernels.bytes()
    assert.equal("\0asm", bytes:sub(1, 4))
    assert(current, "make web-kernels")
  end)

  it("computes what the model gives", function()
    compare("ring", trained(builtin("box", "dcgan", "flow", 4), 3))
    compare("rlc", trained({ simulator = require "simvae.simulators.rlc" { engine = "analytic" }, net = "mlp",
      width = 8, posterior = "mixture", components = 2, seed = 1 }, 3))
    compare("sprites", trained(builtin("dsprites", "conv", "flow", 4), 3))
    compare("pulse", trained(of_pulse, 3):recalibrate { simulations = 100 })
  end)

  it("computes what the model gives, of every net", function()
    local function run(name, _, script)
      local text, why = page_engine(folder, folder .. "/" .. name .. ".html", script)
      if not text then return nil, why end
      return assert(json.decode(text))
    end
    every_net.each(function(name, options)
      options.posterior, options.components = "mixture", 2
      compare("net_" .. name, trained(options, 3), run)
    end)
  end)

  it("has the box at width 32 in less than 4 MB", function()
    local model = sv.model(builtin("box", "dcgan", nil, 32))
    local path, about = written("box", model)
    assert.equal(#helper.read(path), about.bytes)
    assert(about.bytes < 4e6, about.bytes)
    local z = model.simulator:sample(2, sv.rng(3))
    local result, why = said("box", 1400, string.format([[
      const z = %s, input = d.querySelector("input[type=range]"), before = Array.from(state.output);
      state.parameters.forEach((one, k) => one.set(z[0][k]));
      input.value = 1000 * z[1][0] / 64;
      input.dispatchEvent(new w.Event("input"));
      await wait();
      const { width, height } = d.querySelector("#decoder-view canvas");
      const context = d.querySelector("#decoder-view canvas").getContext("2d");
      const pixels = context.getImageData(0, 0, width, height).data;
      return { z: state.z, output: Array.from(state.output), changed: before.some((v, i) => v !== state.output[i]),
        pixels: Array.from(pixels), label: d.querySelector("output").textContent };
    ]], rows(z)))
    if not result then return pending(why) end
    assert(result.changed)
    local moved = model:decode(core.tensor { result.z })
    check_near(moved, result.output, nil, "the decoder's output")
    local list = core.reshape(moved, 3, 4096):totable()
    for i = 1, 4096 do
      for c = 1, 3 do assert(math.abs(result.pixels[4 * (i - 1) + c] / 255 - list[c][i]) < 0.5 / 255 + TOLERANCE) end
    end
    assert.near(z:get(2, 1), tonumber(result.label:match "^(%S+) px$"), 0.05)
  end)

  it("encodes what is drawn, and shows draws of the posterior", function()
    local model = trained(builtin("box", "dcgan", "flow", 4), 3)
    written("drawn", model)
    local result, why = said("drawn", 1000, [[
      const canvas = d.querySelector("#observation-view canvas"), box = canvas.getBoundingClientRect();
      d.querySelector("#tools select").value = "rectangle";
      d.querySelector("#tools input[type=color]").value = "#2040f0";
      d.querySelector("#clear").click();
      const send = (type, x, y) => canvas.dispatchEvent(new w.PointerEvent(type, { clientX: box.left + x * box.width,
        clientY: box.top + y * box.height, bubbles: true }));
      send("pointerdown", 0.25, 0.25);
      send("pointermove", 0.5, 0.5);
      send("pointermove", 0.75, 0.5);
      send("pointerup", 0.75, 0.5);
      await wait();
      return { x: Array.from(state.observed), mean: Array.from(state.mean), std: Array.from(state.std), z: state.z,
        ticks: d.querySelector(".ticks").getAttribute("d").length, status: d.getElementById("status").textContent,
        shown: d.querySelector("#posterior-view canvas") !== null, problem: d.getElementById("problem").textContent };
    ]])
    if not result then return pending(why) end
    local x = core.reshape(core.tensor(result.x), 1, 3, 64, 64)
    assert.are_not.equal(x:get(1, 1, 20, 20), x:get(1, 1, 40, 20)) -- inside and below the rectangle
    local g = sv.export.graph(model, { what = "encode" })[1]
    local wanted = g:run { x }
    check_near(wanted[1], result.mean, model.simulator, "mean")
    check_near(wanted[2], result.std, model.simulator, "std")
    check_near(wanted[1], result.z, model.simulator, "sliders")
    assert(result.ticks > 64 and result.shown)
    assert.matches("^Inferred: w ", result.status)
    assert.equal("", result.problem)
  end)

  it("takes keys on the drawing area and dropped files, of a polygon with a gaussian posterior", function()
    local model = trained(builtin("polygon", "conv", "gaussian", 4), 3)
    written("polygon", model)
    local u = sv.rng(5):uniform(0, 1, { 1, 3, 8 })
    local result, why = said("polygon", 390, string.format([==[
      const view = d.getElementById("observation-view"), canvas = view.querySelector("canvas"), found = {};
      const { width, height } = canvas, at = (x, y) => state.observed[y * width + x];
      const press = (key, times = 1, shiftKey = false) => {
        const event = () => new w.KeyboardEvent("keydown", { key, shiftKey, bubbles: true });
        for (let i = 0; i < times; i++) canvas.dispatchEvent(event());
      };
      const [size, shade] = d.querySelectorAll("#tools input[type=range]"), tool = d.querySelector("#tools select");
      d.getElementById("clear").click();
      await wait();
      size.value = 3; shade.value = 40; tool.value = "brush";
      press("ArrowLeft", 2, true);
      press(" ");
      await wait();
      found.brushed = [at(width / 2 - 16, height / 2), at(width / 2, height / 2)];
      shade.value = 255; tool.value = "rectangle";
      press("ArrowUp", 1, true);
      press("Enter");
      press("ArrowRight", 20);
      press("ArrowDown", 3, true);
      found.cross = [view.querySelector(".cross").style.left, view.querySelector(".cross").style.top];
      press(" ");
      await wait();
      found.filled = [[-15, -7], [3, 15], [-17, 0], [5, 0], [0, -9], [0, 17]].map(([x, y]) =>
        at(width / 2 + x, height / 2 + y));
      Object.assign(found, { x: Array.from(state.observed), mean: Array.from(state.mean), std: Array.from(state.std),
        z: Array.from(simvae.sample(state.observed, %s)), scrolled: w.scrollY });

      const picture = d.createElement("canvas"), context = picture.getContext("2d");
      [picture.width, picture.height] = [2 * width, 2 * height];
      context.fillStyle = "#fff"; context.fillRect(0, 0, width, 2 * height);
      context.fillStyle = "#000"; context.fillRect(width, 0, width, 2 * height);
      const drop = async (file) => {
        const dataTransfer = new w.DataTransfer();
        dataTransfer.items.add(file);
        const event = new w.DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
        d.getElementById("observation").dispatchEvent(event);
        // messages, unlike timers, let no virtual time pass while another thread decodes
        const before = state.observed, problem = d.getElementById("problem"), channel = new w.MessageChannel();
        for (let i = 0; i < 1e6 && state.observed === before && !state.busy() && problem.textContent === ""; i++) {
          await new Promise((go) => {
            channel.port1.onmessage = go;
            channel.port2.postMessage(0);
          });
        }
        await wait();
        return problem.textContent;
      };
      const blob = await new Promise((go) => picture.toBlob(go, "image/png"));
      found.said = [await drop(new w.File([blob], "half.png", { type: "image/png" }))];
      found.dropped = [at(0, 0), at(width / 2 - 2, height - 1), at(width / 2 + 1, 0), at(width - 1, height - 1)];
      found.said.push(await drop(new w.File(["no picture"], "note.txt", { type: "text/plain" })));
      return found;
    ]==], json.encode(core.reshape(u, -1):totable())))
    if not result then return pending(why) end
    assert.near(40 / 255, result.brushed[1], 1e-3)
    assert(math.abs(result.brushed[2] - 40 / 255) > 0.1, result.brushed[2])
    assert.same({ "56.25%", "75%" }, result.cross)
    for i, v in ipairs(result.filled) do assert.equal(i <= 2, v > 0.99) end -- two corners within, four places outside
    local x = core.reshape(core.tensor(result.x), 1, table.unpack(model.simulator.output))
    local encode, sample = table.unpack(sv.export.graph(model, { what = { "encode", "sample" } }))
    local wanted = encode:run { x }
    check_near(wanted[1], result.mean, model.simulator, "mean")
    check_near(wanted[2], result.std, model.simulator, "std")
    check_near(sample:run({ x, u })[1], result.z, model.simulator, "draws")
    assert.equal(0, result.scrolled)
    assert.same({ 1, 1, 0, 0 }, result.dropped)
    assert.same({ "", "note.txt is no image that this browser can read." }, result.said)
  end)

  it("takes numbers, classes, circles and levels of noise", function()
    local model = trained(of_pulse, 3)
    local path = written("controls", model)
    assert(helper.read(path):find("A pulse &lt;&amp;&gt; its phase.", 1, true))
    local result, why = said("controls", 390, [[
      const area = d.querySelector("textarea"), circle = d.getElementById("p3"), found = {};
      area.value = "1 2 3"; area.dispatchEvent(new w.Event("change"));
      await wait();
      found.few = area.getAttribute("aria-invalid") + ": " + d.getElementById("problem").textContent;
      area.value = "1, 2, 3, 4, 5, 6, -1e-1, .5, 9; 10\n11 12"; area.dispatchEvent(new w.Event("change"));
      await wait();
      found.x = Array.from(state.observed);
      found.mean = Array.from(state.mean);
      state.parameters[3].set(359);
      circle.dispatchEvent(new w.KeyboardEvent("keydown", { key: "ArrowRight" }));
      found.phase = state.parameters[3].value;
      d.querySelectorAll(".choices input")[1].click();
      found.kind = state.parameters[2].value;
      d.getElementById("p4").value = 3; d.getElementById("p4").dispatchEvent(new w.Event("input"));
      found.n = state.parameters[4].value;
      found.unnamed = [...d.querySelectorAll("input, select, textarea, canvas, svg.chart, button")].filter((e) =>
        !e.labels?.length && !["aria-label", "aria-labelledby"].some((name) => e.getAttribute(name))
        && !e.textContent.trim()).length;
      return found;
    ]])
    if not result then return pending(why) end
    assert.equal("true: An observation has 12 numbers; this has 3.", result.few)
    assert.same({ 1, 2, 3, 4, 5, 6 }, table.move(result.x, 1, 6, 1, {}))
    local g = sv.export.graph(model, { what = "encode" })[1]
    check_near(g:run { core.tensor { result.x }, core.tensor { 0.01 } }[1], result.mean, pulse, "mean")
    assert.near(2.6, result.phase, 1e-3)
    assert.equal(2, result.kind)
    assert.equal(3, result.n)
    assert.equal(0, result.unnamed)
  end)

  it("fits 390 and 1,400 px, and asks nothing of the network", function()
    written("page", trained(builtin("box", "dcgan", "flow", 4), 3))
    written("curves", trained(of_pulse, 3))
    for _, name in ipairs { "page", "curves" } do
      local result, why = said(name, 390, [[
        const found = { over: [] };
        for (const width of [390, 800, 1100, 1400]) {
          w.frameElement.style.width = width + "px";
          state.observe(state.output);
          await wait();
          found.over.push(Math.max(0, d.documentElement.scrollWidth - d.documentElement.clientWidth));
        }
        found.requests = w.performance.getEntriesByType("resource").length;
        found.failed = !d.getElementById("failure").hidden;
        return found;
      ]])
      if not result then return pending(why) end
      assert.same({ over = { 0, 0, 0, 0 }, requests = 0, failed = false }, result)
    end
    local text = helper.read(folder .. "/page.html")
    assert.equal(nil, text:find "src=")
    assert.equal(nil, text:find "href=")
    assert(text:find("default-src 'none'", 1, true))
  end)

  it("refuses what it cannot do, and keeps files that exist", function()
    local model = sv.model(builtin("box", "dcgan", "flow", 2))
    local function refused(expected, ...)
      local ok, why = pcall(sv.export.web, ...)
      assert(not ok and why:find(expected, 1, true), why)
    end
    refused("a page shows no log densities", model, folder .. "/a.html", { what = "log_prob" })
    refused("did you mean 'decode'", model, folder .. "/a.html", { what = "decoed" })
    refused("unknown option 'titel'", model, folder .. "/a.html", { titel = "box" })
    refused("takes a model", 3, folder .. "/a.html")
    local ok, why = sv.export.web(model, folder .. "/none/a.html")
    assert(not ok and why:find("none/a.html", 1, true))
    assert(sv.export.web(model, folder .. "/a.html", { what = "decode", title = "A <box>" }))
    local text = helper.read(folder .. "/a.html")
    assert(text:find("<h1>A &lt;box&gt;</h1>", 1, true))
    ok, why = sv.export.web(model, folder .. "/a.html", { what = "decode" })
    assert(not ok and why:find("exists already; overwrite = true", 1, true))
    assert.equal(text, helper.read(folder .. "/a.html"))
  end)
end)
