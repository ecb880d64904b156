// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Share a key with others that only read its value.
 *
 * The state word counts the holders (word.c); who they are is not known. So a holder
 * that asks for the key again is not refused, and a cycle through a shared key is not
 * found. lockdep reports both.
 */
#include <linux/bug.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/instruction_pointer.h>

#include "compat.h"
#include "types.h"

const struct lockmap_entry *lockmap_lock_shared(struct lockmap *map, const void *key, size_t len)
{
	return lm_lock(map, key, len, LM_CREATE, &lm_share_forever);
}
EXPORT_SYMBOL_GPL(lockmap_lock_shared);

const struct lockmap_entry *lockmap_lock_shared_interruptible(struct lockmap *map, const void *key,
							      size_t len)
{
	return lm_lock(map, key, len, LM_CREATE, &lm_share_interruptible);
}
EXPORT_SYMBOL_GPL(lockmap_lock_shared_interruptible);

const struct lockmap_entry *lockmap_lock_shared_killable(struct lockmap *map, const void *key,
							 size_t len)
{
	return lm_lock(map, key, len, LM_CREATE, &lm_share_killable);
}
EXPORT_SYMBOL_GPL(lockmap_lock_shared_killable);

const struct lockmap_entry *lockmap_lock_shared_timeout(struct lockmap *map, const void *key,
							size_t len, unsigned long timeout)
{
	struct lm_wait_mode mode = lm_wait_until(timeout);

	mode.shared = true;
	return lm_lock(map, key, len, LM_CREATE, &mode);
}
EXPORT_SYMBOL_GPL(lockmap_lock_shared_timeout);

const struct lockmap_entry *lockmap_trylock_shared(struct lockmap *map, const void *key, size_t len)
{
	return lm_lock(map, key, len, LM_CREATE, &lm_share_never);
}
EXPORT_SYMBOL_GPL(lockmap_trylock_shared);

void lockmap_unlock_shared(const struct lockmap_entry *entry)
{
	if (IS_ERR_OR_NULL(entry) || lm_misused_unlock_shared(entry))
		return;
	lm_unlock_shared_annotated((struct lockmap_entry *)entry, _RET_IP_);
}
EXPORT_SYMBOL_GPL(lockmap_unlock_shared);

void lockmap_entry_disown_shared(const struct lockmap_entry *entry)
{
	if (!lm_misused_shared(entry, "disown_shared"))
		lm_lockdep_release_shared(entry, _RET_IP_);
}
EXPORT_SYMBOL_GPL(lockmap_entry_disown_shared);

const void *lockmap_entry_value_shared(const struct lockmap_entry *entry)
{
	if (lm_misused_by_any(entry, "entry_value_shared"))
		return NULL;
	return entry->has_value ? entry->data : NULL;
}
EXPORT_SYMBOL_GPL(lockmap_entry_value_shared);

const struct lockmap_entry *lockmap_downgrade(struct lockmap_entry *entry)
{
	if (lm_misused(entry, "downgrade"))
		return entry;
	lm_lockdep_downgrade(entry, _RET_IP_);
	lm_downgrade(&entry->lock, entry->has_value ? LM_VALUE : LM_IDLE);
	return entry;
}
EXPORT_SYMBOL_GPL(lockmap_downgrade);

struct lockmap_entry *lockmap_try_upgrade(const struct lockmap_entry *shared)
{
	struct lockmap_entry *entry = (struct lockmap_entry *)shared;

	if (lm_misused_shared(entry, "try_upgrade") ||
	    !lm_upgrade(&entry->lock, lm_current_owner()))
		return NULL;
	lm_debug_own(entry);
	lm_lockdep_upgrade(entry, _RET_IP_);
	return entry;
}
EXPORT_SYMBOL_GPL(lockmap_try_upgrade);
