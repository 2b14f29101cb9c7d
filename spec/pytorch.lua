--- Values and gradients of ops against PyTorch's in double precision, as spec/fixtures/make_layers.py and
-- make_series.py have written them: of a case NAME the inputs NAME.in0 …, the output NAME.out, its gradient NAME.g and
-- the inputs' NAME.d0 ….
local assert = require "luassert"
local core = require "simvae.core"
local sv = require "simvae"

local pytorch = {}

local tolerance = core.real == "double" and 1e-10 or 2e-5

--- Asserts that a tensor is another but for rounding.
-- @tparam tensor expected
-- @tparam tensor got
-- @tparam string what it is, for the message
function pytorch.close(expected, got, what)
  assert.same(expected.shape, got.shape, what)
  local worst = sv.max(sv.abs(expected - got)):item()
  assert.is_true(worst < tolerance * (1 + sv.max(sv.abs(expected)):item()), what .. " is off by " .. worst)
end

--- The cases of a file.
-- @tparam string path of an .npz
-- @treturn table its tensors by name
-- @treturn function (name, f): asserts that f of the inputs of a case has its output and gradients
function pytorch.cases(path)
  local fixture = assert(sv.io.load_npz(path))
  return fixture, function(name, f)
    local inputs = {}
    while fixture[name .. ".in" .. #inputs] do
      inputs[#inputs + 1] = sv.parameter(fixture[name .. ".in" .. #inputs])
    end
    assert.is_true(#inputs > 0, name)
    local tape <close> = sv.tape()
    local out = f(table.unpack(inputs))
    pytorch.close(fixture[name .. ".out"], out, name .. " value")
    tape:backward(sv.sum(out * fixture[name .. ".g"]))
    for i, t in ipairs(inputs) do
      pytorch.close(fixture[name .. ".d" .. i - 1], t.grad, name .. " gradient " .. i)
    end
  end
end

return pytorch
