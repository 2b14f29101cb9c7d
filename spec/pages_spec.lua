-- The pages in notebooks/: files and paths that they name exist, and the files that contributing.md shows work as
-- they stand.
local helper = require "spec.helper"
local core = require "simvae.core"

local pages = { "README.md" }
for path in helper.run("ls notebooks/*.md"):gmatch "[^\n]+" do pages[#pages + 1] = path end

local function text_of(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

-- The blocks of a page in a language that name a file in their first line: path -> text.
local function files_of(path, language, comment)
  local files = {}
  for block in text_of(path):gmatch("```" .. language .. "\n(.-)```") do
    local name = block:match("^" .. comment .. " ([%w_/]+%.%a+)")
    if name then files[name] = block end
  end
  return files
end

-- The Lua blocks of a page, one after the other.
local function script_of(path)
  local blocks = {}
  for block in text_of(path):gmatch "```lua\n(.-)```" do blocks[#blocks + 1] = block end
  return table.concat(blocks, "\n"), #blocks
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

-- The blocks of a page for sh that begin with simvae, without the lines that train.
local function commands_of(path)
  local blocks = {}
  for block in text_of(path):gmatch "```sh\n(simvae .-)```" do
    blocks[#blocks + 1] = ("\n" .. block):gsub("\nsimvae train [^\n]*", "")
  end
  return table.concat(blocks, "\n"), #blocks
end

-- A copy of the tree that is tested, with the page's Lua files in it.
local function extended_tree()
  local folder = helper.temporary_folder()
  assert(os.execute(string.format("cp -R %s/share %s/", helper.quote(helper.build), helper.quote(folder))))
  local tree = folder .. "/share/lua/5.4/"
  for name, block in pairs(files_of("notebooks/contributing.md", "lua", "%-%-")) do
    local file <close> = assert(io.open(tree .. name:gsub("^lua/", ""):gsub("^simulators/", "simvae/simulators/"), "w"))
    file:write(block)
  end
  return folder, tree
end

describe("the pages", function()
  it("name files and folders that exist", function()
    local shown = {}
    for name in pairs(files_of("notebooks/contributing.md", "lua", "%-%-")) do shown[name] = true end
    for name in pairs(files_of("notebooks/contributing.md", "c", "/%*")) do shown[name] = true end
    local count = 0
    for _, page in ipairs(pages) do
      for path in text_of(page):gmatch "`([%l_]+/[%w_/.-]*)`" do
        local known = path:find "^csrc/" or path:find "^lua/" or path:find "^spec/" or path:find "^notebooks/"
          or path:find "^simulators/" or path:find "^examples/"
        if known and not path:find "%u%u" and not shown[path] then
          count = count + 1
          assert.is_true(exists(path), page .. " names " .. path)
        end
      end
      local folder = page:match "^.*/" or ""
      for target in text_of(page):gmatch "%]%(([^)#]+)" do
        if not target:find "^%w+:" then assert.is_true(exists(folder .. target), page .. " links to " .. target) end
      end
    end
    assert.is_true(count > 30)
  end)

  it("show simulators, metrics, figures and posterior heads in Lua that need no other file", function()
    local folder, tree = extended_tree()
    local script = string.format([[
      package.path = %q .. "?.lua;" .. %q .. "?/init.lua;" .. package.path
      local sv = require "simvae"
      local pulse = require "simvae.simulators.pulse"
      local z, x = sv.simulate(pulse, 4, sv.rng(1))
      print("pulse", z.shape[2], x.shape[2])
      print("mae", sv.metrics.mae(sv.tensor { { 1, 5 }, { 2, 5 } }, sv.tensor { { 0, 5 }, { 4, 5 } })[1])
      print("figure", sv.figures.mean_image(%q, sv.ones(2, 1, 8, 8)))
      local model = sv.model { simulator = pulse, width = 4, seed = 1 }
      print("evaluate", sv.evaluate(model, { samples = 500 }).mae.time > 0)
      local names = {}
      for _, entry in ipairs(require("simvae.util.catalogue").files "simvae.figures") do names[entry] = true end
      print("listed", names.mean_image)
      local pair = sv.model { simulator = pulse, width = 4, seed = 1, posterior = "pair" }
      local draws = pair:posterior(x):sample(3, sv.rng(1))
      print("head", draws.shape[1], draws.shape[2], draws.shape[3])
    ]], tree, tree, folder .. "/mean.png")
    local file <close> = assert(io.open(folder .. "/script.lua", "w"))
    file:write(script)
    file:close()
    local printed = helper.run(helper.lua_command_in(folder, "script.lua"))
    assert.matches("pulse\t2\t32", printed)
    assert.matches("mae\t1.5", printed)
    assert.matches("figure\t.*mean.png", printed)
    assert.matches("evaluate\ttrue", printed)
    assert.matches("listed\ttrue", printed)
    assert.matches("head\t4\t3\t2", printed)
    assert.equal(1, assert(require("simvae.io").load_png(folder .. "/mean.png")):max():item())
  end)

  it("show a subcommand that needs no other file", function()
    local _, tree = extended_tree()
    local out = helper.run("LUA_PATH='" .. tree .. "?.lua;" .. tree .. "?/init.lua;;' " .. (os.getenv "LUA" or "lua5.4")
      .. " lua/bin/simvae sample box")
    assert.matches("^w,h,x,y\n", out)
    assert.equal(11, select(2, out:gsub("\n", "")))
  end)

  it("show blocks of coming_from.md that run one after the other", function()
    if not helper.have_ngspice() then return pending "no libngspice" end
    local path = helper.temporary_folder() .. "/guide.lua"
    helper.write(path, script_of "notebooks/coming_from.md",
      "\nprint(model:posterior({ 0.3, -0.2 }):std():totable()[1][1])\n")
    local printed = helper.run(helper.lua_command(path))
    local low, high, std = printed:match "(%-[%d.]+)\t(%-[%d.]+)\n([%d.]+)\n$"
    assert.near(-10 * math.log(1 + (2 * math.pi * 100 * 1e-4) ^ 2, 10), tonumber(low), 1e-3)
    assert.near(-10 * math.log(1 + (2 * math.pi * 1e5 * 1e-4) ^ 2, 10), tonumber(high), 1e-3)
    assert.near(0.1, tonumber(std), 0.03)
  end)

  -- Runs the blocks of a guide in a folder, with few steps, simulations and samples; returns what they print.
  local function run_shortened(guide, folder)
    local blocks, count = script_of("notebooks/" .. guide)
    assert.is_true(count > 0)
    helper.write(folder .. "/guide.lua", [[
      local sv = require "simvae"
      local plain = sv.simulator { name = "s", output = { 1 }, params = { { name = "a", low = 0, high = 1 } },
        simulate = function(z, out) out[1] = z.a end }
      local Model = getmetatable(sv.model { simulator = plain }).__index
      local train, evaluate, recalibrate = Model.train, sv.evaluate, Model.recalibrate
      function Model:train(t)
        t.decoder, t.encoder = { steps = 10 }, { steps = 10 }
        t.simulations = t.simulations and math.max(200, t.simulations // 20)
        return train(self, t)
      end
      rawset(sv, "evaluate", function(model, o)
        o = o or {}
        o.samples, o.calibration, o.interval = 400, 50, 0
        return evaluate(model, o)
      end)
      rawset(Model, "recalibrate", function(self, t) return recalibrate(self, t and { simulations = 200 }) end)
      do ]], blocks, " end\nprint 'the end'\n")
    local printed = helper.run(helper.lua_command_in(folder, "guide.lua"))
    assert.matches("the end\n$", printed)
    return printed, count
  end

  it("show blocks of posterior.md that run one after the other, here with few steps", function()
    local folder = helper.temporary_folder()
    local printed, count = run_shortened("posterior.md", folder)
    assert.is_true(count >= 9)
    local intervals = 0
    for _ in printed:gmatch "%% within the 68%% interval" do intervals = intervals + 1 end
    assert.equal(3, intervals)
    assert.is_true(exists(folder .. "/oscillation.dat") and exists(folder .. "/coverage.dat"))
  end)

  it("show blocks of concepts.md, choosing.md and one_to_many.md that run, here with few steps #long", function()
    local concepts = run_shortened("concepts.md", helper.temporary_folder())
    local one, two = concepts:match "\n([%d.]+)\t([%d.]+)\n[%d.]+\t%-?[%d.]+\n"
    assert.is_true(tonumber(one) <= tonumber(two) and tonumber(two) <= 1)
    run_shortened("choosing.md", helper.temporary_folder())
    local printed = run_shortened("one_to_many.md", helper.temporary_folder())
    assert.near(0, tonumber(printed:match "defect\t([%d.e-]+)"), 1e-6)
  end)

  it("show a chain of models in compositionality.md that runs, here with few steps", function()
    local printed = run_shortened("compositionality.md", helper.temporary_folder())
    assert.matches("%(1, 2%)\n[%d.]+\n", printed)
  end)

  it("show blocks of noise.md, slow_simulators.md and performance.md that run, with few steps #long", function()
    assert.near(0.05, tonumber(run_shortened("noise.md", helper.temporary_folder()):match "^[%d.]+"), 0.01)
    local folder = helper.temporary_folder()
    local printed = run_shortened("slow_simulators.md", folder)
    assert.matches("\n%d+\tthe spring breaks\t9.[89]", printed)
    assert.is_true(exists(folder .. "/night.cache") and exists(folder .. "/runs/spring/model.safetensors"))
    assert.matches("in steps of the decoder: simulating a batch %d", (run_shortened("performance.md", folder)))
  end)

  it("show commands that exist: targets of make, scripts, subcommands", function()
    local targets, commands = "\n" .. text_of "Makefile" .. text_of "rockspec/package.mk", {}
    for _, path in ipairs(pages) do
      for block in text_of(path):gmatch "```sh\n(.-)```" do
        for line in block:gmatch "[^\n]+" do
          local name = line:match "^make ([%l-]+)"
          if name then
            assert.is_truthy(targets:find("\n" .. name .. "[^\n=]*:"), path .. ": make " .. name)
          end
          local script = line:match "^lua5%.4 (%S+%.lua)" or line:match "; lua5%.4 (%S+%.lua)"
          if script and script:find "/" then assert.is_true(exists(script), path .. ": " .. script) end
          local command = line:match "^simvae (%l+)"
          if command then
            commands[#commands + 1] = command
            assert.is_true(exists("lua/simvae/cli/commands/" .. command .. ".lua"), path .. ": simvae " .. command)
          end
        end
      end
    end
    assert.is_true(#commands > 5)
  end)

  it("show blocks of scale.md that run one after the other", function()
    local simvae = require "spec.fixtures.simvae"
    local commands, count = commands_of "notebooks/scale.md"
    assert.equal(3, count)
    local program = simvae.command():match "^cd .- && (.*)$"
    local out, code = helper.run(string.format("set -e; cd %s; simvae() { env %s \"$@\"; }\n%s", simvae.folder, program,
      commands))
    assert.equal(0, code, out)
    assert.matches("samples  2000 done (100%)", out, 1, true)
    assert.equal(0, select(2, simvae.run("simulate", "ball.lua", "-n", "2000", "-o", "whole.npz", "--quiet")))
    assert.equal(helper.read(simvae.folder .. "/whole.npz"), helper.read(simvae.folder .. "/data.npz"))
    assert.is_true(exists(simvae.folder .. "/data.samples") and exists(simvae.folder .. "/ball-shards/array.sh"))
    helper.write(simvae.folder .. "/guide.lua", (script_of "notebooks/scale.md"))
    assert.equal("100\n100\n", (helper.run(helper.lua_command_in(simvae.folder, "guide.lua"))))
  end)

  it("show C that compiles without warnings", function()
    local flags = helper.run "pkg-config --cflags lua5.4 || pkg-config --cflags lua-5.4 || pkg-config --cflags lua"
    if not os.execute "command -v cc > /dev/null" or flags:find "not found" then return pending "no compiler" end
    local folder, count = helper.temporary_folder(), 0
    for name, block in pairs(files_of("notebooks/contributing.md", "c", "/%*")) do
      if name:find "%.c$" and block:find "#include" then
        local file <close> = assert(io.open(folder .. "/block.c", "w"))
        file:write(block)
        file:close()
        count = count + 1
        assert.equal("", (helper.run(string.format("cc -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only %s %s "
          .. "-iquote %s %s/block.c", core.real == "double" and "-DSV_DOUBLE" or "", flags:gsub("%s+$", ""),
          name:match "^(.*)/", helper.quote(folder)))))
      end
    end
    assert.is_true(count > 0)
  end)
end)
