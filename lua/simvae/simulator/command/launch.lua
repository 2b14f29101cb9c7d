--- Starting a program of sv.command: folder, arguments, environment.
--
-- Every process works in its own private folder, which is removed when it ends: {dir} in an argument is its
-- path, TMPDIR names it, and it is the working directory unless `cwd` is given. Arguments that name existing files
-- relative to the folder that the caller was in when it made the simulator are made absolute then, so that
-- { "python3", "pendulum.py" } and { "./sim.sh" } work: the program's own path if it holds a slash, other arguments
-- if there is such a file (a folder, if the argument holds a slash), and the part after = of --option=path. Where
-- `cwd` is given, arguments stay as they are and are relative to it.
local absolute = require "simvae.util.absolute"
local check = require "simvae.util.check"
local core = require "simvae.core"
local system = core.system

local launch = {}

-- An argument that names a file, absolute.
local function locate(argument, folder)
  if argument:find "[{}]" or argument:sub(1, 1) == "/" then return argument end
  local option, path = argument:match "^(%-%-?[%w_-]+=)(.+)$"
  path = path or argument
  local kind = not path:find "\0" and system.kind(path)
  if path:sub(1, 1) == "/" or not (kind == "file" or kind == "folder" and path:find "/") then return argument end
  return (option or "") .. absolute(path, folder)
end

--- The command: its arguments, absolute where they name files.
-- @tparam string what the simulator, for messages
-- @tparam table given cmd, cwd and env as of sv.command
-- @treturn table of launch.in_folder
function launch.new(what, given)
  local cmd = given.cmd
  if #cmd == 0 then check.fail(3, "%s: cmd names a program and its arguments: { \"python3\", \"sim.py\" }", what) end
  local folder, why = system.cwd()
  if not folder then check.fail(3, "%s: the working directory is gone: %s", what, why) end
  local made = { env = given.env or {}, cwd = given.cwd and absolute(given.cwd, folder) }
  for i, argument in ipairs(cmd) do
    if type(argument) ~= "string" then
      check.fail(3, "%s: cmd[%d] takes a string; got %s", what, i, check.describe(argument))
    end
    if given.cwd then
      made[i] = argument
    elseif i == 1 then
      made[i] = argument:find "/" and absolute(argument, folder) or argument
    else
      made[i] = locate(argument, folder)
    end
  end
  return made
end

--- A private folder, of this process.
-- @treturn string; or nil, why
function launch.folder()
  local folder, why = system.temporary_folder()
  if not folder then return nil, "has no folder for its files: " .. why end
  return folder
end

--- Starts the program in a folder.
-- @tparam table made of launch.new
-- @tparam string folder of launch.folder
-- @tparam table places what stands for {NAME} in arguments; {dir} is known
-- @treturn process; or nil, why
function launch.start(made, folder, places)
  places.dir = folder
  local spawned = { cwd = made.cwd or folder, env = { TMPDIR = folder } }
  for name, value in pairs(made.env) do spawned.env[name] = value end
  for i, argument in ipairs(made) do spawned[i] = argument:gsub("{([%w_.]+)}", places) end
  local child, why = core.process.spawn(spawned)
  if child then return child end
  local lost = made.cwd and system.kind(made.cwd) ~= "folder" and " (cwd: there is no folder " .. made.cwd .. ")" or ""
  return nil, "could not be started: " .. why .. lost
end

return launch
