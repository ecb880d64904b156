// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Callers that use an entry which they do not hold: lockmap tells of each such call,
 * which does nothing. And callbacks that call what they must not
 */
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/string.h>

#include "worker.h"

/* What only the holder of an entry may do. */
enum use {
	USE_KEY,
	USE_VALUE,
	USE_INSERT,
	USE_REMOVE,
	USE_GET_OR_INSERT,
	USE_DISOWN,
	USE_UNLOCK,
	NR_USES,
};

static const char * const use_name[NR_USES] = {
	[USE_KEY] = "entry_key",
	[USE_VALUE] = "entry_value",
	[USE_INSERT] = "entry_insert",
	[USE_REMOVE] = "entry_remove",
	[USE_GET_OR_INSERT] = "entry_get_or_insert",
	[USE_DISOWN] = "disown",
	[USE_UNLOCK] = "unlock",
};

/* Values that maps of these cases have dropped. */
static unsigned int nr_released;

static void count_release(void *value, void *priv)
{
	unsigned int *nr = priv;

	++*nr;
}

static struct lockmap *create_counting(struct kunit *test, const char *name)
{
	nr_released = 0;
	/* One idle entry stays: the next one evicts it. */
	return lmtest_create(test, &(struct lockmap_params) {
		.name = name, .key_len = sizeof(u64), .value_len = sizeof(u64),
		.nr_shards = 1, .max_idle = 1, .release = count_release, .priv = &nr_released,
	});
}

static struct lockmap *create_with_debug(struct kunit *test, const char *name)
{
	if (!IS_ENABLED(CONFIG_LOCKMAP_DEBUG))
		kunit_skip(test, "lockmap without CONFIG_LOCKMAP_DEBUG");
	return create_counting(test, name);
}

/* Use an entry. Return: whether the call gave what it gives when it does nothing. */
static bool does_nothing(struct lockmap_entry *entry, enum use use)
{
	u64 value = 77, old = 1234;
	size_t len = 99;

	switch (use) {
	case USE_KEY:
		return !lockmap_entry_key(entry, &len) && !len;
	case USE_VALUE:
		return !lockmap_entry_value(entry);
	case USE_INSERT:
		return !lockmap_entry_insert(entry, &value, &old) && old == 1234;
	case USE_REMOVE:
		return !lockmap_entry_remove(entry, &old) && old == 1234;
	case USE_GET_OR_INSERT:
		return !lockmap_entry_get_or_insert(entry, &value);
	case USE_DISOWN:
		lockmap_entry_disown(entry);
		return true;
	default:
		lockmap_unlock(entry);
		return true;
	}
}

static void expect_misuse_begin(const char *map, const char *call, const char *fault)
{
	char text[96];

	scnprintf(text, sizeof(text), "lockmap: %s: %s of a key that %s", map, call, fault);
	expect_told_begin(text);
}

/* Use an entry, which is told of as @fault. */
static void expect_told(struct kunit *test, struct lockmap_entry *entry, enum use use,
			const char *map, const char *fault)
{
	bool nothing;

	expect_misuse_begin(map, use_name[use], fault);
	nothing = does_nothing(entry, use);
	expect_warning_end();
	KUNIT_EXPECT_TRUE_MSG(test, nothing, "%s", use_name[use]);
}

/* No other task can lock the key. */
static void expect_held(struct kunit *test, struct lockmap *map, u64 n)
{
	struct worker *w = lmtest_start_op(test, map, OP_TRYLOCK, n, 0);

	KUNIT_EXPECT_EQ_MSG(test, lmtest_join(test, w), -EBUSY, "key %llu", n);
}

/* A second unlock is told of with and without CONFIG_LOCKMAP_DEBUG. */
static void second_unlock(struct kunit *test)
{
	struct lockmap *map = create_counting(test, "second");
	struct lockmap_entry *entry = lmtest_hold(test, map, 1);

	KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry, &(u64) { 10 }, NULL));
	lockmap_unlock(entry);
	expect_told(test, entry, USE_UNLOCK, "second", "is not locked");
	lmtest_expect_unlocked(test, map, 1, 1);
	KUNIT_EXPECT_TRUE(test, contains_nr(map, 1));
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
}

/* Without a value, the key stays absent; with one, it keeps it. */
static void use_after_unlock(struct kunit *test)
{
	struct lockmap *map = create_with_debug(test, "after");

	for (unsigned int i = 0; i < 2 * NR_USES; i++) {
		struct lockmap_entry *entry = lmtest_hold(test, map, 1);
		bool present = i >= NR_USES;
		u64 value = 1;

		/* A value keeps the key: anybody may ask for that. */
		if (present && i % NR_USES == USE_KEY) {
			lockmap_unlock(entry);
			continue;
		}
		if (present)
			lockmap_entry_insert(entry, &(u64) { 10 }, &value);
		lockmap_unlock(entry);
		expect_told(test, entry, i % NR_USES, "after", "is not locked");
		KUNIT_EXPECT_EQ(test, lockmap_len(map), present);
		KUNIT_EXPECT_EQ(test, get_nr(map, 1, &value), present ? 0 : -ENOENT);
		KUNIT_EXPECT_EQ(test, value, present ? 10 : 1);
		lmtest_expect_unlocked(test, map, 1, 1);
	}
	KUNIT_EXPECT_EQ(test, nr_released, 0);
	KUNIT_EXPECT_EQ(test, remove_nr(map, 1), 0);
	lmtest_expect_usable(test, map, "after misuse");
}

static int use_entry(struct worker *w)
{
	return does_nothing(w->arg, w->nr) ? 0 : -EIO;
}

/* The holder keeps the key, and its value, whatever another task tries. */
static void use_by_another_task(struct kunit *test)
{
	struct lockmap *map = create_with_debug(test, "others");
	struct lockmap_entry *entry = lmtest_hold(test, map, 1);

	for (unsigned int i = 0; i < 2 * NR_USES; i++) {
		bool present = i >= NR_USES;
		struct worker *w;

		if (i == NR_USES)
			lockmap_entry_insert(entry, &(u64) { 10 }, NULL);
		/* As above. */
		if (present && i % NR_USES == USE_KEY)
			continue;
		w = lmtest_worker_create(test, use_entry, map, "misuse");
		w->arg = entry;
		w->nr = i % NR_USES;
		expect_misuse_begin("others", use_name[w->nr], "another task holds");
		lmtest_worker_start(test, w);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
		expect_warning_end();
		expect_held(test, map, 1);
		KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, 1)), -EDEADLK);
		KUNIT_EXPECT_EQ(test, !!lockmap_entry_value(entry), present);
		KUNIT_EXPECT_EQ(test, lockmap_len(map), present);
	}
	KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 10);
	KUNIT_EXPECT_EQ(test, nr_released, 0);
	lockmap_unlock(entry);
	lmtest_expect_unlocked(test, map, 1, 1);
}

/* The entry is nobody's any more: it was evicted, and its memory is free. */
static void use_of_evicted(struct kunit *test)
{
	struct lockmap *map = create_with_debug(test, "evicted");
	struct lockmap_entry *entry = lmtest_hold(test, map, 1);

	lockmap_unlock(entry);
	/* So long the memory stays that of an entry; later KASAN tells. */
	rcu_read_lock();
	KUNIT_EXPECT_EQ(test, trylock_error(map, 2), 0);
	for (enum use use = 0; use < NR_USES; use++)
		expect_told(test, entry, use, "?", "is not locked");
	rcu_read_unlock();
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
	lmtest_expect_usable(test, map, "after misuse");
}

/* So many keys are tried until one is in the memory that was another's. */
#define TRIES	1000

/* KASAN keeps freed memory for a while; this gives it back. Without, it is the next to be used. */
static void give_memory_back(void)
{
	if (!IS_ENABLED(CONFIG_KASAN))
		return;
	rcu_barrier();
	lmtest_shell("for i in /sys/kernel/slab/lockmap-reused-*; do echo 1 >$i/shrink; done");
}

/*
 * Hold a key, @key, that is in the entry @arg, which this task evicts. Other keys keep
 * their memory: they get a value.
 */
static int hold_reused(struct worker *w)
{
	struct lockmap_entry *entry;

	set_cpus_allowed_ptr(current, cpumask_of(raw_smp_processor_id()));
	lock_error(lock_nr(w->map, 2));
	give_memory_back();
	for (w->key = 10; w->key < 10 + TRIES; w->key++) {
		entry = lock_nr(w->map, w->key);
		if (IS_ERR_OR_NULL(entry) || entry == w->arg)
			break;
		lockmap_entry_insert(entry, NULL, NULL);
		lockmap_unlock(entry);
		w->count++;
	}
	lmtest_about_to_wait(w);
	lmtest_wait_at_gate(w);
	lockmap_unlock(entry);
	return 0;
}

/* The entry is of another key by now, which another task holds. */
static void use_of_another_key(struct kunit *test)
{
	struct lockmap *map = create_with_debug(test, "reused");
	struct lockmap_entry *entry = lmtest_hold(test, map, 1);
	struct worker *w;

	lockmap_unlock(entry);
	w = lmtest_worker_create(test, hold_reused, map, "hold reused");
	w->arg = entry;
	lmtest_worker_start(test, w);
	lmtest_expect_waiting(test, w);
	KUNIT_ASSERT_EQ(test, trylock_error(map, w->key), -EBUSY);
	for (enum use use = 0; use < NR_USES; use++) {
		expect_told(test, entry, use, "reused", "another task holds");
		KUNIT_EXPECT_EQ(test, trylock_error(map, w->key), -EBUSY);
		KUNIT_EXPECT_EQ(test, lockmap_len(map), w->count);
	}
	lmtest_open_gate(test);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	lmtest_expect_absent(test, map, w->key);
	KUNIT_EXPECT_EQ(test, nr_released, 0);
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
	lmtest_expect_usable(test, map, "after misuse");
}

static void batch_unlock_by_another_task(struct kunit *test)
{
	struct lockmap *map = create_with_debug(test, "batch");
	struct lockmap_batch *batch = lockmap_batch_lock(map, lmtest_make_keys(test, 1, 3), 3);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	expect_misuse_begin("batch", "batch_unlock", "another task holds");
	lmtest_batch_unlock_elsewhere(test, batch);
	expect_warning_end();
	for (u64 n = 1; n < 4; n++)
		expect_held(test, map, n);
	KUNIT_EXPECT_EQ(test, batch->nr, 3);
	lockmap_batch_unlock(batch);
	lmtest_expect_unlocked(test, map, 1, 3);
}

/* A batch is freed, but a small one is kept for the next call, which must not be given it twice. */
static void second_batch_unlock(struct kunit *test)
{
	struct lockmap *map = create_with_debug(test, "batch twice");
	struct lockmap_key *keys = lmtest_make_keys(test, 1, 6);
	struct lockmap_batch *batch, *other;

	/* Each CPU keeps one. */
	migrate_disable();
	batch = lockmap_batch_lock(map, keys, 3);
	lockmap_batch_unlock(batch);
	expect_told_begin("lockmap: ?: unlock of a batch that is not locked");
	lockmap_batch_unlock(batch);
	expect_warning_end();
	batch = lockmap_batch_lock(map, keys, 3);
	other = lockmap_batch_lock(map, keys + 3, 3);
	migrate_enable();
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, other);
	KUNIT_EXPECT_PTR_NE(test, batch, other);
	lockmap_batch_unlock(other);
	lockmap_batch_unlock(batch);
	lmtest_expect_unlocked(test, map, 1, 6);
}

/* An entry of a batch was unlocked by itself. The batch keeps the others. */
static void unlock_out_of_batch(struct kunit *test)
{
	struct lockmap *map = create_with_debug(test, "torn");
	struct lockmap_batch *batch = lockmap_batch_lock(map, lmtest_make_keys(test, 1, 3), 3);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	lockmap_unlock(lmtest_nth(batch, 1));
	expect_misuse_begin("torn", "batch_unlock", "is not locked");
	lockmap_batch_unlock(batch);
	expect_warning_end();
	expect_held(test, map, 1);
	expect_held(test, map, 3);
	KUNIT_ASSERT_PTR_EQ(test, trylock_nr(map, 2), lmtest_nth(batch, 1));
	lockmap_batch_unlock(batch);
	lmtest_expect_unlocked(test, map, 1, 3);
}

/**
 * struct meddler - what hash or cmp of a map do in the middle of a lookup: call lockmap
 * @map: the map to use; %NULL for none
 * @calls: how often they did
 * @accepted: calls that were not refused
 */
struct meddler {
	struct lockmap *map;
	unsigned long calls;
	unsigned long accepted;
};

static void meddle(struct meddler *meddler)
{
	struct lockmap_request req = { .granted = ERR_PTR(-EFAULT) };
	u64 key = 3;
	struct lockmap_key keys[] = { { &key, sizeof(key) } };

	if (!meddler->map)
		return;
	meddler->calls++;
	meddler->accepted += trylock_error(meddler->map, 3) != -EINVAL;
	meddler->accepted += share_error(meddler->map, 3) != -EINVAL;
	meddler->accepted += batch_error(lockmap_batch_trylock(meddler->map, keys, 1)) != -EINVAL;
	meddler->accepted += lock_error(lockmap_lock_async(meddler->map, &key, sizeof(key),
							   &req)) != -EINVAL;
}

static u64 meddling_hash(const void *key, size_t len, u64 seed, void *priv)
{
	meddle(priv);
	return get_unaligned((const u64 *)key);
}

static int meddling_cmp(const void *a, size_t a_len, const void *b, size_t b_len, void *priv)
{
	meddle(priv);
	return memcmp(a, b, a_len);
}

/* The same map or another, of keys that the fast path takes. It is told once a map. */
static void hash_or_cmp_calls_lockmap(struct kunit *test)
{
	struct lockmap *other = create_with_debug(test, "other");

	for (unsigned int i = 0; i < 4; i++) {
		struct meddler *meddler = lmtest_zalloc(test, sizeof(*meddler));
		struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
			.name = "meddler", .key_len = sizeof(u64), .value_len = sizeof(u64),
			.hash = i % 2 ? meddling_hash : NULL, .cmp = i % 2 ? NULL : meddling_cmp,
			.priv = meddler,
		});
		u64 value = 0;

		KUNIT_EXPECT_EQ(test, insert_nr(map, 3, 30), 0);
		expect_told_begin("lockmap: meddler: its hash or cmp calls lockmap");
		meddler->map = i / 2 ? other : map;
		KUNIT_EXPECT_EQ(test, get_nr(map, 3, &value), 0);
		KUNIT_EXPECT_EQ(test, insert_nr(map, 3, 31), 1);
		KUNIT_EXPECT_EQ(test, trylock_error(map, 4), 0);
		meddler->map = NULL;
		expect_warning_end();
		KUNIT_EXPECT_EQ(test, value, 30);
		KUNIT_EXPECT_GE(test, meddler->calls, 2);
		KUNIT_EXPECT_EQ(test, meddler->accepted, 0);
		lmtest_expect_unlocked(test, map, 3, 4);
		lmtest_expect_unlocked(test, other, 3, 3);
		lmtest_destroy(test, map);
	}
}

static struct kunit_case misuse_cases[] = {
	KUNIT_CASE(second_unlock),
	KUNIT_CASE(use_after_unlock),
	KUNIT_CASE(use_by_another_task),
	KUNIT_CASE(use_of_evicted),
	KUNIT_CASE(use_of_another_key),
	KUNIT_CASE(batch_unlock_by_another_task),
	KUNIT_CASE(second_batch_unlock),
	KUNIT_CASE(unlock_out_of_batch),
	KUNIT_CASE(hash_or_cmp_calls_lockmap),
	{}
};

struct kunit_suite lmtest_misuse_suite = {
	.name = "lockmap_misuse",
	.init = lmtest_init,
	.test_cases = misuse_cases,
};
