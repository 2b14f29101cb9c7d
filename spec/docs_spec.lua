-- Documentation from one source (simvae.reference): everything public has its text, parameters, results, errors,
-- options and an example that runs; sv.help shows it.
local helper = require "spec.helper"
local assert = require "luassert"
local check = require "simvae.util.check"
local help = require "simvae.util.help"
local names_of = require "simvae.util.names".module_names
local reference = require "simvae.reference"
local has_blas = pcall(require, "simvae.linalg") -- which needs OpenBLAS

local KNOWN = {}
for word in ([[any boolean function integer number rng string table tensor false nil Canvas Chain Code Composed Layer
  Model Optimizer Posterior Sampler Simulator Streams Tape]]):gmatch "%S+" do KNOWN[word] = true end

-- Types whose shape or content the text has to say.
local function needs_text(type)
  return type == "tensor" or type == "table" or type == "function" or type:find "[{|]"
end

local function lines_of(path, first, last)
  local list, i = {}, 0
  for line in io.lines(path) do
    i = i + 1
    if i >= first and i <= last then list[#list + 1] = line end
  end
  return table.concat(list, "\n")
end

-- Checks every entry; expects no complaint.
local function complaints(about)
  local list = {}
  for entry in reference.entries() do
    about(entry, function(...) list[#list + 1] = entry.name .. ": " .. string.format(...) end)
  end
  return table.concat(list, "\n")
end

local function is_function(entry)
  return entry.kind == "function" or entry.kind == "method" or entry.kind == "op"
end

describe("the reference", function()
  it("finds functions, ops, classes, methods and modules where they are", function()
    local kinds, names = {}, {}
    for entry in reference.entries() do
      kinds[entry.kind] = (kinds[entry.kind] or 0) + 1
      assert.is_nil(names[entry.name], entry.name .. " is there twice")
      names[entry.name] = entry
    end
    assert.is_true(kinds["function"] > 100 and kinds.op >= 60 and kinds.method > 90 and kinds.class == 13)
    local sv = require "simvae"
    for _, name in ipairs(names_of(sv)) do
      if (name ~= "linalg" or has_blas) and type(sv[name]) == "function" then assert.is_table(names[name], name) end
    end
    for _, name in ipairs { "Model", "model:train", "posterior:sample", "tensor:item", "rng:uniform",
      has_blas and "linalg.svd" or "nn.linear" } do
      assert.is_table(names[name], name)
    end
  end)

  it("has a text for everything", function()
    assert.equal("", complaints(function(entry, complain)
      if entry.doc.text == "" then complain "no text" end
    end))
  end)

  it("has type and text of every parameter, result and field", function()
    assert.equal("", complaints(function(entry, complain)
      if not is_function(entry) then return end
      local have = {}
      for _, p in ipairs(entry.doc.params) do
        have[p.name] = true
        for word in p.type:gmatch "%a+" do
          if not KNOWN[word] then complain("%s has the type '%s'", p.name, p.type) end
        end
        if p.text == "" and needs_text(p.type) and entry.kind ~= "op" then complain("no text of %s", p.name) end
      end
      for i, name in ipairs(entry.doc.arguments or {}) do
        if not have[name] and name ~= "self" and not (i == 1 and entry.kind == "method") and name ~= "_" then
          complain("no parameter %s", name)
        end
      end
      for _, r in ipairs(entry.doc.returns) do
        for word in r.type:gmatch "%a+" do
          if not KNOWN[word] then complain("a result has the type '%s'", r.type) end
        end
        if r.text == "" and (r.type == "tensor" or r.type == "table") and entry.kind ~= "op" then
          complain "a result without text"
        end
      end
      for _, field in ipairs(entry.fields or {}) do
        if not field.text then complain("no text of field %s", field.name) end
      end
    end))
  end)

  it("has the results of functions that return, and errors of those that check", function()
    assert.equal("", complaints(function(entry, complain)
      local doc = entry.doc
      if not is_function(entry) or not doc.path then return end
      local source = lines_of(doc.path, doc.first, doc.last)
      if #doc.returns == 0 and source:find "\n%s*return [^%s]" then complain "no result" end
      local body = source:match "\n.*" or ""
      local checks = body:find "check%.fail" or body:find "check%.options" or body:find "check%.value"
        or body:find "error%("
      if #doc.raises == 0 and checks then complain "no errors" end
    end))
  end)

  it("has the options of every function that takes some, and a text of each", function()
    assert.equal("", complaints(function(entry, complain)
      local takes
      for _, p in ipairs(entry.doc.params) do takes = takes or p.text:find "^options" and entry.kind ~= "op" end
      if takes and not entry.options then complain "no options" end
      local function each(list, prefix)
        for _, o in ipairs(list or {}) do
          if not o.doc or o.doc == "" then complain("no text of option %s%s", prefix, o.name) end
          each(o.fields, prefix .. o.name .. ".")
          each(o.each, prefix .. o.name .. ".")
        end
      end
      each(entry.options, "")
    end))
  end)

  it("knows what each declaration of options belongs to", function()
    for name in pairs(check.declared) do
      local entry = reference.find(name)
      assert.equal(name, entry and entry.name, name)
    end
  end)

  it("knows every table of options that a function checks", function()
    local loose = {}
    for line in helper.run("grep -rnE 'check[.]options[(][^)]*[{]' lua"):gmatch "[^\n]+" do
      -- options of an interface that is not public have no declaration
      if not line:find "check%.options%b()" then loose[#loose + 1] = line end
    end
    assert.equal("", table.concat(loose, "\n"))
  end)

  it("has an example of everything that is called", function()
    assert.equal("", complaints(function(entry, complain)
      if is_function(entry) and #entry.doc.usage == 0 then complain "no example" end
    end))
  end)

  it("has examples that run #long", function()
    local folder = helper.temporary_folder()
    local output = helper.run(helper.lua_command_in(folder, "-e", [[
      require("simvae").threads(1) -- other processes do not slow it down
      local list = require("simvae.reference.examples").run(5)
      for _, example in ipairs(list) do
        local fault = example.fault
        local absent = fault and (fault:find "OpenBLAS is missing" or fault:find "libngspice")
        if fault and not absent then io.write(example.entry.name, ": ", fault, "\n") end
      end
      local drawn = 0
      for _, example in ipairs(list) do drawn = drawn + (example.picture and 1 or 0) end
      io.write("ran ", #list, ", drew ", drawn, "\n")
    ]]))
    local ran, drew = output:match "^ran (%d+), drew (%d+)\n$"
    ran, drew = ran or output:match "\nran (%d+), drew (%d+)\n$", drew or output:match "\nran %d+, drew (%d+)\n$"
    assert.is_true(ran ~= nil and tonumber(ran) > 250, output)
    assert.is_nil(output:match "[^\n]*example of [^\n]*", output)
    assert.is_true(tonumber(drew) >= 15, output)
  end)
end)

describe("sv.help", function()
  local function text(name) return help.text(name) or "" end

  -- What is printed while f runs.
  local function printed(f)
    local globals, lines = package.loaded._G, {}
    local before = globals.print
    globals.print = function(line) lines[#lines + 1] = line end
    f()
    globals.print = before
    return lines
  end

  it("shows options with type, range and default", function()
    assert.matches("batch  whole number, at least 1: samples in a step", text "model:train", 1, true)
    assert.matches("workers  whole number, from 0 to 256; default 0", text "train", 1, true)
    assert.matches('bounded  string or boolean', text "model":gsub("true or false", "boolean"), 1, true)
    assert.matches("^encoder.labels of model:train", text "train.labels")
    assert.matches("^decoder.steps, encoder.steps and sleep.steps of model:train", text "train.steps")
    assert.matches('number or string, from 0 to 1; as a string "auto"', text "train.labels", 1, true)
    assert.matches("^encoder.lr of model:train", text "model:train.encoder.lr")
    assert.matches("^params.low of sv.simulator", text "simulator.params.low")
  end)

  it("names every table that has an option, and tells apart options of one name", function()
    local entry, list = reference.find "evaluate", require("simvae.reference.options").list
    local before, shared = entry.options, { "number", doc = "of both" }
    entry.options = list {
      a = { "table", fields = { size = shared, kind = { "string", doc = "of the first" } } },
      b = { "table", fields = { size = shared, kind = { "number", doc = "of the second" } } },
    }
    local size, kind = text "evaluate.size", text "evaluate.kind"
    entry.options = before
    assert.equal("a.size and b.size of sv.evaluate(model, opts)\n\n  of both\n  number", size)
    assert.equal("a.kind of sv.evaluate(model, opts)\n\n  of the first\n  string\n\n"
      .. "b.kind of sv.evaluate(model, opts)\n\n  of the second\n  number", kind)
  end)

  it("finds names with and without what they belong to", function()
    for _, name in ipairs { "train", "model.train", "model:train", "sv.conv2d", "t:item", "item", "metrics.sbc", "sbc",
      "nn.linear", "Model", "metrics", "uniform", "rng:uniform" } do
      assert.is_string(help.text(name), name)
    end
    assert.matches("see also: nn.conv2d", text "conv2d", 1, true)
    assert.is_nil(help.text "knitting")
  end)

  it("names the nearest where a name is misspelt", function()
    local sv = require "simvae"
    local lines = printed(function()
      sv.help "trian"
      sv.help "train.lables"
      sv.help "evalaute"
      sv.help(sv.rng(1))
      sv.help(sv.evaluate)
      sv.help(sv.nn)
    end)
    assert.equal("no help on 'trian'; did you mean 'train'?", lines[1])
    assert.equal("no help on 'train.lables'; did you mean 'train.labels'?", lines[2])
    assert.equal("no help on 'evalaute'; did you mean 'evaluate'?", lines[3])
    assert.matches("^rng%(seed 1.*methods: at, call, choice", lines[4])
    assert.matches("^sv.evaluate%(model, opts%)", lines[5])
    assert.matches("^sv.nn\n.*functions: attention, batch_norm", lines[6])
  end)

  it("takes a model, its methods and a simulator", function()
    local sv = require "simvae"
    local ring = sv.simulator { name = "dot", output = { 1 }, params = { { name = "a", low = 0, high = 1 } },
      simulate = function(z, out) out[1] = z.a end }
    local model = sv.model { simulator = ring, width = 4 }
    local lines = printed(function()
      sv.help(model)
      sv.help(model.train)
      sv.help(ring)
    end)
    assert.matches("^model of dot.*%.simulator %(Simulator%).*methods: decode", lines[1])
    assert.matches("^model:train%(t%)", lines[2])
    assert.matches("methods: .*log_prior", lines[3])
  end)
end)

describe("text in lines", function()
  local wrapped = require("simvae.reference.text").wrapped

  it("fills lines, and divides words that are longer than one where a width is given", function()
    assert.equal("one two\nthree", wrapped("one two three", "", "", 8))
    assert.equal("- one\n  two", wrapped("one two", "- ", "  ", 6))
    assert.equal("ab\nabcdef\nghi xy", wrapped("ab abcdefghi xy", "", "", 6))
    assert.equal("äöüäöü\näöü", wrapped("äöüäöüäöü", "", "", 6))
    assert.equal("", wrapped("", "", "", 6))
    assert.equal(("x"):rep(200), wrapped(("x"):rep(200), "", ""))
  end)
end)

describe("shares", function()
  it("are percentages with a digit below a tenth, as far as there is any", function()
    local percent, shown = require "simvae.util.percent", {}
    for i, v in ipairs { 0, 0.004, 0.0999, 0.1, 0.684, 1 } do shown[i] = percent(v) end
    assert.same({ "0%", "0.4%", "10.0%", "10%", "68%", "100%" }, shown)
    assert.equal("–", percent(nil))
  end)
end)
