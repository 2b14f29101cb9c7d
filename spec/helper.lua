--- Shared by the specs: loaded by busted before any of them (.busted), and by `require "spec.helper"`.
--
-- Environment: SIMVAE_BUILD is the tree that is tested (default: the one of `make env`, else build),
-- SIMVAE_DATA the folder of shared data sets, SIMVAE_COLLECT=N runs the garbage collector at its most
-- aggressive and collects everything in every Nth allocation of an object (spec/stress.c).
local helper = package.loaded["spec.helper"]
if helper then return helper end
helper = {}
package.loaded["spec.helper"] = helper

local build = os.getenv("SIMVAE_BUILD")
  or (os.getenv("LUA_CPATH") or ""):match("([^;]*)/lib/lua/5%.4/%?%.so")
  or "build"
local lua_tree, c_tree = build .. "/share/lua/5.4/", build .. "/lib/lua/5.4/"

package.path = lua_tree .. "?.lua;" .. lua_tree .. "?/init.lua;" .. package.path
package.cpath = c_tree .. "?.so;" .. package.cpath

-- busted forgets the modules that a spec file loads: all are loaded before the first. C modules are not made to be
-- opened again and again, and of two copies of a Lua module neither knows the other's objects.
local function load_modules(folder, prefix)
  local list = require("simvae.core").system.list
  for _, name in ipairs(list(folder) or {}) do
    local module = name:match "^(.+)%.lua$"
    if module then
      pcall(require, module == "init" and prefix:sub(1, -2) or prefix .. module)
    elseif not name:find(".", 1, true) then
      load_modules(folder .. name .. "/", prefix .. name .. ".")
    end
  end
end
if pcall(require, "simvae.core") then load_modules(lua_tree .. "simvae/", "simvae.") end

if os.getenv("SIMVAE_COLLECT") then
  collectgarbage("incremental", 1, 100, 1) -- no pause: a cycle begins as the last one ends
  assert(package.loadlib(build .. "/stress.so", "luaopen_stress"))(tonumber(os.getenv("SIMVAE_COLLECT")))
end

--- The tree that is tested, as `make BUILD=…` made it.
helper.build = build

--- Quotes a word for sh.
helper.quote = dofile "lua/simvae/util/shell.lua".quote

--- Runs a command line in sh.
-- @tparam string command
-- @treturn string what it wrote to standard output and standard error
-- @treturn integer its exit code, or 128 + the signal that ended it
function helper.run(command)
  local pipe <close> = assert(io.popen("{ " .. command .. "\n} 2>&1", "r"))
  local output = pipe:read("a")
  local _, how, code = pipe:close()
  return output, how == "signal" and 128 + code or code
end

--- Whether libngspice can be loaded; asked in a process of its own, since the library stays for good.
-- @treturn boolean
function helper.have_ngspice()
  local core = require "simvae.core"
  local worker <close> = core.process.fork(function(link) link:send(core.spice.open() and "yes" or "no") end)
  return worker:receive(10) == "yes"
end

--- Whether this process, and so the programs that it starts, ignore a signal (SIGHUP under nohup).
-- @tparam integer number of the signal
-- @treturn boolean
function helper.ignores(number)
  local status <close> = io.open "/proc/self/status"
  local mask = status and status:read("a"):match "SigIgn:%s*(%x+)"
  return mask ~= nil and tonumber(mask, 16) >> (number - 1) & 1 == 1
end

--- Everything in a file.
-- @tparam string path
-- @treturn string
function helper.read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

--- Writes a file.
-- @tparam string path
-- @tparam string ... its content, one text after the other
function helper.write(path, ...)
  local file <close> = assert(io.open(path, "wb"))
  file:write(...)
end

--- Asserts that f(…) raises a message that matches a pattern.
-- @tparam string pattern of Lua
-- @tparam function f
-- @param ... its arguments
function helper.raises(pattern, f, ...)
  local ok, message = pcall(f, ...)
  assert(not ok, "did not raise: " .. pattern)
  assert(tostring(message):find(pattern), string.format("raised %q, which does not match %q", message, pattern))
end

--- What a function returns on one thread and on three.
function helper.by_threads(f)
  local core = require "simvae.core"
  local before = core.threads()
  core.threads(1)
  local one = f()
  core.threads(3)
  local three = f()
  core.threads(before)
  return one, three
end

--- The value of a function of tensors, and its gradients towards all of them: those of the sum of y sin y.
function helper.value_and_gradients(f, given)
  local sv = require "simvae"
  local leaves = {}
  for i, t in ipairs(given) do leaves[i] = sv.parameter(t) end
  local tape <close> = sv.tape()
  local y = f(table.unpack(leaves))
  local out = { tape:keep(y:clone()) }
  tape:backward(sv.sum(y * sv.sin(y)))
  for i, t in ipairs(leaves) do out[i + 1] = t.grad end
  return out
end

--- Calls f(…) with io.stderr replaced.
-- @tparam function f
-- @param ... its arguments
-- @treturn string what it wrote there
-- @return its results
function helper.stderr_of(f, ...)
  local written, stderr = {}, io.stderr
  local capture = { flush = function() end }
  function capture:write(...)
    written[#written + 1] = table.concat { ... }
    return self
  end
  io.stderr = capture -- luacheck: ignore 122
  local results = table.pack(pcall(f, ...))
  io.stderr = stderr -- luacheck: ignore 122
  if not results[1] then error(results[2], 0) end
  return table.concat(written), table.unpack(results, 2, results.n)
end

local lua = os.getenv("LUA") or "lua5.4"

--- The command line that runs a Lua script (or `-e CODE`) in another process, on the tree that is tested.
-- @tparam string script
-- @param ... its arguments, quoted here
function helper.lua_command(script, ...)
  local words = { "LUA_PATH=" .. helper.quote(lua_tree .. "?.lua;" .. lua_tree .. "?/init.lua;;"),
    "LUA_CPATH=" .. helper.quote(c_tree .. "?.so;;"), lua, helper.quote(script) }
  for i = 1, select("#", ...) do words[#words + 1] = helper.quote((select(i, ...))) end
  return table.concat(words, " ")
end

--- The same, run in another folder.
-- @tparam string folder
-- @tparam string script relative to it
-- @param ... its arguments
function helper.lua_command_in(folder, script, ...)
  local cwd, trees = assert(require "simvae.core".system.cwd()), { lua_tree, c_tree }
  local function absolute(tree) return tree:sub(1, 1) == "/" and tree or cwd .. "/" .. tree end
  lua_tree, c_tree = absolute(lua_tree), absolute(c_tree)
  local command = helper.lua_command(script, ...)
  lua_tree, c_tree = table.unpack(trees)
  return "cd " .. helper.quote(folder) .. " && " .. command
end

--- Whether a Lua module can be loaded, or a program is on the PATH.
-- @tparam string name
-- @treturn boolean
function helper.have(name)
  if package.loaded[name] or package.searchpath(name, package.path) or package.searchpath(name, package.cpath) then
    return true
  end
  return name:find("^[%w_.+-]+$") ~= nil and os.execute("command -v " .. name .. " > /dev/null 2>&1") == true
end

local pythons = {}

--- A Python that has the given modules.
-- @param ... names of modules: "numpy", "matplotlib", …
-- @treturn ?string the program, or nil
-- @treturn ?string why there is none: the reason to give to `pending`
function helper.python(...)
  local modules = table.concat({ ... }, ", ")
  if pythons[modules] == nil then
    pythons[modules] = false
    for _, program in ipairs { os.getenv "PYTHON" or "python3", "python3", "python", "/usr/bin/python3",
      "build/python/bin/python" } do -- the last one: of .ci/run
      local code = modules == "" and "pass" or "import " .. modules
      if os.execute(program .. " -c '" .. code .. "' > /dev/null 2>&1") then
        pythons[modules] = program
        break
      end
    end
  end
  if pythons[modules] then return pythons[modules] end
  return nil, "no Python" .. (modules == "" and "" or " with " .. modules)
end

--- The folder of shared data sets (../shared/data beside the repository, or SIMVAE_DATA).
-- @treturn ?string its path, or nil
-- @treturn ?string why there is none: the reason to give to `pending`
function helper.shared_data()
  local folder = os.getenv("SIMVAE_DATA") or "../shared/data"
  local file <close> = io.open(folder .. "/README.md")
  if file then return folder end
  return nil, "no shared data in " .. folder .. " (set SIMVAE_DATA)"
end

local temporary = {}

--- A new folder, removed with all that is in it when the suite ends.
-- @treturn string its path
function helper.temporary_folder()
  local pipe <close> = assert(io.popen("mktemp -d"))
  local path = assert(pipe:read("l"), "mktemp -d made no folder")
  temporary[#temporary + 1] = path
  return path
end

--- Asserts that a training that is interrupted and goes on has the weights of one that is not.
-- @tparam function train (out, stop) -> model; it raises at step `stop` of the encoder
-- @tparam integer stop
-- @return the model that was not interrupted
function helper.goes_on(train, stop)
  local core, folder, luassert = require "simvae.core", helper.temporary_folder(), require "luassert"
  local whole = train(folder .. "/whole")
  luassert.is_false(pcall(train, folder .. "/stopped", stop))
  local again = train(folder .. "/stopped"):state()
  for name, t in pairs(whole:state()) do
    luassert.equal(0, core.max(core.abs(t - again[name])):item(), name)
  end
  return whole
end

--- Removes the temporary folders; busted's end of the suite calls it.
function helper.remove_temporary_folders()
  for i = #temporary, 1, -1 do
    os.execute("rm -rf " .. helper.quote(temporary[i]))
    temporary[i] = nil
  end
end

local in_busted, busted = pcall(require, "busted")
if in_busted and busted.subscribe then
  busted.subscribe({ "suite", "end" }, function()
    helper.remove_temporary_folders()
    return nil, true
  end)
end

return helper
