/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * How much memory the keys of a map take.
 */
#ifndef _BENCH_MEMORY_H
#define _BENCH_MEMORY_H

#include "case.h"

static inline void bench_memory_result(const char *op, const char *impl, unsigned long keys,
				       s64 bytes)
{
	bench_result_of(op, "", 1, keys, impl, bytes < 0 ? 0 : bytes, keys);
}

/* Bytes per key of a million keys with values, tables included. */
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

/* Bytes per key of keys without values that were locked once and are idle. */
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

#endif /* _BENCH_MEMORY_H */
