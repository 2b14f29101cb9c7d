--- Words for sh. Needs no other module: scripts read it before anything is built.
local shell = {}

--- Quotes a word: whatever its characters, sh takes it as one word.
-- @param word a string or number
-- @treturn string
function shell.quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

--- A word as a person would write it: quoted where it has to be.
-- @param text a string or number
-- @treturn string
function shell.word(text)
  text = tostring(text)
  return text:find "^[%w_./:=@%%+,-]+$" and text or shell.quote(text)
end

--- A command line of quoted words.
-- @tparam {string,...} words
-- @treturn string
function shell.command(words)
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = shell.quote(word) end
  return table.concat(quoted, " ")
end

return shell
