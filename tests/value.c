// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Inserting, replacing, reading and removing values, with an entry or a key
 */
#include <linux/kernel.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "fixture.h"

/* Calls that take an entry */
static void holder_changes_value(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry = lmtest_hold(test, map, 7);
	u64 *value, in = 1, old = 0;

	KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
	KUNIT_EXPECT_FALSE(test, lockmap_entry_remove(entry, NULL));
	KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry, &in, &old));
	KUNIT_EXPECT_EQ(test, old, 0);
	in = 99;
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
	value = lockmap_entry_value(entry);
	KUNIT_ASSERT_NOT_NULL(test, value);
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED((unsigned long)value, LOCKMAP_VALUE_ALIGN));
	KUNIT_EXPECT_EQ(test, *value, 1);

	/* insert again: replaces the value, with and without returning the old one */
	in = 2;
	KUNIT_EXPECT_TRUE(test, lockmap_entry_insert(entry, &in, &old));
	KUNIT_EXPECT_EQ(test, old, 1);
	in = 3;
	KUNIT_EXPECT_TRUE(test, lockmap_entry_insert(entry, &in, NULL));
	KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 3);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);

	/* get_or_insert keeps the value that is there */
	value = lockmap_entry_get_or_insert(entry, &old);
	KUNIT_EXPECT_PTR_EQ(test, value, lockmap_entry_value(entry));
	KUNIT_EXPECT_EQ(test, *value, 3);
	*value = 4;
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, get_nr(map, 7, &old), 0);
	KUNIT_EXPECT_EQ(test, old, 4);

	/* remove: the key stays locked */
	entry = lmtest_hold(test, map, 7);
	KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 4);
	KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(entry, &old));
	KUNIT_EXPECT_EQ(test, old, 4);
	KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
	KUNIT_EXPECT_FALSE(test, lockmap_entry_remove(entry, &old));
	KUNIT_EXPECT_EQ(test, trylock_error(map, 7), -EBUSY);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 0);

	/* inserting NULL inserts zero bytes */
	value = lockmap_entry_get_or_insert(entry, NULL);
	KUNIT_ASSERT_NOT_NULL(test, value);
	KUNIT_EXPECT_EQ(test, *value, 0);
	*value = 5;
	KUNIT_EXPECT_TRUE(test, lockmap_entry_insert(entry, NULL, &old));
	KUNIT_EXPECT_EQ(test, old, 5);
	KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 0);
	KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(entry, NULL));
	value = lockmap_entry_get_or_insert(entry, &(u64) { 6 });
	KUNIT_EXPECT_EQ(test, *value, 6);
	lockmap_unlock(entry);
	lmtest_expect_unlocked(test, map, 7, 7);
	KUNIT_EXPECT_EQ(test, get_nr(map, 7, &old), 0);
	KUNIT_EXPECT_EQ(test, old, 6);
}

/* Calls that take a key, and lock it themselves */
static void insert_get_remove(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	u64 key = 1, in = 10, old = 0;
	size_t len = sizeof(key);

	KUNIT_EXPECT_EQ(test, lockmap_remove(map, &key, len, &old), -ENOENT);
	KUNIT_EXPECT_EQ(test, lockmap_get(map, &key, len, &old), -ENOENT);
	KUNIT_EXPECT_EQ(test, lockmap_get(map, &key, len, NULL), -ENOENT);
	KUNIT_EXPECT_FALSE(test, lockmap_contains(map, &key, len));

	KUNIT_EXPECT_EQ(test, lockmap_insert(map, &key, len, &in, &old), 0);
	KUNIT_EXPECT_EQ(test, old, 0);
	KUNIT_EXPECT_TRUE(test, lockmap_contains(map, &key, len));
	KUNIT_EXPECT_EQ(test, lockmap_get(map, &key, len, NULL), 0);
	KUNIT_EXPECT_EQ(test, lockmap_get(map, &key, len, &old), 0);
	KUNIT_EXPECT_EQ(test, old, 10);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
	KUNIT_EXPECT_FALSE(test, lockmap_is_empty(map));

	in = 11;
	KUNIT_EXPECT_EQ(test, lockmap_insert(map, &key, len, &in, &old), 1);
	KUNIT_EXPECT_EQ(test, old, 10);
	in = 12;
	KUNIT_EXPECT_EQ(test, lockmap_insert(map, &key, len, &in, NULL), 1);
	KUNIT_EXPECT_EQ(test, lockmap_insert(map, &key, len, NULL, &old), 1);
	KUNIT_EXPECT_EQ(test, old, 12);
	KUNIT_EXPECT_EQ(test, lockmap_get(map, &key, len, &old), 0);
	KUNIT_EXPECT_EQ(test, old, 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);

	KUNIT_EXPECT_EQ(test, lockmap_insert(map, &key, len, &in, NULL), 1);
	KUNIT_EXPECT_EQ(test, lockmap_remove(map, &key, len, &old), 0);
	KUNIT_EXPECT_EQ(test, old, 12);
	KUNIT_EXPECT_EQ(test, lockmap_remove(map, &key, len, NULL), -ENOENT);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
	lmtest_expect_absent(test, map, 1);
}

/* A set: values have no bytes, but are there or not */
static void values_of_no_bytes(struct kunit *test)
{
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "set", .key_len = sizeof(u64),
	});
	struct lockmap_entry *entry;
	unsigned long visits = 0;

	entry = lmtest_hold(test, map, 1);
	KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
	KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry, NULL, NULL));
	KUNIT_EXPECT_NOT_NULL(test, lockmap_entry_value(entry));
	KUNIT_EXPECT_FALSE(test, IS_ERR(lockmap_entry_value(entry)));
	KUNIT_EXPECT_TRUE(test, lockmap_entry_insert(entry, NULL, NULL));
	KUNIT_EXPECT_NOT_NULL(test, lockmap_entry_get_or_insert(entry, NULL));
	lockmap_unlock(entry);

	KUNIT_EXPECT_TRUE(test, contains_nr(map, 1));
	KUNIT_EXPECT_EQ(test, get_nr(map, 1, NULL), 0);
	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 0), 1);
	KUNIT_EXPECT_EQ(test, insert_nr(map, 2, 0), 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 2);
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, lmtest_count_visit, &visits), 0);
	KUNIT_EXPECT_EQ(test, visits, 2);
	KUNIT_EXPECT_EQ(test, remove_nr(map, 1), 0);
	KUNIT_EXPECT_EQ(test, remove_nr(map, 1), -ENOENT);
	entry = lmtest_hold(test, map, 2);
	KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(entry, NULL));
	KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
	KUNIT_EXPECT_NOT_NULL(test, lockmap_entry_get_or_insert(entry, NULL));
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
	lmtest_expect_absent(test, map, 2);
}

static bool is_filled_with(const u8 *p, size_t len, u8 x)
{
	return !len || (p[0] == x && !memcmp(p, p + 1, len - 1));
}

static void values_of_all_sizes(struct kunit *test)
{
	static const size_t sizes[] = { 1, 7, 8, 9, 100, 5000, 1 << 20 };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t size = sizes[i];
		unsigned int nr = size > 10000 ? 20 : slow_kernel() ? 50 : 200;
		struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
			.name = "values_of_all_sizes", .key_len = sizeof(u32), .value_len = size,
			.max_idle = i % 2,
		});
		u8 *in = lmtest_zalloc(test, 2 * size), *out = in + size, *value;
		struct lockmap_entry *entry;

		for (u32 n = 0; n < nr; n++) {
			memset(in, n, size);
			KUNIT_EXPECT_EQ(test, lockmap_insert(map, &n, sizeof(n), in, NULL), 0);
		}
		for (u32 n = 0; n < nr; n++) {
			KUNIT_EXPECT_EQ(test, lockmap_get(map, &n, sizeof(n), out), 0);
			KUNIT_EXPECT_TRUE_MSG(test, is_filled_with(out, size, n), "%zu bytes",
					      size);
			entry = lockmap_lock(map, &n, sizeof(n));
			KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
			value = lockmap_entry_value(entry);
			KUNIT_ASSERT_NOT_NULL(test, value);
			KUNIT_EXPECT_TRUE(test, IS_ALIGNED((unsigned long)value,
							   LOCKMAP_VALUE_ALIGN));
			KUNIT_EXPECT_TRUE(test, is_filled_with(value, size, n));
			KUNIT_EXPECT_TRUE(test, lockmap_entry_insert(entry, NULL, out));
			KUNIT_EXPECT_TRUE(test, is_filled_with(out, size, n));
			value = lockmap_entry_value(entry);
			KUNIT_EXPECT_TRUE(test, is_filled_with(value, size, 0));
			lockmap_unlock(entry);
			memset(out, 0xff, size);
			KUNIT_EXPECT_EQ(test, lockmap_remove(map, &n, sizeof(n), out), 0);
			KUNIT_EXPECT_TRUE(test, is_filled_with(out, size, 0));
		}
		KUNIT_EXPECT_EQ(test, lockmap_len(map), 0);
		lmtest_destroy(test, map);
	}
}

static struct kunit_case value_cases[] = {
	KUNIT_CASE(holder_changes_value),
	KUNIT_CASE(insert_get_remove),
	KUNIT_CASE(values_of_no_bytes),
	KUNIT_CASE(values_of_all_sizes),
	{}
};

struct kunit_suite lmtest_value_suite = {
	.name = "lockmap_value",
	.init = lmtest_init,
	.test_cases = value_cases,
};
