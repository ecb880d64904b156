/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The course of a run: memory, then all rows, then maps of other sizes. Shared by
 * the module and the programs in user/.
 *
 * Before a case each implementation gets a map of its own, which is filled and
 * warmed up. Then the implementations take turns, one sample each, until each has
 * all its samples: a disturbance of the machine hits all of them alike. Cases that
 * want a filled map share it: operations leave a map with the keys that it had.
 *
 * The output is lines of words, which report.py reads:
 *
 *	barriers BUILD TEXT...				how the code orders processors
 *	case NUMBER ALL OP THREADS KEYS
 *	result OP THREADS KEYS IMPL BUILD VALUE		ns per operation
 *	result OP-p999, OP-max THREADS KEYS IMPL BUILD VALUE	a wait in ns
 *	result bytes, bytes-... 1 KEYS IMPL BUILD VALUE	bytes per key
 *	result unlock-b CROWD KEYS IMPL BUILD VALUE	an unlock in ns, beside CROWD waiters
 *	waits OP THREADS KEYS IMPL BUILD FROM COUNT	COUNT waits from FROM ns up to the next FROM
 *	error WHAT...					the run is worthless
 *	done
 */
#ifndef _BENCH_DRIVER_H
#define _BENCH_DRIVER_H

#include "case.h"
#include "memory.h"
#ifdef __KERNEL__
#include "crowd.h"
#endif

static inline int bench_do_row(const struct bench_row *row)
{
	const unsigned int *threads;
	int err = 0;

	if (row->threads)
		return bench_do_case(row, row->threads, BENCH_KEYS);
	for (threads = bench_settings.threads; *threads && !err; threads++) {
		if (row->op != BENCH_HOLD || *threads > 1)
			err = bench_do_case(row, *threads, BENCH_KEYS);
	}
	return err;
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

/* All implementations' large maps would not fit into memory at once: one after the other. */
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

	bench_print("barriers %s %s", BENCH_BUILD, BENCH_BARRIERS);
	bench_calibrate();
	bench_counting = true;
	bench_do_rows();
	bench_nr_cases = bench_case_nr;
	bench_counting = false;
	/* Measure memory first, before the cases leave anything behind in the caches. */
	err = bench_settings.memory ? bench_do_memory() : 0;
#ifdef __KERNEL__
	if (bench_settings.crowd && !err)
		err = bench_do_crowd();
#endif
	if (!err)
		err = bench_do_rows();
	if (err)
		bench_print("error code %d", err);
	else
		bench_print("done");
	return err;
}

#endif /* _BENCH_DRIVER_H */
