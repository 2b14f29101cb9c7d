--- Help on what is at the cursor of a cell: the name that it is in or behind, else the call that it is within.
local context = require "simvae.repl.context"
local help = require "simvae.util.help"
local look_up = require "simvae.repl.look_up"
local question = require "simvae.repl.help"
local reference = require "simvae.reference"
local style = require "simvae.repl.style"
local value = require "simvae.repl.value"

local COLUMNS = 100

local function about(name, env)
  if not name or name == "" then return nil end
  local text = question.text(name, env)
  if text then return text end
  local v = look_up.name(name, env)
  if v ~= nil then return value.text(v, style.painter(false), COLUMNS) end
end

-- Help on the option `word` of the call whose table of options is open at the end of `before`.
local function about_option(before, word, env)
  local call = context.of(before).call
  if not call then return nil end
  local name = table.concat(call.path, ".")
  local entry = reference.of(look_up.name(name, env))
  local path = table.move(call.keys, 1, #call.keys, 2, { entry and entry.name or name })
  return help.text(table.concat(path, ".") .. "." .. word)
end

-- The name before the innermost bracket that is open at the end, and what comes before it; strings are not looked into.
local function callee(before)
  local depth = 0
  for i = #before, 1, -1 do
    local c = before:sub(i, i)
    if c:find "[)%]}]" then depth = depth + 1 end
    if c:find "[({%[]" then
      if depth == 0 then return before:sub(1, i - 1):match "([%a_][%w_.:]*)%s*$", before:sub(1, i - 1) end
      depth = depth - 1
    end
  end
end

--- What there is to say.
-- @tparam string before text before the cursor
-- @tparam string after text behind it
-- @tparam table env global variables
-- @treturn ?string
return function(before, after, env)
  local word = (before:match "[%w_.:]*$" .. after:match "^[%w_]*"):gsub("^[^%a_]+", "")
  local outer, rest = callee(before)
  local option = word:find "^[%a_][%w_]*$" and about_option(before, word, env)
  if option then return option end
  local text = about(word, env)
  while not text and rest do
    text = about(outer, env)
    outer, rest = callee(rest)
  end
  return text
end
