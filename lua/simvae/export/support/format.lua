--- What all formats share: their options, checks of the arguments, and writing of the files, all of them or none.
local check = require "simvae.util.check"
local core = require "simvae.core"
local directions = require "simvae.export.support.directions"
local file = require "simvae.io.file"
local model_module = require "simvae.model"
local refuse = require "simvae.export.support.refuse"

local format = {}

--- Rules of a format's options: those of directions, overwrite, and its own.
-- @tparam string name of the format: sv.export.NAME
-- @tparam ?table own rules
-- @treturn table declared
function format.rules(name, own)
  local rules = { overwrite = { "boolean", default = false, doc = "replaces files that exist" } }
  for k, rule in pairs(directions.rules) do rules[k] = rule end
  for k, rule in pairs(own or {}) do rules[k] = rule end
  return check.declare("export." .. name, rules)
end

--- Exports a model: checks the arguments, traces the directions, and writes what `build` makes of the graphs.
-- @tparam string name of the format
-- @tparam Model model
-- @tparam string path
-- @tparam ?table options as the caller gave them
-- @tparam table rules of format.rules
-- @tparam function build (graphs, o, model, path) -> { { path =, pieces = {string|tensor,...} }, … }, and what the
-- public function returns behind the path; or nil and a message; it may call refuse.because
-- @treturn string|nil path, or nil and a message: a file that exists or cannot be written
-- @return what build gives as its second result
function format.write(name, model, path, options, rules, build)
  local what = "export." .. name
  if not model_module.is(model) then check.fail(3, "%s: takes a model; got %s", what, check.describe(model)) end
  if type(path) ~= "string" or path == "" then
    check.fail(3, "%s: path takes the name of the file; got %s", what, check.describe(path))
  end
  local o = check.options(what, options, rules, 4)
  local files, about
  refuse.guard(what, function()
    files, about = build(directions.of(model, o), o, model, path)
  end)
  if not files then return nil, about end
  for _, one in ipairs(files) do
    local kind = core.system.kind(one.path)
    if kind == "folder" then return nil, one.path .. ": is a folder" end
    if kind and not o.overwrite then return nil, one.path .. ": exists already; overwrite = true replaces it" end
  end
  for _, one in ipairs(files) do
    local ok, why = file.write(one.path, one.pieces)
    if not ok then return nil, why end
  end
  return path, about
end

return format
