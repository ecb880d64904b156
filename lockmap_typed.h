/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * DEFINE_LOCKMAP(): the functions of lockmap.h for one type of key and one of
 * value. Included by lockmap.h; include that.
 */
#ifndef _LOCKMAP_TYPED_H
#define _LOCKMAP_TYPED_H

#include <linux/build_bug.h>
#include <linux/types.h>

/**
 * DEFINE_LOCKMAP() - the same interface for one type of key and one of value
 * @prefix: prefix of what is defined
 * @key_type: type of the keys, of fixed size
 * @value_type: type of the values; an empty struct for a set
 *
 * Defines struct @prefix, struct @prefix_entry, struct @prefix_batch, and the
 * functions of lockmap.h with @prefix for "lockmap". They take pointers to
 * @key_type and @value_type in place of bytes and lengths:
 * ``DEFINE_LOCKMAP(inodes, u64, struct info)`` defines inodes_create(),
 * inodes_lock(), inodes_entry_value() and so on. A wrong type does not compile.
 * @prefix_create() takes a struct lockmap_params, or %NULL for defaults, and sets
 * key_len and value_len itself. The batch calls take an array of keys that
 * @prefix_key() makes of pointers; @prefix_batch_nr() and @prefix_batch_nth() go
 * through a batch. Write a semicolon after it.
 */
#define DEFINE_LOCKMAP(prefix, key_type, value_type)						\
static_assert(__alignof__(value_type) <= LOCKMAP_VALUE_ALIGN);					\
struct prefix;											\
struct prefix##_entry;										\
struct prefix##_batch;										\
struct prefix##_key {										\
	struct lockmap_key key;									\
};												\
__LOCKMAP_TYPED_MAP(prefix, key_type, value_type)						\
__LOCKMAP_TYPED_ENTRY(prefix, key_type, value_type)						\
__LOCKMAP_TYPED_SHARED(prefix, key_type, value_type)						\
__LOCKMAP_TYPED_WALK(prefix, key_type, value_type)						\
__LOCKMAP_TYPED_BATCH(prefix, key_type)								\
struct prefix

/* The parts of DEFINE_LOCKMAP(): casts, and nothing else. */
#define __LOCKMAP_TYPED_MAP(prefix, key_type, value_type)					\
static inline __maybe_unused struct prefix *							\
prefix##_create(const struct lockmap_params *params)						\
{												\
	struct lockmap_params p = { .name = #prefix };						\
												\
	if (params)										\
		p = *params;									\
	p.name = p.name ?: #prefix;								\
	p.key_len = sizeof(key_type);								\
	p.value_len = sizeof(value_type);							\
	return (struct prefix *)lockmap_create(&p);						\
}												\
												\
static inline __maybe_unused void prefix##_destroy(struct prefix *map)				\
{												\
	lockmap_destroy((struct lockmap *)map);							\
}												\
												\
static inline __maybe_unused int								\
prefix##_get(struct prefix *map, const key_type *key, value_type *value)			\
{												\
	return lockmap_get((struct lockmap *)map, key, sizeof(*key), value);			\
}												\
												\
static inline __maybe_unused bool prefix##_contains(struct prefix *map, const key_type *key)	\
{												\
	return lockmap_contains((struct lockmap *)map, key, sizeof(*key));			\
}												\
												\
static inline __maybe_unused int								\
prefix##_insert(struct prefix *map, const key_type *key, const value_type *value, value_type *old) \
{												\
	return lockmap_insert((struct lockmap *)map, key, sizeof(*key), value, old);		\
}												\
												\
static inline __maybe_unused int								\
prefix##_remove(struct prefix *map, const key_type *key, value_type *old)			\
{												\
	return lockmap_remove((struct lockmap *)map, key, sizeof(*key), old);			\
}												\
												\
static inline __maybe_unused size_t prefix##_len(struct prefix *map)				\
{												\
	return lockmap_len((struct lockmap *)map);						\
}												\
												\
static inline __maybe_unused bool prefix##_is_empty(struct prefix *map)				\
{												\
	return lockmap_is_empty((struct lockmap *)map);						\
}												\
												\
static inline __maybe_unused int prefix##_clear(struct prefix *map)				\
{												\
	return lockmap_clear((struct lockmap *)map);						\
}

#define __LOCKMAP_TYPED_LOCK(prefix, key_type, func)						\
static inline __maybe_unused struct prefix##_entry *						\
prefix##_##func(struct prefix *map, const key_type *key)					\
{												\
	return (struct prefix##_entry *)lockmap_##func((struct lockmap *)map, key, sizeof(*key)); \
}

#define __LOCKMAP_TYPED_LOCK_SHARED(prefix, key_type, func)					\
static inline __maybe_unused const struct prefix##_entry *					\
prefix##_##func(struct prefix *map, const key_type *key)					\
{												\
	return (const struct prefix##_entry *)lockmap_##func((struct lockmap *)map, key,	\
							     sizeof(*key));			\
}

#define __LOCKMAP_TYPED_SHARED(prefix, key_type, value_type)					\
__LOCKMAP_TYPED_LOCK_SHARED(prefix, key_type, lock_shared)					\
__LOCKMAP_TYPED_LOCK_SHARED(prefix, key_type, lock_shared_interruptible)			\
__LOCKMAP_TYPED_LOCK_SHARED(prefix, key_type, lock_shared_killable)				\
__LOCKMAP_TYPED_LOCK_SHARED(prefix, key_type, trylock_shared)					\
												\
static inline __maybe_unused const struct prefix##_entry *					\
prefix##_lock_shared_timeout(struct prefix *map, const key_type *key, unsigned long timeout)	\
{												\
	return (const struct prefix##_entry *)lockmap_lock_shared_timeout(			\
		(struct lockmap *)map, key, sizeof(*key), timeout);				\
}												\
												\
static inline __maybe_unused void prefix##_unlock_shared(const struct prefix##_entry *entry)	\
{												\
	lockmap_unlock_shared((const struct lockmap_entry *)entry);				\
}												\
												\
static inline __maybe_unused void								\
prefix##_entry_disown_shared(const struct prefix##_entry *entry)				\
{												\
	lockmap_entry_disown_shared((const struct lockmap_entry *)entry);			\
}												\
												\
static inline __maybe_unused const value_type *							\
prefix##_entry_value_shared(const struct prefix##_entry *entry)					\
{												\
	return lockmap_entry_value_shared((const struct lockmap_entry *)entry);			\
}												\
												\
static inline __maybe_unused const struct prefix##_entry *					\
prefix##_downgrade(struct prefix##_entry *entry)						\
{												\
	return (const struct prefix##_entry *)lockmap_downgrade((struct lockmap_entry *)entry);	\
}												\
												\
static inline __maybe_unused struct prefix##_entry *						\
prefix##_try_upgrade(const struct prefix##_entry *entry)					\
{												\
	return (struct prefix##_entry *)lockmap_try_upgrade((const struct lockmap_entry *)entry); \
}												\
												\
static inline __maybe_unused struct prefix##_entry *						\
prefix##_lock_async(struct prefix *map, const key_type *key, struct lockmap_request *req)	\
{												\
	return (struct prefix##_entry *)lockmap_lock_async((struct lockmap *)map, key,		\
							   sizeof(*key), req);			\
}

#define __LOCKMAP_TYPED_ENTRY(prefix, key_type, value_type)					\
__LOCKMAP_TYPED_LOCK(prefix, key_type, lock)							\
__LOCKMAP_TYPED_LOCK(prefix, key_type, lock_interruptible)					\
__LOCKMAP_TYPED_LOCK(prefix, key_type, lock_killable)						\
__LOCKMAP_TYPED_LOCK(prefix, key_type, trylock)							\
												\
static inline __maybe_unused struct prefix##_entry *						\
prefix##_lock_timeout(struct prefix *map, const key_type *key, unsigned long timeout)		\
{												\
	return (struct prefix##_entry *)lockmap_lock_timeout((struct lockmap *)map, key,	\
							   sizeof(*key), timeout);		\
}												\
												\
static inline __maybe_unused struct lockmap_prealloc * __must_check				\
prefix##_prealloc(struct prefix *map, gfp_t gfp)						\
{												\
	return lockmap_prealloc((struct lockmap *)map, gfp);					\
}												\
												\
static inline __maybe_unused void prefix##_prealloc_free(struct lockmap_prealloc *pre)		\
{												\
	lockmap_prealloc_free(pre);								\
}												\
												\
static inline __maybe_unused struct prefix##_entry * __must_check				\
prefix##_lock_prealloc(struct prefix *map, const key_type *key, struct lockmap_prealloc **pre)	\
{												\
	return (struct prefix##_entry *)lockmap_lock_prealloc((struct lockmap *)map, key,	\
							      sizeof(*key), pre);		\
}												\
												\
static inline __maybe_unused void prefix##_unlock(struct prefix##_entry *entry)			\
{												\
	lockmap_unlock((struct lockmap_entry *)entry);						\
}												\
												\
static inline __maybe_unused void prefix##_entry_disown(struct prefix##_entry *entry)		\
{												\
	lockmap_entry_disown((struct lockmap_entry *)entry);					\
}												\
												\
static inline __maybe_unused const key_type *							\
prefix##_entry_key(const struct prefix##_entry *entry)						\
{												\
	return lockmap_entry_key((const struct lockmap_entry *)entry, NULL);			\
}												\
												\
static inline __maybe_unused value_type *prefix##_entry_value(struct prefix##_entry *entry)	\
{												\
	return lockmap_entry_value((struct lockmap_entry *)entry);				\
}												\
												\
static inline __maybe_unused bool								\
prefix##_entry_insert(struct prefix##_entry *entry, const value_type *value, value_type *old)	\
{												\
	return lockmap_entry_insert((struct lockmap_entry *)entry, value, old);			\
}												\
												\
static inline __maybe_unused bool								\
prefix##_entry_remove(struct prefix##_entry *entry, value_type *old)				\
{												\
	return lockmap_entry_remove((struct lockmap_entry *)entry, old);			\
}												\
												\
static inline __maybe_unused value_type *							\
prefix##_entry_get_or_insert(struct prefix##_entry *entry, const value_type *value)		\
{												\
	return lockmap_entry_get_or_insert((struct lockmap_entry *)entry, value);		\
}

#define __LOCKMAP_TYPED_WALK(prefix, key_type, value_type)					\
struct prefix##_walk {										\
	union {											\
		int (*fn)(const key_type *key, value_type *value, void *arg);			\
		bool (*keep)(const key_type *key, value_type *value, void *arg);		\
	};											\
	void *arg;										\
};												\
												\
static inline __maybe_unused int								\
prefix##_walk_fn(const void *key, size_t len, void *value, void *arg)				\
{												\
	const struct prefix##_walk *walk = arg;							\
												\
	return walk->fn(key, value, walk->arg);							\
}												\
												\
static inline __maybe_unused bool								\
prefix##_walk_keep(const void *key, size_t len, void *value, void *arg)				\
{												\
	const struct prefix##_walk *walk = arg;							\
												\
	return walk->keep(key, value, walk->arg);						\
}												\
												\
static inline __maybe_unused int								\
prefix##_for_each(struct prefix *map,								\
		  int (*fn)(const key_type *key, value_type *value, void *arg), void *arg)	\
{												\
	struct prefix##_walk walk = { .fn = fn, .arg = arg };					\
												\
	return lockmap_for_each((struct lockmap *)map, fn ? prefix##_walk_fn : NULL, &walk);	\
}												\
												\
static inline __maybe_unused int								\
prefix##_retain(struct prefix *map,								\
		bool (*keep)(const key_type *key, value_type *value, void *arg), void *arg)	\
{												\
	struct prefix##_walk walk = { .keep = keep, .arg = arg };				\
												\
	return lockmap_retain((struct lockmap *)map, keep ? prefix##_walk_keep : NULL, &walk);	\
}

#define __LOCKMAP_TYPED_BATCH_LOCK(prefix, func)						\
static inline __maybe_unused struct prefix##_batch *						\
prefix##_##func(struct prefix *map, const struct prefix##_key *keys, unsigned int n)		\
{												\
	return (struct prefix##_batch *)lockmap_##func((struct lockmap *)map, &keys->key, n);	\
}

#define __LOCKMAP_TYPED_BATCH(prefix, key_type)							\
static inline __maybe_unused struct prefix##_key prefix##_key(const key_type *key)		\
{												\
	return (struct prefix##_key) { { .data = key, .len = sizeof(*key) } };			\
}												\
												\
static inline __maybe_unused struct prefix##_key prefix##_key_shared(const key_type *key)	\
{												\
	return (struct prefix##_key) { { .data = key, .len = sizeof(*key), .shared = true } };	\
}												\
												\
__LOCKMAP_TYPED_BATCH_LOCK(prefix, batch_lock)							\
__LOCKMAP_TYPED_BATCH_LOCK(prefix, batch_lock_interruptible)					\
__LOCKMAP_TYPED_BATCH_LOCK(prefix, batch_lock_killable)						\
__LOCKMAP_TYPED_BATCH_LOCK(prefix, batch_trylock)						\
												\
static inline __maybe_unused struct prefix##_batch *						\
prefix##_batch_lock_timeout(struct prefix *map, const struct prefix##_key *keys, unsigned int n, \
			  unsigned long timeout)						\
{												\
	return (struct prefix##_batch *)lockmap_batch_lock_timeout((struct lockmap *)map,	\
								 &keys->key, n, timeout);	\
}												\
												\
static inline __maybe_unused void prefix##_batch_unlock(struct prefix##_batch *batch)		\
{												\
	lockmap_batch_unlock((struct lockmap_batch *)batch);					\
}												\
												\
static inline __maybe_unused unsigned int prefix##_batch_nr(const struct prefix##_batch *batch)	\
{												\
	return ((const struct lockmap_batch *)batch)->nr;					\
}												\
												\
static inline __maybe_unused struct prefix##_entry *						\
prefix##_batch_nth(struct prefix##_batch *batch, unsigned int i)				\
{												\
	return (struct prefix##_entry *)__lockmap_slot_entry(					\
		((struct lockmap_batch *)batch)->slots[i]);					\
}												\
												\
static inline __maybe_unused const struct prefix##_entry *					\
prefix##_batch_nth_shared(struct prefix##_batch *batch, unsigned int i)				\
{												\
	return (const struct prefix##_entry *)__lockmap_slot_shared(				\
		((struct lockmap_batch *)batch)->slots[i]);					\
}												\
												\
static inline __maybe_unused const struct prefix##_entry *					\
prefix##_batch_entry_shared(struct prefix##_batch *batch, const key_type *key)			\
{												\
	return (const struct prefix##_entry *)lockmap_batch_entry_shared(			\
		(struct lockmap_batch *)batch, key, sizeof(*key));				\
}												\
												\
static inline __maybe_unused struct prefix##_entry *						\
prefix##_batch_entry(struct prefix##_batch *batch, const key_type *key)				\
{												\
	return (struct prefix##_entry *)lockmap_batch_entry((struct lockmap_batch *)batch, key,	\
							  sizeof(*key));			\
}

#endif /* _LOCKMAP_TYPED_H */
