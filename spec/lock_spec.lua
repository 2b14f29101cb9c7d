local core = require "simvae.core"
local helper = require "spec.helper"

local read, run = helper.read, helper.run

local function names(folder)
  local list = core.system.list(folder)
  table.sort(list)
  return table.concat(list, " ")
end

local function spill(path, text)
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
end

-- Who holds a lock, as another process is told.
local function holder_of(path)
  return (run(helper.lua_command("-e", string.format(
    "print((select(2, require('simvae.core').io.lock(%q))))", path))))
end

describe("a lock", function()
  it("is held by one, of this process or of another, until it is closed", function()
    local folder = helper.temporary_folder()
    local path = folder .. "/lock"
    local function elsewhere() return holder_of(path) end
    local lock = assert(core.io.lock(path))
    assert.same({ nil, "this process", "held" }, { core.io.lock(path) })
    local host = run("hostname"):match "%S+"
    assert.equal(string.format("process %d on %s\n", core.system.pid(), host), elsewhere())
    lock:close()
    assert.equal("", names(folder))
    assert.equal("nil\n", elsewhere())
    assert.equal("", names(folder))
    local again <close> = assert(core.io.lock(path))
    assert.is_truthy(again)
  end)

  it("dies with its owner, whatever processes it has started", function()
    local folder = helper.temporary_folder()
    local path = folder .. "/lock"
    local owner = assert(core.process.spawn { "sh", "-c", "exec env " .. helper.lua_command("-e", string.format([[
      local core = require "simvae.core"
      local lock = assert(core.io.lock(%q))
      local pipe = io.popen("sleep 20") -- which inherits what is not closed on exec
      local worker = core.process.fork(function() core.system.sleep(20) end)
      print "locked"
      io.stdout:flush()
      core.system.sleep(20)]], path)) })
    assert.equal("locked", owner:read_line(10))
    assert.matches("^process " .. owner:pid() .. " on ", holder_of(path))
    owner:kill "KILL"
    owner:wait(10)
    assert.equal("file", (core.system.kind(path))) -- left behind, held by nobody
    local lock <close> = assert(core.io.lock(path))
    assert.is_truthy(lock)
    owner:close()
  end)

  it("is no link's target, and needs a folder that can be written", function()
    local folder = helper.temporary_folder()
    spill(folder .. "/victim", "precious")
    os.execute(string.format("ln -s %s/victim %s/lock", folder, folder))
    local none, _, kind = core.io.lock(folder .. "/lock")
    assert.is_nil(none)
    assert.equal("system", kind)
    assert.equal("precious", read(folder .. "/victim"))
    assert.same({ nil, "No such file or directory", "system" }, { core.io.lock(folder .. "/none/lock") })
  end)
end)
