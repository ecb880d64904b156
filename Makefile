# SPDX-License-Identifier: GPL-2.0 OR MIT
# What people run. What is built is in Kbuild.

KDIR ?= $(or $(KSRC),/lib/modules/$(shell uname -r)/build)
# Modules with a folder of their own, built against lockmap.ko.
USERS := $(patsubst %/Kbuild,%,$(wildcard samples/*/Kbuild torture/Kbuild bench/Kbuild))

ifneq ($(shell grep -sx CONFIG_UML=y $(KDIR)/.config),)
export ARCH := um
endif
KBUILD = $(MAKE) -C $(KDIR)

SCRIPTS := test test-tools test-intree test-deb torture test-broken demo style bench insns verify deb htmldocs test-docs test-observing

.PHONY: modules samples modules_install clean help kdir $(SCRIPTS) $(USERS:%=%.ko)

modules: kdir
	+$(KBUILD) M=$(CURDIR) modules

samples: $(USERS:%=%.ko)

# Kbuild of 6.1 does not notice that symbols of lockmap.ko have other versions now.
$(USERS:%=%.ko): modules
	@rm -f $(@:.ko=)/Module.symvers
	+$(KBUILD) M=$(CURDIR)/$(@:.ko=) KBUILD_EXTRA_SYMBOLS=$(CURDIR)/Module.symvers modules

modules_install: modules
	+$(KBUILD) M=$(CURDIR) modules_install

kdir:
	$(if $(wildcard $(KDIR)/Makefile),,$(error no kernel headers in $(KDIR): apt-get install \
	linux-headers-$(shell uname -r) (or linux-headers-amd64 for the newest), or give KDIR=/path/to/headers))

clean:
	@for d in . core tests $(USERS); do (cd $$d && rm -f *.o *.ko *.mod *.mod.c .*.cmd Module.symvers modules.order); done

$(SCRIPTS):
	@tools/$@

help:
	@sed -n 's/^#? \?//p' Makefile

#? make                  build lockmap.ko (and lockmap_kunit.ko for a kernel with KUnit)
#? make samples          build the modules in samples/ too
#? make modules_install  install lockmap.ko (as root)
#? make clean            remove what was built
#? make test             run all tests in virtual machines; installs and loads nothing here
#? make torture          run random operations of many tasks, with checks, on many kernels; SECONDS_EACH=30, FULL=1 for long
#? make test-broken      break the code in many ways, one at a time, and see that the torture notices; FILTER=GLOB
#? make test-intree      build it into a kernel tree, as lib/lockmap, and run its tests with kunit.py
#? make deb              build Debian packages, in the cache folder
#? make test-deb         install those in a Debian system of their own, upgrade, boot, remove (as root)
#? make demo             show what the module does, in a virtual machine
#? make test-tools       test the tools that decide what passes, in seconds
#? make style            checkpatch, sparse, and warnings of gcc and clang on three kernels
#? make verify           check the locking in all interleavings of a few tasks, and by the kernel's memory model
#? make htmldocs          make HTML of Documentation/, in the cache folder
#? make test-docs         check the documentation: HTML without warnings, its code compiles, what it names is there
#? make test-observing    run the commands of Documentation/observing.rst in a virtual machine (as root)
#? make bench            measure against other ways to lock a key, in User Mode Linux; QUICK=1 for the main rows
#? make insns            count instructions per operation, compare with bench/insns.txt (UPDATE=1 writes it)
#?
#? KDIR=DIR              kernel headers or build folder to build for (default: the running kernel's)
#? KSRC=DIR              kernel source tree to use instead of Debian's
#? FILTER=GLOB           make test: only this suite (batch), these cases ('*timeout*', 'batch.*large*'), or "smoke"
#? KERNELS="smp debug"   make test: kernels to test in: smp, kasan, debug (lockdep, one CPU), up, voluntary; kcsan, i386, arm64
#? SMOKE="6.1 6.12-rt"   make test: Debian's kernels for the smoke test: 6.1, 6.12, 6.12-rt
#? SUITES="bookworm trixie"  make test-deb: the Debian releases to try
#? LOCKMAP_CACHE=DIR     where kernels are kept (default: ~/.cache/lockmap)
