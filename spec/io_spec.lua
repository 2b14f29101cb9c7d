-- Files: against what NumPy, Pillow and the safetensors package write and read, and against hostile ones.
local helper = require "spec.helper"
local core = require "simvae.core"
local files = require "simvae.io"

local fixtures = "spec/fixtures/io/"
local expected = dofile(fixtures .. "expected.lua")
local folder = helper.temporary_folder() .. "/"
local is_double = core.real == "double"

local function slurp(path)
  local f <close> = assert(io.open(path, "rb"))
  return f:read "a"
end

local function spill(name, bytes)
  local f <close> = assert(io.open(folder .. name, "wb"))
  f:write(bytes)
  return folder .. name
end

--- Are shape and numbers those of a fixture, within rounding?
local function same(want, t)
  assert.same(want.shape, t.shape, want.name)
  for i, v in ipairs(want.numbers) do
    local got = t:reshape(-1)[i]
    local close = got == v or math.abs(got - v) <= 1e-6 * math.max(math.abs(v), 1e-3) or (v ~= v and got ~= got)
    if not close then error(string.format("%s: number %d is %s, not %s", want.name, i, got, v)) end
  end
end

local function random(...)
  if select("#", ...) == 0 then return core.tensor(0.625) end
  return core.rng(3):uniform { ... }
end

local function equal(a, b)
  assert.same(a.shape, b.shape)
  assert.same(a:totable(), b:totable())
end

--- Runs a Python script that prints; skips where a module is missing.
local function python(modules, code)
  local program, why = helper.python(table.unpack(modules))
  if not program then return pending(why) end
  return (helper.run(program .. " -c " .. helper.quote(code)))
end

--- Fails as an unreadable file should: nil and a message with the path and these words.
local function refused(words, path, value, message)
  assert(value == nil, path .. " was read")
  assert(message:find(path, 1, true), message)
  assert(message:find(words), "'" .. words .. "' not in: " .. message)
end

describe("npy", function()
  it("reads what NumPy writes", function()
    for _, want in ipairs(expected.npy) do same(want, assert(files.load_npy(fixtures .. want.name))) end
  end)

  it("names what it does not read", function()
    for name, words in pairs { object = "object array", text = "text", complex = "complex", record = "records",
      date = "dates" } do
      local path = fixtures .. "refused_" .. name .. ".npy"
      refused(words, path, files.load_npy(path))
    end
  end)

  it("gives back what it was given", function()
    for _, shape in ipairs { {}, { 1 }, { 7 }, { 3, 4 }, { 2, 3, 4, 5 }, { 0, 2 }, { 70, 129 } } do
      local t = random(table.unpack(shape))
      assert(files.save_npy(folder .. "a.npy", t))
      equal(t, assert(files.load_npy(folder .. "a.npy")))
    end
  end)

  it("is read by NumPy", function()
    assert(files.save_npy(folder .. "b.npy", core.arange(0, 11):reshape(3, 4)))
    assert(files.save_npz(folder .. "b.npz", { x = core.arange(3), ["é"] = core.full(2.5, 2, 2) }))
    local out = python({ "numpy" }, ([[
import numpy as np, zipfile
a = np.load("DIR/b.npy", allow_pickle=False)
assert a.dtype == np.dtype("REAL") and (a == np.arange(12).reshape(3, 4)).all()
assert zipfile.ZipFile("DIR/b.npz").testzip() is None
z = np.load("DIR/b.npz", allow_pickle=False)
assert sorted(z.files) == ["x", "é"] and (z["x"] == [1, 2, 3]).all()
assert (z["é"] == 2.5).all() and z["é"].shape == (2, 2)
print("read")]]):gsub("DIR/", folder):gsub("REAL", is_double and "<f8" or "<f4"))
    if out then assert.equal("read\n", out) end
  end)

  it("takes the values of channels-last images in order and leaves their layout", function()
    local x = random(2, 3, 4, 4)
    local y = core.conv2d and core.conv2d(x, random(5, 3, 3, 3), nil, { padding = 1 }) or x
    local before = y:totable()
    assert(files.save_npy(folder .. "c.npy", y))
    assert.same(before, assert(files.load_npy(folder .. "c.npy")):totable())
    assert.same(before, y:totable())
  end)

  it("refuses damaged files", function()
    local good = slurp(fixtures .. "little_f4_C.npy")
    local made = 0
    local function header(text, version)
      made = made + 1
      local bytes = "\x93NUMPY" .. (version or "\1\0") .. string.pack("<s2", text) .. ("\0"):rep(64)
      return spill("header_" .. made .. ".npy", bytes)
    end
    local function dictionary(descr, order, shape)
      return header(string.format("{'descr': %s, 'fortran_order': %s, 'shape': %s, }\n", descr, order, shape))
    end
    local cases = {
      { "ends early", spill("1.npy", "") },
      { "not a .npy file", spill("2.npy", "PNG\1\2\3\4\5\6\7\8\9") },
      { "truncated", spill("3.npy", good:sub(1, -2)) },
      { "ends early", spill("4.npy", good:sub(1, 40)) },
      { "version 9", header("{}", "\9\0") },
      { "no type", header "{}" },
      { "not valid", header "{'descr': [<f4', 'fortran_order': False, 'shape': (1,)}" },
      { "not valid", header "{'descr': __import__('os')}" },
      { "not valid", header "[1]" },
      { "more than any memory", dictionary("'<f4'", "False", "(4294967296, 4294967296, 4294967296)") },
      { "more than any memory", dictionary("'<f4'", "False", "(99999999999999999999,)") },
      { "9 axes", dictionary("'<f4'", "False", "(1, 1, 1, 1, 1, 1, 1, 1, 1)") },
      { "shape", dictionary("'<f4'", "False", "(-1,)") },
      { "fortran_order", dictionary("'<f4'", "1", "(1,)") },
      { "twice", header "{'shape': (1,), 'shape': (2,), 'descr': '<f4', 'fortran_order': False}" },
      { "type <f3", dictionary("'<f3'", "False", "(1,)") },
    }
    for _, case in ipairs(cases) do
      local words, path = table.unpack(case)
      refused(words, path, files.load_npy(path))
    end
    refused("No such file", folder .. "none.npy", files.load_npy(folder .. "none.npy"))
    refused("directory", folder, files.load_npy(folder))
    refused("zero byte", "a\0b", files.load_npy "a\0b")
    refused("not a regular file", "/dev/null", files.load_npy "/dev/null")
  end)

  it("opens arrays to read rows", function()
    local t = random(50, 3, 2)
    assert(files.save_npy(folder .. "rows.npy", t))
    local a <close> = assert(files.open_npy(folder .. "rows.npy"))
    assert.same({ 50, 3, 2 }, a.shape)
    assert.equal(is_double and "<f8" or "<f4", a.dtype)
    assert.equal(50, #a)
    equal(core.slice and t:slice(1, 11, 20) or t, core.slice and a:rows(11, 20) or a:rows(1, 50))
    local taken = a:take { 50, 1, 7, 7 }
    for i, row in ipairs { 50, 1, 7, 7 } do equal(t[row], taken[i]) end
    assert.error_matches(function() a:rows(0, 3) end, "from must be from 1 to 50, the rows of .*; got 0")
    assert.error_matches(function() a:rows(3, 51) end, "to must be from 1 to 50")
    assert.error_matches(function() a:rows(3, 2) end, "at least from")
    assert.error_matches(function() a:take { 1.5 } end, "whole number")
    for _, want in ipairs(expected.npy) do
      if want.name:find "big.*_C" then
        local b <close> = assert(files.open_npy(fixtures .. want.name))
        same(want, b:rows(1, 3))
        equal(b:rows(2), b:take { 2 })
      end
    end
    local path = fixtures .. "cube_F.npy"
    refused("Fortran", path, files.open_npy(path))
  end)

  it("reports a file that shrinks while it is open", function()
    local path = folder .. "shrinks.npy"
    assert(files.save_npy(path, random(50, 100)))
    local a <close> = assert(files.open_npy(path))
    io.open(path, "wb"):close()
    refused("ends early", path, a:rows(1, 50))
    refused("ends early", path, a:take { 3 })
  end)
end)

describe("npz", function()
  it("reads what NumPy writes, and skips pickles", function()
    for _, name in ipairs { "stored", "deflated", "pickled" } do
      local tensors, skipped = assert(files.load_npz(fixtures .. name .. ".npz"))
      for _, want in ipairs(expected.npz) do same(want, tensors[want.name]) end
      assert.equal(name == "pickled", skipped.metadata ~= nil)
      assert.is_nil(tensors.metadata)
    end
    local one = assert(files.load_npz(fixtures .. "stored.npz", { names = { "latents" } }))
    assert.is_nil(one.images)
    same(expected.npz[1], one.latents)
    local path = fixtures .. "pickled.npz"
    refused("pickled", path, files.load_npz(path, { names = { "metadata" } }))
    refused("there is none", path, files.load_npz(path, { names = { "latent" } }))
  end)

  it("gives back what it was given, in equal bytes", function()
    local t = { b = random(3, 4), a = random(5), ["with space"] = random() }
    assert(files.save_npz(folder .. "a.npz", t))
    local back = assert(files.load_npz(folder .. "a.npz"))
    for name in pairs(t) do equal(t[name], back[name]) end
    assert(files.save_npz(folder .. "b.npz", { ["with space"] = t["with space"], a = t.a, b = t.b }))
    assert.equal(slurp(folder .. "a.npz"), slurp(folder .. "b.npz"))
    assert(files.save_npz(folder .. "none.npz", {}))
    assert.same({}, assert(files.load_npz(folder .. "none.npz")))
  end)

  it("refuses bombs and lies", function()
    refused("limit", fixtures .. "bomb.npz", files.load_npz(fixtures .. "bomb.npz", { max_bytes = 1000000 }))
    refused("declares 172 bytes", fixtures .. "mismatch.npz", files.load_npz(fixtures .. "mismatch.npz"))
    local good = slurp(fixtures .. "deflated.npz")
    local directory = good:find("PK\1\2", 1, true)
    local function with(at, bytes)
      return spill("lie.npz", good:sub(1, at - 1) .. bytes .. good:sub(at + #bytes))
    end
    local stored_at = string.unpack("<I4", good, directory + 42)
    local cases = {
      { "cannot give", 24, string.pack("<I4", 0x7FFFFFFF) },
      { "takes", 24, string.pack("<I4", 300) },
      { "zip directory", 20, string.pack("<I4", 0x7FFFFFF0) },
      { "checksum", 16, "\1\2\3\4" },
      { "method 12", 10, "\12\0" },
      { "encrypted", 8, "\1\0" },
      { "not where", 42, string.pack("<I4", stored_at + 1) },
      { "directory", 28, "\255\255" },
    }
    for _, case in ipairs(cases) do
      local words, offset, bytes = table.unpack(case)
      local path = with(directory + offset, bytes)
      refused(words, path, files.load_npz(path))
    end
    local second = good:find("PK\1\2", directory + 4, true)
    local path = with(second + 42, good:sub(directory + 42, directory + 45))
    refused("overlaps", path, files.load_npz(path))
    for _, bytes in ipairs { "", "PK\5\6", good:sub(1, -2), good:sub(1, 200), good:sub(100) } do
      path = spill("cut.npz", bytes)
      local t, message = files.load_npz(path)
      assert(t == nil and message:find(path, 1, true))
    end
  end)
end)

describe("safetensors", function()
  local function make(header, data)
    return spill("made.safetensors", string.pack("<s8", header) .. (data or ""))
  end

  it("reads what the Python package writes", function()
    local tensors, metadata = assert(files.load_safetensors(fixtures .. "all.safetensors"))
    for _, want in ipairs(expected.safetensors) do same(want, tensors[want.name]) end
    assert.same({ format = "np", note = 'quotes " and \\ and é 😀' }, metadata)
  end)

  it("reads bfloat16, the upper halves of floats", function()
    local path = make('{"a":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]}}', "\x80\x3f\x20\xc0\x80\x7f")
    assert.same({ 1, -2.5, math.huge }, assert(files.load_safetensors(path)).a:totable())
  end)

  it("gives back what it was given, in equal bytes", function()
    local t = { ["b.weight"] = random(3, 4), a = random(2, 3, 4, 5), scalar = random(), ["quote\" \\ é\n"] = random(1),
      none = core.zeros(0, 3) }
    local metadata = { config = '{"width": 32, "note": "é \\u0000"}', ["new\nline"] = "\1\t" }
    assert(files.save_safetensors(folder .. "a.safetensors", t, { metadata = metadata }))
    local back, again = assert(files.load_safetensors(folder .. "a.safetensors"))
    for name in pairs(t) do equal(t[name], back[name]) end
    for name in pairs(back) do assert.is_not_nil(t[name]) end
    assert.same(metadata, again)
    assert(files.save_safetensors(folder .. "b.safetensors", back, { metadata = again }))
    local bytes = slurp(folder .. "a.safetensors")
    assert.equal(bytes, slurp(folder .. "b.safetensors"))
    assert.equal(0, string.unpack("<I8", bytes) % 8)
    assert(files.save_safetensors(folder .. "none.safetensors", {}))
    assert.same({}, assert(files.load_safetensors(folder .. "none.safetensors")))
  end)

  it("is read by the Python package", function()
    local t = { z = core.arange(6):reshape(2, 3), a = core.full(0.5, 3), scalar = core.full(7) }
    assert(files.save_safetensors(folder .. "c.safetensors", t, { metadata = { k = 'v "é"' } }))
    local out = python({ "safetensors", "numpy" }, ([=[
from safetensors import safe_open
with safe_open("DIR/c.safetensors", "np") as f:
    assert f.metadata() == {"k": 'v "é"'}
    assert sorted(f.keys()) == ["a", "scalar", "z"]
    assert f.get_tensor("z").tolist() == [[1, 2, 3], [4, 5, 6]] and f.get_tensor("a").tolist() == [0.5] * 3
    assert f.get_tensor("scalar").shape == () and f.get_tensor("scalar") == 7
print("read")]=]):gsub("DIR/", folder))
    if out then assert.equal("read\n", out) end
  end)

  it("refuses hostile files", function()
    local function entry(dtype, shape, offsets)
      return string.format('{"dtype":"%s","shape":[%s],"data_offsets":[%s]}', dtype, shape, offsets)
    end
    local one = entry("F32", "2", "0,8")
    local cases = {
      { "too few", raw = "1234567" },
      { "100000001 bytes is declared, over", raw = string.pack("<I8", 100000001) .. "{}" },
      { "2%^63 or more", raw = ("\255"):rep(8) .. "{}" },
      { "over the limit", raw = string.pack("<d", 0 / 0) .. "{}" },
      { "header of 99 bytes is declared, but", raw = string.pack("<I8", 99) .. "{}" },
      { "truncated", '{"a":' .. one .. "}", "1234567" },
      { "belong to no tensor", '{"a":' .. one .. "}", "123456789" },
      { "belong to no tensor", '{"a":' .. entry("F32", "1", "4,8") .. "}", "12345678" },
      { "overlap", '{"a":' .. one .. ',"b":' .. entry("F32", "2", "4,12") .. "}", "123456781234" },
      { "do not hold", '{"a":' .. entry("F32", "2", "8,0") .. "}", "12345678" },
      { "whole number", '{"a":' .. entry("F32", "2", "-8,0") .. "}", "12345678" },
      { "do not hold the 16 bytes", '{"a":' .. entry("F64", "2", "0,8") .. "}", "12345678" },
      { "type F8_E4M3", '{"a":' .. entry("F8_E4M3", "8", "0,8") .. "}", "12345678" },
      { "more than any memory", '{"a":' .. entry("F32", "4294967296,4294967296,2", "0,8") .. "}", "12345678" },
      { "more than any file", '{"a":' .. entry("F32", "18446744073709551617", "0,8") .. "}", "12345678" },
      { "9 axes", '{"a":' .. entry("F32", "1,1,1,1,1,1,1,1,2", "0,8") .. "}", "12345678" },
      { "whole number", '{"a":' .. entry("F32", "2.0", "0,8") .. "}", "12345678" },
      { "whole number", '{"a":' .. entry("F32", "NaN", "0,8") .. "}", "12345678" },
      { "holds 3 numbers", '{"a":' .. entry("F32", "2", "0,8,8") .. "}", "12345678" },
      { "twice", '{"a":' .. one .. ',"a":' .. one .. "}", "12345678" },
      { "twice", '{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', "12345678" },
      { "data_offsets is missing", '{"a":{"dtype":"F32","shape":[2]}}', "12345678" },
      { "unknown field 'name'", '{"a":{"name":"F32"}}' },
      { "not valid", "" },
      { "not valid", "[]" },
      { "not valid", '{"a":' },
      { "not valid", '{"a"' },
      { "not valid", '{"a' },
      { "not valid", '{"a\\' },
      { "not valid", '{"a\\ud800":1}' },
      { "not valid", '{"\\x41":1}' },
      { "not UTF%-8", '{"\255":' .. one .. "}", "12345678" },
      { "not valid", '{} {}' },
      { "not valid", '{"__metadata__":{"a":1}}' },
      { "unknown field", ('{"a":'):rep(100000) },
      { "not valid", ("["):rep(100000) },
    }
    for _, case in ipairs(cases) do
      local path = case.raw and spill("made.safetensors", case.raw) or make(case[2], case[3])
      refused(case[1], path, files.load_safetensors(path))
    end
  end)

  it("checks what it is given", function()
    local path = folder .. "never.safetensors"
    assert.error_matches(function() files.save_safetensors(path, { 1 }) end, "names are strings")
    assert.error_matches(function() files.save_safetensors(path, { a = 1 }) end, "'a' must be a tensor")
    assert.error_matches(function() files.save_safetensors(path, {}, { metdata = {} }) end, "did you mean 'metadata'")
    assert.error_matches(function() files.save_safetensors(path, {}, { metadata = { a = 1 } }) end, "string = string")
    assert.error_matches(function() files.save_safetensors(path, { ["\255"] = core.zeros(1) }) end, "UTF%-8")
    assert.error_matches(function() files.save_safetensors(1, {}) end, "path must be a string")
    assert.is_nil(io.open(path))
  end)
end)

describe("png", function()
  it("reads what Pillow writes", function()
    for _, want in ipairs(expected.png) do same(want, assert(files.load_png(fixtures .. want.name))) end
    local t = assert(files.load_png(fixtures .. "rgba.png", { alpha = true }))
    assert.same({ 4, 5, 7 }, t.shape)
  end)

  it("gives back what it was given, to the nearest 255th", function()
    for _, shape in ipairs { { 5, 6 }, { 1, 5, 6 }, { 2, 4, 3 }, { 3, 64, 64 }, { 4, 3, 5 }, { 3, 1, 1 } } do
      local t = random(table.unpack(shape))
      assert(files.save_png(folder .. "a.png", t))
      local back = assert(files.load_png(folder .. "a.png", { alpha = true }))
      assert.same({ #shape == 3 and shape[1] or 1, shape[#shape - 1], shape[#shape] }, back.shape)
      local a, b = t:reshape(-1), back:reshape(-1)
      for i = 1, t.count do assert(math.abs(a[i] - b[i]) <= 0.5 / 255 + 1e-6) end
    end
  end)

  it("clamps, and enlarges", function()
    assert(files.save_png(folder .. "b.png", core.tensor { { -1, 0.2 }, { 7, 0 / 0 } }, { scale = 2 }))
    local levels = {}
    for i, v in ipairs(assert(files.load_png(folder .. "b.png")):reshape(-1):totable()) do
      levels[i] = math.floor(v * 255 + 0.5)
    end
    assert.same({ 0, 0, 51, 51, 0, 0, 51, 51, 255, 255, 0, 0, 255, 255, 0, 0 }, levels)
    local t = random(3, 4, 4)
    assert(files.save_png(folder .. "c.png", t))
    assert.equal(slurp(folder .. "c.png"), files.encode_png(t))
  end)

  it("writes what Pillow reads, animations too", function()
    assert(files.save_png(folder .. "d.png", core.tensor { { { 1, 0 } }, { { 0, 1 } }, { { 0, 0.2 } } }))
    local t = random(5, 3, 8, 6)
    assert(files.save_apng(folder .. "e.png", t, { delay_ms = 40, scale = 2 }))
    local list = {}
    for i = 1, 3 do list[i] = t[i] end
    assert(files.save_apng(folder .. "f.png", list))
    local out = python({ "PIL", "numpy" }, ([=[
import numpy as np
from PIL import Image
assert np.array(Image.open("DIR/d.png")).tolist() == [[[255, 0, 0], [0, 255, 51]]]
i = Image.open("DIR/e.png")
assert i.n_frames == 5 and i.size == (12, 16), (i.n_frames, i.size)
for k in range(5):
    i.seek(k)
    print(i.info["duration"], i.convert("RGB").getpixel((2, 4))[1])
assert Image.open("DIR/f.png").n_frames == 3]=]):gsub("DIR/", folder))
    if out then
      local want = {}
      for k = 1, 5 do want[k] = string.format("40.0 %d\n", math.floor(t[{ k, 2, 3, 2 }] * 255 + 0.5)) end
      assert.equal(table.concat(want), out)
    end
    local first = assert(files.load_png(folder .. "e.png"))
    assert.near(t[{ 1, 1, 1, 1 }], first[{ 1, 1, 1 }], 0.5 / 255 + 1e-6)
  end)

  it("refuses damaged files", function()
    local good = slurp(fixtures .. "rgb.png")
    local function sized(width, height)
      local header = "IHDR" .. string.pack(">I4I4", width, height) .. good:sub(25, 29)
      return good:sub(1, 12) .. header .. string.pack(">I4", core.io.crc32 { header }) .. good:sub(34)
    end
    for _, case in ipairs {
      { "ends early", "" }, { "[Nn]ot a PNG", "GIF89a" .. good }, { "ends early", good:sub(1, 60) },
      { "ends early", good:sub(1, -13) }, { "IDAT", good:sub(1, 50) .. "x" .. good:sub(52) },
      { "too short for the size", sized(32000, 32000) }, { "IHDR", sized(40000, 1) },
      { "over the limit", sized(20000, 20000) .. ("\0"):rep(400000) }, { ".", sized(0, 5) },
    } do
      local path = spill("bad.png", case[2])
      refused(case[1], path, files.load_png(path))
    end
  end)

  it("checks what it is given", function()
    local path = folder .. "never.png"
    assert.error_matches(function() files.save_png(path, core.zeros(5, 4, 4)) end,
      "save_png: an image has 1 channel.*%(5, 4, 4%)")
    assert.error_matches(function() files.save_png(path, core.zeros(4)) end, "got %(4,%)")
    assert.error_matches(function() files.save_png(path, core.zeros(0, 4)) end, "needs pixels")
    assert.error_matches(function() files.save_png(path, { 1 }) end, "takes a tensor")
    assert.error_matches(function() files.save_png(path, core.zeros(2, 2), { scale = 0 }) end, "scale must be from 1")
    assert.error_matches(function() files.save_png(path, core.zeros(2, 2), { scal = 2 }) end, "did you mean 'scale'")
    assert.error_matches(function() files.save_apng(path, {}) end, "needs a frame")
    assert.error_matches(function() files.save_apng(path, { core.zeros(2, 2), core.zeros(2, 3) }) end, "frame 2 is")
    assert.is_nil(io.open(path))
    refused("No such file", "/nowhere/a.png", files.save_png("/nowhere/a.png", core.zeros(2, 2)))
  end)
end)

describe("core.io.deflate", function()
  it("writes what gzip reads", function()
    for _, text in ipairs { "", "a", ("weights "):rep(20000), string.char(0, 255, 10, 13):rep(3) } do
      local packed = core.io.deflate(text)
      helper.write(folder .. "text.gz", "\x1f\x8b\8\0\0\0\0\0\0\3" .. packed
        .. string.pack("<I4I4", core.io.crc32 { text }, #text))
      local out, code = helper.run("gzip -dc " .. folder .. "text.gz > " .. folder .. "text")
      assert.equal(0, code, out)
      assert.equal(text, helper.read(folder .. "text"))
      assert(#packed <= #text // 100 + 16 or #text < 100)
    end
    assert.has_error(function() core.io.deflate {} end)
  end)
end)

describe("a full disk", function()
  local writers = {
    npy = "files.save_npy(path, t)", npz = "files.save_npz(path, { a = t })",
    safetensors = "files.save_safetensors(path, { a = t })", png = "files.save_png(path, t)",
  }

  it("leaves the old file intact", function()
    for name, call in pairs(writers) do
      local path = spill("old." .. name, "the old file")
      -- SIGXFSZ ignored, a write beyond the limit fails like one on a full disk
      local script = spill("writer.lua", [[
        local files, core, path = require "simvae.io", require "simvae.core", ...
        local t = core.rng(1):uniform { 200, 300 }
        print(]] .. call .. ")")
      local out = helper.run("trap '' XFSZ; ulimit -f 16; " .. helper.lua_command(script, path))
      assert(out:find("^nil\t" .. path:gsub("%p", "%%%0") .. ": File too large"), out)
      assert.equal("the old file", slurp(path))
      for _, left in ipairs(core.system.list(folder)) do assert.is_nil(left:match "%.tmp$") end
    end
  end)

  it("is reported by a device, which stays one", function()
    local device <close> = io.open("/dev/full", "wb")
    if not device then return pending "no /dev/full" end
    for _, save in ipairs { files.save_npy, files.save_png } do
      refused("No space left", "/dev/full", save("/dev/full", random(200, 300)))
    end
    assert.truthy(helper.run "test -c /dev/full && echo device":find "device")
  end)

  it("does not matter to a link's name", function()
    local path = spill("target.npy", "old")
    assert(os.execute("ln -sf " .. path .. " " .. folder .. "link.npy"))
    assert(files.save_npy(folder .. "link.npy", core.ones(3)))
    assert.same({ 1, 1, 1 }, files.load_npy(path):totable())
    assert.truthy(helper.run("test -L " .. folder .. "link.npy && echo link"):find "link")
  end)
end)

describe("damaged at random", function()
  --- Truncates or changes a few bytes.
  local function damage(rng, bytes)
    if rng:uniform() < 0.2 then return bytes:sub(1, math.floor(rng:uniform() * #bytes)) end
    for _ = 1, 1 + math.floor(rng:uniform() * 3) do
      local at = 1 + math.floor(rng:uniform() * #bytes)
      bytes = bytes:sub(1, at - 1) .. string.char(math.floor(rng:uniform() * 256)) .. bytes:sub(at + 1)
    end
    return bytes
  end

  local rounds = tonumber(os.getenv "SIMVAE_ROUNDS") or 60
  for name, load in pairs {
    ["cube_F.npy"] = files.load_npy, ["version_2.npy"] = files.load_npy, ["deflated.npz"] = files.load_npz,
    ["stored.npz"] = files.load_npz, ["all.safetensors"] = files.load_safetensors, ["rgba.png"] = files.load_png,
    ["palette_clear.png"] = files.load_png, ["grey16.png"] = files.load_png,
  } do
    it("is read or refused: " .. name, function()
      local good, rng = slurp(fixtures .. name), core.rng(11)
      local refusals = 0
      for _ = 1, rounds do
        local path = spill("fuzz", damage(rng, good))
        local ok, value, message = pcall(load, path)
        assert(ok, value)
        if value == nil then
          refusals = refusals + 1
          assert(message:find(path, 1, true), message)
        end
      end
      assert(refusals > rounds / 10)
    end)
  end
end)
