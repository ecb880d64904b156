// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Measure lockmap, and other ways to lock a key
 *
 * Like kernel/rcu/refscale.c this runs several implementations of one thing in one
 * harness while the module is loaded, and prints the results to the log.
 * tools/bench loads it and makes tables of the log; Documentation/performance.rst
 * explains the figures.
 *
 * bench.h	what is measured, and what an implementation is
 * settings.h	what the user chose to measure
 * driver.h	the course of a run; case.h, sample.h, memory.h and crowd.h are its parts
 * loops.h	the measured loops; impl.h puts an implementation together
 * impl_*.h, rival_*.h	implementations
 * platform.h	what all this needs of the kernel
 * uml_barriers.h	native barriers, when built for User Mode Linux
 * user/	the same for implementations in user space
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/moduleparam.h>

#include "driver.h"
#include "impl_lockmap.h"
#include "rival_bitlock.h"
#include "rival_floor.h"
#include "rival_handrolled.h"
#include "rival_rwsem.h"
#include "rival_stripes.h"

static char *rows = "";
module_param(rows, charp, 0444);
MODULE_PARM_DESC(rows, "Rows to measure, separated by commas (default: all)");

static char *impls = "";
module_param(impls, charp, 0444);
MODULE_PARM_DESC(impls, "Implementations to measure, separated by commas (default: all)");

static unsigned int threads[BENCH_MOST_THREADS] = { 1, 2, 4, 8 };
static unsigned int nr_threads = 4;
module_param_array(threads, uint, &nr_threads, 0444);
MODULE_PARM_DESC(threads, "Numbers of threads, each 1 to 8 (default: 1,2,4,8)");

module_param_named(ms, bench_settings.ms, uint, 0444);
MODULE_PARM_DESC(ms, "Length of a sample in milliseconds (default: 20)");

module_param_named(reps, bench_settings.reps, uint, 0444);
MODULE_PARM_DESC(reps, "Samples of each case (default: 2)");

module_param_named(ops, bench_settings.ops, uint, 0444);
MODULE_PARM_DESC(ops, "Operations in a sample; 0 for a sample of ms= milliseconds (default: 0)");

module_param_named(quick, bench_settings.quick, bool, 0444);
MODULE_PARM_DESC(quick, "Measure only the main rows (default: no)");

module_param_named(sizes, bench_settings.sizes, bool, 0444);
MODULE_PARM_DESC(sizes, "Measure maps of other sizes too (default: no)");

module_param_named(memory, bench_settings.memory, bool, 0444);
MODULE_PARM_DESC(memory, "Measure bytes per key too (default: no)");

module_param_named(crowd, bench_settings.crowd, bool, 0444);
MODULE_PARM_DESC(crowd, "Measure the unlock of a key beside a crowd too (default: no)");

static int __init lockmap_bench_init(void)
{
	const struct bench_impl *all[] = {
		&bench_lockmap_impl, &floor_impl, &handrolled_impl,
		&bitlock_impl, &rwsem_impl, &stripes_impl, &global_impl,
	};
	unsigned int i;

	for (i = 0; i < nr_threads; i++) {
		if (!threads[i] || threads[i] > BENCH_MOST_THREADS)
			return -EINVAL;
		bench_settings.threads[i] = threads[i];
	}
	bench_settings.threads[nr_threads] = 0;
	bench_settings.rows = rows;
	bench_settings.impls = impls;
	memcpy(bench_impls, all, sizeof(all));
	return bench_main();
}

static void __exit lockmap_bench_exit(void)
{
}

module_init(lockmap_bench_init);
module_exit(lockmap_bench_exit);
MODULE_DESCRIPTION("Benchmark of lockmap");
MODULE_AUTHOR("The lockmap authors");
MODULE_LICENSE("Dual MIT/GPL");
