-- Ops that move numbers (transpose, permute, expand, gather) against loops over indices, for matrices of less and of
-- more than a block and a piece of work.
local helper = require "spec.helper"
local sv = require "simvae"

-- The numbers of t, row-major, as a function of a list of indices from 1.
local function entry(t)
  local flat = sv.flatten(t):totable()
  return function(at)
    local i = 0
    for k, n in ipairs(t.shape) do i = i * n + at[k] - 1 end
    return flat[i + 1]
  end
end

-- Calls f(i, at) for each number of a shape: its place in memory and its indices, all from 1.
local function each_entry(shape, f)
  local count, at = 1, {}
  for _, n in ipairs(shape) do count = count * n end
  for i = 1, count do
    local rest = i - 1
    for k = #shape, 1, -1 do
      at[k] = rest % shape[k] + 1
      rest = rest // shape[k]
    end
    f(i, at)
  end
end

local function whole(shape)
  local numbers = {}
  each_entry(shape, function(i) numbers[i] = i % 251 end)
  return sv.reshape(sv.tensor(numbers), shape)
end

-- Value and gradient towards x, of a weighted sum with whole weights: exact in floats.
local function moved(f, x)
  local leaf = sv.parameter(x)
  local tape <close> = sv.tape()
  local y = f(leaf)
  local value, shape = sv.flatten(y):totable(), y.shape
  tape:backward(sv.sum(y * (whole(shape) - 100)))
  return { value, sv.flatten(leaf.grad):totable(), shape = shape }
end

-- from(at): the indices in x of the number at `at` of the result.
local function check(f, x, from)
  local one, three = helper.by_threads(function() return moved(f, x) end)
  assert.same(one, three)
  local number, slopes, weights = entry(x), {}, sv.flatten(whole(one.shape) - 100):totable()
  each_entry(x.shape, function(i) slopes[i] = 0 end)
  each_entry(one.shape, function(i, at)
    local source = from(at)
    assert.equal(number(source), one[1][i])
    local place = 0
    for k, n in ipairs(x.shape) do place = place * n + source[k] - 1 end
    slopes[place + 1] = slopes[place + 1] + weights[i]
  end)
  assert.same(slopes, one[2])
end

describe("moved numbers", function()
  it("of transposed matrices of any size", function()
    for _, shape in ipairs { { 1, 9 }, { 3, 50 }, { 4, 4 }, { 16, 17 }, { 33, 15 }, { 70, 300 } } do
      check(sv.transpose, whole(shape), function(at) return { at[2], at[1] } end)
    end
  end)

  it("of axes in any order", function()
    local orders = {
      { 1, 3, 4, 2 }, { 1, 4, 2, 3 }, { 4, 3, 2, 1 }, { 2, 1, 3, 4 }, { 1, 3, 2, 4 }, { 3, 4, 1, 2 }, { 1, 2, 4, 3 },
    }
    for _, shape in ipairs { { 3, 5, 4, 6 }, { 40, 4, 9, 5 }, { 2, 3, 1, 7 } } do
      for _, order in ipairs(orders) do
        check(function(x) return sv.permute(x, order) end, whole(shape), function(at)
          local source = {}
          for k, axis in ipairs(order) do source[axis] = at[k] end
          return source
        end)
      end
    end
  end)

  it("of repeated axes", function()
    for _, case in ipairs {
      { { 7, 1 }, { 7, 300 } }, { { 1, 30 }, { 700, 30 } }, { { 5, 1, 3 }, { 5, 70, 3 } }, { { 1, 1 }, { 30, 600 } },
      { { 300, 1, 1 }, { 300, 20, 5 } },
    } do
      check(function(x) return sv.expand(x, table.unpack(case[2])) end, whole(case[1]), function(at)
        local source = {}
        for k, n in ipairs(case[1]) do source[k] = n == 1 and 1 or at[k] end
        return source
      end)
    end
  end)

  it("of gathered ones along each axis, also where some are shorter than x's", function()
    for _, case in ipairs {
      { { 9 }, { 20 } }, { { 9 }, { 17000 } }, { { 6, 5 }, { 6, 9 } }, { { 6, 5 }, { 4, 5 } },
      { { 30, 600 }, { 30, 600 } }, { { 4, 3, 5 }, { 3, 3, 4 } }, { { 20, 3, 50 }, { 20, 7, 50 } },
      { { 1000, 20 }, { 1000, 20 } },
    } do
      local rng = sv.rng(4)
      for axis = 1, #case[1] do
        local shape = { table.unpack(case[1]) }
        for k, n in ipairs(shape) do shape[k] = math.min(n, case[2][k]) end
        shape[axis] = case[2][axis]
        local index = sv.floor(rng:uniform(1, case[1][axis] + 0.999, shape))
        local chosen = entry(index)
        check(function(x) return sv.gather(x, index, axis) end, whole(case[1]), function(at)
          local source = { table.unpack(at) }
          source[axis] = math.tointeger(chosen(at))
          return source
        end)
      end
    end
  end)

  it("with an index that is not one are refused", function()
    for _, wrong in ipairs { 0, 4, 1.5, -1, 0 / 0, math.huge } do
      local index = { 1, 2, 3 }
      for i = 4, 40 do index[i] = 1 end
      index[21] = wrong
      assert.has_error(function() sv.gather(sv.ones(3), sv.tensor(index), 1) end,
        string.format("gather: index %g is not a whole number from 1 to 3 [(3,), (40,)]", wrong))
    end
  end)
end)
