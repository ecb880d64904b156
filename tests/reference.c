// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Values and entries that are used by their address
 */
#include <linux/delay.h>
#include <linux/lockdep.h>
#include <linux/minmax.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "worker.h"

/* Return: the address of a value that is put in. */
static u64 *put_value(struct kunit *test, struct lockmap *map, u64 n)
{
	struct lockmap_entry *entry = lmtest_hold(test, map, n);
	u64 *value = lockmap_entry_get_or_insert(entry, &n);

	KUNIT_EXPECT_PTR_EQ(test, lockmap_value_entry(value), entry);
	lockmap_unlock(entry);
	return value;
}

/* Addresses stay what they are while tables grow, and other keys come and go. */
static void values_stay(struct kunit *test)
{
	unsigned int nr = scaled(20000);
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "stay", .key_len = sizeof(u64), .value_len = sizeof(u64), .max_idle = 1,
	});
	u64 **value = lmtest_zalloc(test, 100 * sizeof(*value));
	unsigned int wrong = 0;

	for (u64 n = 0; n < 100; n++)
		value[n] = put_value(test, map, n);
	for (u64 n = 100; n < nr; n++)
		wrong += insert_nr(map, n, n) != 0;
	for (u64 n = 100; n < nr; n++)
		wrong += remove_nr(map, n) != 0;
	for (u64 n = 0; n < 100; n++) {
		struct lockmap_entry *entry = lockmap_value_entry(value[n]), *locked;

		wrong += *value[n] != n || nr_of(lockmap_entry_key(entry, NULL)) != n;
		locked = lock_nr(map, n);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, locked);
		wrong += locked != entry || lockmap_entry_value(locked) != value[n];
		lockmap_unlock(locked);
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
}

/* The same for long keys, which are not part of the entry, and for sets. */
static void keys_of_entries(struct kunit *test)
{
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "long", .key_len = 300, .value_len = 0, .flags = LOCKMAP_VAR_KEY,
	});
	u8 *key = lmtest_zalloc(test, 300);
	struct lockmap_entry *entry;
	const void *value;
	size_t len;

	for (size_t n = 1; n <= 300; n += 23) {
		key[n - 1] = n;
		entry = lockmap_lock(map, key, n);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
		value = lockmap_entry_get_or_insert(entry, NULL);
		lockmap_unlock(entry);
		KUNIT_EXPECT_PTR_EQ(test, lockmap_value_entry(value), entry);
		KUNIT_EXPECT_MEMEQ(test, lockmap_entry_key(entry, &len), key, n);
		KUNIT_EXPECT_EQ(test, len, n);
		KUNIT_EXPECT_EQ(test, lockmap_entry_lock(entry), 0);
		KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock(map, key, n)), -EDEADLK);
		lockmap_unlock(entry);
	}
}

enum by {
	BY_LOCK,
	BY_KILLABLE,
	BY_TIMEOUT,
	BY_TRYLOCK,
	NR_BY,
};

static int lock_entry(struct lockmap_entry *entry, enum by by, unsigned long timeout)
{
	switch (by) {
	case BY_LOCK:
		return lockmap_entry_lock(entry);
	case BY_KILLABLE:
		return lockmap_entry_lock_killable(entry);
	case BY_TIMEOUT:
		return lockmap_entry_lock_timeout(entry, timeout);
	default:
		return lockmap_entry_trylock(entry) ? 0 : -EBUSY;
	}
}

static int wait_for_entry(struct worker *w)
{
	struct lockmap_entry *entry = w->arg;
	int err;

	lmtest_about_to_wait(w);
	err = lock_entry(entry, w->nr, w->key);
	if (!err)
		lockmap_unlock(entry);
	return err;
}

static struct worker *start_waiting(struct kunit *test, struct lockmap *map,
				    struct lockmap_entry *entry, enum by by, unsigned long timeout)
{
	struct worker *w = lmtest_worker_create(test, wait_for_entry, map, "wait for an entry");

	w->arg = entry;
	w->nr = by;
	w->key = timeout;
	lmtest_worker_start(test, w);
	return w;
}

/* A lock is a lock, by whatever call: it excludes, and is unlocked, as any other. */
static void entries_are_locked(struct kunit *test)
{
	for (enum by by = 0; by < NR_BY; by++) {
		struct lockmap *map = lmtest_create_u64(test);
		struct lockmap_entry *entry = lockmap_value_entry(put_value(test, map, 5)), *held;
		struct worker *w;

		KUNIT_EXPECT_EQ(test, lock_entry(entry, by, 0), 0);
		KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 5);
		KUNIT_EXPECT_EQ(test, trylock_error(map, 5), -EBUSY);
		KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, 5)), -EDEADLK);
		KUNIT_EXPECT_EQ(test, lock_entry(entry, by, 0),
				by == BY_TRYLOCK ? -EBUSY : -EDEADLK);
		w = lmtest_start_op(test, map, OP_LOCK, 5, 0);
		lmtest_expect_waiting(test, w);
		lockmap_unlock(entry);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);

		held = lmtest_hold(test, map, 5);
		w = start_waiting(test, map, entry, by, PATIENCE);
		if (by == BY_TRYLOCK) {
			KUNIT_EXPECT_EQ(test, lmtest_join(test, w), -EBUSY);
			lockmap_unlock(held);
		} else {
			lmtest_expect_waiting(test, w);
			lockmap_unlock(held);
			KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
		}
		lmtest_expect_unlocked(test, map, 5, 5);
		lmtest_destroy(test, map);
	}
}

/* A wait for an entry ends as that for a key. */
static void waits_end(struct kunit *test)
{
	static const struct {
		enum by by;
		int sig, err;
	} endings[] = {
		{ BY_KILLABLE, SIGKILL, -EINTR },
		{ BY_TIMEOUT, 0, -ETIMEDOUT },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(endings); i++) {
		struct lockmap *map = lmtest_create_u64(test);
		struct lockmap_entry *entry = lockmap_value_entry(put_value(test, map, 5)), *held;
		struct worker *w, *other;

		held = lmtest_hold(test, map, 5);
		w = start_waiting(test, map, entry, endings[i].by, HZ);
		lmtest_expect_waiting(test, w);
		other = start_waiting(test, map, entry, BY_LOCK, 0);
		lmtest_expect_waiting(test, other);
		if (endings[i].sig)
			send_sig(endings[i].sig, w->task, 1);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w), endings[i].err);
		lockmap_unlock(held);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, other), 0);
		lmtest_expect_unlocked(test, map, 5, 5);
		lmtest_destroy(test, map);
	}
}

/* The value that kept an entry was removed while a task waited for the entry, and is gone. */
static void gone_values_are_told_of(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry = lockmap_value_entry(put_value(test, map, 5)), *held;
	struct worker *w;

	KUNIT_EXPECT_NULL(test, lockmap_value_entry(NULL));
	held = lmtest_hold(test, map, 5);
	w = start_waiting(test, map, entry, BY_LOCK, 0);
	lmtest_expect_waiting(test, w);
	KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(held, NULL));
	expect_told_begin("lockmap: ?: entry_lock of a key whose value is gone");
	lockmap_unlock(held);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), -ENOENT);
	expect_warning_end();
	/* That is told once. The entry is idle: its memory is there still. */
	KUNIT_EXPECT_FALSE(test, lockmap_entry_trylock(entry));
	KUNIT_EXPECT_EQ(test, lockmap_entry_lock(entry), -ENOENT);
	lmtest_expect_unlocked(test, map, 5, 5);
	lmtest_expect_absent(test, map, 5);
}

/* Shared holders keep an entry from being locked, and see its value. */
static void shared_entries(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry = lockmap_value_entry(put_value(test, map, 5));
	const struct lockmap_entry *shared = lmtest_hold_shared(test, map, 5);
	struct worker *w;

	KUNIT_EXPECT_PTR_EQ(test, shared, entry);
	KUNIT_EXPECT_FALSE(test, lockmap_entry_trylock(entry));
	w = start_waiting(test, map, entry, BY_LOCK, 0);
	lmtest_expect_waiting(test, w);
	lockmap_unlock_shared(shared);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
}

static int hold_and_wait(struct worker *w)
{
	struct lockmap_entry **entry = w->arg;
	int err = lockmap_entry_lock(entry[0]);

	if (err)
		return err;
	lmtest_wait_at_gate(w);
	lmtest_about_to_wait(w);
	err = lockmap_entry_lock(entry[1]);
	if (!err)
		lockmap_unlock(entry[1]);
	lockmap_unlock(entry[0]);
	return err;
}

/* A cycle of two tasks is found, whichever way they lock. */
static void cycles_are_refused(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry[2];
	struct worker *w;
	int err, other;

	for (unsigned int i = 0; i < 2; i++)
		entry[i] = lockmap_value_entry(put_value(test, map, i));
	w = lmtest_worker_create(test, hold_and_wait, map, "hold and wait");
	w->arg = entry;
	lmtest_worker_start(test, w);
	KUNIT_EXPECT_EQ(test, lockmap_entry_lock(entry[1]), 0);
	lmtest_open_gate(test);
	lmtest_expect_waiting(test, w);
	lockdep_off();
	err = lockmap_entry_lock(entry[0]);
	if (!err)
		lockmap_unlock(entry[0]);
	lockdep_on();
	lockmap_unlock(entry[1]);
	other = lmtest_join(test, w);
	KUNIT_EXPECT_EQ(test, min(err, other), -EDEADLK);
	KUNIT_EXPECT_EQ(test, max(err, other), 0);
}

/**
 * struct pinned - a value with a count of those who have its address
 * @users: by the spinlock below
 * @writes: by the key's lock
 */
struct pinned {
	u64 users;
	u64 writes;
};

static DEFINE_SPINLOCK(pins_lock);

/* The values that are there, as a subsystem would have them in a list or a tree of its own. */
static struct pinned *pins[8];

static bool take_out(struct lockmap_entry *entry, struct pinned *value, unsigned int i)
{
	bool used;

	spin_lock_bh(&pins_lock);
	used = value->users;
	if (!used)
		pins[i] = NULL;
	spin_unlock_bh(&pins_lock);
	return !used && lockmap_entry_remove(entry, NULL);
}

/* Put values in and take them out, unless somebody has their address. */
static int put_and_take(struct worker *w)
{
	lmtest_wait_at_gate(w);
	while (!lmtest_must_stop(w)) {
		u64 n = prandom_u32_state(&w->rnd) % ARRAY_SIZE(pins);
		struct lockmap_entry *entry = lock_nr(w->map, n);
		struct pinned *value;

		if (IS_ERR_OR_NULL(entry))
			return entry ? PTR_ERR(entry) : -EFAULT;
		value = lockmap_entry_value(entry);
		if (value) {
			w->count += take_out(entry, value, n);
		} else {
			value = lockmap_entry_get_or_insert(entry, NULL);
			spin_lock_bh(&pins_lock);
			pins[n] = value;
			spin_unlock_bh(&pins_lock);
		}
		lockmap_unlock(entry);
		resched_if_needed();
	}
	return 0;
}

/* Lock values that are found without the map. */
static int lock_pinned(struct worker *w)
{
	lmtest_wait_at_gate(w);
	while (!lmtest_must_stop(w)) {
		u64 n = prandom_u32_state(&w->rnd) % ARRAY_SIZE(pins);
		struct lockmap_entry *entry;
		struct pinned *value;
		bool locked = false;
		int err = 0;

		spin_lock_bh(&pins_lock);
		value = pins[n];
		entry = value ? lockmap_value_entry(value) : NULL;
		if (value)
			value->users++;
		if (value && w->count % 2)
			locked = lockmap_entry_trylock(entry);
		spin_unlock_bh(&pins_lock);
		w->count++;
		if (!value)
			continue;
		if (!locked)
			err = lockmap_entry_lock(entry);
		if (err)
			return err;
		w->errors += nr_of(lockmap_entry_key(entry, NULL)) != n ||
			     lockmap_entry_value(entry) != value;
		value->writes++;
		spin_lock_bh(&pins_lock);
		value->users--;
		spin_unlock_bh(&pins_lock);
		lockmap_unlock(entry);
		resched_if_needed();
	}
	return 0;
}

static void pinned_values_stay(struct kunit *test)
{
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "pinned", .key_len = sizeof(u64), .value_len = sizeof(struct pinned),
		.max_idle = 1,
	});
	struct worker *w[4];

	memset(pins, 0, sizeof(pins));
	for (unsigned int i = 0; i < 4; i++) {
		w[i] = lmtest_worker_create(test, i % 2 ? lock_pinned : put_and_take, map, "pins");
		lmtest_worker_start(test, w[i]);
	}
	lmtest_open_gate(test);
	msleep(500);
	lmtest_stop_workers(test);
	for (unsigned int i = 0; i < 4; i++) {
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w[i]), 0);
		KUNIT_EXPECT_EQ(test, w[i]->errors, 0);
		KUNIT_EXPECT_GT(test, w[i]->count, 0);
	}
	lmtest_expect_unlocked(test, map, 0, ARRAY_SIZE(pins) - 1);
}

static struct kunit_case reference_cases[] = {
	KUNIT_CASE_SLOW(values_stay),
	KUNIT_CASE(keys_of_entries),
	KUNIT_CASE(entries_are_locked),
	KUNIT_CASE(waits_end),
	KUNIT_CASE(gone_values_are_told_of),
	KUNIT_CASE(shared_entries),
	KUNIT_CASE(cycles_are_refused),
	KUNIT_CASE_SLOW(pinned_values_stay),
	{}
};

struct kunit_suite lmtest_reference_suite = {
	.name = "lockmap_reference",
	.init = lmtest_init,
	.test_cases = reference_cases,
};
