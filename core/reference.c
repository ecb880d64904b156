// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Entries as references: from a value to its entry, and from there to the lock.
 *
 * A value keeps its entry in the table: the word has VALUE, or a holder. So the address
 * of an entry is good for as long as the caller sees to it that nobody takes the value
 * out, and the entry has one key all the while. No lookup is needed to lock it.
 */
#include <linux/atomic.h>
#include <linux/bug.h>
#include <linux/container_of.h>
#include <linux/export.h>
#include <linux/instruction_pointer.h>
#include <linux/rcupdate.h>

#include "compat.h"
#include "types.h"

struct lockmap_entry *lockmap_value_entry(const void *value)
{
	return value ? container_of((void *)value, struct lockmap_entry, data) : NULL;
}
EXPORT_SYMBOL_GPL(lockmap_value_entry);

/* The key of an entry, to be looked for. */
static struct lm_key lm_key_of_entry(const struct lockmap_entry *entry)
{
	struct lockmap *map = entry->map;
	struct lm_key key;
	const u8 *data;
	u32 len;

	data = lm_entry_key_rcu(map, entry, &len);
	key = lm_key(map, map->key_kind, data, len);
	key.hash = entry->hash;
	return key;
}

/* The value is gone that kept an entry. What the entry is of now is not to be told. */
static int lm_refuse_gone(void)
{
	WARN_ONCE(1, "lockmap: ?: entry_lock of a key whose value is gone\n");
	return -ENOENT;
}

static noinline int lm_lock_entry_slow(struct lockmap_entry *entry, const struct lm_wait_mode *mode)
{
	struct lm_key key = lm_key_of_entry(entry);
	u64 owner = lm_current_owner();
	unsigned int spins = 0;
	int err;

	do {
		rcu_read_lock();
		if (!lm_match(&key, entry)) {
			rcu_read_unlock();
			return -ENOENT;
		}
		if (lm_acquire(&entry->lock, key.word, owner)) {
			rcu_read_unlock();
			return 0;
		}
		err = lm_lock_contended(&key, entry, owner, mode, &spins);
	} while (err == -EAGAIN);
	return err;
}

static __always_inline int lm_lock_entry(struct lockmap_entry *entry,
					 const struct lm_wait_mode *mode)
{
	const u8 *data;
	int err = 0;
	u32 len;

	data = lm_entry_key_rcu(entry->map, entry, &len);
	lm_may_wait(entry->map, data, len, LM_LEAVE_ABSENT, mode);
	if (!lm_acquire(&entry->lock, atomic64_read(&entry->lock.word), lm_current_owner()))
		err = lm_lock_entry_slow(entry, mode);
	if (!err && unlikely(!entry->has_value)) {
		lm_unlock(entry);
		err = -ENOENT;
	}
	if (err)
		return err == -ENOENT ? lm_refuse_gone() : err;
	lm_debug_own(entry);
	lm_lockdep_acquire(entry, mode, _RET_IP_);
	return 0;
}

int lockmap_entry_lock(struct lockmap_entry *entry)
{
	return lm_lock_entry(entry, &lm_wait_forever);
}
EXPORT_SYMBOL_GPL(lockmap_entry_lock);

int lockmap_entry_lock_killable(struct lockmap_entry *entry)
{
	return lm_lock_entry(entry, &lm_wait_killable);
}
EXPORT_SYMBOL_GPL(lockmap_entry_lock_killable);

int lockmap_entry_lock_timeout(struct lockmap_entry *entry, unsigned long timeout)
{
	const struct lm_wait_mode mode = lm_wait_until(timeout);

	return lm_lock_entry(entry, &mode);
}
EXPORT_SYMBOL_GPL(lockmap_entry_lock_timeout);

bool lockmap_entry_trylock(struct lockmap_entry *entry)
{
	return !lm_lock_entry(entry, &lm_wait_never);
}
EXPORT_SYMBOL_GPL(lockmap_entry_trylock);
