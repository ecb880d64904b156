// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Keys without a value: they can be locked, and leave nothing behind
 */
#include <linux/file.h>
#include <linux/fs.h>

#include "fixture.h"

static void can_be_locked(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry;
	unsigned long visits = 0;
	const void *key;
	size_t len = 0;

	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
	for (unsigned int round = 0; round < 2; round++)
		for (u64 n = 0; n < 100; n++) {
			entry = lmtest_hold(test, map, n);
			KUNIT_EXPECT_EQ(test, trylock_error(map, n), -EBUSY);
			KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
			key = lockmap_entry_key(entry, &len);
			KUNIT_EXPECT_EQ(test, len, sizeof(u64));
			KUNIT_EXPECT_EQ(test, nr_of(key), n);
			KUNIT_EXPECT_PTR_EQ(test, lockmap_entry_key(entry, NULL), key);
			KUNIT_EXPECT_EQ(test, lockmap_len(map), 0);
			KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
			lockmap_unlock(entry);
		}
	lmtest_expect_unlocked(test, map, 0, 99);
	for (u64 n = 0; n < 100; n++)
		lmtest_expect_absent(test, map, n);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 0);
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, lmtest_count_visit, &visits), 0);
	KUNIT_EXPECT_EQ(test, lockmap_retain(map, lmtest_keep_all, &visits), 0);
	KUNIT_EXPECT_EQ(test, visits, 0);
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
}

KUNIT_DEFINE_ACTION_WRAPPER(close_file, fput, struct file *);

/* The shrinker frees idle entries alone, not those of keys that are locked or have a value. */
static void idle_entries_are_reclaimed(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry;
	struct file *file;
	u64 value = 0;
	loff_t pos;

	file = filp_open("/proc/sys/vm/drop_caches", O_WRONLY, 0);
	if (IS_ERR(file))
		kunit_skip(test, "no drop_caches");
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, close_file, file), 0);
	for (unsigned int round = 0; round < 3; round++) {
		for (u64 n = 0; n < 1000; n++)
			KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, n)), 0);
		KUNIT_EXPECT_GE(test, insert_nr(map, 1, 11), 0);
		entry = lock_nr(map, 2);
		pos = 0;
		/* The second time nothing is idle, and the shrinker has to end as well. */
		KUNIT_EXPECT_EQ(test, kernel_write(file, "2", 1, &pos), 1);
		KUNIT_EXPECT_EQ(test, kernel_write(file, "2", 1, &pos), 1);
		KUNIT_EXPECT_EQ(test, trylock_error(map, 2), -EBUSY);
		KUNIT_EXPECT_EQ(test, lock_error(entry), 0);
		KUNIT_EXPECT_EQ(test, get_nr(map, 1, &value), 0);
		KUNIT_EXPECT_EQ(test, value, 11);
		KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
	}
}

/*
 * A map keeps entries of absent keys for a while. They look like keys that were
 * never locked, however many there are.
 */
static void idle_entries_are_absent(struct kunit *test)
{
	static const unsigned int max_idle[] = { 1, 16, 0, UINT_MAX };
	unsigned int nr = scaled(100000);

	for (unsigned int i = 0; i < ARRAY_SIZE(max_idle); i++) {
		struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
			.name = "idle", .key_len = sizeof(u64), .value_len = sizeof(u64),
			.max_idle = max_idle[i],
		});
		unsigned int failures = 0;
		unsigned long visits = 0;
		struct lockmap_entry *entry;

		for (u64 n = 0; n < nr; n++)
			failures += lock_error(lock_nr(map, n)) != 0;
		/* Lock some of them again and again, so that the map keeps more. */
		for (unsigned int n = 0; n < nr; n++)
			failures += lock_error(lock_nr(map, n % (nr / 8))) != 0;
		KUNIT_EXPECT_EQ_MSG(test, failures, 0, "max_idle %u", max_idle[i]);
		KUNIT_EXPECT_EQ(test, lockmap_len(map), 0);
		KUNIT_EXPECT_EQ(test, lockmap_for_each(map, lmtest_count_visit, &visits), 0);
		KUNIT_EXPECT_EQ(test, visits, 0);
		for (u64 n = nr - 20; n < nr; n++)
			lmtest_expect_absent(test, map, n);

		/* A key that gets a value again does not get its old one. */
		for (u64 n = 0; n < 20; n++) {
			KUNIT_EXPECT_EQ(test, insert_nr(map, n, ~0ULL), 0);
			KUNIT_EXPECT_EQ(test, remove_nr(map, n), 0);
			lmtest_expect_absent(test, map, n);
			entry = lmtest_hold(test, map, n);
			KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_get_or_insert(entry, NULL), 0);
			lockmap_unlock(entry);
		}
		KUNIT_EXPECT_EQ(test, lockmap_len(map), 20);
		lmtest_destroy(test, map);
	}
}

static struct kunit_case absent_cases[] = {
	KUNIT_CASE(can_be_locked),
	KUNIT_CASE(idle_entries_are_reclaimed),
	KUNIT_CASE_SLOW(idle_entries_are_absent),
	{}
};

struct kunit_suite lmtest_absent_suite = {
	.name = "lockmap_absent",
	.init = lmtest_init,
	.test_cases = absent_cases,
};
