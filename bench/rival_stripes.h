/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Two rivals: a hash table under an array of mutexes ("striped"), and under one
 * mutex ("global"). A task that locks a key locks out all other keys of the stripe.
 * Locking an absent key costs nothing extra. The table is created with its final
 * size, so it never has to grow.
 */
#ifndef _BENCH_RIVAL_STRIPES_H
#define _BENCH_RIVAL_STRIPES_H

#include <linux/hash.h>
#include <linux/jhash.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/slab.h>

#define STRIPES		1024

struct stripe {
	struct mutex lock;	/* protects the stripe's keys and their buckets */
} ____cacheline_aligned_in_smp;

struct stripes_node {
	struct hlist_node node;
	u64 value;
	u8 key[];
};

struct stripes_map {
	struct stripe *stripes;
	struct hlist_head *buckets;
	unsigned int nr_stripes;
	unsigned int nr_buckets;
};

struct stripes_held {
	struct stripe *stripe;
	struct stripes_node *node;
};

static void stripes_destroy(void *ptr)
{
	struct stripes_map *map = ptr;
	struct stripes_node *node;
	struct hlist_node *next;
	unsigned int i;

	for (i = 0; map->buckets && i < map->nr_buckets; i++) {
		hlist_for_each_entry_safe(node, next, &map->buckets[i], node)
			kfree(node);
	}
	kvfree(map->buckets);
	kvfree(map->stripes);
	kfree(map);
}

static void *stripes_create_nr(unsigned long keys, unsigned int nr)
{
	struct stripes_map *map = kzalloc(sizeof(*map), GFP_KERNEL);
	unsigned int i;

	if (!map)
		return NULL;
	map->nr_stripes = nr;
	map->nr_buckets = roundup_pow_of_two(max_t(unsigned long, keys, nr));
	map->stripes = kvcalloc(map->nr_stripes, sizeof(*map->stripes), GFP_KERNEL);
	map->buckets = kvcalloc(map->nr_buckets, sizeof(*map->buckets), GFP_KERNEL);
	if (!map->stripes || !map->buckets) {
		stripes_destroy(map);
		return NULL;
	}
	for (i = 0; i < map->nr_stripes; i++)
		mutex_init(&map->stripes[i].lock);
	return map;
}

static void *stripes_create(unsigned int len, unsigned long keys)
{
	return stripes_create_nr(keys, STRIPES);
}

static void *global_create(unsigned int len, unsigned long keys)
{
	return stripes_create_nr(keys, 1);
}

static __always_inline u32 stripes_hash(const u8 *key, unsigned int len)
{
	return len == sizeof(u64) ? hash_64(*(const u64 *)key, 32) :
				    jhash2((const u32 *)key, len / sizeof(u32), 0);
}

/* The low bits of the hash choose the stripe and the bucket, so a bucket has one stripe. */
static __always_inline struct stripe *stripes_of(struct stripes_map *map, u32 hash)
{
	return &map->stripes[hash & (map->nr_stripes - 1)];
}

static __always_inline struct hlist_head *stripes_bucket(struct stripes_map *map, u32 hash)
{
	return &map->buckets[hash & (map->nr_buckets - 1)];
}

static __always_inline struct stripes_node *stripes_find(struct stripes_map *map, const u8 *key,
							 unsigned int len, u32 hash)
{
	struct stripes_node *node;

	hlist_for_each_entry(node, stripes_bucket(map, hash), node) {
		if (!memcmp(node->key, key, len))
			return node;
	}
	return NULL;
}

static __always_inline bool stripes_lock(void *ptr, const u8 *key, unsigned int len,
					 struct stripes_held *held)
{
	struct stripes_map *map = ptr;
	u32 hash = stripes_hash(key, len);

	held->stripe = stripes_of(map, hash);
	mutex_lock(&held->stripe->lock);
	held->node = stripes_find(map, key, len, hash);
	return true;
}

static __always_inline bool stripes_trylock(void *ptr, const u8 *key, unsigned int len,
					    struct stripes_held *held)
{
	struct stripes_map *map = ptr;
	u32 hash = stripes_hash(key, len);

	held->stripe = stripes_of(map, hash);
	if (!mutex_trylock(&held->stripe->lock))
		return false;
	held->node = stripes_find(map, key, len, hash);
	return true;
}

static __always_inline u64 *stripes_value(struct stripes_held *held)
{
	return held->node ? &held->node->value : NULL;
}

static __always_inline void stripes_unlock(void *map, struct stripes_held *held,
					   unsigned int len)
{
	mutex_unlock(&held->stripe->lock);
}

static __always_inline bool stripes_get(void *map, const u8 *key, unsigned int len, u64 *value)
{
	struct stripes_held held;

	stripes_lock(map, key, len, &held);
	if (held.node)
		*value = held.node->value;
	stripes_unlock(map, &held, len);
	return held.node;
}

static __always_inline bool stripes_insert(void *ptr, const u8 *key, unsigned int len, u64 value)
{
	struct stripes_map *map = ptr;
	struct stripes_held held;

	stripes_lock(map, key, len, &held);
	if (!held.node) {
		held.node = kmalloc(struct_size(held.node, key, len), GFP_KERNEL);
		if (held.node) {
			memcpy(held.node->key, key, len);
			hlist_add_head(&held.node->node,
				       stripes_bucket(map, stripes_hash(key, len)));
		}
	}
	if (held.node)
		held.node->value = value;
	stripes_unlock(map, &held, len);
	return held.node;
}

static __always_inline bool stripes_remove(void *map, const u8 *key, unsigned int len)
{
	struct stripes_held held;

	stripes_lock(map, key, len, &held);
	if (held.node)
		hlist_del(&held.node->node);
	stripes_unlock(map, &held, len);
	kfree(held.node);
	return held.node;
}

/* Sort the stripes of some keys by address, and drop duplicates. */
static __always_inline unsigned int stripes_sort(struct stripes_map *map, struct stripe **sorted,
						 const u8 *keys, unsigned int len, unsigned int n)
{
	unsigned int i, j, nr = 0;
	struct stripe *stripe;

	for (i = 0; i < n; i++) {
		stripe = stripes_of(map, stripes_hash(keys + i * len, len));
		for (j = nr; j && stripe < sorted[j - 1]; j--)
			;
		if (j && stripe == sorted[j - 1])
			continue;
		memmove(sorted + j + 1, sorted + j, (nr - j) * sizeof(*sorted));
		sorted[j] = stripe;
		nr++;
	}
	return nr;
}

static __always_inline bool stripes_batch(void *ptr, const u8 *keys, unsigned int len,
					  unsigned int n)
{
	struct stripe *sorted[BENCH_MAX_BATCH];
	struct stripes_map *map = ptr;
	struct stripes_node *node;
	unsigned int i, nr;

	nr = stripes_sort(map, sorted, keys, len, n);
	for (i = 0; i < nr; i++)
		mutex_lock(&sorted[i]->lock);
	for (i = 0; i < n; i++, keys += len) {
		node = stripes_find(map, keys, len, stripes_hash(keys, len));
		if (node)
			node->value++;
	}
	while (nr--)
		mutex_unlock(&sorted[nr]->lock);
	return true;
}

#define BENCH_IMPL stripes
#define BENCH_NAME "striped"
#include "impl.h"

static const struct bench_impl global_impl = {
	.name = "global",
	.create = global_create,
	.destroy = stripes_destroy,
	.loops_8 = stripes_loops_8,
	.loops_16 = stripes_loops_16,
	.loops_64 = stripes_loops_64,
};

#endif /* _BENCH_RIVAL_STRIPES_H */
