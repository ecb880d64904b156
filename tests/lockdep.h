/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the cases about lockdep share: memory reclaim as lockdep sees it
 */
#ifndef _LOCKMAP_TESTS_LOCKDEP_H
#define _LOCKMAP_TESTS_LOCKDEP_H

#include <linux/debug_locks.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>

#include "worker.h"

/* As __perform_reclaim() in mm/page_alloc.c. Return: what end_reclaim() wants. */
static inline unsigned int begin_reclaim(void)
{
	fs_reclaim_acquire(GFP_KERNEL);
	return memalloc_noreclaim_save();
}

static inline void end_reclaim(unsigned int flags)
{
	memalloc_noreclaim_restore(flags);
	fs_reclaim_release(GFP_KERNEL);
}

/* Have lockdep know that reclaim takes a mutex. */
static inline void take_in_reclaim(struct mutex *mutex)
{
	unsigned int flags = begin_reclaim();

	mutex_lock(mutex);
	mutex_unlock(mutex);
	end_reclaim(flags);
}

/* Have lockdep know that reclaim takes keys of a map. */
static inline void take_key_in_reclaim(struct kunit *test, struct lockmap *map, u64 n)
{
	unsigned int flags = begin_reclaim();
	int err = lock_error(lock_nr(map, n));

	end_reclaim(flags);
	KUNIT_ASSERT_EQ(test, err, 0);
}

#endif /* _LOCKMAP_TESTS_LOCKDEP_H */
