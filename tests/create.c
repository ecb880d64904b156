// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Creating and destroying maps, with parameters good and bad
 */
#include <linux/jiffies.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "fixture.h"

static void refuses_bad_params(struct kunit *test)
{
	static const struct {
		const char *why;
		struct lockmap_params params;
	} bad[] = {
		{ "no name", { .key_len = 8 } },
		{ "no key", { .name = "bad", .key_len = 0 } },
		{ "no variable key", { .name = "bad", .key_len = 0, .flags = LOCKMAP_VAR_KEY } },
		{ "long key", { .name = "bad", .key_len = LOCKMAP_MAX_KEY_LEN + 1 } },
		{ "long variable key", { .name = "bad", .key_len = LOCKMAP_MAX_KEY_LEN + 1,
					 .flags = LOCKMAP_VAR_KEY } },
		{ "endless key", { .name = "bad", .key_len = SIZE_MAX } },
		{ "endless value", { .name = "bad", .key_len = 8, .value_len = SIZE_MAX } },
		{ "wrapping value", { .name = "bad", .key_len = 8, .value_len = SIZE_MAX - 16 } },
		{ "huge value", { .name = "bad", .key_len = 8, .value_len = KMALLOC_MAX_SIZE } },
		{ "flag", { .name = "bad", .key_len = 8, .flags = 1U << 1 } },
		{ "flags", { .name = "bad", .key_len = 8, .flags = ~0U } },
		{ "clearing gfp", { .name = "bad", .key_len = 8, .gfp = GFP_KERNEL | __GFP_ZERO } },
		{ "DMA", { .name = "bad", .key_len = 8, .gfp = GFP_KERNEL | GFP_DMA } },
		{ "highmem", { .name = "bad", .key_len = 8, .gfp = GFP_KERNEL | __GFP_HIGHMEM } },
		{ "shards", { .name = "bad", .key_len = 8, .nr_shards = LOCKMAP_MAX_SHARDS + 1 } },
		{ "endless shards", { .name = "bad", .key_len = 8, .nr_shards = UINT_MAX } },
	};

	KUNIT_EXPECT_EQ(test, PTR_ERR(lmtest_try_create(test, NULL)), -EINVAL);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		struct lockmap *map = lmtest_try_create(test, &bad[i].params);

		KUNIT_EXPECT_TRUE_MSG(test, IS_ERR(map), "%s: accepted", bad[i].why);
		KUNIT_EXPECT_EQ_MSG(test, PTR_ERR(map), -EINVAL, "%s", bad[i].why);
	}
}

static void accepts_good_params(struct kunit *test)
{
	static const struct {
		const char *what;
		struct lockmap_params params;
	} good[] = {
		{ "1 shard", { .nr_shards = 1 } },
		{ "3 shards", { .nr_shards = 3 } },
		{ "64 shards", { .nr_shards = 64 } },
		{ "max_idle 1", { .max_idle = 1 } },
		{ "max_idle UINT_MAX", { .max_idle = UINT_MAX } },
		{ "room for a key", { .nelem_hint = 1 } },
		{ "room for 2^20", { .nelem_hint = 1 << 20 } },
		{ "room for 2^20 in a shard", { .nelem_hint = 1 << 20, .nr_shards = 1 } },
		{ "GFP_NOFS", { .gfp = GFP_NOFS } },
		{ "GFP_NOIO", { .gfp = GFP_NOIO } },
		{ "accounted", { .gfp = GFP_KERNEL_ACCOUNT } },
		{ "not sleeping", { .gfp = GFP_NOWAIT } },
		{ "variable keys", { .flags = LOCKMAP_VAR_KEY } },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(good); i++) {
		struct lockmap_params params = good[i].params;
		struct lockmap *map;

		params.name = "good";
		params.key_len = sizeof(u64);
		params.value_len = sizeof(u64);
		map = lmtest_try_create(test, &params);
		KUNIT_ASSERT_FALSE_MSG(test, IS_ERR_OR_NULL(map), "%s: %pe", good[i].what, map);
		lmtest_expect_usable(test, map, good[i].what);
		lmtest_destroy(test, map);
	}
}

static void accepts_extreme_params(struct kunit *test)
{
	struct lockmap_params params = {
		.name = "extreme", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.nr_shards = 16,
	};
	unsigned long begin, took = 0;
	struct lockmap *map;

	/*
	 * As many shards as this kernel makes and frees in bearable time: on some
	 * kernels each takes an RCU grace period (irq_work_sync()).
	 */
	while (params.nr_shards <= LOCKMAP_MAX_SHARDS && took < HZ / 8) {
		begin = jiffies;
		map = lmtest_create(test, &params);
		lmtest_expect_usable(test, map, "many shards");
		lmtest_destroy(test, map);
		took = jiffies - begin;
		params.nr_shards *= 4;
	}
	kunit_info(test, "up to %u shards", params.nr_shards / 4);

	/* No hint is invalid: the map makes that room or does not. */
	params.nr_shards = 0;
	params.nelem_hint = SIZE_MAX;
	map = lmtest_try_create(test, &params);
	if (IS_ERR(map)) {
		KUNIT_EXPECT_TRUE(test, PTR_ERR(map) == -ENOMEM || PTR_ERR(map) == -EINVAL);
	} else {
		lmtest_expect_usable(test, map, "hint SIZE_MAX");
		lmtest_destroy(test, map);
	}

	/* The longest key, and the longest value that surely fits */
	params.nelem_hint = 0;
	params.key_len = LOCKMAP_MAX_KEY_LEN;
	params.flags = LOCKMAP_VAR_KEY;
	params.value_len = sizeof(u64);
	map = lmtest_create(test, &params);
	lmtest_expect_usable(test, map, "longest key");
	lmtest_destroy(test, map);
}

static void copies_params(struct kunit *test)
{
	struct lockmap_params *params = kunit_kzalloc(test, sizeof(*params), GFP_KERNEL);
	char *name = kunit_kzalloc(test, 16, GFP_KERNEL);
	struct lockmap *map;

	KUNIT_ASSERT_NOT_NULL(test, params);
	KUNIT_ASSERT_NOT_NULL(test, name);
	strscpy(name, "short-lived", 16);
	params->name = name;
	params->key_len = sizeof(u64);
	params->value_len = sizeof(u64);
	map = lmtest_create(test, params);
	kunit_kfree(test, params);
	kunit_kfree(test, name);
	lmtest_expect_usable(test, map, "parameters freed");
}

struct destroyer {
	struct work_struct work;
	struct lockmap *map;
};

static void destroy_in_work(struct work_struct *work)
{
	lockmap_destroy(container_of(work, struct destroyer, work)->map);
}

/*
 * Memory reclaim may wait for a WQ_MEM_RECLAIM worker, so that one must not wait
 * for work on a queue without that flag. The kernel warns if it does.
 */
static void destroyed_in_reclaim_work(struct kunit *test)
{
	struct workqueue_struct *wq;
	struct destroyer destroyer;

	wq = alloc_workqueue("lockmap_test", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	KUNIT_ASSERT_NOT_NULL(test, wq);
	destroyer.map = lockmap_create(&(struct lockmap_params) {
		.name = "reclaim", .key_len = sizeof(u64), .value_len = sizeof(u64), .nr_shards = 8,
	});
	KUNIT_EXPECT_NOT_ERR_OR_NULL(test, destroyer.map);
	if (!IS_ERR(destroyer.map)) {
		for (u64 n = 0; n < 100; n++)
			KUNIT_EXPECT_EQ(test, insert_nr(destroyer.map, n, n), 0);
		INIT_WORK_ONSTACK(&destroyer.work, destroy_in_work);
		queue_work(wq, &destroyer.work);
		flush_work(&destroyer.work);
		destroy_work_on_stack(&destroyer.work);
	}
	destroy_workqueue(wq);
}

/* Functions that undo something take NULL and error pointers, and do nothing. */
static void destroy_ignores_null_and_errors(struct kunit *test)
{
	struct lockmap_prealloc *pre __free(lockmap_prealloc_free) = NULL;
	struct lockmap *map __free(lockmap_destroy) = NULL;

	lockmap_destroy(NULL);
	lockmap_destroy(ERR_PTR(-ENOMEM));
	lockmap_prealloc_free(NULL);
	lockmap_prealloc_free(ERR_PTR(-ENOMEM));
	lockmap_batch_unlock(NULL);
	lockmap_batch_unlock(ERR_PTR(-ENOMEM));
	pre = ERR_PTR(-EINVAL);
	map = ERR_PTR(-EINVAL);
	KUNIT_SUCCEED(test);
}

/* The same key in two maps is two keys. */
static void maps_are_independent(struct kunit *test)
{
	struct lockmap *a = lmtest_create_u64(test), *b = lmtest_create_u64(test);
	struct lockmap_entry *held;
	u64 value;

	KUNIT_EXPECT_EQ(test, insert_nr(a, 1, 10), 0);
	KUNIT_EXPECT_EQ(test, insert_nr(b, 1, 20), 0);
	held = lmtest_hold(test, a, 1);
	KUNIT_EXPECT_EQ(test, get_nr(b, 1, &value), 0);
	KUNIT_EXPECT_EQ(test, value, 20);
	KUNIT_EXPECT_EQ(test, trylock_error(b, 1), 0);
	KUNIT_EXPECT_EQ(test, remove_nr(b, 1), 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(a), 1);
	lockmap_unlock(held);
}

static struct kunit_case create_cases[] = {
	KUNIT_CASE(refuses_bad_params),
	KUNIT_CASE(accepts_good_params),
	KUNIT_CASE_SLOW(accepts_extreme_params),
	KUNIT_CASE(copies_params),
	KUNIT_CASE(destroyed_in_reclaim_work),
	KUNIT_CASE(destroy_ignores_null_and_errors),
	KUNIT_CASE(maps_are_independent),
	{}
};

struct kunit_suite lmtest_create_suite = {
	.name = "lockmap_create",
	.init = lmtest_init,
	.test_cases = create_cases,
};
