--- A folder of PNGs with a CSV file: its column "file" names the picture, the others are parameters.
local cells = require "simvae.simulator.dataset.cells"
local check = require "simvae.util.check"
local core = require "simvae.core"
local csv = require "simvae.io.csv"
local drop = require "simvae.simulator.dataset.drop"

local function of_pictures(folder, names)
  local load_png = require "simvae.io".load_png
  local first, why = load_png(folder .. names[1])
  if not first then return nil, why end
  local shape = first.shape
  return {
    count = #names, shape = shape, layout = "channels_first",
    read = function(rows)
      local result, failures = core.zeros(#rows, table.unpack(shape)), {}
      for i, r in ipairs(rows) do
        local t, reason = load_png(folder .. names[r])
        if not t then
          failures[i] = reason
        elseif t.shape[1] ~= shape[1] or t.shape[2] ~= shape[2] or t.shape[3] ~= shape[3] then
          failures[i] = string.format("%s%s: an image of %s; the first, %s, is %s", folder, names[r],
            check.shape_text(t.shape), names[1], check.shape_text(shape))
        else
          result[i] = t
        end
      end
      return result, failures
    end,
    close = function() end,
  }
end

local picture_columns = { file = true, filename = true, image = true, picture = true, path = true, png = true }

-- The place of the image's column, those of the parameters' and all columns; or nil, message.
local function read_header(path, header, dropped)
  local columns = cells.columns(header)
  local vain = drop.in_vain(dropped, columns)
  if vain then return nil, path .. ": " .. vain end
  local file_column, places, names, seen = 1, {}, {}, {}
  for i, column in ipairs(columns) do
    if picture_columns[column.name:lower()] then file_column = i end
  end
  for i, column in ipairs(columns) do
    if i ~= file_column and not drop.has(dropped, i, column) then
      local unusable = cells.fault(columns, i, seen)
      if unusable then return nil, path .. ": " .. unusable end
      places[#places + 1], names[#names + 1] = i, column.text
    end
  end
  local fault = #names > 0 and cells.no_header(names, header)
  if fault then return nil, path .. ": " .. fault end
  return file_column, places, columns
end

-- The names of the images, the columns of the parameters, and the rows of their values; or nil, message.
local function read_table(path, given)
  local header, lines = csv.read(path)
  if not header then return nil, lines end
  local file_column, places, columns = read_header(path, header, given.drop)
  if not file_column then return nil, places end
  local files, rows, reader = {}, {}, cells.reader(given.decimal)
  for r, line in ipairs(lines) do
    local row = {}
    for k, i in ipairs(places) do
      local why
      row[k], why = reader:number(line[i], lines.separator, line.line, header[i])
      if not row[k] then
        return nil, string.format("%s, line %d: column '%s' %s (drop = { %q } leaves it out)", path, line.line,
          header[i], why, header[i])
      end
    end
    if line[file_column] == "" then
      return nil, string.format("%s, line %d: column '%s' names no image", path, line.line, header[file_column])
    end
    files[r], rows[r] = line[file_column], row
  end
  if #rows == 0 then return nil, path .. ": no rows after the header" end
  if reader:ambiguity() then return nil, path .. ", " .. reader:ambiguity() end
  for k, i in ipairs(places) do places[k] = columns[i] end
  return files, places, rows
end

--- Opens a folder.
-- @tparam table given the options of sv.dataset
-- @treturn table source, as of simvae.simulator.dataset.sources, with the columns of its parameters
-- @treturn tensor z (N, K); or nil, message
return function(given)
  local folder = given.path:gsub("/*$", "/")
  local table_name = given.csv
  if not table_name then
    for _, name in ipairs(core.system.list(given.path) or {}) do
      if name:lower():match "%.csv$" then
        if table_name then return nil, string.format("%s: several CSV files; csv = %q picks one", given.path, name) end
        table_name = name
      end
    end
    if not table_name then
      return nil, given.path .. ": no CSV file with the names of the images and their parameters"
    end
  end
  local files, columns, rows = read_table(table_name:match "^/" and table_name or folder .. table_name, given)
  if not files then return nil, columns end
  if #columns == 0 then return nil, string.format("%s: %s has no column of parameters", given.path, table_name) end
  local source, why = of_pictures(folder, files)
  if not source then return nil, why end
  source.columns, source.dropped = columns, true
  return source, core.tensor(rows)
end

