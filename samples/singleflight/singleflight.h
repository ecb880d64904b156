/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The interface of /dev/singleflight, shared by the module and programs. */
#ifndef _SINGLEFLIGHT_H
#define _SINGLEFLIGHT_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct singleflight_request - ask for the SHA-256 digest of a file
 * @path: address of the file's absolute path, which ends in NUL
 * @digest: the answer
 */
struct singleflight_request {
	__u64 path;
	__u8 digest[32];
};

#define SINGLEFLIGHT_SHA256	_IOWR('s', 0x66, struct singleflight_request)

#endif /* _SINGLEFLIGHT_H */
