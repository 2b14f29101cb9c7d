-- Ops along rows (softmax, log-sum-exp, cross entropy, extrema, layer normalisation) against their formulas in double,
-- for rows shorter and longer than vectors, tiles and pieces of work.
local core = require "simvae.core"
local helper = require "spec.helper"
local sv = require "simvae"

local SHAPES = {
  { 3, 1 }, { 5, 7 }, { 100, 5 }, { 2, 63 }, { 1, 64 }, { 3, 65 }, { 20, 130 }, { 2, 600 }, { 1, 17000 },
}
local NAN = 0 / 0
local tolerance = core.real == "double" and 1e-12 or 2e-6

local function near(expected, got, label)
  local off = math.abs(got - expected)
  assert.is_true(off <= tolerance * math.max(1, math.abs(expected)),
    string.format("%s: %.9g, not %.9g", label, got, expected))
end

local function log_sum_exp(row)
  local most, sum = row[1], 0
  for _, v in ipairs(row) do most = math.max(most, v) end
  for _, v in ipairs(row) do sum = sum + math.exp(v - most) end
  return most + math.log(sum)
end

-- The gradient of the sum of y sin y.
local function gradient_of(y) return math.sin(y) + y * math.cos(y) end

local function softmax_reference(row)
  local lse, y, x = log_sum_exp(row), {}, {}
  local with_y = 0
  for i, v in ipairs(row) do
    y[i] = math.exp(v - lse)
    with_y = with_y + y[i] * gradient_of(y[i])
  end
  for i in ipairs(row) do x[i] = y[i] * (gradient_of(y[i]) - with_y) end
  return y, x
end

local function log_softmax_reference(row)
  local lse, y, x, sum = log_sum_exp(row), {}, {}, 0
  for i, v in ipairs(row) do
    y[i] = v - lse
    sum = sum + gradient_of(y[i])
  end
  for i in ipairs(row) do x[i] = gradient_of(y[i]) - math.exp(y[i]) * sum end
  return y, x
end

local function matrix(seed, shape) return sv.rng(seed):normal(0, 3, shape) end

describe("rows", function()
  for name, reference in pairs { softmax = softmax_reference, log_softmax = log_softmax_reference } do
    it("of " .. name .. " are its formula, at any number of threads", function()
      for s, shape in ipairs(SHAPES) do
        local x = matrix(s, shape)
        local function run() return helper.value_and_gradients(sv[name], { x }) end
        local one, three = helper.by_threads(run)
        assert.same(one[1]:totable(), three[1]:totable())
        assert.same(one[2]:totable(), three[2]:totable())
        local value, slope = one[1]:totable(), one[2]:totable()
        for i, row in ipairs(x:totable()) do
          local y, g = reference(row)
          local size = 1
          for _, v in ipairs(g) do size = math.max(size, math.abs(v)) end
          for k = 1, #row do
            near(y[k], value[i][k], name)
            near(g[k] / size / 10, slope[i][k] / size / 10, name .. "'s gradient")
          end
        end
      end
    end)
  end

  it("of logsumexp and cross_entropy are their formulas, at any number of threads", function()
    for s, shape in ipairs(SHAPES) do
      local x, targets, losses, total = matrix(s, shape), {}, {}, 0
      for i = 1, shape[1] do targets[i] = (i * 7) % shape[2] + 1 end
      local function run()
        return { sv.logsumexp(x, 2):totable(), sv.cross_entropy(x, sv.tensor(targets), "none"):totable(),
          sv.cross_entropy(x, sv.tensor(targets), "sum"):item() }
      end
      local one, three = helper.by_threads(run)
      assert.same(one, three)
      for i, row in ipairs(x:totable()) do
        local lse = log_sum_exp(row)
        near(lse, one[1][i], "logsumexp")
        losses[i] = lse - row[targets[i]]
        near(losses[i], one[2][i], "cross_entropy")
        total = total + losses[i]
      end
      near(total, one[3], "the sum of cross_entropy")
      local slopes = helper.value_and_gradients(function(v) return sv.cross_entropy(v, sv.tensor(targets), "none") end,
        { x })[2]:totable()
      for i, row in ipairs(x:totable()) do
        local g = gradient_of(losses[i])
        for k, v in ipairs(row) do
          local expected = g * (math.exp(v - losses[i] - row[targets[i]]) - (k == targets[i] and 1 or 0))
          assert.near(expected, slopes[i][k], 20 * tolerance)
        end
      end
    end
  end)

  it("keep the loss of a certain prediction, and infinities", function()
    local loss = sv.cross_entropy(sv.tensor { { 0, -20, -30 } }, sv.tensor { 1 }):item()
    assert.near(1, loss / (math.exp(-20) + math.exp(-30)), 1e-5)
    local inf = math.huge
    assert.same({ -inf, inf, 1 }, sv.logsumexp(sv.tensor { { -inf, -inf }, { 1, inf }, { 1, -inf } }, 2):totable())
    assert.is_true(sv.logsumexp(sv.tensor { 1, NAN, 2 }):item() ~= 0)
    assert.near(1000 + math.log(2), sv.logsumexp(sv.tensor { 1000, 1000 }):item(), 1e-3)
    local y = sv.log_softmax(sv.tensor { 1000, 1001 }):totable()
    assert.near(-math.log(1 + math.exp(1)), y[1], 1e-6)
  end)

  it("are normalised by their mean and variance, at any number of threads", function()
    for s, shape in ipairs(SHAPES) do
      for _, offset in ipairs { 0, 300 } do
        local m, n, rng = shape[1], shape[2], sv.rng(90 + s)
        local x, scale, shift = rng:normal(0, 2, shape) + offset, rng:normal(1, 0.3, { n }), rng:normal(0, 1, { n })
        local function run() return helper.value_and_gradients(sv.layer_norm, { x, scale, shift }) end
        local one, three = helper.by_threads(run)
        local got, b, c = {}, scale:totable(), shift:totable()
        for k = 1, 4 do
          got[k] = one[k]:totable()
          assert.same(got[k], three[k]:totable())
        end
        local to_scale, to_shift = {}, {}
        for k = 1, n do to_scale[k], to_shift[k] = 0, 0 end
        for i, row in ipairs(x:totable()) do
          local mean, var, q_mean, qh_mean, h, q = 0, 0, 0, 0, {}, {}
          for _, v in ipairs(row) do mean = mean + v / n end
          for _, v in ipairs(row) do var = var + (v - mean) ^ 2 / n end
          local inverse = 1 / math.sqrt(var + 1e-5)
          for k, v in ipairs(row) do
            h[k] = (v - mean) * inverse
            near(h[k] * b[k] + c[k], got[1][i][k], "layer_norm")
            local g = gradient_of(h[k] * b[k] + c[k])
            to_scale[k], to_shift[k], q[k] = to_scale[k] + g * h[k], to_shift[k] + g, g * b[k]
            q_mean, qh_mean = q_mean + q[k] / n, qh_mean + q[k] * h[k] / n
          end
          for k in ipairs(row) do
            local expected = inverse * (q[k] - q_mean - h[k] * qh_mean)
            if n > 1 then assert.near(expected, got[2][i][k], offset == 0 and 20 * tolerance or 1e-3) end
          end
        end
        for k = 1, n do
          assert.near(to_scale[k], got[3][k], (offset == 0 and 20 * tolerance or 1e-4) * m)
          assert.near(to_shift[k], got[4][k], (offset == 0 and 20 * tolerance or 1e-4) * m)
        end
      end
    end
  end)

  local function extremum(list, max)
    local at = 1
    for i, v in ipairs(list) do
      local old = list[at]
      local more = max and v > old or not max and v < old
      if old == old and (v ~= v or more) then at = i end
    end
    return at
  end

  it("have extrema that are the first of equals, and NaN where there is one, along both axes", function()
    for s, shape in ipairs(SHAPES) do
      for _, special in ipairs { -math.huge, NAN } do
        local x = sv.floor(matrix(s, shape)) -- many equals
        local flat = sv.flatten(x):totable()
        for _, k in ipairs { 3, 70, 71 } do
          if flat[k] then flat[k] = special end
        end
        x = sv.reshape(sv.tensor(flat), shape)
        for _, name in ipairs { "max", "min" } do
          local across = sv.transpose(x)
          local function run()
            return { sv["arg" .. name](x, 2):totable(), sv["arg" .. name](across, 1):totable() }
          end
          local one, three = helper.by_threads(run)
          assert.same(one, three)
          local values, down = sv[name](x, 2):totable(), sv[name](across, 1):totable()
          for i, row in ipairs(x:totable()) do
            local at = extremum(row, name == "max")
            assert.equal(at, one[1][i])
            assert.equal(at, one[2][i])
            if row[at] == row[at] then
              assert.equal(row[at], values[i])
              assert.equal(row[at], down[i])
            else
              assert.is_true(values[i] ~= values[i] and down[i] ~= down[i])
            end
          end
        end
      end
    end
  end)
end)
