// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The order of keys: that of numbers for fixed keys of 1, 2, 4 and 8 bytes, of bytes
 * for all others, unless cmp says otherwise
 */
#include <linux/string.h>

#include "worker.h"

/* So many keys a batch sorts in one way, more in another; see LM_BATCH_FEW in core/batch.c. */
#define FEW	8
/* The longest key here */
#define MAX_LEN	16

DEFINE_LOCKMAP(s64s, s64, u64);
DEFINE_LOCKMAP(s16s, s16, u64);

static u64 any_hash(const void *key, size_t len, u64 seed, void *priv)
{
	return seed ^ *(const u8 *)key;
}

static int last_byte_first(const void *a, size_t a_len, const void *b, size_t b_len, void *priv)
{
	return ((const u8 *)b)[1] - ((const u8 *)a)[1];
}

/*
 * Expect that a batch locks keys in the order in which they are given here, and finds
 * each. @sorted: @nr keys of @len bytes, one after the other
 */
static void expect_order(struct kunit *test, struct lockmap *map, const u8 *sorted, size_t len,
			 unsigned int nr)
{
	struct lockmap_key *keys = lmtest_zalloc(test, nr * sizeof(*keys));
	/* A caller's keys need no alignment. */
	u8 *data = lmtest_zalloc(test, nr * len + 1) + 1;
	struct lockmap_batch *batch;

	memcpy(data, sorted, nr * len);
	for (unsigned int i = 0; i < nr; i++)
		keys[i] = (struct lockmap_key) { data + i * len, len };
	lmtest_shuffle_keys(keys, nr, nr + len);
	batch = lockmap_batch_lock(map, keys, nr);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_ASSERT_EQ(test, batch->nr, nr);
	for (unsigned int i = 0; i < nr; i++) {
		struct lockmap_entry *entry = lmtest_nth(batch, i);

		KUNIT_EXPECT_MEMEQ(test, lockmap_entry_key(entry, NULL), data + i * len, len);
		KUNIT_EXPECT_PTR_EQ(test, lockmap_batch_entry(batch, data + i * len, len), entry);
	}
	lockmap_batch_unlock(batch);
}

static void expect_order_of_numbers(struct kunit *test, size_t len, bool own_hash)
{
	static const u64 numbers[] = {
		0, 1, 2, 127, 128, 254, 255, 256, 257, 511, 512, 0x7fff, 0x8000, 0xff00, 0xfffe,
		0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xff000000, 0xffffffff, 0x100000000,
		0x0100000000000000, S64_MAX, 1ULL << 63, U64_MAX - 1, U64_MAX,
	};
	u64 max = U64_MAX >> (64 - 8 * len);
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "numbers", .key_len = len, .hash = own_hash ? any_hash : NULL,
	});
	u8 *sorted = lmtest_zalloc(test, ARRAY_SIZE(numbers) * len);
	unsigned int nr = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(numbers) && numbers[i] <= max; i++, nr++) {
		u8 *key = sorted + i * len;

		if (len == sizeof(u8))
			*key = numbers[i];
		else if (len == sizeof(u16))
			put_unaligned((u16)numbers[i], (u16 *)key);
		else if (len == sizeof(u32))
			put_unaligned((u32)numbers[i], (u32 *)key);
		else
			put_unaligned(numbers[i], (u64 *)key);
	}
	expect_order(test, map, sorted, len, nr);
	for (unsigned int first = 0; first + FEW <= nr; first++) {
		expect_order(test, map, sorted + first * len, len, FEW);
		expect_order(test, map, sorted + first * len, len, 2);
	}
	lmtest_destroy(test, map);
}

static void numbers_sort_by_their_value(struct kunit *test)
{
	for (size_t len = 1; len <= sizeof(u64); len *= 2) {
		expect_order_of_numbers(test, len, false);
		expect_order_of_numbers(test, len, true);
	}
}

/* Numbers are unsigned, also where the type is not: -1 comes after 1. */
static void typed_keys_sort_likewise(struct kunit *test)
{
	static const s64 longs[] = { 0, 1, 256, S64_MAX, S64_MIN, -256, -1 };
	static const s16 shorts[] = { 0, 1, 256, S16_MAX, S16_MIN, -256, -1 };
	struct s64s *s64s __free(lockmap_destroy) = s64s_create(NULL);
	struct s16s *s16s __free(lockmap_destroy) = s16s_create(NULL);

	KUNIT_EXPECT_NOT_ERR_OR_NULL(test, s64s);
	KUNIT_EXPECT_NOT_ERR_OR_NULL(test, s16s);
	if (IS_ERR(s64s) || IS_ERR(s16s))
		return;
	expect_order(test, (struct lockmap *)s64s, (const u8 *)longs, sizeof(s64),
		     ARRAY_SIZE(longs));
	expect_order(test, (struct lockmap *)s16s, (const u8 *)shorts, sizeof(s16),
		     ARRAY_SIZE(shorts));
}

static void expect_order_of_bytes(struct kunit *test, size_t len, unsigned int flags,
				  bool own_hash)
{
	/* As little endian numbers these have another order. */
	static const u8 first[] = { 0, 1, 1, 2, 127, 128, 255 };
	static const u8 last[] = { 255, 0, 255, 1, 0, 0, 0 };
	u8 sorted[ARRAY_SIZE(first) * MAX_LEN] = {};
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "bytes", .key_len = flags & LOCKMAP_VAR_KEY ? MAX_LEN : len,
		.flags = flags, .hash = own_hash ? any_hash : NULL,
	});

	for (unsigned int i = 0; i < ARRAY_SIZE(first); i++) {
		sorted[i * len] = first[i];
		sorted[i * len + len - 1] = last[i];
	}
	expect_order(test, map, sorted, len, ARRAY_SIZE(first));
	lmtest_destroy(test, map);
}

/* Keys of variable length are bytes even if they have 8. */
static void other_keys_sort_by_their_bytes(struct kunit *test)
{
	static const size_t fixed[] = { 3, 5, 6, 7, 9, 12, 16 };
	static const size_t variable[] = { 2, 4, 8, 16 };

	for (unsigned int hash = 0; hash < 2; hash++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(fixed); i++)
			expect_order_of_bytes(test, fixed[i], 0, hash);
		for (unsigned int i = 0; i < ARRAY_SIZE(variable); i++)
			expect_order_of_bytes(test, variable[i], LOCKMAP_VAR_KEY, hash);
	}
}

static void cmp_goes_before_all_else(struct kunit *test)
{
	/* Neither as numbers nor as bytes do they sort so. */
	static const u8 sorted[4][2] = { { 9, 3 }, { 0, 2 }, { 5, 1 }, { 4, 0 } };

	for (size_t len = 2; len <= sizeof(u64); len *= 4) {
		struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
			.name = "own order", .key_len = len, .cmp = last_byte_first,
		});
		u8 keys[4 * sizeof(u64)] = {};

		for (unsigned int i = 0; i < 4; i++)
			memcpy(keys + i * len, sorted[i], sizeof(sorted[i]));
		expect_order(test, map, keys, len, 4);
	}
}

/*
 * A task that locks 1 and then 256, against a batch of both: the batch locks 1 first, and
 * so holds nothing while it waits.
 */
static void batch_waits_behind_the_lower_number(struct kunit *test)
{
	for (unsigned int own_hash = 0; own_hash < 2; own_hash++) {
		struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
			.name = "ascending", .key_len = sizeof(u64),
			.hash = own_hash ? any_hash : NULL,
		});
		u64 low = 1, high = 256;
		struct lockmap_key keys[] = { { &high, sizeof(high) }, { &low, sizeof(low) } };
		struct lockmap_entry *entry[2];
		struct worker *w;

		entry[0] = lockmap_lock(map, &low, sizeof(low));
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry[0]);
		w = lmtest_start_batch(test, map, OP_BATCH, keys, 2, 0);
		lmtest_expect_waiting(test, w);
		entry[1] = lockmap_lock_timeout(map, &high, sizeof(high), PATIENCE);
		KUNIT_EXPECT_NOT_ERR_OR_NULL(test, entry[1]);
		if (!IS_ERR(entry[1]))
			lockmap_unlock(entry[1]);
		lockmap_unlock(entry[0]);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	}
}

static struct kunit_case order_cases[] = {
	KUNIT_CASE(numbers_sort_by_their_value),
	KUNIT_CASE(typed_keys_sort_likewise),
	KUNIT_CASE(other_keys_sort_by_their_bytes),
	KUNIT_CASE(cmp_goes_before_all_else),
	KUNIT_CASE(batch_waits_behind_the_lower_number),
	{}
};

struct kunit_suite lmtest_order_suite = {
	.name = "lockmap_order",
	.init = lmtest_init,
	.test_cases = order_cases,
};
