--- Progress display: one line that is rewritten on a terminal, plain lines at intervals elsewhere. It goes to standard
-- error, so that standard output has results alone; in a front end (simvae.util.front_end) to that.
local core = require "simvae.core"
local front_end = require "simvae.util.front_end"
local terminal = require "simvae.util.terminal"

local progress = {}
local Progress = {}
Progress.__index = Progress

local function duration(s)
  if s >= 3600 then return string.format("%d:%02d:%02d h", s // 3600, s % 3600 // 60, s % 60 // 1) end
  if s < 60 then return string.format("%d s", math.floor(s + 0.5)) end
  return string.format("%d:%02d min", s // 60, s % 60 // 1)
end
progress.duration = duration

-- ---- the width of text ---------------------------------------------------------------------

-- Width of a code point on a terminal: 0 for combining characters, 2 for East Asian wide characters and emoji (Unicode
-- Standard Annex 11), else 1.
local wide = { { 0x1100, 0x115F }, { 0x2E80, 0xA4CF }, { 0xAC00, 0xD7A3 }, { 0xF900, 0xFAFF }, { 0xFE30, 0xFE6F },
  { 0xFF00, 0xFF60 }, { 0xFFE0, 0xFFE6 }, { 0x1F300, 0x1FAFF }, { 0x20000, 0x3FFFD } }
local combining = { { 0x0300, 0x036F }, { 0x0483, 0x0489 }, { 0x0591, 0x05BD }, { 0x1AB0, 0x1AFF }, { 0x1DC0, 0x1DFF },
  { 0x200B, 0x200F }, { 0x20D0, 0x20FF }, { 0xFE00, 0xFE0F }, { 0xFE20, 0xFE2F } }

local function within(ranges, code)
  for _, range in ipairs(ranges) do
    if code >= range[1] and code <= range[2] then return true end
  end
  return false
end

local function columns_of(code)
  if code < 0x300 then return 1 end
  return within(combining, code) and 0 or within(wide, code) and 2 or 1
end

--- Truncates text to a number of terminal columns, with "…" at the end. Control characters become blanks.
-- @tparam string text
-- @tparam integer columns
-- @treturn string
-- @treturn integer columns that it takes
function progress.cut(text, columns)
  text = text:gsub("%c", " ")
  if not utf8.len(text) then text = text:gsub("[\x80-\xff]", "?") end
  local used, short = 0, 0 -- columns; bytes that fit with "…" behind them
  for place, code in utf8.codes(text) do
    local w = columns_of(code)
    if used + w > columns then return columns > 0 and text:sub(1, short) .. "…" or "", columns end
    used = used + w
    if used <= columns - 1 then short = place + #utf8.char(code) - 1 end
  end
  return text, used
end

-- ---- a bar ----------------------------------------------------------------------------------

local FRONT_END_PAUSE = 0.25  -- seconds between two updates
local FRONT_END_COLUMNS = 101

local shown_bar -- the bar that is on the terminal now

--- Clears the bar before other output. The blank prevents tmux from keeping the cleared line as history.
function progress.clear()
  if shown_bar then io.stderr:write("\r \27[J\r") end
  shown_bar = nil
end

--- Starts.
-- @tparam table t title, total (steps), done (0: steps already taken), quiet (false), every (10: seconds
-- between plain lines)
-- @treturn Progress to be closed; closing it takes the bar off the terminal
function progress.new(t)
  return setmetatable({
    front_end = front_end.get(),
    title = t.title, total = t.total, first = t.done or 0, quiet = t.quiet, every = t.every or 10,
    terminal = terminal.moves(2), started = core.system.clock(), shown = 0,
  }, Progress)
end

local function bar(share, width)
  local filled = math.floor(width * math.max(0, math.min(1, share)))
  return ("█"):rep(filled) .. ("░"):rep(width - filled)
end

--- The line for a terminal: whole where it fits, else with a shorter bar, without one, and at last cut.
-- @tparam Progress self
-- @tparam integer done
-- @tparam string text
-- @tparam string left the time that is left
-- @tparam integer columns of the terminal
-- @treturn string of fewer columns
function progress.line(self, done, text, left, columns)
  local share = done / math.max(self.total, 1)
  local count = string.format("%d/%d", done, self.total)
  local percent = string.format("%d%%", math.floor(100 * share))
  local words = string.format("%s  %s  %s left", count, text, left)
  local choices = {
    string.format("%s %s %s", self.title, bar(share, 20), words),
    string.format("%s %s %s", self.title, bar(share, 10), words),
    string.format("%s %s", self.title, words),
    string.format("%s %s  %s left", self.title, count, left),
    string.format("%s %s", self.title, percent),
  }
  for _, line in ipairs(choices) do
    local kept, used = progress.cut(line, 1 << 20)
    if used < columns then return kept end -- the last column stays free: some terminals wrap there
  end
  return (progress.cut(percent, columns - 1))
end

--- Updates the display, at most ten times a second.
-- @tparam integer done steps in all
-- @tparam string text rate, loss and the like
function Progress:update(done, text)
  if self.quiet then return end
  local now = core.system.clock()
  local last = done >= self.total
  local pause = self.front_end and FRONT_END_PAUSE or self.terminal and 0.1 or self.every
  if not last and now - self.shown < pause then return end
  self.shown = now
  local elapsed = now - self.started
  local left = duration((self.total - done) * elapsed / math.max(done - self.first, 1))
  if self.front_end then
    self.front_end.bar(self, progress.line(self, done, text, left, FRONT_END_COLUMNS))
    return
  end
  if not self.terminal then
    io.stderr:write(string.format("%s %d/%d  %s  %s left\n", self.title, done, self.total, text, left))
    return
  end
  -- The cursor rests at the start of the line: where a window that became narrower has wrapped it, the next one
  -- begins at its start all the same, and clears what is below.
  shown_bar = self -- set first, as an interruption may come in between
  io.stderr:write("\r", progress.line(self, done, text, left, terminal.columns(2)), "\27[J\r")
end

--- Ends the line.
function Progress:finish(text)
  progress.clear()
  self.finished = true
  if self.quiet then return end
  local line = string.format("%s %s in %s", self.title, text or "done", duration(core.system.clock() - self.started))
  if self.front_end then self.front_end.bar(self, line) else io.stderr:write(line, "\n") end
end

-- A terminal has the line for other output again; a front end keeps it, and is told that the work is done.
function Progress:__close(failure)
  progress.clear()
  if self.front_end and self.shown > 0 and not self.finished and failure == nil then self:finish() end
end

return progress
