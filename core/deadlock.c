// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Refuse a wait that would close a cycle of waiting tasks.
 *
 * A task waits for one lock at most, and a lock has one owner at most. So from
 * a lock that a task is about to sleep for leads one chain: its owner, the lock
 * that the owner sleeps for, the owner of that, and so on. If the chain leads
 * back to the task, no task of it would ever run again.
 *
 * Tasks that sleep are in a hash table, by their owner bits (word.c). A task
 * follows the chain and enters the table in one section of lm_sleepers_lock, and
 * leaves the table together with the wait queue. Hence:
 *
 * - No cycle survives. Only a task that goes to sleep can close one, since a
 *   task that becomes the owner of a lock does not sleep. The last task of a
 *   cycle to go to sleep finds all others asleep.
 * - No task is refused without a cycle. A task that is in the table does not run
 *   and cannot unlock, so an owner that is read from a lock's word after its task
 *   was found in the table is still the owner; and the lock that the chain leads
 *   back to is the caller's own.
 * - A cycle counts also if one of its tasks is about to leave it, because of a
 *   signal or a timeout that the task has not noticed yet.
 * - A chain of more than LM_CHAIN_MAX tasks is not followed to its end: a wait
 *   behind it is refused, cycle or not.
 *
 * A lock that belongs to no task ends the chain, and so does a task that sleeps
 * for anything else.
 *
 * Lock order: the wait queue's lock, then lm_sleepers_lock.
 */
#include <linux/errno.h>
#include <linux/hashtable.h>
#include <linux/spinlock.h>

#include "types.h"

/* How long a chain may be: what max_lock_depth is to rt_mutex. Interrupts are off meanwhile. */
#define LM_CHAIN_MAX		1024U

static DEFINE_SPINLOCK(lm_sleepers_lock);
static DEFINE_HASHTABLE(lm_sleepers, 12);

static struct lm_waiter *lm_find_sleeper(u64 owner)
{
	struct lm_waiter *waiter;

	lockdep_assert_held(&lm_sleepers_lock);
	hash_for_each_possible(lm_sleepers, waiter, sleeper_node, owner) {
		if (waiter->owner == owner)
			return waiter;
	}
	return NULL;
}

/* What the owner of a lock waits for, as a waiter; %NULL if it sleeps for no other lock. */
static struct lm_waiter *lm_next_in_chain(const struct lm_lock *lock)
{
	struct lm_waiter *waiter;
	u64 owner;

	do {
		owner = atomic64_read(&lock->word) & LM_OWNER;
		if (!owner)
			return NULL;
		waiter = lm_find_sleeper(owner);
		/* A task in the table keeps its locks: if it owns this one now, it did before. */
	} while (waiter && (atomic64_read(&lock->word) & LM_OWNER) != owner);

	/* It may have just been given the lock it slept for, and be about to leave the table. */
	return waiter && waiter->lock != lock ? waiter : NULL;
}

/* Whether to refuse a wait: it would close a cycle (@cycle), or the chain is too long to say. */
static bool lm_would_deadlock(const struct lm_waiter *waiter, bool *cycle)
{
	const struct lm_waiter *next = waiter;
	unsigned int n;

	for (n = 0; next && n < LM_CHAIN_MAX; n++) {
		*cycle = (atomic64_read(&next->lock->word) & LM_OWNER) == waiter->owner;
		if (*cycle)
			return true;
		next = lm_next_in_chain(next->lock);
	}
	return next;
}

/* Note the names of a chain of tasks, which lm_sleepers_lock keeps as it is. */
static void lm_note_chain(const struct lm_waiter *waiter, bool cycle)
{
	const struct lm_waiter *next = waiter;

	if (!lm_note_refusal(cycle))
		return;
	while (next && lm_note_link(next))
		next = lm_next_in_chain(next->lock);
}

/**
 * lm_sleepers_add() - enter the table of sleeping tasks
 * @waiter: on its wait queue, whose lock is held
 *
 * Return: 0; -EDEADLK when the wait would close a cycle, or its chain is too long.
 */
static int lm_sleepers_add(struct lm_waiter *waiter)
{
	int err = -EDEADLK;
	bool cycle;

	spin_lock(&lm_sleepers_lock);
	if (lm_would_deadlock(waiter, &cycle)) {
		lm_note_chain(waiter, cycle);
	} else {
		hash_add(lm_sleepers, &waiter->sleeper_node, waiter->owner);
		err = 0;
	}
	spin_unlock(&lm_sleepers_lock);
	return err;
}

/* Leave the table, if in it. The wait queue's lock is held. */
static void lm_sleepers_remove(struct lm_waiter *waiter)
{
	if (hlist_unhashed(&waiter->sleeper_node))
		return;
	spin_lock(&lm_sleepers_lock);
	hash_del(&waiter->sleeper_node);
	spin_unlock(&lm_sleepers_lock);
}
