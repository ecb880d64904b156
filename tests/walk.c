// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Walks: for_each, retain and clear
 */
#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/string.h>

#include "worker.h"

/**
 * struct visits - what a walk saw; the value of each key is its number
 * @nr: numbers below this are of stable keys
 * @times: how often it visited each of these
 * @others: which keys it visited of those from OTHERS_FROM on, which come and go
 * @nr_others: how many of these there are
 * @visits: all visits
 * @twice: visits of others that it had visited already
 * @wrong: visits with a wrong key or value
 */
struct visits {
	unsigned int nr;
	u8 *times;
	unsigned long *others;
	u64 nr_others;
	u64 visits;
	u64 twice;
	u64 wrong;
};

#define OTHERS_FROM	BIT_ULL(32)

static int record_visit(const void *key, size_t len, void *value, void *arg)
{
	struct visits *visits = arg;
	u64 n = nr_of(key);

	visits->visits++;
	visits->wrong += len != sizeof(u64) || *(u64 *)value != n;
	if (n < visits->nr)
		visits->times[n]++;
	else if (n < OTHERS_FROM || n - OTHERS_FROM >= visits->nr_others)
		visits->wrong++;
	else if (__test_and_set_bit(n - OTHERS_FROM, visits->others))
		visits->twice++;
	return 0;
}

static void visit_each_value_once(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct visits *visits = lmtest_zalloc(test, sizeof(*visits));
	unsigned int wrong = 0;

	visits->nr = scaled(10000);
	visits->times = lmtest_zalloc(test, visits->nr);
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, record_visit, visits), 0);
	KUNIT_EXPECT_EQ(test, visits->visits, 0);
	for (u64 n = 0; n < visits->nr; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
	for (unsigned int round = 1; round < 4; round++) {
		KUNIT_EXPECT_EQ(test, lockmap_for_each(map, record_visit, visits), 0);
		for (u64 n = 0; n < visits->nr; n++)
			wrong += visits->times[n] != round;
		KUNIT_EXPECT_EQ(test, wrong, 0);
	}
	KUNIT_EXPECT_EQ(test, visits->wrong, 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), visits->nr);
}

/*
 * Insert w->nr new keys, so that tables grow, and remove them, so that tables
 * shrink, again and again, until there were w->key keys in all.
 */
static int insert_and_remove_many(struct worker *w)
{
	u64 in = 0, out = 0;
	int ret = 0;

	lmtest_wait_at_gate(w);
	while (!lmtest_must_stop(w) && in < w->key) {
		for (unsigned int i = 0; i < w->nr && in < w->key && ret >= 0; i++, in++)
			ret = insert_nr(w->map, OTHERS_FROM + in, OTHERS_FROM + in);
		for (; out < in && ret >= 0; out++)
			ret = remove_nr(w->map, OTHERS_FROM + out);
		if (ret < 0)
			return ret;
	}
	w->count = in;
	return 0;
}

static int walk_until_stopped(struct worker *w)
{
	struct visits *visits = w->arg;

	lmtest_wait_at_gate(w);
	do {
		int ret;

		memset(visits->times, 0, visits->nr);
		bitmap_zero(visits->others, visits->nr_others);
		ret = lockmap_for_each(w->map, record_visit, visits);
		if (ret)
			return ret;
		for (u64 n = 0; n < visits->nr; n++)
			w->errors += visits->times[n] != 1;
		w->count++;
	} while (!lmtest_must_stop(w));
	return 0;
}

static void visit_each_value_once_while_tables_resize(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct visits *visits = lmtest_zalloc(test, 2 * sizeof(*visits));
	unsigned int nr = scaled(10000);
	struct worker *inserter, *walker[2];

	for (u64 n = 0; n < nr; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
	inserter = lmtest_worker_create(test, insert_and_remove_many, map, "inserter");
	inserter->nr = scaled(40000);
	inserter->key = 4 * inserter->nr;
	lmtest_worker_start(test, inserter);
	for (unsigned int t = 0; t < 2; t++) {
		visits[t].nr = nr;
		visits[t].times = lmtest_zalloc(test, nr);
		visits[t].nr_others = inserter->key;
		visits[t].others = lmtest_zalloc(test, BITS_TO_LONGS(inserter->key) * sizeof(long));
		walker[t] = lmtest_worker_create(test, walk_until_stopped, map, "walker");
		walker[t]->arg = &visits[t];
		lmtest_worker_start(test, walker[t]);
	}
	lmtest_open_gate(test);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, inserter), 0);
	lmtest_stop_workers(test);
	lmtest_join_all(test);
	for (unsigned int t = 0; t < 2; t++) {
		KUNIT_EXPECT_EQ(test, walker[t]->errors, 0);
		KUNIT_EXPECT_EQ(test, visits[t].wrong, 0);
		KUNIT_EXPECT_EQ(test, visits[t].twice, 0);
	}
	KUNIT_EXPECT_EQ(test, inserter->count, inserter->key);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), nr);
	kunit_info(test, "%lu + %lu walks while %lu keys came and went", walker[0]->count,
		   walker[1]->count, inserter->count);
}

/* Functions of walks that stop it, write, sleep, and lock other keys */
struct visitor {
	struct lockmap *map;
	unsigned int visits;
	unsigned int stop_after;
	unsigned int failures;
};

static int visit_and_stop(const void *key, size_t len, void *value, void *arg)
{
	struct visitor *visitor = arg;

	return ++visitor->visits == visitor->stop_after ? 1000 + visitor->visits : 0;
}

static int visit_and_fail(const void *key, size_t len, void *value, void *arg)
{
	return -EPIPE;
}

static int visit_and_lock(const void *key, size_t len, void *value, void *arg)
{
	struct visitor *visitor = arg;
	u64 n = nr_of(key), other;

	visitor->visits++;
	*(u64 *)value += 1;
	usleep_range(10, 20);
	/* The walk holds this key, and no other. */
	visitor->failures += trylock_error(visitor->map, n) != -EBUSY;
	for (u64 m = 0; m < 20; m++)
		visitor->failures += m != n && trylock_error(visitor->map, m) != 0;
	/* Keys that sort after this one may be locked, read and changed. */
	visitor->failures += lock_error(lock_nr(visitor->map, 1000 + n)) != 0;
	visitor->failures += insert_nr(visitor->map, 1 << 20, 1) < 0;
	visitor->failures += get_nr(visitor->map, 1 << 20, &other) != 0;
	visitor->failures += remove_nr(visitor->map, 1 << 20) != 0;
	return 0;
}

static void visitors_may_stop_write_and_lock(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct visitor visitor = { .map = map };
	u64 value;

	for (u64 n = 0; n < 20; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
	for (unsigned int i = 1; i <= 20; i++) {
		visitor.visits = 0;
		visitor.stop_after = i;
		KUNIT_EXPECT_EQ(test, lockmap_for_each(map, visit_and_stop, &visitor), 1000 + i);
		KUNIT_EXPECT_EQ(test, visitor.visits, i);
	}
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, visit_and_fail, NULL), -EPIPE);
	lmtest_expect_unlocked(test, map, 0, 20);

	/* A key that the function inserts and removes may be visited, too. */
	visitor.visits = 0;
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, visit_and_lock, &visitor), 0);
	KUNIT_EXPECT_GE(test, visitor.visits, 20);
	KUNIT_EXPECT_EQ(test, visitor.failures, 0);
	for (u64 n = 0; n < 20; n++) {
		KUNIT_EXPECT_EQ(test, get_nr(map, n, &value), 0);
		KUNIT_EXPECT_EQ(test, value, n + 1);
	}
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 20);
}

static int walk_once(struct worker *w)
{
	lmtest_about_to_wait(w);
	return lockmap_for_each(w->map, record_visit, w->arg);
}

/* What a holder does: 0 nothing, 1 insert or replace, 2 remove and insert, 3 remove */
static void change_value(struct lockmap_entry *entry, u64 n, unsigned int change)
{
	if (change == 1)
		lockmap_entry_insert(entry, &n, NULL);
	if (change >= 2)
		lockmap_entry_remove(entry, NULL);
	if (change == 2)
		lockmap_entry_insert(entry, &n, NULL);
}

/*
 * A walk waits for the holder of a value, and then visits what the holder left. The
 * holder of an absent key may give it a value before the walk, or during it: then
 * the walk visits it once, or not at all.
 */
static void wait_for_holders(struct kunit *test)
{
	for (unsigned int i = 0; i < 8; i++) {
		struct lockmap *map = lmtest_create_u64(test);
		struct visits *visits = lmtest_zalloc(test, sizeof(*visits) + 200);
		struct lockmap_entry *held, *other, *absent;
		unsigned int change = i / 2, before = i % 2;
		struct worker *w;

		visits->nr = 200;
		visits->times = (u8 *)(visits + 1);
		for (u64 n = 0; n < 100; n++)
			KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
		held = lmtest_hold(test, map, 50);
		other = lmtest_hold(test, map, 60);
		absent = lmtest_hold(test, map, 150);
		if (before) {
			change_value(held, 50, change);
			change_value(absent, 150, 1);
		}
		w = lmtest_worker_create(test, walk_once, map, "for_each");
		w->arg = visits;
		lmtest_worker_start(test, w);
		lmtest_expect_waiting(test, w);
		KUNIT_EXPECT_EQ(test, visits->times[50], 0);
		if (!before) {
			change_value(held, 50, change);
			change_value(absent, 150, 1);
		}
		lockmap_unlock(held);
		lockmap_unlock(absent);
		lockmap_unlock(other);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
		for (u64 n = 0; n < 100; n++)
			if (n != 50)
				KUNIT_EXPECT_EQ(test, visits->times[n], 1);

		/* It visits once what was there all the time, and at most once what was not. */
		if (change < 2 || (change == 2 && before))
			KUNIT_EXPECT_EQ(test, visits->times[50], 1);
		else
			KUNIT_EXPECT_LE(test, visits->times[50], change == 2);
		if (before)
			KUNIT_EXPECT_EQ(test, visits->times[150], 1);
		else
			KUNIT_EXPECT_LE(test, visits->times[150], 1);
		KUNIT_EXPECT_EQ(test, visits->wrong, 0);
		lmtest_expect_unlocked(test, map, 0, 200);
		lmtest_destroy(test, map);
	}
}

static void retain(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	unsigned int nr = scaled(10000) & ~3U, wrong = 0;
	unsigned long visits = 0;

	for (u64 n = 0; n < nr; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
	KUNIT_EXPECT_EQ(test, lockmap_retain(map, lmtest_keep_all, &visits), 0);
	KUNIT_EXPECT_EQ(test, visits, nr);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), nr);
	KUNIT_EXPECT_EQ(test, lockmap_retain(map, lmtest_keep_even, NULL), 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), nr / 2);
	for (u64 n = 0; n < nr; n++)
		wrong += contains_nr(map, n) != (n % 2 == 0);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	visits = 0;
	KUNIT_EXPECT_EQ(test, lockmap_retain(map, lmtest_keep_none, &visits), 0);
	KUNIT_EXPECT_EQ(test, visits, nr / 2);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 1), 0);
}

static int retain_even(struct worker *w)
{
	lmtest_about_to_wait(w);
	return lockmap_retain(w->map, lmtest_keep_even, NULL);
}

static void clear_and_retain_wait_for_holders(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry;
	struct worker *w;

	/* retain waits for the holder, whose change makes the value even */
	for (u64 n = 0; n < 100; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
	entry = lmtest_hold(test, map, 51);
	w = lmtest_worker_start(test, lmtest_worker_create(test, retain_even, map, "retain"));
	lmtest_expect_waiting(test, w);
	*(u64 *)lockmap_entry_value(entry) = 52;
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 51);
	KUNIT_EXPECT_TRUE(test, contains_nr(map, 51));

	entry = lmtest_hold(test, map, 51);
	w = lmtest_start_op(test, map, OP_CLEAR, 0, 0);
	lmtest_expect_waiting(test, w);
	KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 52);
	KUNIT_EXPECT_GE(test, lockmap_len(map), 1);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 0);
	for (u64 n = 0; n < 100; n++)
		KUNIT_EXPECT_FALSE(test, contains_nr(map, n));
}

static void count_release(void *value, void *priv)
{
	atomic_long_inc(priv);
}

static int clear_often(struct worker *w)
{
	int ret = 0;

	lmtest_wait_at_gate(w);
	for (; w->count < w->nr && !ret && !lmtest_must_stop(w); w->count++)
		ret = w->id % 2 ? lockmap_clear(w->map) :
		      lockmap_retain(w->map, lmtest_keep_even, NULL);
	return ret;
}

static int insert_often(struct worker *w)
{
	lmtest_wait_at_gate(w);
	for (; w->count < w->nr && !lmtest_must_stop(w); w->count++) {
		int ret = insert_nr(w->map, prandom_u32_state(&w->rnd) % 256, w->count);

		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Each value that is inserted is released once, whether it is replaced or cleared. */
static void cleared_values_are_released_once(struct kunit *test)
{
	atomic_long_t *nr_released = lmtest_zalloc(test, sizeof(*nr_released));
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "clear", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.max_idle = 1, .release = count_release, .priv = nr_released,
	});
	unsigned int inserts = scaled(50000);

	for (unsigned int t = 0; t < 2; t++) {
		struct worker *w = lmtest_worker_create(test, clear_often, map, "clear");

		w->nr = scaled(2000);
		lmtest_worker_start(test, w);
	}
	for (unsigned int t = 0; t < 2; t++) {
		struct worker *w = lmtest_worker_create(test, insert_often, map, "insert");

		w->nr = inserts;
		lmtest_worker_start(test, w);
	}
	lmtest_open_gate(test);
	lmtest_join_all(test);
	KUNIT_EXPECT_EQ(test, atomic_long_read(nr_released) + lockmap_len(map), 2 * inserts);
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(nr_released), 2 * inserts);
}

static struct kunit_case walk_cases[] = {
	KUNIT_CASE(visit_each_value_once),
	KUNIT_CASE_SLOW(visit_each_value_once_while_tables_resize),
	KUNIT_CASE(visitors_may_stop_write_and_lock),
	KUNIT_CASE(wait_for_holders),
	KUNIT_CASE(retain),
	KUNIT_CASE(clear_and_retain_wait_for_holders),
	KUNIT_CASE_SLOW(cleared_values_are_released_once),
	{}
};

struct kunit_suite lmtest_walk_suite = {
	.name = "lockmap_walk",
	.init = lmtest_init,
	.test_cases = walk_cases,
};
