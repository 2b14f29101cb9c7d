# simvae: single entry point for build, tests, benchmarks and installation.
#
#   make            builds into build/, in the layout of the installed tree
#   make demo       installs missing packages (Debian, Ubuntu), builds, trains on the box simulator
#   make test       installs missing packages, builds, and runs the test suite
#   make help       all targets and settings
#
# Works with GNU make 3.81 (macOS) and later.

LUA_VERSION = 5.4
LUA        ?= $(firstword $(shell command -v lua$(LUA_VERSION) lua54 lua 2>/dev/null) lua$(LUA_VERSION))
BUILD      ?= build
PREFIX     ?= /usr/local
LUADIR     ?= $(PREFIX)/share/lua/$(LUA_VERSION)
LIBDIR     ?= $(PREFIX)/lib/lua/$(LUA_VERSION)
BINDIR     ?= $(PREFIX)/bin
DATADIR    ?= $(PREFIX)/share
MANDIR     ?= $(DATADIR)/man
BASH_COMPLETIONS ?= $(DATADIR)/bash-completion/completions
ZSH_COMPLETIONS  ?= $(DATADIR)/zsh/site-functions
FISH_COMPLETIONS ?= $(DATADIR)/fish/vendor_completions.d

# ---- packages, by their names in Debian and Ubuntu -----------------------------------------------

APT_BUILD    = $(if $(shell command -v $(firstword $(CC)) 2> /dev/null),,gcc) libc6-dev pkg-config lua5.4 \
               liblua5.4-dev libpng-dev zlib1g-dev libopenblas-dev lua-argparse
APT_TEST     = lua-busted lua-dkjson procps locales tmux lua-readline luarocks zip unzip
APT_CLUSTER  = slurm-wlm munge parallel openssh-server $(APT_MPI)
APT_MPI      = libopenmpi-dev openmpi-bin
APT_LINT     = lua-check clang clang-format cppcheck
APT_FUZZ     = clang
APT_ARM64    = mmdebstrap qemu-user-static gcc-aarch64-linux-gnu
APT_DEB      = dpkg-dev debhelper dh-lua lintian
APT_OPTIONAL = libngspice0 ngspice gnuplot-nox lua-readline libhdf5-dev libmatio-dev
BREW         = lua@5.4 pkgconf libpng openblas luarocks ngspice libngspice gnuplot hdf5 libmatio open-mpi luacheck clang-format cppcheck
ROCKS        = argparse dkjson busted

VERSION    := $(shell sed -n 's/^.define SV_VERSION "\(.*\)"/\1/p' csrc/version.h)

# ---- compiler ------------------------------------------------------------------------------------

CC         ?= cc
OPTIMIZE   ?= -O3
WARN        = -Wall -Wextra -Wpedantic -Werror=implicit-function-declaration
PKG_CONFIG ?= pkg-config
# package(names): the first one known to pkg-config
package     = $(firstword $(foreach p,$(1),$(shell $(PKG_CONFIG) --exists $(p) 2>/dev/null && echo $(p))))

LUA_PC     := $(call package,lua$(LUA_VERSION) lua-$(LUA_VERSION) lua54 lua)
PACKAGES   := $(call package,libpng) $(call package,zlib)
ifneq ($(strip $(LUA_INCDIR)),)
LUA_CFLAGS := -I$(LUA_INCDIR)
else ifneq ($(LUA_PC),)
LUA_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(LUA_PC))
endif
PC_CFLAGS  := $(if $(strip $(PACKAGES)),$(shell $(PKG_CONFIG) --cflags $(PACKAGES)))
PC_LIBS    := $(if $(strip $(PACKAGES)),$(shell $(PKG_CONFIG) --libs $(PACKAGES)))

DEFINES     = $(if $(filter double,$(SV_REAL)),-DSV_DOUBLE)
CFLAGS_ALL  = -std=c11 $(OPTIMIZE) -fPIC -fvisibility=hidden -fno-math-errno -fno-trapping-math -pthread $(WARN) $(DEFINES) \
              $(CFLAGS) $(SANITIZER)
# Kernels are compiled without the include paths of Lua and of the libraries, so that including lua.h is an error.
INCLUDES    = $(if $(filter csrc/kernels/%,$<),,$(LUA_CFLAGS) $(PC_CFLAGS)) \
              $(if $(filter csrc/sim/builtin.c,$<),-include $(BUILD)/obj/simulators.h)
LIBS_ALL    = $(PC_LIBS) -lm -ldl -pthread $(LDFLAGS) $(SANITIZER)
ifeq ($(shell uname -s),Darwin)
SHARED      = -bundle -undefined dynamic_lookup
else
SHARED      = -shared -Wl,--as-needed
endif

# ---- build rules ---------------------------------------------------------------------------------

# Modules of their own, csrc/NAME/*.c, which link a library.
OWN_MODULES = blas hdf5 matio mpi
SOURCES    := csrc/module.c $(filter-out $(wildcard $(OWN_MODULES:%=csrc/%/*.c)),$(wildcard csrc/*/*.c))
OBJECTS    := $(SOURCES:csrc/%.c=$(BUILD)/obj/%.o)
LUA_FILES  := $(shell find lua/simvae -name "*.lua" -o -name "*.py" -o -path "*/web/*")
SIM_FILES  := $(wildcard simulators/*)

SHARE       = $(BUILD)/share/lua/$(LUA_VERSION)
LIB         = $(BUILD)/lib/lua/$(LUA_VERSION)
CORE        = $(LIB)/simvae/core.so
# blas.so: a separate module that links OpenBLAS. Not built where OpenBLAS is not installed, or with WITHOUT_BLAS=1.
BLAS_PC     = $(call package,openblas blas-openblas)
BLAS        = $(if $(WITHOUT_BLAS),,$(if $(BLAS_PC),$(LIB)/simvae/blas.so))
# hdf5.so, matio.so: not built where libhdf5 or libmatio is not installed, or with WITHOUT_READERS=1.
HDF5_PC     = $(call package,hdf5 hdf5-serial)
MATIO_PC    = $(call package,matio)
READERS     = $(if $(WITHOUT_READERS),,$(if $(HDF5_PC),$(LIB)/simvae/hdf5.so) $(if $(MATIO_PC),$(LIB)/simvae/matio.so))
# mpi.so: not built where there is no mpicc, or with WITHOUT_MPI=1. MPICC compiles through CC.
MPICC      ?= $(firstword $(shell command -v mpicc 2>/dev/null))
MPI         = $(if $(WITHOUT_MPI),,$(if $(MPICC),$(LIB)/simvae/mpi.so))
STAGED      = $(LUA_FILES:lua/%=$(SHARE)/%) $(SIM_FILES:%=$(SHARE)/simvae/%)
# Definitions for editors (LuaCATS), from the documentation of the module, which has to be loaded for that: not by
# sanitized builds, nor where it is built for another machine.
DEFINITIONS = $(if $(SANITIZER),,$(SHARE)/simvae/library/simvae.lua)

# Uses all cores unless -j is given.
ifeq ($(MAKELEVEL)$(findstring -j,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
endif
# V=1 prints the commands.
Q           = $(if $(V),,@)
say         = @$(if $(V)$(findstring s,$(filter-out -%,$(firstword $(MAKEFLAGS)))),:,echo)
MAKEFLAGS += --no-print-directory

.PHONY: all
all: $(CORE) $(BLAS) $(READERS) $(MPI) $(STAGED) $(BUILD)/bin/simvae $(DEFINITIONS)
	@rm -f $(filter-out $(BLAS) $(READERS) $(MPI),$(OWN_MODULES:%=$(LIB)/simvae/%.so)) # of an earlier build

$(CORE): $(OBJECTS) $(BUILD)/obj/link
	@mkdir -p $(@D)
	$(Q)$(CC) $(SHARED) -o $@ $(OBJECTS) $(LIBS_ALL)

# nodelete: OpenBLAS has threads of its own, so the module must stay loaded when a Lua state closes.
ifneq ($(shell uname -s),Darwin)
RESIDENT    = -Wl,-z,nodelete
endif
$(LIB)/simvae/blas.so: csrc/blas/blas.c csrc/blas/blas.h csrc/version.h $(BUILD)/obj/flags
	@mkdir -p $(@D)
	$(say) "$(CC) $<"
	$(Q)$(CC) $(SHARED) $(RESIDENT) $(CFLAGS_ALL) $(INCLUDES) $(WERROR) $(shell $(PKG_CONFIG) --cflags $(BLAS_PC)) -o $@ $< \
		$(shell $(PKG_CONFIG) --libs $(BLAS_PC)) $(LDFLAGS)

$(LIB)/simvae/hdf5.so: csrc/hdf5/hdf5.c
$(LIB)/simvae/matio.so: csrc/matio/matio.c
$(LIB)/simvae/hdf5.so $(LIB)/simvae/matio.so: csrc/version.h $(BUILD)/obj/flags
	@mkdir -p $(@D)
	$(say) "$(CC) $(filter %.c,$^)"
	$(Q)$(CC) $(SHARED) $(CFLAGS_ALL) $(INCLUDES) $(WERROR) \
		$(shell $(PKG_CONFIG) --cflags $(if $(filter %hdf5.so,$@),$(HDF5_PC),$(MATIO_PC))) -o $@ $(filter %.c,$^) \
		$(shell $(PKG_CONFIG) --libs $(if $(filter %hdf5.so,$@),$(HDF5_PC),$(MATIO_PC))) $(LDFLAGS)

# nodelete: MPI has threads and handlers of its own.
MPI_SOURCES = $(wildcard csrc/mpi/*.c)
$(LIB)/simvae/mpi.so: $(MPI_SOURCES) $(wildcard csrc/mpi/*.h csrc/kernels/tree_sum.h csrc/engine/engine.h) csrc/version.h \
		$(BUILD)/obj/flags
	@mkdir -p $(@D)
	$(say) "$(MPICC) csrc/mpi/*.c"
	$(Q)OMPI_CC="$(CC)" MPICH_CC="$(CC)" $(MPICC) $(SHARED) $(RESIDENT) $(CFLAGS_ALL) $(INCLUDES) $(WERROR) -o $@ \
		$(MPI_SOURCES) $(LDFLAGS)

$(BUILD)/obj/%.o: csrc/%.c $(BUILD)/obj/flags
	@mkdir -p $(@D)
	$(say) "$(CC) $<"
	$(Q)$(CC) $(CFLAGS_ALL) $(INCLUDES) $(WERROR) -MMD -MP -c -o $@ $<

# Every csrc/simulators/NAME.c is a simulator that csrc/sim/builtin.c registers.
HASH       := \#
SIMULATORS  = $(patsubst csrc/simulators/%.c,X(%),$(wildcard csrc/simulators/*.c))
$(BUILD)/obj/simulators.h: FORCE
	@$(call remember,$(HASH)define SV_SIMULATORS $(SIMULATORS),:)
$(BUILD)/obj/sim/builtin.o: $(BUILD)/obj/simulators.h

-include $(OBJECTS:.o=.d)

# Stamp files with the flags, objects and staged files of the last build: a changed flag recompiles everything, an added
# or removed source relinks, and staged files without a source are removed.
remember    = mkdir -p $(@D); echo '$(1)' | cmp -s - $@ || { $(2); echo '$(1)' > $@; }
$(BUILD)/obj/flags: FORCE
	@$(requirements)
	@$(call remember,$(CC) $(CFLAGS_ALL) $(LUA_CFLAGS) $(PC_CFLAGS),$(notices))
$(BUILD)/obj/link: FORCE
	@$(call remember,$(OBJECTS) $(LIBS_ALL),:)
$(BUILD)/obj/staged: FORCE
	@$(call remember,$(STAGED),rm -rf $(SHARE))
$(STAGED): $(BUILD)/obj/staged

# need(package, description): reports a missing requirement
need        = { echo "missing: $(2) (Debian, Ubuntu: apt-get install $(1), or make deps)" >&2; missing=yes; }
requirements = command -v $(firstword $(CC)) > /dev/null || $(call need,gcc,a C compiler); \
	command -v $(firstword $(PKG_CONFIG)) > /dev/null || $(call need,pkg-config,pkg-config); \
	$(if $(strip $(LUA_INCDIR)$(LUA_PC)),:,$(call need,liblua5.4-dev,the headers of Lua $(LUA_VERSION))); \
	$(if $(filter libpng,$(PACKAGES)),:,$(call need,libpng-dev,libpng)); \
	$(if $(filter zlib,$(PACKAGES)),:,$(call need,zlib1g-dev,zlib)); \
	$(if $(WITHOUT_BLAS)$(BLAS_PC),:,$(call need,libopenblas-dev,OpenBLAS (WITHOUT_BLAS=1 builds without it and without sv.linalg))); \
	[ -z "$$missing" ]
# ngspice is loaded at run time, when a circuit is first used; a missing one is reported at build time.
notices     = { $(PKG_CONFIG) --exists ngspice || ldconfig -p | grep -q libngspice; } 2>/dev/null || \
	echo "ngspice not found: needed for circuits (sv.spice) (apt-get install libngspice0)"

$(SHARE)/simvae/simulators/%: simulators/%
	@mkdir -p $(@D)
	$(Q)cp $< $@

$(SHARE)/simvae/library/simvae.lua: $(CORE) $(BLAS) $(STAGED)
	$(Q)$(call in_tree,$(BUILD)) $(LUA) -e 'require("simvae.reference.definitions").write("$(@D)")' \
		2> $(BUILD)/obj/definitions.log || { echo "definitions for editors not written: $$(head -1 $(BUILD)/obj/definitions.log)"; }

$(SHARE)/%: lua/%
	@mkdir -p $(@D)
	$(Q)cp $< $@

# The command, for the interpreter that the build found.
$(BUILD)/bin/simvae: lua/bin/simvae $(BUILD)/obj/flags
	@mkdir -p $(@D)
	$(Q)sed '1s|lua5[.]4|$(notdir $(LUA))|' $< > $@ && chmod 755 $@

# What the command writes of itself, by its parser (argparse): the man page, and completion for shells.
MAN_PAGE    = $(BUILD)/share/man/man1/simvae.1
BASH_FILE   = $(BUILD)/share/bash-completion/completions/simvae
ZSH_FILE    = $(BUILD)/share/zsh/site-functions/_simvae
FISH_FILE   = $(BUILD)/share/fish/vendor_completions.d/simvae.fish
write       = mkdir -p $(dir $(1)) && $(call in_tree,$(BUILD)) $(LUA) $(2) > $(1).tmp && mv $(1).tmp $(1)
write_texts = $(call write,$(MAN_PAGE),-e 'io.write(require("simvae.cli.man").page())') && \
	$(call write,$(BASH_FILE),$(BUILD)/bin/simvae completion bash) && \
	$(call write,$(ZSH_FILE),$(BUILD)/bin/simvae completion zsh) && \
	$(call write,$(FISH_FILE),$(BUILD)/bin/simvae completion fish)
.PHONY: man
man: all
	$(Q)$(write_texts)

.PHONY: FORCE
FORCE:

# ---- use -----------------------------------------------------------------------------------------

# in_tree(build directory): environment variables by which Lua finds that tree
in_tree     = LUA_PATH="$(abspath $(1)/share/lua/$(LUA_VERSION))/?.lua;$(abspath $(1)/share/lua/$(LUA_VERSION))/?/init.lua;$${LUA_PATH:-;}" \
              LUA_CPATH="$(abspath $(1)/lib/lua/$(LUA_VERSION))/?.so;$${LUA_CPATH:-;}"

# eval "$(make -s env)" sets them in a shell, for build/
.PHONY: env
env:
	@echo 'export $(call in_tree,$(BUILD)) PATH="$(abspath $(BUILD)/bin):$$PATH"'

.PHONY: demo
demo:
	@$(MAKE) optional-deps
	@$(MAKE) all
	$(call in_tree,$(BUILD)) $(LUA) examples/train_box.lua --out $(BUILD)/demo --demo

.PHONY: reproduce
reproduce:
	@$(MAKE) optional-deps
	@$(MAKE) all
	$(call in_tree,$(BUILD)) $(LUA) examples/reproduce.lua $(if $(QUICK),--quick) $(REPRODUCE_ARGS)

.PHONY: compare
compare: all
	$(call in_tree,$(BUILD)) $(LUA) examples/compare.lua $(if $(QUICK),--quick) $(COMPARE_ARGS)

# ---- tests ---------------------------------------------------------------------------------------

# Specs that check gradients also run in double precision, where finite differences are accurate, and under the
# sanitizers at each CPU level.
DOUBLE_SPECS   = $(filter-out $(PROGRAM_SPECS:%=spec/%_spec.lua),$(shell grep -l -e grad_check -e 'core[.]real' \
	-e 'sv[.]real' spec/*_spec.lua))
SUITE          = $(LUA) spec/suite.lua
# Printed where the build fails, in the format of the suite's last line.
NOTHING_RAN    = { echo "0 passed, 1 failed, 0 skipped"; exit 1; }

.PHONY: test
test:
	@$(MAKE) test-deps || $(NOTHING_RAN)
	@$(MAKE) optional-deps || $(NOTHING_RAN)
	@$(MAKE) all || $(NOTHING_RAN)
	@$(MAKE) all SV_REAL=double BUILD=$(BUILD)/double || $(NOTHING_RAN)
	@$(SUITE) $(BUILD) $(if $(DOUBLE_SPECS),$(BUILD)/double $(DOUBLE_SPECS))

# each_kernel(build, command): runs the command with SV_KERNEL set to each CPU level (csrc/kernels/cpu.h) of this CPU
# except the default one; $result is the exit code of the first failure, or 0.
kernels_of     = $(call in_tree,$(1)) $(LUA) -e 'print((select($(2), require("simvae.core").kernel()):gsub(",", "")))'
each_kernel    = usual=$$($(call kernels_of,$(1),1)); result=0; for kernel in $$($(call kernels_of,$(1),2)); do \
	if [ $$kernel = "$$usual" ]; then echo "== kernel $$kernel: the default here"; \
	else echo "== kernel $$kernel"; SV_KERNEL=$$kernel $(2); now=$$?; [ $$result != 0 ] || result=$$now; fi; done

# Runs at other levels and under sanitizers leave out specs of programs and pages, and those that train for long.
PROGRAM_SPECS = bench build cli cli_export cli_use complete debian definitions docs examples explore export_c export_web \
	fmu graphics jupyter methods mpi notebooks onnx onnx_ops package pages parallel peers python_notebook readme reference \
	repl report_page reproduce sbibm shards slurm
# At other CPU levels: what computes, and trainings as a whole.
LEVEL_SPECS   = $(filter-out $(patsubst %,spec/%_spec.lua,dataset io number sampler simulator),$(DOUBLE_SPECS))
KERNEL_SPECS  = $(sort $(LEVEL_SPECS) $(patsubst %,spec/%_spec.lua,checkpoint decoder metrics mixture model posterior \
	simulators))
LIBRARY_SPECS = $(filter-out $(PROGRAM_SPECS:%=spec/%_spec.lua),$(wildcard spec/*_spec.lua))

.PHONY: test-kernels
test-kernels:
	@$(MAKE) test-deps || $(NOTHING_RAN)
	@$(MAKE) all || $(NOTHING_RAN)
	@$(call each_kernel,$(BUILD),$(SUITE) --without long $(BUILD) $(KERNEL_SPECS)); exit $$result

# Numeric specs with all dense products computed by OpenBLAS; with all of them by our portable kernels, which the default
# leaves to OpenBLAS; and in a build without OpenBLAS.
.PHONY: test-blas
test-blas:
	@$(MAKE) test-deps || $(NOTHING_RAN)
	@$(MAKE) all || $(NOTHING_RAN)
	@$(MAKE) all WITHOUT_BLAS=1 BUILD=$(BUILD)/without-blas || $(NOTHING_RAN)
	@$(if $(BLAS),echo "== products by OpenBLAS"; SV_BLAS=openblas $(SUITE) $(BUILD) $(DOUBLE_SPECS),:); first=$$?; \
	echo "== products by our portable kernels"; \
	SV_BLAS=ours SV_KERNEL=portable $(SUITE) $(BUILD) $(DOUBLE_SPECS); second=$$?; \
	echo "== without OpenBLAS"; \
	$(SUITE) $(BUILD)/without-blas $(DOUBLE_SPECS) && [ $$first = 0 ] && [ $$second = 0 ]

# stress.so runs Lua's collector inside the core's allocations (spec/stress.c); it must stay loaded after lua_close.
$(BUILD)/stress.so: spec/stress.c
	$(Q)$(CC) $(SHARED) -Wl,-z,nodelete -std=c11 -fPIC -O1 $(WARN) $(LUA_CFLAGS) -o $@ $<

# AddressSanitizer is preloaded, since Lua is not built with it. Leak detection is off in the suite, where it would also
# check the programs that specs start (python3, sh, ngspice). spec/leaks.lua runs it in a process of its own, with the
# core still loaded at exit, so that only unreachable memory counts.
SANITIZERS  = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g
ifneq ($(findstring clang,$(shell $(CC) --version 2>/dev/null)),)
SANITIZERS += -shared-libsan
RUNTIMES    = $(shell $(CC) -print-file-name=libclang_rt.asan-$(shell uname -m).so)
else
RUNTIMES    = $(shell $(CC) -print-file-name=libasan.so):$(shell $(CC) -print-file-name=libubsan.so)
endif
SANITIZED   = LD_PRELOAD=$(RUNTIMES) UBSAN_OPTIONS=print_stacktrace=1
# An allocation that there is no memory for is an error of Lua, as without sanitizers.
UNLEAKED    = $(SANITIZED) ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1

# Specs for the aggressive collector: those that train nothing, and one of trainings.
COLLECTED_SPECS = spec/checkpoint_spec.lua $(shell grep -L -e ':train' $(LIBRARY_SPECS))

.PHONY: sanitize
sanitize:
	@$(MAKE) test-deps || $(NOTHING_RAN)
	@$(MAKE) all BUILD=$(BUILD)/sanitize OPTIMIZE=-O1 SANITIZER="$(SANITIZERS)" || $(NOTHING_RAN)
	@$(MAKE) all $(BUILD)/stress.so || $(NOTHING_RAN)
	@echo "== address and undefined behaviour"; \
	$(SUITE) --env '$(UNLEAKED)' --without long $(BUILD)/sanitize \
		$(LIBRARY_SPECS); first=$$?; \
	$(call each_kernel,$(BUILD),$(SUITE) --env '$(UNLEAKED)' --without long \
		$(BUILD)/sanitize $(LEVEL_SPECS)); \
	echo "== leaks"; \
	$(call in_tree,$(BUILD)/sanitize) $(SANITIZED) ASAN_OPTIONS=detect_leaks=1 $(LUA) spec/leaks.lua; second=$$?; \
	echo "== the normal build, Lua's collector at its most aggressive"; \
	$(SUITE) --env SIMVAE_COLLECT=251 --without long $(BUILD) $(COLLECTED_SPECS) && [ $$first = 0 ] && [ $$second = 0 ] && [ $$result = 0 ]

# Fuzzes every file reader, and ops with random programs, under the sanitizers for SECONDS in total (spec/fuzz/run.lua);
# FUZZ selects targets; SEED repeats a run (0: from the clock). libFuzzer is part of clang's runtime package, which
# carries clang's version in its name.
SECONDS     = 60
SEED        = 0
CLANG_MAJOR = $(shell clang -dumpversion 2>/dev/null | sed 's/[.].*//')
FUZZ_FLAGS  = -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g
.PHONY: fuzz fuzz-deps fuzz-runtime
fuzz:
	@$(MAKE) fuzz-deps
	@if ! echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
		clang -x c - -fsanitize=fuzzer -o /dev/null 2> /dev/null; then \
		echo "skipped: clang has no libFuzzer here (Debian, Ubuntu: apt-get install clang libclang-rt-dev)"; exit 0; fi; \
	$(MAKE) all && $(MAKE) all $(BUILD)/fuzz/fuzzer BUILD=$(BUILD)/fuzz CC=clang OPTIMIZE=-O1 SANITIZER="$(FUZZ_FLAGS)" && \
	$(call in_tree,$(BUILD)/fuzz) $(LUA) spec/fuzz/run.lua $(BUILD) $(SECONDS) $(SEED) $(FUZZ)
fuzz-deps: deps
	@$(call install,$(APT_FUZZ))
	@$(MAKE) fuzz-runtime || :
fuzz-runtime:
	@$(if $(CLANG_MAJOR),$(call install,libclang-rt-$(CLANG_MAJOR)-dev),:)

$(BUILD)/fuzzer: spec/fuzz/readers.c $(OBJECTS)
	$(Q)$(CC) -fsanitize=fuzzer $(CFLAGS_ALL) $(INCLUDES) -o $@ $< $(OBJECTS) $(LIBS_ALL) $(shell $(PKG_CONFIG) --libs $(LUA_PC))

# Cross-built for arm64 and run under qemu: Lua, libraries and headers of a root of Debian's packages, everything else
# this machine's. SPECS selects specs; those of programs are left out, and those that train for long unless LONG=1.
ARM64       = $(abspath $(BUILD))/arm64
ARM64_LIB   = $(ARM64)/root/usr/lib/aarch64-linux-gnu
ARM64_ROOT  = libc6-dev libgcc-s1 libstdc++6 $(filter lib% zlib%,$(APT_BUILD)) lua5.4 lua-busted lua-readline libngspice0
CODENAME    = $(shell . /etc/os-release && echo $$VERSION_CODENAME)
SPECS      ?= $(LIBRARY_SPECS)
.PHONY: test-arm64
test-arm64: $(ARM64)/root.done $(ARM64)/bin/lua5.4
	@$(MAKE) test-deps || $(NOTHING_RAN)
	@PATH="$(ARM64)/bin:$$PATH" && $(MAKE) all BUILD=$(ARM64)/build LUA=$(ARM64)/bin/lua5.4 \
		WITHOUT_MPI=1 CC="aarch64-linux-gnu-gcc --sysroot=$(ARM64)/root" PKG_CONFIG="env PKG_CONFIG_SYSROOT_DIR=$(ARM64)/root \
		PKG_CONFIG_LIBDIR=$(ARM64_LIB)/pkgconfig:$(ARM64_LIB)/openblas-pthread/pkgconfig pkg-config" || $(NOTHING_RAN)
	@PATH="$(ARM64)/bin:$$PATH" $(ARM64)/bin/lua5.4 spec/suite.lua $(if $(LONG),,--without long) $(ARM64)/build $(SPECS)

# Packages are unpacked, not configured: links to absolute paths are made relative, and the alternatives of BLAS chosen.
$(ARM64)/root.done:
	@$(call install,$(APT_ARM64))
	@rm -rf $(ARM64)/root && mkdir -p $(ARM64)
	mmdebstrap --quiet --variant=extract --architectures=arm64 --skip=check/qemu \
		--include="$(ARM64_ROOT)" $(CODENAME) $(ARM64)/root
	@cd $(ARM64)/root && find . -type l -lname '/*' | while read -r link; do \
		ln -sfn "$$(realpath -m -s --relative-to="$$(dirname $$link)" ".$$(readlink $$link)")" $$link; done
	@cd $(ARM64_LIB) && ln -sf openblas-pthread/lib*.so.[0-9] .
	@touch $@

# The interpreter as a program of this machine, for the suite and what it starts.
$(ARM64)/bin/lua5.4: FORCE
	@mkdir -p $(@D)
	@printf '#!/bin/sh\nexec qemu-aarch64-static -L %s -0 "$$0" %s "$$@"\n' $(ARM64)/root $(ARM64)/root/usr/bin/lua5.4 > $@
	@chmod 755 $@

.PHONY: bench
bench:
	@$(MAKE) all
	@env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(call in_tree,$(BUILD)) $(LUA) spec/bench/run.lua $(BENCH_ARGS)

# Benchmarks of kernels and renderers in C: make build/bench/kernels build/bench/render
# Posteriors against those of the benchmark sbibm, whose data lie in SBIBM (see spec/bench/sbibm/run.lua). Hours with
# sbi beside it; SBIBM_ARGS="--tasks two_moons --simulations 1000 --python PYTHON", where PYTHON has sbi and scikit-learn.
.PHONY: sbibm
sbibm:
	@$(MAKE) all
	@env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(call in_tree,$(BUILD)) $(LUA) spec/bench/sbibm/run.lua \
		--data "$(or $(SBIBM),$(error SBIBM=folder: observations and reference samples of the tasks))" \
		--markdown spec/bench/SBIBM.md $(SBIBM_ARGS)

$(BUILD)/bench/%: spec/bench/%.c $(OBJECTS)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(LUA_CFLAGS) -I csrc $(if $(BLAS_PC),$(shell $(PKG_CONFIG) --cflags $(BLAS_PC)),-DNO_BLAS) -o $@ $< $(OBJECTS) \
		$(LIBS_ALL) $(shell $(PKG_CONFIG) --libs $(LUA_PC) $(BLAS_PC))

# ---- reference -------------------------------------------------------------------------------------

# The reference of everything public as HTML and Markdown, in $(BUILD)/docs. Its examples run on a model of so many steps.
DOCS_STEPS  = 400
.PHONY: docs
docs:
	@$(MAKE) all
	@rm -rf $(BUILD)/docs && mkdir -p $(BUILD)/docs/examples
	@cd $(BUILD)/docs/examples && $(call in_tree,$(BUILD)) $(LUA) -e 'require("simvae.reference.build")("$(abspath $(BUILD))/docs", $(DOCS_STEPS))'
	@rm -rf $(BUILD)/docs/examples

# ---- notebooks -------------------------------------------------------------------------------------

# Executes the notebooks with the kernel of this build, and saves them with their outputs.
NOTEBOOKS   = $(wildcard notebooks/[0-9]_*.ipynb)
.PHONY: notebooks
notebooks:
	@$(MAKE) all
	@for python in $(PYTHON) python3 /usr/bin/python3; do \
		$$python -c 'import ipykernel, nbclient' 2> /dev/null || continue; \
		$(BUILD)/bin/simvae kernel install --python $$python --prefix $(BUILD)/jupyter > /dev/null || exit 1; \
		JUPYTER_PATH="$(abspath $(BUILD))/jupyter/share/jupyter" exec $$python -W ignore notebooks/execute.py $(NOTEBOOKS); \
	done; echo "make notebooks: needs Python with ipykernel and nbclient (apt-get install python3-ipykernel python3-nbclient)"; \
	exit 1

# ---- lint ----------------------------------------------------------------------------------------

LUA_LINTED  = $(wildcard lua lua/bin/simvae simulators examples spec notebooks) $(wildcard rockspec/*.rockspec)
C_LINTED    = $(wildcard csrc/*.[ch] csrc/*/*.[ch] spec/*/*.[ch])
TOP_LEVEL   = Makefile README.md LICENSE CHANGELOG.md csrc lua simulators notebooks spec examples rockspec
# False positives of cppcheck: system headers are not read (missingIncludeSystem); sv_real counts as float and double at
# once (invalidPointerCast); loops that run at least once are assumed not to run (uninitvar, invalidFunctionArg,
# pointerOutOfBounds); a library function is assumed to return its argument (returnDanglingLifetime); elements of a
# memcpy count as bytes (overlappingWriteFunction).
CPPCHECK    = cppcheck --std=c11 --language=c --quiet --inline-suppr --error-exitcode=1 \
              --enable=warning,performance,portability $(addprefix --suppress=,missingIncludeSystem invalidPointerCast \
              uninitvar invalidFunctionArg pointerOutOfBounds overlappingWriteFunction returnDanglingLifetime)
.PHONY: lint layout formatted
lint:
	@$(MAKE) lint-deps
	@bad=; step() { echo "== $$*" | cut -c1-100; "$$@" || bad=yes; }; \
	step $(MAKE) -s layout; \
	step luacheck --quiet $(LUA_LINTED); \
	step $(MAKE) -s formatted; \
	step $(CPPCHECK) $(DEFINES) csrc; \
	for cc in gcc clang; do for real in float double; do \
		step $(MAKE) -s all CC=$$cc SV_REAL=$$real WERROR=-Werror OPTIMIZE=-O1 BUILD=$(BUILD)/lint/$$cc-$$real; \
	done; done; \
	[ -z "$$bad" ] && echo "lint: clean"

# All installed compilers, with warnings as errors. COMPILERS selects some.
COMPILERS  ?= $(sort $(notdir $(wildcard $(foreach folder,$(subst :, ,$(PATH)),$(folder)/gcc-[0-9]* $(folder)/clang-[0-9]*))))
.PHONY: compilers
compilers:
	@$(MAKE) deps
	@bad=; for cc in $(COMPILERS); do for real in float double; do echo "== $$cc $$real"; \
		$(MAKE) -s all CC=$$cc SV_REAL=$$real WERROR=-Werror BUILD=$(BUILD)/compilers/$$cc-$$real || bad=yes; \
	done; done; [ -z "$$bad" ] && echo "clean: $(COMPILERS)"

layout:
	@other=$$(git ls-files --cached --others --exclude-standard | sed 's,/.*,,' | sort -u | grep -v '^\.' | \
		grep -vxF "$$(printf '%s\n' $(TOP_LEVEL))"); [ -z "$$other" ] || { echo "not in the layout:" $$other; exit 1; }

formatted:
	@bad=; for file in $(C_LINTED); do \
		clang-format $$file | cmp -s $$file - || { echo "$$file: differs from clang-format's output (make format)"; bad=yes; }; \
	done; [ -z "$$bad" ]

.PHONY: format
format:
	clang-format -i $(C_LINTED)

# ---- packages ------------------------------------------------------------------------------------

# install(packages): installs the missing ones through apt-get, as root or with sudo. Without either, prints the command
# and continues. Uses no network where all are installed.
ifneq ($(shell command -v apt-get 2>/dev/null),)
install = absent=; for p in $(1); do \
		dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || absent="$$absent $$p"; done; \
	if [ -z "$$absent" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then as=; elif command -v sudo > /dev/null; then as=sudo; \
	else echo "not installed:$$absent; as root, type: apt-get install$$absent"; exit 0; fi; \
	echo "apt-get install$$absent"; mkdir -p $(BUILD); \
	{ $$as env DEBIAN_FRONTEND=noninteractive apt-get update -q && \
		$$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
			-o DPkg::Lock::Timeout=300 $$absent; } \
		< /dev/null > $(BUILD)/apt.log 2>&1 || { tail -n 5 $(BUILD)/apt.log; exit 1; }
else ifeq ($(shell uname -s),Darwin)
install = $(if $(filter $(APT_BUILD),$(1)),echo "needed, from Homebrew: $(BREW); and: luarocks install $(ROCKS)",:)
else
install = :
endif

# cluster-deps: what the specs of Slurm, GNU parallel and MPI start; they are skipped without. mpi.so needs it as well.
.PHONY: deps test-deps lint-deps optional-deps cluster-deps
deps:
	@$(call install,$(APT_BUILD))
test-deps: deps
	@$(call install,$(APT_TEST))
lint-deps: deps
	@$(call install,$(APT_LINT))
cluster-deps:
	@$(call install,$(APT_CLUSTER))
optional-deps: deps
	@for one in $(APT_OPTIONAL); do ( $(call install,$$one) ) || echo "$$one: not installed; features that need it are skipped"; done

# ---- installation --------------------------------------------------------------------------------

# LUADIR and LIBDIR default to PREFIX/share/lua/5.4 and PREFIX/lib/lua/5.4, BINDIR to PREFIX/bin, MANDIR and the folders
# of completions to folders of DATADIR, PREFIX/share; DESTDIR is prepended.
.PHONY: install uninstall
install: all
	cd $(SHARE) && find simvae -type d -exec install -d "$(DESTDIR)$(LUADIR)/{}" \; && \
		find simvae -type f -exec install -m 644 {} "$(DESTDIR)$(LUADIR)/{}" \;
	install -d "$(DESTDIR)$(LIBDIR)/simvae"
	install -m 755 $(CORE) $(BLAS) $(READERS) $(MPI) "$(DESTDIR)$(LIBDIR)/simvae/"
	install -d "$(DESTDIR)$(BINDIR)"
	install -m 755 $(BUILD)/bin/simvae "$(DESTDIR)$(BINDIR)/"
	put() { install -d "$(DESTDIR)$$2" && install -m 644 "$$1" "$(DESTDIR)$$2/"; }; \
	if $(write_texts); then put $(MAN_PAGE) "$(MANDIR)/man1" && put $(BASH_FILE) "$(BASH_COMPLETIONS)" && \
		put $(ZSH_FILE) "$(ZSH_COMPLETIONS)" && put $(FISH_FILE) "$(FISH_COMPLETIONS)"; fi

uninstall:
	rm -rf "$(DESTDIR)$(LUADIR)/simvae" "$(DESTDIR)$(LIBDIR)/simvae"
	rm -f "$(DESTDIR)$(BINDIR)/simvae" "$(DESTDIR)$(MANDIR)/man1/simvae.1" "$(DESTDIR)$(BASH_COMPLETIONS)/simvae" \
		"$(DESTDIR)$(ZSH_COMPLETIONS)/_simvae" "$(DESTDIR)$(FISH_COMPLETIONS)/simvae.fish"

include rockspec/package.mk

# The kernels that web pages embed, from the kernels of exported C; needs clang and lld.
WASM_CC    ?= clang
WASM_LD    ?= wasm-ld
WEB_KERNELS = lua/simvae/export/support/web/kernels.wasm
.PHONY: web-kernels
web-kernels: all
	@eval "$$($(MAKE) -s env)"; echo 'assert(require "simvae.export.support.web.kernels".build(...))' | \
		$(LUA) - "$(WASM_CC)" "$(WASM_LD)" "$(WEB_KERNELS)"
	@ls -l $(WEB_KERNELS)

.PHONY: clean
clean:
	rm -rf $(BUILD)

.PHONY: help
help:
	@echo "make              builds into $(BUILD)/, in the layout of the installed tree"
	@echo "make demo         installs what is missing, builds, trains on the box simulator for two minutes"
	@echo "make test         installs what is missing, builds, and runs the test suite"
	@echo "make web-kernels  compiles the kernels that exported web pages embed (clang, wasm-ld)"
	@echo "make test-kernels the suite at each level of this CPU (SV_KERNEL) except the default"
	@echo "make test-blas    numeric specs with products by OpenBLAS, by our kernels (SV_BLAS), and in a build without OpenBLAS"
	@echo "make docs         the reference of everything public, HTML and Markdown, in $(BUILD)/docs"
	@echo "make notebooks    executes the notebooks with the Jupyter kernel of this build, and saves them"
	@echo "make lint         luacheck, clang-format, cppcheck, gcc and clang with warnings as errors"
	@echo "make format       formats the C sources with clang-format"
	@echo "make sanitize     the suite under AddressSanitizer and UBSan (gradients at each CPU level), and with an aggressive"
	@echo "                  collector"
	@echo "make fuzz         fuzzes file readers and ops; SECONDS=60 in total, FUZZ=\"npy ops\" selects targets"
	@echo "make test-arm64   cross-builds for arm64 and runs the suite under qemu; SPECS=\"spec/ops_spec.lua …\", LONG=1"
	@echo "make compilers    builds with every installed gcc-N and clang-N, warnings as errors; COMPILERS=\"gcc-12 …\""
	@echo "make bench        speed and memory, compared with installed peers; BENCH_ARGS=\"--only NAME --json FILE\""
	@echo "make sbibm        posteriors against the references of the benchmark sbibm; SBIBM=folder, SBIBM_ARGS"
	@echo "make reproduce    the paper's experiments; QUICK=1 for small budgets, REPRODUCE_ARGS for other options"
	@echo "make compare      SimVAE beside other methods; QUICK=1 for small budgets, COMPARE_ARGS for other options"
	@echo "make install      installs into PREFIX=$(PREFIX), below DESTDIR; make uninstall removes it"
	@echo "make man          the man page of the command: $(MAN_PAGE)"
	@echo "make env          eval \"\$$(make -s env)\" sets PATH and the paths by which lua$(LUA_VERSION) finds $(BUILD)/"
	@echo "make deps         installs packages of the build (Debian, Ubuntu); also test-deps, lint-deps, optional-deps, cluster-deps"
	@echo "make dist         source archive and checksums, in $(BUILD)/dist"
	@echo "make rock         source rock, which luarocks installs from its own file (SOURCE_URL: address of the archive)"
	@echo "make deb          Debian package of the archive, checked by lintian; make test-deb installs it into a new root"
	@echo "make formula      formula for Homebrew: $(BUILD)/dist/simvae.rb (SOURCE_URL: address of the archive)"
	@echo "make clean        removes $(BUILD)/"
	@echo "settings          V=1 (print commands), BUILD, PREFIX, CC, CFLAGS, LDFLAGS, OPTIMIZE, LUA, LUA_INCDIR, SV_REAL=double,"
	@echo "                  WITHOUT_BLAS=1 (no OpenBLAS: our kernels compute all products; no sv.linalg),"
	@echo "                  WITHOUT_READERS=1 (no HDF5 and MATLAB files), WITHOUT_MPI=1 (no training on MPI ranks)"
