// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Refuse a wait that closes a cycle of waiting tasks.
 *
 * A task waits for one lock at most, and a lock has one owner at most. So from
 * the lock that a task waits for leads one chain: its owner, the lock that the
 * owner waits for, the owner of that, and so on. If the chain leads back to the
 * task, no task of it would ever run again.
 *
 * Most waits are short, and cost nothing here: a task sleeps first. One that has
 * slept for LM_PATIENCE_MS enters the table of sleepers and takes a number, in one
 * section of its bucket's lock, and then follows the chain once, past sleepers
 * with lower numbers only. Each task leaves the table by itself, before it leaves
 * its wait; a waker does not touch the table. Hence:
 *
 * - Every cycle is found, by one task. The task of the cycle with the highest
 *   number finds all others in the table: each took its lower number in the
 *   section in which it entered. No other task of the cycle gets past that one.
 * - An edge that was followed holds. A sleeper with a lower number has been in the
 *   same wait since before the walk began, so it has kept the locks that it owns;
 *   and the walking task itself takes none, but for the one that it may be granted.
 * - No task is refused without a cycle, however long the chain is. A cycle counts
 *   also if one of its tasks is about to leave it, because of a signal or a timeout
 *   that the task has not noticed yet.
 * - There is no need to look twice: a new edge is made only by a task that enters
 *   the table later.
 *
 * A chain may lead into a cycle that the walking task is no part of. Brent's marker
 * ("An improved Monte Carlo factorization algorithm", 1980) notices that: an owner
 * that is met again. That cycle's own last task ends it.
 *
 * A lock that belongs to no task ends the chain, as does one that is shared, whose
 * holders are not known by name; and so does a task that sleeps for anything else.
 *
 * Locking: the bucket's lock, in task context with interrupts on, no lock of
 * lockmap outside or inside of it. A walk holds one for one step.
 */
#include <linux/atomic.h>
#include <linux/hash.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>

#include "types.h"

/* How long a task sleeps before it looks for a cycle. */
#define LM_PATIENCE_MS		10
#define LM_SLEEPER_BUCKETS	1024
/* A walk looks up from its path after so many steps. */
#define LM_WALK_STEPS		64

/**
 * struct lm_sleeper_bucket - tasks that have slept for a while
 * @lock: protects the list and &lm_sleeper.number of its tasks
 * @sleepers: linked by &lm_sleeper.node
 */
struct lm_sleeper_bucket {
	spinlock_t lock;	/* protects the list and the numbers of its tasks */
	struct hlist_head sleepers;
};

/* By the hash of the owner bits. */
static struct lm_sleeper_bucket lm_sleepers[LM_SLEEPER_BUCKETS];
/*
 * The last number that a task took; atomic. Taking one is fully ordered: a task
 * that takes a higher number sees who owns the locks that the other has.
 */
static atomic64_t lm_last_number;

static struct lm_sleeper_bucket *lm_sleeper_bucket(u64 owner)
{
	return &lm_sleepers[hash_64(owner, ilog2(LM_SLEEPER_BUCKETS))];
}

static struct lm_sleeper *lm_find_sleeper(struct lm_sleeper_bucket *bucket, u64 owner)
{
	struct lm_sleeper *sleeper;

	lockdep_assert_held(&bucket->lock);
	hlist_for_each_entry(sleeper, &bucket->sleepers, node) {
		if (sleeper->waiter.owner == owner)
			return sleeper;
	}
	return NULL;
}

/*
 * The owner of the lock that a sleeper waits for; 0 for none.
 *
 * The sleeper may leave its row meanwhile, and the lock become another key's. But
 * RCU keeps its memory: if @waiter is still WAITING here, the lock is freed later
 * than this section begins.
 */
static u64 lm_owner_waited_for(const struct lm_waiter *waiter, const struct lm_waiter *walker)
{
	u64 owner = 0;

	rcu_read_lock();
	if (READ_ONCE(waiter->result) == LM_WAITING)
		owner = lm_word_owner(atomic64_read(&waiter->lock->word));
	rcu_read_unlock();
	/* A task that owns what it waits for was just granted it. */
	if (owner == waiter->owner || (owner == walker->owner && waiter->lock == walker->lock))
		return 0;
	return owner;
}

/* One step along the chain: the owner of what the task @owner waits for; 0 at the end. */
static u64 lm_next_owner(u64 owner, const struct lm_sleeper *walker)
{
	struct lm_sleeper_bucket *bucket = lm_sleeper_bucket(owner);
	const struct lm_sleeper *sleeper;
	u64 next = 0;

	spin_lock(&bucket->lock);
	sleeper = lm_find_sleeper(bucket, owner);
	if (sleeper && sleeper->number < walker->number)
		next = lm_owner_waited_for(&sleeper->waiter, &walker->waiter);
	spin_unlock(&bucket->lock);
	return next;
}

/*
 * Whether a walk is to end early: the wait is over, or about to be; or the task was
 * woken, so that the owner that the walk began with has unlocked. Then the task has to
 * look for the lock first.
 */
static bool lm_walk_is_over(const struct lm_waiter *walker, unsigned int state)
{
	cond_resched();
	return READ_ONCE(walker->result) != LM_WAITING || READ_ONCE(walker->woken) ||
	       signal_pending_state(state, current);
}

enum lm_walk_end {
	LM_NO_CYCLE,
	LM_CYCLE,
	LM_TRY_AGAIN,	/* the walk ended early */
};

/* Follow the chain from a task in the table. */
static enum lm_walk_end lm_walk_chain(const struct lm_sleeper *walker, unsigned int state)
{
	const struct lm_waiter *own = &walker->waiter;
	unsigned long steps = 0, limit = 1;
	u64 owner, marker = 0;

	owner = lm_owner_waited_for(own, own);
	while (owner && owner != own->owner && owner != marker) {
		/* Brent: move the marker up whenever the number of steps has doubled. */
		if (++steps == limit) {
			marker = owner;
			limit *= 2;
		}
		if (steps % LM_WALK_STEPS == 0 && lm_walk_is_over(own, state))
			return LM_TRY_AGAIN;
		owner = lm_next_owner(owner, walker);
	}
	return owner && owner == own->owner ? LM_CYCLE : LM_NO_CYCLE;
}

/* Note the names of the tasks of a cycle, from the walking task on. */
static void lm_note_cycle(const struct lm_sleeper *walker)
{
	struct lm_sleeper_bucket *bucket;
	const struct lm_sleeper *sleeper;
	u64 owner = walker->waiter.owner;
	bool more;

	if (!lm_note_refusal())
		return;
	do {
		bucket = lm_sleeper_bucket(owner);
		spin_lock(&bucket->lock);
		sleeper = lm_find_sleeper(bucket, owner);
		rcu_read_lock();
		/* While it is WAITING, the lock is that of the entry that it waits for. */
		more = sleeper && READ_ONCE(sleeper->waiter.result) == LM_WAITING &&
		       lm_note_link(&sleeper->waiter);
		rcu_read_unlock();
		owner = more ? lm_owner_waited_for(&sleeper->waiter, &walker->waiter) : 0;
		spin_unlock(&bucket->lock);
	} while (owner && owner != walker->waiter.owner);
	if (owner)
		lm_note_closed();
}

/* Enter the table, once, and take a number. */
static void lm_sleepers_add(struct lm_sleeper *sleeper)
{
	struct lm_sleeper_bucket *bucket = lm_sleeper_bucket(sleeper->waiter.owner);

	if (!hlist_unhashed_lockless(&sleeper->node))
		return;
	spin_lock(&bucket->lock);
	sleeper->number = atomic64_inc_return(&lm_last_number);
	hlist_add_head(&sleeper->node, &bucket->sleepers);
	spin_unlock(&bucket->lock);
}

/**
 * lm_search_cycle() - enter the table of sleepers, and look for a cycle
 * @sleeper: the caller's, in a row, with its patience used up
 * @state: the state that the caller sleeps in
 *
 * Sets @deadlock if the wait is to end for it; and @searched, unless the caller was
 * woken meanwhile: then the lock has, or had, another owner, and the caller has to come
 * back before it sleeps again.
 *
 * Context: Task context, no lock of lockmap held.
 */
static void lm_search_cycle(struct lm_sleeper *sleeper, unsigned int state)
{
	enum lm_walk_end end;

	lm_sleepers_add(sleeper);
	end = lm_walk_chain(sleeper, state);
	if (end == LM_TRY_AGAIN)
		return;
	sleeper->searched = true;
	if (end == LM_NO_CYCLE) {
		lm_check_owner_lives(&sleeper->waiter);
		return;
	}
	lm_note_cycle(sleeper);
	sleeper->deadlock = true;
}

/* Leave the table, if in it. Comes before the caller does anything about its wait. */
static void lm_sleepers_remove(struct lm_sleeper *sleeper)
{
	struct lm_sleeper_bucket *bucket = lm_sleeper_bucket(sleeper->waiter.owner);

	/* Neighbours in the list may write the pointer, but not whether there is one. */
	if (hlist_unhashed_lockless(&sleeper->node))
		return;
	spin_lock(&bucket->lock);
	hlist_del_init(&sleeper->node);
	spin_unlock(&bucket->lock);
}

static void __init lm_sleepers_init(void)
{
	unsigned int i;

	for (i = 0; i < LM_SLEEPER_BUCKETS; i++)
		spin_lock_init(&lm_sleepers[i].lock);
}
