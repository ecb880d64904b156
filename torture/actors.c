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

struct lmt_actor *lmt_workers, *lmt_timers, *lmt_unlocker, *lmt_creator;
unsigned long lmt_signals_sent;
DECLARE_WAIT_QUEUE_HEAD(lmt_phase_wq);
static struct task_struct *lmt_signaller;

/*
 * Workers
 */

/* Rest until the next phase begins. Return: false when the test is over. */
static bool lmt_wait_for_phase(struct lmt_actor *a)
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

/* Unlock an entry that no task owns; the shadow still names @holder. */
static void lmt_unlock_for(struct lmt_actor *a, struct lmt_map *m, struct lockmap_entry *entry,
			   unsigned int holder)
{
	unsigned int index = lmt_entry_index(m, entry);

	if (cmpxchg(&m->shadow[index].holder, holder, 0) != holder)
		lmt_fail(a, m, index, "two holders", "when unlocking for actor %u", holder);
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
		lmt_unlock_for(a, from->disowned_map, entry, from->id);
		/* Pairs with lmt_find_active(). From now on the worker may disown another entry. */
		smp_store_release(&from->disowned, NULL);
		a->unlocked_others++;
	}
}

static int lmt_unlocker_fn(void *arg)
{
	while (!kthread_should_stop()) {
		lmt_unlock_disowned(arg, false);
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
		lmt_batch_key(a, m, i, lmt_pick_key(a, m));
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
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m);
	struct lockmap_entry *entry = lmt_lock(a, m, index, LMT_TRY, false);

	if (!entry)
		return;
	lmt_use_entry(a, m, index, entry);
	a->softirq_locks++;
	if (!lmt_one_in(a, 64)) {
		lmt_unlock(a, m, index, entry);
		return;
	}
	a->kept = entry;
	a->kept_map = m;
}

static void lmt_timer_fn(struct timer_list *timer)
{
	struct lmt_actor *a = container_of(timer, struct lmt_actor, timer);
	int n;

	/* As in lmt_wait_for_phase(). */
	smp_store_mb(a->parked, false);
	if (a == lmt_timers)
		lmt_unlock_disowned(a, true);
	if (a->kept)
		lmt_unlock_for(a, a->kept_map, a->kept, a->id);
	a->kept = NULL;
	if (!READ_ONCE(lmt_paused)) {
		for (n = 0; n < 16 && !a->kept; n++)
			lmt_timer_lock(a);
		lmt_timer_batch(a);
	}
	/* As in lmt_wait_for_phase(). */
	smp_store_release(&a->parked, !a->kept);
	mod_timer(timer, jiffies + 1);
}

/*
 * The signaller and the creator
 */

static bool lmt_waits_interruptibly(const struct lmt_actor *a)
{
	enum lmt_wait_mode mode = READ_ONCE(a->mode);

	return mode == LMT_INTERRUPTIBLE || mode == LMT_KILLABLE;
}

/* A killable wait must not end by SIGINT, so send that too. */
static int lmt_signaller_fn(void *arg)
{
	unsigned int pause, i, first;
	struct rnd_state rnd;
	struct lmt_actor *a;

	prandom_seed_state(&rnd, lmt_seed);
	while (!kthread_should_stop()) {
		pause = READ_ONCE(lmt_phase.signal_us);
		usleep_range(pause, 2 * pause);
		first = prandom_u32_state(&rnd) % lmt_nr_workers;
		for (i = 0; i < lmt_nr_workers; i++) {
			a = &lmt_workers[(first + i) % lmt_nr_workers];
			if (lmt_waits_interruptibly(a))
				break;
		}
		if (i == lmt_nr_workers)
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

/* Return: an actor that does not rest yet; %NULL if all do. */
const struct lmt_actor *lmt_find_active(void)
{
	unsigned int i;

	/* A worker that rests disowns nothing more, so look at disowned entries last. */
	for (i = 0; i < lmt_nr_workers; i++) {
		/* Pairs with lmt_wait_for_phase(). */
		if (!smp_load_acquire(&lmt_workers[i].parked))
			return &lmt_workers[i];
	}
	for (i = 0; i < lmt_nr_timers; i++) {
		/* Pairs with lmt_timer_fn(). */
		if (!smp_load_acquire(&lmt_timers[i].parked))
			return &lmt_timers[i];
	}
	for (i = 0; i < lmt_nr_workers; i++) {
		/* Pairs with lmt_unlock_disowned(). */
		if (smp_load_acquire(&lmt_workers[i].disowned))
			return &lmt_workers[i];
	}
	return NULL;
}

static unsigned int lmt_max_keys(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < ARRAY_SIZE(lmt_maps); i++)
		n = max(n, lmt_maps[i].keys);
	return n;
}

int lmt_actors_init(void)
{
	unsigned int i, n = lmt_nr_workers + lmt_nr_timers + 2;

	lmt_workers = kvcalloc(n, sizeof(*lmt_workers), GFP_KERNEL);
	if (!lmt_workers)
		return -ENOMEM;
	lmt_timers = lmt_workers + lmt_nr_workers;
	lmt_unlocker = lmt_timers + lmt_nr_timers;
	lmt_creator = lmt_unlocker + 1;
	for (i = 0; i < n; i++) {
		lmt_workers[i].id = i + 1;
		lmt_workers[i].parked = true;
		prandom_seed_state(&lmt_workers[i].rnd, lmt_seed + 2 + i);
	}
	for (i = 0; i < lmt_nr_workers; i++) {
		lmt_workers[i].seen = kvcalloc(BITS_TO_LONGS(lmt_max_keys()), sizeof(long),
					       GFP_KERNEL);
		if (!lmt_workers[i].seen)
			return -ENOMEM;
	}
	return 0;
}

void lmt_actors_free(void)
{
	unsigned int i;

	for (i = 0; lmt_workers && i < lmt_nr_workers; i++)
		kvfree(lmt_workers[i].seen);
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
	for (i = 0; i < lmt_nr_workers; i++)
		lmt_kthread_stop(lmt_workers[i].task);
	for (i = 0; i < lmt_nr_timers; i++)
		timer_shutdown_sync(&lmt_timers[i].timer);
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

int lmt_actors_start(void)
{
	unsigned int i;

	for (i = 0; i < lmt_nr_timers; i++)
		timer_setup(&lmt_timers[i].timer, lmt_timer_fn, 0);
	for (i = 0; i < lmt_nr_workers; i++) {
		lmt_workers[i].task = lmt_kthread(lmt_worker, &lmt_workers[i], "worker", i + 1);
		if (IS_ERR(lmt_workers[i].task))
			return PTR_ERR(lmt_workers[i].task);
	}
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
