--- Between a simulator's parameters in units and the code that networks see.
--
-- Parameters have any unit and size; networks learn best from numbers near 1. The
-- code of a parameter is
--
--   interval   one number in [-1, 1]: linear between the bounds, or in the logarithm
--   circle     (period = …) two: cosine and sine of the phase, so that there is no seam
--   class      (levels = n) n: a one-hot vector; an encoder's probabilities are one as well
--
-- Users only ever see units.
local core = require "simvae.core"

local latent = {}
local Latent = {}
Latent.__index = Latent

--- How the parameters of a simulator are coded.
-- @tparam {table,...} params as checked by sv.simulator
-- @treturn Latent with fields size (numbers in a code) and plain (all intervals)
function latent.new(params)
  local self = { params = params, parts = {}, size = 0, plain = true }
  for i, p in ipairs(params) do
    local kind = p.levels and "class" or p.period and "circle" or "interval"
    local width = kind == "class" and p.levels or kind == "circle" and 2 or 1
    self.parts[i] = { kind = kind, first = self.size + 1, last = self.size + width, param = p }
    self.size = self.size + width
    self.plain = self.plain and kind == "interval"
  end
  return setmetatable(self, Latent)
end

local function unit_interval(p, v)
  if p.scale == "log" then return math.log(v / p.low) / math.log(p.high / p.low) end
  return (v - p.low) / (p.high - p.low)
end

local function from_unit_interval(p, u)
  if p.scale == "log" then return p.low * (p.high / p.low) ^ u end
  return p.low + u * (p.high - p.low)
end

--- Units to code.
-- @tparam tensor z (N, K)
-- @treturn tensor (N, size)
function Latent:to_code(z)
  local rows = z:totable()
  local codes = {}
  for n, row in ipairs(rows) do
    local code = {}
    for i, part in ipairs(self.parts) do
      local p, v = part.param, row[i]
      if part.kind == "interval" then
        code[part.first] = 2 * unit_interval(p, v) - 1
      elseif part.kind == "circle" then
        local phase = 2 * math.pi * (v - p.low) / p.period
        code[part.first], code[part.last] = math.cos(phase), math.sin(phase)
      else
        local class = math.floor(v + 0.5)
        for c = 1, p.levels do code[part.first + c - 1] = c == class and 1 or 0 end
      end
    end
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
      local p, a = part.param, part.first
      local d = stds and stds[n][a] or 0
      if part.kind == "interval" then
        row[i] = from_unit_interval(p, (code[a] + 1) / 2)
        spread[i] = d / 2 * (p.scale == "log" and row[i] * math.log(p.high / p.low) or p.high - p.low)
      elseif part.kind == "circle" then
        local turn = math.atan(code[a + 1], code[a]) / (2 * math.pi) % 1
        row[i] = p.low + turn * p.period
        if stds then d = math.sqrt((d * d + stds[n][a + 1] ^ 2) / 2) end
        spread[i] = d / (2 * math.pi) * p.period
      else
        local best, total, square = 1, 0, 0
        for c = 1, p.levels do
          local q = code[a + c - 1]
          if q > code[a + best - 1] then best = c end
          total, square = total + q * c, square + q * c * c
        end
        row[i] = best
        spread[i] = math.sqrt(math.max(0, square - total * total))
      end
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
  tanh = core.tanh,
  -- the value is clamped, the gradient passes: an answer at the edge can still come back
  clamp = function(r) return r + (core.clamp(r, -1, 1) - r):detach() end,
}

--- The mean of a code from an encoder's raw outputs, within the prior's support: for an
-- interval by the way of keeping it there, a point on the circle, class probabilities.
-- @tparam tensor raw (N, size)
-- @tparam ?string how "clamp" (default; straight-through gradient) or "tanh"
-- @treturn tensor (N, size)
function Latent:squash(raw, how)
  local bound = bounds[how or "clamp"]
  if self.plain then return bound(raw) end
  local pieces = {}
  for i, part in ipairs(self.parts) do
    local r = core.slice(raw, 2, part.first, part.last)
    if part.kind == "interval" then
      pieces[i] = bound(r)
    elseif part.kind == "circle" then
      pieces[i] = r / core.sqrt(core.sum(core.square(r), 2, true) + 1e-6)
    else
      pieces[i] = core.softmax(r, 2)
    end
  end
  return core.concat(pieces, 2)
end

--- Raw outputs whose squash is near a code: the code itself, of class probabilities their logarithms (at least those
-- of 0.02, so that another class can still be reached).
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

--- How far raw outputs of intervals lie outside [-1, 1]: the mean of a Huber loss, d^2 up to a
-- distance of 1 and 2 d - 1 beyond, so that one far off does not rule the gradient. Added to a
-- loss it leads an encoder back into the prior's support, where the decoder was trained.
-- @tparam tensor raw (N, size)
-- @treturn tensor one number
function Latent:overshoot(raw)
  local outside = core.relu(core.abs(raw) - 1)
  if not self.plain then
    local mask = {}
    for _, part in ipairs(self.parts) do
      for c = part.first, part.last do mask[c] = part.kind == "interval" and 1 or 0 end
    end
    outside = outside * core.tensor(mask)
  end
  local near = core.clamp(outside, 0, 1)
  return core.mean(core.square(near) + (outside - near) * 2)
end

return latent
