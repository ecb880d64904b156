// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Hash functions that are bad, and keys that are chosen to collide
 */
#include <linux/ktime.h>
#include <linux/sched.h>

#include "fixture.h"

static u64 zero_hash(const void *key, size_t len, u64 seed, void *priv)
{
	return 0;
}

static u64 low_hash(const void *key, size_t len, u64 seed, void *priv)
{
	return nr_of(key) % 4;
}

static u64 high_hash(const void *key, size_t len, u64 seed, void *priv)
{
	return nr_of(key) << 62;
}

static void bad_hash_is_slow_but_right(struct kunit *test)
{
	static u64 (* const hash[])(const void *key, size_t len, u64 seed, void *priv) = {
		zero_hash, low_hash, high_hash,
	};
	unsigned int nr = slow_kernel() ? 300 : 5000;

	for (unsigned int i = 0; i < ARRAY_SIZE(hash); i++) {
		struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
			.name = "bad_hash", .key_len = sizeof(u64), .value_len = sizeof(u64),
			.hash = hash[i],
		});
		unsigned int failures = 0;
		unsigned long visits = 0;
		u64 value;

		for (u64 n = 0; n < nr; n++)
			failures += insert_nr(map, n, n) != 0;
		KUNIT_EXPECT_EQ_MSG(test, failures, 0, "hash %u: inserts", i);
		KUNIT_EXPECT_EQ(test, lockmap_len(map), nr);
		for (u64 n = 0; n < nr; n++)
			failures += get_nr(map, n, &value) || value != n;
		KUNIT_EXPECT_EQ_MSG(test, failures, 0, "hash %u: gets", i);
		KUNIT_EXPECT_EQ(test, lockmap_for_each(map, lmtest_count_visit, &visits), 0);
		KUNIT_EXPECT_EQ(test, visits, nr);
		for (u64 n = nr; n < nr + 100; n++)
			failures += trylock_error(map, n) != 0;
		KUNIT_EXPECT_EQ_MSG(test, failures, 0, "hash %u: trylocks", i);
		for (u64 n = 0; n < nr; n++)
			failures += remove_nr(map, n) != 0;
		KUNIT_EXPECT_EQ_MSG(test, failures, 0, "hash %u: removes", i);
		KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
		lmtest_destroy(test, map);
	}
}

/*
 * Keys that are chosen to collide: all have the same hash under a function that
 * is no secret. The default hash has a secret seed, so that a map which uses it
 * finds these keys as fast as any others.
 */

#define NR_LOOKUPS	1024

static u64 known_hash(const void *key, size_t len, u64 seed, void *priv)
{
	return (u32)get_unaligned((const u64 *)key) * 2654435761U;
}

static u64 ordinary_key(u64 n)
{
	return n;
}

static u64 colliding_key(u64 n)
{
	return n << 32;
}

static struct lockmap *create_filled(struct kunit *test,
				     u64 (*hash)(const void *key, size_t len, u64 seed, void *priv),
				     u64 (*key_nr)(u64 n), u64 nr)
{
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "full", .key_len = sizeof(u64), .value_len = sizeof(u64), .hash = hash,
	});

	for (u64 n = 0; n < nr; n++) {
		u64 key = key_nr(n);

		KUNIT_ASSERT_GE(test, lockmap_insert(map, &key, sizeof(key), &n, NULL), 0);
		resched_if_needed();
	}
	return map;
}

/* Nanoseconds that a lookup takes, of keys from all over the map */
static u64 time_lookups(struct lockmap *map, u64 (*key_nr)(u64 n), u64 nr)
{
	u64 begin = ktime_get_ns(), value;

	for (u64 n = 0; n < NR_LOOKUPS; n++) {
		u64 key = key_nr(n * nr / NR_LOOKUPS);

		if (lockmap_get(map, &key, sizeof(key), &value))
			return 0;
	}
	return (ktime_get_ns() - begin) / NR_LOOKUPS;
}

static void chosen_keys_do_not_collide(struct kunit *test)
{
	u64 nr = slow_kernel() ? 1 << 14 : 1 << 20, few = 1 << 12;
	struct lockmap *good = create_filled(test, NULL, ordinary_key, nr);
	struct lockmap *bad = create_filled(test, NULL, colliding_key, nr);
	struct lockmap *known = create_filled(test, known_hash, colliding_key, few);
	u64 best[3] = { U64_MAX, U64_MAX, U64_MAX };

	for (unsigned int round = 0; round < 20; round++) {
		best[0] = min(best[0], time_lookups(good, ordinary_key, nr));
		best[1] = min(best[1], time_lookups(bad, colliding_key, nr));
		if (round < 3)
			best[2] = min(best[2], time_lookups(known, colliding_key, few));
		cond_resched();
	}
	kunit_info(test, "ns a lookup: %llu of %llu ordinary keys, %llu of as many chosen ones; "
		   "%llu of %llu with the hash that they are chosen for",
		   best[0], nr, best[1], best[2], few);
	KUNIT_EXPECT_GT(test, best[0], 0);
	KUNIT_EXPECT_GT(test, best[1], 0);
	KUNIT_EXPECT_LT(test, best[1], 2 * best[0] + 20);
	KUNIT_EXPECT_GT(test, best[2], 4 * best[0]);
}

static struct kunit_case hash_cases[] = {
	KUNIT_CASE_SLOW(bad_hash_is_slow_but_right),
	KUNIT_CASE_SLOW(chosen_keys_do_not_collide),
	{}
};

struct kunit_suite lmtest_hash_suite = {
	.name = "lockmap_hash",
	.init = lmtest_init,
	.test_cases = hash_cases,
};
