local helper = require "spec.helper" -- luacheck: ignore 211
local core = require "simvae.core"
require "simvae.tensor"
local has_blas = pcall(require, "simvae.linalg") -- its ops need OpenBLAS
local autograd = require "simvae.tensor.autograd"

-- Random leaves, away from the kinks of abs, relu, clamp, …
local function leaf(rng, ...)
  local t = core.zeros(...)
  local flat = t:reshape(-1)
  for i = 1, t.count do
    local v
    repeat v = rng:uniform(-1, 1) until math.abs(v) > 0.05 and math.abs(math.abs(v) - 0.5) > 0.05
    flat:set(v, i)
  end
  return core.parameter(t)
end

-- A row's check string as a function of its random tensors, and those tensors.
local function case(name, row)
  local leaves, given, used = {}, nil, 0
  local rng = core.rng(5)
  local env = setmetatable({
    r = function(...)
      used = used + 1
      if given then return given[used] end
      leaves[used] = leaf(rng, ...)
      return leaves[used]
    end,
  }, { __index = core })
  local call = assert(load("local op = ... return op(" .. row.check .. ")", "=check of " .. name, "t", env))
  call(row.call)
  return function(...)
    given, used = { ... }, 0
    return (call(row.call))
  end, leaves
end

local names = {}
for name in pairs(core.ops) do names[#names + 1] = name end
table.sort(names)

describe("every op", function()
  it("is there", function() assert.is_true(#names >= 50) end)
  for _, name in ipairs(names) do
    local row = core.ops[name]
    it(name .. " has documentation, a check and a gradient (or says it has none)", function()
      assert.is_string(row.doc)
      assert.is_string(row.check)
      assert.are_not.equal(row.backward, row.no_grad)
    end)
    if row.check and (has_blas or not name:find "^linalg_") then
      it(name .. (row.backward and " has the right gradient" or " runs"), function()
        local f, leaves = case(name, row)
        if not row.backward then return assert.is_false(f(table.unpack(leaves)).needs_grad) end
        assert.is_true(#leaves > 0)
        local ok, report = autograd.grad_check(f, leaves)
        assert.is_true(ok, report)
      end)
    end
  end
end)

describe("gradients of further cases", function()
  local cases = {
    sum_all = { "sum", "r(2, 3)" }, sum_keep = { "sum", "r(2, 3, 2), {2}, true" }, sum_first = { "sum", "r(4, 3), 1" },
    mean_middle = { "mean", "r(2, 3, 4), 2" }, max_all = { "max", "r(3, 4)" }, min_first = { "min", "r(4, 3), 1" },
    max_middle = { "max", "r(2, 3, 4), 2, true" },
    var_all = { "var", "r(7)" }, var_outer = { "var", "r(3, 4), 1, false, 0" },
    lse_middle = { "logsumexp", "r(2, 3, 4), 2" }, lse_last = { "logsumexp", "r(2, 5)" },
    softmax_rows = { "softmax", "r(3, 5)" }, log_softmax_first = { "log_softmax", "r(3, 5), 1" },
    bce_sum = { "bce_with_logits", "r(2, 3), r(2, 3), 'sum'" },
    bce_none = { "bce_with_logits", "r(2, 3), r(2, 3), 'none'" },
    nll_scale = { "gaussian_nll", "r(4, 3), r(1), r(4, 3)" },
    nll_number = { "gaussian_nll", "r(4), r(), r(4), 'none'" },
    kl_none = { "gaussian_kl", "r(2, 3), r(2, 3), 'none'" }, mse_sum = { "mse_loss", "r(5), r(5), 'sum'" },
    ce_none = { "cross_entropy", "r(3, 4), tensor{1, 1, 4}, 'none'" },
    slice_back = { "slice", "r(5, 3), 1, 5, 1, -2" }, slice_last = { "slice", "r(2, 3, 4), -1, 2" },
    concat_last = { "concat", "{r(2, 2, 3), r(2, 2, 1)}, -1" }, stack_end = { "stack", "{r(2, 3), r(2, 3)}, -1" },
    expand_front = { "expand", "r(3), {4, -1}" }, gather_rows = { "gather", "r(2, 3), tensor{{3, 3}, {1, 2}}, 2" },
    pool_4 = { "avg_pool2d", "r(1, 2, 8, 4), 4" }, pool_3 = { "avg_pool2d", "r(1, 1, 6, 3), 3" },
    mul_spread = { "mul", "r(2, 1, 4), r(3, 1)" }, transpose_default = { "transpose", "r(2, 3)" },
  }
  for label, c in pairs(cases) do
    it(label, function()
      local f, leaves = case(label, { call = core[c[1]], check = c[2] })
      local ok, report = autograd.grad_check(f, leaves)
      assert.is_true(ok, report)
    end)
  end

  it("a wrong gradient is found", function()
    local ok, report = autograd.grad_check(function(x) return x:square() + x:detach() end, { core.full(2, 3) })
    assert.is_false(ok)
    assert.matches("input 1, number %d", report)
  end)
end)
