-- The interactive session: its parts, and the whole of it in a terminal (tmux), with and without readline.
local assert = require "luassert"
local chunk = require "simvae.repl.chunk"
local core = require "simvae.core"
local evaluate = require "simvae.repl.evaluate"
local helper = require "spec.helper"
local history = require "simvae.repl.history"
local screen = require "spec.screen"
local style = require "simvae.repl.style"
local sv = require "simvae"
local value = require "simvae.repl.value"

local function environment(t) return setmetatable(t or {}, { __index = _G }) end

local function text(v, width) return value.text(v, style.painter(false), width or 80) end

describe("what is typed", function()
  it("is an expression whose values are shown, or statements", function()
    local f, shown = chunk.compile("1, 2 + 3", environment())
    assert.same({ true, 1, 5 }, { shown, f() })
    f, shown = chunk.compile("= 7", environment())
    assert.same({ true, 7 }, { shown, f() })
    f, shown = chunk.compile("local a = 3", environment())
    assert.is_function(f)
    assert.is_false(shown)
  end)

  it("goes on on the next line where Lua's grammar lacks its end", function()
    for _, part in ipairs { "function f()", "x = {", "if a then", "f(", "[[ text", "local s =" } do
      assert.same({ nil, "incomplete" }, { chunk.compile(part, environment()) })
    end
    local _, why = chunk.compile("x = = 1", environment())
    assert.matches("unexpected symbol near '='", why)
  end)

  it("leaves its local variables, but for those that are closed", function()
    local env = environment()
    local closed = false
    env.thing = setmetatable({}, { __close = function() closed = true end })
    local f = chunk.compile("local a, b = 1, 2\nlocal function g() return a + b end\nlocal t <close> = thing\n"
      .. "do local inner = 5 end -- end", env)
    f()
    assert.same({ 1, 2, 3, true }, { rawget(env, "a"), rawget(env, "b"), env.g(), closed })
    assert.is_nil(rawget(env, "t"))
    assert.is_nil(rawget(env, "inner"))
    assert.is_nil(rawget(env, "_keep"))
    assert.equal(4, chunk.compile("local c = 4 return c", env)())
  end)

  it("is told of errors with the places in the user's own code", function()
    local f = chunk.compile("local t = {}\nlocal function g() return t.a.b + 0 end\nlocal x = g()", environment())
    local _, failure = evaluate.run(f)
    assert.matches("^input:2: attempt to index a nil value %(field 'a'%)", failure.text)
    assert.equal("  at input:2, in 'g'\n  at input:3", failure.traceback)
    _, failure = evaluate.run(function() return sv.zeros(2, 3):sum { 1, 2, 3, 4 } end)
    assert.is_nil(failure.traceback:find "simvae/", failure.traceback)
    _, failure = evaluate.run(function() error(setmetatable({}, { __tostring = function() return "ours" end })) end)
    assert.equal("ours", failure.text)
    _, failure = evaluate.run(function() error { 1 } end)
    assert.equal("(error object is a table)", failure.text)
    local function deep(n) return n == 0 and error "far" or 1 + deep(n - 1) end
    _, failure = evaluate.run(function() return 1 + deep(100) end)
    assert.equal(8, select(2, failure.traceback:gsub("[^\n]+", "")))
    assert.matches("  … 9%d more\n", failure.traceback)
    local function endless() return 1 + endless() end
    _, failure = evaluate.run(endless)
    assert.matches("stack overflow", failure.text)
  end)
end)

describe("a result", function()
  it("prints what it holds", function()
    assert.equal("nil", text(nil))
    assert.equal('"a\\"b\\x1b"', text 'a"b\27')
    assert.equal("two\nlines", text "two\nlines")
    assert.equal("{}", text {})
    assert.equal('{ 1, "b", [9] = true, ["a b"] = 2, name = { x = 0.5 } }',
      text { 1, "b", [9] = true, name = { x = 0.5 }, ["a b"] = 2 })
    assert.equal("[1. 2.] (2,)", text(sv.tensor { 1, 2 }))
    assert.equal("{ t = tensor (2, 3) }", text { t = sv.zeros(2, 3) })
    assert.equal("(2, 3)", text(sv.zeros(2, 3).shape))
    assert.equal("linear 2 -> 3", text(sv.nn.linear(2, 3)))
    assert.matches("^sv%.nn:\n  attention, batch_norm,", text(sv.nn))
    assert.matches("^function %(a, …%), .*repl_spec.lua:%d+$", text(function(a, ...) return a, ... end))
  end)

  it("is bounded, whatever it is", function()
    local list, deep, around = {}, {}, {}
    for i = 1, 1000 do list[i] = i end
    local inner = deep
    for _ = 1, 100 do
      inner.next = {}
      inner = inner.next
    end
    around.self = around
    assert.matches("^{\n  1,\n.*  20,\n  … 980 more\n}$", text(list))
    assert.matches("{ … }", text(deep), 1, true)
    assert.equal("{ self = { … itself } }", text(around))
    assert.is_true(#text(("x"):rep(1e6)) < 2100)
    assert.equal(61, select(2, text(("x\n"):rep(1000)):gsub("[^\n]+", "")))
    assert.matches("whose __tostring raises: .*oh", text(setmetatable({}, { __tostring = function() error "oh" end })))
    local rows = {}
    for i = 1, 20 do
      rows[i] = {}
      for k = 1, 20 do rows[i][k] = ("word"):rep(5) end
    end
    assert.is_true(select(2, text(rows):gsub("\n", "")) <= 61)
  end)
end)

describe("the history", function()
  it("keeps entries of several lines, for their owner alone", function()
    local path = helper.temporary_folder() .. "/state/simvae/history"
    assert.same({}, history.load(path))
    history.add(path, "x = 1\nprint '\\n'")
    history.add(path, "second")
    assert.same({ "x = 1\nprint '\\n'", "second" }, history.load(path))
    assert.matches("^%-rw%-%-%-%-%-%-%-", helper.run("ls -l " .. path))
    history.add("/proc/nowhere/history", "x")
    assert.same({}, history.load "/proc/nowhere/history")
  end)

  it("is shortened to its last 1000 entries", function()
    local path = helper.temporary_folder() .. "/history"
    local file <close> = assert(io.open(path, "w"))
    for i = 1, 2001 do file:write("entry ", i, "\n") end
    file:close()
    local entries = history.load(path)
    assert.same({ 1000, "entry 1002", "entry 2001" }, { #entries, entries[1], entries[1000] })
    assert.same(entries, history.load(path))
  end)
end)

-- ---- the session ---------------------------------------------------------------------------------

local code = 'os.exit(require("simvae.repl").start(%s), true)'

local function command(options) return helper.lua_command("-e", code:format(options or "")) end

-- A session in a terminal, past its greeting.
local function open(t)
  t = t or {}
  local state = t.state or helper.temporary_folder()
  local environment_of = { XDG_STATE_HOME = state, INPUTRC = "/dev/null" }
  for name, v in pairs(t.environment or {}) do environment_of[name] = v end
  local opened = screen.open { command = "before=$(stty -g); " .. command(t.options)
    .. "; r=$?; [ \"$before\" = \"$(stty -g)\" ] && echo terminal as before; (exit $r)", environment = environment_of }
  if opened then opened:wait "Ctrl%-D leaves.\n>" end
  return opened
end

describe("a session in a pipe", function()
  local function run(lines)
    local output, exit_code = helper.run("printf '%s\\n' " .. helper.quote(lines) .. " | NO_COLOR= " .. command())
    return output, exit_code
  end

  it("runs lines without prompts, shows results, and ends with 1 after an error", function()
    assert.same({ "7\n14\n", 0 }, { run "local x = 7\nx\n_ * 2" })
    assert.same({ "attempt to index a nil value (global 'nothing')\n3\n", 1 }, { run "nothing.x\n1 + 2" })
    assert.same({ "'end' expected near <eof>\n", 1 }, { run "function f()" })
    assert.same({ "1\n", 0 }, { run "1\nexit\n2" })
    assert.same({ "", 0 }, { run "" })
  end)
end)

for _, kind in ipairs { "readline", "plain" } do
  describe("a session in a terminal, " .. kind, function()
    local options = kind == "plain" and "{ plain = true }" or nil
    local function can(t)
      if not helper.have "tmux" then return nil, pending "no tmux" end
      if kind == "readline" and not helper.have "readline" then return nil, pending "no lua-readline" end
      t = t or {}
      t.options = t.options or options
      return open(t)
    end

    it("shows results, reads on over lines, and leaves the terminal as it was", function()
      local s <close> = can()
      if not s then return end
      for _, line in ipairs { "function f(x)", "return x * 2", "end", "f(21)", "_ + 1" } do
        s:wait "\n>>? ?$"
        s:type(line .. "\n")
        s:wait(line:gsub("%p", "%%%0") .. "\n")
      end
      s:wait "> function f%(x%)\n>> return x %* 2\n>> end\n> f%(21%)\n42\n> _ %+ 1\n43\n>"
      s:type "error 'wrong'\n"
      s:wait "\nwrong\n>"
      s:type "?sv.relu\n"
      s:wait "\nsv%.relu%("
      s:press "C-d"
      s:wait "\nterminal as before\nleft with 0$"
    end)

    it("lives on after Ctrl-C: at the prompt, in a loop, in a training", function()
      local s <close> = can()
      if not s then return end
      s:type "1 +"
      s:wait "> 1 %+$"
      s:press "C-c"
      s:wait "> 1 %+%^C\n>$"
      s:type "function half()\n"
      s:wait "\n>>$"
      s:press "C-c"
      s:wait "%^C\n>$"
      s:type "print 'going' while true do end\n"
      s:wait "\ngoing$"
      s:press "C-c"
      s:wait "\ninterrupted\n>$"
      local out = helper.temporary_folder() .. "/run"
      s:type("m = sv.model { simulator = require 'simvae.simulators.rlc' { engine = 'analytic' }, width = 8 }\n")
      s:wait "width = 8 }\n>$"
      s:type("m:train { out = '" .. out .. "', decoder = { steps = 1e6 } }\n")
      s:wait "decoder .-%d+/1000000"
      s:press "C-c"
      s:wait "interrupted at decoder step %d+; the same call goes on from there\n>$"
      s:type "m.trained.decoder > 0\n"
      s:wait "\ntrue\n>$"
      assert.equal("file", (core.system.kind(out .. "/checkpoint.safetensors")))
    end)

    it("restores the terminal where SIGTERM ends it", function()
      local s <close> = can()
      if not s then return end
      helper.run("kill -TERM " .. s:pid "lua")
      s:wait "terminal as before\nleft with 143$"
    end)

    it("has colours, unless NO_COLOR or the terminal is against them", function()
      local s <close> = can()
      if not s then return end
      s:type "1 + 2\n"
      s:wait("\27%[36m3", true)
      for _, without in ipairs { { NO_COLOR = "1" }, { TERM = "dumb" } } do
        local t <close> = can { environment = without }
        t:type "1 + 2\n"
        assert.is_nil(t:wait("\n3\n", true):find "\27")
      end
    end)
  end)
end

describe("readline", function()
  it("completes, and recalls what was typed in an earlier session", function()
    if not helper.have "tmux" or not helper.have "readline" then return pending "no tmux or lua-readline" end
    local state = helper.temporary_folder()
    do
      local s <close> = open { state = state }
      s:type "sv.nn.line"
      s:press "Tab"
      s:wait "> sv%.nn%.linear$"
      s:type "(2, 3)\n"
      s:wait "\nlinear 2 %-> 3\n>$"
      for _, line in ipairs { "function twice(x)", "return 2 * x", "end" } do
        s:type(line .. "\n")
        s:wait(line:gsub("%p", "%%%0") .. "\n")
      end
      s:wait ">> end\n>$"
      s:press "C-d"
      s:wait "left with 0$"
    end
    local s <close> = open { state = state }
    s:press("Up", "Enter")
    s:wait "> function twice%(x%)\n"
    s:type "twice(4)\n"
    s:wait "\n8\n>$"
  end)

  it("needs no home", function()
    if not helper.have "tmux" then return pending "no tmux" end
    local s <close> = open { environment = { HOME = false, XDG_STATE_HOME = false } }
    s:type "1 + 1\n"
    assert.matches("^simvae [^\n]+\n> 1 %+ 1\n2\n>$", s:wait "\n2\n>$")
  end)
end)
