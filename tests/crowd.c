// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Crowds: what one key costs must not grow with the tasks that wait for another
 *
 * All of this is about two keys whose waiters meet in one bucket. The module
 * parameter wait_buckets=1 makes sure of that; with more buckets the cases pass
 * for a weaker reason, and say so.
 *
 * A time is the lower quartile of a round, since now and then a task to be woken is
 * awake already; and the best of some rounds, since other guests of the machine take
 * its CPUs away.
 */
#include <linux/ktime.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/sched/signal.h>
#include <linux/sort.h>

#include "worker.h"

#define CROWD		(small_kernel() ? 200 : 8000)
#define SAMPLES		20
#define ROUNDS		5

/* Keys that the case itself holds: the crowd waits for one of them, single tasks for the other. */
enum {
	CROWDED,
	QUIET,
};

/*
 * A time may be twice as long with the crowd, and so many ns longer for the caches' and
 * the clock's sake. To look at each of 8000 waiters takes hundreds of microseconds.
 */
#define SLACK_NS	10000

static struct lockmap *create_map(struct kunit *test)
{
	kunit_info(test, "the crowd has %u tasks", CROWD);
	return lmtest_create_u64(test);
}

static void gather(struct kunit *test, struct lockmap *map)
{
	struct worker *w = NULL;

	for (unsigned int i = 0; i < CROWD; i++)
		w = lmtest_start_op(test, map, OP_LOCK_KILLABLE, CROWDED, 0);
	lmtest_expect_waiting(test, w);
}

static void disperse(struct kunit *test, struct lockmap_entry *entry)
{
	lockmap_unlock(entry);
	lmtest_join_all(test);
	lmtest_release_workers(test);
}

static void expect_flat(struct kunit *test, const char *what, u64 alone, u64 crowded)
{
	kunit_info(test, "%s: %llu ns alone, %llu ns beside the crowd", what, alone, crowded);
	if (!small_kernel())
		KUNIT_EXPECT_LE_MSG(test, crowded, 2 * alone + SLACK_NS, "%s", what);
}

static int compare_times(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return (x > y) - (x < y);
}

static u64 lower_quartile(u64 *times)
{
	sort(times, SAMPLES, sizeof(*times), compare_times, NULL);
	return times[SAMPLES / 4];
}

static u64 time_unlock_once(struct kunit *test, struct lockmap *map)
{
	struct lockmap_entry *entry;
	u64 times[SAMPLES], start;
	struct worker *w;

	for (unsigned int i = 0; i < SAMPLES; i++) {
		entry = lmtest_hold(test, map, QUIET);
		w = lmtest_start_op(test, map, OP_LOCK, QUIET, 0);
		lmtest_expect_waiting(test, w);
		start = ktime_get_ns();
		lockmap_unlock(entry);
		times[i] = ktime_get_ns() - start;
		lmtest_join(test, w);
	}
	return lower_quartile(times);
}

/* How long the unlock of a key takes for which one task waits. */
static u64 time_unlock(struct kunit *test, struct lockmap *map)
{
	u64 best = U64_MAX;

	for (unsigned int i = 0; i < ROUNDS; i++)
		best = min(best, time_unlock_once(test, map));
	return best;
}

static void unlock_beside_a_crowd(struct kunit *test)
{
	struct lockmap *map = create_map(test);
	u64 alone = time_unlock(test, map), crowded;
	struct lockmap_entry *entry = lmtest_hold(test, map, CROWDED);

	gather(test, map);
	crowded = time_unlock(test, map);
	disperse(test, entry);
	expect_flat(test, "unlock", alone, crowded);
}

/* Measure the way into a queue and out of it again. Return: 0 if no key was free. */
static int visit_queue_once(struct worker *w)
{
	u64 times[SAMPLES], start, key = w->key;
	int err = -ETIMEDOUT;

	for (unsigned int i = 0; i < SAMPLES && err == -ETIMEDOUT; i++) {
		start = ktime_get_ns();
		err = PTR_ERR(lockmap_lock_timeout(w->map, &key, sizeof(key), 0));
		times[i] = ktime_get_ns() - start;
	}
	if (err != -ETIMEDOUT)
		return -EFAULT;
	w->longest = min(w->longest, lower_quartile(times));
	return 0;
}

static int visit_queue(struct worker *w)
{
	int err = 0;

	w->longest = U64_MAX;
	for (unsigned int i = 0; i < ROUNDS && !err; i++)
		err = visit_queue_once(w);
	return err;
}

/* Another task does it, for this one holds the keys. */
static u64 time_visit(struct kunit *test, struct lockmap *map, u64 n)
{
	struct worker *w = lmtest_worker_create(test, visit_queue, map, "visit a queue");

	w->key = n;
	lmtest_worker_start(test, w);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	return w->longest;
}

static void queue_beside_a_crowd(struct kunit *test)
{
	struct lockmap *map = create_map(test);
	struct lockmap_entry *crowded = lmtest_hold(test, map, CROWDED);
	struct lockmap_entry *quiet = lmtest_hold(test, map, QUIET);
	u64 alone, beside, behind;

	alone = time_visit(test, map, QUIET);
	gather(test, map);
	beside = time_visit(test, map, QUIET);
	behind = time_visit(test, map, CROWDED);
	lockmap_unlock(quiet);
	disperse(test, crowded);
	expect_flat(test, "queue for another key", alone, beside);
	expect_flat(test, "queue behind the crowd", alone, behind);
}

/* Kill waiters from the middle of the crowd. All others get the key, each once. */
static void killed_in_a_crowd(struct kunit *test)
{
	struct lockmap *map = create_map(test);
	struct lockmap_entry *entry = lmtest_hold(test, map, CROWDED);
	struct fixture *fx = test->priv;
	unsigned int i = 0, killed = 0, got = 0;
	struct worker *w;

	gather(test, map);
	list_for_each_entry(w, &fx->workers, node) {
		if (i++ % (CROWD / 10) == CROWD / 20) {
			send_sig(SIGKILL, w->task, 1);
			KUNIT_EXPECT_EQ(test, lmtest_join(test, w), -EINTR);
			killed++;
		}
	}
	lockmap_unlock(entry);
	list_for_each_entry(w, &fx->workers, node)
		got += lmtest_join(test, w) == 0;
	KUNIT_EXPECT_EQ(test, killed, 10);
	KUNIT_EXPECT_EQ(test, got + killed, CROWD);
	lmtest_release_workers(test);
}

static struct kunit_case cases[] = {
	KUNIT_CASE_SLOW(unlock_beside_a_crowd),
	KUNIT_CASE_SLOW(queue_beside_a_crowd),
	KUNIT_CASE_SLOW(killed_in_a_crowd),
	{}
};

struct kunit_suite lmtest_crowd_suite = {
	.name = "lockmap_crowd",
	.init = lmtest_init,
	.test_cases = cases,
};
