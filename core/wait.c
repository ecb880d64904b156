// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Wait for a lock, and wake or serve the tasks that wait.
 *
 * As in kernel/locking/mutex.c: spin while the owner runs, then queue up. A
 * waiter that is woken competes with newcomers, once; if it loses it asks for a
 * hand-off, and spins again. A waiter looks at the word with the bucket's lock
 * held before it believes in a signal or a timeout, and one that leaves without
 * the lock passes on the wakeup that it may have had. So no wakeup is lost.
 *
 * Lock order: the bucket's lock, then the scheduler's. Interrupts are off while a
 * bucket is locked, for a bounded time: LM_WAKE_MOST waiters are woken at most.
 */
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>

#include "compat.h"
#include "types.h"

/* A task spins for so many rounds before it looks at the owner, ... */
#define LM_SPIN_ROUNDS	16
/* ... for so many at most, ... */
#define LM_SPIN_LIMIT	4096
/* ... and so many times for one acquisition. */
#define LM_MAX_SPINS	512
/* So many waiters are sent away in one section of a bucket's lock. */
#define LM_WAKE_MOST	8

/**
 * struct lm_wakeup - what lm_wake_function() is told
 * @lock: wake a waiter of this lock
 * @hand_off: take the lock for the waiter
 * @handed_off: set when that was done
 * @set: for @hand_off: see lm_word_unlocked()
 */
struct lm_wakeup {
	struct lm_lock *lock;
	bool hand_off;
	bool handed_off;
	u64 set;
};

static const struct lm_wait_mode lm_wait_forever = { .state = TASK_UNINTERRUPTIBLE };
static const struct lm_wait_mode lm_wait_interruptible = { .state = TASK_INTERRUPTIBLE };
static const struct lm_wait_mode lm_wait_killable = { .state = TASK_KILLABLE };
static const struct lm_wait_mode lm_wait_never = { .try = true };

static struct lm_wait_mode lm_wait_until(unsigned long timeout)
{
	if (timeout > MAX_JIFFY_OFFSET)
		return lm_wait_forever;
	return (struct lm_wait_mode) {
		.state = TASK_UNINTERRUPTIBLE,
		.timed = true,
		.deadline = jiffies + timeout,
	};
}

static long lm_time_left(const struct lm_wait_mode *mode)
{
	long left;

	if (!mode->timed)
		return MAX_SCHEDULE_TIMEOUT;
	left = mode->deadline - jiffies;
	return max(left, 0L);
}

/* Tell a waiter how its wait ended. It may read that without the bucket's lock. */
static void lm_set_result(struct lm_waiter *waiter, enum lm_wait_result result)
{
	WRITE_ONCE(waiter->result, result);
}

/* Give the lock to a waiter. The caller holds it, and does no more after this. */
static void lm_grant(struct lm_waiter *waiter, u64 set)
{
	u64 old, new;

	lm_dequeue(waiter);
	old = atomic64_read(&waiter->lock->word);
	do {
		new = (old & ~(LM_OWNER | LM_VALUE)) | (set & LM_VALUE) | waiter->owner;
		new += LM_VERSION_ONE;
		/* (B) as at an unlock; the waiter learns of it with the bucket's lock held. */
	} while (!atomic64_try_cmpxchg_release(&waiter->lock->word, &old, new));
	lm_set_result(waiter, LM_GRANTED);
	waiter->handed_over = true;
}

/* Called for one head of the bucket after the other, until it returns 1. */
static int lm_wake_function(struct wait_queue_entry *wait, unsigned int mode, int flags,
				   void *key)
{
	struct lm_waiter *waiter = container_of(wait, struct lm_waiter, wait);
	struct lm_wakeup *wakeup = key;

	if (waiter->lock != wakeup->lock)
		return 0;
	if (wakeup->hand_off) {
		lm_grant(waiter, wakeup->set);
		wakeup->handed_off = true;
	}
	if (waiter->woken)
		return 1;
	waiter->woken = true;
	if (!wakeup->hand_off)
		atomic64_or(LM_WOKEN, &waiter->lock->word);
	/* The waiter is still there: it needs the bucket's lock to return. */
	wake_up_process(waiter->wait.private);
	return 1;
}

static void lm_wake_locked(struct wait_queue_head *wq, struct lm_lock *lock)
{
	struct lm_wakeup wakeup = { .lock = lock };

	__wake_up_locked_key(wq, TASK_NORMAL, &wakeup);
}

static bool lm_unlock_hand_off(struct lm_lock *lock, u64 set)
{
	struct lm_wakeup wakeup = { .lock = lock, .hand_off = true, .set = set };
	struct wait_queue_head *wq = lm_bucket(lock);
	unsigned long flags;

	spin_lock_irqsave(&wq->lock, flags);
	__wake_up_locked_key(wq, TASK_NORMAL, &wakeup);
	spin_unlock_irqrestore(&wq->lock, flags);
	return wakeup.handed_off;
}

/**
 * lm_unlock_slow() - unlock, and wake the first waiter or hand over to it, if there is one
 * @lock: held by the caller
 * @set: see lm_word_unlocked()
 *
 * After the compare-exchange the lock may be of another key already. Its address
 * only serves to tell waiters apart, and a waiter that is woken for nothing goes
 * back to sleep.
 *
 * Return: the word before; with LM_IDLE if the lock was handed over, since then
 * the new holder takes care of the ring.
 */
static u64 lm_unlock_slow(struct lm_lock *lock, u64 set)
{
	struct wait_queue_head *wq;
	u64 old = atomic64_read(&lock->word);
	unsigned long flags;

	for (;;) {
		if (old & LM_HANDOFF) {
			if (lm_unlock_hand_off(lock, set))
				return old | LM_IDLE;
			/* The waiter left. */
			old = atomic64_read(&lock->word);
			continue;
		}
		/* (B) pairs with lm_acquire(). */
		if (atomic64_try_cmpxchg_release(&lock->word, &old, lm_word_unlocked(old, set)))
			break;
	}
	if ((old & LM_WAITERS) && lm_must_wake(old)) {
		wq = lm_bucket(lock);
		spin_lock_irqsave(&wq->lock, flags);
		lm_wake_locked(wq, lock);
		spin_unlock_irqrestore(&wq->lock, flags);
	}
	return old;
}

/* Send waiters of a lock away. Return: whether there may be more of them. */
static bool lm_send_away(struct wait_queue_head *wq, const struct lm_lock *lock)
{
	struct lm_waiter *waiter = lm_head(wq, lock), *next;
	unsigned int i;

	for (i = 0; waiter && i < LM_WAKE_MOST; i++) {
		next = lm_dequeue(waiter);
		lm_set_result(waiter, LM_GONE);
		wake_up_process(waiter->wait.private);
		waiter = next;
	}
	return waiter;
}

/**
 * lm_mark_dead() - mark the word of a held lock dead, and send its waiters away
 * @lock: held by the caller, and of an entry that is in no table
 *
 * Lookups that come along an old chain may still join the queue; but each finds
 * the lock once at most.
 */
static void lm_mark_dead(struct lm_lock *lock)
{
	struct wait_queue_head *wq = lm_bucket(lock);
	unsigned long flags;
	bool more;

	do {
		spin_lock_irqsave(&wq->lock, flags);
		more = lm_send_away(wq, lock);
		if (!more)
			atomic64_set(&lock->word, lm_word_dead(atomic64_read(&lock->word)));
		spin_unlock_irqrestore(&wq->lock, flags);
	} while (more);
}

/**
 * lm_spin() - spin while the lock's owner runs on a CPU
 * @lock: the lock
 * @old: its word
 * @spins: how often this was called for one acquisition
 *
 * There is no spinning for a lock that belongs to no task, or to one that sleeps.
 * A task that was too late LM_MAX_SPINS times has to queue up, so that it gets
 * its turn. No task spins for long: the owner may be spinning for the caller,
 * which is found out when both go to sleep, and there may be a signal.
 *
 * Context: RCU read side, which keeps the owner's task_struct and the memory of
 * the word, though not the key that it stands for.
 * Return: true when the lock was seen free, or was free meanwhile: try again.
 */
static bool lm_spin(const struct lm_lock *lock, u64 old, unsigned int *spins)
{
	u64 owner = old & LM_OWNER, now;
	struct task_struct *task;
	unsigned int round = 0;

	if (!IS_ENABLED(CONFIG_LOCK_SPIN_ON_OWNER) || !owner || ++*spins > LM_MAX_SPINS)
		return false;
	do {
		if (need_resched())
			return false;
		cpu_relax();
		now = atomic64_read(&lock->word);
		if (!(now & LM_LOCKED) || ((now ^ old) & (LM_OWNER | LM_VERSION)))
			return true;
		/* Most locks are held for less than it takes to find the owner. */
		if (++round == LM_SPIN_ROUNDS)
			task = pid_task(find_pid_ns(lm_word_pid(old), &init_pid_ns), PIDTYPE_PID);
	} while (round < LM_SPIN_ROUNDS ||
		 (round < LM_SPIN_LIMIT && task && lm_owner_on_cpu(task)));
	return false;
}

/**
 * lm_enqueue() - join the queue for a lock that is held
 * @lock: the lock; RCU keeps its memory, but it may be of another key by now
 * @waiter: on the caller's stack
 * @owner: the caller's owner bits
 *
 * On success the lock stays that of the key that it is of now. The caller has to
 * check which key that is, and then to call lm_wait() or lm_leave().
 *
 * Return: false when the lock is not held.
 */
static bool lm_enqueue(struct lm_lock *lock, struct lm_waiter *waiter, u64 owner)
{
	struct wait_queue_head *wq = lm_bucket(lock);
	struct lm_waiter *head;
	unsigned long flags;
	bool held;
	u64 old;

	*waiter = (struct lm_waiter) {
		.lock = lock,
		.owner = owner,
		.since = lm_note_wait_begin(),
		.patience = msecs_to_jiffies(LM_PATIENCE_MS) + 1,
	};
	init_waitqueue_func_entry(&waiter->wait, lm_wake_function);
	waiter->wait.flags = WQ_FLAG_EXCLUSIVE;
	waiter->wait.private = current;
	INIT_LIST_HEAD(&waiter->row);

	spin_lock_irqsave(&wq->lock, flags);
	old = atomic64_read(&lock->word);
	do {
		held = old & LM_LOCKED;
	} while (held && !atomic64_try_cmpxchg(&lock->word, &old, old | LM_WAITERS));
	if (held) {
		head = old & LM_WAITERS ? lm_head(wq, lock) : NULL;
		lm_join(wq, head, waiter);
	}
	spin_unlock_irqrestore(&wq->lock, flags);
	return held;
}

/*
 * Take the lock from within the queue, or find that it was granted. Other bits of
 * the word may change meanwhile, which must not make the task sleep for a free
 * lock.
 */
static bool lm_acquire_queued(struct lm_waiter *waiter)
{
	u64 old;

	if (waiter->result != LM_WAITING)
		return waiter->result == LM_GRANTED;
	old = atomic64_read(&waiter->lock->word);
	do {
		if (old & LM_LOCKED)
			return false;
		/* (A), (B) as in lm_acquire(). */
	} while (!atomic64_try_cmpxchg(&waiter->lock->word, &old, old | LM_LOCKED | waiter->owner));
	lm_dequeue(waiter);
	lm_set_result(waiter, LM_GRANTED);
	return true;
}

/*
 * Ask for a hand-off, if it is the caller's turn.
 *
 * Return: the word, with LM_LOCKED, if a holder will hand over; else 0.
 */
static u64 lm_ask_hand_off(struct lm_waiter *waiter)
{
	u64 old;

	if (waiter->result != LM_WAITING || !waiter->head)
		return 0;
	old = atomic64_fetch_or(LM_HANDOFF, &waiter->lock->word);
	return old & LM_LOCKED ? old : 0;
}

/*
 * The hand-over may be near: spin, without the bucket's lock. @old was read before
 * that was dropped; else the task might spin for itself. RCU keeps the word's
 * memory should the word die meanwhile.
 */
static void lm_spin_queued(struct wait_queue_head *wq, struct lm_waiter *waiter, u64 old)
{
	unsigned int spins = 0;

	rcu_read_lock();
	spin_unlock_irq(&wq->lock);
	lm_spin(waiter->lock, old, &spins);
	rcu_read_unlock();
	spin_lock_irq(&wq->lock);
}

/**
 * lm_leave() - leave the queue without the lock
 * @waiter: from lm_enqueue()
 *
 * Return: false when the lock was granted meanwhile, so that the caller has it.
 */
static bool lm_leave(struct lm_waiter *waiter)
{
	struct wait_queue_head *wq = lm_bucket(waiter->lock);
	unsigned long flags;

	spin_lock_irqsave(&wq->lock, flags);
	if (waiter->result == LM_WAITING) {
		lm_dequeue(waiter);
		/* The wakeup was for the first waiter, whichever that is. */
		if (waiter->woken)
			lm_wake_locked(wq, waiter->lock);
	}
	spin_unlock_irqrestore(&wq->lock, flags);
	return waiter->result != LM_GRANTED;
}

/*
 * Have the next unlock wake a waiter again. Comes before the look at the lock.
 *
 * (D) pairs with lm_must_wake(). Both are in one word, so there is no barrier.
 * Return: whether the caller was woken.
 */
static bool lm_clear_woken(struct lm_waiter *waiter)
{
	if (!waiter->woken || waiter->result != LM_WAITING)
		return false;
	waiter->woken = false;
	atomic64_andnot(LM_WOKEN, &waiter->lock->word);
	return true;
}

/* Whether a waiter that did not get the lock may sleep: 0, or why not. */
static int lm_may_sleep(const struct lm_waiter *waiter, unsigned int state, long timeout)
{
	if (waiter->result == LM_GONE)
		return -EAGAIN;
	if (signal_pending_state(state, current))
		return -EINTR;
	if (waiter->deadlock)
		return -EDEADLK;
	return timeout ? 0 : -ETIMEDOUT;
}

/*
 * Sleep until the task is woken or the time is up; and look for a cycle once it
 * has slept for a while in all.
 *
 * Return: the time left.
 */
static long lm_doze(struct lm_waiter *waiter, unsigned int state, long timeout)
{
	long nap, left;

	if (!waiter->patience)
		return schedule_timeout(timeout);
	nap = min_t(long, timeout, waiter->patience);
	left = schedule_timeout(nap);
	waiter->patience -= nap - left;
	if (!waiter->patience)
		waiter->deadlock = lm_sleepers_add(waiter, state);
	return timeout == MAX_SCHEDULE_TIMEOUT ? timeout : timeout - (nap - left);
}

/* Go on until the lock is the waiter's, or there is a reason to give up. */
static int lm_wait_locked(struct wait_queue_head *wq, struct lm_waiter *waiter,
			  unsigned int state, long timeout)
{
	bool lost;
	u64 old;
	int err;

	for (;;) {
		lost = lm_clear_woken(waiter);
		if (lm_acquire_queued(waiter))
			return 0;
		waiter->lost += lost;
		old = lost ? lm_ask_hand_off(waiter) : 0;
		if (old && timeout == MAX_SCHEDULE_TIMEOUT) {
			lm_spin_queued(wq, waiter, old);
			continue;
		}
		err = lm_may_sleep(waiter, state, timeout);
		if (err)
			return err;
		set_current_state(state);
		spin_unlock_irq(&wq->lock);
		timeout = lm_doze(waiter, state, timeout);
		spin_lock_irq(&wq->lock);
	}
}

/**
 * lm_wait() - sleep until the lock is the caller's
 * @waiter: from lm_enqueue(); after an error to be given to lm_leave()
 * @state: the state to sleep in
 * @timeout: how long to sleep, in jiffies; MAX_SCHEDULE_TIMEOUT for ever
 *
 * Return: 0 when the caller has the lock, -EAGAIN when the word died, -EDEADLK
 * when the wait closes a cycle, -EINTR, -ETIMEDOUT.
 */
static int lm_wait(struct lm_waiter *waiter, unsigned int state, long timeout)
{
	struct wait_queue_head *wq = lm_bucket(waiter->lock);
	int err;

	spin_lock_irq(&wq->lock);
	err = lm_wait_locked(wq, waiter, state, timeout);
	spin_unlock_irq(&wq->lock);
	lm_sleepers_remove(waiter);
	return err;
}
