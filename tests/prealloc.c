// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Memory that is allocated before a key is locked; tests/nomem.c has what it is for
 */
#include <linux/minmax.h>

#include "fixture.h"

static struct lockmap_prealloc *reserve(struct kunit *test, struct lockmap *map)
{
	struct lockmap_prealloc *pre = lockmap_prealloc(map, GFP_KERNEL);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, pre);
	return pre;
}

static void used_if_key_is_new(struct kunit *test)
{
	for (unsigned int round = 0; round < 10; round++) {
		struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
			.name = "prealloc", .key_len = sizeof(u64), .value_len = sizeof(u64),
			.max_idle = round % 2,
		});
		struct lockmap_prealloc *pre = reserve(test, map), *kept = pre;
		struct lockmap_entry *entry;

		/* a new key uses it up */
		KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
		entry = prealloc_nr(map, 1, &pre);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
		KUNIT_EXPECT_NULL(test, pre);
		KUNIT_EXPECT_EQ(test, nr_of(lockmap_entry_key(entry, NULL)), 1);
		KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
		KUNIT_EXPECT_EQ(test, trylock_error(map, 1), -EBUSY);
		KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry, &(u64) { 10 }, NULL));

		/* a key of the same task is refused, and the memory is kept */
		pre = reserve(test, map);
		kept = pre;
		KUNIT_EXPECT_EQ(test, lock_error(prealloc_nr(map, 1, &pre)), -EDEADLK);
		KUNIT_EXPECT_PTR_EQ(test, pre, kept);
		lockmap_unlock(entry);

		/* a key that has an entry: that one, with its value; the memory is kept again */
		entry = prealloc_nr(map, 1, &pre);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
		KUNIT_EXPECT_PTR_EQ(test, pre, kept);
		KUNIT_EXPECT_NOT_NULL(test, lockmap_entry_value(entry));
		lockmap_unlock(entry);
		KUNIT_EXPECT_TRUE(test, contains_nr(map, 1));

		/* and serves for another key */
		KUNIT_EXPECT_EQ(test, lock_error(prealloc_nr(map, 3, &pre)), 0);
		KUNIT_EXPECT_NULL(test, pre);
		lmtest_expect_unlocked(test, map, 1, 3);
		KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);

		/* never used */
		for (unsigned int i = 0; i < 10; i++)
			lockmap_prealloc_free(reserve(test, map));

		/* The slab cache warns if one of them was not freed. */
		lmtest_destroy(test, map);
	}
}

static void bad_ones_are_refused(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test), *other = lmtest_create_u64(test);
	static const gfp_t bad[] = { GFP_KERNEL | __GFP_ZERO, GFP_KERNEL | GFP_DMA,
				     GFP_KERNEL | __GFP_HIGHMEM };
	struct lockmap_prealloc *pre = NULL, *kept;
	u64 key = 1;

	KUNIT_EXPECT_EQ(test, lock_error(prealloc_nr(map, 1, NULL)), -EINVAL);
	KUNIT_EXPECT_EQ(test, lock_error(prealloc_nr(map, 1, &pre)), -EINVAL);
	pre = ERR_PTR(-ENOMEM);
	KUNIT_EXPECT_EQ(test, lock_error(prealloc_nr(map, 1, &pre)), -EINVAL);
	/* memory of another map is refused, and kept */
	pre = reserve(test, other);
	kept = pre;
	KUNIT_EXPECT_EQ(test, lock_error(prealloc_nr(map, 1, &pre)), -EINVAL);
	KUNIT_EXPECT_PTR_EQ(test, pre, kept);
	KUNIT_EXPECT_EQ(test, lock_error(prealloc_nr(other, 1, &pre)), 0);
	KUNIT_EXPECT_NULL(test, pre);
	/* as is a wrong key */
	pre = reserve(test, map);
	kept = pre;
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_prealloc(map, &key, 7, &pre)), -EINVAL);
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_prealloc(map, NULL, 8, &pre)), -EINVAL);
	KUNIT_EXPECT_PTR_EQ(test, pre, kept);
	lockmap_prealloc_free(pre);
	lmtest_expect_unlocked(test, map, 1, 1);
	lmtest_expect_unlocked(test, other, 1, 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ(test, PTR_ERR(lockmap_prealloc(map, bad[i])), -EINVAL);
	lmtest_destroy(test, other);
}

/* Long keys are not part of the entry; the memory has room for the longest. */
static void keys_of_all_lengths(struct kunit *test)
{
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "prealloc_var", .key_len = LOCKMAP_MAX_KEY_LEN, .value_len = 24,
		.flags = LOCKMAP_VAR_KEY, .max_idle = 1,
	});
	u8 *key = lmtest_zalloc(test, LOCKMAP_MAX_KEY_LEN);
	struct lockmap_prealloc *pre = reserve(test, map);

	key[0] = 1;
	KUNIT_EXPECT_EQ(test, lockmap_insert(map, key, LOCKMAP_MAX_KEY_LEN, NULL, NULL), 0);
	for (size_t len = 1; len < LOCKMAP_MAX_KEY_LEN; len += len < 300 ? 1 : 379) {
		struct lockmap_prealloc *kept = pre;
		struct lockmap_entry *entry;
		size_t got = 0;

		/* For another key it is not needed; then it has to forget that key. */
		entry = lockmap_lock_prealloc(map, key, LOCKMAP_MAX_KEY_LEN, &pre);
		KUNIT_EXPECT_EQ(test, lock_error(entry), 0);
		KUNIT_EXPECT_PTR_EQ(test, pre, kept);
		entry = lockmap_lock_prealloc(map, key, len, &pre);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
		KUNIT_EXPECT_NULL(test, pre);
		KUNIT_EXPECT_MEMEQ(test, lockmap_entry_key(entry, &got), key, len);
		KUNIT_EXPECT_EQ(test, got, len);
		lockmap_unlock(entry);
		pre = reserve(test, map);
	}
	lockmap_prealloc_free(pre);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
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
