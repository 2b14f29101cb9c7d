-- Measures a workload in all its forms, in interleaved rounds.
local core = require "simvae.core"

local measure = {}

local function quantile(sorted, q)
  local at = 1 + q * (#sorted - 1)
  local low = math.floor(at)
  local high = math.min(low + 1, #sorted)
  return sorted[low] + (at - low) * (sorted[high] - sorted[low])
end

--- Median and quartiles (linear between neighbours) of a list of numbers.
function measure.summary(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  return { median = quantile(sorted, 0.5), low = quantile(sorted, 0.25), high = quantile(sorted, 0.75), samples = list }
end

--- The greatest difference of two lists, relative to the second's entries or absolute.
function measure.difference(a, b, absolute)
  if #a ~= #b then return math.huge end
  local most = 0
  for i, v in ipairs(b) do
    local d = math.abs(a[i] - v) / (absolute and 1 or math.max(math.abs(v), 1e-6))
    if d > most or d ~= d then most = d end
  end
  return most
end

local function numbers(text)
  local list = {}
  for word in text:gmatch "%S+" do list[#list + 1] = tonumber(word) or 0 / 0 end
  return list
end

-- Loads and checks every form; fills result.forms with those that work.
local function prepare(work, workers, file, result)
  local ours
  for _, f in ipairs(result.forms) do
    local w, why = workers(f.form.worker)
    local ok = w
    if w then ok, why = w:ask("load", work.name, f.form.form, file) end
    local answer
    if ok then answer, why = w:ask("check", work.name, f.form.form) end
    if answer then
      local values = numbers(answer)
      f.worker = w
      if f.form.worker == "simvae" then
        ours = ours or values
      elseif work.tolerance and ours then
        f.difference = measure.difference({ values[1] }, { ours[1] }, work.absolute)
        if work.flops then -- losses of several steps
          f.later = measure.difference(values, ours)
        else
          f.difference = measure.difference(values, ours, work.absolute)
        end
        f.wrong = not f.form.loose and (f.difference > work.tolerance or f.difference ~= f.difference)
      end
    else
      f.missing = why
    end
  end
end

local function time(f, work, steps)
  local answer, why = f.worker:ask("run", work.name, f.form.form, steps)
  if not answer then
    f.missing = why
    return nil
  end
  return tonumber(answer)
end

-- How many steps take about `seconds`.
local function calibrate(f, work, seconds)
  time(f, work, 1)
  local steps = 1
  while not f.missing do
    local took = time(f, work, steps)
    if not took or took >= seconds / 4 or steps >= 1 << 24 then
      f.steps = math.max(1, math.floor(steps * seconds / math.max(took or 1, 1e-9) + 0.5))
      f.slow = took and took / steps > 5 * seconds
      return
    end
    steps = took > 0 and math.min(steps * 16, math.max(steps + 1, math.ceil(steps * seconds / 2 / took))) or steps * 16
  end
end

-- A form that is much slower than the time meant for it is measured three times only.
local function in_rounds(result, rounds, one)
  for round = 1, rounds do
    local n = #result.forms
    for i = 0, n - 1 do
      local f = result.forms[(round + i) % n + 1]
      if not f.missing and not (f.slow and #f.list >= 3) then
        local value = one(f)
        if value then f.list[#f.list + 1] = value end
      end
    end
  end
end

local kinds = {}

function kinds.steps(work, o, result, workers)
  local file = os.tmpname()
  prepare(work, workers, file, result)
  for _, f in ipairs(result.forms) do
    if not f.missing then calibrate(f, work, o.seconds) end
  end
  in_rounds(result, o.rounds, function(f)
    local took = time(f, work, f.steps)
    return took and took / f.steps / (work.per or 1)
  end)
  os.remove(file)
  for _, f in ipairs(result.forms) do
    if f.worker then f.worker:ask "drop" end
  end
end

-- Programs from their start to their end, and what is resident before it, where the system says.
local SAY = {
  LUA = " local f = io.open '/proc/self/status' print(f and f:read 'a':match 'VmRSS:%s*(%d+)' or '')",
  PYTHON = "\nimport re\ntry: print(re.search(r'VmRSS:\\s*(\\d+)', open('/proc/self/status').read())[1])\n"
    .. "except OSError: print()",
}

function kinds.start(work, o, result)
  in_rounds(result, o.starts, function(f)
    local program, flag, text = table.unpack(f.form.start)
    local begun = core.system.clock()
    local child, why = core.process.spawn { o.programs[program], flag, text .. SAY[program], env = o.env }
    local line = child and child:read_line(60)
    local how, code
    if child then how, code = child:wait(60) end
    local took = core.system.clock() - begun
    f.slow = took > 0.5
    if how ~= "exit" or code ~= 0 then
      f.missing = child and child:errors():match "([^\n]+)%s*$" or why or "it failed"
      return nil
    end
    if not work.memory then return took end
    local kilobytes = tonumber(line)
    if not kilobytes then f.missing = "this system does not say" end
    return kilobytes and kilobytes / 1024
  end)
end

function kinds.peak(work, o, result, _, start)
  local file = os.tmpname()
  local ours = start "simvae" -- writes the file that the others read
  if ours then
    ours:ask("load", work.workload, "all", file)
    ours:close()
  end
  in_rounds(result, o.fresh, function(f)
    local w, why = start(f.form.worker)
    local ok, most = w, nil
    if w then ok, why = w:ask("load", work.workload, f.form.form, f.form.worker == "simvae" and "none" or file) end
    if ok then ok, why = w:ask("run", work.workload, f.form.form, work.steps) end
    if ok then most, why = w:ask "resident" end
    if w then w:close() end
    if not most then f.missing = why end
    return most and tonumber(most) / 2 ^ 20
  end)
  os.remove(file)
end

function kinds.flat(work, _, result, _, start)
  local f = result.forms[1]
  local w, why = start "simvae"
  local ok, answer = w, nil
  if w then ok, why = w:ask("load", work.workload, "all", "none") end
  if ok then answer, why = w:ask("check", work.workload, "all") end
  if w then w:close() end
  if not answer then
    f.missing = why
    return
  end
  local before, after = table.unpack(numbers(answer))
  f.list[1] = math.abs(after - before)
  f.note = string.format("%.1f, then %.1f MB", before, after)
end

--- Measures one workload.
-- @tparam table work of workloads.lua
-- @tparam table forms of workloads.lua
-- @tparam table o rounds, starts, fresh (how often), seconds (of a measurement), skip(form, work), programs, env
-- @tparam function workers name -> a worker that stays, or nil and why not
-- @tparam function start the same, a new one
-- @treturn table forms: { id, form, median, low, high, samples, difference, later, wrong, missing, note }
function measure.run(work, forms, o, workers, start)
  local result = { work = work, forms = {} }
  for _, id in ipairs(work.forms) do
    if not o.skip(forms[id], work) then
      result.forms[#result.forms + 1] = { id = id, form = forms[id], list = {} }
    end
  end
  kinds[work.measure or "steps"](work, o, result, workers, start)
  for _, f in ipairs(result.forms) do
    if #f.list > 0 and not f.missing then
      for k, v in pairs(measure.summary(f.list)) do f[k] = v end
    elseif not f.missing then
      f.missing = "not measured"
    end
  end
  return result
end

return measure
