-- Untrusted netlists: what sv.spice prevents.
local helper = require "spec.helper"
local core = require "simvae.core"
local spice = require "simvae.simulator.spice".spice

if not helper.have_ngspice() then
  pending("netlists: no libngspice", function() end)
  return
end

local divider = "t\nV1 in 0 1\nR1 in out {R}\nR2 out 0 1k\n"

local function make(netlist, change)
  local t = { netlist = netlist, params = { { name = "R", low = 100, high = 1e4, scale = "log" } }, analysis = ".op",
    output = { "v(out)" } }
  for k, v in pairs(change or {}) do t[k] = v end
  return assert(spice(t))
end

local function value(netlist, change)
  local sim = make(netlist, change)
  local x = sim:run({ { 1000 } }):totable()[1][1]
  sim:close()
  return x
end

-- Runs Lua code in another process, in a folder, which is its home too; returns what it prints.
local function elsewhere(folder, code)
  local lua = helper.lua_command("-e", code):gsub("=(['\"]?)build/", "=%1" .. core.system.cwd() .. "/build/")
    :gsub(";build/", ";" .. core.system.cwd() .. "/build/")
  return helper.run("cd " .. helper.quote(folder) .. " && HOME=. " .. lua)
end

describe("a netlist that is not trusted", function()
  it("runs no commands", function()
    local folder = helper.temporary_folder()
    local made = folder .. "/made"
    local file <close> = assert(io.open(folder .. "/x.inc", "w"))
    file:write("*# shell touch ", made, "\n* c\n.control\nshell touch ", made, "\n.endc\n")
    file:close()
    for _, text in ipairs {
      divider .. ".control\nshell touch " .. made .. "\n.endc\n.end\n",
      divider .. "  .CONTROL\nshell touch " .. made .. "\nwrite " .. made .. "\n.ENDC\n.end\n",
      divider .. "*# shell touch " .. made .. "\n.end\n",
      divider .. ".include " .. folder .. "/x.inc\n.end\n",
      (divider:gsub("^t", "*ng_script")) .. "*#shell touch " .. made .. "\n",
    } do
      local _, x = helper.stderr_of(value, text) -- a notice
      assert.near(0.5, x, 1e-6)
    end
    for _, line in ipairs { "R3 out 0 `touch " .. made .. "`", "codemodel " .. made,
      ".model m d_process(process_file=\"/bin/sh\")", "pre_osdi " .. made, ".param x=`touch " .. made .. "`" } do
      local ok, why = pcall(make, divider .. line .. "\n")
      assert.is_false(ok)
      assert.matches("refused: ", why, 1, true)
    end
    assert.is_false((pcall(make, divider .. ".control\nrun\n")))
    assert.is_nil(core.system.kind(made))
  end)

  it("has its .control block skipped with a notice, unless it is trusted", function()
    local folder = helper.temporary_folder()
    local said = elsewhere(folder, [[
      local t = { netlist = "t\nV1 in 0 1\nR1 in out {R}\nR2 out 0 1k\n.op\n.control\nrun\nplot v(out)\n.endc\n.end\n",
        params = { { name = "R", low = 100, high = 1e4 } }, output = { "v(out)" } }
      print(string.format("%.6f", require "simvae".spice(t):run({ { 1000 } }):get(1, 1)))
      t.netlist = t.netlist:gsub("run\nplot v%(out%)", "alter r2 = 3k\nshell touch made")
      t.trusted = true
      print(string.format("%.6f", require "simvae".spice(t):run({ { 1000 } }):get(1, 1)))]])
    assert.matches(".control block is skipped", said, 1, true)
    assert.matches("0.500000\n0.750000\n", said, 1, true)
    assert.equal("file", core.system.kind(folder .. "/made"))
  end)

  it("is not changed by a .spiceinit", function()
    local folder = helper.temporary_folder()
    local file <close> = assert(io.open(folder .. "/.spiceinit", "w"))
    file:write "alias op echo none\noption temp=100\n"
    file:close()
    local said = elsewhere(folder, [[
      local t = { netlist = "t\nV1 in 0 1\nR1 in out {R}\nR2 out 0 1k tc1=0.01\n", analysis = ".op",
        params = { { name = "R", low = 100, high = 1e4 } }, output = { "v(out)" } }
      print(string.format("%.6f", require "simvae".spice(t):run({ { 1000 } }):get(1, 1)))]])
    assert.equal("0.500000\n", said)
  end)

  it("runs in a process that starts no program, and leaves no folder behind", function()
    local worker <close> = core.process.fork(function(link)
      local before = os.execute "true"
      core.spice.confine()
      link:send(tostring(before) .. " " .. tostring(os.execute "true"))
    end)
    local said = worker:receive(10)
    if core.system.kind "/proc/self/seccomp" or core.system.kind "/proc/self/status" then
      assert.equal("true nil", said)
    end
    local folder = helper.temporary_folder()
    assert.equal("0.500000\n", elsewhere(folder, [[
      local t = { netlist = "t\nV1 in 0 1\nR1 in out {R}\nR2 out 0 1k\n", analysis = ".op",
        params = { { name = "R", low = 100, high = 1e4 } }, output = { "v(out)" } }
      print(string.format("%.6f", require "simvae".spice(t):run({ { 1000 } }):get(1, 1)))]]))
    assert.same({}, core.system.list(folder))
  end)
end)
