// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The typed interface: every function that DEFINE_LOCKMAP() and DEFINE_LOCKMAP_SET() make,
 * once. Scope guards are in guard.c, what does not compile in refused.c
 */
#include <linux/align.h>
#include <linux/cleanup.h>

#include "fixture.h"

struct point {
	u32 x, y;
};

DEFINE_LOCKMAP(points, u32, struct point);
DEFINE_LOCKMAP_SET(numbers, u64);

KUNIT_DEFINE_ACTION_WRAPPER(destroy_points, points_destroy, struct points *);
KUNIT_DEFINE_ACTION_WRAPPER(destroy_numbers, numbers_destroy, struct numbers *);

static int sum_points(const u32 *key, struct point *value, void *arg)
{
	*(u32 *)arg += *key + value->x;
	return 0;
}

static bool keep_point(const u32 *key, struct point *value, void *arg)
{
	return value->x >= *(u32 *)arg;
}

static void expect_point_lock(struct kunit *test, struct points_entry *entry, u32 key)
{
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	KUNIT_EXPECT_EQ(test, *points_entry_key(entry), key);
	points_unlock(entry);
}

static void keys_and_entries(struct kunit *test)
{
	struct points *map = points_create(NULL);
	struct point in = { 1, 2 }, out = { };
	struct lockmap_prealloc *pre;
	struct points_entry *entry;
	u32 key = 7, absent = 8;
	struct point *point;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, destroy_points, map), 0);

	KUNIT_EXPECT_EQ(test, points_get(map, &key, &out), -ENOENT);
	KUNIT_EXPECT_EQ(test, points_insert(map, &key, &in, &out), 0);
	KUNIT_EXPECT_EQ(test, points_insert(map, &key, &in, &out), 1);
	KUNIT_EXPECT_EQ(test, out.y, 2);
	KUNIT_EXPECT_TRUE(test, points_contains(map, &key));
	KUNIT_EXPECT_EQ(test, points_get(map, &key, &out), 0);
	KUNIT_EXPECT_EQ(test, out.x, 1);
	KUNIT_EXPECT_EQ(test, points_len(map), 1);
	KUNIT_EXPECT_FALSE(test, points_is_empty(map));

	expect_point_lock(test, points_lock(map, &key), 7);
	expect_point_lock(test, points_lock_interruptible(map, &key), 7);
	expect_point_lock(test, points_lock_killable(map, &key), 7);
	expect_point_lock(test, points_lock_timeout(map, &key, HZ), 7);
	expect_point_lock(test, points_trylock(map, &key), 7);
	pre = points_prealloc(map, GFP_KERNEL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, pre);
	expect_point_lock(test, points_lock_prealloc(map, &key, &pre), 7);
	points_prealloc_free(pre);
	expect_point_lock(test, points_lock_present(map, &key), 7);
	expect_point_lock(test, points_lock_present_killable(map, &key), 7);
	expect_point_lock(test, points_trylock_present(map, &key), 7);
	KUNIT_EXPECT_EQ(test, PTR_ERR(points_lock_present(map, &absent)), -ENOENT);
	KUNIT_EXPECT_EQ(test, points_tryget(map, &key, &out), 0);
	KUNIT_EXPECT_EQ(test, out.y, 2);
	KUNIT_EXPECT_EQ(test, points_tryget(map, &absent, NULL), -ENOENT);

	entry = points_lock(map, &key);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	KUNIT_EXPECT_EQ(test, points_entry_value(entry)->y, 2);
	in.x = 5;
	KUNIT_EXPECT_TRUE(test, points_entry_insert(entry, &in, &out));
	KUNIT_EXPECT_EQ(test, out.x, 1);
	KUNIT_EXPECT_TRUE(test, points_entry_remove(entry, &out));
	KUNIT_EXPECT_EQ(test, out.x, 5);
	KUNIT_EXPECT_EQ(test, points_entry_get_or_insert(entry, &in)->x, 5);
	point = points_entry_value(entry);
	points_entry_disown(entry);
	points_unlock(entry);

	/* From the value back to its entry */
	KUNIT_EXPECT_PTR_EQ(test, points_value_entry(point), entry);
	KUNIT_EXPECT_EQ(test, points_entry_lock(entry), 0);
	points_unlock(entry);
	KUNIT_EXPECT_EQ(test, points_entry_lock_killable(entry), 0);
	points_unlock(entry);
	KUNIT_EXPECT_EQ(test, points_entry_lock_timeout(entry, HZ), 0);
	KUNIT_EXPECT_FALSE(test, points_entry_trylock(entry));
	expect_point_lock(test, entry, 7);

	KUNIT_EXPECT_EQ(test, points_remove(map, &key, &out), 0);
	KUNIT_EXPECT_EQ(test, out.x, 5);
	KUNIT_EXPECT_EQ(test, points_remove(map, &key, NULL), -ENOENT);
}

static void expect_shared_point(struct kunit *test, const struct points_entry *entry, u32 key)
{
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	KUNIT_EXPECT_EQ(test, *points_entry_key(entry), key);
	KUNIT_EXPECT_EQ(test, points_entry_value_shared(entry)->x, 1);
	points_unlock_shared(entry);
}

static void point_granted(struct lockmap_request *req, struct lockmap_entry *entry)
{
	points_unlock((struct points_entry *)entry);
	req->granted = NULL;
}

static void shared_and_async(struct kunit *test)
{
	struct lockmap_request req = { .granted = point_granted };
	struct points *map = points_create(NULL);
	const struct points_entry *shared, *other;
	struct point in = { 1, 2 };
	struct points_batch_key keys[2];
	struct points_batch *batch;
	struct points_entry *entry;
	u32 raw[] = { 7, 8 };

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, destroy_points, map), 0);
	KUNIT_EXPECT_EQ(test, points_insert(map, raw, &in, NULL), 0);
	expect_shared_point(test, points_lock_shared(map, raw), 7);
	expect_shared_point(test, points_lock_shared_interruptible(map, raw), 7);
	expect_shared_point(test, points_lock_shared_killable(map, raw), 7);
	expect_shared_point(test, points_lock_shared_timeout(map, raw, HZ), 7);
	expect_shared_point(test, points_trylock_shared(map, raw), 7);

	/* shared, exclusive, shared */
	shared = points_trylock_shared(map, raw);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, shared);
	points_entry_disown_shared(shared);
	other = points_trylock_shared(map, raw);
	KUNIT_EXPECT_PTR_EQ(test, shared, other);
	KUNIT_EXPECT_NULL(test, points_try_upgrade(shared));
	points_unlock_shared(other);
	entry = points_try_upgrade(shared);
	KUNIT_ASSERT_NOT_NULL(test, entry);
	points_entry_value(entry)->x++;
	shared = points_downgrade(entry);
	KUNIT_EXPECT_EQ(test, points_entry_value_shared(shared)->x, 2);
	points_unlock_shared(shared);

	/* locked at once, and later */
	entry = points_lock_async(map, raw, &req);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	KUNIT_EXPECT_EQ(test, PTR_ERR(points_lock_async(map, raw, &req)), -EINPROGRESS);
	points_unlock(entry);
	KUNIT_EXPECT_NULL(test, req.granted);

	keys[0] = points_batch_key_shared(&raw[0]);
	keys[1] = points_batch_key(&raw[1]);
	batch = points_batch_lock(map, keys, 2);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_EXPECT_NULL(test, points_batch_nth(batch, 0));
	KUNIT_EXPECT_NULL(test, points_batch_entry(batch, &raw[0]));
	shared = points_batch_nth_shared(batch, 0);
	KUNIT_EXPECT_EQ(test, *points_entry_key(shared), 7);
	KUNIT_EXPECT_PTR_EQ(test, points_batch_entry_shared(batch, &raw[0]), shared);
	entry = points_batch_nth(batch, 1);
	KUNIT_EXPECT_EQ(test, *points_entry_key(entry), 8);
	KUNIT_EXPECT_PTR_EQ(test, points_batch_entry_shared(batch, &raw[1]),
			    (const struct points_entry *)entry);
	points_batch_unlock(batch);
}

static int guarded_point_shared(struct points *map, u32 key)
{
	const struct points_entry *entry __free(points_unlock_shared) =
		points_trylock_shared(map, &key);

	return IS_ERR(entry) ? PTR_ERR(entry) : points_entry_value_shared(entry)->x;
}

/* Check a batch of keys 1, 2 and 3, add 1 to each value, and unlock it. */
static void expect_point_batch(struct kunit *test, struct points_batch *batch)
{
	u32 last = 0, absent = 99;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_EXPECT_EQ(test, points_batch_nr(batch), 3);
	for (unsigned int i = 0; i < points_batch_nr(batch); i++) {
		struct points_entry *entry = points_batch_nth(batch, i);
		u32 key = *points_entry_key(entry);

		KUNIT_EXPECT_GT(test, key, last);
		KUNIT_EXPECT_PTR_EQ(test, points_batch_entry(batch, &key), entry);
		points_entry_get_or_insert(entry, NULL)->x++;
		last = key;
	}
	KUNIT_EXPECT_NULL(test, points_batch_entry(batch, &absent));
	points_batch_unlock(batch);
}

static int guarded_point(struct points *map, u32 key)
{
	struct points_entry *entry __free(points_unlock) = points_trylock(map, &key);

	return IS_ERR(entry) ? PTR_ERR(entry) : points_entry_value(entry)->x;
}

static int guarded_points(struct points *map, u32 key)
{
	struct points_batch_key keys[] = { points_batch_key(&key) };
	struct points_batch *batch __free(points_batch_unlock) =
		points_batch_trylock(map, keys, 1);

	return IS_ERR(batch) ? PTR_ERR(batch) : guarded_point(map, key);
}

static void scope_guards(struct kunit *test)
{
	struct points *map __free(points_destroy) = points_create(NULL);
	struct point in = { 3, 4 };
	u32 key = 7;

	KUNIT_EXPECT_NOT_ERR_OR_NULL(test, map);
	if (IS_ERR_OR_NULL(map))
		return;
	KUNIT_EXPECT_EQ(test, points_insert(map, &key, &in, NULL), 0);
	for (unsigned int i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, guarded_points(map, key), -EBUSY);
		KUNIT_EXPECT_EQ(test, guarded_point(map, key), 3);
		KUNIT_EXPECT_EQ(test, guarded_point_shared(map, key), 3);
	}
}

static void batches_and_walks(struct kunit *test)
{
	struct lockmap_params params = { .nr_shards = 2, .key_len = 1, .value_len = 1 };
	struct points *map = points_create(&params);
	u32 raw[] = { 3, 1, 2, 3 }, sum = 0, limit = 6;
	struct points_batch_key keys[ARRAY_SIZE(raw)];

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, destroy_points, map), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(raw); i++)
		keys[i] = points_batch_key(&raw[i]);
	expect_point_batch(test, points_batch_lock(map, keys, 4));
	expect_point_batch(test, points_batch_lock_interruptible(map, keys, 4));
	expect_point_batch(test, points_batch_lock_killable(map, keys, 4));
	expect_point_batch(test, points_batch_lock_timeout(map, keys, 4, HZ));
	expect_point_batch(test, points_batch_trylock(map, keys, 4));

	/* Keys 1, 2 and 3; five batches have added 1 to each value. */
	KUNIT_EXPECT_EQ(test, points_for_each(map, sum_points, &sum), 0);
	KUNIT_EXPECT_EQ(test, sum, 21);
	KUNIT_EXPECT_EQ(test, points_for_each(map, NULL, &sum), -EINVAL);
	KUNIT_EXPECT_EQ(test, points_retain(map, NULL, &sum), -EINVAL);
	KUNIT_EXPECT_EQ(test, points_insert(map, &raw[0], &(struct point) { 6, 0 }, NULL), 1);
	KUNIT_EXPECT_EQ(test, points_retain(map, keep_point, &limit), 0);
	KUNIT_EXPECT_EQ(test, points_len(map), 1);
	KUNIT_EXPECT_TRUE(test, points_contains(map, &raw[0]));
	KUNIT_EXPECT_EQ(test, points_clear(map), 0);
	KUNIT_EXPECT_TRUE(test, points_is_empty(map));
}

static int sum_numbers(const u64 *key, void *arg)
{
	*(u64 *)arg += *key;
	return 0;
}

static bool keep_number(const u64 *key, void *arg)
{
	return *key != *(u64 *)arg;
}

/* A set has keys, and no values. */
static void members_of_a_set(struct kunit *test)
{
	struct numbers *set = numbers_create(NULL);
	const struct numbers_entry *shared;
	struct numbers_batch_key keys[2];
	struct numbers_batch *batch;
	struct numbers_entry *entry;
	u64 raw[] = { 1, 256 }, sum = 0;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, set);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, destroy_numbers, set), 0);
	KUNIT_EXPECT_EQ(test, numbers_insert(set, &raw[0]), 0);
	KUNIT_EXPECT_EQ(test, numbers_insert(set, &raw[0]), 1);
	KUNIT_EXPECT_TRUE(test, numbers_contains(set, &raw[0]));
	KUNIT_EXPECT_EQ(test, numbers_remove(set, &raw[0]), 0);
	KUNIT_EXPECT_EQ(test, numbers_remove(set, &raw[0]), -ENOENT);

	entry = numbers_lock(set, &raw[0]);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	KUNIT_EXPECT_EQ(test, *numbers_entry_key(entry), raw[0]);
	KUNIT_EXPECT_FALSE(test, numbers_entry_contains(entry));
	KUNIT_EXPECT_FALSE(test, numbers_entry_remove(entry));
	KUNIT_EXPECT_FALSE(test, numbers_entry_insert(entry));
	KUNIT_EXPECT_TRUE(test, numbers_entry_insert(entry));
	KUNIT_EXPECT_TRUE(test, numbers_entry_contains(entry));
	shared = numbers_downgrade(entry);
	KUNIT_EXPECT_TRUE(test, numbers_entry_contains(shared));
	numbers_unlock_shared(shared);

	keys[0] = numbers_batch_key(&raw[1]);
	keys[1] = numbers_batch_key(&raw[0]);
	batch = numbers_batch_lock(set, keys, 2);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_EXPECT_TRUE(test, numbers_entry_contains(numbers_batch_nth(batch, 0)));
	KUNIT_EXPECT_FALSE(test, numbers_entry_insert(numbers_batch_nth(batch, 1)));
	numbers_batch_unlock(batch);

	KUNIT_EXPECT_EQ(test, numbers_len(set), 2);
	KUNIT_EXPECT_EQ(test, numbers_for_each(set, sum_numbers, &sum), 0);
	KUNIT_EXPECT_EQ(test, sum, 257);
	KUNIT_EXPECT_EQ(test, numbers_retain(set, keep_number, &raw[0]), 0);
	KUNIT_EXPECT_FALSE(test, numbers_contains(set, &raw[0]));
	KUNIT_EXPECT_EQ(test, numbers_clear(set), 0);
	KUNIT_EXPECT_TRUE(test, numbers_is_empty(set));
}

/* The author's own key struct, named as everyone would. Keys are as aligned as their type. */
struct blocks_key {
	u64 device;
	u32 block;
	u32 part;
};

DEFINE_LOCKMAP(blocks, struct blocks_key, u8);

KUNIT_DEFINE_ACTION_WRAPPER(destroy_blocks, blocks_destroy, struct blocks *);

static void own_key_struct(struct kunit *test)
{
	/* The length of keys is the struct's, whatever the parameters say. */
	struct blocks *map = blocks_create(&(struct lockmap_params) {
		.flags = LOCKMAP_VAR_KEY, .key_len = 3,
	});
	struct blocks_key key = { .device = 1, .block = 2, .part = 3 };
	struct blocks_entry *entry;
	u8 value = 5;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, destroy_blocks, map), 0);
	KUNIT_EXPECT_EQ(test, blocks_insert(map, &key, &value, NULL), 0);
	entry = blocks_lock(map, &key);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	KUNIT_EXPECT_EQ(test, blocks_entry_key(entry)->part, 3);
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED((unsigned long)blocks_entry_key(entry),
					   __alignof__(struct blocks_key)));
	blocks_unlock(entry);
}

static struct kunit_case typed_cases[] = {
	KUNIT_CASE(keys_and_entries),
	KUNIT_CASE(shared_and_async),
	KUNIT_CASE(batches_and_walks),
	KUNIT_CASE(scope_guards),
	KUNIT_CASE(members_of_a_set),
	KUNIT_CASE(own_key_struct),
	{}
};

struct kunit_suite lmtest_typed_suite = {
	.name = "lockmap_typed",
	.init = lmtest_init,
	.test_cases = typed_cases,
};
