// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Models of the map: walks over two shards, and keys that are not part of their entry,
 * with a comparison of the caller's.
 */
#include "shim.h"

/* Memory of long keys is never used again here. */
#define NR_LONG_KEYS	4
static u64 long_keys[NR_LONG_KEYS][8] __world;
static u8 nr_long_keys __world;

static void *next_long_key(void)
{
	ex_assert(nr_long_keys < NR_LONG_KEYS, "the model has too few long keys");
	return long_keys[nr_long_keys++];
}

#undef kzalloc
#define kzalloc(size, gfp)	next_long_key()

static int compare(const u64 *a, size_t a_len, const u64 *b, size_t b_len)
{
	ex_assert(a_len && b_len, "cmp gets a key of no bytes");
	return *a != *b;
}

#undef lm_call_cmp
#define lm_call_cmp(map, a, a_len, b, b_len)	\
	((void)(map), compare((const u64 *)(a), a_len, (const u64 *)(b), b_len))

/* B is in the second shard; A and C are in one bucket of the first. */
#define NR_SHARDS	2
#define HASH_OF(key)	((key) == 1 ? 1U << 31 : 0)

#include "map.h"

#undef cond_resched
#define cond_resched()		do { } while (0)
#undef memcpy
#define lockmap_entry_key(entry, key_len)	(*(key_len) = 0, (const void *)NULL)

#include "core/walk.c"

static struct bucket_table second_tbl __world;
static u8 visits[NR_KEYS] __world;

static int visit(struct lockmap_entry *entry, void *arg)
{
	ex_assert(!visits[key_of(entry)], "a walk visits a key twice");
	visits[key_of(entry)]++;
	return 0;
}

static noinline void walk(void)
{
	lm_walk_shard(&the_map, &the_map.shards[0], visit, NULL);
	lm_walk_shard(&the_map, &the_map.shards[1], visit, NULL);
}

static void walk_a(void)
{
	walk();
	ex_assert(visits[0] == 1, "a walk misses a key that was there all the while");
}

static noinline void shrink_put_b(void)
{
	shrink();
	put(1, 1);
}

static noinline void look_for_a(void)
{
	u64 number = 0;
	struct lm_key key = lm_key(&the_map, LM_KEY_LONG, &number, sizeof(number));

	key.hash = HASH_OF(number);
	rcu_read_lock();
	lm_find(&key);
	rcu_read_unlock();
}

static noinline void shrink_reserve(void)
{
	shrink();
	lm_entry_alloc(&the_map, sizeof(u64), GFP_KERNEL);
}

static void init_two_shards(void)
{
	int i;

	the_map.shards[1].table.tbl = &second_tbl;
	second_tbl.size = NR_BUCKETS;
	for (i = 0; i < NR_BUCKETS; i++)
		ex_register(&second_tbl.lock[i].sync);
	the_map.nr_shards = 2;
	the_map.shard_shift = 30;
}

/* A is idle. */
static void init_walk(void)
{
	init_idle();
	init_two_shards();
}

/* A has a value, and C, idle, stands in front of it. */
static void init_walk_chain(void)
{
	init_chain();
	init_two_shards();
}

/* The key of A, which is idle, is in memory of its own. */
static void init_long(void)
{
	struct lm_long_key *lk = next_long_key();

	init_idle();
	the_map.key_kind = LM_KEY_LONG;
	the_map.key_len = LM_INLINE_KEY + 1;
	the_map.params.cmp = (void *)compare;
	lk->len = sizeof(u64);
	*(struct lm_long_key **)&slab[0].data[2] = lk;
}

/* Entries are in either shard, or nowhere. */
static void no_end(void)
{
}

const struct model models[] = {
	MAP_MODEL("map-visit", "a walk stands on an entry that becomes one of the next shard",
		  .init = init_walk, .end = no_end, .body = { walk, shrink_put_b }),
	MAP_MODEL("map-visit-chain", "the same, and a key that is there all the while",
		  .init = init_walk_chain, .end = no_end, .body = { walk_a, shrink_put_b }),
	MAP_MODEL("map-long", "a long key is compared while its entry becomes a reserve",
		  .init = init_long, .end = no_end, .body = { look_for_a, shrink_reserve }),
};

const int nr_models = ARRAY_SIZE(models);
