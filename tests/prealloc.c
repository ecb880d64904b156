// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Entries that are allocated before the key is locked
 */
#include <linux/minmax.h>

#include "fixture.h"

static void used_if_key_is_new(struct kunit *test)
{
	for (unsigned int round = 0; round < 10; round++) {
		struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
			.name = "prealloc", .key_len = sizeof(u64), .value_len = sizeof(u64),
			.max_idle = round % 2,
		});
		struct lockmap_entry *new, *entry;

		/* a new key: its entry is the one that was allocated */
		new = alloc_nr(map, 1);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, new);
		KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
		KUNIT_EXPECT_EQ(test, trylock_error(map, 2), 0);
		entry = lockmap_lock_prealloc(map, new);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
		KUNIT_EXPECT_PTR_EQ(test, entry, new);
		KUNIT_EXPECT_EQ(test, nr_of(lockmap_entry_key(entry, NULL)), 1);
		KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
		KUNIT_EXPECT_EQ(test, trylock_error(map, 1), -EBUSY);
		KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry, &(u64) { 10 }, NULL));

		/* a key of the same task: refused, and the new entry is freed */
		new = alloc_nr(map, 1);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, new);
		KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_prealloc(map, new)), -EDEADLK);
		lockmap_unlock(entry);

		/* a key that has an entry: that one, with its value */
		new = alloc_nr(map, 1);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, new);
		entry = lockmap_lock_prealloc(map, new);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
		KUNIT_EXPECT_NOT_NULL(test, lockmap_entry_value(entry));
		if (lockmap_entry_value(entry))
			KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 10);
		lockmap_unlock(entry);

		/* never used */
		for (u64 n = 0; n < 10; n++)
			lockmap_entry_free(alloc_nr(map, n));

		/* two for one key: the second finds the first */
		new = alloc_nr(map, 3);
		entry = lockmap_lock_prealloc(map, alloc_nr(map, 3));
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
		lockmap_unlock(entry);
		KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_prealloc(map, new)), 0);
		KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);

		/* The slab cache warns if one of them was not freed. */
		lmtest_destroy(test, map);
	}
}

static void bad_ones_are_refused(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test), *other = lmtest_create_u64(test);
	static const gfp_t bad[] = { GFP_KERNEL | __GFP_ZERO, GFP_KERNEL | GFP_DMA,
				     GFP_KERNEL | __GFP_HIGHMEM };
	u64 key = key_of(1);

	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_prealloc(map, NULL)), -EINVAL);
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_prealloc(map, ERR_PTR(-ENOMEM))), -ENOMEM);
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_prealloc(map, ERR_PTR(-EIO))), -EIO);
	/* an entry of another map: refused, and freed, or its slab cache warns */
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_prealloc(map, alloc_nr(other, 1))), -EINVAL);
	lmtest_expect_unlocked(test, map, 1, 1);
	lmtest_expect_unlocked(test, other, 1, 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ(test, PTR_ERR(lockmap_entry_alloc(map, &key, sizeof(key), bad[i])),
				-EINVAL);
	lmtest_destroy(test, other);
}

/* Long keys are not part of the entry, but allocated with it. */
static void keys_of_all_lengths(struct kunit *test)
{
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "prealloc_var", .key_len = LOCKMAP_MAX_KEY_LEN, .value_len = 24,
		.flags = LOCKMAP_VAR_KEY, .max_idle = 1,
	});
	u8 *key = lmtest_zalloc(test, LOCKMAP_MAX_KEY_LEN);

	for (size_t len = 1; len <= LOCKMAP_MAX_KEY_LEN; len += len < 300 ? 1 : 379) {
		struct lockmap_entry *new = lockmap_entry_alloc(map, key, len, GFP_KERNEL);
		struct lockmap_entry *entry;
		size_t got = 0;

		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, new);
		entry = lockmap_lock_prealloc(map, new);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
		KUNIT_EXPECT_MEMEQ(test, lockmap_entry_key(entry, &got), key, len);
		KUNIT_EXPECT_EQ(test, got, len);
		lockmap_unlock(entry);
		lockmap_entry_free(lockmap_entry_alloc(map, key, len, GFP_KERNEL));
	}
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
}

static struct kunit_case prealloc_cases[] = {
	KUNIT_CASE(used_if_key_is_new),
	KUNIT_CASE(bad_ones_are_refused),
	KUNIT_CASE(keys_of_all_lengths),
	{}
};

struct kunit_suite lmtest_prealloc_suite = {
	.name = "lockmap_prealloc",
	.init = lmtest_init,
	.test_cases = prealloc_cases,
};
