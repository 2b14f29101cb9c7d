--- busted's output for `make test`: a line a file, failures in full, skips with their reasons.
--
-- The first argument (-Xoutput FILE) names a file that records progress: the current spec file, and at the end
-- "done PASSED FAILED SKIPPED", so that the spec of a crash is known.
local write = io.write

return function(options)
  local busted = require "busted"
  local base = require "busted.outputHandlers.base"()
  local progress = assert(options.arguments and options.arguments[1], "outcome.lua takes -Xoutput FILE")
  local file_name, before, since

  local function note(text)
    local out <close> = assert(io.open(progress, "w"))
    out:write(text, "\n")
  end

  -- Where require looked is not worth its forty lines.
  local function indented(text) return (tostring(text):gsub("\n%s*no f%a+ [^\n]*", ""):gsub("\n", "\n  ")) end

  local function failed() return base.failuresCount + base.errorsCount end

  local function problem(kind, what)
    local message = what.message
    if type(message) == "table" then message = message.message or message[1] end
    write(kind, "  ", what.name or "?", "\n")
    if what.trace and what.trace.short_src then
      write("  ", what.trace.short_src, ":", tostring(what.trace.currentline), "\n")
    end
    write("  ", indented(message), "\n")
    if what.isError and what.trace and what.trace.traceback then
      write("  ", indented(what.trace.traceback), "\n")
    end
    io.flush()
  end

  busted.subscribe({ "file", "start" }, function(file)
    file_name = file.name
    before = { base.successesCount, failed(), #base.pendings, #base.failures, #base.errors }
    since = require("system").monotime()
    note(file_name)
    return nil, true
  end)

  busted.subscribe({ "file", "end" }, function()
    local passed, bad, skipped = base.successesCount - before[1], failed() - before[2], #base.pendings - before[3]
    write(string.format("%-6s %-34s %4d passed", bad > 0 and "FAILED" or "ok", file_name:match("[^/]*$"), passed))
    if bad > 0 then write(", ", bad, " failed") end
    if skipped > 0 then write(", ", skipped, " skipped") end
    write(string.format("  %6.2f s\n", require("system").monotime() - since))
    for i = before[4] + 1, #base.failures do problem("FAILURE", base.failures[i]) end
    for i = before[5] + 1, #base.errors do problem("ERROR", base.errors[i]) end
    io.flush()
    return nil, true
  end)

  busted.subscribe({ "suite", "end" }, function()
    for _, skip in ipairs(base.pendings) do
      write("skipped: ", skip.name, ": ", tostring(skip.message or "no reason given"), "\n")
    end
    if not before then -- no spec file was even loaded
      for _, what in ipairs(base.errors) do problem("ERROR", what) end
    end
    note(string.format("done %d %d %d", base.successesCount, failed(), #base.pendings))
    return nil, true
  end)

  return base
end
