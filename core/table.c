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
#include <linux/string.h>

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
	 * value that was read (A), and with lm_entry_set_key() for a key (E).
	 */
	smp_rmb();
	return likely(!((atomic64_read(&entry->lock.word) ^ key->word) &
			(LM_VERSION | LM_LOCKED | LM_DEAD | LM_VALUE)));
}

/* Whether a key has no value, and no holder who may just put one in, by the word that was read. */
static bool lm_sure_absent(const struct lm_key *key)
{
	return !(key->word & (LM_LOCKED | LM_VALUE));
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

/*
 * Memory for a key that is not part of its entry. Lookups that stand on the entry may
 * read it before it has a key: until then it is one byte, for callers' comparisons.
 */
static int lm_entry_alloc_long_key(struct lockmap_entry *new, u32 len, gfp_t gfp)
{
	struct lockmap *map = new->map;
	struct lm_long_key *lk;

	if (map->key_kind != LM_KEY_LONG)
		return 0;
	lk = kzalloc(struct_size(lk, data, len), gfp);
	if (!lk)
		return -ENOMEM;
	lk->len = 1;
	rcu_assign_pointer(*(struct lm_long_key __rcu **)(new->data + map->key_offset), lk);
	return 0;
}

/*
 * Make an entry that is in no table, for a key of up to @len bytes. Its word is DEAD
 * and stays so until lm_entry_publish(): lookups that stand on this memory since it
 * was another entry still read it.
 */
static struct lockmap_entry *lm_entry_alloc(struct lockmap *map, u32 len, gfp_t gfp)
{
	struct lockmap_entry *new;

	new = kmem_cache_alloc(map->cache, gfp);
	if (!new)
		return NULL;
	/*
	 * The version goes on where it was. In memory that was no entry before it
	 * starts anywhere: no lookup can have read it.
	 */
	atomic64_set(&new->lock.word, lm_word_dead(atomic64_read(&new->lock.word)));
	new->map = map;
	new->has_value = false;
	lm_owner_forget(&new->owner_note);
	new->annotated = false;
	if (lm_entry_alloc_long_key(new, len, gfp)) {
		kmem_cache_free(map->cache, new);
		return NULL;
	}
	lm_lockdep_init_entry(new);
	return new;
}

/* Give a key to an entry that is in no table, its word DEAD. */
static void lm_entry_set_key(struct lockmap_entry *new, const struct lm_key *key)
{
	u8 *data = new->data + key->map->key_offset;
	struct lm_long_key *lk;

	/* (E) the death before the new key; pairs with lm_unchanged() and lm_cursor_take(). */
	smp_wmb();
	WRITE_ONCE(new->hash, key->hash);
	WRITE_ONCE(new->len, key->len);
	if (key->map->key_kind != LM_KEY_LONG) {
		memcpy(data, key->data, key->len);
		return;
	}
	lk = *(struct lm_long_key **)data;
	memcpy(lk->data, key->data, key->len);
	WRITE_ONCE(lk->len, key->len);
}

static struct lockmap_entry *lm_entry_new(const struct lm_key *key, gfp_t gfp)
{
	struct lockmap_entry *new = lm_entry_alloc(key->map, key->len, gfp);

	if (new)
		lm_entry_set_key(new, key);
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
 * Insert into one table of those that a resize has under way, unless a newer one follows.
 *
 * Return: %NULL when it is done; the entry that has the key; ERR_PTR(-EAGAIN) to go on with
 * the newer table; ERR_PTR(-ENOMEM) if a table that was made of single pages lacks one.
 */
static void *lm_table_insert_into(struct rhashtable *table, struct bucket_table *tbl,
				  struct lm_key *key, struct lockmap_entry *new)
{
	u32 i = key->hash & (tbl->size - 1);
	struct rhash_lock_head __rcu **bucket;
	struct rhash_head *node, *first;
	void *found = NULL;
	unsigned long flags;

	/* Not to the newer table without this bucket's lock: others may insert here meanwhile. */
	bucket = rht_bucket_insert(table, tbl, i);
	if (!bucket)
		return ERR_PTR(-ENOMEM);
	lm_rht_lock(tbl, bucket, flags);
	first = rht_ptr(bucket, tbl, i);
	rht_for_each_from(node, first, tbl, i) {
		if (lm_match(key, container_of(node, struct lockmap_entry, node))) {
			found = container_of(node, struct lockmap_entry, node);
			break;
		}
	}
	/* The bucket is moved to a newer table with its lock held: none will come before that. */
	if (!found && rcu_access_pointer(tbl->future_tbl))
		found = ERR_PTR(-EAGAIN);
	if (found) {
		lm_rht_unlock(tbl, bucket, flags);
		return found;
	}
	RCU_INIT_POINTER(new->node.next, first);
	atomic_inc(&table->nelems);
	lm_rht_assign_unlock(tbl, bucket, &new->node, flags);
	return NULL;
}

/*
 * Insert into a table that has to grow first, and got no memory for it, or that refuses
 * one more entry in a long chain while it grows. This is rhashtable's insertion without
 * its limits: chains become longer than they should be, until the table's worker,
 * which rhashtable has woken up, has memory. It doubles the table; so do later insertions.
 *
 * Context: RCU read side.
 * Return: as lm_table_insert_into(), but for -EAGAIN.
 */
static noinline void *lm_table_insert_full(struct rhashtable *table, struct lm_key *key,
					   struct lockmap_entry *new)
{
	struct bucket_table *tbl = rht_dereference_rcu(table->tbl, table);
	void *found;

	do {
		found = lm_table_insert_into(table, tbl, key, new);
		tbl = rht_dereference_rcu(tbl->future_tbl, table);
	} while (found == ERR_PTR(-EAGAIN));
	return found;
}

/* Flat: rhashtable takes its parameters for constants only where it is inlined. */
static __flatten void *lm_table_insert_plain(struct rhashtable *table, struct lm_key *key,
					     struct lockmap_entry *new)
{
	return rhashtable_lookup_get_insert_key(table, key, &new->node, lm_rht_params);
}

static __always_inline void *lm_table_insert(struct lm_key *key, struct lockmap_entry *new,
					     enum lm_if_full if_full)
{
	struct rhashtable *table = &lm_shard(key->map, key->hash)->table;
	void *found;

	if (unlikely(key->map->params.hash))
		found = rhashtable_lookup_get_insert_key(table, key, &new->node,
							 lm_rht_params_custom);
	else
		found = lm_table_insert_plain(table, key, new);
	if (!IS_ERR(found))
		return found;
	/* -EBUSY: a resize is under way already, and the newer table has room. */
	if (if_full == LM_IF_FULL_REFUSE && PTR_ERR(found) != -EBUSY)
		return found;
	rcu_read_lock();
	found = lm_table_insert_full(table, key, new);
	rcu_read_unlock();
	return found;
}

/*
 * Put an entry into its table, locked by the caller. From the store of the word
 * on, a lookup that comes along an old chain may find the entry and wait for it,
 * even if it does not get into the table in the end: hence lm_mark_dead().
 *
 * Return: 0; -EEXIST when the table has the key already; what rhashtable says when
 * it can take no more for the moment: -ENOMEM, or -E2BIG.
 */
static lm_noinline_kcsan int lm_entry_publish(struct lm_key *key, struct lockmap_entry *new,
					      u64 owner, enum lm_if_full if_full)
{
	u64 dead = atomic64_read(&new->lock.word);
	void *found;

	/* (C) the key before the word; pairs with lm_match() and lm_scan_bucket(). */
	atomic64_set_release(&new->lock.word, (dead & LM_VERSION) | LM_LOCKED | owner);
	found = lm_table_insert(key, new, if_full);
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
