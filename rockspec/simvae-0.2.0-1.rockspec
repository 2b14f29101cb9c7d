rockspec_format = "3.0"
package = "simvae"
version = "0.2.0-1"
-- The archive of `make dist`, which `make rock` packs beside this file.
source = { url = "file://simvae-0.2.0.tar.gz", dir = "simvae-0.2.0" }
description = {
  summary = "Learns a simulator and its probabilistic inverse",
  detailed = [[
    A decoder learns to emulate a simulator; an encoder, trained through the frozen decoder, learns to infer the
    simulator's parameters from its output. Simulators are Lua functions, C code, circuits, external programs or
    data sets. The engine (tensors, gradients, convolutions, linear algebra) is C11 and runs on the CPU.]],
  license = "MIT",
  maintainer = "simvae authors",
  labels = { "simulation", "machinelearning", "neuralnetwork", "statistics", "inverseproblem" },
}
supported_platforms = { "unix" }
dependencies = { "lua >= 5.4, < 5.5", "argparse >= 0.7" }
test_dependencies = { "busted >= 2.1", "dkjson >= 2.5" }
external_dependencies = {
  PNG = { header = "png.h", library = "png" },
  ZLIB = { header = "zlib.h", library = "z" },
  OPENBLAS = { library = "openblas" },
}
-- Sources and flags are listed in the Makefile alone.
build = {
  type = "make",
  build_variables = {
    OPTIMIZE = "$(CFLAGS) -O3", -- CFLAGS of LuaRocks hold -O2
    LUA_INCDIR = "$(LUA_INCDIR)",
    LUA = "$(LUA)",
  },
  install_variables = {
    LUA_INCDIR = "$(LUA_INCDIR)",
    OPTIMIZE = "$(CFLAGS) -O3", -- CFLAGS of LuaRocks hold -O2
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
    BINDIR = "$(BINDIR)",
    DATADIR = "$(PREFIX)/share",
    MANDIR = "$(PREFIX)/man",
  },
}
test = { type = "command", command = "make test" }
