--- The chapters of the reference's pages: entries that belong together, in the order in which a reader needs them.
local reference = require "simvae.reference"

local FIRST = { "", "Model", "Posterior", "Simulator", "Chain", "Composed", "simulators", "metrics", "figures", "io",
  "export", "ops", "Tensor", "Rng", "Tape", "nn", "Layer", "nets", "optim", "Optimizer", "linalg" }

local TITLES = { [""] = "Functions of sv", ops = "Ops", simulators = "Built-in simulators" }

local INTRODUCTIONS = {
  [""] = "Functions of what `require \"simvae\"` returns. The other chapters are its modules, and the objects that "
    .. "these make.",
  ops = "Functions of tensors, recorded for gradients under a tape. Where the first argument is a tensor, each is a "
    .. "method as well: `sv.sum(x, 2)` is `x:sum(2)`. Parameters after the tensors are given in order or by name: "
    .. "`sv.sum(x, { keepdims = true })`.",
  simulators = "Each is a module of its own: `require \"simvae.simulators.box\"`.",
}

-- The chapter of an entry.
local function chapter_of(entry)
  if entry.kind == "op" then return "ops" end
  if entry.kind == "class" or entry.kind == "module" then return entry.name end
  if entry.kind == "method" then return entry.owner:sub(1, 1):upper() .. entry.owner:sub(2) end
  return entry.owner
end

local MAIN = { "simulator", "model", "load", "simulate", "evaluate", "report", "help" }

-- The functions that a script begins with, then those in Lua, then those of tensors, which are in C.
local function main_first(entries)
  local list, seen = {}, {}
  local function add(suits)
    for _, entry in ipairs(entries) do
      if not seen[entry] and suits(entry) then
        seen[entry] = true
        list[#list + 1] = entry
      end
    end
  end
  for _, name in ipairs(MAIN) do add(function(entry) return entry.name == name end) end
  add(function(entry) return entry.path end)
  add(function() return true end)
  return list
end

--- All chapters.
-- @treturn {table,...} id, title, text, head (the entry of the class or module, or nil), entries
return function()
  local by_id, list = {}, {}
  for entry in reference.entries() do
    local id = chapter_of(entry)
    local chapter = by_id[id]
    if not chapter then
      chapter = { id = id == "" and "sv" or id, title = TITLES[id] or id, text = INTRODUCTIONS[id], entries = {},
        place = #FIRST + 1 }
      for i, name in ipairs(FIRST) do
        if name == id then chapter.place = i end
      end
      by_id[id] = chapter
      list[#list + 1] = chapter
    end
    if entry.kind == "class" or entry.kind == "module" then
      chapter.head = entry
      if entry.kind == "module" then chapter.title = "sv." .. entry.name end
    else
      table.insert(chapter.entries, entry)
    end
  end
  by_id[""].entries = main_first(by_id[""].entries)
  for i, chapter in ipairs(list) do chapter.place = chapter.place + i / 1000 end
  table.sort(list, function(a, b) return a.place < b.place end)
  return list
end
