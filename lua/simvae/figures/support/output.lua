--- Output of figures: images through the PNG writer, charts through gnuplot. The data
-- of a chart is kept in NAME.dat beside NAME.png, for other programs, or where gnuplot
-- is missing.
local core = require "simvae.core"

local output = {}

local missing = "gnuplot is missing: apt-get install gnuplot-nox"
local max_seconds = 120 -- seconds

local function write(path, text)
  local ok, why = core.io.write(path, { text })
  if not ok then return nil, path .. ": " .. why end
  return path
end

--- Writes a picture.
-- @tparam string path
-- @tparam tensor t (3, H, W) or (1, H, W)
-- @treturn string|nil path, or nil and a message
function output.picture(path, t)
  local ok, message = require "simvae.io".save_png(path, t)
  if not ok then return nil, message end
  return path
end

--- The path of a chart's data.
function output.data_path(path)
  return (path:gsub("%.png$", "")) .. ".dat"
end

--- A string quoted for gnuplot.
function output.quote(s)
  return "'" .. s:gsub("'", "''"):gsub("\n", " ") .. "'"
end

-- Cached, as searching for a program takes a fork.
local found
local function has_gnuplot()
  if found == nil then found = os.execute "command -v gnuplot >/dev/null 2>&1" == true end
  return found
end

local head = [[
set encoding utf8
set terminal pngcairo noenhanced size %d,%d font 'DejaVu Sans,%g' background rgb 'white'
set output %s
data = %s
set border 3 linecolor rgb '#888888'
set tics nomirror textcolor rgb '#444444'
set grid linecolor rgb '#e4e4e4' linetype 1
set key textcolor rgb '#444444'
set style fill solid 0.85 noborder
]]

--- Draws a chart.
-- @tparam string path of the PNG
-- @tparam {string,...} data blocks of what the script plots from the file named by its variable `data`
-- @tparam {string,...} script gnuplot commands
-- @tparam integer width pixels
-- @tparam integer height pixels
-- @tparam[opt=10] number font size, points
-- @treturn string|nil path, or nil and a message
function output.chart(path, data, script, width, height, font)
  local data_path, message = write(output.data_path(path), table.concat(data, "\n\n\n") .. "\n")
  if not data_path then return nil, message end
  if not has_gnuplot() then return nil, missing end
  local text = string.format(head, width, height, font or 10, output.quote(path), output.quote(data_path))
    .. table.concat(script, "\n") .. "\nunset output\n"
  local child, why = core.process.spawn { "gnuplot" }
  if not child then return nil, why end
  local gnuplot <close> = child
  local ok
  ok, why = gnuplot:write(text, max_seconds)
  gnuplot:end_input()
  local said = gnuplot:read_all(max_seconds)
  local kind, code = gnuplot:wait(max_seconds)
  if not (ok and said and kind == "exit" and code == 0) then
    return nil, "gnuplot: " .. core.number.trim(gnuplot:errors() .. (said or why or "")):gsub("%s+", " ")
  end
  return path
end

--- Rows and columns for n panels, at most `most` side by side.
function output.layout(n, maximum)
  local columns = math.min(n, maximum)
  if n > maximum then -- fills the last row as far as possible
    local rows = math.ceil(n / maximum)
    columns = math.ceil(n / rows)
  end
  return math.ceil(n / columns), columns
end

--- A round step that divides a range into about n parts: 1, 2 or 5 times a power of ten.
function output.step(range, n)
  local rough = range / n
  local power = 10 ^ math.floor(math.log(rough, 10))
  for _, m in ipairs { 1, 2, 5 } do
    if m * power >= rough * 0.999 then return m * power end
  end
  return 10 * power
end

--- A name with its unit: width (px).
function output.with_unit(name, unit)
  return unit and unit ~= "" and string.format("%s (%s)", name, unit) or name
end

return output
