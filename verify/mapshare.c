// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Models of the map: keys that are shared, and requests. */
#include "map.h"
#include "core/shared.c"
#include "core/async.c"

static const struct lm_wait_mode lm_share_timed = {
	.state = TASK_UNINTERRUPTIBLE, .timed = true, .deadline = 1, .shared = true,
};

/* What became of the request: it is made, had at once, granted, cancelled. */
static struct ask {
	struct lockmap_request req;
	u64 number;
	bool asked, had, called, cancelled;
} ask __world;

/* Tasks that share keys */

static void enter_shared(u64 number)
{
	ex_assert(!holder[number], "one task holds a key that another one shares");
	sharers[number]++;
	ex_read(number);
}

static void leave_shared(struct lockmap_entry *entry)
{
	u64 number = key_of(entry);

	ex_assert(sharers[number] && !holder[number],
		  "one task holds a key that another one shares");
	sharers[number]--;
	lm_unlock_shared(entry);
}

static struct lockmap_entry *lock_shared(u64 number, const struct lm_wait_mode *mode)
{
	struct lm_key key = key_number(&number);
	struct lockmap_entry *entry = lm_lock_slow(&key, NULL, LM_CREATE, mode);

	if (IS_ERR(entry)) {
		ex_assert(mode->timed, "does not share the key");
		return NULL;
	}
	ex_assert(key_of(entry) == number, "shares another key");
	ex_assert(entry->lock.word.v & LM_SHARED, "a key is shared without being SHARED");
	enter_shared(number);
	return entry;
}

static void share(u64 number, const struct lm_wait_mode *mode)
{
	struct lockmap_entry *entry = lock_shared(number, mode);

	if (!entry)
		return;
	ex_step("shares the key");
	leave_shared(entry);
}

/* Writes, if it shares the key alone, and goes on sharing it. */
static void upgrade_put(u64 number, u64 value)
{
	struct lockmap_entry *entry = lock_shared(number, &lm_share_forever);
	u64 words[] = { number << 8 | value, value };

	sharers[number]--;
	if (lockmap_try_upgrade(entry)) {
		enter(number);
		lockmap_entry_insert(entry, words, NULL);
		ex_write(number);
		holder[number] = NULL;
		sharers[number]++;
		lockmap_downgrade(entry);
	} else {
		sharers[number]++;
	}
	leave_shared(entry);
}

/* Reads with the lock what get() reads without. */
static void get_shared(u64 number)
{
	struct lockmap_entry *entry = lock_shared(number, &lm_share_forever);
	const u64 *value = lockmap_entry_value_shared(entry);

	if (value) {
		ex_assert(value[0] >> 8 == number, "read another key's value");
		ex_assert((value[0] & 0xff) == value[1], "read halves of two values");
	}
	leave_shared(entry);
}

static void share_a(void)
{
	share(0, &lm_share_forever);
}

static void share_a_twice(void)
{
	share_a();
	share_a();
}

static void share_a_timed(void)
{
	share(0, &lm_share_timed);
}

static void share_a_use_b(void)
{
	share_a();
	use(1, &lm_wait_forever);
}

static void use_a(void)
{
	use(0, &lm_wait_forever);
}

static void try_a(void)
{
	use(0, &lm_wait_never);
}

static void use_a_b(void)
{
	use_a();
	use(1, &lm_wait_forever);
}

static void use_c_b(void)
{
	use(2, &lm_wait_forever);
	use(1, &lm_wait_forever);
}

static void shrink_twice(void)
{
	shrink();
	shrink();
}

static void shrink_try_a(void)
{
	shrink();
	try_a();
}

static void upgrade_put_twice_a(void)
{
	upgrade_put(0, 1);
	upgrade_put(0, 2);
}

static void upgrade_put_a(void)
{
	upgrade_put(0, 1);
}

static void get_a(void)
{
	get(0, false);
}

static void get_shared_a(void)
{
	get_shared(0);
}

static void put_drop_a(void)
{
	put(0, 1);
	drop(0);
}

/* Requests */

static void told(struct lockmap_request *req, struct lockmap_entry *entry)
{
	ex_assert(!ask.called, "granted twice");
	ex_assert(!ask.cancelled, "granted, though it was cancelled");
	ex_assert(!ask.had, "granted, though it was had at once");
	ask.called = true;
	ex_assert(key_of(entry) == ask.number, "granted another key");
	ex_assert(entry->lock.word.v & LM_LOCKED, "a key is held without being LOCKED");
	enter(ask.number);
	ex_step("in the function of a request");
	unlock(entry);
}

static void ask_a(void)
{
	struct lm_key key = key_number(&ask.number);
	struct lockmap_entry *entry;

	ask.asked = true;
	ask.req.granted = told;
	lm_request_init(lm_request_waiter(&ask.req), NULL);
	entry = lm_lock_request(&key, &ask.req);
	if (IS_ERR(entry)) {
		ex_assert(PTR_ERR(entry) == -EINPROGRESS, "an unexpected error");
		return;
	}
	ex_assert(!ask.called, "had at once, though it was granted");
	ask.had = true;
	ex_assert(key_of(entry) == ask.number, "had another key");
	enter(ask.number);
	ex_step("holds the key");
	unlock(entry);
}

static void ask_cancel_a(void)
{
	ask_a();
	if (!lockmap_cancel(&ask.req))
		return;
	ex_assert(!ask.called, "cancelled, though it was granted");
	ex_assert(!ask.had, "cancelled, though it was had at once");
	ask.cancelled = true;
}

static void init_asks(void)
{
	init_idle();
	ex_add_world(lm_dispatchers, sizeof(*lm_dispatchers));
	ex_register(&lm_dispatchers[0].lock.sync);
}

static void end_asks(void)
{
	end();
	ex_assert(ask.had + ask.called + ask.cancelled == ask.asked,
		  "a request was neither granted nor cancelled, and waits for ever");
}

const struct model models[] = {
	MAP_MODEL("map-share", "two tasks share a key that is absent",
		  .body = { share_a_twice, share_a_twice }),
	MAP_MODEL("map-share-refused", "three tasks insert one key at once, and share it",
		  .body = { share_a, share_a, use_a }),
	MAP_MODEL("map-share-idle", "the last of two unlocks while the clock hand comes by",
		  .init = init_idle, .body = { share_a, share_a, shrink_twice }),
	MAP_MODEL("map-share-evict", "the same, and another key wants the slot",
		  .init = init_idle, .body = { share_a, share_a_use_b, shrink }),
	MAP_MODEL("map-share-reuse", "the memory of A becomes B's",
		  .init = init_idle, .body = { share_a_twice, use_c_b }),
	MAP_MODEL("map-share-leave", "one leaves while the clock hand lets go of its entry",
		  .init = init_idle, .body = { use_a, share_a_timed, shrink_twice }),
	MAP_MODEL("map-upgrade", "a reader without the lock, and two upgrades and downgrades",
		  .init = init_idle, .body = { upgrade_put_twice_a, get_a }),
	MAP_MODEL("map-upgrade-two", "upgrades of two tasks, and a reader without the lock",
		  .init = init_idle, .body = { upgrade_put_a, upgrade_put_a, get_a }),
	MAP_MODEL("map-read-shared", "a reader that shares, and a value that goes",
		  .init = init_idle, .body = { put_drop_a, get_shared_a, shrink }),
	MAP_MODEL("map-ask", "a request for a key that is absent", .init = init_asks,
		  .body = { use_a, ask_a, shrink }, .end = end_asks),
	MAP_MODEL("map-ask-stale", "a request is about to wait for A, whose memory becomes B's",
		  .init = init_asks, .body = { use_a_b, ask_a, shrink }, .end = end_asks),
	MAP_MODEL("map-ask-refused", "a request waits for an entry that the table refuses",
		  .init = init_asks, .body = { try_a, ask_a, shrink_try_a }, .end = end_asks),
	MAP_MODEL("map-ask-leave", "one is taken back while the clock hand lets go of its entry",
		  .init = init_asks, .body = { use_a, ask_cancel_a, shrink_twice },
		  .end = end_asks),
};

const int nr_models = ARRAY_SIZE(models);
