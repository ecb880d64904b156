// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Batches lock all their keys, each once, in order
 */
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include "worker.h"

static int reverse_cmp(const void *a, size_t a_len, const void *b, size_t b_len, void *priv)
{
	u64 m = nr_of(a), n = nr_of(b);

	return m > n ? -1 : m < n;
}

/* Lock @n keys as a batch, in which each is twice, in no order. */
static void expect_batch_of(struct kunit *test, struct lockmap *map, unsigned int n, bool reverse)
{
	struct lockmap_key *keys = lmtest_make_keys(test, 1000, n);
	struct lockmap_key *all = lmtest_zalloc(test, max(2 * n, 1U) * sizeof(*all));
	unsigned int wrong = 0, visits = 0;
	struct lockmap_batch *batch;
	struct lockmap_entry *entry;
	u64 absent = 999, after = 1000 + n;

	memcpy(all, keys, n * sizeof(*keys));
	memcpy(all + n, keys, n * sizeof(*keys));
	lmtest_shuffle_keys(all, 2 * n, n + 1);
	batch = lockmap_batch_lock(map, all, 2 * n);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_EXPECT_EQ(test, batch->nr, n);
	KUNIT_EXPECT_PTR_EQ(test, batch->map, map);

	lockmap_batch_for_each(batch, entry) {
		u64 want = 1000 + (reverse ? n - 1 - visits : visits);

		wrong += nr_of(lockmap_entry_key(entry, NULL)) != want;
		wrong += entry != lmtest_nth(batch, visits);
		wrong += lockmap_batch_entry(batch, &(u64) { want }, sizeof(u64)) != entry;
		wrong += trylock_error(map, want) != -EBUSY;
		*(u64 *)lockmap_entry_get_or_insert(entry, NULL) += want;
		visits++;
	}
	KUNIT_EXPECT_EQ(test, visits, n);
	KUNIT_EXPECT_EQ_MSG(test, wrong, 0, "%u keys", n);
	KUNIT_EXPECT_NULL(test, lockmap_batch_entry(batch, &absent, sizeof(absent)));
	KUNIT_EXPECT_NULL(test, lockmap_batch_entry(batch, &after, sizeof(after)));
	lockmap_batch_unlock(batch);

	for (u64 i = 0; i < n; i++) {
		u64 value = 0;

		wrong += get_nr(map, 1000 + i, &value) || value != 1000 + i;
		wrong += trylock_error(map, 1000 + i) != 0;
	}
	KUNIT_EXPECT_EQ_MSG(test, wrong, 0, "%u keys", n);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), n);
}

static void all_keys_once_in_order(struct kunit *test)
{
	static const unsigned int sizes[] = { 0, 1, 2, 3, 100, 1000 };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct lockmap *map = lmtest_create_u64(test);

		expect_batch_of(test, map, sizes[i], false);
		lmtest_destroy(test, map);
	}
}

static void order_of_cmp(struct kunit *test)
{
	static const unsigned int sizes[] = { 2, 100, 1000 };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
			.name = "reverse", .key_len = sizeof(u64), .value_len = sizeof(u64),
			.cmp = reverse_cmp,
		});

		expect_batch_of(test, map, sizes[i], true);
		lmtest_destroy(test, map);
	}
}

static void empty_batch(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_key *keys = lmtest_make_keys(test, 1, 1);
	struct lockmap_batch *batch[] = {
		lockmap_batch_lock(map, keys, 0),
		lockmap_batch_lock(map, NULL, 0),
		lockmap_batch_trylock(map, keys, 0),
		lockmap_batch_lock_timeout(map, keys, 0, 0),
		lockmap_batch_lock_killable(map, keys, 0),
		lockmap_batch_lock_interruptible(map, keys, 0),
	};
	struct lockmap_entry *entry;

	for (unsigned int i = 0; i < ARRAY_SIZE(batch); i++) {
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch[i]);
		KUNIT_EXPECT_EQ(test, batch[i]->nr, 0);
		KUNIT_EXPECT_NULL(test, lockmap_batch_entry(batch[i], keys->data, keys->len));
		lockmap_batch_for_each(batch[i], entry)
			KUNIT_FAIL(test, "%p in an empty batch", entry);
	}
	lmtest_expect_unlocked(test, map, 1, 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(batch); i++)
		lockmap_batch_unlock(batch[i]);
}

/* A prefix comes before longer keys; bytes are unsigned. */
static void order_of_variable_keys(struct kunit *test)
{
	static const char * const sorted[] = { "\x01", "a", "aa", "ab", "b", "ba", "\x80", "\xff" };
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "var_order", .key_len = 8, .flags = LOCKMAP_VAR_KEY,
	});
	struct lockmap_key keys[ARRAY_SIZE(sorted)];
	struct lockmap_batch *batch;

	for (unsigned int i = 0; i < ARRAY_SIZE(sorted); i++)
		keys[i] = (struct lockmap_key) { sorted[i], strlen(sorted[i]) };
	lmtest_shuffle_keys(keys, ARRAY_SIZE(keys), 3);
	batch = lockmap_batch_lock(map, keys, ARRAY_SIZE(keys));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_EXPECT_EQ(test, batch->nr, ARRAY_SIZE(sorted));
	for (unsigned int i = 0; i < min_t(size_t, batch->nr, ARRAY_SIZE(sorted)); i++) {
		size_t len = 0;
		const void *key = lockmap_entry_key(lmtest_nth(batch, i), &len);

		KUNIT_EXPECT_EQ(test, len, strlen(sorted[i]));
		KUNIT_EXPECT_EQ(test, memcmp(key, sorted[i], strlen(sorted[i])), 0);
	}
	lockmap_batch_unlock(batch);
}

/* A batch that waits for a key holds those before it, and none behind it. */
static void waits_in_order(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_key *keys = lmtest_make_keys(test, 1, 4);
	struct lockmap_entry *entry = lmtest_hold(test, map, 3);
	struct worker *w, *behind;

	w = lmtest_start_batch(test, map, OP_BATCH, keys, 4, 0);
	lmtest_expect_waiting(test, w);
	KUNIT_EXPECT_EQ(test, trylock_error(map, 1), -EBUSY);
	KUNIT_EXPECT_EQ(test, trylock_error(map, 2), -EBUSY);
	KUNIT_EXPECT_EQ(test, trylock_error(map, 4), 0);
	behind = lmtest_start_batch(test, map, OP_BATCH, keys, 2, 0);
	lmtest_expect_waiting(test, behind);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, behind), 0);
	lmtest_expect_unlocked(test, map, 1, 4);
}

/* What a batch is like in which odd keys are shared. */
static void expect_mixed_batch(struct kunit *test, struct lockmap *map,
			       struct lockmap_batch *batch, unsigned int nr)
{
	const struct lockmap_entry *shared;
	struct lockmap_entry *entry;
	unsigned int wrong = 0;
	u64 n = 0;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_EXPECT_EQ(test, batch->nr, nr);
	lockmap_batch_for_each_shared(batch, shared) {
		u64 key = n;

		wrong += nr_of(lockmap_entry_key(shared, NULL)) != n;
		wrong += lockmap_batch_entry_shared(batch, &key, sizeof(key)) != shared;
		entry = lockmap_batch_entry(batch, &key, sizeof(key));
		wrong += entry != (n % 2 ? NULL : shared);
		wrong += share_error(map, n) != (n % 2 ? 0 : -EBUSY);
		wrong += trylock_error(map, n) != -EBUSY;
		n++;
	}
	KUNIT_EXPECT_EQ(test, n, nr);
	n = 0;
	lockmap_batch_for_each(batch, entry) {
		wrong += nr_of(lockmap_entry_key(entry, NULL)) != n;
		++*(u64 *)lockmap_entry_get_or_insert(entry, NULL);
		n += 2;
	}
	KUNIT_EXPECT_EQ(test, n, round_up(nr, 2));
	KUNIT_EXPECT_NULL(test, lockmap_batch_entry_shared(batch, &(u64) { nr }, 8));
	KUNIT_EXPECT_EQ(test, wrong, 0);
	lockmap_batch_unlock(batch);
}

/*
 * Each key is shared or locked as the array says; one that is there both ways is locked
 * exclusively, wherever in the array that is.
 */
static void shared_and_exclusive_keys(struct kunit *test)
{
	static const unsigned int sizes[] = { 1, 2, 3, 4, 9, 100 };
	struct lockmap *map = lmtest_create_u64(test);

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		for (enum op op = OP_BATCH_SHARED; op <= OP_BATCH_SHARED_TIMEOUT; op++) {
			unsigned int nr = sizes[i];
			struct lockmap_key *keys = lmtest_make_keys(test, 0, nr);
			struct lockmap_key *all = lmtest_zalloc(test, 3 * nr * sizeof(*all));

			for (unsigned int k = 0; k < 3 * nr; k++) {
				all[k] = keys[k % nr];
				/* Of three times, an even key is there once to be locked. */
				all[k].shared = k % nr % 2 || k / nr != k % nr / 2 % 3;
			}
			if (op % 2)
				lmtest_shuffle_keys(all, 3 * nr, op + i);
			expect_mixed_batch(test, map,
					   lmtest_batch_by(map, op, all, 3 * nr, PATIENCE), nr);
			expect_mixed_batch(test, map, lockmap_batch_trylock(map, all, 3 * nr), nr);
			lmtest_expect_unlocked(test, map, 0, nr);
		}
}

/* Batches that share their keys hold them together, and none of them if one is not to be had. */
static void shared_batches(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_key *keys = lmtest_make_keys(test, 1, 5);
	struct lockmap_batch *batch;
	struct lockmap_entry *entry;
	struct worker *w;

	for (unsigned int i = 0; i < 5; i++)
		keys[i].shared = true;
	batch = lockmap_batch_lock(map, keys, 5);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	lockmap_batch_for_each(batch, entry)
		KUNIT_FAIL(test, "%p is shared", entry);
	w = lmtest_start_batch(test, map, OP_BATCH_SHARED, keys, 5, 0);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	w = lmtest_start_op(test, map, OP_LOCK, 3, 0);
	lmtest_expect_waiting(test, w);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_trylock(map, keys, 5)), -EBUSY);
	for (u64 n = 1; n <= 5; n++)
		KUNIT_EXPECT_EQ(test, share_error(map, n), n == 3 ? -EBUSY : 0);
	lockmap_batch_unlock(batch);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	lmtest_expect_unlocked(test, map, 1, 5);
}

/* A batch may be too large for the memory, but not for its order. */
static void huge_batch(struct kunit *test)
{
	unsigned int nr = slow_kernel() ? 1 << 12 : 1 << 20;
	struct lockmap_key *keys = lmtest_make_keys(test, 0, nr);
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "huge_batch", .key_len = sizeof(u64), .value_len = sizeof(u64),
	});
	struct lockmap_entry *entry;
	struct lockmap_batch *batch;
	unsigned int wrong = 0;
	u64 begin, locked, n = 0;

	lmtest_shuffle_keys(keys, nr, 1);
	begin = ktime_get_ns();
	batch = lockmap_batch_lock(map, keys, nr);
	locked = ktime_get_ns();
	if (IS_ERR(batch)) {
		KUNIT_EXPECT_TRUE(test, PTR_ERR(batch) == -ENOMEM || PTR_ERR(batch) == -E2BIG);
		kunit_info(test, "%u keys in one batch: %pe", nr, batch);
	} else {
		KUNIT_EXPECT_EQ(test, batch->nr, nr);
		lockmap_batch_for_each(batch, entry)
			wrong += nr_of(lockmap_entry_key(entry, NULL)) != n++;
		for (u64 n = 0; n < nr; n += 997)
			wrong += trylock_error(map, n) != -EBUSY;
		lockmap_batch_unlock(batch);
		kunit_info(test, "%u keys in one batch: locked in %llu ms", nr,
			   div_u64(locked - begin, NSEC_PER_MSEC));
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
	lmtest_expect_unlocked(test, map, 0, 1000);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
}

static struct kunit_case batch_cases[] = {
	KUNIT_CASE(all_keys_once_in_order),
	KUNIT_CASE(order_of_cmp),
	KUNIT_CASE(order_of_variable_keys),
	KUNIT_CASE(empty_batch),
	KUNIT_CASE(waits_in_order),
	KUNIT_CASE(shared_and_exclusive_keys),
	KUNIT_CASE(shared_batches),
	KUNIT_CASE_SLOW(huge_batch),
	{}
};

struct kunit_suite lmtest_batch_suite = {
	.name = "lockmap_batch",
	.init = lmtest_init,
	.test_cases = batch_cases,
};
