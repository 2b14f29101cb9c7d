-- The Debian package: built from the archive, checked by lintian, and run from an empty folder.
local absolute = require "simvae.util.absolute"
local helper = require "spec.helper"
local assert = require "luassert"
local core = require "simvae.core"

local quote = helper.quote

-- A field of a control file: the words that its commas part.
local function list(text, field)
  local found = {}
  local value = ("\n" .. text):match("\n" .. field .. ": ([^\n]*\n[ \t\n]?[^:]-)\n%u[%w-]*:") or
    ("\n" .. text):match("\n" .. field .. ": ([^\n]*)")
  for name in value:gmatch "[^,\n]+" do found[#found + 1] = name:match "^%s*(.-)%s*$" end
  return found
end

describe("the package's control file", function()
  it("names the libraries that the Makefile installs, and what users may want besides", function()
    local control = helper.read "rockspec/debian/control"
    local needed = " " .. table.concat(list(control, "Build%-Depends"), " ") .. " "
    local named = 0
    for name in helper.read("Makefile"):match("\nAPT_BUILD%s*=([^#]-)\nAPT_TEST"):gmatch "%f[%w]l?[%w.-]+%-dev" do
      if name ~= "libc6-dev" then
        named = named + 1
        assert.is_truthy(needed:find(" " .. name .. " ", 1, true), name)
      end
    end
    assert.is_true(named >= 4)
    assert.same({ "gnuplot-nox | gnuplot", "libngspice0" }, list(control, "Recommends"))
  end)
end)

describe("make deb", function()
  -- Packs the build that is tested: make takes its targets for done.
  it("makes a package that lintian accepts, and that runs without the source tree", function()
    if os.execute "git rev-parse -q --verify HEAD > /dev/null 2>&1" ~= true then
      return pending "not a clone of the repository"
    end
    for _, program in ipairs { "dpkg-buildpackage", "dh", "dh_lua", "lintian" } do
      if not helper.have(program) then return pending("no " .. program) end
    end
    if os.getenv "LD_PRELOAD" then return pending "packages are not for sanitized builds" end
    local folder = helper.temporary_folder()
    local unset = "env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u CC -u LUA_INCDIR -u LUA_PATH -u LUA_CPATH "
    local places = quote("DIST=" .. folder .. "/dist") .. " " .. quote("DEB=" .. folder .. "/deb")
    local output, code = helper.run(unset .. "DEB_BUILD_OPTIONS='nocheck noautodbgsym' make -s deb " .. places .. " "
      .. quote("MAKE_ARGS=-o all BUILD=" .. absolute(helper.build))
      .. " NO_TAGS=library-not-linked-against-libc") -- Debian's flags make blas.so use libc
    assert.equal(0, code, output)
    local file = ("%s/dist/lua-simvae_%s-1_%s.deb"):format(folder, core.version,
      helper.run("dpkg --print-architecture"):sub(1, -2))

    local control = helper.run("dpkg-deb -f " .. file)
    local depends = table.concat(list(control, "Depends"), " ")
    for _, name in ipairs { "lua5%.4", "lua%-argparse", "libpng16", "zlib1g", "libc6" } do
      assert.matches("%f[%w]" .. name, depends)
    end
    assert.same({ "lua5.4-simvae" }, list(control, "Provides"))
    -- what reads HDF5 and MATLAB files is suggested alone
    local suggests = table.concat(list(control, "Suggests"), " ")
    for module, library in pairs { hdf5 = "libhdf5", matio = "libmatio" } do
      assert.is_nil(depends:find(library, 1, true))
      if core.system.kind(helper.build .. "/lib/lua/5.4/simvae/" .. module .. ".so") then
        assert.matches(library, suggests, 1, true)
      end
    end

    local root = folder .. "/root"
    assert.equal(0, select(2, helper.run("dpkg-deb -x " .. file .. " " .. root)))
    for _, path in ipairs { "man/man1/simvae.1.gz", "bash-completion/completions/simvae",
      "zsh/vendor-completions/_simvae", "fish/vendor_completions.d/simvae.fish", "doc/lua-simvae/copyright",
      "lua/5.4/simvae/simulators/box.lua", "lua/5.4/simvae/library/simvae.lua" } do
      assert.is_true(#helper.read(root .. "/usr/share/" .. path) > 0, path)
    end
    local modules = helper.run("cd " .. root .. "/usr/lib && find . -name '*.so' | sort")
    local multiarch = helper.run("dpkg-architecture -qDEB_HOST_MULTIARCH"):sub(1, -2)
    assert.matches(("./%s/lua/5.4/simvae/core.so\n"):format(multiarch), modules, 1, true)

    local share = root .. "/usr/share/lua/5.4/"
    local run = "mkdir %s/empty && cd %s/empty && env HOME=%s AUTOPKGTEST_TMP=%s/empty PATH=%s/usr/bin:\"$PATH\" "
      .. "LUA_PATH='%s?.lua;%s?/init.lua;;' LUA_CPATH='%s/usr/lib/%s/lua/5.4/?.so;;' sh %s"
    output, code = helper.run(run:format(folder, folder, folder, folder, root, share, share, root, multiarch,
      quote(absolute "rockspec/debian/tests/installed")))
    assert.equal(0, code, output)
    assert.matches("^simvae " .. core.version:gsub("%.", "%%.") .. "\n", output)
    assert.matches("ball.npz, output 2\nname +value", output)
  end)
end)
