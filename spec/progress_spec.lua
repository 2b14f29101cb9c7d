-- Progress on terminals of any width, and elsewhere. What a terminal shows is tmux's rendering, or worked out from
-- the escape sequences by hand.
local front_end = require "simvae.util.front_end"
local helper = require "spec.helper"
local progress = require "simvae.train.progress"

local function line(columns, title, text)
  return progress.line({ title = title or "encoder", total = 4000 }, 1234, text or "loss 0.01234  5120 samples/s",
    "12 s", columns)
end

describe("a line of progress", function()
  it("is whole where it fits", function()
    assert.equal("encoder ██████░░░░░░░░░░░░░░ 1234/4000  loss 0.01234  5120 samples/s  12 s left", line(80))
    assert.equal("encoder " .. ("█"):rep(20) .. " 7/7  x  0 s left",
      progress.line({ title = "encoder", total = 7 }, 7, "x", "0 s", 80))
  end)

  it("has a shorter bar, none, and fewer words where the terminal is narrow", function()
    assert.equal("encoder ███░░░░░░░ 1234/4000  loss 0.01234  5120 samples/s  12 s left", line(72))
    assert.equal("encoder 1234/4000  loss 0.01234  5120 samples/s  12 s left", line(60))
    assert.equal("encoder 1234/4000  12 s left", line(40))
    assert.equal("encoder 30%", line(20))
    assert.equal("30%", line(8))
    assert.equal("3…", line(3))
    assert.equal("…", line(2))
    assert.equal("", line(1))
  end)

  it("never fills the last column, at any width, with any letters", function()
    for _, title in ipairs { "encoder", "シミュレーター", "e\u{301}ncode", "two\nlines\t\27[2J", "\xff\xfe" } do
      for columns = 1, 120 do
        local text = line(columns, title, ("長い文 "):rep(columns % 7))
        local kept, used = progress.cut(text, 1000)
        assert.equal(text, kept)
        assert.is_true(used <= columns - 1 or used == 0)
        assert.is_nil(text:find "%c")
        assert.is_truthy(utf8.len(text))
      end
    end
  end)

  it("counts the columns of wide and of combining letters", function()
    local function columns(text) return select(2, progress.cut(text, 100)) end
    assert.equal(5, columns "plain")
    assert.equal(8, columns "日本語한")
    assert.equal(2, columns "e\u{301}o\u{308}")
    assert.equal(2, columns "🙂")
    assert.equal("日本…", (progress.cut("日本語", 5)))
    assert.equal("日…", (progress.cut("日本語", 4)))
    assert.equal("日本語", (progress.cut("日本語", 6)))
  end)
end)

local code = [[
  local progress = require "simvae.train.progress"
  local core = require "simvae.core"
  local bar <close> = progress.new { title = "work", total = 3, every = 0 }
  for i = 1, 3 do
    bar:update(i, "rate " .. i)
    core.system.sleep(PAUSE)
  end
  bar:finish "3 steps"]]

describe("progress", function()
  it("is plain lines where standard error is no terminal", function()
    local out = helper.run(helper.lua_command("-e", (code:gsub("PAUSE", "0"))))
    assert.equal("work 1/3  rate 1  0 s left\nwork 2/3  rate 2  0 s left\nwork 3/3  rate 3  0 s left\n"
      .. "work 3 steps in 0 s\n", out)
  end)

  it("is plain lines on a terminal that cannot move its cursor", function()
    if not helper.have "script" then return pending "no script (util-linux)" end
    local command = helper.lua_command("-e", (code:gsub("PAUSE", "0")))
    local out = helper.run("TERM=dumb script -qec " .. helper.quote(command) .. " /dev/null")
    assert.is_nil(out:find "\27")
    assert.matches("work 2/3  rate 2  0 s left\r?\n", out)
  end)

  it("stays one line when a terminal becomes narrow, and leaves nothing behind", function()
    if not helper.have "tmux" then return pending "no tmux" end
    local folder = helper.temporary_folder()
    local file <close> = assert(io.open(folder .. "/work.lua", "w"))
    file:write((code:gsub("PAUSE", "0.7")))
    file:close()
    local tmux = "tmux -f /dev/null -S " .. folder .. "/socket "
    helper.run(tmux .. "new-session -d -x 70 -y 10 " .. helper.quote("stty -echo; echo above; "
      .. helper.lua_command(folder .. "/work.lua") .. "; echo below; sleep 30"))
    local function screen() return (helper.run(tmux .. "capture-pane -p -S -"):gsub("%s+$", "")) end
    local function wait_for(pattern)
      for _ = 1, 200 do
        if screen():find(pattern) then return screen() end
        require("simvae.core").system.sleep(0.02)
      end
      return screen()
    end
    assert.equal("above\nwork " .. ("█"):rep(6) .. ("░"):rep(14) .. " 1/3  rate 1  0 s left",
      (wait_for("rate 1"):gsub("%d+ s left", "0 s left")))
    helper.run(tmux .. "resize-window -x 30 -y 10")
    assert.matches("^above\nwork 2/3  rate 2  %d s left$", wait_for("2/3"))
    assert.matches("^above\nwork 3 steps in %d s\nbelow$", wait_for("below"))
    helper.run(tmux .. "kill-server")
  end)
end)

describe("progress in a front end", function()
  after_each(function() front_end.set(nil) end)

  local function lines_of(work)
    local lines = {}
    front_end.set { bar = function(_, text) lines[#lines + 1] = text end }
    pcall(function()
      local bar <close> = progress.new { title = "first samples", total = 10 }
      work(bar)
    end)
    return lines
  end

  it("ends with a line that says so, unless the work failed or was too short to be shown", function()
    local lines = lines_of(function(bar) bar:update(3, "to standardise outputs by") end)
    assert.matches("first samples ██████░░░░░░░░░░░░░░ 3/10", lines[1], 1, true)
    assert.equal("first samples done in 0 s", lines[2])
    assert.equal(2, #lines)
    lines = lines_of(function(bar)
      bar:update(10, "")
      bar:finish "10 samples"
    end)
    assert.same({ "first samples 10 samples in 0 s", 2 }, { lines[2], #lines })
    assert.equal(1, #lines_of(function(bar)
      bar:update(3, "")
      error "interrupted!"
    end))
    assert.equal(0, #lines_of(function() end))
  end)
end)
