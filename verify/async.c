// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Models of requests: locking without a task that waits, between tasks that do, with
 * the same rooms as in lock.c. Each request is granted, or taken back, or had at once.
 */
#include "shim.h"
#include "core/word.c"
#include "core/key.c"
#include "observe.h"

#define lm_note_refusal()	false
#define lm_note_link(waiter)	((void)(waiter), false)
#define note_want()		do { } while (0)

#include "share.h"
#include "core/async.c"

#define NR_ASKS		3

/**
 * struct ask - a request, and what became of it
 * @asked: it was made
 * @had: the lock was had at once
 * @called: its function was called
 * @cancelled: it was taken back
 */
static struct ask {
	struct lockmap_request req;
	bool asked, had, called, cancelled;
} asks[NR_ASKS] __world;

/* By task: it is in the function of a request. */
static bool in_function[MAX_TASKS] __world;
/* Whether a request is freed when its function is called; else it may be cancelled. */
static bool freed;

static void told(struct lockmap_request *req, struct lockmap_entry *entry)
{
	struct ask *ask = container_of(req, struct ask, req);
	int me = current - tasks;

	ex_assert(entry == &entries[0], "granted another key");
	ex_assert(!in_function[me], "a function is called inside of another one");
	ex_assert(!ask->called, "granted twice");
	ex_assert(!ask->cancelled, "granted, though it was cancelled");
	ex_assert(!ask->had, "granted, though it was had at once");
	ask->called = true;
	in_function[me] = true;
	if (freed)
		memset(req, 0xee, sizeof(*req));
	enter(0);
	ex_step("in the function of a request");
	leave(0);
	in_function[me] = false;
}

static void ask(struct ask *ask)
{
	struct lockmap_entry *entry;
	u64 number = 0;

	ask->asked = true;
	ask->req.granted = told;
	entry = lockmap_lock_async(&map, &number, sizeof(number), &ask->req);
	if (IS_ERR(entry)) {
		ex_assert(PTR_ERR(entry) == -EINPROGRESS, "an unexpected error");
		return;
	}
	ex_assert(!ask->called, "had at once, though it was granted");
	ask->had = true;
	enter(0);
	ex_step("in the critical section");
	leave(0);
}

static void cancel(struct ask *ask)
{
	if (!lockmap_cancel(&ask->req))
		return;
	ex_assert(!ask->called, "cancelled, though it was granted");
	ex_assert(!ask->had, "cancelled, though it was had at once");
	ex_assert(!ask->cancelled, "cancelled twice");
	ask->cancelled = true;
}

static void ask_1(void)
{
	ask(&asks[0]);
}

static void ask_2(void)
{
	ask(&asks[1]);
}

static void ask_cancel_1(void)
{
	ask_1();
	cancel(&asks[0]);
}

static void ask_cancel_2(void)
{
	ask_2();
	cancel(&asks[1]);
}

static void ask_and_mark(void)
{
	ask_1();
	mark_in();
}

/* Another task's request. */
static void cancel_other(void)
{
	until(&was_in[1]);
	cancel(&asks[0]);
}

/* Asks for what it holds, so that the unlock grants one after the other. */
static void ask_for_own(void)
{
	int i;

	ex_assert(!want(0, &lm_wait_forever), "did not get the key");
	enter(0);
	for (i = 0; i < NR_ASKS; i++)
		ask(&asks[i]);
	leave(0);
}

static void write_twice(void)
{
	write_once();
	write_once();
}

static void write_timed(void)
{
	static const struct lm_wait_mode mode = {
		.state = TASK_UNINTERRUPTIBLE, .timed = true, .deadline = 1,
	};

	use(0, &mode);
}

static void init_asks(void)
{
	init();
	ex_add_world(lm_dispatchers, sizeof(*lm_dispatchers));
	ex_register(&lm_dispatchers[0].lock.sync);
}

static void init_freed(void)
{
	init_asks();
	freed = true;
}

/* A softirq that interrupts a task is a context of its own. */
static void init_softirq(void)
{
	init_asks();
	tasks[1].no_owner = true;
}

static void end_asks(void)
{
	int i;

	end();
	ex_assert(!lm_dispatchers[0].dispatchers.first, "a dispatcher is left");
	for (i = 0; i < NR_ASKS; i++)
		ex_assert(asks[i].had + asks[i].called + asks[i].cancelled == asks[i].asked,
			  "a request was neither granted nor cancelled, and waits for ever");
}

#define ASK_MODEL(n, w, ...)	LOCK_MODEL(n, w, .init = init_asks, .end = end_asks, __VA_ARGS__)

const struct model models[] = {
	ASK_MODEL("ask", "a request, and a task that locks twice",
		  .init = init_freed, .body = { write_twice, ask_1 }),
	ASK_MODEL("ask-two", "two requests between two tasks",
		  .init = init_freed, .body = { once, ask_1, ask_2, once }),
	ASK_MODEL("ask-softirq", "two requests, one of them made in softirq",
		  .init = init_softirq, .body = { once, ask_1, ask_2 }),
	ASK_MODEL("ask-chain", "functions of requests that unlock, and grant the next",
		  .init = init_freed, .body = { ask_for_own, once }),
	ASK_MODEL("ask-cancel", "a request that is taken back, or granted",
		  .body = { once, ask_cancel_1, once }),
	ASK_MODEL("ask-cancels", "two of them", .body = { once, ask_cancel_1, ask_cancel_2 }),
	ASK_MODEL("ask-cancel-other", "one that another task takes back",
		  .body = { once, ask_and_mark, cancel_other }),
	ASK_MODEL("ask-behind", "a request behind a task that leaves",
		  .init = init_freed, .body = { once, write_timed, ask_1 }),
	ASK_MODEL("ask-behind-two", "a request, and behind it a task, behind one that leaves",
		  .init = init_freed, .body = { once, write_timed, ask_1, once }),
	ASK_MODEL("ask-readers", "a request behind readers",
		  .init = init_freed, .body = { read_once, read_once, ask_1, read_once }),
	ASK_MODEL("ask-reader-behind", "a reader behind a request that is taken back",
		  .body = { read_until_3, ask_cancel_1, read_and_mark }),
	ASK_MODEL("ask-sharers", "readers and a writer around a request that is taken back",
		  .body = { read_once, ask_cancel_1, read_once, write_once }),
	ASK_MODEL("ask-downgrade", "a downgrade with a request, and a reader",
		  .init = init_freed, .body = { downgrade, ask_1, read_once }),
};

const int nr_models = ARRAY_SIZE(models);
