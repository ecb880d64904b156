// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Models of the map: keys that are present, entries that values keep, memory in reserve. */
#include "map.h"
#include "core/present.c"
#include "core/reference.c"

static struct bucket_table next_tbl __world;

/* Memory in reserve: the key is locked though the table is full. */
static noinline void use_reserve(u64 number, bool keep)
{
	u64 words[2] = {};
	struct lockmap_entry *reserve, *entry;
	struct lm_key key = key_number(&number);

	reserve = lm_entry_alloc(&the_map, sizeof(number), GFP_KERNEL);
	lm_entry_set_key(reserve, &key);
	entry = lm_lock_slow(&key, reserve, LM_LEAVE_ABSENT, &lm_wait_forever);
	ex_assert(!IS_ERR_OR_NULL(entry), "is refused in spite of its reserve");
	ex_assert(key_of(entry) == number, "locked another key");
	enter(number);
	ex_step("holds the key");
	if (keep)
		lockmap_entry_insert(entry, words, NULL);
	unlock(entry);
	if (entry != reserve)
		lm_entry_free(reserve);
}

static void reserve_a(void)
{
	use_reserve(0, false);
}

/* The entry stays in its table. */
static void reserve_a_kept(void)
{
	use_reserve(0, true);
}

static void reserve_c(void)
{
	use_reserve(2, false);
}

static void reserve_c_a(void)
{
	use_reserve(2, false);
	use_reserve(0, false);
}

static void shrink_reserve_a(void)
{
	shrink();
	use_reserve(0, false);
}

/* Lock a key that has a value; or, if it may have none, be told so. */
static noinline void use_present(u64 number, bool must)
{
	struct lockmap_entry *entry = lockmap_lock_present(&the_map, &number, sizeof(number));

	if (IS_ERR(entry)) {
		ex_assert(PTR_ERR(entry) == -ENOENT && !must,
			  "a key that is in the map is not found");
		return;
	}
	ex_assert(key_of(entry) == number, "locked another key");
	ex_assert(entry->has_value, "a key without a value is taken for present");
	enter(number);
	ex_step("holds the key");
	unlock(entry);
}

static void present_a(void)
{
	use_present(0, true);
}

/* The same for a key that is not looked up on the fast path. */
static noinline void present_slowly(const struct lm_wait_mode *mode)
{
	u64 number = 0;
	struct lm_key key = key_number(&number);
	struct lockmap_entry *entry = lm_lock_slow(&key, NULL, LM_PRESENT_ONLY, mode);

	ex_assert(entry, "a key that is in the map is not found");
	if (IS_ERR(entry))
		return;
	enter(number);
	unlock(entry);
}

static void present_slowly_a(void)
{
	present_slowly(&lm_wait_forever);
}

static void try_present_slowly_a(void)
{
	present_slowly(&lm_wait_never);
}

static void perhaps_a(void)
{
	use_present(0, false);
}

/* A holder that puts a value in is waited for, so nobody finds the key absent meanwhile. */
static void hold_put_a(void)
{
	put(0, 1);
}

static void put_a_drop_c(void)
{
	put(0, 1);
	put(2, 1);
	drop(0);
}

/* The entry of A, which has a value all the while. */
static noinline void use_reference(void)
{
	struct lockmap_entry *entry = &slab[1].entry;
	int err = lockmap_entry_lock(entry);

	ex_assert(!err, "cannot lock an entry that a value keeps");
	ex_assert(key_of(entry) == 0 && entry->has_value, "an entry became another key's");
	enter(0);
	ex_step("holds the key");
	unlock(entry);
}

static void try_reference(void)
{
	struct lockmap_entry *entry = &slab[1].entry;

	if (!lockmap_entry_trylock(entry))
		return;
	ex_assert(key_of(entry) == 0 && entry->has_value, "an entry became another key's");
	enter(0);
	ex_step("holds the key");
	unlock(entry);
}

static void reference_twice(void)
{
	use_reference();
	use_reference();
}

/* A value that is read without waiting. */
static noinline void tryget_a(void)
{
	u64 value[2] = {}, number = 0;
	int err = lockmap_tryget(&the_map, &number, sizeof(number), value);

	ex_assert(!err || err == -ENOENT || err == -EBUSY, "an error of tryget");
	if (!err) {
		ex_assert(value[0] >> 8 == number, "read another key's value");
		ex_assert((value[0] & 0xff) == value[1], "read halves of two values");
	}
}

static void put_a_drop_put_c(void)
{
	put(0, 1);
	drop(0);
	put(2, 2);
}

static void use_a(void)
{
	use(0, &lm_wait_forever);
}

static void shrink_use_b(void)
{
	shrink();
	use(1, &lm_wait_forever);
}

static void init_full(void)
{
	init();
	table_is_full = true;
}

/* The worker of the table makes another one. */
static void attach(void)
{
	WRITE_ONCE(tbl.future_tbl, &next_tbl);
}

static void init_nested(void)
{
	int i;

	init();
	nested_table = &tbl;
	next_tbl.size = NR_BUCKETS;
	for (i = 0; i < NR_BUCKETS; i++)
		ex_register(&next_tbl.lock[i].sync);
}

/* Entries may be in either table. */
static void no_end(void)
{
}

/* A has been used, and is idle; its memory may become another key's. */
static void init_full_idle(void)
{
	init_idle();
	table_is_full = true;
}

const struct model models[] = {
	MAP_MODEL("map-reserve", "two tasks insert one key, and a third another, into a full table",
		  .init = init_full, .body = { reserve_a, reserve_a, reserve_c }),
	MAP_MODEL("map-reserve-reuse", "the same while an entry in the chain is evicted",
		  .init = init_full_idle, .body = { reserve_c_a, shrink_reserve_a }),
	MAP_MODEL("map-reserve-nested", "two tasks insert one key into a table that lacks a page",
		  .init = init_nested, .end = no_end,
		  .body = { reserve_a_kept, reserve_a_kept, attach }),
	MAP_MODEL("map-present-reuse", "A is looked for in memory that becomes a reserve for A",
		  .init = init_chain, .body = { present_slowly_a, shrink_reserve_a }),
	MAP_MODEL("map-present-reuse-try", "the same with a trylock",
		  .init = init_chain, .body = { try_present_slowly_a, shrink_reserve_a }),
	MAP_MODEL("map-present", "A has a value, and C is evicted from its chain",
		  .init = init_chain, .body = { present_a, use_a, shrink_use_b }),
	MAP_MODEL("map-present-put", "A gets its value, and loses it",
		  .init = init_idle, .body = { perhaps_a, put_a_drop_c, shrink }),
	MAP_MODEL("map-present-first", "two tasks lock A while it gets its first value",
		  .body = { perhaps_a, hold_put_a, perhaps_a }),
	MAP_MODEL("map-tryget", "a value is read without waiting, and its memory is reused",
		  .init = init_idle, .body = { put_a_drop_put_c, tryget_a, shrink }),
	MAP_MODEL("map-reference", "the entry of A is locked by its address, and by its key",
		  .init = init_chain, .body = { reference_twice, use_a, shrink_use_b }),
	MAP_MODEL("map-reference-try", "the same with a trylock",
		  .init = init_chain, .body = { try_reference, use_a, use_reference }),
};

const int nr_models = ARRAY_SIZE(models);
