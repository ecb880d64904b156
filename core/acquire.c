// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Lock and unlock a key.
 *
 * lm_lock_fast() takes a 64-bit number that is in the table, and free; it is
 * inlined into the calls. lm_lock_slow() takes any key in any state: it looks the
 * key up, makes its entry if there is none, spins and sleeps (wait.c).
 *
 * Names: @key is a struct lm_key, the key that the caller wants, with all that is
 * known of it; @entry is an entry in a table, locked or not; @new is one that is
 * not in a table yet; @owner is the caller's owner bits.
 */
#include <linux/atomic.h>
#include <linux/bug.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/gfp.h>
#include <linux/instruction_pointer.h>
#include <linux/kernel.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>

#include "compat.h"
#include "types.h"

/* What a call wants when the key is not in the table. */
enum lm_if_absent {
	LM_LEAVE_ABSENT,	/* no entry */
	LM_PRESENT_ONLY,	/* no entry; nor one that has no value and cannot get one */
	LM_CREATE,		/* a new one */
	LM_CREATE_UNSEEN,	/* a new one, and the table did not have the key just now */
};

static __always_inline bool lm_creates(enum lm_if_absent if_absent)
{
	return if_absent >= LM_CREATE;
}

/*
 * Evict an entry that the caller has locked, and that has no value, if no task
 * waits for it and the ring does not admit it.
 */
static bool lm_unlock_evict(struct lockmap *map, struct lockmap_entry *entry)
{
	u64 old = atomic64_read(&entry->lock.word);

	/* Only the clock hand evicts an entry that is in the ring. */
	if ((old & (LM_WAITERS | LM_IDLE)) || !lm_word_one_holder(old) ||
	    lm_ring_admits(lm_ring(map, entry->hash)) ||
	    !atomic64_try_cmpxchg(&entry->lock.word, &old, lm_word_dead(old)))
		return false;
	lm_entry_evict(entry);
	return true;
}

static noinline void lm_unlock_uncommon(struct lockmap_entry *entry, u64 set)
{
	struct lm_lock *lock = &entry->lock;
	struct lockmap *map = entry->map;
	struct lm_served served;
	u32 hash = entry->hash;
	u64 old;

	/* Until it is unlocked, the lock keeps the entry and its map; from then on RCU does. */
	rcu_read_lock();
	if ((set & LM_IDLE) && lm_unlock_evict(map, entry)) {
		rcu_read_unlock();
		return;
	}
	old = lm_unlock_slow(lock, set, &served);
	if (set & ~old & LM_IDLE)
		lm_ring_add(map, hash, entry);
	rcu_read_unlock();
	lm_serve_rest(lock, &served);
}

static __always_inline void lm_unlock(struct lockmap_entry *entry)
{
	u64 set = likely(entry->has_value) ? LM_VALUE : LM_IDLE;

	if (unlikely(!lm_unlock_fast(&entry->lock, set)))
		lm_unlock_uncommon(entry, set);
}

static __always_inline void lm_unlock_shared(struct lockmap_entry *entry)
{
	u64 set = likely(entry->has_value) ? LM_VALUE : LM_IDLE;

	if (unlikely(!lm_unlock_shared_fast(&entry->lock, set)))
		lm_unlock_uncommon(entry, set);
}

/* Unlock what was locked shared, and annotated with lm_lockdep_acquire(). */
static __always_inline void lm_unlock_shared_annotated(struct lockmap_entry *entry,
						       unsigned long ip)
{
	lm_lockdep_release_shared(entry, ip);
	lm_unlock_shared(entry);
}

static void lm_unlock_either(struct lockmap_entry *entry, bool shared)
{
	if (shared)
		lm_unlock_shared(entry);
	else
		lm_unlock(entry);
}

/* Unlock what was locked and annotated with lm_lockdep_acquire(). */
static __always_inline void lm_unlock_annotated(struct lockmap_entry *entry, unsigned long ip)
{
	lm_lockdep_release(entry, ip);
	lm_unlock(entry);
}

/*
 * A waiter left. If the clock hand found the entry free but for that waiter, it
 * let go of the entry, and no unlock is to come that puts it into the ring again:
 * lock it, for the caller to unlock after its RCU section.
 *
 * Context: RCU read side. It does not matter which key the entry is of.
 * Return: whether the entry is locked now.
 */
static bool lm_requeue_idle(struct lockmap_entry *entry)
{
	u64 word = atomic64_read(&entry->lock.word);

	return lm_word_free(word) && !(word & (LM_WAITERS | LM_VALUE | LM_IDLE)) &&
	       lm_acquire(&entry->lock, word, lm_current_owner());
}

/*
 * Leave the row without the lock, and undo what the wait did to an entry.
 *
 * Context: RCU read side, which is left.
 * Return: as lm_leave(); after LM_GRANTED the lock is to be unlocked, by the caller or, if
 * an armed request had waited, by its function.
 */
static enum lm_wait_result lm_give_up(struct lm_waiter *waiter)
	__releases(RCU)
{
	struct lm_lock *lock = waiter->lock;
	struct lockmap_entry *entry = container_of(lock, struct lockmap_entry, lock);
	enum lm_wait_result result;
	struct lm_served served;
	bool requeue;

	result = lm_leave(waiter, &served);
	requeue = result == LM_WAITING && lm_requeue_idle(entry);
	rcu_read_unlock();
	lm_serve_rest(lock, &served);
	if (requeue)
		lm_unlock(entry);
	return result;
}

/*
 * Sleep for an entry that is held, after it was found to be the key's.
 *
 * Context: RCU read side, which is left.
 * Return: 0 when the caller has it, -EAGAIN to look the key up again, -EDEADLK,
 * -EINTR, -ETIMEDOUT.
 */
static int lm_sleep(struct lm_key *key, struct lockmap_entry *entry, u64 owner,
		    const struct lm_wait_mode *mode)
	__releases(RCU)
{
	struct lm_sleeper sleeper;
	int err;

	lm_sleeper_init(&sleeper, &entry->lock, owner, mode->shared);
	if (!lm_enqueue(&sleeper.waiter)) {
		rcu_read_unlock();
		return -EAGAIN;
	}
	/* From here on it cannot become another key's. Did it before? */
	if (unlikely(!lm_match(key, entry))) {
		if (lm_give_up(&sleeper.waiter) == LM_GRANTED)
			lm_unlock_either(entry, mode->shared);
		return -EAGAIN;
	}
	rcu_read_unlock();

	lm_note_contended(key, entry);
	err = lm_wait(&sleeper, mode->state, lm_time_left(mode));
	if (err) {
		rcu_read_lock();
		if (lm_give_up(&sleeper.waiter) == LM_GRANTED)
			err = 0;	/* the lock was granted at the last moment */
	}
	lm_note_wait(key, entry, &sleeper, err);
	if (sleeper.deadlock)
		lm_report_refusal(key, err);
	return err;
}

/* A task with a deadline does not spin: the owner may run for longer than that. */
static bool lm_may_spin(const struct lm_wait_mode *mode)
{
	return !mode->timed && !signal_pending_state(mode->state, current);
}

/*
 * Lock an entry that lm_find() found, and that was not free when its word was read.
 *
 * Context: RCU read side, which is left.
 * Return: as lm_sleep(), and -EBUSY.
 */
static int lm_lock_contended(struct lm_key *key, struct lockmap_entry *entry, u64 owner,
			     const struct lm_wait_mode *mode, unsigned int *spins)
	__releases(RCU)
{
	int err;

	if (!lm_has_to_wait(key->word, mode->shared))
		err = -EAGAIN;		/* another task was faster, or unlocked it meanwhile */
	else if (mode->try)
		err = lm_unchanged(key, entry) ? -EBUSY : -EAGAIN;
	else if (owner && lm_word_owner(key->word) == owner && lm_debug_owns(entry))
		err = lm_refuse_own(key);
	else if (lm_may_spin(mode) && lm_spin(&entry->lock, key->word, spins))
		err = -EAGAIN;
	else
		return lm_sleep(key, entry, owner, mode);
	rcu_read_unlock();
	return err;
}

/* How long a call waits for a table that cannot grow for want of memory, in jiffies. */
#define LM_TABLE_PATIENCE	HZ

/*
 * The table can take another entry only when its worker has made it larger: wait
 * for that, but not longer than the caller wants to; and not for ever, unless the
 * call must not fail.
 *
 * Return: 0 to try again.
 */
static int lm_wait_for_table(const struct lm_wait_mode *mode, enum lm_if_full if_full, int err,
			     unsigned int *waited)
{
	if (mode->try || err == -E2BIG)
		return -ENOMEM;
	if (if_full == LM_IF_FULL_REFUSE && ++*waited > LM_TABLE_PATIENCE)
		return -ENOMEM;
	if (signal_pending_state(mode->state, current))
		return -EINTR;
	if (!lm_time_left(mode))
		return -ETIMEDOUT;
	schedule_timeout_uninterruptible(1);
	return 0;
}

/* How a call allocates: one that must not sleep does not reclaim either. */
static gfp_t lm_gfp(const struct lockmap *map, const struct lm_wait_mode *mode)
{
	gfp_t gfp = map->params.gfp;

	return mode->try ? (gfp & ~__GFP_RECLAIM) | GFP_NOWAIT | __GFP_NOWARN : gfp;
}

/* Take a lock, in the way that a call wants, if it is to be had and its word is still @word. */
static __always_inline bool lm_take(struct lm_lock *lock, u64 word, u64 owner, bool shared)
{
	return shared ? lm_acquire_shared(lock, word) : lm_acquire(lock, word, owner);
}

/*
 * Lock a key by an entry that was made for it. It is published locked exclusively, since
 * it has to be marked dead if the table refuses it; nobody may share it by then.
 */
static int lm_lock_new(struct lm_key *key, struct lockmap_entry *new, u64 owner, bool shared,
		       enum lm_if_full if_full)
{
	int err = lm_entry_publish(key, new, owner, if_full);

	if (err)
		return err;
	if (shared)
		lm_downgrade(&new->lock, LM_IDLE);
	else
		lm_debug_own(new);
	return 0;
}

/**
 * lm_lock_slow() - lock a key in whatever state it is
 * @key: the key
 * @reserve: an entry for it that is used if the table does not have the key, and is
 *	the caller's still if it is not returned; or %NULL
 * @if_absent: what to do if the table does not have the key, and @reserve is %NULL
 * @mode: how to wait
 *
 * Return: the entry; %NULL if there is none and none is to be made; an error as
 * in lockmap.h.
 */
static noinline struct lockmap_entry *lm_lock_slow(struct lm_key *key,
						   struct lockmap_entry *reserve,
						   enum lm_if_absent if_absent,
						   const struct lm_wait_mode *mode)
{
	enum lm_if_full if_full = reserve ? LM_IF_FULL_INSERT : LM_IF_FULL_REFUSE;
	struct lockmap_entry *entry, *new = reserve;
	bool look = if_absent != LM_CREATE_UNSEEN;
	u64 owner = lm_current_owner();
	unsigned int spins = 0, waited = 0;
	int err;

	do {
		rcu_read_lock();
		entry = look ? lm_find(key) : NULL;
		if (entry && if_absent == LM_PRESENT_ONLY && lm_sure_absent(key)) {
			err = lm_unchanged(key, entry) ? 0 : -EAGAIN;
			rcu_read_unlock();
			if (!err)
				return NULL;
			continue;
		}
		if (entry) {
			if (lm_take(&entry->lock, key->word, owner, mode->shared)) {
				rcu_read_unlock();
				err = 0;
				break;
			}
			err = lm_lock_contended(key, entry, owner, mode, &spins);
			continue;
		}
		rcu_read_unlock();
		if (!new && !lm_creates(if_absent))
			return NULL;
		if (!new)
			new = lm_entry_new(key, lm_gfp(key->map, mode));
		if (!new)
			return ERR_PTR(-ENOMEM);
		err = lm_lock_new(key, new, owner, mode->shared, if_full);
		if (!err)
			return new;
		err = err == -EEXIST ? 0 : lm_wait_for_table(mode, if_full, err, &waited);
		err = err ?: -EAGAIN;
		look = true;
	} while (err == -EAGAIN);

	if (new && new != reserve)
		lm_entry_free(new);
	if (err)
		return ERR_PTR(err);
	if (!mode->shared)
		lm_debug_own(entry);
	return entry;
}

/*
 * Lock a key for which lm_key_is_u64() holds, if it is in the table, and free.
 *
 * Return: the entry; %NULL if the table does not have the key; an error if the key
 * was not free, or has no value and @present_only is set.
 */
static __always_inline struct lockmap_entry *lm_lock_fast(struct lockmap *map, const void *data,
							  bool shared, bool present_only)
{
	struct lm_key key = lm_key_u64(map, data);
	struct lockmap_entry *entry;

	lm_read_lock();
	entry = lm_find(&key);
	if (likely(entry) &&
	    unlikely((present_only && !(key.word & LM_VALUE)) ||
		     !lm_take(&entry->lock, key.word, shared ? 0 : lm_current_owner(), shared)))
		entry = ERR_PTR(-EBUSY);
	lm_read_unlock();
	if (!shared && !IS_ERR_OR_NULL(entry))
		lm_debug_own(entry);
	return entry;
}

/* Lock a key of any kind. */
static noinline struct lockmap_entry *lm_lock_general(struct lockmap *map, const void *data,
						      size_t len, enum lm_if_absent if_absent,
						      const struct lm_wait_mode *mode)
{
	struct lm_key key;
	int err;

	err = lm_key_init(&key, map, data, len);
	if (unlikely(err))
		return ERR_PTR(err);
	return lm_lock_slow(&key, NULL, if_absent, mode);
}

/* What a call may do, for the checks that some kernels make. */
static __always_inline void lm_may_wait(struct lockmap *map, const void *data, size_t len,
					enum lm_if_absent if_absent,
					const struct lm_wait_mode *mode)
{
	if (mode->try)
		return;
	might_sleep();
	lm_lockdep_may_lock_key(map, data, len, LM_FOR_ANY_HOLDER);
	if (lm_creates(if_absent))
		lm_lockdep_may_alloc(map);
}

/*
 * Lock a key without telling lockdep that it was taken. @shared is @mode->shared, where
 * the compiler knows it.
 */
static __always_inline struct lockmap_entry *
lm_lock_unannotated(struct lockmap *map, const void *data, size_t len, const bool shared,
		    enum lm_if_absent if_absent, const struct lm_wait_mode *mode)
{
	struct lockmap_entry *entry = ERR_PTR(-EBUSY);

	lm_may_wait(map, data, len, if_absent, mode);
	if (lm_key_is_u64(map, data, len))
		entry = lm_lock_fast(map, data, shared, if_absent == LM_PRESENT_ONLY);
	if (!IS_ERR(entry) && (entry || !lm_creates(if_absent)))
		return entry;
	return lm_lock_general(map, data, len, entry ? if_absent : LM_CREATE_UNSEEN, mode);
}

static __always_inline struct lockmap_entry *lm_lock(struct lockmap *map, const void *data,
						     size_t len, enum lm_if_absent if_absent,
						     const struct lm_wait_mode *mode)
{
	struct lockmap_entry *entry;

	entry = lm_lock_unannotated(map, data, len, mode->shared, if_absent, mode);
	if (!IS_ERR_OR_NULL(entry))
		lm_lockdep_acquire(entry, mode, _RET_IP_);
	return entry;
}

struct lockmap_entry *lockmap_lock(struct lockmap *map, const void *key, size_t len)
{
	return lm_lock(map, key, len, LM_CREATE, &lm_wait_forever);
}
EXPORT_SYMBOL_GPL(lockmap_lock);

struct lockmap_entry *lockmap_lock_interruptible(struct lockmap *map, const void *key, size_t len)
{
	return lm_lock(map, key, len, LM_CREATE, &lm_wait_interruptible);
}
EXPORT_SYMBOL_GPL(lockmap_lock_interruptible);

struct lockmap_entry *lockmap_lock_killable(struct lockmap *map, const void *key, size_t len)
{
	return lm_lock(map, key, len, LM_CREATE, &lm_wait_killable);
}
EXPORT_SYMBOL_GPL(lockmap_lock_killable);

struct lockmap_entry *lockmap_lock_timeout(struct lockmap *map, const void *key, size_t len,
					   unsigned long timeout)
{
	const struct lm_wait_mode mode = lm_wait_until(timeout);

	return lm_lock(map, key, len, LM_CREATE, &mode);
}
EXPORT_SYMBOL_GPL(lockmap_lock_timeout);

struct lockmap_entry *lockmap_trylock(struct lockmap *map, const void *key, size_t len)
{
	return lm_lock(map, key, len, LM_CREATE, &lm_wait_never);
}
EXPORT_SYMBOL_GPL(lockmap_trylock);

void lockmap_unlock(struct lockmap_entry *entry)
{
	if (IS_ERR_OR_NULL(entry) || lm_misused_unlock(entry))
		return;
	lm_unlock_annotated(entry, _RET_IP_);
}
EXPORT_SYMBOL_GPL(lockmap_unlock);

void lockmap_entry_disown(struct lockmap_entry *entry)
{
	if (lm_misused(entry, "disown"))
		return;
	lm_lockdep_release(entry, _RET_IP_);
	atomic64_andnot(LM_OWNER, &entry->lock.word);
}
EXPORT_SYMBOL_GPL(lockmap_entry_disown);
