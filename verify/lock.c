// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Models of the lock: word.c, wait.c, deadlock.c and acquire.c over keys that are always there. */
#include "shim.h"
#include "core/word.c"
#include "core/key.c"
#include "observe.h"

static bool check_refusal(const struct lm_waiter *waiter);
/* deadlock.c begins to note the cycle; no more of it than the first task is wanted. */
#define lm_note_refusal()	true
#define lm_note_link(waiter)	check_refusal(waiter)
#define lm_note_closed()	do { } while (0)

#include "core/deadlock.c"
#include "core/turnstile.c"
#include "core/wait.c"
#include "keys.h"

/* The task in the critical section. */
static struct task_struct *holder[NR_KEYS] __world;
static bool refused __world;
/* A timeout may open a cycle after it was found. */
static bool cycle_may_open;

static const struct lm_wait_mode lm_wait_timed = {
	.state = TASK_UNINTERRUPTIBLE, .timed = true, .deadline = 1,
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

static void init_buckets(unsigned int nr)
{
	unsigned int i;

	init_keys(nr);
	ex_register(&sleepers.table.last_number.sync);
	ex_register(&sleepers.bucket[0].lock.sync);
	for (i = 0; i < NR_KEYS; i++) {
		ex_register(&buckets[i].wq.lock.sync);
		ex_register(&entries[i].lock.word.sync);
	}
}

static void init(void)
{
	init_buckets(1);
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

static bool use(unsigned int l, const struct lm_wait_mode *mode)
{
	if (lock_key(l, mode))
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

static void init_cycle(void)
{
	init_buckets(NR_KEYS);
	ex_patience = 1;
}

static void init_cycle_timed(void)
{
	init_cycle();
	cycle_may_open = true;
}

static void init_cycle_shared(void)
{
	init();
	ex_patience = 1;
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

	ex_assert(!sleepers.bucket[0].waiters.first, "a task is left in the table of sleepers");
	for (i = 0; i < NR_KEYS; i++) {
		ex_assert(list_empty(&buckets[i].wq.head), "a task is left on the queue");
		ex_assert(!(entries[i].lock.word.v & ~(LM_VERSION | LM_VALUE | LM_DEAD)),
			  "a flag is left in a word");
	}
}

/* What the flags say, whenever the queue is not being changed. */
static void flags(void)
{
	const struct wait_queue_head *queue;
	const struct lm_waiter *waiter;
	const struct list_head *node;
	bool waiters, woken;
	unsigned int i;
	u64 word;

	for (i = 0; i < NR_KEYS; i++) {
		queue = lm_bucket(&entries[i].lock);
		if (queue->lock.holder)
			continue;
		waiters = false;
		woken = false;
		for (node = queue->head.next; node != &queue->head; node = node->next) {
			waiter = container_of(node, struct lm_waiter, wait.entry);
			if (waiter->lock != &entries[i].lock)
				continue;
			ex_assert(!waiters, "two heads");
			ex_assert(waiter->head, "a head that does not know it");
			waiters = true;
			woken = waiter->woken;
		}
		word = entries[i].lock.word.v;
		ex_assert(waiters == !!(word & LM_WAITERS), "WAITERS is wrong");
		ex_assert(woken == !!(word & LM_WOKEN), "WOKEN is wrong");
		ex_assert(waiters || !(word & LM_HANDOFF), "HANDOFF without a waiter");
	}
}

/* The holder marks the word dead, which sends the waiters away. */
static void mark_dead(void)
{
	lm_mark_dead(&entries[0].lock);
}

static void init_held(void)
{
	init();
	entries[0].lock.word.v = LM_LOCKED | 1 << LM_OWNER_SHIFT;
}

static void sent_away(void)
{
	ex_assert(lock_key(0, &lm_wait_forever) == -ENOENT, "got a lock that died");
}

static void sent_away_timed(void)
{
	int err = lock_key(0, &lm_wait_timed);

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
	ex_assert(!lock_key(0, &lm_wait_forever), "did not get the key");
	enter(0);
	lockmap_entry_disown(&entries[0]);
	leave(0);
}

/* Cycles. A refused task unlocks what it holds. */

/*
 * A refusal is right if the holder of what the task wants waits, perhaps
 * indirectly, for the task itself. Called with the bucket's lock held.
 */
static bool check_refusal(const struct lm_waiter *waiter)
{
	struct task_struct *task;
	int hops;

	if (cycle_may_open)
		return false;

	for (hops = 0; hops < MAX_TASKS; hops++) {
		task = holder[container_of(waiter->lock, struct lockmap_entry, lock) - entries];
		if (task == current)
			return false;
		ex_assert(task, "refused, though no task holds the key");
		waiter = lm_find_sleeper(&sleepers.bucket[0], (u64)task->pid << LM_OWNER_SHIFT);
		ex_assert(waiter, "refused, though the holder does not wait");
	}
	ex_fail("refused for a cycle of other tasks");
	return false;
}

static void two_locks(unsigned int a, unsigned int b, const struct lm_wait_mode *mode)
{
	int err;

	err = lock_key(a, &lm_wait_forever);
	ex_assert(!err, "refused, though it held no key");
	enter(a);
	err = lock_key(b, mode);
	if (!err) {
		enter(b);
		leave(b);
	}
	ex_assert(!err || (err == -ETIMEDOUT && mode->timed) || err == -EDEADLK,
		  "an unexpected error");
	refused |= err == -EDEADLK;
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
	two_locks(1, 0, &lm_wait_timed);
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
	LOCK_MODEL("shared", "two locks at one bucket", .body = { once, both, once_b, timed }),
	LOCK_MODEL("abba", "two tasks, A then B, B then A; a third wants A",
		   .init = init_cycle, .body = { a_then_b, b_then_a, once }),
	LOCK_MODEL("abba-timed", "the same, and one has a timeout", .init = init_cycle_timed,
		   .body = { a_then_b, b_then_a_timed, once_b }),
	LOCK_MODEL("abba-shared", "the same, with one bucket", .init = init_cycle_shared,
		   .body = { a_then_b, b_then_a, once }),
	LOCK_MODEL("cycle", "a cycle of three tasks", .init = init_cycle,
		   .body = { a_then_b, b_then_c, c_then_a }),
	LOCK_MODEL("order", "no task is refused that keeps the order", .init = init_cycle,
		   .body = { a_then_b, a_then_b, b_then_c }, .end = end_order),
};
#endif

const int nr_models = ARRAY_SIZE(models);
