// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A lock belongs to the task that took it, until it is disowned
 */
#include <linux/lockdep.h>

#include "worker.h"

/* Visit one value. */
static int stop_at_once(const void *key, size_t len, void *value, void *arg)
{
	(*(unsigned long *)arg)++;
	return 1;
}

/* What each call returns to the holder of the key: an error, and nothing is changed. */
static void expect_edeadlk(struct kunit *test, struct lockmap *map, u64 n, bool present,
			   const char *when)
{
	size_t len = lockmap_len(map);
	u64 key = n, old = 1234;
	unsigned long visits = 0;

	for (enum op op = 0; op < NR_OPS; op++) {
		int ret = lmtest_do_op(map, op, &key, sizeof(key), HZ, &visits);
		int want = op == OP_CONTAINS ? present :
			   op >= NR_WAIT_OPS ? -EBUSY : -EDEADLK;

		KUNIT_EXPECT_EQ_MSG(test, ret, want, "%s, %s", lmtest_op_name[op], when);
	}
	KUNIT_EXPECT_EQ(test, lockmap_insert(map, &key, sizeof(key), &old, &old), -EDEADLK);
	KUNIT_EXPECT_EQ(test, lockmap_remove(map, &key, sizeof(key), &old), -EDEADLK);
	KUNIT_EXPECT_EQ(test, lockmap_get(map, &key, sizeof(key), NULL), -EDEADLK);
	KUNIT_EXPECT_EQ(test, lockmap_retain(map, lmtest_keep_none, &visits), -EDEADLK);
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, stop_at_once, &visits), -EDEADLK);
	KUNIT_EXPECT_EQ_MSG(test, visits, 0, "%s", when);
	KUNIT_EXPECT_EQ(test, old, 1234);
	KUNIT_EXPECT_EQ_MSG(test, lockmap_len(map), len, "%s", when);
}

/* Locks are not recursive: a task is refused a key that it holds, in whatever way. */
static void own_key_is_refused(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry;
	struct lockmap_batch *batch;
	struct worker *w;

	for (u64 n = 1; n < 5; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n * 10), 0);

	entry = lmtest_hold(test, map, 3);
	expect_edeadlk(test, map, 3, true, "present");
	w = lmtest_start_op(test, map, OP_LOCK, 3, 0);
	lmtest_expect_waiting(test, w);
	expect_edeadlk(test, map, 3, true, "waited for");
	KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 30);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);

	entry = lmtest_hold(test, map, 9);
	expect_edeadlk(test, map, 9, false, "absent");
	KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
	lockmap_unlock(entry);

	batch = lockmap_batch_lock(map, lmtest_make_keys(test, 2, 3), 3);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	/* Of these keys some are smaller than others that are held. */
	lockdep_off();
	for (u64 n = 2; n < 5; n++)
		expect_edeadlk(test, map, n, true, "in a batch");
	lockdep_on();
	lockmap_batch_unlock(batch);

	/* Once they are unlocked, the same task can lock all keys again. */
	for (u64 n = 1; n < 10; n++)
		KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, n)), 0);
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
}

/*
 * A batch with a key in the middle that its task holds already. That breaks the
 * order of keys on purpose, so lockdep is off.
 */
static void batch_with_own_key_is_refused(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_key *keys = lmtest_make_keys(test, 1, 9);
	struct lockmap_entry *entry = lmtest_hold(test, map, 5);
	int error[5];

	lmtest_shuffle_keys(keys, 9, 1);
	lockdep_off();
	error[0] = batch_error(lockmap_batch_lock(map, keys, 9));
	error[1] = batch_error(lockmap_batch_lock_interruptible(map, keys, 9));
	error[2] = batch_error(lockmap_batch_lock_killable(map, keys, 9));
	error[3] = batch_error(lockmap_batch_lock_timeout(map, keys, 9, HZ));
	error[4] = batch_error(lockmap_batch_trylock(map, keys, 9));
	lockdep_on();
	for (unsigned int i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ(test, error[i], -EDEADLK);
	KUNIT_EXPECT_EQ(test, error[4], -EBUSY);
	for (u64 n = 1; n < 10; n++)
		KUNIT_EXPECT_EQ(test, trylock_error(map, n), n == 5 ? -EBUSY : 0);
	lockmap_unlock(entry);
	lmtest_expect_unlocked(test, map, 1, 9);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
}

struct pair {
	u64 first;
	u64 second;
};

/* Change half of the value, and unlock it. */
static int leave_half_done(struct worker *w)
{
	struct lockmap_entry *entry = lock_nr(w->map, w->key);
	struct pair *v;

	if (IS_ERR_OR_NULL(entry))
		return PTR_ERR(entry) ?: -EFAULT;
	v = lockmap_entry_get_or_insert(entry, NULL);
	v->first = 1;
	lockmap_unlock(entry);
	return 0;
}

/* There is no lock poisoning: the next holder sees what the last one left, whatever it is. */
static void unfinished_value_is_kept(struct kunit *test)
{
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "poison", .key_len = sizeof(u64), .value_len = sizeof(struct pair),
	});
	struct worker *w = lmtest_worker_create(test, leave_half_done, map, "half done");
	struct lockmap_entry *entry;
	struct pair *v;

	w->key = 1;
	lmtest_worker_start(test, w);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	entry = lmtest_hold(test, map, 1);
	v = lockmap_entry_value(entry);
	KUNIT_EXPECT_NOT_NULL(test, v);
	if (v) {
		KUNIT_EXPECT_EQ(test, v->first, 1);
		KUNIT_EXPECT_EQ(test, v->second, 0);
	}
	lockmap_unlock(entry);
}

static int disown_and_walk(struct worker *w)
{
	struct lockmap_entry *entry = lock_nr(w->map, 5);
	unsigned long visits = 0;
	int ret;

	if (IS_ERR_OR_NULL(entry))
		return PTR_ERR(entry) ?: -EFAULT;
	lockmap_entry_disown(entry);
	w->arg = entry;
	lmtest_about_to_wait(w);
	ret = lockmap_for_each(w->map, lmtest_count_visit, &visits);
	w->count = visits;
	return ret;
}

static void disowned_key_has_no_owner(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	u64 key = 5;
	struct lockmap_entry *entry;
	struct lockmap_batch *batch;
	struct worker *w;

	KUNIT_EXPECT_EQ(test, insert_nr(map, 5, 50), 0);
	entry = lmtest_hold(test, map, 5);
	lockmap_entry_disown(entry);

	/* The task that disowned it waits like any other: no -EDEADLK. */
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_timeout(map, &key, 8, 2)), -ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_timeout(map, &key, 8, 0)), -ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, trylock_error(map, 5), -EBUSY);
	w = lmtest_start_op(test, map, OP_GET, 5, 0);
	lmtest_expect_waiting(test, w);

	/* The entry can be used as before, and unlocked by another task. */
	KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 50);
	lmtest_unlock_elsewhere(test, entry);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	lmtest_expect_unlocked(test, map, 5, 5);

	/* disowned while another task waits, and unlocked by the same task */
	entry = lmtest_hold(test, map, 5);
	w = lmtest_start_op(test, map, OP_LOCK, 5, 0);
	lmtest_expect_waiting(test, w);
	lockmap_entry_disown(entry);
	lmtest_expect_waiting(test, w);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);

	/* A walk of the task that disowned the key waits for it, too. */
	w = lmtest_worker_create(test, disown_and_walk, map, "disown and walk");
	lmtest_worker_start(test, w);
	lmtest_expect_waiting(test, w);
	lockmap_unlock(w->arg);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	KUNIT_EXPECT_EQ(test, w->count, 1);

	/* all keys of a batch */
	batch = lockmap_batch_lock(map, lmtest_make_keys(test, 4, 3), 3);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	lockmap_batch_for_each(batch, entry)
		lockmap_entry_disown(entry);
	for (u64 n = 4; n < 7; n++) {
		key = n;
		KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_timeout(map, &key, 8, 1)),
				-ETIMEDOUT);
	}
	lmtest_batch_unlock_elsewhere(test, batch);
	lmtest_expect_unlocked(test, map, 4, 6);
}

static struct kunit_case owner_cases[] = {
	KUNIT_CASE(own_key_is_refused),
	KUNIT_CASE(batch_with_own_key_is_refused),
	KUNIT_CASE(unfinished_value_is_kept),
	KUNIT_CASE(disowned_key_has_no_owner),
	{}
};

struct kunit_suite lmtest_owner_suite = {
	.name = "lockmap_owner",
	.init = lmtest_init,
	.test_cases = owner_cases,
};
