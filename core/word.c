// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The state word of a lock: pure functions, and compare-exchanges of one word.
 * No map in here, and no queue.
 *
 *	 63            32  31   30     29             8 7             0
 *	+----------------+----+--------+----------------+---------------+
 *	|    version     |  - | SHARED | owner or count |     flags     |
 *	+----------------+----+--------+----------------+---------------+
 *
 * LOCKED	a holder has the key for itself. The owner field is the task's pid,
 *		or 0 if the lock belongs to no task.
 * SHARED	holders share the key: so many as the field says. Never with LOCKED.
 * WAITERS	somebody waits for it (turnstile.c). Set and cleared with the
 *		bucket's lock held. The word's memory stays what it is while this is
 *		set: waiters need no reference count.
 * HANDOFF	the last holder gives the lock to the first waiter, so that it is
 *		never free in between: that one is a task that was woken and lost the
 *		race, or a request. Only with WAITERS; changes with the bucket's lock
 *		held.
 * WOKEN	a waiter was woken and has not looked at the word since: there is
 *		no need to wake another. Changes with the bucket's lock held.
 * VALUE	the key has a value. Who unlocks or downgrades sets it, so it says
 *		nothing while LOCKED.
 * DEAD		the word is not of any key now, and cannot be locked.
 * IDLE		the entry is in the ring of idle entries (clock.c), or about to be.
 * REFERENCED	the key was locked again since the clock hand passed.
 *
 * The version moves with every exclusive unlock, with every downgrade and with
 * every death: whenever what only an exclusive holder writes may have changed. A
 * reader that reads the word, then anything that only such holders write, and then
 * finds the same version, and LOCKED, DEAD and VALUE as before, has read what belongs
 * together. A compare-exchange that succeeds tells the same: what was found out
 * about the word's key after reading it still holds.
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
#define LM_OWNER	GENMASK_ULL(29, LM_OWNER_SHIFT)
#define LM_SHARED	BIT_ULL(30)
/* The owner field as a number of holders; as many as fit are the most. */
#define LM_SHARE_ONE	BIT_ULL(LM_OWNER_SHIFT)
#define LM_SHARE_MOST	LM_OWNER
#define LM_VERSION_ONE	BIT_ULL(32)
#define LM_VERSION	GENMASK_ULL(63, 32)

/* A pid is less than PID_MAX_LIMIT. */
static_assert(PID_MAX_LIMIT <= (LM_OWNER >> LM_OWNER_SHIFT) + 1);

/* The owner bits of the caller; 0 in softirq, where locks belong to no task. */
static __always_inline u64 lm_current_owner(void)
{
	return likely(in_task()) ? (u64)current->pid << LM_OWNER_SHIFT : 0;
}

/* Whether there is a holder, of whatever kind. */
static __always_inline bool lm_word_held(u64 word)
{
	return word & (LM_LOCKED | LM_SHARED);
}

/* Whether a key has the word, and there is no holder. */
static __always_inline bool lm_word_free(u64 word)
{
	return !(word & (LM_LOCKED | LM_SHARED | LM_DEAD));
}

/* The owner bits of an exclusive holder; 0 for no task. */
static __always_inline u64 lm_word_owner(u64 word)
{
	return word & LM_LOCKED ? word & LM_OWNER : 0;
}

/* The pid of the task that a held lock belongs to; 0 for no task. */
static inline pid_t lm_word_pid(u64 word)
{
	return lm_word_owner(word) >> LM_OWNER_SHIFT;
}

/* How many holders share the key. */
static inline unsigned int lm_word_sharers(u64 word)
{
	return word & LM_SHARED ? (word & LM_OWNER) >> LM_OWNER_SHIFT : 0;
}

/* Whether the next unlock leaves no holder. */
static __always_inline bool lm_word_one_holder(u64 word)
{
	return !(word & LM_SHARED) || (word & LM_OWNER) == LM_SHARE_ONE;
}

/* The holders of a key share it, and one more fits into the word. */
static __always_inline bool lm_word_may_join(u64 word)
{
	return (word & LM_SHARED) && (word & LM_OWNER) != LM_SHARE_MOST;
}

/* The word with one holder more that shares the key. */
static __always_inline u64 lm_word_shared(u64 word)
{
	return (word | LM_SHARED) + LM_SHARE_ONE;
}

/*
 * The word that the unlock of an exclusive holder leaves. @set is LM_VALUE, or
 * LM_IDLE when there is no value; an entry that was IDLE before becomes REFERENCED.
 */
static __always_inline u64 lm_word_unlocked(u64 old, u64 set)
{
	return ((old & ~(LM_LOCKED | LM_OWNER | LM_VALUE)) | set | (old & set & LM_IDLE) << 1) +
	       LM_VERSION_ONE;
}

/* The word that the unlock of a holder that shares the key leaves. @set as above. */
static __always_inline u64 lm_word_unshared(u64 old, u64 set)
{
	if ((old & LM_OWNER) != LM_SHARE_ONE)
		return old - LM_SHARE_ONE;
	return (old & ~(LM_SHARED | LM_OWNER)) | set | (old & set & LM_IDLE) << 1;
}

/* The word of a key that an exclusive holder goes on sharing. @set as above. */
static inline u64 lm_word_downgraded(u64 old, u64 set)
{
	return lm_word_shared((old & ~(LM_LOCKED | LM_OWNER | LM_VALUE)) | (set & LM_VALUE)) +
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
 * (B) the caller sees what the last holder wrote, or has read before this one
 *     writes; pairs with the releases in lm_unlock_fast(), lm_unlock_shared_fast(),
 *     lm_unlock_slow(), lm_downgrade() and lm_grant().
 */
static __always_inline bool lm_acquire(struct lm_lock *lock, u64 old, u64 owner)
{
	return lm_word_free(old) &&
	       atomic64_try_cmpxchg(&lock->word, &old, old | LM_LOCKED | owner);
}

/*
 * The same to share it. A newcomer does not join the holders while somebody waits:
 * that may be for exclusive use, which would never come.
 */
static __always_inline bool lm_acquire_shared(struct lm_lock *lock, u64 old)
{
	u64 now = old;

	do {
		/* Other sharers come and go; the key is the same while the version is. */
		if (unlikely((now ^ old) & (LM_VERSION | LM_DEAD)))
			return false;
		if (unlikely(!lm_word_free(now)) && (!lm_word_may_join(now) || (now & LM_WAITERS)))
			return false;
		/* (B) as in lm_acquire(). */
	} while (!atomic64_try_cmpxchg(&lock->word, &now, lm_word_shared(now)));
	return true;
}

/* Become the exclusive holder if the caller is the only one that shares the key. */
static bool lm_upgrade(struct lm_lock *lock, u64 owner)
{
	u64 old = atomic64_read(&lock->word);

	do {
		if (!(old & LM_SHARED) || !lm_word_one_holder(old))
			return false;
		/* (A), (B) as in lm_acquire(). */
	} while (!atomic64_try_cmpxchg(&lock->word, &old,
				       (old & ~(LM_SHARED | LM_OWNER)) | LM_LOCKED | owner));
	return true;
}

/**
 * lm_unlock_fast() - unlock if there is nothing to do afterwards
 * @lock: held exclusively by the caller; not to be touched after this, as it may be
 *	another key's
 * @set: see lm_word_unlocked()
 *
 * Return: true when it is unlocked; false when somebody waits, or the entry would
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

/* The same for a holder that shares the key. */
static __always_inline bool lm_unlock_shared_fast(struct lm_lock *lock, u64 set)
{
	u64 old = atomic64_read(&lock->word);

	if (unlikely((old & (LM_WAITERS | LM_HANDOFF)) || (set & ~old & LM_IDLE)))
		return false;
	/* (B) pairs with lm_acquire(). */
	return likely(atomic64_try_cmpxchg_release(&lock->word, &old, lm_word_unshared(old, set)));
}
