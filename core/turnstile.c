// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Turnstiles: where those who wait for a lock stand, and how they are let in.
 *
 * The module has one table of buckets. A bucket is picked by the address of the
 * lock. In its list stands one waiter of each contended lock: the head. The other
 * waiters of the lock hang behind the head, in a row of their own. So what a task
 * does for one lock takes no longer when more tasks wait for another lock, also in
 * the same bucket: it looks at heads alone. (kernel/locking/rtmutex.c keeps a tree
 * of waiters a lock for the same end; the name is that of Solaris' queues of blocked
 * threads.)
 *
 * A waiter is a task or a request, and waits to have the lock for itself or to share
 * it. All stand in one row, in the order in which they came. The bits WOKEN and
 * HANDOFF of the word are about the head. When the head leaves, the next in the row
 * takes its place; the last one clears WAITERS.
 *
 * A task that is the head is woken when the lock becomes free, and takes it by
 * itself, or loses it to a newcomer. These do not wait to be woken, but are served
 * here as soon as they are the head, by whoever made them that:
 *
 * - one that wants to share a lock that is shared already;
 * - a request. It has no task that could compete, so while it is the head HANDOFF
 *   is set, and the lock never becomes free.
 *
 * A bucket's lock protects its list and the rows behind its heads. It is held with
 * interrupts off, for LM_SERVE_MOST waiters at most in one section. Tasks are woken
 * and functions of requests are called when it was dropped.
 */
#include <linux/atomic.h>
#include <linux/hash.h>
#include <linux/init.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "types.h"

/* The table has so many buckets for each CPU, ... */
#define LM_BUCKETS_PER_CPU	256
/* ... and takes so many bytes at most. */
#define LM_BUCKETS_SIZE		SZ_1M
/* So many waiters are served or sent away in one section of a bucket's lock. */
#define LM_SERVE_MOST		16

/**
 * struct lm_bucket - waiters of some locks
 * @lock: protects what the list leads to
 * @heads: the first waiter of each lock, by &lm_waiter.turnstile
 */
struct lm_bucket {
	spinlock_t lock;	/* protects the list, and all that it leads to */
	struct list_head heads;
} ____cacheline_aligned_in_smp;

/**
 * struct lm_served - whom to tell, once the bucket's lock was dropped; on the stack
 * @nr: number of waiters that were served in this section
 * @more: there may be more to serve
 * @nr_tasks: number of tasks to wake
 * @task: them, with a reference to each
 * @requests: those that were granted the lock, by &lm_waiter.row
 */
struct lm_served {
	unsigned int nr;
	bool more;
	unsigned int nr_tasks;
	struct task_struct *task[LM_SERVE_MOST];
	struct list_head requests;
};

static struct lm_bucket *lm_buckets;
static unsigned int lm_bucket_bits;

static unsigned int lm_nr_buckets;
module_param_named(wait_buckets, lm_nr_buckets, uint, 0444);
MODULE_PARM_DESC(wait_buckets, "Number of lists of waiters, rounded up to a power of two; 1 for tests (default: by CPUs)");

static struct lm_bucket *lm_bucket(const struct lm_lock *lock)
{
	return &lm_buckets[lm_bucket_bits ? hash_ptr(lock, lm_bucket_bits) : 0];
}

static void lm_served_init(struct lm_served *served)
{
	served->nr = 0;
	served->more = false;
	served->nr_tasks = 0;
	INIT_LIST_HEAD(&served->requests);
}

/* The first waiter of a lock; %NULL if nobody waits for it. */
static struct lm_waiter *lm_head(struct lm_bucket *bucket, const struct lm_lock *lock)
{
	struct lm_waiter *waiter;

	lockdep_assert_held(&bucket->lock);
	list_for_each_entry(waiter, &bucket->heads, turnstile) {
		if (waiter->lock == lock)
			return waiter;
	}
	return NULL;
}

/* Let the next in the row take the place of the head. Return: that one; %NULL if it was alone. */
static struct lm_waiter *lm_replace_head(struct lm_waiter *head)
{
	struct lm_waiter *next = NULL;

	if (list_empty(&head->row)) {
		list_del_init(&head->turnstile);
	} else {
		next = list_next_entry(head, row);
		next->head = true;
		list_replace_init(&head->turnstile, &next->turnstile);
	}
	head->head = false;
	return next;
}

/*
 * Take a waiter out of its row, and from the word the bits that were set for it.
 *
 * Return: the new head, if the waiter was the old one and others wait: the caller has
 * to lm_serve() it.
 */
static struct lm_waiter *lm_dequeue(struct lm_waiter *waiter)
{
	struct lm_waiter *next = NULL;
	u64 gone = 0;

	lockdep_assert_held(&lm_bucket(waiter->lock)->lock);
	if (waiter->head) {
		gone = LM_HANDOFF | LM_WOKEN;
		next = lm_replace_head(waiter);
		if (!next)
			gone |= LM_WAITERS;
		else if (!next->task)
			gone = LM_WOKEN;	/* it asks for a hand-off, at once */
	}
	list_del_init(&waiter->row);
	if (gone == LM_WOKEN)
		atomic64_or(LM_HANDOFF, &waiter->lock->word);
	if (gone)
		atomic64_andnot(gone, &waiter->lock->word);
	return next;
}

/* Tell a waiter how its wait ended. It may read that without the bucket's lock. */
static void lm_set_result(struct lm_waiter *waiter, enum lm_wait_result result)
{
	WRITE_ONCE(waiter->result, result);
}

/*
 * End the wait of one that was dequeued. A task is to be woken, unless it was; a
 * request is to be called, unless lockmap_lock_async() is still at it, and will see.
 */
static void lm_end_wait(struct lm_waiter *waiter, enum lm_wait_result result,
			struct lm_served *served)
{
	struct task_struct *task = waiter->task;

	if (task && !waiter->woken) {
		get_task_struct(task);
		served->task[served->nr_tasks++] = task;
	} else if (!task && waiter->armed) {
		list_add_tail(&waiter->row, &served->requests);
	}
	served->nr++;
	lm_set_result(waiter, result);
}

/* The word of a free lock, or of one that is shared, once it is the waiter's, too. */
static u64 lm_word_granted(u64 word, const struct lm_waiter *waiter)
{
	return waiter->shared ? lm_word_shared(word) : word | LM_LOCKED | waiter->owner;
}

/* Let the head in if that is possible, and not up to itself; see the opening comment. */
static bool lm_let_in(struct lm_waiter *head)
{
	u64 old = atomic64_read(&head->lock->word);

	do {
		if (head->task ? !(head->shared && lm_word_may_join(old)) : !lm_word_free(old))
			return false;
		/* (A), (B) as in lm_acquire(). */
	} while (!atomic64_try_cmpxchg(&head->lock->word, &old, lm_word_granted(old, head)));
	return true;
}

/* Let in whoever is at the front, and can be. Comes after each change of the head. */
static void lm_serve(struct lm_bucket *bucket, struct lm_lock *lock, struct lm_served *served)
{
	struct lm_waiter *head = lm_head(bucket, lock), *next;

	while (head) {
		served->more = served->nr == LM_SERVE_MOST;
		if (served->more || !lm_let_in(head))
			return;
		/* The lock was taken first: WAITERS kept its memory until then. */
		next = lm_dequeue(head);
		lm_end_wait(head, LM_GRANTED, served);
		head = next;
	}
}

/*
 * Give the lock from its last holder to the head. @set is as in lm_word_unlocked().
 * The holder does no more after this.
 */
static void lm_grant(struct lm_waiter *head, u64 set, struct lm_served *served)
{
	u64 old = atomic64_read(&head->lock->word), new;

	do {
		new = old & ~(LM_SHARED | LM_OWNER);
		if (old & LM_LOCKED)
			new = ((new & ~(LM_LOCKED | LM_VALUE)) | (set & LM_VALUE)) + LM_VERSION_ONE;
		new = lm_word_granted(new, head);
		/* (A), (B) as in lm_acquire(), and (B) as at an unlock. */
	} while (!atomic64_try_cmpxchg(&head->lock->word, &old, new));
	head->handed_over = true;
	lm_dequeue(head);
	lm_end_wait(head, LM_GRANTED, served);
}

static void lm_tell_served(struct lm_served *served)
{
	unsigned int i;

	for (i = 0; i < served->nr_tasks; i++) {
		wake_up_process(served->task[i]);
		put_task_struct(served->task[i]);
	}
	lm_dispatch(&served->requests);
}

/* Wake the head, if it is a task: it may take the lock. */
static void lm_wake_head(struct lm_bucket *bucket, const struct lm_lock *lock)
{
	struct lm_waiter *head = lm_head(bucket, lock);

	if (!head || !head->task || head->woken)
		return;
	WRITE_ONCE(head->woken, true);
	atomic64_or(LM_WOKEN, &head->lock->word);
	/* The task is still there: it needs the bucket's lock to return. */
	wake_up_process(head->task);
}

/*
 * Serve those for which one section was too short. A task at the front is woken, joins
 * by itself, and serves others in its turn: so no unlock is kept busy by sharers that
 * come back as fast as they are let in.
 */
static void lm_serve_more(struct lm_lock *lock, struct lm_served *served)
{
	struct lm_bucket *bucket = lm_bucket(lock);
	struct lm_waiter *head;
	unsigned long flags;

	lm_served_init(served);
	spin_lock_irqsave(&bucket->lock, flags);
	head = lm_head(bucket, lock);
	if (head && !head->task)
		lm_serve(bucket, lock, served);
	else if (head && head->shared)
		lm_wake_head(bucket, lock);
	spin_unlock_irqrestore(&bucket->lock, flags);
	lm_tell_served(served);
}

/*
 * Tell those who were served in a section of the bucket's lock.
 *
 * Context: Any that may unlock, with no bucket locked. Functions of requests are
 * called: not in an RCU section, as there may be many.
 */
static void lm_serve_rest(struct lm_lock *lock, struct lm_served *served)
{
	lm_tell_served(served);
	if (served->more)
		lm_serve_more(lock, served);
}

/* Whether a lock with this word is not to be had at once. */
static bool lm_has_to_wait(u64 word, bool shared)
{
	if (!shared)
		return lm_word_held(word);
	return lm_word_held(word) && (!lm_word_may_join(word) || (word & LM_WAITERS));
}

/**
 * lm_enqueue() - join the row of those who wait for a lock
 * @waiter: the waiter, with what it wants
 *
 * On success the lock stays that of the key that it is of now. The caller has to
 * check which key that is, and then to wait, or to lm_leave().
 *
 * Context: RCU read side, which keeps the lock's memory; it may be of another key.
 * Return: false when there is nothing to wait for.
 */
static bool lm_enqueue(struct lm_waiter *waiter)
{
	struct lm_lock *lock = waiter->lock;
	struct lm_bucket *bucket = lm_bucket(lock);
	u64 old, new, ask = waiter->task ? 0 : LM_HANDOFF;
	struct lm_waiter *head;
	unsigned long flags;
	bool wait;

	spin_lock_irqsave(&bucket->lock, flags);
	old = atomic64_read(&lock->word);
	do {
		wait = lm_has_to_wait(old, waiter->shared);
		/* A request that becomes the head asks for a hand-off. */
		new = old | LM_WAITERS | (old & LM_WAITERS ? 0 : ask);
	} while (wait && new != old && !atomic64_try_cmpxchg(&lock->word, &old, new));
	if (wait) {
		head = old & LM_WAITERS ? lm_head(bucket, lock) : NULL;
		waiter->head = !head;
		if (head)
			list_add_tail(&waiter->row, &head->row);
		else
			list_add_tail(&waiter->turnstile, &bucket->heads);
	}
	spin_unlock_irqrestore(&bucket->lock, flags);
	return wait;
}

/**
 * lm_leave() - leave the row without the lock
 * @waiter: after lm_enqueue(); if it is an armed request whose wait has ended, not to be
 *	touched any more
 * @served: for lm_serve_rest(), which the caller has to call after its RCU section
 *
 * Return: how the wait had ended; LM_WAITING: it has ended now.
 */
static enum lm_wait_result lm_leave(struct lm_waiter *waiter, struct lm_served *served)
{
	struct lm_lock *lock = waiter->lock;
	struct lm_bucket *bucket = lm_bucket(lock);
	enum lm_wait_result result;
	unsigned long flags;

	lm_served_init(served);
	spin_lock_irqsave(&bucket->lock, flags);
	result = waiter->result;
	if (result == LM_WAITING) {
		if (lm_dequeue(waiter))
			lm_serve(bucket, lock, served);
		/* The wakeup was for the head, whichever that is. */
		if (waiter->woken)
			lm_wake_head(bucket, lock);
		/* Nobody else takes a task out of the row again. */
		if (!waiter->task)
			lm_set_result(waiter, LM_GONE);
	}
	spin_unlock_irqrestore(&bucket->lock, flags);
	return result;
}

static int __init lm_turnstiles_init(void)
{
	const unsigned int most = rounddown_pow_of_two(LM_BUCKETS_SIZE / sizeof(*lm_buckets));
	unsigned int i, nr = lm_nr_buckets ?: LM_BUCKETS_PER_CPU * num_online_cpus();

	nr = roundup_pow_of_two(clamp(nr, 1U, most));
	lm_buckets = kvcalloc(nr, sizeof(*lm_buckets), GFP_KERNEL);
	if (!lm_buckets)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		spin_lock_init(&lm_buckets[i].lock);
		INIT_LIST_HEAD(&lm_buckets[i].heads);
	}
	lm_bucket_bits = ilog2(nr);
	lm_nr_buckets = nr;
	return 0;
}

static void lm_turnstiles_exit(void)
{
	kvfree(lm_buckets);
}
