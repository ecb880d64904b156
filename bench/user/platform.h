/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the benchmark needs of the C library, under the kernel's names. For C and
 * C++.
 */
#ifndef _BENCH_PLATFORM_H
#define _BENCH_PLATFORM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

struct bench_atomic {
	int counter;
};

typedef struct bench_atomic atomic_t;

#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)
#define noinline		__attribute_noinline__
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define min_t(type, a, b)	((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#define max_t(type, a, b)	((type)(a) > (type)(b) ? (type)(a) : (type)(b))
#define ilog2(x)		(63 - __builtin_clzll(x))
#define div64_u64(a, b)		((u64)(a) / (u64)(b))
#define bench_resched()		do { } while (0)

#define BENCH_IN_KERNEL		false	/* free() keeps memory, so idle keys cannot be measured */
#define BENCH_BUILD		"host"
#define BENCH_BARRIERS		"are those of the compiler"

#define bench_print(fmt, ...)	(printf("bench: " fmt "\n", ##__VA_ARGS__), fflush(stdout))

static inline void atomic_inc(atomic_t *v)
{
	__atomic_fetch_add(&v->counter, 1, __ATOMIC_SEQ_CST);
}

static inline int atomic_read(const atomic_t *v)
{
	return __atomic_load_n(&v->counter, __ATOMIC_RELAXED);
}

static inline void cpu_relax(void)
{
#ifdef __x86_64__
	__builtin_ia32_pause();
#endif
}

static inline unsigned int num_online_cpus(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN);
}

static inline u64 bench_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static __always_inline u64 bench_ticks(void)
{
#ifdef __x86_64__
	return __builtin_ia32_rdtsc();
#else
	return bench_ns();
#endif
}

static inline void *bench_alloc(size_t size)
{
	return calloc(1, size);
}

static inline void bench_free(void *ptr)
{
	free(ptr);
}

static inline void bench_relax(void)
{
	sched_yield();
}

static inline void bench_yield(void)
{
	sched_yield();
}

static inline void bench_settle(unsigned int ms)
{
	usleep(ms * 1000);
}

static inline s64 bench_memory(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long size, resident = 0;

	if (file) {
		if (fscanf(file, "%ld %ld", &size, &resident) != 2)
			resident = 0;
		fclose(file);
	}
	return (s64)resident * sysconf(_SC_PAGESIZE);
}

struct bench_worker {
	void (*fn)(void *arg, unsigned int i);
	void *arg;
	unsigned int i;
	unsigned int cpu;
	pthread_t thread;
};

static inline void *bench_pthread(void *ptr)
{
	struct bench_worker *worker = (struct bench_worker *)ptr;
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(worker->cpu, &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu);
	worker->fn(worker->arg, worker->i);
	return NULL;
}

static inline int bench_run_threads(unsigned int n, unsigned int cpus,
				    void (*fn)(void *arg, unsigned int i), void *arg)
{
	struct bench_worker workers[8];
	unsigned int i;
	int err = 0;

	if (n > ARRAY_SIZE(workers))
		return -EINVAL;
	for (i = 0; i < n && !err; i++) {
		workers[i].fn = fn;
		workers[i].arg = arg;
		workers[i].i = i;
		workers[i].cpu = i % cpus;
		err = -pthread_create(&workers[i].thread, NULL, bench_pthread, &workers[i]);
	}
	if (err)
		return err;
	for (i = 0; i < n; i++)
		pthread_join(workers[i].thread, NULL);
	return 0;
}

#endif /* _BENCH_PLATFORM_H */
