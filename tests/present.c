// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Calls for keys that have a value: lock_present and kin, tryget
 */
#include <linux/delay.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "worker.h"

static int try_present_error(struct lockmap *map, u64 n)
{
	return lock_error(lockmap_trylock_present(map, &n, sizeof(n)));
}

static int killable_present_error(struct lockmap *map, u64 n)
{
	return lock_error(lockmap_lock_present_killable(map, &n, sizeof(n)));
}

static void expect_errors(struct kunit *test, struct lockmap *map, u64 n, int want)
{
	KUNIT_EXPECT_EQ(test, lock_error(present_nr(map, n)), want);
	KUNIT_EXPECT_EQ(test, killable_present_error(map, n), want);
	KUNIT_EXPECT_EQ(test, try_present_error(map, n), want);
	KUNIT_EXPECT_EQ(test, tryget_nr(map, n, NULL), want);
}

/* Keys without a value are not there: whether they never were, were locked, or were removed. */
static void absent_keys_are_not_locked(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry;
	u64 value = 0;

	expect_errors(test, map, 1, -ENOENT);
	KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, 1)), 0);
	expect_errors(test, map, 1, -ENOENT);
	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 10), 0);
	expect_errors(test, map, 1, 0);
	KUNIT_EXPECT_EQ(test, tryget_nr(map, 1, &value), 0);
	KUNIT_EXPECT_EQ(test, value, 10);
	entry = present_nr(map, 1);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 10);
	KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(entry, NULL));
	lockmap_unlock(entry);
	expect_errors(test, map, 1, -ENOENT);
	lmtest_expect_unlocked(test, map, 1, 1);
}

/* A key that is shared and has no value cannot get one meanwhile: there is nothing to wait for. */
static void shared_keys(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	const struct lockmap_entry *absent = lmtest_hold_shared(test, map, 1), *shared;
	struct worker *w;

	expect_errors(test, map, 1, -ENOENT);
	lockmap_unlock_shared(absent);

	KUNIT_EXPECT_EQ(test, insert_nr(map, 2, 20), 0);
	shared = lmtest_hold_shared(test, map, 2);
	KUNIT_EXPECT_EQ(test, try_present_error(map, 2), -EBUSY);
	KUNIT_EXPECT_EQ(test, tryget_nr(map, 2, NULL), 0);
	w = lmtest_start_op(test, map, OP_LOCK_PRESENT, 2, 0);
	lmtest_expect_waiting(test, w);
	KUNIT_EXPECT_EQ(test, tryget_nr(map, 2, NULL), 0);
	lockmap_unlock_shared(shared);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
}

/* A holder may put a value in, or take it out: it is waited for, by those who may wait. */
static void holders_decide(struct kunit *test)
{
	static const enum op ops[] = { OP_LOCK_PRESENT, OP_LOCK_PRESENT_KILLABLE };

	for (unsigned int i = 0; i < 4 * ARRAY_SIZE(ops); i++) {
		struct lockmap *map = lmtest_create_u64(test);
		bool before = i & 1, after = i & 2;
		struct lockmap_entry *entry;
		struct worker *w;

		if (before)
			KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 10), 0);
		entry = lmtest_hold(test, map, 1);
		w = lmtest_start_op(test, map, ops[i / 4], 1, 0);
		lmtest_expect_waiting(test, w);
		KUNIT_EXPECT_EQ(test, try_present_error(map, 1), -EBUSY);
		KUNIT_EXPECT_EQ(test, tryget_nr(map, 1, NULL), -EBUSY);
		if (after)
			lockmap_entry_get_or_insert(entry, NULL);
		else
			lockmap_entry_remove(entry, NULL);
		lockmap_unlock(entry);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w), after ? 0 : -ENOENT);
		lmtest_expect_unlocked(test, map, 1, 1);
		KUNIT_EXPECT_EQ(test, lockmap_len(map), after);
		lmtest_destroy(test, map);
	}
}

/* A killed task gives up, and the next one gets the key. */
static void killed_waiter_gives_up(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry;
	struct worker *w, *next;

	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 10), 0);
	entry = lmtest_hold(test, map, 1);
	w = lmtest_start_op(test, map, OP_LOCK_PRESENT_KILLABLE, 1, 0);
	lmtest_expect_waiting(test, w);
	next = lmtest_start_op(test, map, OP_LOCK_PRESENT, 1, 0);
	lmtest_expect_waiting(test, next);
	send_sig(SIGKILL, w->task, 1);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), -EINTR);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, next), 0);
	lmtest_expect_unlocked(test, map, 1, 1);
}

/* Keys of all kinds, present and absent. */
static void keys_of_all_kinds(struct kunit *test)
{
	static const size_t lens[] = { 1, 2, 4, 7, 8, 16, 64, 200 };

	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(lens); i++) {
		size_t len = lens[i / 2];
		struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
			.name = "kinds", .key_len = len, .value_len = sizeof(u64),
			.flags = i % 2 ? LOCKMAP_VAR_KEY : 0,
		});
		u8 *here = lmtest_zalloc(test, len), *gone = lmtest_zalloc(test, len);
		u64 value = 0;

		gone[len - 1] = 1;
		KUNIT_EXPECT_EQ(test, lockmap_insert(map, here, len, &(u64) { len }, NULL), 0);
		KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_present(map, here, len)), 0);
		KUNIT_EXPECT_EQ(test, lock_error(lockmap_trylock_present(map, here, len)), 0);
		KUNIT_EXPECT_EQ(test, lockmap_tryget(map, here, len, &value), 0);
		KUNIT_EXPECT_EQ(test, value, len);
		KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_present(map, gone, len)), -ENOENT);
		KUNIT_EXPECT_EQ(test, lock_error(lockmap_trylock_present(map, gone, len)), -ENOENT);
		KUNIT_EXPECT_EQ(test, lockmap_tryget(map, gone, len, &value), -ENOENT);
		lmtest_destroy(test, map);
	}
}

static void clone_anyhow(void *dst, const void *src, void *priv)
{
	*(u64 *)dst = *(const u64 *)src;
}

/* The copy that the map's clone makes may sleep. */
static void no_tryget_with_clone(struct kunit *test)
{
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "clones", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.clone = clone_anyhow,
	});
	u64 value = 5;

	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 10), 0);
	KUNIT_EXPECT_EQ(test, tryget_nr(map, 1, &value), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, tryget_nr(map, 2, &value), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, value, 5);
	KUNIT_EXPECT_EQ(test, tryget_nr(map, 1, NULL), 0);
	KUNIT_EXPECT_EQ(test, tryget_nr(map, 2, NULL), -ENOENT);
}

/* An object that the map points to, and that is freed after the readers that may see it. */
struct object {
	struct rcu_head rcu;
	u64 a, b;
};

static void free_object(void *value, void *priv)
{
	struct object *object = *(struct object **)value;

	kfree_rcu(object, rcu);
}

#define OBJECTS	16

/* Replace objects, and remove them. */
static int change_objects(struct worker *w)
{
	struct object *object;
	int err = 0;

	lmtest_wait_at_gate(w);
	while (!lmtest_must_stop(w) && err >= 0) {
		u64 n = prandom_u32_state(&w->rnd) % OBJECTS;

		w->count++;
		if (w->count % 4 == 0) {
			err = remove_nr(w->map, n);
			err = err == -ENOENT ? 0 : err;
			continue;
		}
		object = kmalloc(sizeof(*object), GFP_KERNEL);
		if (!object)
			return -ENOMEM;
		object->a = n;
		object->b = ~n;
		err = insert_nr(w->map, n, (unsigned long)object);
		resched_if_needed();
	}
	return err < 0 ? err : 0;
}

static DEFINE_SPINLOCK(reader_lock);

/* Follow pointers to objects, under a spinlock. KASAN tells if one was freed too early. */
static int follow_objects(struct worker *w)
{
	struct object *object;
	u64 pointer = 0;
	int err;

	lmtest_wait_at_gate(w);
	while (!lmtest_must_stop(w)) {
		u64 n = prandom_u32_state(&w->rnd) % OBJECTS;

		rcu_read_lock();
		spin_lock_bh(&reader_lock);
		err = tryget_nr(w->map, n, &pointer);
		if (!err) {
			object = (struct object *)(unsigned long)pointer;
			w->errors += object->a != n || object->b != ~n;
			w->count++;
		}
		spin_unlock_bh(&reader_lock);
		rcu_read_unlock();
		if (err && err != -ENOENT && err != -EBUSY)
			return err;
		resched_if_needed();
	}
	return 0;
}

static void objects_behind_pointers(struct kunit *test)
{
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "objects", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.release = free_object,
	});
	struct worker *writer = lmtest_worker_create(test, change_objects, map, "change objects");
	struct worker *reader = lmtest_worker_create(test, follow_objects, map, "follow objects");

	lmtest_worker_start(test, writer);
	lmtest_worker_start(test, reader);
	lmtest_open_gate(test);
	msleep(500);
	lmtest_stop_workers(test);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, writer), 0);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, reader), 0);
	KUNIT_EXPECT_EQ(test, reader->errors, 0);
	KUNIT_EXPECT_GT(test, reader->count, 0);
	KUNIT_EXPECT_GT(test, writer->count, 0);
}

static struct kunit_case present_cases[] = {
	KUNIT_CASE(absent_keys_are_not_locked),
	KUNIT_CASE(shared_keys),
	KUNIT_CASE(holders_decide),
	KUNIT_CASE(killed_waiter_gives_up),
	KUNIT_CASE(keys_of_all_kinds),
	KUNIT_CASE(no_tryget_with_clone),
	KUNIT_CASE_SLOW(objects_behind_pointers),
	{}
};

struct kunit_suite lmtest_present_suite = {
	.name = "lockmap_present",
	.init = lmtest_init,
	.test_cases = present_cases,
};
