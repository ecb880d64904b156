// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Visit the keys of a map.
 *
 * rhashtable's own walk may show an object twice. This one goes over the keys in
 * an order that no resizing changes: by the hash with its bits reversed, then by
 * key. A bucket is picked by the low bits of the hash, so that in a table of
 * whatever size the keys of one bucket follow each other in this order (as in
 * Redis' SCAN). The cursor is the last key visited. As it only goes forward, no
 * key is visited twice; as no key's place changes, none is left out.
 */
#include <linux/bitrev.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/instruction_pointer.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/rcupdate.h>
#include <linux/rhashtable.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "callback.h"
#include "compat.h"
#include "types.h"

/* A walk looks at so many buckets in one RCU read side section. */
#define LM_WALK_WINDOW	256

/**
 * struct lm_cursor - where a walk is; on the stack of the walking task
 * @mask: the walk finds entries whose word, under this mask, ...
 * @want: ... has exactly these bits; or any bit of the mask, if this is 0
 * @shard: the shard that it is in
 * @pos: the reversed hash to go on with; 2^32 at the end
 * @end: where the buckets end that are looked at now
 * @after_key: of the keys with the hash @pos, only those after @key are left
 * @len: length of @key
 * @key: the last key found
 * @next: the other buffer for a key
 * @small: both buffers, if keys are short
 */
struct lm_cursor {
	u64 mask;
	u64 want;
	const struct lm_shard *shard;
	u64 pos;
	u64 end;
	bool after_key;
	u32 len;
	u8 *key;
	u8 *next;
	u8 small[2][LM_INLINE_KEY];
};

/* The best candidate so far for the next key, with its word from before it was looked at. */
struct lm_candidate {
	struct lockmap_entry *entry;
	u64 word;
	u64 pos;
};

static void lm_cursor_init(struct lm_cursor *cursor, const struct lockmap *map, u64 mask, u64 want)
{
	gfp_t gfp = gfpflags_allow_blocking(map->params.gfp) ? map->params.gfp : GFP_NOIO;

	*cursor = (struct lm_cursor) { .mask = mask, .want = want };
	cursor->key = cursor->small[0];
	cursor->next = cursor->small[1];
	if (map->key_len <= LM_INLINE_KEY)
		return;
	/* Two pages at most: the allocation need not fail. */
	cursor->key = kmalloc(2 * map->key_len, gfp | __GFP_NOFAIL);
	cursor->next = cursor->key + map->key_len;
}

static void lm_cursor_free(struct lm_cursor *cursor)
{
	if (cursor->key != cursor->small[0] && cursor->key != cursor->small[1])
		kfree(min(cursor->key, cursor->next));
}

/* Whether an entry comes after the cursor, and before the best one so far. */
static bool lm_is_next(const struct lockmap *map, const struct lm_cursor *cursor,
		       const struct lm_candidate *best, const struct lockmap_entry *entry, u64 pos)
{
	const u8 *data, *other;
	u32 len, other_len;

	if (pos < cursor->pos || pos >= cursor->end || (best->entry && pos > best->pos))
		return false;
	data = lm_entry_key_rcu(map, entry, &len);
	if (cursor->after_key && pos == cursor->pos &&
	    lm_cmp(map, data, len, cursor->key, cursor->len) <= 0)
		return false;
	if (!best->entry || pos < best->pos)
		return true;
	other = lm_entry_key_rcu(map, best->entry, &other_len);
	return lm_cmp(map, data, len, other, other_len) < 0;
}

static void lm_scan_bucket(struct lockmap *map, const struct lm_cursor *cursor,
			   const struct bucket_table *tbl, u32 hash, struct lm_candidate *best)
{
	struct rhash_lock_head __rcu *const *bucket = rht_bucket(tbl, hash & (tbl->size - 1));
	const struct lm_candidate before = *best;
	struct lockmap_entry *entry;
	struct rhash_head *node;
	u64 word;

	do {
		*best = before;
		rht_for_each_rcu_from(node, rht_ptr_rcu(bucket), tbl, hash) {
			entry = container_of(node, struct lockmap_entry, node);
			/* (C) the word before the key; pairs with lm_entry_publish(). */
			word = atomic64_read_acquire(&entry->lock.word);
			if (!(word & cursor->mask) ||
			    (cursor->want && (word & cursor->mask) != cursor->want))
				continue;
			hash = READ_ONCE(entry->hash);
			/* The memory may be that of an entry in another shard by now. */
			if (lm_shard(map, hash) != cursor->shard)
				continue;
			/* lm_cursor_take() finds out if the key changed meanwhile. */
			if (data_race(lm_is_next(map, cursor, best, entry, bitrev32(hash))))
				*best = (struct lm_candidate) { entry, word, bitrev32(hash) };
		}
	} while (unlikely(node != RHT_NULLS_MARKER(bucket)));
}

/* Look at the buckets of one table from the cursor on, up to its end or the first candidate. */
static void lm_scan_table(struct lockmap *map, const struct lm_cursor *cursor,
			  const struct bucket_table *tbl, struct lm_candidate *best)
{
	unsigned int shift = 32 - ilog2(tbl->size);
	u64 i;

	for (i = cursor->pos >> shift; i << shift < cursor->end; i++) {
		if (best->entry && i << shift > best->pos)
			break;
		lm_scan_bucket(map, cursor, tbl, bitrev32(i << shift), best);
	}
}

/* Copy the candidate's key and make it the cursor's, if the entry still has that key. */
static bool lm_cursor_take(const struct lockmap *map, struct lm_cursor *cursor,
			   const struct lm_candidate *best)
{
	const u8 *data;
	u32 len;

	data = lm_entry_key_rcu(map, best->entry, &len);
	/* If it changes meanwhile, so does the version. */
	data_race(memcpy(cursor->next, data, len));
	/* (E) the key before the word again; pairs with lm_entry_set_key(). */
	smp_rmb();
	if ((atomic64_read(&best->entry->lock.word) ^ best->word) & (LM_VERSION | LM_DEAD))
		return false;
	swap(cursor->key, cursor->next);
	cursor->len = len;
	cursor->pos = best->pos;
	cursor->after_key = true;
	return true;
}

/* Move the cursor to the next key of a shard. Return: false when there is none. */
static bool lm_cursor_next(struct lockmap *map, struct lm_shard *shard,
			   struct lm_cursor *cursor)
{
	struct rhashtable *table = &shard->table;
	struct lm_candidate best;
	struct bucket_table *tbl;
	unsigned int shift;
	bool found = false;

	cursor->shard = shard;
	while (!found && cursor->pos <= U32_MAX) {
		best.entry = NULL;
		rcu_read_lock();
		tbl = rht_dereference_rcu(table->tbl, table);
		shift = 32 - ilog2(tbl->size);
		cursor->end = min_t(u64, ((cursor->pos >> shift) + LM_WALK_WINDOW) << shift,
				    BIT_ULL(32));
		do {
			lm_scan_table(map, cursor, tbl, &best);
			/* As in lm_find(). */
			smp_rmb();
			tbl = rht_dereference_rcu(tbl->future_tbl, table);
		} while (tbl);
		if (best.entry) {
			found = lm_cursor_take(map, cursor, &best);
		} else {
			cursor->pos = cursor->end;
			cursor->after_key = false;
		}
		rcu_read_unlock();
		cond_resched();
	}
	return found;
}

/* The key that the cursor is at. */
static struct lm_key lm_cursor_key(struct lockmap *map, const struct lm_cursor *cursor)
{
	struct lm_key key = lm_key(map, map->key_kind, cursor->key, cursor->len);

	key.hash = bitrev32(cursor->pos);
	return key;
}

/* Count the entries that lm_cursor_init() with @mask and @want makes the walk find, up to @most. */
static unsigned int lm_count_entries(struct lockmap *map, u64 mask, u64 want, unsigned int most)
{
	struct lm_cursor cursor;
	unsigned int i, nr = 0;

	for (i = 0; i < map->nr_shards && nr < most; i++) {
		lm_cursor_init(&cursor, map, mask, want);
		while (nr < most && lm_cursor_next(map, &map->shards[i], &cursor))
			nr++;
		lm_cursor_free(&cursor);
	}
	return nr;
}

static unsigned int lm_count_held(struct lockmap *map)
{
	return lm_count_entries(map, LM_LOCKED | LM_SHARED, 0, UINT_MAX);
}

/* Whether the caller holds a key of the map. */
static bool lm_holds_any(struct lockmap *map)
{
	u64 owner = lm_current_owner();

	if (!owner)
		return lm_count_entries(map, LM_LOCKED | LM_SHARED, 0, 1);
	return lm_count_entries(map, LM_LOCKED | LM_OWNER, LM_LOCKED | owner, 1);
}

typedef int (*lm_visit_t)(struct lockmap_entry *entry, void *arg);

/* Lock the key that the cursor is at and visit it, if it has a value (still). */
static int lm_walk_visit(struct lockmap *map, const struct lm_cursor *cursor, lm_visit_t visit,
			 void *arg, const struct lm_wait_mode *mode)
{
	struct lm_key key = lm_cursor_key(map, cursor);
	struct lockmap_entry *entry;
	int err = 0;

	entry = lm_lock_slow(&key, NULL, LM_LEAVE_ABSENT, mode);
	if (IS_ERR_OR_NULL(entry))
		return PTR_ERR_OR_ZERO(entry);
	lm_lockdep_acquire(entry, mode, _RET_IP_);
	if (entry->has_value)
		err = visit(entry, arg);
	lm_unlock_annotated(entry, _RET_IP_);
	return err;
}

static int lm_walk_shard(struct lockmap *map, struct lm_shard *shard, lm_visit_t visit, void *arg)
{
	struct lm_cursor cursor;
	int err = 0;

	/* Held keys as well: at the unlock they may turn out to have a value. */
	lm_cursor_init(&cursor, map, LM_LOCKED | LM_VALUE, 0);
	while (!err && lm_cursor_next(map, shard, &cursor))
		err = lm_walk_visit(map, &cursor, visit, arg, &lm_wait_forever);
	lm_cursor_free(&cursor);
	return err;
}

static int lm_walk(struct lockmap *map, lm_visit_t visit, void *arg)
{
	unsigned int i;
	int err = 0;

	might_sleep();
	if (lm_called_back())
		return -EINVAL;
	lm_lockdep_may_lock_any(map);
	/* A walk would wait for the caller itself; refuse before anything is changed. */
	if (lm_holds_any(map))
		return -EDEADLK;
	for (i = 0; !err && i < map->nr_shards; i++)
		err = lm_walk_shard(map, &map->shards[i], visit, arg);
	return err;
}

struct lm_for_each {
	int (*fn)(const void *key, size_t len, void *value, void *arg);
	void *arg;
};

static int lm_visit_for_each(struct lockmap_entry *entry, void *arg)
{
	const struct lm_for_each *each = arg;
	size_t len;
	const void *key = lockmap_entry_key(entry, &len);

	return each->fn(key, len, entry->data, each->arg);
}

int lockmap_for_each(struct lockmap *map,
		     int (*fn)(const void *key, size_t len, void *value, void *arg), void *arg)
{
	struct lm_for_each each = { .fn = fn, .arg = arg };

	if (IS_ERR_OR_NULL(map) || !fn)
		return -EINVAL;
	return lm_walk(map, lm_visit_for_each, &each);
}
EXPORT_SYMBOL_GPL(lockmap_for_each);

struct lm_retain {
	bool (*keep)(const void *key, size_t len, void *value, void *arg);
	void *arg;
};

static int lm_visit_retain(struct lockmap_entry *entry, void *arg)
{
	const struct lm_retain *retain = arg;
	size_t len;
	const void *key = lockmap_entry_key(entry, &len);

	if (!retain->keep(key, len, entry->data, retain->arg))
		lockmap_entry_remove(entry, NULL);
	return 0;
}

int lockmap_retain(struct lockmap *map,
		   bool (*keep)(const void *key, size_t len, void *value, void *arg), void *arg)
{
	struct lm_retain retain = { .keep = keep, .arg = arg };

	if (IS_ERR_OR_NULL(map) || !keep)
		return -EINVAL;
	return lm_walk(map, lm_visit_retain, &retain);
}
EXPORT_SYMBOL_GPL(lockmap_retain);

static int lm_visit_clear(struct lockmap_entry *entry, void *arg)
{
	lockmap_entry_remove(entry, NULL);
	return 0;
}

int lockmap_clear(struct lockmap *map)
{
	if (IS_ERR_OR_NULL(map))
		return -EINVAL;
	return lm_walk(map, lm_visit_clear, NULL);
}
EXPORT_SYMBOL_GPL(lockmap_clear);
