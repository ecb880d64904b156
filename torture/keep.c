// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Keys that have a value: to lock only these, to read them without waiting, and to lock
 * them again by the address of their entry
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/ktime.h>

#include "torture.h"

static struct lockmap_entry *lmt_call_lock_present(struct lockmap *map, const struct lmt_key *key,
						   enum lmt_wait_mode mode)
{
	switch (mode) {
	case LMT_KILLABLE:
		return lockmap_lock_present_killable(map, key->data, key->len);
	case LMT_TRY:
		return lockmap_trylock_present(map, key->data, key->len);
	default:
		return lockmap_lock_present(map, key->data, key->len);
	}
}

/* Whether a key had a value all the while since its epoch was read. */
static bool lmt_was_present(const struct lmt_map *m, unsigned int index, unsigned int epoch)
{
	return lmt_class(m, index) != LMT_UNTRACKED && (epoch & 1) &&
	       READ_ONCE(m->shadow[index].epoch) == epoch;
}

static void lmt_refused_present(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
				enum lmt_wait_mode mode, unsigned int epoch, int err)
{
	if (err == -ENOENT) {
		if (lmt_was_present(m, index, epoch))
			lmt_fail(a, m, index, "presence", "lock_present in epoch %u", epoch);
		return;
	}
	if (err == -ENOMEM || !lmt_may_refuse(mode, err, false, 0, 0))
		lmt_fail(a, m, index, "error code", "lock_present in mode %u: %d", mode, err);
	lmt_count_refusal(a, err);
}

void lmt_op_present(struct lmt_actor *a)
{
	static const enum lmt_wait_mode modes[] = { LMT_LOCK, LMT_KILLABLE, LMT_TRY };
	enum lmt_wait_mode mode = modes[lmt_rnd(a) % ARRAY_SIZE(modes)];
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m), epoch;
	struct lockmap_entry *entry;
	u64 start = ktime_get_ns();
	struct lmt_key key;

	lmt_key_init(&key, m, index);
	/* Read the shadow before the map; pairs with lmt_value_inserted(). */
	epoch = smp_load_acquire(&m->shadow[index].epoch);
	lmt_begin_wait(a, m, index, mode);
	entry = lmt_call_lock_present(m->map, &key, mode);
	lmt_end_wait(a, start);
	if (IS_ERR_OR_NULL(entry)) {
		lmt_refused_present(a, m, index, mode, epoch, entry ? PTR_ERR(entry) : -EFAULT);
		return;
	}
	lmt_shadow_lock(a, m, index, entry);
	if (!lockmap_entry_value(entry))
		lmt_fail(a, m, index, "presence", "lock_present of a key without a value");
	lmt_use_entry(a, m, index, entry);
	lmt_unlock(a, m, index, entry);
}

void lmt_op_tryget(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m);
	int err = lmt_read(a, m, index, lockmap_tryget);

	if (m->params.clone ? err != -EOPNOTSUPP : err && err != -ENOENT && err != -EBUSY)
		lmt_fail(a, m, index, "error code", "tryget: %d", err);
}

static int lmt_call_entry_lock(struct lockmap_entry *entry, enum lmt_wait_mode mode,
			       unsigned long timeout)
{
	switch (mode) {
	case LMT_KILLABLE:
		return lockmap_entry_lock_killable(entry);
	case LMT_TIMEOUT:
		return lockmap_entry_lock_timeout(entry, timeout);
	case LMT_TRY:
		return lockmap_entry_trylock(entry) ? 0 : -EBUSY;
	default:
		return lockmap_entry_lock(entry);
	}
}

/* Lock a key by its entry, which its value keeps. Return: false if lockmap refused. */
static bool lmt_lock_entry(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
			   struct lockmap_entry *entry)
{
	static const enum lmt_wait_mode modes[] = { LMT_LOCK, LMT_KILLABLE, LMT_TIMEOUT, LMT_TRY };
	enum lmt_wait_mode mode = modes[lmt_rnd(a) % ARRAY_SIZE(modes)];
	unsigned long begin = jiffies, timeout = lmt_rnd(a) % 5;
	u64 start = ktime_get_ns();
	int err;

	lmt_begin_wait(a, m, index, mode);
	err = lmt_call_entry_lock(entry, mode, timeout);
	lmt_end_wait(a, start);
	if (!err)
		return true;
	if (err == -ENOMEM || !lmt_may_refuse(mode, err, false, jiffies - begin, timeout))
		lmt_fail(a, m, index, "error code", "entry_lock in mode %u: %d", mode, err);
	lmt_count_refusal(a, err);
	return false;
}

/* Keys that are static never lose their value: find one by its key, then by its entry. */
void lmt_op_reference(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int nr = lmt_nr_static(m), index;
	struct lockmap_entry *entry;

	if (!nr)
		return;
	index = 4 * (lmt_rnd(a) % nr);
	entry = lmt_lock(a, m, index, LMT_LOCK, false);
	if (!entry)
		return;
	lmt_get_or_insert(a, m, index, entry);
	if (lockmap_value_entry(lockmap_entry_value(entry)) != entry)
		lmt_fail(a, m, index, "wrong key", "value_entry");
	lmt_unlock(a, m, index, entry);

	lmt_delay(a);
	if (lmt_entry_index(m, entry) != index)
		lmt_fail(a, m, index, "wrong key", "an entry with a value has another key");
	if (!lmt_lock_entry(a, m, index, entry))
		return;
	lmt_shadow_lock(a, m, index, entry);
	lmt_use_entry(a, m, index, entry);
	lmt_unlock(a, m, index, entry);
}
