-- Programs, forked workers and shared memory.
require "spec.helper"
local core = require "simvae.core"
local process = core.process

local function alive(pid)
  return os.execute("kill -0 " .. pid .. " 2> /dev/null") == true
end

describe("a program", function()
  it("talks through its pipes, whatever the size", function()
    local child <close> = assert(process.spawn { "cat" })
    assert.is_true(child:write("one\r\ntwo\n"))
    assert.equal("one", child:read_line(5))
    assert.equal("two", child:read_line(5))
    local long = ("x"):rep(3000000)
    assert.is_true(child:write(long .. "\n", 10)) -- more than both pipes hold: it is read meanwhile
    assert.equal(long, child:read_line(10))
    child:write("rest")
    child:end_input()
    assert.equal("re", child:read(2, 5))
    assert.equal("st", child:read_all(5))
    assert.same({ "exit", 0 }, { child:wait(5) })
    assert.same({ nil, "closed" }, { child:write("more") })
  end)

  it("is not started where there is none, or none that runs", function()
    assert.same({ nil, "no-such-program: no such program in PATH" }, { process.spawn { "no-such-program" } })
    local child, why = process.spawn { "README.md/x" }
    assert.is_nil(child)
    assert.matches("README.md/x: ", why, 1, true)
    child, why = process.spawn { "ls", cwd = "no/such/folder" }
    assert.is_nil(child)
    assert.matches("No such file", why)
  end)

  it("has a folder and an environment, and no file of ours", function()
    local file <close> = assert(io.open(arg[0] or "Makefile") or io.open("Makefile"))
    local child <close> = assert(process.spawn {
      "sh", "-c", "pwd; echo \"$NEW-$HOME-\"; ls /proc/self/fd 2> /dev/null | tr '\\n' ' '", cwd = "/",
      env = { NEW = "value", HOME = false },
    })
    assert.equal("/", child:read_line(5))
    assert.equal("value--", child:read_line(5))
    local files = child:read_all(5)
    if files ~= "" then assert.equal("0 1 2 3 ", files) end -- 3: ls reads the folder
    assert.is_truthy(file)
  end)

  it("ends by its code or by a signal, with what it wrote on its standard error", function()
    local child <close> = assert(process.spawn { "sh", "-c", "echo trouble >&2; exit 7" })
    assert.same({ "exit", 7 }, { child:wait(5) })
    assert.equal("trouble\n", child:errors())
    assert.equal("", child:errors())
    local other <close> = assert(process.spawn { "sleep", "60" })
    assert.same({ nil, "timeout" }, { other:wait(0.02) })
    assert.same({ nil, "timeout" }, { other:read_line(0.02) })
    assert.is_true(other:running())
    other:kill "TERM"
    assert.same({ "signal", "SIGTERM" }, { other:wait(5) })
    assert.is_false(other:running())
    assert.has_error(function() other:kill "TRM" end, "kill: no signal is named 'TRM'; did you mean TERM")
  end)

  it("does not kill us when it is gone", function()
    local child <close> = assert(process.spawn { "true" })
    child:wait(5)
    assert.same({ nil, "closed" }, { child:write(("x"):rep(200000), 5) })
  end)

  it("ends with its group when its object goes", function()
    local child = assert(process.spawn { "sh", "-c", "sleep 60 & echo $!; wait" })
    local sleeper = child:read_line(5)
    assert.is_true(alive(sleeper))
    child:close()
    local patience = core.system.clock() + 5
    while alive(sleeper) and core.system.clock() < patience do core.system.sleep(0.01) end
    assert.is_false(alive(sleeper))
    local pid = assert(process.spawn { "sleep", "60" }):pid()
    collectgarbage()
    collectgarbage()
    assert.is_false(alive(pid))
  end)
end)

describe("a worker", function()
  it("runs a function in a copy of this process and exchanges messages", function()
    local here = 1
    local worker <close> = process.fork(function(link, factor)
      here = here + 1
      while true do
        local message = link:receive()
        if not message then return end
        link:send(message:rep(factor))
      end
    end, 3)
    assert.is_true(worker:send "ab")
    assert.equal("ababab", worker:receive(5))
    local long = ("y"):rep(1000000)
    assert.is_true(worker:send(long))
    assert.equal(3000000, #worker:receive(10))
    assert.is_true(worker:send "")
    assert.equal("", worker:receive(5))
    assert.same({ nil, "timeout" }, { worker:receive(0.02) })
    assert.equal(1, here)
  end)

  it("says what it raised, how it ended", function()
    local worker <close> = process.fork(function() error("bad luck", 0) end)
    assert.same({ nil, "bad luck" }, { worker:receive(5) })
    assert.same({ nil, "closed" }, { worker:receive(5) })
    assert.same({ "exit", 1 }, { worker:wait(5) })
    local killed <close> = process.fork(function() core.system.sleep(60) end)
    killed:kill "USR1"
    assert.same({ "signal", "SIGUSR1" }, { killed:wait(5) })
    local done <close> = process.fork(function() end)
    assert.same({ "exit", 0 }, { done:wait(5) })
  end)

  it("is polled with others", function()
    local function echo(link) link:send(link:receive()) core.system.sleep(60) end
    local a <close> = process.fork(echo)
    local b <close> = process.fork(echo)
    assert.same({}, process.poll({ a, b }, 0.02))
    b:send "now"
    assert.same({ 2 }, process.poll({ a, b }, 5))
    assert.equal("now", b:receive(5))
    a:kill()
    assert.same({ 1 }, process.poll({ a, b }, 5))
  end)

  it("shares tensors, and computes on threads of its own", function()
    local shared = core.shared(4, 1000)
    local worker <close> = process.fork(function(link)
      core.threads(2)
      shared:copy(core.full(2, { 4, 1000 }) * core.full(3, { 4, 1000 }))
      link:send "done"
    end)
    assert.equal("done", worker:receive(10))
    assert.equal(6, shared:get(4, 1000))
    assert.equal(24000, shared:sum():item())
  end)

  it("dies when its owner is killed", function()
    if core.system.kind("/proc/self") ~= "folder" then return pending "needs Linux" end
    local owner <close> = process.fork(function(link)
      local inner = process.fork(function() core.system.sleep(60) end)
      local program = process.spawn { "sleep", "60" }
      link:send(inner:pid() .. " " .. program:pid())
      core.system.sleep(60)
    end)
    local inner, program = owner:receive(5):match "(%d+) (%d+)"
    assert.is_true(alive(inner) and alive(program))
    owner:kill "KILL"
    owner:wait(5)
    local patience = core.system.clock() + 5
    while (alive(inner) or alive(program)) and core.system.clock() < patience do core.system.sleep(0.01) end
    -- a zombie that nobody has waited for still has its number
    for _, pid in ipairs { inner, program } do
      local status = io.open("/proc/" .. pid .. "/status")
      if status then assert.matches("State:%s+[ZX]", status:read "a") status:close() end
    end
  end)
end)
