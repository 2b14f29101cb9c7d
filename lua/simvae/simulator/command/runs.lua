--- A program that runs once a sample: protocol "file" of sv.command.
local answer = require "simvae.simulator.command.answer"
local check = require "simvae.util.check"
local core = require "simvae.core"
local launch = require "simvae.simulator.command.launch"
local npy = require "simvae.io.npy"
local system = core.system

local Runs = {}
Runs.__index = Runs

-- Removes the files of the last sample. In a forked process they belong to the parent.
function Runs:stop()
  if self.folder and self.owner == system.pid() then system.remove_tree(self.folder) end
  self.folder = nil
end

Runs.__gc = Runs.stop

local loaders = {
  npy = function(path, limit) return npy.load(path, limit) end,
  png = function(path, limit) return require "simvae.io".load_png(path, limit) end,
}

local function read_array(load, path, out)
  local t, why = load(path, { max_bytes = answer.limit(out.count) })
  if not t then return nil, "left no readable output: " .. why end
  if not check.fits(t.shape, out.shape) then
    return nil, string.format("wrote an array of shape %s where the output is %s", check.shape_text(t.shape),
      check.shape_text(out.shape))
  end
  out:copy(t)
  if not out:finite() then return nil, answer.failed end
  return true
end

-- Opens regular files only: a pipe or a device could block.
local function read_text(path, out)
  local source <close>, why = core.io.open_source(path)
  if not source then return nil, "left no output: " .. path .. ": " .. why end
  if source:size() > answer.limit(out.count) then return nil, answer.too_long(out.count) end
  local text
  text, why = source:read(0, source:size())
  if not text then return nil, "left no readable output: " .. why end
  return answer.read(text, out)
end

local function places_of(self, values)
  local places = {}
  for role, name in pairs(self.files) do
    places[role] = self.folder .. "/" .. name
    places["file." .. role] = places[role]
  end
  for i, name in ipairs(self.names) do
    places["param." .. name] = answer.format(values[i])
    places[name] = places[name] or places["param." .. name]
  end
  return places
end

--- Why a run of the program has no result.
-- @treturn nil
-- @treturn string the reason, with the last it wrote on its standard error
function Runs:ending(child, why, count)
  if why == "too long" then return nil, answer.too_long(count) .. answer.last_words(child) end
  if why == "timeout" then why = string.format("took longer than %g s (timeout)", self.timeout)
  else why = "gave no answer: " .. why end
  return nil, why .. answer.last_words(child)
end

-- Writes its input and waits for its end. Returns its output (none where a file has the reply), or nil, why.
local function finish(self, child, text, count)
  local deadline = system.clock() + self.timeout
  local ok, why = child:write(text, self.timeout)
  child:end_input()
  local printed
  if ok or why == "closed" then -- a program that does not read its input may have closed it
    printed, why = child:read_all(math.max(0, deadline - system.clock()), answer.limit(count), not self.to_file)
  end
  if not printed then return self:ending(child, why, count) end
  local kind, what = child:wait(math.max(0, deadline - system.clock()))
  if not kind then return self:ending(child, what, count) end
  if kind == "signal" then return nil, "died by " .. what .. answer.last_words(child) end
  if what ~= 0 then return nil, string.format("ended with exit code %d%s", what, answer.last_words(child)) end
  return printed
end

--- Runs the program once.
-- @tparam {number,...} values parameters in order, in units
-- @tparam tensor out to fill
-- @treturn boolean true, or nil and what went wrong
function Runs:run(values, out)
  self:stop()
  local why
  self.folder, why = launch.folder()
  if not self.folder then return nil, why end
  self.owner = system.pid()
  local text, places = answer.format_list(values, self.K) .. "\n", places_of(self, values)
  local ok
  ok, why = system.create_file(places["file.z"], text)
  if not ok then return nil, "has no file of parameters: " .. why end
  self.child, why = launch.start(self.launch, self.folder, places)
  if not self.child then return nil, why end
  local child <close> = self.child
  local printed
  printed, why = finish(self, child, text, out.count)
  if not printed then return nil, why end
  if self.to_file then
    local load = loaders[self.files.x:match "%.(%w+)$" or ""]
    if load then
      ok, why = read_array(load, places["file.x"], out)
    else
      ok, why = read_text(places["file.x"], out)
    end
  else
    ok, why = answer.read(printed, out)
  end
  if not ok then return nil, why .. answer.last_words(child) end
  return true
end

-- ---- declaration ------------------------------------------------------------------------

local roles = { z = true, x = true, dir = true }

-- Every {NAME} in cmd has one meaning.
local function check_places(what, cmd, names)
  local known = { dir = true, z = true, x = true, ["file.z"] = true, ["file.x"] = true }
  for _, name in ipairs(names) do known[name], known["param." .. name] = true, true end
  for _, argument in ipairs(cmd) do
    for name in argument:gmatch "{([%a_][%w_.]*)}" do
      if not known[name] then
        check.fail(4, "%s: {%s} in cmd is neither {z}, {x}, {dir} nor a parameter", what, name)
      end
      for _, parameter in ipairs(names) do
        if parameter == name and roles[name] then
          check.fail(4, "%s: {%s} in cmd may be the parameter '%s' or the program's %s: write {param.%s} or %s, or "
            .. "rename the parameter", what, name, name, name == "dir" and "folder" or "file", name,
            name == "dir" and "leave the folder out" or "{file." .. name .. "}")
        end
      end
    end
  end
end

--- Options of `files`.
Runs.files = {
  z = { "string", default = "z.json", doc = "of the file with the parameters, a JSON array" },
  x = { "string", default = "x.json", doc = "of the file with the output: .npy, .png, or numbers in any text" },
}

local function file_names(what, files)
  files = check.options(what .. ": files", files, Runs.files)
  for _, name in pairs(files) do
    if name:find "[/\0]" or name == "" or name == "." or name == ".." then
      check.fail(4, "%s: files are names without folders; got %q", what, name)
    end
  end
  if files.z == files.x then check.fail(4, "%s: files: z and x are two files; both are named %q", what, files.z) end
  return files
end

--- Completes a runner of sv.command: launch, timeout, K, names.
function Runs.new(what, runner, given)
  check_places(what, given.cmd, runner.names)
  runner.files = file_names(what, given.files)
  local words = table.concat(given.cmd, " ")
  runner.to_file = words:find("{x}", 1, true) ~= nil or words:find("{file.x}", 1, true) ~= nil
  return setmetatable(runner, Runs)
end

return Runs
