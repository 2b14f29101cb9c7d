--- Linear algebra: factorisations, systems, eigenvalues, determinants, through OpenBLAS.
--
--     local l = sv.linalg.cholesky(a)                 -- a = L L'
--     local x = sv.linalg.solve(a, b)                 -- a x = b
--     local values, vectors = sv.linalg.eigh(a)
--
-- Matrices are the last two axes; all axes before them are a batch, and a single matrix (or vector of right-hand
-- sides) serves a whole batch of the other argument. Everything is computed in double precision and rounded once.
-- Gradients pass through cholesky, triangular_solve, solve, inv, slogdet, logdet, det and eigh.
--
-- OpenBLAS is loaded with this module, which takes some milliseconds.
local check = require "simvae.util.check"
local core = require "simvae.core"

local config, why = core.use_blas()
if not config then
  error("linalg: OpenBLAS is missing from this build; install it (Debian, Ubuntu: apt-get install libopenblas-dev; "
    .. "macOS: brew install openblas) and build again with make\n" .. why, 0)
end

local linalg = {
  --- Configuration of OpenBLAS: version, CPU, threads.
  config = config,
}

-- An argument as a tensor of at least `axes` axes.
local function tensor(what, name, t, axes)
  if type(t) == "table" then t = core.tensor(t) end
  if getmetatable(t) ~= core.metatable then
    check.fail(3, "linalg.%s: %s takes a tensor; got %s", what, name, check.describe(t))
  end
  if t.ndim < axes then
    check.fail(3, "linalg.%s: %s must have %s; got %s", what, name,
      axes == 1 and "at least one axis" or "at least two axes", check.shape_text(t.shape))
  end
  return t
end

local function batch_of(t)
  return table.move(t.shape, 1, t.ndim - 2, 1, {})
end

-- Repeats matrices along the other argument's batch.
local function spread(t, other)
  if t.ndim > 2 or other.ndim <= 2 then return t end
  local shape = batch_of(other)
  shape[#shape + 1], shape[#shape + 2] = t.shape[1], t.shape[2]
  return core.expand(t, shape)
end

-- a and b of a system as batches of equal shape, and what makes a vector of the solution where b was one.
local function system(what, a, b)
  a, b = tensor(what, "a", a, 2), tensor(what, "b", b, 1)
  if b.ndim == 1 then
    local x = spread(core.reshape(b, b.shape[1], 1), a)
    return a, x, function(solution)
      local shape = batch_of(solution)
      shape[#shape + 1] = solution.shape[solution.ndim - 1]
      return core.reshape(solution, shape)
    end
  end
  return spread(a, b), spread(b, a), function(solution) return solution end
end

-- Rows `first` to `last` of the last two axes.
local function rows(t, first, last)
  return core.slice(t, -2, first, last)
end

-- Runs an op of the core; its errors point at whoever called the function of this module that calls it (and not by a
-- tail call, which has no level).
local function op(name, ...)
  local ok, result = pcall(core.ops["linalg_" .. name].call, ...)
  if ok then return result end
  error(type(result) == "string" and result:gsub("^linalg_", "linalg.") or result, 3)
end

--- Cholesky factor of symmetric positive definite matrices.
-- @tparam tensor a (…, N, N)
-- @treturn tensor L (…, N, N), lower triangular, a = L L'
-- @raise matrices that are not symmetric (to 1e-4 of their largest entry) or not positive definite
-- @usage print(sv.linalg.cholesky(sv.tensor { { 4, 2 }, { 2, 3 } }))
function linalg.cholesky(a)
  return (op("cholesky", tensor("cholesky", "a", a, 2)))
end

--- Solves linear systems by LU decomposition with pivoting.
-- @tparam tensor a (…, N, N)
-- @tparam tensor b (…, N, K), or a vector (N,)
-- @treturn tensor x with a x = b, of b's shape
-- @raise singular matrices
-- @usage print(sv.linalg.solve(sv.tensor { { 4, 1 }, { 1, 3 } }, sv.tensor { { 1 }, { 2 } }))
function linalg.solve(a, b)
  local finish
  a, b, finish = system("solve", a, b)
  return finish(op("solve", a, b))
end

local triangular_options = check.declare("linalg.triangular_solve", {
  upper = { "boolean", default = false, doc = "a is upper triangular" },
  transpose = { "boolean", default = false, doc = "solves a' x = b" },
})

--- Solves triangular systems; the other triangle is not read.
-- @tparam tensor a (…, N, N)
-- @tparam tensor b (…, N, K), or a vector (N,)
-- @tparam[opt] table opts options
-- @treturn tensor x, of b's shape
-- @raise a zero on the diagonal
-- @usage print(sv.linalg.triangular_solve(sv.tensor { { 2, 0 }, { 1, 4 } }, sv.tensor { 2, 9 }))
function linalg.triangular_solve(a, b, opts)
  opts = check.options("linalg.triangular_solve", opts, triangular_options)
  local finish
  a, b, finish = system("triangular_solve", a, b)
  return finish(op("triangular_solve", a, b, opts.upper, opts.transpose))
end

--- Inverse matrices.
-- @tparam tensor a (…, N, N)
-- @treturn tensor (…, N, N)
-- @raise singular matrices
-- @usage print(sv.linalg.inv(sv.tensor { { 4, 2 }, { 2, 3 } }))
function linalg.inv(a)
  a = tensor("inv", "a", a, 2)
  local n = a.shape[a.ndim]
  local identity = core.zeros(n, n)
  for i = 1, n do identity:set(1, i, i) end
  return (op("solve", a, spread(identity, a)))
end

local lstsq_options = check.declare("linalg.lstsq", {
  rcond = { "number", min = 0,
    doc = "singular values below so much of the largest count as 0; default: max(M, N) times the rounding of a "
      .. "number" },
})

--- Least squares: the x of smallest norm among those that minimise |a x - b|, by singular values. Without gradient.
-- @tparam tensor a (…, M, N)
-- @tparam tensor b (…, M, K), or a vector (M,)
-- @tparam[opt] table opts options
-- @treturn tensor x (…, N, K), or (N,)
-- @treturn tensor the rank of each a (…), a number for one matrix
-- @raise unequal numbers of rows
-- @usage print(sv.linalg.lstsq(sv.tensor { { 1, 0 }, { 1, 1 }, { 1, 2 } }, sv.tensor { 1, 3, 5 }))
function linalg.lstsq(a, b, opts)
  opts = check.options("linalg.lstsq", opts, lstsq_options)
  local finish
  a, b, finish = system("lstsq", a, b)
  local both = op("lstsq", a, b, opts.rcond or -1)
  local n = a.shape[a.ndim]
  local rank = core.slice(rows(both, n + 1, n + 1), -1, 1, 1)
  return finish(rows(both, 1, n)), core.reshape(rank, batch_of(a))
end

--- QR factorisation. Without gradient.
-- @tparam tensor a (…, M, N)
-- @treturn tensor Q (…, M, K), orthonormal columns, K = min(M, N)
-- @treturn tensor R (…, K, N), upper triangular with a diagonal that is not negative; a = Q R
-- @raise a tensor of fewer than two axes
-- @usage
-- local q, r = sv.linalg.qr(sv.tensor { { 3, 1 }, { 4, 2 } })
-- print(q)
-- print(r)
function linalg.qr(a)
  a = tensor("qr", "a", a, 2)
  local m, n = a.shape[a.ndim - 1], a.shape[a.ndim]
  local both = op("qr", a)
  return rows(both, 1, m), core.transpose(rows(both, m + 1, m + n), -2, -1)
end

--- Singular value decomposition. Without gradient.
-- @tparam tensor a (…, M, N)
-- @treturn tensor U (…, M, K), K = min(M, N); the entry of largest size in each column is positive
-- @treturn tensor singular values (…, K), descending
-- @treturn tensor V transposed (…, K, N); a = U diag(s) V'
-- @raise a tensor of fewer than two axes
-- @usage
-- local u, s, vt = sv.linalg.svd(sv.tensor { { 3, 0 }, { 4, 5 } })
-- print(s)
function linalg.svd(a)
  a = tensor("svd", "a", a, 2)
  local m, n = a.shape[a.ndim - 1], a.shape[a.ndim]
  local all = op("svd", a)
  local values = batch_of(a)
  values[#values + 1] = math.min(m, n)
  return rows(all, 1, m), core.reshape(rows(all, m + 1, m + 1), values),
    core.transpose(rows(all, m + 2, m + 1 + n), -2, -1)
end

--- Eigenvalues and eigenvectors of symmetric matrices. The gradient of the vectors is not finite where eigenvalues
-- coincide.
-- @tparam tensor a (…, N, N)
-- @treturn tensor eigenvalues (…, N), ascending
-- @treturn tensor eigenvectors as columns (…, N, N); the entry of largest size in each is positive
-- @raise matrices that are not symmetric
-- @usage
-- local values, vectors = sv.linalg.eigh(sv.tensor { { 4, 1 }, { 1, 3 } })
-- print(values)
-- print(vectors)
function linalg.eigh(a)
  a = tensor("eigh", "a", a, 2)
  local n = a.shape[a.ndim]
  local both = op("eigh", a)
  local values = batch_of(a)
  values[#values + 1] = n
  return core.reshape(rows(both, 1, 1), values), core.transpose(rows(both, 2, n + 1), -2, -1)
end

--- Sign and logarithm of the size of determinants.
-- @tparam tensor a (…, N, N)
-- @treturn tensor sign (…): -1, 0 or 1
-- @treturn tensor log |det a| (…); -inf for singular matrices
-- @raise matrices that are not square
-- @usage print(sv.linalg.slogdet(sv.tensor { { 1, 2 }, { 3, 4 } }))
function linalg.slogdet(a)
  a = tensor("slogdet", "a", a, 2)
  local both, shape = op("slogdet", a), batch_of(a)
  return core.reshape(core.slice(both, -1, 2, 2):detach(), shape), core.reshape(core.slice(both, -1, 1, 1), shape)
end

--- Logarithms of determinants that are positive.
-- @tparam tensor a (…, N, N)
-- @treturn tensor (…)
-- @raise a determinant that is zero or negative
-- @usage print(sv.linalg.logdet(sv.tensor { { 4, 2 }, { 2, 3 } }))
function linalg.logdet(a)
  local sign, size = linalg.slogdet(a)
  local flat = core.reshape(sign, -1)
  for i = 1, flat.count do
    if flat:get(i) <= 0 then
      check.fail(2, "linalg.logdet: the determinant of matrix %d of the batch is %s; see linalg.slogdet", i,
        flat:get(i) == 0 and "0" or "negative")
    end
  end
  return size
end

--- Determinants.
-- @tparam tensor a (…, N, N)
-- @treturn tensor (…)
-- @raise matrices that are not square
-- @usage print(sv.linalg.det(sv.tensor { { 4, 2 }, { 2, 3 } }))
function linalg.det(a)
  local sign, size = linalg.slogdet(a)
  return sign * core.exp(size)
end

return linalg
