-- Pictures in a terminal: the sequences as a terminal reads them (spec/fixtures/graphics_terminal.py), which are to be
-- the image, each pixel a square.
local assert = require "luassert"
local helper = require "spec.helper"

-- What a terminal of a kind shows of a script: its text, and its pictures as lists of rows of pixels.
local function shown(kind, script)
  local python, why = helper.python()
  if not python then return nil, pending(why) end
  local output = helper.run(python .. " spec/fixtures/graphics_terminal.py " .. kind .. " "
    .. helper.quote(helper.lua_command("-e", "local sv = require 'simvae'; " .. script)))
  local text, rest = output:match "^['\"]([^\n]*)['\"]\n(.*)$"
  assert(text, output)
  local pictures = {}
  for line in rest:gmatch "[^\n]+" do
    if line:find "^%d+ %d+$" then
      pictures[#pictures + 1] = { width = tonumber(line:match "^%d+"), height = tonumber(line:match "%d+$") }
    else
      local row = {}
      for pixel in line:gmatch "%S+" do row[#row + 1] = pixel end
      table.insert(pictures[#pictures], row)
    end
  end
  return text, pictures
end

local function near(a, b)
  for i = 1, 5, 2 do
    if math.abs(tonumber(a:sub(i, i + 1), 16) - tonumber(b:sub(i, i + 1), 16)) > 2 then return false end
  end
  return true
end

-- Asserts that every pixel of a picture is that of an image, magnified.
local function assert_is(picture, rows)
  local scale = picture.width // #rows[1]
  assert.same({ scale * #rows[1], scale * #rows }, { picture.width, picture.height })
  assert.is_true(scale >= 2)
  for y = 1, picture.height do
    for x = 1, picture.width do
      local want = rows[(y - 1) // scale + 1][(x - 1) // scale + 1]
      local got = picture[y][x]
      if want ~= got and (want == "......" or got == "......" or not near(want, got)) then
        error(string.format("pixel (%d, %d) is %s, not %s", x, y, got, want))
      end
    end
  end
end

local image = "local t = sv.tensor { { { 1, 0.2 }, { 0, 0 }, { 0.4, 1 } }, { { 0, 0.4 }, { 1, 0 }, { 0.4, 1 } }, "
  .. "{ { 0, 0.6 }, { 0, 0 / 0 }, { 0.4, 1 } } } "
local pixels = { { "ff0000", "336699" }, { "00ff00", "ff00ff" }, { "666666", "ffffff" } }

for _, kind in ipairs { "kitty", "sixel" } do
  describe("a terminal that shows pictures, " .. kind, function()
    it("shows an image as one", function()
      local text, pictures = shown(kind, image .. "t:show() print 'done'")
      if not text then return end
      assert.equal(1, #pictures)
      assert_is(pictures[1], pixels)
      assert.matches("\\r\\ndone\\r\\n", text, 1, true)
    end)

    it("shows a batch as a grid with a gap, and is asked once", function()
      local text, pictures = shown(kind, "local t = sv.tensor { { { { 0 } } }, { { { 1 } } }, { { { 0.6 } } } } "
        .. "t:show() t:show { most = 2 }")
      if not text then return end
      assert.equal(2, #pictures)
      assert_is(pictures[1], { { "000000", "......", "ffffff", "......", "999999" } })
      assert_is(pictures[2], { { "000000", "......", "ffffff" } })
      assert.equal(1, select(2, text:gsub("\\x1b%[c", "")))
      assert.matches("… and 1 more", text, 1, true)
    end)

    it("shows an image of many colours, to the levels of a palette", function()
      local text, pictures = shown(kind, "local t = sv.rng(1):uniform(0, 1, { 3, 20, 20 }) t:show() "
        .. "local function byte(k, r, c) return math.floor(t:get(k, r, c) * 255 + 0.5) end "
        .. "for r = 1, 20 do for c = 1, 20 do "
        .. "io.write(string.format('%02x%02x%02x ', byte(1, r, c), byte(2, r, c), byte(3, r, c))) end end")
      if not text then return end
      local scale, furthest, i = pictures[1].width // 20, 0, 0
      for wanted in text:gmatch "(%x%x%x%x%x%x) " do
        local got = pictures[1][i // 20 * scale + 1][i % 20 * scale + 1]
        for k = 1, 5, 2 do
          furthest = math.max(furthest, math.abs(tonumber(wanted:sub(k, k + 1), 16) - tonumber(got:sub(k, k + 1), 16)))
        end
        i = i + 1
      end
      assert.equal(400, i)
      assert.is_true(furthest <= (kind == "sixel" and 27 or 0), furthest) -- half a step of six levels, and rounding
    end)
  end)
end

describe("a terminal without pictures", function()
  it("shows half blocks, whether it answers or not", function()
    for _, kind in ipairs { "none", "mute" } do
      local text, pictures = shown(kind, image .. "t:show()")
      if not text then return end
      assert.equal(0, #pictures)
      assert.matches("38;2;255;0;0;48;2;0;255;0m▀", text, 1, true)
    end
  end)

  it("is not asked where output has no colours, or is told", function()
    local text, pictures = shown("kitty", image .. "t:show { graphics = 'blocks' } t:show { colour = false }")
    if not text then return end
    assert.same({ 0, nil }, { #pictures, text:find("\\x1b[c", 1, true) })
  end)
end)
