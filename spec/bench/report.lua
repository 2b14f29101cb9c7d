-- Reports of the measurements: lines for a terminal, Markdown, or plain values for JSON.
local report = {}

local function scaled(v)
  if v >= 1 then return v, "s" elseif v >= 1e-3 then return v * 1e3, "ms" end
  return v * 1e6, "us"
end

local function digits(v)
  return string.format(v >= 100 and "%.0f" or v >= 10 and "%.1f" or v >= 0.1 and "%.2f" or "%.1g", v)
end

local function grouped(v)
  local text, n = string.format("%.0f", v), 1
  while n > 0 do text, n = text:gsub("^(%d+)(%d%d%d)", "%1,%2") end
  return text
end

-- Value and spread of a form, in the row's unit.
local function amount(work, f)
  if work.memory then return digits(f.median) .. " MB", digits(f.low) .. " … " .. digits(f.high) end
  if work.plain then return string.format("%.4g", f.median), string.format("%.4g … %.4g", f.low, f.high) end
  local m, unit = scaled(f.median)
  local factor = m / f.median
  return digits(m) .. " " .. unit, digits(f.low * factor) .. " … " .. digits(f.high * factor)
end

local function find(result, id)
  for _, f in ipairs(result.forms) do
    if f.id == id then return f end
  end
end

-- Text of a target, what was reached, and whether that will do (nil: cannot be said).
local function judge(result, target, sgemm)
  local work, ours = result.work, result.forms[1]
  local mine = ours and ours.median
  if target.times then
    local best
    for _, id in ipairs(target.than) do
      local f = find(result, id)
      if f and f.median and not f.wrong and (not best or f.median < best) then best = f.median end
    end
    local value = mine and best and best / mine
    return string.format("%g x %s", target.times, target.text), value and digits(value) .. " x",
      value and value >= target.times
  elseif target.share then
    local value = mine and sgemm and work.flops / mine / sgemm
    return string.format("%.0f%% of the sgemm rate", 100 * target.share),
      value and string.format("%.0f%%", 100 * value), value and value >= target.share
  elseif target.rate then
    local value = mine and 1 / mine
    return string.format("%s %ss/s", grouped(target.rate), work.unit), value and grouped(value),
      value and value >= target.rate
  elseif target.part then
    local whole = find(result, target.of)
    local value = mine and whole and whole.median and mine / whole.median
    return string.format("at most %g%% of %s", 100 * target.part, whole and whole.form.label or target.of),
      value and string.format("%.1f%%", 100 * value), value and value <= target.part
  elseif target.within then
    local other = find(result, target.of)
    local value = other and other.paired and other.paired.median - 1
    return string.format("within %g%% of %s's, seed by seed", 100 * target.within,
      other and other.form.label or target.of),
      value and string.format("%+.1f%%", 100 * value), value and value <= target.within
  end
  local text = work.memory and string.format("at most %g MB", target.most)
    or string.format("at most %g ms", 1e3 * target.most)
  return text, mine and amount(work, ours), mine and mine <= target.most
end

-- What else there is to say of a form.
local function remarks(work, f, sgemm)
  local list = {}
  if work.flops then
    local rate = work.flops / f.median
    local text = string.format("%.0f GFLOP/s", rate / 1e9)
    if sgemm and work.name ~= "sgemm" then text = text .. string.format(", %.0f%% of sgemm", 100 * rate / sgemm) end
    list[1] = text
  elseif not work.memory and work.per then
    list[1] = grouped(1 / f.median) .. " " .. work.unit .. "s/s"
  end
  if f.difference then
    list[#list + 1] = string.format(f.later and "loss differs by %.0e, after 3 steps %.0e" or "differs by %.0e",
      f.difference, f.later)
  end
  if f.wrong then list[#list + 1] = "DIFFERENT RESULT" end
  if f.note then list[#list + 1] = f.note end
  return table.concat(list, "; ")
end

--- The rate of the best sgemm of this run, FLOP/s, or nil.
function report.sgemm(result)
  local best
  for _, f in ipairs(result.forms) do
    if f.median and (not best or f.median < best) then best = f.median end
  end
  return best and result.work.flops / best
end

-- Rows of a result: label, value, spread, ratio, remarks.
local function rows(result, sgemm)
  local list, mine = {}, result.forms[1] and result.forms[1].median
  for i, f in ipairs(result.forms) do
    if f.median then
      local value, spread = amount(result.work, f)
      list[i] = { f.form.label, value, spread, mine and i > 1 and digits(f.median / mine) .. " x" or "",
        remarks(result.work, f, sgemm) }
    else
      list[i] = { f.form.label, "-", "", "", f.missing }
    end
  end
  return list
end

local function judgements(result, sgemm)
  local list = {}
  for i, target in ipairs(result.work.targets) do
    local text, value, met = judge(result, target, sgemm)
    list[i] = { text = text, value = value, met = met,
      word = met == nil and "not to be said here" or met and "met" or "NOT MET" }
  end
  return list
end

local function pad(text, width)
  local length = utf8.len(text) or #text
  return text .. string.rep(" ", width - length)
end

--- Prints a result.
function report.print(result, sgemm)
  local work = result.work
  print(string.format("\n%s: %s%s", work.name, work.title,
    work.flops and string.format(" (%.2f GFLOP)", work.flops / 1e9) or ""))
  for _, r in ipairs(rows(result, sgemm)) do
    print(("  " .. pad(r[1], 31) .. pad(r[2], 10) .. pad(r[3] ~= "" and "(" .. r[3] .. ")" or "", 20)
      .. pad(r[4], 9) .. r[5]):match "^(.-)%s*$")
  end
  for _, j in ipairs(judgements(result, sgemm)) do
    print(string.format("  target: %s; %s%s", j.text, j.value and j.value .. ": " or "", j.word))
  end
  io.flush()
end

--- A page of Markdown.
-- @tparam table run about (list of {name, text}), results, sgemm, command
function report.markdown(run)
  local out = {}
  local function line(format, ...) out[#out + 1] = select("#", ...) > 0 and string.format(format, ...) or format end
  line "# Results of the bench"
  line ""
  line("Written by `%s`; repeat it so, on an idle machine. Peers are measured where they", run.command)
  line "are installed: `pip install torch jax jaxlib numpy matplotlib PySpice onnx onnxruntime fmpy`."
  line ""
  for _, about in ipairs(run.about) do line("- %s: %s", about[1], about[2]) end
  line ""
  line "Times are medians over the rounds with their quartiles; ratios are to simvae's, over 1: simvae is faster."
  line ""
  line "| workload | target | reached | |"
  line "| --- | --- | --- | --- |"
  for _, result in ipairs(run.results) do
    for _, j in ipairs(judgements(result, run.sgemm)) do
      line("| %s | %s | %s | %s |", result.work.title, j.text, j.value or "", j.word)
    end
  end
  for _, result in ipairs(run.results) do
    line ""
    line("## %s: %s", result.work.name, result.work.title)
    line ""
    local what = result.work.memory and "memory" or result.work.plain or "time per " .. result.work.unit
    line("| | %s | quartiles | ratio | |", what)
    line "| --- | --- | --- | --- | --- |"
    for _, r in ipairs(rows(result, run.sgemm)) do line("| " .. table.concat(r, " | ") .. " |") end
  end
  return table.concat(out, "\n") .. "\n"
end

--- Plain values for JSON.
function report.values(run)
  local about, results = {}, {}
  for _, pair in ipairs(run.about) do about[pair[1]] = pair[2] end
  for i, result in ipairs(run.results) do
    local forms = {}
    for k, f in ipairs(result.forms) do
      forms[k] = { form = f.form.label, median = f.median, low = f.low, high = f.high, samples = f.samples,
        steps = f.steps, difference = f.difference, difference_later = f.later, wrong = f.wrong, missing = f.missing,
        note = f.note }
    end
    results[i] = { name = result.work.name, title = result.work.title,
      unit = result.work.memory and "MB" or result.work.plain or "seconds",
      per = result.work.unit, flops = result.work.flops, forms = forms, targets = judgements(result, run.sgemm) }
  end
  return { about = about, sgemm = run.sgemm, results = results }
end

return report
