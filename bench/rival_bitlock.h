/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A rival: an rhashtable of objects with a reference count and a bit lock (wait_on_bit_lock()). */
#ifndef _BENCH_RIVAL_BITLOCK_H
#define _BENCH_RIVAL_BITLOCK_H

#include <linux/bitops.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rhashtable.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#define RHT(name)		bitlock_##name
#define RHT_LOCK_T		unsigned long
#define rht_lock_init(lock)	(*(lock) = 0)
#define rht_lock(lock)		((void)wait_on_bit_lock(lock, 0, TASK_UNINTERRUPTIBLE))
#define rht_trylock(lock)	(!test_and_set_bit_lock(0, lock))
#define rht_unlock(lock)	clear_and_wake_up_bit(0, lock)
#include "rival_rhashtable.h"

#define BENCH_IMPL bitlock
#define BENCH_NAME "bitlock"
#include "impl.h"

#endif /* _BENCH_RIVAL_BITLOCK_H */
