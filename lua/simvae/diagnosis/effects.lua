--- Parameters that no output depends on, and those whose effect the noise hides.
--
-- Each parameter in turn takes the values of other samples, while the other parameters and the sample's random numbers
-- stay: the mean squared change of the output, in standard deviations of the outputs. With noise, the change of all
-- numbers together, in its standard deviations: below one, no measurement tells the values apart. Of a data set, which
-- cannot be run, the posterior tells: where it keeps the whole spread of the prior, nothing was learned of a parameter.
local core = require "simvae.core"
local data = require "simvae.diagnosis.support.data"
local rerun = require "simvae.metrics.support.rerun"
local text = require "simvae.diagnosis.support.text"

local ROWS = 32
local NONE = 1e-10     -- of the outputs' variances
local SAME = 2         -- times the change where nothing was changed
local HIDDEN = 1       -- standard deviations
local BROAD = 0.9      -- of the prior's spread

local reported = { order = 40 }

-- Changes of the output by a parameter: mean square, and in standard deviations.
local function change(d, rows, x, failed, k)
  local other = {}
  for i, row in ipairs(rows) do
    other[i] = table.move(row, 1, #row, 1, {})
    other[i][k] = rows[i % #rows + 1][k]
  end
  local y, failed_too = d:outputs(other)
  local list = data.both(failed, failed_too, #rows)
  if #list < 4 then return nil end
  local a, b, within = rerun.rows(x, list), rerun.rows(y, list), nil
  if d.std and core.min(d.std):item() > 0 then
    within = math.sqrt(core.sum(core.square((b - a) / d.std)):item() / #list)
  end
  return core.mean(d:differences(a, b)):item(), within
end

local function nothing(p, how)
  return { kind = "no effect", parameters = { p.name }, text = string.format("No output depends on '%s': %s.", p.name,
    how), try = "Leave it out of params; where outputs should depend on it, see whether simulate uses it." }
end

local function by_simulator(d, add)
  local rows = d:rows(d:affordable(ROWS, #d.params + 2))
  local x, failed = d:outputs(rows)
  local again = d:outputs(rows)
  local own = core.mean(d:differences(again, x)):item() -- of random numbers that simvae does not give
  for k, p in ipairs(d.params) do
    local square, within = change(d, rows, x, failed, k)
    if square and square <= math.max(NONE, SAME * own) then
      add(nothing(p, own > 0 and "other values change it no more than a repetition does"
        or "with all else equal, other values leave every number as it is"))
    elseif within and within < HIDDEN then
      add { kind = "hidden by noise", parameters = { p.name }, text = string.format("Other values of '%s' change the "
        .. "output by %.2g standard deviations of its noise, all numbers together: a measurement does not tell them "
        .. "apart.", p.name, within), try = "Measure longer or with less noise, or something that depends on it "
        .. "more; a wider range of the parameter shows more of it." }
    end
  end
end

local function by_posterior(d, add)
  local spread = d.r and d.r.ambiguity and d.r.ambiguity.spread or {}
  for _, p in ipairs(d.params) do
    if (spread[p.name] or 0) > BROAD then
      add(nothing(p, string.format("its posterior keeps %s of the prior's spread", text.percent(spread[p.name]))))
    end
  end
end

function reported.find(d, add)
  if not d.z or not d.varies then return end
  if d.rows_of then by_posterior(d, add) else by_simulator(d, add) end
end

return { reported = reported }
