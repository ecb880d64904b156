// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Calls in softirq, and under a spinlock
 */
#include <linux/completion.h>
#include <linux/interrupt.h>
#include <linux/jiffies.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timer.h>

#include "worker.h"

/*
 * A timer does one thing in softirq, and leaves in @soft what came of it.
 */

enum soft_action {
	SOFT_TRYLOCK,
	SOFT_UNLOCK,
	SOFT_BATCH_TRYLOCK,
	SOFT_BATCH_UNLOCK,
	SOFT_VALUES,
};

static struct {
	struct timer_list timer;
	struct completion done;
	enum soft_action action;
	struct lockmap *map;
	u64 key;
	struct lockmap_key keys[3];
	struct lockmap_entry *entry;
	struct lockmap_batch *batch;
	unsigned long errors;
	bool in_softirq;
} soft;

/* Insert, replace and remove the value of a locked entry. Return: the number of errors. */
static unsigned long change_values(struct lockmap_entry *entry)
{
	unsigned long errors = 0;
	u64 *p, old = 0;

	errors += lockmap_entry_insert(entry, &(u64) { 1 }, NULL) != false;
	errors += lockmap_entry_insert(entry, &(u64) { 2 }, &old) != true || old != 1;
	p = lockmap_entry_value(entry);
	errors += !p || *p != 2;
	errors += lockmap_entry_remove(entry, NULL) != true;
	errors += !!lockmap_entry_value(entry);
	p = lockmap_entry_get_or_insert(entry, &(u64) { 3 });
	errors += *p != 3;
	errors += lockmap_is_empty(soft.map);
	return errors;
}

static void run_soft_action(struct timer_list *timer)
{
	soft.in_softirq = in_serving_softirq();
	switch (soft.action) {
	case SOFT_TRYLOCK:
		soft.entry = lockmap_trylock(soft.map, &soft.key, sizeof(soft.key));
		break;
	case SOFT_UNLOCK:
		lockmap_unlock(soft.entry);
		break;
	case SOFT_BATCH_TRYLOCK:
		soft.batch = lockmap_batch_trylock(soft.map, soft.keys, ARRAY_SIZE(soft.keys));
		break;
	case SOFT_BATCH_UNLOCK:
		lockmap_batch_unlock(soft.batch);
		break;
	case SOFT_VALUES:
		soft.errors = change_values(soft.entry);
		break;
	}
	complete(&soft.done);
}

static void do_in_softirq(struct kunit *test, enum soft_action action)
{
	unsigned long end = jiffies + 1 + HZ / 2, left;

	soft.action = action;
	soft.in_softirq = false;
	init_completion(&soft.done);
	timer_setup(&soft.timer, run_soft_action, 0);
	mod_timer(&soft.timer, jiffies + 1);
	/* Run until then, to be the task that is interrupted: it must not become the owner. */
	while (!completion_done(&soft.done) && time_before(jiffies, end))
		cpu_relax();
	left = wait_for_completion_timeout(&soft.done, PATIENCE);
	timer_delete_sync(&soft.timer);
	KUNIT_ASSERT_NE(test, left, 0);
	KUNIT_EXPECT_TRUE(test, soft.in_softirq);
}

static void keys_in_softirq(struct kunit *test)
{
	struct lockmap_entry *entry;
	struct worker *w;

	soft.map = lmtest_create_u64(test);
	soft.key = key_of(5);

	/* a new key is locked and unlocked in softirq; a task waits for it meanwhile */
	do_in_softirq(test, SOFT_TRYLOCK);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, soft.entry);
	KUNIT_EXPECT_EQ(test, trylock_error(soft.map, 5), -EBUSY);
	w = lmtest_start_op(test, soft.map, OP_GET, 5, 0);
	lmtest_expect_waiting(test, w);
	do_in_softirq(test, SOFT_VALUES);
	KUNIT_EXPECT_EQ(test, soft.errors, 0);
	lmtest_expect_waiting(test, w);
	do_in_softirq(test, SOFT_UNLOCK);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	lmtest_expect_unlocked(test, soft.map, 5, 5);

	/* It has no owner: no -EDEADLK, and any task may unlock it. */
	do_in_softirq(test, SOFT_TRYLOCK);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, soft.entry);
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_timeout(soft.map, &soft.key, 8, 2)),
			-ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(soft.entry), 3);
	lockmap_unlock(soft.entry);
	lmtest_expect_unlocked(test, soft.map, 5, 5);
	do_in_softirq(test, SOFT_TRYLOCK);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, soft.entry);
	lmtest_unlock_elsewhere(test, soft.entry);
	lmtest_expect_unlocked(test, soft.map, 5, 5);

	/* a task holds it */
	entry = lmtest_hold(test, soft.map, 5);
	do_in_softirq(test, SOFT_TRYLOCK);
	KUNIT_EXPECT_EQ(test, PTR_ERR(soft.entry), -EBUSY);

	/* a task locks and disowns it, softirq unlocks it: so does I/O that completes */
	lockmap_entry_disown(entry);
	w = lmtest_start_op(test, soft.map, OP_LOCK, 5, 0);
	lmtest_expect_waiting(test, w);
	soft.entry = entry;
	do_in_softirq(test, SOFT_UNLOCK);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	lmtest_expect_unlocked(test, soft.map, 5, 5);
}

static void batches_in_softirq(struct kunit *test)
{
	struct lockmap_key *keys = lmtest_make_keys(test, 1, 3);
	struct lockmap_entry *entry;
	struct worker *w;

	soft.map = lmtest_create_u64(test);
	memcpy(soft.keys, keys, sizeof(soft.keys));
	do_in_softirq(test, SOFT_BATCH_TRYLOCK);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, soft.batch);
	KUNIT_EXPECT_EQ(test, soft.batch->nr, 3);
	for (u64 n = 1; n < 4; n++)
		KUNIT_EXPECT_EQ(test, trylock_error(soft.map, n), -EBUSY);
	w = lmtest_start_batch(test, soft.map, OP_BATCH, keys, 3, 0);
	lmtest_expect_waiting(test, w);
	do_in_softirq(test, SOFT_BATCH_UNLOCK);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);

	do_in_softirq(test, SOFT_BATCH_TRYLOCK);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, soft.batch);
	lmtest_batch_unlock_elsewhere(test, soft.batch);

	entry = lmtest_hold(test, soft.map, 2);
	do_in_softirq(test, SOFT_BATCH_TRYLOCK);
	KUNIT_EXPECT_EQ(test, PTR_ERR(soft.batch), -EBUSY);
	lockmap_unlock(entry);
	lmtest_expect_unlocked(test, soft.map, 1, 3);
}

/* What is locked under a spinlock, with softirqs disabled, belongs to the task. */
static void trylock_under_spinlock(struct kunit *test)
{
	static DEFINE_SPINLOCK(spin);
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_key *keys = lmtest_make_keys(test, 1, 3);
	struct lockmap_entry *entry, *other, *new;
	struct lockmap_batch *batch;
	u64 key = key_of(5), key6 = key_of(6);
	int error[4];

	spin_lock_bh(&spin);
	entry = lockmap_trylock(map, &key, sizeof(key));
	error[0] = lock_error(lockmap_trylock(map, &key, sizeof(key)));
	other = lockmap_trylock(map, &key6, sizeof(key6));
	error[1] = lock_error(other);
	batch = lockmap_batch_trylock(map, keys, 3);
	error[2] = batch_error(batch);
	new = lockmap_entry_alloc(map, &key, sizeof(key), GFP_ATOMIC);
	error[3] = PTR_ERR_OR_ZERO(new);
	lockmap_entry_free(new);
	spin_unlock_bh(&spin);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	KUNIT_EXPECT_EQ(test, error[0], -EBUSY);
	KUNIT_EXPECT_EQ(test, error[1], 0);
	KUNIT_EXPECT_EQ(test, error[2], 0);
	KUNIT_EXPECT_EQ(test, error[3], 0);
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock(map, &key, sizeof(key))), -EDEADLK);

	spin_lock_bh(&spin);
	lockmap_entry_insert(entry, &(u64) { 1 }, NULL);
	lockmap_unlock(entry);
	spin_unlock_bh(&spin);
	lmtest_expect_unlocked(test, map, 1, 6);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
}

static struct kunit_case softirq_cases[] = {
	KUNIT_CASE(keys_in_softirq),
	KUNIT_CASE(batches_in_softirq),
	KUNIT_CASE(trylock_under_spinlock),
	{}
};

struct kunit_suite lmtest_softirq_suite = {
	.name = "lockmap_softirq",
	.init = lmtest_init,
	.test_cases = softirq_cases,
};
