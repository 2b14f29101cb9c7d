--- The command `simvae`: one subcommand a file of lua/simvae/cli/commands. A file returns a table:
--
--     order            its place in lists
--     summary          one line, for the list of commands
--     text             what it does, for its help and the man page (optional: the summary)
--     examples         command lines, for its help and the man page (optional)
--     define(command)  adds arguments and options to a command of argparse
--     run(a, parser, command)  with what argparse read, the parser of the whole command line, and this table with its
--                      own `parser`; returns an exit code (nil: success)
--
-- Results go to standard output, progress and messages to standard error.
local catalogue = require "simvae.util.catalogue"
local core = require "simvae.core"
local outcome = require "simvae.cli.outcome"

local main = {}

--- Environment variables that users meet: { name, meaning }, …
main.environment = {
  { "SV_THREADS", "number of threads; default: the cores that the process may use" },
  { "SV_KERNEL", "CPU level: portable, avx2 or avx512; default: the best one of the CPU" },
  { "SV_NGSPICE", "path of libngspice" },
  { "TMPDIR", "folder for temporary files" },
  { "NO_COLOR", "no colours" },
}

local WIDTH = 100

local function width()
  return math.max(40, math.min(tonumber(os.getenv "COLUMNS") or core.system.columns(1) or 80, WIDTH))
end

-- Text, command lines and exit codes below the options.
local function epilog(lines)
  local parts = { "Examples:" }
  for _, line in ipairs(lines) do parts[#parts + 1] = "   " .. line end
  return table.concat(parts, "\n")
end

--- The subcommands in their order.
-- @treturn {table,...} as their files return them, with `name`
function main.commands()
  local list = {}
  for _, name in ipairs(catalogue.files("simvae.cli.commands", "train")) do
    local command = require("simvae.cli.commands." .. name)
    command.name = name
    list[#list + 1] = command
  end
  table.sort(list, function(a, b) return a.order < b.order end)
  return list
end

--- Makes the parser of the whole command line.
-- @treturn table of argparse
-- @treturn {[string]=table} subcommands by name; of each, `parser`
function main.parser()
  local found, argparse = pcall(require, "argparse")
  if not found then
    outcome.fail "argparse is missing: apt-get install lua-argparse, or luarocks install argparse"
  end
  local parser = argparse("simvae", "Learns a simulator and its inverse: from an output to the parameters "
    .. "that gave it, with a posterior. Without a command it opens an interactive session.")
  parser:command_target "command":require_command(false)
  parser:help_max_width(width()):usage_max_width(width()):help_description_margin(28):help_vertical_space(0)
  parser:flag("-v --version", "Prints the version."):action(function()
    print("simvae " .. core.version)
    os.exit(0, true)
  end)
  local by_name = {}
  for _, command in ipairs(main.commands()) do
    local sub = parser:command(command.name, command.text or command.summary):summary(command.summary)
    if command.examples then sub:epilog(epilog(command.examples)) end
    command.define(sub)
    command.parser, by_name[command.name] = sub, command
  end
  return parser, by_name
end

-- Reads the command line; wrong ones end with the usage of the command and code 2.
local function read(argv)
  local parser, commands = main.parser()
  parser.error = function(of, message)
    message = message:gsub("\nDid you", "; did you")
    local script = message:match "^unknown command '(.*%.lua)'"
    if script then message = message .. string.format("; simvae run %s runs it, simvae train %s trains on the "
      .. "simulator that it returns", script, script) end
    io.stderr:write("simvae: ", message, "\n", of:_get_fullname(), " --help tells what it takes\n")
    os.exit(outcome.codes.usage, true)
  end
  local a = parser:parse(argv)
  return a, parser, commands
end

--- Runs a command line.
-- @tparam {string,...} argv its words
-- @treturn integer exit code
function main.main(argv)
  return outcome.of(function()
    local a, parser, commands = read(argv)
    if not a.command then return require("simvae.repl").start() end
    return commands[a.command].run(a, parser, commands[a.command])
  end)
end

return main
