// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The state word of a lock: pure functions, and compare-exchanges of one word.
 * No map in here, and no queue.
 *
 *	 63            32 31             8 7                      0
 *	+----------------+----------------+------------------------+
 *	|    version     |     owner      |         flags          |
 *	+----------------+----------------+------------------------+
 *
 * LOCKED	a holder has the key. The owner field is the task's pid, or 0 if
 *		the lock belongs to no task.
 * WAITERS	a task is on the wait queue for it. Set and cleared with the
 *		queue's lock held. The word's memory stays what it is while this is
 *		set: waiters need no reference count.
 * HANDOFF	the first waiter was woken and lost the race: the holder gives the
 *		lock to it, so that it is never free in between. Only with WAITERS;
 *		changes with the queue's lock held.
 * WOKEN	a waiter was woken and has not looked at the word since: there is
 *		no need to wake another. Changes with the queue's lock held.
 * VALUE	the key has a value. The unlock sets it, so it says nothing while
 *		LOCKED.
 * DEAD		the word is not of any key now, and cannot be locked.
 * IDLE		the entry is in the ring of idle entries (clock.c), or about to be.
 * REFERENCED	the key was locked again since the clock hand passed.
 *
 * The version moves with every unlock and with every death. A reader that reads
 * the word, then anything that only holders write, and then finds the word
 * unchanged, has read what belongs together. A compare-exchange that succeeds
 * tells the same: what was found out about the word's key after reading it still
 * holds.
 */
#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/log2.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/threads.h>

#include "types.h"

#define LM_LOCKED	BIT_ULL(0)
#define LM_WAITERS	BIT_ULL(1)
#define LM_HANDOFF	BIT_ULL(2)
#define LM_VALUE	BIT_ULL(3)
#define LM_DEAD		BIT_ULL(4)
#define LM_IDLE		BIT_ULL(5)
#define LM_REFERENCED	(LM_IDLE << 1)	/* lm_word_unlocked() shifts one into the other */
#define LM_WOKEN	BIT_ULL(7)

#define LM_OWNER_SHIFT	8
#define LM_OWNER	GENMASK_ULL(31, LM_OWNER_SHIFT)
#define LM_VERSION_ONE	BIT_ULL(32)
#define LM_VERSION	GENMASK_ULL(63, 32)

static_assert(ilog2(PID_MAX_LIMIT) < 32 - LM_OWNER_SHIFT);

/* The owner bits of the caller; 0 in softirq, where locks belong to no task. */
static __always_inline u64 lm_current_owner(void)
{
	return likely(in_task()) ? (u64)current->pid << LM_OWNER_SHIFT : 0;
}

/* The pid of the task that a held lock belongs to; 0 for no task. */
static inline pid_t lm_word_pid(u64 word)
{
	return (word & LM_OWNER) >> LM_OWNER_SHIFT;
}

/*
 * The word that an unlock leaves. @set is LM_VALUE, or LM_IDLE when there is no
 * value; an entry that was IDLE before becomes REFERENCED.
 */
static __always_inline u64 lm_word_unlocked(u64 old, u64 set)
{
	return ((old & ~(LM_LOCKED | LM_OWNER | LM_VALUE)) | set | (old & set & LM_IDLE) << 1) +
	       LM_VERSION_ONE;
}

/* The word of an entry that is no key's. */
static inline u64 lm_word_dead(u64 old)
{
	return ((old & LM_VERSION) + LM_VERSION_ONE) | LM_DEAD;
}

/*
 * Whether the unlock of a lock with waiters has to see to them. A WOKEN waiter
 * will look at the word by itself (D): it clears WOKEN first, in lm_wait(), so
 * that either we find WOKEN cleared, or the waiter finds the lock free.
 */
static inline bool lm_must_wake(u64 old)
{
	return (old & LM_HANDOFF) || !(old & LM_WOKEN);
}

/*
 * Take the lock if it is free and its word is still @old.
 *
 * Fully ordered, which is needed:
 * (A) whoever sees what the holder writes after this also sees LOCKED or a later
 *     version; pairs with lm_unchanged(), of readers that do without the lock.
 * (B) the caller sees what the last holder wrote; pairs with the releases in
 *     lm_unlock_fast(), lm_unlock_slow() and lm_grant().
 */
static __always_inline bool lm_acquire(struct lm_lock *lock, u64 old, u64 owner)
{
	return !(old & (LM_LOCKED | LM_DEAD)) &&
	       atomic64_try_cmpxchg(&lock->word, &old, old | LM_LOCKED | owner);
}

/**
 * lm_unlock_fast() - unlock if there is nothing to do afterwards
 * @lock: held by the caller; not to be touched after this, as it may be another key's
 * @set: see lm_word_unlocked()
 *
 * Return: true when it is unlocked; false when a task waits, or the entry would
 * become IDLE, or the word changed just now.
 */
static __always_inline bool lm_unlock_fast(struct lm_lock *lock, u64 set)
{
	u64 old = atomic64_read(&lock->word);

	if (unlikely((old & (LM_WAITERS | LM_HANDOFF)) || (set & ~old & LM_IDLE)))
		return false;
	/* (B) pairs with lm_acquire(). */
	return likely(atomic64_try_cmpxchg_release(&lock->word, &old, lm_word_unlocked(old, set)));
}
