-- What is published: version, changelog and rockspec agree; archives hold what is committed, and nothing of this
-- machine.
local absolute = require "simvae.util.absolute"
local helper = require "spec.helper"
local assert = require "luassert"
local core = require "simvae.core"

local version = core.version
local make = "env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u CC -u LUA_INCDIR make -s DIST="

-- The dated sections of the changelog: { { version, date }, … }
local function releases()
  local found = {}
  for name, date in helper.read("CHANGELOG.md"):gmatch "\n## %[([%d.]+)%] %- (%S+)\n" do
    found[#found + 1] = { name, date }
  end
  return found
end

local function rockspec(text)
  local fields = {}
  assert(load(text, "=rockspec", "t", fields))()
  return fields
end

local function have_clone()
  return helper.have "git" and os.execute("git rev-parse -q --verify HEAD > /dev/null 2>&1") == true
end

local dist
-- The folder of `make rock`, or of `make dist` where there is no LuaRocks, and of `make formula`; made once.
local function made()
  if not dist then
    dist = helper.temporary_folder() .. "/dist"
    local output, code = helper.run(make .. helper.quote(dist) .. (helper.have "luarocks" and " rock" or " dist")
      .. " && " .. make .. helper.quote(dist) .. " -o dist formula")
    assert.equal(0, code, output)
  end
  return dist
end

describe("the version", function()
  it("is that of the changelog's latest section, which has a date", function()
    local latest = assert(releases()[1])
    assert.equal(version, latest[1])
    local year, month, day = assert(latest[2]:match "^(%d%d%d%d)%-(%d%d)%-(%d%d)$")
    assert.equal(latest[2], os.date("%Y-%m-%d", os.time { year = year, month = month, day = day, hour = 12 }))
  end)

  it("is that of the only rockspec, by name, content and source", function()
    local names = helper.run "cd rockspec && ls *.rockspec"
    assert.equal(("simvae-%s-1.rockspec\n"):format(version), names)
    local spec = rockspec(helper.read("rockspec/" .. names:sub(1, -2)))
    assert.equal(version .. "-1", spec.version)
    assert.equal(("file://simvae-%s.tar.gz"):format(version), spec.source.url)
    assert.equal("simvae-" .. version, spec.source.dir)
  end)
end)

describe("make dist", function()
  it("archives the committed files, the same bytes each time", function()
    if not have_clone() then return pending "not a clone of the repository" end
    local name = ("/simvae-%s.tar.gz"):format(version)
    local again = helper.temporary_folder() .. "/dist"
    assert.equal(0, select(2, helper.run(make .. helper.quote(again) .. " dist")))
    assert.is_true(helper.read(made() .. name) == helper.read(again .. name))
    -- of git's own list, all but the files that .gitattributes leaves out
    local listed = "git ls-tree -r --name-only HEAD | grep -vE '^\\.(ci/|git)' | sort > %s.listed && "
    local held = "tar -tzf %s | grep -v '/$' | sed 's,^[^/]*/,,' | sort > %s.held && diff %s.listed %s.held"
    local output, code = helper.run(listed:format(again) .. held:format(again .. name, again, again, again))
    assert.equal(0, code, output)
  end)

  it("writes checksums that hold", function()
    if not have_clone() then return pending "not a clone of the repository" end
    if not helper.have "sha256sum" then return pending "no sha256sum" end
    local output, code = helper.run("cd " .. helper.quote(made()) .. " && sha256sum -c SHA256SUMS")
    assert.equal(0, code, output)
    assert.matches(("simvae-%s.tar.gz: OK"):format(version), output, 1, true)
  end)
end)

describe("make rock", function()
  it("packs the archive and a rockspec that names no folder of this machine", function()
    if not have_clone() then return pending "not a clone of the repository" end
    if not helper.have "luarocks" then return pending "no LuaRocks" end
    local name = ("simvae-%s-1"):format(version)
    local rock = helper.quote(("%s/%s.src.rock"):format(made(), name))
    local held = helper.run("unzip -Z1 " .. rock .. " | sort")
    assert.equal(("%s.rockspec\nsimvae-%s.tar.gz\n"):format(name, version), held)
    assert.equal(helper.read(("rockspec/%s.rockspec"):format(name)), helper.run("unzip -p " .. rock .. " '*.rockspec'"))
    local unpacked = helper.temporary_folder()
    assert.equal(0, select(2, helper.run("unzip -q -d " .. unpacked .. " " .. rock)))
    local archive = ("/simvae-%s.tar.gz"):format(version)
    assert.is_true(helper.read(made() .. archive) == helper.read(unpacked .. archive))
  end)

  -- Built from the build that is tested: LuaRocks' make takes its targets for done.
  it("installs from its own file into an empty tree, and runs from another folder", function()
    if not have_clone() then return pending "not a clone of the repository" end
    if not helper.have "luarocks" then return pending "no LuaRocks" end
    if os.getenv "LD_PRELOAD" then return pending "LuaRocks is not for sanitized builds" end
    local folder = helper.temporary_folder()
    local build = absolute(helper.build)
    local unset = "env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u LUA_PATH -u LUA_CPATH HOME="
    local plain = "cd " .. folder .. " && " .. unset .. folder
    local install = "%s luarocks --lua-version 5.4 install --deps-mode none --tree %s/tree %s %s"
    local rock = ("%s/simvae-%s-1.src.rock"):format(made(), version)
    local output, code = helper.run(install:format(plain, folder, helper.quote(rock),
      helper.quote("MAKE=make -o all BUILD=" .. build)))
    assert.equal(0, code, output)
    assert.equal("simvae " .. version .. "\n", helper.run(plain .. " tree/bin/simvae --version"))
    output, code = helper.run(plain .. " tree/bin/simvae new ball && " .. plain
      .. " tree/bin/simvae simulate ball.lua -n 4 --out data.npz")
    assert.equal(0, code, output)
    assert.equal(4, require "simvae".io.load_npz(folder .. "/data.npz").z.shape[1])
    assert.matches("/_simvae\n", helper.run("find " .. folder .. "/tree -name _simvae")) -- not in /usr/local
    local modules = "cd %s && find share lib/lua -name '*.lua' -o -name '*.so' | sort"
    assert.equal(helper.run(modules:format(helper.quote(build))), helper.run(modules:format(folder .. "/tree")))
  end)
end)

describe("the formula", function()
  it("is of the archive, by address and checksum, and installs what the README names for Homebrew", function()
    if not have_clone() then return pending "not a clone of the repository" end
    local formula = helper.read(made() .. "/simvae.rb")
    local name = ("simvae-%s.tar.gz"):format(version)
    assert.equal(("file://%s/%s"):format(absolute(made()), name), formula:match 'url "([^"]*)"')
    if helper.have "sha256sum" then
      local sum = helper.run("sha256sum < " .. helper.quote(made() .. "/" .. name)):match "^%x+"
      assert.equal(sum, formula:match 'sha256 "([^"]*)"')
    end
    local install = " " .. helper.read("README.md"):match "\nbrew install ([^\n]*)" .. " "
    for package in formula:gmatch 'depends_on "([^"]*)"' do
      assert.is_truthy(install:find(" " .. package .. " ", 1, true), package)
    end
  end)

  it("is Ruby", function()
    if not helper.have "ruby" then return pending "no Ruby" end
    assert.equal("Syntax OK\n", helper.run "ruby -c rockspec/simvae.rb")
  end)
end)
