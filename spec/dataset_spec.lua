-- Data sets as simulators.
local helper = require "spec.helper"
local core = require "simvae.core"
local dataset = require "simvae.simulator.dataset".dataset
local files = require "simvae.io"

local folder = helper.temporary_folder()

local function numbers(n, K, f)
  local rows = {}
  for i = 1, n do
    rows[i] = {}
    for k = 1, K do rows[i][k] = f(i, k) end
  end
  return core.tensor(rows)
end

-- Rows in no order; x is z's first column plus 1 … 8.
local z = numbers(40, 3, function(i, k) return (i * (7 + 4 * k)) % 41 / 41 + k end)
local x = numbers(40, 8, function(i, k) return z:get(i, 1) + k end)
assert(files.save_npy(folder .. "/z.npy", z))
assert(files.save_npy(folder .. "/x.npy", x))

-- A complete grid of 2 x 3 x 4, last column fastest; picture i has its pixel i lit.
local grid, pictures = {}, core.zeros(24, 1, 6, 6)
for a = 0, 1 do
  for b = 0, 2 do
    for c = 0, 3 do
      grid[#grid + 1] = { a, b / 2, c * 10 }
      pictures:set(1, #grid, 1, (#grid - 1) // 6 + 1, (#grid - 1) % 6 + 1)
    end
  end
end

local function lit(picture)
  local list = picture:totable()
  for i = 0, 35 do
    if list[1][i // 6 + 1][i % 6 + 1] > 0.5 then return i + 1 end
  end
end

local function save_grid(name, order)
  local some_z, some_x = {}, core.zeros(#order, 1, 6, 6)
  for i, r in ipairs(order) do
    some_z[i] = grid[r]
    some_x[i] = pictures[r]
  end
  assert(files.save_npz(folder .. "/" .. name, { z = core.tensor(some_z), x = some_x }))
end

local straight, shuffled, part = {}, {}, {}
for i = 1, 24 do
  straight[i], shuffled[i] = i, (i * 7) % 25
  if i <= 20 then part[i] = i end
end
save_grid("grid.npz", straight)
save_grid("shuffled.npz", shuffled)
save_grid("part.npz", part)

describe("arrays", function()
  local data = assert(dataset { z = folder .. "/z.npy", x = folder .. "/x.npy" })

  it("give their rows", function()
    assert.equal(40, data.rows)
    assert.same({ 8 }, data.output)
    assert.is_nil(data.grid)
    assert.is_true(data.correlated)
    assert.same(x:totable(), data:run(z):totable())
  end)

  it("are drawn row by row, the same whoever draws", function()
    local some, seen = data:sample(400, core.rng(2)), {}
    local out = data:run(some)
    for i = 1, 400 do
      assert.near(some:get(i, 1) + 1, out:get(i, 1), 1e-6)
      seen[some:get(i, 1)] = true
    end
    local count = 0
    for _ in pairs(seen) do count = count + 1 end
    assert.equal(40, count)
    local rng = core.rng(2)
    rng:take(100)
    assert.same(some[101]:totable(), data:sample(1, rng)[1]:totable())
  end)

  it("give the nearest row elsewhere", function()
    local row = z[7]:totable()
    assert.same(x[7]:totable(), data:run({ { row[1] + 1e-3, row[2] - 1e-3, row[3] } })[1]:totable())
  end)

  it("name what is wrong with them", function()
    local function message(t)
      local made, why = dataset(t)
      assert.is_nil(made)
      return why
    end
    assert(files.save_npy(folder .. "/short.npy", core.zeros(39, 8)))
    assert(files.save_npy(folder .. "/constant.npy", core.zeros(40, 2)))
    local nan = core.zeros(40, 2)
    nan:set(0 / 0, 3, 2)
    assert(files.save_npy(folder .. "/nan.npy", nan))
    assert.matches("z has 40 rows, x has 39", message { z = folder .. "/z.npy", x = folder .. "/short.npy" }, 1, true)
    assert.matches("row 3 of z is not finite", message { z = folder .. "/nan.npy", x = folder .. "/x.npy" }, 1, true)
    assert.matches("parameter 1, 'z1', is 0 in every row",
      message { z = folder .. "/constant.npy", x = folder .. "/x.npy" }, 1, true)
    assert.matches("no/z.npy", message { z = "no/z.npy", x = "no/x.npy" }, 1, true)
    assert.matches("no such file or folder", message { path = "no/such" }, 1, true)
    assert.matches("no array of numbers 'w'", message { path = folder .. "/grid.npz", z = "w" }, 1, true)
    assert.matches("there are x, z", message { path = folder .. "/grid.npz", z = "w" }, 1, true)
    assert.matches("of no kind that sv.dataset reads; path is a", message { path = folder .. "/z.npy" }, 1, true)
    assert.error_matches(function() dataset { x = "x.npy" } end, "takes z = \"z.npy\" and x = \"x.npy\"", 1, true)
    assert.error_matches(function() dataset { pth = "x" } end, "did you mean 'path'", 1, true)
    assert.error_matches(function()
      dataset { z = folder .. "/z.npy", x = folder .. "/x.npy", params = { { name = "a", low = 0, high = 1 } } }
    end, "params names 1 parameters, z has 3 columns", 1, true)
  end)

  it("refuse objects and archives that are too large", function()
    local python, none = helper.python "numpy"
    if not python then return pending(none) end
    local script = "import numpy as np, sys; d = sys.argv[1]; "
      .. "np.save(d + '/objects.npy', np.array([{}], dtype=object), allow_pickle=True); "
      .. "np.savez_compressed(d + '/bytes.npz', z=np.arange(6.).reshape(3, 2), "
      .. "x=np.array([[[0, 255], [51, 102]]] * 3, 'u1'))"
    helper.run(helper.quote(python) .. " -c " .. helper.quote(script) .. " " .. helper.quote(folder))
    local made, why = dataset { z = folder .. "/objects.npy", x = folder .. "/x.npy" }
    assert.is_nil(made)
    assert.matches("object array", why, 1, true)
    local bytes = assert(dataset { path = folder .. "/bytes.npz" })
    local picture = bytes:run({ { 0, 1 } }):totable()[1][1]
    for i, v in ipairs { { 0, 1 }, { 0.2, 0.4 } } do
      for k = 1, 2 do assert.near(v[k], picture[i][k], 1e-6) end
    end
    local raw = assert(dataset { path = folder .. "/bytes.npz", scale = 1 })
    assert.equal(255, raw:run({ { 0, 1 } }):max():item())
  end)
end)

describe("a complete grid", function()
  it("is recognised, in any order", function()
    for _, name in ipairs { "grid.npz", "shuffled.npz" } do
      local data = assert(dataset { path = folder .. "/" .. name })
      assert.same({ { 0, 1 }, { 0, 0.5, 1 }, { 0, 10, 20, 30 } }, data.grid)
      assert.is_falsy(data.correlated)
      local out = data:run(grid)
      for i = 1, 24 do assert.equal(i, lit(out[i])) end
      assert.equal(1 * 12 + 1 * 4 + 2 + 1, lit(data:run({ { 0.9, 0.6, 17 } })[1]))
      assert.equal(24, lit(data:run({ { 1, 1, 30 } })[1]))
    end
    assert.is_nil(assert(dataset { path = folder .. "/part.npz" }).grid)
  end)

  it("may be read from an unpacked file instead of memory", function()
    local data = assert(dataset { path = folder .. "/grid.npz", memory = 100, unpacked = folder .. "/grid.x.npy" })
    local out = data:run(grid)
    for i = 1, 24 do assert.equal(i, lit(out[i])) end
    assert.equal("file", core.system.kind(folder .. "/grid.x.npy"))
    for _, name in ipairs(core.system.list(folder)) do assert.is_nil(name:match "%.tmp$") end
    local again = assert(dataset { path = folder .. "/grid.npz", memory = 100, unpacked = folder .. "/grid.x.npy" })
    assert.equal(3, lit(again:run({ grid[3] })[1]))
    -- a file of the same shape that holds something else, such as that of an earlier version of the data
    local held = assert(files.load_npy(folder .. "/grid.x.npy"))
    assert(files.save_npy(folder .. "/grid.x.npy", held * 0))
    again = assert(dataset { path = folder .. "/grid.npz", memory = 100, unpacked = folder .. "/grid.x.npy" })
    assert.equal(3, lit(again:run({ grid[3] })[1]))
    local none, why = dataset { path = folder .. "/grid.npz", memory = 100, unpacked = "no/such/folder/x.npy" }
    assert.is_nil(none)
    assert.matches("unpacked = \"file\" names another place", why, 1, true)
  end)

  it("can leave columns out and take the user's bounds", function()
    local data = assert(dataset {
      path = folder .. "/part.npz", drop = { 1 }, params = { { name = "b", low = 0, high = 1 },
        { name = "c", low = 0, high = 40, unit = "deg" } },
    })
    assert.same({ "b", "c" }, data.names)
    assert.equal("deg", data.params[2].unit)
    assert.equal(2, lit(data:run({ { 0, 10 } })[1]))
  end)
end)

describe("a folder of pictures", function()
  local place = folder .. "/pictures"
  local function csv(text)
    local f = assert(io.open(place .. "/labels.csv", "w"))
    f:write(text)
    f:close()
  end
  assert(core.system.mkdir(place))
  for i = 1, 4 do assert(files.save_png(place .. "/p" .. i .. ".png", core.full(i / 5, { 3, 4, 5 }))) end
  local good = 'size,file,"angle, deg",note\n1,p1.png,10,a\n2,"p2.png",20,b\n\n3.5,p3.png,-5e1,c\n4,p4.png,40,d\n'

  it("gives them by the CSV file's parameters", function()
    csv(good)
    local data = assert(dataset { path = place, drop = { "note" } })
    assert.same({ "size", "angle, deg" }, data.names)
    assert.same({ 3, 4, 5 }, data.output)
    assert.equal(4, data.rows)
    assert.equal(-50, data.params[2].low)
    local out = data:run { { 2, 20 }, { 3.5, -50 } }
    assert.near(0.4, out:get(1, 1, 1, 1), 1e-6)
    assert.near(0.6, out:get(2, 3, 4, 5), 1e-6)
  end)

  it("names what is wrong with them", function()
    csv(good)
    local made, why = dataset { path = place }
    assert.is_nil(made)
    assert.matches("labels.csv, line 2: column 'note' is \"a\", which is not a number", why, 1, true)
    csv "size,file\n1,p1.png\n2,p2.png\n3,small.png\n4,missing.png\n5,cut.png\n"
    assert(files.save_png(place .. "/small.png", core.zeros(3, 2, 2)))
    local f = assert(io.open(place .. "/p1.png", "rb"))
    local bytes = f:read "a"
    f:close()
    f = assert(io.open(place .. "/cut.png", "wb"))
    f:write(bytes:sub(1, 60))
    f:close()
    local data = assert(dataset { path = place })
    local reasons = data.batch(core.tensor { { 1 }, { 3 }, { 4 }, { 5 } }, core.zeros(4, 3, 4, 5))
    assert.is_nil(reasons[1])
    assert.matches("small.png: an image of (3, 2, 2); the first, p1.png, is (3, 4, 5)", reasons[2], 1, true)
    assert.matches("missing.png: No such file", reasons[3], 1, true)
    assert.matches("cut.png: ", reasons[4], 1, true)
    assert.error_matches(function() data:run { { 3 } } end, "sample 1 (size = 3)", 1, true)
    made, why = dataset { path = folder }
    assert.is_nil(made)
    assert.matches("no CSV file", why, 1, true)
  end)
end)

describe("a folder's table", function()
  local place = folder .. "/table"
  assert(core.system.mkdir(place))
  for i = 1, 3 do assert(files.save_png(place .. "/p" .. i .. ".png", core.full(i / 5, { 1, 2, 2 }))) end

  local function open(text, change)
    local f = assert(io.open(place .. "/labels.csv", "wb"))
    f:write(text)
    f:close()
    local t = { path = place }
    for k, v in pairs(change or {}) do t[k] = v end
    return dataset(t)
  end

  it("may have a byte-order mark, CRLF, quotes, semicolons, tabs and blank lines", function()
    for _, text in ipairs {
      "\xEF\xBB\xBFsize,file\r\n1,p1.png\r\n\r\n2,p2.png\r\n,\r\n3,p3.png",
      'size;"file"\n1.0;p1.png\n"2";"p2.png"\n 3 ; p3.png \n',
      "size\tfile\n1\tp1.png\n0.2D+01\tp2.png\n0x1.8p+1\tp3.png\n",
    } do
      local data = assert(open(text))
      assert.same({ "size" }, data.names)
      assert.equal(3, data.rows)
      assert.near(0.4, data:run({ { 2 } }):get(1, 1, 1, 1), 1e-6)
      assert.near(0.6, data:run({ { 3 } }):get(1, 1, 1, 1), 1e-6)
    end
    local data = assert(open('"a ""b"", c\nd",file\n1,p1.png\n2,p2.png\n'))
    assert.equal('a "b", c d', data.names[1])
    data = assert(open("size,file\r1,p1.png\r2,p2.png\r"))
    assert.equal(2, data.rows)
  end)

  it("is refused by line and column where a value is missing or no number", function()
    local function why(text)
      local made, message = open(text)
      assert.is_nil(made)
      return message
    end
    assert.matches("labels.csv, line 3: column 'a' is empty: a missing value (drop = { \"a\" } leaves it out)",
      why "a,b,file\n1,2,p1.png\n,3,p2.png\n", 1, true)
    assert.matches("line 3: column 'b' is \"NaN\": not a finite number", why "a,b,file\n1,2,p1.png\n1,NaN,p2.png\n", 1,
      true)
    assert.matches("column 'a' is \"1,5,0\", which", why "a;file\n1,5,0;p1.png\n2,5;p2.png\n", 1, true)
    assert.matches("line 3: column 'a' is \"2,5\", and line 2: column 'a' is \"1.5\"; decimal = \",\" or",
      why "a;file\n1.5;p1.png\n2,5;p2.png\n", 1, true)
    assert.matches("line 3 has 2 cells where the header has 3", why "a,b,file\n1,2,p1.png\n1,p2.png\n", 1, true)
    assert.matches("line 2 has 4 cells where the header has 3", why "a,b,file\n1,2,p1.png,\n", 1, true)
    assert.matches("line 2: a quote is not closed", why 'a,file\n1,"p1.png\n2,p2.png\n', 1, true)
    assert.matches("line 3: column 'file' names no image", why "a,file\n1,p1.png\n2,\n", 1, true)
    assert.matches("column 2 is named 'a', as column 1 is", why "a,a,file\n1,2,p1.png\n3,4,p2.png\n", 1, true)
    assert.matches("column 1 has a name that is not UTF-8", why "gr\xF6,file\n1,p1.png\n2,p2.png\n", 1, true)
    assert.matches("its first line names the columns, and holds numbers: p1.png, 1", why "p1.png,1\np2.png,2\n", 1,
      true)
    assert.matches("drop: there is no column \"c\"; there are a, file",
      select(2, open("a,file\n1,p1.png\n2,p2.png\n", { drop = { "c" } })), 1, true)
    assert.matches("column 1 has no name", why ",a,file\n0,1,p1.png\n1,2,p2.png\n", 1, true)
    assert.matches("UTF-16", why "\xFF\xFEa\0,\0f\0", 1, true)
    assert.matches("is empty", why "", 1, true)
  end)

  it("is read in time that grows with its length", function()
    -- a pattern that goes back over blanks takes minutes here
    local blanks = (" "):rep(200000)
    local data = assert(open("a," .. blanks .. "file" .. blanks .. "\n" .. blanks .. "1" .. blanks
      .. ",p1.png\n2,p2.png\n" .. blanks .. "\n"))
    assert.equal(2, data.rows)
  end)
end)

describe("arrays of other layouts", function()
  it("are refused with what they are", function()
    assert(files.save_npz(folder .. "/single.npz", { z = core.zeros(4, 2), x = core.tensor(3.5) }))
    local made, why = dataset { path = folder .. "/single.npz" }
    assert.is_nil(made)
    assert.matches("single.npz: 'x' holds a single number; it takes a row for each sample (N, …)", why, 1, true)
    assert(files.save_npz(folder .. "/single.npz", { x = core.zeros(4, 2), z = core.tensor(3.5) }))
    made, why = dataset { path = folder .. "/single.npz" }
    assert.is_nil(made)
    assert.matches("z has shape ()", why, 1, true)
    assert(files.save_npz(folder .. "/none.npz", { z = core.arange(1, 8):reshape(4, 2), x = core.zeros(4, 0) }))
    made, why = dataset { path = folder .. "/none.npz" }
    assert.is_nil(made)
    assert.matches("x has shape (4, 0)", why, 1, true)
  end)
end)

describe("parameters that single precision does not hold", function()
  it("are refused with what to store", function()
    for step, words in pairs { [1e-4] = "store its distance from an offset", [1] = "has 124 different values" } do
      local rows = {}
      for i = 1, 32 do rows[i] = string.pack("<d", 2458000.5 + i * step) end
      local header = "{'descr': '<f8', 'fortran_order': False, 'shape': (32, 1), }\n"
      local f = assert(io.open(folder .. "/dates.npy", "wb"))
      f:write("\x93NUMPY\1\0", string.pack("<s2", header), table.concat(rows))
      f:close()
      assert(files.save_npy(folder .. "/x32.npy", core.zeros(32, 3)))
      local made, why = dataset { z = folder .. "/dates.npy", x = folder .. "/x32.npy" }
      if core.real == "double" then
        assert(made, why)
      else
        assert.is_nil(made)
        assert.matches(words, why, 1, true)
      end
    end
  end)
end)

describe("a cache of samples", function()
  local sampler = require "simvae.sampler"
  local line = require "simvae.simulator".new {
    name = "line", output = { 3 },
    params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 1, high = 100, scale = "log", unit = "Hz" } },
    simulate = function(p) return { p[1], p[2], p[1] + p[2] } end,
  }
  local path = folder .. "/samples"
  local s = sampler.new { simulator = line, batch = 20, seed = 3, cache = path }
  local first_z, first_x = s:next()
  s:close()

  it("is a data set, with the bounds and scales of its simulator", function()
    local data = assert(dataset { path = path })
    assert.is_true(data.rows >= 20)
    assert.same({ "a", "b" }, data.names)
    assert.equal("log", data.params[2].scale)
    assert.equal(100, data.params[2].high)
    assert.same({ 3 }, data.output)
    assert.same(first_x:totable(), data:run(first_z):totable())
    data:close()
  end)

  it("is refused when it is damaged or empty", function()
    local f = assert(io.open(path, "rb"))
    local text = f:read "a"
    f:close()
    local header = text:match "^[^\n]*\n[^\n]*\n"
    for words, bytes in pairs {
      ["holds no samples"] = header,
      ["is not a cache"] = header:sub(1, 40),
      ["its header is damaged"] = header:gsub('"output":%[3%]', '"output":[0]'),
    } do
      f = assert(io.open(folder .. "/bad", "wb"))
      f:write(bytes)
      f:close()
      local made, why = dataset { path = folder .. "/bad" }
      assert.is_nil(made)
      assert.matches(words, why, 1, true)
    end
  end)
end)

describe("outputs of a data set", function()
  local here = helper.temporary_folder()
  local causes = core.tensor { { 1 }, { 2 }, { 3 } }

  local function open(outputs, more)
    assert(files.save_npy(here .. "/z.npy", causes))
    assert(files.save_npy(here .. "/x.npy", outputs))
    local t = { z = here .. "/z.npy", x = here .. "/x.npy" }
    for k, v in pairs(more or {}) do t[k] = v end
    return dataset(t)
  end

  local function refused(pattern, ...)
    local made, why = open(...)
    assert.is_nil(made)
    assert.matches(pattern, why)
  end

  local counting = core.arange(3 * 100 * 3):reshape(3, 100, 3) * (1 / 900)

  it("of two axes are asked about: a series is never taken for a picture", function()
    refused('x has shape %(N, 100, 3%): layout = "series" %(100 times, 3 features%) or layout = "picture" '
      .. "%(100 x 3 pixels%)", counting)
    refused("layout = \"series\"", core.zeros(3, 16, 16))
    local series = assert(open(counting, { layout = "series" }))
    assert.same({ 300 }, series.output)
    assert.equal(3, #series.series)
    -- one feature after the other: number 2 is time 2 of feature 1, number 101 time 1 of feature 2
    local run = series:run { { 2 } }
    assert.equal(counting:get(2, 2, 1), run:get(1, 2))
    assert.equal(counting:get(2, 1, 2), run:get(1, 101))
    assert.same({ 1, 100, 3 }, assert(open(counting, { layout = "picture" })).output)
    assert.same({ 1, 100, 3 }, assert(open(counting, { output = { 1, 100, 3 } })).output)
    assert.same({ 300 }, assert(open(counting, { output = { 300 } })).output)
  end)

  it("of three axes are pictures, channels where there are few", function()
    local last = core.arange(3 * 8 * 6 * 3):reshape(3, 8, 6, 3) * (1 / 432)
    local data = assert(open(last))
    assert.same({ 3, 8, 6 }, data.output)
    assert.equal(last:get(3, 5, 6, 2), data:run({ { 3 } }):get(1, 2, 5, 6))
    local first = last:permute { 1, 4, 2, 3 }
    data = assert(open(first))
    assert.same({ 3, 8, 6 }, data.output)
    assert.equal(first:get(3, 2, 5, 6), data:run({ { 3 } }):get(1, 2, 5, 6))
    for _, shape in ipairs { { 3, 3, 8, 3 }, { 3, 8, 8, 8 } } do
      refused('layout = "channels_first" or layout = "channels_last"', core.zeros(shape))
    end
    assert.same({ 8, 8, 8 }, assert(open(core.zeros(3, 8, 8, 8), { layout = "channels_first" })).output)
    assert.same({ 3, 3, 8 }, assert(open(core.zeros(3, 3, 8, 3), { layout = "channels_last" })).output)
    refused("x has shape %(N, 8%), which is no layout = \"picture\"", core.zeros(3, 8), { layout = "picture" })
    refused("layout = \"picture\" makes outputs %(1, 4, 4%); output is %(16,%)", core.zeros(3, 4, 4),
      { layout = "picture", output = { 16 } })
  end)

  it("that are pictures outside [0, 1] are refused with the remedy", function()
    local noise = core.rng(1):uniform(0, 1, { 3, 1, 16, 16 })
    noise:set(1, 2, 1, 4, 4)
    noise:set(0, 2, 1, 4, 5)
    refused("x holds 0 to 255; images take %[0, 1%]: scale = 255 divides by it, or loss = \"mse\"", noise * 255)
    refused("scale = 65535 divides", noise * 65535)
    refused("scale = n divides by n", noise * 1e6)
    refused("holds %-1 to 1", noise * 2 - 1)
    for _, more in ipairs { { scale = 255 }, { loss = "mse" } } do
      local data = assert(open(noise * 255, more))
      assert.near(more.scale and 1 or 255, core.max(data:run { { 2 } }):item(), 1e-4)
    end
    -- vectors have any range
    assert.same({ 5 }, assert(open(core.full(300, { 3, 5 }))).output)
  end)

  it("of two bytes a number, as NumPy writes them, are refused with the remedy", function()
    local python, why = helper.python "numpy"
    if not python then return pending(why) end
    assert(files.save_npy(here .. "/z.npy", causes))
    for dtype, most in pairs { uint16 = 65535, float32 = 255, float64 = 255 } do
      helper.run(string.format("%s -c \"import numpy as np; x = np.zeros((3, 1, 16, 16), '%s'); x[1] = %d; "
        .. "np.save('%s/x.npy', x)\"", python, dtype, most, here))
      local made, refusal = dataset { z = here .. "/z.npy", x = here .. "/x.npy" }
      assert.is_nil(made)
      assert.matches("scale = " .. most .. " divides by it", refusal)
    end
    helper.run(python .. " -c \"import numpy as np; x = np.full((3, 16, 16), 255, 'uint8'); np.save('" .. here
      .. "/x.npy', x)\"")
    local bytes = assert(dataset { z = here .. "/z.npy", x = here .. "/x.npy" })
    assert.same({ 1, 16, 16 }, bytes.output)
    assert.equal(1, core.max(bytes:run { { 2 } }):item())
  end)
end)
