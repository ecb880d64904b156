// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What lockdep may not report, and what lockmap reports in its place: keys of a map
 * out of order, and two maps of one class
 *
 * After a report of its own lockdep is off, so each case looks whether it still is
 * on. What it has to report is in lockdep_report.c. A case has mutexes and classes
 * of its own, as lockdep puts together what it learns from all of them.
 */
#include "lockdep.h"

static struct lockmap *create_with_class(struct kunit *test, struct lock_class_key *class,
					 gfp_t gfp)
{
	return lmtest_create(test, &(struct lockmap_params) {
		.name = "own_class", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.nr_shards = 2, .gfp = gfp, .lock_key = class,
	});
}

/* Make all calls that may wait, for a key without a value and for one with. */
static void do_all_ops(struct kunit *test, struct lockmap *map, u64 n)
{
	unsigned long visits = 0;

	for (enum op op = 0; op < NR_WAIT_OPS; op++) {
		remove_nr(map, n);
		lmtest_do_op(map, op, &n, sizeof(n), PATIENCE, &visits);
		KUNIT_EXPECT_GE(test, insert_nr(map, n, 10), 0);
		lmtest_do_op(map, op, &n, sizeof(n), PATIENCE, &visits);
		KUNIT_EXPECT_TRUE_MSG(test, debug_locks, "%s", lmtest_op_name[op]);
	}
}

/* In one order, whichever. */

static void keys_under_mutex(struct kunit *test)
{
	static struct lock_class_key class;
	static DEFINE_MUTEX(mutex);
	struct lockmap *map = create_with_class(test, &class, 0);

	mutex_lock(&mutex);
	do_all_ops(test, map, 1);
	mutex_unlock(&mutex);
}

static void mutex_under_keys(struct kunit *test)
{
	static struct lock_class_key class;
	static DEFINE_MUTEX(mutex);
	struct lockmap *map = create_with_class(test, &class, 0);
	struct lockmap_entry *entry = lmtest_hold(test, map, 1);
	struct lockmap_batch *batch = lockmap_batch_lock(map, lmtest_make_keys(test, 2, 3), 3);

	mutex_lock(&mutex);
	mutex_unlock(&mutex);
	lockmap_batch_unlock(batch);
	lockmap_unlock(entry);
	do_all_ops(test, map, 1);
}

/* A call that never waits may be made in any order. */
static void trylock_in_any_order(struct kunit *test)
{
	static struct lock_class_key class;
	static DEFINE_MUTEX(mutex);
	struct lockmap *map = create_with_class(test, &class, 0);
	struct lockmap_key *keys = lmtest_make_keys(test, 1, 3);
	struct lockmap_entry *entry = lmtest_hold(test, map, 9);

	mutex_lock(&mutex);
	mutex_unlock(&mutex);
	KUNIT_EXPECT_EQ(test, trylock_error(map, 1), 0);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_trylock(map, keys, 3)), 0);
	lockmap_unlock(entry);
	mutex_lock(&mutex);
	KUNIT_EXPECT_EQ(test, trylock_error(map, 1), 0);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_trylock(map, keys, 3)), 0);
	mutex_unlock(&mutex);
	KUNIT_EXPECT_TRUE(test, debug_locks);
}

/* A lock that belongs to no task is none that lockdep can follow. */
static void disowned_key_in_any_order(struct kunit *test)
{
	static struct lock_class_key class;
	static DEFINE_MUTEX(mutex);
	struct lockmap *map = create_with_class(test, &class, 0);
	struct lockmap_entry *entry;

	mutex_lock(&mutex);
	entry = lmtest_hold(test, map, 5);
	lockmap_entry_disown(entry);
	mutex_unlock(&mutex);
	KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, 1)), 0);
	mutex_lock(&mutex);
	lockmap_unlock(entry);
	mutex_unlock(&mutex);
	KUNIT_EXPECT_TRUE(test, debug_locks);
}

/* Memory reclaim. */

/* All calls, where the map's parameters or the task say that reclaim does not take the mutex. */
static void calls_under_lock_of_reclaim(struct kunit *test)
{
	static struct lock_class_key class[3];
	static DEFINE_MUTEX(mutex);
	struct lockmap *nofs = create_with_class(test, &class[0], GFP_NOFS);
	struct lockmap *noio = create_with_class(test, &class[1], GFP_NOIO | __GFP_ACCOUNT);
	struct lockmap *map = create_with_class(test, &class[2], 0);
	struct lockmap_key *keys = lmtest_make_keys(test, 3, 3);
	unsigned int flags;

	take_in_reclaim(&mutex);
	mutex_lock(&mutex);
	/* The memory for lockmap_lock_prealloc() is allocated with GFP_KERNEL here. */
	flags = memalloc_nofs_save();
	do_all_ops(test, map, 1);
	memalloc_nofs_restore(flags);
	for (u64 n = 1; n < 4; n++) {
		KUNIT_EXPECT_EQ(test, insert_nr(nofs, n, 1), 0);
		KUNIT_EXPECT_EQ(test, lock_error(lock_nr(noio, n)), 0);
	}
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_lock(noio, keys, 3)), 0);
	mutex_unlock(&mutex);
	KUNIT_EXPECT_TRUE(test, debug_locks);
}

/* Calls that allocate nothing, or do not reclaim. */
static void calls_that_need_no_memory(struct kunit *test)
{
	static struct lock_class_key class;
	static DEFINE_MUTEX(mutex);
	struct lockmap *map = create_with_class(test, &class, 0);
	struct lockmap_key *keys = lmtest_make_keys(test, 7, 3);
	struct lockmap_prealloc *pre = lockmap_prealloc(map, GFP_KERNEL);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, pre);
	KUNIT_EXPECT_EQ(test, insert_nr(map, 2, 20), 0);
	take_in_reclaim(&mutex);
	mutex_lock(&mutex);
	KUNIT_EXPECT_EQ(test, lock_error(prealloc_nr(map, 1, &pre)), 0);
	KUNIT_EXPECT_NULL(test, pre);
	KUNIT_EXPECT_EQ(test, lock_error(present_nr(map, 1)), -ENOENT);
	KUNIT_EXPECT_EQ(test, get_nr(map, 1, NULL), -ENOENT);
	KUNIT_EXPECT_TRUE(test, contains_nr(map, 2));
	KUNIT_EXPECT_EQ(test, remove_nr(map, 2), 0);
	KUNIT_EXPECT_EQ(test, trylock_error(map, 3), 0);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_trylock(map, keys, 3)), 0);
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
	mutex_unlock(&mutex);
	KUNIT_EXPECT_TRUE(test, debug_locks);
}

/* Reclaim takes keys: of a map that does not reclaim, or that does so with no key locked. */
static void keys_in_reclaim(struct kunit *test)
{
	static struct lock_class_key class[2];
	struct lockmap *nofs = create_with_class(test, &class[0], GFP_NOFS);
	struct lockmap *map = create_with_class(test, &class[1], 0);
	struct lockmap_key *keys = lmtest_make_keys(test, 1, 3);
	const struct lockmap_key same[] = { keys[0], keys[0] };

	take_key_in_reclaim(test, nofs, 1);
	take_key_in_reclaim(test, map, 1);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_lock(nofs, keys, 3)), 0);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_lock(map, keys, 1)), 0);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_lock(map, same, 2)), 0);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_trylock(map, keys, 3)), 0);
	do_all_ops(test, map, 1);
	KUNIT_EXPECT_TRUE(test, debug_locks);
}

/* The order of keys. */

/* Lockmap has told of it, and lockdep has not. */
static void expect_told_end(struct kunit *test)
{
	expect_warning_end();
	KUNIT_EXPECT_TRUE(test, debug_locks);
}

#define OUT_OF_ORDER	"may wait for a key while it holds one that sorts after it"

/* Each call for a smaller key than one that is held, by itself or in a batch, is told of. */
static void smaller_key_is_told(struct kunit *test)
{
	struct lockmap_key *keys = lmtest_make_keys(test, 3, 5);
	const struct lockmap_key apart[] = { keys[4], keys[0], keys[2] };
	unsigned long visits = 0;

	for (unsigned int i = 0; i < 2 * NR_KEY_OPS; i++) {
		struct lockmap *map = lmtest_create_u64(test);
		struct lockmap_batch *batch = NULL;
		struct lockmap_entry *entry = NULL;
		u64 key = 4;

		if (i % 2)
			batch = lockmap_batch_lock(map, apart, ARRAY_SIZE(apart));
		else
			entry = lmtest_hold(test, map, 5);
		expect_told_begin(OUT_OF_ORDER);
		lmtest_do_op(map, i / 2, &key, sizeof(key), PATIENCE, &visits);
		expect_told_end(test);
		/* It is told once for each map. */
		lmtest_do_op(map, i / 2, &key, sizeof(key), PATIENCE, &visits);
		lockmap_batch_unlock(batch);
		lockmap_unlock(entry);
		lmtest_destroy(test, map);
	}
}

/* A batch with a smaller key than one that is held, also if its others are larger. */
static void smaller_key_in_batch_is_told(struct kunit *test)
{
	struct lockmap_key *keys = lmtest_make_keys(test, 1, 9);
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_batch *batch;
	struct lockmap_entry *entry = lmtest_hold(test, map, 5);

	expect_told_begin(OUT_OF_ORDER);
	batch = lockmap_batch_lock(map, (struct lockmap_key []) { keys[8], keys[2] }, 2);
	expect_told_end(test);
	lockmap_batch_unlock(batch);
	lockmap_unlock(entry);

	/* the other way round, in batches of one */
	map = lmtest_create_u64(test);
	batch = lockmap_batch_lock(map, &keys[8], 1);
	expect_told_begin(OUT_OF_ORDER);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_lock(map, &keys[4], 1)), 0);
	expect_told_end(test);
	lockmap_batch_unlock(batch);
}

/* The keys of a trylock count as well: a task that holds one may be waited for. */
static void smaller_key_than_trylocked_is_told(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_batch *batch;

	/* lockdep itself looks at two keys of a class the first time only; then in order. */
	for (u64 n = 10; n > 0; n--) {
		struct lockmap_entry *entry = lmtest_hold(test, map, n);

		KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, n + 1)), 0);
		KUNIT_EXPECT_EQ(test, lock_error(trylock_nr(map, n - 1)), 0);
		lockmap_unlock(entry);
	}
	batch = lockmap_batch_trylock(map, lmtest_make_keys(test, 4, 3), 3);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	expect_told_begin(OUT_OF_ORDER);
	KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, 3)), 0);
	expect_told_end(test);
	lockmap_batch_unlock(batch);
}

/* Ascending order is not told of, across batches, single locks, and calls that hold nothing. */
static void ascending_order(struct kunit *test)
{
	static struct lock_class_key class;
	struct lockmap *map = create_with_class(test, &class, 0);
	struct lockmap_entry *entry[3];
	struct lockmap_batch *batch[2];

	entry[0] = lmtest_hold(test, map, 1);
	batch[0] = lockmap_batch_lock(map, lmtest_make_keys(test, 2, 3), 3);
	entry[1] = lmtest_hold(test, map, 5);
	batch[1] = lockmap_batch_lock(map, lmtest_make_keys(test, 6, 60), 60);
	KUNIT_EXPECT_EQ(test, get_nr(map, 66, NULL), -ENOENT);
	KUNIT_EXPECT_FALSE(test, contains_nr(map, 66));
	KUNIT_EXPECT_EQ(test, insert_nr(map, 66, 1), 0);
	KUNIT_EXPECT_EQ(test, remove_nr(map, 66), 0);
	entry[2] = lmtest_hold(test, map, 66);
	/* A key that the task holds itself is refused, and a walk, too. */
	KUNIT_EXPECT_EQ(test, get_nr(map, 66, NULL), -EDEADLK);
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), -EDEADLK);
	lockmap_unlock(entry[0]);
	lockmap_batch_unlock(batch[0]);
	lockmap_batch_unlock(batch[1]);
	lockmap_unlock(entry[1]);
	lockmap_unlock(entry[2]);
	KUNIT_EXPECT_TRUE(test, debug_locks);
}

/* Two maps. */

static void destroy_map(void *map)
{
	lockmap_destroy(map);
}

/* One call of lockmap_create() for all maps that it makes. */
static struct lockmap *create_at_one_site(struct kunit *test, struct lock_class_key *class)
{
	struct lockmap *map = lockmap_create(&(struct lockmap_params) {
		.name = "one_site", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.nr_shards = 2, .lock_key = class,
	});

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, destroy_map, map), 0);
	return map;
}

/* Each call for a key of one map, with a key of another map of the same site held, is told of. */
static void maps_of_one_site_are_told(struct kunit *test)
{
	struct lockmap *map = create_at_one_site(test, NULL);
	struct lockmap_entry *entry = lmtest_hold(test, map, 1);
	unsigned long visits = 0;
	u64 key = 2;

	for (enum op op = 0; op < NR_WAIT_OPS; op++) {
		struct lockmap *other = create_at_one_site(test, NULL);

		expect_told_begin("holds one of another map from the same lockmap_create()");
		lmtest_do_op(other, op, &key, sizeof(key), PATIENCE, &visits);
		expect_told_end(test);
		KUNIT_EXPECT_EQ(test, trylock_error(other, 1), 0);
		kunit_release_action(test, destroy_map, other);
	}
	lockmap_unlock(entry);
}

/* With a class for each map it is fine to hold keys of both, in one order. */
static void maps_with_classes(struct kunit *test)
{
	static struct lock_class_key class[2];
	struct lockmap *a = create_at_one_site(test, &class[0]);
	struct lockmap *b = create_at_one_site(test, &class[1]);
	struct lockmap_entry *entry = lmtest_hold(test, a, 9);

	do_all_ops(test, b, 1);
	lockmap_unlock(entry);
	do_all_ops(test, a, 1);
	KUNIT_EXPECT_TRUE(test, debug_locks);
}

/* Maps of one site whose keys are never held together need no classes. */
static void maps_of_one_site_in_turn(struct kunit *test)
{
	struct lockmap *a = create_at_one_site(test, NULL), *b = create_at_one_site(test, NULL);

	for (unsigned int i = 0; i < 2; i++) {
		struct lockmap_entry *entry = lmtest_hold(test, i ? a : b, 9);

		lockmap_unlock(entry);
		do_all_ops(test, i ? b : a, 1);
	}
	KUNIT_EXPECT_TRUE(test, debug_locks);
}

static int init_lockdep(struct kunit *test)
{
	int err = lmtest_init(test);

	KUNIT_ASSERT_TRUE(test, debug_locks);
	return err;
}

static struct kunit_case lockdep_cases[] = {
	KUNIT_CASE(keys_under_mutex),
	KUNIT_CASE(mutex_under_keys),
	KUNIT_CASE(trylock_in_any_order),
	KUNIT_CASE(disowned_key_in_any_order),
	KUNIT_CASE(calls_under_lock_of_reclaim),
	KUNIT_CASE(calls_that_need_no_memory),
	KUNIT_CASE(keys_in_reclaim),
	KUNIT_CASE(smaller_key_is_told),
	KUNIT_CASE(smaller_key_in_batch_is_told),
	KUNIT_CASE(smaller_key_than_trylocked_is_told),
	KUNIT_CASE(ascending_order),
	KUNIT_CASE(maps_of_one_site_are_told),
	KUNIT_CASE(maps_with_classes),
	KUNIT_CASE(maps_of_one_site_in_turn),
	{}
};

static struct kunit_suite lockdep_suite = {
	.name = "lockmap_lockdep",
	.init = init_lockdep,
	.test_cases = lockdep_cases,
};

kunit_test_suite(lockdep_suite);
