--- The misfit D of eqs. 3 and 4, between outputs of the simulator and of the decoder.
--
--   bce        binary cross-entropy of pixels in [0, 1]; the decoder's raw output is a logit
--   mse, l1    squared, absolute differences
--   gaussian   negative log-likelihood of a normal with one learned scale per output channel
--              (images) or per number (vectors)
--   function   D(prediction, x) -> a tensor of one number
--
-- All outputs except those of bce are standardised, so that results do not depend on their unit: each number of a
-- vector, each channel of pictures, by its mean and standard deviation under the prior, and all numbers of a vector
-- alike where they are in no order (field `alike`). The decoder's raw output is in those units.
local check = require "simvae.util.check"
local core = require "simvae.core"
local power_of_two = require "simvae.model.power_of_two"

local loss = {}
local Loss = {}
Loss.__index = Loss

local SLACK = 1e-3 -- tolerance beyond [0, 1], for interpolation and rounding of images
local NARROW = 1e-3 -- of a number's size: variances of less are taken about one of the values
local ROUNDING = 16 * 2.0 ^ -24 -- of a number in single precision: a standard deviation below is mostly that
local OUTLIER = 16                -- standard deviations: of 1024 values, at most 3 reach as far

function Loss:__tostring()
  return string.format("loss %s of outputs %s", self.name, check.shape_text(self.output))
end

loss.names = { "bce", "mse", "l1", "gaussian" }

local ops = { bce = core.bce_with_logits, mse = core.mse_loss, l1 = core.l1_loss }

--- Default by the output: bce for images, mse for vectors (`given` is false then, and a recipe may use another
-- misfit).
-- @param kind a name, a function, or nil
-- @tparam {integer,...} output the simulator's
-- @treturn Loss
function loss.new(kind, output)
  local given = kind ~= nil
  kind = kind or (#output == 3 and "bce" or "mse")
  check.value("model", "loss", kind, { "string|function", one_of = loss.names }, 4)
  local self = setmetatable({ kind = kind, given = given, output = output, own = {} }, Loss)
  self.name = type(kind) == "string" and kind or "function"
  local each = #output == 3 and { output[1], 1, 1 } or output
  if kind ~= "bce" then
    self.mean, self.std = core.buffer(core.zeros(each)), core.buffer(core.ones(each))
  end
  if kind == "gaussian" then self.own.log_std = core.parameter(core.zeros(each)) end
  return self
end

-- What is subtracted first from elements that vary little beside their size, exactly (Sterbenz 1974): their least
-- value. nil where there is none.
local function origins(low, high)
  local result, any = {}, false
  for i = 1, #low do
    local narrow = high[i] - low[i] < NARROW * math.max(math.abs(low[i]), math.abs(high[i]))
    result[i], any = narrow and low[i] or 0, any or narrow
  end
  return any and result
end

-- Where all elements are standardised alike, what is found is of all of them.
local function of_all(list, count)
  for i = 1, #list > 0 and count or 0 do list[i] = i end
  return list
end

-- The median of a list of numbers.
local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

--- Standardises by a sample of outputs. An element that never changes keeps a scale of its own size or of the other
-- elements', whichever is larger.
-- @tparam tensor x (N, …output)
-- @treturn {integer,...} elements (of an image: channels) that are constant
-- @treturn {integer,...} elements that vary by no more than the rounding of single precision
-- @treturn {integer,...} elements of vectors whose scale is that of a few outliers
function Loss:fit(x)
  if not self.mean then return {}, {}, {} end
  local scope <close> = core.scope()
  local axes = #self.output == 3 and { 1, 3, 4 } or { 1 }
  local shape, n = self.mean.shape, self.mean.count
  if self.alike then x, shape, n = core.reshape(x, x.count, 1), { 1 }, 1 end
  local function each(t) return t:reshape(n):totable() end
  local origin = origins(each(core.min(x, axes)), each(core.max(x, axes)))
  if origin then x = x - core.tensor(origin):reshape(shape) end
  local size = each(core.max(core.abs(x), axes))
  for i, v in ipairs(size) do size[i] = power_of_two(v) end
  local scaled = x / core.tensor(size):reshape(shape)
  local low, high = each(core.min(scaled, axes)), each(core.max(scaled, axes))
  local mean, variance = each(core.mean(scaled, axes)), each(core.var(scaled, axes))
  local std, known, constant, coarse, stretched = {}, {}, {}, {}, {}
  for i = 1, n do
    local centre = mean[i]
    std[i] = math.sqrt(variance[i]) * size[i]
    mean[i] = mean[i] * size[i] + (origin and origin[i] or 0)
    if low[i] == high[i] then
      constant[#constant + 1] = i
    else
      known[#known + 1] = std[i]
      if std[i] < ROUNDING * math.abs(mean[i]) then coarse[#coarse + 1] = i end
      local maximum = math.max(high[i] - centre, centre - low[i])
      if #axes == 1 and maximum > OUTLIER * math.sqrt(variance[i]) then stretched[#stretched + 1] = i end
    end
  end
  local usual = #known > 0 and median(known) or 0
  for _, i in ipairs(constant) do
    local scale = math.max(math.abs(mean[i]), usual)
    std[i] = scale > 0 and scale or 1
  end
  self.mean:copy(core.expand(core.tensor(mean):reshape(shape), self.mean.shape))
  self.std:copy(core.expand(core.tensor(std):reshape(shape), self.std.shape))
  self.fitted = true
  if self.alike then
    for _, list in ipairs { constant, coarse, stretched } do of_all(list, self.mean.count) end
  end
  return constant, coarse, stretched
end

--- Takes its mean and scale for those of a sample, if they are any but a new model's.
function Loss:restored()
  self.fitted = self.mean ~= nil
    and not (self.mean:within(0, 0) and self.std:within(1, 1))
end

-- The hint how to convert images of other ranges to [0, 1].
local function remedy(low, high)
  local by = low >= 0 and (high <= 255 and 255 or high <= 65535 and 65535)
  return (by and string.format("divide by %d, ", by) or "scale them to [0, 1], ") .. "or give loss = \"mse\""
end

--- Why outputs cannot be compared: under bce, numbers outside [0, 1].
-- @tparam tensor x (N, …output), in the simulator's units
-- @treturn ?string a sentence, nil where there is nothing
function Loss:outside(x)
  if self.kind ~= "bce" or x.count == 0 then return nil end
  if x:within(-SLACK, 1 + SLACK) then return nil end
  local low, high = core.min(x):item(), core.max(x):item()
  return string.format("loss \"bce\" takes outputs in [0, 1]; got %g to %g: %s", low, high, remedy(low, high))
end

--- Outputs in the units of the decoder's raw output.
function Loss:standardise(x)
  return self.mean and (x - self.mean) / self.std or x
end

--- The inverse of standardise.
function Loss:restore(x)
  return self.mean and x * self.std + self.mean or x
end

--- The decoder's raw output as networks see the simulator's outputs.
function Loss:as_seen(raw)
  return self:standardise(self:to_output(raw))
end

--- The decoder's raw output in the simulator's units.
function Loss:to_output(raw)
  return self.mean and raw * self.std + self.mean or core.sigmoid(raw)
end

-- Absolute errors of an image divided by its ink: the Jaccard distance of both images (Ruzicka 1958), so that a thin
-- figure counts as much as a large one. The background is the side of 0.5 of most pixels of the batch; ink is the
-- difference from it. `minimum`: ink in pixels added to the denominator, so that nearly empty images do not dominate.
local function relative_errors(picture, x, minimum)
  local n = x.shape[1]
  local total = core.reshape(picture + x, n, -1)
  if core.mean(x):item() > 0.5 then total = 2 - total end
  local apart = core.sum(core.reshape(core.abs(picture - x), n, -1), 2)
  return apart * 2 / (core.sum(total, 2) + apart + minimum)
end

local function mean_of_each(errors)
  return core.mean(core.reshape(errors, errors.shape[1], -1), 2)
end

local LEAST = 8 -- pixels of an odd side that is halved

-- Squared errors of averages over blocks of 2, 4, 8 and 16 pixels, which have a useful gradient where two images do
-- not overlap. Blocks at the end of an odd side reach beyond the image, where there is no difference.
local function coarse_errors(difference)
  local total = 0
  for _ = 1, 4 do
    local h, w = difference.shape[3], difference.shape[4]
    if h % 2 == 1 and h < LEAST or w % 2 == 1 and w < LEAST then break end
    if h % 2 + w % 2 > 0 then difference = core.pad(difference, { 0, h % 2, 0, w % 2 }) end
    difference = core.avg_pool2d(difference, 2)
    total = total + mean_of_each(core.square(difference))
  end
  return total
end

--- Misfit of each sample for training and refining an inverse: D itself; for images without a user-defined D, absolute
-- errors, whose gradient does not vanish near the optimum as those of bce and mse do, and coarse errors, which have a
-- gradient far from it.
-- @tparam tensor raw (N, …) the decoder's output
-- @tparam tensor x (N, …) the simulator's, standardised by :standardise
-- @tparam ?string errors "relative" to each image's ink (default), or "absolute"
-- @treturn tensor (N,)
function Loss:misfit(raw, x, errors)
  if #self.output ~= 3 or self.name == "function" then return self:each(raw, x) end
  local picture = self.mean and raw or self:to_output(raw)
  local fine = self.given and self:each(raw, x)
    or errors == "absolute" and mean_of_each(core.abs(picture - x)) * 5 or relative_errors(picture, x, 4)
  return fine + coarse_errors(picture - x) * 4
end

--- D[x, G] of each sample.
-- @tparam tensor raw (N, …)
-- @tparam tensor x (N, …)
-- @treturn tensor (N,)
function Loss:each(raw, x)
  local kind = self.kind
  if ops[kind] then return mean_of_each(ops[kind](raw, x, "none")) end
  if kind == "gaussian" then return mean_of_each(self:surprise(raw, x)) end
  local values = {}
  for i = 1, x.shape[1] do
    values[i] = core.reshape(self(core.slice(raw, 1, i, i), core.slice(x, 1, i, i)), 1)
  end
  return core.concat(values, 1)
end

-- Negative log-likelihood of each number under a normal distribution, constant left out.
function Loss:surprise(raw, x)
  local scale = self.own.log_std
  return core.square((raw - x) * core.exp(-scale)) * 0.5 + scale
end

--- D[x, G], a tensor of one number.
-- @tparam tensor raw the decoder's output
-- @tparam tensor x the simulator's, standardised by :standardise
function Loss:__call(raw, x)
  local kind = self.kind
  if ops[kind] then return ops[kind](raw, x) end
  if kind == "gaussian" then return core.mean(self:surprise(raw, x)) end
  local value = kind(self:to_output(raw), self.mean and x * self.std + self.mean or x)
  if getmetatable(value) ~= core.metatable or value.count ~= 1 then
    error("loss: your function must return a tensor of one number (sv.mean(…))", 0)
  end
  return value
end

return loss
