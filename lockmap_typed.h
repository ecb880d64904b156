/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * DEFINE_LOCKMAP(), DEFINE_LOCKMAP_SET(): the functions of lockmap.h for one type of
 * key and one of value. Included by lockmap.h; include that.
 */
#ifndef _LOCKMAP_TYPED_H
#define _LOCKMAP_TYPED_H

#include <linux/build_bug.h>
#include <linux/cleanup.h>
#include <linux/types.h>

/**
 * DEFINE_LOCKMAP() - the same interface for one type of key and one of value
 * @prefix: prefix of what is defined
 * @key_type: type of the keys, of fixed size
 * @value_type: type of the values
 *
 * Defines struct @prefix, struct @prefix_entry, struct @prefix_batch, struct
 * @prefix_batch_key, and the functions of lockmap.h with @prefix for "lockmap". They
 * take pointers to @key_type and @value_type in place of bytes and lengths:
 * ``DEFINE_LOCKMAP(inodes, u64, struct info)`` defines inodes_create(),
 * inodes_lock(), inodes_entry_value() and so on. A wrong type does not compile, nor
 * does a type of keys that a map cannot hold. @prefix_create() takes a struct
 * lockmap_params, or %NULL for defaults; it sets key_len and value_len itself, and
 * clears %LOCKMAP_VAR_KEY. To lockdep all maps that it creates are one class, unless
 * &lockmap_params.lock_key says otherwise.
 *
 * The batch calls take an array of struct @prefix_batch_key, which @prefix_batch_key()
 * and @prefix_batch_key_shared() make of pointers to keys; @prefix_batch_nr(),
 * @prefix_batch_nth() and @prefix_batch_nth_shared() go through a batch. Scope guards
 * have the names of the functions: ``CLASS(inodes_lock, entry)(map, &ino)``,
 * ``__free(inodes_unlock)``. Write a semicolon after it.
 */
#define DEFINE_LOCKMAP(prefix, key_type, value_type)						\
static_assert(!__builtin_types_compatible_p(value_type, void),					\
	      "value_type is void: use DEFINE_LOCKMAP_SET()");					\
static_assert(__alignof__(value_type) <= LOCKMAP_VALUE_ALIGN,					\
	      "value_type needs more alignment than LOCKMAP_VALUE_ALIGN");			\
__LOCKMAP_TYPED_MAP(prefix, key_type, sizeof(value_type))					\
__LOCKMAP_TYPED_LOCKS(prefix, key_type)								\
__LOCKMAP_TYPED_SHARED(prefix, key_type)							\
__LOCKMAP_TYPED_BATCH(prefix, key_type)								\
__LOCKMAP_TYPED_VALUES(prefix, key_type, value_type)						\
__LOCKMAP_TYPED_WALK(prefix, (const key_type *key, value_type *value, void *arg),		\
		     (key, value, walk->arg))							\
struct prefix

/**
 * DEFINE_LOCKMAP_SET() - the same for keys alone: a set, or locks
 * @prefix: prefix of what is defined
 * @key_type: type of the keys, of fixed size
 *
 * As DEFINE_LOCKMAP(), but no function has a value: ``DEFINE_LOCKMAP_SET(busy, u64)``
 * defines busy_insert(map, key), busy_remove(map, key), busy_tryget(map, key), which never
 * waits and returns 0 if the set has the key, busy_entry_insert(entry),
 * busy_entry_remove(entry), and busy_entry_contains(entry), which tells the holder of a
 * key whether the set has it. The functions of walks get the key and the argument.
 */
#define DEFINE_LOCKMAP_SET(prefix, key_type)							\
__LOCKMAP_TYPED_MAP(prefix, key_type, 0)							\
__LOCKMAP_TYPED_LOCKS(prefix, key_type)								\
__LOCKMAP_TYPED_SHARED(prefix, key_type)							\
__LOCKMAP_TYPED_BATCH(prefix, key_type)								\
__LOCKMAP_TYPED_MEMBERS(prefix, key_type)							\
__LOCKMAP_TYPED_WALK(prefix, (const key_type *key, void *arg), (key, walk->arg))		\
struct prefix

/*
 * Declared before they are defined, so that a compiler which warns of unused functions
 * does not warn of these.
 */
#define __LOCKMAP_TYPED_CLASS(name, lock_type, exit, init, args...)				\
static inline __maybe_unused void class_##name##_destructor(lock_type *p);			\
static inline __maybe_unused lock_type class_##name##_constructor(args);			\
DEFINE_CLASS(name, lock_type, exit, init, args)

#define __LOCKMAP_TYPED_FREE(name, lock_type)							\
static inline __maybe_unused void __free_##name(void *p);					\
DEFINE_FREE(name, lock_type, name(_T))

/* The parts: casts, and nothing else. An entry has its key aligned as its length is. */
#define __LOCKMAP_TYPED_MAP(prefix, key_type, length_of_value)					\
static_assert(!__builtin_types_compatible_p(key_type, void), "key_type is void");		\
static_assert(sizeof(key_type) && sizeof(key_type) <= LOCKMAP_MAX_KEY_LEN,			\
	      "key_type has no bytes, or more than LOCKMAP_MAX_KEY_LEN");			\
static_assert(__alignof__(key_type) <= LOCKMAP_VALUE_ALIGN &&					\
	      sizeof(key_type) % __alignof__(key_type) == 0,					\
	      "key_type needs more alignment than a key has in its entry");			\
struct prefix;											\
struct prefix##_entry;										\
struct prefix##_batch;										\
struct prefix##_batch_key {									\
	struct lockmap_key key;									\
};												\
												\
static inline __maybe_unused struct prefix *							\
prefix##_create(const struct lockmap_params *params)						\
{												\
	struct lockmap_params p = { .name = #prefix };						\
												\
	if (params)										\
		p = *params;									\
	p.name = p.name ?: #prefix;								\
	p.key_len = sizeof(key_type);								\
	p.value_len = length_of_value;								\
	p.flags &= ~LOCKMAP_VAR_KEY;								\
	return (struct prefix *)lockmap_create(&p);						\
}												\
												\
static inline __maybe_unused void prefix##_destroy(struct prefix *map)				\
{												\
	lockmap_destroy((struct lockmap *)map);							\
}												\
												\
__LOCKMAP_TYPED_FREE(prefix##_destroy, struct prefix *)						\
												\
static inline __maybe_unused bool prefix##_contains(struct prefix *map, const key_type *key)	\
{												\
	return lockmap_contains((struct lockmap *)map, key, sizeof(*key));			\
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
static inline __maybe_unused __must_check struct prefix##_entry *				\
prefix##_##func(struct prefix *map, const key_type *key)					\
{												\
	return (struct prefix##_entry *)lockmap_##func((struct lockmap *)map, key,		\
						       sizeof(*key));				\
}												\
												\
__LOCKMAP_TYPED_CLASS(prefix##_##func, struct prefix##_entry *, prefix##_unlock(_T),		\
		      prefix##_##func(map, key), struct prefix *map, const key_type *key)

#define __LOCKMAP_TYPED_LOCKS(prefix, key_type)							\
static inline __maybe_unused void prefix##_unlock(struct prefix##_entry *entry)			\
{												\
	lockmap_unlock((struct lockmap_entry *)entry);						\
}												\
												\
__LOCKMAP_TYPED_FREE(prefix##_unlock, struct prefix##_entry *)					\
												\
__LOCKMAP_TYPED_LOCK(prefix, key_type, lock)							\
__LOCKMAP_TYPED_LOCK(prefix, key_type, lock_interruptible)					\
__LOCKMAP_TYPED_LOCK(prefix, key_type, lock_killable)						\
__LOCKMAP_TYPED_LOCK(prefix, key_type, trylock)							\
__LOCKMAP_TYPED_LOCK(prefix, key_type, lock_present)						\
__LOCKMAP_TYPED_LOCK(prefix, key_type, lock_present_killable)					\
__LOCKMAP_TYPED_LOCK(prefix, key_type, trylock_present)						\
												\
static inline __maybe_unused __must_check struct prefix##_entry *				\
prefix##_lock_timeout(struct prefix *map, const key_type *key, unsigned long timeout)		\
{												\
	return (struct prefix##_entry *)lockmap_lock_timeout((struct lockmap *)map, key,	\
								     sizeof(*key), timeout);	\
}												\
												\
static inline __maybe_unused __must_check struct prefix##_entry *				\
prefix##_lock_async(struct prefix *map, const key_type *key, struct lockmap_request *req)	\
{												\
	return (struct prefix##_entry *)lockmap_lock_async((struct lockmap *)map, key,		\
								   sizeof(*key), req);		\
}												\
												\
static inline __maybe_unused __must_check struct lockmap_prealloc *				\
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
static inline __maybe_unused __must_check struct prefix##_entry *				\
prefix##_lock_prealloc(struct prefix *map, const key_type *key, struct lockmap_prealloc **pre)	\
{												\
	return (struct prefix##_entry *)lockmap_lock_prealloc((struct lockmap *)map, key,	\
							      sizeof(*key), pre);		\
}												\
												\
static inline __maybe_unused __must_check int prefix##_entry_lock(struct prefix##_entry *entry)	\
{												\
	return lockmap_entry_lock((struct lockmap_entry *)entry);				\
}												\
												\
static inline __maybe_unused __must_check int							\
prefix##_entry_lock_killable(struct prefix##_entry *entry)					\
{												\
	return lockmap_entry_lock_killable((struct lockmap_entry *)entry);			\
}												\
												\
static inline __maybe_unused __must_check int							\
prefix##_entry_lock_timeout(struct prefix##_entry *entry, unsigned long timeout)		\
{												\
	return lockmap_entry_lock_timeout((struct lockmap_entry *)entry, timeout);		\
}												\
												\
static inline __maybe_unused __must_check bool							\
prefix##_entry_trylock(struct prefix##_entry *entry)						\
{												\
	return lockmap_entry_trylock((struct lockmap_entry *)entry);				\
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
}

#define __LOCKMAP_TYPED_LOCK_SHARED(prefix, key_type, func)					\
static inline __maybe_unused __must_check const struct prefix##_entry *				\
prefix##_##func(struct prefix *map, const key_type *key)					\
{												\
	return (const struct prefix##_entry *)lockmap_##func((struct lockmap *)map, key,	\
							     sizeof(*key));			\
}												\
												\
__LOCKMAP_TYPED_CLASS(prefix##_##func, const struct prefix##_entry *, prefix##_unlock_shared(_T), \
		      prefix##_##func(map, key), struct prefix *map, const key_type *key)

#define __LOCKMAP_TYPED_SHARED(prefix, key_type)						\
static inline __maybe_unused void prefix##_unlock_shared(const struct prefix##_entry *entry)	\
{												\
	lockmap_unlock_shared((const struct lockmap_entry *)entry);				\
}												\
												\
__LOCKMAP_TYPED_FREE(prefix##_unlock_shared, const struct prefix##_entry *)			\
												\
__LOCKMAP_TYPED_LOCK_SHARED(prefix, key_type, lock_shared)					\
__LOCKMAP_TYPED_LOCK_SHARED(prefix, key_type, lock_shared_interruptible)			\
__LOCKMAP_TYPED_LOCK_SHARED(prefix, key_type, lock_shared_killable)				\
__LOCKMAP_TYPED_LOCK_SHARED(prefix, key_type, trylock_shared)					\
												\
static inline __maybe_unused __must_check const struct prefix##_entry *				\
prefix##_lock_shared_timeout(struct prefix *map, const key_type *key, unsigned long timeout)	\
{												\
	return (const struct prefix##_entry *)lockmap_lock_shared_timeout(			\
		(struct lockmap *)map, key, sizeof(*key), timeout);				\
}												\
												\
static inline __maybe_unused void								\
prefix##_entry_disown_shared(const struct prefix##_entry *entry)				\
{												\
	lockmap_entry_disown_shared((const struct lockmap_entry *)entry);			\
}												\
												\
static inline __maybe_unused __must_check const struct prefix##_entry *				\
prefix##_downgrade(struct prefix##_entry *entry)						\
{												\
	return (const struct prefix##_entry *)lockmap_downgrade((struct lockmap_entry *)entry);	\
}												\
												\
static inline __maybe_unused __must_check struct prefix##_entry *				\
prefix##_try_upgrade(const struct prefix##_entry *entry)					\
{												\
	return (struct prefix##_entry *)lockmap_try_upgrade((const struct lockmap_entry *)entry); \
}

#define __LOCKMAP_TYPED_BATCH_LOCK(prefix, func)						\
static inline __maybe_unused __must_check struct prefix##_batch *				\
prefix##_##func(struct prefix *map, const struct prefix##_batch_key *keys, unsigned int n)	\
{												\
	return (struct prefix##_batch *)lockmap_##func((struct lockmap *)map, &keys->key, n);	\
}												\
												\
__LOCKMAP_TYPED_CLASS(prefix##_##func, struct prefix##_batch *, prefix##_batch_unlock(_T),	\
		      prefix##_##func(map, keys, n), struct prefix *map,			\
		      const struct prefix##_batch_key *keys, unsigned int n)

#define __LOCKMAP_TYPED_BATCH(prefix, key_type)							\
static inline __maybe_unused void prefix##_batch_unlock(struct prefix##_batch *batch)		\
{												\
	lockmap_batch_unlock((struct lockmap_batch *)batch);					\
}												\
												\
__LOCKMAP_TYPED_FREE(prefix##_batch_unlock, struct prefix##_batch *)				\
												\
static inline __maybe_unused struct prefix##_batch_key prefix##_batch_key(const key_type *key)	\
{												\
	return (struct prefix##_batch_key) { { .data = key, .len = sizeof(*key) } };		\
}												\
												\
static inline __maybe_unused struct prefix##_batch_key						\
prefix##_batch_key_shared(const key_type *key)							\
{												\
	return (struct prefix##_batch_key) {							\
		{ .data = key, .len = sizeof(*key), .shared = true }				\
	};											\
}												\
												\
__LOCKMAP_TYPED_BATCH_LOCK(prefix, batch_lock)							\
__LOCKMAP_TYPED_BATCH_LOCK(prefix, batch_lock_interruptible)					\
__LOCKMAP_TYPED_BATCH_LOCK(prefix, batch_lock_killable)						\
__LOCKMAP_TYPED_BATCH_LOCK(prefix, batch_trylock)						\
												\
static inline __maybe_unused __must_check struct prefix##_batch *				\
prefix##_batch_lock_timeout(struct prefix *map, const struct prefix##_batch_key *keys,		\
			    unsigned int n, unsigned long timeout)				\
{												\
	return (struct prefix##_batch *)lockmap_batch_lock_timeout(				\
		(struct lockmap *)map, &keys->key, n, timeout);					\
}												\
												\
static inline __maybe_unused unsigned int prefix##_batch_nr(const struct prefix##_batch *batch)	\
{												\
	return ((const struct lockmap_batch *)batch)->nr;					\
}												\
												\
static inline __maybe_unused __must_check struct prefix##_entry *				\
prefix##_batch_nth(struct prefix##_batch *batch, unsigned int i)				\
{												\
	return (struct prefix##_entry *)__lockmap_slot_entry(					\
		((struct lockmap_batch *)batch)->slots[i]);					\
}												\
												\
static inline __maybe_unused __must_check const struct prefix##_entry *				\
prefix##_batch_nth_shared(struct prefix##_batch *batch, unsigned int i)				\
{												\
	return (const struct prefix##_entry *)__lockmap_slot_shared(				\
		((struct lockmap_batch *)batch)->slots[i]);					\
}												\
												\
static inline __maybe_unused __must_check struct prefix##_entry *				\
prefix##_batch_entry(struct prefix##_batch *batch, const key_type *key)				\
{												\
	return (struct prefix##_entry *)lockmap_batch_entry((struct lockmap_batch *)batch, key,	\
								    sizeof(*key));		\
}												\
												\
static inline __maybe_unused __must_check const struct prefix##_entry *				\
prefix##_batch_entry_shared(struct prefix##_batch *batch, const key_type *key)			\
{												\
	return (const struct prefix##_entry *)lockmap_batch_entry_shared(			\
		(struct lockmap_batch *)batch, key, sizeof(*key));				\
}

#define __LOCKMAP_TYPED_VALUES(prefix, key_type, value_type)					\
static inline __maybe_unused int								\
prefix##_get(struct prefix *map, const key_type *key, value_type *value)			\
{												\
	return lockmap_get((struct lockmap *)map, key, sizeof(*key), value);			\
}												\
												\
static inline __maybe_unused int								\
prefix##_tryget(struct prefix *map, const key_type *key, value_type *value)			\
{												\
	return lockmap_tryget((struct lockmap *)map, key, sizeof(*key), value);			\
}												\
												\
static inline __maybe_unused int								\
prefix##_insert(struct prefix *map, const key_type *key, const value_type *value,		\
		value_type *old)								\
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
static inline __maybe_unused value_type *prefix##_entry_value(struct prefix##_entry *entry)	\
{												\
	return lockmap_entry_value((struct lockmap_entry *)entry);				\
}												\
												\
static inline __maybe_unused const value_type *							\
prefix##_entry_value_shared(const struct prefix##_entry *entry)					\
{												\
	return lockmap_entry_value_shared((const struct lockmap_entry *)entry);			\
}												\
												\
static inline __maybe_unused struct prefix##_entry *						\
prefix##_value_entry(const value_type *value)							\
{												\
	return (struct prefix##_entry *)lockmap_value_entry(value);				\
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

#define __LOCKMAP_TYPED_MEMBERS(prefix, key_type)						\
static inline __maybe_unused int prefix##_insert(struct prefix *map, const key_type *key)	\
{												\
	return lockmap_insert((struct lockmap *)map, key, sizeof(*key), NULL, NULL);		\
}												\
												\
static inline __maybe_unused int prefix##_tryget(struct prefix *map, const key_type *key)	\
{												\
	return lockmap_tryget((struct lockmap *)map, key, sizeof(*key), NULL);			\
}												\
												\
static inline __maybe_unused int prefix##_remove(struct prefix *map, const key_type *key)	\
{												\
	return lockmap_remove((struct lockmap *)map, key, sizeof(*key), NULL);			\
}												\
												\
static inline __maybe_unused bool prefix##_entry_contains(const struct prefix##_entry *entry)	\
{												\
	return lockmap_entry_value_shared((const struct lockmap_entry *)entry);			\
}												\
												\
static inline __maybe_unused bool prefix##_entry_insert(struct prefix##_entry *entry)		\
{												\
	return lockmap_entry_insert((struct lockmap_entry *)entry, NULL, NULL);			\
}												\
												\
static inline __maybe_unused bool prefix##_entry_remove(struct prefix##_entry *entry)		\
{												\
	return lockmap_entry_remove((struct lockmap_entry *)entry, NULL);			\
}

/* @params: what the functions are given; @args: the same in a call */
#define __LOCKMAP_TYPED_WALK(prefix, params, args)						\
struct prefix##_walk {										\
	union {											\
		int (*fn)params;								\
		bool (*keep)params;								\
	};											\
	void *arg;										\
};												\
												\
static inline __maybe_unused int								\
prefix##_walk_fn(const void *key, size_t len, void *value, void *arg)				\
{												\
	const struct prefix##_walk *walk = arg;							\
												\
	return walk->fn args;									\
}												\
												\
static inline __maybe_unused bool								\
prefix##_walk_keep(const void *key, size_t len, void *value, void *arg)				\
{												\
	const struct prefix##_walk *walk = arg;							\
												\
	return walk->keep args;									\
}												\
												\
static inline __maybe_unused int								\
prefix##_for_each(struct prefix *map, int (*fn)params, void *arg)				\
{												\
	struct prefix##_walk walk = { .fn = fn, .arg = arg };					\
												\
	return lockmap_for_each((struct lockmap *)map, fn ? prefix##_walk_fn : NULL, &walk);	\
}												\
												\
static inline __maybe_unused int								\
prefix##_retain(struct prefix *map, bool (*keep)params, void *arg)				\
{												\
	struct prefix##_walk walk = { .keep = keep, .arg = arg };				\
												\
	return lockmap_retain((struct lockmap *)map, keep ? prefix##_walk_keep : NULL, &walk);	\
}

#endif /* _LOCKMAP_TYPED_H */
