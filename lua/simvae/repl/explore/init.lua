--- model:explore(): a live screen. Arrow keys choose a parameter and move it; decoder, simulator and their difference
-- are drawn again, with the posterior of the simulator's output beside.
local check = require "simvae.util.check"
local core = require "simvae.core"

local Model = {} -- methods that simvae.model takes over

local COLUMNS, ROWS = 60, 16 -- the least that it needs
local FRAME = 1 / 30         -- seconds
local SETTLED = 0.15         -- seconds without a key, after which a slow simulator runs
local PERIOD = 4             -- seconds of a parameter's way there and back

local options = check.declare("model:explore", {
  z = { "tensor|table", doc = "parameters to start at: (1, K) or a list in order, in units; default: a draw of the "
    .. "prior" },
  x = { "tensor", doc = "an output to compare with in place of the simulator's, (1, …output) or (…output); it "
    .. "starts at what the encoder infers" },
  noise = { "number", doc = "the level of the noise of outputs, where the simulator declares a range; default: the "
    .. "lowest" },
})

-- What keys do, the most important first.
local HELP = { "↑↓ choose", "←→ move", "q leave", "PgUp PgDn far", "[ ] fine", "a animate", "e infer", "r random",
  "c centre", "Home End" }

-- ---- arguments -----------------------------------------------------------------------------------

local function read_options(self, t)
  local input = require "simvae.model.input"
  local o = check.options("explore", t, options, 4)
  if o.z then
    local z = o.z
    if type(z) == "table" and type(z[1]) == "number" then z = { z } end
    o.z = input.parameters("explore", self, z):totable()[1]
    if not o.z then check.fail(3, "explore: z takes the parameters of one output; got none") end
  end
  if o.x then
    o.x = input.check_batch("explore", o.x, self.simulator.output, "…output")
    if o.x.shape[1] ~= 1 then check.fail(3, "explore: x takes one output; got %d", o.x.shape[1]) end
  end
  return o
end

-- Why the terminal will not do, or nil.
local function unfit()
  local terminal = require "simvae.util.terminal"
  if not core.system.isatty(0) or not core.system.isatty(1) then
    return "explore: needs a terminal for its keys and its screen"
  end
  if not terminal.moves(1) then
    return string.format("explore: a terminal of TERM=%s cannot move its cursor", os.getenv "TERM" or "")
  end
  local columns, rows = core.terminal.size(1)
  if columns and (columns < COLUMNS or rows < ROWS) then
    return string.format("explore: needs a terminal of %d columns and %d rows; this one has %d and %d", COLUMNS, ROWS,
      columns, rows)
  end
end

-- ---- a frame -------------------------------------------------------------------------------------

-- As many of the keys as there is room for.
local function help_line(view, hidden)
  local line = hidden and "s next series" or ""
  for _, part in ipairs(HELP) do
    local longer = line == "" and part or line .. "   " .. part
    if utf8.len(longer) > view.columns then return line end
    line = longer
  end
  return line
end

local function frame(s, shown, view)
  local panels, sliders = require "simvae.repl.explore.panels", require "simvae.repl.explore.sliders"
  local columns, rows = view.columns, view.rows
  if columns < COLUMNS or rows < ROWS then
    return { panels.fit(string.format("needs %d columns and %d rows; this terminal has %d and %d", COLUMNS, ROWS,
      columns, rows), columns), panels.fit("q leaves", columns) }
  end
  local paint = view.paint
  local title = string.format("%s: %s", s.simulator.name, s.given and "a given output" or "decoder and simulator")
  local lines = { paint("title", panels.fit(title, columns - 12)) .. paint("faint", view.spent > 0
    and string.format("%8.0f ms", view.spent * 1000) or ""), "" }
  -- parameters have a third of the screen, and what the outputs leave
  local least = math.min(#s.params, math.max(3, (rows - 5) // 3)) + 1
  local drawn, hidden = panels.lines(s, columns, rows - #lines - least - 3, view.colours, paint)
  table.move(drawn, 1, #drawn, #lines + 1, lines)
  lines[#lines + 1] = ""
  for _, line in ipairs(sliders.lines(s, columns, rows - #lines - 2, paint)) do lines[#lines + 1] = line end
  local message = shown:message()
  lines[#lines + 1] = message and paint("error", panels.fit(message, columns)) or ""
  lines[#lines + 1] = paint("faint", help_line(view, hidden))
  return lines
end

-- ---- keys ----------------------------------------------------------------------------------------

local FAR, FINE = 5, 0.1 -- steps

local actions = {
  up = function(s) s:choose(-1) end,
  down = function(s) s:choose(1) end,
  right = function(s) s:move(1) end,
  left = function(s) s:move(-1) end,
  ["page up"] = function(s) s:move(FAR) end,
  ["page down"] = function(s) s:move(-FAR) end,
  ["]"] = function(s) s:move(FINE) end,
  ["["] = function(s) s:move(-FINE) end,
  home = function(s) s:set((s.bounds(s.params[s.chosen]))) end,
  ["end"] = function(s) s:set((select(2, s.bounds(s.params[s.chosen])))) end,
  r = function(s) s:random() end,
  c = function(s) s:centre() end,
  e = function(s) s:infer() end,
}
actions.k, actions.j, actions.l, actions.h = actions.up, actions.down, actions.right, actions.left
actions["fine right"], actions["fine left"] = actions["]"], actions["["]

-- Does what a key stands for; true: leave.
local function press(s, view, key)
  if key == "q" or key == "escape" then return true end
  if key == "a" or key == " " then
    view.animated = not view.animated and { from = core.system.clock(), way = s.place(s.params[s.chosen],
      s.z[s.chosen]) } or nil
  elseif key == "tab" or key == "s" then
    s.channel = s.channel % view.choices + 1
  elseif actions[key] then
    view.animated = nil
    actions[key](s)
  end
end

-- Moves the chosen parameter through its range and back, from where it was.
local function animate(s, view)
  local p = s.params[s.chosen]
  local turn = (core.system.clock() - view.animated.from) / PERIOD + view.animated.way / 2
  local u = 1 - math.abs(turn % 1 * 2 - 1)
  local low, high = s.bounds(p)
  s:set(p.levels and math.floor(low + u * (high - low) + 0.5) or require("simvae.simulator.parameter").from_unit(p, u))
end

-- ---- the loop ------------------------------------------------------------------------------------

-- The keys that came within some time.
local function read_keys(view, seconds)
  local keys = require "simvae.repl.explore.keys"
  local bytes = core.terminal.read(seconds)
  if bytes == "" then return { "q" } end -- the end of the input
  if not bytes and view.rest ~= "" then
    view.rest = ""
    return { "escape" }
  end
  local list
  list, view.rest = keys.read(view.rest .. (bytes or ""))
  return list
end

local function measure(view)
  local columns, rows = core.terminal.size(1)
  local changed = columns ~= view.columns or rows ~= view.rows
  view.columns, view.rows = columns or 80, rows or 24
  return changed
end

local function loop(s, shown, view)
  local due = true
  while true do
    local started = core.system.clock()
    if view.animated then animate(s, view) end
    if s.changed then
      s:update(false)
      due = true
    end
    if measure(view) or due then
      shown:draw(frame(s, shown, view))
      view.spent = core.system.clock() - started
    end
    due = false
    local wait = view.rest ~= "" and 0.05 or view.animated and math.max(0, FRAME - view.spent) or s.stale and SETTLED
      or 0.25
    local list = read_keys(view, wait)
    for _, key in ipairs(list) do
      if press(s, view, key) then return end
      due = true
    end
    if s.stale and #list == 0 and not view.animated then
      s:update(true)
      due = true
    end
  end
end

--- Explores the model in the terminal: arrow keys choose one parameter and move it; what decoder and simulator make of
-- it, their difference, and the posterior of the simulator's output are drawn again at each move. The last line of the
-- screen names the keys; q leaves. Images are half blocks, vectors curves. A simulator that takes more than a twentieth
-- of a second runs when no key is pressed.
-- @tparam[opt] table t options
-- @treturn ?tensor (1, K): the parameters at the end, in units; or nil, message: no terminal, or one that is too small
-- @treturn ?string
-- @raise parameters or an output of another shape
-- @usage
-- local z, why = model:explore { z = { 16, 16, 5 } }
-- print(z or why)
function Model:explore(t)
  local o = read_options(self, t)
  local why = unfit()
  if why then return nil, why end
  local interrupt, style = require "simvae.util.interrupt", require "simvae.repl.style"
  local panels, terminal = require "simvae.repl.explore.panels", require "simvae.util.terminal"
  local watch <close> = interrupt.watch(true)
  local shown, refused = require("simvae.repl.explore.screen").open()
  if not shown then return nil, "explore: " .. refused end
  local s
  local ok, raised = pcall(function()
    s = require("simvae.repl.explore.state").new(self, o)
    s.channel = 1
    loop(s, shown, { paint = style.painter(), colours = terminal.colours(1), rest = "", spent = 0,
      choices = panels.choices(self.simulator) })
  end)
  shown:close()
  if not ok and interrupt.is(raised) then interrupt.raise(watch, "explore: interrupted") end
  if not ok then error(raised, 0) end
  return core.tensor { s.z }
end

return { methods = Model }
