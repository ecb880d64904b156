// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * lockmap_torture: many tasks do everything that lockmap.h has, for as long as one likes
 *
 * In the manner of kernel/locking/locktorture.c. Loading the module starts it,
 * `seconds` later it says "End of test: SUCCESS" or "FAILURE" in the log, and
 * the read-only parameter `running` becomes N. Unloading ends it early.
 *
 * Who is who
 *
 * - Workers: kthreads that do one random operation after the other (lmt_ops[]),
 *   with random keys of random maps (lmt_maps[]).
 * - Timers: lock, change and unlock keys in softirq.
 * - The closer, and the timers: unlock what workers locked and disowned.
 * - The briefer: makes a map, uses and destroys it, and again.
 * - The signaller: sends signals to workers that wait for a key.
 * - The monitor: begins and ends phases.
 *
 * Phases
 *
 * In a phase of some 10 ms most workers are after the same few keys. Between
 * phases everybody has to come to rest: what is still waited for then, nobody
 * will ever unlock, so a lost wakeup shows. At rest the counts have to agree.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/reboot.h>
#include <linux/sched/debug.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "torture.h"

static unsigned int tasks = 12;
module_param(tasks, uint, 0444);
MODULE_PARM_DESC(tasks, "Number of workers");

static unsigned int timers = 2;
module_param(timers, uint, 0444);
MODULE_PARM_DESC(timers, "Number of timers that lock keys in softirq");

static unsigned int hot_keys = 12;
module_param(hot_keys, uint, 0444);
MODULE_PARM_DESC(hot_keys, "Number of keys in the map of few keys");

static unsigned int cold_keys = 2000;
module_param(cold_keys, uint, 0444);
MODULE_PARM_DESC(cold_keys, "Number of keys in the map of many keys");

static unsigned int maps = ~0U;
module_param(maps, uint, 0444);
MODULE_PARM_DESC(maps, "Which maps to use, as a bit mask: see lmt_maps[]");

static unsigned int seconds = 30;
module_param(seconds, uint, 0444);
MODULE_PARM_DESC(seconds, "How long to run; 0 until the module is unloaded");

static unsigned int phase_ms = 100;
module_param(phase_ms, uint, 0444);
MODULE_PARM_DESC(phase_ms, "How long a phase is on average, in milliseconds");

unsigned int lmt_short_us = 10;
module_param_named(short_us, lmt_short_us, uint, 0444);
MODULE_PARM_DESC(short_us, "Short holds, one in 16, in microseconds");

unsigned int lmt_long_ms = 100;
module_param_named(long_ms, lmt_long_ms, uint, 0444);
MODULE_PARM_DESC(long_ms, "Long holds, one in 8192, in milliseconds");

static unsigned int stall = 10;
module_param(stall, uint, 0444);
MODULE_PARM_DESC(stall, "How many seconds nobody may need to come to rest");

static unsigned int progress = 10;
module_param(progress, uint, 0444);
MODULE_PARM_DESC(progress, "Seconds between messages of progress; 0 for none");

static bool signals = true;
module_param(signals, bool, 0444);
MODULE_PARM_DESC(signals, "Send signals to those who wait");

/* On purpose against the rules, which lockdep would tell. */
bool lmt_disorder = !IS_ENABLED(CONFIG_PROVE_LOCKING);
module_param_named(disorder, lmt_disorder, bool, 0444);
MODULE_PARM_DESC(disorder, "Lock keys in any order, to provoke -EDEADLK");

bool lmt_keep_going;
module_param_named(keep_going, lmt_keep_going, bool, 0444);
MODULE_PARM_DESC(keep_going, "Do not stop at the first failure");

bool lmt_panic;
module_param_named(panic_on_failure, lmt_panic, bool, 0444);
MODULE_PARM_DESC(panic_on_failure, "Panic at the first failure");

static bool shutdown;
module_param(shutdown, bool, 0444);
MODULE_PARM_DESC(shutdown, "Power off at the end");

static ulong seed;
module_param(seed, ulong, 0444);
MODULE_PARM_DESC(seed, "Of the random numbers; 0 for another one each time");

static bool running = true;
module_param(running, bool, 0444);
MODULE_PARM_DESC(running, "Read only: whether the test goes on");

#define LMT_MAX_TASKS	256

static struct lmt_actor *lmt_workers, *lmt_timers, *lmt_closer, *lmt_briefer;
static struct task_struct *lmt_monitor, *lmt_signaller;
static DECLARE_WAIT_QUEUE_HEAD(lmt_wq);
bool lmt_paused = true;
bool lmt_stop;
unsigned long lmt_start;
static unsigned long lmt_phases, lmt_signals_sent;
atomic_t lmt_failures;

struct lmt_focus lmt_focus = { .calm = 100, .hold = 1 };

/*
 * Workers
 */

/* Rest while all do. Return: false when the test is over. */
static bool lmt_gate(struct lmt_actor *a)
{
	do {
		/* All of what was done, then the rest; pairs with lmt_restless(). */
		smp_store_release(&a->parked, true);
		wait_event(lmt_wq, !READ_ONCE(lmt_paused) || kthread_should_stop());
		/* Either we see that all rest, or lmt_restless() sees that we do not. */
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
	while (lmt_gate(a)) {
		for (i = 0; i < LMT_BURST && !READ_ONCE(lmt_stop); i++) {
			r = lmt_rnd(a) % 4;
			a->op = r < 2 ? lmt_focus.ops[r] : lmt_pick_op(&a->rnd);
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
 * Others
 */

static void lmt_unlock_nobodys(struct lmt_actor *a, struct lmt_map *m, struct lockmap_entry *entry,
			       unsigned int holder)
{
	unsigned int index = lmt_entry_index(m, entry);

	if (cmpxchg(&m->shadow[index].holder, holder, 0) != holder)
		lmt_fail(a, m, index, "two holders", "at the delivery for %u", holder);
	lockmap_unlock(entry);
}

/* Unlock what workers disowned: the first timer for some of them, the closer for the others. */
static void lmt_deliver(struct lmt_actor *a, bool softirq)
{
	struct lockmap_entry *entry;
	struct lmt_actor *from;
	unsigned int i;

	for (i = 0; i < tasks; i++) {
		from = &lmt_workers[i];
		/* Pairs with lmt_op_disown(). */
		entry = smp_load_acquire(&from->parcel);
		if (!entry || softirq != (timers && from->id % 8 == 0))
			continue;
		lmt_unlock_nobodys(a, from->parcel_map, entry, from->id);
		/* Pairs with lmt_restless(); the worker may come with another now. */
		smp_store_release(&from->parcel, NULL);
		a->delivered++;
	}
}

static int lmt_closer_fn(void *arg)
{
	while (!kthread_should_stop()) {
		lmt_deliver(arg, false);
		usleep_range(20, 200);
	}
	return 0;
}

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
	a->softirq++;
}

/* Lock a key, and unlock it at once or at the next tick. */
static void lmt_timer_lock(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m);
	struct lockmap_entry *entry = lmt_lock(a, m, index, LMT_TRY, false);

	if (!entry)
		return;
	lmt_touch(a, m, index, entry);
	a->softirq++;
	if (!lmt_once_in(a, 64)) {
		lmt_unlock(a, m, index, entry);
		return;
	}
	a->entry = entry;
	a->entry_map = m;
}

static void lmt_timer_fn(struct timer_list *timer)
{
	struct lmt_actor *a = container_of(timer, struct lmt_actor, timer);
	int n;

	/* As in lmt_gate(). */
	smp_store_mb(a->parked, false);
	if (a == lmt_timers)
		lmt_deliver(a, true);
	if (a->entry)
		lmt_unlock_nobodys(a, a->entry_map, a->entry, a->id);
	a->entry = NULL;
	if (!READ_ONCE(lmt_paused)) {
		for (n = 0; n < 16 && !a->entry; n++)
			lmt_timer_lock(a);
		lmt_timer_batch(a);
	}
	/* As in lmt_gate(). */
	smp_store_release(&a->parked, !a->entry);
	mod_timer(timer, jiffies + 1);
}

static bool lmt_minds_signals(const struct lmt_actor *a)
{
	enum lmt_how how = READ_ONCE(a->how);

	return how == LMT_INTERRUPTIBLE || how == LMT_KILLABLE;
}

/* Who waits killably must not mind a SIGINT. */
static int lmt_signaller_fn(void *arg)
{
	unsigned int calm, i, first;
	struct rnd_state rnd;
	struct lmt_actor *a;

	prandom_seed_state(&rnd, seed);
	while (!kthread_should_stop()) {
		calm = READ_ONCE(lmt_focus.calm);
		usleep_range(calm, 2 * calm);
		first = prandom_u32_state(&rnd) % tasks;
		for (i = 0; i < tasks; i++) {
			a = &lmt_workers[(first + i) % tasks];
			if (lmt_minds_signals(a))
				break;
		}
		if (i == tasks)
			continue;
		send_sig(prandom_u32_state(&rnd) % 4 ? SIGKILL : SIGINT, a->task, 1);
		lmt_signals_sent++;
	}
	return 0;
}

static int lmt_brief_fn(void *arg)
{
	while (!kthread_should_stop()) {
		lmt_brief(arg);
		usleep_range(1000, 2000);
	}
	return 0;
}

/*
 * The monitor
 */

static const struct lmt_actor *lmt_restless(void)
{
	unsigned int i;

	/* Who rests gives no parcels, so look at those afterwards. */
	for (i = 0; i < tasks; i++) {
		/* Pairs with lmt_gate(). */
		if (!smp_load_acquire(&lmt_workers[i].parked))
			return &lmt_workers[i];
	}
	for (i = 0; i < timers; i++) {
		/* Pairs with lmt_timer_fn(). */
		if (!smp_load_acquire(&lmt_timers[i].parked))
			return &lmt_timers[i];
	}
	for (i = 0; i < tasks; i++) {
		/* Pairs with lmt_deliver(). */
		if (smp_load_acquire(&lmt_workers[i].parcel))
			return &lmt_workers[i];
	}
	return NULL;
}

static void lmt_tell_stuck(void)
{
	struct lmt_actor *a;
	unsigned int i;

	for (i = 0; i < tasks; i++) {
		a = &lmt_workers[i];
		if (READ_ONCE(a->parked))
			continue;
		lmt_fail(a, a->map, a->index, "stuck", "for %u ms; the key is held by actor %u",
			 jiffies_to_msecs(jiffies - a->since),
			 a->map ? a->map->shadow[a->index].holder : 0);
		sched_show_task(a->task);
	}
	for (i = 0; i < timers; i++) {
		a = &lmt_timers[i];
		if (!READ_ONCE(a->parked))
			lmt_fail(a, a->map, a->index, "stuck", "a timer");
	}
}

/* Have everybody come to rest. Return: false when somebody does not. */
static bool lmt_pause(void)
{
	unsigned long end = jiffies + stall * HZ;

	WRITE_ONCE(lmt_paused, true);
	smp_mb(); /* pairs with lmt_gate() */
	while (lmt_restless()) {
		if (time_after(jiffies, end)) {
			lmt_tell_stuck();
			if (!lmt_restless())
				return true;
			lmt_fail(NULL, NULL, 0, "stuck", "somebody, for %u s", stall);
			return false;
		}
		usleep_range(200, 1000);
	}
	return true;
}

/* Set what the next phase is about, and let everybody go. */
static void lmt_resume(struct rnd_state *rnd)
{
	static const unsigned int spreads[] = { 1, 2, 4, 16, 1 << 20 };
	static const unsigned int calms[] = { 5, 20, 100, 500 };
	static const unsigned int holds[] = { 1, 2, 8, 64 };

	WRITE_ONCE(lmt_focus.map, prandom_u32_state(rnd) % (LMT_SHARED + 1));
	lmt_focus.base = prandom_u32_state(rnd) % 4096;
	lmt_focus.spread = spreads[prandom_u32_state(rnd) % ARRAY_SIZE(spreads)];
	WRITE_ONCE(lmt_focus.calm, calms[prandom_u32_state(rnd) % ARRAY_SIZE(calms)]);
	lmt_focus.hold = holds[prandom_u32_state(rnd) % ARRAY_SIZE(holds)];
	lmt_focus.ops[0] = lmt_pick_op(rnd);
	lmt_focus.ops[1] = lmt_pick_op(rnd);
	lmt_phases++;
	/* The focus, then the phase. */
	smp_store_release(&lmt_paused, false);
	wake_up_all(&lmt_wq);
}

/* Nobody holds or waits for a key now. */
static void lmt_check_rest(struct lmt_map *m)
{
	long count = atomic_long_read(&m->born) - atomic_long_read(&m->returned);
	unsigned int i;

	if (lockmap_len(m->map) != count)
		lmt_fail(NULL, m, 0, "len", "%zu instead of %ld", lockmap_len(m->map), count);
	for (i = 0; i < m->keys; i++) {
		if (m->shadow[i].holder)
			lmt_fail(NULL, m, i, "left locked", "by %u", m->shadow[i].holder);
	}
}

static unsigned long lmt_count_ops(void)
{
	unsigned long n = 0;
	unsigned int i, j;

	for (i = 0; i < tasks; i++) {
		for (j = 0; j < ARRAY_SIZE(lmt_ops); j++)
			n += READ_ONCE(lmt_workers[i].ops[j]);
	}
	return n;
}

static void lmt_tell_progress(void)
{
	static unsigned long next;

	if (!progress || (next && time_before(jiffies, next)))
		return;
	if (next)
		pr_info("%u s: %lu operations, %lu phases, %d failures\n",
			jiffies_to_msecs(jiffies - lmt_start) / 1000, lmt_count_ops(), lmt_phases,
			atomic_read(&lmt_failures));
	next = jiffies + progress * HZ;
}

static bool lmt_goes_on(void)
{
	return !READ_ONCE(lmt_stop) && !kthread_should_stop() &&
	       (!seconds || time_before(jiffies, lmt_start + seconds * HZ));
}

/* Return: whether all rest in the end. */
static bool lmt_run_phases(void)
{
	struct rnd_state rnd;
	bool rest = true;
	unsigned int i;

	prandom_seed_state(&rnd, seed + 1);
	while (rest && lmt_goes_on()) {
		lmt_resume(&rnd);
		msleep(prandom_u32_state(&rnd) % (2 * phase_ms) + 1);
		rest = lmt_pause();
		for (i = 0; rest && i < ARRAY_SIZE(lmt_maps); i++) {
			if (lmt_maps[i].map)
				lmt_check_rest(&lmt_maps[i]);
		}
		lmt_tell_progress();
	}
	return rest;
}

/*
 * The report
 */

static void lmt_tell_ops(void)
{
	unsigned long n[ARRAY_SIZE(lmt_ops)] = { };
	char line[400];
	unsigned int i, j;
	int len = 0;

	for (j = 0; j < ARRAY_SIZE(lmt_ops); j++) {
		for (i = 0; i < tasks; i++)
			n[j] += lmt_workers[i].ops[j];
		len += scnprintf(line + len, sizeof(line) - len, " %s %lu", lmt_ops[j].name, n[j]);
	}
	pr_info("operations:%s\n", line);
}

static void lmt_tell_locks(unsigned int ms)
{
	unsigned long least = ULONG_MAX, most = 0, all = 0, softirq = 0, delivered = 0;
	unsigned int i;

	for (i = 0; i < tasks; i++) {
		least = min(least, lmt_workers[i].acquired);
		most = max(most, lmt_workers[i].acquired);
		all += lmt_workers[i].acquired;
	}
	for (i = 0; i < timers; i++) {
		softirq += lmt_timers[i].softirq;
		delivered += lmt_timers[i].delivered;
	}
	delivered += lmt_closer->delivered;
	pr_info("locks: %lu, %lu a second, %lu to %lu a task; in softirq %lu; unlocked by others %lu\n",
		all, all * 1000 / ms, least, most, softirq, delivered);
}

static void lmt_tell_refusals(void)
{
	unsigned long n[ARRAY_SIZE(lmt_refusals)] = { };
	u64 longest = 0;
	unsigned int i, j;
	char line[200];
	int len = 0;

	for (i = 0; i < tasks; i++)
		longest = max(longest, lmt_workers[i].longest);
	for (j = 0; j < ARRAY_SIZE(lmt_refusals); j++) {
		for (i = 0; i < tasks; i++)
			n[j] += lmt_workers[i].refused[j];
		len += scnprintf(line + len, sizeof(line) - len, " %s %lu,", lmt_refusals[j].name,
				 n[j]);
	}
	pr_info("refused:%s signals sent %lu; longest wait %llu us; brief maps %lu\n", line,
		lmt_signals_sent, div_u64(longest, NSEC_PER_USEC), lmt_briefer->acquired);
}

static void lmt_report(void)
{
	unsigned int ms = jiffies_to_msecs(jiffies - lmt_start) ?: 1;
	int failures = atomic_read(&lmt_failures);

	lmt_tell_ops();
	lmt_tell_locks(ms);
	lmt_tell_refusals();
	pr_info("End of test: %s: %lu operations in %u ms, %lu phases, %d failures\n",
		failures ? "FAILURE" : "SUCCESS", lmt_count_ops(), ms, lmt_phases, failures);
}

/*
 * Begin and end
 */

static int lmt_insert_static(struct lmt_map *m)
{
	struct lmt_value v;
	struct lmt_key key;
	unsigned int i;
	int err;

	for (i = 0; i < lmt_nr_static(m); i++) {
		lmt_key_init(&key, m, 4 * i);
		lmt_value_make(&v, m, 4 * i, 1, LMT_BALANCE);
		err = lockmap_insert(m->map, key.data, key.len, &v, NULL);
		if (err)
			return err;
		lmt_value_born(m, 4 * i, &v);
	}
	return 0;
}

static int lmt_map_init(struct lmt_map *m)
{
	m->shadow = kvcalloc(m->keys, sizeof(*m->shadow), GFP_KERNEL);
	if (!m->shadow)
		return -ENOMEM;
	m->params.value_len = sizeof(struct lmt_value);
	m->params.release = lmt_release;
	m->map = lockmap_create(&m->params);
	if (IS_ERR(m->map)) {
		int err = PTR_ERR(m->map);

		m->map = NULL;
		return err;
	}
	return m == lmt_own ? 0 : lmt_insert_static(m);
}

static int lmt_maps_init(void)
{
	unsigned int i;
	int err;

	lmt_maps[0].keys = max(hot_keys, 1U);
	lmt_maps[1].keys = max(cold_keys, 1U);
	lmt_own->keys = 4 * tasks;
	if (!(maps & GENMASK(LMT_SHARED - 1, 0)))
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(lmt_maps); i++) {
		if (i < LMT_SHARED && !(maps & BIT(i)))
			continue;
		err = lmt_map_init(&lmt_maps[i]);
		if (err)
			return err;
	}
	return 0;
}

/* Whatever was put in came out again by now. */
static void lmt_maps_destroy(void)
{
	struct lmt_map *m;

	for (m = lmt_maps; m < lmt_maps + ARRAY_SIZE(lmt_maps); m++) {
		lockmap_destroy(m->map);
		m->map = NULL;
		if (atomic_long_read(&m->born) != atomic_long_read(&m->returned))
			lmt_fail(NULL, m, 0, "len", "%ld values came in, %ld out",
				 atomic_long_read(&m->born), atomic_long_read(&m->returned));
	}
}

static unsigned int lmt_max_keys(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < ARRAY_SIZE(lmt_maps); i++)
		n = max(n, lmt_maps[i].keys);
	return n;
}

static int lmt_actors_init(void)
{
	unsigned int i, n = tasks + timers + 2;

	lmt_workers = kvcalloc(n, sizeof(*lmt_workers), GFP_KERNEL);
	if (!lmt_workers)
		return -ENOMEM;
	lmt_timers = lmt_workers + tasks;
	lmt_closer = lmt_timers + timers;
	lmt_briefer = lmt_closer + 1;
	for (i = 0; i < n; i++) {
		lmt_workers[i].id = i + 1;
		lmt_workers[i].parked = true;
		prandom_seed_state(&lmt_workers[i].rnd, seed + 2 + i);
	}
	for (i = 0; i < tasks; i++) {
		lmt_workers[i].seen = kvcalloc(BITS_TO_LONGS(lmt_max_keys()), sizeof(long),
					       GFP_KERNEL);
		if (!lmt_workers[i].seen)
			return -ENOMEM;
	}
	return 0;
}

static void lmt_actors_free(void)
{
	unsigned int i;

	for (i = 0; lmt_workers && i < tasks; i++)
		kvfree(lmt_workers[i].seen);
	kvfree(lmt_workers);
	for (i = 0; i < ARRAY_SIZE(lmt_maps); i++)
		kvfree(lmt_maps[i].shadow);
}

static void lmt_kthread_stop(struct task_struct *task)
{
	if (IS_ERR_OR_NULL(task))
		return;
	kthread_stop(task);
	put_task_struct(task);
}

/* All rest. */
static void lmt_actors_stop(void)
{
	unsigned int i;

	lmt_kthread_stop(lmt_signaller);
	for (i = 0; i < tasks; i++)
		lmt_kthread_stop(lmt_workers[i].task);
	for (i = 0; i < timers; i++)
		timer_shutdown_sync(&lmt_timers[i].timer);
	lmt_kthread_stop(lmt_closer->task);
	lmt_kthread_stop(lmt_briefer->task);
}

static struct task_struct *lmt_kthread(int (*fn)(void *arg), void *arg, const char *name,
				       unsigned int i)
{
	struct task_struct *task = kthread_create(fn, arg, "lmt_%s/%u", name, i);

	if (!IS_ERR(task)) {
		get_task_struct(task);
		wake_up_process(task);
	}
	return task;
}

static int lmt_actors_start(void)
{
	unsigned int i;

	for (i = 0; i < timers; i++)
		timer_setup(&lmt_timers[i].timer, lmt_timer_fn, 0);
	for (i = 0; i < tasks; i++) {
		lmt_workers[i].task = lmt_kthread(lmt_worker, &lmt_workers[i], "worker", i + 1);
		if (IS_ERR(lmt_workers[i].task))
			return PTR_ERR(lmt_workers[i].task);
	}
	lmt_closer->task = lmt_kthread(lmt_closer_fn, lmt_closer, "closer", 0);
	if (IS_ERR(lmt_closer->task))
		return PTR_ERR(lmt_closer->task);
	lmt_briefer->task = lmt_kthread(lmt_brief_fn, lmt_briefer, "brief", 0);
	if (IS_ERR(lmt_briefer->task))
		return PTR_ERR(lmt_briefer->task);
	if (signals)
		lmt_signaller = lmt_kthread(lmt_signaller_fn, NULL, "signaller", 0);
	if (IS_ERR(lmt_signaller))
		return PTR_ERR(lmt_signaller);
	for (i = 0; i < timers; i++)
		mod_timer(&lmt_timers[i].timer, jiffies + 1);
	return 0;
}

static int lmt_monitor_fn(void *arg)
{
	if (lmt_run_phases()) {
		lmt_actors_stop();
		if (!atomic_read(&lmt_failures))
			lmt_maps_destroy();
	}
	/* What is broken is left as it is, for who wants to look at it. */
	if (atomic_read(&lmt_failures))
		__module_get(THIS_MODULE);
	lmt_report();
	WRITE_ONCE(running, false);
	if (shutdown)
		kernel_power_off();
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ / 10);
	return 0;
}

static int __init lmt_init(void)
{
	int err;

	tasks = clamp(tasks, 1U, LMT_MAX_TASKS);
	timers = min(timers, LMT_MAX_TASKS);
	phase_ms = max(phase_ms, 1U);
	seed = seed ?: get_random_u32();
	err = lmt_maps_init() ?: lmt_actors_init();
	if (err)
		goto free;
	pr_info("%u tasks, %u timers, %u s, seed=%lu, disorder=%d\n", tasks, timers, seconds, seed,
		lmt_disorder);
	lmt_start = jiffies;
	err = lmt_actors_start();
	if (!err) {
		lmt_monitor = lmt_kthread(lmt_monitor_fn, NULL, "monitor", 0);
		err = PTR_ERR_OR_ZERO(lmt_monitor);
	}
	if (!err)
		return 0;
	lmt_actors_stop();
free:
	lmt_maps_destroy();
	lmt_actors_free();
	return err;
}

static void __exit lmt_exit(void)
{
	lmt_kthread_stop(lmt_monitor);
	lmt_actors_free();
}

module_init(lmt_init);
module_exit(lmt_exit);
MODULE_DESCRIPTION("Torture test of lockmap");
MODULE_AUTHOR("The lockmap authors");
MODULE_LICENSE("Dual MIT/GPL");
