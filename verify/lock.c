// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Models of the lock: word.c, turnstile.c, wait.c and acquire.c over keys that are always there. */
#include "shim.h"
#include "core/word.c"
#include "core/key.c"
#include "observe.h"

/* No task looks for cycles here: see cycle.c. */
#define lm_note_refusal()	false
#define lm_note_link(waiter)	((void)(waiter), false)
#define note_want()		do { } while (0)

#include "lock.h"

static const struct lm_wait_mode lm_wait_timed = {
	.state = TASK_UNINTERRUPTIBLE, .timed = true, .deadline = 1,
};

static const struct lm_wait_mode lm_wait_impatient = {
	.state = TASK_INTERRUPTIBLE, .timed = true, .deadline = 1,
};

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

/* Keeps A while it uses B. */
static void a_with_b(void)
{
	ex_assert(!want(0, &lm_wait_forever), "did not get the key");
	enter(0);
	must_use(1);
	leave(0);
}

/* The holder marks the word dead, which sends the waiters away. */
static void mark_dead(void)
{
	lm_mark_dead(&entries[0].lock);
}

/* What is left to do of an unlock, when the word's memory is another key's already. */
static void wake_for_nothing(void)
{
	struct lm_bucket *bucket = lm_bucket(&entries[0].lock);

	spin_lock(&bucket->lock);
	lm_wake_head(bucket, &entries[0].lock);
	spin_unlock(&bucket->lock);
}

#ifdef CROWD
/*
 * More waiters than lm_mark_dead() sends away in one section, in front of the
 * tasks: none of them ever runs.
 */
static struct lm_waiter crowd[LM_SERVE_MOST] __world;

static void init_crowd(void)
{
	struct lm_bucket *bucket;
	unsigned int i;

	init();
	bucket = lm_bucket(&entries[0].lock);
	entries[0].lock.word.v = LM_LOCKED | LM_WAITERS | 1 << LM_OWNER_SHIFT;
	for (i = 0; i < ARRAY_SIZE(crowd); i++) {
		crowd[i].lock = &entries[0].lock;
		crowd[i].task = &tasks[0];
		INIT_LIST_HEAD(&crowd[i].turnstile);
		INIT_LIST_HEAD(&crowd[i].row);
		if (i)
			list_add_tail(&crowd[i].row, &crowd[0].row);
	}
	crowd[0].head = true;
	list_add_tail(&crowd[0].turnstile, &bucket->heads);
}

/* All of them want to share, and never unlock. */
static void init_crowd_shared(void)
{
	unsigned int i;

	init_crowd();
	for (i = 0; i < ARRAY_SIZE(crowd); i++)
		crowd[i].shared = true;
}

static void downgrade(void)
{
	lm_downgrade(&entries[0].lock, LM_VALUE);
}

static void share_once(void)
{
	ex_assert(!want(0, &lm_share_forever), "does not share the key");
	lm_unlock_shared(&entries[0]);
}

static void end_crowd_shared(void)
{
	ex_assert(lm_word_sharers(entries[0].lock.word.v) == ARRAY_SIZE(crowd) + 1,
		  "the number of sharers is wrong");
	entries[0].lock.word.v = LM_VALUE;
	end();
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

#ifdef SPIN
/* Waiters that spin, with all that the scheduler may say to that. */
const struct model models[] = {
	LOCK_MODEL("spin-two", "2 tasks lock and unlock 3 times, and spin",
		   .body = { thrice, thrice }),
	LOCK_MODEL("spin-three", "3 tasks lock and unlock, and spin",
		   .body = { once, once, once }),
	LOCK_MODEL("spin-dead", "the word dies while a waiter spins for a hand-off",
		   .init = init_held, .body = { mark_dead, sent_away, wake_for_nothing },
		   .end = end_dead),
};
#elif defined(CROWD)
/* A row that is longer than one section of the bucket's lock may take. */
const struct model models[] = {
	LOCK_MODEL("crowd-dead", "the word dies under more waiters than one section sends away",
		   .init = init_crowd, .body = { mark_dead, sent_away, sent_away_timed },
		   .end = end_dead),
	LOCK_MODEL("crowd-shared", "a downgrade lets in more than fit into one section",
		   .init = init_crowd_shared, .body = { downgrade, share_once, share_once },
		   .end = end_crowd_shared),
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
		   .body = { twice, impatient, impatient }),
	LOCK_MODEL("no-owner", "a lock that belongs to no task", .init = init_no_owner,
		   .body = { disown, once, try_twice }),
	LOCK_MODEL("mark-dead", "the word dies under three waiters", .init = init_held,
		   .body = { mark_dead, sent_away, sent_away_timed, sent_away }, .end = end_dead),
	LOCK_MODEL("mark-dead-woken", "a waiter is woken for nothing while the word dies",
		   .init = init_held, .body = { mark_dead, sent_away, wake_for_nothing },
		   .end = end_dead),
	LOCK_MODEL("bucket", "two locks in one bucket", .body = { once, both, once_b, timed }),
	LOCK_MODEL("row", "three in a row, and a waiter of another lock in their bucket",
		   .body = { both, once, once, once_b }),
	LOCK_MODEL("rows", "a row in a bucket whose first head is of another lock",
		   .body = { a_with_b, once_b, once, once }),
	LOCK_MODEL("row-hand-off", "a waiter in a row is handed what others keep taking",
		   .body = { thrice, once, once }),
	LOCK_MODEL("head-leaves", "the head of a row leaves, woken or not: signal, timeout",
		   .init = init_signals, .body = { once, interruptible, once, timed }),
	LOCK_MODEL("heads-leave", "one head after the other leaves, with a waiter of another lock",
		   .init = init_signals, .body = { both, impatient, interruptible, once_b }),
	LOCK_MODEL("head-asks", "the head has asked for a hand-off, and leaves a row",
		   .init = init_signals, .body = { thrice, impatient, once }),
};
#endif

const int nr_models = ARRAY_SIZE(models);
