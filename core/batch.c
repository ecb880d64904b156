// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Lock many keys at once, in the order of their comparison, each once: batches
 * that overlap do not deadlock.
 *
 * Until they are locked, the sorted keys stand where the entries will be: in the
 * array of struct lockmap_batch. An entry that is shared has a bit set there.
 */
#include <linux/bsearch.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/instruction_pointer.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/percpu.h>
#include <linux/prefetch.h>
#include <linux/rcupdate.h>
#include <linux/rhashtable.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "callback.h"
#include "compat.h"
#include "types.h"

/* So many keys of a batch are prefetched at once. */
#define LM_BATCH_WINDOW	8U
/* So many keys are sorted without branches. */
#define LM_BATCH_FEW	8
/* A batch has room for so many keys at least. */
#define LM_BATCH_SPARE	16U

/* In a slot of a batch: the entry is shared. */
#define LM_SLOT_SHARED	1UL

static DEFINE_PER_CPU(struct lockmap_batch *, lm_spare_batch);

static struct lockmap_entry *lm_slot_entry(unsigned long slot)
{
	return (struct lockmap_entry *)(slot & ~LM_SLOT_SHARED);
}

static int lm_batch_cmp(const void *a, const void *b, const void *priv)
{
	const struct lockmap_key *x = *(const struct lockmap_key * const *)a;
	const struct lockmap_key *y = *(const struct lockmap_key * const *)b;

	return lm_cmp(priv, x->data, x->len, y->data, y->len);
}

/* Whether two keys are the same. */
static __always_inline bool lm_batch_same(const struct lockmap *map, const struct lockmap_key *a,
					  const struct lockmap_key *b)
{
	if (map->key_kind == LM_KEY_U64)
		return lm_number(a->data, sizeof(u64)) == lm_number(b->data, sizeof(u64));
	return !lm_cmp(map, a->data, a->len, b->data, b->len);
}

/* Sort few numbers by counting the smaller ones of each: no branch depends on them. */
static void lm_batch_sort_u64(const struct lockmap_key **sorted, const struct lockmap_key *keys,
			      unsigned int n)
{
	u64 num[LM_BATCH_FEW];
	u8 rank[LM_BATCH_FEW];
	unsigned int i, j;

	for (i = 0; i < n; i++) {
		num[i] = lm_number(keys[i].data, sizeof(u64));
		rank[i] = 0;
		for (j = 0; j < i; j++) {
			bool after = num[j] <= num[i];

			rank[i] += after;
			rank[j] += !after;
		}
	}
	for (i = 0; i < n; i++)
		sorted[rank[i]] = &keys[i];
}

static void lm_batch_sort(const struct lockmap *map, const struct lockmap_key **sorted,
			  const struct lockmap_key *keys, unsigned int n)
{
	unsigned int i;

	if (map->key_kind == LM_KEY_U64 && n <= LM_BATCH_FEW) {
		lm_batch_sort_u64(sorted, keys, n);
		return;
	}
	for (i = 0; i < n; i++)
		sorted[i] = &keys[i];
	sort_r(sorted, n, sizeof(*sorted), lm_batch_cmp, NULL, map);
}

/*
 * For lockdep a batch is its first and its last key: keys locked later have to
 * sort after the last one, and keys held before have to sort before the first.
 * lockdep cannot keep track of more than 48 locks.
 */
static void lm_batch_lockdep_acquire(struct lockmap_batch *batch, struct lm_wait_mode mode,
				     unsigned long ip)
{
	unsigned int last = batch->nr - 1;

	if (!IS_ENABLED(CONFIG_LOCKDEP) || !batch->nr)
		return;
	mode.shared = batch->slots[0] & LM_SLOT_SHARED;
	lm_lockdep_acquire(lm_slot_entry(batch->slots[0]), &mode, ip);
	mode.shared = batch->slots[last] & LM_SLOT_SHARED;
	if (last)
		lm_lockdep_acquire(lm_slot_entry(batch->slots[last]), &mode, ip);
}

/*
 * A small batch that was unlocked is kept for the next call: as a rule one on the
 * same CPU, but any may take it.
 */
static struct lockmap_batch *lm_batch_alloc(unsigned int n, gfp_t gfp)
{
	size_t size = struct_size_t(struct lockmap_batch, slots, max(n, LM_BATCH_SPARE));
	struct lockmap_batch *batch = NULL;

	/* kvmalloc() complains of more than INT_MAX bytes, and without reclaim it cannot map. */
	if (size > INT_MAX)
		return NULL;
	if (n <= LM_BATCH_SPARE)
		batch = xchg(raw_cpu_ptr(&lm_spare_batch), NULL);
	if (batch)
		return batch;
	if (size <= PAGE_SIZE || !gfpflags_allow_blocking(gfp))
		batch = kmalloc(size, gfp);
	else
		batch = kvmalloc(size, gfp);
	if (batch)
		batch->max = max(n, LM_BATCH_SPARE);
	return batch;
}

static void lm_batch_free(struct lockmap_batch *batch)
{
	/* For lm_misused_batch(), as long as no task takes it. */
	if (IS_ENABLED(CONFIG_LOCKMAP_DEBUG))
		batch->map = NULL;
	if (batch->max > LM_BATCH_SPARE || cmpxchg(raw_cpu_ptr(&lm_spare_batch), NULL, batch))
		kvfree(batch);
}

static noinline void lm_batch_unlock_mixed(struct lockmap_batch *batch, unsigned long ip)
{
	unsigned long slot;

	while (batch->nr) {
		slot = batch->slots[--batch->nr];
		if (slot & LM_SLOT_SHARED)
			lm_unlock_shared_annotated(lm_slot_entry(slot), ip);
		else
			lm_unlock_annotated(lm_slot_entry(slot), ip);
	}
}

static void lm_batch_unlock(struct lockmap_batch *batch, unsigned long ip)
{
	if (unlikely(batch->any_shared))
		lm_batch_unlock_mixed(batch, ip);
	while (batch->nr)
		lm_unlock_annotated((struct lockmap_entry *)batch->slots[--batch->nr], ip);
	lm_batch_free(batch);
}

static struct lockmap_batch *lm_batch_new(struct lockmap *map, const struct lockmap_key *keys,
					  unsigned int n, gfp_t gfp)
{
	const struct lockmap_key **sorted;
	struct lockmap_batch *batch;
	bool any_shared = false;
	unsigned int i;

	if (IS_ERR_OR_NULL(map) || (n && !keys) || lm_called_back())
		return ERR_PTR(-EINVAL);
	for (i = 0; i < n; i++) {
		if (!keys[i].data || !lm_len_ok(map, keys[i].len))
			return ERR_PTR(lm_key_refused(map, keys[i].data, keys[i].len));
		any_shared |= keys[i].shared;
	}
	batch = lm_batch_alloc(n, gfp);
	if (!batch)
		return ERR_PTR(-ENOMEM);
	batch->map = map;
	batch->nr = 0;
	batch->any_shared = any_shared;
	/* The sorted keys stand where their entries will be. */
	sorted = (const struct lockmap_key **)batch->slots;
	lm_batch_sort(map, sorted, keys, n);
	return batch;
}

/*
 * Prefetch what the lookups of some keys will read: their buckets, then the first
 * entry of each bucket.
 */
static void lm_batch_prefetch(struct lockmap *map, const struct lockmap_key *const *keys,
			      unsigned int n)
{
	struct rhash_lock_head __rcu *const *buckets[LM_BATCH_WINDOW];
	struct rhash_head *node;
	struct lm_key key;
	unsigned int i;

	/* To hash other keys twice costs more than this gains. */
	if (map->key_kind != LM_KEY_U64 || n < 2)
		return;
	rcu_read_lock();
	for (i = 0; i < n; i++) {
		key = lm_key_u64(map, keys[i]->data);
		buckets[i] = lm_table_bucket(&key);
		prefetch(buckets[i]);
	}
	for (i = 0; i < n; i++) {
		node = rht_ptr_rcu(buckets[i]);
		if (!rht_is_a_nulls(node))
			prefetchw(node);
	}
	rcu_read_unlock();
}

/*
 * A batch is told to lockdep when it is locked. Before that, the second key may need an
 * entry while the first is locked.
 */
static void lm_batch_may_alloc(const struct lockmap_batch *batch, const struct lm_wait_mode *mode)
{
	if (!mode->try && batch->nr == 1)
		lm_lockdep_may_alloc_locked(batch->map);
}

/*
 * Lock the keys of a batch, in their order, each once; exclusively, unless it is to be
 * shared wherever it stands. An entry never overwrites a key in the array that is still
 * to be locked. @mixed: some may be shared.
 */
static __always_inline int lm_batch_lock_sorted(struct lockmap_batch *batch, unsigned int n,
						const bool mixed, struct lm_wait_mode *mode)
{
	const struct lockmap_key **keys = (const struct lockmap_key **)batch->slots;
	struct lockmap *map = batch->map;
	const struct lockmap_key *key;
	struct lockmap_entry *entry;
	bool shared = mixed;
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (i % LM_BATCH_WINDOW == 0)
			lm_batch_prefetch(map, keys + i, min(n - i, LM_BATCH_WINDOW));
		key = keys[i];
		if (mixed)
			shared &= key->shared;
		if (i + 1 < n && lm_batch_same(map, key, keys[i + 1]))
			continue;
		if (mixed)
			mode->shared = shared;
		lm_batch_may_alloc(batch, mode);
		entry = lm_lock_unannotated(map, key->data, key->len, shared, LM_CREATE, mode);
		if (IS_ERR(entry))
			return PTR_ERR(entry);
		batch->slots[batch->nr++] = (unsigned long)entry | shared;
		shared = mixed;
	}
	return 0;
}

static noinline int lm_batch_lock_mixed(struct lockmap_batch *batch, unsigned int n,
					struct lm_wait_mode mode)
{
	return lm_batch_lock_sorted(batch, n, true, &mode);
}

static struct lockmap_batch *lm_batch_lock(struct lockmap *map, const struct lockmap_key *keys,
					   unsigned int n, struct lm_wait_mode mode)
{
	struct lockmap_batch *batch;
	int err;

	/* Also if there is a spare one, or no key. */
	if (!mode.try)
		lm_lockdep_may_alloc(map);
	batch = lm_batch_new(map, keys, n, IS_ERR_OR_NULL(map) ? 0 : lm_gfp(map, &mode));
	if (IS_ERR(batch))
		return batch;
	if (unlikely(batch->any_shared))
		err = lm_batch_lock_mixed(batch, n, mode);
	else
		err = lm_batch_lock_sorted(batch, n, false, &mode);
	if (err) {
		lm_batch_unlock(batch, _RET_IP_);
		return ERR_PTR(err);
	}
	lm_batch_lockdep_acquire(batch, mode, _RET_IP_);
	return batch;
}

struct lockmap_batch *lockmap_batch_lock(struct lockmap *map, const struct lockmap_key *keys,
					 unsigned int n)
{
	return lm_batch_lock(map, keys, n, lm_wait_forever);
}
EXPORT_SYMBOL_GPL(lockmap_batch_lock);

struct lockmap_batch *lockmap_batch_lock_interruptible(struct lockmap *map,
						       const struct lockmap_key *keys,
						       unsigned int n)
{
	return lm_batch_lock(map, keys, n, lm_wait_interruptible);
}
EXPORT_SYMBOL_GPL(lockmap_batch_lock_interruptible);

struct lockmap_batch *lockmap_batch_lock_killable(struct lockmap *map,
						  const struct lockmap_key *keys, unsigned int n)
{
	return lm_batch_lock(map, keys, n, lm_wait_killable);
}
EXPORT_SYMBOL_GPL(lockmap_batch_lock_killable);

struct lockmap_batch *lockmap_batch_lock_timeout(struct lockmap *map,
						 const struct lockmap_key *keys, unsigned int n,
						 unsigned long timeout)
{
	return lm_batch_lock(map, keys, n, lm_wait_until(timeout));
}
EXPORT_SYMBOL_GPL(lockmap_batch_lock_timeout);

struct lockmap_batch *lockmap_batch_trylock(struct lockmap *map, const struct lockmap_key *keys,
					    unsigned int n)
{
	return lm_batch_lock(map, keys, n, lm_wait_never);
}
EXPORT_SYMBOL_GPL(lockmap_batch_trylock);

void lockmap_batch_unlock(struct lockmap_batch *batch)
{
	if (IS_ERR_OR_NULL(batch) || lm_misused_batch(batch))
		return;
	lm_batch_unlock(batch, _RET_IP_);
}
EXPORT_SYMBOL_GPL(lockmap_batch_unlock);

static int lm_batch_find(const void *data, const void *elt)
{
	const struct lockmap_entry *entry = lm_slot_entry(*(const unsigned long *)elt);
	const struct lm_key *key = data;
	const u8 *entry_data;
	u32 len;

	entry_data = lm_entry_key_rcu(key->map, entry, &len);
	return lm_cmp(key->map, key->data, key->len, entry_data, len);
}

/* Return: the slot of a key; 0 if the batch does not have it. */
static unsigned long lm_batch_slot(struct lockmap_batch *batch, const void *data, size_t len)
{
	const unsigned long *found;
	struct lm_key key;

	if (IS_ERR_OR_NULL(batch) || lm_key_init(&key, batch->map, data, len))
		return 0;
	found = bsearch(&key, batch->slots, batch->nr, sizeof(*found), lm_batch_find);
	return found ? *found : 0;
}

struct lockmap_entry *lockmap_batch_entry(struct lockmap_batch *batch, const void *data, size_t len)
{
	unsigned long slot = lm_batch_slot(batch, data, len);

	return slot & LM_SLOT_SHARED ? NULL : lm_slot_entry(slot);
}
EXPORT_SYMBOL_GPL(lockmap_batch_entry);

const struct lockmap_entry *lockmap_batch_entry_shared(struct lockmap_batch *batch,
						       const void *data, size_t len)
{
	return lm_slot_entry(lm_batch_slot(batch, data, len));
}
EXPORT_SYMBOL_GPL(lockmap_batch_entry_shared);

static void lm_batch_exit(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		kfree(per_cpu(lm_spare_batch, cpu));
}
