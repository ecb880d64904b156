// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Callbacks: release, clone, cmp, and the functions of walks
 */
#include <linux/delay.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "worker.h"

/**
 * struct recorder - what release and clone of a map were called with; its priv
 * @map: if not %NULL, each is expected to be called with its key locked
 * @calls: number of calls
 * @sum: of the values that were released
 * @not_locked: calls with a key that was free
 */
struct recorder {
	struct lockmap *map;
	unsigned long calls;
	u64 sum;
	unsigned long not_locked;
};

/* Values are the numbers of their keys. */
static void record_release(void *value, void *priv)
{
	struct recorder *recorder = priv;
	u64 n = *(u64 *)value;

	recorder->calls++;
	recorder->sum += n;
	if (recorder->map && trylock_error(recorder->map, n) != -EBUSY)
		recorder->not_locked++;
	might_sleep();
}

static void record_clone(void *dst, const void *src, void *priv)
{
	struct recorder *recorder = priv;
	u64 n = *(const u64 *)src;

	recorder->calls++;
	if (recorder->map && trylock_error(recorder->map, n) != -EBUSY)
		recorder->not_locked++;
	usleep_range(10, 20);
	*(u64 *)dst = n + 1000;
}

static void expect_recorded(struct kunit *test, struct recorder *recorder, unsigned long calls,
			    u64 sum)
{
	KUNIT_EXPECT_EQ(test, recorder->calls, calls);
	KUNIT_EXPECT_EQ(test, recorder->sum, sum);
	KUNIT_EXPECT_EQ(test, recorder->not_locked, 0);
	*recorder = (struct recorder) { .map = recorder->map };
}

static void release_gets_each_value_once(struct kunit *test)
{
	struct recorder *recorder = lmtest_zalloc(test, sizeof(*recorder));
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "release", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.release = record_release, .priv = recorder,
	});
	u64 key = 3, three = 3, old;
	struct lockmap_entry *entry;

	recorder->map = map;
	KUNIT_EXPECT_EQ(test, insert_nr(map, 3, 3), 0);
	KUNIT_EXPECT_EQ(test, lockmap_insert(map, &key, 8, &three, &old), 1);
	KUNIT_EXPECT_EQ(test, lockmap_remove(map, &key, 8, &old), 0);
	expect_recorded(test, recorder, 0, 0);

	KUNIT_EXPECT_EQ(test, insert_nr(map, 3, 3), 0);
	KUNIT_EXPECT_EQ(test, insert_nr(map, 3, 3), 1);
	expect_recorded(test, recorder, 1, 3);
	KUNIT_EXPECT_EQ(test, remove_nr(map, 3), 0);
	expect_recorded(test, recorder, 1, 3);
	KUNIT_EXPECT_EQ(test, remove_nr(map, 3), -ENOENT);
	expect_recorded(test, recorder, 0, 0);

	entry = lmtest_hold(test, map, 3);
	KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry, &three, NULL));
	KUNIT_EXPECT_PTR_EQ(test, lockmap_entry_get_or_insert(entry, NULL),
			    lockmap_entry_value(entry));
	KUNIT_EXPECT_TRUE(test, lockmap_entry_insert(entry, &three, &old));
	KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(entry, &old));
	KUNIT_EXPECT_FALSE(test, lockmap_entry_remove(entry, NULL));
	expect_recorded(test, recorder, 0, 0);
	KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry, &three, NULL));
	KUNIT_EXPECT_TRUE(test, lockmap_entry_insert(entry, &three, NULL));
	expect_recorded(test, recorder, 1, 3);
	KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(entry, NULL));
	expect_recorded(test, recorder, 1, 3);
	lockmap_unlock(entry);
	expect_recorded(test, recorder, 0, 0);

	/* The sum of 0 to 99 is 4950, of which the odd ones are 2500. */
	for (u64 n = 0; n < 100; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
	KUNIT_EXPECT_EQ(test, lockmap_retain(map, lmtest_keep_even, NULL), 0);
	expect_recorded(test, recorder, 50, 2500);
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
	expect_recorded(test, recorder, 50, 2450);
	for (u64 n = 0; n < 100; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
	recorder->map = NULL;
	lmtest_destroy(test, map);
	expect_recorded(test, recorder, 100, 4950);
}

static void get_copies_with_clone(struct kunit *test)
{
	struct recorder *recorder = lmtest_zalloc(test, sizeof(*recorder));
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "clone", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.clone = record_clone, .priv = recorder,
	});
	struct lockmap_entry *entry;
	struct worker *w;
	u64 value = 0;

	recorder->map = map;
	KUNIT_EXPECT_EQ(test, insert_nr(map, 5, 5), 0);
	KUNIT_EXPECT_EQ(test, get_nr(map, 5, &value), 0);
	KUNIT_EXPECT_EQ(test, value, 1005);
	expect_recorded(test, recorder, 1, 0);
	KUNIT_EXPECT_EQ(test, get_nr(map, 5, NULL), 0);
	KUNIT_EXPECT_EQ(test, get_nr(map, 6, &value), -ENOENT);
	KUNIT_EXPECT_EQ(test, value, 1005);
	KUNIT_EXPECT_TRUE(test, contains_nr(map, 5));
	expect_recorded(test, recorder, 0, 0);
	lmtest_expect_unlocked(test, map, 5, 6);

	entry = lmtest_hold(test, map, 5);
	KUNIT_EXPECT_EQ(test, get_nr(map, 5, &value), -EDEADLK);
	w = lmtest_start_op(test, map, OP_GET, 5, 0);
	lmtest_expect_waiting(test, w);
	expect_recorded(test, recorder, 0, 0);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	expect_recorded(test, recorder, 1, 0);
}

static u64 caseless_hash(const void *key, size_t len, u64 seed, void *priv)
{
	const u8 *p = key;
	u64 hash = seed;

	while (len--)
		hash = (hash ^ (*p++ | 0x20)) * 0x9e3779b97f4a7c15ULL;
	return hash;
}

static int caseless_cmp(const void *a, size_t a_len, const void *b, size_t b_len, void *priv)
{
	const u8 *p = a, *q = b;

	for (size_t i = 0; i < min(a_len, b_len); i++)
		if ((p[i] | 0x20) != (q[i] | 0x20))
			return (p[i] | 0x20) - (q[i] | 0x20);
	return a_len < b_len ? -1 : a_len > b_len;
}

/* Keys that cmp calls equal are the same key. */
static void cmp_decides_which_keys_are_equal(struct kunit *test)
{
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "caseless", .key_len = 32, .value_len = sizeof(u64),
		.flags = LOCKMAP_VAR_KEY, .hash = caseless_hash, .cmp = caseless_cmp,
	});
	struct lockmap_key keys[] = { { "ABC", 3 }, { "b", 1 }, { "abc", 3 }, { "B", 1 } };
	struct lockmap_entry *entry = lockmap_lock(map, "Hello", 5);
	struct lockmap_batch *batch;
	u64 value = 5;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry, &value, NULL));
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_trylock(map, "hELLO", 5)), -EBUSY);
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock(map, "HELLO", 5)), -EDEADLK);
	lockmap_unlock(entry);
	value = 0;
	KUNIT_EXPECT_EQ(test, lockmap_get(map, "hello", 5, &value), 0);
	KUNIT_EXPECT_EQ(test, value, 5);
	KUNIT_EXPECT_EQ(test, lockmap_insert(map, "HELLO", 5, &value, NULL), 1);
	KUNIT_EXPECT_EQ(test, lockmap_get(map, "hell", 4, &value), -ENOENT);

	batch = lockmap_batch_lock(map, keys, ARRAY_SIZE(keys));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_EXPECT_EQ(test, batch->nr, 2);
	KUNIT_EXPECT_PTR_EQ(test, lockmap_batch_entry(batch, "aBc", 3), lmtest_nth(batch, 0));
	KUNIT_EXPECT_PTR_EQ(test, lockmap_batch_entry(batch, "b", 1), lmtest_nth(batch, 1));
	lockmap_batch_unlock(batch);
	KUNIT_EXPECT_EQ(test, lockmap_remove(map, "hellO", 5, NULL), 0);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
}

/* What the functions of a map are given, and whether they got it. */
struct own_map {
	unsigned int hashes;
	unsigned int cmps;
	unsigned int clones;
	unsigned int releases;
};

static u64 own_hash(const void *key, size_t len, u64 seed, void *priv)
{
	struct own_map *own = priv;

	own->hashes++;
	return seed ^ get_unaligned((const u64 *)key);
}

static int own_cmp(const void *a, size_t a_len, const void *b, size_t b_len, void *priv)
{
	struct own_map *own = priv;

	own->cmps++;
	return memcmp(a, b, a_len);
}

static void own_clone(void *dst, const void *src, void *priv)
{
	struct own_map *own = priv;

	own->clones++;
	memcpy(dst, src, sizeof(u64));
}

static void own_release(void *value, void *priv)
{
	struct own_map *own = priv;

	own->releases++;
}

/* Two maps have the same functions, which are told whose they are. */
static void functions_get_priv_of_their_map(struct kunit *test)
{
	struct own_map *own = lmtest_zalloc(test, 2 * sizeof(*own));
	struct lockmap *map[2];
	u64 value;

	for (unsigned int i = 0; i < 2; i++) {
		map[i] = lmtest_create(test, &(struct lockmap_params) {
			.name = "own", .key_len = sizeof(u64), .value_len = sizeof(u64),
			.hash = own_hash, .cmp = own_cmp, .clone = own_clone,
			.release = own_release, .priv = &own[i],
		});
		KUNIT_EXPECT_EQ(test, insert_nr(map[i], 1, 10), 0);
	}
	for (unsigned int i = 0; i < 2; i++) {
		struct own_map *mine = &own[i], *other = &own[!i], before = *other;

		*mine = (struct own_map) {};
		KUNIT_EXPECT_EQ(test, get_nr(map[i], 1, &value), 0);
		KUNIT_EXPECT_EQ(test, value, 10);
		KUNIT_EXPECT_EQ(test, insert_nr(map[i], 1, 20), 1);
		KUNIT_EXPECT_GT(test, mine->hashes, 0);
		KUNIT_EXPECT_GT(test, mine->cmps, 0);
		KUNIT_EXPECT_EQ(test, mine->clones, 1);
		KUNIT_EXPECT_EQ(test, mine->releases, 1);
		KUNIT_EXPECT_MEMEQ(test, other, &before, sizeof(before));
	}
	for (unsigned int i = 0; i < 2; i++) {
		lmtest_destroy(test, map[i]);
		KUNIT_EXPECT_EQ(test, own[i].releases, 2);
	}
	KUNIT_EXPECT_EQ(test, own[0].releases, 2);
}

#define NR_PARENTS	100

/* The values of a map, of which each that is numbered below @parents inserts one more. */
struct family {
	struct lockmap *map;
	u64 parents;
	unsigned long released;
	unsigned long failed;
};

static void release_and_insert(void *value, void *priv)
{
	struct family *family = priv;
	u64 n = *(u64 *)value;

	family->released++;
	if (n < family->parents)
		family->failed += insert_nr(family->map, n + NR_PARENTS, n + NR_PARENTS) != 0;
}

/* Destroying the map also releases what release inserts, and what that inserts. */
static void destroy_releases_what_release_inserts(struct kunit *test)
{
	struct family *family = lmtest_zalloc(test, sizeof(*family));

	for (unsigned int generations = 1; generations <= 20; generations += 19) {
		*family = (struct family) { .parents = generations * NR_PARENTS };
		family->map = lmtest_create(test, &(struct lockmap_params) {
			.name = "family", .key_len = sizeof(u64), .value_len = sizeof(u64),
			.release = release_and_insert, .priv = family,
		});
		for (u64 n = 0; n < NR_PARENTS; n++)
			KUNIT_EXPECT_EQ(test, insert_nr(family->map, n, n), 0);
		lmtest_destroy(test, family->map);
		KUNIT_EXPECT_EQ(test, family->released, (1 + generations) * NR_PARENTS);
		KUNIT_EXPECT_EQ(test, family->failed, 0);
	}
}

static void walks_refuse_no_function(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);

	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 1), 0);
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, NULL, NULL), -EINVAL);
	KUNIT_EXPECT_EQ(test, lockmap_retain(map, NULL, NULL), -EINVAL);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
}

static struct kunit_case callback_cases[] = {
	KUNIT_CASE(release_gets_each_value_once),
	KUNIT_CASE(get_copies_with_clone),
	KUNIT_CASE(cmp_decides_which_keys_are_equal),
	KUNIT_CASE(functions_get_priv_of_their_map),
	KUNIT_CASE(destroy_releases_what_release_inserts),
	KUNIT_CASE(walks_refuse_no_function),
	{}
};

struct kunit_suite lmtest_callback_suite = {
	.name = "lockmap_callback",
	.init = lmtest_init,
	.test_cases = callback_cases,
};
