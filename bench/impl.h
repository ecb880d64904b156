/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * All loops of an implementation, and its struct bench_impl. This is a template:
 * define BENCH_IMPL, the prefix of the implementation's functions, and BENCH_NAME,
 * its name in the results, and what else bench.h speaks of, then include this.
 */
#define BENCH_LEN 8
#include "loops.h"
#define BENCH_LEN 16
#include "loops.h"
#define BENCH_LEN 64
#include "loops.h"

#define __BENCH_OF(impl, what)	impl##_##what
#define _BENCH_OF(impl, what)	__BENCH_OF(impl, what)

static const struct bench_impl _BENCH_OF(BENCH_IMPL, impl) = {
	.name = BENCH_NAME,
	.create = _BENCH_OF(BENCH_IMPL, create),
	.destroy = _BENCH_OF(BENCH_IMPL, destroy),
	.loops_8 = _BENCH_OF(BENCH_IMPL, loops_8),
	.loops_16 = _BENCH_OF(BENCH_IMPL, loops_16),
	.loops_64 = _BENCH_OF(BENCH_IMPL, loops_64),
};

#undef _BENCH_OF
#undef __BENCH_OF
#undef BENCH_IMPL
#undef BENCH_NAME
#undef BENCH_HAS_SHARED
#undef BENCH_HAS_ASYNC
#undef BENCH_SPINS
