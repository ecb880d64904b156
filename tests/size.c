// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The number of values, and tables that grow and shrink with it
 */
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/prandom.h>

#include "worker.h"

#define NR_STABLE	1000

/* Read and lock keys that have values all the time. */
static int read_stable(struct worker *w)
{
	lmtest_wait_at_gate(w);
	do {
		u64 n = prandom_u32_state(&w->rnd) % NR_STABLE, value = 0;

		switch (w->count % 4) {
		case 0:
			w->errors += !contains_nr(w->map, n);
			break;
		case 1:
			w->errors += lock_error(lock_nr(w->map, n)) != 0;
			break;
		default:
			w->errors += get_nr(w->map, n, &value) || value != n;
			break;
		}
		if (++w->count % 64 == 0)
			usleep_range(100, 200);
	} while (!lmtest_must_stop(w));
	return 0;
}

static void values_stay_while_tables_resize(struct kunit *test)
{
	u64 begin, grown, shrunk, nr = slow_kernel() ? 3000 : 1000000;
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "grow", .key_len = sizeof(u64), .value_len = sizeof(u64),
	});
	unsigned int failures = 0;

	for (u64 n = 0; n < NR_STABLE; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
	for (unsigned int t = 0; t < 2; t++)
		lmtest_worker_start(test, lmtest_worker_create(test, read_stable, map, "reader"));
	lmtest_open_gate(test);
	begin = ktime_get_ns();
	for (u64 n = NR_STABLE; n < nr; n++)
		failures += insert_nr(map, n, n) != 0;
	grown = ktime_get_ns();
	KUNIT_EXPECT_EQ(test, failures, 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), nr);
	for (u64 n = NR_STABLE; n < nr; n += 7)
		failures += !contains_nr(map, n);
	KUNIT_EXPECT_EQ(test, failures, 0);
	shrunk = ktime_get_ns();
	for (u64 n = NR_STABLE; n < nr; n++)
		failures += remove_nr(map, n) != 0;
	shrunk = ktime_get_ns() - shrunk;
	KUNIT_EXPECT_EQ(test, failures, 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), NR_STABLE);
	lmtest_stop_workers(test);
	lmtest_join_all(test);
	KUNIT_EXPECT_EQ(test, lmtest_sum_errors(test), 0);
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
	kunit_info(test, "%llu keys inserted in %llu ms, removed in %llu ms, %lu reads", nr,
		   div_u64(grown - begin, NSEC_PER_MSEC), div_u64(shrunk, NSEC_PER_MSEC),
		   lmtest_sum_counts(test));
}

/* Insert keys that no other thread uses, and remove a third of them. */
static int insert_own(struct worker *w)
{
	lmtest_wait_at_gate(w);
	for (u64 n = 0; n < w->nr && !lmtest_must_stop(w); n++) {
		u64 mine = n << 8 | w->id, value = 0;

		w->errors += insert_nr(w->map, mine, mine) != 0;
		w->errors += get_nr(w->map, mine, &value) || value != mine;
		if (n % 3 == 0)
			w->errors += remove_nr(w->map, mine) != 0;
		else
			w->count++;
	}
	return 0;
}

/* The length is what all threads together have inserted and not removed. */
static void length_is_exact(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	unsigned long visits = 0;

	for (unsigned int t = 0; t < 4; t++) {
		struct worker *w = lmtest_worker_create(test, insert_own, map, "insert own");

		w->nr = scaled(50000);
		lmtest_worker_start(test, w);
	}
	lmtest_open_gate(test);
	lmtest_join_all(test);
	KUNIT_EXPECT_EQ(test, lmtest_sum_errors(test), 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), lmtest_sum_counts(test));
	KUNIT_EXPECT_FALSE(test, lockmap_is_empty(map));
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, lmtest_count_visit, &visits), 0);
	KUNIT_EXPECT_EQ(test, visits, lmtest_sum_counts(test));
}

static struct kunit_case size_cases[] = {
	KUNIT_CASE_SLOW(values_stay_while_tables_resize),
	KUNIT_CASE_SLOW(length_is_exact),
	{}
};

struct kunit_suite lmtest_size_suite = {
	.name = "lockmap_size",
	.init = lmtest_init,
	.test_cases = size_cases,
};
