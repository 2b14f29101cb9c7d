--- Writes the reference: `make docs`.
local check = require "simvae.util.check"
local core = require "simvae.core"
local examples = require "simvae.reference.examples"
local markdown = require "simvae.reference.markdown"
local page = require "simvae.reference.page"

-- Writes a file whose folder exists.
local function write(path, bytes)
  local ok, why = core.io.write(path, { bytes })
  if not ok then error(path .. ": " .. why, 0) end
  print(path)
end

--- Runs all examples in the working directory and writes index.html, reference.md and pictures/.
-- @tparam string folder of the files, which exists
-- @tparam integer steps of each stage of the model that the examples use
-- @raise an example that fails, a file that cannot be written
return function(folder, steps)
  check.value("reference", "folder", folder, { "string" })
  local run = examples.run(steps)
  run.steps = steps
  for _, e in ipairs(run) do
    if e.fault then error(string.format("the example of %s fails: %s", e.entry.name, e.fault), 0) end
  end
  assert(core.system.mkdir(folder .. "/pictures"))
  for _, e in ipairs(run) do
    if e.picture then
      local ok, why = core.io.write(folder .. "/" .. markdown.picture(e.entry), { e.picture })
      if not ok then error(why, 0) end
    end
  end
  write(folder .. "/index.html", page.html(run))
  write(folder .. "/reference.md", markdown.text(run))
end
