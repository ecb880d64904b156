// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Models of the lock: word.c, turnstile.c, wait.c, deadlock.c and acquire.c over keys that are always there. */
#include "shim.h"
#include "core/word.c"
#include "core/key.c"
#include "observe.h"

/* Called when deadlock.c has found a cycle, and begins to note its tasks. */
static bool check_refusal(void);
#define lm_note_refusal()	check_refusal()
#define lm_note_link(waiter)	((void)(waiter), true)

#include "keys.h"

/* The task in the critical section. */
static struct task_struct *holder[NR_KEYS] __world;
/* By task, from 1: the key that it is about to get, from 1. */
static u8 wants[MAX_TASKS + 1] __world;
/* How many tasks were refused; and whether a task may leave a cycle by itself. */
static u8 refused __world;
static bool check_cycles __world;

static const struct lm_wait_mode lm_wait_timed = {
	.state = TASK_UNINTERRUPTIBLE, .timed = true, .deadline = 1,
};
/* A nap takes less than that. */
static const struct lm_wait_mode lm_wait_timed_nap = {
	.state = TASK_UNINTERRUPTIBLE, .timed = true, .deadline = 2,
};
static const struct lm_wait_mode lm_wait_impatient = {
	.state = TASK_INTERRUPTIBLE, .timed = true, .deadline = 1,
};

void ex_access(const volatile void *where)
{
}

const char *ex_name(const void *where)
{
	static const char *const names[] = { "key A", "key B", "key C" };
	size_t i;

	for (i = 0; i < NR_KEYS; i++) {
		if (where == &entries[i].lock.word)
			return names[i];
	}
	return NULL;
}

void rcu_read_lock(void)
{
	current->rcu++;
}

void rcu_read_unlock(void)
{
	current->rcu--;
}

static void init_buckets(bool own_buckets)
{
	unsigned int i;

	init_keys(own_buckets);
	for (i = 0; i < NR_KEYS; i++) {
		ex_register(&buckets[i].wq.lock.sync);
		ex_register(&entries[i].lock.word.sync);
	}
}

static void init(void)
{
	init_buckets(false);
}

/* Tasks look for cycles. Each key has its own bucket, unless it is of @shared models. */
static void init_naps(bool own_buckets)
{
	unsigned int i;

	init_buckets(own_buckets);
	ex_naps = 0xf;
	check_cycles = true;
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
	check_cycles = false;
}

static void enter(unsigned int l)
{
	ex_assert(!holder[l], "two tasks hold one key");
	holder[l] = current;
	ex_write(l);
}

static void leave(unsigned int l)
{
	ex_assert(holder[l] == current, "two tasks hold one key");
	ex_write(l);
	holder[l] = NULL;
	lm_unlock(&entries[l]);
}

static int want(unsigned int l, const struct lm_wait_mode *mode)
{
	int err;

	wants[current->pid] = l + 1;
	err = lock_key(l, mode);
	wants[current->pid] = 0;
	return err;
}

static bool use(unsigned int l, const struct lm_wait_mode *mode)
{
	if (want(l, mode))
		return false;
	enter(l);
	ex_step("in the critical section");
	leave(l);
	return true;
}

static void must_use(unsigned int l)
{
	ex_assert(use(l, &lm_wait_forever), "did not get the key");
}

static void twice(void)
{
	must_use(0);
	must_use(0);
}

static void thrice(void)
{
	twice();
	must_use(0);
}

static void once(void)
{
	must_use(0);
}

static void once_b(void)
{
	must_use(1);
}

static void both(void)
{
	must_use(0);
	must_use(1);
}

static void timed(void)
{
	use(0, &lm_wait_timed);
}

static void interruptible(void)
{
	use(0, &lm_wait_interruptible);
}

static void impatient(void)
{
	use(0, &lm_wait_impatient);
}

/* Times out, perhaps, and then comes back. */
static void timed_twice(void)
{
	timed();
	must_use(0);
}

static void try_twice(void)
{
	use(0, &lm_wait_never);
	use(0, &lm_wait_never);
}

static void init_signals(void)
{
	init();
	tasks[1].may_get_signal = true;
	tasks[2].may_get_signal = true;
}

static void init_spurious(void)
{
	init();
	spurious = 2;
}

static void init_no_owner(void)
{
	init();
	tasks[2].no_owner = true;
}

/* At the end no task has left anything behind. */
static void end(void)
{
	unsigned int i;

	for (i = 0; i < NR_SLEEPER_BUCKETS; i++)
		ex_assert(!lm_sleepers[i].waiters.first, "a task is left in the table of sleepers");
	for (i = 0; i < NR_KEYS; i++) {
		ex_assert(list_empty(&buckets[i].wq.head), "a task is left on the queue");
		ex_assert(!(entries[i].lock.word.v & ~(LM_VERSION | LM_VALUE | LM_DEAD)),
			  "a flag is left in a word");
	}
}

/* A head, and the row behind it: what the bits say about them. */
static void check_row(const struct lm_waiter *head, u64 word)
{
	const struct lm_waiter *waiter;
	const struct list_head *node;

	ex_assert(head->head, "the first waiter is not the head");
	ex_assert(head->woken == !!(word & LM_WOKEN), "WOKEN is wrong");
	for (node = head->row.next; node != &head->row; node = node->next) {
		waiter = container_of(node, struct lm_waiter, row);
		ex_assert(waiter->lock == head->lock, "in the row of another lock");
		ex_assert(!waiter->head, "a second head");
		ex_assert(!waiter->woken, "woken, but not the head");
	}
}

/* What the flags say, whenever the bucket is not being changed. */
static void flags(void)
{
	const struct wait_queue_head *queue;
	const struct lm_waiter *waiter;
	const struct list_head *node;
	unsigned int i, heads;
	u64 word;

	for (i = 0; i < NR_KEYS; i++) {
		queue = lm_bucket(&entries[i].lock);
		if (queue->lock.holder)
			continue;
		heads = 0;
		word = entries[i].lock.word.v;
		for (node = queue->head.next; node != &queue->head; node = node->next) {
			waiter = container_of(node, struct lm_waiter, wait.entry);
			if (waiter->lock != &entries[i].lock)
				continue;
			heads++;
			check_row(waiter, word);
		}
		ex_assert(heads <= 1, "two heads of one lock");
		ex_assert(heads == !!(word & LM_WAITERS), "WAITERS is wrong");
		ex_assert(heads || !(word & LM_WOKEN), "WOKEN without a waiter");
		ex_assert(heads || !(word & LM_HANDOFF), "HANDOFF without a waiter");
	}
}

/* The holder marks the word dead, which sends the waiters away. */
static void mark_dead(void)
{
	lm_mark_dead(&entries[0].lock);
}

#ifdef CROWD
/*
 * More waiters than lm_mark_dead() sends away in one section, in front of the
 * tasks: none of them ever runs.
 */
static struct lm_waiter crowd[LM_WAKE_MOST] __world;

static void init_crowd(void)
{
	struct wait_queue_head *wq;
	unsigned int i;

	init();
	wq = lm_bucket(&entries[0].lock);
	entries[0].lock.word.v = LM_LOCKED | LM_WAITERS | 1 << LM_OWNER_SHIFT;
	for (i = 0; i < ARRAY_SIZE(crowd); i++) {
		crowd[i].lock = &entries[0].lock;
		crowd[i].wait.private = &tasks[0];
		INIT_LIST_HEAD(&crowd[i].row);
		if (i)
			list_add_tail(&crowd[i].row, &crowd[0].row);
	}
	crowd[0].head = true;
	list_add_tail(&crowd[0].wait.entry, &wq->head);
}
#endif

static void init_held(void)
{
	init();
	entries[0].lock.word.v = LM_LOCKED | 1 << LM_OWNER_SHIFT;
}

static void sent_away(void)
{
	ex_assert(want(0, &lm_wait_forever) == -ENOENT, "got a lock that died");
}

static void sent_away_timed(void)
{
	int err = want(0, &lm_wait_timed);

	ex_assert(err == -ENOENT || err == -ETIMEDOUT, "got a lock that died");
}

static void end_dead(void)
{
	end();
	ex_assert(entries[0].lock.word.v & LM_DEAD, "the word is not dead any more");
}

/* A task locks, and disowns the lock before it unlocks. */
static void disown(void)
{
	ex_assert(!want(0, &lm_wait_forever), "did not get the key");
	enter(0);
	lockmap_entry_disown(&entries[0]);
	leave(0);
}

/* Cycles. A refused task unlocks what it holds. */

/* Without a step: what tasks do meanwhile must not matter. */
static unsigned int owner_pid(unsigned int l)
{
	return lm_word_pid(entries[l].lock.word.v);
}

/*
 * A refusal is right if the owner of what the task wants waits, perhaps
 * indirectly, for the task itself. That is true for ever, if none of them gives up.
 */
static bool check_refusal(void)
{
	unsigned int want = wants[current->pid], owner = owner_pid(want - 1), hops;

	if (!check_cycles)
		return true;
	ex_assert(owner != current->pid, "refused what it was just granted");
	for (hops = 0; hops < MAX_TASKS; hops++) {
		if (owner == current->pid)
			return true;
		ex_assert(owner, "refused, though no task owns the key");
		want = wants[owner];
		ex_assert(want, "refused, though the owner does not wait");
		ex_assert(owner_pid(want - 1) != owner, "refused, though the owner got what it wants");
		owner = owner_pid(want - 1);
	}
	ex_fail("refused for a cycle of other tasks");
	return false;
}

static void two_locks(unsigned int a, unsigned int b, const struct lm_wait_mode *mode)
{
	int err;

	err = want(a, &lm_wait_forever);
	ex_assert(!err, "refused, though it held no key");
	enter(a);
	err = want(b, mode);
	if (!err) {
		enter(b);
		leave(b);
	}
	ex_assert(!err || (err == -ETIMEDOUT && mode->timed) || err == -EDEADLK,
		  "an unexpected error");
	refused += err == -EDEADLK;
	leave(a);
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

#define LOCK_MODEL(n, w, ...)	{ .name = n, .what = w, .init = init, .always = flags, \
				  .end = end, __VA_ARGS__ }

#ifdef SPIN
/* Waiters that spin, with all that the scheduler may say to that. */
const struct model models[] = {
	LOCK_MODEL("spin-two", "2 tasks lock and unlock 3 times, and spin",
		   .body = { thrice, thrice }),
	LOCK_MODEL("spin-three", "3 tasks lock and unlock, and spin",
		   .body = { once, once, once }),
};
#elif defined(CROWD)
/* A row that is longer than one section of the bucket's lock may take. */
const struct model models[] = {
	LOCK_MODEL("crowd-dead", "the word dies under more waiters than one section sends away",
		   .init = init_crowd, .body = { mark_dead, sent_away, sent_away_timed },
		   .end = end_dead),
};
#else
const struct model models[] = {
	LOCK_MODEL("two", "2 tasks lock and unlock 3 times", .body = { thrice, thrice }),
	LOCK_MODEL("three", "3 tasks lock and unlock twice, twice, once",
		   .body = { twice, twice, once }),
	LOCK_MODEL("four", "4 tasks lock and unlock", .body = { once, once, once, once }),
	LOCK_MODEL("spurious", "3 tasks, two spurious wakeups", .init = init_spurious,
		   .body = { twice, once, once }),
	LOCK_MODEL("try", "a waiter, and two tasks that lock, or try to, twice",
		   .body = { twice, once, try_twice }),
	LOCK_MODEL("timeout", "a waiter with a timeout, between others",
		   .body = { once, timed_twice, once }),
	LOCK_MODEL("timeouts", "two waiters with a timeout, and one without",
		   .body = { once, timed, timed, once }),
	LOCK_MODEL("signal", "two waiters that signals interrupt, and one that stays",
		   .init = init_signals, .body = { once, interruptible, interruptible, once }),
	LOCK_MODEL("leave", "signals and timeouts", .init = init_signals,
		   .body = { once, impatient, impatient, once }),
	LOCK_MODEL("no-owner", "a lock that belongs to no task", .init = init_no_owner,
		   .body = { disown, once, try_twice }),
	LOCK_MODEL("mark-dead", "the word dies under three waiters", .init = init_held,
		   .body = { mark_dead, sent_away, sent_away_timed, sent_away }, .end = end_dead),
	LOCK_MODEL("shared", "two locks on one queue", .body = { once, both, once_b, timed }),
	LOCK_MODEL("row", "three in a row, and a waiter of another lock in their bucket",
		   .body = { both, once, once, once_b }),
	LOCK_MODEL("rows", "a row in a bucket whose first head is of another lock",
		   .body = { a_then_b, once_b, once, once }),
	LOCK_MODEL("row-hand-off", "a waiter in a row is handed what others keep taking",
		   .body = { thrice, once, once }),
	LOCK_MODEL("head-leaves", "the head of a row leaves, woken or not: signal, timeout",
		   .init = init_signals, .body = { once, impatient, once, timed }),
	LOCK_MODEL("heads-leave", "one head after the other leaves, with a waiter of another lock",
		   .init = init_signals, .body = { both, impatient, interruptible, once_b }),
	LOCK_MODEL("head-asks", "the head has asked for a hand-off, and leaves a row",
		   .init = init_signals, .body = { thrice, impatient, once }),
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
	LOCK_MODEL("cycle-foreign", "a chain that leads into a cycle of other tasks",
		   .init = init_cycle, .body = { a_then_b, b_then_a, c_then_a_end },
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
#endif

const int nr_models = ARRAY_SIZE(models);
