// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Waits that end without the key: timeouts and signals
 */
#include <linux/delay.h>
#include <linux/sched/signal.h>

#include "worker.h"

static const enum op timed[] = {
	OP_LOCK_TIMEOUT, OP_BATCH_TIMEOUT, OP_LOCK_SHARED_TIMEOUT, OP_BATCH_SHARED_TIMEOUT,
};

static void timeouts(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_key *keys = lmtest_make_keys(test, 1, 8);
	u64 key = 5;
	struct lockmap_entry *entry;
	struct worker *w;

	/* no time, and the key is free */
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_timeout(map, &key, 8, 0)), 0);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_lock_timeout(map, keys, 8, 0)), 0);

	/* no time, and the key is locked */
	entry = lmtest_hold(test, map, 5);
	for (unsigned int k = 0; k < ARRAY_SIZE(timed); k++) {
		enum op op = timed[k];

		w = lmtest_start_op(test, map, op, 5, 0);
		KUNIT_EXPECT_EQ_MSG(test, lmtest_join(test, w), -ETIMEDOUT, "%s",
				    lmtest_op_name[op]);

		/* some time: it waits for all of it */
		for (unsigned long t = 1; t < 20; t += 6) {
			unsigned long begin = jiffies;

			w = lmtest_start_op(test, map, op, 5, t);
			KUNIT_EXPECT_EQ_MSG(test, lmtest_join(test, w), -ETIMEDOUT, "%s",
					    lmtest_op_name[op]);
			KUNIT_EXPECT_GE_MSG(test, jiffies - begin, t, "%s", lmtest_op_name[op]);
		}
	}
	KUNIT_EXPECT_EQ(test, trylock_error(map, 5), -EBUSY);
	lockmap_unlock(entry);
	lmtest_expect_unlocked(test, map, 1, 8);
}

/* A timeout is a long: up to LONG_MAX it is waited for, and LONG_MAX is for ever. */
static void long_timeouts(struct kunit *test)
{
	static const unsigned long timeout[] = {
		MAX_JIFFY_OFFSET, MAX_JIFFY_OFFSET + 1, LONG_MAX - 1, MAX_SCHEDULE_TIMEOUT,
	};
	struct lockmap *map = lmtest_create_u64(test);

	for (unsigned int i = 0; i < ARRAY_SIZE(timeout); i++)
		for (unsigned int k = 0; k < ARRAY_SIZE(timed); k++) {
			struct lockmap_entry *entry = lmtest_hold(test, map, 5);
			struct worker *w = lmtest_start_op(test, map, timed[k], 5, timeout[i]);

			lmtest_expect_waiting(test, w);
			lockmap_unlock(entry);
			KUNIT_EXPECT_EQ_MSG(test, lmtest_join(test, w), 0, "%s, %lu",
					    lmtest_op_name[timed[k]], timeout[i]);
		}
}

/* What is left until a deadline that has passed is negative: there is no time. */
static void passed_deadlines(struct kunit *test)
{
	static const unsigned long timeout[] = {
		-1UL, -HZ, (unsigned long)LONG_MAX + 1, (unsigned long)LONG_MAX + 2,
	};
	struct lockmap *map = lmtest_create_u64(test);
	u64 key = 5;

	for (unsigned int i = 0; i < ARRAY_SIZE(timeout); i++)
		for (unsigned int k = 0; k < ARRAY_SIZE(timed); k++) {
			struct lockmap_entry *entry;
			struct worker *w;

			KUNIT_EXPECT_EQ_MSG(test, lmtest_do_op(map, timed[k], &key, sizeof(key),
							       timeout[i], NULL), 0, "%s, %lu",
					    lmtest_op_name[timed[k]], timeout[i]);
			entry = lmtest_hold(test, map, 5);
			w = lmtest_start_op(test, map, timed[k], 5, timeout[i]);
			KUNIT_EXPECT_EQ_MSG(test, lmtest_join(test, w), -ETIMEDOUT, "%s, %lu",
					    lmtest_op_name[timed[k]], timeout[i]);
			lockmap_unlock(entry);
		}
}

/* Each key of the batch is unlocked within the timeout, but not all of them. */
static void batch_timeout_is_for_all_keys(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_key *keys = lmtest_make_keys(test, 0, 8);
	unsigned long timeout = HZ / 5 + 1;
	struct lockmap_entry *entry[8];
	struct worker *w;

	for (u64 n = 0; n < 8; n++)
		entry[n] = lmtest_hold(test, map, n);
	w = lmtest_start_batch(test, map, OP_BATCH_TIMEOUT, keys, 8, timeout);
	lmtest_expect_waiting(test, w);
	for (u64 n = 0; n < 8; n++) {
		schedule_timeout_uninterruptible(timeout / 2);
		lockmap_unlock(entry[n]);
	}
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), -ETIMEDOUT);
	lmtest_expect_unlocked(test, map, 0, 7);
}

static unsigned long ending_timeout(unsigned int i)
{
	return lmtest_endings[i].sig ? PATIENCE : HZ / 8;
}

static void end_wait(struct kunit *test, struct worker *w, unsigned int i)
{
	if (lmtest_endings[i].sig)
		send_sig(lmtest_endings[i].sig, w->task, 1);
	KUNIT_EXPECT_EQ_MSG(test, lmtest_join(test, w), lmtest_endings[i].error, "%s, signal %d",
			    lmtest_op_name[lmtest_endings[i].op], lmtest_endings[i].sig);
}

/* The key is not locked by the waiter that gave up, who leaves nothing behind. */
static void only_waiter_gives_up(struct kunit *test)
{
	for (unsigned int i = 0; i < NR_ENDINGS; i++)
		for (unsigned int present = 0; present < 2; present++) {
			struct lockmap *map = lmtest_create_u64(test);
			struct lockmap_entry *entry;
			struct worker *w;

			if (present)
				KUNIT_EXPECT_EQ(test, insert_nr(map, 5, 50), 0);
			entry = lmtest_hold(test, map, 5);
			w = lmtest_start_op(test, map, lmtest_endings[i].op, 5, ending_timeout(i));
			lmtest_expect_waiting(test, w);
			end_wait(test, w, i);
			KUNIT_EXPECT_EQ(test, trylock_error(map, 5), -EBUSY);
			lockmap_unlock(entry);
			lmtest_expect_unlocked(test, map, 5, 5);
			KUNIT_EXPECT_EQ(test, lockmap_len(map), present);

			/* The next one waits and gets the key as ever. */
			entry = lmtest_hold(test, map, 5);
			w = lmtest_start_op(test, map, lmtest_endings[i].op, 5, PATIENCE);
			lmtest_expect_waiting(test, w);
			lockmap_unlock(entry);
			KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
			lmtest_destroy(test, map);
		}
}

/* Four tasks wait. One of them gives up, whichever it is, and the others get the key. */
static void one_of_four_waiters_gives_up(struct kunit *test)
{
	static const enum op ops[] = { OP_LOCK, OP_BATCH, OP_LOCK_SHARED, OP_BATCH_SHARED };
	struct lockmap *map = lmtest_create_u64(test);

	for (unsigned int i = 0; i < NR_ENDINGS; i++)
		for (unsigned int quitter = 0; quitter < 4; quitter++) {
			struct lockmap_entry *entry = lmtest_hold(test, map, 5);
			struct worker *w[4];

			for (unsigned int t = 0; t < 4; t++) {
				enum op op = t == quitter ? lmtest_endings[i].op : ops[(t + i) % 4];

				w[t] = lmtest_start_op(test, map, op, 5, ending_timeout(i));
				lmtest_expect_waiting(test, w[t]);
			}
			end_wait(test, w[quitter], i);
			for (unsigned int t = 0; t < 4; t++)
				if (t != quitter)
					lmtest_expect_waiting(test, w[t]);
			lockmap_unlock(entry);
			for (unsigned int t = 0; t < 4; t++)
				if (t != quitter)
					KUNIT_EXPECT_EQ(test, lmtest_join(test, w[t]), 0);
			lmtest_expect_unlocked(test, map, 5, 5);
			KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
			lmtest_release_workers(test);
		}
}

/* A batch that gives up at its third key unlocks the first two. */
static void batch_gives_up(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_key *keys = lmtest_make_keys(test, 1, 5);

	for (unsigned int i = 0; i < NR_ENDINGS; i++) {
		struct lockmap_entry *entry;
		struct worker *w, *next;

		if (!op_is_batch(lmtest_endings[i].op))
			continue;
		entry = lmtest_hold(test, map, 3);
		lmtest_shuffle_keys(keys, 5, i);
		for (unsigned int k = 0; k < 5; k++)
			keys[k].shared = op_shares(lmtest_endings[i].op);
		w = lmtest_start_batch(test, map, lmtest_endings[i].op, keys, 5, ending_timeout(i));
		lmtest_expect_waiting(test, w);
		KUNIT_EXPECT_EQ(test, trylock_error(map, 1), -EBUSY);
		KUNIT_EXPECT_EQ(test, trylock_error(map, 2), -EBUSY);
		lmtest_expect_unlocked(test, map, 4, 5);
		next = lmtest_start_op(test, map, OP_LOCK, 2, 0);
		lmtest_expect_waiting(test, next);
		end_wait(test, w, i);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, next), 0);
		lmtest_expect_unlocked(test, map, 1, 2);
		lockmap_unlock(entry);
		lmtest_expect_unlocked(test, map, 1, 5);
		KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
	}
}

/*
 * Three of four waiters are interrupted at about the moment when the key is
 * unlocked. One of them may have been handed the key just then: it has to take it,
 * or to wake up the next. The fourth must get the key, and nobody unlocks it again
 * to make up for a lost wakeup.
 */
static void signal_meets_unlock(struct kunit *test)
{
	static const enum op calls[][4] = {
		{ OP_LOCK_INTERRUPTIBLE, OP_LOCK_INTERRUPTIBLE, OP_LOCK_INTERRUPTIBLE, OP_LOCK },
		{ OP_LOCK_INTERRUPTIBLE, OP_LOCK_SHARED_INTERRUPTIBLE, OP_LOCK_INTERRUPTIBLE,
		  OP_LOCK_SHARED },
		{ OP_LOCK_SHARED_INTERRUPTIBLE, OP_LOCK_INTERRUPTIBLE, OP_LOCK_INTERRUPTIBLE,
		  OP_LOCK_SHARED },
		{ OP_LOCK_SHARED_INTERRUPTIBLE, OP_LOCK_SHARED_INTERRUPTIBLE,
		  OP_LOCK_SHARED_INTERRUPTIBLE, OP_LOCK },
	};
	unsigned int rounds = slow_kernel() ? 40 : 120;
	struct lockmap *map = lmtest_create_u64(test);

	for (unsigned int i = 0; i < rounds; i++) {
		struct lockmap_entry *entry = lmtest_hold(test, map, 5);
		struct worker *w[4];

		for (unsigned int t = 0; t < 4; t++) {
			enum op op = calls[i / (rounds / 4)][t];

			w[t] = lmtest_start_op(test, map, op, 5, 0);
			lmtest_expect_waiting(test, w[t]);
		}
		for (unsigned int t = 0; t < 3; t++)
			send_sig(SIGUSR1, w[t]->task, 1);
		udelay(i % (rounds / 4) * 400 / rounds);
		lockmap_unlock(entry);
		for (unsigned int t = 0; t < 3; t++) {
			int ret = lmtest_join(test, w[t]);

			KUNIT_EXPECT_TRUE(test, ret == 0 || ret == -EINTR);
		}
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w[3]), 0);
		lmtest_expect_unlocked(test, map, 5, 5);
		lmtest_release_workers(test);
	}
}

static struct kunit_case giveup_cases[] = {
	KUNIT_CASE(timeouts),
	KUNIT_CASE(long_timeouts),
	KUNIT_CASE(passed_deadlines),
	KUNIT_CASE(batch_timeout_is_for_all_keys),
	KUNIT_CASE_SLOW(only_waiter_gives_up),
	KUNIT_CASE_SLOW(one_of_four_waiters_gives_up),
	KUNIT_CASE(batch_gives_up),
	KUNIT_CASE_SLOW(signal_meets_unlock),
	{}
};

struct kunit_suite lmtest_giveup_suite = {
	.name = "lockmap_giveup",
	.init = lmtest_init,
	.test_cases = giveup_cases,
};
