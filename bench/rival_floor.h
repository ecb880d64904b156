/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The floor: the cost of a lookup in an rhashtable and two atomic operations.
 *
 * No lock per key in an rhashtable can be cheaper, but nobody should use this one:
 * waiters spin, even while the holder sleeps. The hash of an 8-byte key is one
 * multiplication, so an attacker can choose keys that collide; other keys have
 * rhashtable's default hash. Locking an absent key takes one allocation from a
 * type-safe cache, one insertion, one removal and one free.
 */
#ifndef _BENCH_RIVAL_FLOOR_H
#define _BENCH_RIVAL_FLOOR_H

#include <linux/atomic.h>
#include <linux/hash.h>
#include <linux/rhashtable.h>
#include <linux/sched.h>
#include <linux/slab.h>

enum floor_state {
	FLOOR_DEAD,
	FLOOR_FREE,
	FLOOR_HELD,
};

/* The cache is type-safe: a reader may look at @state and @key after the entry is freed. */
struct floor_entry {
	struct rhash_head node;
	atomic_t state;
	bool has_value;
	u64 value;
	u8 key[];
};

struct floor_map {
	struct rhashtable table;
	struct kmem_cache *cache;
};

struct floor_held {
	struct floor_entry *entry;
};

static u32 floor_hash(const void *key, u32 len, u32 seed)
{
	return hash_64(*(const u64 *)key ^ seed, 32);
}

static __always_inline struct rhashtable_params floor_params(unsigned int len)
{
	return (struct rhashtable_params) {
		.head_offset = offsetof(struct floor_entry, node),
		.key_offset = offsetof(struct floor_entry, key),
		.key_len = len,
		.hashfn = len == sizeof(u64) ? floor_hash : NULL,
		.automatic_shrinking = true,
	};
}

static void *floor_create(unsigned int len, unsigned long keys)
{
	struct rhashtable_params params = floor_params(len);
	struct floor_map *map = kzalloc(sizeof(*map), GFP_KERNEL);

	if (!map)
		return NULL;
	map->cache = kmem_cache_create("bench-floor", sizeof(struct floor_entry) + len, sizeof(u64),
				       SLAB_TYPESAFE_BY_RCU, NULL);
	if (!map->cache || rhashtable_init(&map->table, &params)) {
		kmem_cache_destroy(map->cache);
		kfree(map);
		return NULL;
	}
	return map;
}

static void floor_free_entry(void *entry, void *cache)
{
	kmem_cache_free(cache, entry);
}

static void floor_destroy(void *ptr)
{
	struct floor_map *map = ptr;

	rhashtable_free_and_destroy(&map->table, floor_free_entry, map->cache);
	kmem_cache_destroy(map->cache);
	kfree(map);
}

static __always_inline bool floor_get(void *ptr, const u8 *key, unsigned int len, u64 *value)
{
	struct floor_map *map = ptr;
	struct floor_entry *entry;

	rcu_read_lock();
	entry = rhashtable_lookup(&map->table, key, floor_params(len));
	if (entry)
		*value = READ_ONCE(entry->value);
	rcu_read_unlock();
	return entry;
}

static __always_inline void floor_unlock_entry(struct floor_entry *entry)
{
	atomic_dec_return_release(&entry->state);
}

/* Lock the key's entry. Return: 0, -ENOENT, -EBUSY. */
static __always_inline int floor_take(struct floor_map *map, const u8 *key, unsigned int len,
				      struct floor_held *held)
{
	struct floor_entry *entry;
	int err = -ENOENT;

	rcu_read_lock();
	entry = rhashtable_lookup(&map->table, key, floor_params(len));
	if (likely(entry)) {
		err = -EBUSY;
		if (atomic_cmpxchg(&entry->state, FLOOR_FREE, FLOOR_HELD) == FLOOR_FREE) {
			if (likely(!memcmp(entry->key, key, len)))
				err = 0;
			else
				floor_unlock_entry(entry);
		}
	}
	rcu_read_unlock();
	held->entry = entry;
	return err;
}

/* Insert a locked entry for an absent key. Return: 0, -EEXIST, -ENOMEM. */
static __always_inline int floor_add(struct floor_map *map, const u8 *key, unsigned int len,
				     struct floor_held *held)
{
	struct floor_entry *entry = kmem_cache_alloc(map->cache, GFP_KERNEL);
	int err;

	if (!entry)
		return -ENOMEM;
	atomic_set(&entry->state, FLOOR_DEAD);
	entry->has_value = false;
	memcpy(entry->key, key, len);
	atomic_set_release(&entry->state, FLOOR_HELD);
	do {
		err = rhashtable_lookup_insert_fast(&map->table, &entry->node, floor_params(len));
	} while (err == -EBUSY);
	if (err) {
		atomic_set(&entry->state, FLOOR_DEAD);
		kmem_cache_free(map->cache, entry);
	}
	held->entry = entry;
	return err;
}

static __always_inline bool floor_lock(void *ptr, const u8 *key, unsigned int len,
				       struct floor_held *held)
{
	int err;

	while ((err = floor_take(ptr, key, len, held))) {
		if (err == -ENOENT)
			err = floor_add(ptr, key, len, held);
		if (!err || err == -ENOMEM)
			break;
		bench_relax();
	}
	return !err;
}

static __always_inline bool floor_trylock(void *ptr, const u8 *key, unsigned int len,
					  struct floor_held *held)
{
	return !floor_take(ptr, key, len, held);
}

static __always_inline u64 *floor_value(struct floor_held *held)
{
	return held->entry->has_value ? &held->entry->value : NULL;
}

static __always_inline void floor_unlock(void *ptr, struct floor_held *held, unsigned int len)
{
	struct floor_entry *entry = held->entry;
	struct floor_map *map = ptr;

	if (likely(entry->has_value)) {
		floor_unlock_entry(entry);
		return;
	}
	rhashtable_remove_fast(&map->table, &entry->node, floor_params(len));
	atomic_set(&entry->state, FLOOR_DEAD);
	kmem_cache_free(map->cache, entry);
}

static __always_inline bool floor_insert(void *ptr, const u8 *key, unsigned int len, u64 value)
{
	struct floor_held held;

	if (!floor_lock(ptr, key, len, &held))
		return false;
	held.entry->value = value;
	held.entry->has_value = true;
	floor_unlock_entry(held.entry);
	return true;
}

static __always_inline bool floor_remove(void *ptr, const u8 *key, unsigned int len)
{
	struct floor_held held;
	int err;

	while ((err = floor_take(ptr, key, len, &held)) == -EBUSY)
		bench_relax();
	if (err)
		return false;
	held.entry->has_value = false;
	floor_unlock(ptr, &held, len);
	return true;
}

static __always_inline bool floor_batch(void *ptr, const u8 *keys, unsigned int len,
					unsigned int n)
{
	struct floor_held held[BENCH_MAX_BATCH];
	const u8 *sorted[BENCH_MAX_BATCH];
	unsigned int i;

	bench_sort(sorted, keys, len, n);
	for (i = 0; i < n; i++) {
		if (!floor_lock(ptr, sorted[i], len, &held[i]))
			break;
		held[i].entry->value++;
	}
	n = i;
	while (i--)
		floor_unlock(ptr, &held[i], len);
	return n;
}

#define BENCH_SPINS
#define BENCH_IMPL floor
#define BENCH_NAME "floor"
#include "impl.h"

#endif /* _BENCH_RIVAL_FLOOR_H */
