--- Shared by the programs in examples/ and notebooks/: reading arguments and reporting errors.
local core = require "simvae.core"

local command_line = {}

command_line.max_threads = core.max_threads

--- Adds an option that takes a whole number.
-- @tparam table parser of argparse
-- @tparam string name "--samples"
-- @tparam string text for --help
-- @tparam integer low
-- @tparam ?integer high
-- @tparam ?integer default
-- @treturn table the option
function command_line.number(parser, name, text, low, high, default)
  local would_do = high and string.format("from %d to %d", low, high) or string.format("of %d or more", low)
  return parser:option(name, text, default and tostring(default)):convert(function(given)
    local n = math.tointeger(tonumber(given))
    if n and n >= low and (not high or n <= high) then return n end
    return nil, string.format("%s takes a whole number %s; got '%s'", name, would_do, given)
  end)
end

--- Adds the options of every program that trains: --out, --seed, --threads, --quiet.
-- @tparam table parser of argparse
-- @tparam string out the default folder
function command_line.training(parser, out)
  parser:option("--out", "Folder of the run; an interrupted run resumes from there.", out)
  command_line.number(parser, "--seed", "Seed of weights, samples and noise.", 0, nil, 1)
  command_line.number(parser, "--threads", "Threads; default: all cores.", 1, command_line.max_threads)
  parser:flag("--quiet", "No progress.")
end

--- A converter for argparse: a file that can be created, with one of some suffixes.
-- @tparam string ... ".png"
-- @treturn function (text) -> path, or nil and what is wrong with it
function command_line.new_file(...)
  local suffixes = { ... }
  return function(text)
    local fits = false
    for _, suffix in ipairs(suffixes) do fits = fits or text:sub(-#suffix):lower() == suffix end
    if not fits then
      return nil, string.format("the file's name ends in %s; got '%s'", table.concat(suffixes, ", "), text)
    end
    local folder = text:match "^(.*)/[^/]*$" or "."
    if core.system.kind(folder == "" and "/" or folder) ~= "folder" then
      return nil, string.format("there is no folder '%s'", folder)
    end
    return text
  end
end

return command_line
