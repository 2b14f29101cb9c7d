--- The Lua process behind the Jupyter kernel (simvae_kernel.py): it runs cells, completes and inspects.
--
-- Requests come through one pipe, as a line "VERB BYTES" and so many bytes of text; events go through another one, a
-- line of JSON each, of which the last one of a request is its reply. What the user's code prints goes to standard
-- output and error as ever. Each event but the reply is answered by an empty line, so that what is printed behind it
-- comes after it.
--
--     execute       text of a cell      events display, bar, result; reply: status = "ok", or "error" with text and
--                                       traceback, interrupted = true where it was interrupted
--     complete      text up to the cursor         reply: matches, typed (the part of them that is there already)
--     inspect       text, a NUL byte, text        before and behind the cursor; reply: text, absent where there is none
--     is_complete   text of a cell                reply: status = "complete", "incomplete" or "invalid"
local base64 = require "simvae.util.base64"
local cell = require "simvae.jupyter.cell"
local complete = require "simvae.repl.complete"
local core = require "simvae.core"
local evaluate = require "simvae.repl.evaluate"
local front_end = require "simvae.util.front_end"
local inspect = require "simvae.jupyter.inspect"
local interrupt = require "simvae.util.interrupt"
local json = require "simvae.io.json"
local question = require "simvae.repl.help"
local rich = require "simvae.jupyter.rich"

local jupyter = {}

-- ---- events ------------------------------------------------------------------------------------

local function send(self, event)
  local acknowledged = event.type ~= "reply"
  io.stdout:flush() -- what was printed before comes first
  io.stderr:flush()
  self.events:write(json.encode(event, true), "\n")
  self.events:flush()
  if acknowledged then self.requests:read "l" end
end

-- A picture's bytes as JSON takes them; text that is no UTF-8 with "?" for its bytes.
local function data_of(bundle)
  local data = {}
  for mime, content in pairs(bundle) do
    data[mime] = mime:find "^image/" and base64(content)
      or utf8.len(content) and content or content:gsub("[\x80-\xff]", "?")
  end
  return data
end

-- ---- the front end -----------------------------------------------------------------------------

-- A curve by gnuplot, or as characters where that is missing.
local function curve_of(t, text)
  local bundle = { ["text/plain"] = text }
  local folder = core.system.temporary_folder()
  if not folder then return bundle end
  local path = folder .. "/curve.png"
  if require("simvae.figures").curves(path, { t:reshape(1, t.count) }) then bundle = rich.of(path) end
  bundle["text/plain"] = text
  for _, name in ipairs(core.system.list(folder) or {}) do os.remove(folder .. "/" .. name) end
  os.remove(folder)
  return bundle
end

local function front_end_of(self)
  local front = { keys = setmetatable({}, { __mode = "k" }), count = 0 }
  function front.display(bundle) send(self, { type = "display", data = data_of(bundle) }) end
  function front.curve(t, text) front.display(curve_of(t, text)) end
  function front.bar(key, line)
    local known = front.keys[key]
    if not known then
      front.count = front.count + 1
      front.keys[key] = front.count
    end
    send(self, { type = "bar", id = front.keys[key], new = not known, data = data_of(rich.bar(line)) })
  end
  return front
end

-- ---- requests ----------------------------------------------------------------------------------

local requests = {}

local function show_results(self, results)
  if results.n == 1 and io.type(results[1]) then return end -- of io.write(…)
  for i = 1, results.n do
    send(self, { type = i < results.n and "display" or "result", data = data_of(rich.of(results[i])) })
  end
  if results.n > 0 then rawset(self.env, "_", results[1]) end
end

function requests.execute(self, text)
  local asked = not text:match "^%s*(.-)%s*$":find "\n" and question.name(text)
  local f, what = question.compile(asked, text, self.env, cell.compile)
  if not f then
    local why = what == "incomplete" and "the cell ends within a statement, a bracket or a string" or what
    return { status = "error", text = why, traceback = "" }
  end
  self.watch:reset()
  self.watch:allow()
  local failure = evaluate.show(f, what and function(results) show_results(self, results) end)
  if not failure then return { status = "ok" } end
  return { status = "error", text = failure.text, traceback = failure.traceback or "",
    interrupted = failure.interrupted or false }
end

function requests.complete(self, text)
  local matches, typed = complete.candidates(text, self.env)
  return { matches = json.list(matches), typed = typed }
end

function requests.inspect(self, text)
  local before, after = text:match "^(%Z*)%z(%Z*)$"
  return { text = inspect(before, after, self.env) }
end

function requests.is_complete(self, text)
  local f, what = cell.compile(text, self.env)
  return { status = f and "complete" or what == "incomplete" and "incomplete" or "invalid" }
end

-- The next request: verb and text, or nil at the end of the pipe.
local function next_request(self)
  local line
  repeat line = self.requests:read "l" until line ~= "" -- of an event whose answer an interruption has left unread
  local verb, bytes = (line or ""):match "^(%l[%l_]*) (%d+)$"
  if not verb then return nil end
  local text = bytes == "0" and "" or self.requests:read(math.tointeger(bytes))
  return verb, text
end

-- Answers one request; signals are held but while a cell runs. Returns false at the end.
local function step(self)
  local verb, text = next_request(self)
  if not verb or not text then return false end
  local ok, reply = pcall(requests[verb], self, text)
  self.watch:hold()
  if not ok then reply = { status = "error", text = tostring(reply), traceback = "" } end
  reply.type = "reply"
  send(self, reply)
  return true
end

--- Answers requests until their pipe ends. SIGTERM and a front end that is gone end the process; SIGINT ends the cell.
-- @tparam string from path of the pipe of requests
-- @tparam string to path of the pipe of events
function jupyter.serve(from, to)
  local self = { requests = assert(io.open(from, "rb")), events = assert(io.open(to, "wb")), env = _G }
  io.stdout:setvbuf "line"
  rawset(self.env, "sv", require "simvae")
  front_end.set(front_end_of(self))
  local signal
  do
    local watch <close> = interrupt.watch(true)
    self.watch = watch
    watch:hold()
    local going = true
    while going do
      local ok, more = pcall(step, self)
      watch:hold()
      if not ok and not interrupt.is(more) then error(more, 0) end
      going = not ok or more
      local caught = watch:caught()
      if not ok and caught == "INT" then -- between the end of the cell and its reply
        send(self, { type = "reply", status = "error", text = "interrupted", traceback = "", interrupted = true })
      end
      if caught and caught ~= "INT" then signal, going = caught, false end
      watch:reset()
    end
  end
  if signal then core.signals.die(signal) end
end

return jupyter
