// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * lockmap_torture: many tasks do everything that lockmap.h offers, for as long as one likes
 *
 * Like kernel/locking/locktorture.c the test starts when the module is loaded.
 * After `seconds` it prints "End of test: SUCCESS" or "FAILURE" to the log, and the
 * read-only parameter `running` becomes N. Unloading the module ends it early.
 *
 * Actors
 *
 * - Workers: kthreads that do one random operation after the other (lmt_ops[]),
 *   with random keys of random maps (lmt_maps[]).
 * - Timers: lock, change and unlock keys in softirq.
 * - The crowd, if there is one: many tasks that wait for the same few keys.
 * - The unlocker, and the first timer: unlock what workers locked and disowned, or
 *   what was granted to requests.
 * - The creator: creates, uses and destroys one map after the other.
 * - The signaller: sends signals to workers that wait for a key.
 * - The monitor: begins and ends phases.
 *
 * Phases
 *
 * In a phase of some 100 ms most workers want the same few keys. Between two phases
 * all actors come to rest. An actor that still waits then would wait forever, so a
 * lost wakeup is noticed, and so is a cycle that lockmap did not notice. At rest no
 * key may be locked, no request may wait, and the counts must agree. In one phase of
 * four the workers lock keys in order: there cannot be a cycle, so -EDEADLK is a
 * failure. In the others, an actor that shares a key waits for more keys for a limited
 * time only: a cycle through a shared key is not found.
 *
 * Files
 *
 * model.c	what is known of keys and values: the shadow
 * lock.c	locking and unlocking, with checks
 * batch.c	the same for batches
 * shared.c	keys that are shared
 * async.c	requests
 * alone.c	keys that no other actor uses
 * crowd.c	tasks that wait for a few keys
 * ops.c	the operations of workers
 * short_map.c	the operation of the creator
 * actors.c	tasks and timers
 * report.c	messages
 * main.c	parameters, phases, begin and end
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/reboot.h>
#include <linux/slab.h>

#include "torture.h"

unsigned int lmt_nr_workers = 12;
module_param_named(tasks, lmt_nr_workers, uint, 0444);
MODULE_PARM_DESC(tasks, "Number of workers");

unsigned int lmt_nr_timers = 2;
module_param_named(timers, lmt_nr_timers, uint, 0444);
MODULE_PARM_DESC(timers, "Number of timers that lock keys in softirq");

unsigned int lmt_nr_crowd;
module_param_named(crowd, lmt_nr_crowd, uint, 0444);
MODULE_PARM_DESC(crowd, "Number of tasks more that wait for a few keys");

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
MODULE_PARM_DESC(phase_ms, "Mean length of a phase in milliseconds");

unsigned int lmt_short_us = 10;
module_param_named(short_us, lmt_short_us, uint, 0444);
MODULE_PARM_DESC(short_us, "Length of a short hold, one in 16, in microseconds");

unsigned int lmt_long_ms = 100;
module_param_named(long_ms, lmt_long_ms, uint, 0444);
MODULE_PARM_DESC(long_ms, "Length of a long hold, one in 8192, in milliseconds");

static unsigned int stall = 10;
module_param(stall, uint, 0444);
MODULE_PARM_DESC(stall, "How many seconds an actor may take to come to rest");

static unsigned int progress = 10;
module_param(progress, uint, 0444);
MODULE_PARM_DESC(progress, "Seconds between two messages of progress; 0 for none");

bool lmt_signals = true;
module_param_named(signals, lmt_signals, bool, 0444);
MODULE_PARM_DESC(signals, "Send signals to waiting workers");

/* Off by default with lockdep, which would report the broken lock order. */
static bool disorder = !IS_ENABLED(CONFIG_PROVE_LOCKING);
module_param(disorder, bool, 0444);
MODULE_PARM_DESC(disorder, "Lock keys in any order in three phases of four, to provoke -EDEADLK");

bool lmt_keep_going;
module_param_named(keep_going, lmt_keep_going, bool, 0444);
MODULE_PARM_DESC(keep_going, "Do not stop at the first failure");

bool lmt_panic;
module_param_named(panic_on_failure, lmt_panic, bool, 0444);
MODULE_PARM_DESC(panic_on_failure, "Panic at the first failure");

static bool shutdown;
module_param(shutdown, bool, 0444);
MODULE_PARM_DESC(shutdown, "Power off at the end");

unsigned long lmt_seed;
module_param_named(seed, lmt_seed, ulong, 0444);
MODULE_PARM_DESC(seed, "Seed of the random numbers; 0 for a new one in each run");

static bool running = true;
module_param(running, bool, 0444);
MODULE_PARM_DESC(running, "Read only: whether the test is running");

#define LMT_MAX_TASKS	256
#define LMT_MAX_CROWD	16384	/* all ids fit into LMT_HOLDER_ID */

static struct task_struct *lmt_monitor;
bool lmt_paused = true;
bool lmt_stop;
unsigned long lmt_start, lmt_nr_phases;
atomic_t lmt_failures;

struct lmt_phase lmt_phase = { .signal_us = 100, .yield_one_in = 1 };

/*
 * Phases
 */

/* Wait until all actors rest. Return: false if one does not. */
static bool lmt_end_phase(void)
{
	unsigned long end = jiffies + stall * HZ;

	WRITE_ONCE(lmt_paused, true);
	smp_mb(); /* pairs with lmt_wait_for_phase() */
	while (lmt_find_active()) {
		if (time_after(jiffies, end)) {
			lmt_report_stuck();
			if (!lmt_find_active())
				return true;
			lmt_fail(NULL, NULL, 0, "stuck", "an actor does not rest, for %u s", stall);
			return false;
		}
		usleep_range(200, 1000);
	}
	return true;
}

/* Choose what workers prefer in the next phase, and let all actors go. */
static void lmt_begin_phase(struct rnd_state *rnd)
{
	static const unsigned int nr_keys[] = { 1, 2, 4, 16, 1 << 20 };
	static const unsigned int signal_us[] = { 5, 20, 100, 500 };
	static const unsigned int yield_one_in[] = { 1, 2, 8, 64 };

	WRITE_ONCE(lmt_phase.map, prandom_u32_state(rnd) % (LMT_NR_SHARED + 1));
	lmt_phase.first_key = prandom_u32_state(rnd) % 4096;
	lmt_phase.nr_keys = nr_keys[prandom_u32_state(rnd) % ARRAY_SIZE(nr_keys)];
	WRITE_ONCE(lmt_phase.signal_us,
		   signal_us[prandom_u32_state(rnd) % ARRAY_SIZE(signal_us)]);
	lmt_phase.yield_one_in = yield_one_in[prandom_u32_state(rnd) % ARRAY_SIZE(yield_one_in)];
	lmt_phase.disorder = disorder && prandom_u32_state(rnd) % 4;
	lmt_phase.ops[0] = lmt_pick_op(rnd);
	lmt_phase.ops[1] = lmt_pick_op(rnd);
	lmt_nr_phases++;
	/* All of lmt_phase is written before an actor goes. */
	smp_store_release(&lmt_paused, false);
	wake_up_all(&lmt_phase_wq);
}

/* Check that a key is free in the map too: lockmap may have given it to a waiter that had left. */
static void lmt_check_free(struct lmt_map *m, unsigned int index)
{
	struct lockmap_entry *entry;
	struct lmt_key key;

	lmt_key_init(&key, m, index);
	entry = lockmap_trylock(m->map, key.data, key.len);
	if (!IS_ERR(entry))
		lockmap_unlock(entry);
	else if (PTR_ERR(entry) != -ENOMEM)
		lmt_fail(NULL, m, index, "left locked", "trylock: %ld", PTR_ERR(entry));
}

/* All actors rest: no key may be locked, and the counts must agree. */
static void lmt_check_at_rest(struct lmt_map *m)
{
	long count = atomic_long_read(&m->inserted) - atomic_long_read(&m->removed);
	unsigned int i;

	if (lockmap_len(m->map) != count)
		lmt_fail(NULL, m, 0, "len", "%zu instead of %ld", lockmap_len(m->map), count);
	for (i = 0; i < m->keys; i++) {
		if (m->shadow[i].holder)
			lmt_fail(NULL, m, i, "left locked", "by %u", m->shadow[i].holder);
	}
	/* The keys that were contended in this phase. */
	for (i = 0; i < min(lmt_phase.nr_keys, 16U); i++)
		lmt_check_free(m, (lmt_phase.first_key + i) % m->keys);
}

static bool lmt_test_continues(void)
{
	return !READ_ONCE(lmt_stop) && !kthread_should_stop() &&
	       (!seconds || time_before(jiffies, lmt_start + seconds * HZ));
}

/* Return: whether all actors rest at the end. */
static bool lmt_run_phases(void)
{
	struct rnd_state rnd;
	bool rest = true;
	unsigned int i;

	prandom_seed_state(&rnd, lmt_seed + 1);
	while (rest && lmt_test_continues()) {
		lmt_begin_phase(&rnd);
		msleep(prandom_u32_state(&rnd) % (2 * phase_ms) + 1);
		rest = lmt_end_phase();
		if (rest)
			lmt_check_requests();
		for (i = 0; rest && i < ARRAY_SIZE(lmt_maps); i++) {
			if (lmt_maps[i].map)
				lmt_check_at_rest(&lmt_maps[i]);
		}
		lmt_report_progress(progress);
	}
	return rest;
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
		lmt_value_inserted(m, 4 * i, &v);
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
	m->params.priv = m;
	/* Keys of two maps are nested, in the order of the maps: each is a class of its own. */
	m->params.lock_key = &m->lock_key;
	m->map = lockmap_create(&m->params);
	if (IS_ERR(m->map)) {
		int err = PTR_ERR(m->map);

		m->map = NULL;
		return err;
	}
	return m == lmt_private ? 0 : lmt_insert_static(m);
}

static int lmt_maps_init(void)
{
	unsigned int i;
	int err;

	lmt_maps[0].keys = max(hot_keys, 1U);
	lmt_maps[1].keys = max(cold_keys, 1U);
	lmt_private->keys = 4 * lmt_nr_workers;
	if (!(maps & GENMASK(LMT_NR_SHARED - 1, 0)))
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(lmt_maps); i++) {
		if (i < LMT_NR_SHARED && !(maps & BIT(i)))
			continue;
		err = lmt_map_init(&lmt_maps[i]);
		if (err)
			return err;
	}
	return 0;
}

/* Destroying a map releases its values: then as many have come out as went in. */
static void lmt_maps_destroy(void)
{
	struct lmt_map *m;

	for (m = lmt_maps; m < lmt_maps + ARRAY_SIZE(lmt_maps); m++) {
		lockmap_destroy(m->map);
		m->map = NULL;
		if (atomic_long_read(&m->inserted) != atomic_long_read(&m->removed))
			lmt_fail(NULL, m, 0, "len", "%ld values were inserted, %ld removed",
				 atomic_long_read(&m->inserted), atomic_long_read(&m->removed));
	}
}

static int lmt_monitor_fn(void *arg)
{
	bool rest = lmt_run_phases();

	if (!lmt_nr_phases && !kthread_should_stop())
		lmt_fail(NULL, NULL, 0, "nothing done", "in %u s", seconds);
	if (rest) {
		lmt_actors_stop();
		if (!atomic_read(&lmt_failures))
			lmt_maps_destroy();
	}
	/* After a failure keep module and maps, so that a person can look at them. */
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

	lmt_nr_workers = clamp(lmt_nr_workers, 1U, LMT_MAX_TASKS);
	lmt_nr_timers = min(lmt_nr_timers, LMT_MAX_TASKS);
	lmt_nr_crowd = min(lmt_nr_crowd, LMT_MAX_CROWD);
	phase_ms = max(phase_ms, 1U);
	lmt_seed = lmt_seed ?: get_random_u32();
	err = lmt_maps_init() ?: lmt_actors_init();
	if (err)
		goto free;
	pr_info("%u workers, %u timers, a crowd of %u, %u s, seed=%lu, disorder=%d\n",
		lmt_nr_workers, lmt_nr_timers, lmt_nr_crowd, seconds, lmt_seed, disorder);
	lmt_start = jiffies;
	err = lmt_actors_start();
	if (!err) {
		/* To start a crowd may take longer than the test is to. */
		lmt_start = jiffies;
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
