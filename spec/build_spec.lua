local helper = require "spec.helper"

local function lua_files()
  local files = {}
  for path in helper.run("find lua simulators -name '*.lua' | sort"):gmatch("[^\n]+") do files[#files + 1] = path end
  return files
end

describe("require 'simvae'", function()
  it("leaves no globals and takes under 20 MB of a process", function()
    local output = helper.run(helper.lua_command("-e", [[
      local known = {}
      for name in pairs(_G) do known[name] = true end
      require "simvae"
      for name in pairs(_G) do if not known[name] then print("global", name) end end
      for line in io.lines("/proc/self/status") do
        if line:find("^VmHWM") then print("kb", line:match("%d+")) end
      end]]))
    assert.is_nil(output:match("global%s+%S+"), output)
    local kb = tonumber(output:match("kb%s+(%d+)") or 0)
    if os.getenv("LD_PRELOAD") then return end -- a sanitizer's own memory
    assert.is_true(kb < 20 * 1024, output)
  end)

  it("finds every module and function that it names", function()
    local sv = require "simvae"
    local source <close> = assert(io.open("lua/simvae/init.lua"))
    local text = source:read("a")
    local named = 0
    for list in text:gmatch("\nlocal %a+ = (%b{})") do
      for name in list:gmatch("[{,%s]([%a_]+) = [{\"]") do
        if name ~= "also" then
          named = named + 1
          assert.is_truthy(sv[name], name)
        end
      end
    end
    assert.is_true(named > 10)
  end)
end)

describe("documentation", function()
  it("is what sv.help prints of every op, function and method", function()
    local core, help = require "simvae.core", require "simvae.util.help"
    for _, name in ipairs(help.names()) do assert.is_string(help.text(name), name) end
    for name, f in pairs(require "simvae") do
      if type(f) == "function" then assert.is_string(help.text(name), "sv." .. name) end
    end
    for name in pairs(core.methods) do assert.is_string(help.text(name), "t:" .. name) end
    assert.matches("stride:int=1", help.text "conv2d", 1, true)
    assert.matches("^model:invert%(x, t%)\n\n  Refines", help.text "model.invert")
    assert.matches("^model:encode%(x, t%)\n", help.text "encode")
    assert.matches("^sv.linalg\n\n  Linear algebra.*functions: cholesky, ", help.text "linalg")
    assert.matches("(n, K) in units", help.text "simulate", 1, true) -- read from the source file
  end)

  it("stands above every public function", function()
    local missing = {}
    for _, path in ipairs(lua_files()) do
      local file <close> = assert(io.open(path))
      local text = file:read("a")
      local module = text:match("\nreturn ([%a_]+)%s*$") or ""
      local above, number = "", 0
      for line in text:gmatch("([^\n]*)\n") do
        number = number + 1
        -- of the module's own table, or of a class that it shows
        local owner, name = line:match("^function ([%a_]+)[.:](%a[%w_]*)%s*%(")
        local public = name and (owner == module or text:find(module .. ".class = " .. owner, 1, true))
        if public and not above:find("^%-%-") then
          missing[#missing + 1] = path .. ":" .. number .. " " .. name
        end
        above = line
      end
    end
    assert.equal("", table.concat(missing, "\n"))
  end)

  it("stands at the head of every file", function()
    for _, path in ipairs(lua_files()) do
      assert.is_truthy(io.lines(path)():find("^%-%-"), path)
    end
  end)
end)

describe("the C sources", function()
  it("check arguments by functions whose errors name function, argument and remedy, not by lauxlib's", function()
    local checks = "argerror|argcheck|check(integer|number|l?string|type|any|udata|option)|opt[a-z]+"
    local found = helper.run("grep -rnE 'luaL_(" .. checks .. ")' csrc --include=*.c "
      .. "| grep -vE '^csrc/(blas|hdf5|matio|mpi)/'")
    assert.equal("", found)
  end)
end)

describe("make", function()
  -- what a make around this suite passes on is its own affair
  local make = "env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u CC -u LUA_INCDIR make"

  it("env prints what a shell needs, and nothing else", function()
    local env = make .. " -s env BUILD=some/where"
    local output, code = helper.run("eval \"$(" .. env .. ")\"; echo $LUA_PATH; echo $LUA_CPATH")
    assert.equal(0, code)
    local path, cpath = output:match("^(%S+)\n(%S+)\n$")
    assert.is_truthy(path and path:find("/some/where/share/lua/5.4/?.lua;", 1, true), output)
    assert.is_truthy(cpath:find("/some/where/lib/lua/5.4/?.so;", 1, true), output)
    assert.equal(";;", path:sub(-2))
  end)

  it("names the package of what is missing, and stops", function()
    local folder = helper.temporary_folder()
    local output, code = helper.run(make .. " -s BUILD=" .. folder .. "/b PKG_CONFIG=/bin/false")
    assert.not_equal(0, code)
    for _, package in ipairs { "liblua5.4-dev", "libpng-dev", "zlib1g-dev" } do
      assert.is_truthy(output:find("apt-get install " .. package, 1, true), output)
    end
  end)

  it("installs below DESTDIR what it staged, and takes it away again", function()
    local folder = helper.temporary_folder()
    local places = " PREFIX=/opt/x DESTDIR=" .. folder .. " BUILD=" .. helper.quote(helper.build)
    -- what is built already is not built again: the flags of this build are not known here
    local output, code = helper.run(make .. " -s -o all install" .. places)
    assert.equal(0, code, output)
    local trees = "cd %s && find share lib -type f | sort"
    assert.equal(helper.run(trees:format(helper.quote(helper.build))), helper.run(trees:format(folder .. "/opt/x")))
    local run = helper.run("env LUA_PATH='" .. folder .. "/opt/x/share/lua/5.4/?.lua;" .. folder ..
      "/opt/x/share/lua/5.4/?/init.lua' LUA_CPATH='" .. folder .. "/opt/x/lib/lua/5.4/?.so' " ..
      (os.getenv("LUA") or "lua5.4") .. " -e 'io.write(require(\"simvae\").version)'")
    assert.equal(require("simvae").version, run)
    assert.equal(0, select(2, helper.run(make .. " -s uninstall" .. places)))
    assert.equal("", helper.run("find " .. folder .. " -type f"))
  end)
end)
