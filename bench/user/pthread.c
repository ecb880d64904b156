// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A rival in user space: one pthread_mutex per entry, in a table of shards, each
 * with a mutex of its own.
 *
 * A thread holds the shard's mutex to find the entry and to try its lock. If the
 * entry is locked, the thread first counts itself as a waiter. A holder frees an
 * entry without a value only if it finds no waiters, again under the shard's mutex.
 */
#include "main.h"

#define PTH_SHARDS	64

/**
 * struct pth_entry - a key with its lock and its value
 * @next: next entry of the bucket; protected by the shard's lock
 * @hash: hash of @key; constant
 * @waiting: how many threads are about to wait for @lock; raised under the shard's
 *	lock
 * @lock: the key's lock
 * @has_value: the key has a value; protected by @lock
 * @value: the key's value; protected by @lock
 * @key: the key; constant
 */
struct pth_entry {
	struct pth_entry *next;
	u32 hash;
	u32 waiting;
	pthread_mutex_t lock;
	bool has_value;
	u64 value;
	u8 key[];
};

struct pth_shard {
	pthread_mutex_t lock;
	struct pth_entry **buckets;
	size_t nr_buckets;
	size_t nr_entries;
};	/* 64 bytes, aligned: one cache line each */

struct pth_map {
	struct pth_shard shards[PTH_SHARDS];
};

struct pth_held {
	struct pth_entry *entry;
};

static void pth_destroy(void *ptr)
{
	struct pth_map *map = ptr;
	unsigned int i;
	size_t n;

	for (i = 0; i < PTH_SHARDS; i++) {
		for (n = 0; n < map->shards[i].nr_buckets; n++) {
			struct pth_entry *entry = map->shards[i].buckets[n], *next;

			for (; entry; entry = next) {
				next = entry->next;
				free(entry);
			}
		}
		free(map->shards[i].buckets);
	}
	free(map);
}

static void *pth_create(unsigned int len, unsigned long keys)
{
	struct pth_map *map = aligned_alloc(64, sizeof(*map));
	unsigned int i;

	if (!map)
		return NULL;
	memset(map, 0, sizeof(*map));
	for (i = 0; i < PTH_SHARDS; i++) {
		struct pth_shard *shard = &map->shards[i];

		pthread_mutex_init(&shard->lock, NULL);
		shard->buckets = calloc(64, sizeof(*shard->buckets));
		if (!shard->buckets) {
			pth_destroy(map);
			return NULL;
		}
		shard->nr_buckets = 64;
	}
	return map;
}

static __always_inline u32 pth_hash(const u8 *key, unsigned int len)
{
	u64 hash = 0, word;
	unsigned int i;

	for (i = 0; i < len; i += sizeof(word)) {
		memcpy(&word, key + i, sizeof(word));
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 32;
	}
	return hash;
}

static __always_inline struct pth_shard *pth_shard(struct pth_map *map, u32 hash)
{
	return &map->shards[hash >> 26];
}

static __always_inline struct pth_entry **pth_bucket(struct pth_shard *shard, u32 hash)
{
	return &shard->buckets[hash & (shard->nr_buckets - 1)];
}

static __always_inline struct pth_entry *pth_find(struct pth_shard *shard, const u8 *key,
						  unsigned int len, u32 hash)
{
	struct pth_entry *entry;

	for (entry = *pth_bucket(shard, hash); entry; entry = entry->next) {
		if (entry->hash == hash && !memcmp(entry->key, key, len))
			return entry;
	}
	return NULL;
}

static noinline void pth_grow(struct pth_shard *shard)
{
	struct pth_shard new = { .nr_buckets = shard->nr_buckets * 2 };
	size_t i;

	new.buckets = calloc(new.nr_buckets, sizeof(*new.buckets));
	if (!new.buckets)
		return;
	for (i = 0; i < shard->nr_buckets; i++) {
		struct pth_entry *entry = shard->buckets[i], *next, **bucket;

		for (; entry; entry = next) {
			next = entry->next;
			bucket = pth_bucket(&new, entry->hash);
			entry->next = *bucket;
			*bucket = entry;
		}
	}
	free(shard->buckets);
	shard->buckets = new.buckets;
	shard->nr_buckets = new.nr_buckets;
}

static __always_inline struct pth_entry *pth_add(struct pth_shard *shard, const u8 *key,
						 unsigned int len, u32 hash)
{
	struct pth_entry *entry = malloc(sizeof(*entry) + len), **bucket;

	if (!entry)
		return NULL;
	entry->hash = hash;
	entry->waiting = 0;
	entry->has_value = false;
	memcpy(entry->key, key, len);
	pthread_mutex_init(&entry->lock, NULL);
	bucket = pth_bucket(shard, hash);
	entry->next = *bucket;
	*bucket = entry;
	if (++shard->nr_entries > shard->nr_buckets)
		pth_grow(shard);
	return entry;
}

/* Lock the key's entry. Make an entry if there is none and @create is set. */
static __always_inline bool pth_take(void *ptr, const u8 *key, unsigned int len,
				     struct pth_held *held, bool create, bool try)
{
	u32 hash = pth_hash(key, len);
	struct pth_shard *shard = pth_shard(ptr, hash);
	struct pth_entry *entry;
	bool locked;

	pthread_mutex_lock(&shard->lock);
	entry = pth_find(shard, key, len, hash);
	if (!entry && create)
		entry = pth_add(shard, key, len, hash);
	locked = entry && !pthread_mutex_trylock(&entry->lock);
	if (entry && !locked && !try)
		entry->waiting++;
	pthread_mutex_unlock(&shard->lock);
	if (entry && !locked && !try) {
		pthread_mutex_lock(&entry->lock);
		__atomic_fetch_sub(&entry->waiting, 1, __ATOMIC_RELAXED);
		locked = true;
	}
	held->entry = entry;
	return locked;
}

static __always_inline bool pth_lock(void *map, const u8 *key, unsigned int len,
				     struct pth_held *held)
{
	return pth_take(map, key, len, held, true, false);
}

static __always_inline bool pth_trylock(void *map, const u8 *key, unsigned int len,
					struct pth_held *held)
{
	return pth_take(map, key, len, held, true, true);
}

static __always_inline u64 *pth_value(struct pth_held *held)
{
	return held->entry->has_value ? &held->entry->value : NULL;
}

/* Unlock an entry without a value, and free it unless a thread waits for it. */
static noinline void pth_drop(struct pth_map *map, struct pth_entry *entry)
{
	struct pth_shard *shard = pth_shard(map, entry->hash);
	struct pth_entry **at;
	bool wanted;

	pthread_mutex_lock(&shard->lock);
	wanted = __atomic_load_n(&entry->waiting, __ATOMIC_RELAXED);
	if (!wanted) {
		for (at = pth_bucket(shard, entry->hash); *at != entry; at = &(*at)->next)
			;
		*at = entry->next;
		shard->nr_entries--;
	}
	pthread_mutex_unlock(&entry->lock);
	pthread_mutex_unlock(&shard->lock);
	if (!wanted)
		free(entry);
}

static __always_inline void pth_unlock(void *map, struct pth_held *held, unsigned int len)
{
	if (held->entry->has_value)
		pthread_mutex_unlock(&held->entry->lock);
	else
		pth_drop(map, held->entry);
}

static __always_inline bool pth_get(void *map, const u8 *key, unsigned int len, u64 *value)
{
	struct pth_held held;
	bool found;

	if (!pth_take(map, key, len, &held, false, false))
		return false;
	found = held.entry->has_value;
	*value = held.entry->value;
	pth_unlock(map, &held, len);
	return found;
}

static __always_inline bool pth_insert(void *map, const u8 *key, unsigned int len, u64 value)
{
	struct pth_held held;

	if (!pth_lock(map, key, len, &held))
		return false;
	held.entry->value = value;
	held.entry->has_value = true;
	pth_unlock(map, &held, len);
	return true;
}

static __always_inline bool pth_remove(void *map, const u8 *key, unsigned int len)
{
	struct pth_held held;

	if (!pth_take(map, key, len, &held, false, false))
		return false;
	held.entry->has_value = false;
	pth_unlock(map, &held, len);
	return true;
}

static __always_inline bool pth_batch(void *map, const u8 *keys, unsigned int len, unsigned int n)
{
	struct pth_held held[BENCH_MAX_BATCH];
	const u8 *sorted[BENCH_MAX_BATCH];
	unsigned int i;

	bench_sort(sorted, keys, len, n);
	for (i = 0; i < n; i++) {
		if (!pth_lock(map, sorted[i], len, &held[i]))
			break;
		held[i].entry->value++;
	}
	n = i;
	while (i--)
		pth_unlock(map, &held[i], len);
	return n;
}

#define BENCH_IMPL pth
#define BENCH_NAME "pthread"
#include "../impl.h"

int main(int argc, char **argv)
{
	return bench_user_main(argc, argv, &pth_impl);
}
