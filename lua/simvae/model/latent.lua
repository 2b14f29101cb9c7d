--- Conversion between a simulator's parameters in units and the code of the networks.
--
-- Parameters have any unit and size; networks train best on numbers near 1. A row's code is those of its parameters
-- (simvae.simulator.parameter: an interval, a circle, or a class) one after the other. The public interface is in
-- units.
local core = require "simvae.core"
local parameter = require "simvae.simulator.parameter"

local latent = {}
local Latent = {}
Latent.__index = Latent

--- How the parameters of a simulator are coded.
-- @tparam {table,...} params as checked by sv.simulator
-- @treturn Latent with fields size (numbers in a code), plain (all intervals of [-1, 1]), gridded (some have a grid)
-- and parts, one a parameter: kind, param, first and last (of its code), and of an interval limit, the bound of its
-- code
function latent.new(params)
  local self = { params = params, parts = {}, size = 0, plain = true, gridded = false }
  for i, p in ipairs(params) do
    local kind, width = parameter.kind(p), parameter.code_size(p)
    self.parts[i] = { kind = kind, first = self.size + 1, last = self.size + width, param = p,
      limit = kind == "interval" and parameter.code_limit(p) or nil }
    self.size = self.size + width
    self.plain = self.plain and self.parts[i].limit == 1
    self.gridded = self.gridded or p.grid ~= nil
  end
  return setmetatable(self, Latent)
end

function Latent:__tostring()
  local names = {}
  for i, p in ipairs(self.params) do names[i] = p.name end
  return string.format("code of %d numbers for %s", self.size, table.concat(names, ", "))
end

--- Units to code.
-- @tparam tensor z (N, K)
-- @treturn tensor (N, size)
function Latent:to_code(z)
  local compiled = parameter.rows(self.params)
  if compiled then return compiled:codes(z) end
  local rows = z:totable()
  local codes = {}
  for n, row in ipairs(rows) do
    local code = {}
    for i, part in ipairs(self.parts) do parameter.to_code(part.param, row[i], code, part.first) end
    codes[n] = code
  end
  if #rows == 0 then return core.zeros(0, self.size) end
  return core.tensor(codes)
end

--- Code to units. A standard deviation is carried to first order; of a log-scaled
-- parameter it is that of the logarithm, times the value.
-- @tparam tensor mean (N, size)
-- @tparam ?tensor std (N, size)
-- @treturn tensor (N, K)
-- @treturn ?tensor (N, K)
function Latent:to_units(mean, std)
  local means, stds = mean:totable(), std and std:totable()
  local z, s = {}, {}
  for n, code in ipairs(means) do
    local row, spread = {}, {}
    for i, part in ipairs(self.parts) do
      row[i], spread[i] = parameter.from_code(part.param, code, part.first, stds and stds[n])
    end
    z[n], s[n] = row, spread
  end
  if #means == 0 then
    local none = core.zeros(0, #self.parts)
    return none, stds and none
  end
  return core.tensor(z), stds and core.tensor(s)
end

local bounds = {
  tanh = function(r, limit) return limit == 1 and core.tanh(r) or core.tanh(r / limit) * limit end,
  -- the value is clamped, the gradient passes: a parameter at the edge can come back
  clamp = function(r, limit) return r + (core.clamp(r, -limit, limit) - r):detach() end,
}

--- The mean of a code from an encoder's raw outputs, within the prior's support: for an
-- interval by the way of keeping it there, a point on the circle, class probabilities.
-- @tparam tensor raw (N, size)
-- @tparam ?string how "clamp" (default; straight-through gradient) or "tanh"
-- @treturn tensor (N, size)
function Latent:squash(raw, how)
  local bound = bounds[how or "clamp"]
  if self.plain then return bound(raw, 1) end
  local pieces = {}
  for i, part in ipairs(self.parts) do
    local r = core.slice(raw, 2, part.first, part.last)
    if part.kind == "interval" then
      pieces[i] = bound(r, part.limit)
    elseif part.kind == "circle" then
      pieces[i] = r / core.sqrt(core.sum(core.square(r), 2, true) + 1e-6)
    else
      pieces[i] = core.softmax(r, 2)
    end
  end
  return core.concat(pieces, 2)
end

--- Raw outputs whose squash is near a code: the code itself, of class probabilities their logarithms (at least that
-- of 0.02, so that other classes stay reachable).
-- @tparam tensor code (N, size); it need not lie within the support
-- @treturn tensor (N, size)
function Latent:unsquash(code)
  if self.plain then return code end
  local pieces = {}
  for i, part in ipairs(self.parts) do
    local c = core.slice(code, 2, part.first, part.last)
    pieces[i] = part.kind == "class" and core.log(core.clamp(c, 0.02, 1)) or c
  end
  return core.concat(pieces, 2)
end

--- How far raw outputs of intervals lie outside their bounds: the mean of a Huber loss, d^2 up to a
-- distance of 1 and 2 d - 1 beyond, so that no outlier dominates the gradient. Added to a
-- loss it keeps an encoder within the prior's support, where the decoder was trained.
-- @tparam tensor raw (N, size)
-- @treturn tensor one number
function Latent:overshoot(raw)
  local outside
  if self.plain then
    outside = core.relu(core.abs(raw) - 1)
  else
    local mask, limit = {}, {}
    for _, part in ipairs(self.parts) do
      for c = part.first, part.last do mask[c], limit[c] = part.limit and 1 or 0, part.limit or 1 end
    end
    outside = core.relu(core.abs(raw) - core.tensor(limit)) * core.tensor(mask)
  end
  local near = core.clamp(outside, 0, 1)
  return core.mean(core.square(near) + (outside - near) * 2)
end

return latent
