// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Tell callers that misuse a lock: unlock what another task holds, use an entry
 * after its unlock, end while a key is held.
 *
 * A look at the state word that costs the fast path instructions is made with
 * CONFIG_LOCKMAP_DEBUG alone. An entry then also has the start time and the name
 * of the task that owns it: a later task with the same pid is not taken for it.
 *
 * A misused call is told by a WARN with the map's name, and does nothing.
 */
#include <linux/bug.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

#include "compat.h"
#include "types.h"

/* The caller has just become the owner of an entry. */
static __always_inline void lm_debug_own(struct lockmap_entry *entry)
{
	if (IS_ENABLED(CONFIG_LOCKMAP_DEBUG) && in_task())
		lm_owner_note(&entry->owner_note, current);
}

/* Whether an owner with the caller's pid is the caller, and not a task that ended before it. */
static __always_inline bool lm_debug_owns(const struct lockmap_entry *entry)
{
	return lm_owner_is(&entry->owner_note, current);
}

/* What is wrong with a call that only the holder of an entry may make. */
static const char *lm_holder_fault(const struct lockmap_entry *entry, u64 word)
{
	u64 owner = lm_word_owner(word);

	if (word & LM_SHARED)
		return "is shared";
	if (!(word & LM_LOCKED))
		return "is not locked";
	if (owner && (owner != lm_current_owner() || !lm_debug_owns(entry)))
		return "another task holds";
	return NULL;
}

/*
 * Whether a call is misused on an entry that its caller does not hold. The entry
 * may be of another key by now, or of none.
 */
static __always_inline bool lm_misused(const struct lockmap_entry *entry, const char *call)
{
	const char *fault;
	u64 word;

	if (!IS_ENABLED(CONFIG_LOCKMAP_DEBUG))
		return false;
	word = atomic64_read(&entry->lock.word);
	fault = lm_holder_fault(entry, word);
	return WARN(fault, "lockmap: %s: %s of a key that %s\n",
		    word & LM_DEAD ? "?" : lm_name(entry->map), call, fault);
}

/* The same for a call that may also be made on a shared entry. */
static __always_inline bool lm_misused_by_any(const struct lockmap_entry *entry, const char *call)
{
	return IS_ENABLED(CONFIG_LOCKMAP_DEBUG) &&
	       !(atomic64_read(&entry->lock.word) & LM_SHARED) && lm_misused(entry, call);
}

/* The same for the key of an entry, which anybody may read as long as a value keeps it. */
static __always_inline bool lm_misused_key(const struct lockmap_entry *entry)
{
	u64 word;

	if (!IS_ENABLED(CONFIG_LOCKMAP_DEBUG))
		return false;
	word = atomic64_read(&entry->lock.word);
	/* The holder may be changing it: either answer will do. */
	if (word & LM_LOCKED ? data_race(READ_ONCE(entry->has_value)) : word & LM_VALUE)
		return false;
	return lm_misused_by_any(entry, "entry_key");
}

/* The same for a call that only a holder that shares an entry may make. */
static __always_inline bool lm_misused_shared(const struct lockmap_entry *entry, const char *call)
{
	u64 word;

	if (!IS_ENABLED(CONFIG_LOCKMAP_DEBUG))
		return false;
	word = atomic64_read(&entry->lock.word);
	return WARN(!(word & LM_SHARED), "lockmap: %s: %s of a key that is not shared\n",
		    word & LM_DEAD ? "?" : lm_name(entry->map), call);
}

static __always_inline bool lm_misused_unlock_shared(const struct lockmap_entry *entry)
{
	u64 word;

	if (IS_ENABLED(CONFIG_LOCKMAP_DEBUG))
		return lm_misused_shared(entry, "unlock_shared");
	word = atomic64_read(&entry->lock.word);
	return WARN_ONCE(!(word & LM_SHARED),
			 "lockmap: %s: unlock_shared of a key that is not shared\n",
			 word & LM_DEAD ? "?" : lm_name(entry->map));
}

/* The same for an unlock. A key that is not locked is told on every kernel. */
static __always_inline bool lm_misused_unlock(const struct lockmap_entry *entry)
{
	u64 word;

	if (IS_ENABLED(CONFIG_LOCKMAP_DEBUG))
		return lm_misused(entry, "unlock");
	word = atomic64_read(&entry->lock.word);
	return WARN_ONCE(!(word & LM_LOCKED), "lockmap: %s: unlock of a key that is not locked\n",
			 word & LM_DEAD ? "?" : lm_name(entry->map));
}

/*
 * The same for the unlock of a batch. One that was unlocked before may have been
 * kept: see lm_batch_free().
 */
static bool lm_misused_batch(const struct lockmap_batch *batch)
{
	unsigned int i;

	if (!IS_ENABLED(CONFIG_LOCKMAP_DEBUG))
		return false;
	if (WARN(!batch->map, "lockmap: ?: unlock of a batch that is not locked\n"))
		return true;
	for (i = 0; i < batch->nr; i++) {
		unsigned long slot = batch->slots[i];

		if (slot & 1 ? lm_misused_shared((void *)(slot & ~1UL), "batch_unlock") :
			       lm_misused((void *)slot, "batch_unlock"))
			return true;
	}
	return false;
}

/*
 * The task that an entry belongs to; %NULL if it is gone. Without
 * CONFIG_LOCKMAP_DEBUG, a later task that has got the same pid passes for it.
 *
 * Context: RCU read side.
 */
static struct task_struct *lm_owner_task(const struct lockmap_entry *entry, u64 word)
{
	struct task_struct *task;

	task = pid_task(find_pid_ns(lm_word_pid(word), &init_pid_ns), PIDTYPE_PID);
	return task && lm_owner_is(&entry->owner_note, task) ? task : NULL;
}

/* Context: RCU read side, or the entry is sure to stay. */
static bool lm_owner_is_gone(const struct lockmap_entry *entry, u64 word)
{
	bool gone;

	rcu_read_lock();
	gone = lm_word_owner(word) && !lm_owner_task(entry, word);
	rcu_read_unlock();
	return gone;
}

/*
 * The word of a lock whose owner is gone; 0 if the owner lives, or if the caller
 * was sent away: then the entry may be no more, and RCU has to keep it.
 */
static u64 lm_abandoned_word(const struct lm_waiter *waiter)
{
	const struct lockmap_entry *entry = container_of(waiter->lock, struct lockmap_entry, lock);
	u64 word = 0;

	rcu_read_lock();
	if (READ_ONCE(waiter->result) == LM_WAITING)
		word = atomic64_read(&waiter->lock->word);
	if (!lm_owner_is_gone(entry, word))
		word = 0;
	rcu_read_unlock();
	return word;
}

/* A task has waited for a while: tell, once a map, of a holder that will never unlock. */
static void lm_check_owner_lives(const struct lm_waiter *waiter)
{
	const struct lockmap_entry *entry = container_of(waiter->lock, struct lockmap_entry, lock);
	u64 word = lm_abandoned_word(waiter);

	if (!word)
		return;
	/* A holder notes its name after it has taken the lock: look again. */
	schedule_timeout_uninterruptible(1);
	rcu_read_lock();
	if (lm_abandoned_word(waiter) == word && !cmpxchg(&entry->map->dead_owner, 0, 1))
		pr_warn("%s: %s/%d waits for a key whose holder, %s/%d, ended without unlocking it\n",
			lm_name(entry->map), current->comm, current->pid,
			lm_owner_comm(&entry->owner_note), lm_word_pid(word));
	rcu_read_unlock();
}
