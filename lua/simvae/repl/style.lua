--- Colours of the interactive session: the terminal's own 16, so that they suit its theme.
local terminal = require "simvae.util.terminal"

local style = {}

local codes = { prompt = "1;34", error = "31", faint = "2", number = "36", string = "32", word = "35", title = "1" }

local plain = function(_, text) return text end

local function coloured(kind, text)
  return "\27[" .. codes[kind] .. "m" .. text .. "\27[0m"
end

--- A function (kind, text) -> text that colours it, or leaves it as it is.
-- @tparam ?boolean colours nil: as the terminal on standard output has and wants them
-- @treturn function
function style.painter(colours)
  if colours == nil then colours = terminal.colours(1) end
  return colours and coloured or plain
end

--- A prompt for readline, which has to be told what takes no columns.
-- @tparam string text
-- @tparam boolean colours
-- @treturn string
function style.prompt(text, colours)
  if not colours then return text end
  return "\1\27[" .. codes.prompt .. "m\2" .. text .. "\1\27[0m\2"
end

return style
