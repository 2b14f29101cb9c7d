-- The notebooks: what is committed is whole, and each runs from top to bottom with our kernel and gives outputs of the
-- same kinds.
local absolute = require "simvae.util.absolute"
local assert = require "luassert"
local helper = require "spec.helper"
local json = require "simvae.io.json"

local FOLDER = "notebooks"
local LARGEST = 250 << 10 -- bytes of a notebook
local NAMES = { "1_first_steps", "2_your_own_simulator", "3_circuit", "4_slow_program", "5_measured_curves",
  "6_one_to_many" }

local function read(path) return assert(json.decode(helper.read(path))) end

local function text_of(source) return type(source) == "table" and table.concat(source) or source end

-- What an output is: "display_data image/png text/plain", "stream stdout", …
local function kind_of(output)
  local mimes = {}
  for mime in pairs(output.data or {}) do mimes[#mimes + 1] = mime end
  table.sort(mimes)
  return table.concat({ output.output_type, output.name or table.concat(mimes, " ") }, " ")
end

-- The outputs of each cell of code, as text; but progress, of which a fast machine shows less. What is written to a
-- stream comes in any number of pieces.
local function kinds_of(notebook)
  local cells = {}
  for _, cell in ipairs(notebook.cells) do
    if cell.cell_type == "code" then
      local kinds = {}
      for _, output in ipairs(cell.outputs) do
        local kind = kind_of(output)
        local more = output.output_type == "stream" and kinds[#kinds] == kind
        if not more and (output.output_type ~= "display_data" or output.data["image/png"]) then
          kinds[#kinds + 1] = kind
        end
      end
      cells[#cells + 1] = text_of(cell.source) .. "\n-- " .. table.concat(kinds, ", ")
    end
  end
  return cells
end

local function pictures_in(cells)
  local _, count = table.concat(cells, "\n"):gsub("image/png", "")
  return count
end

describe("the committed notebooks", function()
  it("are those that are listed here", function()
    local found = {}
    for _, name in ipairs(require("simvae.core").system.list(FOLDER)) do
      found[#found + 1] = name:match "^(%d_.*)%.ipynb$"
    end
    table.sort(found)
    assert.same(NAMES, found)
  end)

  for _, name in ipairs(NAMES) do
    it("are whole: " .. name, function()
      local path = string.format("%s/%s.ipynb", FOLDER, name)
      assert.is_true(#helper.read(path) <= LARGEST, #helper.read(path) .. " bytes")
      local notebook, count = read(path), 0
      assert.same({ "simvae", 4 }, { notebook.metadata.kernelspec.name, notebook.nbformat })
      assert.matches("^# ", text_of(notebook.cells[1].source))
      for _, cell in ipairs(notebook.cells) do
        assert.is_nil(next(cell.metadata))
        assert.matches("%S", text_of(cell.source))
        if cell.cell_type == "code" then
          count = count + 1
          assert.equal(count, cell.execution_count, "cells were not run in order")
          for _, output in ipairs(cell.outputs) do assert.not_equal("error", output.output_type) end
        end
      end
      assert.is_true(count >= 8 and #notebook.cells - count >= 6)
      assert.is_true(pictures_in(kinds_of(notebook)) >= 3)
    end)

    it("link files that exist: " .. name, function()
      for _, cell in ipairs(read(string.format("%s/%s.ipynb", FOLDER, name)).cells) do
        for link in (cell.cell_type == "markdown" and text_of(cell.source) or ""):gmatch "%]%(([^)#]+)[^)]*%)" do
          assert.is_truthy(io.open(FOLDER .. "/" .. link), link)
        end
      end
    end)
  end
end)

describe("the notebooks #long", function()
  local python, missing = helper.python("ipykernel", "nbclient")
  local prefix

  -- Executes notebooks into a folder: what was printed, and the exit code.
  local function execute(folder, path)
    return helper.run(string.format("JUPYTER_PATH=%s %s -W ignore notebooks/execute.py --into %s %s",
      helper.quote(absolute(prefix .. "/share/jupyter")), python, helper.quote(folder), helper.quote(path)))
  end

  lazy_setup(function()
    if not python then return end
    prefix = helper.temporary_folder()
    local output, code = helper.run(string.format("%s/bin/simvae kernel install --python %s --prefix %s", helper.build,
      python, prefix))
    assert.equal(0, code, output)
  end)

  for _, name in ipairs(NAMES) do
    it("run from top to bottom, with outputs of the committed kinds: " .. name, function()
      if not python then return pending(missing) end
      if not helper.have "gnuplot" then return pending "no gnuplot: notebooks draw figures" end
      if name:find "circuit" and not helper.have_ngspice() then return pending "no ngspice" end
      if name:find "slow" and not helper.have "python3" then return pending "no python3" end
      local path, folder = string.format("%s/%s.ipynb", FOLDER, name), helper.temporary_folder()
      local output, code = execute(folder, path)
      assert.equal(0, code, output)
      assert.same(kinds_of(read(path)), kinds_of(read(string.format("%s/%s.ipynb", folder, name))))
    end)
  end

  it("are not saved where a cell fails", function()
    if not python then return pending(missing) end
    local folder = helper.temporary_folder()
    local path = folder .. "/failing.ipynb"
    local cells = {}
    for i, source in ipairs { "local a = 20", "error 'planted'", "a" } do
      cells[i] = string.format([[{"cell_type": "code", "id": "c%d", "metadata": {}, "source": %s, "outputs": [],
        "execution_count": null}]], i, json.quote(source))
    end
    helper.write(path, '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [', table.concat(cells, ","),
      "]}")
    local output, code = execute(folder .. "/none", path)
    assert.equal(1, code)
    assert.matches("failing%.ipynb", output)
    assert.matches("planted", output)
    assert.is_nil(io.open(folder .. "/none/failing.ipynb"))
  end)
end)
