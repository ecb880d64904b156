// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Call the functions of requests that were granted a lock.
 *
 * A request is granted by whoever unlocks, and its function may unlock in turn,
 * which grants the next one, and so on. If each unlock called the functions of what
 * it granted, a chain of requests would need a stack as long as itself. So only the
 * outermost unlock of a context calls: it has a dispatcher on its stack, and an
 * unlock inside of a function finds that and hangs its requests there.
 *
 * A context is a task, or a softirq that runs on top of a task. A dispatcher is used
 * by its own context alone; only the table of dispatchers needs a lock.
 */
#include <linux/hash.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

#include "compat.h"
#include "types.h"

#define LM_DISPATCHER_BUCKETS	64

/**
 * struct lm_dispatcher - what a context that grants requests has on its stack
 * @node: in the table; by the lock of the bucket
 * @task: the context, as is @softirq; constant
 * @softirq: it is a softirq on top of @task
 * @granted: requests whose functions are to be called, by &lm_waiter.row; the context's own
 */
struct lm_dispatcher {
	struct hlist_node node;
	struct task_struct *task;
	bool softirq;
	struct list_head granted;
};

/**
 * struct lm_dispatcher_bucket - contexts that call functions of requests now
 * @lock: protects the list; taken in softirq, too
 * @dispatchers: linked by &lm_dispatcher.node
 */
struct lm_dispatcher_bucket {
	spinlock_t lock;	/* protects the list; taken in softirq, too */
	struct hlist_head dispatchers;
};

static struct lm_dispatcher_bucket lm_dispatchers[LM_DISPATCHER_BUCKETS];

static struct lm_dispatcher_bucket *lm_dispatcher_bucket(void)
{
	return &lm_dispatchers[hash_ptr(current, ilog2(LM_DISPATCHER_BUCKETS))];
}

/* The dispatcher of the caller's context; %NULL if the caller is no function of a request. */
static struct lm_dispatcher *lm_find_dispatcher(void)
{
	struct lm_dispatcher_bucket *bucket = lm_dispatcher_bucket();
	bool softirq = in_serving_softirq();
	struct lm_dispatcher *dispatcher;
	unsigned long flags;

	spin_lock_irqsave(&bucket->lock, flags);
	hlist_for_each_entry(dispatcher, &bucket->dispatchers, node) {
		if (dispatcher->task == current && dispatcher->softirq == softirq)
			break;
	}
	spin_unlock_irqrestore(&bucket->lock, flags);
	return dispatcher;
}

static void lm_dispatcher_add(struct lm_dispatcher *dispatcher)
{
	struct lm_dispatcher_bucket *bucket = lm_dispatcher_bucket();
	unsigned long flags;

	spin_lock_irqsave(&bucket->lock, flags);
	hlist_add_head(&dispatcher->node, &bucket->dispatchers);
	spin_unlock_irqrestore(&bucket->lock, flags);
}

static void lm_dispatcher_remove(struct lm_dispatcher *dispatcher)
{
	struct lm_dispatcher_bucket *bucket = lm_dispatcher_bucket();
	unsigned long flags;

	spin_lock_irqsave(&bucket->lock, flags);
	hlist_del(&dispatcher->node);
	spin_unlock_irqrestore(&bucket->lock, flags);
}

/* The request may be gone when its function returns. */
static void lm_call_granted(struct lm_waiter *waiter)
{
	struct lockmap_request *req = lm_request(waiter);

	list_del(&waiter->row);
	req->granted(req, container_of(waiter->lock, struct lockmap_entry, lock));
}

/**
 * lm_dispatch() - call the functions of granted requests, and of all that they grant
 * @granted: by &lm_waiter.row; empty afterwards
 *
 * Inside of such a function, only note the requests: the outermost call comes to them.
 *
 * Context: No lock of lockmap held.
 */
static void lm_dispatch(struct list_head *granted)
{
	struct lm_dispatcher own, *outer;

	if (list_empty(granted))
		return;
	outer = lm_find_dispatcher();
	if (outer) {
		list_splice_tail_init(granted, &outer->granted);
		return;
	}
	own.task = current;
	own.softirq = in_serving_softirq();
	INIT_LIST_HEAD(&own.granted);
	list_splice_tail_init(granted, &own.granted);
	lm_dispatcher_add(&own);
	while (!list_empty(&own.granted))
		lm_call_granted(list_first_entry(&own.granted, struct lm_waiter, row));
	lm_dispatcher_remove(&own);
}

static void __init lm_dispatch_init(void)
{
	unsigned int i;

	for (i = 0; i < LM_DISPATCHER_BUCKETS; i++)
		spin_lock_init(&lm_dispatchers[i].lock);
}
