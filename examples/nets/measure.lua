--- Trains models of one simulator with several nets, on the same simulations, and prints a row of a table for each.
local sv = require "simvae"

local function mean(t) return sv.mean(t):item() end

--- @tparam Simulator sim
-- @tparam {string,...} nets names of sv.nets
-- @tparam table steps decoder, encoder: 0 leaves a stage and its column out
-- @tparam ?integer simulations for all stages; default: without limit
return function(sim, nets, steps, simulations)
  sv.threads(1)
  local z, x = sv.simulate(sim, 1000, sv.rng(9))
  local clean = sv.reshape(sim:run(z, sv.rng(9)), x.shape[1], -1)
  print("| net | variance that the decoder misses | encoder's information, nats | seconds: decoder, encoder |")
  print("| --- | --- | --- | --- |")
  for _, net in ipairs(nets) do
    local model, seconds = sv.model { simulator = sim, net = net, seed = 1 }, {}
    for _, stage in ipairs { "decoder", "encoder" } do
      local started = os.clock()
      model:train { quiet = true, recalibrate = false, simulations = simulations,
        decoder = { steps = stage == "decoder" and steps.decoder or 0 },
        encoder = { steps = stage == "encoder" and steps.encoder or 0, labels = 1 } }
      seconds[#seconds + 1] = string.format("%.0f", os.clock() - started)
    end
    local missed, information = "", ""
    if steps.decoder > 0 then
      local y = sv.reshape(model:decode(z), x.shape[1], -1)
      missed = string.format("%.2f%%", 100 * mean(sv.square(y - clean)) / mean(sv.var(clean, 1)))
    end
    if steps.encoder > 0 then
      information = string.format("%.2f", mean(model:posterior(x):log_prob(z)) - mean(sim:log_prior(z)))
    end
    print(string.format("| %s | %s | %s | %s |", net, missed, information, table.concat(seconds, ", ")))
    io.stdout:flush()
  end
end
