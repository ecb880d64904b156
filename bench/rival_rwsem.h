/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A rival: an rhashtable of objects with a reference count and a read-write semaphore. */
#ifndef _BENCH_RIVAL_RWSEM_H
#define _BENCH_RIVAL_RWSEM_H

#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rhashtable.h>
#include <linux/rwsem.h>
#include <linux/slab.h>

#define RHT(name)		rwsem_##name
#define RHT_LOCK_T		struct rw_semaphore
#define rht_lock_init(lock)	init_rwsem(lock)
#define rht_lock(lock)		down_write(lock)
#define rht_trylock(lock)	down_write_trylock(lock)
#define rht_unlock(lock)	up_write(lock)
#define rht_lock_shared(lock)	down_read(lock)
#define rht_unlock_shared(lock)	up_read(lock)
#include "rival_rhashtable.h"

#define BENCH_HAS_SHARED
#define BENCH_IMPL rwsem
#define BENCH_NAME "rwsem"
#include "impl.h"

#endif /* _BENCH_RIVAL_RWSEM_H */
