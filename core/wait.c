// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * How a task waits for a lock, and what an unlock does for those who wait.
 *
 * As in kernel/locking/mutex.c: spin while the owner runs, then queue up. A
 * task that is woken competes with newcomers, once; if it loses it asks for a
 * hand-off, and spins again. A task looks at the word with the bucket's lock
 * held before it believes in a signal or a timeout, and one that leaves without
 * the lock passes on the wakeup that it may have had. So no wakeup is lost.
 *
 * Lock order: the bucket's lock, then the scheduler's.
 */
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "compat.h"
#include "types.h"

/* A task spins for so many rounds before it looks at the owner, ... */
#define LM_SPIN_ROUNDS	16
/* ... for so many at most, ... */
#define LM_SPIN_LIMIT	4096
/* ... and so many times for one acquisition. */
#define LM_MAX_SPINS	512

static const struct lm_wait_mode lm_wait_forever = { .state = TASK_UNINTERRUPTIBLE };
static const struct lm_wait_mode lm_wait_interruptible = { .state = TASK_INTERRUPTIBLE };
static const struct lm_wait_mode lm_wait_killable = { .state = TASK_KILLABLE };
static const struct lm_wait_mode lm_wait_never = { .try = true };

/* The same, to share the key. */
static const struct lm_wait_mode lm_share_forever = {
	.state = TASK_UNINTERRUPTIBLE, .shared = true,
};

static const struct lm_wait_mode lm_share_interruptible = {
	.state = TASK_INTERRUPTIBLE, .shared = true,
};

static const struct lm_wait_mode lm_share_killable = { .state = TASK_KILLABLE, .shared = true };
static const struct lm_wait_mode lm_share_never = { .try = true, .shared = true };

/* How to wait for @timeout jiffies. It is a long, as schedule_timeout() takes it. */
static struct lm_wait_mode lm_wait_until(unsigned long timeout)
{
	if (timeout == MAX_SCHEDULE_TIMEOUT)
		return lm_wait_forever;
	return (struct lm_wait_mode) {
		.state = TASK_UNINTERRUPTIBLE,
		.timed = true,
		.deadline = jiffies + max((long)timeout, 0L),
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

/*
 * Unlock by giving the lock to the head.
 *
 * The one that asked for it may have left before this had the bucket's lock: then there
 * may be no head any more, or one came in that shares the key with the caller. With the
 * bucket's lock held, and WAITERS set, nobody else comes in.
 *
 * Return: false if the caller has to look at the word again.
 */
static bool lm_hand_over(struct lm_lock *lock, u64 set, struct lm_served *served)
{
	struct lm_bucket *bucket = lm_bucket(lock);
	struct lm_waiter *head;
	unsigned long flags;

	spin_lock_irqsave(&bucket->lock, flags);
	head = lm_word_one_holder(atomic64_read(&lock->word)) ? lm_head(bucket, lock) : NULL;
	if (head) {
		lm_grant(head, set, served);
		lm_serve(bucket, lock, served);
	}
	spin_unlock_irqrestore(&bucket->lock, flags);
	return head;
}

/* After an unlock or a downgrade: wake the head, or let in whoever can be. */
static void lm_notice_change(struct lm_lock *lock, bool free, struct lm_served *served)
{
	struct lm_bucket *bucket = lm_bucket(lock);
	unsigned long flags;

	spin_lock_irqsave(&bucket->lock, flags);
	lm_serve(bucket, lock, served);
	if (free)
		lm_wake_head(bucket, lock);
	spin_unlock_irqrestore(&bucket->lock, flags);
}

/**
 * lm_unlock_slow() - unlock, and see to the waiters
 * @lock: held by the caller, in either way
 * @set: see lm_word_unlocked()
 * @served: for lm_serve_rest(), which the caller has to call after its RCU section
 *
 * After the compare-exchange the lock may be of another key already. Its address
 * only serves to tell waiters apart, and a waiter that is woken for nothing goes
 * back to sleep.
 *
 * Return: the word before; with LM_IDLE if there is a holder still, or again: then
 * that one takes care of the ring.
 */
static u64 lm_unlock_slow(struct lm_lock *lock, u64 set, struct lm_served *served)
{
	u64 old = atomic64_read(&lock->word), new;
	bool last;

	lm_served_init(served);
	for (;;) {
		last = lm_word_one_holder(old);
		if (last && (old & LM_HANDOFF)) {
			if (lm_hand_over(lock, set, served))
				return old | LM_IDLE;
			/* That waiter left. */
			old = atomic64_read(&lock->word);
			continue;
		}
		new = old & LM_SHARED ? lm_word_unshared(old, set) : lm_word_unlocked(old, set);
		/* (B) pairs with lm_acquire(). */
		if (atomic64_try_cmpxchg_release(&lock->word, &old, new))
			break;
	}
	if ((old & LM_WAITERS) && (last ? lm_must_wake(old) : !lm_word_may_join(old)))
		lm_notice_change(lock, last, served);
	return last ? old : old | LM_IDLE;
}

/* Go on sharing a lock that the caller holds exclusively, and let in who waits to share it. */
static void lm_downgrade(struct lm_lock *lock, u64 set)
{
	u64 old = atomic64_read(&lock->word);
	struct lm_served served;

	/* (B) pairs with lm_acquire_shared(). */
	while (!atomic64_try_cmpxchg_release(&lock->word, &old, lm_word_downgraded(old, set)))
		;
	if (!(old & LM_WAITERS))
		return;
	lm_served_init(&served);
	lm_notice_change(lock, false, &served);
	lm_serve_rest(lock, &served);
}

/* Send waiters of a lock away. Return: whether there may be more of them. */
static bool lm_send_away(struct lm_bucket *bucket, const struct lm_lock *lock,
			 struct lm_served *served)
{
	struct lm_waiter *waiter = lm_head(bucket, lock), *next;

	while (waiter && served->nr < LM_SERVE_MOST) {
		next = lm_dequeue(waiter);
		lm_end_wait(waiter, LM_GONE, served);
		waiter = next;
	}
	return waiter;
}

/**
 * lm_mark_dead() - mark the word of a held lock dead, and send its waiters away
 * @lock: held exclusively by the caller, and of an entry that is in no table
 *
 * Lookups that come along an old chain may still join the row; but each finds the
 * lock once at most. A request among them is not armed: it would have been found in
 * the table.
 */
static void lm_mark_dead(struct lm_lock *lock)
{
	struct lm_bucket *bucket = lm_bucket(lock);
	struct lm_served served;
	unsigned long flags;
	bool more;

	do {
		lm_served_init(&served);
		spin_lock_irqsave(&bucket->lock, flags);
		more = lm_send_away(bucket, lock, &served);
		if (!more)
			atomic64_set(&lock->word, lm_word_dead(atomic64_read(&lock->word)));
		spin_unlock_irqrestore(&bucket->lock, flags);
		lm_tell_served(&served);
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
	u64 owner = lm_word_owner(old), now;
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

static void lm_sleeper_init(struct lm_sleeper *sleeper, struct lm_lock *lock, u64 owner,
			    bool shared)
{
	*sleeper = (struct lm_sleeper) {
		.waiter = {
			.lock = lock,
			.owner = owner,
			.shared = shared,
			.task = current,
		},
		.since = lm_note_wait_begin(),
		.patience = msecs_to_jiffies(LM_PATIENCE_MS) + 1,
	};
	INIT_LIST_HEAD(&sleeper->waiter.turnstile);
	INIT_LIST_HEAD(&sleeper->waiter.row);
}

/*
 * Take the lock from within the row, or find that it was granted. Other bits of the
 * word may change meanwhile, which must not make the task sleep for a free lock.
 */
static bool lm_acquire_queued(struct lm_waiter *waiter, struct lm_served *served)
{
	u64 old;

	if (waiter->result != LM_WAITING)
		return waiter->result == LM_GRANTED;
	/* Others keep the order, when they come round to look for a cycle, or their time is up. */
	if (!waiter->head)
		return false;
	old = atomic64_read(&waiter->lock->word);
	do {
		/* A newcomer may have been faster, and share the lock. */
		if (lm_word_held(old) && !(waiter->shared && lm_word_may_join(old)))
			return false;
		/* (A), (B) as in lm_acquire(). */
	} while (!atomic64_try_cmpxchg(&waiter->lock->word, &old, lm_word_granted(old, waiter)));
	if (lm_dequeue(waiter))
		lm_serve(lm_bucket(waiter->lock), waiter->lock, served);
	lm_set_result(waiter, LM_GRANTED);
	return true;
}

/*
 * Ask for a hand-off, if it is the caller's turn.
 *
 * Return: the word, if a holder will hand over; else 0.
 */
static u64 lm_ask_hand_off(struct lm_waiter *waiter)
{
	u64 old;

	if (waiter->result != LM_WAITING || !waiter->head)
		return 0;
	old = atomic64_fetch_or(LM_HANDOFF, &waiter->lock->word);
	return lm_word_held(old) ? old : 0;
}

/*
 * The hand-over may be near: spin, without the bucket's lock. @old was read before
 * that was dropped; else the task might spin for itself. RCU keeps the word's
 * memory should the word die meanwhile.
 */
static void lm_spin_queued(struct lm_bucket *bucket, struct lm_waiter *waiter, u64 old)
{
	unsigned int spins = 0;

	rcu_read_lock();
	spin_unlock_irq(&bucket->lock);
	lm_spin(waiter->lock, old, &spins);
	rcu_read_unlock();
	spin_lock_irq(&bucket->lock);
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
	WRITE_ONCE(waiter->woken, false);
	atomic64_andnot(LM_WOKEN, &waiter->lock->word);
	return true;
}

/* Whether a task that did not get the lock may sleep: 0, or why not. */
static int lm_may_sleep(const struct lm_sleeper *sleeper, unsigned int state, long timeout)
{
	if (sleeper->waiter.result == LM_GONE)
		return -EAGAIN;
	if (signal_pending_state(state, current))
		return -EINTR;
	if (sleeper->deadlock)
		return -EDEADLK;
	return timeout ? 0 : -ETIMEDOUT;
}

/*
 * Sleep until the task is woken or the time is up; no longer than its patience lasts.
 *
 * Return: the time left.
 */
static long lm_doze(struct lm_sleeper *sleeper, long timeout)
{
	long nap, slept;

	if (!sleeper->patience)
		return schedule_timeout(timeout);
	nap = min_t(long, timeout, sleeper->patience);
	slept = nap - schedule_timeout(nap);
	sleeper->patience -= slept;
	return timeout == MAX_SCHEDULE_TIMEOUT ? timeout : timeout - slept;
}

/* Go on until the lock is the task's, or there is a reason to give up. */
static int lm_wait_locked(struct lm_bucket *bucket, struct lm_sleeper *sleeper,
			  unsigned int state, long timeout, struct lm_served *served)
{
	struct lm_waiter *waiter = &sleeper->waiter;
	bool lost;
	u64 old;
	int err;

	for (;;) {
		lost = lm_clear_woken(waiter);
		if (lm_acquire_queued(waiter, served))
			return 0;
		sleeper->lost += lost;
		old = lost ? lm_ask_hand_off(waiter) : 0;
		if (old && timeout == MAX_SCHEDULE_TIMEOUT) {
			lm_spin_queued(bucket, waiter, old);
			continue;
		}
		err = lm_may_sleep(sleeper, state, timeout);
		if (err)
			return err;
		if (!sleeper->patience && !sleeper->searched) {
			spin_unlock_irq(&bucket->lock);
			lm_search_cycle(sleeper, state);
			spin_lock_irq(&bucket->lock);
			continue;
		}
		set_current_state(state);
		spin_unlock_irq(&bucket->lock);
		timeout = lm_doze(sleeper, timeout);
		spin_lock_irq(&bucket->lock);
	}
}

/**
 * lm_wait() - sleep until the lock is the caller's
 * @sleeper: the caller, after lm_enqueue(); after an error to be given to lm_leave()
 * @state: the state to sleep in
 * @timeout: how long to sleep, in jiffies; MAX_SCHEDULE_TIMEOUT for ever
 *
 * Return: 0 when the caller has the lock, -EAGAIN when the word died, -EDEADLK
 * when the wait closes a cycle, -EINTR, -ETIMEDOUT.
 */
static int lm_wait(struct lm_sleeper *sleeper, unsigned int state, long timeout)
{
	struct lm_lock *lock = sleeper->waiter.lock;
	struct lm_bucket *bucket = lm_bucket(lock);
	struct lm_served served;
	int err;

	lm_served_init(&served);
	spin_lock_irq(&bucket->lock);
	err = lm_wait_locked(bucket, sleeper, state, timeout, &served);
	spin_unlock_irq(&bucket->lock);
	lm_sleepers_remove(sleeper);
	lm_serve_rest(lock, &served);
	return err;
}
