// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * One holder at a time for a key; holders of other keys are not held up
 *
 * Many threads that lock at random, and find out whether another one is in there
 * with them, are what the torture is made of.
 */
#include <linux/delay.h>

#include "worker.h"

/* Call everything with all keys but one. */
static int use_all_keys_but(struct worker *w)
{
	struct lockmap_key keys[4];
	u64 raw[4], value;
	int ret;

	for (unsigned int n = 0; n < 1000; n++) {
		if (n == w->key)
			continue;
		raw[0] = n;
		for (enum op op = 0; op < NR_OPS; op++) {
			if (op >= OP_FOR_EACH && op <= OP_CLEAR)
				continue;
			ret = lmtest_do_op(w->map, op, raw, sizeof(u64), PATIENCE, NULL);
			if (ret < 0 && ret != -ENOENT)
				return ret;
		}
		if (insert_nr(w->map, n, n) || get_nr(w->map, n, &value) || value != n)
			return -EIO;

		for (unsigned int i = 0; i < 4; i++) {
			u64 other = (n + 100 * i) % 1000;

			raw[i] = other == w->key ? n : other;
			keys[i] = (struct lockmap_key) { raw + i, sizeof(u64) };
		}
		ret = batch_error(lockmap_batch_lock(w->map, keys, 4)) ?:
		      batch_error(lockmap_batch_trylock(w->map, keys, 4));
		if (ret)
			return ret;
		w->count++;
	}
	return 0;
}

/* A key that is held and waited for holds up nobody who uses other keys. */
static void keys_are_independent(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry = lmtest_hold(test, map, 500);
	struct worker *waiter = lmtest_start_op(test, map, OP_LOCK, 500, 0);
	struct worker *w;

	lmtest_expect_waiting(test, waiter);
	w = lmtest_worker_create(test, use_all_keys_but, map, "other keys");
	w->key = 500;
	lmtest_worker_start(test, w);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	KUNIT_EXPECT_EQ(test, w->count, 999);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 999);
	KUNIT_EXPECT_FALSE(test, completion_done(&waiter->done));

	/* The holder can lock other keys as well, in ascending order. */
	for (u64 n = 501; n < 1000; n++)
		KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, n)), 0);
	KUNIT_EXPECT_EQ(test, insert_nr(map, 501, 1), 1);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, waiter), 0);
}

/**
 * struct shared - what only the holder of the key may touch
 * @entered: how often a holder came in
 * @inside: how many are in there
 */
struct shared {
	unsigned long entered;
	unsigned int inside;
};

/*
 * Lock the key and stay for a while. All others that were let in, too, come in
 * within that time, and are counted as errors.
 */
static int enter(struct worker *w)
{
	struct shared *shared = w->arg;
	u64 key = w->key;
	struct lockmap_entry *entry;
	struct lockmap_batch *batch;

	lmtest_about_to_wait(w);
	entry = lmtest_lock_by(w->map, w->op, &key, sizeof(key), PATIENCE, &batch);
	if (IS_ERR_OR_NULL(entry))
		return PTR_ERR(entry) ?: -EFAULT;
	w->errors += shared->inside++ != 0;
	usleep_range(500, 1000);
	shared->inside--;
	w->count = ++shared->entered;
	lmtest_unlock_by(w->op, entry, batch);
	return 0;
}

static struct worker *start_entering(struct kunit *test, struct lockmap *map, enum op op, u64 n,
				     struct shared *shared)
{
	struct worker *w = lmtest_worker_create(test, enter, map, lmtest_op_name[op]);

	w->op = op;
	w->key = n;
	w->arg = shared;
	return lmtest_worker_start(test, w);
}

/*
 * Whatever call a key is locked by, no call locks it again, with a value or without; but
 * calls that share it do so together.
 */
static void every_lock_excludes_every_other(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct shared *shared = lmtest_zalloc(test, sizeof(*shared));

	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 1), 0);
	for (enum op holder = 0; holder < NR_SHARE_OPS; holder++)
		for (enum op waiter = 0; waiter < NR_SHARE_OPS; waiter++) {
			bool together = op_shares(holder) && op_shares(waiter);
			u64 n = (holder + waiter) % 2, key = n;
			unsigned long entered = shared->entered;
			struct lockmap_entry *entry;
			struct lockmap_batch *batch;
			struct worker *w;

			entry = lmtest_lock_by(map, holder, &key, sizeof(key), PATIENCE, &batch);
			KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
			KUNIT_EXPECT_EQ(test, trylock_error(map, n), -EBUSY);
			w = start_entering(test, map, waiter, n, shared);
			if (together)
				KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
			else
				lmtest_expect_waiting(test, w);
			KUNIT_EXPECT_EQ_MSG(test, shared->entered, entered + together,
					    "%s enters despite %s, or does not",
					    lmtest_op_name[waiter], lmtest_op_name[holder]);
			lmtest_unlock_by(holder, entry, batch);
			KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
			KUNIT_EXPECT_EQ(test, shared->entered, entered + 1);
			lmtest_release_workers(test);
		}
	lmtest_expect_unlocked(test, map, 0, 1);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
}

/* Many wait for the same key by all calls; max_idle 1 gives up its entry at once afterwards. */
static void waiters_enter_one_at_a_time(struct kunit *test)
{
	static const unsigned int max_idle[] = { 0, 1 };

	for (unsigned int i = 0; i < ARRAY_SIZE(max_idle); i++)
		for (unsigned int present = 0; present < 2; present++) {
			struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
				.name = "exclusion", .key_len = sizeof(u64),
				.value_len = sizeof(u64), .max_idle = max_idle[i], .nr_shards = 1,
			});
			struct shared *shared = lmtest_zalloc(test, sizeof(*shared));
			struct lockmap_entry *entry = lmtest_hold(test, map, 1);
			unsigned int nr = 2 * NR_LOCK_OPS;

			for (unsigned int t = 0; t < nr; t++)
				lmtest_expect_waiting(test, start_entering(test, map,
									   t % NR_LOCK_OPS, 1,
									   shared));
			if (present)
				lockmap_entry_insert(entry, NULL, NULL);
			lockmap_unlock(entry);
			lmtest_join_all(test);
			KUNIT_EXPECT_EQ(test, lmtest_sum_errors(test), 0);
			KUNIT_EXPECT_EQ(test, shared->entered, nr);
			/* Each saw what the one before it wrote: 1 + 2 + ... + nr. */
			KUNIT_EXPECT_EQ(test, lmtest_sum_counts(test), nr * (nr + 1) / 2);
			lmtest_expect_unlocked(test, map, 1, 1);
			KUNIT_EXPECT_EQ(test, lockmap_len(map), present);
			lmtest_release_workers(test);
			lmtest_destroy(test, map);
		}
}

static struct kunit_case exclusion_cases[] = {
	KUNIT_CASE(keys_are_independent),
	KUNIT_CASE(every_lock_excludes_every_other),
	KUNIT_CASE(waiters_enter_one_at_a_time),
	{}
};

struct kunit_suite lmtest_exclusion_suite = {
	.name = "lockmap_exclusion",
	.init = lmtest_init,
	.test_cases = exclusion_cases,
};
