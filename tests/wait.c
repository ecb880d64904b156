// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Waiting for the holder of a key: every call does, and gets its turn
 */
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/sched/signal.h>

#include "worker.h"

/* Every call but trylock waits while its key is locked, and goes on when it is unlocked. */
static void every_call_waits_for_the_holder(struct kunit *test)
{
	for (enum op op = 0; op < NR_WAIT_OPS; op++) {
		struct lockmap *map = lmtest_create_u64(test);
		struct lockmap_entry *entry;
		struct worker *w;
		int want = op == OP_INSERT || op == OP_CONTAINS ? 1 : 0;

		/* the key has a value */
		KUNIT_EXPECT_EQ(test, insert_nr(map, 5, 50), 0);
		entry = lmtest_hold(test, map, 5);
		w = lmtest_start_op(test, map, op, 5, PATIENCE);
		lmtest_expect_waiting(test, w);
		KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
		lockmap_unlock(entry);
		KUNIT_EXPECT_EQ_MSG(test, lmtest_join(test, w), want, "%s", lmtest_op_name[op]);
		lmtest_expect_unlocked(test, map, 5, 5);
		KUNIT_EXPECT_EQ_MSG(test, lockmap_len(map), op != OP_REMOVE && op != OP_CLEAR,
				    "%s", lmtest_op_name[op]);

		/* the key gets a value while the other waits */
		if (op < NR_KEY_OPS) {
			entry = lmtest_hold(test, map, 6);
			w = lmtest_start_op(test, map, op, 6, PATIENCE);
			lmtest_expect_waiting(test, w);
			KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry, NULL, NULL));
			lockmap_unlock(entry);
			KUNIT_EXPECT_EQ_MSG(test, lmtest_join(test, w), want, "%s",
					    lmtest_op_name[op]);
		}

		/* the key loses its value meanwhile */
		KUNIT_EXPECT_GE(test, insert_nr(map, 7, 70), 0);
		entry = lmtest_hold(test, map, 7);
		w = lmtest_start_op(test, map, op, 7, PATIENCE);
		lmtest_expect_waiting(test, w);
		KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(entry, NULL));
		lockmap_unlock(entry);
		want = op_misses(op) ? -ENOENT : 0;
		KUNIT_EXPECT_EQ_MSG(test, lmtest_join(test, w), want, "%s", lmtest_op_name[op]);
		lmtest_expect_unlocked(test, map, 5, 7);
		lmtest_destroy(test, map);
	}
}

static void trylock_does_not_wait(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_key *keys = lmtest_make_keys(test, 1, 8);
	struct lockmap_entry *entry = lmtest_hold(test, map, 5);
	struct lockmap_batch *batch;
	struct worker *w;

	/* its holder tries */
	KUNIT_EXPECT_EQ(test, trylock_error(map, 5), -EBUSY);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_trylock(map, keys, 8)), -EBUSY);
	/* another task tries */
	w = lmtest_start_op(test, map, OP_TRYLOCK, 5, 0);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), -EBUSY);
	w = lmtest_start_op(test, map, OP_BATCH_TRYLOCK, 5, 0);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), -EBUSY);
	w = lmtest_start_op(test, map, OP_TRYLOCK_SHARED, 5, 0);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), -EBUSY);
	w = lmtest_start_op(test, map, OP_BATCH_TRYLOCK_SHARED, 5, 0);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), -EBUSY);
	/* another task waits */
	w = lmtest_start_op(test, map, OP_LOCK, 5, 0);
	lmtest_expect_waiting(test, w);
	KUNIT_EXPECT_EQ(test, trylock_error(map, 5), -EBUSY);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	/* batches that were refused have left nothing locked */
	lmtest_expect_unlocked(test, map, 1, 8);

	batch = lockmap_batch_trylock(map, keys, 8);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_EXPECT_EQ(test, batch->nr, 8);
	for (u64 n = 1; n <= 8; n++)
		KUNIT_EXPECT_EQ(test, trylock_error(map, n), -EBUSY);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_trylock(map, keys, 1)), -EBUSY);
	lockmap_batch_unlock(batch);
	lmtest_expect_unlocked(test, map, 1, 8);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
}

/* A wait that a signal must not end goes on. */
static void other_signals_end_no_wait(struct kunit *test)
{
	static const struct {
		enum op op;
		int sig;
	} ignored[] = {
		{ OP_LOCK, SIGUSR1 }, { OP_LOCK, SIGKILL },
		{ OP_LOCK_KILLABLE, SIGUSR1 },
		{ OP_LOCK_TIMEOUT, SIGKILL },
		{ OP_LOCK_PREALLOC, SIGKILL },
		{ OP_BATCH, SIGKILL }, { OP_BATCH_KILLABLE, SIGUSR1 },
		{ OP_BATCH_TIMEOUT, SIGKILL },
		{ OP_LOCK_SHARED, SIGUSR1 }, { OP_LOCK_SHARED, SIGKILL },
		{ OP_LOCK_SHARED_KILLABLE, SIGUSR1 }, { OP_LOCK_SHARED_TIMEOUT, SIGKILL },
		{ OP_BATCH_SHARED, SIGKILL }, { OP_BATCH_SHARED_KILLABLE, SIGUSR1 },
		{ OP_GET, SIGKILL }, { OP_INSERT, SIGKILL }, { OP_CONTAINS, SIGKILL },
		{ OP_LOCK_PRESENT, SIGKILL }, { OP_LOCK_PRESENT_KILLABLE, SIGUSR1 },
		{ OP_REMOVE, SIGKILL }, { OP_FOR_EACH, SIGKILL }, { OP_CLEAR, SIGKILL },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(ignored); i++) {
		struct lockmap *map = lmtest_create_u64(test);
		enum op op = ignored[i].op;
		struct lockmap_entry *entry;
		struct worker *w;
		int want;

		KUNIT_EXPECT_EQ(test, insert_nr(map, 5, 50), 0);
		entry = lmtest_hold(test, map, 5);
		w = lmtest_start_op(test, map, op, 5, PATIENCE);
		lmtest_expect_waiting(test, w);
		send_sig(ignored[i].sig, w->task, 1);
		lmtest_expect_waiting(test, w);
		lockmap_unlock(entry);
		want = op == OP_INSERT || op == OP_CONTAINS;
		KUNIT_EXPECT_EQ_MSG(test, lmtest_join(test, w), want, "%s, signal %d",
				    lmtest_op_name[op], ignored[i].sig);
		lmtest_expect_unlocked(test, map, 5, 5);
		lmtest_destroy(test, map);
	}
}

/* Lock and unlock the key without a pause. */
static int lock_in_a_loop(struct worker *w)
{
	unsigned long *entered = w->arg;
	u64 key = 1;

	lmtest_wait_at_gate(w);
	while (!lmtest_must_stop(w)) {
		u64 begin = ktime_get_ns();
		struct lockmap_entry *entry = lockmap_lock(w->map, &key, sizeof(key));

		if (IS_ERR_OR_NULL(entry))
			return PTR_ERR(entry) ?: -EFAULT;
		w->longest = max(w->longest, ktime_get_ns() - begin);
		++*entered;
		w->count++;
		lockmap_unlock(entry);
	}
	return 0;
}

/* However much eight tasks want one key, none of them waits for long, or gets much less of it. */
static void no_waiter_starves(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	unsigned long *entered = lmtest_zalloc(test, sizeof(*entered));
	unsigned long least = ULONG_MAX, most = 0, mean;
	struct worker *w[8];
	u64 longest = 0;

	for (unsigned int t = 0; t < ARRAY_SIZE(w); t++) {
		w[t] = lmtest_worker_create(test, lock_in_a_loop, map, "hot key");
		w[t]->arg = entered;
		lmtest_worker_start(test, w[t]);
	}
	lmtest_open_gate(test);
	msleep(slow_kernel() ? 2000 : 800);
	lmtest_stop_workers(test);
	lmtest_join_all(test);
	mean = lmtest_sum_counts(test) / ARRAY_SIZE(w);
	for (unsigned int t = 0; t < ARRAY_SIZE(w); t++) {
		least = min(least, w[t]->count);
		most = max(most, w[t]->count);
		longest = max(longest, w[t]->longest);
	}
	kunit_info(test, "8 threads, 1 key: %lu to %lu acquisitions each, longest wait %llu us",
		   least, most, div_u64(longest, NSEC_PER_USEC));
	KUNIT_EXPECT_EQ(test, *entered, lmtest_sum_counts(test));
	KUNIT_EXPECT_GE(test, least * 100, mean);
	KUNIT_EXPECT_LT(test, longest, NSEC_PER_SEC);
}

/* Hold the key for long, and lock it again at once. */
static int lock_for_long(struct worker *w)
{
	u64 key = 1, end;

	lmtest_wait_at_gate(w);
	while (!lmtest_must_stop(w)) {
		struct lockmap_entry *entry = lockmap_lock(w->map, &key, sizeof(key));

		if (IS_ERR_OR_NULL(entry))
			return PTR_ERR(entry) ?: -EFAULT;
		end = ktime_get_ns() + 500 * NSEC_PER_USEC;
		while (ktime_get_ns() < end)
			cpu_relax();
		w->count++;
		lockmap_unlock(entry);
	}
	return 0;
}

/* Lock the key, and leave it alone for a while. */
static int lock_now_and_then(struct worker *w)
{
	u64 key = 1;

	lmtest_wait_at_gate(w);
	while (!lmtest_must_stop(w)) {
		u64 begin = ktime_get_ns();

		if (lock_error(lockmap_lock(w->map, &key, sizeof(key))))
			return -EIO;
		w->longest = max(w->longest, ktime_get_ns() - begin);
		w->count++;
		usleep_range(50, 100);
	}
	return 0;
}

/* Of three tasks, two hold the key all the time in turns. The third gets it as well. */
static void waiter_gets_in_between_greedy_holders(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct worker *greedy[2], *modest;

	for (unsigned int t = 0; t < ARRAY_SIZE(greedy); t++)
		greedy[t] = lmtest_worker_start(test, lmtest_worker_create(test, lock_for_long,
									   map, "greedy holder"));
	modest = lmtest_worker_start(test, lmtest_worker_create(test, lock_now_and_then, map,
								"modest waiter"));
	lmtest_open_gate(test);
	msleep(1000);
	lmtest_stop_workers(test);
	lmtest_join_all(test);
	kunit_info(test, "locked %lu and %lu times by the greedy, %lu by the modest: longest wait %llu us",
		   greedy[0]->count, greedy[1]->count, modest->count,
		   div_u64(modest->longest, NSEC_PER_USEC));
	/* Without high resolution timers it sleeps for a tick, in which they have twenty turns. */
	KUNIT_EXPECT_GE(test, modest->count * 50, greedy[0]->count + greedy[1]->count);
	KUNIT_EXPECT_LT(test, modest->longest, NSEC_PER_SEC);
}

static struct kunit_case wait_cases[] = {
	KUNIT_CASE_SLOW(every_call_waits_for_the_holder),
	KUNIT_CASE(trylock_does_not_wait),
	KUNIT_CASE_SLOW(other_signals_end_no_wait),
	KUNIT_CASE_SLOW(no_waiter_starves),
	KUNIT_CASE_SLOW(waiter_gets_in_between_greedy_holders),
	{}
};

struct kunit_suite lmtest_wait_suite = {
	.name = "lockmap_wait",
	.init = lmtest_init,
	.test_cases = wait_cases,
};
