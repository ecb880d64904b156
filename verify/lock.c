// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Models of one key's lock: lockmap_lock.h and lockmap_deadlock.h, and no map. */
#include "shim.h"
#include "lockmap_lock.h"
#include "lockmap_deadlock.h"

/* Messages are not modelled. */
static inline void lm_circle_found(struct lm_waiter *waiter, bool closed)
{
}

static struct lm_lock locks[3] __world;
static struct wait_queue_head queues[3] __world;
/* How many queues the locks share. */
static unsigned int nr_queues __world;
/* Who is in the critical section. */
static struct task_struct *holder[3] __world;
static bool refused __world;

static struct wait_queue_head *queue(unsigned int l)
{
	return &queues[l % nr_queues];
}

void ex_access(const void *where)
{
}

const char *ex_name(const void *where)
{
	static const char *const names[] = { "lock A", "lock B", "lock C" };
	size_t i = (const struct lm_lock *)where - locks;

	return i < ARRAY_SIZE(names) ? names[i] : NULL;
}

void rcu_read_lock(void)
{
	current->rcu++;
}

void rcu_read_unlock(void)
{
	current->rcu--;
}

static void init(void)
{
	unsigned int i;

	nr_queues = 1;
	ex_register(&lm_blocked_lock.sync);
	for (i = 0; i < ARRAY_SIZE(locks); i++) {
		INIT_LIST_HEAD(&queues[i].head);
		ex_register(&queues[i].lock.sync);
		ex_register(&locks[i].word.sync);
	}
}

/* What lm_lock_key() does for a key, without looking for it. */
static int lock(unsigned int l, unsigned int state, long timeout)
{
	struct lm_lock *lock = &locks[l];
	struct lm_waiter waiter;
	u64 self = lm_self(), old;
	unsigned int spins = 0;
	int err;

	for (;;) {
		old = atomic64_read(&lock->word);
		if (lm_acquire(lock, old, self))
			return 0;
		if (old & LM_DEAD)
			return -EAGAIN;
		if (!(old & LM_LOCKED))
			continue;
		if (!state)
			return -EBUSY;
		if (self && (old & LM_OWNER) == self)
			return -EDEADLK;
		if (lm_spin(lock, old, &spins))
			continue;
		if (!lm_enqueue(lock, queue(l), &waiter, self))
			continue;
		err = lm_wait(queue(l), &waiter, state, timeout);
		if (err && !lm_leave(queue(l), &waiter))
			err = 0;
		ex_assert(hlist_unhashed(&waiter.blocked_node),
			  "still in the table of the blocked");
		ex_assert(waiter.wait.entry.next == &waiter.wait.entry, "still on the queue");
		return err;
	}
}

static void unlock(unsigned int l)
{
	if (!lm_unlock_fast(&locks[l], LM_VALUE))
		lm_unlock_slow(&locks[l], queue(l), LM_VALUE);
}

static void enter(unsigned int l)
{
	ex_assert(!holder[l], "two tasks have one lock");
	holder[l] = current;
	ex_write(l);
}

static void leave(unsigned int l)
{
	ex_assert(holder[l] == current, "two tasks have one lock");
	ex_write(l);
	holder[l] = NULL;
	unlock(l);
}

static bool use(unsigned int l, unsigned int state, long timeout)
{
	int err = lock(l, state, timeout);

	if (err)
		return false;
	enter(l);
	ex_step("in the critical section");
	leave(l);
	return true;
}

static void must_use(unsigned int l)
{
	ex_assert(use(l, TASK_UNINTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT), "did not get the lock");
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
	use(0, TASK_UNINTERRUPTIBLE, 1);
}

static void interruptible(void)
{
	use(0, TASK_INTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT);
}

static void impatient(void)
{
	use(0, TASK_INTERRUPTIBLE, 1);
}

/* Has its time, and then comes back. */
static void timed_twice(void)
{
	timed();
	must_use(0);
}

static void try_twice(void)
{
	use(0, TASK_RUNNING, 0);
	use(0, TASK_RUNNING, 0);
}

static void init_queues(void)
{
	init();
	nr_queues = ARRAY_SIZE(queues);
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

/* At the end nothing of anybody is left in the words. */
static void end(void)
{
	unsigned int i;

	ex_assert(!lm_blocked[0].first, "somebody is left in the table of the blocked");
	for (i = 0; i < ARRAY_SIZE(locks); i++) {
		ex_assert(queue(i)->head.next == &queue(i)->head, "somebody is left on the queue");
		ex_assert(!(locks[i].word.v & ~(LM_VERSION | LM_VALUE | LM_DEAD)),
			  "a flag is left in a word");
	}
}

/* What the flags say, whenever the queue is not being changed. */
static void flags(void)
{
	const struct lm_waiter *waiter;
	const struct list_head *head, *node;
	bool waiters, woken;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(locks); i++) {
		if (queue(i)->lock.holder)
			continue;
		waiters = false;
		woken = false;
		head = &queue(i)->head;
		for (node = head->next; node != head; node = node->next) {
			waiter = container_of(node, struct lm_waiter, wait.entry);
			if (waiter->lock != &locks[i])
				continue;
			waiters = true;
			woken |= waiter->woken;
		}
		ex_assert(waiters == !!(locks[i].word.v & LM_WAITERS), "WAITERS is wrong");
		ex_assert(woken == !!(locks[i].word.v & LM_WOKEN), "WOKEN is wrong");
		ex_assert(waiters || !(locks[i].word.v & LM_HANDOFF), "HANDOFF to nobody");
	}
}

/* The holder makes the word a dead one; those who wait have to go away. */
static void retire(void)
{
	lm_retire(&locks[0], queue(0));
}

static void init_held(void)
{
	init();
	locks[0].word.v = LM_LOCKED | 1 << LM_OWNER_SHIFT;
}

static void sent_away(void)
{
	int err = lock(0, TASK_UNINTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT);

	ex_assert(err == -EAGAIN, "got a lock that died");
}

static void sent_away_timed(void)
{
	int err = lock(0, TASK_UNINTERRUPTIBLE, 1);

	ex_assert(err == -EAGAIN || err == -ETIMEDOUT, "got a lock that died");
}

static void end_retired(void)
{
	end();
	ex_assert(locks[0].word.v & LM_DEAD, "the word came back to life");
}

/* One task locks, gives the lock away, and another one unlocks. */
static void disown(void)
{
	ex_assert(!lock(0, TASK_UNINTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT), "did not get the lock");
	enter(0);
	atomic64_andnot(LM_OWNER, &locks[0].word);
	leave(0);
}

/* Circles. A refused task lets go of what it has. */

/* Whether the one who was refused is needed by somebody who holds what it wants. */
static void check_refusal(unsigned int want)
{
	struct task_struct *task = holder[want];
	const struct lm_waiter *waiter;
	int hops;

	for (hops = 0; hops < MAX_TASKS; hops++) {
		if (task == current)
			return;
		ex_assert(task, "refused, though nobody holds it");
		waiter = task ? lm_find_blocked((u64)task->pid << LM_OWNER_SHIFT) : NULL;
		ex_assert(waiter, "refused, though the holder does not wait");
		if (!waiter)
			return;
		task = holder[waiter->lock - locks];
	}
	ex_fail("refused for a circle that is not its own");
}

static void two_locks(unsigned int a, unsigned int b, long timeout)
{
	int err;

	err = lock(a, TASK_UNINTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT);
	ex_assert(!err, "refused, though it had no lock");
	enter(a);
	err = lock(b, TASK_UNINTERRUPTIBLE, timeout);
	if (!err) {
		enter(b);
		leave(b);
	}
	ex_assert(!err || (err == -ETIMEDOUT && timeout == 1) || err == -EDEADLK, "strange error");
	refused |= err == -EDEADLK;
	leave(a);
}

static void a_then_b(void)
{
	two_locks(0, 1, MAX_SCHEDULE_TIMEOUT);
}

static void b_then_a(void)
{
	two_locks(1, 0, MAX_SCHEDULE_TIMEOUT);
}

static void b_then_c(void)
{
	two_locks(1, 2, MAX_SCHEDULE_TIMEOUT);
}

static void c_then_a(void)
{
	two_locks(2, 0, MAX_SCHEDULE_TIMEOUT);
}

static void b_then_a_timed(void)
{
	two_locks(1, 0, 1);
}

static void end_order(void)
{
	end();
	ex_assert(!refused, "refused without a circle");
}

#ifdef SPIN
/* Waiters who spin, with all that the scheduler may say to that. */
const struct model models[] = {
	{ "spin-two", "2 tasks lock and unlock 3 times, and spin", .init = init, .always = flags,
	  .end = end, .body = { thrice, thrice } },
	{ "spin-three", "3 tasks lock and unlock, and spin", .init = init, .always = flags,
	  .end = end, .body = { once, once, once } },
};
#else
#define LOCK_MODEL(n, w, ...)	{ .name = n, .what = w, .init = init, .always = flags, \
				  .end = end, __VA_ARGS__ }

const struct model models[] = {
	LOCK_MODEL("two", "2 tasks lock and unlock 3 times", .body = { thrice, thrice }),
	LOCK_MODEL("three", "3 tasks lock and unlock twice, twice, once",
		   .body = { twice, twice, once }),
	LOCK_MODEL("four", "4 tasks lock and unlock", .body = { once, once, once, once }),
	LOCK_MODEL("spurious", "3 tasks, two wakeups out of the blue", .init = init_spurious,
		   .body = { twice, once, once }),
	LOCK_MODEL("thief", "a waiter, and two who only try", .body = { twice, once, try_twice }),
	LOCK_MODEL("timeout", "a waiter whose time ends, between others",
		   .body = { once, timed_twice, once }),
	LOCK_MODEL("timeouts", "two waiters whose time ends, and one who stays",
		   .body = { once, timed, timed, once }),
	LOCK_MODEL("signal", "two waiters that signals interrupt, and one who stays",
		   .init = init_signals, .body = { once, interruptible, interruptible, once }),
	LOCK_MODEL("leave", "signals and timeouts", .init = init_signals,
		   .body = { once, impatient, impatient, once }),
	LOCK_MODEL("no-owner", "a lock that belongs to no task", .init = init_no_owner,
		   .body = { disown, once, try_twice }),
	LOCK_MODEL("retire", "the word dies under three waiters", .init = init_held,
		   .body = { retire, sent_away, sent_away_timed, sent_away }, .end = end_retired),
	LOCK_MODEL("shared", "two locks on one queue", .body = { once, both, once_b, timed }),
	LOCK_MODEL("abba", "two tasks, A then B, B then A; a third wants A",
		   .init = init_queues, .body = { a_then_b, b_then_a, once }),
	LOCK_MODEL("abba-timed", "the same, and one has a timeout", .init = init_queues,
		   .body = { a_then_b, b_then_a_timed, once_b }),
	LOCK_MODEL("abba-shared", "the same, with one queue",
		   .body = { a_then_b, b_then_a, once }),
	LOCK_MODEL("circle", "a circle of three tasks", .init = init_queues,
		   .body = { a_then_b, b_then_c, c_then_a }),
	LOCK_MODEL("order", "nobody is refused who keeps the order", .init = init_queues,
		   .body = { a_then_b, a_then_b, b_then_c }, .end = end_order),
};
#endif

const int nr_models = ARRAY_SIZE(models);
