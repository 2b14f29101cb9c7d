--- The section of a report in which parameters are moved by sliders: what decoder and simulator draw, for a number of
-- values that are computed before.
local core = require "simvae.core"
local drawing = require "simvae.report.drawing"
local interrupt = require "simvae.util.interrupt"
local page = require "simvae.report.page"
local parameter = require "simvae.simulator.parameter"
local picture = require "simvae.figures.support.picture"
local traversal = require "simvae.figures.support.traversal"

local FRAMES = 17
local MOST = 12 -- parameters

-- Runs as the page is read: a slider shows one of the frames.
local script = [[
document.querySelectorAll(".traversal").forEach(function (t) {
  var input = t.querySelector("input"), output = t.querySelector("output"), values = t.dataset.values.split("|");
  function show() {
    t.style.setProperty("--frame", input.value);
    output.textContent = values[input.value];
    t.querySelectorAll("svg").forEach(function (chart) {
      chart.querySelectorAll("g").forEach(function (g, i) { g.style.display = i == input.value ? "" : "none"; });
    });
  }
  input.addEventListener("input", show);
  show();
});
]]

-- All frames side by side, of which the page shows one.
local function strip(outputs, text, middle)
  local tiles = {}
  for i = 1, outputs.shape[1] do tiles[i] = picture.colours(core.select(outputs, 1, i)) end
  local all = picture.beside(tiles)
  return string.format('<div class="frame" role="img" aria-label="%s" style="--frames:%d;--frame-shown:%d;'
    .. 'aspect-ratio:%d/%d;background-image:url(%s)"></div>', page.escape(text), outputs.shape[1], middle,
    outputs.shape[4], outputs.shape[3], drawing.url(all))
end

local function frames_of_images(y, x, p, middle)
  return string.format('<div class="pair"><div><h4>Decoder</h4>%s</div>%s</div>',
    strip(y, "The decoder's output as " .. p.name .. " moves", middle), x
    and "<div><h4>Simulator</h4>" .. strip(x, "The simulator's output as " .. p.name .. " moves", middle) .. "</div>"
    or "")
end

-- One curve of the outputs.
local function frames_of_series(y, x, p, middle, one)
  y, x = core.slice(y, 2, one.first, one.last), x and core.slice(x, 2, one.first, one.last)
  local low, high = drawing.range(y, x)
  local groups = {}
  for i = 1, y.shape[1] do
    groups[i] = string.format('<g%s>%s%s</g>', i - 1 == middle and "" or ' style="display:none"',
      x and drawing.curve(core.select(x, 1, i), "simulator", low, high) or "",
      drawing.curve(core.select(y, 1, i), "decoder", low, high))
  end
  return drawing.chart(table.concat(groups), "Decoder and simulator as " .. p.name .. " moves", one.title)
end

local function frames_of_curves(y, x, p, middle, sim)
  local charts = {}
  for i, one in ipairs(drawing.series(sim)) do charts[i] = frames_of_series(y, x, p, middle, one) end
  return table.concat(charts) .. '<p class="legend"><span class="decoder">decoder</span>'
    .. (x and ' <span class="simulator">simulator</span>' or "") .. "</p>"
end

-- One slider.
local function block(model, z, k)
  local sim = model.simulator
  local p = sim.params[k]
  local scope <close> = core.scope()
  local shares = traversal.shares(p, FRAMES)
  local rows, values = traversal.moved(sim, z, k, shares), {}
  for i, u in ipairs(shares) do
    values[i] = page.number(parameter.from_unit(p, u), 3) .. parameter.unit_text(p)
  end
  local y = model:decode(rows)
  local x = core.zeros { #shares, table.unpack(sim.output) }
  local ok, failed = interrupt.pcall(sim.try, sim, rows, x)
  if not ok or next(failed) then x = nil end
  local middle = #shares // 2
  return string.format('<figure class="traversal" style="--frame:%d" data-values="%s"><label><b>%s</b> '
    .. '<output>%s</output><input type="range" min="0" max="%d" value="%d" aria-label="%s"></label>%s'
    .. "<figcaption>%s</figcaption></figure>", middle, page.escape(table.concat(values, "|")), page.escape(p.name),
    page.escape(values[middle + 1]), #shares - 1, middle, page.escape(p.name),
    (#sim.output == 3 and frames_of_images or frames_of_curves)(y, x, p, middle, sim), page.escape(p.doc or ""))
end

--- @tparam Model model
-- @treturn string HTML
-- @treturn string a script for the end of the page
return function(model)
  local sim = model.simulator
  local z, blocks = traversal.middle(sim), {}
  for k = 1, math.min(#sim.params, MOST) do blocks[k] = block(model, z, k) end
  local left = #sim.params - MOST
  return '<h2>Move a parameter</h2><p class="soft">The others stay in the middle of their range.'
    .. (left > 0 and string.format(" %d more parameters have no slider here.", left) or "") .. "</p>"
    .. '<div class="grid">' .. table.concat(blocks) .. "</div>", script
end
