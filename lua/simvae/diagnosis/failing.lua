--- Samples that the simulator fails on, and where in the prior they lie.
--
-- Of each parameter the range is cut into sixteen parts of equal prior mass. The region reported is the one, of
-- consecutive parts of one parameter, that holds nearly all failures and has the largest share of them.
local text = require "simvae.diagnosis.support.text"

local PARTS = 16
local MOST = 0.02     -- share of failures that is no finding
local HOLDS = 0.9     -- of the failures, for a region
local DENSER = 1.8    -- its share of failures over that of the whole prior
local FEW = 5         -- failures, below which no region is looked for

-- Values of a parameter on its scale, in ascending order, and the bounds of parts of equal counts.
local function bounds_of(values)
  local sorted = table.move(values, 1, #values, 1, {})
  table.sort(sorted)
  local bounds = { -math.huge }
  for i = 1, PARTS - 1 do bounds[i + 1] = sorted[math.ceil(i * #sorted / PARTS)] end
  bounds[PARTS + 1] = math.huge
  return bounds, sorted[1], sorted[#sorted]
end

-- The region of one parameter: from and to (numbers of bounds), and the share that fails there.
local function region(good, bad, k)
  local all = {}
  for _, list in ipairs { good, bad } do
    for _, row in ipairs(list) do all[#all + 1] = row[k] end
  end
  local bounds, low, high = bounds_of(all)
  local function counts(list)
    local in_parts = {}
    for i = 1, PARTS do in_parts[i] = 0 end
    for _, row in ipairs(list) do
      local i = 1
      while i < PARTS and row[k] > bounds[i + 1] do i = i + 1 end
      in_parts[i] = in_parts[i] + 1
    end
    return in_parts
  end
  local fails, works = counts(bad), counts(good)
  local best
  for from = 1, PARTS do
    local f, n = 0, 0
    for to = from, PARTS do
      f, n = f + fails[to], n + fails[to] + works[to]
      if n > 0 and f >= HOLDS * #bad and (not best or f / n > best.share) then
        best = { share = f / n, from = math.max(low, bounds[from]), to = math.min(high, bounds[to + 1]) }
      end
    end
  end
  return best
end

-- What to do: share of the draws that fail; of: the parameter of a region, or nil.
local function advice(share, of)
  if share == 1 then return "Mend the simulator: before it gives outputs there is nothing to learn." end
  return (of and string.format("Leave that region out of the prior (low and high of '%s', or prior = function(rng) … "
    .. "end), or let the simulator give an output there as well. ", of.name) or "Let the simulator give an output for "
    .. "these parameters as well. ") .. "Failed draws are replaced, so that nothing is learned about them."
end

local reported = { order = 10 }

function reported.find(d, add)
  local share = #d.failed / d.tried
  if share <= MOST then return end
  local good, bad = d.z and d.z:totable() or {}, {}
  for i, f in ipairs(d.failed) do bad[i] = f.z end
  local best, of
  for k, p in ipairs(#bad >= FEW and #good > 0 and d.params or {}) do
    local found = not p.levels and region(good, bad, k)
    if found and found.share > DENSER * share and (not best or found.share > best.share) then best, of = found, p end
  end
  local where = ""
  if best then
    where = string.format(" They lie where '%s' is from %s to %s, where %s of the draws fail.", of.name,
      text.value(of, best.from), text.value(of, best.to), text.percent(best.share))
  end
  add { kind = "failures", parameters = of and { of.name }, share = share, low = best and best.from,
    high = best and best.to,
    text = string.format("The simulator fails on %s of %d draws of the prior; the first: %s.%s", text.percent(share),
      d.tried, (d.failed[1].reason:gsub("[.?]?%s*$", "")), where), try = advice(share, of) }
end

return { reported = reported }
