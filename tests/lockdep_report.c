// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What lockdep has to report: the order of keys against other locks, and against
 * memory reclaim
 *
 * lockdep reports once, and then turns itself off. So each case needs a boot of its
 * own, in which it is named by the parameter "report" of the module; else it skips
 * itself. tools/test does that, and has tools/vm/check-log look for one report, no
 * more and no fewer. What lockdep may not report is in lockdep.c. Both are only in
 * kernels that have PROVE_LOCKING.
 *
 * No case has tasks that wait for each other. lockdep has to hear of a call what it
 * may do, even if the key is free or absent, and before the call does it.
 */
#include <linux/moduleparam.h>
#include <linux/string.h>

#include "lockdep.h"

static char *report_case;
module_param_named(report, report_case, charp, 0444);
MODULE_PARM_DESC(report, "The case of lockmap_lockdep_report to run; it turns lockdep off");

/* In the order of a case: what is locked outside comes first, as long as nothing is wrong. */
static DEFINE_MUTEX(mutex);

/* A later lock or call is what lockdep has to report. */
static void expect_report_begin(struct kunit *test)
{
	KUNIT_ASSERT_TRUE(test, debug_locks);
	expect_told_begin("possible circular locking dependency detected");
}

static void expect_report_end(struct kunit *test)
{
	expect_warning_end();
	KUNIT_EXPECT_FALSE(test, debug_locks);
}

static int op_under_mutex(struct lockmap *map, enum op op, u64 n)
{
	unsigned long visits = 0;
	int ret;

	mutex_lock(&mutex);
	ret = lmtest_do_op(map, op, &n, sizeof(n), PATIENCE, &visits);
	mutex_unlock(&mutex);
	return ret;
}

static void mutex_under_key(struct kunit *test, struct lockmap *map, u64 n)
{
	struct lockmap_entry *entry = lmtest_hold(test, map, n);

	mutex_lock(&mutex);
	mutex_unlock(&mutex);
	lockmap_unlock(entry);
}

/* A call that finds no key, with the mutex held; then the mutex, with a key held. */
static void call_finds_nothing(struct kunit *test, enum op op)
{
	struct lockmap *map = lmtest_create_u64(test);

	op_under_mutex(map, op, 1);
	expect_report_begin(test);
	mutex_under_key(test, map, 2);
	expect_report_end(test);
}

static void lock_of_absent_key(struct kunit *test)
{
	call_finds_nothing(test, OP_LOCK);
}

static void prealloc_of_absent_key(struct kunit *test)
{
	call_finds_nothing(test, OP_LOCK_PREALLOC);
}

static void batch_of_absent_key(struct kunit *test)
{
	call_finds_nothing(test, OP_BATCH);
}

static void get_of_absent_key(struct kunit *test)
{
	call_finds_nothing(test, OP_GET);
}

/* contains may wait: for a key that another task holds, as get does. */
static void contains_of_absent_key(struct kunit *test)
{
	call_finds_nothing(test, OP_CONTAINS);
}

static void insert_of_absent_key(struct kunit *test)
{
	call_finds_nothing(test, OP_INSERT);
}

static void remove_of_absent_key(struct kunit *test)
{
	call_finds_nothing(test, OP_REMOVE);
}

static void walk_of_empty_map(struct kunit *test)
{
	call_finds_nothing(test, OP_FOR_EACH);
}

/* The mutex, with a key held; then a call that finds its key free, with the mutex held. */
static void call_finds_value(struct kunit *test, enum op op)
{
	struct lockmap *map = lmtest_create_u64(test);

	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 10), 0);
	mutex_under_key(test, map, 2);
	expect_report_begin(test);
	op_under_mutex(map, op, 1);
	expect_report_end(test);
}

static void lock_of_free_key(struct kunit *test)
{
	call_finds_value(test, OP_LOCK);
}

static void batch_of_free_key(struct kunit *test)
{
	call_finds_value(test, OP_BATCH);
}

static void get_of_free_key(struct kunit *test)
{
	call_finds_value(test, OP_GET);
}

static void contains_of_free_key(struct kunit *test)
{
	call_finds_value(test, OP_CONTAINS);
}

static void remove_of_free_key(struct kunit *test)
{
	call_finds_value(test, OP_REMOVE);
}

static int run_under_mutex(struct worker *w)
{
	lmtest_about_to_wait(w);
	op_under_mutex(w->map, w->op, w->key);
	return 0;
}

/* The same with a key that is held: the report comes before the call sleeps. */
static void call_sleeps(struct kunit *test, enum op op)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry;
	struct worker *w;

	mutex_under_key(test, map, 1);
	entry = lmtest_hold(test, map, 1);
	w = lmtest_worker_create(test, run_under_mutex, map, lmtest_op_name[op]);
	w->op = op;
	w->key = 1;
	expect_report_begin(test);
	lmtest_worker_start(test, w);
	lmtest_expect_waiting(test, w);
	expect_report_end(test);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
}

static void lock_before_it_sleeps(struct kunit *test)
{
	call_sleeps(test, OP_LOCK);
}

static void batch_before_it_sleeps(struct kunit *test)
{
	call_sleeps(test, OP_BATCH);
}

static void get_before_it_sleeps(struct kunit *test)
{
	call_sleeps(test, OP_GET);
}

static void contains_before_it_sleeps(struct kunit *test)
{
	call_sleeps(test, OP_CONTAINS);
}

static void remove_before_it_sleeps(struct kunit *test)
{
	call_sleeps(test, OP_REMOVE);
}

/* The mutex, with a batch locked; then a lock with the mutex held. */
static void mutex_under_batch(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_batch *batch = lockmap_batch_lock(map, lmtest_make_keys(test, 1, 3), 3);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	mutex_lock(&mutex);
	mutex_unlock(&mutex);
	lockmap_batch_unlock(batch);
	expect_report_begin(test);
	op_under_mutex(map, OP_LOCK, 2);
	expect_report_end(test);
}

/* The mutex, with the key of a trylock held; then a lock with the mutex held. */
static void mutex_under_trylock(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry = trylock_nr(map, 1);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	mutex_lock(&mutex);
	mutex_unlock(&mutex);
	lockmap_unlock(entry);
	expect_report_begin(test);
	op_under_mutex(map, OP_LOCK, 2);
	expect_report_end(test);
}

static int take_mutex(const void *key, size_t len, void *value, void *arg)
{
	mutex_lock(&mutex);
	mutex_unlock(&mutex);
	return 0;
}

/* The mutex, in a function that a walk calls; then a lock with the mutex held. */
static void mutex_in_walk(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);

	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 10), 0);
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, take_mutex, NULL), 0);
	expect_report_begin(test);
	op_under_mutex(map, OP_LOCK, 2);
	expect_report_end(test);
}

static void clone_under_mutex(void *dst, const void *src, void *priv)
{
	take_mutex(NULL, 0, NULL, NULL);
	memcpy(dst, src, sizeof(u64));
}

/* The mutex, in a function that get calls with the key locked; then a lock with the mutex held. */
static void mutex_in_clone(struct kunit *test)
{
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "cloned", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.clone = clone_under_mutex,
	});
	u64 value;

	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 10), 0);
	KUNIT_EXPECT_EQ(test, get_nr(map, 1, &value), 0);
	expect_report_begin(test);
	op_under_mutex(map, OP_LOCK, 2);
	expect_report_end(test);
}

/* Reclaim takes the mutex; a call that may allocate, but need not, is made with the mutex held. */
static void call_under_lock_of_reclaim(struct kunit *test, enum op op)
{
	struct lockmap *map = lmtest_create_u64(test);
	unsigned long visits = 0;
	u64 key = 1;

	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 10), 0);
	/* From now on there is a spare batch. */
	lmtest_do_op(map, op, &key, sizeof(key), PATIENCE, &visits);
	take_in_reclaim(&mutex);
	expect_report_begin(test);
	op_under_mutex(map, op, 1);
	expect_report_end(test);
}

static void lock_under_lock_of_reclaim(struct kunit *test)
{
	call_under_lock_of_reclaim(test, OP_LOCK);
}

static void batch_under_lock_of_reclaim(struct kunit *test)
{
	call_under_lock_of_reclaim(test, OP_BATCH);
}

static void insert_under_lock_of_reclaim(struct kunit *test)
{
	call_under_lock_of_reclaim(test, OP_INSERT);
}

/* The same when the call came first. */
static void lock_then_reclaim(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);

	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 10), 0);
	op_under_mutex(map, OP_LOCK, 1);
	expect_report_begin(test);
	take_in_reclaim(&mutex);
	expect_report_end(test);
}

/* A batch of no key allocates, too, if there is no spare one; here there is. */
static void empty_batch_under_lock_of_reclaim(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);

	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_lock(map, NULL, 0)), 0);
	take_in_reclaim(&mutex);
	expect_report_begin(test);
	mutex_lock(&mutex);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_lock(map, NULL, 0)), 0);
	mutex_unlock(&mutex);
	expect_report_end(test);
}

/* Reclaim takes a key; a batch may allocate for its second key with the first one locked. */
static void batch_allocates_under_a_key(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_key *keys = lmtest_make_keys(test, 1, 2);

	for (u64 n = 1; n < 4; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, 10), 0);
	take_key_in_reclaim(test, map, 3);
	expect_report_begin(test);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_lock(map, keys, 2)), 0);
	expect_report_end(test);
}

/* Keys of two maps, each with a class of its own: one inside the other, and the other way round. */
static void maps_both_ways(struct kunit *test)
{
	struct lockmap *a = lmtest_create_u64(test), *b = lmtest_create_u64(test);
	struct lockmap_entry *entry = lmtest_hold(test, a, 1);

	KUNIT_EXPECT_EQ(test, get_nr(b, 1, NULL), -ENOENT);
	lockmap_unlock(entry);
	entry = lmtest_hold(test, b, 1);
	expect_report_begin(test);
	KUNIT_EXPECT_EQ(test, get_nr(a, 1, NULL), -ENOENT);
	expect_report_end(test);
	lockmap_unlock(entry);
}

static int init_report(struct kunit *test)
{
	int err = lmtest_init(test);

	if (!err && (!report_case || strcmp(report_case, test->name)))
		kunit_skip(test, "needs a boot of its own");
	return err;
}

/* tools/test reads this list. */
static struct kunit_case report_cases[] = {
	KUNIT_CASE(lock_of_absent_key),
	KUNIT_CASE(prealloc_of_absent_key),
	KUNIT_CASE(batch_of_absent_key),
	KUNIT_CASE(get_of_absent_key),
	KUNIT_CASE(contains_of_absent_key),
	KUNIT_CASE(insert_of_absent_key),
	KUNIT_CASE(remove_of_absent_key),
	KUNIT_CASE(walk_of_empty_map),
	KUNIT_CASE(lock_of_free_key),
	KUNIT_CASE(batch_of_free_key),
	KUNIT_CASE(get_of_free_key),
	KUNIT_CASE(contains_of_free_key),
	KUNIT_CASE(remove_of_free_key),
	KUNIT_CASE(lock_before_it_sleeps),
	KUNIT_CASE(batch_before_it_sleeps),
	KUNIT_CASE(get_before_it_sleeps),
	KUNIT_CASE(contains_before_it_sleeps),
	KUNIT_CASE(remove_before_it_sleeps),
	KUNIT_CASE(mutex_under_batch),
	KUNIT_CASE(mutex_under_trylock),
	KUNIT_CASE(mutex_in_walk),
	KUNIT_CASE(mutex_in_clone),
	KUNIT_CASE(lock_under_lock_of_reclaim),
	KUNIT_CASE(batch_under_lock_of_reclaim),
	KUNIT_CASE(insert_under_lock_of_reclaim),
	KUNIT_CASE(lock_then_reclaim),
	KUNIT_CASE(empty_batch_under_lock_of_reclaim),
	KUNIT_CASE(batch_allocates_under_a_key),
	KUNIT_CASE(maps_both_ways),
	{}
};

static struct kunit_suite report_suite = {
	.name = "lockmap_lockdep_report",
	.init = init_report,
	.test_cases = report_cases,
};

kunit_test_suite(report_suite);
