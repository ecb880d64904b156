// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Models of the map: exclusive locks, and readers without a lock. */
#include "map.h"

static void use_a(void)
{
	use(0, &lm_wait_forever);
}

static void use_a_twice(void)
{
	use_a();
	use_a();
}

static void use_b(void)
{
	use(1, &lm_wait_forever);
}

static void use_c(void)
{
	use(2, &lm_wait_forever);
}

static void use_a_b(void)
{
	use_a();
	use_b();
}

static void use_b_c(void)
{
	use_b();
	use_c();
}

static void use_c_b(void)
{
	use_c();
	use_b();
}

static void get_present_a(void)
{
	get(0, true);
}

static void shrink_use_a(void)
{
	shrink();
	use_a();
}

static void shrink_use_b(void)
{
	shrink();
	use_b();
}

static void use_a_timed(void)
{
	use(0, &lm_wait_timed);
}

/* Does not wait for ever, though long enough for a nap. */
static void hold_b_use_a_timed(void)
{
	struct lockmap_entry *b = lock(1, &lm_wait_forever);

	use(0, &lm_wait_timed_nap);
	unlock(b);
}

/* Is refused if the other task that holds a key waits for this one. */
static void hold_a_use_b(void)
{
	struct lockmap_entry *a = lock(0, &lm_wait_forever), *b = lock(1, &lm_wait_forever);

	ex_assert(!IS_ERR(b) || PTR_ERR(b) == -EDEADLK, "did not get the key");
	if (!IS_ERR(b))
		unlock(b);
	unlock(a);
}

static void use_a_shrink(void)
{
	use_a();
	shrink();
}

static void try_a(void)
{
	use(0, &lm_wait_never);
}

static void shrink_twice(void)
{
	shrink();
	shrink();
}

static void put_drop_a(void)
{
	put(0, 1);
	drop(0);
}

static void put_twice_a(void)
{
	put(0, 1);
	put(0, 2);
}

static void put_drop_a_put_c(void)
{
	put_drop_a();
	put(2, 2);
}

static void get_a(void)
{
	get(0, false);
}

static void get_c(void)
{
	get(2, false);
}

const struct model models[] = {
	MAP_MODEL("map-insert", "two tasks want a key that is absent",
		  .body = { use_a_twice, use_a_twice }),
	MAP_MODEL("map-refused", "three tasks insert one key at once, two are refused",
		  .body = { use_a, use_a, use_a }),
	MAP_MODEL("map-reuse", "the memory of A becomes B's, in another bucket",
		  .init = init_idle, .body = { use_a_twice, use_c_b }),
	MAP_MODEL("map-reuse-chain", "the memory of A becomes that of C, in the same bucket",
		  .init = init_idle, .body = { use_a_twice, use_b_c }),
	MAP_MODEL("map-stale-waiter", "a task is about to wait for A, whose memory becomes B's",
		  .init = init_idle, .body = { use_a_b, use_a, shrink }),
	MAP_MODEL("map-three", "three tasks, two keys, one slot for idle entries",
		  .init = init_idle, .body = { use_a, use_b, use_a }),
	MAP_MODEL("map-leave", "a waiter leaves while the clock hand lets go of its entry",
		  .init = init_idle, .body = { use_a, use_a_timed, shrink_twice }),
	MAP_MODEL("map-wait", "the clock hand changes the word while a waiter tries for it",
		  .init = init_idle, .body = { use_a, use_a, shrink }),
	MAP_MODEL("map-refused-wait", "a task waits for an entry that the table refuses",
		  .init = init_idle, .body = { use_a, use_a, shrink_use_a }),
	MAP_MODEL("map-walk", "the same, and the task looks for a cycle meanwhile",
		  .init = init_idle_nap, .body = { use_a, use_a, shrink_use_a }),
	MAP_MODEL("map-walk-past", "a walk comes past a task that leaves, and its lock is evicted",
		  .init = init_idle_naps, .body = { hold_b_use_a_timed, use_b, use_a_shrink }),
	MAP_MODEL("map-cycle", "a cycle of two tasks, and one may time out",
		  .init = init_idle_naps, .body = { hold_b_use_a_timed, hold_a_use_b, shrink }),
	MAP_MODEL("map-chain", "a reader is led to another chain",
		  .init = init_chain, .body = { get_present_a, shrink_use_b }),
	MAP_MODEL("map-try", "a trylock, a shrinker", .init = init_idle,
		  .body = { use_a, try_a, shrink }),
	MAP_MODEL("map-read", "a reader without the lock, and two values",
		  .body = { put_twice_a, get_a, use_a }),
	MAP_MODEL("map-read-reuse", "a reader without the lock, and memory that is reused",
		  .init = init_idle, .body = { put_drop_a_put_c, get_a, shrink }),
	MAP_MODEL("map-read-new", "a reader of the key that is inserted",
		  .init = init_idle, .body = { put_drop_a_put_c, get_c, shrink }),
};

const int nr_models = ARRAY_SIZE(models);
