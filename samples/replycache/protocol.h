/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What clients and the server send each other, in datagrams of UDP, on one machine. Shared
 * by the module and programs.
 */
#ifndef _REPLYCACHE_PROTOCOL_H
#define _REPLYCACHE_PROTOCOL_H

#include <linux/types.h>

#define DEFAULT_PORT	7777
#define NR_COUNTERS	16

/**
 * struct call_request - add a number to a counter
 * @xid: number of the call. A client gives each of its calls another one, and sends a call
 *	again with the same one
 * @counter: which counter, less than %NR_COUNTERS
 * @amount: what is to be added
 * @tag: anything: comes back in the reply
 */
struct call_request {
	__u32 xid;
	__u32 counter;
	__u64 amount;
	__u64 tag;
};

/**
 * struct call_reply - what the counter is now
 * @xid: as in the request
 * @counter: as in the request
 * @value: of the counter, after the amount was added
 * @tag: as in the request that was executed
 */
struct call_reply {
	__u32 xid;
	__u32 counter;
	__u64 value;
	__u64 tag;
};

#endif /* _REPLYCACHE_PROTOCOL_H */
