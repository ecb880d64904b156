/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* In the place of core/compat.h: the kernel here is shim.h. */
#ifndef _VERIFY_COMPAT_H
#define _VERIFY_COMPAT_H

#include "shim.h"

typedef unsigned __int128 lm_u128;

struct lm_owner_note { };
#define lm_owner_forget(note)		((void)(note))

#define LM_HAS_INT128			1
#define LM_RHT_INSECURE_ELASTICITY
#define lm_noinline_kcsan
#define lm_rht_lock(tbl, bucket, flags)	\
	((flags) = 0, spin_lock(&(tbl)->lock[(bucket) - (tbl)->head]))
#define lm_rht_unlock(tbl, bucket, flags)	\
	((void)(flags), spin_unlock(&(tbl)->lock[(bucket) - (tbl)->head]))
#define lm_rht_assign_unlock(tbl, bucket, node, flags)				\
do {										\
	WRITE_ONCE(*(bucket), (struct rhash_lock_head *)(node));		\
	lm_rht_unlock(tbl, bucket, flags);					\
} while (0)
#define lm_read_lock()			rcu_read_lock()
#define lm_read_unlock()		rcu_read_unlock()
#define lm_shrinker_data(shrinker)	((void *)(shrinker))

#endif /* _VERIFY_COMPAT_H */
