/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the benchmark needs of the kernel. The header of this name in user/ is the
 * same for programs.
 */
#ifndef _BENCH_PLATFORM_H
#define _BENCH_PLATFORM_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/processor.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/types.h>

#define BENCH_IN_KERNEL	true
#define BENCH_BUILD							\
	(!IS_ENABLED(CONFIG_UML) ? "x86" : IS_ENABLED(CONFIG_SMP) ? "uml-smp" : "uml-up")

/* What smp_rmb() and the like are in what is measured: see uml_barriers.h. */
#if !defined(CONFIG_UML)
#define BENCH_BARRIERS	"are those of this kernel"
#elif !defined(CONFIG_SMP)
#define BENCH_BARRIERS	"only hold back the compiler, as there is one CPU"
#elif defined(BENCH_UML_BARRIERS)
#define BENCH_BARRIERS	"are those of native x86 in the modules, and fences in the kernel image"
#else
#define BENCH_BARRIERS	"are fences: slower than native"
#endif

#define bench_print(fmt, ...)	pr_info(fmt "\n", ##__VA_ARGS__)

/* A cheap clock. bench_calibrate() measures its unit. */
static __always_inline u64 bench_ticks(void)
{
#ifdef CONFIG_X86_64
	u32 low, high;

	asm volatile("rdtsc" : "=a" (low), "=d" (high));
	return (u64)high << 32 | low;
#else
	return ktime_get_ns();
#endif
}

static inline u64 bench_ns(void)
{
	return ktime_get_ns();
}

static inline void *bench_alloc(size_t size)
{
	return kvzalloc(size, GFP_KERNEL);
}

static inline void bench_free(void *ptr)
{
	kvfree(ptr);
}

/*
 * cond_resched() does nothing on a preemptible kernel, which leaves that to the
 * tick. In User Mode Linux the tick does not preempt kernel code.
 */
static inline void bench_resched(void)
{
	if (need_resched())
		schedule();
}

static inline void bench_relax(void)
{
	cpu_relax();
	bench_resched();
}

/* Let other threads of this CPU run, whether or not this one's time is up. */
static inline void bench_yield(void)
{
	yield();
}

static inline void bench_sleep_us(unsigned int us)
{
	usleep_range(us, us + 1);
}

/* Wait for deferred work to end: frees after a grace period, and growing tables. */
static inline void bench_settle(unsigned int ms)
{
	rcu_barrier();
	msleep(ms);
}

/* Bytes of memory in use. */
static inline s64 bench_memory(void)
{
	struct sysinfo info;

	si_meminfo(&info);
	return (s64)(info.totalram - info.freeram) * PAGE_SIZE;
}

struct bench_worker {
	void (*fn)(void *arg, unsigned int i);
	void *arg;
	unsigned int i;
	struct completion done;
};

static int bench_kthread(void *ptr)
{
	struct bench_worker *worker = ptr;

	worker->fn(worker->arg, worker->i);
	kthread_complete_and_exit(&worker->done, 0);
}

/* Bind thread i to CPU number i, modulo @cpus. */
static int bench_start_worker(struct bench_worker *worker, unsigned int cpus)
{
	unsigned int cpu = cpumask_first(cpu_online_mask), n = worker->i % cpus;
	struct task_struct *task = kthread_create(bench_kthread, worker, "bench/%u", worker->i);

	if (IS_ERR(task))
		return PTR_ERR(task);
	while (n--)
		cpu = cpumask_next(cpu, cpu_online_mask);
	kthread_bind(task, cpu);
	wake_up_process(task);
	return 0;
}

/* Call @fn(@arg, i) in @n threads on @cpus CPUs at once, and wait until all have returned. */
static inline int bench_run_threads(unsigned int n, unsigned int cpus,
				    void (*fn)(void *arg, unsigned int i), void *arg)
{
	struct bench_worker *workers = bench_alloc(n * sizeof(*workers));
	unsigned int i;
	int err = 0;

	if (!workers)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		workers[i] = (struct bench_worker) { .fn = fn, .arg = arg, .i = i };
		init_completion(&workers[i].done);
	}
	/* Threads that were started wait for the others, so there is no way back. */
	for (i = 0; i < n && !err; i++)
		err = bench_start_worker(&workers[i], cpus);
	if (err)
		return err;
	for (i = 0; i < n; i++)
		wait_for_completion(&workers[i].done);
	bench_free(workers);
	return 0;
}

#endif /* _BENCH_PLATFORM_H */
