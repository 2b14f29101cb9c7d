rockspec_format = "3.0"
package = "simvae"
version = "scm-1"
source = { url = "git+file://." }
description = {
  summary = "Learns a simulator and its inverse without labels",
  detailed = [[
    A decoder learns to emulate a simulator; an encoder, trained through the frozen decoder, learns to infer the
    simulator's parameters from its output. Simulators are Lua functions, C code, circuits, external programs or
    data sets. The engine (tensors, gradients, convolutions, linear algebra) is C11 and runs on the CPU.]],
  license = "MIT",
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
    CFLAGS = "$(CFLAGS)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    LUA_LIBDIR = "$(LUA_LIBDIR)",
    LUA = "$(LUA)",
  },
  install_variables = {
    LUA_INCDIR = "$(LUA_INCDIR)",
    CFLAGS = "$(CFLAGS)",
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
    BINDIR = "$(BINDIR)",
    MANDIR = "$(PREFIX)/man",
  },
}
test = { type = "command", command = "make test" }
