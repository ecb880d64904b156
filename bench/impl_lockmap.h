/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * lockmap with default parameters, called as any other module calls it.
 */
#ifndef _BENCH_IMPL_LOCKMAP_H
#define _BENCH_IMPL_LOCKMAP_H

#include <linux/err.h>

#include "lockmap.h"

struct bench_lockmap_held {
	struct lockmap_entry *entry;
};

static void *bench_lockmap_create(unsigned int len, unsigned long keys)
{
	struct lockmap *map = lockmap_create(&(struct lockmap_params) {
		.name = "bench",
		.key_len = len,
		.value_len = sizeof(u64),
		/* Real string keys differ in length. */
		.flags = len == sizeof(u64) ? 0 : LOCKMAP_VAR_KEY,
	});

	return IS_ERR(map) ? NULL : map;
}

static void bench_lockmap_destroy(void *map)
{
	lockmap_destroy(map);
}

static __always_inline bool bench_lockmap_get(void *map, const u8 *key, unsigned int len,
					      u64 *value)
{
	return !lockmap_get(map, key, len, value);
}

static __always_inline bool bench_lockmap_lock(void *map, const u8 *key, unsigned int len,
					       struct bench_lockmap_held *held)
{
	held->entry = lockmap_lock(map, key, len);
	return !IS_ERR(held->entry);
}

static __always_inline bool bench_lockmap_trylock(void *map, const u8 *key, unsigned int len,
						  struct bench_lockmap_held *held)
{
	held->entry = lockmap_trylock(map, key, len);
	return !IS_ERR(held->entry);
}

static __always_inline u64 *bench_lockmap_value(struct bench_lockmap_held *held)
{
	return lockmap_entry_value(held->entry);
}

static __always_inline void bench_lockmap_unlock(void *map, struct bench_lockmap_held *held,
						 unsigned int len)
{
	lockmap_unlock(held->entry);
}

static __always_inline bool bench_lockmap_insert(void *map, const u8 *key, unsigned int len,
						 u64 value)
{
	return lockmap_insert(map, key, len, &value, NULL) >= 0;
}

static __always_inline bool bench_lockmap_remove(void *map, const u8 *key, unsigned int len)
{
	return !lockmap_remove(map, key, len, NULL);
}

static __always_inline bool bench_lockmap_batch(void *map, const u8 *keys, unsigned int len,
						unsigned int n)
{
	struct lockmap_key batch_keys[BENCH_MAX_BATCH];
	struct lockmap_entry *entry;
	struct lockmap_batch *batch;
	unsigned int i;

	for (i = 0; i < n; i++)
		batch_keys[i] = (struct lockmap_key) { keys + i * len, len };
	batch = lockmap_batch_lock(map, batch_keys, n);
	if (IS_ERR(batch))
		return false;
	lockmap_batch_for_each(batch, entry)
		(*(u64 *)lockmap_entry_value(entry))++;
	lockmap_batch_unlock(batch);
	return true;
}

static __always_inline bool bench_lockmap_lock_shared(void *map, const u8 *key, unsigned int len,
						      struct bench_lockmap_held *held)
{
	/* Only bench_lockmap_unlock_shared() gets it. */
	held->entry = (struct lockmap_entry *)lockmap_lock_shared(map, key, len);
	return !IS_ERR(held->entry);
}

static __always_inline void bench_lockmap_unlock_shared(void *map, struct bench_lockmap_held *held,
							unsigned int len)
{
	lockmap_unlock_shared(held->entry);
}

/**
 * struct bench_lockmap_request - a request of a loop, on its stack
 * @req: the request
 * @granted: it was granted the key, and has unlocked it
 */
struct bench_lockmap_request {
	struct lockmap_request req;
	bool granted;
};

static void bench_lockmap_granted(struct lockmap_request *req, struct lockmap_entry *entry)
{
	container_of(req, struct bench_lockmap_request, req)->granted = true;
	lockmap_unlock(entry);
}

/* The key is free, so the request never waits. */
static __always_inline bool bench_lockmap_async(void *map, const u8 *key, unsigned int len,
						struct bench_lockmap_held *held)
{
	struct lockmap_request req = { .granted = bench_lockmap_granted };

	held->entry = lockmap_lock_async(map, key, len, &req);
	return !IS_ERR(held->entry);
}

/* Nobody else wants the key, so the unlock grants it. */
static __always_inline bool bench_lockmap_grant(void *map, const u8 *key, unsigned int len)
{
	struct bench_lockmap_request request = { .req.granted = bench_lockmap_granted };
	struct lockmap_entry *entry = lockmap_lock(map, key, len);

	if (IS_ERR(entry))
		return false;
	if (lockmap_lock_async(map, key, len, &request.req) != ERR_PTR(-EINPROGRESS))
		return false;
	lockmap_unlock(entry);
	return request.granted;
}

#define BENCH_HAS_SHARED
#define BENCH_HAS_ASYNC
#define BENCH_IMPL bench_lockmap
#define BENCH_NAME "lockmap"
#include "impl.h"

#endif /* _BENCH_IMPL_LOCKMAP_H */
