--- An ensemble of heads as one: the posterior is their mixture with equal weights (deep ensembles: Lakshminarayanan,
-- Pritzel and Blundell 2017; of posteriors: Hermans et al. 2022, "A Trust Crisis In Simulation-Based Inference?").
--
-- Each member has an encoder of its own, whose numbers are one part of h, and learns from the same samples by its own
-- loss; they differ in their initial weights. Where few simulations leave the posterior uncertain, their mixture is
-- broader than any of them, and closer to the true one.
local core = require "simvae.core"
local estimates = require "simvae.posterior.support.estimates"
local nn = require "simvae.nn"
local take_rows = require "simvae.util.take_rows"

local Ensemble = {}
Ensemble.__index = Ensemble

-- The numbers of member i, (N, outputs of one).
local function part(self, h, i)
  local each = self.outputs // #self.members
  return core.slice(h, 2, (i - 1) * each + 1, i * each)
end

-- f(member, its numbers) of each member.
local function of_each(self, h, f)
  local list = {}
  for i, member in ipairs(self.members) do list[i] = f(member, part(self, h, i)) end
  return list
end

local function mean(list)
  local total = list[1]
  for i = 2, #list do total = total + list[i] end
  return total / #list
end

local function build(self, rng)
  local nets = {}
  for i, head in ipairs(self.members) do
    head:build(rng)
    nets[i] = head.net
  end
  self.net = nn.layer { label = "ensemble", inner = nets, forward = function() end }
end

local function supervised(self, h, code)
  return mean(of_each(self, h, function(head, own) return head:supervised(own, code) end))
end

local function components(self, h)
  local codes, spreads, shares = {}, {}, {}
  for i, head in ipairs(self.members) do codes[i], spreads[i], shares[i] = head:components(part(self, h, i)) end
  return core.concat(codes, 2), core.concat(spreads, 2), core.concat(shares, 2) / #self.members
end

--- @tparam {table,...} heads of one kind (simvae.posterior)
-- @treturn table a head
local function new(heads)
  local first = heads[1]
  return setmetatable({ members = heads, latent = first.latent, outputs = #heads * first.outputs,
    likelihood = first.likelihood, build = first.build and build,
    components = first.components and components, supervised = first.supervised and supervised }, Ensemble)
end

-- ---- training -----------------------------------------------------------------------------

function Ensemble:loss(h, truth)
  return mean(of_each(self, h, function(head, own) return head:loss(own, truth) end))
end

function Ensemble:spread_loss(h, codes)
  return mean(of_each(self, h, function(head, own) return head:spread_loss(own, codes) end))
end

--- Each row's code is that of one member, drawn at random.
function Ensemble:draw(h, rng, noise)
  local N, codes, means, penalties = h.shape[1], {}, {}, {}
  for i, head in ipairs(self.members) do
    codes[i], means[i], penalties[i] = head:draw(part(self, h, i), rng, noise)
  end
  local index = core.zeros(N, 1)
  for n = 1, N do index:set(rng:integer(1, #self.members), n, 1) end
  local function chosen(list) return core.reshape(take_rows(core.stack(list, 2), index), codes[1].shape) end
  return chosen(codes), chosen(means), #penalties > 0 and mean(penalties) or nil
end

-- ---- the density over the cube --------------------------------------------------------------

function Ensemble:log_prob(h, u)
  local logs = of_each(self, h, function(head, own) return head:log_prob(own, u) end)
  return core.logsumexp(core.stack(logs, 3), 3) - math.log(#logs)
end

function Ensemble:class_shares(h)
  return mean(of_each(self, h, function(head, own) return head:class_shares(own) end))
end

--- Each draw is of a member chosen at random.
function Ensemble:sample(h, n, rng)
  local N, A = h.shape[1], #self.members
  local chosen, most = rng:uniform(0, A, { N, n }):totable(), {}
  for i = 1, A do most[i] = 0 end
  for _, row in ipairs(chosen) do
    local counts = {}
    for i = 1, A do counts[i] = 0 end
    for k, v in ipairs(row) do
      local i = math.min(v // 1 + 1, A)
      counts[i] = counts[i] + 1
      row[k] = { i, counts[i] }
    end
    for i = 1, A do most[i] = math.max(most[i], counts[i]) end
  end
  local draws, before, total = {}, {}, 0
  for i, head in ipairs(self.members) do
    before[i], total = total, total + most[i]
    if most[i] > 0 then draws[#draws + 1] = head:sample(part(self, h, i), most[i], rng) end
  end
  for _, row in ipairs(chosen) do
    for k, at in ipairs(row) do row[k] = before[at[1]] + at[2] end
  end
  return take_rows(#draws == 1 and draws[1] or core.concat(draws, 2), core.tensor(chosen))
end

-- ---- estimates ----------------------------------------------------------------------------

function Ensemble:typical(h)
  return self.members[1]:typical(part(self, h, 1))
end

-- The mean and standard deviation of a mixture with equal weights from those of its components, in code space
-- (lists of (N, size)).
local function moments(latent, means, stds)
  local centres, spreads = {}, {}
  for p, at in ipairs(latent.parts) do
    local m, s = {}, {}
    for i = 1, #means do
      m[i], s[i] = core.slice(means[i], 2, at.first, at.last), core.slice(stds[i], 2, at.first, at.last)
    end
    if at.kind == "circle" then
      local vectors = {}
      for i = 1, #m do vectors[i] = m[i] * core.exp(core.square(s[i]) * -0.5) end
      centres[p], spreads[p] = estimates.direction(mean(vectors))
    else
      local squares = {}
      for i = 1, #m do squares[i] = core.square(s[i]) + core.square(m[i]) end
      centres[p] = mean(m)
      spreads[p] = core.sqrt(core.relu(mean(squares) - core.square(centres[p])))
    end
  end
  if #centres == 1 then return centres[1], spreads[1] end
  return core.concat(centres, 2), core.concat(spreads, 2)
end

--- Of members with components all of these; of others the mean of the mixture, then the members' own candidates.
function Ensemble:candidates(h, n)
  local codes, spreads, firsts, widths = {}, {}, {}, {}
  local each = n and n > 1 and -(-n // #self.members) or 1
  for i, head in ipairs(self.members) do
    local some, stds = head:candidates(part(self, h, i), each)
    firsts[i], widths[i] = some[1], stds[1]
    for k = 1, #some do codes[#codes + 1], spreads[#spreads + 1] = some[k], stds[k] end
  end
  if self.components then return codes, spreads end
  local centre, width = moments(self.latent, firsts, widths)
  if not n or n == 1 then return { centre }, { width } end
  table.insert(codes, 1, centre)
  table.insert(spreads, 1, width)
  return table.move(codes, 1, n, 1, {}), table.move(spreads, 1, n, 1, {})
end

-- ---- by tensor ops alone ----------------------------------------------------------------------

--- The first uniform number of a draw chooses the member, the others are that member's.
function Ensemble:uniforms() return self.members[1]:uniforms() + 1 end

function Ensemble:transport(h, v)
  local A, total = #self.members, nil
  local number = core.clamp(core.floor(core.slice(v, 3, 1, 1) * A), 0, A - 1)
  local rest = core.slice(v, 3, 2)
  for i, u in ipairs(of_each(self, h, function(head, own) return head:transport(own, rest) end)) do
    local chosen = u * core.clamp(1 - core.abs(number - (i - 1)), 0, 1)
    total = total and total + chosen or chosen
  end
  return total
end

--- Draws from the same uniform numbers v (1, n, uniforms) for every row of h, those of each member together.
function Ensemble:draws(h, v)
  local A, groups = #self.members, {}
  for i = 1, A do groups[i] = {} end
  for _, row in ipairs(v:totable()[1]) do
    local own = groups[math.min(row[1] * A // 1 + 1, A)]
    own[#own + 1] = table.move(row, 2, #row, 1, {})
  end
  local list = {}
  for i, head in ipairs(self.members) do
    if #groups[i] > 0 then
      local own = core.tensor { groups[i] }
      list[#list + 1] = head:transport(part(self, h, i), core.expand(own, { h.shape[1], own.shape[2], own.shape[3] }))
    end
  end
  return #list == 1 and list[1] or core.concat(list, 2)
end

--- The mean and the standard deviation of the mixture of the members' estimates.
function Ensemble:estimate(h)
  local codes, spreads = {}, {}
  for i, head in ipairs(self.members) do codes[i], spreads[i] = head:estimate(part(self, h, i)) end
  local centre, width = moments(self.latent, codes, spreads)
  return estimates.settled(self.latent, centre), width
end

return { new = new }
