--- Lists of a folder's modules, so that a new file is a new entry and is registered nowhere else.
--
--     catalogue.reported("simvae.metrics")       -- field `reported` of all modules that have one, in their `order`
local core = require "simvae.core"

local catalogue = {}

--- Names of the modules in a folder, sorted; without init.
-- @tparam string folder module name of the folder, "simvae.metrics"
-- @tparam ?string member one of its modules, by which a folder without init.lua is found
-- @treturn {string,...}
function catalogue.files(folder, member)
  local module = member and folder .. "." .. member or folder
  local path = assert(package.searchpath(module, package.path)):match "^(.*)/[^/]*$"
  local list = {}
  for _, file in ipairs(core.system.list(path) or {}) do
    local name = file:match "^([%a_][%w_]*)%.lua$"
    if name and name ~= "init" then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

local lists = {}

--- What the modules of a folder report.
-- @tparam string folder module name of the folder
-- @treturn {table,...} the field `reported` of each module that has one, by its `order`
function catalogue.reported(folder)
  if not lists[folder] then
    local list = {}
    for _, name in ipairs(catalogue.files(folder)) do list[#list + 1] = require(folder .. "." .. name).reported end
    table.sort(list, function(a, b) return a.order < b.order end)
    lists[folder] = list
  end
  return lists[folder]
end

return catalogue
