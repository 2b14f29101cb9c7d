-- Measures all implementations of a workload in interleaved rounds.
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

-- Loads and checks every form; those that work have f.worker then. name: what the workers are asked for.
local function prepare(work, name, workers, file, result)
  local exact
  for _, f in ipairs(result.forms) do
    local w, why = workers(f.form.worker)
    local ok = w
    if w then ok, why = w:ask("load", name, f.form.form, file) end
    local answer
    if ok then answer, why = w:ask("check", name, f.form.form) end
    if answer then
      f.worker, f.numbers = w, numbers(answer)
      if f.form.worker == "simvae" and not f.form.loose then exact = exact or f end
    else
      f.missing = why
    end
  end
  for _, f in ipairs(result.forms) do
    if f.numbers and exact and f ~= exact and work.tolerance and (f.form.worker ~= "simvae" or f.form.loose) then
      local values, ours = f.numbers, exact.numbers
      if work.flops then -- losses of several steps
        f.difference = measure.difference({ values[1] }, { ours[1] }, work.absolute)
        f.later = measure.difference(values, ours)
      else
        f.difference = measure.difference(values, ours, work.absolute)
      end
      f.wrong = not f.form.loose and (f.difference > work.tolerance or f.difference ~= f.difference)
    end
  end
end

local function time(f, name, steps)
  local answer, why = f.worker:ask("run", name, f.form.form, steps)
  if not answer then
    f.missing = why
    return nil
  end
  return tonumber(answer)
end

-- How many steps take about `seconds`.
local function calibrate(f, name, seconds)
  time(f, name, 1)
  local steps = 1
  while not f.missing do
    local took = time(f, name, steps)
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
        local value = one(f, round)
        if value then f.list[#f.list + 1] = value end
      end
    end
  end
end

local kinds = {}

-- Removes the files of a workload's forms.
local function remove_files(file, result)
  os.remove(file)
  for _, f in ipairs(result.forms) do
    for _, suffix in ipairs { f.form.suffix, table.unpack(f.form.beside or {}) } do os.remove(file .. suffix) end
  end
end

function kinds.steps(work, o, result, workers)
  local file, name = os.tmpname(), work.workload or work.name
  prepare(work, name, workers, file, result)
  for _, f in ipairs(result.forms) do
    if not f.missing then calibrate(f, name, o.seconds) end
  end
  in_rounds(result, o.rounds, function(f)
    local took = time(f, name, f.steps)
    return took and took / f.steps / (work.per or 1)
  end)
  remove_files(file, result)
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

-- The files that forms run, made by the workers that stay: bytes of each, or seconds from the start of a new process to
-- its first result.
local function with_files(work, workers, result, f)
  local file = os.tmpname()
  prepare(work, work.workload, workers, file, result)
  f(file)
  for _, form in ipairs(result.forms) do
    if form.worker then form.worker:ask "drop" end
  end
  remove_files(file, result)
end

function kinds.size(work, _, result, workers)
  with_files(work, workers, result, function(path)
    for _, f in ipairs(result.forms) do
      local file <close> = not f.missing and io.open(path .. f.form.suffix, "rb") or nil
      f.list[1] = file and file:seek "end" / 2 ^ 20 or nil
    end
  end)
end

function kinds.first(work, o, result, workers, start)
  with_files(work, workers, result, function(path)
    in_rounds(result, o.fresh, function(f)
      local begun = core.system.clock()
      local w, why = start(f.form.worker)
      local ok = w
      if w then ok, why = w:ask("load", work.workload, f.form.form, path) end
      if ok then ok, why = w:ask("run", work.workload, f.form.form, 1) end
      local took = core.system.clock() - begun
      if w then w:close() end
      if not ok then f.missing = why end
      return ok and took or nil
    end)
  end)
end

local SEEDS = 8 -- at least: of one seed, two trainings that differ in their rounding alone end some percent apart

-- What so many steps of training lead to, from the seeds 1, 2, …: the last thing that a check says. Seeds differ by
-- more than forms do, so forms are compared seed by seed: of all but the first, f.paired sums up the ratios of the
-- first to it.
function kinds.outcome(work, o, result, workers)
  in_rounds(result, math.max(o.fresh, SEEDS), function(f, seed)
    local w, why = workers(f.form.worker)
    local name, answer = string.format("%s-%ds%d", work.workload, work.steps, seed), nil
    local ok = w
    if w then ok, why = w:ask("load", name, f.form.form, "none") end
    if ok then ok, why = w:ask("run", name, f.form.form, work.steps) end
    if ok then answer, why = w:ask("check", name, f.form.form) end
    if w then w:ask "drop" end
    if not answer then f.missing = why end
    return answer and tonumber(answer)
  end)
  local first = result.forms[1]
  for i = 2, #result.forms do
    local f, ratios = result.forms[i], {}
    for seed, value in ipairs(first.list) do
      if f.list[seed] then ratios[#ratios + 1] = value / f.list[seed] end
    end
    if #ratios > 0 then
      f.paired = measure.summary(ratios)
      f.note = string.format("seed by seed, of %d seeds, %s is %.3f of it (%.3f … %.3f)", #ratios, first.form.label,
        f.paired.median, f.paired.low, f.paired.high)
    end
  end
end

-- ---- a whole run ------------------------------------------------------------------------------------

local function whole_name(work, budget, seed)
  return string.format("%s-%dx%ds%d", work.name, budget[1], budget[2], seed)
end

-- Gives a peer the pictures of its next steps: simvae draws what the seed's own training would see.
local function feed(f, ours, name, steps, file)
  if f.worker == ours then return true end
  local ok, why = ours:ask("draw", name, "samples", steps, file)
  if ok then ok, why = f.worker:ask("feed", name, f.form.form, file) end
  return ok, why
end

-- One training. Returns seconds of its steps until the goal (nil: not within the budget) and a record of it; or nil
-- and why it failed.
local function train(f, work, ours, name, budget, files)
  local record = { stages = { 0, 0 }, done = { 0, 0 }, begun = core.system.clock() }
  local ok, why = ours:ask("load", name, "samples", files.state)
  if ok then ok, why = f.worker:ask("load", name, f.form.form, files.state) end
  for stage = 1, 2 do
    while ok and record.done[stage] < budget[stage] and not record.reached do
      local steps = math.min(work.every, budget[stage] - record.done[stage])
      ok, why = feed(f, ours, name, steps, files.batches)
      local took
      if ok then took, why = f.worker:ask("run", name, f.form.form, steps) end
      ok = took
      if ok then
        record.stages[stage] = record.stages[stage] + tonumber(took)
        record.done[stage] = record.done[stage] + steps
      end
      if ok and stage == 2 and work.goal then
        ok, why = f.worker:ask("infer", name, f.form.form, files.test, files.means)
        if ok then ok, why = ours:ask("mig", name, "samples", files.means) end
        record.mig = ok and tonumber(ok)
        record.reached = ok and record.mig >= work.goal
      end
    end
  end
  f.worker:ask "drop"
  ours:ask "drop"
  if not ok then return nil, why end
  record.all = core.system.clock() - record.begun
  return record.reached and record.stages[1] + record.stages[2] or nil, record
end

-- Of several forms of one peer the fastest remains: a trial of a few steps of both stages says which.
local function keep_fastest(result, work, ours, files)
  local budget, best = { 10, 10 }, {}
  local name = whole_name(work, budget, 1)
  for _ = 1, 2 do
    for _, f in ipairs(result.forms) do
      if f.worker and f.worker ~= ours then
        local _, record = train(f, { every = 10 }, ours, name, budget, files)
        if type(record) == "table" then
          local took = record.stages[1] + record.stages[2]
          f.trial = math.min(f.trial or math.huge, took / (budget[1] + budget[2]))
          if not best[f.worker] or f.trial < best[f.worker].trial then best[f.worker] = f end
        else
          f.missing = record
        end
      end
    end
  end
  for _, f in ipairs(result.forms) do
    local fastest = best[f.worker]
    if fastest and f ~= fastest and not f.missing then
      f.missing = string.format("left out: %.1f ms a step in a trial, %s %.1f ms", 1e3 * f.trial,
        fastest.form.label, 1e3 * fastest.trial)
    end
  end
end

local function middle(list) return measure.summary(list).median end

local function whole_note(work, f)
  local migs, steps, all, reached = {}, {}, {}, 0
  for i, r in ipairs(f.records) do
    migs[i], steps[i], all[i] = string.format("%.3f", r.mig), tostring(r.done[2]), r.all
    if r.reached then reached = reached + 1 end
  end
  return string.format("%d of %d runs got to MIG %g: %s after %s steps of the encoder; %.0f s with checks and all",
    reached, #f.records, work.goal, table.concat(migs, ", "), table.concat(steps, ", "), middle(all))
end

-- Runs of the seeds 1, 2, …: everyone's in turn. Each starts from the same weights and sees the same pictures.
function kinds.whole(work, o, result, workers)
  local files, short = {}, whole_name(work, { 8, 100 }, 1) -- a check takes eight steps of each stage
  for _, name in ipairs { "state", "batches", "test", "means" } do files[name] = os.tmpname() end
  prepare(work, short, workers, files.state, result)
  local ours, peers = workers "simvae", false
  for _, f in ipairs(result.forms) do peers = peers or f.worker and f.worker ~= ours end
  if peers and ours:ask("load", short, "samples", files.state) and ours:ask("test", short, "samples", files.test) then
    keep_fastest(result, work, ours, files)
  end
  for _, f in ipairs(result.forms) do f.records = {} end
  in_rounds(result, o.fresh, function(f, seed)
    local took, record = train(f, work, ours, whole_name(work, o.budget, seed), o.budget, files)
    if type(record) ~= "table" then
      f.missing = record
      return nil
    end
    table.insert(f.records, record)
    return took
  end)
  for _, path in pairs(files) do os.remove(path) end
  local beside = { work = work.beside, forms = {} }
  for i, f in ipairs(result.forms) do
    local step = { id = f.id, form = f.form, list = {}, missing = f.missing }
    beside.forms[i] = step
    if #f.records > 0 then
      f.note = whole_note(work, f)
      local stages = { {}, {} }
      for k, r in ipairs(f.records) do
        for s = 1, 2 do stages[s][k] = r.stages[s] / r.done[s] end
        step.list[k] = (stages[1][k] * o.budget[1] + stages[2][k] * o.budget[2]) / (o.budget[1] + o.budget[2])
      end
      step.note = string.format("decoder %.2f ms, encoder %.2f ms", 1e3 * middle(stages[1]), 1e3 * middle(stages[2]))
      if #f.list == 0 then f.missing = f.note end
    end
  end
  return beside
end

-- ---- what is called from outside --------------------------------------------------------------------

local function summarise(result)
  for _, f in ipairs(result.forms) do
    if #f.list > 0 and not f.missing then
      for k, v in pairs(measure.summary(f.list)) do f[k] = v end
    elseif not f.missing then
      f.missing = "not measured"
    end
  end
  return result
end

--- Measures one workload.
-- @tparam table work of workloads.lua
-- @tparam table forms of workloads.lua
-- @tparam table o rounds, starts, fresh (how often), seconds (of a measurement), budget (steps of both stages),
-- skip(form, work), programs, env
-- @tparam function workers name -> a worker that stays, or nil and why not
-- @tparam function start the same, a new one
-- @treturn table forms: { id, form, median, low, high, samples, difference, later, wrong, missing, note }
-- @treturn ?table another result, of work.beside
function measure.run(work, forms, o, workers, start)
  local result = { work = work, forms = {} }
  for _, id in ipairs(work.forms) do
    if not o.skip(forms[id], work) then
      result.forms[#result.forms + 1] = { id = id, form = forms[id], list = {} }
    end
  end
  local beside = kinds[work.measure or "steps"](work, o, result, workers, start)
  return summarise(result), beside and summarise(beside)
end

return measure
