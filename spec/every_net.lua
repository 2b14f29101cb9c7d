--- Small models of every net of sv.nets, of odd sizes, for the specs of exports.
local catalogue = require "simvae.util.catalogue"
local sv = require "simvae"

local disc = sv.simulator {
  name = "disc", output = { 1, 13, 22 },
  params = { { name = "x", low = 4, high = 18, unit = "px" }, { name = "r", low = 1, high = 5, unit = "px" } },
  simulate = function(z, out) sv.draw(out):clear(1):circle(z.x, 6, z.r, { stroke = 0, width = 2 }) end,
}

local bar = sv.simulator { -- of pixels that are 0 or 1
  name = "bar", output = { 1, 13, 22 }, params = { { name = "x", low = 0, high = 22 } },
  simulate = function(z, out)
    for i = 1, 13 do
      for j = 1, 22 do out:set(j < z.x and 1 or 0, 1, i, j) end
    end
  end,
}

local wave = sv.simulator {
  name = "wave", output = { 30 }, params = { { name = "f", low = 1, high = 4 } },
  simulate = function(z, out) for i = 1, 30 do out[i] = math.sin(z.f * i / 10) end end,
}

local points = sv.simulator {
  name = "points", output = { 2, 1, 9 }, params = { { name = "a", low = 0, high = 1 } },
  simulate = function(z, out, rng)
    for i = 1, 9 do
      out:set(z.a * rng:uniform(), 1, 1, i)
      out:set(1 - z.a * rng:uniform(), 2, 1, i)
    end
  end,
}

local every_net = { wave = wave }

--- Calls a function for every net, for "set" of elements of several numbers too, and for an autoregressive decoder.
-- @tparam function f (name, options of sv.model: simulator, net, width)
function every_net.each(f)
  for _, net in ipairs(catalogue.files "simvae.nn.nets") do
    local image = pcall(sv.nets[net], { code = 2, heads = 4, output = disc.output, width = 1 })
    f(net, { simulator = image and net ~= "set" and disc or wave, net = net, width = 2 })
  end
  f("points", { simulator = points, net = "set", width = 2 })
  f("pixelcnn", { simulator = bar, net = "conv", width = 2, decoder = { "pixelcnn", channels = 2, layers = 1 } })
end

return every_net
