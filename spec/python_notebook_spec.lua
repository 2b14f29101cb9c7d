-- notebooks/python.ipynb: it runs from its first cell to its last on ONNX files that are made as it says, by a Python
-- that has what it names, and nothing of simvae.
local helper = require "spec.helper"
local sv = require "simvae"

local path = "notebooks/python.ipynb"

-- The files that the notebook reads, of a model with fewer steps.
local function prepare(folder)
  local output, code = helper.run(string.format("program=$(realpath %s/bin/simvae) && cd %s && \"$program\" new ball",
    helper.quote(helper.build), helper.quote(folder)))
  assert.same(0, code, output)
  local ball = dofile(folder .. "/ball.lua")
  local model = sv.model { simulator = ball.simulator, posterior = ball.posterior }
  model:train { simulations = 2000, held_out = 0, decoder = { steps = 500 }, encoder = { steps = 500 }, quiet = true }
  assert(sv.export.onnx(model, folder .. "/ball.onnx", { what = { "decode", "posterior" } }))
end

describe("notebooks/python.ipynb", function()
  it("runs where onnxruntime, NumPy and ArviZ are", function()
    local python, why = helper.python("onnxruntime", "numpy", "arviz", "matplotlib", "ipykernel", "nbclient")
    if not python then return pending(why) end
    local folder = helper.temporary_folder()
    prepare(folder)
    local output, code = helper.run(python .. " -c " .. helper.quote [[
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
resources = {"metadata": {"path": sys.argv[2]}}
nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
print("cells", sum(cell.cell_type == "code" for cell in notebook.cells))
]] .. " " .. path .. " " .. helper.quote(folder))
    assert.same(0, code, output)
    assert.truthy(output:find "cells 7", output)
  end)

  it("is saved with its outputs, which are small", function()
    local text = helper.read(path)
    assert(#text < 200 * 1024)
    assert.truthy(text:find("image/png", 1, true))
    assert.truthy(text:find("effective sample size", 1, true))
    assert.is_nil(text:find("Traceback", 1, true))
  end)
end)
