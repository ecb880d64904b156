/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A rival: an rhashtable of objects with a reference count and a mutex. */
#ifndef _BENCH_RIVAL_HANDROLLED_H
#define _BENCH_RIVAL_HANDROLLED_H

#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rhashtable.h>
#include <linux/slab.h>

#define RHT(name)		handrolled_##name
#define RHT_LOCK_T		struct mutex
#define rht_lock_init(lock)	mutex_init(lock)
#define rht_lock(lock)		mutex_lock(lock)
#define rht_trylock(lock)	mutex_trylock(lock)
#define rht_unlock(lock)	mutex_unlock(lock)
#include "rival_rhashtable.h"

#define BENCH_IMPL handrolled
#define BENCH_NAME "handrolled"
#include "impl.h"

#endif /* _BENCH_RIVAL_HANDROLLED_H */
