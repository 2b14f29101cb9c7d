# What is published: source archive, rock, Debian package, Homebrew formula. Part of the Makefile.

# The source archive holds the files of the last commit, and is the same bytes for the same commit. DIST is its folder.
DIST       ?= $(BUILD)/dist
ARCHIVE     = simvae-$(VERSION).tar.gz
ROCKSPEC    = simvae-$(VERSION)-1.rockspec
ROCK        = $(ROCKSPEC:.rockspec=.src.rock)
SHA256      = $(if $(shell command -v sha256sum 2>/dev/null),sha256sum,shasum -a 256)
CHECKSUMS   = cd $(DIST) && $(SHA256) $$(ls | grep -v SHA256SUMS) > SHA256SUMS

.PHONY: dist rock
dist:
	@git rev-parse -q --verify HEAD > /dev/null || { echo "make dist: needs a clone of the repository with git"; exit 1; }
	@[ -z "$$(git status --porcelain)" ] || echo "make dist: takes the last commit, without changes that are not committed"
	@rm -rf $(DIST) && mkdir -p $(DIST)
	@git -c core.autocrlf=false archive --format=tar --prefix=simvae-$(VERSION)/ HEAD | gzip -n -9 > $(DIST)/$(ARCHIVE)
	@$(CHECKSUMS)
	$(say) "$(DIST)/$(ARCHIVE)"

# A source rock: the rockspec and the archive. LuaRocks packs from absolute addresses only; the rockspec within the rock
# is the committed one, or names the address SOURCE_URL where the archive is published.
rock: dist
	@command -v luarocks > /dev/null || { echo "make rock: needs LuaRocks (apt-get install luarocks zip unzip)"; exit 1; }
	@rm -rf $(DIST)/rock && mkdir $(DIST)/rock
	@sed 's|file://simvae|file://$(abspath $(DIST))/simvae|' rockspec/$(ROCKSPEC) > $(DIST)/rock/$(ROCKSPEC)
	@cd $(DIST)/rock && luarocks --lua-version $(LUA_VERSION) pack $(ROCKSPEC) > pack.log 2>&1 || { cat pack.log; exit 1; }
	@sed 's|file://$(ARCHIVE)|$(or $(SOURCE_URL),&)|' rockspec/$(ROCKSPEC) > $(DIST)/$(ROCKSPEC)
	@cd $(DIST) && zip -q rock/$(ROCK) $(ROCKSPEC) && mv rock/$(ROCK) . && rm -rf rock
	@luarocks --lua-version $(LUA_VERSION) lint $(DIST)/$(ROCKSPEC)
	@$(CHECKSUMS)
	$(say) "$(DIST)/$(ROCK)"

# A Debian package of the archive, by rockspec/debian, checked by lintian. Who publishes it sets DEBEMAIL and DEBFULLNAME,
# as for Debian's own tools; without them its maintainer has an address of this machine, which lintian calls bogus.
DEB             = $(BUILD)/deb
DEB_MAINTAINER  = $(or $(DEBFULLNAME),simvae authors) <$(or $(DEBEMAIL),simvae@$(or $(shell hostname 2>/dev/null),localhost))>
NO_TAGS         =
COMMA          := ,
DEB_FILE        = lua-simvae_$(VERSION)-1_$(shell dpkg --print-architecture 2>/dev/null).deb
RELEASED        = $(shell sed -n 's/^$(HASH)$(HASH) \[$(VERSION)\] - //p' CHANGELOG.md)
.PHONY: deb test-deb
deb: dist
	@for program in dpkg-buildpackage dh dh_lua lintian; do command -v $$program > /dev/null || \
		{ echo "make deb: needs $$program (apt-get install $(APT_DEB))"; exit 1; }; done
	@rm -rf $(DEB) && mkdir -p $(DEB) && cp $(DIST)/$(ARCHIVE) $(DEB)/lua-simvae_$(VERSION).orig.tar.gz
	@cd $(DEB) && tar -xzf lua-simvae_$(VERSION).orig.tar.gz && cp -R simvae-$(VERSION)/rockspec/debian simvae-$(VERSION)/
	@cd $(DEB)/simvae-$(VERSION)/debian && sed 's/@MAINTAINER@/$(DEB_MAINTAINER)/' ../rockspec/debian/control > control && \
		printf 'lua-simvae (%s-1) unstable; urgency=medium\n\n  * Version %s; CHANGELOG.md lists its changes.\n\n -- %s  %s\n' \
			$(VERSION) $(VERSION) '$(DEB_MAINTAINER)' "$$(LC_ALL=C date -u -R -d $(RELEASED))" > changelog
	@cd $(DEB)/simvae-$(VERSION) && env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS dpkg-buildpackage -us -uc > ../build.log 2>&1 || \
		{ tail -n 30 ../build.log; exit 1; }
	@cd $(DEB) && lintian --allow-root --fail-on warning,error --tag-display-limit 0 \
		--suppress-tags $(if $(DEBEMAIL),,bogus-mail-host$(COMMA)bogus-mail-host-in-debian-changelog$(COMMA))$(NO_TAGS) \
		lua-simvae_$(VERSION)-1_*.changes
	@cp $(DEB)/$(DEB_FILE) $(DIST) && $(CHECKSUMS)
	$(say) "$(DIST)/$(DEB_FILE)"

# The package in a root of Debian that has nothing else, as root: what it depends on is installed, and it trains.
test-deb: deb
	@$(call install,mmdebstrap)
	mmdebstrap --quiet --variant=minbase $(CODENAME) /dev/null \
		--customize-hook='copy-in $(DIST)/$(DEB_FILE) rockspec/debian/tests/installed /tmp' \
		--customize-hook='chroot "$$1" apt-get install -q -y --no-install-recommends /tmp/$(DEB_FILE)' \
		--customize-hook='chroot "$$1" sh /tmp/installed'

# A formula for Homebrew, of the archive at SOURCE_URL, or in $(DIST).
.PHONY: formula
formula: dist
	@sum=$$(cd $(DIST) && $(SHA256) $(ARCHIVE) | cut -d ' ' -f 1) && \
		sed 's|@URL@|$(or $(SOURCE_URL),file://$(abspath $(DIST)/$(ARCHIVE)))|; s|@SHA256@|'$$sum'|' rockspec/simvae.rb > $(DIST)/simvae.rb
	@$(CHECKSUMS)
	$(say) "$(DIST)/simvae.rb"
