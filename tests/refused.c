// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What must not compile: each line that says "refused", with the words of the
 * compiler's error, and no other line
 *
 * No module has this file. make style compiles it (tools/vm/refuse), by gcc and clang.
 */
#include "../lockmap.h"

struct block {
	u64 first, last;
};

struct vector {
	u64 word[2];
} __aligned(16);

typedef u32 overaligned __aligned(8);

struct long_name {
	char name[LOCKMAP_MAX_KEY_LEN + 1];
};

struct nothing { };

DEFINE_LOCKMAP(good, u64, struct block);
DEFINE_LOCKMAP_SET(good_set, struct block);

/* Types that a map cannot hold */
DEFINE_LOCKMAP(no_value, u64, void);			/* refused: use DEFINE_LOCKMAP_SET */
DEFINE_LOCKMAP(aligned_value, u64, struct vector);	/* refused: value_type needs more align */
DEFINE_LOCKMAP(aligned_key, struct vector, u64);	/* refused: key_type needs more align */
DEFINE_LOCKMAP(odd_key, overaligned, u64);		/* refused: key_type needs more align */
DEFINE_LOCKMAP(long_key, struct long_name, u64);	/* refused: more than LOCKMAP_MAX_KEY_LEN */
DEFINE_LOCKMAP(empty_key, struct nothing, u64);		/* refused: has no bytes */
DEFINE_LOCKMAP_SET(long_member, struct long_name);	/* refused: more than LOCKMAP_MAX_KEY_LEN */

static __used void
wrong_types(struct good *map, struct good_set *set, struct good_entry *entry,
	    struct good_set_entry *member, u32 *number, u64 *key, struct block *block)
{
	good_remove(map, number, NULL);			/* refused: incompatible pointer type */
	good_insert(map, key, key, NULL);		/* refused: incompatible pointer type */
	good_contains(set, key);			/* refused: incompatible pointer type */
	good_unlock(member);				/* refused: incompatible pointer type */
	lockmap_unlock(entry);				/* refused: incompatible pointer type */
	good_set_insert(set, block, NULL);		/* refused: too many arguments */
	good_set_entry_value(member);			/* refused: implicit|undeclared */
	good_set_get(set, block);			/* refused: implicit|undeclared */
}

static __used void
shared_is_const(const struct good_entry *entry, const struct lockmap_entry *untyped)
{
	good_entry_value_shared(entry)->first = 1;	/* refused: read-only|const value */
	good_unlock(entry);				/* refused: discards */
	good_entry_remove(entry, NULL);			/* refused: discards */
	lockmap_unlock(untyped);			/* refused: discards */
	lockmap_entry_value(untyped);			/* refused: discards */
}

static __used void
lost_locks(struct good *map, u64 *key, struct good_batch_key *keys, struct lockmap *untyped,
	   struct lockmap_key *untyped_keys)
{
	good_lock(map, key);				/* refused: ignoring return value */
	good_trylock(map, key);				/* refused: ignoring return value */
	good_lock_timeout(map, key, 1);			/* refused: ignoring return value */
	good_lock_shared(map, key);			/* refused: ignoring return value */
	good_batch_lock(map, keys, 2);			/* refused: ignoring return value */
	lockmap_lock(untyped, key, 8);			/* refused: ignoring return value */
	lockmap_lock_killable(untyped, key, 8);		/* refused: ignoring return value */
	lockmap_trylock_shared(untyped, key, 8);	/* refused: ignoring return value */
	lockmap_batch_lock(untyped, untyped_keys, 2);	/* refused: ignoring return value */
	lockmap_batch_trylock(untyped, untyped_keys, 2); /* refused: ignoring return value */
}
