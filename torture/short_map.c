// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Short-lived maps: one task alone creates, uses and destroys them, so it knows the
 * right answer to each call
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/err.h>

#include "torture.h"

#define LMT_SHORT_MAP_KEYS	300	/* enough for the tables to grow and shrink */

/* Let allocations of this task fail, or not. The kernel needs failslab with a task filter. */
void lmt_fail_allocations(bool fail)
{
#ifdef CONFIG_FAULT_INJECTION
	current->make_it_fail = fail;
#endif
}

static int lmt_count_fn(const void *key, size_t len, void *value, void *arg)
{
	++*(unsigned int *)arg;
	return 0;
}

/* A walk visits each value once, also while the table is being rehashed. */
static void lmt_short_map_walk(struct lmt_actor *a, struct lockmap *map, unsigned int want)
{
	unsigned int visited = 0;

	if (lockmap_for_each(map, lmt_count_fn, &visited) || visited != want ||
	    lockmap_len(map) != want)
		lmt_fail(a, NULL, 0, "short-lived map", "%u visited of %u, len %zu", visited, want,
			 lockmap_len(map));
}

static void lmt_short_map_use(struct lmt_actor *a, struct lockmap *map)
{
	DECLARE_BITMAP(has, LMT_SHORT_MAP_KEYS) = { };
	unsigned int i;
	u64 key, value;
	int ret, want;
	bool insert;

	for (i = 0; i < 4 * LMT_SHORT_MAP_KEYS; i++) {
		key = lmt_rnd(a) % LMT_SHORT_MAP_KEYS;
		value = ~key;
		insert = !lmt_one_in(a, 3);
		want = insert || test_bit(key, has) ? 0 : -ENOENT;
		if (insert)
			ret = lockmap_insert(map, &key, sizeof(key), &value, NULL);
		else
			ret = lockmap_remove(map, &key, sizeof(key), NULL);
		if (ret == -ENOMEM && IS_ENABLED(CONFIG_FAILSLAB))
			continue;
		if (ret != (insert ? test_bit(key, has) : want))
			lmt_fail(a, NULL, key, "short-lived map", "insert %d: %d", insert, ret);
		value = 0;
		ret = lockmap_get(map, &key, sizeof(key), &value);
		if (ret != (insert ? 0 : -ENOENT) || (insert && value != ~key))
			lmt_fail(a, NULL, key, "short-lived map", "get: %d", ret);
		assign_bit(key, has, insert);
		if (lmt_one_in(a, 32))
			lmt_short_map_walk(a, map, bitmap_weight(has, LMT_SHORT_MAP_KEYS));
	}
	lmt_short_map_walk(a, map, bitmap_weight(has, LMT_SHORT_MAP_KEYS));
	if (lmt_one_in(a, 2) && (lockmap_clear(map) || !lockmap_is_empty(map)))
		lmt_fail(a, NULL, 0, "short-lived map", "not empty after clear");
}

void lmt_short_map(struct lmt_actor *a)
{
	struct lockmap *map = lockmap_create(&(struct lockmap_params) {
		.name = "short-lived",
		.key_len = sizeof(u64),
		.value_len = sizeof(u64),
		.nr_shards = lmt_rnd(a) % 4,
		.max_idle = lmt_rnd(a) % 4,
	});

	if (IS_ERR(map)) {
		if (!lmt_may_refuse(LMT_LOCK, PTR_ERR(map), false, 0, 0))
			lmt_fail(a, NULL, 0, "error code", "create: %ld", PTR_ERR(map));
		return;
	}
	lmt_fail_allocations(true);
	lmt_short_map_use(a, map);
	/* The kernel warns if it cannot allocate what destroying a slab cache takes. */
	lmt_fail_allocations(false);
	lockmap_destroy(map);
	a->acquired++;
}
