// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Models of cycles: the same rooms as in lock.c and deadlock.c, with tasks that
 * hold a key while they wait for the next.
 */
#include "shim.h"
#include "core/word.c"
#include "core/key.c"
#include "observe.h"

/* Called when deadlock.c has found a cycle, and begins to note its tasks. */
static bool check_refusal(void);
#define lm_note_refusal()	check_refusal()
#define lm_note_link(waiter)	((void)(waiter), true)

/* Called when a task is about to want a key. */
static void note_want(void);

#include "lock.h"

/* How many tasks were refused. */
static u8 refused __world;
/* Of which tasks, one bit each, the wait was part of a cycle, be it only for a time. */
static u8 cycled __world;
/* Whether a task may leave a cycle by itself. */
static bool timed __world;

/* A nap takes less than that. */
static const struct lm_wait_mode lm_wait_timed_nap = {
	.state = TASK_UNINTERRUPTIBLE, .timed = true, .deadline = 2,
};

/* Tasks look for cycles. Each key has its own bucket, or all share one. */
static void init_naps(bool own_buckets)
{
	unsigned int i;

	init_buckets(own_buckets);
	ex_naps = 0xf;
	ex_add_world(lm_sleepers, NR_SLEEPER_BUCKETS * sizeof(*lm_sleepers));
	ex_add_world(&lm_last_number, sizeof(lm_last_number));
	for (i = 0; i < NR_SLEEPER_BUCKETS; i++)
		ex_register(&lm_sleepers[i].lock.sync);
	ex_register(&lm_last_number.sync);
}

static void init_cycle(void)
{
	init_naps(true);
}

static void init_cycle_shared(void)
{
	init_naps(false);
}

/* A task may give up, and a cycle be gone when it is looked at again. */
static void init_cycle_timed(void)
{
	init_naps(true);
	timed = true;
}

static void once_b(void)
{
	must_use(1);
}

/* Without a step: what tasks do meanwhile must not matter. */
static unsigned int owner_pid(unsigned int l)
{
	return lm_word_pid(entries[l].lock.word.v);
}

/*
 * The last task that comes to want a key closes the cycle: no task gets a key
 * while it wants another.
 */
static void note_want(void)
{
	unsigned int pid = current->pid, owner, hops;
	u8 chain = 0;

	cycled &= ~(1 << pid);
	for (hops = 0; hops < MAX_TASKS && wants[pid]; hops++) {
		owner = owner_pid(wants[pid] - 1);
		if (!owner || owner == pid)
			return;
		chain |= 1 << pid;
		pid = owner;
		if (pid == current->pid) {
			cycled |= chain;
			return;
		}
	}
}

/*
 * A refusal is right if the owner of what the task wants waits, perhaps
 * indirectly, for the task itself. That is true for ever, if none of them gives up;
 * else it was true at some time of the wait.
 */
static bool check_refusal(void)
{
	unsigned int want = wants[current->pid], owner = owner_pid(want - 1), hops;

	ex_assert(cycled >> current->pid & 1, "refused without a cycle");
	if (timed)
		return true;
	ex_assert(owner != current->pid, "refused what it was just granted");
	for (hops = 0; hops < MAX_TASKS; hops++) {
		if (owner == current->pid)
			return true;
		ex_assert(owner, "refused, though no task owns the key");
		want = wants[owner];
		ex_assert(want, "refused, though the owner does not wait");
		ex_assert(owner_pid(want - 1) != owner,
			  "refused, though the owner got what it wants");
		owner = owner_pid(want - 1);
	}
	ex_fail("refused for a cycle of other tasks");
	return false;
}

/* Holds one key, and wants another. */
static void hold_and_want(unsigned int a, unsigned int b, const struct lm_wait_mode *mode)
{
	int err = want(b, mode);

	if (!err) {
		enter(b);
		leave(b);
	}
	ex_assert(!err || (err == -ETIMEDOUT && mode->timed) || err == -EDEADLK,
		  "an unexpected error");
	refused += err == -EDEADLK;
	leave(a);
}

static void two_locks(unsigned int a, unsigned int b, const struct lm_wait_mode *mode)
{
	ex_assert(!want(a, &lm_wait_forever), "refused, though it held no key");
	enter(a);
	hold_and_want(a, b, mode);
}

static void a_then_b(void)
{
	two_locks(0, 1, &lm_wait_forever);
}

static void b_then_a(void)
{
	two_locks(1, 0, &lm_wait_forever);
}

static void b_then_c(void)
{
	two_locks(1, 2, &lm_wait_forever);
}

static void c_then_a(void)
{
	two_locks(2, 0, &lm_wait_forever);
}

static void b_then_a_timed(void)
{
	two_locks(1, 0, &lm_wait_timed_nap);
}

static void c_then_a_timed(void)
{
	two_locks(2, 0, &lm_wait_timed_nap);
}

/* First makes way for a waiter, which then asks for a hand-off. */
static void a_then_a_then_b(void)
{
	must_use(0);
	a_then_b();
}

static void c_use(void)
{
	must_use(2);
}

/* No task wants what it holds: it cannot be a part of a cycle. */
static void c_then_a_end(void)
{
	ex_assert(!want(2, &lm_wait_forever), "did not get the key");
	enter(2);
	ex_assert(!want(0, &lm_wait_forever), "refused for a cycle of other tasks");
	enter(0);
	leave(0);
	leave(2);
}

/* The first three tasks hold A, B, and C. */
static void init_tail(void)
{
	unsigned int l;

	init_naps(true);
	for (l = 0; l < NR_KEYS; l++) {
		entries[l].lock.word.v = LM_LOCKED | (l + 1) << LM_OWNER_SHIFT;
		holder[l] = &tasks[l];
	}
}

static void hold_a_want_b(void)
{
	hold_and_want(0, 1, &lm_wait_forever);
}

static void hold_b_want_a(void)
{
	hold_and_want(1, 0, &lm_wait_forever);
}

static void hold_c_want_a(void)
{
	hold_and_want(2, 0, &lm_wait_forever);
}

/* Wants one key after the other, and keeps A meanwhile. */
static void a_then_b_then_c(void)
{
	unsigned int l;
	int err;

	ex_assert(!want(0, &lm_wait_forever), "refused, though it held no key");
	enter(0);
	for (l = 1; l < NR_KEYS; l++) {
		err = want(l, &lm_wait_forever);
		ex_assert(!err || err == -EDEADLK, "an unexpected error");
		refused += !!err;
		if (err)
			continue;
		enter(l);
		leave(l);
	}
	leave(0);
}

static void end_two_refused(void)
{
	end();
	ex_assert(refused <= 2, "more tasks are refused than there are cycles");
}

/* There was one cycle at most. */
static void end_one_refused(void)
{
	end();
	ex_assert(refused <= 1, "two tasks of one cycle are refused");
}

static void end_order(void)
{
	end();
	ex_assert(!refused, "refused without a cycle");
}

const struct model models[] = {
	LOCK_MODEL("abba", "two tasks, A then B, B then A", .init = init_cycle,
		   .body = { a_then_b, b_then_a }, .end = end_one_refused),
	LOCK_MODEL("abba-third", "the same, and a third wants A", .init = init_cycle,
		   .body = { a_then_b, b_then_a, once }, .end = end_one_refused),
	LOCK_MODEL("abba-timed", "two tasks, A then B, B then A, and one has a timeout",
		   .init = init_cycle_timed, .body = { a_then_b, b_then_a_timed, once_b },
		   .end = end_one_refused),
	LOCK_MODEL("abba-shared", "two tasks, A then B, B then A, in one bucket",
		   .init = init_cycle_shared, .body = { a_then_b, b_then_a },
		   .end = end_one_refused),
	LOCK_MODEL("cycle", "a cycle of three tasks", .init = init_cycle,
		   .body = { a_then_b, b_then_c, c_then_a }, .end = end_one_refused),
	LOCK_MODEL("cycle-timed", "a cycle of three tasks, and one has a timeout",
		   .init = init_cycle_timed, .body = { a_then_b, b_then_c, c_then_a_timed },
		   .end = end_one_refused),
	LOCK_MODEL("cycle-foreign", "a chain that leads into a cycle of other tasks",
		   .init = init_cycle, .body = { a_then_b, b_then_a, c_then_a_end },
		   .end = end_one_refused),
	LOCK_MODEL("cycle-tail", "a chain past a task that waits for a cycle of others",
		   .init = init_tail,
		   .body = { hold_a_want_b, hold_b_want_a, hold_c_want_a, c_use },
		   .end = end_one_refused),
	LOCK_MODEL("cycles", "two cycles that share a lock: A, B and A, C", .init = init_cycle,
		   .body = { a_then_b_then_c, b_then_a, c_then_a }, .end = end_two_refused),
	LOCK_MODEL("granted", "a task that looks for a cycle is granted the lock",
		   .init = init_cycle, .body = { a_then_a_then_b, b_then_a, once },
		   .end = end_one_refused),
	LOCK_MODEL("order", "no task is refused that keeps the order", .init = init_cycle,
		   .body = { a_then_b, a_then_b, b_then_c }, .end = end_order),
	LOCK_MODEL("chain", "a chain of three is no cycle", .init = init_cycle,
		   .body = { a_then_b, b_then_c, c_use }, .end = end_order),
};

const int nr_models = ARRAY_SIZE(models);
