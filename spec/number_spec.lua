-- Numbers written as text, and files that decompress to more than their size.
local helper = require "spec.helper"
local core = require "simvae.core"
local files = require "simvae.io"
local read = core.number.read

local folder = helper.temporary_folder() .. "/"

local function spill(name, bytes)
  local f <close> = assert(io.open(folder .. name, "wb"))
  f:write(bytes)
  return folder .. name
end

describe("core.number", function()
  it("reads decimals as Lua does, to the last bit", function()
    local rng = core.rng(5)
    for _ = 1, 300 do
      local v = (rng:uniform() - 0.5) * 10 ^ rng:integer(-300, 300)
      for _, format in ipairs { "%.17g", "%.9e", "%.3f", "%a" } do
        local text = string.format(format, v)
        if #text < 400 then assert.equal(tonumber(text), (read(text))) end
      end
    end
    for _, text in ipairs { "0", "-0", "5.", ".5", "+1", "1E5", "9007199254740993", "4.9e-324", "1e-400" } do
      assert.equal(tonumber(text) + 0.0, (read(text)))
    end
    assert.equal(1 / 0, 1 / read "0")
    assert.equal(-1 / 0, 1 / read "-0")
  end)

  it("writes floats of C with the fewest of 6 to 9 digits that read back as the same ones", function()
    local function wanted(v)
      for digits = 6, 9 do
        local text = string.format("%." .. digits .. "g", v) -- of the C library, rounded correctly
        if digits == 9 or string.pack("f", tonumber(text)) == string.pack("f", v) then
          return (text:find "[.e]" and text or text .. ".0") .. "f"
        end
      end
    end
    local rng, list = core.rng(7), {}
    local function add(v)
      v = string.unpack("f", string.pack("f", v))
      if v - v == 0 then list[#list + 1] = v end
    end
    for _ = 1, 3000 do
      add((string.unpack("f", string.pack("I4", rng:integer(0, 0xffffffff))))) -- any bits
      add((rng:uniform() - 0.5) * 10 ^ rng:integer(-6, 6))
      add(rng:integer(-2000000, 2000000) / 1000)
    end
    for e = -45, 38 do
      for _, factor in ipairs { 1, 1 - 2^-24, 1 + 2^-23, 5, 9.999999, 1.5 } do add(factor * 10.0 ^ e) end
    end
    for _, v in ipairs { 0.0, -0.0, 16777216, 123456.789, 999999.5, 1e6, 0.0001, 0.00001, 2^-149 } do add(v) end
    for _, v in ipairs(list) do assert.equal(wanted(v), core.number.float_literal(v)) end
    local text = core.number.float_lines(list, 80)
    local found = {}
    for line in text:gmatch "[^\n]+" do
      assert(#line <= 80 and line:find "^    %S", line)
      for one in line:gmatch "[^ ,]+" do found[#found + 1] = one end
    end
    for i, v in ipairs(list) do assert.equal(wanted(v), found[i]) end
    assert.equal(#list, #found)
    assert.equal("    HUGE_VALF, (-HUGE_VALF),\n    (0.0f / 0.0f)",
      core.number.float_lines({ math.huge, -math.huge, 0 / 0 }, 30))
    helper.raises("takes a list of numbers", core.number.float_lines, { 1, "a" }, 80)
  end)

  it("reads other languages' forms", function()
    for text, v in pairs {
      ["0.15D+01"] = 1.5, ["1.5d3"] = 1500, ["2q-1"] = 0.2, ["1.5+300"] = 1.5e300, ["-1.5-300"] = -1.5e-300,
      ["0x1.8p+1"] = 3, ["-0X.8P0"] = -0.5, ["\u{2212}2.5"] = -2.5, [" 12\r\n"] = 12, ["+inf"] = math.huge,
      ["-Infinity"] = -math.huge, ["-1.#INF"] = -math.huge,
    } do assert.equal(v, (read(text)), text) end
    for _, text in ipairs { "nan", "-NaN", "nan(0x7ff)", "NA", "null", "None", "1.#IND", "-1.#QNAN" } do
      local v = read(text)
      assert.is_true(v ~= v, text)
    end
  end)

  it("refuses the rest by its form", function()
    for text, words in pairs {
      ["1,5"] = "a comma", ["1.234,5"] = "a comma", ["1,234.5"] = "a comma", ["1'000"] = "thousands",
      ["1_000"] = "thousands", ["true"] = "a boolean", ["FALSE"] = "a boolean", ["1e400"] = "double precision",
      ["-1e400"] = "double precision", ["1+2j"] = "complex", ["(1.0,2.0)"] = "complex", ["****"] = "too narrow",
      [""] = "is empty", ["   "] = "is empty",
    } do
      local v, why = read(text)
      assert.is_nil(v, text)
      assert.matches(words, why, 1, true)
    end
    for _, text in ipairs { "1.5x", "x", ".", "-", "e5", "1e", "1e+", "0x", "0x1p", "--1", "1 2", "1-2", "2024-01-05",
      "1.5+30", "0b1", "1e5.5", "1\0", "Ⅳ", ("1"):rep(5000) } do
      local v, why = read(text)
      assert.is_nil(v, text)
      assert.is_string(why)
    end
  end)

  it("trims in time that grows with the text", function()
    local blanks = (" \t\r\n"):rep(500000)
    assert.equal("a  b", core.number.trim(blanks .. "a  b" .. blanks))
    assert.equal("", core.number.trim(blanks))
    assert.equal(7, (read(blanks .. "7" .. blanks)))
  end)
end)

describe("a file that holds more than it seems to", function()
  local mebibytes = 1 << 20

  -- The bytes of a run of zeros, deflated: sv.io writes pictures so.
  local picture = folder .. "large.png"
  assert(files.save_png(picture, core.zeros(4200, 4200), { scale = 2 }))

  local function refused(words, value, why)
    assert.is_nil(value)
    assert.matches(words, why, 1, true)
  end

  it("is refused by the memory that it would take, unless more is allowed", function()
    assert.is_true(select(2, core.system.kind(picture)) < mebibytes)
    refused("8400 x 8400 pixels would take", files.load_png(picture))
    refused("over the limit of 268435456; max_bytes = n allows more", files.load_png(picture))
    local small = folder .. "small.png"
    assert(files.save_png(small, core.zeros(64, 64)))
    refused("over the limit of 1000", files.load_png(small, { max_bytes = 1000 }))
    assert.same({ 1, 64, 64 }, files.load_png(small, { max_bytes = 64 * 64 * 8 }).shape)
  end)

  it("is refused before its numbers are read, whatever the format", function()
    local bytes = core.real == "double" and 8000 or 4000 -- of each array
    assert(files.save_npy(folder .. "a.npy", core.zeros(1000)))
    refused("over the limit of 999", files.load_npy(folder .. "a.npy", { max_bytes = 999 }))
    assert.same({ 1000 }, files.load_npy(folder .. "a.npy", { max_bytes = bytes }).shape)
    assert(files.save_npz(folder .. "a.npz", { a = core.zeros(1000), b = core.zeros(1000) }))
    refused("what comes before and 'b.npy' would take",
      files.load_npz(folder .. "a.npz", { max_bytes = 2 * bytes - 1 }))
    assert(files.load_npz(folder .. "a.npz", { max_bytes = 2 * bytes }))
    assert(files.save_safetensors(folder .. "a.safetensors", { a = core.zeros(1000), b = core.zeros(1000) }))
    refused("its tensors would take", files.load_safetensors(folder .. "a.safetensors", { max_bytes = 2 * bytes - 1 }))
    assert(files.load_safetensors(folder .. "a.safetensors", { max_bytes = 2 * bytes }))
  end)

  it("is judged by what its header declares: bits, palettes, interlaced rows", function()
    -- 16384 x 16384 pixels of one bit: 32 MiB of rows, which a file of 40 KB can hold
    local function chunk(name, data)
      return string.pack(">s4", data):sub(1, 4) .. name .. data .. string.pack(">I4", core.io.crc32 { name, data })
    end
    for _, kind in ipairs { { 1, 0, 0 }, { 1, 3, 0 }, { 8, 2, 1 } } do -- bits, colour type, interlaced
      local depth, colour, interlaced = table.unpack(kind)
      local header = string.pack(">I4I4BBBBB", 16384, 16384, depth, colour, 0, 0, interlaced)
      local path = spill("declared.png", "\x89PNG\r\n\x1a\n" .. chunk("IHDR", header)
        .. (colour == 3 and chunk("PLTE", "\0\0\0\xff\xff\xff") or "") .. chunk("IDAT", ("\0"):rep(40000))
        .. (depth == 8 and chunk("IDAT", ("\0"):rep(800000)) or "") .. chunk("IEND", ""))
      refused("16384 x 16384 pixels would take", files.load_png(path))
    end
  end)
end)
