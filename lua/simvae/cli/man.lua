--- The man page of the command, in man(7) macros, from the texts of its parser.
local core = require "simvae.core"
local main = require "simvae.cli.main"
local outcome = require "simvae.cli.outcome"

local man = {}

-- Text for roff: backslashes, dashes as such, dots for an ellipsis, no macro at the start of a line.
local function roff(text)
  text = text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("…", "...")
  return (text:gsub("^([.'])", "\\&%1"):gsub("\n([.'])", "\n\\&%1"))
end

-- Arguments or options of a parser, each with its description.
local function elements(list, out)
  for _, element in ipairs(list) do
    if not element._hidden then
      out[#out + 1] = ".TP"
      out[#out + 1] = ".B " .. roff(table.concat(element:_get_label_lines(), ", "))
      out[#out + 1] = roff(element:_get_description())
    end
  end
end

-- The usage of a command on one line.
local function usage(parser)
  return parser:get_usage():gsub("^Usage: ", ""):gsub("%s*\n%s*", " ")
end

local function section_of(command, out)
  local parser = command.parser
  out[#out + 1] = ".SS " .. roff(command.name)
  out[#out + 1] = ".B " .. roff(usage(parser))
  out[#out + 1] = ".PP"
  out[#out + 1] = roff(command.text or command.summary)
  elements(parser._arguments, out)
  elements(parser._options, out)
  for i, line in ipairs(command.examples or {}) do
    if i == 1 then out[#out + 1] = ".PP\nExamples:\n.PP\n.nf\n.RS" end
    out[#out + 1] = roff(line)
    if i == #command.examples then out[#out + 1] = ".RE\n.fi" end
  end
end

local function pairs_of(list, out)
  for _, pair in ipairs(list) do
    out[#out + 1] = ".TP"
    out[#out + 1] = ".B " .. roff(tostring(pair[1]))
    out[#out + 1] = roff(pair[2])
  end
end

--- The page.
-- @treturn string
function man.page()
  local parser, commands = main.parser()
  local out = { ('.TH SIMVAE 1 "" "simvae %s" "User Commands"'):format(core.version), ".SH NAME",
    "simvae \\- learns a simulator and its inverse", ".SH SYNOPSIS", ".B simvae", "[options] [command] [arguments]",
    ".SH DESCRIPTION", roff(parser._description), roff "Results go to standard output, progress and messages to "
      .. "standard error.", ".SH OPTIONS" }
  elements(parser._options, out)
  out[#out + 1] = ".SH COMMANDS"
  for _, command in ipairs(main.commands()) do section_of(commands[command.name], out) end
  out[#out + 1] = ".SH EXIT STATUS"
  pairs_of(outcome.meanings, out)
  out[#out + 1] = ".SH ENVIRONMENT"
  pairs_of(main.environment, out)
  return table.concat(out, "\n") .. "\n"
end

return man
