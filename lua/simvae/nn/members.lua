--- Ensembles of networks (deep ensembles: Lakshminarayanan, Pritzel and Blundell 2017): several of one architecture
-- with initial weights of their own, as one layer.
local core = require "simvae.core"
local nn = require "simvae.nn"

local members = {}

local function layer(label, list, forward)
  return nn.layer { label = string.format("%d %s", #list, label), inner = list, members = list, forward = forward }
end

-- Encoders as one: their outputs, one after the other, (N, …output) -> (N, n heads).
local function encoder(list)
  return layer("encoders", list, function(_, x)
    local outputs = {}
    for i, net in ipairs(list) do outputs[i] = net(x) end
    return core.concat(outputs, 2)
  end)
end

-- Decoders as one: the mean of their raw outputs.
local function decoder(list)
  return layer("decoders", list, function(_, code)
    local total
    for _, net in ipairs(list) do
      local y = net(code)
      total = total and total + y or y
    end
    return total / #list
  end)
end

--- The networks of a model's members as one decoder and one encoder.
-- @tparam {Layer,...} decoders
-- @tparam {Layer,...} encoders
-- @treturn Layer the mean of the decoders' raw outputs; a single one is itself
-- @treturn Layer (N, …output) -> (N, n heads): the encoders' outputs one after the other
function members.join(decoders, encoders)
  if #decoders == 1 then return decoders[1], encoders[1] end
  return decoder(decoders), encoder(encoders)
end

--- The mean of a loss over the members of a network; of any other network, the loss itself.
-- @tparam Layer net
-- @tparam function loss (member) -> a tensor of one number
-- @treturn tensor
function members.mean_loss(net, loss)
  if not net.members then return loss(net) end
  local total
  for _, member in ipairs(net.members) do
    local value = loss(member)
    total = total and total + value or value
  end
  return total / #net.members
end

return members
