/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A sample: one implementation does one case for some milliseconds.
 *
 * The threads start together and go round their sequences of keys until the time
 * is up. As in refscale.c they also run for a while before and after, unmeasured,
 * so that each finds its caches warm and the other threads at work. The result is
 * wall time divided by the operations of all threads.
 */
#ifndef _BENCH_SAMPLE_H
#define _BENCH_SAMPLE_H

#include "settings.h"

struct bench_case {
	const struct bench_row *row;
	unsigned int threads;
	unsigned long keys;
	unsigned long sequence;		/* keys in a thread's sequence */
	u8 *sequences[BENCH_MAX_THREADS];
	struct bench_waits *waits[BENCH_MAX_THREADS];
};

/**
 * struct bench_entrant - an implementation's part in a case
 * @impl: the implementation
 * @loop: the loop that the case runs
 * @map: the implementation's map
 * @filled: how many keys of length @key_len fill @map; 0 if it was not filled
 * @key_len: see @filled
 * @next: the operation that each thread continues with in the next sample
 */
struct bench_entrant {
	const struct bench_impl *impl;
	bench_loop_t loop;
	void *map;
	unsigned long filled;
	unsigned int key_len;
	u64 next[BENCH_MAX_THREADS];
};

struct bench_run {
	struct bench_thread threads[BENCH_MAX_THREADS];
	u64 began[BENCH_MAX_THREADS];
	u64 ended[BENCH_MAX_THREADS];
	u64 done[BENCH_MAX_THREADS];
	bench_loop_t loop;
	unsigned int nr_threads;
	unsigned int chunk;		/* operations between two readings of the clock */
	u64 ticks;			/* how long to run, if @ops is 0 */
	u64 ops;			/* how many operations to run, if not 0 */
	u64 warm_ops;			/* least operations of a thread before it is measured */
	atomic_t started;
	atomic_t warm;
	atomic_t finished;
};

/* Collects the waits that are not measured. */
static struct bench_waits bench_no_waits;

static u64 bench_ticks_per_ms;

static inline void bench_calibrate(void)
{
	u64 ns = bench_ns(), ticks = bench_ticks();

	bench_settle(50);
	ticks = bench_ticks() - ticks;
	ns = bench_ns() - ns;
	bench_ticks_per_ms = div64_u64(ticks * 1000000, ns);
}

static inline u64 bench_ticks_to_ns(u64 ticks)
{
	return div64_u64(ticks * 1000000, bench_ticks_per_ms);
}

static inline bench_loop_t bench_loop(const struct bench_impl *impl, unsigned int len,
				      enum bench_op op)
{
	switch (len) {
	case 8:
		return impl->loops_8[op];
	case 16:
		return impl->loops_16[op];
	default:
		return impl->loops_64[op];
	}
}

/*
 * Results
 */

static inline void bench_result_of(const char *op, const char *suffix, unsigned int threads,
				   unsigned long keys, const char *impl, u64 value, u64 per)
{
	u64 milli = div64_u64(value * 1000 + per / 2, per);

	bench_print("result %s%s %u %lu %s %s %llu.%03u", op, suffix, threads, keys, impl,
		    BENCH_BUILD, div64_u64(milli, 1000),
		    (unsigned int)(milli - div64_u64(milli, 1000) * 1000));
}

static inline void bench_result(const struct bench_case *c, const char *suffix, const char *impl,
				u64 value, u64 per)
{
	bench_result_of(c->row->name, suffix, c->threads, c->keys, impl, value, per);
}

static inline void bench_print_waits(const struct bench_case *c, const char *impl,
				     struct bench_waits *waits)
{
	u64 all = 0, seen = 0;
	unsigned int i, p999 = 0;

	for (i = 0; i < BENCH_WAIT_BUCKETS; i++)
		all += waits->count[i];
	for (i = 0; i < BENCH_WAIT_BUCKETS; i++) {
		if (!waits->count[i])
			continue;
		bench_print("waits %s %u %lu %s %s %llu %llu", c->row->name, c->threads, c->keys,
			    impl, BENCH_BUILD, bench_ticks_to_ns(bench_wait_from(i)),
			    waits->count[i]);
		seen += waits->count[i];
		if (seen * 1000 < all * 999)
			p999 = i + 1;
	}
	bench_result(c, "-p999", impl, bench_ticks_to_ns(bench_wait_from(p999)), 1);
	bench_result(c, "-max", impl, bench_ticks_to_ns(waits->longest), 1);
}

/* Add all threads' waits to those of the first thread. */
static inline struct bench_waits *bench_merge_waits(const struct bench_case *c)
{
	struct bench_waits *all = c->waits[0];
	unsigned int t, i;

	for (t = 1; t < c->threads; t++) {
		for (i = 0; i < BENCH_WAIT_BUCKETS; i++)
			all->count[i] += c->waits[t]->count[i];
		if (c->waits[t]->longest > all->longest)
			all->longest = c->waits[t]->longest;
	}
	return all;
}

/*
 * Samples
 */

static inline bool bench_all(const struct bench_run *run, const atomic_t *there)
{
	return atomic_read(there) >= (int)run->nr_threads;
}

/* Run the loop unmeasured until all threads have arrived at @there. */
static inline void bench_unmeasured(const struct bench_run *run, struct bench_thread *t,
				    const atomic_t *there)
{
	struct bench_waits *waits = t->waits;

	t->waits = &bench_no_waits;
	while (!bench_all(run, there)) {
		run->loop(t, run->chunk);
		bench_resched();
	}
	t->waits = waits;
}

/* Run the loop for @ticks, or for @ops operations if that is not 0. Return: how many it did. */
static inline u64 bench_go_round(const struct bench_run *run, struct bench_thread *t, u64 ticks,
				 u64 ops)
{
	u64 until = bench_ticks() + ticks, done = 0;

	do {
		run->loop(t, run->chunk);
		done += run->chunk;
		bench_resched();
	} while (ops ? done < ops : bench_ticks() < until);
	return done;
}

/* What each thread of a sample does. */
static inline void bench_work(void *arg, unsigned int i)
{
	struct bench_run *run = (struct bench_run *)arg;
	struct bench_thread *t = &run->threads[i];

	atomic_inc(&run->started);
	while (!bench_all(run, &run->started))
		bench_yield();
	if (!run->ops) {
		bench_go_round(run, t, run->ticks / 4, 0);
		bench_go_round(run, t, 0, run->warm_ops);
		memset(t->waits, 0, sizeof(*t->waits));
	}
	atomic_inc(&run->warm);
	bench_unmeasured(run, t, &run->warm);

	run->began[i] = bench_ns();
	run->done[i] = bench_go_round(run, t, run->ticks, run->ops);
	run->ended[i] = bench_ns();

	atomic_inc(&run->finished);
	bench_unmeasured(run, t, &run->finished);
}

/* Do @n unmeasured operations in this thread. Return: how many failed. */
static inline u64 bench_do(struct bench_thread *t, bench_loop_t loop, unsigned long n)
{
	unsigned int chunk;

	for (; n; n -= chunk) {
		chunk = min_t(unsigned long, n, 1024);
		loop(t, chunk);
		bench_resched();
	}
	return t->failed;
}

/* Threads of the row contend for its keys: no warm-up of one thread is like that. */
static inline bool bench_contends(const struct bench_row *row)
{
	return row->op >= BENCH_HOLD;
}

static inline unsigned int bench_chunk(const struct bench_row *row)
{
	if (row->op > BENCH_HOLD)
		return 1;
	if (row->hold_us)
		return row->hold_us < 10 ? 8 : 1;
	return row->op >= BENCH_BATCH_2 && row->op <= BENCH_BATCH_16 ? 32 : 128;
}

/* How many operations a thread must do so that all threads together have used every key. */
static inline unsigned long bench_warm_ops(const struct bench_case *c)
{
	static const unsigned int batches[] = { 2, 4, 16 };
	enum bench_op op = c->row->op;

	if ((c->row->kind != BENCH_PRESENT && c->row->kind != BENCH_ABSENT) || c->keys > BENCH_KEYS)
		return 1;
	if (op >= BENCH_BATCH_2 && op <= BENCH_BATCH_16)
		return c->keys / batches[op - BENCH_BATCH_2] / c->threads;
	return c->keys / c->threads;
}

static inline void bench_prepare(struct bench_run *run, const struct bench_case *c,
				 const struct bench_entrant *e)
{
	unsigned int ms = bench_settings.ms, i;

	memset(run, 0, sizeof(*run));
	run->loop = e->loop;
	run->nr_threads = c->threads;
	run->chunk = bench_chunk(c->row);
	run->ops = bench_settings.ops;
	run->warm_ops = bench_warm_ops(c);
	if (c->threads > num_online_cpus() || bench_contends(c->row))
		ms *= 4;
	if (c->row->op == BENCH_SLEEP || c->threads > BENCH_MOST_THREADS)
		ms *= 5;
	run->ticks = bench_ticks_per_ms * ms;
	for (i = 0; i < c->threads; i++) {
		run->threads[i].map = e->map;
		run->threads[i].keys = c->sequences[i];
		run->threads[i].mask = c->sequence - 1;
		run->threads[i].next = e->next[i];
		run->threads[i].hold = bench_ticks_per_ms * c->row->hold_us / 1000;
		run->threads[i].waits = c->waits[i];
		run->threads[i].writer = c->row->writer && i == c->threads - 1;
		run->threads[i].hold_us = c->row->hold_us;
		memset(c->waits[i], 0, sizeof(*c->waits[i]));
	}
}

/* The mean time of a reader's hold: those of a row do not divide the time among them. */
static inline void bench_readers_result(const struct bench_case *c, const struct bench_run *run,
					const char *impl)
{
	unsigned int i, readers = c->threads - c->row->writer;
	u64 sum = 0;

	for (i = 0; i < readers; i++)
		sum += div64_u64(run->ended[i] - run->began[i], run->done[i]);
	bench_result(c, "", impl, sum, readers);
}

static inline int bench_sample(const struct bench_case *c, struct bench_entrant *e)
{
	u64 began = ~0ULL, ended = 0, done = 0, failed = 0;
	unsigned int cpus = c->row->one_cpu ? 1 : num_online_cpus();
	static struct bench_run run;
	unsigned int i;
	int err;

	bench_prepare(&run, c, e);
	err = bench_run_threads(c->threads, cpus, bench_work, &run);
	if (err)
		return err;
	for (i = 0; i < c->threads; i++) {
		began = min_t(u64, began, run.began[i]);
		ended = max_t(u64, ended, run.ended[i]);
		done += run.done[i];
		failed += run.threads[i].failed;
		e->next[i] = c->row->kind == BENCH_NEW ? 0 : run.threads[i].next;
	}
	if (failed) {
		bench_print("error %s %s: %llu operations failed", c->row->name, e->impl->name,
			    failed);
		return -ENOMEM;
	}
	if (c->row->op == BENCH_SLEEP)
		bench_readers_result(c, &run, e->impl->name);
	else
		bench_result(c, "", e->impl->name, ended - began, done);
	if (c->row->op == BENCH_SLEEP ? c->row->writer : bench_contends(c->row))
		bench_print_waits(c, e->impl->name, bench_merge_waits(c));
	return 0;
}

#endif /* _BENCH_SAMPLE_H */
