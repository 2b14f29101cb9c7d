--- Figures of a comparison.
local sv = require "simvae"

local figures = {}

local STEPS = 9 -- outputs of a traversal's row

-- The numbers of a traversal: latent i from low to high, the others in the middle.
local function moved(answer, L, i)
  local rows = {}
  local function range(k)
    if answer.range then return answer.range(k) end
    return -2, 2
  end
  for s = 1, STEPS do
    rows[s] = {}
    for k = 1, L do
      local low, high = range(k)
      local share = k == i and (s - 1) / (STEPS - 1) or 0.5
      rows[s][k] = low + (high - low) * share
      if answer.levels and answer.levels[k] then rows[s][k] = math.floor(rows[s][k] + 0.5) end
    end
  end
  return sv.tensor(rows)
end

--- Traversals of an answer's latents through its decoder.
-- @tparam string path of the PNG
-- @tparam table answer of a method
-- @tparam Simulator sim
-- @tparam integer latents their number
-- @treturn ?string path, nil where there is nothing to draw
function figures.traversals(path, answer, sim, latents)
  if not answer.decode or #sim.output ~= 3 then return nil end
  local rows, labels = {}, {}
  for i = 1, latents do
    rows[i] = answer.decode(moved(answer, latents, i))
    labels[i] = answer.named and sim.names[i] or tostring(i)
  end
  return sv.figures.grid(path, rows, { labels = labels, scale = 1 })
end

--- Learning curves of the players of a method.
-- @tparam string path of the PNG
-- @tparam table curves rows { step, loss of each player }
-- @tparam {string,...} players their names
-- @treturn ?string path, or nil and a message
function figures.curves(path, curves, players)
  local log = {}
  for i, name in ipairs(players) do
    for _, row in ipairs(curves) do log[#log + 1] = { step = row[1], stage = name, loss = row[i + 1] } end
  end
  return sv.figures.learning_curves(path, log)
end

--- Mutual information matrices of methods on one experiment, one beside the other.
-- @tparam string path of the PNG
-- @tparam {table,...} list { title =, mim = rows }
-- @tparam {string,...} names of the parameters
-- @treturn ?string path, or nil and a message
function figures.information(path, list, names)
  local mims, titles, labels = {}, {}, {}
  for i, one in ipairs(list) do
    mims[i], titles[i], labels[i] = { sv.tensor(one.mim) }, one.title, names
  end
  if #mims == 0 then return nil, "no matrices" end
  return sv.figures.heatmap(path, mims, { titles = titles, labels = labels })
end

return figures
