--- Optimizers, clipping and schedules.
--
--     local adam = optim.adam(net:parameters(), { lr = optim.cosine(1e-3, 4000, { warmup = 100 }) })
--     for _ = 1, 4000 do
--       local tape <close> = sv.tape()
--       tape:backward(loss())
--       optim.clip_grad_norm(net:parameters(), 1)
--       local lr = adam:step()
--     end
local core = require "simvae.core"
local check = require "simvae.util.check"
local names = require "simvae.util.names"

local optim = {}

-- ---- parameters ------------------------------------------------------------------------------

local function is_tensor(v)
  return getmetatable(v) == core.metatable
end

-- {tensor, …}, {{name=, tensor=}, …} or {name = tensor} -> {{name=, tensor=}, …}, in a fixed order.
local function named(what, params)
  if type(params) ~= "table" or is_tensor(params) then
    check.fail(3, "%s: params must be a list or a named map of tensors; got %s", what, check.describe(params))
  end
  local result, seen = {}, {}
  for key, v in pairs(params) do
    local name, tensor = tostring(key), v
    if type(v) == "table" and not is_tensor(v) then name, tensor = v.name or name, v.tensor end
    if not is_tensor(tensor) then
      check.fail(3, "%s: parameter %s must be a tensor; got %s", what, name, check.describe(tensor))
    end
    if seen[name] then check.fail(3, "%s: two parameters are called %s", what, name) end
    seen[name] = true
    result[#result + 1] = { name = name, tensor = tensor, order = math.type(key) == "integer" and key }
  end
  table.sort(result, function(a, b)
    if a.order and b.order then return a.order < b.order end
    if a.order or b.order then return a.order and true or false end
    return a.name < b.name
  end)
  return result
end

local function tensors(what, params)
  if type(params) == "table" and core.optim.is_list(params) then return params end
  local list = {}
  for i, p in ipairs(named(what, params)) do list[i] = p.tensor end
  return list
end

-- ---- shared by the optimizers ---------------------------------------------------------------------

local Optimizer = {}
Optimizer.__index = Optimizer

local function check_lr(what, lr, level)
  if type(lr) ~= "number" or lr ~= lr or lr < 0 or lr == math.huge then
    check.fail(level + 1, "%s: lr must be a finite number >= 0; got %s", what, check.describe(lr))
  end
  return lr
end

local function new(kind, params, o, buffers, update)
  local self = setmetatable({ kind = kind, options = o, params = named(kind, params), count = 0,
    buffers = buffers, update = update }, Optimizer)
  if type(o.lr) == "number" then check_lr(kind, o.lr, 3) end
  for _, p in ipairs(self.params) do
    p.steps = 0
    for _, name in ipairs(buffers) do p[name] = core.buffer(core.zeros(p.tensor.shape)) end
  end
  return self
end

local step_options = check.declare("optimizer:step", {
  keep_grad = { "boolean", default = false, doc = "keeps the gradients; the next backward adds to them" },
})

--- One step of every parameter that has a gradient; the gradients are then discarded.
-- @tparam[opt] number lr overrides the optimizer's
-- @tparam[opt] table o options
-- @treturn number the learning rate used
-- @raise parameters of which none has a gradient: backward was not run, or the loss does not depend on them
-- @usage
-- local w = sv.parameter { 3 }
-- local adam = sv.optim.adam({ w }, { lr = 0.1 })
-- for _ = 1, 100 do
--   local tape <close> = sv.tape()
--   tape:backward(sv.sum(w * w))
--   adam:step()
-- end
-- print(w)
function Optimizer:step(lr, o)
  if o ~= nil then o = check.options("step", o, step_options) end
  local stepped = self.count + 1
  if lr == nil then
    lr = self.options.lr
    if type(lr) == "function" then lr = lr(stepped) end
  end
  check_lr(self.kind, lr, 2)
  if self:update(lr) == 0 and #self.params > 0 then
    check.fail(2, "%s: step: no parameter has a gradient; run tape:backward(loss) first, on a loss made from them",
      self.kind)
  end
  self.count = stepped
  if not (o and o.keep_grad) then self:zero_grad() end
  return lr
end

--- Discards the gradients: the next backward overwrites instead of adding.
-- @usage
-- local adam = sv.optim.adam { sv.parameter { 3 } }
-- adam:zero_grad()
function Optimizer:zero_grad()
  for _, p in ipairs(self.params) do p.tensor:zero_grad() end
end

--- Forgets the moments of the gradients, as before the first step, where what is minimised changes. The number of
-- steps, and with it the learning rate, goes on.
-- @usage sv.optim.adam({ sv.parameter { 3 } }):restart()
function Optimizer:restart()
  for _, p in ipairs(self.params) do
    p.steps = 0
    for _, name in ipairs(self.buffers) do p[name]:fill(0) end
  end
end

--- State for a checkpoint: the number of steps, the buffers (shared, not copied), the steps of each parameter.
-- @treturn {[string]=tensor|number} "step", "steps", "m.NAME", …
-- @usage print(sv.optim.adam({ sv.parameter { 1, 2 } }):state().step)
function Optimizer:state()
  local map, steps = { step = self.count }, {}
  for i, p in ipairs(self.params) do
    steps[i] = p.steps
    for _, name in ipairs(self.buffers) do map[name .. "." .. p.name] = p[name] end
  end
  map.steps = core.buffer(core.tensor(steps))
  return map
end

--- Restores a state() of an optimizer of the same kind and parameters. Raises for another one, without changes.
-- @tparam {[string]=tensor|number} map what state() returned
-- @raise the state of another kind or of other parameters; nothing is changed then
-- @usage
-- local w = sv.parameter { 1, 2 }
-- local a, b = sv.optim.adam({ w }), sv.optim.adam({ w })
-- b:load_state(a:state())
function Optimizer:load_state(map)
  if type(map) ~= "table" then check.fail(2, "load_state: takes a table; got %s", check.describe(map)) end
  local known = { step = true, steps = true }
  if type(map.step) ~= "number" then check.fail(2, "%s: load_state: 'step' is missing", self.kind) end
  if not is_tensor(map.steps) or map.steps.count ~= #self.params then
    check.fail(2, "%s: load_state: 'steps' must be a tensor of %d numbers, one for each parameter", self.kind,
      #self.params)
  end
  for _, p in ipairs(self.params) do
    for _, buffer in ipairs(self.buffers) do
      local name = buffer .. "." .. p.name
      known[name] = true
      local from, to = map[name], p[buffer]
      if not is_tensor(from) then check.fail(2, "%s: load_state: '%s' is missing", self.kind, name) end
      if table.concat(from.shape, ",") ~= table.concat(to.shape, ",") then
        check.fail(2, "%s: load_state: '%s' has shape (%s), the parameter (%s)", self.kind, name,
          table.concat(from.shape, ", "), table.concat(to.shape, ", "))
      end
    end
  end
  for name in pairs(map) do
    if not known[name] then
      check.fail(2, "%s: load_state: '%s' belongs to no parameter; is it another optimizer's?", self.kind,
        tostring(name))
    end
  end
  self.count = math.tointeger(map.step) or map.step
  local steps = map.steps:reshape(-1):totable()
  for i, p in ipairs(self.params) do
    p.steps = math.tointeger(steps[i]) or steps[i]
    for _, buffer in ipairs(self.buffers) do p[buffer]:copy(map[buffer .. "." .. p.name]) end
  end
end

function Optimizer:__tostring()
  local lr = self.options.lr
  return string.format("%s: %d parameters, %d steps, lr %s", self.kind, #self.params, self.count,
    type(lr) == "number" and string.format("%g", lr) or "by the step")
end

names.class(Optimizer, "optimizer", {
  { "kind", "string", "\"adam\", \"adamw\" or \"sgd\"" },
  { "count", "integer", "steps so far" },
  "options", "params", "buffers", "update" })

-- ---- optimizers ----------------------------------------------------------------------------------

local lr_rule = { "number|function", default = 1e-3, doc = "learning rate, or a function of the step, from 1" }
local decay_rule = { "number", default = 0, min = 0, doc = "weight decay, added to the gradient" }
local adam_options = check.declare("optim.adam", {
  lr = lr_rule,
  beta1 = { "number", default = 0.9, min = 0, max = 1, doc = "of the mean of gradients, below 1" },
  beta2 = { "number", default = 0.999, min = 0, max = 1, doc = "of the mean of their squares, below 1" },
  eps = { "number", default = 1e-8, min = 0, doc = "added to the root of the latter" },
  weight_decay = decay_rule,
})
local adamw_options = check.declare("optim.adamw", {
  weight_decay = { "number", default = 0.01, min = 0, doc = "parameters shrink by lr * weight_decay a step" },
})
for name, rule in pairs(adam_options) do adamw_options[name] = adamw_options[name] or rule end

local function make_adam(kind, params, given, known, decoupled)
  local o = check.options(kind, given, known)
  for _, name in ipairs { "beta1", "beta2" } do
    if o[name] == 1 then check.fail(3, "%s: %s must be below 1", kind, name) end
  end
  return new(kind, params, o, { "m", "v" }, function(self, lr)
    return core.optim.adam(self.params, lr, o.beta1, o.beta2, o.eps, o.weight_decay, decoupled)
  end)
end

--- Adam (Kingma and Ba 2015).
-- @tparam table params a list of tensors, a list of {name=, tensor=}, or a map {name = tensor}
-- @tparam[opt] table o options
-- @treturn Optimizer
-- @raise parameters that do not require a gradient, unknown options
-- @usage
-- local net = sv.nn.linear(2, 1)
-- local adam = sv.optim.adam(net:parameters(), { lr = 1e-2 })
-- do
--   local tape <close> = sv.tape()
--   tape:backward(sv.mse_loss(net(sv.ones(4, 2)), sv.zeros(4, 1)))
--   adam:step()
-- end
-- print(adam)
function optim.adam(params, o)
  return make_adam("adam", params, o, adam_options, false)
end

--- AdamW (Loshchilov and Hutter 2019): weight_decay (0.01) shrinks the parameters by lr * weight_decay a step,
-- separately from the gradient; otherwise as adam.
-- @tparam table params as for adam
-- @tparam ?table o options
-- @treturn Optimizer
-- @raise parameters that do not require a gradient, unknown options
-- @usage print(sv.optim.adamw(sv.nn.linear(2, 1):parameters(), { lr = 1e-3, weight_decay = 0.1 }))
function optim.adamw(params, o)
  return make_adam("adamw", params, o, adamw_options, true)
end

local sgd_options = check.declare("optim.sgd", {
  lr = lr_rule,
  momentum = { "number", default = 0, min = 0, doc = "share of the last step that is added to each" },
  nesterov = { "boolean", default = false, doc = "looks ahead (Nesterov); needs momentum" },
  weight_decay = decay_rule,
})

--- Stochastic gradient descent.
-- @tparam table params as for adam
-- @tparam[opt] table o options
-- @treturn Optimizer
-- @raise parameters that do not require a gradient, nesterov without momentum, unknown options
-- @usage print(sv.optim.sgd(sv.nn.linear(2, 1):parameters(), { lr = 0.1, momentum = 0.9 }))
function optim.sgd(params, o)
  o = check.options("sgd", o, sgd_options)
  if o.nesterov and o.momentum == 0 then check.fail(2, "sgd: nesterov needs momentum > 0") end
  return new("sgd", params, o, o.momentum > 0 and { "momentum" } or {}, function(self, lr)
    return core.optim.sgd(self.params, lr, o.momentum, o.nesterov, o.weight_decay)
  end)
end

--- Scales all gradients by one factor so that their global norm is at most max.
-- Gradients whose norm is not finite are unchanged.
-- @tparam table params as for adam
-- @tparam number max
-- @treturn number the norm before
-- @treturn boolean whether it is finite
-- @raise max that is not above 0
-- @usage
-- local w = sv.parameter { 3, 4 }
-- local tape <close> = sv.tape()
-- tape:backward(sv.sum(w * w))
-- print(sv.optim.clip_grad_norm({ w }, 1), w.grad)
function optim.clip_grad_norm(params, max)
  if type(max) ~= "number" or max ~= max or max <= 0 then
    check.fail(2, "clip_grad_norm: max must be a number > 0; got %s", check.describe(max))
  end
  local list = tensors("clip_grad_norm", params)
  local norm = core.optim.grad_norm(list)
  local finite = norm == norm and norm < math.huge
  if finite and norm > max then core.optim.scale_grads(list, max / norm) end
  return norm, finite
end

-- ---- schedules: functions of the step, from 1 -------------------------------------------------------

local function check_steps(what, name, n)
  if type(n) ~= "number" or n ~= n or n < 1 then
    check.fail(3, "%s: %s must be a number >= 1; got %s", what, name, check.describe(n))
  end
end

--- A constant learning rate.
-- @tparam number lr
-- @treturn function
-- @raise an invalid learning rate
-- @usage print(sv.optim.constant(1e-3)(500))
function optim.constant(lr)
  check_lr("constant", lr, 2)
  return function() return lr end
end

--- lr, times factor after every `every` steps.
-- @tparam number lr
-- @tparam integer every steps
-- @tparam number factor
-- @treturn function
-- @raise values that are not numbers
-- @usage
-- local lr = sv.optim.step_decay(1e-3, 100, 0.5)
-- print(lr(1), lr(101))
function optim.step_decay(lr, every, factor)
  check_lr("step_decay", lr, 2)
  check_steps("step_decay", "every", every)
  if type(factor) ~= "number" then
    check.fail(2, "step_decay: factor must be a number; got %s", check.describe(factor))
  end
  return function(step) return lr * factor ^ ((step - 1) // every) end
end

local cosine_options = check.declare("optim.cosine", {
  final = { "number", default = 0, min = 0, doc = "learning rate at the last step" },
  warmup = { "integer", default = 0, min = 0, doc = "steps of the linear rise" },
})

--- Half a cosine from lr down to final (Loshchilov and Hutter 2017), reached at the last step, after a linear warm-up.
-- @tparam number lr
-- @tparam integer steps in all, including the warm-up
-- @tparam[opt] table o options
-- @treturn function
-- @raise an invalid learning rate, unknown options
-- @usage
-- local lr = sv.optim.cosine(1e-3, 1000, { warmup = 100 })
-- print(lr(1), lr(100), lr(1000))
function optim.cosine(lr, steps, o)
  check_lr("cosine", lr, 2)
  check_steps("cosine", "steps", steps)
  o = check.options("cosine", o, cosine_options)
  local rise = o.warmup
  return function(step)
    if step <= rise then return lr * step / rise end
    local share = math.min(1, (step - rise - 1) / math.max(1, steps - rise - 1))
    return o.final + (lr - o.final) * 0.5 * (1 + math.cos(math.pi * share))
  end
end

--- A schedule (or number) with a linear warm-up: times a factor that rises to 1 over the first steps.
-- @tparam number|function schedule learning rate, or a function of the step
-- @tparam integer steps
-- @treturn function
-- @raise a schedule that is neither a number nor a function
-- @usage print(sv.optim.warmup(1e-3, 100)(50))
function optim.warmup(schedule, steps)
  check_steps("warmup", "steps", steps)
  if type(schedule) == "number" then schedule = optim.constant(schedule) end
  if type(schedule) ~= "function" then
    check.fail(2, "warmup: schedule must be a number or a function; got %s", check.describe(schedule))
  end
  return function(step) return schedule(step) * math.min(1, step / steps) end
end

return optim
