// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Lock a key with memory that the caller brings, so that it cannot fail for memory.
 *
 * A struct lockmap_prealloc is an entry that is in no table, and has room for any key of
 * its map.
 */
#include <linux/err.h>
#include <linux/export.h>
#include <linux/gfp.h>
#include <linux/instruction_pointer.h>

#include "compat.h"
#include "types.h"

/* Refuse flags that clear an entry while readers look at it, or that trylock cannot follow. */
static bool lm_gfp_ok(gfp_t gfp)
{
	return !(gfp & (__GFP_ZERO | __GFP_NOFAIL | GFP_ZONEMASK | ~__GFP_BITS_MASK));
}

struct lockmap_prealloc *lockmap_prealloc(struct lockmap *map, gfp_t gfp)
{
	struct lockmap_entry *new;

	if (IS_ERR_OR_NULL(map) || !lm_gfp_ok(gfp))
		return ERR_PTR(-EINVAL);
	new = lm_entry_alloc(map, map->key_len, gfp);
	return new ? (struct lockmap_prealloc *)new : ERR_PTR(-ENOMEM);
}
EXPORT_SYMBOL_GPL(lockmap_prealloc);

void lockmap_prealloc_free(struct lockmap_prealloc *pre)
{
	if (!IS_ERR_OR_NULL(pre))
		lm_entry_free((struct lockmap_entry *)pre);
}
EXPORT_SYMBOL_GPL(lockmap_prealloc_free);

struct lockmap_entry *lockmap_lock_prealloc(struct lockmap *map, const void *data, size_t len,
					    struct lockmap_prealloc **pre)
{
	struct lockmap_entry *entry, *reserve = pre ? (struct lockmap_entry *)*pre : NULL;
	struct lm_key key;
	int err;

	lm_may_wait(map, data, len, LM_LEAVE_ABSENT, &lm_wait_forever);
	err = lm_key_init(&key, map, data, len);
	if (err)
		return ERR_PTR(err);
	if (IS_ERR_OR_NULL(reserve) || reserve->map != map)
		return ERR_PTR(-EINVAL);
	lm_entry_set_key(reserve, &key);
	entry = lm_lock_slow(&key, reserve, LM_LEAVE_ABSENT, &lm_wait_forever);
	if (IS_ERR(entry))
		return entry;
	if (entry == reserve)
		*pre = NULL;
	lm_lockdep_acquire(entry, &lm_wait_forever, _RET_IP_);
	return entry;
}
EXPORT_SYMBOL_GPL(lockmap_lock_prealloc);
