// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The tasks and timers of the test: main.c says what each of them does
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "torture.h"

struct lmt_actor *lmt_workers, *lmt_timers, *lmt_unlocker, *lmt_creator, *lmt_crowd;
unsigned long lmt_signals_sent;
DECLARE_WAIT_QUEUE_HEAD(lmt_phase_wq);
static struct task_struct *lmt_signaller;

/*
 * Workers
 */

/* Rest until the next phase begins. Return: false when the test is over. */
bool lmt_wait_for_phase(struct lmt_actor *a)
{
	do {
		/* All operations end before the rest begins; pairs with lmt_find_active(). */
		smp_store_release(&a->parked, true);
		wait_event(lmt_phase_wq, !READ_ONCE(lmt_paused) || kthread_should_stop());
		/* Either this worker sees lmt_paused, or lmt_find_active() sees this worker. */
		smp_store_mb(a->parked, false);
	} while (READ_ONCE(lmt_paused) && !kthread_should_stop());
	return !kthread_should_stop();
}

static int lmt_worker(void *arg)
{
	struct lmt_actor *a = arg;
	unsigned int i, r;

	allow_signal(SIGINT);
	allow_signal(SIGKILL);
	lmt_fail_allocations(true);
	while (lmt_wait_for_phase(a)) {
		for (i = 0; i < LMT_BURST && !READ_ONCE(lmt_stop); i++) {
			r = lmt_rnd(a) % 4;
			a->op = r < 2 ? lmt_phase.ops[r] : lmt_pick_op(&a->rnd);
			a->op->fn(a);
			a->ops[a->op - lmt_ops]++;
			if (need_resched())
				schedule();
		}
		if (signal_pending(current))
			flush_signals(current);
		if (need_resched())
			schedule();
	}
	return 0;
}

/*
 * Actors that unlock for others
 */

/* Unlock an entry that no task owns; the shadow still names @holder, or counts it. */
static void lmt_unlock_for(struct lmt_actor *a, struct lmt_map *m, struct lockmap_entry *entry,
			   bool shared, unsigned int holder)
{
	unsigned int index = lmt_entry_index(m, entry);

	if (shared) {
		lmt_unlock_shared(a, m, index, entry);
		return;
	}
	lmt_shadow_drop(a, holder, m, index);
	lockmap_unlock(entry);
}

/* Unlock what workers disowned. The first timer does it for one worker of eight. */
static void lmt_unlock_disowned(struct lmt_actor *a, bool softirq)
{
	struct lockmap_entry *entry;
	struct lmt_actor *from;
	unsigned int i;

	for (i = 0; i < lmt_nr_workers; i++) {
		from = &lmt_workers[i];
		/* Pairs with lmt_op_disown(). */
		entry = smp_load_acquire(&from->disowned);
		if (!entry || softirq != (lmt_nr_timers && from->id % 8 == 0))
			continue;
		lmt_unlock_for(a, from->disowned_map, entry, from->disowned_shared, from->id);
		/* Pairs with lmt_find_active(). From now on the worker may disown another entry. */
		smp_store_release(&from->disowned, NULL);
		a->unlocked_others++;
	}
}

static int lmt_unlocker_fn(void *arg)
{
	while (!kthread_should_stop()) {
		lmt_unlock_disowned(arg, false);
		lmt_unlock_granted();
		usleep_range(20, 200);
	}
	return 0;
}

/*
 * Timers
 */

static void lmt_timer_batch(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int n = lmt_rnd(a) % 4, i;
	struct lockmap_batch *batch;

	for (i = 0; i < n; i++)
		lmt_batch_key(a, m, i, lmt_pick_key(a, m), lmt_one_in(a, 3));
	batch = lmt_batch_lock(a, m, n, LMT_TRY, true);
	if (!batch)
		return;
	lmt_transfer(a, m, batch);
	lmt_batch_unlock(a, m, batch);
	a->softirq_locks++;
}

/* Lock a key; unlock it at once, or one time in 64 at the next tick. */
static void lmt_timer_lock(struct lmt_actor *a)
{
	struct lmt_hold h = { .m = lmt_pick_map(a) };

	h.index = lmt_pick_key(a, h.m);
	if (!lmt_hold(a, &h, lmt_one_in(a, 3), LMT_TRY, false))
		return;
	lmt_use_hold(a, &h);
	if (lmt_one_in(a, 4))
		lmt_change_hold(a, &h);
	a->softirq_locks++;
	if (lmt_one_in(a, 64))
		a->kept = h;
	else
		lmt_let_go(a, &h);
}

/* Unlock what the timer kept. */
static void lmt_timer_unlock(struct lmt_actor *a)
{
	if (a->kept.m)
		lmt_let_go(a, &a->kept);
	a->kept.m = NULL;
}

static void lmt_timer_fn(struct timer_list *timer)
{
	struct lmt_actor *a = container_of(timer, struct lmt_actor, timer);
	int n;

	/* As in lmt_wait_for_phase(). */
	smp_store_mb(a->parked, false);
	if (a == lmt_timers)
		lmt_unlock_disowned(a, true);
	lmt_timer_unlock(a);
	if (!READ_ONCE(lmt_paused)) {
		for (n = 0; n < 16 && !a->kept.m; n++)
			lmt_timer_lock(a);
		lmt_timer_batch(a);
		lmt_request(a);
	}
	/* As in lmt_wait_for_phase(). */
	smp_store_release(&a->parked, !a->kept.m);
	mod_timer(timer, jiffies + 1);
}

/*
 * The signaller and the creator
 */

/* One of the workers and of the crowd. */
struct lmt_actor *lmt_task_actor(unsigned int i)
{
	return i < lmt_nr_workers ? &lmt_workers[i] : &lmt_crowd[i - lmt_nr_workers];
}

static bool lmt_waits_interruptibly(const struct lmt_actor *a)
{
	enum lmt_wait_mode mode = READ_ONCE(a->mode);

	return mode == LMT_INTERRUPTIBLE || mode == LMT_KILLABLE;
}

/* A killable wait must not end by SIGINT, so send that too. */
static int lmt_signaller_fn(void *arg)
{
	unsigned int pause, i, first, n = lmt_nr_workers + lmt_nr_crowd;
	struct rnd_state rnd;
	struct lmt_actor *a;

	prandom_seed_state(&rnd, lmt_seed);
	while (!kthread_should_stop()) {
		pause = READ_ONCE(lmt_phase.signal_us);
		usleep_range(pause, 2 * pause);
		first = prandom_u32_state(&rnd) % n;
		for (i = 0; i < n; i++) {
			a = lmt_task_actor((first + i) % n);
			if (lmt_waits_interruptibly(a))
				break;
		}
		if (i == n)
			continue;
		send_sig(prandom_u32_state(&rnd) % 4 ? SIGKILL : SIGINT, a->task, 1);
		lmt_signals_sent++;
	}
	return 0;
}

static int lmt_creator_fn(void *arg)
{
	while (!kthread_should_stop()) {
		lmt_short_map(arg);
		usleep_range(1000, 2000);
	}
	return 0;
}

/*
 * Begin and end
 */

/* Return: whether an actor does not rest yet, or a request has not ended. */
bool lmt_find_active(void)
{
	unsigned int i;

	/*
	 * A worker that rests disowns nothing more, and asks for nothing more. So look at
	 * disowned entries and at requests last.
	 */
	for (i = 0; i < lmt_nr_workers + lmt_nr_crowd; i++) {
		/* Pairs with lmt_wait_for_phase(). */
		if (!smp_load_acquire(&lmt_task_actor(i)->parked))
			return true;
	}
	for (i = 0; i < lmt_nr_timers; i++) {
		/* Pairs with lmt_timer_fn(). */
		if (!smp_load_acquire(&lmt_timers[i].parked))
			return true;
	}
	for (i = 0; i < lmt_nr_workers; i++) {
		/* Pairs with lmt_unlock_disowned(). */
		if (smp_load_acquire(&lmt_workers[i].disowned))
			return true;
	}
	return lmt_find_pending();
}

static unsigned int lmt_max_keys(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < ARRAY_SIZE(lmt_maps); i++)
		n = max(n, lmt_maps[i].keys);
	return n;
}

/* What an actor needs that locks batches and walks. */
static int lmt_actor_init(struct lmt_actor *a)
{
	a->seen = kvcalloc(BITS_TO_LONGS(lmt_max_keys()), sizeof(long), GFP_KERNEL);
	a->keys = kvcalloc(LMT_MAX_BATCH, sizeof(*a->keys), GFP_KERNEL);
	a->batch = kvcalloc(LMT_MAX_BATCH, sizeof(*a->batch), GFP_KERNEL);
	return a->seen && a->keys && a->batch ? 0 : -ENOMEM;
}

int lmt_actors_init(void)
{
	unsigned int i, n = lmt_nr_workers + lmt_nr_timers + 2 + lmt_nr_crowd;
	int err = 0;

	lmt_workers = kvcalloc(n, sizeof(*lmt_workers), GFP_KERNEL);
	if (!lmt_workers)
		return -ENOMEM;
	lmt_timers = lmt_workers + lmt_nr_workers;
	lmt_unlocker = lmt_timers + lmt_nr_timers;
	lmt_creator = lmt_unlocker + 1;
	lmt_crowd = lmt_creator + 1;
	for (i = 0; i < n; i++) {
		lmt_workers[i].id = i + 1;
		lmt_workers[i].parked = true;
		prandom_seed_state(&lmt_workers[i].rnd, lmt_seed + 2 + i);
	}
	for (i = 0; !err && i < lmt_nr_workers + lmt_nr_timers; i++)
		err = lmt_actor_init(&lmt_workers[i]);
	return err ?: lmt_alone_init() ?: lmt_requests_init();
}

void lmt_actors_free(void)
{
	unsigned int i;

	for (i = 0; lmt_workers && i < lmt_nr_workers + lmt_nr_timers; i++) {
		kvfree(lmt_workers[i].seen);
		kvfree(lmt_workers[i].keys);
		kvfree(lmt_workers[i].batch);
	}
	lmt_alone_exit();
	lmt_requests_free();
	kvfree(lmt_workers);
	for (i = 0; i < ARRAY_SIZE(lmt_maps); i++)
		kvfree(lmt_maps[i].shadow);
}

void lmt_kthread_stop(struct task_struct *task)
{
	if (IS_ERR_OR_NULL(task))
		return;
	kthread_stop(task);
	put_task_struct(task);
}

/* Call this when all actors rest. */
void lmt_actors_stop(void)
{
	unsigned int i;

	lmt_kthread_stop(lmt_signaller);
	for (i = 0; i < lmt_nr_workers + lmt_nr_crowd; i++)
		lmt_kthread_stop(lmt_task_actor(i)->task);
	for (i = 0; i < lmt_nr_timers; i++)
		timer_shutdown_sync(&lmt_timers[i].timer);
	lmt_requests_stop();
	lmt_kthread_stop(lmt_unlocker->task);
	lmt_kthread_stop(lmt_creator->task);
}

struct task_struct *lmt_kthread(int (*fn)(void *arg), void *arg, const char *name, unsigned int i)
{
	struct task_struct *task = kthread_create(fn, arg, "lmt_%s/%u", name, i);

	if (!IS_ERR(task)) {
		get_task_struct(task);
		wake_up_process(task);
	}
	return task;
}

/* Start the tasks whose number is a parameter. */
static int lmt_tasks_start(void)
{
	struct lmt_actor *a;
	unsigned int i;

	for (i = 0; i < lmt_nr_workers + lmt_nr_crowd; i++) {
		a = lmt_task_actor(i);
		if (i < lmt_nr_workers)
			a->task = lmt_kthread(lmt_worker, a, "worker", i + 1);
		else
			a->task = lmt_kthread(lmt_crowd_fn, a, "crowd", i + 1);
		if (IS_ERR(a->task))
			return PTR_ERR(a->task);
	}
	return 0;
}

int lmt_actors_start(void)
{
	unsigned int i;
	int err;

	for (i = 0; i < lmt_nr_timers; i++)
		timer_setup(&lmt_timers[i].timer, lmt_timer_fn, 0);
	err = lmt_tasks_start();
	if (err)
		return err;
	lmt_unlocker->task = lmt_kthread(lmt_unlocker_fn, lmt_unlocker, "unlocker", 0);
	if (IS_ERR(lmt_unlocker->task))
		return PTR_ERR(lmt_unlocker->task);
	lmt_creator->task = lmt_kthread(lmt_creator_fn, lmt_creator, "creator", 0);
	if (IS_ERR(lmt_creator->task))
		return PTR_ERR(lmt_creator->task);
	if (lmt_signals)
		lmt_signaller = lmt_kthread(lmt_signaller_fn, NULL, "signaller", 0);
	if (IS_ERR(lmt_signaller))
		return PTR_ERR(lmt_signaller);
	for (i = 0; i < lmt_nr_timers; i++)
		mod_timer(&lmt_timers[i].timer, jiffies + 1);
	return 0;
}
