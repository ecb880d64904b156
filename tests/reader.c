// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Reads and lookups that take no lock
 */
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/string.h>

#include "worker.h"

/* A value whose words are all the same */
struct wide {
	u64 word[8];
};

static void fill_wide(struct wide *v, u64 x)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(v->word); i++)
		v->word[i] = x;
}

static bool is_whole(const struct wide *v)
{
	for (unsigned int i = 1; i < ARRAY_SIZE(v->word); i++)
		if (v->word[i] != v->word[0])
			return false;
	return true;
}

/*
 * Threads that change a value without a pause, each time under its lock, do not
 * keep a reader from it. The reader sees no half of a change.
 */
static int change_always(struct worker *w)
{
	u64 key = 1;

	lmtest_wait_at_gate(w);
	while (!lmtest_must_stop(w)) {
		struct lockmap_entry *entry = lockmap_lock(w->map, &key, sizeof(key));
		struct wide *v;

		if (IS_ERR_OR_NULL(entry))
			return PTR_ERR(entry) ?: -EFAULT;
		v = lockmap_entry_get_or_insert(entry, NULL);
		fill_wide(v, v->word[0] + 1);
		lockmap_unlock(entry);
	}
	return 0;
}

static int read_often(struct worker *w)
{
	u64 key = 1, last = 0;

	lmtest_wait_at_gate(w);
	for (w->count = 0; w->count < w->nr; w->count++) {
		u64 begin = ktime_get_ns();
		struct wide v;
		int ret;

		ret = lockmap_get(w->map, &key, sizeof(key), &v);
		if (ret)
			return ret;
		w->longest = max(w->longest, ktime_get_ns() - begin);
		w->errors += !is_whole(&v) || v.word[0] < last;
		last = v.word[0];
		resched_if_needed();
	}
	w->key = last;
	return 0;
}

static void readers_get_their_turn(struct kunit *test)
{
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "turn", .key_len = sizeof(u64), .value_len = sizeof(struct wide),
	});
	u64 key = 1;
	struct worker *reader;

	KUNIT_EXPECT_EQ(test, lockmap_insert(map, &key, sizeof(key), NULL, NULL), 0);
	for (unsigned int t = 0; t < 3; t++)
		lmtest_worker_start(test, lmtest_worker_create(test, change_always, map,
							       "writer"));
	reader = lmtest_worker_create(test, read_often, map, "reader");
	reader->nr = scaled(200000);
	lmtest_worker_start(test, reader);
	lmtest_open_gate(test);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, reader), 0);
	lmtest_stop_workers(test);
	lmtest_join_all(test);
	KUNIT_EXPECT_EQ(test, reader->errors, 0);
	KUNIT_EXPECT_EQ(test, reader->count, reader->nr);
	KUNIT_EXPECT_LT(test, reader->longest, NSEC_PER_SEC);
	kunit_info(test, "%lu reads during %llu changes, the longest took %llu us", reader->count,
		   reader->key, div_u64(reader->longest, NSEC_PER_USEC));
}

/*
 * A lookup compares keys without a lock. It may still do so when the entry is
 * another key's already: then the memory of its long key, which is not part of
 * the entry, has to be there until the lookup is over. Here a lookup on one CPU
 * takes its time to compare, while another CPU frees the entry.
 */

/**
 * struct slow_lookup - a lookup that takes its time; there is one at a time
 * @task: the next comparison of this task is slow
 * @begun: it compares
 * @over: entries were freed meanwhile: it may go on
 * @changed: the key that it compares did not stay as it was
 */
static struct slow_lookup {
	struct task_struct *task;
	bool begun;
	bool over;
	bool changed;
} slow_lookup;

static int cmp_slowly(const void *a, size_t a_len, const void *b, size_t b_len, void *priv)
{
	u8 was[128] = {};

	if (READ_ONCE(slow_lookup.task) == current) {
		WRITE_ONCE(slow_lookup.task, NULL);
		memcpy(was, a, min(a_len, sizeof(was)));
		WRITE_ONCE(slow_lookup.begun, true);
		for (unsigned int ms = 0; ms < 3000 && !READ_ONCE(slow_lookup.over); ms++)
			mdelay(1);
		slow_lookup.changed = memcmp(was, a, min(a_len, sizeof(was)));
	}
	return memcmp(a, b, min(a_len, b_len)) ?: (a_len > b_len) - (a_len < b_len);
}

static int lock_long(struct lockmap *map, u32 n)
{
	u8 key[100];

	memset(key, n, sizeof(key));
	put_unaligned(n, (u32 *)key);
	return lock_error(lockmap_lock(map, key, sizeof(key)));
}

static int look_up_slowly(struct worker *w)
{
	set_cpus_allowed_ptr(current, cpumask_of(cpumask_first(cpu_online_mask)));
	WRITE_ONCE(slow_lookup.task, current);
	return lock_long(w->map, 1);
}

/* With max_idle 1, each new key frees an idle entry and its key, and reuses the memory. */
static int free_idle_entries(struct worker *w)
{
	int err = 0;

	set_cpus_allowed_ptr(current, cpumask_of(cpumask_last(cpu_online_mask)));
	lmtest_wait_at_gate(w);
	for (u32 n = 2; n < 2000 && !err; n++) {
		err = lock_long(w->map, n);
		resched_if_needed();
	}
	WRITE_ONCE(slow_lookup.over, true);
	return err;
}

static void long_key_outlives_lookup(struct kunit *test)
{
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "slow", .key_len = 100, .flags = LOCKMAP_VAR_KEY, .cmp = cmp_slowly,
		.max_idle = 1, .nr_shards = 1,
	});
	unsigned long end = jiffies + PATIENCE;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	memset(&slow_lookup, 0, sizeof(slow_lookup));
	KUNIT_EXPECT_EQ(test, lock_long(map, 1), 0);
	lmtest_worker_start(test, lmtest_worker_create(test, free_idle_entries, map,
						       "free idle entries"));
	lmtest_worker_start(test, lmtest_worker_create(test, look_up_slowly, map, "slow lookup"));
	while (!READ_ONCE(slow_lookup.begun) && time_before(jiffies, end))
		usleep_range(50, 100);
	lmtest_open_gate(test);
	lmtest_join_all(test);
	KUNIT_EXPECT_TRUE(test, slow_lookup.begun);
	KUNIT_EXPECT_TRUE(test, slow_lookup.over);
	KUNIT_EXPECT_FALSE(test, slow_lookup.changed);
}

static struct kunit_case reader_cases[] = {
	KUNIT_CASE(readers_get_their_turn),
	KUNIT_CASE(long_key_outlives_lookup),
	{}
};

struct kunit_suite lmtest_reader_suite = {
	.name = "lockmap_reader",
	.init = lmtest_init,
	.test_cases = reader_cases,
};
