// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Keys that go from exclusive to shared, from shared to exclusive, and to free
 */
#include <linux/delay.h>
#include <linux/mm.h>

#include "worker.h"

/* Lock the key exclusively, again and again, and count in its value. */
static int count_in_value(struct worker *w)
{
	while (!lmtest_must_stop(w)) {
		struct lockmap_entry *entry = lock_nr(w->map, 5);

		if (IS_ERR_OR_NULL(entry))
			return PTR_ERR(entry) ?: -EFAULT;
		++*(u64 *)lockmap_entry_get_or_insert(entry, NULL);
		w->count++;
		lockmap_unlock(entry);
	}
	return 0;
}

/*
 * Nobody has the key exclusively between a downgrade and the unlock. The task reads the key
 * by calls that lockdep takes for such as may wait: it need not know that the task holds it.
 */
static void downgrade_leaves_no_gap(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	unsigned int wrong = 0, rounds = scaled(20000);
	struct worker *w[2];

	for (unsigned int t = 0; t < ARRAY_SIZE(w); t++)
		w[t] = lmtest_worker_start(test, lmtest_worker_create(test, count_in_value, map,
								      "writer"));
	for (unsigned int i = 0; i < rounds; i++) {
		struct lockmap_entry *entry = lock_nr(map, 5);
		const struct lockmap_entry *shared;
		u64 *value, now, got;

		if (IS_ERR_OR_NULL(entry)) {
			wrong++;
			break;
		}
		value = lockmap_entry_get_or_insert(entry, NULL);
		now = ++*value;
		shared = lockmap_downgrade(entry);
		lockmap_entry_disown_shared(shared);
		wrong += get_nr(map, 5, &got) || got != now;
		wrong += trylock_error(map, 5) != -EBUSY;
		wrong += lmtest_shared_value(shared) != now;
		lockmap_unlock_shared(shared);
		resched_if_needed();
	}
	lmtest_stop_workers(test);
	lmtest_join_all(test);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	kunit_info(test, "%u downgrades among %lu exclusive locks", rounds,
		   lmtest_sum_counts(test));
	lmtest_expect_unlocked(test, map, 5, 5);
}

/* How many requests were granted */
static unsigned int granted;

static void count_grant(struct lockmap_request *req, struct lockmap_entry *entry)
{
	granted++;
	lockmap_unlock(entry);
}

/* An unlock would grant the request at once. A downgrade does not, nor does it wait for it. */
static void downgrade_grants_no_request(struct kunit *test)
{
	struct lockmap_request req = { .granted = count_grant };
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry = lmtest_hold(test, map, 5);
	const struct lockmap_entry *shared;
	u64 key = 5;

	granted = 0;
	KUNIT_EXPECT_EQ(test, PTR_ERR(lockmap_lock_async(map, &key, sizeof(key), &req)),
			-EINPROGRESS);
	shared = lockmap_downgrade(entry);
	KUNIT_EXPECT_EQ(test, granted, 0);
	KUNIT_EXPECT_EQ(test, share_error(map, 5), -EBUSY);
	entry = lockmap_try_upgrade(shared);
	KUNIT_ASSERT_NOT_NULL(test, entry);
	shared = lockmap_downgrade(entry);
	KUNIT_EXPECT_EQ(test, granted, 0);
	lockmap_unlock_shared(shared);
	KUNIT_EXPECT_EQ(test, granted, 1);
	lmtest_expect_unlocked(test, map, 5, 5);
}

/* What an exclusive holder did is there after a downgrade. */
static void downgraded_key_has_its_value(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	const struct lockmap_entry *shared;
	struct lockmap_entry *entry;
	u64 value = 0;

	for (unsigned int present = 0; present < 2; present++) {
		entry = lmtest_hold(test, map, 5);
		if (present)
			lockmap_entry_insert(entry, &(u64) { 7 }, NULL);
		else
			lockmap_entry_remove(entry, NULL);
		shared = lockmap_downgrade(entry);
		lockmap_entry_disown_shared(shared);
		KUNIT_EXPECT_EQ(test, share_error(map, 5), 0);
		KUNIT_EXPECT_EQ(test, get_nr(map, 5, &value), present ? 0 : -ENOENT);
		KUNIT_EXPECT_EQ(test, contains_nr(map, 5), present);
		lockmap_unlock_shared(shared);
		KUNIT_EXPECT_EQ(test, contains_nr(map, 5), present);
	}
	/* the value goes between an upgrade and a downgrade */
	entry = lockmap_try_upgrade(lmtest_hold_shared(test, map, 5));
	KUNIT_ASSERT_NOT_NULL(test, entry);
	KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(entry, NULL));
	shared = lockmap_downgrade(entry);
	lockmap_entry_disown_shared(shared);
	KUNIT_EXPECT_EQ(test, get_nr(map, 5, &value), -ENOENT);
	lockmap_unlock_shared(shared);
	lmtest_expect_absent(test, map, 5);
}

/* Only the one holder there is gets the key for itself, at once, and owns it then. */
static void upgrade(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	const struct lockmap_entry *shared, *other;
	struct lockmap_entry *entry;
	u64 key = 5;
	struct worker *w;

	for (unsigned int waited_for = 0; waited_for < 2; waited_for++) {
		shared = lmtest_hold_shared(test, map, 5);
		other = lmtest_hold_shared(test, map, 5);
		w = waited_for ? lmtest_start_op(test, map, OP_LOCK, 5, 0) : NULL;
		if (w)
			lmtest_expect_waiting(test, w);
		KUNIT_EXPECT_NULL(test, lockmap_try_upgrade(shared));
		KUNIT_EXPECT_NULL(test, lockmap_try_upgrade(other));
		lockmap_unlock_shared(other);
		entry = lockmap_try_upgrade(shared);
		KUNIT_ASSERT_PTR_EQ(test, entry, (struct lockmap_entry *)shared);
		KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, 5)), -EDEADLK);
		KUNIT_EXPECT_EQ(test, PTR_ERR(lockmap_lock_shared_timeout(map, &key, sizeof(key),
									  PATIENCE)), -EDEADLK);
		KUNIT_EXPECT_EQ(test, share_error(map, 5), -EBUSY);
		++*(u64 *)lockmap_entry_get_or_insert(entry, NULL);
		if (w)
			lmtest_expect_waiting(test, w);
		lockmap_unlock(entry);
		if (w)
			KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
		lmtest_expect_unlocked(test, map, 5, 5);
	}
	KUNIT_EXPECT_EQ(test, insert_nr(map, 5, 0), 1);
}

/* Two holders ask for the upgrade at the same time. */
static int race_to_upgrade(struct worker *w)
{
	u64 key = 5;

	lmtest_wait_at_gate(w);
	for (unsigned int i = 0; i < w->nr; i++) {
		const struct lockmap_entry *shared = lockmap_lock_shared(w->map, &key, sizeof(key));
		struct lockmap_entry *entry;
		u64 *value;

		if (IS_ERR_OR_NULL(shared))
			return PTR_ERR(shared) ?: -EFAULT;
		entry = lockmap_try_upgrade(shared);
		if (!entry) {
			lockmap_unlock_shared(shared);
			continue;
		}
		value = lockmap_entry_get_or_insert(entry, NULL);
		*value += 1;
		w->count++;
		lockmap_unlock(entry);
		resched_if_needed();
	}
	return 0;
}

/* Of several holders never two are let in alone: their increments are not lost. */
static void upgrades_exclude_each_other(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	u64 value = 0;

	for (unsigned int t = 0; t < 3; t++) {
		struct worker *w = lmtest_worker_create(test, race_to_upgrade, map, "upgrade");

		w->nr = scaled(100000);
		lmtest_worker_start(test, w);
	}
	lmtest_open_gate(test);
	lmtest_join_all(test);
	KUNIT_EXPECT_EQ(test, get_nr(map, 5, &value), 0);
	KUNIT_EXPECT_EQ(test, value, lmtest_sum_counts(test));
}

/* The entry of a shared key stays, even if many others come and go. */
static void shared_entry_is_not_evicted(struct kunit *test)
{
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "stays", .key_len = sizeof(u64), .max_idle = 1, .nr_shards = 1,
	});
	const struct lockmap_entry *shared, *again;
	unsigned int failures = 0;

	/* It is in the ring when it is shared. */
	KUNIT_EXPECT_EQ(test, share_error(map, 5), 0);
	shared = lmtest_hold_shared(test, map, 5);
	for (u64 n = 10; n < 10 + scaled(5000); n++)
		failures += share_error(map, n) || trylock_error(map, n);
	KUNIT_EXPECT_EQ(test, failures, 0);
	KUNIT_EXPECT_EQ(test, trylock_error(map, 5), -EBUSY);
	again = lmtest_hold_shared(test, map, 5);
	KUNIT_EXPECT_PTR_EQ(test, again, shared);
	lockmap_unlock_shared(again);
	lockmap_unlock_shared(shared);
	lmtest_expect_unlocked(test, map, 5, 5);
}

/* The last unlock of an absent key leaves nothing, also if the key had many holders. */
static void absent_keys_are_reclaimed(struct kunit *test)
{
	unsigned int nr = slow_kernel() ? 1000 : 300000;
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "reclaimed", .key_len = sizeof(u64), .max_idle = 1, .nr_shards = 1,
	});
	unsigned int failures = 0;
	struct sysinfo before, after;

	si_meminfo(&before);
	for (u64 n = 0; n < nr; n++) {
		const struct lockmap_entry *entry = share_nr(map, n), *other = share_nr(map, n);

		failures += IS_ERR_OR_NULL(entry) || entry != other;
		if (failures)
			break;
		lockmap_unlock_shared(entry);
		failures += trylock_error(map, n) != -EBUSY;
		lockmap_unlock_shared(other);
		resched_if_needed();
	}
	si_meminfo(&after);
	KUNIT_EXPECT_EQ(test, failures, 0);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
	if (slow_kernel())
		return;
	/* Entries take 50 bytes at least. */
	KUNIT_EXPECT_LT(test, ((s64)before.freeram - (s64)after.freeram) * (s64)PAGE_SIZE,
			(s64)nr * 50 / 2);
}

/* As many holders as the word can count share a key; the next one has to wait for any of them. */
static void as_many_holders_as_can_be_counted(struct kunit *test)
{
	const unsigned int most = 4194303;
	struct lockmap *map = lmtest_create_u64(test);
	const struct lockmap_entry *shared = NULL;
	unsigned int failures = 0;
	struct worker *w[2];

	if (slow_kernel())
		kunit_skip(test, "takes long");
	KUNIT_EXPECT_EQ(test, insert_nr(map, 5, 50), 0);
	for (unsigned int i = 0; i < most; i++) {
		const struct lockmap_entry *entry = share_nr(map, 5);

		failures += IS_ERR_OR_NULL(entry);
		shared = entry;
		resched_if_needed();
	}
	KUNIT_ASSERT_EQ(test, failures, 0);
	KUNIT_EXPECT_EQ(test, share_error(map, 5), -EBUSY);
	KUNIT_EXPECT_EQ(test, trylock_error(map, 5), -EBUSY);
	for (unsigned int t = 0; t < ARRAY_SIZE(w); t++) {
		w[t] = lmtest_start_op(test, map, OP_LOCK_SHARED, 5, 0);
		lmtest_expect_waiting(test, w[t]);
	}
	msleep(LOOKED_FOR_CYCLE_MS);
	lockmap_unlock_shared(shared);
	lmtest_join_all(test);
	for (unsigned int i = 1; i < most; i++) {
		lockmap_unlock_shared(shared);
		resched_if_needed();
	}
	lmtest_expect_unlocked(test, map, 5, 5);
}

static struct kunit_case mode_cases[] = {
	KUNIT_CASE_SLOW(downgrade_leaves_no_gap),
	KUNIT_CASE(downgrade_grants_no_request),
	KUNIT_CASE(downgraded_key_has_its_value),
	KUNIT_CASE(upgrade),
	KUNIT_CASE_SLOW(upgrades_exclude_each_other),
	KUNIT_CASE(shared_entry_is_not_evicted),
	KUNIT_CASE_SLOW(absent_keys_are_reclaimed),
	KUNIT_CASE_SLOW(as_many_holders_as_can_be_counted),
	{}
};

struct kunit_suite lmtest_mode_suite = {
	.name = "lockmap_mode",
	.init = lmtest_init,
	.test_cases = mode_cases,
};
