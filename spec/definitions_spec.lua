-- The LuaCATS definitions that the build writes into simvae/library (simvae.reference.definitions): what they define is
-- what is public, and lua-language-server, where it is installed, finds nothing in the examples to complain of.
local helper = require "spec.helper"
local assert = require "luassert"
local definitions = require "simvae.reference.definitions"
local examples = require "simvae.reference.examples"
local reference = require "simvae.reference"

local library = definitions.library()

-- Classes are locals of the file; sv is what it returns.
local function loaded()
  local classes = {}
  for name in library:gmatch "\nlocal (%u%a+) = {}" do classes[#classes + 1] = name end
  local code = library:gsub("\nreturn sv\n$", "\nreturn sv, { "
    .. table.concat(classes, ", "):gsub("%a+", "%0 = %0") .. " }\n")
  return assert(load(code, "=library"))()
end

-- The tag lines above a function of the file.
local function tags_of(signature)
  local at = assert(library:find(signature, 1, true), signature)
  local lines = {}
  for line in library:sub(1, at - 1):gmatch "[^\n]*" do lines[#lines + 1] = line end
  local tags = {}
  for i = #lines, 1, -1 do
    if lines[i] ~= "" then
      local tag = lines[i]:match "^%-%-%-@(.*)"
      if not lines[i]:find "^%-%-%-" then break end
      if tag then table.insert(tags, 1, tag) end
    end
  end
  return tags
end

describe("the definitions for editors", function()
  it("are Lua that defines every function, op, method and module", function()
    local sv, classes = loaded()
    local count = 0
    for entry in reference.entries() do
      local word = entry.name:match "[%w_]+$"
      if entry.kind == "method" then
        local class = classes[entry.owner:sub(1, 1):upper() .. entry.owner:sub(2)]
        assert.is_function(class[word], entry.name)
        count = count + 1
      elseif entry.kind == "function" or entry.kind == "op" then
        local module = entry.owner == "" and sv or sv[entry.owner]
        assert.is_function(module[word], entry.name)
        count = count + 1
      elseif entry.kind == "module" then
        assert.is_table(sv[entry.name], entry.name)
      elseif entry.kind == "class" then
        assert.is_table(classes[entry.name], entry.name)
      end
    end
    assert.is_true(count > 250)
    assert.is_function(classes.Tensor.sum)
  end)

  it("give options, parameters and results their types", function()
    assert.same({ "param t? simvae.options.model.train options", "return simvae.Model # itself" },
      tags_of "function Model:train(t) end")
    assert.matches("\n---@class simvae.options.model.train\n", library, 1, true)
    assert.matches("\n---@field decoder? simvae.options.model.train.decoder stage 1", library, 1, true)
    assert.matches("\n---@field labels? number|\"auto\" of a posterior", library, 1, true)
    assert.matches("\n---@field simulator simvae.Simulator ", library, 1, true)
    local tags = tags_of "function sv.conv2d("
    assert.equal("param x simvae.Tensor ", tags[1])
    assert.equal("param b? simvae.Tensor ", tags[3])
    assert.equal("param stride? integer|table default 1", tags[4])
    local failing = tags_of "function sv.io.load_png("
    assert.matches("^return simvae.Tensor%?", failing[3])
    assert.matches("^return string%? message", failing[4])
  end)

  it("name only classes that they define", function()
    local defined = {}
    for name in library:gmatch "\n%-%-%-@class ([%w_.]+)" do defined[name] = true end
    for line in library:gmatch "\n%-%-%-(@[^\n]*)" do
      local tag, rest = line:match "^@(%a+) (.*)$"
      local type = tag == "return" and rest:match "^[^#]*" or tag == "param" and rest:match "^%S+ (%S+)"
        or tag == "field" and rest:match "^%S+ (%S+)" or tag == "class" and "" or rest
      for name in (type or ""):gmatch "simvae%.[%w_.]*%w" do assert.is_true(defined[name], name .. " in " .. line) end
    end
  end)

  it("are in the build, and each built-in simulator has its own", function()
    if os.getenv "LD_PRELOAD" then return end -- a sanitized build, which does not write them
    local folder = helper.build .. "/share/lua/5.4/simvae/library/"
    local files = 0
    for path, text in pairs(definitions.files()) do
      assert.equal(text, helper.read(folder .. path), path)
      files = files + 1
    end
    assert.is_true(files >= 6)
    assert.matches("^%-%-%-@meta simvae.simulators.box\n", helper.read(folder .. "simvae/simulators/box.lua"))
  end)

  it("let lua-language-server find mistakes, and none in the examples", function()
    if not os.execute "command -v lua-language-server > /dev/null" then
      return pending "no lua-language-server"
    end
    local folder = helper.temporary_folder()
    definitions.write(folder .. "/library")
    local function write(path, text) helper.write(folder .. path, text) end
    assert(os.execute("mkdir " .. folder .. "/right " .. folder .. "/wrong"))
    for i, example in ipairs(examples.all()) do
      write(string.format("/right/%03d.lua", i), examples.prepared(10) .. example.code .. "\n")
    end
    write("/wrong/mistakes.lua", 'local sv = require "simvae"\nlocal m = sv.model { net = "conv" }\n'
      .. 'm:train { batch = "a" }\nm:trian()\nprint(sv.conv3d, m)\n')
    local settings = string.format('{"runtime.version": "Lua 5.4", "workspace.library": [%q]}', folder .. "/library")
    local function check(name)
      write("/" .. name .. "/.luarc.json", settings)
      local _, code = helper.run(string.format("lua-language-server --check %s --checklevel=Warning "
        .. "--check_format=json --check_out_path=%s.json --logpath=%s/log", folder .. "/" .. name,
        folder .. "/" .. name, folder))
      return code == 0 and "" or helper.read(folder .. "/" .. name .. ".json")
    end
    assert.equal("", check "right")
    local found = check "wrong"
    for _, word in ipairs { "missing-fields", "assign-type-mismatch", "trian", "conv3d" } do
      assert.matches(word, found, 1, true)
    end
  end)
end)
