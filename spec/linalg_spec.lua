local helper = require "spec.helper"
local core = require "simvae.core"
local sv = require "simvae"

local found = core.use_blas() ~= nil
if not found then
  describe("linear algebra", function()
    it("is computed by OpenBLAS", function() pending "this build is without OpenBLAS (WITHOUT_BLAS=1)" end)
  end)
  return
end
local linalg = sv.linalg

-- What NumPy computes of these matrices in double precision: spec/fixtures/make_linalg.py.
local numpy = assert(sv.io.load_npz "spec/fixtures/linalg.npz")
local tolerance = core.real == "double" and 1e-10 or 1e-5

-- The largest difference, over the largest number of the second.
local function apart(a, b)
  local difference, size = 0, 1e-30
  local x, y = a:reshape(-1), b:reshape(-1)
  assert.are.same(table.concat(b.shape, " "), table.concat(a.shape, " "))
  for i = 1, y.count do
    difference = math.max(difference, math.abs(x:get(i) - y:get(i)))
    size = math.max(size, math.abs(y:get(i)))
  end
  return difference / size
end

local function agree(a, b, allowed)
  local d = apart(a, b)
  assert.is_true(d <= (allowed or tolerance), "apart by " .. d)
end

local function transposed(t) return core.transpose(t, -2, -1) end

local function identity(n)
  local eye = core.zeros(n, n)
  for i = 1, n do eye:set(1, i, i) end
  return eye
end

describe("linear algebra", function()
  it("agrees with NumPy on batches", function()
    agree(linalg.cholesky(numpy.definite), numpy.cholesky)
    agree(linalg.solve(numpy.square, numpy.rhs), numpy.solve)
    agree(linalg.inv(numpy.square), numpy.inv)
    agree(linalg.det(numpy.square), numpy.det)
    agree((linalg.eigh(numpy.definite)), numpy.eigenvalues)
    agree(linalg.lstsq(numpy.tall, numpy.tall_rhs), numpy.lstsq)
    local sign, size = linalg.slogdet(numpy.square)
    agree(sign, numpy.sign)
    agree(size, numpy.size)
    local _, tall = linalg.svd(numpy.tall)
    agree(tall, numpy.singular_tall)
    local _, wide = linalg.svd(numpy.wide)
    agree(wide, numpy.singular_wide)
    local _, r = linalg.qr(numpy.tall)
    agree(r, numpy.r)
  end)

  it("agrees with NumPy on an ill-conditioned matrix", function()
    agree(linalg.cholesky(numpy.hilbert), numpy.cholesky_hilbert)
    agree(linalg.solve(numpy.hilbert, core.ones(5, 1)), numpy.solve_hilbert)
    agree((linalg.eigh(numpy.hilbert)), numpy.eigenvalues_hilbert)
  end)

  it("takes the least squares solution of smallest norm where the rank is deficient", function()
    local x, rank = linalg.lstsq(numpy.deficient, numpy.tall_rhs[1], { rcond = 1e-6 })
    agree(x, numpy.lstsq_deficient)
    assert.are.equal(1, rank:item())
  end)

  it("gives factors that multiply to the matrix", function()
    local u, s, vt = linalg.svd(numpy.wide)
    agree(core.matmul(u * s:reshape(2, 1, 3), vt), numpy.wide)
    local q, r = linalg.qr(numpy.wide)
    agree(core.matmul(q, r), numpy.wide)
    agree(core.matmul(q[1], q[1], true), identity(3))
    local w, v = linalg.eigh(numpy.definite)
    agree(core.matmul(v * w:reshape(2, 3, 1, 5), transposed(v)), numpy.definite)
  end)

  it("solves triangular systems from either side, reading the triangle alone", function()
    local l = linalg.cholesky(numpy.definite)
    local full = l + transposed(l)
    for i = 1, 2 do -- the diagonal once
      for j = 1, 3 do
        for k = 1, 5 do full:set(l:get(i, j, k, k), i, j, k, k) end
      end
    end
    agree(core.matmul(l, linalg.triangular_solve(full, numpy.rhs)), numpy.rhs)
    agree(core.matmul(transposed(l), linalg.triangular_solve(full, numpy.rhs, { upper = true })), numpy.rhs)
    agree(core.matmul(transposed(l), linalg.triangular_solve(l, numpy.rhs, { transpose = true })), numpy.rhs)
  end)

  it("takes vectors, tables, and one matrix for a batch", function()
    agree(linalg.solve({ { 2, 0 }, { 0, 4 } }, { 2, 2 }), core.tensor { 1, 0.5 })
    agree(linalg.solve(numpy.square, core.ones(5)), linalg.solve(numpy.square, core.ones(2, 3, 5, 1)):reshape(2, 3, 5))
    local one = linalg.solve(numpy.definite[1][1], numpy.rhs)
    agree(one[2][3], linalg.solve(numpy.definite[1][1], numpy.rhs[2][3]))
    agree(linalg.det { { 1, 2 }, { 3, 4 } }, core.tensor { -2 }:reshape {})
  end)

  it("passes gradients through what is made of them", function()
    local a = core.parameter(numpy.definite[1][1])
    do -- d log det A = A^-1, by its Cholesky factor as well
      local tape <close> = sv.tape()
      tape:backward(linalg.logdet(a))
    end
    agree(a.grad, linalg.inv(numpy.definite[1][1]))
    a:zero_grad()
    do
      local tape <close> = sv.tape()
      local l = linalg.cholesky(a)
      local diagonal = core.sum(core.mul(l, identity(5)), 2)
      tape:backward(core.sum(core.log(diagonal)) * 2)
    end
    agree(a.grad, linalg.inv(numpy.definite[1][1]), 10 * tolerance)
    a:zero_grad()
    do -- eigenvalues: their sum is the trace
      local tape <close> = sv.tape()
      tape:backward(core.sum((linalg.eigh(a))))
    end
    agree(a.grad, identity(5))
  end)

  it("is the same for any number of threads", function()
    local before = sv.threads()
    local results = {}
    for t = 1, 2 do
      sv.threads(t)
      local w, v = linalg.eigh(numpy.definite)
      results[t] = core.concat({ linalg.solve(numpy.square, numpy.rhs):reshape(-1), w:reshape(-1), v:reshape(-1) }, 1)
    end
    sv.threads(before)
    assert.are.same(results[1]:totable(), results[2]:totable())
  end)

  it("refuses what has no answer, at the caller's line", function()
    local function refused(pattern, f, ...)
      local ok, message = pcall(f, ...)
      assert.is_false(ok)
      assert.matches(pattern, message)
    end
    refused("^linalg.cholesky: matrix 1 of the batch is not positive definite", linalg.cholesky, { { 1, 2 }, { 2, 1 } })
    refused("not symmetric: entries %(2, 1%) and %(1, 2%) are 0 and 2", linalg.cholesky, { { 1, 2 }, { 0, 1 } })
    refused("matrix 1 of the batch is singular", linalg.solve, { { 1, 2 }, { 2, 4 } }, { 1, 1 })
    refused("singular: entry %(2, 2%) is 0", linalg.triangular_solve, { { 1, 0 }, { 2, 0 } }, { 1, 1 })
    refused("a must be square; got 1 x 2", linalg.inv, { { 1, 2 } })
    refused("b must have 2 rows, as a has; got 3", linalg.solve, { { 1, 0 }, { 0, 1 } }, { 1, 1, 1 })
    refused("the determinant of matrix 1 of the batch is negative", linalg.logdet, { { 0, 1 }, { 1, 0 } })
    refused("a takes a tensor; got nil", linalg.svd)
    refused("a must have at least two axes; got %(3,%)", linalg.qr, { 1, 2, 3 })
    refused("not finite", linalg.svd, { { 0 / 0 } })
    refused("not finite", linalg.eigh, { { 1 / 0 } })
    refused("1 to 32767 rows and columns; got 0 x 2", linalg.svd, core.zeros(0, 2))
    local _, message = pcall(function()
      local x = linalg.inv { { 0 } }
      return x
    end)
    assert.matches("linalg_spec.lua:%d+: linalg.solve: matrix 1 of the batch is singular", message)
  end)

  it("says what to install where OpenBLAS is left out", function()
    local folder = helper.temporary_folder()
    os.execute("mkdir " .. folder .. "/simvae && cp " .. helper.build .. "/lib/lua/5.4/simvae/core.so " .. folder
      .. "/simvae/")
    local command = helper.lua_command("-e", [[
      local sv = require "simvae"
      print(select(2, pcall(function() return sv.linalg.inv end)))
      print(sv.ones(2):sum())]]):gsub("LUA_CPATH=%S+", "LUA_CPATH=" .. folder .. "/?.so")
    local output = helper.run(command)
    assert.matches("OpenBLAS is missing from this build", output, 1, true)
    assert.matches("libopenblas-dev", output, 1, true)
    assert.matches("\n2%s*$", output)
  end)
end)
