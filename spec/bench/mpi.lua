--- A model of training on MPI ranks: measured here, compared with trainings on this machine, extrapolated to 64 nodes.
--
--     lua5.4 spec/bench/mpi.lua [--width 64] [--rows 64] [--steps 12] [--rates 100,300,1000] [--delay 0]
--       [--reached 0.75] [--only compare|extrapolate|divide]
--
-- One rank's computation is measured in processor time (mpi/profile.lua), so that other load counts little. Trainings
-- run on ranks in network namespaces of this machine, one each, joined by a bridge; tc limits their interfaces to some
-- rates (in Mbit/s) and, where the kernel has netem, delays packets by some microseconds. This needs root, ip, tc and
-- Open MPI; without these the comparison is left out. The model and its assumptions are in notebooks/scale.md.
package.path = "./?.lua;" .. package.path
local helper = require "spec.helper"
local json = require "simvae.io.json"

local o = { width = "64", rows = "64", steps = "12", rates = "100,300,1000", delay = "0", reached = "0.75", only = "" }
for i = 1, #arg, 2 do
  local name = arg[i]:match "^%-%-(%a+)$"
  assert(o[name or ""], "spec/bench/mpi.lua takes --width, --rows, --steps, --rates, --delay, --reached and --only")
  o[name] = assert(arg[i + 1], arg[i] .. " takes a value")
end
local width, rows, steps = tonumber(o.width), tonumber(o.rows), tonumber(o.steps)

local SETTINGS = "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 SV_THREADS=1 "
local FOLDER = "spec/bench/mpi/"

local function say(format, ...) print(string.format(format, ...)) end

local function run(command)
  local out, code = helper.run(command)
  local found = out:match "({.*})%s*$"
  if code ~= 0 or not found then error(command .. "\n" .. out, 0) end
  return assert(json.decode(found))
end

-- ---- the model ------------------------------------------------------------------------------------

local BYTES = { fp32 = 4, bf16 = 2 }

-- Seconds of a step of R ranks: computation, the small exchanges that it waits for, and what is left of the sums of
-- gradients when the backward pass has ended. net: latency (s) of a message between two ranks, with the time of their
-- threads; rate (bytes/s) of a rank's link, each way.
local function model_of(p, R, net, precision)
  local levels = math.log(R, 2)
  local small = p.small * levels * (net.latency + p.largest * 4 / net.rate)
  local free = -math.huge -- when the link has sent what came before, from the end of the pass on
  local bytes = 0
  for _, b in ipairs(p.buckets) do
    local own = 2 * (R - 1) / R * b.numbers * BYTES[precision]
    free = math.max(free, -b.before) + 2 * levels * net.latency + own / net.rate
    bytes = bytes + own
  end
  local left = R > 1 and math.max(0, free) or 0
  return { seconds = p.step + small + left, small = small, left = left, bytes = bytes }
end

local function profile(stage, n)
  local p
  for _ = 1, 2 do -- the faster of two processes
    local again = run(string.format("OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=16 SV_THREADS=1 %s",
      helper.lua_command(FOLDER .. "profile.lua", stage, tostring(width), tostring(n), "16", tostring(steps))))
    if not p or again.step < p.step then p = again end
  end
  return p
end

-- The same step where a rank computes so many times as fast.
local function faster(p, times)
  local q = { small = p.small, largest = p.largest, step = p.step / times, buckets = {} }
  for i, b in ipairs(p.buckets) do q.buckets[i] = { before = b.before / times, numbers = b.numbers } end
  return q
end

-- ---- namespaces --------------------------------------------------------------------------------------

local names, made = { "svrank1", "svrank2", "svrank3", "svrank4" }, false

local function sh(format, ...)
  local out, code = helper.run(string.format(format, ...))
  return code == 0, out
end

local function remove_namespaces()
  for k, name in ipairs(names) do sh("ip link del svlink%d; ip netns del %s", k, name) end
  sh "ip link del svbridge"
end

local function make_namespaces()
  remove_namespaces()
  if not sh "ip link add svbridge type bridge && ip link set svbridge up" then return false end
  made = true
  for k, name in ipairs(names) do
    local words = { name = name, k = tostring(k) }
    local command = ("ip netns add <name> && ip link add svlink<k> type veth peer name eth0 netns <name> && "
      .. "ip link set svlink<k> master svbridge up && ip -n <name> addr add 10.213.77.<k>/24 dev eth0 && "
      .. "ip -n <name> link set eth0 up && ip -n <name> link set lo up"):gsub("<(%a+)>", words)
    if not sh("%s", command) then return false end
  end
  return true
end

-- Limits every namespace's link to a rate in Mbit/s; delay in microseconds, where netem can.
local function limit(rate, delay)
  for _, name in ipairs(names) do
    sh("tc -n %s qdisc del dev eth0 root", name)
    local netem = delay > 0 and sh("tc -n %s qdisc add dev eth0 root netem delay %dus rate %dmbit", name, delay, rate)
    if not netem and (delay > 0 or not sh("tc -n %s qdisc add dev eth0 root tbf rate %dmbit burst 128k latency 200ms",
      name, rate)) then
      return false
    end
  end
  return true
end

local agent = helper.temporary_folder() .. "/agent"
helper.write(agent, '#!/bin/sh\nhost=$1\nshift\nexec ip netns exec "$host" unshare --uts sh -c '
  .. '\'hostname "$0"; exec sh -c "$*"\' "$host" "$@"\n')
sh("chmod 755 %s", agent)

-- A script on so many ranks, each in a namespace of its own.
local function in_namespaces(n, ...)
  local hosts = {}
  for k = 1, n do hosts[k] = names[k] .. ":1" end
  local lua = helper.lua_command(...)
  local command = string.format("hostname %s; exec timeout 300 mpirun -n %d --host %s --mca plm_rsh_agent %s "
    .. "--mca oob_tcp_if_include eth0 --mca btl tcp,self --mca btl_tcp_if_include eth0 --bind-to none env "
    .. "SV_THREADS=1 %s", names[1], n, table.concat(hosts, ","), agent, lua)
  return run(string.format("%s ip netns exec %s unshare --uts sh -c %s", SETTINGS, names[1], helper.quote(command)))
end

-- ---- what is printed ------------------------------------------------------------------------------

local function ms(seconds) return string.format("%.1f", 1e3 * seconds) end

local function show_profiles(profiles)
  say("| stage | computation of a step, one thread | gradients | sums that start before the end of the backward pass "
    .. "| small exchanges |")
  say "| --- | --- | --- | --- | --- |"
  for _, p in ipairs(profiles) do
    local numbers, starts = 0, {}
    for i, b in ipairs(p.buckets) do
      numbers = numbers + b.numbers
      starts[i] = string.format("%.2f M: %s ms", b.numbers / 1e6, ms(b.before))
    end
    say("| %s | %s ms | %.2f M | %s | %d |", p.stage, ms(p.step), numbers / 1e6, table.concat(starts, ", "), p.small)
  end
end

local function compare(rates)
  say("")
  say("| ranks | Mbit/s by tc | reached by a sum | latency | gradients | MB sent in a step | by the model "
    .. "| step, median | least | by the model |")
  say "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
  for _, n in ipairs { 2, 4 } do
    local p = profile("decoder", 8)
    for rate in rates:gmatch "%d+" do
      assert(limit(tonumber(rate), tonumber(o.delay)), "tc cannot limit the rate, or delay packets (netem)")
      local net = in_namespaces(n, FOLDER .. "network.lua")
      for _, precision in ipairs { "fp32", "bf16" } do
        local seen = in_namespaces(n, FOLDER .. "train.lua", "decoder", tostring(width), "8", precision,
          tostring(steps))
        local bytes = 2 * (n - 1) / n * net.numbers * 4
        local reached = { latency = net.small / math.log(n, 2), rate = bytes / net.fp32 }
        local m = model_of(p, n, reached, precision)
        say("| %d | %s | %.0f | %.0f us | %s | %.2f | %.2f | %s ms | %s ms | %s ms |", n, rate, reached.rate * 8e-6,
          1e6 * reached.latency, precision, seen.bytes / 1e6, m.bytes / 1e6, ms(seen.median), ms(seen.least),
          ms(m.seconds))
      end
    end
  end
end

local REACHED = tonumber(o.reached) -- of a link's rate by sums over MPI, both ways at once

local function network(name, gigabits, latency)
  return { name = name, latency = latency, rate = REACHED * gigabits * 1e9 / 8 }
end

local networks = { network("1 Gbit/s, 100 us", 1, 100e-6), network("10 Gbit/s, 50 us", 10, 50e-6),
  network("100 Gbit/s, 20 us", 100, 20e-6) }
local TEN = networks[2]

local function percent(share) return string.format("%.0f%%", 100 * share) end

-- Efficiency of weak scaling: the time of one rank, over that of R with as many rows each.
local function extrapolate(profiles)
  for _, cores in ipairs { { 1, 1 }, { 2, 1.9 } } do
    say("")
    say("Ranks of %d core%s, %d rows each:", cores[1], cores[1] > 1 and "s" or "", rows)
    say("")
    say "| stage | network | gradients | 2 ranks | 4 | 8 | 16 | 32 | 64 | at 16: small exchanges, sums left |"
    say "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for _, p in ipairs(profiles) do
      local q = faster(p, cores[2])
      for _, net in ipairs(networks) do
        for _, precision in ipairs { "fp32", "bf16" } do
          local cells = {}
          for i, R in ipairs { 2, 4, 8, 16, 32, 64 } do
            cells[i] = percent(q.step / model_of(q, R, net, precision).seconds)
          end
          local m = model_of(q, 16, net, precision)
          say("| %s | %s | %s | %s | %s, %s ms |", p.stage, net.name, precision, table.concat(cells, " | "),
            ms(m.small), ms(m.left))
        end
      end
    end
  end
end

local BATCH, SAMPLES = 256, 100000
local STEPS = { decoder = 4000, encoder = 8000 }

-- Strong scaling: the same batch on more ranks of one core. Break-even: the time of a sample at which simulating the
-- samples on as many cores takes as long as the training.
local function divide()
  say("")
  say("A batch of %d on ranks of one core, 10 Gbit/s, bf16; a training of %d + %d steps, on %d samples:", BATCH,
    STEPS.decoder, STEPS.encoder, SAMPLES)
  say("")
  say("| ranks | decoder, a step | times as fast | encoder, a step | times as fast | training | break-even: a sample "
    .. "takes |")
  say "| --- | --- | --- | --- | --- | --- | --- |"
  local one = {}
  for _, R in ipairs { 1, 2, 4, 8, 16, 32, 64 } do
    local cells, total = {}, 0
    for _, stage in ipairs { "decoder", "encoder" } do
      local seconds = model_of(profile(stage, BATCH // R), R, TEN, "bf16").seconds
      one[stage] = one[stage] or seconds
      cells[#cells + 1] = string.format("%s ms | %.1f", ms(seconds), one[stage] / seconds)
      total = total + STEPS[stage] * seconds
    end
    say("| %d | %s | %.0f min | %s ms |", R, table.concat(cells, " | "), total / 60, ms(total * R / SAMPLES))
  end
end

local function compare_here()
  local lacks = not helper.have "mpirun" and "mpirun" or helper.run "id -u" ~= "0\n" and "root"
    or not make_namespaces() and "ip netns"
  if not lacks then return compare(o.rates) end
  say("")
  say("No comparison with trainings: no %s.", lacks)
end

local function extrapolate_here()
  local profiles = { profile("decoder", rows), profile("encoder", rows) }
  say("")
  show_profiles(profiles)
  extrapolate(profiles)
end

local function main()
  say("DCGAN of width %d, %d rows a rank; load average %s.", width, rows, helper.read "/proc/loadavg":match "^%S+")
  for _, part in ipairs { { "compare", compare_here }, { "extrapolate", extrapolate_here }, { "divide", divide } } do
    if o.only == "" or o.only == part[1] then part[2]() end
  end
end

local ok, why = pcall(main)
if made then remove_namespaces() end
if not ok then
  io.stderr:write("spec/bench/mpi.lua: ", tostring(why), "\n")
  os.exit(1)
end
