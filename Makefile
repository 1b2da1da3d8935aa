# lxcbox: `make demo` shows a container's whole life, `make test` checks everything. Both install
# what they need from Debian by package name. `make help` lists the targets.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
SUDO ?= $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# What a fresh Debian with Rust lacks for building, for the demo, and for the tests.
BUILD_PACKAGES = gcc libc6-dev
DEMO_PACKAGES  = iproute2 util-linux
TEST_PACKAGES  = iproute2 util-linux strace busybox-static dnsmasq-base debootstrap procps libcap2-bin \
                 iputils-ping lxc lxc-templates zsh fish bash groff mandoc nftables iptables \
                 btrfs-progs e2fsprogs rsync python3-lxc libfuse3-3 uidmap
# Laid over the machine for single tests and not installed: what a firewall's package installs is on.
DEBS = ufw firewalld dbus openvswitch-switch
DEB_PACKAGES   = dpkg-dev lintian debootstrap
VM_PACKAGES    = qemu-system-x86 cpio kmod xz-utils
FUZZ_PACKAGES  = gcc g++ libc6-dev
BENCH_PACKAGES = gcc libc6-dev lxc busybox-static crun runc bubblewrap systemd-container iproute2

# Where the binary looks for templates and shared configs beside LXC's own places, and for
# lxc.conf and default.conf; what is built in serves where they are missing.
SYSCONFDIR ?= /etc
BINDIR     ?= $(PREFIX)/bin
LIBEXECDIR ?= $(PREFIX)/libexec
# Where the units and scripts for the host's boot go; empty: not installed. One directory that holds
# both kinds of scripts (OpenRC reads /etc/init.d too) gets the one that INIT names.
UNITDIR     ?= $(PREFIX)/lib/systemd/system
USERUNITDIR ?= $(PREFIX)/lib/systemd/user
INITDIR     ?= $(SYSCONFDIR)/init.d
INIT        ?= $(shell command -v openrc-run >/dev/null && echo openrc || echo sysvinit)
DATADIR ?= $(PREFIX)/share
export LXCBOX_DATADIR = $(DATADIR)
export LXCBOX_SYSCONFDIR = $(SYSCONFDIR)/lxc
export LXCBOX_LIBEXECDIR = $(LIBEXECDIR)

# The static target: musl where rustup has it, else glibc linked statically.
HOST   := $(shell rustc -vV | sed -n 's/^host: //p')
MUSL   := $(subst -gnu,-musl,$(HOST))
HAVE_MUSL := $(shell [ -d "$$(rustc --print sysroot)/lib/rustlib/$(MUSL)/lib" ] && echo yes)
ifeq ($(HAVE_MUSL),yes)
TARGET ?= $(MUSL)
else
TARGET ?= $(HOST)
endif
# A fixed load address leaves no relocations to be written: the pages stay shared with the file.
STATIC_FLAGS = -C target-feature=+crt-static -C relocation-model=static
TARGET_VAR := CARGO_TARGET_$(shell echo $(TARGET) | tr 'a-z-' 'A-Z_')_RUSTFLAGS
BUILD  = $(TARGET_VAR)="$(STATIC_FLAGS)" $(CARGO)

, := ,
# What makes the release small; each part is left out where its tool is missing, and the binary is
# larger then but the same. Machine code that repeats becomes a function; what needs much stack is
# never inlined, and a frame pointer is the base of locals: large frames make long instructions.
# Rust's own lld drops the unwinding tables (release.ld) and folds functions that are equal.
SYSROOT := $(shell rustc --print sysroot)
LLD_DIR := $(patsubst %/,%,$(dir $(wildcard $(SYSROOT)/lib/rustlib/$(HOST)/bin/gcc-ld/ld.lld)))
SMALL_CODE = -C llvm-args=-enable-machine-outliner=always -C llvm-args=-machine-outliner-reruns=2 \
	-C llvm-args=-inline-max-stacksize=128 -C llvm-args=-inline-threshold=0
LLD_ARGS = --icf=all -T$(CURDIR)/release.ld -znoseparate-code -znorelro --build-id=none -O2
SMALL_FLAGS = $(SMALL_CODE) -C force-frame-pointers=yes
ifneq ($(LLD_DIR),)
SMALL_FLAGS += -C link-arg=-fuse-ld=lld -C link-arg=-B$(LLD_DIR) \
	$(addprefix -C link-arg=-Wl$(,),$(LLD_ARGS))
endif
# The standard library built for size and without the reader of debug information that it carries
# for back traces: needs the rust-src component. The stable compiler does it when it is told that
# it may. SMALL_STD=no or yes instead of trying. A panic then has its message, but not its place,
# and `{:?}` prints nothing: users are shown texts by util::quote, and nothing else that way.
STD_FEATURES = optimize_for_size$(if $(shell grep '^backtrace-trace-only' \
	$(SYSROOT)/lib/rustlib/src/rust/library/std/Cargo.toml 2>/dev/null),$(,)backtrace-trace-only)
STD_FLAGS  = -Zbuild-std=std,panic_abort -Zbuild-std-features=$(STD_FEATURES)
SMALL_UNSTABLE = -Zlocation-detail=none -Zfmt-debug=none -Zinline-mir=no
SMALL_STD ?= $(shell RUSTC_BOOTSTRAP=1 $(CARGO) fetch -q --target $(TARGET) -Zbuild-std=std \
	>/dev/null 2>&1 && echo yes)
# $(call release,SUBCOMMAND): cargo's, with all that.
release = $(if $(filter yes,$(SMALL_STD)),RUSTC_BOOTSTRAP=1) \
	$(TARGET_VAR)="$(STATIC_FLAGS) $(SMALL_FLAGS) $(if $(filter yes,$(SMALL_STD)),$(SMALL_UNSTABLE))" \
	$(CARGO) $(1) --target $(TARGET) $(if $(filter yes,$(SMALL_STD)),$(STD_FLAGS))
OUT    = $(or $(CARGO_TARGET_DIR),target)
BINARY = $(OUT)/$(TARGET)/release/lxcbox

.PHONY: all build generator help demo test check unit kernel old-kernel old-kernels vm vm-kernels vm-storage \
	vm-checkconfig test-vm cross compat glibc bench size install fuzz clean deb deb-test packages-vm packages-cross \
	packages-deb \
	packages-build packages-demo packages-test packages-bench packages-fuzz

all: build

help:
	@echo 'make demo     a container is created, started, entered, listed, stopped, destroyed'
	@echo 'make test     format, lints, unit, command line, kernel, other kernel, comparison, C libraries'
	@echo 'make build    the static binary: $(BINARY)'
	@echo 'make install  PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'
	@echo 'make check    what needs no root: format, lints, documentation, unit and command line'
	@echo 'make kernel   the tests on the real kernel (root)'
	@echo 'make old-kernel  the same as on Linux 4.9, or without the system calls that MISSING= names'
	@echo 'make vm       tests that need another kernel, in an emulated machine (no root)'
	@echo 'make vm-kernels  a part of them on Linux 4.15, 5.4 and 5.10, there too (no root; minutes)'
	@echo 'make vm-storage  logical volumes, nbd and ZFS, there too (no root; minutes)'
	@echo 'make vm-checkconfig  lxc-checkconfig in emulated machines, booted in seven ways (no root)'
	@echo 'make cross    ARCH=arm64 or armv7: the static binary for that machine'
	@echo 'make test-vm  ARCH=arm64: demo and tests on an emulated machine of that kind (no root)'
	@echo 'make deb      Debian packages for this machine and arm64; make deb-test tries them (root)'
	@echo 'make compat   what containers see and tools answer, beside Debian'"'"'s lxc (root)'
	@echo 'make bench    times beside the peers that are installed (root); CASES="start rounds=20", CASES=soak'
	@echo 'make size     binary and crates against the budgets'
	@echo 'make fuzz     SECONDS=120 of each fuzz target; TARGETS="getopt id_map" of some'

# Installs by name what is not there yet; says nothing when all is.
define install_packages
@missing=; for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' \
	|| missing="$$missing $$p"; done; \
	[ -z "$$missing" ] || { echo "installing:$$missing"; \
	$(SUDO) apt-get update -q=2 && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -q=2 -y \
	--no-install-recommends $$missing >/dev/null; }
endef

# The component is no package; without it, or without rustup, the binary is larger.
packages-build:
	$(call install_packages,$(BUILD_PACKAGES))
	@[ -d $(SYSROOT)/lib/rustlib/src ] || ! command -v rustup >/dev/null \
		|| rustup -q component add rust-src || true
packages-demo:
	$(call install_packages,$(DEMO_PACKAGES))
packages-test:
	$(call install_packages,$(TEST_PACKAGES))
# Where there is no emulator its tests are skipped, and say so.
packages-vm:
	-$(call install_packages,$(VM_PACKAGES))
packages-bench:
	$(call install_packages,$(BENCH_PACKAGES))
packages-fuzz:
	$(call install_packages,$(FUZZ_PACKAGES))

build: packages-build
	$(call release,build --release)

demo: packages-demo build
	$(SUDO) tests/demo.sh $(BINARY)

test: packages-build packages-test check kernel vm compat glibc size

# The applets are modules by a macro, which rustfmt does not follow.
check: packages-build
	$(CARGO) fmt --check -- $(wildcard src/applets/*.rs src/applets/*/*.rs)
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items -q
	$(BUILD) test --target $(TARGET) --lib --test cli --test fuzz -q

# Without them their tests are skipped, and say so.
debs:
	-tests/debs $(abspath $(OUT))/debs $(DEBS)

export LXCBOX_TEST_DEBS ?= $(abspath $(OUT))/debs/root

kernel: packages-test debs
	$(BUILD) test --target $(TARGET) --test kernel -q -- --test-threads 4
	LXCBOX_TEST_ENOSYS=4.9 $(BUILD) test --target $(TARGET) --test kernel -q -- --test-threads 4 \
		lifecycle:: attach::confined attach::only cgroups:: console::

# The whole suite again below a filter that answers ENOSYS: as on Linux 4.9 (the main tests run so
# each time), or without what MISSING names (tests/kernel/missing.rs), a name of a system call or of
# some that came together. Minutes for each.
MISSING ?= 4.9
OLD_KERNELS = clone3 openat2 pidfd close_range mount-api mount_setattr epoll_pwait2 4.9
old-kernel: packages-build packages-test
	LXCBOX_TEST_ENOSYS=$(MISSING) $(BUILD) test --target $(TARGET) --test kernel -q -- \
		--test-threads 3

old-kernels:
	set -e; for missing in $(OLD_KERNELS); do echo "# without $$missing"; \
		$(MAKE) MISSING=$$missing old-kernel; done

# The same tests on Debian's kernel in an emulated machine: network types that this machine's kernel
# may lack and the cgroup layouts that it has not. Few boots, as emulation is slow.
DEBUG = $(OUT)/$(TARGET)/debug
DOCKER = $(or $(LXCBOX_TEST_CACHE),$(abspath $(OUT))/$(TARGET)/tmp)/debian-12-docker
export LXCBOX_VM_CACHE ?= $(abspath $(OUT))/vm
VM_V2 = parents:: walks::walk_4 walks::every_example cgroups:: device:: \
	lifecycle::a_busybox runtime::cgroups_are watching::lxc_top_has checkpoint::
VM_V1 = cgroups:: device:: lifecycle::a_busybox runtime::cgroups_are confinement::limits_and \
	watching::lxc_top_has checkpoint::a_

vm: packages-build packages-test packages-vm
	$(BUILD) test --target $(TARGET) --test kernel --no-run -q
	tests/vm/suite $(DEBUG) '$(VM_V2)' --cgroup v2
	tests/vm/suite $(DEBUG) '$(VM_V1)' --cgroup v1
	[ -e $(DOCKER)/etc/docker.done ] || \
		$(BUILD) test --target $(TARGET) --test kernel -q -- docker::docker_runs_in_a_priv
	tests/vm/suite $(DEBUG) apparmor:: --append 'apparmor=1 security=apparmor'
	tests/vm/suite $(DEBUG) docker::docker_runs_in_a_priv --memory 4000 \
		--append 'apparmor=1 security=apparmor' --file '$(DOCKER)=/guests/debian-12-docker' \
		--env LXCBOX_TEST_CACHE=/guests

# A part of them on real older kernels, of Ubuntu's archive and Debian 11's: those that the vendors of
# boards stay with. A filter knows which system calls they lack, but not what else was different. 4.4 is
# there as well; it is older than what is promised, and some tests ask it for what it has not got.
VM_KERNELS ?= 4.15 5.4 5.10
VM_OLD = cgroups:: device:: lifecycle:: runtime:: confinement:: parents:: attach::signals \
	watching::lxc_top_has
vm-kernels: packages-build packages-vm
	$(BUILD) test --target $(TARGET) --test kernel --no-run -q
	set -e; for kernel in $(VM_KERNELS); do echo "# Linux $$kernel"; \
		tests/vm/suite $(DEBUG) '$(VM_OLD)' --kernel $$kernel --cgroup v1; done

# Logical volumes, images of qemu and ZFS, in user space and in the kernel (of Ubuntu): minutes, as
# emulated disks are slower still.
vm-storage: packages-build packages-vm
	$(BUILD) test --target $(TARGET) --test kernel --no-run -q
	tests/vm/suite $(DEBUG) storage::a_life --storage --memory 3000 --timeout 900
	tests/vm/suite $(DEBUG) storage::a_life_on_datasets --storage --memory 3000 --timeout 900 \
		--kernel 5.4 --cgroup v1

# lxc-checkconfig on that kernel, booted in seven ways.
vm-checkconfig: packages-build packages-vm
	$(BUILD) build --target $(TARGET) -q
	tests/vm/checkconfig $(DEBUG)/lxcbox

# Other machines. CROSS_RUST says whose Rust: rustup's (musl needs no C compiler for the target, glibc
# takes Debian's), else Debian's rustc-web with glibc, in a place of its own; see the script.
ARCH ?= arm64
CROSS_rustup_arm64 = aarch64-unknown-linux-musl
CROSS_debian_arm64 = aarch64-unknown-linux-gnu
CROSS_rustup_armv7 = armv7-unknown-linux-gnueabihf
CROSS_debian_armv7 = $(CROSS_rustup_armv7)
CROSS_NAMES = $(filter arm64 armv7,$(ARCH))
CROSS_RUST ?= $(eval CROSS_RUST := $(shell [ -d $(SYSROOT)/lib/rustlib/$(CROSS_rustup_$(ARCH))/lib ] \
	|| rustup -q target add $(CROSS_rustup_$(ARCH)) >/dev/null 2>&1 \
	&& echo rustup || echo debian))$(CROSS_RUST)
CROSS = $(CROSS_$(CROSS_RUST)_$(ARCH))
CROSS_GCC_arm64 = aarch64-linux-gnu
CROSS_GCC_armv7 = arm-linux-gnueabihf
CROSS_DEBARCH = $(patsubst armv7,armhf,$(ARCH))
CROSS_MUSL = $(findstring musl,$(CROSS))
CROSS_PACKAGES = $(if $(CROSS_MUSL),,gcc-$(CROSS_GCC_$(ARCH)) libc6-dev-$(CROSS_DEBARCH)-cross)
CROSS_LINKER = $(if $(CROSS_MUSL),rust-lld,$(CROSS_GCC_$(ARCH))-gcc)
CROSS_VAR = CARGO_TARGET_$(shell echo $(CROSS) | tr 'a-z-' 'A-Z_')
CROSS_OUT = $(abspath $(OUT))$(if $(filter debian,$(CROSS_RUST)),/debian-rust)
CROSS_DIR = $(CROSS_OUT)/$(CROSS)
# $(call cross,FLAGS): cargo for that machine.
cross = $(if $(filter debian,$(CROSS_RUST)),RUSTC=$$(share/cross/debian-rust $(CROSS_DEBARCH) $(OUT)/cross-rust)) \
	CARGO_TARGET_DIR=$(CROSS_OUT) $(CROSS_VAR)_LINKER=$(CROSS_LINKER) \
	$(CROSS_VAR)_RUSTFLAGS="$(STATIC_FLAGS)$(1)" $(CARGO)
# What makes the release small: in the words of lld itself for musl. Half as long instructions for
# 32 bits.
CROSS_SMALL = $() $(SMALL_CODE)$(if $(CROSS_MUSL), $(addprefix -C link-arg=,$(LLD_ARGS)))\
	$(if $(filter armv7,$(ARCH)), -C target-feature=+thumb-mode)
CROSS_STD = $(and $(filter yes,$(SMALL_STD)),$(filter rustup,$(CROSS_RUST)),$(STD_FLAGS))

packages-cross: packages-build
	@[ -n "$(CROSS_NAMES)" ] || { echo 'make cross: ARCH is arm64 or armv7, not "$(ARCH)"' >&2; exit 2; }
	$(call install_packages,$(CROSS_PACKAGES))

cross: packages-cross
	$(if $(CROSS_STD),RUSTC_BOOTSTRAP=1) $(call cross,$(CROSS_SMALL)$(if \
		$(CROSS_STD), $(SMALL_UNSTABLE))) \
		build --release --target $(CROSS) $(CROSS_STD)
	@echo "$(CROSS_DIR)/release/lxcbox: $$(stat -c %s $(CROSS_DIR)/release/lxcbox) bytes"

# The demo's commands and a part of the kernel suite on an emulated arm64 machine.
VM_ARM64 = lifecycle::a_busybox cgroups:: confinement::a_denylist runtime::mount_entries parents::frames
test-vm: VM_PACKAGES = qemu-system-arm cpio kmod xz-utils
test-vm: packages-cross packages-vm
	@[ $(ARCH) = arm64 ] || { echo 'make test-vm: ARCH is arm64' >&2; exit 2; }
	$(call cross) test --target $(CROSS) --test kernel --no-run -q
	LXCBOX_VM_FIRST='/demo.sh $(abspath $(CROSS_DIR))/debug/lxcbox busybox' \
		tests/vm/suite $(CROSS_DIR)/debug '$(VM_ARM64)' --arch arm64 --file tests/demo.sh=/demo.sh

# Packages, by dpkg-deb alone. Templates and configurations have a directory of their own there:
# /usr/share/lxc and /usr/libexec/lxc may be filled by Debian's liblxc-common and lxc-templates, which go
# well with ours.
VERSION    := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml)
DEB_NATIVE := $(shell dpkg --print-architecture 2>/dev/null)
DEB_ARCHS  ?= $(sort $(DEB_NATIVE) arm64)
DEB_OUT     = $(abspath $(OUT))/deb
DEB_PLACES  = PREFIX=/usr SYSCONFDIR=/etc DATADIR=/usr/share/lxcbox LIBEXECDIR=/usr/libexec/lxcbox \
	UNITDIR=/lib/systemd/system USERUNITDIR=/usr/lib/systemd/user INITDIR=/etc/init.d INIT=sysvinit

packages-deb:
	$(call install_packages,$(DEB_PACKAGES))

deb: packages-deb $(DEB_ARCHS:%=deb-%)

deb-%:
	rm -rf $(DEB_OUT)/$*
	$(if $(filter-out $(DEB_NATIVE),$*),$(MAKE) $(DEB_PLACES) ARCH=$(patsubst armhf,armv7,$*) cross)
	$(MAKE) $(DEB_PLACES) DESTDIR=$(DEB_OUT)/$* install $(if $(filter-out $(DEB_NATIVE),$*),\
		ARCH=$(patsubst armhf,armv7,$*) BINARY='$$(CROSS_DIR)/release/lxcbox' NATIVE=$(BINARY))
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || date +%s) \
		share/deb/build $* $(DEB_OUT)/$* $(VERSION) $(DEB_OUT)/lxcbox_$(VERSION)_$*.deb

# The package of this machine is installed, used and purged in a fresh Debian.
deb-test: deb
	$(SUDO) tests/deb.sh $(DEB_OUT)/lxcbox_$(VERSION)_$(DEB_NATIVE).deb
	$(foreach arch,$(filter-out $(DEB_NATIVE),$(DEB_ARCHS)),\
		tests/deb.sh $(DEB_OUT)/lxcbox_$(VERSION)_$(arch).deb lintian-only;)

# Ours beside Debian's lxc on the same configurations; every difference must have its reason.
compat: packages-test
	$(BUILD) test --target $(TARGET) --test compat -q

# The same program linked with the other C library: it must build and pass the command-line tests.
# Two fuzz targets compare with that library and run over their seeds here only.
glibc:
ifneq ($(TARGET),$(HOST))
	CARGO_TARGET_$(shell echo $(HOST) | tr 'a-z-' 'A-Z_')_RUSTFLAGS="-C target-feature=+crt-static" \
		$(CARGO) test --target $(HOST) --test cli --test fuzz -q
endif

size: build
	tests/size.sh $(BINARY) $(or $(SMALL_STD),no)

# Cargo gives a benchmark a binary of its own and unwinding; ours is put into its place.
BENCH_OUT = $(abspath $(OUT))/bench/$(TARGET)/release

bench: packages-bench build
	$(BUILD) bench --target $(TARGET) --bench bench --no-run --target-dir $(OUT)/bench
	cp --remove-destination $(BINARY) $(BENCH_OUT)/lxcbox
	$$(ls -t $(BENCH_OUT)/deps/bench-* | grep -v '\.d$$' | head -n 1) $(CASES)

# Coverage-guided fuzzing of every parser (`make check` runs the same targets over their seeds only).
# The stable compiler does it when it is told that it may, with the address sanitizer where Rust ships
# one for the target. Inputs that were found stay in $(FUZZ_OUT)/found for the next time.
SECONDS  ?= 120
FUZZ_OUT  = $(abspath $(OUT))/fuzz
SANITIZER ?= $(if $(wildcard $(shell rustc --print sysroot)/lib/rustlib/$(HOST)/lib/*_rt.asan.a),address,none)

fuzz: packages-fuzz
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	RUSTC_BOOTSTRAP=1 $(CARGO) fuzz build --fuzz-dir tests/fuzz --target $(HOST) \
		--target-dir $(FUZZ_OUT) --sanitizer $(SANITIZER) --codegen-units 16
	tests/fuzz/run.sh $(FUZZ_OUT) $(HOST) $(SECONDS) $(or $(TARGETS),\
		$(shell sed -n 's/^name = "\([a-z_]*\)"$$/\1/p' tests/fuzz/Cargo.toml))

clean:
	$(CARGO) clean

# NATIVE is a binary that runs here, where $(BINARY) is for another machine.
NATIVE ?= $(BINARY)

# Manual pages and completions are written by a build that is no release, which does without.
GENERATOR = $(OUT)/$(TARGET)/debug/lxcbox
generator: packages-build
	$(BUILD) build --target $(TARGET)

# A default.conf that is there already is the administrator's and stays.
install: build generator
	install -D -m 0755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/lxcbox
	for tool in $$($(NATIVE) --list); do ln -sf lxcbox $(DESTDIR)$(PREFIX)/bin/$$tool; done
	install -D -m 4755 $(dir $(BINARY))lxc-user-nic $(DESTDIR)$(LIBEXECDIR)/lxc/lxc-user-nic
	install -d $(DESTDIR)$(DATADIR)/lxc/templates $(DESTDIR)$(DATADIR)/lxc/config
	install -m 0755 templates/lxc-* $(DESTDIR)$(DATADIR)/lxc/templates
	install -m 0644 share/config/* $(DESTDIR)$(DATADIR)/lxc/config
	[ -e $(DESTDIR)$(SYSCONFDIR)/lxc/default.conf ] || \
		install -D -m 0644 share/default.conf $(DESTDIR)$(SYSCONFDIR)/lxc/default.conf
	rm -rf $(OUT)/generated
	for what in man bash zsh fish; do $(GENERATOR) --generate $$what $(OUT)/generated/$$what; done
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5
	install -m 0644 $(OUT)/generated/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 0644 $(OUT)/generated/man/*.5 $(DESTDIR)$(PREFIX)/share/man/man5
	install -D -m 0644 $(OUT)/generated/bash/lxcbox \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/lxcbox
	for tool in $$($(NATIVE) --list); do \
		ln -sf lxcbox $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$tool; done
	install -D -m 0644 $(OUT)/generated/zsh/_lxcbox \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_lxcbox
	install -d $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	install -m 0644 $(OUT)/generated/fish/* $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(call install_boot,lxc-containers,0755,$(LIBEXECDIR)/lxc/lxc-containers)
	[ -e $(DESTDIR)$(LIBEXECDIR)/lxc/lxc-monitord ] && [ ! -h $(DESTDIR)$(LIBEXECDIR)/lxc/lxc-monitord ] || \
		ln -srf $(DESTDIR)$(BINDIR)/lxcbox $(DESTDIR)$(LIBEXECDIR)/lxc/lxc-monitord
	$(if $(UNITDIR),$(foreach unit,lxc.service lxc@.service lxc-net.service lxc-monitord.service,\
		$(call install_boot,$(unit),0644,$(UNITDIR)/$(unit));))
	$(if $(USERUNITDIR),$(call install_boot,lxc-user.service,0644,$(USERUNITDIR)/lxc.service))
	$(if $(INITDIR),$(foreach name,lxc lxc-net,\
		$(call install_boot,$(name).$(INIT),0755,$(INITDIR)/$(name));))

# $(call install_boot,FILE,MODE,TARGET): a file of share/boot with the places filled in.
define install_boot
if [ -e $(DESTDIR)$(3) ] && ! grep -q '$(PREFIX)/' $(DESTDIR)$(3); then \
	echo '$(DESTDIR)$(3) is there already and not ours: left as it is'; \
else install -d $(DESTDIR)$(dir $(3)) && sed -e 's|@BINDIR@|$(BINDIR)|g' \
	-e 's|@LIBEXECDIR@|$(LIBEXECDIR)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' share/boot/$(1) \
	>$(DESTDIR)$(3) && chmod $(2) $(DESTDIR)$(3); fi
endef
