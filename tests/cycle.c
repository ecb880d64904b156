// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Cycles of tasks that wait for each other's keys
 *
 * Task n holds key n and waits for key n + 1, by any call. Keys with odd numbers
 * are in another map, since cycles may span maps. All this breaks the order of
 * locks, of which lockdep would complain, so it is off.
 */
#include <linux/delay.h>
#include <linux/lockdep.h>
#include <linux/math64.h>
#include <linux/prandom.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>

#include "worker.h"

/* A cycle ends so long after its last task went to sleep, at best. */
#define CYCLE_ENDS_MS		100

/**
 * struct cycle - keys and tasks
 * @map: of keys with even numbers, and with odd ones
 * @size: how many tasks there are
 * @meeting: where tasks wait for each other, in meet()
 * @arrived: how often a task came there
 * @refused: how many waits were refused with -EDEADLK in a round
 * @last_wait: when the last task of a round began to wait, in ns
 * @refused_at: when a wait was refused
 * @fastest: the shortest time between these, of all rounds
 */
struct cycle {
	struct lockmap *map[2];
	unsigned int size;

	wait_queue_head_t meeting;
	atomic_t arrived;
	atomic_t refused;
	atomic64_t last_wait;
	u64 refused_at;
	u64 fastest;
};

static struct cycle *create_cycle(struct kunit *test, unsigned int size)
{
	struct cycle *c = lmtest_zalloc(test, sizeof(*c));

	c->map[0] = lmtest_create_u64(test);
	c->map[1] = lmtest_create_u64(test);
	c->size = size;
	c->fastest = U64_MAX;
	init_waitqueue_head(&c->meeting);
	return c;
}

/* All tasks are through: all keys are unlocked. */
static void end_cycle(struct kunit *test, struct cycle *c)
{
	lmtest_release_workers(test);
	for (u64 n = 0; n < c->size; n++)
		lmtest_expect_unlocked(test, c->map[n % 2], n, n);
	lmtest_destroy(test, c->map[0]);
	lmtest_destroy(test, c->map[1]);
}

/* Use key @n by a call that waits for its holder. Return: 0, or why it was refused. */
static int wait_for_key(struct cycle *c, u64 n, enum op op, unsigned long timeout)
{
	unsigned long visits = 0;
	int ret;

	ret = lmtest_do_op(c->map[n % 2], op, &n, sizeof(n), timeout, &visits);
	return ret == -ENOENT ? 0 : min(ret, 0);
}

/* What task n does, once; it unlocks its key when the gate is open. */
static int hold_and_wait(struct worker *w)
{
	struct cycle *c = w->arg;
	struct lockmap_entry *entry;

	lockdep_off();
	entry = lock_nr(c->map[w->key % 2], w->key);
	if (!IS_ERR_OR_NULL(entry)) {
		lmtest_about_to_wait(w);
		w->ret = wait_for_key(c, w->key + 1, w->op, w->timeout);
		WRITE_ONCE(w->count, 1);
		lmtest_wait_at_gate(w);
		lockmap_unlock(entry);
	}
	lockdep_on();
	return IS_ERR_OR_NULL(entry) ? -EFAULT : w->ret;
}

static struct worker *start_task(struct kunit *test, struct cycle *c, u64 n, enum op op,
				 unsigned long timeout)
{
	struct worker *w = lmtest_worker_create(test, hold_and_wait, NULL, lmtest_op_name[op]);

	w->arg = c;
	w->key = n;
	w->op = op;
	w->timeout = timeout;
	return lmtest_worker_start(test, w);
}

/* The wait that would close a cycle is refused, whatever calls the others wait in. */
static void cycles_are_refused(struct kunit *test)
{
	for (unsigned int size = 2; size <= 16; size++) {
		struct cycle *c = create_cycle(test, size);
		struct lockmap_entry *last = lmtest_hold(test, c->map[(size - 1) % 2], size - 1);
		int error[NR_KEY_OPS], busy;

		lmtest_open_gate(test);
		for (unsigned int n = size - 1; n--;)
			lmtest_expect_waiting(test, start_task(test, c, n, (n + size) % NR_KEY_OPS,
							       PATIENCE));
		/* This task is the last one that looks for the cycle. */
		msleep(LOOKED_FOR_CYCLE_MS);
		lockdep_off();
		for (enum op op = 0; op < NR_KEY_OPS; op++)
			error[op] = wait_for_key(c, 0, op, PATIENCE);
		busy = trylock_error(c->map[0], 0);
		lockdep_on();
		/* Whether a key has a value can be told without waiting for its holder. */
		for (enum op op = 0; op < NR_KEY_OPS; op++)
			KUNIT_EXPECT_EQ_MSG(test, error[op], op == OP_CONTAINS ? 0 : -EDEADLK,
					    "%s closes a cycle of %u", lmtest_op_name[op], size);
		KUNIT_EXPECT_EQ(test, busy, -EBUSY);
		lockmap_unlock(last);
		lmtest_join_all(test);
		end_cycle(test, c);
	}
}

/* A task that gave up waiting, and still holds its key, is not part of a cycle any more. */
static void ended_waits_close_no_cycle(struct kunit *test)
{
	for (unsigned int i = 0; i < NR_ENDINGS; i++) {
		unsigned long timeout = lmtest_endings[i].sig ? PATIENCE : HZ / 4;
		struct cycle *c = create_cycle(test, 3);
		struct lockmap_entry *last = lmtest_hold(test, c->map[0], 2);
		struct worker *w[2];
		int error;

		w[1] = start_task(test, c, 1, lmtest_endings[i].op, timeout);
		lmtest_expect_waiting(test, w[1]);
		w[0] = start_task(test, c, 0, OP_LOCK, 0);
		lmtest_expect_waiting(test, w[0]);
		if (lmtest_endings[i].sig)
			send_sig(lmtest_endings[i].sig, w[1]->task, 1);
		/* It is not in the call any more, but at the gate. */
		for (unsigned long end = jiffies + PATIENCE;
		     !READ_ONCE(w[1]->count) && time_before(jiffies, end);)
			schedule_timeout_uninterruptible(1);

		/* Task 0 waits for key 1, whose holder waits for nobody. */
		lockdep_off();
		error = wait_for_key(c, 0, OP_LOCK_TIMEOUT, 2);
		lockdep_on();
		KUNIT_EXPECT_EQ_MSG(test, error, -ETIMEDOUT, "%s, signal %d",
				    lmtest_op_name[lmtest_endings[i].op], lmtest_endings[i].sig);
		lmtest_open_gate(test);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w[1]), lmtest_endings[i].error);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w[0]), 0);
		lockmap_unlock(last);
		end_cycle(test, c);
	}
}

/* A chain of waiting tasks that is no cycle is never refused, however long it is. */
static void long_chains_wait(struct kunit *test)
{
	const unsigned int size = small_kernel() ? 500 : 5000;
	struct cycle *c = create_cycle(test, size);
	struct lockmap_entry *last = lmtest_hold(test, c->map[(size - 1) % 2], size - 1);
	struct worker *w = NULL;

	lmtest_open_gate(test);
	for (unsigned int n = size - 1; n--;) {
		w = start_task(test, c, n, OP_LOCK, 0);
		/* The next one waits for the key that this one holds. */
		while (!READ_ONCE(w->about_to_wait) && !completion_done(&w->done))
			usleep_range(20, 50);
	}
	lmtest_expect_waiting(test, w);
	/* By now each task has followed the chain, or is about to. */
	msleep(LOOKED_FOR_CYCLE_MS);
	lockmap_unlock(last);
	list_for_each_entry(w, &((struct fixture *)test->priv)->workers, node)
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	end_cycle(test, c);
}

/* Wait for all others of the cycle; each task comes here equally often. */
static bool meet(struct cycle *c)
{
	int turn = atomic_inc_return(&c->arrived), all;

	all = roundup(turn, (int)c->size);
	if (turn == all)
		wake_up_all(&c->meeting);
	return wait_event_timeout(c->meeting, atomic_read(&c->arrived) >= all, PATIENCE);
}

/* The caller begins to wait. */
static void note_wait(struct cycle *c)
{
	s64 now = ktime_get_ns(), last = atomic64_read(&c->last_wait);

	while (last < now && !atomic64_try_cmpxchg(&c->last_wait, &last, now))
		;
}

/* A round is over in which a wait was refused. */
static void note_time(struct cycle *c)
{
	s64 ns = c->refused_at - atomic64_read(&c->last_wait);

	c->fastest = min_t(u64, c->fastest, max(ns, 0));
}

/* Hold a key, and wait for the next one, at the same time as all the others. */
static int play_round(struct cycle *c, struct worker *w, bool waits)
{
	struct lockmap_entry *entry = lock_nr(c->map[w->key % 2], w->key);
	u64 next = w->key + 1 < c->size ? w->key + 1 : 0;
	int ret;

	if (IS_ERR_OR_NULL(entry))
		return -EFAULT;
	if (!meet(c))
		return -EPIPE;
	if (waits)
		note_wait(c);
	ret = waits ? wait_for_key(c, next, w->op, PATIENCE) : 0;
	if (ret == -EDEADLK)
		c->refused_at = ktime_get_ns();
	lockmap_unlock(entry);
	if (ret == -EDEADLK)
		atomic_inc(&c->refused);
	else if (ret)
		return ret;
	return meet(c) ? 0 : -EPIPE;
}

/* In each round either all of the cycle wait, or all but one do. */
static int play_rounds(struct worker *w)
{
	struct rnd_state same;	/* in all tasks */
	struct cycle *c = w->arg;
	int err = 0;

	prandom_seed_state(&same, c->size);
	lockdep_off();
	for (w->count = 0; w->count < w->nr && !err; w->count++) {
		u32 stays_out = prandom_u32_state(&same) % (2 * c->size);
		bool closed = stays_out >= c->size;

		do {
			w->op = prandom_u32_state(&w->rnd) % NR_KEY_OPS;
		} while (w->op == OP_CONTAINS);
		err = play_round(c, w, w->key != stays_out);
		/* The one that is refused unlocks its key, and that opens the cycle. */
		if (!err && w->key == 0) {
			w->errors += atomic_xchg(&c->refused, 0) != closed;
			if (closed)
				note_time(c);
		}
		if (!err && !meet(c))
			err = -EPIPE;
	}
	lockdep_on();
	return err;
}

static void play(struct kunit *test, unsigned int size, unsigned int rounds)
{
	struct cycle *c = create_cycle(test, size);

	for (u64 n = 0; n < size; n++) {
		struct worker *w = lmtest_worker_create(test, play_rounds, NULL, "cycle");

		w->arg = c;
		w->key = n;
		w->nr = rounds;
		lmtest_worker_start(test, w);
	}
	lmtest_join_all(test);
	KUNIT_EXPECT_EQ_MSG(test, lmtest_sum_errors(test), 0, "cycle of %u", size);
	KUNIT_EXPECT_EQ(test, lmtest_sum_counts(test), size * rounds);
	kunit_info(test, "a cycle of %u tasks ends %llu us after the last one began to wait",
		   size, div_u64(c->fastest, NSEC_PER_USEC));
	if (!slow_kernel())
		KUNIT_EXPECT_LE(test, c->fastest, CYCLE_ENDS_MS * NSEC_PER_MSEC);
	end_cycle(test, c);
}

/* All of a cycle begin to wait at once: one of them is refused, and none if one stays out. */
static void one_of_those_that_wait_at_once_is_refused(struct kunit *test)
{
	static const unsigned int sizes[] = { 2, 3, 4, 7, 16 };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		play(test, sizes[i], 40);
}

/* The same for as many tasks as may be found in one service. */
static void large_cycles_end_soon(struct kunit *test)
{
	play(test, 128, 12);
	play(test, small_kernel() ? 200 : 2000, 12);
}

static struct kunit_case cycle_cases[] = {
	KUNIT_CASE_SLOW(cycles_are_refused),
	KUNIT_CASE_SLOW(ended_waits_close_no_cycle),
	KUNIT_CASE_SLOW(long_chains_wait),
	KUNIT_CASE_SLOW(one_of_those_that_wait_at_once_is_refused),
	KUNIT_CASE_SLOW(large_cycles_end_soon),
	{}
};

struct kunit_suite lmtest_cycle_suite = {
	.name = "lockmap_cycle",
	.init = lmtest_init,
	.test_cases = cycle_cases,
};
