--- Figures 1 to 5 of a reproduction, from those of its runs.
local core = require "simvae.core"
local files = require "reproduce.files"
local sv = require "simvae"

local captions = {
  { "samples", "Figure %d: %s. In turn: the simulator on z, the decoder on z, the simulator on E(x), the decoder on "
    .. "E(x).", { rlc = 3 }, 1 },
  { "inference", "Figure %d: %s, on images from elsewhere.", {}, 1 },
  { "traversals", "Figure %d: %s. One parameter a row moves from bound to bound, the others stay.", {}, 2 },
  { "traversals.anim", "Figure %d: %s, the same, moving.", {}, 2 },
  { "invariants", "Figure %d: %s. The output's invariants, inferred against true.", {}, 3 },
  { "pairs", "Figure %d: %s. The posterior of one output: marginal and joint densities, and the true parameters.", {},
    5 },
}

--- Figures 1 to 5 in out/figures: list of { number, path, caption }.
local function figures(a, results)
  local list, place = {}, a.out .. "/figures"
  assert(core.system.mkdir(place))
  for _, c in ipairs(captions) do
    for _, name in ipairs(results.names) do
      local r = results.simulators[name].runs[1]
      if r then
        local number = c[3][name] or c[4]
        local path = string.format("%s/figure%d_%s_%s.png", place, number, name, c[1])
        if files.copy(r.out .. "/figures/" .. c[1] .. ".png", path) then
          list[#list + 1] = { number = number, path = path, rank = #list, caption = string.format(c[2], number, name) }
        end
      end
    end
  end
  local mims, labels, names = {}, {}, {}
  for _, name in ipairs(results.names) do
    local r = results.simulators[name].runs[1]
    if r then
      mims[#mims + 1] = { sv.tensor(r.numbers.mim), sv.tensor(r.numbers.truth.mim) }
      labels[#labels + 1], names[#names + 1] = dofile(a.folder .. "experiments.lua")[name]().simulator.names, name
    end
  end
  if #mims > 0 then
    local path, why = sv.figures.heatmap(place .. "/figure4.png", mims, { labels = labels, titles = names,
      rows = { "MIM(Z, V)", "MIM(V, V) or MIM(V, V̄)" } })
    list[#list + 1] = { number = 4, path = path, rank = #list, message = why, caption = "Figure 4: mutual information "
      .. "matrices, the model above the truth; rows: the encoder's parameters, columns: the true ones." }
  end
  table.sort(list, function(x, y)
    if x.number ~= y.number then return x.number < y.number end
    return x.rank < y.rank
  end)
  return list
end

return figures
