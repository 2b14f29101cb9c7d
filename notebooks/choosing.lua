--- Measures nets, losses, decoder distributions and posterior heads on small simulators: the tables of choosing.md.
--
--     eval "$(make -s env)"; lua5.4 notebooks/choosing.lua                # all tables, about ten minutes on one core
--     lua5.4 notebooks/choosing.lua heads                                 # one of them: nets, losses, decoders, heads
--
-- Every variant of a table sees the same simulations in the same number of steps. Costs are processor time of a
-- training on one thread, relative to the first row's.
local command_line = require "simvae.cli.command_line"
local sv = require "simvae"

local parser = require "argparse"("lua choosing.lua", "Measures nets, losses, decoder distributions and posterior "
  .. "heads on small simulators: the tables of choosing.md.")
parser:argument("tables", "nets, losses, decoders, heads; default: all of them."):args "*"
  :choices { "nets", "losses", "decoders", "heads" }
command_line.number(parser, "--steps", "Steps of each stage; default: 500 of images, 3000 of vectors.", 1)
command_line.number(parser, "--fresh", "New simulations that a variant is measured on.", 100, nil, 2000)
command_line.number(parser, "--seed", "Seed of weights and simulations.", 0, nil, 1)
local a = parser:parse()
local image_steps, vector_steps = a.steps or 500, a.steps or 3000
sv.threads(1)

-- ---- measuring ----------------------------------------------------------------------------------

-- Trains a model for some steps of the decoder and of the encoder, a flow or mixture on the simulator's own pairs;
-- returns it and the seconds of processor time.
local function trained(settings, decoder, encoder)
  local started = os.clock()
  settings.seed = a.seed
  local model = sv.model(settings)
  model:train { quiet = true, recalibrate = false, decoder = { steps = decoder }, encoder = { steps = encoder } }
  return model, os.clock() - started
end

local function fresh(sim, n) return sv.simulate(sim, n or a.fresh, sv.rng(a.seed + 1)) end

-- The mean of a batch of numbers (N,).
local function mean(t) return sv.mean(t):item() end

-- The share of the variance of outputs that the decoder misses.
local function missed(model, z, x)
  local y, flat = model:decode(z), sv.reshape(x, x.shape[1], -1)
  return mean(sv.square(sv.reshape(y, y.shape[1], -1) - flat)) / mean(sv.var(flat, 1))
end

-- The information that the posterior has of the parameters, over the prior, in nats.
local function gained(model, z, x)
  return mean(model:posterior(x):log_prob(z)) - mean(model.simulator:log_prior(z))
end

local function row(...)
  print("| " .. table.concat({ ... }, " | ") .. " |")
end

local function head(title, text, ...)
  print(string.format("\n### %s\n\n%s\n", title, text))
  row(...)
  print("|" .. (" --- |"):rep(select("#", ...)))
end

local function number(format, v) return (string.format(format, v):gsub("^%-(0%.?0*)$", "%1")) end

-- ---- nets and losses ------------------------------------------------------------------------------

local SIDE = 32

local ring = sv.simulator {
  name = "ring", output = { 1, SIDE, SIDE },
  params = { { name = "x", low = 8, high = 24, unit = "px" }, { name = "y", low = 8, high = 24, unit = "px" },
    { name = "r", low = 2, high = 8, unit = "px" } },
  simulate = function(z, out) sv.draw(out):clear(1):circle(z.x, z.y, z.r, { stroke = 0, width = 2 }) end,
}

local bar = sv.simulator {
  name = "bar", output = { 1, SIDE, SIDE },
  params = { { name = "x", low = 10, high = 22, unit = "px" }, { name = "y", low = 10, high = 22, unit = "px" },
    { name = "length", low = 6, high = 16, unit = "px" }, { name = "angle", low = 0, high = math.pi, unit = "rad" } },
  simulate = function(z, out)
    local c, s, l, w = math.cos(z.angle), math.sin(z.angle), z.length / 2, 2
    sv.draw(out):clear(1):polygon({ z.x + l * c - w * s, z.y + l * s + w * c, z.x + l * c + w * s, z.y + l * s - w * c,
      z.x - l * c + w * s, z.y - l * s - w * c, z.x - l * c - w * s, z.y - l * s + w * c }, { fill = 0 })
  end,
}

local peak = sv.simulator {
  name = "peak", output = { 64 },
  params = { { name = "place", low = 0.2, high = 0.8 }, { name = "width", low = 0.02, high = 0.1, scale = "log" },
    { name = "base", low = 0, high = 0.1 } },
  simulate = function(z, out)
    for i = 1, 64 do out[i] = z.base + math.exp(-((i - 0.5) / 64 - z.place) ^ 2 / (2 * z.width ^ 2)) end
  end,
}

local function nets()
  for _, sim in ipairs { ring, bar } do
    local z, x = fresh(sim)
    head("Nets: " .. sim.name, string.format("%d steps of each stage, default widths.", image_steps), "net",
      "variance that the decoder misses", "the encoder's information, nats", "cost: decoder", "cost: encoder")
    local first, second
    for _, net in ipairs { "conv", "coordconv", "dcgan", "mlp" } do
      local recipe = { simulator = sim, net = net }
      local decoder, one = trained(recipe, image_steps, 0)
      local encoder, two = trained(recipe, 0, image_steps)
      first, second = first or one, second or two
      row(net, number("%.2f%%", 100 * missed(decoder, z, x)), number("%.2f", gained(encoder, z, x)),
        number("%.2f", one / first), number("%.2f", two / second))
    end
  end
end

local function losses()
  for _, task in ipairs { { ring, { "bce", "mse", "l1" } }, { peak, { "mse", "l1", "gaussian" } } } do
    local sim, list = table.unpack(task)
    local steps = sim == ring and image_steps or vector_steps
    local z, x = fresh(sim)
    head("Losses: " .. sim.name, string.format("%d steps of the decoder.", steps), "loss",
      "variance that the decoder misses", "mean absolute error", "largest error of an output, median")
    for _, loss in ipairs(list) do
      local model = trained({ simulator = sim, loss = loss }, steps, 0)
      local away = sv.reshape(sv.abs(model:decode(z) - x), x.shape[1], -1)
      local largest = sv.max(away, 2):totable()
      table.sort(largest)
      row(loss, number("%.2f%%", 100 * missed(model, z, x)), number("%.4f", mean(away)),
        number("%.3f", largest[#largest // 2]))
    end
  end
end

-- ---- decoder distributions ------------------------------------------------------------------------

local COUNT = 8

-- The mean output of parameters.
local function curve(z, t) return z.a * math.cos(2 * t) + z.b * t end

local function log_normal(away, std) return -0.5 * (away / std) ^ 2 - math.log(std) - 0.5 * math.log(2 * math.pi) end

local function log_sum(p, q)
  local most = math.max(p, q)
  return most + math.log(math.exp(p - most) + math.exp(q - most))
end

-- Stochastic simulators, with the exact log-likelihood of an output (a list) at parameters.
local noises = {
  { "the same everywhere",
    function(rng) return function() return rng:normal(0, 0.1) end end,
    function(away)
      local sum = 0
      for _, d in ipairs(away) do sum = sum + log_normal(d, 0.1) end
      return sum
    end },
  { "grows with a parameter",
    function(rng, z) return function() return rng:normal(0, 0.02 + 0.3 * z.b ^ 2) end end,
    function(away, z)
      local sum = 0
      for _, d in ipairs(away) do sum = sum + log_normal(d, 0.02 + 0.3 * z.b ^ 2) end
      return sum
    end },
  { "a common shift", -- of standard deviation 0.3, with 0.05 of each element: covariance 0.05² I + 0.3² 1 1'
    function(rng)
      local shift = rng:normal(0, 0.3)
      return function() return shift + rng:normal(0, 0.05) end
    end,
    function(away)
      local s, t, sum, squares = 0.05 ^ 2, 0.3 ^ 2, 0, 0
      for _, d in ipairs(away) do sum, squares = sum + d, squares + d * d end
      local determinant = s ^ (COUNT - 1) * (s + COUNT * t)
      return -0.5 * (squares / s - t * sum ^ 2 / (s * (s + COUNT * t)) + math.log(determinant)
        + COUNT * math.log(2 * math.pi))
    end },
  { "two outcomes", -- the curve, or the curve and 1
    function(rng)
      local jump = rng:uniform() < 0.5 and 1 or 0
      return function() return jump + rng:normal(0, 0.1) end
    end,
    function(away)
      local one, two = math.log(0.5), math.log(0.5)
      for _, d in ipairs(away) do one, two = one + log_normal(d, 0.1), two + log_normal(d - 1, 0.1) end
      return log_sum(one, two)
    end },
}

local function noisy(noise)
  return sv.simulator {
    name = "noisy", output = { COUNT },
    params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 0, high = 1 } },
    simulate = function(z, out, rng)
      local draw = noise[2](rng, z)
      for i = 1, COUNT do out[i] = curve(z, i / COUNT) + draw() end
    end,
  }
end

local function exact_likelihood(noise, z, x)
  local sum, values = 0, x:totable()
  for s, v in ipairs(z:totable()) do
    local by, away = { a = v[1], b = v[2] }, {}
    for i = 1, COUNT do away[i] = values[s][i] - curve(by, i / COUNT) end
    sum = sum + noise[3](away, by)
  end
  return sum / #values
end

local function decoders()
  local names, truths = {}, {}
  for i, noise in ipairs(noises) do names[i] = noise[1] end
  head("Decoder distributions", string.format("%d steps of the decoder, %d elements, width 64: nats by which the "
    .. "log-likelihood of new outputs is below the exact one.", vector_steps, COUNT), "decoder", table.unpack(names))
  for _, decoder in ipairs { "homoscedastic", "normal", "lowrank", "mixture", "flow" } do
    local cells = { decoder }
    for i, noise in ipairs(noises) do
      local sim = noisy(noise)
      local z, x = fresh(sim)
      truths[i] = truths[i] or exact_likelihood(noise, z, x)
      local model = trained({ simulator = sim, decoder = decoder, width = 64 }, vector_steps, 0)
      cells[i + 1] = number("%.2f", truths[i] - mean(model:log_likelihood(x, z)))
    end
    row(table.unpack(cells))
  end
end

-- ---- posterior heads --------------------------------------------------------------------------------

-- Simulators of two parameters in [-1, 1]: how many numbers an output has, the function, and the log-likelihood of an
-- output (a list) on tensors of parameters, up to a constant.
local STD = 0.05

local function log_likelihood(...)
  local sum = 0
  for _, away in ipairs { ... } do sum = sum - 0.5 * sv.square(away / STD) end
  return sum
end

local shapes = {
  { "one mode", 2, function(z, out) out[1], out[2] = z.a, z.b end,
    function(x, u, v) return log_likelihood(u - x[1], v - x[2]) end },
  { "a ridge", 1, function(z, out) out[1] = z.a + z.b end,
    function(x, u, v) return log_likelihood(u + v - x[1]) end },
  { "two modes", 2, function(z, out) out[1], out[2] = z.a ^ 2, z.b end,
    function(x, u, v) return log_likelihood(u * u - x[1], v - x[2]) end },
  { "a circle", 1, function(z, out) out[1] = (z.a ^ 2 + z.b ^ 2) ^ 0.5 end,
    function(x, u, v) return log_likelihood(sv.sqrt(u * u + v * v) - x[1]) end },
}

local GRID = 401 -- points along a side, on which the exact posterior is normalised

-- The mean log density of true parameters under the exact posterior.
local function exact_posterior(shape, z, x)
  local axis, total, n = {}, 0, math.min(200, x.shape[1])
  for i = 1, GRID do axis[i] = -1 + 2 * (i - 1) / (GRID - 1) end
  local u = sv.reshape(sv.tensor(axis), GRID, 1):expand { GRID, GRID }
  local v = sv.reshape(sv.tensor(axis), 1, GRID):expand { GRID, GRID }
  local trapezium = sv.ones(GRID)
  trapezium:set(0.5, 1)
  trapezium:set(0.5, GRID)
  local weights = sv.reshape(trapezium, GRID, 1) * sv.reshape(trapezium, 1, GRID) * (2 / (GRID - 1)) ^ 2
  local rows, values = z:totable(), x:totable()
  for s = 1, n do
    local scope <close> = sv.scope()
    local mass = sv.sum(sv.exp(shape[4](values[s], u, v)) * weights):item()
    local own = shape[4](values[s], sv.tensor { rows[s][1] }, sv.tensor { rows[s][2] }):item()
    total = total + own - math.log(mass)
  end
  return total / n, n
end

-- The share of true parameters within the central 68% intervals.
local function within(p, z)
  local q = p:quantile { 0.1587, 0.8413 }
  local inside, list = 0, z:totable()
  for s, bounds in ipairs(q:totable()) do
    for k, v in ipairs(list[s]) do
      if v >= bounds[1][k] and v <= bounds[2][k] then inside = inside + 1 end
    end
  end
  return inside / (#list * #list[1])
end

local function heads()
  local names, truths, first = {}, {}, nil
  for i, shape in ipairs(shapes) do names[i] = shape[1] end
  head("Posterior heads", string.format("%d steps of each stage, width 64: nats by which the log density of the true "
    .. "parameters is below the exact posterior's; share of them within 68%% intervals.", vector_steps), "posterior",
    table.unpack(table.move({ "cost" }, 1, 1, #names + 1, names)))
  for _, posterior in ipairs { "gaussian", "mixture", "flow" } do
    local cells, seconds = { posterior }, 0
    for i, shape in ipairs(shapes) do
      local sim = sv.simulator { name = "shape", output = { shape[2] }, noise = STD, simulate = shape[3],
        params = { { name = "a", low = -1, high = 1 }, { name = "b", low = -1, high = 1 } } }
      local z, x = fresh(sim)
      local model, time = trained({ simulator = sim, posterior = posterior, width = 64 },
        posterior == "gaussian" and vector_steps or 0, vector_steps)
      seconds = seconds + time
      if not truths[i] then truths[i] = { exact_posterior(shape, z, x) } end
      local n = truths[i][2]
      local p = model:posterior(sv.slice(x, 1, 1, n))
      cells[i + 1] = string.format("%s; %.0f%%", number("%.2f", truths[i][1] - mean(p:log_prob(sv.slice(z, 1, 1, n)))),
        100 * within(model:posterior(x), z))
    end
    first = first or seconds
    cells[#cells + 1] = number("%.2f", seconds / first)
    row(table.unpack(cells))
  end
end

local all = { nets = nets, losses = losses, decoders = decoders, heads = heads }
for _, name in ipairs(#a.tables > 0 and a.tables or { "nets", "losses", "decoders", "heads" }) do all[name]() end
