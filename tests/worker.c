// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Threads of a case: begin, end, and how a case sees that one of them waits
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include <kunit/test-bug.h>

#include "worker.h"

const struct ending lmtest_endings[NR_ENDINGS] = {
	{ OP_LOCK_INTERRUPTIBLE, SIGUSR1, -EINTR },
	{ OP_LOCK_INTERRUPTIBLE, SIGKILL, -EINTR },
	{ OP_LOCK_KILLABLE, SIGKILL, -EINTR },
	{ OP_LOCK_TIMEOUT, 0, -ETIMEDOUT },
	{ OP_BATCH_INTERRUPTIBLE, SIGUSR1, -EINTR },
	{ OP_BATCH_INTERRUPTIBLE, SIGKILL, -EINTR },
	{ OP_BATCH_KILLABLE, SIGKILL, -EINTR },
	{ OP_BATCH_TIMEOUT, 0, -ETIMEDOUT },
	{ OP_LOCK_SHARED_INTERRUPTIBLE, SIGUSR1, -EINTR },
	{ OP_LOCK_SHARED_INTERRUPTIBLE, SIGKILL, -EINTR },
	{ OP_LOCK_SHARED_KILLABLE, SIGKILL, -EINTR },
	{ OP_LOCK_SHARED_TIMEOUT, 0, -ETIMEDOUT },
	{ OP_BATCH_SHARED_INTERRUPTIBLE, SIGUSR1, -EINTR },
	{ OP_BATCH_SHARED_KILLABLE, SIGKILL, -EINTR },
	{ OP_BATCH_SHARED_TIMEOUT, 0, -ETIMEDOUT },
};

/*
 * Begin and end
 */

static int worker_main(void *arg)
{
	struct worker *w = arg;

	allow_signal(SIGUSR1);
	allow_signal(SIGKILL);
	w->ret = w->fn(w);
	flush_signals(current);
	complete(&w->done);
	return 0;
}

static void stop_worker(void *arg)
{
	struct worker *w = arg;
	struct fixture *fx = w->fx;

	WRITE_ONCE(fx->stop, true);
	complete_all(&fx->gate);
	/* One that is stuck may keep all others: they need not be waited for as long. */
	if (!wait_for_completion_timeout(&w->done, fx->stuck ? HZ / 10 : PATIENCE)) {
		KUNIT_FAIL(kunit_get_current_test(), "%s, thread %u hangs", w->what, w->id);
		fx->stuck = true;
		return;
	}
	kthread_stop(w->task);
	put_task_struct(w->task);
	list_del(&w->node);
	kfree(w);
}

/* Make a worker that can be told what to do before it is started. */
struct worker *lmtest_worker_create(struct kunit *test, int (*fn)(struct worker *w),
				    struct lockmap *map, const char *what)
{
	struct fixture *fx = test->priv;
	struct worker *w = kzalloc(sizeof(*w), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, w);
	init_completion(&w->done);
	w->fx = fx;
	w->fn = fn;
	w->map = map;
	w->what = what;
	w->id = fx->nr_workers++;
	w->timeout = PATIENCE;
	prandom_seed_state(&w->rnd, w->id + 1);
	return w;
}

struct worker *lmtest_worker_start(struct kunit *test, struct worker *w)
{
	struct task_struct *task = kthread_create(worker_main, w, "lockmap_test/%u", w->id);

	if (IS_ERR(task))
		kfree(w);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	w->task = get_task_struct(task);
	list_add_tail(&w->node, &w->fx->workers);
	wake_up_process(task);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, stop_worker, w), 0);
	return w;
}

/* Wait for a thread to end. Return: what it returned. */
int lmtest_join(struct kunit *test, struct worker *w)
{
	unsigned long left = wait_for_completion_timeout(&w->done, PATIENCE);

	KUNIT_ASSERT_NE_MSG(test, left, 0, "%s, thread %u does not come back", w->what, w->id);
	complete_all(&w->done);
	return w->ret;
}

/* Wait for all threads to end, each of which has to return 0. */
void lmtest_join_all(struct kunit *test)
{
	struct fixture *fx = test->priv;
	struct worker *w;

	list_for_each_entry(w, &fx->workers, node)
		KUNIT_EXPECT_EQ_MSG(test, lmtest_join(test, w), 0, "%s, thread %u", w->what,
				    w->id);
}

/* Free the threads that were started so far, so that sums and the gate begin anew. */
void lmtest_release_workers(struct kunit *test)
{
	struct fixture *fx = test->priv;
	struct worker *w, *next;

	list_for_each_entry_safe(w, next, &fx->workers, node) {
		lmtest_join(test, w);
		kunit_release_action(test, stop_worker, w);
	}
	WRITE_ONCE(fx->stop, false);
	reinit_completion(&fx->gate);
}

unsigned long lmtest_sum_counts(struct kunit *test)
{
	struct fixture *fx = test->priv;
	unsigned long sum = 0;
	struct worker *w;

	list_for_each_entry(w, &fx->workers, node)
		sum += w->count;
	return sum;
}

unsigned long lmtest_sum_errors(struct kunit *test)
{
	struct fixture *fx = test->priv;
	unsigned long sum = 0;
	struct worker *w;

	list_for_each_entry(w, &fx->workers, node)
		sum += w->errors;
	return sum;
}

/*
 * The gate, and the end of loops
 */

/* Threads that have to run against each other wait at the gate, and start together. */
void lmtest_wait_at_gate(struct worker *w)
{
	wait_for_completion_timeout(&w->fx->gate, PATIENCE);
}

void lmtest_open_gate(struct kunit *test)
{
	struct fixture *fx = test->priv;

	complete_all(&fx->gate);
}

/* Tell all threads to end their loops. */
void lmtest_stop_workers(struct kunit *test)
{
	struct fixture *fx = test->priv;

	WRITE_ONCE(fx->stop, true);
}

/* Whether the thread has to end its loop; also lets others run. */
bool lmtest_must_stop(const struct worker *w)
{
	resched_if_needed();
	return READ_ONCE(w->fx->stop);
}

/*
 * Waits
 */

/* A thread says this right before the call that has to wait. */
void lmtest_about_to_wait(struct worker *w)
{
	WRITE_ONCE(w->about_to_wait, true);
}

/* Whether the thread waits in its call: it is asleep, and a while later was not woken once. */
static bool is_waiting(struct worker *w)
{
	unsigned long end = jiffies + PATIENCE;

	while (time_before(jiffies, end) && !completion_done(&w->done)) {
		if (READ_ONCE(w->about_to_wait) && !task_is_running(w->task)) {
			unsigned long switches = READ_ONCE(w->task->nvcsw);

			usleep_range(1000, 1500);
			if (!completion_done(&w->done) && !task_is_running(w->task) &&
			    READ_ONCE(w->task->nvcsw) == switches)
				return true;
		}
		usleep_range(100, 200);
	}
	return false;
}

void lmtest_expect_waiting(struct kunit *test, struct worker *w)
{
	KUNIT_EXPECT_TRUE_MSG(test, is_waiting(w), "%s, thread %u does not wait", w->what, w->id);
}

/*
 * Threads that make one call
 */

static int run_op(struct worker *w)
{
	u64 key = w->key;

	lmtest_about_to_wait(w);
	return lmtest_do_op(w->map, w->op, &key, sizeof(key), w->timeout, &w->count);
}

/* Start a thread that does something with a key, and unlocks it if that locked it. */
struct worker *lmtest_start_op(struct kunit *test, struct lockmap *map, enum op op, u64 n,
			       unsigned long timeout)
{
	struct worker *w = lmtest_worker_create(test, run_op, map, lmtest_op_name[op]);

	w->op = op;
	w->key = n;
	w->timeout = timeout;
	return lmtest_worker_start(test, w);
}

static int run_batch(struct worker *w)
{
	lmtest_about_to_wait(w);
	return batch_error(lmtest_batch_by(w->map, w->op, w->arg, w->nr, w->timeout));
}

/* Start a thread that locks a batch of keys and unlocks it. */
struct worker *lmtest_start_batch(struct kunit *test, struct lockmap *map, enum op op,
				  struct lockmap_key *keys, unsigned int nr, unsigned long timeout)
{
	struct worker *w = lmtest_worker_create(test, run_batch, map, lmtest_op_name[op]);

	w->op = op;
	w->arg = keys;
	w->nr = nr;
	w->timeout = timeout;
	return lmtest_worker_start(test, w);
}

static int unlock_entry(struct worker *w)
{
	lockmap_unlock(w->arg);
	return 0;
}

static int unlock_batch(struct worker *w)
{
	lockmap_batch_unlock(w->arg);
	return 0;
}

static void run_elsewhere(struct kunit *test, int (*fn)(struct worker *w), void *arg)
{
	struct worker *w = lmtest_worker_create(test, fn, NULL, "unlock elsewhere");

	w->arg = arg;
	lmtest_worker_start(test, w);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
}

/* Have another task unlock a key. */
void lmtest_unlock_elsewhere(struct kunit *test, struct lockmap_entry *entry)
{
	run_elsewhere(test, unlock_entry, entry);
}

void lmtest_batch_unlock_elsewhere(struct kunit *test, struct lockmap_batch *batch)
{
	run_elsewhere(test, unlock_batch, batch);
}
