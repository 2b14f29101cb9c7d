-- Programs as simulators.
local helper = require "spec.helper"
local core = require "simvae.core"
local command = require "simvae.simulator.command".command

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

  it("answers pictures as lists of rows, and not with channels last", function()
    local rows = sh "read l; echo '[[[1, 2, 3], [4, 5, 6]]]'"
    assert.same({ { { { 1, 2, 3 }, { 4, 5, 6 } } } }, run(rows, { output = { 1, 2, 3 } }))
    assert.matches("lists of 3 numbers where a row of the output (3, 1, 2) has 2", why(rows, { output = { 3, 1, 2 } }),
      1, true)
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
    local function answer(t, output)
      local path = folder .. "/x.npy"
      if type(t) == "string" then
        local f <close> = assert(io.open(path, "wb"))
        f:write(t)
      else
        assert(require "simvae.io".save_npy(path, core.tensor(t)))
      end
      return why({ "sh", "-c", "while read l; do cat " .. path .. "; done" },
        { protocol = "npy", output = output })
    end
    assert.matches("shape (2,) where the output is (3,)", answer { 1, 2 }, 1, true)
    assert.matches("shape (1, 3, 2) where the output is (1, 2, 3)", answer({ { { 1, 2 }, { 3, 4 }, { 5, 6 } } },
      { 1, 2, 3 }), 1, true) -- pictures the other way round, or channels last
    assert.matches("NaN", answer { 1, 2, 0 / 0 }, 1, true)
    local header = "{'descr': '<c16', 'fortran_order': False, 'shape': (3,), }\n"
    assert.matches("complex numbers", answer("\x93NUMPY\1\0" .. string.pack("<s2", header) .. ("\0"):rep(48)), 1, true)
  end)

  it("may answer in binary with anything", function()
    assert.matches("no .npy array", why(sh "read l; echo hello there and more", { protocol = "npy" }), 1, true)
    assert.matches("exit code 2", why(sh "read l; printf x; exit 2", { protocol = "npy" }), 1, true)
  end)
end)

describe("a program that is out of step", function()
  it("is an error, whether a line too many comes at once or later", function()
    local twice = "while read l; do echo '[1, 2, 3]'; echo '[9, 9, 9]'; done"
    assert.matches("wrote more than one answer to this sample: \"[9, 9, 9]\" follows", why(sh(twice)), 1, true)
    local later = "while read l; do echo '[1, 2, 3]'; sleep 0.05; echo '[9, 9, 9]'; done"
    local sim = program(sh(later))
    local ok, message = true, nil
    for _ = 1, 9 do -- of a lag that no answer shows, some sample's look tells
      if ok then ok, message = sim:run_one({ 0, 0 }, core.zeros(3)) end
    end
    sim:close()
    assert.is_nil(ok)
    assert.matches("wrote more than one answer", message, 1, true)
  end)

  it("is an error when it greets, with a line of words or of numbers", function()
    assert.matches("\"Solver 1.2\"", why(sh "read l; echo 'Solver 1.2'; echo '[1, 2, 3]'; sleep 60"), 1, true)
    for _, banner in ipairs { "Solver 1.2", "[0, 0, 0]" } do
      local sim = program(sh("echo '" .. banner .. "'; while read l; do echo '[1, 2, 3]'; done"))
      local ok, message = sim:run_one({ 0, 0 }, core.zeros(3))
      assert.is_nil(ok)
      assert.matches(message:find "before" and "before it was asked" or banner:find "S" and "where a line [x1, x2, …]"
        or "wrote more than one answer", message, 1, true)
      sim:close()
    end
  end)

  it("may write blank lines and carriage returns", function()
    assert.same({ { 1, 2, 3 }, { 1, 2, 3 } }, run(sh "while read l; do printf '\r\n[1, 2, 3]\r\n\r\n'; done", nil,
      { { 0, 0 }, { 1, 1 } }))
  end)

  it("is named by the line that it did not end", function()
    assert.matches("(timeout), after the unfinished line \"[1, 2\"",
      why(sh "read l; printf '[1, 2'; sleep 60", { timeout = 0.2 }), 1, true)
    assert.matches("exit code 0, without an answer, after the unfinished line \"[1, 2, 3]\"",
      why(sh "read l; printf '[1, 2, 3]'"), 1, true)
  end)

  it("is not read beyond what its numbers can take", function()
    assert.matches("wrote more than 65728 bytes where 3 numbers were expected",
      why(sh "read l; head -c 300000 /dev/zero | tr '\\0' ' '; echo x"), 1, true)
    assert.matches("wrote more than 65728 bytes where 3 numbers were expected",
      why(sh "head -c 300000 /dev/zero", { protocol = "file" }), 1, true)
    assert.matches("wrote more than 65728 bytes where 3 numbers were expected",
      why(sh "head -c 300000 /dev/zero > {x}", { protocol = "file" }), 1, true)
    assert.same({ { 1, 2, 3 } }, run(sh "head -c 3000000 /dev/zero; echo 1 2 3 > {x}", { protocol = "file" }))
  end)

  it("has its time for a sample, not for each of its bytes", function()
    local slow = sh [[read l; for i in 1 2 3 4 5 6 7 8 9; do printf '\223'; sleep 0.1; done; sleep 60]]
    assert.matches("took longer than 0.5 s", why(slow, { protocol = "npy", timeout = 0.5 }), 1, true)
  end)
end)

describe("a program's processes", function()
  local function gone(pid)
    for _ = 1, 100 do
      if os.execute("kill -0 " .. pid .. " 2> /dev/null") ~= true then return true end
      core.system.sleep(0.02)
    end
  end

  -- A program that leaves a process behind, whose number is its first number.
  local leaves = "sleep 300 & echo \"[$!, 0, 0]\""

  it("end with it", function()
    local sim = program(sh("while read l; do " .. leaves .. "; done"))
    local pid = math.tointeger(sim:run({ { 0, 0 } }):get(1, 1))
    sim:close()
    assert.is_true(gone(pid))
    pid = math.tointeger(run(sh("sleep 300 > /dev/null & echo $! 0 0"), { protocol = "file" })[1][1])
    assert.is_true(gone(pid))
  end)

  it("do not hide that it has ended", function()
    assert.matches("ended with exit code 0, without an answer", why({ "sh", "-c", "setsid sleep 2 & exit 0" }), 1,
      true)
  end)

  it("end when its owner is killed", function()
    local script = helper.temporary_folder() .. "/owner.lua"
    local file <close> = assert(io.open(script, "w"))
    file:write((([[local sv = require "simvae"
      local sim = sv.command { cmd = { "sh", "-c", "while read l; do LEAVES; done" }, output = { 3 },
        params = { { name = "a", low = 0, high = 1 } } }
      print(string.format("%d", sim:run { { 0 } }:get(1, 1)))
      io.stdout:flush()
      os.execute "kill -9 $PPID"]]):gsub("LEAVES", (leaves:gsub('["\\]', "\\%0")))))
    file:close()
    local pipe <close> = assert(io.popen("exec env " .. helper.lua_command(script))) -- a shell would tell of the kill
    assert.is_true(gone(assert(pipe:read "l")))
  end)
end)

describe("a program's numbers", function()
  local function numbers(text)
    return run({ "printf", "%b", (text:gsub("\n", "\\n")) }, { protocol = "file" })
  end

  it("may be written as Fortran, C and JSON write them", function()
    local fortran = numbers(" 0.1500D+01 -0.25d-02  2.0Q0")[1]
    for i, v in ipairs { 1.5, -0.0025, 2 } do assert.near(v, fortran[i], 1e-9) end
    local x = numbers("0x1.8p+1 1.5-003 \xe2\x88\x921")[1]
    assert.equal(3, x[1])
    assert.near(1.5e-3, x[2], 1e-9)
    assert.equal(-1, x[3])
    assert.same({ { 1, 2, 3 } }, numbers "\xef\xbb\xbf1;2;3\n")
    assert.same({ { 1, 2, 3 } }, numbers "1,2,\n3,\n")
  end)

  it("are refused with the name of their form", function()
    local function refusal(text) return select(2, numbers(text)) end
    assert.matches("is the decimal sign a comma?", refusal "1,5 2,5", 1, true)
    assert.matches("is the decimal sign a comma?", refusal "1,5\n2,5\n3,5\n", 1, true)
    assert.matches("beyond the range of double precision", refusal "1 2 1e400", 1, true)
    assert.matches("beyond the range of single precision", refusal "1 2 -1e39", 1, true)
    assert.matches("after number 1: an empty cell", refusal "1,,2,3", 1, true)
    assert.matches("'true', is a boolean", refusal "1 true 3", 1, true)
    assert.matches("'1+2j', is a complex number", refusal "1 1+2j 3", 1, true)
    assert.matches("'***', is a field that Fortran found too narrow", refusal "1 *** 3", 1, true)
    assert.matches("reported a failure (NaN)", refusal "1 nan(0x7ff) 3", 1, true)
    assert.matches("'1?', is not a number", refusal "1\\0000 2 3", 1, true)
  end)
end)

describe("a program's folder", function()
  local fixed = 'echo "$1 $1 $PWD" > result.txt; sleep 0.01; cut -d" " -f1,2 result.txt; echo 0'

  it("keeps files of a fixed name apart", function()
    local sim = program({ "sh", "-c", fixed, "sh", "{a}" }, { protocol = "file" })
    local z, x = require "simvae.sampler".simulate(sim, 24, core.rng(1), { workers = 3 })
    for n, row in ipairs(x:totable()) do assert.near(z:get(n, 1), row[1], 1e-5) end
    sim:close()
  end)

  it("is the working directory, TMPDIR and {dir}, private, new for each process, and removed", function()
    for _, protocol in ipairs { "line", "file" } do
      local check = "[ \"$(pwd -P)\" = \"$(cd {dir}; pwd -P)\" ] && [ \"$TMPDIR\" = {dir} ] && "
        .. "[ \"$(stat -c %a .)\" = 700 ] && [ ! -e left ] && touch left && "
      local names = helper.temporary_folder() .. "/names"
      local sim = program(sh("read l; " .. check .. "echo {dir} >> " .. names .. "; echo '[1, 2, 3]'"),
        { protocol = protocol })
      assert.same({ { 1, 2, 3 }, { 1, 2, 3 } }, sim:run({ { 0, 0 }, { 1, 1 } }):totable())
      sim:close()
      local seen = {}
      for name in io.lines(names) do
        assert.is_nil(core.system.kind(name))
        assert.is_nil(seen[name])
        seen[name] = true
      end
    end
  end)

  it("is not the working directory where cwd is given", function()
    local place = helper.temporary_folder()
    os.execute("echo 1 2 3 > " .. place .. "/numbers; printf 'cat numbers; cp numbers \"$TMPDIR\"' > " .. place .. "/s")
    assert.same({ { 1, 2, 3 } }, run({ "sh", "s" }, { protocol = "file", cwd = place }))
  end)

  it("is named where cwd is none", function()
    assert.matches("(cwd: there is no folder /no/such)", why({ "true" }, { cwd = "/no/such" }), 1, true)
  end)

  it("leaves arguments that name files valid", function()
    local place = helper.temporary_folder()
    local script = place .. "/relative.lua"
    os.execute("cd " .. place .. " && mkdir bin && printf '#!/bin/sh\ncat \"$1\" \"${2#--with=}\"' > bin/show && "
      .. "chmod +x bin/show && echo 1 > one && echo 2 3 > two")
    local file <close> = assert(io.open(script, "w"))
    file:write [[local sv = require "simvae"
      local sim = sv.command { cmd = { "./bin/show", "one", "--with=two" }, output = { 3 }, protocol = "file",
        params = { { name = "a", low = 0, high = 1 } } }
      print(table.concat(sim:run({ { 0 } }):totable()[1], " "))]]
    file:close()
    assert.equal("1.0 2.0 3.0\n", (helper.run(helper.lua_command_in(place, script))))
  end)

  it("has files whose places are not mistaken for parameters", function()
    local params = { { name = "x", low = 0, high = 9 }, { name = "z", low = 0, high = 9 } }
    assert.error_matches(function() program({ "cp", "{z}", "{x}" }, { protocol = "file", params = params }) end,
      "{z} in cmd may be the parameter 'z' or the program's file: write {param.z} or {file.z}", 1, true)
    assert.same({ { 0.25, 0.5, 7 } }, run(sh "echo {param.x} {param.z} 7 > {file.x}",
      { protocol = "file", params = params }))
    assert.error_matches(function() program({ "true" }, { protocol = "file", files = { z = "a", x = "a" } }) end,
      "both are named", 1, true)
    assert.error_matches(function() program({ "true" }, { protocol = "file", files = { z = ".." } }) end,
      "names without folders", 1, true)
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
    assert(io_module.save_npy(folder .. "/t.npy", core.tensor { { 1, 2 }, { 3, 4 }, { 5, 6 } }))
    assert.matches("shape (3, 2) where the output is (1, 2, 3)", why({ "cp", folder .. "/t.npy", "{x}" },
      { protocol = "file", files = { x = "x.npy" }, output = { 1, 2, 3 } }), 1, true)
    assert.matches("shape (3,) where the output is (2,)", why({ "cp", folder .. "/x.npy", "{x}" },
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
