--- Parts of a text between separators that stand outside brackets: "a, b(c, d)" is "a" and " b(c, d)".
-- @tparam string text
-- @tparam string separator one character
-- @treturn {string,...}
return function(text, separator)
  local parts, depth, from = {}, 0, 1
  for i = 1, #text do
    local c = text:sub(i, i)
    if c:find "[({]" then depth = depth + 1 elseif c:find "[)}]" then depth = depth - 1 end
    if c == separator and depth == 0 then
      parts[#parts + 1], from = text:sub(from, i - 1), i + 1
    end
  end
  parts[#parts + 1] = text:sub(from)
  return parts
end
