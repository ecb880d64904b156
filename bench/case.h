/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A case: the implementations do the same operation on the same keys with the
 * same number of threads, and take turns.
 */
#ifndef _BENCH_CASE_H
#define _BENCH_CASE_H

#include "sample.h"

static const struct bench_impl *bench_only;	/* if not NULL, the one to measure */
static struct bench_entrant bench_entrants[BENCH_MAX_IMPLS];
static unsigned int bench_case_nr, bench_nr_cases;
static bool bench_counting;	/* count the cases, and run none */

/*
 * Run a loop once over a sequence of @n keys, unmeasured. No measured thread has
 * this order: a thread that had it would find its entries in memory order.
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
 * Use each key once, so that the caches are warm. With keys that have no value
 * lockmap gets four rounds: it keeps more idle entries as it sees that keys return.
 */
static inline int bench_warm_up(const struct bench_case *c, const struct bench_entrant *e)
{
	bool learns = c->row->kind == BENCH_ABSENT && !strcmp(e->impl->name, "lockmap");
	unsigned int rounds = learns ? 4 : 1;
	int err = 0;

	if (bench_contends(c->row))
		return 0;
	while (rounds-- && !err)
		err = bench_go_over(e->map, c->row, e->loop, c->sequence);
	/* Tables that grew are still being rehashed. */
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

/* Measure @n implementations in turn. */
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

/* Choose the implementations that can do a row and are wanted; destroy the maps of the others. */
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
	struct bench_entrant *chosen[BENCH_MAX_IMPLS];
	unsigned int n = bench_choose(row, chosen);
	static struct bench_case c;
	int err;

	if (!n)
		return 0;
	memset(&c, 0, sizeof(c));
	c.row = row;
	c.threads = threads;
	c.keys = keys;
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

#endif /* _BENCH_CASE_H */
