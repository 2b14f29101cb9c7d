--- Lua code as HTML with keywords, texts, numbers and comments marked.
local escape = require "simvae.util.html".escape
local keywords = require "simvae.util.keywords"

local function marked(class, text)
  return string.format('<span class="%s">%s</span>', class, escape(text))
end

-- The length of the token at a place, and its class or nil.
local function token(code, at)
  local rest = code:sub(at)
  local long = rest:match "^%-%-%[(=*)%[" or rest:match "^%[(=*)%["
  if long then
    local _, stop = rest:find("]" .. long .. "]", 1, true)
    return stop or #rest, rest:sub(1, 2) == "--" and "note" or "text"
  end
  if rest:find "^%-%-" then return #rest:match "^[^\n]*", "note" end
  local quote = rest:match "^[\"']"
  if quote then
    local i = 2
    while i <= #rest and rest:sub(i, i) ~= quote do i = i + (rest:sub(i, i) == "\\" and 2 or 1) end
    return math.min(i, #rest), "text"
  end
  local word = rest:match "^[%a_][%w_]*"
  if word then return #word, keywords[word] and "word" or nil end
  local number = rest:match "^0[xX]%x+" or rest:match "^%d+%.?%d*[eE][+-]?%d+" or rest:match "^%d+%.?%d*"
  if number then return #number, "number" end
  return 1, nil
end

--- Marks code.
-- @tparam string code
-- @treturn string HTML
return function(code)
  local out, at = {}, 1
  while at <= #code do
    local length, class = token(code, at)
    local text = code:sub(at, at + length - 1)
    out[#out + 1] = class and marked(class, text) or escape(text)
    at = at + length
  end
  return table.concat(out)
end
