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
	SOFT_TRYLOCK_SHARED,
	SOFT_UNLOCK_SHARED,
	SOFT_LOCK_ASYNC,
	SOFT_CANCEL,
	SOFT_LOOK,
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
	const struct lockmap_entry *shared;
	struct lockmap_request req;
	unsigned int granted;
	bool granted_in_softirq;
	bool granted_at_once;
	bool cancelled;
	u64 *value;
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

/* Read a value, and lock its key by either name, and unlock it. Return: the number of errors. */
static unsigned long look(void)
{
	struct lockmap_entry *entry;
	u64 value = 0, absent = 99;
	unsigned long errors = 0;

	errors += lockmap_tryget(soft.map, &soft.key, sizeof(soft.key), &value) || value != 3;
	errors += lockmap_tryget(soft.map, &absent, sizeof(absent), NULL) != -ENOENT;
	entry = lockmap_trylock_present(soft.map, &soft.key, sizeof(soft.key));
	if (IS_ERR(entry))
		return errors + 1;
	errors += lockmap_tryget(soft.map, &soft.key, sizeof(soft.key), NULL) != -EBUSY;
	errors += lockmap_entry_trylock(entry);
	lockmap_unlock(entry);
	entry = lockmap_trylock_present(soft.map, &absent, sizeof(absent));
	errors += PTR_ERR(entry) != -ENOENT;
	entry = lockmap_value_entry(soft.value);
	if (!lockmap_entry_trylock(entry))
		return errors + 1;
	lockmap_unlock(entry);
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
		soft.granted_at_once = soft.granted;
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
	case SOFT_TRYLOCK_SHARED:
		soft.shared = lockmap_trylock_shared(soft.map, &soft.key, sizeof(soft.key));
		break;
	case SOFT_UNLOCK_SHARED:
		lockmap_unlock_shared(soft.shared);
		soft.granted_at_once = soft.granted;
		break;
	case SOFT_LOCK_ASYNC:
		soft.entry = lockmap_lock_async(soft.map, &soft.key, sizeof(soft.key), &soft.req);
		break;
	case SOFT_CANCEL:
		soft.cancelled = lockmap_cancel(&soft.req);
		break;
	case SOFT_LOOK:
		soft.errors = look();
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
	timer_setup(&soft.timer, run_soft_action, TIMER_PINNED);
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
	soft.key = 5;

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

/* A key is shared by softirq and by tasks, each of which unlocks what the other has locked. */
static void shared_keys_in_softirq(struct kunit *test)
{
	const struct lockmap_entry *own;
	struct worker *w;

	soft.map = lmtest_create_u64(test);
	for (unsigned int present = 0; present < 2; present++) {
		soft.key = 5 + present;
		if (present)
			KUNIT_EXPECT_EQ(test, insert_nr(soft.map, 6, 60), 0);
		do_in_softirq(test, SOFT_TRYLOCK_SHARED);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, soft.shared);
		own = share_nr(soft.map, 5 + present);
		KUNIT_ASSERT_PTR_EQ(test, own, soft.shared);
		w = lmtest_start_op(test, soft.map, OP_LOCK, 5 + present, 0);
		lmtest_expect_waiting(test, w);
		do_in_softirq(test, SOFT_UNLOCK_SHARED);
		lmtest_expect_waiting(test, w);
		do_in_softirq(test, SOFT_TRYLOCK_SHARED);
		KUNIT_EXPECT_EQ(test, PTR_ERR(soft.shared), -EBUSY);
		soft.shared = own;
		do_in_softirq(test, SOFT_UNLOCK_SHARED);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);

		do_in_softirq(test, SOFT_TRYLOCK_SHARED);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, soft.shared);
		lockmap_unlock_shared(soft.shared);
		lmtest_expect_unlocked(test, soft.map, 5, 6);
	}
}

static void soft_granted(struct lockmap_request *req, struct lockmap_entry *entry)
{
	soft.granted++;
	soft.granted_in_softirq = in_serving_softirq();
	lockmap_unlock(entry);
}

/* Ask for a key that the caller holds. */
static struct lockmap_entry *hold_and_ask(struct kunit *test, bool in_softirq)
{
	struct lockmap_entry *entry = lmtest_hold(test, soft.map, 5);

	lockmap_entry_disown(entry);
	soft.req.granted = soft_granted;
	soft.granted = 0;
	if (in_softirq)
		do_in_softirq(test, SOFT_LOCK_ASYNC);
	else
		soft.entry = lockmap_lock_async(soft.map, &soft.key, sizeof(soft.key), &soft.req);
	KUNIT_EXPECT_EQ(test, PTR_ERR(soft.entry), -EINPROGRESS);
	KUNIT_EXPECT_EQ(test, soft.granted, 0);
	return entry;
}

/* Requests are made, granted and taken back in softirq. */
static void requests_in_softirq(struct kunit *test)
{
	struct lockmap_entry *entry;

	soft.map = lmtest_create_u64(test);
	soft.key = 5;
	soft.req.granted = soft_granted;
	/* the key is new, then free */
	for (unsigned int i = 0; i < 2; i++) {
		do_in_softirq(test, SOFT_LOCK_ASYNC);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, soft.entry);
		lockmap_unlock(soft.entry);
	}
	for (unsigned int i = 0; i < 4; i++) {
		entry = hold_and_ask(test, i % 2);
		soft.entry = entry;
		if (i / 2)
			do_in_softirq(test, SOFT_UNLOCK);
		else
			lockmap_unlock(entry);
		KUNIT_EXPECT_EQ(test, soft.granted, 1);
		KUNIT_EXPECT_EQ(test, soft.granted_in_softirq, i / 2);

		entry = hold_and_ask(test, i % 2);
		if (i / 2)
			do_in_softirq(test, SOFT_CANCEL);
		else
			soft.cancelled = lockmap_cancel(&soft.req);
		KUNIT_EXPECT_TRUE(test, soft.cancelled);
		lockmap_unlock(entry);
		KUNIT_EXPECT_EQ(test, soft.granted, 0);
		lmtest_expect_unlocked(test, soft.map, 5, 5);
	}
}

/* A request of a task that is interrupted while its function runs */
static struct {
	struct lockmap_request req;
	struct kunit *test;
	bool granted;
} interrupted;

static void unlock_in_softirq(struct lockmap_request *req, struct lockmap_entry *entry)
{
	do_in_softirq(interrupted.test, SOFT_UNLOCK);
	interrupted.granted = true;
	lockmap_unlock(entry);
}

/* What softirq grants it calls itself, though the task below is calling functions, too. */
static void softirq_interrupts_grant(struct kunit *test)
{
	struct lockmap_entry *entry, *other;
	u64 key = 6;

	soft.map = lmtest_create_u64(test);
	soft.key = 5;
	other = hold_and_ask(test, false);
	entry = lmtest_hold(test, soft.map, 6);
	interrupted.test = test;
	interrupted.granted = false;
	interrupted.req.granted = unlock_in_softirq;
	KUNIT_EXPECT_EQ(test, PTR_ERR(lockmap_lock_async(soft.map, &key, sizeof(key),
							 &interrupted.req)), -EINPROGRESS);
	soft.entry = other;
	soft.granted_at_once = false;
	lockmap_unlock(entry);
	KUNIT_EXPECT_TRUE(test, interrupted.granted);
	KUNIT_EXPECT_EQ(test, soft.granted, 1);
	KUNIT_EXPECT_TRUE(test, soft.granted_in_softirq);
	KUNIT_EXPECT_TRUE(test, soft.granted_at_once);
	lmtest_expect_unlocked(test, soft.map, 5, 6);
}

/* What is locked under a spinlock, with softirqs disabled, belongs to the task. */
/* What is there can be read and locked; a key that is locked so belongs to no task. */
static void present_keys_in_softirq(struct kunit *test)
{
	struct lockmap_entry *entry;

	soft.map = lmtest_create_u64(test);
	soft.key = 5;
	entry = lmtest_hold(test, soft.map, 5);
	soft.value = lockmap_entry_get_or_insert(entry, &(u64) { 3 });
	lockmap_unlock(entry);
	do_in_softirq(test, SOFT_LOOK);
	KUNIT_EXPECT_EQ(test, soft.errors, 0);
	lmtest_expect_unlocked(test, soft.map, 5, 5);
	KUNIT_EXPECT_EQ(test, lockmap_len(soft.map), 1);
}

static void trylock_under_spinlock(struct kunit *test)
{
	static DEFINE_SPINLOCK(spin);
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_key *keys = lmtest_make_keys(test, 1, 3);
	struct lockmap_entry *entry, *other;
	struct lockmap_prealloc *pre;
	struct lockmap_batch *batch;
	u64 key = 5, key6 = 6;
	int error[4];

	spin_lock_bh(&spin);
	entry = lockmap_trylock(map, &key, sizeof(key));
	error[0] = lock_error(lockmap_trylock(map, &key, sizeof(key)));
	other = lockmap_trylock(map, &key6, sizeof(key6));
	error[1] = lock_error(other);
	batch = lockmap_batch_trylock(map, keys, 3);
	error[2] = batch_error(batch);
	pre = lockmap_prealloc(map, GFP_ATOMIC);
	error[3] = PTR_ERR_OR_ZERO(pre);
	lockmap_prealloc_free(pre);
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
	KUNIT_CASE(shared_keys_in_softirq),
	KUNIT_CASE(requests_in_softirq),
	KUNIT_CASE(softirq_interrupts_grant),
	KUNIT_CASE(present_keys_in_softirq),
	KUNIT_CASE(trylock_under_spinlock),
	{}
};

struct kunit_suite lmtest_softirq_suite = {
	.name = "lockmap_softirq",
	.init = lmtest_init,
	.test_cases = softirq_cases,
};
