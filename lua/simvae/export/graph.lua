--- The graphs of a model's directions, from which files of all formats are written.
local check = require "simvae.util.check"
local directions = require "simvae.export.support.directions"
local model_module = require "simvae.model"
local refuse = require "simvae.export.support.refuse"

local rules = check.declare("export.graph", directions.rules)

--- Traces directions of a model: graphs of tensor ops (simvae.export.support.graph), which were run again on other
-- batches and give what the model gives. Their nodes list op, inputs, options and shape; graph:run { z } runs one.
-- @tparam Model model
-- @tparam ?table options options
-- @treturn {table,...} graphs: of decode and encode one each, of posterior two, sample and log_prob
-- @raise a model of which a direction cannot leave: control flow that depends on data, ops in training mode
-- @usage
-- local g = sv.export.graph(model, { what = "decode" })[1]
-- print(#g.nodes, g:run({ z })[1].shape)
local function graph(model, options)
  if not model_module.is(model) then check.fail(2, "export.graph: takes a model; got %s", check.describe(model)) end
  local o = check.options("export.graph", options, rules)
  return (refuse.guard("export.graph", directions.of, model, o))
end

return { export = graph }
