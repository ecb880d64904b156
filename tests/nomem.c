// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Allocations that fail: a call works, or is refused and leaves no trace
 */
#include <linux/atomic.h>
#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/sched.h>

#include "fixture.h"

/*
 * The n-th allocation of this task fails, for n from 1 on, until the call makes
 * fewer than that.
 */

#define MAX_FAILS	400

#ifdef CONFIG_FAULT_INJECTION

/* Let the @n-th allocation from now on fail; 0 for none. */
static void fail_nth_allocation(unsigned int n)
{
	WRITE_ONCE(current->fail_nth, n);
}

/* How many allocations have to be made until one fails; 0 after it did */
static unsigned int nth_left(void)
{
	return READ_ONCE(current->fail_nth);
}

/* For a failslab with a task filter */
static void may_fail_here(bool on)
{
	current->make_it_fail = on;
}

#else /* all cases are skipped */

static void fail_nth_allocation(unsigned int n) { }
static unsigned int nth_left(void) { return 0; }
static void may_fail_here(bool on) { }

#endif

/* The settings of failslab, which only debugfs leads to */
static struct {
	bool *ignore_sleeping;
	bool *task_filter;
	unsigned long *probability;
	unsigned long *verbose;
	atomic_t *times;
	atomic_t *space;
} failslab;

static void *find_knob(const char *name)
{
	struct dentry *dir = debugfs_lookup("failslab", NULL);
	struct dentry *file;
	void *knob;

	/* An error without CONFIG_DEBUG_FS. */
	if (IS_ERR_OR_NULL(dir))
		return NULL;
	file = debugfs_lookup(name, dir);
	knob = file ? d_inode(file)->i_private : NULL;
	dput(file);
	dput(dir);
	return knob;
}

static void failslab_reset(void *unused)
{
	*failslab.ignore_sleeping = true;
	*failslab.task_filter = false;
	*failslab.probability = 0;
	*failslab.verbose = 2;
	atomic_set(failslab.times, 1);
	atomic_set(failslab.space, 0);
}

/* Skip the case on a kernel without failslab. */
static void failslab_setup(struct kunit *test)
{
	failslab.ignore_sleeping = find_knob("ignore-gfp-wait");
	failslab.task_filter = find_knob("task-filter");
	failslab.probability = find_knob("probability");
	failslab.verbose = find_knob("verbose");
	failslab.times = find_knob("times");
	failslab.space = find_knob("space");
	if (!IS_ENABLED(CONFIG_FAULT_INJECTION) || !failslab.ignore_sleeping ||
	    !failslab.task_filter || !failslab.probability || !failslab.verbose ||
	    !failslab.times || !failslab.space)
		kunit_skip(test, "no failslab in debugfs");

	KUNIT_ASSERT_EQ(test, kunit_add_action(test, failslab_reset, NULL), 0);
	*failslab.ignore_sleeping = false;
	*failslab.verbose = 0;
	atomic_set(failslab.times, -1);
}

/* Let all allocations of this task fail, and none of others. */
static void fail_everything(bool on)
{
	*failslab.task_filter = true;
	*failslab.probability = on ? 100 : 0;
	may_fail_here(on);
}

/*
 * Let the allocations of all tasks fail, after those that fit into so many bytes
 * together. In between nothing may be printed or started that needs memory.
 */
static void fail_everywhere(int bytes)
{
	atomic_set(failslab.space, bytes);
	*failslab.task_filter = false;
	*failslab.probability = 100;
}

static void fail_nowhere(void)
{
	*failslab.probability = 0;
	atomic_set(failslab.space, 0);
}

/* A map with one table, which begins small. */
static struct lockmap *create_small(struct kunit *test)
{
	return lmtest_create(test, &(struct lockmap_params) {
		.name = "nomem", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.nr_shards = 1,
	});
}

static void reserve_memory(struct kunit *test, struct lockmap *map, struct lockmap_prealloc **pre,
			   unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		pre[i] = lockmap_prealloc(map, GFP_KERNEL);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, pre[i]);
	}
}

static void create_fails_cleanly(struct kunit *test)
{
	const struct lockmap_params params = {
		.name = "nomem", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.nr_shards = 2,
	};
	unsigned int n, left = 0, refused = 0;

	failslab_setup(test);
	/* Slab caches and the page allocator may warn. */
	expect_warning_begin();
	for (n = 1; n < MAX_FAILS && !left; n++) {
		struct lockmap *map;

		fail_nth_allocation(n);
		map = lockmap_create(&params);
		left = nth_left();
		fail_nth_allocation(0);
		KUNIT_EXPECT_NOT_NULL(test, map);
		if (IS_ERR_OR_NULL(map)) {
			KUNIT_EXPECT_EQ_MSG(test, PTR_ERR(map), -ENOMEM, "allocation %u", n);
			KUNIT_EXPECT_EQ_MSG(test, left, 0, "allocation %u did not fail", n);
			refused++;
			continue;
		}
		KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 1), 0);
		lockmap_destroy(map);
	}
	expect_warning_end();
	KUNIT_EXPECT_NE(test, left, 0);
	KUNIT_EXPECT_GT(test, refused, 0);
	kunit_info(test, "%u allocations, %u of which must not fail", n - 2, refused);
}

/* A call with new keys either works, or is refused and leaves no trace. */
static void fail_op(struct kunit *test, enum op op)
{
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "nomem", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.max_idle = 1, .nr_shards = 1,
	});
	bool may_fail = !op_misses(op) && op != OP_CONTAINS &&
			op != OP_FOR_EACH && op != OP_RETAIN && op != OP_CLEAR;
	unsigned int refused = 0;
	unsigned long visits = 0;

	KUNIT_EXPECT_EQ(test, insert_nr(map, 1 << 20, 1), 0);
	for (u64 key = 0; key < 60; key++) {
		unsigned int left = 0;

		for (unsigned int n = 1; n < MAX_FAILS && !left; n++) {
			size_t len = lockmap_len(map);
			u64 raw = key;
			int ret;

			fail_nth_allocation(n);
			ret = lmtest_do_op(map, op, &raw, sizeof(raw), HZ, &visits);
			left = nth_left();
			fail_nth_allocation(0);
			if (ret == -ENOMEM && !left && may_fail) {
				refused++;
				KUNIT_EXPECT_EQ(test, lockmap_len(map), len);
				KUNIT_EXPECT_FALSE(test, contains_nr(map, key));
				KUNIT_EXPECT_EQ(test, trylock_error(map, key), 0);
				continue;
			}
			if (op_misses(op))
				KUNIT_EXPECT_EQ_MSG(test, ret, -ENOENT, "%s", lmtest_op_name[op]);
			else
				KUNIT_EXPECT_TRUE_MSG(test, ret == 0 || ret == 1, "%s: %d",
						      lmtest_op_name[op], ret);
			KUNIT_EXPECT_EQ(test, trylock_error(map, key), 0);
		}
		KUNIT_EXPECT_NE_MSG(test, left, 0, "%s never succeeds", lmtest_op_name[op]);
		KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, key)), 0);
	}
	if (may_fail && op != OP_TRYLOCK && op != OP_TRYLOCK_SHARED && op != OP_LOCK_ASYNC)
		KUNIT_EXPECT_GT_MSG(test, refused, 0, "%s", lmtest_op_name[op]);
	lmtest_destroy(test, map);
}

static void every_call_fails_cleanly(struct kunit *test)
{
	failslab_setup(test);
	expect_warning_begin();
	for (enum op op = 0; op < NR_OPS; op++)
		fail_op(test, op);
	expect_warning_end();
}

/* A batch that gets no memory for one of its keys locks none of them. */
static void batch_fails_cleanly(struct kunit *test)
{
	struct lockmap_key *keys = lmtest_make_keys(test, 0, 20);
	unsigned int refused = 0;

	failslab_setup(test);
	expect_warning_begin();
	for (unsigned int try = 0; try < 2; try++) {
		unsigned int left = 0;

		for (unsigned int n = 1; n < MAX_FAILS && !left; n++) {
			struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
				.name = "nomem", .key_len = sizeof(u64),
				.value_len = sizeof(u64), .max_idle = 1, .nr_shards = 1,
			});
			struct lockmap_batch *batch;

			fail_nth_allocation(n);
			batch = try ? lockmap_batch_trylock(map, keys, 20) :
				      lockmap_batch_lock(map, keys, 20);
			left = nth_left();
			fail_nth_allocation(0);
			if (IS_ERR_OR_NULL(batch)) {
				KUNIT_EXPECT_EQ(test, PTR_ERR(batch), -ENOMEM);
				KUNIT_EXPECT_EQ(test, left, 0);
				refused++;
			} else {
				KUNIT_EXPECT_EQ(test, batch->nr, 20);
				lockmap_batch_unlock(batch);
			}
			lmtest_expect_unlocked(test, map, 0, 19);
			KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
			lmtest_destroy(test, map);
		}
		KUNIT_EXPECT_NE(test, left, 0);
	}
	expect_warning_end();
	KUNIT_EXPECT_GT(test, refused, 2);
}

/*
 * Without any memory, keys can be locked with memory from before, however many they are;
 * keys that have a value can be read, locked and removed; walks work.
 */
static void some_calls_need_no_memory(struct kunit *test)
{
	unsigned int nr = 2000, failures = 0;
	struct lockmap_prealloc **pre = lmtest_zalloc(test, nr * sizeof(*pre));
	struct lockmap_entry *entry;
	unsigned long visits = 0;
	struct lockmap *map;
	int ret[3];
	u64 value;

	failslab_setup(test);
	map = create_small(test);
	reserve_memory(test, map, pre, nr);

	fail_everything(true);
	for (u64 n = 0; n < nr; n++) {
		entry = prealloc_nr(map, n, &pre[n]);
		if (IS_ERR_OR_NULL(entry)) {
			failures++;
			continue;
		}
		lockmap_entry_insert(entry, &n, NULL);
		lockmap_unlock(entry);
	}
	for (u64 n = 0; n < nr; n++) {
		failures += get_nr(map, n, &value) || value != n;
		failures += lock_error(lock_nr(map, n)) != 0;
		failures += lock_error(present_nr(map, n)) != 0;
		failures += trylock_error(map, n) != 0;
		failures += insert_nr(map, n, n) != 1;
	}
	ret[0] = lockmap_for_each(map, lmtest_count_visit, &visits);
	ret[1] = lockmap_retain(map, lmtest_keep_even, NULL);
	for (u64 n = 0; n < nr; n += 4)
		failures += remove_nr(map, n) != 0;
	ret[2] = lockmap_clear(map);
	fail_everything(false);

	KUNIT_EXPECT_EQ(test, failures, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(ret); i++)
		KUNIT_EXPECT_EQ(test, ret[i], 0);
	KUNIT_EXPECT_EQ(test, visits, nr);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
	lmtest_expect_usable(test, map, "memory is back");
}

#define RESERVED		400
/* Enough for an entry, too little for a table. */
#define SMALL_ALLOCATION	300

static void never_granted(struct lockmap_request *req, struct lockmap_entry *entry)
{
}

static int request_error(struct lockmap *map, u64 n)
{
	struct lockmap_request req = { .granted = never_granted };

	return lock_error(lockmap_lock_async(map, &n, sizeof(n), &req));
}

/*
 * The same while the worker that makes tables larger gets no memory either: locks with
 * memory from before return at once; other locks wait for a while, and are refused.
 */
static void tables_that_cannot_grow(struct kunit *test)
{
	struct lockmap_prealloc **pre = lmtest_zalloc(test, RESERVED * sizeof(*pre));
	unsigned int failures = 0;
	u64 begin, longest = 0, refused, value;
	int plain, insert, async, try;
	struct lockmap_entry *entry;
	struct lockmap *map;

	failslab_setup(test);
	map = create_small(test);
	reserve_memory(test, map, pre, RESERVED);

	fail_everywhere(0);
	for (u64 n = 0; n < RESERVED; n++) {
		begin = ktime_get_ns();
		entry = prealloc_nr(map, n, &pre[n]);
		longest = max(longest, ktime_get_ns() - begin);
		if (IS_ERR_OR_NULL(entry)) {
			failures++;
			continue;
		}
		lockmap_entry_insert(entry, &n, NULL);
		lockmap_unlock(entry);
	}
	/* There is memory for an entry, and none for a table. */
	fail_everywhere(SMALL_ALLOCATION);
	try = trylock_error(map, RESERVED + 1);
	fail_everywhere(SMALL_ALLOCATION);
	async = request_error(map, RESERVED + 1);
	fail_everywhere(SMALL_ALLOCATION);
	begin = ktime_get_ns();
	plain = lock_error(lock_nr(map, RESERVED + 2));
	refused = ktime_get_ns() - begin;
	fail_everywhere(SMALL_ALLOCATION);
	insert = insert_nr(map, RESERVED + 3, 1);
	fail_nowhere();

	KUNIT_EXPECT_EQ(test, failures, 0);
	/* To wait for the table's worker, which gets no memory, takes for ever. */
	KUNIT_EXPECT_LT(test, longest, NSEC_PER_SEC / 10);
	KUNIT_EXPECT_EQ(test, try, -ENOMEM);
	KUNIT_EXPECT_EQ(test, async, -ENOMEM);
	KUNIT_EXPECT_EQ(test, plain, -ENOMEM);
	KUNIT_EXPECT_EQ(test, insert, -ENOMEM);
	KUNIT_EXPECT_GE(test, refused, 900ULL * NSEC_PER_MSEC);
	KUNIT_EXPECT_LE(test, refused, 10ULL * NSEC_PER_SEC);
	kunit_info(test, "%u locks, the longest %llu ns; one refused after %llu ms", RESERVED,
		   longest, div_u64(refused, NSEC_PER_MSEC));
	KUNIT_EXPECT_EQ(test, lockmap_len(map), RESERVED);
	for (u64 n = 0; n < RESERVED; n++) {
		KUNIT_EXPECT_EQ(test, get_nr(map, n, &value), 0);
		KUNIT_EXPECT_EQ(test, value, n);
	}
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
	lmtest_expect_usable(test, map, "memory is back");
}

/* A walk has to keep the key that it has come to, however long the key is. */
static void walk_over_long_keys_needs_none(struct kunit *test)
{
	struct lockmap *map;
	unsigned long visits = 0;
	u8 key[200] = { };
	int ret;

	failslab_setup(test);
	map = lmtest_create(test, &(struct lockmap_params) {
		.name = "nomem", .key_len = sizeof(key), .value_len = sizeof(u64),
	});
	for (unsigned int n = 0; n < 100; n++) {
		key[199] = n;
		KUNIT_EXPECT_EQ(test, lockmap_insert(map, key, sizeof(key), NULL, NULL), 0);
	}
	fail_everything(true);
	ret = lockmap_for_each(map, lmtest_count_visit, &visits);
	fail_everything(false);
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_EQ(test, visits, 100);
}

static struct kunit_case nomem_cases[] = {
	KUNIT_CASE_SLOW(create_fails_cleanly),
	KUNIT_CASE_SLOW(every_call_fails_cleanly),
	KUNIT_CASE_SLOW(batch_fails_cleanly),
	KUNIT_CASE_SLOW(some_calls_need_no_memory),
	KUNIT_CASE_SLOW(tables_that_cannot_grow),
	KUNIT_CASE(walk_over_long_keys_needs_none),
	{}
};

struct kunit_suite lmtest_nomem_suite = {
	.name = "lockmap_nomem",
	.init = lmtest_init,
	.test_cases = nomem_cases,
};
