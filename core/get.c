// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Calls that take a key, use it and let go of it in one: get, contains, insert,
 * remove. The first two read a key that is free without its lock.
 */
#include <linux/compiler.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/instruction_pointer.h>
#include <linux/kernel.h>
#include <linux/rcupdate.h>

#include "callback.h"
#include "compat.h"
#include "types.h"

/* A reader tries so often without the lock before it takes the lock. */
#define LM_READ_TRIES	4

/*
 * Read a key's value without its lock: the word and the key, in lm_find(), then
 * the value, then the word again.
 *
 * Return: 0; -ENOENT; -EBUSY when the key is held; -EAGAIN when it changed meanwhile.
 */
static __always_inline int lm_read_value(struct lm_key *key, const struct lockmap_entry *entry,
					 void *value)
{
	if (unlikely(!entry))
		return -ENOENT;
	/* (B) as @key->word was read with acquire; pairs with lm_unlock_fast(). */
	if (unlikely(key->word & LM_LOCKED))
		return -EBUSY;
	if (value && (key->word & LM_VALUE))
		/* A writer may be at it meanwhile; then the word has changed. */
		data_race((lm_copy(value, entry->data, key->map->params.value_len), 0));
	if (!lm_unchanged(key, entry))
		return -EAGAIN;
	return key->word & LM_VALUE ? 0 : -ENOENT;
}

/* The same, more than once if the key changes; and spin while a holder runs, if @may_spin. */
static int lm_read_value_tries(struct lm_key *key, void *value, bool may_spin)
{
	const struct lockmap_entry *entry;
	unsigned int spins = 0;
	int err, tries = 0;

	do {
		rcu_read_lock();
		entry = lm_find(key);
		err = lm_read_value(key, entry, value);
		if (err == -EBUSY && may_spin && lm_word_owner(key->word) != lm_current_owner() &&
		    lm_spin(&entry->lock, key->word, &spins))
			err = -EAGAIN;
		rcu_read_unlock();
	} while (err == -EAGAIN && ++tries < LM_READ_TRIES);
	return err;
}

static int lm_get_locked(struct lm_key *key, void *value)
{
	const struct lockmap_params *params = &key->map->params;
	struct lockmap_entry *entry;
	int err = -ENOENT;

	entry = lm_lock_slow(key, NULL, LM_LEAVE_ABSENT, &lm_share_forever);
	if (IS_ERR_OR_NULL(entry))
		return entry ? PTR_ERR(entry) : -ENOENT;
	lm_lockdep_acquire(entry, &lm_share_forever, _RET_IP_);
	if (entry->has_value) {
		err = 0;
		if (value && params->clone)
			lm_call_clone(key->map, value, entry->data);
		else if (value)
			lm_copy(value, entry->data, params->value_len);
	}
	lm_unlock_shared_annotated(entry, _RET_IP_);
	return err;
}

static noinline int lm_get_general(struct lockmap *map, const void *data, size_t len, void *value)
{
	struct lm_key key;
	int err;

	err = lm_key_init(&key, map, data, len);
	if (unlikely(err))
		return err;
	if (!(map->params.clone && value)) {
		err = lm_read_value_tries(&key, value, true);
		if (!err || err == -ENOENT)
			return err;
	}
	return lm_get_locked(&key, value);
}

static __always_inline int lm_get_fast(struct lockmap *map, const void *data, void *value)
{
	struct lm_key key = lm_key_u64(map, data);
	int err;

	lm_read_lock();
	err = lm_read_value(&key, lm_find(&key), value);
	lm_read_unlock();
	return err;
}

/* What a call may do that reads a key, with @value or only whether there is one. */
static void lm_may_read(struct lockmap *map, const void *data, size_t len, const void *value)
{
	enum lm_waits_for whom = LM_FOR_EXCLUSIVE_HOLDER;

	might_sleep();
	if (value && !IS_ERR_OR_NULL(map) && map->params.clone)
		whom = LM_FOR_ANY_HOLDER;
	lm_lockdep_may_lock_key(map, data, len, whom);
}

int lockmap_get(struct lockmap *map, const void *data, size_t len, void *value)
{
	int err;

	lm_may_read(map, data, len, value);
	if (lm_key_is_u64(map, data, len) && likely(map->plain_value)) {
		err = lm_get_fast(map, data, value);
		if (likely(!err || err == -ENOENT))
			return err;
	}
	return lm_get_general(map, data, len, value);
}
EXPORT_SYMBOL_GPL(lockmap_get);

int lockmap_tryget(struct lockmap *map, const void *data, size_t len, void *value)
{
	struct lm_key key;
	int err;

	err = lm_key_init(&key, map, data, len);
	if (unlikely(err))
		return err;
	if (value && map->params.clone)
		return -EOPNOTSUPP;
	err = lm_read_value_tries(&key, value, false);
	return err == -EAGAIN ? -EBUSY : err;
}
EXPORT_SYMBOL_GPL(lockmap_tryget);

/*
 * Whether a key has a value, when the caller must not wait for the key: its
 * holder is the caller, or waits for the caller. Then no task changes the value,
 * unless a task of the cycle has given up since, and then the word tells.
 */
static bool lm_has_value_unlocked(struct lm_key *key)
{
	struct lockmap_entry *entry;
	bool has_value;

	rcu_read_lock();
	do {
		entry = lm_find(key);
		if (!entry)
			has_value = false;
		else if (key->word & LM_LOCKED)
			/* A holder that does not sleep may be writing it: either answer will do. */
			has_value = data_race(READ_ONCE(entry->has_value));
		else
			has_value = key->word & LM_VALUE;
	} while (entry && !lm_unchanged(key, entry));
	rcu_read_unlock();
	return has_value;
}

bool lockmap_contains(struct lockmap *map, const void *data, size_t len)
{
	int err = lockmap_get(map, data, len, NULL);
	struct lm_key key;

	if (err == -EDEADLK && !lm_key_init(&key, map, data, len))
		return lm_has_value_unlocked(&key);
	return !err;
}
EXPORT_SYMBOL_GPL(lockmap_contains);

int lockmap_insert(struct lockmap *map, const void *key, size_t len, const void *value, void *old)
{
	struct lockmap_entry *entry = lm_lock(map, key, len, LM_CREATE, &lm_wait_forever);
	int replaced;

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	replaced = lockmap_entry_insert(entry, value, old);
	lm_unlock_annotated(entry, _RET_IP_);
	return replaced;
}
EXPORT_SYMBOL_GPL(lockmap_insert);

int lockmap_remove(struct lockmap *map, const void *data, size_t len, void *old)
{
	struct lockmap_entry *entry = lm_lock(map, data, len, LM_LEAVE_ABSENT, &lm_wait_forever);
	bool removed;

	if (IS_ERR_OR_NULL(entry))
		return entry ? PTR_ERR(entry) : -ENOENT;
	removed = lockmap_entry_remove(entry, old);
	lm_unlock_annotated(entry, _RET_IP_);
	return removed ? 0 : -ENOENT;
}
EXPORT_SYMBOL_GPL(lockmap_remove);
