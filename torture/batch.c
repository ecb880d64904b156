// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Lock and unlock batches, with checks
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/ktime.h>

#include "torture.h"

static struct lockmap_batch *lmt_call_batch(struct lockmap *map, const struct lockmap_key *keys,
					    unsigned int n, enum lmt_wait_mode mode,
					    unsigned long timeout)
{
	switch (mode) {
	case LMT_INTERRUPTIBLE:
		return lockmap_batch_lock_interruptible(map, keys, n);
	case LMT_KILLABLE:
		return lockmap_batch_lock_killable(map, keys, n);
	case LMT_TIMEOUT:
		return lockmap_batch_lock_timeout(map, keys, n, timeout);
	case LMT_TRY:
		return lockmap_batch_trylock(map, keys, n);
	default:
		return lockmap_batch_lock(map, keys, n);
	}
}

/* Whether a key of the current batch is shared: it is there, and never to be locked exclusively. */
static bool lmt_batch_shares(const struct lmt_actor *a, const struct lmt_map *m,
			     unsigned int index)
{
	unsigned int i;

	for (i = 0; i < a->batch_len; i++) {
		if (!a->batch[i].shared &&
		    lmt_key_index(m, a->keys[i].data, a->keys[i].len) == index)
			return false;
	}
	return true;
}

/* Check that a batch finds a key that it was asked for, and in the right way. */
static void lmt_batch_check_key(struct lmt_actor *a, struct lmt_map *m,
				struct lockmap_batch *batch, const struct lmt_key *key)
{
	unsigned int index = lmt_key_index(m, key->data, key->len);
	bool shared = lmt_batch_shares(a, m, index);
	const struct lockmap_entry *any;
	struct lockmap_entry *entry;

	any = lockmap_batch_entry_shared(batch, key->data, key->len);
	entry = lockmap_batch_entry(batch, key->data, key->len);
	if (!any || lmt_entry_index(m, any) != index)
		lmt_fail(a, m, index, "batch", "does not find one of its keys");
	else if (entry != (shared ? NULL : any))
		lmt_fail(a, m, index, "batch", "has a key that is shared: %u, as if it were not",
			 shared);
}

/* Check that a batch has all keys that were asked for, each once, in ascending order. */
static void lmt_batch_check(struct lmt_actor *a, struct lmt_map *m, struct lockmap_batch *batch)
{
	const struct lockmap_entry *any;
	struct lockmap_entry *entry;
	struct lmt_key keys[2];
	unsigned int i, index;

	for (i = 0; i < a->batch_len; i++)
		lmt_batch_check_key(a, m, batch, &a->keys[i]);
	i = 0;
	lockmap_batch_for_each_shared(batch, any) {
		index = lmt_entry_index(m, any);
		lmt_key_init(&keys[i % 2], m, index);
		if (i && lmt_cmp(m, &keys[(i - 1) % 2], &keys[i % 2]) >= 0)
			lmt_fail(a, m, index, "batch", "is not in order");
		i++;
	}
	lockmap_batch_for_each(batch, entry) {
		index = lmt_entry_index(m, entry);
		if (lmt_batch_shares(a, m, index))
			lmt_fail(a, m, index, "batch", "gives a shared key away to be written");
	}
}

/* Lock the first @n of a->keys, and their shadows. Return: %NULL if lockmap refused. */
struct lockmap_batch *lmt_batch_lock(struct lmt_actor *a, struct lmt_map *m, unsigned int n,
				     enum lmt_wait_mode mode, bool holds)
{
	unsigned long begin = jiffies, timeout = lmt_rnd(a) % 8;
	const struct lockmap_entry *entry;
	struct lockmap_batch *batch;
	u64 start = ktime_get_ns();
	unsigned int index;

	lmt_begin_wait(a, m, n ? lmt_key_index(m, a->keys[0].data, a->keys[0].len) : 0, mode);
	batch = lmt_call_batch(m->map, a->batch, n, mode, timeout);
	lmt_end_wait(a, start);
	if (IS_ERR(batch)) {
		if (!lmt_may_refuse(mode, PTR_ERR(batch), holds, jiffies - begin, timeout))
			lmt_fail(a, m, a->index, "error code", "batch in mode %u: %ld", mode,
				 PTR_ERR(batch));
		lmt_count_refusal(a, PTR_ERR(batch));
		return NULL;
	}
	a->batch_len = n;
	lmt_batch_check(a, m, batch);
	lockmap_batch_for_each_shared(batch, entry) {
		index = lmt_entry_index(m, entry);
		if (lmt_batch_shares(a, m, index))
			lmt_shadow_share(a, m, index, entry);
		else
			lmt_shadow_lock(a, m, index, (struct lockmap_entry *)entry);
	}
	return batch;
}

void lmt_batch_unlock(struct lmt_actor *a, struct lmt_map *m, struct lockmap_batch *batch)
{
	const struct lockmap_entry *entry;
	unsigned int index;

	lockmap_batch_for_each_shared(batch, entry) {
		index = lmt_entry_index(m, entry);
		if (lmt_batch_shares(a, m, index))
			lmt_shadow_unshare(a, m, index);
		else
			lmt_shadow_unlock(a, m, index);
	}
	a->batch_len = 0;
	lockmap_batch_unlock(batch);
}

void lmt_batch_key(struct lmt_actor *a, const struct lmt_map *m, unsigned int i,
		   unsigned int index, bool shared)
{
	lmt_key_init(&a->keys[i], m, index);
	a->batch[i] = (struct lockmap_key) { a->keys[i].data, a->keys[i].len, shared };
}
