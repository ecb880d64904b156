/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What core/table.c uses of rhashtable: chains that end in a marker, one lock for
 * each. Tables do not grow: rhashtable's rehash is not lockmap's code. But a table may
 * be full, and refuse insertions for want of memory; it may lack the page of its buckets;
 * and a newer table may be hung onto it.
 */
#ifndef _VERIFY_RHASHTABLE_H
#define _VERIFY_RHASHTABLE_H

#define NR_BUCKETS	2

struct rhash_head {
	struct rhash_head *next;
};

/* Only ever a pointer to one of these, as in the kernel. */
struct rhash_lock_head;

struct bucket_table {
	unsigned int size;
	struct bucket_table *future_tbl;
	struct rhash_lock_head *head[NR_BUCKETS];
	spinlock_t lock[NR_BUCKETS];
};

/* @nelems is not counted. */
struct rhashtable {
	struct bucket_table *tbl;
	atomic_t nelems;
};

/* Constant. */
static bool table_is_full;

/* A table that was made of pages, which are allocated when they are first needed. Constant. */
static struct bucket_table *nested_table;

struct rhashtable_compare_arg {
	struct rhashtable *ht;
	const void *key;
};

struct rhashtable_params {
	u16 head_offset;
	bool automatic_shrinking;
	u32 (*hashfn)(const void *data, u32 len, u32 seed);
	u32 (*obj_hashfn)(const void *data, u32 len, u32 seed);
	int (*obj_cmpfn)(struct rhashtable_compare_arg *arg, const void *obj);
};

#define rht_dereference_rcu(ptr, table)	((void)(table), READ_ONCE(ptr))
#define rht_bucket(tbl, hash)		((struct rhash_lock_head *const *)&(tbl)->head[hash])
#define RHT_NULLS_MARKER(bucket)	((struct rhash_head *)((uintptr_t)(bucket) | 1))
#define rht_is_a_nulls(ptr)		((uintptr_t)(ptr) & 1)
#define rht_for_each_rcu_from(pos, first, tbl, hash)					\
	for (pos = (first); !rht_is_a_nulls(pos); pos = READ_ONCE(pos->next))

static inline struct rhash_head *rht_ptr_rcu(struct rhash_lock_head *const *bucket)
{
	return (struct rhash_head *)READ_ONCE(*bucket) ?: RHT_NULLS_MARKER(bucket);
}

#define rht_for_each_from(pos, first, tbl, hash)					\
	for (pos = (first); !rht_is_a_nulls(pos); pos = pos->next)
#define rht_ptr(bucket, tbl, hash)							\
	((struct rhash_head *)*(bucket) ?: RHT_NULLS_MARKER(bucket))

/* Return: what has the key already, or NULL when @node was put in front of its chain. */
static inline void *rhashtable_lookup_get_insert_key(struct rhashtable *table, const void *key,
						     struct rhash_head *node,
						     struct rhashtable_params params)
{
	struct bucket_table *tbl = table->tbl;
	u32 i = params.hashfn(key, 0, 0) & (tbl->size - 1);
	struct rhash_lock_head *const *bucket = rht_bucket(tbl, i);
	struct rhashtable_compare_arg arg = { table, key };
	struct rhash_head *pos, *first;

	/* The models of such tables are about lockmap's own insertion. */
	if (nested_table)
		return ERR_PTR(-ENOMEM);
	spin_lock(&tbl->lock[i]);
	first = (struct rhash_head *)*bucket ?: RHT_NULLS_MARKER(bucket);
	for (pos = first; !rht_is_a_nulls(pos); pos = pos->next) {
		void *obj = (char *)pos - params.head_offset;

		if (!params.obj_cmpfn(&arg, obj)) {
			spin_unlock(&tbl->lock[i]);
			return obj;
		}
	}
	if (!table_is_full) {
		WRITE_ONCE(node->next, first);
		WRITE_ONCE(tbl->head[i], (struct rhash_lock_head *)node);
	}
	spin_unlock(&tbl->lock[i]);
	return table_is_full ? ERR_PTR(-ENOMEM) : NULL;
}

static inline void rhashtable_remove_fast(struct rhashtable *table, struct rhash_head *node,
					  struct rhashtable_params params)
{
	struct bucket_table *tbl = table->tbl;
	u32 i = params.obj_hashfn((char *)node - params.head_offset, 0, 0) & (tbl->size - 1);
	struct rhash_lock_head *const *bucket = rht_bucket(tbl, i);
	struct rhash_head *pos, *next;

	spin_lock(&tbl->lock[i]);
	next = node->next;
	pos = (struct rhash_head *)*bucket;
	if (pos == node) {
		WRITE_ONCE(tbl->head[i], rht_is_a_nulls(next) ? NULL :
			   (struct rhash_lock_head *)next);
	} else {
		while (pos && !rht_is_a_nulls(pos) && pos->next != node)
			pos = pos->next;
		ex_assert(pos && !rht_is_a_nulls(pos), "removes what is not in the table");
		WRITE_ONCE(pos->next, next);
	}
	spin_unlock(&tbl->lock[i]);
}

#endif /* _VERIFY_RHASHTABLE_H */
