--- Symmetries that a simulator does not declare: several parameters give the same output.
--
-- Found by trying changes with the simulator (metrics.ambiguity), of the parameters that its posterior leaves broad (of
-- a simulator alone: of all); and from the modes of posteriors: a change that takes one mode to the other in every
-- output, a reflection or a shift, is tried with the simulator. Where there are two modes that the simulator gives the
-- same output for, but no such change, several values explain an output; where it gives other outputs for them, the
-- posterior is wrong.
local ambiguity = require "simvae.metrics.ambiguity"
local data = require "simvae.diagnosis.support.data"
local enumeration = require "simvae.util.enumeration"
local modes = require "simvae.diagnosis.support.modes"
local rerun = require "simvae.metrics.support.rerun"
local symmetry = require "simvae.simulator.symmetry"
local text = require "simvae.diagnosis.support.text"

local SHARE = 0.2   -- of the outputs whose posterior has two modes in a parameter, for a finding
local ALIKE = 0.02  -- of the outputs' variances: difference of the outputs of two modes
local BROAD = 0.35  -- of the prior's spread
local TRIED = 24

-- The first sentence of a note of metrics.ambiguity, and the rest: what to declare.
local function of_note(note)
  local what, try = note:match "^(.-%.) (%u.*)$"
  return (what or note):gsub("^%l", string.upper), try or "Declare the symmetry."
end

-- Parameters that a note names.
local function named(d, note)
  local list, first = {}, note:match "^(.-)%. " or note
  for _, p in ipairs(d.params) do
    if first:find("%f[%w_]" .. p.name:gsub("%p", "%%%0") .. "%f[^%w_]") then list[#list + 1] = p.name end
  end
  return list
end

local function add_notes(d, found, add)
  local seen = {}
  for _, note in ipairs(found.notes) do
    local what, try = of_note(note)
    local parameters, known = named(d, note), false
    local kind = note:find "^no output" and "no effect" or note:find "^the output stays" and "undeclared symmetry"
    for _, name in ipairs(parameters) do
      seen[name] = seen[name] or kind
      known = known or d.named[name] == "no effect" or d.named[name] == "hidden by noise"
    end
    if kind and not known then add { kind = kind, parameters = parameters, text = what, try = try } end
  end
  return seen
end

-- The share of outputs for whose two modes the simulator gives the same.
local function alike(d, pairs_of)
  local a, b = {}, {}
  for i = 1, math.min(#pairs_of, TRIED) do a[i], b[i] = pairs_of[i].first, pairs_of[i].second end
  local x, failed = d:outputs(a)
  local y, failed_too = d:outputs(b)
  local list = data.both(failed, failed_too, #a)
  if #list == 0 then return nil end
  local same = 0
  for _, v in ipairs(d:differences(rerun.rows(x, list), rerun.rows(y, list)):totable()) do
    if v <= ALIKE then same = same + 1 end
  end
  return same / #list
end

local function declared(d, k, change)
  local p, parts = d.params[k], {}
  for j, q in ipairs(d.params) do parts[j] = q.name .. " = " .. (j == k and change or "z." .. q.name) end
  return string.format("Declare symmetry = { { name = \"%s\", map = function(z) return { %s } end } }, or half the "
    .. "range of '%s'.", change:find "^%S+ %-" and "reflection" or "shift", table.concat(parts, ", "), p.name)
end

local function from_modes(d, seen, add)
  for k, p in ipairs(d.params) do
    local pairs_of = not p.levels and not seen[p.name] and modes.of(d, k) or {}
    if #pairs_of >= SHARE * #d.draws then
      local change, words = modes.change(d, k, pairs_of)
      local one = pairs_of[1]
      local example = string.format("for one output '%s' is %s or %s", p.name, text.value(p, one.first[k]),
        text.value(p, one.second[k]))
      local same = not change and alike(d, pairs_of)
      if change then
        add { kind = "undeclared symmetry", parameters = { p.name }, text = string.format("The output stays the "
          .. "same where '%s' is %s: %s.", p.name, words, example), try = declared(d, k, change) }
      elseif not same or same >= 0.5 then
        add { kind = "several values", parameters = { p.name }, text = string.format("Several values of '%s' "
          .. "explain an output, in %s of them: %s.", p.name, text.percent(#pairs_of / #d.draws), example),
          try = "Use the whole posterior in place of its mean; declare the symmetry, measure something that tells the "
            .. "values apart, or narrow the prior." }
      else
        add { kind = "wrong modes", parameters = { p.name }, text = string.format("The posterior gives '%s' two "
          .. "values, of which the simulator makes different outputs: %s.", p.name, example), try = "Train the encoder "
          .. "for longer, with a wider network or on more simulations." }
      end
    end
  end
end

-- Parameters whose posterior keeps much of the prior's spread, where no other finding says why.
local function add_broad(d, r, add)
  local names, shares = {}, {}
  for _, p in ipairs(d.params) do
    local v = r.spread[p.name] or 0
    if v > BROAD and not d.named[p.name] then
      names[#names + 1], shares[#shares + 1] = p.name, text.percent(v)
    end
  end
  if #names == 0 then return end
  local c = r.correlated
  local only = c and string.format(", and only a combination of '%s' and '%s' is known (correlation %.2f)", c[1], c[2],
    c[3]) or ""
  add { kind = "several values", parameters = names, text = string.format("Many values of %s explain an output: the "
    .. "posterior keeps %s of the prior's spread%s.", text.names(names), enumeration.of(shares), only),
    try = "Use the whole posterior in place of its mean. To know more, measure something that depends on them, or give "
      .. "known ones a narrower prior; more steps of training tell whether it is the inverse that is broad." }
end

local reported = { order = 50 }

function reported.find(d, add)
  if not d.z or not d.varies or d.rows_of or symmetry.declared(d.sim) then return end
  if not d.model then
    local all = {}
    for k, p in ipairs(d.params) do all[k] = not d.named[p.name] end
    local rows = d:rows(TRIED)
    add_notes(d, ambiguity.search({ sim = d.sim, params = d.params, z = rows, mean = rows }, all, {}), add)
    return
  end
  local r = d.r.ambiguity
  local seen = r and add_notes(d, r, add) or {}
  if d.draws then from_modes(d, seen, add) end
  if r then add_broad(d, r, add) end
end

return { reported = reported }
