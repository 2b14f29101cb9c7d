--- What surrounds the cursor in a piece of Lua: the string that it is in, or the expression and the call.
local context = {}

-- The end of a string with escapes that begins at i, or nil where the text ends within it.
local function string_end(text, i)
  local quote = text:sub(i, i)
  i = i + 1
  while i <= #text do
    local c = text:sub(i, i)
    if c == quote then return i end
    i = i + (c == "\\" and 2 or 1)
  end
end

-- Tokens up to the end of the text: { kind, text, at }, kind "name", "number", "string" or "op". Second, where the text
-- ends in a string or comment: "string" and its first place, or "comment".
local function scan(text)
  local tokens, i = {}, 1
  local function add(kind, from, to)
    tokens[#tokens + 1] = { kind = kind, text = text:sub(from, to), at = from }
    i = to + 1
  end
  while true do
    i = text:find("%S", i)
    if not i then return tokens end
    local level = text:match("^%[(=*)%[", i)
    local comment = text:match("^%-%-%[(=*)%[", i)
    if level or comment then
      local _, to = text:find("]" .. (level or comment) .. "]", i, true)
      if not to then return tokens, level and "string" or "comment", i + #(level or comment) + 2 end
      if level then add("string", i, to) else i = to + 1 end
    elseif text:find("^%-%-", i) then
      i = text:find("\n", i, true)
      if not i then return tokens, "comment" end
    elseif text:find("^[\"']", i) then
      local to = string_end(text, i)
      if not to then return tokens, "string", i + 1 end
      add("string", i, to)
    elseif text:find("^[%a_]", i) then
      add("name", i, select(2, text:find("^[%w_]+", i)))
    elseif text:find("^%.?%d", i) then
      add("number", i, select(2, text:find("^[%w.]+", i)))
    elseif text:find("^%.%.+", i) then
      add("op", i, select(2, text:find("^%.+", i)))
    else
      add("op", i, i)
    end
  end
end

local closing = { [")"] = "(", ["]"] = "[", ["}"] = "{" }

-- The path of names that ends with token i, { "sv", "nn" }, and the token before it; nil where it is more than names,
-- strings and numbers in brackets. Separators between them are in `colon`: true where the last one is ":".
local function path_ending(tokens, i)
  local path, colon = {}, false
  while i >= 1 do
    local t = tokens[i]
    if t.text == "]" then
      local key = tokens[i - 1]
      if not key or tokens[i - 2] and tokens[i - 2].text ~= "[" then return nil end
      local v = key.kind == "number" and tonumber(key.text)
        or key.kind == "string" and key.text:match "^[\"'](.*)[\"']$"
      if not v then return nil end
      table.insert(path, 1, v)
      i = i - 3
    elseif t.kind == "name" then
      table.insert(path, 1, t.text)
      local before = tokens[i - 1]
      if not before or before.text ~= "." and before.text ~= ":" then return path, i - 1, colon end
      colon = colon or before.text == ":"
      i = i - 2
    else
      return nil
    end
  end
end

-- The brackets that are open at the end, the innermost last: indices of tokens.
local function open_brackets(tokens)
  local open = {}
  for i, t in ipairs(tokens) do
    if t.kind == "op" then
      if t.text:find "^[({%[]$" then
        open[#open + 1] = i
      elseif closing[t.text] and open[#open] and tokens[open[#open]].text == closing[t.text] then
        open[#open] = nil
      end
    end
  end
  return open
end

-- Names that the table of bracket `from` already has before token `to`.
local function keys_within(tokens, from, to)
  local keys, depth = {}, 0
  for i = from + 1, to do
    local t = tokens[i]
    if t.text:find "^[({%[]$" and t.kind == "op" then depth = depth + 1 end
    if closing[t.text] and t.kind == "op" then depth = depth - 1 end
    if depth == 0 and t.kind == "name" and tokens[i + 1] and tokens[i + 1].text == "=" then keys[t.text] = true end
  end
  return keys
end

-- The call whose table of options is open: its path, the keys of the tables within it ({ "decoder" }), and the names
-- that the innermost one has; nil where there is none.
local function call_of(tokens, open)
  local keys, n = {}, #open
  while n >= 1 do
    local at = open[n]
    local before = tokens[at - 1]
    if tokens[at].text ~= "{" or not before then return nil end
    if before.text == "=" and tokens[at - 2] and tokens[at - 2].kind == "name" then
      table.insert(keys, 1, tokens[at - 2].text)
      n = n - 1
    else
      local ends = at - 1
      if before.text == "," or before.text == "(" then -- f(x, { …
        local paren = open[n - 1]
        if not paren or tokens[paren].text ~= "(" then return nil end
        ends = paren - 1
      end
      local path = path_ending(tokens, ends)
      if not path then return nil end
      return { path = path, keys = keys, given = keys_within(tokens, open[#open], #tokens) }
    end
  end
end

--- Reads what comes before the cursor.
-- @tparam string before
-- @treturn table string: the part of a string before the cursor; or comment = true; or partial: the part of a name
--   before the cursor ("" for none), and path: of the names before it ({ "sv", "nn" } of sv.nn.li), method: whether a
--   colon comes before it. call: of the table of options that the cursor is in: path, keys, given; key: whether a key
--   of it begins at the cursor; value: the key whose value begins at the cursor
function context.of(before)
  local tokens, state, from = scan(before)
  local result = {}
  if state == "comment" then return { comment = true } end
  local last = tokens[#tokens]
  if state == "string" then
    result.string = before:sub(from)
  else
    result.partial = ""
    if last and last.kind == "number" and last.at + #last.text > #before then return { comment = true } end
    if last and last.kind == "name" and last.at + #last.text > #before then
      result.partial = last.text
      tokens[#tokens] = nil
      last = tokens[#tokens]
    end
  end
  if not state and last and (last.text == "." or last.text == ":") then
    result.path = path_ending(tokens, #tokens - 1) or {}
    result.method = last.text == ":"
    return result
  end
  local open = open_brackets(tokens)
  result.call = call_of(tokens, open)
  if result.call and last then
    result.key = #tokens == open[#open] or last.text == "," or last.text == ";"
    local key = tokens[#tokens - 1]
    result.value = last.text == "=" and key and key.kind == "name" and key.text or nil
  end
  -- f "… or f("…: the function that the string is given to
  if state == "string" and last then
    result.of = path_ending(tokens, last.text == "(" and #tokens - 1 or #tokens)
  end
  return result
end

return context
