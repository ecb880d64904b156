/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What to measure: the parameters of the module, or the arguments of a program.
 */
#ifndef _BENCH_SETTINGS_H
#define _BENCH_SETTINGS_H

#include "bench.h"

#define BENCH_MAX_IMPLS		8

/**
 * struct bench_settings - what to measure
 * @rows: names of rows, separated by commas; empty for all
 * @impls: names of implementations, separated by commas; empty for all
 * @threads: numbers of threads, ended by 0
 * @ms: length of a sample; four times that where threads share CPUs
 * @reps: samples of each case
 * @ops: if not 0, a sample is that many operations, however long they take
 * @quick: measure only the most important rows
 * @sizes: measure maps of other sizes as well
 * @memory: measure bytes per key as well
 * @crowd: measure the unlock of a key beside a crowd as well
 */
struct bench_settings {
	const char *rows;
	const char *impls;
	unsigned int threads[BENCH_MOST_THREADS + 1];
	unsigned int ms;
	unsigned int reps;
	unsigned int ops;
	bool quick;
	bool sizes;
	bool memory;
	bool crowd;
};

static struct bench_settings bench_settings = {
	.threads = { 1, 2, 4, 8 },
	.ms = 20,
	.reps = 2,
};

static const struct bench_impl *bench_impls[BENCH_MAX_IMPLS];

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

static inline bool bench_wanted(const struct bench_row *row)
{
	if (bench_settings.quick && !row->quick)
		return false;
	return bench_in_list(bench_settings.rows, row->name);
}

#endif /* _BENCH_SETTINGS_H */
