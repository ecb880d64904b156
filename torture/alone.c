// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Calls for keys that no other actor uses meanwhile: the right answer to each is known
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/err.h>

#include "torture.h"

#define LMT_READS	200	/* of a key that changes meanwhile */

static struct workqueue_struct *lmt_follower_wq;

static void lmt_ask_granted(struct lockmap_request *req, struct lockmap_entry *entry)
{
	struct lmt_ask *ask = container_of(req, struct lmt_ask, req);

	ask->entry = entry;
	ask->granted++;
}

/* Ask for a key that is held: the request has to wait. */
static void lmt_ask(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		    struct lmt_ask *ask)
{
	struct lockmap_entry *entry;
	struct lmt_key key;

	lmt_key_init(&key, m, index);
	*ask = (struct lmt_ask) { .req.granted = lmt_ask_granted };
	entry = lockmap_lock_async(m->map, key.data, key.len, &ask->req);
	if (PTR_ERR(entry) != -EINPROGRESS || ask->granted)
		lmt_fail(a, m, index, "request", "for a key that is held: %ld, granted %u times",
			 PTR_ERR(entry), ask->granted);
}

/* Check that a request was granted so many times. */
static bool lmt_ask_is(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		       struct lmt_ask *ask, unsigned int granted, const char *when)
{
	if (ask->granted != granted)
		lmt_fail(a, m, index, "request", "granted %u times, not %u, %s", ask->granted,
			 granted, when);
	return ask->granted == granted;
}

/* Take a request back that waits for a key, which nobody unlocks. */
static void lmt_ask_cancel(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
			   struct lmt_ask *ask)
{
	if (!lockmap_cancel(&ask->req))
		lmt_fail(a, m, index, "request", "cannot be cancelled while it waits");
	lmt_ask_is(a, m, index, ask, 0, "when cancelled");
	if (lockmap_cancel(&ask->req))
		lmt_fail(a, m, index, "request", "can be cancelled twice");
}

/* A request for a key that the actor holds exclusively waits, and can be taken back. */
void lmt_check_ask(struct lmt_actor *a, struct lmt_map *m, unsigned int index)
{
	lmt_ask(a, m, index, &a->ask[0]);
	lmt_ask_cancel(a, m, index, &a->ask[0]);
}

/* A key that only this worker uses is always free, and keeps what the worker inserted. */
void lmt_op_private(struct lmt_actor *a)
{
	unsigned int index = 4 * (a->id - 1) + 1;
	struct lockmap_entry *entry;
	struct lmt_key key;

	lmt_key_init(&key, lmt_private, index);
	entry = lockmap_trylock(lmt_private->map, key.data, key.len);
	if (PTR_ERR(entry) == -ENOMEM)
		return;
	if (IS_ERR(entry)) {
		lmt_fail(a, lmt_private, index, "trylock refused a free key", "%ld",
			 PTR_ERR(entry));
		return;
	}
	lmt_shadow_lock(a, lmt_private, index, entry);
	lmt_use_entry(a, lmt_private, index, entry);
	lmt_unlock(a, lmt_private, index, entry);
	index += 2;	/* an untracked one */
	lmt_set(a, lmt_private, index, true);
	if (!lmt_set(a, lmt_private, index, false) && !IS_ENABLED(CONFIG_FAILSLAB))
		lmt_fail(a, lmt_private, index, "presence", "the inserted value is gone");
}

static void lmt_alone_fail(struct lmt_actor *a, unsigned int index, const char *what, long err)
{
	lmt_fail(a, lmt_private, index, "alone", "%s: %ld", what, err);
}

/* Share the key, which can be shared if @err is 0. Return: %NULL, also without memory. */
static const struct lockmap_entry *lmt_alone_share(struct lmt_actor *a, unsigned int index,
						   const char *what, int err)
{
	const struct lockmap_entry *entry;
	struct lmt_key key;

	lmt_key_init(&key, lmt_private, index);
	entry = lockmap_trylock_shared(lmt_private->map, key.data, key.len);
	if (PTR_ERR(entry) != -ENOMEM && PTR_ERR_OR_ZERO(entry) != err)
		lmt_alone_fail(a, index, what, PTR_ERR_OR_ZERO(entry));
	return IS_ERR(entry) ? NULL : entry;
}

/* A second sharer keeps the first one from becoming the exclusive holder. */
static void lmt_alone_twice(struct lmt_actor *a, unsigned int index,
			    const struct lockmap_entry *shared)
{
	const struct lockmap_entry *again;
	struct lockmap_entry *entry;
	struct lmt_key key;

	again = lmt_alone_share(a, index, "a second sharer", 0);
	lmt_key_init(&key, lmt_private, index);
	entry = lockmap_trylock(lmt_private->map, key.data, key.len);
	if (PTR_ERR(entry) != -EBUSY)
		lmt_alone_fail(a, index, "trylock of a shared key", PTR_ERR_OR_ZERO(entry));
	if (again && lockmap_try_upgrade(shared))
		lmt_alone_fail(a, index, "upgrade of one of two", 0);
	lockmap_unlock_shared(again);
}

/* The only sharer becomes the exclusive holder, and shares the key again. */
static const struct lockmap_entry *lmt_alone_change(struct lmt_actor *a, unsigned int index,
						    const struct lockmap_entry *shared)
{
	struct lockmap_entry *entry = lockmap_try_upgrade(shared);

	if (!entry) {
		lmt_alone_fail(a, index, "upgrade of the only sharer", 0);
		return shared;
	}
	lmt_alone_share(a, index, "shared, and held exclusively", -EBUSY);
	return lockmap_downgrade(entry);
}

/* While a request waits, newcomers do not share the key; when it has left, they do. */
static void lmt_alone_newcomer(struct lmt_actor *a, unsigned int index)
{
	lmt_ask(a, lmt_private, index, &a->ask[0]);
	lmt_alone_share(a, index, "a newcomer overtakes a request", -EBUSY);
	lmt_ask_cancel(a, lmt_private, index, &a->ask[0]);
	lockmap_unlock_shared(lmt_alone_share(a, index, "a newcomer, after a request", 0));
}

/* Requests get a key in the order in which they came, each once, or leave. */
static void lmt_alone_row(struct lmt_actor *a, unsigned int index,
			  const struct lockmap_entry *shared)
{
	struct lmt_map *m = lmt_private;
	bool leaves = lmt_one_in(a, 2);

	lmt_ask(a, m, index, &a->ask[0]);
	lmt_ask(a, m, index, &a->ask[1]);
	if (lmt_one_in(a, 2))
		shared = lmt_alone_change(a, index, shared);
	if (leaves)
		lmt_ask_cancel(a, m, index, &a->ask[0]);
	lmt_ask_is(a, m, index, &a->ask[1], 0, "while the key is shared");
	lockmap_unlock_shared(shared);
	if (lmt_ask_is(a, m, index, &a->ask[0], !leaves, "after the last sharer") && !leaves) {
		if (lockmap_cancel(&a->ask[0].req))
			lmt_fail(a, m, index, "request", "cancelled after its grant");
		lmt_ask_is(a, m, index, &a->ask[1], 0, "behind another request");
		lockmap_unlock(a->ask[0].entry);
	}
	if (lmt_ask_is(a, m, index, &a->ask[1], 1, "at its turn"))
		lockmap_unlock(a->ask[1].entry);
	lmt_ask_is(a, m, index, &a->ask[0], !leaves, "in the end");
	lmt_ask_is(a, m, index, &a->ask[1], 1, "in the end");
}

int lmt_alone_init(void)
{
	lmt_follower_wq = alloc_workqueue("lmt_follower", WQ_UNBOUND, 0);
	return lmt_follower_wq ? 0 : -ENOMEM;
}

void lmt_alone_exit(void)
{
	if (lmt_follower_wq)
		destroy_workqueue(lmt_follower_wq);
}

static void lmt_follower_fn(struct work_struct *work)
{
	struct lmt_follower *f = container_of(work, struct lmt_follower, work);
	const struct lockmap_entry *entry;
	struct lmt_key key;

	lmt_key_init(&key, lmt_private, f->index);
	WRITE_ONCE(f->begun, true);
	entry = lockmap_lock_shared(lmt_private->map, key.data, key.len);
	if (IS_ERR(entry))
		lmt_fail(NULL, lmt_private, f->index, "alone", "the follower: %ld",
			 PTR_ERR(entry));
	else
		lockmap_unlock_shared(entry);
	complete(&f->done);
}

static void lmt_reader_fn(struct work_struct *work)
{
	struct lmt_follower *f = container_of(work, struct lmt_follower, work);
	struct lmt_key key;
	struct lmt_value v;
	unsigned int i;

	lmt_key_init(&key, lmt_private, f->index);
	WRITE_ONCE(f->begun, true);
	for (i = 0; i < LMT_READS; i++) {
		if (!lockmap_get(lmt_private->map, key.data, key.len, &v) &&
		    !lmt_value_ok(&v, lmt_private, f->index))
			lmt_fail(NULL, lmt_private, f->index, "torn value", "seq %llu", v.seq);
	}
	complete(&f->done);
}

/* Have work done for a key, and wait until it has begun. */
static void lmt_follow(struct lmt_actor *a, unsigned int index, work_func_t fn)
{
	unsigned int i;

	a->follower.index = index;
	a->follower.begun = false;
	init_completion(&a->follower.done);
	INIT_WORK(&a->follower.work, fn);
	queue_work(lmt_follower_wq, &a->follower.work);
	for (i = 0; i < 100 && !READ_ONCE(a->follower.begun); i++)
		usleep_range(50, 100);
}

/* Somebody else reads a key without the lock, while the value changes and is then shared. */
static void lmt_alone_read(struct lmt_actor *a, unsigned int index)
{
	struct lmt_hold h = { .m = lmt_private, .index = index };

	lmt_follow(a, index, lmt_reader_fn);
	do {
		cond_resched();
		if (!lmt_hold(a, &h, false, LMT_LOCK, false))
			continue;
		if (!lockmap_entry_value(h.entry))
			lmt_get_or_insert(a, h.m, index, h.entry);
		lmt_change_hold(a, &h);
		lmt_let_go(a, &h);
	} while (!completion_done(&a->follower.done));
	flush_work(&a->follower.work);
}

/*
 * Somebody else waits to share a key. It comes in when an exclusive holder downgrades,
 * and when what it waited behind has left, while the worker goes on sharing the key. If
 * not, the worker is stuck.
 */
static void lmt_alone_followed(struct lmt_actor *a, unsigned int index,
			       const struct lockmap_entry *shared)
{
	bool behind = lmt_one_in(a, 2);
	struct lockmap_entry *entry;

	entry = behind ? NULL : lockmap_try_upgrade(shared);
	if (!entry)
		lmt_ask(a, lmt_private, index, &a->ask[0]);
	lmt_follow(a, index, lmt_follower_fn);
	usleep_range(50, 200);
	if (entry)
		shared = lockmap_downgrade(entry);
	else
		lmt_ask_cancel(a, lmt_private, index, &a->ask[0]);
	lmt_begin_wait(a, lmt_private, index, LMT_LOCK);
	wait_for_completion(&a->follower.done);
	lockmap_unlock_shared(shared);
	flush_work(&a->follower.work);
}

void lmt_op_alone(struct lmt_actor *a)
{
	unsigned int index = 4 * (a->id - 1) + 2;
	const struct lockmap_entry *shared;

	shared = lmt_alone_share(a, index, "a free key", 0);
	if (!shared)
		return;
	lmt_alone_twice(a, index, shared);
	shared = lmt_alone_change(a, index, shared);
	lmt_alone_newcomer(a, index);
	lmt_alone_row(a, index, shared);
	shared = lmt_alone_share(a, index, "in the end", 0);
	if (shared && lmt_one_in(a, 4))
		lmt_alone_followed(a, index, shared);
	else
		lockmap_unlock_shared(shared);
	if (lmt_one_in(a, 4))
		lmt_alone_read(a, index);
}
