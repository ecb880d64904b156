// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Keys of all lengths, and keys that are refused
 */
#include <linux/minmax.h>
#include <linux/string.h>

#include "fixture.h"

static void keys_of_all_sizes(struct kunit *test)
{
	static const size_t sizes[] = { 1, 2, 3, 4, 7, 8, 12, 16, 24, 40, 100, 1000, 4096 };
	u8 *key = lmtest_zalloc(test, LOCKMAP_MAX_KEY_LEN + 1);

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t size = sizes[i], len = 0;
		u64 nr = size == 1 ? 256 : scaled(1000) + 100, value;
		struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
			.name = "keys_of_all_sizes", .key_len = size, .value_len = sizeof(u64),
		});
		struct lockmap_entry *entry;

		/* Keys differ in their last bytes, then in their first. */
		for (unsigned int end = 0; end < 2; end++) {
			u8 *at = end ? key : key + size - min_t(size_t, size, 2);

			memset(key, 0, size);
			for (u64 n = 0; n < nr; n++) {
				memcpy(at, &n, min_t(size_t, size, 2));
				KUNIT_EXPECT_EQ(test, lockmap_insert(map, key, size, &n, NULL), 0);
			}
			KUNIT_EXPECT_EQ_MSG(test, lockmap_len(map), nr, "%zu bytes", size);
			for (u64 n = 0; n < nr; n++) {
				memcpy(at, &n, min_t(size_t, size, 2));
				value = ~0ULL;
				KUNIT_EXPECT_EQ(test, lockmap_get(map, key, size, &value), 0);
				KUNIT_EXPECT_EQ_MSG(test, value, n, "%zu bytes", size);
			}
			entry = lockmap_lock(map, key, size);
			KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
			KUNIT_EXPECT_MEMEQ(test, lockmap_entry_key(entry, &len), key, size);
			KUNIT_EXPECT_EQ(test, len, size);
			lockmap_unlock(entry);
			KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
		}
		lmtest_destroy(test, map);
	}
}

static bool is_filled_with(const u8 *p, size_t len, u8 x)
{
	return !len || (p[0] == x && !memcmp(p, p + 1, len - 1));
}

static void keys_of_variable_length(struct kunit *test)
{
	static const size_t lens[] = { 1, 8, 63, 64, 65, 200, 4096 };
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "var", .key_len = LOCKMAP_MAX_KEY_LEN, .value_len = sizeof(u64),
		.flags = LOCKMAP_VAR_KEY,
	});
	u8 *key = lmtest_zalloc(test, LOCKMAP_MAX_KEY_LEN + 1);
	struct lockmap_entry *entry[ARRAY_SIZE(lens)];
	u64 value;
	size_t len;

	/* Each is a prefix of the next, and yet another key. */
	memset(key, 'a', LOCKMAP_MAX_KEY_LEN + 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
		entry[i] = lockmap_lock(map, key, lens[i]);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry[i]);
		value = lens[i];
		KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry[i], &value, NULL));
		KUNIT_EXPECT_EQ(test, lock_error(lockmap_trylock(map, key, lens[i])), -EBUSY);
	}
	KUNIT_EXPECT_EQ(test, lockmap_len(map), ARRAY_SIZE(lens));
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_trylock(map, key, 2)), 0);

	/* The map has copies of the keys: overwrite ours. */
	memset(key, 'b', LOCKMAP_MAX_KEY_LEN);
	for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
		const u8 *stored = lockmap_entry_key(entry[i], &len);

		KUNIT_EXPECT_EQ(test, len, lens[i]);
		KUNIT_EXPECT_TRUE(test, is_filled_with(stored, len, 'a'));
		lockmap_unlock(entry[i]);
	}
	memset(key, 'a', LOCKMAP_MAX_KEY_LEN);
	for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
		KUNIT_EXPECT_EQ(test, lockmap_get(map, key, lens[i], &value), 0);
		KUNIT_EXPECT_EQ(test, value, lens[i]);
		KUNIT_EXPECT_EQ(test, lockmap_insert(map, key, lens[i], NULL, &value), 1);
		KUNIT_EXPECT_EQ(test, value, lens[i]);
		KUNIT_EXPECT_FALSE(test, lockmap_contains(map, key, lens[i] == 4096 ? 4095 :
							  lens[i] == 63 || lens[i] == 64 ? 62 :
							  lens[i] + 1));
	}
	KUNIT_EXPECT_EQ(test, lockmap_remove(map, key, 64, NULL), 0);
	KUNIT_EXPECT_FALSE(test, lockmap_contains(map, key, 64));
	KUNIT_EXPECT_TRUE(test, lockmap_contains(map, key, 63));
	KUNIT_EXPECT_TRUE(test, lockmap_contains(map, key, 65));
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
	KUNIT_EXPECT_FALSE(test, lockmap_contains(map, key, 4096));
}

/* Every call refuses this key, and changes nothing in a map with one value. */
static void expect_bad_key(struct kunit *test, struct lockmap *map, const void *key, size_t len)
{
	u64 value = 1;

	for (enum op op = 0; op < NR_OPS; op++) {
		int want = op == OP_CONTAINS ? false : -EINVAL;

		if (op == OP_FOR_EACH || op == OP_RETAIN || op == OP_CLEAR)
			continue;
		KUNIT_EXPECT_EQ_MSG(test, lmtest_do_op(map, op, key, len, 1, NULL), want,
				    "%s, %zu bytes at %p", lmtest_op_name[op], len, key);
	}
	KUNIT_EXPECT_EQ(test, lockmap_remove(map, key, len, &value), -EINVAL);
	KUNIT_EXPECT_EQ(test, value, 1);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
}

static void wrong_keys_are_refused(struct kunit *test)
{
	struct lockmap *fixed = lmtest_create_u64(test);
	struct lockmap *var = lmtest_create(test, &(struct lockmap_params) {
		.name = "wrong_var", .key_len = 100, .value_len = sizeof(u64),
		.flags = LOCKMAP_VAR_KEY,
	});
	u8 *key = lmtest_zalloc(test, 256);
	struct lockmap_key keys[4];
	struct lockmap_batch *batch;

	KUNIT_EXPECT_EQ(test, insert_nr(fixed, 0, 1), 0);
	KUNIT_EXPECT_EQ(test, insert_nr(var, 0, 1), 0);
	expect_bad_key(test, fixed, key, 0);
	expect_bad_key(test, fixed, key, 7);
	expect_bad_key(test, fixed, key, 9);
	expect_bad_key(test, fixed, key, SIZE_MAX);
	expect_bad_key(test, fixed, NULL, 8);
	expect_log("wrong_var: a key of 0 bytes is refused, where keys have 1 to 100");
	expect_bad_key(test, var, key, 0);
	expect_bad_key(test, var, key, 101);
	expect_bad_key(test, var, key, SIZE_MAX);
	expect_bad_key(test, var, NULL, 8);

	/* One bad key in a batch: none is locked. */
	for (unsigned int i = 0; i < ARRAY_SIZE(keys); i++) {
		keys[i].data = key + 8 * i;
		keys[i].len = 8;
		key[8 * i + 7] = i;
	}
	keys[2].len = 9;
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_lock(fixed, keys, 4)), -EINVAL);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_trylock(fixed, keys, 4)), -EINVAL);
	keys[2].len = 8;
	keys[3].data = NULL;
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_lock(fixed, keys, 4)), -EINVAL);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_trylock(fixed, keys, 4)), -EINVAL);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_lock(fixed, NULL, 4)), -EINVAL);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_trylock(fixed, NULL, 4)), -EINVAL);
	lmtest_expect_unlocked(test, fixed, 0, 3);

	/* A batch has no entry for a key that the map would refuse. */
	keys[3].data = key + 24;
	batch = lockmap_batch_lock(fixed, keys, 4);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_EXPECT_NOT_NULL(test, lockmap_batch_entry(batch, key, 8));
	KUNIT_EXPECT_NULL(test, lockmap_batch_entry(batch, key, 7));
	KUNIT_EXPECT_NULL(test, lockmap_batch_entry(batch, key, 0));
	KUNIT_EXPECT_NULL(test, lockmap_batch_entry(batch, NULL, 8));
	lockmap_batch_unlock(batch);
}

/* A map tells once of a key that it refuses. */
static void refused_key_is_told(struct kunit *test)
{
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "refused", .key_len = sizeof(u64),
	});
	u8 key[8] = {};

	expect_log("refused: a key of 1 byte is refused, where keys have 8");
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_trylock(map, key, 1)), -EINVAL);
}

static void null_map_is_refused(struct kunit *test)
{
	u64 key = 1;

	for (enum op op = 0; op < NR_OPS; op++) {
		int want = op == OP_CONTAINS ? false : -EINVAL;
		unsigned long visits = 0;
		int ret = lmtest_do_op(NULL, op, &key, sizeof(key), 1, &visits);

		KUNIT_EXPECT_EQ_MSG(test, ret, want, "%s without a map", lmtest_op_name[op]);
		KUNIT_EXPECT_EQ(test, visits, 0);
	}
	KUNIT_EXPECT_EQ(test, PTR_ERR(lockmap_prealloc(NULL, GFP_KERNEL)), -EINVAL);
}

static struct kunit_case key_cases[] = {
	KUNIT_CASE_SLOW(keys_of_all_sizes),
	KUNIT_CASE(keys_of_variable_length),
	KUNIT_CASE(wrong_keys_are_refused),
	KUNIT_CASE(refused_key_is_told),
	KUNIT_CASE(null_map_is_refused),
	{}
};

struct kunit_suite lmtest_key_suite = {
	.name = "lockmap_key",
	.init = lmtest_init,
	.test_cases = key_cases,
};
