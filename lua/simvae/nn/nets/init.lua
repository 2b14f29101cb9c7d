--- Networks from layers: a decoder (code -> output) and an encoder (output -> the numbers of a posterior's head).
--
--     local decoder, encoder = sv.nets.mlp { code = 4, heads = 8, output = { 3, 64, 64 }, width = 32 }
--
-- A net is a file of this folder. It returns a table: `build`, the function that sv.nets.NAME is, and `width`, its
-- default width. build takes { code = inputs of the decoder, heads = outputs of the encoder, output = {C, H, W} or {n},
-- input = what the encoder takes, where that is more than the output, width =, rng =, locations = } and returns
-- decoder, encoder. locations = { count =, size = }: the first numbers of heads are `count` groups of `size` numbers
-- that a location in code space is, followed by as many that are none (simvae.posterior).
local check = require "simvae.util.check"
local names = require "simvae.util.names"

local fields = {
  code = { "integer", required = true, min = 1, doc = "inputs of the decoder" },
  heads = { "integer", required = true, min = 1, doc = "outputs of the encoder" },
  output = { "table", required = true, doc = "what the decoder returns, { channels, height, width } or { n }" },
  input = { "table", doc = "what the encoder takes, where that is more than the output; default: the output" },
  width = { "integer", min = 1, doc = "channels next to the data, or of the hidden layers; default: the net's own" },
  rng = { "rng", doc = "of the initial weights; default: see nn.with_rng" },
  locations = { "table",
    doc = "{ count =, size = }: the first numbers of heads are so many groups of so many numbers that a location in "
      .. "code space is; default: none" },
}

local function guard(name, build)
  check.declare("nets." .. name, fields)
  return function(t)
    check.options("nets." .. name, t, fields)
    if #t.output == 0 then check.fail(2, "nets.%s: output is {n} or {channels, height, width}; it is empty", name) end
    for i, n in ipairs(t.output) do check.value("nets." .. name, "output[" .. i .. "]", n, { "integer", min = 1 }) end
    return build(t)
  end
end

return names.folder("simvae.nn.nets", "sv.nets", "net", "build", guard)
