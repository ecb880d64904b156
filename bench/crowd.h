/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * How long the unlock of one key takes while a crowd waits for another.
 *
 * Thread 0 holds key A, for which the crowd waits, and then locks and unlocks key B
 * again and again. Each time thread 1 waits for B. All waiters sleep. That says
 * something of lockmap only if both keys are in one wait bucket: load it with
 * wait_buckets=1.
 */
#ifndef _BENCH_CROWD_H
#define _BENCH_CROWD_H

#include <linux/sort.h>

#include "case.h"

#define BENCH_CROWD		1000
#define BENCH_CROWD_SAMPLES	41

/**
 * struct bench_crowd - what the threads work on
 * @impl: the implementation
 * @a: thread 0 as the holder of key A
 * @b: thread 0 as the holder of key B
 * @keys: A and B
 * @size: number of tasks that wait for A
 * @gathered: how many of them have come
 * @a_held: thread 0 has A
 * @b_held: thread 0 has B, so that thread 1 may ask for it
 * @b_done: thread 1 has had B
 * @asks: thread 1 is about to ask for B
 * @waiter: thread 1
 * @ticks: how long the unlocks of B took
 */
struct bench_crowd {
	const struct bench_impl *impl;
	struct bench_thread a;
	struct bench_thread b;
	u8 keys[2][8];
	unsigned int size;
	atomic_t gathered;
	struct completion a_held;
	struct completion b_held;
	struct completion b_done;
	bool asks;
	struct task_struct *waiter;
	u64 ticks[BENCH_CROWD_SAMPLES];
};

/* Lock and unlock a key once. */
static inline void bench_crowd_use(const struct bench_crowd *crowd, const struct bench_thread *of)
{
	struct bench_thread t = { .map = of->map, .keys = of->keys };

	crowd->impl->loops_8[BENCH_LOCK](&t, 1);
}

/* Thread 1. */
static inline void bench_crowd_wait_for_b(struct bench_crowd *crowd)
{
	unsigned int i;

	for (i = 0; i < BENCH_CROWD_SAMPLES; i++) {
		wait_for_completion(&crowd->b_held);
		WRITE_ONCE(crowd->asks, true);
		bench_crowd_use(crowd, &crowd->b);
		complete(&crowd->b_done);
	}
}

/* Thread 0, with B held: have thread 1 wait for it. */
static inline void bench_crowd_call_waiter(void *arg)
{
	struct bench_crowd *crowd = arg;

	WRITE_ONCE(crowd->asks, false);
	complete(&crowd->b_held);
	do {
		bench_sleep_us(100);
	} while (!READ_ONCE(crowd->asks) || task_is_running(READ_ONCE(crowd->waiter)));
}

/* Thread 0, with A held. */
static inline void bench_crowd_measure(void *arg)
{
	struct bench_crowd *crowd = arg;
	unsigned int i;

	complete_all(&crowd->a_held);
	while (atomic_read(&crowd->gathered) != crowd->size)
		bench_sleep_us(1000);
	/* The last of them falls asleep, and whatever looks for cycles is done. */
	bench_settle(50);
	for (i = 0; i < BENCH_CROWD_SAMPLES; i++) {
		crowd->impl->loops_8[BENCH_UNLOCK](&crowd->b, 1);
		crowd->ticks[i] = crowd->b.took;
		/* Else this thread might have B again before the waiter does. */
		wait_for_completion(&crowd->b_done);
	}
}

static inline void bench_crowd_work(void *arg, unsigned int i)
{
	struct bench_crowd *crowd = arg;

	switch (i) {
	case 0:
		crowd->impl->loops_8[BENCH_UNLOCK](&crowd->a, 1);
		break;
	case 1:
		WRITE_ONCE(crowd->waiter, current);
		bench_crowd_wait_for_b(crowd);
		break;
	default:
		wait_for_completion(&crowd->a_held);
		atomic_inc(&crowd->gathered);
		bench_crowd_use(crowd, &crowd->a);
		break;
	}
}

static inline int bench_crowd_compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return (x > y) - (x < y);
}

static inline void bench_crowd_result(struct bench_crowd *crowd)
{
	sort(crowd->ticks, BENCH_CROWD_SAMPLES, sizeof(u64), bench_crowd_compare, NULL);
	bench_result_of("unlock-b", "", crowd->size, BENCH_KEYS, crowd->impl->name,
			bench_ticks_to_ns(crowd->ticks[BENCH_CROWD_SAMPLES / 2]), 1);
}

static inline int bench_crowd_of(const struct bench_impl *impl, void *map, unsigned int size)
{
	static struct bench_crowd crowd;
	unsigned int i;
	int err;

	memset(&crowd, 0, sizeof(crowd));
	crowd.impl = impl;
	crowd.size = size;
	for (i = 0; i < 2; i++)
		bench_make_key(crowd.keys[i], sizeof(crowd.keys[i]), BENCH_FIRST_PRESENT + i);
	crowd.a = (struct bench_thread) { .map = map, .keys = crowd.keys[0], .arg = &crowd,
					  .while_held = bench_crowd_measure };
	crowd.b = (struct bench_thread) { .map = map, .keys = crowd.keys[1], .arg = &crowd,
					  .while_held = bench_crowd_call_waiter };
	init_completion(&crowd.a_held);
	init_completion(&crowd.b_held);
	init_completion(&crowd.b_done);
	err = bench_run_threads(2 + size, num_online_cpus(), bench_crowd_work, &crowd);
	if (!err)
		bench_crowd_result(&crowd);
	return err;
}

static inline int bench_crowd_with(const struct bench_impl *impl)
{
	void *map = impl->create(sizeof(u64), BENCH_KEYS);
	unsigned int rep;
	int err;

	if (!map)
		return -ENOMEM;
	err = bench_fill(map, impl, sizeof(u64), 1024);
	for (rep = 0; rep < bench_settings.reps && !err; rep++) {
		err = bench_crowd_of(impl, map, 0);
		if (!err)
			err = bench_crowd_of(impl, map, BENCH_CROWD);
	}
	impl->destroy(map);
	return err;
}

static inline int bench_do_crowd(void)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < BENCH_MAX_IMPLS && bench_impls[i] && !err; i++) {
		if (bench_impls[i]->loops_8[BENCH_UNLOCK] &&
		    bench_in_list(bench_settings.impls, bench_impls[i]->name))
			err = bench_crowd_with(bench_impls[i]);
	}
	return err;
}

#endif /* _BENCH_CROWD_H */
