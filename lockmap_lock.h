/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The lock of one key: a state word, and a wait queue that it shares with other
 * keys. There is no map in here.
 *
 * The word
 * --------
 *
 *	 63            32 31             8 7                      0
 *	+----------------+----------------+------------------------+
 *	|    version     |     owner      |         flags          |
 *	+----------------+----------------+------------------------+
 *
 * LOCKED	somebody has the key. The owner field is the task's pid, or 0 if
 *		the lock belongs to no task.
 * WAITERS	somebody is on the wait queue for it. Set and cleared with the
 *		queue's lock held, and the word's memory stays what it is while
 *		this is set: waiters need no reference count.
 * HANDOFF	the first waiter was woken and lost the race: the lock goes to
 *		it without being free in between. Only with WAITERS; with the queue's lock.
 * WOKEN	a waiter was woken and has not looked yet: no need to wake another.
 *		With the queue's lock.
 * VALUE	the key has a value. Set by the unlock, so it says nothing while
 *		LOCKED.
 * DEAD		the word is not of any key now, and cannot be locked.
 * IDLE		in the ring of idle entries (lockmap.c), or about to be.
 * REFERENCED	locked again since the clock hand passed.
 *
 * The version moves with every unlock and with every death. Who reads the word,
 * then anything that only holders write, and then finds the word unchanged, has
 * read what belongs together. A compare-exchange that succeeds tells the same:
 * what was found out about the word's key after reading it still holds.
 *
 * Waiting
 * -------
 *
 * As in kernel/locking/mutex.c: spin while the owner runs; then queue up. Who is
 * woken competes with newcomers, once; if it loses it asks for a hand-off, and
 * spins again. A waiter looks at the word with the queue's lock held before it
 * believes in a signal or a timeout, and one that leaves empty-handed passes on
 * the wakeup that it may have had. So no wakeup is lost.
 *
 * Lock order: the wait queue's lock, then that of lockmap_deadlock.h, then the
 * scheduler's.
 */
#ifndef _LOCKMAP_LOCK_H
#define _LOCKMAP_LOCK_H

#define LM_LOCKED	BIT_ULL(0)
#define LM_WAITERS	BIT_ULL(1)
#define LM_HANDOFF	BIT_ULL(2)
#define LM_VALUE	BIT_ULL(3)
#define LM_DEAD		BIT_ULL(4)
#define LM_IDLE		BIT_ULL(5)
#define LM_REFERENCED	(LM_IDLE << 1)	/* as lm_unlocked() has it */
#define LM_WOKEN	BIT_ULL(7)

#define LM_OWNER_SHIFT	8
#define LM_OWNER	GENMASK_ULL(31, LM_OWNER_SHIFT)
#define LM_VERSION_ONE	BIT_ULL(32)
#define LM_VERSION	GENMASK_ULL(63, 32)

static_assert(ilog2(PID_MAX_LIMIT) < 32 - LM_OWNER_SHIFT);

/* How many rounds to spin before looking at the owner, and at most; and how many times in all. */
#define LM_SPIN_ROUNDS	16
#define LM_SPIN_LIMIT	4096
#define LM_MAX_SPINS	512

struct lm_lock {
	atomic64_t word;
};

enum lm_result {
	LM_WAITING,
	LM_GRANTED,	/* the waker took the lock for this waiter */
	LM_GONE,	/* the word died: look the key up again */
};

/**
 * struct lm_waiter - a task that waits, on its stack
 * @wait: on the queue from lm_enqueue() until granted, gone or left
 * @blocked_node: in the table of lockmap_deadlock.h, while it sleeps
 * @lock: what it waits for
 * @self: owner bits to lock it with
 * @result: protected by the queue's lock, as is the next
 * @woken: was chosen by lm_wake_function() and has not looked yet
 * @handed_over: the holder took the lock for it
 * @lost: how often it was woken, and another was faster; its own
 * @since: when the wait began, in ns; constant
 * @circle: what lm_circle_found() has to say when the wait is refused; own memory
 */
struct lm_waiter {
	struct wait_queue_entry wait;
	struct hlist_node blocked_node;
	struct lm_lock *lock;
	u64 self;
	enum lm_result result;
	bool woken;
	bool handed_over;
	unsigned int lost;
	u64 since;
	char *circle;
};

/* What lm_wake_function() gets to know: of which lock and queue, and whether to hand over. */
struct lm_wakeup {
	struct lm_lock *lock;
	struct wait_queue_head *wq;
	bool hand_off;
	bool handed_off;
	u64 set;
};

static inline int lm_block(struct lm_waiter *waiter);
static inline void lm_unblock(struct lm_waiter *waiter);

/* The owner bits of whoever runs now; 0 in softirq, where locks belong to no task. */
static __always_inline u64 lm_self(void)
{
	return likely(in_task()) ? (u64)current->pid << LM_OWNER_SHIFT : 0;
}

/*
 * Take the lock if it is as it was when @old was read, and free.
 *
 * Fully ordered, and that is needed:
 * (A) what the holder writes after this is seen with LOCKED or a later version;
 *     pairs with lm_unchanged(), of readers that do without the lock.
 * (B) what the last holder wrote is seen: pairs with the releases in
 *     lm_unlock_fast(), lm_unlock_slow() and lm_grant().
 */
static __always_inline bool lm_acquire(struct lm_lock *lock, u64 old, u64 self)
{
	return !(old & (LM_LOCKED | LM_DEAD)) &&
	       atomic64_try_cmpxchg(&lock->word, &old, old | LM_LOCKED | self);
}

/* The word of an entry that is no key's. */
static inline u64 lm_dead(u64 old)
{
	return ((old & LM_VERSION) + LM_VERSION_ONE) | LM_DEAD;
}

static inline struct lm_waiter *lm_first_waiter(struct wait_queue_head *wq,
						const struct lm_lock *lock)
{
	struct lm_waiter *waiter;

	lockdep_assert_held(&wq->lock);
	list_for_each_entry(waiter, &wq->head, wait.entry) {
		if (waiter->lock == lock)
			return waiter;
	}
	return NULL;
}

/* Take a waiter off the queue, and from the word what was there for its sake. */
static inline void lm_dequeue(struct wait_queue_head *wq, struct lm_waiter *waiter)
{
	u64 gone = waiter->woken ? LM_WOKEN : 0;
	const struct lm_waiter *next = waiter;

	if (lm_first_waiter(wq, waiter->lock) == waiter) {
		gone |= LM_HANDOFF | LM_WAITERS;
		list_for_each_entry_continue(next, &wq->head, wait.entry) {
			if (next->lock == waiter->lock) {
				gone &= ~LM_WAITERS;
				break;
			}
		}
	}
	lm_unblock(waiter);
	list_del_init(&waiter->wait.entry);
	atomic64_andnot(gone, &waiter->lock->word);
}

/* Give the lock to a waiter; the caller is the holder, and no more after this. */
static inline void lm_grant(struct wait_queue_head *wq, struct lm_waiter *waiter, u64 set)
{
	u64 old, new;

	lm_dequeue(wq, waiter);
	old = atomic64_read(&waiter->lock->word);
	do {
		new = (old & ~(LM_OWNER | LM_VALUE)) | (set & LM_VALUE) | waiter->self;
		new += LM_VERSION_ONE;
		/* (B) as at an unlock; the waiter learns of it with the queue's lock held. */
	} while (!atomic64_try_cmpxchg_release(&waiter->lock->word, &old, new));
	waiter->result = LM_GRANTED;
	waiter->handed_over = true;
}

/* Called for one waiter after the other, in the order they came, until it returns 1. */
static inline int lm_wake_function(struct wait_queue_entry *wait, unsigned int mode, int flags,
				   void *key)
{
	struct lm_waiter *waiter = container_of(wait, struct lm_waiter, wait);
	struct lm_wakeup *wakeup = key;

	if (waiter->lock != wakeup->lock)
		return 0;
	if (wakeup->hand_off) {
		lm_grant(wakeup->wq, waiter, wakeup->set);
		wakeup->handed_off = true;
	}
	if (waiter->woken)
		return 1;
	waiter->woken = true;
	if (!wakeup->hand_off)
		atomic64_or(LM_WOKEN, &waiter->lock->word);
	/* It cannot go away under us: it needs the queue's lock to return. */
	wake_up_process(waiter->wait.private);
	return 1;
}

static inline void lm_wake_locked(struct wait_queue_head *wq, struct lm_lock *lock)
{
	struct lm_wakeup wakeup = { .lock = lock, .wq = wq };

	__wake_up_locked_key(wq, TASK_NORMAL, &wakeup);
}

/*
 * The word that an unlock leaves. @set is LM_VALUE, or LM_IDLE when there is no
 * value; an entry that was IDLE before becomes REFERENCED.
 */
static __always_inline u64 lm_unlocked(u64 old, u64 set)
{
	return ((old & ~(LM_LOCKED | LM_OWNER | LM_VALUE)) | set | (old & set & LM_IDLE) << 1) +
	       LM_VERSION_ONE;
}

/*
 * Whether the unlock of a lock with waiters has to see to them. If one is WOKEN
 * it will look at the word (D): it clears WOKEN before, in lm_wait(), so that
 * either we find that cleared, or it finds the lock free.
 */
static inline bool lm_has_to_wake(u64 old)
{
	return (old & LM_HANDOFF) || !(old & LM_WOKEN);
}

/**
 * lm_unlock_fast() - unlock if there is nothing to do afterwards
 * @lock: held by the caller; not to be touched after this, it may be of another key
 * @set: see lm_unlocked()
 *
 * Return: true when it is unlocked; false when somebody waits, or the entry
 * would become IDLE, or the word changed just now.
 */
static __always_inline bool lm_unlock_fast(struct lm_lock *lock, u64 set)
{
	u64 old = atomic64_read(&lock->word);

	if (unlikely((old & (LM_WAITERS | LM_HANDOFF)) || (set & ~old & LM_IDLE)))
		return false;
	/* (B) pairs with lm_acquire(). */
	return likely(atomic64_try_cmpxchg_release(&lock->word, &old, lm_unlocked(old, set)));
}

static inline bool lm_unlock_hand_off(struct lm_lock *lock, struct wait_queue_head *wq, u64 set)
{
	struct lm_wakeup wakeup = { .lock = lock, .wq = wq, .hand_off = true, .set = set };
	unsigned long flags;

	spin_lock_irqsave(&wq->lock, flags);
	__wake_up_locked_key(wq, TASK_NORMAL, &wakeup);
	spin_unlock_irqrestore(&wq->lock, flags);
	return wakeup.handed_off;
}

/**
 * lm_unlock_slow() - unlock, and wake the first waiter or hand over to it, if there is one
 * @lock: held by the caller
 * @wq: its queue
 * @set: see lm_unlocked()
 *
 * After the compare-exchange the lock may be of another key already; its
 * address only serves to tell waiters apart, and a waiter that is woken for
 * nothing goes back to sleep.
 *
 * Return: the word before; with LM_IDLE if the lock was handed over, since it
 * is for the new holder to see to that.
 */
static inline u64 lm_unlock_slow(struct lm_lock *lock, struct wait_queue_head *wq, u64 set)
{
	u64 old = atomic64_read(&lock->word);
	unsigned long flags;

	for (;;) {
		if (old & LM_HANDOFF) {
			if (lm_unlock_hand_off(lock, wq, set))
				return old | LM_IDLE;
			/* The waiter left. */
			old = atomic64_read(&lock->word);
			continue;
		}
		/* (B) pairs with lm_acquire(). */
		if (atomic64_try_cmpxchg_release(&lock->word, &old, lm_unlocked(old, set)))
			break;
	}
	if ((old & LM_WAITERS) && lm_has_to_wake(old)) {
		spin_lock_irqsave(&wq->lock, flags);
		lm_wake_locked(wq, lock);
		spin_unlock_irqrestore(&wq->lock, flags);
	}
	return old;
}

/**
 * lm_retire() - make a held lock's word a dead one, and send its waiters away
 * @lock: held by the caller
 * @wq: its queue
 */
static inline void lm_retire(struct lm_lock *lock, struct wait_queue_head *wq)
{
	struct lm_waiter *waiter;
	unsigned long flags;

	spin_lock_irqsave(&wq->lock, flags);
	while ((waiter = lm_first_waiter(wq, lock))) {
		lm_dequeue(wq, waiter);
		waiter->result = LM_GONE;
		wake_up_process(waiter->wait.private);
	}
	atomic64_set(&lock->word, lm_dead(atomic64_read(&lock->word)));
	spin_unlock_irqrestore(&wq->lock, flags);
}

/**
 * lm_spin() - spin while the lock's owner runs on a CPU
 * @lock: the lock
 * @old: its word
 * @spins: how often this was called for one acquisition
 *
 * One that belongs to no task, or to one that sleeps, is not spun for; and who
 * was too late LM_MAX_SPINS times has to queue up, so that it gets its turn. Nor
 * does anybody spin for long: it may be the caller that the owner spins for, which
 * is found out when both go to sleep, and there may be a signal.
 *
 * Context: RCU read side, which keeps the owner's task_struct and the word's
 * memory, if not the key it stands for.
 * Return: true when the lock was seen free, or was free meanwhile: try again.
 */
static inline bool lm_spin(const struct lm_lock *lock, u64 old, unsigned int *spins)
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
			task = pid_task(find_pid_ns(owner >> LM_OWNER_SHIFT, &init_pid_ns),
					PIDTYPE_PID);
	} while (round < LM_SPIN_ROUNDS ||
		 (round < LM_SPIN_LIMIT && task && lm_owner_on_cpu(task)));
	return false;
}

/**
 * lm_enqueue() - join the queue for a lock that is held
 * @lock: the lock; RCU keeps its memory, but it may be of another key by now
 * @wq: its queue
 * @waiter: on the caller's stack
 * @self: the caller's owner bits
 *
 * On success the lock stays of the key that it is of now, for the caller to
 * check which that is, and then lm_wait() or lm_leave().
 *
 * Return: false when the lock is not held.
 */
static inline bool lm_enqueue(struct lm_lock *lock, struct wait_queue_head *wq,
			      struct lm_waiter *waiter, u64 self)
{
	unsigned long flags;
	bool held;
	u64 old;

	*waiter = (struct lm_waiter) { .lock = lock, .self = self, .since = ktime_get_ns() };
	init_waitqueue_func_entry(&waiter->wait, lm_wake_function);
	waiter->wait.private = current;

	spin_lock_irqsave(&wq->lock, flags);
	old = atomic64_read(&lock->word);
	do {
		held = old & LM_LOCKED;
	} while (held && !atomic64_try_cmpxchg(&lock->word, &old, old | LM_WAITERS));
	if (held)
		__add_wait_queue_entry_tail_exclusive(wq, &waiter->wait);
	spin_unlock_irqrestore(&wq->lock, flags);
	return held;
}

/*
 * Take the lock from within the queue, or know that it was granted. Other bits
 * of the word may change under us, which must not make us sleep for a free lock.
 */
static inline bool lm_acquire_queued(struct wait_queue_head *wq, struct lm_waiter *waiter)
{
	u64 old;

	if (waiter->result != LM_WAITING)
		return waiter->result == LM_GRANTED;
	old = atomic64_read(&waiter->lock->word);
	do {
		if (old & LM_LOCKED)
			return false;
		/* (A), (B) as in lm_acquire(). */
	} while (!atomic64_try_cmpxchg(&waiter->lock->word, &old, old | LM_LOCKED | waiter->self));
	lm_dequeue(wq, waiter);
	waiter->result = LM_GRANTED;
	return true;
}

/*
 * Ask for a hand-off, if it is the caller's turn.
 *
 * Return: the word, with LM_LOCKED, if somebody will hand over; else 0.
 */
static inline u64 lm_ask_hand_off(struct wait_queue_head *wq, struct lm_waiter *waiter)
{
	u64 old;

	if (waiter->result != LM_WAITING || lm_first_waiter(wq, waiter->lock) != waiter)
		return 0;
	old = atomic64_fetch_or(LM_HANDOFF, &waiter->lock->word);
	return old & LM_LOCKED ? old : 0;
}

/*
 * The hand-over may be near: spin, without the queue's lock. @old is of before
 * that was dropped, or we might come to spin for ourselves. RCU keeps the word's
 * memory should it die meanwhile.
 */
static inline void lm_spin_queued(struct wait_queue_head *wq, struct lm_waiter *waiter, u64 old)
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
 * @wq: the queue
 * @waiter: from lm_enqueue()
 *
 * Return: false when the lock was granted meanwhile, so that the caller has it.
 */
static inline bool lm_leave(struct wait_queue_head *wq, struct lm_waiter *waiter)
{
	unsigned long flags;

	spin_lock_irqsave(&wq->lock, flags);
	if (waiter->result == LM_WAITING) {
		lm_dequeue(wq, waiter);
		/* The wakeup was for whoever is first. */
		if (waiter->woken)
			lm_wake_locked(wq, waiter->lock);
	}
	spin_unlock_irqrestore(&wq->lock, flags);
	return waiter->result != LM_GRANTED;
}

/*
 * Make the next unlock wake somebody again, before looking at the lock.
 *
 * (D) pairs with lm_has_to_wake(). All of it is one word, which needs no barrier.
 * Return: whether the caller was woken.
 */
static inline bool lm_clear_woken(struct lm_waiter *waiter)
{
	if (!waiter->woken || waiter->result != LM_WAITING)
		return false;
	waiter->woken = false;
	atomic64_andnot(LM_WOKEN, &waiter->lock->word);
	return true;
}

/* Whether a waiter that did not get the lock should sleep: 0, or why not. */
static inline int lm_may_sleep(struct lm_waiter *waiter, unsigned int state, long timeout)
{
	if (waiter->result == LM_GONE)
		return -EAGAIN;
	if (signal_pending_state(state, current))
		return -EINTR;
	if (!timeout)
		return -ETIMEDOUT;
	return hlist_unhashed(&waiter->blocked_node) ? lm_block(waiter) : 0;
}

/**
 * lm_wait() - sleep until the lock is the caller's
 * @wq: the queue
 * @waiter: from lm_enqueue(); after an error to be given to lm_leave()
 * @state: how to sleep
 * @timeout: for how long, in jiffies; MAX_SCHEDULE_TIMEOUT for ever
 *
 * Return: 0 when the caller has the lock, -EAGAIN when the word died,
 * -EDEADLK when the wait would never end, -EINTR, -ETIMEDOUT.
 */
static inline int lm_wait(struct wait_queue_head *wq, struct lm_waiter *waiter,
			  unsigned int state, long timeout)
{
	u64 old;
	int err;

	spin_lock_irq(&wq->lock);
	for (;;) {
		bool lost = lm_clear_woken(waiter);

		if (lm_acquire_queued(wq, waiter)) {
			err = 0;
			break;
		}
		waiter->lost += lost;
		old = lost ? lm_ask_hand_off(wq, waiter) : 0;
		if (old && timeout == MAX_SCHEDULE_TIMEOUT) {
			lm_spin_queued(wq, waiter, old);
			continue;
		}
		err = lm_may_sleep(waiter, state, timeout);
		if (err)
			break;
		set_current_state(state);
		spin_unlock_irq(&wq->lock);
		timeout = schedule_timeout(timeout);
		spin_lock_irq(&wq->lock);
	}
	__set_current_state(TASK_RUNNING);
	spin_unlock_irq(&wq->lock);
	return err;
}

#endif /* _LOCKMAP_LOCK_H */
