// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A map that is destroyed under the holders of its keys, or never becomes empty
 *
 * lockmap warns of it and leaks the map, so that the holders can go on. What is
 * leaked stays, so this is the last suite. After it, tools/test looks whether
 * debugfs has files of such maps, whose functions go with this module.
 */
#include <linux/minmax.h>
#include <linux/string.h>

#include <kunit/test-bug.h>

#include "fixture.h"

static int compare(const void *a, size_t a_len, const void *b, size_t b_len, void *priv)
{
	return memcmp(a, b, min(a_len, b_len)) ?: (a_len > b_len) - (a_len < b_len);
}

static struct lockmap *create_unmanaged(struct kunit *test)
{
	struct lockmap *map = lockmap_create(&(struct lockmap_params) {
		.name = "leaked", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.cmp = compare,
	});

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 10), 0);
	return map;
}

static void destroy_with_warning(struct lockmap *map)
{
	expect_warning_begin();
	lockmap_destroy(map);
	expect_warning_end();
}

static void entries_outlive_their_map(struct kunit *test)
{
	struct lockmap *map = create_unmanaged(test);
	struct lockmap_entry *entry, *absent;
	u64 old = 0;

	entry = lmtest_hold(test, map, 1);
	absent = lmtest_hold(test, map, 2);
	expect_log("leaked: destroyed with 2 keys held, 0 by tasks that are gone");
	destroy_with_warning(map);
	KUNIT_EXPECT_EQ(test, nr_of(lockmap_entry_key(entry, NULL)), 1);
	KUNIT_EXPECT_NOT_NULL(test, lockmap_entry_value(entry));
	KUNIT_EXPECT_TRUE(test, lockmap_entry_insert(entry, &(u64) { 11 }, &old));
	KUNIT_EXPECT_EQ(test, old, 10);
	KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(entry, &old));
	KUNIT_EXPECT_EQ(test, old, 11);
	KUNIT_EXPECT_NULL(test, lockmap_entry_value(absent));
	lockmap_unlock(absent);
	lockmap_unlock(entry);
}

static void batch_outlives_its_map(struct kunit *test)
{
	struct lockmap *map = create_unmanaged(test);
	struct lockmap_key *keys = lmtest_make_keys(test, 1, 3);
	struct lockmap_batch *batch = lockmap_batch_lock(map, keys, 3);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	destroy_with_warning(map);
	for (unsigned int i = 0; i < 3; i++) {
		struct lockmap_entry *entry = lockmap_batch_entry(batch, keys[i].data, keys[i].len);
		u64 *value;

		KUNIT_ASSERT_NOT_NULL(test, entry);
		KUNIT_EXPECT_EQ(test, nr_of(lockmap_entry_key(entry, NULL)), i + 1);
		value = lockmap_entry_value(entry);
		KUNIT_EXPECT_EQ(test, value ? *value : 0, i ? 0 : 10);
	}
	lockmap_batch_unlock(batch);
}

static void unlock_granted(struct lockmap_request *req, struct lockmap_entry *entry)
{
	lockmap_unlock(entry);
	req->granted = NULL;
}

/* A key that is shared is held, as is one that a request waits for. */
static void sharers_and_requests_outlive_their_map(struct kunit *test)
{
	struct lockmap_request req = { .granted = unlock_granted };
	struct lockmap *map = create_unmanaged(test);
	const struct lockmap_entry *shared;
	struct lockmap_entry *entry;
	u64 key = 1;

	shared = share_nr(map, 1);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, shared);
	expect_log("leaked: destroyed with 1 key held, 0 by tasks that are gone");
	destroy_with_warning(map);
	KUNIT_EXPECT_NOT_NULL(test, lockmap_entry_value_shared(shared));
	lockmap_unlock_shared(shared);

	map = create_unmanaged(test);
	entry = lmtest_hold(test, map, 1);
	KUNIT_EXPECT_EQ(test, PTR_ERR(lockmap_lock_async(map, &key, sizeof(key), &req)),
			-EINPROGRESS);
	expect_log("leaked: destroyed with 1 key held, 0 by tasks that are gone");
	destroy_with_warning(map);
	lockmap_unlock(entry);
	KUNIT_EXPECT_NULL(test, req.granted);
}

/* What release leaves behind in a map that is being destroyed. */
struct leftover {
	struct lockmap *map;
	struct lockmap_entry *held;
};

static void release_and_hold(void *value, void *priv)
{
	struct leftover *leftover = priv;

	leftover->held = trylock_nr(leftover->map, 2);
	lockmap_entry_disown(leftover->held);
}

static void release_and_insert_again(void *value, void *priv)
{
	struct leftover *leftover = priv;
	u64 n = *(u64 *)value + 1;

	KUNIT_EXPECT_EQ(kunit_get_current_test(), insert_nr(leftover->map, n, n), 0);
}

static void destroy_with_release(struct kunit *test, struct leftover *leftover, const char *text,
				 void (*release)(void *value, void *priv))
{
	leftover->map = lockmap_create(&(struct lockmap_params) {
		.name = "leaked", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.release = release, .priv = leftover,
	});
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, leftover->map);
	KUNIT_EXPECT_EQ(test, insert_nr(leftover->map, 1, 1), 0);
	expect_told_begin(text);
	lockmap_destroy(leftover->map);
	expect_warning_end();
}

/* release holds a key, which is locked still when all values are gone. */
static void keys_that_release_holds(struct kunit *test)
{
	struct leftover leftover = {};

	destroy_with_release(test, &leftover, "leaked: destroyed with 1 key held",
			     release_and_hold);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, leftover.held);
	KUNIT_EXPECT_EQ(test, nr_of(lockmap_entry_key(leftover.held, NULL)), 2);
	lockmap_unlock(leftover.held);
}

/* release puts in another value each time: that has an end. */
static void values_that_never_end(struct kunit *test)
{
	static struct leftover leftover;

	destroy_with_release(test, &leftover,
			     "leaked: destroyed, but release puts in ever more values",
			     release_and_insert_again);
	KUNIT_EXPECT_EQ(test, lockmap_len(leftover.map), 1);
}

static struct kunit_case leak_cases[] = {
	KUNIT_CASE(entries_outlive_their_map),
	KUNIT_CASE(batch_outlives_its_map),
	KUNIT_CASE(sharers_and_requests_outlive_their_map),
	KUNIT_CASE(keys_that_release_holds),
	KUNIT_CASE(values_that_never_end),
	{}
};

struct kunit_suite lmtest_leak_suite = {
	.name = "lockmap_leak",
	.init = lmtest_init,
	.test_cases = leak_cases,
};
