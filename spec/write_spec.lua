-- Atomic writing and private temporary folders.
local helper = require "spec.helper"
local core = require "simvae.core"
local system = core.system

local folder = helper.temporary_folder()

local function slurp(path)
  local f <close> = assert(io.open(path, "rb"))
  return f:read "a"
end

local function spill(path, text)
  local f <close> = assert(io.open(path, "wb"))
  f:write(text)
end

local function names(path)
  local list = assert(system.list(path))
  table.sort(list)
  return list
end

local function sh(script, ...)
  local words = { "sh", "-c", helper.quote(script), "sh" }
  for i, v in ipairs { ... } do words[i + 4] = helper.quote(v) end
  return os.execute(table.concat(words, " ")) == true
end

describe("a writer", function()
  it("leaves the old file until it is committed, and nothing else when it is not", function()
    local place = folder .. "/a"
    assert(system.mkdir(place))
    spill(place .. "/x", "old")
    do
      local w <close> = assert(core.io.create(place .. "/x"))
      assert.is_true(w:write("one", "two"))
      assert.equal("old", slurp(place .. "/x"))
    end
    assert.equal("old", slurp(place .. "/x"))
    assert.same({ "x" }, names(place))
    local w = assert(core.io.create(place .. "/x"))
    assert.is_true(w:write "one")
    assert.is_true(w:write(" two"))
    assert.is_true(w:commit())
    assert.error_matches(function() w:write "more" end, "the writer is closed", 1, true)
    assert.equal("one two", slurp(place .. "/x"))
    assert.same({ "x" }, names(place))
  end)

  it("follows no link at a temporary name, and overwrites nothing there", function()
    local place = folder .. "/b"
    assert(system.mkdir(place))
    spill(place .. "/victim", "precious")
    assert(sh('cd "$1" && ln -s victim x.tmp', place))
    assert(core.io.write(place .. "/x", { "new" }))
    assert.equal("precious", slurp(place .. "/victim"))
    assert.equal("new", slurp(place .. "/x"))
  end)

  it("keeps the permissions of the file it replaces, and gives a new one those of the umask", function()
    local place = folder .. "/c"
    assert(system.mkdir(place))
    assert(sh('cd "$1" && echo old > x && chmod 640 x && ln -s x link && ln -s nothing loose', place))
    assert(core.io.write(place .. "/link", { "new" }))
    assert(core.io.write(place .. "/loose", { "new" }))
    assert(core.io.write(place .. "/y", { "new" }))
    assert(sh([[cd "$1" && [ "$(stat -c %a x)" = 640 ] && [ -L link ] && [ "$(cat x)" = new ] && [ ! -L loose ] &&
      [ ! -e nothing ] && echo > z && [ "$(stat -c %a y)" = "$(stat -c %a z)" ] ]], place))
  end)

  it("keeps the old one under another name where asked to, the name itself never being absent", function()
    local place = helper.temporary_folder()
    local path, previous = place .. "/a", place .. "/a.previous"
    assert.is_true(core.io.write(path, { "1" }, previous))
    assert.equal("a", table.concat(names(place), " "))
    for i = 2, 4 do
      assert.is_true(core.io.write(path, { tostring(i) }, previous))
      assert.equal(tostring(i), slurp(path))
      assert.equal(tostring(i - 1), slurp(previous))
    end
    assert.equal("a a.previous", table.concat(names(place), " "))
    -- what cannot be written leaves both
    local out = helper.run("trap '' XFSZ; ulimit -f 0; " .. helper.lua_command("-e", string.format(
      "print(require('simvae.core').io.write(%q, { 'much' }, %q))", path, previous)))
    assert.matches("^nil\tFile too large", out)
    assert.equal("43", slurp(path) .. slurp(previous))
    assert.equal("a a.previous", table.concat(names(place), " "))
  end)

  it("says why it cannot", function()
    assert.same({ nil, "Is a directory" }, { core.io.create(folder) })
    assert.same({ nil, "No such file or directory" }, { core.io.create(folder .. "/none/x") })
  end)
end)

describe("appending to a file", function()
  it("adds all of a text or nothing", function()
    local place = helper.temporary_folder()
    local path = place .. "/a"
    assert.is_true(core.io.append(path, "one\n"))
    assert.is_true(core.io.append(path, "two\n"))
    assert.equal("one\ntwo\n", slurp(path))
    spill(path, ("x"):rep(1000))
    local out = helper.run("trap '' XFSZ; ulimit -f 1; " .. helper.lua_command("-e", string.format(
      "print(require('simvae.core').io.append(%q, ('y'):rep(1000)))", path)))
    assert.matches("^nil\tFile too large", out) -- after 24 of the bytes
    assert.equal(("x"):rep(1000), slurp(path))
  end)
end)

describe("a temporary folder", function()
  it("is private, and removed with all that is in it", function()
    local path = assert(system.temporary_folder())
    local other = assert(system.temporary_folder())
    assert.are_not.equal(path, other)
    assert.same({}, names(path))
    assert(sh([[[ "$(stat -c %a "$1")" = 700 ] && mkdir -p "$1/a/b" && echo x > "$1/a/b/c" && chmod 500 "$1/a/b" &&
      echo keep > "$2/kept" && ln -s "$2" "$1/a/link"]], path, folder))
    assert.is_true(system.remove_tree(path))
    assert.is_nil(system.kind(path))
    assert.equal("folder", system.kind(other))
    assert.equal("keep\n", slurp(folder .. "/kept"))
    assert.is_true(system.remove_tree(path))
    for _, path_of_others in ipairs { folder, other .. "/..", other .. "/../..", "/", "." } do
      assert.error_matches(function() system.remove_tree(path_of_others) end, "is no temporary folder of this process",
        1, true)
    end
    assert.equal("folder", system.kind(other))
    system.remove_tree(other)
  end)

  -- What is left in TMPDIR by a process that runs this.
  local function left_by(code, more)
    local place = helper.temporary_folder()
    local script = folder .. "/script.lua"
    spill(script, "local core = require 'simvae.core' local folder = core.system.temporary_folder\n" .. code)
    os.execute("TMPDIR=" .. helper.quote(place) .. " " .. helper.lua_command(script) .. " > /dev/null 2>&1")
    if more then return place, script end
    return names(place)
  end

  it("ends with its process", function()
    assert.same({}, left_by "assert(folder())")
    assert.same({}, left_by "assert(folder()) os.exit(3)")
    assert.same({}, left_by "assert(folder()) error 'ends'")
  end)

  it("ends with a forked copy, also with one that is killed", function()
    assert.same({}, left_by [[
      local copy = core.process.fork(function(link) link:send(folder()) if link:receive() then return end end)
      local path = copy:receive(10)
      assert(core.system.kind(path) == "folder")
      copy:send "end"
      copy:wait(10)
      assert(not core.system.kind(path))
      copy = core.process.fork(function(link) link:send(folder()) link:receive() end)
      path = copy:receive(10)
      copy:kill()
      copy:wait(10)
      print(assert(not core.system.kind(path)))
      copy = core.process.fork(function(link) link:send(folder()) link:receive() end)
      copy:receive(10)]])
  end)

  it("is removed by the next process when its own was killed", function()
    local place = left_by("assert(folder()) os.execute('kill -9 $PPID')", true)
    assert.equal(1, #names(place))
    local script = folder .. "/next.lua"
    spill(script, "local core = require 'simvae.core' print(assert(core.system.temporary_folder()))")
    helper.run("TMPDIR=" .. helper.quote(place) .. " " .. helper.lua_command(script))
    assert.same({}, names(place))
  end)

  it("of a process that lives is left alone", function()
    local path = assert(system.temporary_folder())
    local script = folder .. "/next.lua"
    spill(script, "local core = require 'simvae.core' print(assert(core.system.temporary_folder()))")
    helper.run(helper.lua_command(script))
    assert.equal("folder", system.kind(path))
    system.remove_tree(path)
  end)

  it("returns the reason where a limit on file size is reached, in place of SIGXFSZ ending the process", function()
    local path = helper.temporary_folder() .. "/limited.npy"
    local output, code = helper.run("ulimit -f 1; " .. helper.lua_command("-e", string.format(
      "local sv = require 'simvae' print(sv.io.save_npy(%q, sv.zeros(100000)))", path)))
    assert.same({ 0, "nil\t" .. path .. ": File too large\n" }, { code, output })
    assert.is_nil((io.open(path)))
  end)
end)
