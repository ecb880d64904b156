// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Find, make, publish and evict entries.
 *
 * An entry comes into its table locked, put there by a task that wanted its key
 * and did not find it. From then on its state word (word.c) decides: a lookup
 * reads the word, then compares the key; a compare-exchange of that very word
 * takes the lock. There are no reference counts: a holder keeps an entry because
 * it is LOCKED, waiters because it has WAITERS, a value because it has VALUE.
 *
 * An entry with none of these may be evicted (clock.c): a compare-exchange makes
 * the word DEAD, the entry leaves the table and goes back to a
 * SLAB_TYPESAFE_BY_RCU cache, all at once. No task waits for a DEAD entry to
 * leave: comparisons pass it by, so that a new one with the same key can be put
 * in front.
 *
 * So a lookup under RCU may stand on an entry that becomes another key's. The
 * word's version tells; and a chain that a reused entry left ends in another
 * bucket's marker, which makes the lookup start over.
 */
#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/hash.h>
#include <linux/rcupdate.h>
#include <linux/rhashtable.h>
#include <linux/slab.h>

#include "compat.h"
#include "types.h"

static __always_inline struct lm_shard *lm_shard(struct lockmap *map, u32 hash)
{
	return &map->shards[hash >> 1 >> map->shard_shift];
}

/*
 * Whether an entry is for this key, and not dead. The entry may become another
 * key's at any time, but not without another version in its word. So a caller
 * that acts on the answer has to find the word unchanged since: by the
 * compare-exchange that locks it (lm_acquire()), or by reading it again
 * (lm_unchanged()). Under the lock of the bucket that the entry is in, the answer
 * is certain.
 */
static __always_inline bool lm_match(struct lm_key *key, const struct lockmap_entry *entry)
{
	if (READ_ONCE(entry->hash) != key->hash)
		return false;
	/* (C) the word before the key; pairs with lm_entry_publish(). */
	key->word = (u64)atomic64_read_acquire(&entry->lock.word);
	/* If the key changes meanwhile, so does the word. */
	return !(key->word & LM_DEAD) && data_race(lm_same_key(key, entry));
}

/* Whether what was read from an entry since lm_match() belongs together, and to the key. */
static __always_inline bool lm_unchanged(const struct lm_key *key,
					 const struct lockmap_entry *entry)
{
	/*
	 * The earlier reads before the word again. Pairs with lm_acquire() for a
	 * value that was read (A), and with lm_entry_new() for a key (E).
	 */
	smp_rmb();
	return likely(!((atomic64_read(&entry->lock.word) ^ key->word) &
			(LM_VERSION | LM_LOCKED | LM_DEAD | LM_VALUE)));
}

static u32 lm_rht_key_hash(const void *data, u32 len, u32 seed)
{
	return ((const struct lm_key *)data)->hash;
}

static u32 lm_rht_obj_hash(const void *data, u32 len, u32 seed)
{
	return ((const struct lockmap_entry *)data)->hash;
}

static int lm_rht_obj_cmp(struct rhashtable_compare_arg *arg, const void *obj)
{
	return !lm_match((struct lm_key *)arg->key, obj);
}

#define LM_RHT_PARAMS						\
	.head_offset = offsetof(struct lockmap_entry, node),	\
	.hashfn = lm_rht_key_hash,				\
	.obj_hashfn = lm_rht_obj_hash,				\
	.obj_cmpfn = lm_rht_obj_cmp,				\
	.automatic_shrinking = true

static const struct rhashtable_params lm_rht_params = { LM_RHT_PARAMS };

/*
 * With a caller's hash, chains may be long for good, and another table does not
 * help. Other maps keep the checks of chain length: without them a table grows by
 * one step for a whole burst of insertions, and stays too small until the next.
 */
static const struct rhashtable_params lm_rht_params_custom = {
	LM_RHT_PARAMS,
	LM_RHT_INSECURE_ELASTICITY
};

/* The bucket that a key belongs in, for prefetching. */
static __always_inline struct rhash_lock_head __rcu *const *
lm_table_bucket(const struct lm_key *key)
{
	struct rhashtable *table = &lm_shard(key->map, key->hash)->table;
	struct bucket_table *tbl = rht_dereference_rcu(table->tbl, table);

	return rht_bucket(tbl, key->hash & (tbl->size - 1));
}

/*
 * Find the entry for a key, and its word as it was before the key was compared.
 * This is rhashtable_lookup() with constants for what it reads at run time.
 */
static __always_inline struct lockmap_entry *lm_find(struct lm_key *key)
{
	struct rhashtable *table = &lm_shard(key->map, key->hash)->table;
	struct bucket_table *tbl = rht_dereference_rcu(table->tbl, table);
	struct rhash_lock_head __rcu *const *bucket;
	struct lockmap_entry *entry;
	struct rhash_head *node;

	do {
		bucket = rht_bucket(tbl, key->hash & (tbl->size - 1));
		do {
			rht_for_each_rcu_from(node, rht_ptr_rcu(bucket), tbl, key->hash) {
				entry = container_of(node, struct lockmap_entry, node);
				if (likely(lm_match(key, entry)))
					return entry;
			}
			/* The chain ends in another bucket's marker: an entry has moved. */
		} while (unlikely(node != RHT_NULLS_MARKER(bucket)));
		/* Pairs with the rehash, which links into the new table first. */
		smp_rmb();
		tbl = rht_dereference_rcu(tbl->future_tbl, table);
	} while (unlikely(tbl));
	return NULL;
}

static int lm_entry_set_key(struct lockmap_entry *new, const struct lm_key *key, gfp_t gfp)
{
	u8 *data = new->data + key->map->key_offset;
	struct lm_long_key *lk;

	if (key->map->key_kind != LM_KEY_LONG) {
		memcpy(data, key->data, key->len);
		return 0;
	}
	lk = kmalloc(struct_size(lk, data, key->len), gfp);
	if (!lk)
		return -ENOMEM;
	lk->len = key->len;
	memcpy(lk->data, key->data, key->len);
	rcu_assign_pointer(*(struct lm_long_key __rcu **)data, lk);
	return 0;
}

/*
 * Make an entry that is in no table. Its word is DEAD and stays so until
 * lm_entry_publish(): lookups that stand on this memory since it was another
 * entry still read it.
 */
static struct lockmap_entry *lm_entry_new(const struct lm_key *key, gfp_t gfp)
{
	struct lockmap *map = key->map;
	struct lockmap_entry *new;

	new = kmem_cache_alloc(map->cache, gfp);
	if (!new)
		return NULL;
	/*
	 * The version goes on where it was. In memory that was no entry before it
	 * starts anywhere: no lookup can have read it.
	 */
	atomic64_set(&new->lock.word, lm_word_dead(atomic64_read(&new->lock.word)));
	/* (E) the death before the new key; pairs with lm_unchanged() and lm_cursor_take(). */
	smp_wmb();
	new->map = map;
	WRITE_ONCE(new->hash, key->hash);
	WRITE_ONCE(new->len, key->len);
	new->has_value = false;
	lm_owner_forget(&new->owner_note);
	new->annotated = false;
	if (lm_entry_set_key(new, key, gfp)) {
		kmem_cache_free(map->cache, new);
		return NULL;
	}
	lm_lockdep_init_entry(new);
	return new;
}

/* Give back an entry that is in no table, its word DEAD. */
static void lm_entry_free(struct lockmap_entry *entry)
{
	struct lockmap *map = entry->map;
	struct lm_long_key *lk;

	debug_check_no_locks_freed(entry, sizeof(*entry));
	if (map->key_kind == LM_KEY_LONG) {
		lk = *(struct lm_long_key **)(entry->data + map->key_offset);
		kfree_rcu(lk, rcu);
	}
	kmem_cache_free(map->cache, entry);
}

/*
 * Put an entry into its table, locked by the caller. From the store of the word
 * on, a lookup that comes along an old chain may find the entry and wait for it,
 * even if it does not get into the table in the end: hence lm_mark_dead().
 *
 * Return: 0; -EEXIST when the table has the key already; what rhashtable says when
 * it can take no more for the moment: -ENOMEM, -EBUSY, -E2BIG.
 */
static lm_noinline_kcsan int lm_entry_publish(struct lm_key *key, struct lockmap_entry *new,
					      u64 owner)
{
	struct lm_shard *shard = lm_shard(key->map, key->hash);
	u64 dead = atomic64_read(&new->lock.word);
	void *found;

	/* (C) the key before the word; pairs with lm_match() and lm_scan_bucket(). */
	atomic64_set_release(&new->lock.word, (dead & LM_VERSION) | LM_LOCKED | owner);
	if (unlikely(key->map->params.hash))
		found = rhashtable_lookup_get_insert_key(&shard->table, key, &new->node,
							 lm_rht_params_custom);
	else
		found = rhashtable_lookup_get_insert_key(&shard->table, key, &new->node,
							 lm_rht_params);
	if (likely(!found))
		return 0;
	lm_mark_dead(&new->lock);
	return IS_ERR(found) ? PTR_ERR(found) : -EEXIST;
}

/* Take an idle entry, whose word was just marked DEAD, out of its table, and free it. */
static lm_noinline_kcsan void lm_entry_evict(struct lockmap_entry *entry)
{
	lm_note_reclaimed(entry);
	rhashtable_remove_fast(&lm_shard(entry->map, entry->hash)->table, &entry->node,
			       lm_rht_params);
	lm_entry_free(entry);
}
