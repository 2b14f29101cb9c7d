--- Replies of a program of sv.command: parsing of numbers, and error messages.
local check = require "simvae.util.check"
local core = require "simvae.core"

local answer = {}

answer.failed = "reported a failure (NaN)"

-- Maximum bytes of a text of numbers: for each number, and in addition.
local bytes_each, bytes_more = 64, 65536

--- Numbers as JSON, exact.
function answer.format(v)
  local short = string.format("%.9g", v)
  return tonumber(short) == v and short or string.format("%.17g", v)
end

--- The first K of a list as a JSON array.
function answer.format_list(values, K)
  local parts = {}
  for i = 1, K do parts[i] = answer.format(values[i]) end
  return "[" .. table.concat(parts, ", ") .. "]"
end

--- The maximum bytes of a text of n numbers.
function answer.limit(count)
  return count * bytes_each + bytes_more
end

--- The message for a text over the limit.
function answer.too_long(count)
  return string.format("wrote more than %d bytes where %d numbers were expected", answer.limit(count), count)
end

--- A text quoted for a message: its first bytes, without control characters.
function answer.quoted(text)
  local start = core.number.trim(text:sub(1, 400))
  local cut = #start > 80 or #text > 400
  return '"' .. start:sub(1, 80):gsub("%c", "?") .. (cut and "…" or "") .. '"'
end

-- What is wrong with a picture as lists in lists: the innermost are its rows. Channels last are not read as first.
local function misshapen(text, shape)
  local row = #shape == 3 and text:find "^%s*%[%s*%[" and text:match "%[([^%[%]]*)%]"
  if not row then return nil end
  local _, n = row:gsub("[^%s,;]+", "")
  if n == shape[3] or n == shape[1] * shape[2] * shape[3] then return nil end
  return string.format("answered lists of %d numbers where a row of the output %s has %d", n, check.shape_text(shape),
    shape[3])
end

--- Fills out with the numbers of a text.
-- @treturn boolean true; or nil, what is wrong with them
function answer.read(text, out)
  local wrong = misshapen(text, out.shape)
  if wrong then return nil, wrong end
  local ok, kind, detail = core.number.read_all(text, out)
  if ok then return true end
  if kind == "nan" then return nil, answer.failed end
  if kind == "count" then
    local twice = detail == 2 * out.count and text:find "%d,%d"
    return nil, string.format("answered %d numbers where %d were expected%s", detail, out.count,
      twice and " (is the decimal sign a comma? It has to be a point)" or "")
  end
  return nil, string.format("answered %s: %s", answer.quoted(text), detail)
end

--- A program's standard error, for the end of a message.
function answer.last_words(child)
  local text = core.number.trim(child:errors())
  if text == "" then return "" end
  return "; it wrote: " .. (#text > 400 and "…" or "") .. text:sub(-400)
end

return answer
