local helper = require "spec.helper"
local core = require "simvae.core"
local sv = require "simvae"

local N, K = 400, 10
local rng = sv.rng(3)
local parameters = rng:normal(0, 0.5, { N, 2, 3 * K + 1 })
local circle = sv.tensor { 0, 1 }

local function grid() -- (N, 2): the same numbers in both columns
  local x = sv.zeros(N, 2)
  for i = 1, N do
    x:set((i - 0.5) / N, i, 1)
    x:set((i - 0.5) / N, i, 2)
  end
  return x
end

local function run(x, p, inverse)
  local both = sv.rational_quadratic_spline(x, p, circle, inverse or false)
  return both[1], both[2]
end

-- The same spline for every row.
local function shared(row)
  return sv.expand(parameters[row]:reshape(1, 2, 3 * K + 1), N, 2, 3 * K + 1)
end

local function largest(t) return sv.max(sv.abs(t)):item() end

describe("a rational-quadratic spline", function()
  it("is the identity where all its parameters are 0", function()
    local y, slope = run(grid(), sv.zeros(N, 2, 3 * K + 1))
    assert.is_true(largest(y - grid()) < 1e-6)
    assert.is_true(largest(slope) < 1e-5)
  end)

  it("is undone by its inverse, whose log-slope is the negative", function()
    local x = grid()
    local y, up = run(x, parameters)
    local back, down = run(y, parameters, true)
    local apart = back - x
    for i = 1, N do -- 0 and 1 are one phase
      local d = apart:get(i, 2)
      apart:set(d - math.floor(d + 0.5), i, 2)
    end
    assert.is_true(largest(apart) < 1e-5, tostring(largest(apart)))
    assert.is_true(largest(up + down) < 2e-3, tostring(largest(up + down)))
  end)

  it("rises, from 0 to 1, with the slope that it states (finite differences)", function()
    local p, h = shared(7), 5e-4
    local _, slope = run(grid(), p)
    local below, above = run(grid() - h, p), run(grid() + h, p)
    local area = 0
    for i = 1, N do
      local stated = math.exp(slope:get(i, 1))
      assert.near(1, (above:get(i, 1) - below:get(i, 1)) / (2 * h) / stated, 0.02)
      area = area + stated / N
    end
    assert.near(1, area, 1e-3) -- as a density of x it integrates to 1
    local ends = run(sv.tensor { { 0, 0 }, { 1, 0 } }, parameters:slice(1, 1, 2))
    assert.near(0, ends:get(1, 1), 1e-6)
    assert.near(1, ends:get(2, 1), 1e-6)
  end)

  it("of a phase has no seam, and only rotates with its last parameter", function()
    local p = shared(9)
    local y, slope = run(sv.tensor { { 0, 1e-6 }, { 0, 1 - 1e-6 } }, p:slice(1, 1, 2))
    local d = y:get(1, 2) - y:get(2, 2)
    assert.near(0, d - math.floor(d + 0.5), 1e-4)
    assert.near(slope:get(1, 2), slope:get(2, 2), 1e-3)
    local turned = p:clone()
    for i = 1, N do turned:set(p:get(i, 2, 3 * K + 1) + 0.25, i, 2, 3 * K + 1) end
    local ahead = run(grid(), turned)
    y = run(grid(), p)
    for i = 1, N - 100 do assert.near(y:get(i + 100, 2), ahead:get(i, 2), 1e-4) end
  end)

  it("takes values from outside as the nearest inside, without a gradient", function()
    local x = core.parameter { { -0.5, 0.5 } }
    do
      local tape <close> = sv.tape()
      local both = sv.rational_quadratic_spline(x, parameters:slice(1, 1, 1))
      tape:backward(sv.sum(both[1]))
    end
    assert.are.equal(0, x.grad:get(1, 1))
    assert.is_true(x.grad:get(1, 2) > 0)
  end)

  it("says what its parameters must be", function()
    helper.raises("x must be %(N, D%)", sv.rational_quadratic_spline, sv.ones(3), parameters)
    helper.raises("parameters must be %(400, 2, 3 K %+ 1%)", sv.rational_quadratic_spline, grid(), sv.ones(2, 2, 7))
    helper.raises("K = 2 to 64 bins; got 9", sv.rational_quadratic_spline, grid(), sv.ones(N, 2, 9))
    helper.raises("circle must be %(2,%)", sv.rational_quadratic_spline, grid(), parameters, sv.ones(3))
  end)
end)

describe("splines of a coupling transform", function()
  local coupling, layer = core.ops.spline_coupling.call, core.ops.conditioner_layer.call
  local marks = sv.tensor { 1, 0, 2 }

  -- Gradients of f(…) weighted by fixed numbers, and its value.
  local function gradients(f, ...)
    local leaves = { ... }
    for i, t in ipairs(leaves) do leaves[i] = core.parameter(t) end
    local tape <close> = sv.tape()
    local y = tape:keep(f(table.unpack(leaves)))
    tape:backward(sv.sum(y * sv.rng(5):normal(y.shape)))
    return y, leaves
  end
  local function same(a, b, tolerance) assert.is_true(largest(a - b) < tolerance, tostring(largest(a - b))) end

  -- One row of parameters for all rows, for each few, and for each row.
  for _, shape in ipairs { { 150, 1 }, { 150, 50 }, { 150, 150 }, { 600, 2 } } do
    local rows, n = table.unpack(shape)
    it(string.format("are those of its columns: %d rows, %d of parameters", rows, n), function()
      local state = rng:uniform(0, 1, { rows, 4 })
      local p = rng:normal(0, 0.5, { n, 2 * (3 * K + 1) })
      local function in_one(s, q) return coupling(s, q, marks) end
      local function composed(s, q)
        local both = sv.concat({ sv.slice(s, 2, 1, 1), sv.slice(s, 2, 3, 3) }, 2)
        local each = sv.reshape(sv.expand(sv.reshape(q, n, 1, 2 * (3 * K + 1)), n, rows // n, 2 * (3 * K + 1)),
          rows, 2, 3 * K + 1)
        local y = sv.rational_quadratic_spline(both, each, circle)
        local moved, logs = sv.reshape(y:slice(1, 1, 1), rows, 2), sv.reshape(y:slice(1, 2, 2), rows, 2)
        return sv.concat({ sv.slice(moved, 2, 1, 1), sv.slice(s, 2, 2, 2), sv.slice(moved, 2, 2, 2),
          sv.slice(s, 2, 4, 4) + sv.sum(logs, 2, true) }, 2)
      end
      local y, leaves = gradients(in_one, state, p)
      local expected, wanted = gradients(composed, state, p)
      same(y, expected, 1e-5)
      same(leaves[1].grad, wanted[1].grad, 1e-3)
      same(leaves[2].grad, wanted[2].grad, 1e-3)
      local back = coupling(y:detach(), p, marks, true)
      for _, at in ipairs { 1, 2, 4 } do same(back:slice(2, at, at), state:slice(2, at, at), 1e-4) end
    end)
  end

  it("have a first layer of the context and of features of the columns", function()
    local context, state, weight = rng:normal { 5, 7 }, rng:uniform(0, 1, { 20, 4 }), rng:normal { 3, 7 }
    local function composed(c, s, w)
      local turns = sv.slice(s, 2, 3, 3) * (2 * math.pi)
      local features = sv.concat({ sv.slice(s, 2, 1, 1) * 2 - 1, sv.cos(turns), sv.sin(turns) }, 2)
      return sv.silu(sv.reshape(sv.expand(sv.reshape(c, 5, 1, 7), 5, 4, 7), 20, 7) + sv.matmul(features, w))
    end
    local y, leaves = gradients(function(c, s, w) return layer(c, s, w, marks) end, context, state, weight)
    local expected, wanted = gradients(composed, context, state, weight)
    same(y, expected, 1e-5)
    for i = 1, 3 do same(leaves[i].grad, wanted[i].grad, 1e-4) end
  end)

  it("name bad input", function()
    local state, p = sv.ones(4, 4), sv.ones(2, 20)
    helper.raises("state must be %(R, D %+ 1%)", coupling, sv.ones(4), p, marks)
    helper.raises("columns must be %(3,%)", coupling, state, p, sv.ones(2))
    helper.raises("parameters must be %(n, 2 %(3 K %+ 1%)%)", coupling, state, sv.ones(2, 21), marks)
    helper.raises("no multiple", coupling, state, sv.ones(3, 20), marks)
    helper.raises("weight must be %(3, 7%)", layer, sv.ones(2, 7), state, sv.ones(2, 7), marks)
    helper.raises("no multiple", layer, sv.ones(3, 7), state, sv.ones(3, 7), marks)
  end)
end)

describe("locations and scales of a flow", function()
  local map = core.ops.location_scale.call
  local marks = sv.tensor { 1, 0, 2, 1 } -- a column that is left, and a phase, which is left too
  local tight = core.real == "double" and 1e-12 or 1e-6

  -- The distribution function and its slope's logarithm as in a book, from the numbers of the parameters.
  local function by_definition(u, raw_m, raw_s)
    local function S(t) return 1 / (1 + math.exp(-t)) end
    local function tanh(v) return 1 - 2 / (math.exp(2 * v) + 1) end
    local m, s = 0.5 + 0.6 * tanh(raw_m), 2e-4 + math.log(1 + (math.exp(1) - 1) * math.exp(raw_s))
    local t, gap = (u - m) / s, S((1 - m) / s) - S(-m / s)
    return (S(t) - S(-m / s)) / gap, math.log(S(t) * (1 - S(t)) / (s * gap))
  end

  for _, shape in ipairs { { 60, 1 }, { 60, 20 }, { 60, 60 } } do
    local rows, n = table.unpack(shape)
    it(string.format("are distribution functions of truncated logistic distributions: %d rows, %d of parameters", rows,
      n), function()
      local own = sv.rng(4)
      local state, p = own:uniform(0, 1, { rows, 5 }), own:normal(0, 1, { n, 4 })
      local y = map(state, p, marks)
      for r = 1, rows do
        local q, sum = (r - 1) // (rows // n) + 1, state:get(r, 5)
        for c, column in ipairs { 1, 4 } do
          local w, log = by_definition(state:get(r, column), p:get(q, 2 * c - 1), p:get(q, 2 * c))
          assert.near(w, y:get(r, column), 10 * tight)
          sum = sum + log
        end
        assert.near(sum, y:get(r, 5), 10 * tight * math.max(1, math.abs(sum)))
        for _, column in ipairs { 2, 3 } do assert.equal(state:get(r, column), y:get(r, column)) end
      end
      assert.is_true(largest(map(y, p, marks, true) - state) < 1e-4)
    end)
  end

  it("are almost uniform at first", function()
    local state = sv.concat({ sv.rng(1):uniform(0, 1, { 100, 4 }), sv.zeros(100, 1) }, 2)
    local y = map(state, sv.zeros(1, 4), marks)
    assert.is_true(largest(y - state) < 0.15)
  end)

  -- w and log dw/du in logarithms, which hold where the distribution has hardly any of its mass in the interval.
  local function in_logarithms(u, raw_m, raw_s)
    local function soft(v) return math.max(v, 0) + math.log(1 + math.exp(-math.abs(v))) end
    local m, s = 0.5 + 0.6 * (1 - 2 / (math.exp(2 * raw_m) + 1)), 2e-4 + soft(raw_s + math.log(math.exp(1) - 1))
    local t, a, b = (u - m) / s, -m / s, (1 - m) / s
    local log_gap = math.log(1 - math.exp(-1 / s)) - soft(-b) - soft(a)
    local w = math.exp(soft(-b) - soft(-t)) * (1 - math.exp(-u / s)) / (1 - math.exp(-1 / s))
    return w, -soft(t) - soft(-t) - math.log(s) - log_gap
  end

  it("have slopes where the location is beyond an end, many scales away", function()
    local one, raw_s, step = sv.tensor { 1 }, -5, 1e-4
    for _, case in ipairs { { 2, 0.99 }, { 2, 0.97 }, { -2, 0.01 }, { -2, 0.03 } } do
      local raw_m, u = case[1], case[2]
      local values, slopes = in_logarithms(u, raw_m, raw_s), {}
      for k, at in ipairs { { step, 0, 0 }, { 0, step, 0 }, { 0, 0, step } } do
        local w1, l1 = in_logarithms(u + at[1], raw_m + at[2], raw_s + at[3])
        local w0, l0 = in_logarithms(u - at[1], raw_m - at[2], raw_s - at[3])
        slopes[k] = (3 * (w1 - w0) + 0.5 * (l1 - l0)) / (2 * step)
      end
      local state, p = core.parameter(sv.tensor { { u, 0 } }), core.parameter(sv.tensor { { raw_m, raw_s } })
      local y
      do
        local tape <close> = sv.tape()
        y = tape:keep(map(state, p, one))
        tape:backward(sv.sum(y * sv.tensor { { 3, 0.5 } }))
      end
      assert.near(values, y:get(1, 1), 1e-4)
      for k, got in ipairs { state.grad:get(1, 1), p.grad:get(1, 1), p.grad:get(1, 2) } do
        assert.near(slopes[k], got, 1e-3 * math.max(1, math.abs(slopes[k])))
      end
    end
  end)

  it("stay finite and within the interval far from narrow scales", function()
    local state = sv.tensor { { 0, 0, 0, 1, 0 }, { 1, 0, 0, 0, 0 }, { 0.5, 0, 0, 1e-6, 0 } }
    for _, m in ipairs { -50, 0, 50 } do
      for _, s in ipairs { -100, 0, 100 } do
        local p = sv.tensor { { m, s, -m, s } }
        for _, inverse in ipairs { false, true } do
          local y, leaves
          do
            local tape <close> = sv.tape()
            leaves = { core.parameter(state), core.parameter(p) }
            y = tape:keep(map(leaves[1], leaves[2], marks, inverse))
            tape:backward(sv.sum(y))
          end
          assert.is_true((y:finite()))
          assert.is_true((y:slice(2, 1, 4):within(0, 1)))
          for _, leaf in ipairs(leaves) do assert.is_true((leaf.grad:finite())) end
        end
      end
    end
  end)

  it("are refused for shapes that do not fit", function()
    helper.raises("state must be %(R, D %+ 1%)", map, sv.ones(3), sv.ones(1, 4), marks)
    helper.raises("columns must be %(4,%)", map, sv.ones(3, 5), sv.ones(1, 4), sv.ones(3))
    helper.raises("parameters must be %(n, 4%)", map, sv.ones(3, 5), sv.ones(1, 5), marks)
    helper.raises("no multiple of the 2", map, sv.ones(3, 5), sv.ones(2, 4), marks)
    helper.raises("must be 1 for one column", map, sv.ones(3, 5), sv.ones(1, 4), sv.full(2, { 4 }))
  end)
end)
