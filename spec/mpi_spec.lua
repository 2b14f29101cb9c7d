-- Training on MPI ranks by a real mpirun: weights compared with those of one process bit for bit, ranks that die, and
-- what is refused.
local core = require "simvae.core"
local helper = require "spec.helper"
local ranks = require "simvae.train.ranks"
local sv = require "simvae"

local quote, read = helper.quote, helper.read

local folder = helper.temporary_folder()

-- Why mpirun cannot be run here, or nil.
local function missing()
  if not helper.have "mpirun" then return "no mpirun (package openmpi-bin)" end
  if not helper.run "mpirun --version":find "Open MPI" then return "mpirun is not that of Open MPI" end
  if not package.searchpath("simvae.mpi", package.cpath) then
    return "no simvae/mpi.so (package libopenmpi-dev, make)"
  end
end

local lacks = missing()

-- More ranks than cores, which they yield while they wait, root, containers; and time to save for ranks that mpirun
-- ends.
local SETTINGS = "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
  .. "OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_odls_base_sigkill_timeout=2 "
  .. "OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 timeout 100 "

-- The command line of a script of the folder on n ranks; settings: environment variables, also of each of some ranks.
local function command(n, name, arguments, settings)
  local lua = helper.lua_command_in(folder, folder .. "/" .. name, table.unpack(arguments or {}))
  local enter, run = lua:match "^(cd .- && )(.*)$"
  if n == 0 then return enter .. run end
  local parts = {}
  for i, setting in ipairs(type(settings) == "table" and settings or { settings or "A=1" }) do
    parts[i] = string.format("-n %d env SV_THREADS=1 %s %s", type(settings) == "table" and 1 or n, setting, run)
  end
  return enter .. SETTINGS .. "mpirun " .. table.concat(parts, " : ")
end

local function run(...) return helper.run(command(...)) end

helper.write(folder .. "/train.lua", [[
local core = require "simvae.core"
local sv = require "simvae"

local pictures = sv.simulator {
  name = "ring", params = { { name = "x", low = 4, high = 12 }, { name = "r", low = 1, high = 4 } },
  output = { 1, 16, 16 }, noise = 0.01,
  simulate = function(z, out) sv.draw(out):clear(1):circle(z.x, z.x, z.r, { stroke = 0, width = 1 }) end,
}
local failing = tonumber(arg[3])
local drawn = 0
local numbers = sv.simulator {
  name = "sum", params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 1, high = 2 } }, output = { 4 },
  noise = 0.01,
  simulate = function(z, out)
    drawn = drawn + 1
    if failing == sv.rank() and drawn > 600 then error "a broken disk" end
    out[1], out[2], out[3], out[4] = z.a, z.b, z.a * z.b, z.a - z.b
  end,
}

-- What is trained, and with which options.
local problems = {
  pictures = { { simulator = pictures, width = 4, net = "dcgan" },
    { batch = 8, decoder = { steps = 6 }, sleep = { steps = 4 }, encoder = { steps = 6 } } },
  flow = { { simulator = numbers, width = 8, posterior = "flow", transforms = 1, bins = 4 },
    { batch = 8, simulations = 200, reduce = "bf16", decoder = { steps = 8 }, encoder = { steps = 12 }, workers = 1 } },
  numbers = { { simulator = numbers, width = 8 }, { batch = 16, decoder = { steps = 40 }, encoder = { steps = 20 } } },
}

local names, out = arg[1], arg[2] ~= "-" and arg[2] or nil
for name in names:gmatch "%a+" do
  local about, options = problems[name][1], problems[name][2]
  about.seed = 3
  options.quiet, options.out = true, out
  local given = os.getenv "OPTIONS"
  for k, v in pairs(given and load("return " .. given)() or {}) do options[k] = v end
  if not options.microbatches and (os.getenv "OMPI_COMM_WORLD_SIZE" or "1") == "1" then options.microbatches = 4 end
  local model = sv.model(about):train(options)
  local keys, tensors = {}, {}
  for key in pairs(model:state()) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do tensors[i] = model:state()[key] end
  io.write(string.format("rank %d %s %08x %d\n", sv.rank(), name, core.io.crc32(tensors), core.threads()))
end
]])

-- The checksums of what each rank has trained: { "pictures 0123abcd", … }, and by how many ranks each was found.
local function checksums(text)
  local found = {}
  for name, sum in text:gmatch "rank %d+ (%a+) (%x+) %d+\n" do
    local key = name .. " " .. sum
    found[key] = (found[key] or 0) + 1
  end
  return found
end

-- Each spec runs where mpirun does.
local function on_ranks(name, f)
  it(name, function()
    if lacks then return pending(lacks) end
    f()
  end)
end

describe("training on MPI ranks", function()
  on_ranks("gives the weights of one process, on 2 and 4 ranks, bit for bit", function()
    local whole = checksums((run(0, "train.lua", { "pictures flow", "-" })))
    local count = 0
    for _ in pairs(whole) do count = count + 1 end
    assert.equal(2, count)
    for _, n in ipairs { 2, 4 } do
      local out, code = run(n, "train.lua", { "pictures flow", "-" })
      assert.equal(0, code, out)
      local found = checksums(out)
      for key in pairs(whole) do assert.equal(n, found[key], out) end
    end
  end)

  on_ranks("saves what was done where a rank is killed, and goes on with another number of ranks", function()
    local whole = checksums((run(0, "train.lua", { "numbers", "-" })))
    local killing = [[{on_step=function(s,i) if s=='decoder' and i==25 and sv.rank()==2 then os.execute('kill -9 '.. ]]
      .. [[require'simvae.core'.system.pid()) end end}]]
    killing = killing:gsub("sv%.rank", "require'simvae'.rank")
    local out, code = run(4, "train.lua", { "numbers", folder .. "/killed" }, "OPTIONS=" .. quote(killing))
    assert.are_not.equal(0, code, out)
    assert.matches("rank 2 .* signal 9", out)
    assert.matches("interrupted at decoder step 2[45]; the same call goes on from there", out)
    assert.matches("\n25,decoder", "\n" .. read(folder .. "/killed/log.csv") .. "25,decoder") -- rows are whole
    out, code = run(2, "train.lua", { "numbers", folder .. "/killed" }, "OPTIONS=" .. quote "{quiet=false}")
    assert.equal(0, code, out)
    assert.matches("going on from decoder step 2[45]", out)
    for key in pairs(whole) do assert.equal(2, checksums(out)[key], out) end
    assert.equal("file", core.system.kind(folder .. "/killed/model.safetensors"))
  end)

  on_ranks("ends with the reason of a rank that fails, and saves", function()
    local out, code = run(2, "train.lua", { "numbers", folder .. "/failed", "1" },
      "OPTIONS=" .. quote "{max_failures=0,log_every=1}")
    assert.are_not.equal(0, code, out)
    assert.matches("rank 1 has ended the training: simulator 'sum': 1 of %d+ samples failed", out)
    assert.matches("raised: [^\n]*a broken disk", out)
    local at = assert(out:match "failed: the same call goes on from decoder step (%d+)", out)
    assert.matches("\n" .. at .. ",decoder,[^\n]*\n$", read(folder .. "/failed/log.csv"))
    assert.matches("a broken disk", read(folder .. "/failed/failures_1.csv"))
  end)

  on_ranks("takes one build and one CPU level, or sends the weights of rank 0", function()
    local mixed = { "SV_KERNEL=portable", "A=1" }
    local default, levels = core.kernel()
    if default == "portable" and not levels:find "," then return pending "this CPU has one level" end
    local out, code = run(2, "train.lua", { "numbers", "-" }, mixed)
    assert.are_not.equal(0, code)
    assert.matches("rank 0 runs [^;]* CPU level portable[^;]*; rank 1 runs ", out)
    assert.matches("set SV_KERNEL to a level that all CPUs have", out, 1, true)
    local given = " OPTIONS=" .. quote "{mixed_ranks=true,sleep={steps=3}}"
    out, code = run(2, "train.lua", { "flow", "-" }, { mixed[1] .. given, mixed[2] .. given })
    assert.equal(0, code, out)
    assert.equal(2, select(2, out:gsub("rank %d flow %x+", "")))
  end)

  on_ranks("takes the same options and weights on all ranks", function()
    local out = run(2, "train.lua", { "numbers", "-" }, { "A=1", "OPTIONS=" .. quote "{batch=32}" })
    assert.matches("train: the configuration of rank 1 is another one than that of rank 0", out, 1, true)
  end)

  on_ranks("gives each rank its share of the cores, and no launcher's variables to programs", function()
    helper.write(folder .. "/share.lua", [[
      local core, sv = require "simvae.core", require "simvae"
      local echo = sv.simulator { name = "echo", params = { { name = "a", low = 0, high = 1 } }, output = { 2 },
        simulate = function(z, out)
          out[1], out[2] = z.a, os.getenv "OMPI_COMM_WORLD_RANK" and 1 or 0
        end }
      local seen
      local model = sv.model { simulator = echo, width = 4 }
      model:train { batch = 4, workers = 1, quiet = true, decoder = { steps = 1 }, encoder = { steps = 0 } }
      local program <close> = core.process.spawn { "sh", "-c", "env | grep -c '^OMPI_'" }
      print(string.format("threads %d, in workers %g, in programs %d", core.threads(),
        model.loss.mean:totable()[2], tonumber((program:read_line(10)))))
    ]])
    local out = helper.run((command(2, "share.lua"):gsub("SV_THREADS=1", "-u SV_THREADS"):gsub("mpirun",
      "mpirun --bind-to none")))
    local cores = tonumber((helper.run "nproc"))
    local expected = string.format("threads %d, in workers 0, in programs 0\n", math.max(1, cores // 2))
    assert.equal(2, select(2, out:gsub(expected, "")), out)
  end)

  on_ranks("writes from one rank alone, by the command", function()
    helper.write(folder .. "/line.lua", [[
      return require "simvae".simulator { name = "line", params = { { name = "a", low = 0, high = 1 } },
        output = { 3 }, noise = 0.01, simulate = function(z, out) for i = 1, 3 do out[i] = z.a * i end end }
    ]])
    local program = require "simvae.util.absolute" "lua/bin/simvae"
    helper.run(string.format("cp %s %s/simvae", quote(program), quote(folder)))
    local out, code = run(2, "simvae", { "train", "line.lua", "--steps", "20", "--samples", "400", "--width", "4" })
    assert.equal(0, code, out)
    assert.equal(1, select(2, out:gsub("report: runs/line/report.html", "")), out)
    assert.equal(1, select(2, out:gsub("model of line", "")), out)
    for _, name in ipairs { "model.safetensors", "log.csv", "metrics.json", "run.json", "report.html" } do
      assert.equal("file", core.system.kind(folder .. "/runs/line/" .. name), name)
    end
  end)

  on_ranks("tells what is missing without simvae/mpi.so", function()
    local tree = helper.temporary_folder() .. "/simvae"
    helper.run(string.format("mkdir -p %s && cp %s %s/", quote(tree), quote(package.searchpath("simvae.core",
      package.cpath)), quote(tree)))
    local out = helper.run((command(2, "train.lua", { "numbers", "-" }):gsub("LUA_CPATH=%S+", "LUA_CPATH="
      .. quote(tree:match "^(.*)/simvae$" .. "/?.so"))))
    assert.matches("a launcher has started 2 ranks, and simvae/mpi.so is not in this build: install MPI", out, 1, true)
    assert.matches("libopenmpi-dev", out, 1, true)
  end)
end)

-- ---- sums over ranks, against the tree by hand ---------------------------------------------------

describe("sums over MPI ranks", function()
  on_ranks("are the same tree as in one process", function()
    helper.write(folder .. "/sums.lua", [[
      local core = require "simvae.core"
      local ranks = require "simvae.train.ranks"
      local interrupt = require "simvae.util.interrupt"
      local signals <close> = interrupt.watch(true)
      local world = ranks.start { launched = 4, signals = signals }
      local function numbers(rank, n) return core.rng(9, rank):normal(0, 1, { n }) end
      for _, n in ipairs { 1, 5, 4096, 4097, 100003 } do
        for _, precision in ipairs { "fp32", "bf16" } do
          local list = {}
          for r = 0, 3 do list[r + 1] = numbers(r, n) end
          local own = core.buffer(list[world.rank + 1])
          local bf16 = precision == "bf16"
          for _, pair in ipairs { { 1, 2 }, { 3, 4 }, { 1, 3 } } do
            core.tree.add(list[pair[1] ], list[pair[2] ], 0, n, bf16)
          end
          if bf16 then core.tree.add(list[1], nil, 0, n, true) end
          world:start(own, 0, n, bf16)
          world:finish()
          assert(core.io.crc32 { own } == core.io.crc32 { list[1] }, precision .. " " .. n)
        end
      end
      local x = core.rng(9):normal(5, 2, { 4 * 6, 3 })
      local own = core.ops.batch_moments.call(core.slice(x, 1, world.rank * 6 + 1, world.rank * 6 + 6))
      world:moments(own, 6)
      local both = own:totable()
      local mean, var = both[1], both[2]
      for i = 1, 3 do var[i] = var[i] / 24 end
      for i = 1, 3 do
        local column = core.slice(x, 2, i, i)
        assert(math.abs(mean[i] - core.mean(column):item()) < 1e-5)
        assert(math.abs(var[i] - core.var(column, { 1 }, false, 0):item()) < 1e-4)
      end
      local all = world:rows(core.slice(x, 1, (24 * world.rank // 4) + 1, 24 * (world.rank + 1) // 4))
      assert(core.io.crc32 { all } == core.io.crc32 { x })
      local first, count = world:block(7) -- 1, 2, 2, 2
      all = world:rows(core.slice(x, 1, first + 1, first + count), 7)
      assert(core.io.crc32 { all } == core.io.crc32 { core.slice(x, 1, 1, 7) })
      assert(table.concat(world:texts("t" .. world.rank)) == "t0t1t2t3")
      ranks.finish()
      print "all equal"
    ]])
    local out, code = run(4, "sums.lua")
    assert.equal(0, code, out)
    assert.equal(4, select(2, out:gsub("all equal\n", "")), out)
  end)
end)

-- ---- what is refused --------------------------------------------------------------------------------

describe("options on MPI ranks", function()
  -- The error of ranks.check as rank 1 of some, in an environment of its own.
  local function refused(size, options)
    helper.write(folder .. "/check.lua", [[
      local options = load("return " .. arg[1])()
      options.microbatches = options.microbatches or require "simvae.train.ranks".microbatches(options)
      local ok, why = pcall(require "simvae.train.ranks".check, options, 1)
      print(ok and "accepted, microbatches = " .. tostring(options.microbatches) or why)
    ]])
    local lua = helper.lua_command_in(folder, folder .. "/check.lua", options)
    local launcher = string.format("&& OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=%d ", size)
    return (helper.run((lua:gsub("&& ", launcher, 1))))
  end

  it("are checked before anything starts", function()
    if lacks and lacks:find "mpi.so" then return pending(lacks) end
    local cases = {
      { 3, "{}", "the number of ranks is a power of two, .*; mpirun has started 3" },
      { 8, "{microbatches=4}", "8 ranks do not divide 4 microbatches; microbatches = 8 does" },
      { 2, "{rounds=2}", "rounds on several ranks: parts of the simulations" },
      { 2, "{choose=true}", "choose on several ranks" },
      { 2, "{cache='x'}", "cache on several ranks, which would all write x" },
      { 2, "{cache='x',offline=true}", "accepted, microbatches = 4" },
      { 1, "{cache='x'}", "accepted, microbatches = 4" },
      { 16, "{}", "accepted, microbatches = 16" },
      { 2, "{mpi=false}", "accepted, microbatches = nil" },
    }
    for _, case in ipairs(cases) do assert.matches(case[3], (refused(case[1], case[2]))) end
  end)

  it("of ranks need a launcher", function()
    if ranks.launched() then return pending "a launcher has started this suite" end
    local sim = sv.simulator { name = "one", params = { { name = "a", low = 0, high = 1 } }, output = { 1 },
      simulate = function(z, out) out[1] = z.a end }
    local model = sv.model { simulator = sim, width = 4 }
    helper.raises("mpi = true, but no launcher has started this process: mpirun %-n 4", model.train, model,
      { mpi = true })
    helper.raises("mixed_ranks is of MPI ranks", model.train, model, { mixed_ranks = true })
    assert.equal(0, sv.rank())
  end)
end)
