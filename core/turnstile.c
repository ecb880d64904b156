// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Turnstiles: where the tasks that wait for a lock stand.
 *
 * The module has one table of buckets, which are wait queues. A bucket is picked
 * by the address of the lock. On its queue stands one waiter of each contended
 * lock: the head. The other waiters of the lock hang behind the head, in a row of
 * their own. So what a task does for one lock takes no longer when more tasks
 * wait for another lock, also in the same bucket: it looks at heads alone.
 * (kernel/locking/rtmutex.c keeps a tree of waiters a lock for the same end; the
 * name is that of Solaris' queues of blocked threads.)
 *
 * The bits WOKEN and HANDOFF of the word are about the head. When the head
 * leaves, the next in the row takes its place; the last one clears WAITERS.
 *
 * A bucket's own lock protects its queue and the rows behind its heads.
 */
#include <linux/hash.h>
#include <linux/init.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "types.h"

/* The table has so many buckets for each CPU, ... */
#define LM_BUCKETS_PER_CPU	256
/* ... and takes so many bytes at most. */
#define LM_BUCKETS_SIZE		SZ_1M

/* A wait queue with a cache line of its own. */
struct lm_bucket {
	wait_queue_head_t wq;
} ____cacheline_aligned_in_smp;

static struct lm_bucket *lm_buckets;
static unsigned int lm_bucket_bits;

static unsigned int lm_nr_buckets;
module_param_named(wait_buckets, lm_nr_buckets, uint, 0444);
MODULE_PARM_DESC(wait_buckets, "Number of queues for waiting tasks, rounded up to a power of two; 1 for tests (default: by CPUs)");

static struct wait_queue_head *lm_bucket(const struct lm_lock *lock)
{
	return &lm_buckets[lm_bucket_bits ? hash_ptr(lock, lm_bucket_bits) : 0].wq;
}

/* The first waiter of a lock; %NULL if no task waits for it. */
static struct lm_waiter *lm_head(struct wait_queue_head *wq, const struct lm_lock *lock)
{
	struct lm_waiter *waiter;

	lockdep_assert_held(&wq->lock);
	list_for_each_entry(waiter, &wq->head, wait.entry) {
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
		list_del_init(&head->wait.entry);
	} else {
		next = list_next_entry(head, row);
		next->head = true;
		list_replace_init(&head->wait.entry, &next->wait.entry);
	}
	head->head = false;
	return next;
}

/*
 * Take a waiter out of its row, and from the word the bits that were set for it.
 *
 * Return: the new head, if the waiter was the old one and others wait.
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
	}
	list_del_init(&waiter->row);
	if (gone)
		atomic64_andnot(gone, &waiter->lock->word);
	return next;
}

/* Join the row behind a head, or be the head. */
static void lm_join(struct wait_queue_head *wq, struct lm_waiter *head, struct lm_waiter *waiter)
{
	if (head) {
		list_add_tail(&waiter->row, &head->row);
		return;
	}
	waiter->head = true;
	__add_wait_queue_entry_tail(wq, &waiter->wait);
}

static int __init lm_turnstiles_init(void)
{
	unsigned int i, nr = lm_nr_buckets ?: LM_BUCKETS_PER_CPU * num_online_cpus();

	nr = roundup_pow_of_two(clamp(nr, 1U, (unsigned int)(LM_BUCKETS_SIZE / sizeof(*lm_buckets))));
	nr = min(nr, (unsigned int)rounddown_pow_of_two(LM_BUCKETS_SIZE / sizeof(*lm_buckets)));
	lm_buckets = kvcalloc(nr, sizeof(*lm_buckets), GFP_KERNEL);
	if (!lm_buckets)
		return -ENOMEM;
	for (i = 0; i < nr; i++)
		init_waitqueue_head(&lm_buckets[i].wq);
	lm_bucket_bits = ilog2(nr);
	lm_nr_buckets = nr;
	return 0;
}

static void lm_turnstiles_exit(void)
{
	kvfree(lm_buckets);
}
