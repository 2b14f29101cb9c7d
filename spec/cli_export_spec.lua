--- simvae export: the real program.
local assert = require "luassert"
local helper = require "spec.helper"

local simvae = require "spec.fixtures.simvae"
local folder, run, output = simvae.folder, simvae.run, simvae.output
local sv = require "simvae"

local model = sv.model { simulator = require "simvae.simulators.rlc", width = 8, posterior = "gaussian", seed = 1 }
assert(model:save(folder .. "/rlc.safetensors"))

describe("simvae export", function()
  it("writes what sv.export writes", function()
    local out, code = output("export", "rlc.safetensors", "-o", "own.c", "--what", "decode,encode", "--int8",
      "--prefix", "circuit")
    assert.equal(0, code)
    assert.matches("own.c\nown.h: %d+ bytes of constants, %d+ of working memory", out)
    assert(sv.export.c(sv.load(folder .. "/rlc.safetensors"), folder .. "/own2.c", { what = { "decode", "encode" },
      int8 = true, prefix = "circuit" }))
    for _, suffix in ipairs { ".c", ".h" } do
      local own = helper.read(folder .. "/own2" .. suffix):gsub("own2", "own")
      assert.equal(own, helper.read(folder .. "/own" .. suffix))
    end
  end)

  it("finds the format by the suffix, and the name by the model", function()
    local out, code = run("export", "rlc.safetensors", "--format", "c")
    assert.equal(0, code, out)
    assert.matches("rlc_decode", helper.read(folder .. "/rlc.h"))
    out, code = run("export", "rlc.safetensors", "--format", "c")
    assert.equal(1, code)
    assert.matches("rlc.c: exists already", out)
    out, code = run("export", "rlc.safetensors", "--format", "c", "--overwrite")
    assert.equal(0, code, out)
    out, code = run("export", "rlc.safetensors", "-o", "m.onnx")
    assert.equal(0, code, out)
    assert(#helper.read(folder .. "/m.onnx") > 1000)
    out, code = run("export", "rlc.safetensors", "-o", "m.fmu", "--fmi", "2", "--compiler", "none")
    assert.equal(0, code, out)
    assert.matches("m.fmu\nm.fmu: without a binary", out)
    local bytes = helper.read(folder .. "/m.fmu") -- its first member is the description, deflated
    local crc, packed, size, name, extra = string.unpack("<I4I4I4I2I2", bytes, 15)
    local first = 31 + name + extra
    helper.write(folder .. "/m.gz", "\x1f\x8b\8\0\0\0\0\0\0\3" .. bytes:sub(first, first + packed - 1)
      .. string.pack("<I4I4", crc, size))
    assert.matches('fmiVersion="2.0"', helper.run("gzip -dc " .. folder .. "/m.gz"))
  end)

  it("says what is wrong with a command line", function()
    local function fails(expected, message, ...)
      local out, code = run("export", "rlc.safetensors", ...)
      assert.equal(expected, code, out)
      assert(out:find(message, 1, true), out)
    end
    fails(2, "give -o FILE, or --format")
    fails(2, "the file's name ends in", "-o", "m.txt")
    fails(2, "--format onnx writes files .onnx; got 'm.c'", "-o", "m.c", "--format", "onnx")
    fails(2, "--int8 is of c, not of onnx", "-o", "n.onnx", "--int8")
    fails(1, "did you mean 'decode'", "-o", "m.c", "--what", "decoed")
    fails(2, "there is no folder 'none'", "-o", "none/m.c")
  end)

  it("lists the formats' options in its help", function()
    local out = run("export", "--help")
    for _, word in ipairs { "--what", "--format", "--int8", "--flash", "--workspace", "(c) ", "(fmu) ",
      ".onnx", "--series", "decode" } do
      assert(out:find(word, 1, true), word)
    end
  end)
end)
