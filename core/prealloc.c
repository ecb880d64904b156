// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Lock a key with memory that the caller brings, so that it cannot fail for memory.
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

struct lockmap_entry *lockmap_entry_alloc(struct lockmap *map, const void *data, size_t len,
					  gfp_t gfp)
{
	struct lm_key key;
	int err = lm_key_init(&key, map, data, len);

	if (err || !lm_gfp_ok(gfp))
		return ERR_PTR(-EINVAL);
	return lm_entry_new(&key, gfp) ?: ERR_PTR(-ENOMEM);
}
EXPORT_SYMBOL_GPL(lockmap_entry_alloc);

void lockmap_entry_free(struct lockmap_entry *new)
{
	if (!IS_ERR_OR_NULL(new))
		lm_entry_free(new);
}
EXPORT_SYMBOL_GPL(lockmap_entry_free);

struct lockmap_entry *lockmap_lock_prealloc(struct lockmap *map, struct lockmap_entry *new)
{
	struct lockmap_entry *entry;
	struct lm_key key;
	const u8 *data;
	u32 len;

	if (IS_ERR(new))
		return new;
	if (!new)
		return ERR_PTR(-EINVAL);
	if (map != new->map) {
		lm_entry_free(new);
		return ERR_PTR(-EINVAL);
	}
	data = lm_entry_key_rcu(map, new, &len);
	lm_may_wait(map, data, len, LM_LEAVE_ABSENT, &lm_wait_forever);
	key = lm_key(map, map->key_kind, data, len);
	key.hash = new->hash;
	entry = lm_lock_slow(&key, new, LM_LEAVE_ABSENT, &lm_wait_forever);
	if (!IS_ERR(entry))
		lm_lockdep_acquire(entry, &lm_wait_forever, _RET_IP_);
	return entry;
}
EXPORT_SYMBOL_GPL(lockmap_lock_prealloc);
