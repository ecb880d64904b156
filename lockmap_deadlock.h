/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Who waits for whom: a wait that would close a circle is refused.
 *
 * A task waits for one lock at most, and a lock has one owner at most. So from
 * a lock that a task is about to sleep for there is one way to go: its owner,
 * the lock that this one sleeps for, the owner of that, and so on. If it leads
 * back to the task, nobody on it would ever run again.
 *
 * Tasks that sleep are in a hash table, by the owner bits of lockmap_lock.h. A
 * task enters it, having gone the way, in one section of lm_blocked_lock, and
 * leaves it together with the wait queue. Hence:
 *
 * - No circle survives. Only a task that goes to sleep can close one: whoever
 *   becomes the owner of a lock does not sleep. The last one of a circle to go
 *   to sleep finds all others asleep.
 * - Nobody is refused without a circle. A task that is in the table does not run
 *   and cannot let go of a lock, so an owner that is read from a lock's word
 *   after its task was found in the table is still the owner; and the lock that
 *   the way comes back with is the caller's own.
 * - A circle that somebody is about to leave, because of a signal or a timeout
 *   that it has not noticed yet, counts.
 * - A way over more than LM_CIRCLE_MAX tasks is not gone to its end: who stands
 *   there is refused, circle or not.
 *
 * Locks that belong to no task end the way, as do tasks that sleep for anything
 * else.
 *
 * Lock order: the wait queue's lock, then lm_blocked_lock.
 */
#ifndef _LOCKMAP_DEADLOCK_H
#define _LOCKMAP_DEADLOCK_H

static DEFINE_SPINLOCK(lm_blocked_lock);
static DEFINE_HASHTABLE(lm_blocked, 12);

/* How many tasks may wait in a row: what max_lock_depth is to rt_mutex. Interrupts are off. */
#define LM_CIRCLE_MAX		1024U

static inline struct lm_waiter *lm_find_blocked(u64 owner)
{
	struct lm_waiter *waiter;

	lockdep_assert_held(&lm_blocked_lock);
	hash_for_each_possible(lm_blocked, waiter, blocked_node, owner) {
		if (waiter->self == owner)
			return waiter;
	}
	return NULL;
}

/* The waiter that the owner of a lock is, or %NULL if it has none that sleeps for another lock. */
static inline struct lm_waiter *lm_blocked_owner(const struct lm_lock *lock)
{
	struct lm_waiter *waiter;
	u64 owner;

	do {
		owner = atomic64_read(&lock->word) & LM_OWNER;
		if (!owner)
			return NULL;
		waiter = lm_find_blocked(owner);
		/* If it was found, then it is the owner still, or never was while it slept. */
	} while (waiter && (atomic64_read(&lock->word) & LM_OWNER) != owner);

	/* One that just took what it slept for, and is about to leave the table. */
	return waiter && waiter->lock != lock ? waiter : NULL;
}

/* Whether a wait has to be refused: it closes a circle, or the way is too long to say. */
static inline bool lm_closes_circle(const struct lm_waiter *waiter, bool *closed)
{
	const struct lm_waiter *next = waiter;
	unsigned int n;

	for (n = 0; next && n < LM_CIRCLE_MAX; n++) {
		*closed = (atomic64_read(&next->lock->word) & LM_OWNER) == waiter->self;
		if (*closed)
			return true;
		next = lm_blocked_owner(next->lock);
	}
	return next;
}

/* Takes notes for a message. */
static inline void lm_circle_found(struct lm_waiter *waiter, bool closed);

/**
 * lm_block() - enter the table of those who sleep
 * @waiter: on its wait queue, whose lock is held
 *
 * Return: 0; -EDEADLK when that would close a circle, or is behind too many.
 */
static inline int lm_block(struct lm_waiter *waiter)
{
	int err = -EDEADLK;
	bool closed;

	spin_lock(&lm_blocked_lock);
	if (lm_closes_circle(waiter, &closed)) {
		lm_circle_found(waiter, closed);
	} else {
		hash_add(lm_blocked, &waiter->blocked_node, waiter->self);
		err = 0;
	}
	spin_unlock(&lm_blocked_lock);
	return err;
}

/* Leave the table, if in it. The wait queue's lock is held. */
static inline void lm_unblock(struct lm_waiter *waiter)
{
	if (hlist_unhashed(&waiter->blocked_node))
		return;
	spin_lock(&lm_blocked_lock);
	hash_del(&waiter->blocked_node);
	spin_unlock(&lm_blocked_lock);
}

#endif /* _LOCKMAP_DEADLOCK_H */
