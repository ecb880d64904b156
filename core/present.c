// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Lock a key only if it has a value: without allocating, and without leaving an entry
 * behind for a key that has none.
 */
#include <linux/err.h>
#include <linux/export.h>
#include <linux/instruction_pointer.h>

#include "compat.h"
#include "types.h"

static __always_inline struct lockmap_entry *lm_lock_present(struct lockmap *map, const void *data,
							     size_t len,
							     const struct lm_wait_mode *mode)
{
	struct lockmap_entry *entry = lm_lock(map, data, len, LM_PRESENT_ONLY, mode);

	if (!entry)
		return ERR_PTR(-ENOENT);
	if (IS_ERR(entry) || entry->has_value)
		return entry;
	/* The holder that was waited for has not put a value in, or has taken it out. */
	lm_unlock_annotated(entry, _RET_IP_);
	return ERR_PTR(-ENOENT);
}

struct lockmap_entry *lockmap_lock_present(struct lockmap *map, const void *key, size_t len)
{
	return lm_lock_present(map, key, len, &lm_wait_forever);
}
EXPORT_SYMBOL_GPL(lockmap_lock_present);

struct lockmap_entry *lockmap_lock_present_killable(struct lockmap *map, const void *key,
						    size_t len)
{
	return lm_lock_present(map, key, len, &lm_wait_killable);
}
EXPORT_SYMBOL_GPL(lockmap_lock_present_killable);

struct lockmap_entry *lockmap_trylock_present(struct lockmap *map, const void *key, size_t len)
{
	return lm_lock_present(map, key, len, &lm_wait_never);
}
EXPORT_SYMBOL_GPL(lockmap_trylock_present);
