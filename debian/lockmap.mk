# SPDX-License-Identifier: GPL-2.0 OR MIT
# For the Kbuild file of a module that uses lockmap:
#
#	include /usr/share/lockmap/lockmap.mk
#	obj-m := visits.o
#
# says where lockmap.h is, and the Module.symvers that dkms made with lockmap.ko of the kernel that is built for.

LOCKMAP_SYMVERS ?= /var/lib/dkms/lockmap/kernel-$(KERNELRELEASE)-$(shell uname -m)/module/Module.symvers

ccflags-y += -I/usr/include/lockmap
KBUILD_EXTRA_SYMBOLS += $(LOCKMAP_SYMVERS)
