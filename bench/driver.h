/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * How it is measured: cases, samples, results. For the module and the programs
 * in user/ alike.
 *
 * Before a case every implementation has a map of its own, filled and warmed up.
 * Then one sample of each is taken, then another of each, and so on, so that
 * what disturbs the machine for a moment does not hit one of them alone. Within
 * a sample the threads start together and go round their sequences of keys until
 * the time is up, and as in refscale.c a little before and after, unmeasured, so
 * that each finds caches warm and the others at work. The result is wall time
 * over the operations of all threads.
 * Filled maps are used for all cases that want them so; operations leave them
 * with the keys that they had.
 *
 * What comes out are lines of words, for tools/bench to read:
 *
 *	case NUMBER ALL OP THREADS KEYS
 *	result OP THREADS KEYS IMPL BUILD VALUE		ns per operation
 *	result OP-p999, OP-max THREADS KEYS IMPL BUILD VALUE	a wait in ns
 *	result bytes, bytes-... 1 KEYS IMPL BUILD VALUE	bytes per key
 *	waits OP THREADS KEYS IMPL BUILD FROM COUNT	so many waited FROM ns or a little more
 *	error WHAT...					the run is spoilt
 *	done
 */
#ifndef _BENCH_DRIVER_H
#define _BENCH_DRIVER_H

#include "bench.h"

#define BENCH_MAX_IMPLS		8

/**
 * struct bench_settings - what to measure
 * @rows: names of rows, separated by commas; empty for all
 * @impls: names of implementations, likewise
 * @threads: numbers of threads, ended by 0
 * @ms: length of a sample; where threads have to share CPUs four times that
 * @reps: samples of each case
 * @ops: if not 0, operations in a sample, instead of a time
 * @quick: only the most important rows
 * @sizes: maps of other sizes as well
 * @memory: measure bytes per key as well
 */
struct bench_settings {
	const char *rows;
	const char *impls;
	unsigned int threads[BENCH_MAX_THREADS + 1];
	unsigned int ms;
	unsigned int reps;
	unsigned int ops;
	bool quick;
	bool sizes;
	bool memory;
};

struct bench_case {
	const struct bench_row *row;
	unsigned int threads;
	unsigned long keys;
	unsigned long sequence;		/* length of a thread's */
	u8 *sequences[BENCH_MAX_THREADS];
	struct bench_waits *waits[BENCH_MAX_THREADS];
};

/**
 * struct bench_entrant - an implementation's part in a case
 * @impl: the implementation
 * @loop: what it is to do
 * @map: its map
 * @filled: if not 0, so many keys of length @key_len were put into @map
 * @key_len: see @filled
 * @next: where each thread goes on in its sequence
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
	unsigned int chunk;		/* operations between looks at the clock */
	u64 ticks;			/* how long to run, ... */
	u64 ops;			/* ... unless this is not 0: so many operations */
	u64 warm_ops;			/* at least so many before */
	atomic_t started;
	atomic_t warm;
	atomic_t finished;
};

/* Where waits go that are not measured. */
static struct bench_waits bench_no_waits;

static struct bench_settings bench_settings = {
	.threads = { 1, 2, 4, 8 },
	.ms = 20,
	.reps = 2,
};

static const struct bench_impl *bench_impls[BENCH_MAX_IMPLS];
static const struct bench_impl *bench_only;	/* if not NULL, the one to measure */
static struct bench_entrant bench_entrants[BENCH_MAX_IMPLS];
static u64 bench_ticks_per_ms;
static unsigned int bench_case_nr, bench_nr_cases;
static bool bench_counting;

static inline bool bench_in_list(const char *list, const char *name)
{
	size_t len = strlen(name);
	const char *at;

	if (!list || !*list)
		return true;
	for (at = list; (at = strstr(at, name)); at += len) {
		if ((at == list || at[-1] == ',') && (!at[len] || at[len] == ','))
			return true;
	}
	return false;
}

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

static inline void bench_result(const struct bench_case *c, const char *suffix, const char *impl,
				u64 value, u64 per)
{
	u64 milli = div64_u64(value * 1000 + per / 2, per);

	bench_print("result %s%s %u %lu %s %s %llu.%03u", c->row->name, suffix, c->threads,
		    c->keys, impl, BENCH_BUILD, div64_u64(milli, 1000),
		    (unsigned int)(milli - div64_u64(milli, 1000) * 1000));
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

/* All waits of a sample, in the first thread's place. */
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

/* Do what is measured, without being measured, until all threads are there. */
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

/* Do operations until a time, or so many. Return: how many it were. */
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

/* One thread's part. */
static inline void bench_work(void *arg, unsigned int i)
{
	struct bench_run *run = (struct bench_run *)arg;
	struct bench_thread *t = &run->threads[i];

	atomic_inc(&run->started);
	while (!bench_all(run, &run->started))
		bench_relax();
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

/* Do @n operations, in this thread, that are not measured. */
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

static inline unsigned int bench_chunk(const struct bench_row *row)
{
	if (row->hold_us)
		return row->hold_us < 10 ? 8 : 1;
	return row->op >= BENCH_BATCH_2 && row->op <= BENCH_BATCH_16 ? 32 : 128;
}

/* How many operations of each thread it takes to have seen all keys, if that are not too many. */
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
	if (c->threads > num_online_cpus() || c->row->op == BENCH_HOLD)
		ms *= 4;
	run->ticks = bench_ticks_per_ms * ms;
	for (i = 0; i < c->threads; i++) {
		run->threads[i].map = e->map;
		run->threads[i].keys = c->sequences[i];
		run->threads[i].mask = c->sequence - 1;
		run->threads[i].next = e->next[i];
		run->threads[i].hold = bench_ticks_per_ms * c->row->hold_us / 1000;
		run->threads[i].waits = c->waits[i];
		memset(c->waits[i], 0, sizeof(*c->waits[i]));
	}
}

static inline int bench_sample(const struct bench_case *c, struct bench_entrant *e)
{
	u64 began = ~0ULL, ended = 0, done = 0, failed = 0;
	static struct bench_run run;
	unsigned int i;
	int err;

	bench_prepare(&run, c, e);
	err = bench_run_threads(c->threads, bench_work, &run);
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
	bench_result(c, "", e->impl->name, ended - began, done);
	if (c->row->op == BENCH_HOLD)
		bench_print_waits(c, e->impl->name, bench_merge_waits(c));
	return 0;
}

/*
 * Cases
 */

/*
 * Go once over a sequence of @n keys, not measured. Its order is none of a
 * measured thread's, which else would find its entries in the order in which
 * they lie in memory.
 */
static inline int bench_go_over(void *map, const struct bench_row *row, bench_loop_t loop,
				unsigned long n)
{
	struct bench_thread t = { .map = map, .mask = n - 1 };
	u64 failed;

	t.keys = (u8 *)bench_alloc(n * row->key_len);
	if (!t.keys)
		return -ENOMEM;
	bench_make_sequence(row, t.keys, n, BENCH_MAX_THREADS, 0);
	failed = bench_do(&t, loop, n);
	bench_free(t.keys);
	return failed ? -ENOMEM : 0;
}

static inline int bench_fill(void *map, const struct bench_impl *impl, unsigned int len,
			     unsigned long keys)
{
	struct bench_row row = { .name = "fill", .kind = BENCH_PRESENT, .key_len = len };

	return bench_go_over(map, &row, bench_loop(impl, len, BENCH_FILL), keys);
}

/*
 * Once round, so that the caches are warm. Keys without a value four times with
 * lockmap, which makes room for more idle entries when it sees that keys come back.
 */
static inline int bench_warm_up(const struct bench_case *c, const struct bench_entrant *e)
{
	bool learns = c->row->kind == BENCH_ABSENT && !strcmp(e->impl->name, "lockmap");
	unsigned int rounds = learns ? 4 : 1;
	int err = 0;

	if (c->row->op == BENCH_HOLD)
		return 0;
	while (rounds-- && !err)
		err = bench_go_over(e->map, c->row, e->loop, c->sequence);
	/* Tables that grew are still being moved. */
	if (!c->row->filled)
		bench_settle(10 + c->sequence / 8192);
	return err;
}

static inline void bench_leave(struct bench_entrant *e)
{
	if (e->map)
		e->impl->destroy(e->map);
	e->map = NULL;
	e->filled = 0;
}

static inline int bench_make_map(const struct bench_case *c, struct bench_entrant *e)
{
	int err = 0;

	e->map = e->impl->create(c->row->key_len, c->keys);
	if (!e->map)
		return -ENOMEM;
	if (c->row->filled) {
		err = bench_fill(e->map, e->impl, c->row->key_len, c->keys);
		e->filled = c->keys;
		e->key_len = c->row->key_len;
	}
	bench_settle(10 + c->keys / 8192);
	return err;
}

static inline int bench_enter(const struct bench_case *c, struct bench_entrant *e)
{
	int err = 0;

	memset(e->next, 0, sizeof(e->next));
	if (!c->row->filled || e->filled != c->keys || e->key_len != c->row->key_len) {
		bench_leave(e);
		err = bench_make_map(c, e);
	}
	return err ? err : bench_warm_up(c, e);
}

static inline void bench_make_sequences(const struct bench_case *c, unsigned int rep)
{
	unsigned int i;

	for (i = 0; i < c->threads; i++)
		bench_make_sequence(c->row, c->sequences[i], c->sequence, i, rep);
}

/* Have @n of them compete. */
static inline int bench_compete(const struct bench_case *c, struct bench_entrant **entrants,
				unsigned int n)
{
	unsigned int i, rep;
	int err = 0;

	bench_make_sequences(c, 0);
	for (i = 0; i < n && !err; i++)
		err = bench_enter(c, entrants[i]);
	for (rep = 0; rep < bench_settings.reps && !err; rep++) {
		if (c->row->kind == BENCH_NEW)
			bench_make_sequences(c, rep + 1);
		for (i = 0; i < n && !err; i++) {
			err = bench_sample(c, entrants[(i + rep) % n]);
			if (!c->row->filled)
				bench_settle(5);
		}
	}
	return err;
}

/* Those who can do a row, and were asked for. The maps of others are no longer needed. */
static inline unsigned int bench_choose(const struct bench_row *row, struct bench_entrant **chosen)
{
	unsigned int i, n = 0;

	for (i = 0; i < BENCH_MAX_IMPLS && bench_impls[i]; i++) {
		struct bench_entrant *e = &bench_entrants[i];

		e->impl = bench_impls[i];
		e->loop = bench_loop(e->impl, row->key_len, row->op);
		if (e->loop && (!bench_only || bench_only == e->impl) &&
		    bench_in_list(bench_settings.impls, e->impl->name))
			chosen[n++] = e;
		else
			bench_leave(e);
	}
	return n;
}

static inline void bench_leave_all(void)
{
	unsigned int i;

	for (i = 0; i < BENCH_MAX_IMPLS; i++)
		bench_leave(&bench_entrants[i]);
}

static inline int bench_alloc_case(struct bench_case *c)
{
	unsigned int i;

	for (i = 0; i < c->threads; i++) {
		c->sequences[i] = (u8 *)bench_alloc(c->sequence * c->row->key_len);
		c->waits[i] = (struct bench_waits *)bench_alloc(sizeof(struct bench_waits));
		if (!c->sequences[i] || !c->waits[i])
			return -ENOMEM;
	}
	return 0;
}

static inline void bench_free_case(struct bench_case *c)
{
	unsigned int i;

	for (i = 0; i < c->threads; i++) {
		bench_free(c->sequences[i]);
		bench_free(c->waits[i]);
	}
}

static inline int bench_do_case(const struct bench_row *row, unsigned int threads,
				unsigned long keys)
{
	struct bench_case c = { .row = row, .threads = threads, .keys = keys };
	struct bench_entrant *chosen[BENCH_MAX_IMPLS];
	unsigned int n = bench_choose(row, chosen);
	int err;

	if (!n)
		return 0;
	bench_case_nr++;
	if (bench_counting)
		return 0;
	bench_print("case %u %u %s %u %lu", bench_case_nr, bench_nr_cases, row->name, threads,
		    keys);
	c.sequence = bench_sequence_len(row, keys);
	err = bench_alloc_case(&c);
	if (!err)
		err = bench_compete(&c, chosen, n);
	bench_free_case(&c);
	return err;
}

static inline int bench_do_row(const struct bench_row *row)
{
	const unsigned int *threads;
	int err = 0;

	for (threads = bench_settings.threads; *threads && !err; threads++) {
		if (row->op != BENCH_HOLD || *threads > 1)
			err = bench_do_case(row, *threads, BENCH_KEYS);
	}
	return err;
}

/*
 * Memory
 */

static inline void bench_memory_result(const char *op, const char *impl, unsigned long keys,
				       s64 bytes)
{
	struct bench_row row = { .name = op };
	struct bench_case c = { .row = &row, .threads = 1, .keys = keys };

	bench_result(&c, "", impl, bytes < 0 ? 0 : bytes, keys);
}

/* What a million keys with values take, tables included. */
static inline int bench_memory_keys(const struct bench_impl *impl)
{
	const unsigned long keys = 1UL << 20;
	s64 before, after;
	void *map;
	int err;

	bench_settle(200);
	before = bench_memory();
	map = impl->create(sizeof(u64), keys);
	if (!map)
		return -ENOMEM;
	err = bench_fill(map, impl, sizeof(u64), keys);
	bench_settle(500);
	after = bench_memory();
	impl->destroy(map);
	bench_memory_result("bytes", impl->name, keys, after - before);
	return err;
}

/* What keys without values take that were locked once and are not any more. */
static inline int bench_memory_idle(const struct bench_impl *impl)
{
	struct bench_row row = { .name = "idle", .kind = BENCH_ABSENT, .key_len = 8 };
	s64 before, after;
	void *map;
	int err;

	bench_settle(200);
	before = bench_memory();
	map = impl->create(sizeof(u64), BENCH_KEYS);
	if (!map)
		return -ENOMEM;
	err = bench_go_over(map, &row, impl->loops_8[BENCH_LOCK], BENCH_KEYS);
	bench_settle(500);
	after = bench_memory();
	impl->destroy(map);
	bench_memory_result("bytes-idle", impl->name, BENCH_KEYS, after - before);
	return err;
}

static inline int bench_do_memory(void)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < BENCH_MAX_IMPLS && bench_impls[i] && !err; i++) {
		if (!bench_in_list(bench_settings.impls, bench_impls[i]->name))
			continue;
		err = bench_memory_keys(bench_impls[i]);
		if (!err && BENCH_IN_KERNEL)
			err = bench_memory_idle(bench_impls[i]);
	}
	return err;
}

/*
 * All
 */

static inline bool bench_wanted(const struct bench_row *row)
{
	if (bench_settings.quick && !row->quick)
		return false;
	return bench_in_list(bench_settings.rows, row->name);
}

static inline int bench_do_size(unsigned long keys)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < ARRAY_SIZE(bench_rows) && !err; i++) {
		if (bench_rows[i].sizes && bench_wanted(&bench_rows[i]))
			err = bench_do_case(&bench_rows[i], 1, keys);
	}
	return err;
}

/* Large maps would not fit into memory all at once. */
static inline int bench_do_big_size(unsigned long keys)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < BENCH_MAX_IMPLS && bench_impls[i] && !err; i++) {
		bench_only = bench_impls[i];
		err = bench_do_size(keys);
	}
	bench_only = NULL;
	return err;
}

static inline int bench_do_rows(void)
{
	const unsigned long *keys;
	unsigned int i;
	int err = 0;

	bench_case_nr = 0;
	for (i = 0; i < ARRAY_SIZE(bench_rows) && !err; i++) {
		if (bench_wanted(&bench_rows[i]))
			err = bench_do_row(&bench_rows[i]);
	}
	for (keys = bench_sizes; *keys && bench_settings.sizes && !err; keys++)
		err = *keys > BENCH_BIG ? bench_do_big_size(*keys) : bench_do_size(*keys);
	bench_leave_all();
	return err;
}

static inline int bench_main(void)
{
	int err;

	bench_calibrate();
	bench_counting = true;
	bench_do_rows();
	bench_nr_cases = bench_case_nr;
	bench_counting = false;
	/* First, while memory is what it is after boot. */
	err = bench_settings.memory ? bench_do_memory() : 0;
	if (!err)
		err = bench_do_rows();
	if (err)
		bench_print("error code %d", err);
	else
		bench_print("done");
	return err;
}

#endif /* _BENCH_DRIVER_H */
