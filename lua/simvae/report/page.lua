--- Self-contained HTML pages for wide and narrow screens, light and dark, and for paper; used by sv.report and by the
-- report of a reproduction.
local base64 = require "simvae.util.base64"
local core = require "simvae.core"
local html = require "simvae.util.html"
local percent = require "simvae.util.percent"

local page = {}

local style = [[
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6472; --line: #dfe3e8; --good: #0b7a4b;
  --fair: #8a6100; --poor: #b3261e; --page: #f6f7f9; --card: #fff; --warn: #fdecea; --one: #2563c9; --other: #c2410c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #a3acb9; --line: #333b47; --poor: #f28b82; --page: #12161c; --card: #1b2129;
    --warn: #3a1f1d; --one: #7db0ff; --other: #ff9d6b; --good: #2f9e6b; --fair: #a97c0a; }
  figure .picture img { background: #fff; border-radius: 6px; }
  .mark.poor { background: #b3261e; }
}
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; color: var(--ink);
  background: var(--page); }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 16px 0 4px; }
h2 { font-size: 1.25rem; margin: 40px 0 12px; }
p { margin: 8px 0; }
.soft { color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); gap: 14px; }
.card, figure, .scroll { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.card { padding: 14px 16px; }
.card h3 { font-size: .95rem; margin: 0; font-weight: 600; }
.card .value { font-size: 1.9rem; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card p { font-size: .9rem; margin: 6px 0 0; color: var(--soft); }
.mark { display: inline-block; padding: 0 8px; border-radius: 9px; font-size: .8rem; font-weight: 650; color: #fff;
  vertical-align: .3em; }
.good { background: var(--good); } .fair { background: var(--fair); } .poor { background: var(--poor); }
.none { background: #6b7280; }
figure { margin: 14px 0; padding: 12px; }
figure .picture { overflow-x: auto; }
figure img { display: block; max-width: none; height: auto; margin: 0 auto; }
figcaption { font-size: .92rem; color: var(--soft); margin-top: 8px; }
.scroll { overflow-x: auto; margin: 12px 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 12px; text-align: right; border-top: 1px solid var(--line); white-space: nowrap; }
thead th { border-top: 0; font-size: .85rem; color: var(--soft); font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
.pairs td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.pairs td:first-child { color: var(--soft); width: 14em; }
.mim { width: auto; } .mim td, .mim th { text-align: center; min-width: 3.6em; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 16px; }
.two h3 { font-size: 1rem; margin: 8px 0; }
.two > div { min-width: 0; }
ul { padding-left: 1.2em; }
.warning { background: var(--warn); border: 1px solid var(--poor); border-left: 6px solid var(--poor);
  color: var(--poor); border-radius: 6px; padding: 10px 14px; font-weight: 600; }
@media (max-width: 600px) {
  body { font-size: 15px; } main { padding: 12px 12px 48px; } h1 { font-size: 1.5rem; }
  th, td { padding: 6px 8px; } figure { padding: 8px; } .pairs td:first-child { width: 8em; }
}
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); gap: 14px; }
.grid figure { margin: 0; min-width: 0; }
.traversal label { display: block; } .traversal output { float: right; font-variant-numeric: tabular-nums; }
.traversal input { width: 100%; margin: 8px 0; accent-color: var(--one); }
.pair { display: flex; gap: 12px; } .pair > div { flex: 1; min-width: 0; }
h4 { font-size: .85rem; font-weight: 600; color: var(--soft); margin: 0 0 4px; }
.frame { width: 100%; border: 1px solid var(--line); border-radius: 4px; image-rendering: pixelated;
  background-size: calc(var(--frames) * 100%) 100%;
  background-position: calc(var(--frame, var(--frame-shown)) * 100% / max(1, var(--frames) - 1)) 0; }
.pixels { width: 100%; max-width: 160px; image-rendering: pixelated; border: 1px solid var(--line);
  border-radius: 4px; }
.posterior .pixels, .posterior .chart { display: block; margin: 0 auto 10px; }
.chart { width: 100%; height: 150px; border: 1px solid var(--line); border-radius: 4px; }
.posterior .chart { height: 90px; }
polyline { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
polyline.decoder { stroke: var(--one); } polyline.simulator { stroke: var(--other); stroke-dasharray: 5 3; }
.posterior polyline { stroke: var(--one); stroke-dasharray: none; }
.legend { font-size: .85rem; } .legend .decoder { color: var(--one); } .legend .simulator { color: var(--other); }
.row { margin: 8px 0; font-size: .9rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.row .soft { font-size: .85rem; }
.density { display: block; width: 100%; height: 34px; border-bottom: 1px solid var(--line); }
.density polygon { fill: var(--one); opacity: .45; }
.density line { stroke: var(--other); stroke-width: 2; vector-effect: non-scaling-stroke; }
@media print {
  body { background: #fff; font-size: 11pt; } main { max-width: none; padding: 0; }
  figure, .card, tr { break-inside: avoid; } h2 { break-after: avoid; } .traversal input { display: none; }
  .frame, .mark, .density polygon { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
]]

page.escape, page.percent = html.escape, percent

local function read(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local bytes = file:read "a"
  file:close()
  return bytes
end

--- A number with its significant digits.
function page.number(v, digits)
  if v == nil then return "–" end
  if type(v) ~= "number" then return page.escape(v) end
  if v ~= v then return "not a number" end
  if math.type(v) == "integer" or v == math.floor(v) and math.abs(v) < 1e9 then return string.format("%d", v) end
  return (string.format("%." .. (digits or 4) .. "g", v):gsub("e%-0?(%d+)$", "e-%1"))
end

--- Seconds in a suitable unit.
function page.duration(s)
  if not s then return nil end
  if s < 90 then return string.format("%.1f s", s) end
  if s < 5400 then return string.format("%.1f min", s / 60) end
  return string.format("%.2f h", s / 3600)
end

--- A table that scrolls within itself where it is too wide.
-- @tparam string class
-- @tparam ?{string,...} head HTML of the columns' names
-- @tparam {table,...} rows of cells: HTML, or { HTML, style = }
function page.table(class, head, rows)
  local out = { string.format('<div class="scroll"><table class="%s">', class) }
  if head then
    out[#out + 1] = "<thead><tr>"
    for _, h in ipairs(head) do out[#out + 1] = "<th>" .. h .. "</th>" end
    out[#out + 1] = "</tr></thead>"
  end
  out[#out + 1] = "<tbody>"
  for _, row in ipairs(rows) do
    out[#out + 1] = "<tr>"
    for _, cell in ipairs(row) do
      out[#out + 1] = type(cell) == "table" and string.format('<td style="%s">%s</td>', cell.style, cell[1])
        or "<td>" .. cell .. "</td>"
    end
    out[#out + 1] = "</tr>"
  end
  out[#out + 1] = "</tbody></table></div>"
  return table.concat(out)
end

local function picture_width(bytes)
  if bytes:sub(2, 4) ~= "PNG" then return nil end
  return (string.unpack(">I4", bytes, 17))
end

--- An embedded image with its caption.
-- @tparam string dir where relative paths start
-- @tparam table f path, caption; message: why there is none
function page.figure(dir, f)
  local path = f.path or f.file or f[1]
  local caption = f.caption or f[2] or ""
  local bytes, message
  if type(path) == "string" then
    bytes, message = read(path)
    if not bytes and path:sub(1, 1) ~= "/" then bytes, message = read(dir .. "/" .. path) end
  else
    message = f.message or "not drawn"
  end
  if not bytes then
    return string.format('<figure><p class="soft">Not drawn: %s</p><figcaption>%s</figcaption></figure>',
      page.escape(message), page.escape(caption))
  end
  -- Wide charts keep a readable size and scroll within their frame on a narrow screen.
  local width = picture_width(bytes) or 800
  return string.format('<figure><div class="picture"><img alt="%s" src="data:image/png;base64,%s" '
    .. 'style="width:%dpx;width:clamp(min(%dpx, %dpx), 100%%, %dpx)"></div><figcaption>%s</figcaption></figure>',
    page.escape(caption), base64(bytes), width, width, 620, width, page.escape(caption))
end

--- The grade of a value: good from the first threshold on, fair from the second.
function page.grade(value, good, fair)
  if value == nil then return "none" end
  if good >= fair then return value >= good and "good" or value >= fair and "fair" or "poor" end
  return value <= good and "good" or value <= fair and "fair" or "poor"
end

--- A grade as a coloured mark.
function page.mark(grade)
  return string.format('<span class="mark %s">%s</span>', grade, grade == "none" and "no verdict" or grade)
end

--- A number with its meaning and a grade.
function page.card(title, value, mark, text)
  return string.format('<div class="card"><h3>%s</h3><div class="value">%s %s</div>'
    .. "<p>%s</p></div>", page.escape(title), page.escape(value), page.mark(mark), page.escape(text))
end

--- Writes a page atomically.
-- @tparam string path
-- @tparam string title
-- @tparam string body HTML
-- @tparam ?string script
-- @treturn string|nil path, or nil and a message
function page.write(path, title, body, script)
  local ok, why = core.io.write(path, { '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    .. '<meta name="viewport" content="width=device-width, initial-scale=1"><title>', page.escape(title),
    "</title><style>", style, "</style></head><body><main>", body, "</main>",
    script and "<script>\n" .. script .. "</script>" or "", "</body></html>\n" })
  if not ok then return nil, path .. ": " .. why end
  return path
end

return page
