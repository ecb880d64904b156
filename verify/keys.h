/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The rooms of waiting and locking over a table that always has the same few keys,
 * in the place of core/table.c and core/clock.c: for models of the lock alone. The
 * number of a key is its place.
 */
#ifndef _VERIFY_KEYS_H
#define _VERIFY_KEYS_H

#include "core/types.h"

#define NR_KEYS		3

static struct lockmap map = {
	.key_kind = LM_KEY_U64, .key_len = sizeof(u64), .params.name = "keys",
};

static struct lockmap_entry entries[NR_KEYS] __world;

static inline unsigned int key_number(const void *lock)
{
	return container_of(lock, const struct lockmap_entry, lock) - entries;
}

#include "core/deadlock.c"
#include "core/dispatch.c"

#undef hash_ptr
#define hash_ptr(lock, bits)		((void)(bits), key_number(lock))

#include "core/turnstile.c"
#include "core/wait.c"

static struct lm_bucket buckets[NR_KEYS] __world;

/* A dead entry is not found, and no other takes its place. */
static inline struct lockmap_entry *lm_find(struct lm_key *key)
{
	struct lockmap_entry *entry = &entries[key->num];

	key->word = atomic64_read(&entry->lock.word);
	return key->word & LM_DEAD ? NULL : entry;
}

/* The word that the lookup read is of no use any more: without it there are fewer states. */
#define lm_match(key, entry)		((key)->word = 0, &entries[(key)->num] == (entry))
#define lm_unchanged(key, entry)	(atomic64_read(&(entry)->lock.word) == (key)->word)

/* All keys have a value, so none is idle, or absent. */
#define lm_sure_absent(key)		((void)(key), false)
#define lm_ring(map, hash)		NULL
#define lm_ring_admits(ring)		((void)(ring), true)
#define lm_ring_add(map, hash, entry)	((void)(hash), ex_fail("an entry is idle"))
#define lm_entry_new(key, gfp)		((void)(gfp), (struct lockmap_entry *)NULL)
#define lm_entry_free(entry)		((void)(entry))
#define lm_entry_evict(entry)		((void)(entry))
#define lm_entry_publish(key, new, owner, if_full)	((void)(if_full), -EEXIST)

/* All keys share one bucket, or each has its own. */
static inline void init_keys(bool own_buckets)
{
	unsigned int i;

	lm_buckets = buckets;
	lm_bucket_bits = own_buckets ? 2 : 0;
	lm_sleepers_init();
	for (i = 0; i < NR_KEYS; i++) {
		entries[i].map = &map;
		entries[i].has_value = true;
		spin_lock_init(&buckets[i].lock);
		INIT_LIST_HEAD(&buckets[i].heads);
	}
}

#include "core/acquire.c"

/* Return: 0, or an error; -ENOENT when the entry was dead. */
static noinline int lock_key(unsigned int number, const struct lm_wait_mode *mode)
{
	struct lm_key key = { .map = &map, .kind = LM_KEY_U64, .len = sizeof(u64), .num = number };
	struct lockmap_entry *entry = lm_lock_slow(&key, NULL, LM_LEAVE_ABSENT, mode);

	if (!entry)
		return -ENOENT;
	return IS_ERR(entry) ? PTR_ERR(entry) : 0;
}

#endif /* _VERIFY_KEYS_H */
