// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * lockmap: a hash map in which every key has its own lock
 *
 * lockmap.h is the manual; Documentation/design.rst explains the design at
 * length. The code is in core/, one room for one concern, which this file gathers
 * into one translation unit, as kernel/sched/build_policy.c does: the compiler
 * inlines the fast path through all rooms.
 *
 * The rooms stand in the order of their floors: each uses only what stands above
 * it in the list below, and no function is declared before it is defined.
 *
 * A map is an rhashtable of entries, in shards (table.c). An entry has a key, the
 * key's lock and a value. The lock is one word (word.c): a task that holds a key, or
 * waits for it, or has given it a value, keeps the entry by a bit of that word.
 * Tasks that wait stand at turnstiles (wait.c). An entry that nothing keeps is
 * idle, and a clock hand decides how long it stays (clock.c).
 *
 * Lock order
 *
 * key lock (may sleep); of several keys, in the order of their comparison
 *   bucket lock of rhashtable
 *   lock of a bucket of waiting tasks (turnstile.c)
 *   lock of a bucket of sleepers (deadlock.c)
 *
 * The last three never nest. lm_maps_lock (map.c) is taken with nothing held.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/init.h>
#include <linux/module.h>

#include "lockmap.h"

/* What the rooms are made of */
#include "core/compat.h"	/* every difference between kernels */
#include "core/hash.h"		/* the hash of a key's bytes */
#include "core/types.h"		/* the structs, and what protects each field */
#include "core/callback.h"	/* calls of the functions that a map was made with */

/* Keys, words, and what others get to see of them */
#include "core/word.c"		/* the state word of a lock */
#include "core/key.c"		/* checking, hashing, comparing and showing keys */
#include "core/observe.c"	/* lockdep, tracepoints, counters, messages */
#include "core/misuse.c"	/* callers that use what they do not hold */

/* Waiting */
#include "core/deadlock.c"	/* cycles of waiting tasks */
#include "core/dispatch.c"	/* functions of granted requests */
#include "core/turnstile.c"	/* where those who wait stand, and how they are let in */
#include "core/wait.c"		/* spinning, sleeping, unlocking with waiters */

/* Entries */
#include "core/table.c"		/* rhashtable: lookup, publish, evict */
#include "core/value.c"		/* values in entries */
#include "core/clock.c"		/* the clock hand: idle entries */

/* What callers do with keys */
#include "core/acquire.c"	/* the ways to lock and unlock */
#include "core/shared.c"	/* sharing a key */
#include "core/prealloc.c"	/* locking with memory of the caller's */
#include "core/async.c"		/* locking without a task that waits */
#include "core/get.c"		/* get, contains, insert, remove: one key in one call */
#include "core/batch.c"		/* many keys at once */
#include "core/walk.c"		/* every key */

/* Whole maps */
#include "core/debugfs.c"	/* stats, and the keys that are held */
#include "core/map.c"		/* create and destroy */

static int __init lockmap_init(void)
{
	int err;

	lm_sleepers_init();
	lm_dispatch_init();
	err = lm_turnstiles_init();
	if (err)
		return err;
	err = lm_maps_init();
	if (err) {
		lm_turnstiles_exit();
		return err;
	}
	lm_debugfs_init();
	return 0;
}

static void __exit lockmap_exit(void)
{
	lm_maps_exit();
	lm_batch_exit();
	lm_debugfs_exit();
	lm_turnstiles_exit();
}

/* If built in, before the modules that use it. */
subsys_initcall(lockmap_init);
module_exit(lockmap_exit);
MODULE_DESCRIPTION("Hash map in which every key has its own lock");
MODULE_AUTHOR("The lockmap authors");
MODULE_LICENSE("Dual MIT/GPL");
MODULE_VERSION("0.1.0");
