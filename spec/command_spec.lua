-- Programs as simulators.
local helper = require "spec.helper"
local core = require "simvae.core"
local command = require "simvae.command".command

local function program(cmd, change)
  local t = {
    name = "program", cmd = cmd, output = { 3 }, timeout = 10,
    params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 0, high = 1 } },
  }
  for k, v in pairs(change or {}) do t[k] = v end
  return command(t)
end

local function run(cmd, change, z)
  local sim = program(cmd, change)
  local ok, x = pcall(sim.run, sim, z or { { 0.25, 0.5 } })
  sim:close()
  if not ok then return nil, x end
  return x:totable()
end

local function sh(script) return { "sh", "-c", script } end

-- Answers every line [a, b] with a, b, a + b.
local adder = sh [[while read -r line; do
  echo "$line" | tr -d '[],' | awk '{ print "[" $1 "," $2 "," $1 + $2 "]" }'
done]]

local function why(cmd, change)
  local x, message = run(cmd, change)
  assert.is_nil(x)
  return message
end

describe("a program that runs on", function()
  it("answers line by line", function()
    assert.same({ { 0.25, 0.5, 0.75 }, { 1, 0.125, 1.125 } }, run(adder, nil, { { 0.25, 0.5 }, { 1, 0.125 } }))
    assert.same({ { { { 1 }, { 2 }, { 3 } } } }, run(sh "read l; echo '[[[1], [2]], [3]]'", { output = { 1, 3, 1 } }))
  end)

  it("is started afresh after a number of samples", function()
    local counter = sh "n=0; while read -r l; do n=$((n + 1)); echo \"[$n, $$, 0]\"; done"
    local x = run(counter, { restart = 2 }, { { 0, 0 }, { 0, 0 }, { 0, 0 } })
    assert.same({ 1, 2, 1 }, { x[1][1], x[2][1], x[3][1] })
    assert.equal(x[1][2], x[2][2])
    assert.are_not.equal(x[2][2], x[3][2])
    x = run(counter, nil, { { 0, 0 }, { 0, 0 }, { 0, 0 } })
    assert.same({ 1, 2, 3 }, { x[1][1], x[2][1], x[3][1] })
  end)

  it("fails in ways that say what it did", function()
    assert.matches("no-such-program: no such program in PATH", why { "no-such-program" }, 1, true)
    assert.matches("answered 2 numbers where 3 were expected", why(sh "read l; echo '[1, 2]'"), 1, true)
    assert.matches("answered \"hello\"", why(sh "read l; echo hello"), 1, true)
    assert.matches("answered \"[1, x, 3]\"", why(sh "read l; echo '[1, x, 3]'"), 1, true)
    assert.matches("reported a failure (NaN)", why(sh "read l; echo '[1, NaN, 3]'"), 1, true)
    assert.matches("reported a failure (NaN)", why(sh "read l; echo '[1, null, 3]'"), 1, true)
    assert.matches("not finite", why(sh "read l; echo '[1, Infinity, 3]'"), 1, true)
    assert.matches("exit code 3, without an answer; it wrote: bad news", why(sh "read l; echo bad news >&2; exit 3"), 1,
      true)
    assert.matches("died by SIGUSR1", why(sh "read l; kill -USR1 $$"), 1, true)
    assert.matches("took longer than 0.1 s (timeout)", why(sh "sleep 60", { timeout = 0.1 }), 1, true)
    assert.matches("a = 0.25, b = 0.5", why(sh "exit 1"), 1, true)
  end)

  it("goes on after it died, in step", function()
    -- dies at its third sample, and answers a line too many at a = 0.5
    local sim = program(sh [[n=0
      while read -r l; do
        n=$((n + 1)); [ $n = 3 ] && exit 1
        echo "$l" | sed 's/]/, 7]/'
        case "$l" in "[0.5,"*) kill -9 $$;; esac
      done]])
    local out = core.zeros(3)
    local good = 0
    for i = 1, 12 do
      local a = i % 4 == 0 and 0.5 or i / 16
      if sim:run_one({ a, 0.25 }, out) then
        good = good + 1
        assert.near(a, out[1], 1e-7)
        assert.equal(7, out[3])
      end
    end
    assert.is_true(good >= 8, good .. " of 12")
    sim:close()
  end)

  it("is one of its own in a forked copy", function()
    local sim = program(sh "while read -r l; do echo \"[$$, 0, 0]\"; done")
    local ours = sim:run({ { 0, 0 } }):get(1, 1)
    local copy <close> = core.process.fork(function(link)
      link:send(string.format("%d", sim:run({ { 0, 0 } }):get(1, 1)))
      sim:close()
    end)
    local theirs = tonumber((assert(copy:receive(10))))
    assert.are_not.equal(ours, theirs)
    assert.equal(ours, sim:run({ { 0, 0 } }):get(1, 1))
    sim:close()
  end)

  it("answers in binary", function()
    local python, none = helper.python "numpy"
    if not python then return pending(none) end
    local script = "import sys, json, numpy as np\nfor l in sys.stdin:\n  z = json.loads(l)\n"
      .. "  x = np.array([1, 2, sum(z)]) if z[0] < 1 else np.array([[1], [0], [1]], 'u1')\n"
      .. "  np.save(sys.stdout.buffer, x)\n  sys.stdout.buffer.flush()"
    assert.same({ { 1, 2, 0.75 }, { 1, 0, 1 }, { 1, 2, 1 } }, run({ python, "-c", script },
      { protocol = "npy", timeout = 60 }, { { 0.25, 0.5 }, { 1, 0.5 }, { 0.5, 0.5 } }))
  end)

  it("answers in binary with what is wrong", function()
    local folder = helper.temporary_folder()
    local function answer(t)
      local path = folder .. "/x.npy"
      if type(t) == "string" then
        local f <close> = assert(io.open(path, "wb"))
        f:write(t)
      else
        assert(require "simvae.io".save_npy(path, core.tensor(t)))
      end
      return why({ "sh", "-c", "while read l; do cat " .. path .. "; done" }, { protocol = "npy" })
    end
    assert.matches("shape (2,) where 3", answer { 1, 2 }, 1, true)
    assert.matches("NaN", answer { 1, 2, 0 / 0 }, 1, true)
    local header = "{'descr': '<c16', 'fortran_order': False, 'shape': (3,), }\n"
    assert.matches("complex numbers", answer("\x93NUMPY\1\0" .. string.pack("<s2", header) .. ("\0"):rep(48)), 1, true)
  end)

  it("may answer in binary with anything", function()
    assert.matches("no .npy array", why(sh "read l; echo hello there and more", { protocol = "npy" }), 1, true)
    assert.matches("exit code 2", why(sh "read l; printf x; exit 2", { protocol = "npy" }), 1, true)
  end)
end)

describe("a program a sample", function()
  local files = { protocol = "file" }

  it("reads and writes files, or arguments and its output", function()
    assert.same({ { 0.25, 0.5, 0.75 } }, run(sh "tr -d '[],' < {z} | awk '{ print $1, $2, $1 + $2 }' > {x}", files))
    assert.same({ { 0.25, 0.5, 7 }, { 1, 0, 7 } },
      run({ "echo", "{a}", "{b}", "7" }, files, { { 0.25, 0.5 }, { 1, 0 } }))
    assert.same({ { 0.25, 0.5, 9 } }, run(sh "sed 's/]/, 9]/'", files))
  end)

  it("writes arrays and pictures", function()
    local folder = helper.temporary_folder()
    local io_module = require "simvae.io"
    assert(io_module.save_npy(folder .. "/x.npy", core.tensor { 1, 2, 3 }))
    assert(io_module.save_png(folder .. "/x.png", core.tensor { { { 0, 1 }, { 1, 0 } } }))
    assert.same({ { 1, 2, 3 } },
      run({ "cp", folder .. "/x.npy", "{x}" }, { protocol = "file", files = { x = "x.npy" } }))
    assert.same({ { { { 0, 1 }, { 1, 0 } } } }, run({ "cp", folder .. "/x.png", "{x}" },
      { protocol = "file", files = { x = "x.png" }, output = { 1, 2, 2 } }))
    assert.matches("shape (3,) where 2", why({ "cp", folder .. "/x.npy", "{x}" },
      { protocol = "file", files = { x = "x.npy" }, output = { 2 } }), 1, true)
  end)

  it("fails in ways that say what it did", function()
    assert.matches("ended with exit code 4; it wrote: oops", why(sh "echo oops >&2; exit 4", files), 1, true)
    assert.matches("died by SIGKILL", why(sh "echo 1 2 3; kill -9 $$", files), 1, true)
    assert.matches("(timeout)", why(sh "sleep 60", { protocol = "file", timeout = 0.1 }), 1, true)
    assert.matches("(timeout)", why(sh "exec > /dev/null; sleep 60", { protocol = "file", timeout = 0.1 }), 1, true)
    assert.matches("left no output", why({ "true", "{x}" }, files), 1, true)
    assert.matches("answered 1 numbers where 3", why({ "echo", "1" }, files), 1, true)
    assert.matches("no such program", why({ "no-such-program", "{x}" }, files), 1, true)
  end)

  it("leaves no files behind", function()
    local sim = program({ "echo", "{z}", "1" }, { protocol = "file" })
    local _, message = pcall(sim.run, sim, { { 0, 0 } })
    local path = message:match "answered \"(/[^\"]*/z.json) 1\""
    assert.equal("file", core.system.kind(assert(path, message)))
    sim:close()
    assert.is_nil(core.system.kind(path))
    assert.is_nil(core.system.kind((path:gsub("/z.json$", ""))))
  end)
end)

describe("sv.command", function()
  it("checks what it is given", function()
    assert.error_matches(function() program {} end, "cmd names a program", 1, true)
    assert.error_matches(function() program { "sh", 3 } end, "cmd[2] takes a string", 1, true)
    assert.error_matches(function() program({ "sh" }, { protocol = "lines" }) end, "one of line, npy, file", 1, true)
    assert.error_matches(function() program({ "sh", "{c}" }, { protocol = "file" }) end, "{c} in cmd is neither", 1,
      true)
    assert.error_matches(function() program({ "sh" }, { timout = 3 }) end, "did you mean 'timeout'", 1, true)
    assert.error_matches(function() program({ "sh" }, { files = {} }) end, "files is an option of protocol", 1, true)
  end)
end)

describe("the example programs", function()
  it("run: one in shell", function()
    local sim = dofile "examples/simulators/bounce.lua"
    local x = sim:run { { 2, 5 } }:totable()[1]
    for i = 0, 31 do assert.near(math.max(0, 2 + 0.5 * i - 9.81 / 200 * i * i), x[i + 1], 1e-4) end
    sim:close()
  end)

  it("run: one in Python", function()
    local python, none = helper.python()
    if not python then return pending(none) end
    local sim = dofile "examples/simulators/pendulum.lua"
    local x = sim:run { { 1, 0, 0.01 } }:totable()[1] -- small angles: a cosine
    for i = 0, 63 do assert.near(0.01 * math.cos(math.sqrt(9.81) * i / 10), x[i + 1], 2e-4) end
    sim:close()
  end)
end)
