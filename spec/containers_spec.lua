-- HDF5 and MATLAB files, against files and values of h5py, SciPy and MATLAB.
local helper = require "spec.helper"
local core = require "simvae.core"
local dataset = require "simvae.simulator.dataset".dataset
local files = require "simvae.io"
local library = require "simvae.io.library"

local fixtures = "spec/fixtures/containers/" -- by spec/fixtures/make_containers.py
local folder = helper.temporary_folder()
local N = 12

-- What make_containers.py writes.
local function a(i) return 0.5 + (i - 1) * 0.25 end
local function b(i) return 10 * ((i - 1) * 5 % N + 1) end
local function output(i, k) return a(i) * k + b(i) end
local function pixel(i, r, c) return ((i - 1) * 12 + (r - 1) * 3 + c - 1) % 251 end

local function table_of(count, width, f)
  local rows = {}
  for i = 1, count do
    rows[i] = {}
    for k = 1, width do rows[i][k] = f(i, k) end
  end
  return rows
end
local params, outputs = table_of(N, 2, function(i, k) return k == 1 and a(i) or b(i) end), table_of(N, 5, output)

-- it, where a library's module is in the build.
local function with(name, text, body)
  it(text, function()
    local why = library.absent(name)
    if why then return pending(why) end
    body()
  end)
end

local function quiet(t)
  local made, why
  local notices = helper.stderr_of(function() made, why = dataset(t) end)
  return made, made and notices or why
end

describe("HDF5", function()
  with("hdf5", "arrays are h5py's, of any type, chunked and compressed", function()
    local function load(name) return assert(files.load_hdf5(fixtures .. "runs.h5", name)) end
    assert.same(params, load("params"):totable())
    assert.same(outputs, load("/outputs"):totable())
    assert.same({ 12, 4, 3 }, { table.unpack(load("small").shape) })
    for name, f in pairs {
      small = pixel, whole = function(...) return pixel(...) - 100 end,
      flags = function(...) return pixel(...) % 2 == 0 and 1 or 0 end,
    } do
      local t = load(name)
      for i = 1, N do
        for r = 1, 4 do
          for c = 1, 3 do assert.equal(f(i, r, c), t:get(i, r, c)) end
        end
      end
    end
    assert.equal(2.5, load("scalar"):item())
    assert.equal(output(12, 5), load("half"):get(12, 5))
    local _, attributes = files.load_hdf5(fixtures .. "runs.h5", "params")
    assert.same({ names = { "gain", "offset" }, units = { "dB", "mV" }, low = { 0, 0 }, high = { 4, 200 } }, attributes)
  end)

  with("hdf5", "files list what they hold", function()
    local by_name = {}
    for _, e in ipairs(assert(files.list_hdf5(fixtures .. "runs.h5"))) do by_name[e.name] = e end
    assert.same({ name = "outputs", shape = { 12, 5 }, dtype = "f4", attributes = { units = "V" } }, by_name.outputs)
    assert.equal("a group", by_name.columns.is)
    assert.equal("text", by_name["columns/note"].is)
    assert.equal(4, by_name["columns/gain"].attributes.valid_max)
  end)

  with("hdf5", "arrays that lie elsewhere, are not written or are no numbers are listed, and not read", function()
    local is = {}
    for _, e in ipairs(assert(files.list_hdf5(fixtures .. "other.h5"))) do is[e.name] = e.is or "" end
    for name, words in pairs {
      external = "a link to another file, which is not followed", soft = "a soft link", outside = "lie in other files",
      virtual = "lie in other files", lzf = "filter 32000 (lzf), which is not read; h5repack -f GZIP=4",
      part = "not written in full: 1 of 10 chunks", huge = "not written in full", never = "not written in full",
      text = "text", records = "records", complex = "complex", empty = "no numbers",
    } do
      assert.matches(words, is[name], 1, true)
      local t, why = files.load_hdf5(fixtures .. "other.h5", name)
      assert.is_nil(t)
      assert.matches(string.format("other.h5: no array of numbers '%s', which is ", name), why, 1, true)
    end
    local t, why = files.load_hdf5(fixtures .. "other.h5", "none")
    assert.is_nil(t)
    assert.matches("no array of numbers 'none'; there are params (12, 2)", why, 1, true)
    assert.matches("nested deeper than 32, or within themselves",
      select(2, files.list_hdf5(fixtures .. "loop.h5")), 1, true)
    assert.matches("over the limit of 100; max_bytes = n",
      select(2, files.load_hdf5(fixtures .. "runs.h5", "outputs", { max_bytes = 100 })), 1, true)
    assert.matches("not an HDF5 file; load_mat reads it", select(2, files.list_hdf5(fixtures .. "plain.mat")), 1, true)
    assert.matches("No such file", select(2, files.list_hdf5 "no/such.h5"), 1, true)
    helper.raises("name takes a string", files.load_hdf5, "x.h5", 3)
  end)

  with("hdf5", "a file is a data set, with names, units and bounds of its attributes", function()
    local data, notice = quiet { path = fixtures .. "runs.h5", z = "params", x = "outputs" }
    assert.same({ "gain", "offset" }, data.names)
    assert.same({ "dB", 0, 4, "mV", 0, 200 }, { data.params[1].unit, data.params[1].low, data.params[1].high,
      data.params[2].unit, data.params[2].low, data.params[2].high })
    assert.equal("", notice)
    assert.same({ outputs[3], outputs[12] }, data:run({ params[3], params[12] }):totable())
    data = quiet { path = fixtures .. "runs.h5", z = "columns", x = "outputs" }
    assert.same({ "gain", "offset" }, data.names)
    assert.same({ "dB", 0, 4, 0, 200 },
      { data.params[1].unit, data.params[1].low, data.params[1].high, data.params[2].low, data.params[2].high })
    data, notice = quiet { path = fixtures .. "other.h5", z = "params", x = "params" }
    assert.same({ "z1", "z2" }, data.names)
    assert.matches("bounds by the rows: z1 0.5 to 3.25, z2 10 to 120", notice, 1, true)
    -- by name: in another order, and not all of them
    data = quiet { path = fixtures .. "runs.h5", z = "params", x = "outputs",
      params = { { name = "offset", low = 1, high = 300 }, "gain" } }
    assert.same({ outputs[5] }, data:run({ { b(5), a(5) } }):totable())
    data = quiet { path = fixtures .. "runs.h5", z = "params", x = "outputs", drop = { "gain" } }
    assert.same({ "offset" }, data.names)
    helper.raises("params names \"x\", of which there is no column; there are gain, offset", dataset,
      { path = fixtures .. "runs.h5", z = "params", x = "outputs", params = { "gain", "x" } })
  end)

  with("hdf5", "rows of what is larger than memory are read when they are drawn", function()
    for _, t in ipairs {
      { x = "outputs" }, { x = "small", layout = "picture" }, { x = "last", layout = "picture", samples = "last" },
    } do
      t.path, t.z = fixtures .. "runs.h5", "params"
      local held = assert(quiet(t))
      t.memory = 10
      local read = assert(quiet(t))
      local z = core.tensor { params[7], params[2], params[12], params[7], params[1] }
      assert.same(held:run(z):totable(), read:run(z):totable())
      assert.same(held:run(z):totable(), read:run(z):totable())
      read.close()
    end
    local data = quiet { path = fixtures .. "runs.h5", z = "params", x = "last", samples = "last", memory = 10 }
    assert.same({ 1, 4, 3 }, data.output)
    assert.near(pixel(9, 3, 2) / 255, data:run({ params[9] }):get(1, 1, 3, 2), 1e-6)
    assert.matches('x = \'last\' has shape (4, 3, 12), and z has 12 rows: samples = "last"',
      select(2, quiet { path = fixtures .. "runs.h5", z = "params", x = "last" }), 1, true)
    -- a process that was forked reads for itself
    local worker <close> = core.process.fork(function(link)
      link:send(string.format("%.9g", data:run({ params[9] }):get(1, 1, 3, 2) * 255))
    end)
    assert.equal(pixel(9, 3, 2), math.floor(tonumber(worker:receive(20)) + 0.5))
    assert.near(pixel(2, 1, 1) / 255, data:run({ params[2] }):get(1, 1, 1, 1), 1e-6)
    data.close()
  end)

  with("hdf5", "a large file of h5py is streamed", function()
    local python, none = helper.python("h5py", "numpy")
    if not python then return pending(none) end
    local path = folder .. "/large.h5"
    helper.run(helper.quote(python) .. " -c " .. helper.quote([[
import h5py, numpy as np, sys
rng = np.random.default_rng(1)
with h5py.File(sys.argv[1], "w") as f:
    f["z"] = np.arange(20000.0)
    x = f.create_dataset("x", (20000, 600), "f4", compression="gzip", compression_opts=1)
    for i in range(0, 20000, 2000):
        x[i:i + 2000] = np.arange(i, i + 2000)[:, None] + np.arange(600) / 1024
]]) .. " " .. helper.quote(path))
    local data = assert(quiet { path = path, memory = 1 << 20 })
    assert.equal("z", data.names[1])
    local x = data:run({ { 19999 }, { 3 }, { 12345 } })
    for i, first in ipairs { 19999, 3, 12345 } do assert.near(first + 599 / 1024, x:get(i, 600), 2e-3) end
    data.close()
  end)
end)

-- Both are asked for: SciPy's and those that MATLAB wrote.
local function each_mat(body)
  for _, name in ipairs { "plain.mat", "packed.mat", "v73.mat" } do
    if name ~= "v73.mat" or not library.absent "hdf5" then body(fixtures .. name, name) end
  end
end

describe("MATLAB", function()
  with("matio", "arrays are SciPy's, in MATLAB's shape", function()
    each_mat(function(path)
      assert.same(params, assert(files.load_mat(path, "params")):totable())
      assert.same(outputs, assert(files.load_mat(path, "outputs")):totable())
      local images = assert(files.load_mat(path, "images"))
      assert.same({ 4, 3, 12 }, { table.unpack(images.shape) })
      for i = 1, N do
        for r = 1, 4 do
          for c = 1, 3 do assert.equal(pixel(i, r, c), images:get(r, c, i)) end
        end
      end
      assert.same({ 12, 1 }, { table.unpack(assert(files.load_mat(path, "s.gain")).shape) })
      assert.equal(b(4), assert(files.load_mat(path, "s/offset")):get(1, 4))
      assert.matches("no array of numbers 'text', which is text; there are", select(2, files.load_mat(path, "text")), 1,
        true)
    end)
    assert.same(outputs, assert(files.load_mat(fixtures .. "level4.mat", "outputs")):totable())
    assert.equal(-97, assert(files.load_mat(fixtures .. "packed.mat", "whole")):get(2, 1))
    local is = {}
    for _, e in ipairs(assert(files.list_mat(fixtures .. "plain.mat"))) do is[e.name] = e.is or e.dtype end
    assert.same({ "a struct", "a cell array", "complex numbers", "a sparse array", "u1", "i2", "f4" },
      { is.s, is.cell, is.complex, is.sparse, is.flags, is.whole, is.single })
  end)

  with("matio", "files are data sets", function()
    each_mat(function(path)
      local data = assert(quiet { path = path, z = "params", x = "outputs" })
      assert.same({ outputs[3], outputs[12] }, data:run({ params[3], params[12] }):totable())
      data = assert(quiet { path = path, z = "s", x = "images", samples = "last" })
      assert.same({ "gain", "offset" }, data.names)
      assert.same({ 1, 4, 3 }, data.output)
      assert.near(pixel(9, 3, 2) / 255, data:run({ params[9] }):get(1, 1, 3, 2), 1e-6)
      assert.matches('samples = "last"', select(2, quiet { path = path, z = "params", x = "images" }), 1, true)
    end)
    assert.matches("files of save -v7.3 are read row by row",
      select(2, quiet { path = fixtures .. "plain.mat", z = "params", x = "outputs", memory = 10 }), 1, true)
    if not library.absent "hdf5" then
      local data = assert(quiet { path = fixtures .. "v73.mat", z = "params", x = "images", samples = "last",
        memory = 10 })
      assert.near(pixel(9, 3, 2) / 255, data:run({ params[9] }):get(1, 1, 3, 2), 1e-6)
      data.close()
    end
  end)

  with("matio", "files that MATLAB wrote give what SciPy reads in them", function()
    local python, none = helper.python("scipy.io", "numpy")
    if not python then return pending(none) end
    local said = helper.run(helper.quote(python) .. " -c " .. helper.quote([[
import glob, os, numpy as np, scipy.io, scipy.io.matlab
folder = os.path.join(os.path.dirname(scipy.io.matlab.__file__), "tests", "data")
for path in sorted(glob.glob(folder + "/test*.mat")):
    try:
        found = scipy.io.loadmat(path)
    except Exception:
        continue
    for name, v in found.items():
        if isinstance(v, np.ndarray) and v.dtype.kind in "fiu" and v.size and not name.startswith("_"):
            print(path, name, "x".join(map(str, v.shape)), *("%.17g" % n for n in v.ravel()), sep="\t")
]]))
    local count = 0
    for line in said:gmatch "[^\n]+" do
      local cells = {}
      for cell in line:gmatch "[^\t]+" do cells[#cells + 1] = cell end
      local t, why = files.load_mat(cells[1], cells[2])
      assert(t, why)
      assert.equal(cells[3], table.concat(t.shape, "x"))
      local flat = t:reshape(t.count):totable()
      for i, v in ipairs(flat) do assert.near(tonumber(cells[i + 3]), v, 1e-6 * math.max(1, math.abs(v))) end
      count = count + 1
    end
    if count == 0 then return pending "this SciPy has no files of its tests" end
    assert.is_true(count >= 20, "only " .. count)
    local v73 = said:match "^(.-)test[^/]*%.mat\t" .. "testhdf5_7.4_GLNX86.mat"
    if core.system.kind(v73) and not library.absent "hdf5" then
      local list = assert(files.list_mat(v73))
      assert.is_true(#list > 0)
    end
  end)
end)

describe("files that are damaged", function()
  with("hdf5", "give a message, or what they hold, and harm nothing", function()
    local rng = core.rng(7)
    local made = 0
    for _, name in ipairs { "runs.h5", "other.h5", "plain.mat", "packed.mat", "v73.mat" } do
      local whole = helper.read(fixtures .. name)
      local matlab = name:find "mat$"
      if not matlab or not library.absent "matio" then
        for round = 1, 6 do
          local text = { whole:byte(1, -1) }
          for _ = 1, 1 + round * 3 do text[rng:integer(1, #text)] = rng:integer(0, 255) end
          local path = folder .. "/damaged." .. name:match "%w+$"
          local bytes = {}
          for i, byte in ipairs(text) do bytes[i] = string.char(byte) end
          helper.write(path, table.concat(bytes):sub(1, round == 6 and #whole // 2 or nil))
          local list, why = (matlab and files.list_mat or files.list_hdf5)(path)
          assert.is_truthy(list or why:find "damaged%.")
          for _, x in ipairs { "params", "outputs", "images" } do
            local t, reason = (matlab and files.load_mat or files.load_hdf5)(path, x)
            assert.is_truthy(t or reason:find "damaged%.")
            made = made + 1
          end
        end
      end
    end
    assert.is_true(made >= 36)
  end)
end)

describe("a build without the libraries", function()
  it("says what to install", function()
    local path = package.cpath
    local loaded = { package.loaded["simvae.hdf5"], package.loaded["simvae.matio"] }
    package.cpath = "none/?.so"
    local list, why = files.list_hdf5(fixtures .. "runs.h5")
    local data, reason = dataset { path = fixtures .. "plain.mat", z = "params", x = "outputs" }
    package.cpath = path
    package.loaded["simvae.hdf5"], package.loaded["simvae.matio"] = table.unpack(loaded, 1, 2)
    assert.is_nil(list)
    assert.matches("runs.h5: HDF5 files need simvae/hdf5.so, which is not in this build: install libhdf5 (Debian, "
      .. "Ubuntu: apt-get install libhdf5-dev; macOS: brew install hdf5) and build again with make", why, 1, true)
    assert.is_nil(data)
    assert.matches("MATLAB files need simvae/matio.so, which is not in this build: install libmatio", reason, 1, true)
  end)
end)
