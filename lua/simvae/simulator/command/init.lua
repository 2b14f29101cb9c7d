--- Programs in any language as simulators.
--
--     local spring = sv.command {
--       name = "spring",
--       cmd = { "python3", "spring.py" },
--       params = { { name = "k", low = 1, high = 10 }, { name = "m", low = 1, high = 5 } },
--       output = { 50 },
--     }
--
-- Protocol "line": the program keeps running. For every sample it reads a line from its standard
-- input, a JSON array of the parameters in their order, [4.2, 1.5], and writes one line to its
-- standard output, a JSON array of all numbers of the output, row-major, [0.1, 0.2, …]; nested
-- arrays are fine. A NaN (or null) among them marks a failed sample. The program must flush its
-- output after each line, and should end at the end of its input. An additional line is an error,
-- since it would be taken for the next sample's reply.
--
-- Protocol "npy": the same, but the reply is the bytes of a .npy file: np.save(sys.stdout.buffer, x).
--
-- Protocol "file": the program runs once a sample. In its arguments {z} is the path of a file
-- with the JSON array of the parameters, {x} that of the file to write (.npy, .png, or numbers
-- as text: JSON, CSV or blanks; `files` names them), and {NAME} the value of a parameter;
-- {param.NAME}, {file.z} and {file.x} where a parameter is named z or x. Without an {x}, the numbers are
-- read from its standard output.
--
-- Every process works in a folder of its own ({dir}, TMPDIR, and the working directory unless `cwd`
-- is given), which is removed when it ends (of protocol "file": with the next sample). Arguments
-- that name files stay valid (simvae.simulator.command.launch). The processes that a program starts
-- end with it. Texts of numbers are read by core.number (csrc/io/number_text.c lists the accepted forms)
-- and have at most 64 bytes per number and 64 KB in addition. Standard error is kept for error
-- messages.
local check = require "simvae.util.check"
local launch = require "simvae.simulator.command.launch"
local Program = require "simvae.simulator.command.program"
local Runs = require "simvae.simulator.command.runs"
local parameter = require "simvae.simulator.parameter"
local simulator = require "simvae.simulator"

local command = {}

local fields = check.declare("command", {
  name = { "string", default = "command", doc = "of files, figures and messages" },
  cmd = { "table", required = true,
    doc = "the program and its arguments, found in PATH, without a shell; {dir} in one is the private folder of the "
      .. "process" },
  params = { "table", required = true, each = parameter.rules,
    doc = "named parameters with bounds and units, as of sv.simulator" },
  output = { "table", required = true, doc = "{ n } or { channels, height, width }, as of sv.simulator" },
  protocol = { "string", default = "line", one_of = { "line", "npy", "file" },
    doc = "\"line\": a line [z1, z2, …] in, a line [x1, x2, …] out; \"npy\": a .npy file on standard output; "
      .. "\"file\": a start for each sample, and files" },
  timeout = { "number", default = 60, above = 0, doc = "seconds for a sample" },
  restart = { "integer", min = 1, doc = "samples after which the program is restarted; default: never" },
  cwd = { "string", doc = "working directory; default: the private folder of the process" },
  env = { "table", doc = "environment variables, { NAME = \"value\", OTHER = false }" },
  files = { "table", fields = Runs.files, doc = "names of the files of protocol \"file\", in the private folder" },
})
local shared = simulator.share_options(fields)

--- A program as a simulator.
-- @tparam table t options; besides its own, those of sv.simulator
-- @treturn Simulator whose failures say what the program did: too few numbers, its exit code or signal, a timeout,
-- and what it wrote on its standard error
-- @raise unknown options, an unknown protocol, a program that is not found
-- @usage
-- local swap = sv.command { -- answers a line [a, b] with the line [b, a]
--   name = "swap", cmd = { "sh", "-c", "while IFS='[], ' read -r _ a b _; do echo \"[$b, $a]\"; done" },
--   output = { 2 },
--   params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 0, high = 1 } },
-- }
-- print(swap:run(sv.tensor { { 0.25, 0.5 } }))
-- swap:close()
function command.command(t)
  local what = type(t) == "table" and type(t.name) == "string" and "command '" .. t.name .. "'" or "command"
  local given = check.options(what, t, fields)
  local launched = launch.new(what, given)
  local runner
  local all = {
    name = given.name, params = given.params, output = given.output,
    simulate = function(z, out)
      local ok, why = runner:run(z, out)
      if not ok then return false, given.cmd[1] .. " " .. why end
      return out
    end,
    close = function() runner:stop(1) end,
  }
  for _, name in ipairs(shared) do all[name] = given[name] end
  local made = simulator.new(all)
  runner = {
    what = what, launch = launched, timeout = given.timeout, restart = given.restart, K = #made.params,
    names = made.names, protocol = given.protocol,
  }
  if given.protocol == "file" then
    Runs.new(what, runner, given)
  else
    if given.files then check.fail(2, "%s: files is an option of protocol \"file\"", what) end
    setmetatable(runner, Program)
  end
  return made
end

return command
