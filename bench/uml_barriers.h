/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The barriers of a native x86-64 kernel, for modules in User Mode Linux.
 *
 * User Mode Linux orders processors with the instructions that x86 has for
 * devices: smp_rmb() is an lfence, smp_mb() an mfence, and so is every
 * smp_load_acquire() and smp_store_release(). Each takes some 10 to 30 ns. A
 * native kernel knows that x86 reorders nothing but a store with a later load,
 * so that most barriers only have to hold back the compiler.
 *
 * To measure what lockmap takes on a native kernel, tools/bench forces this
 * header into every file of lockmap.ko and lockmap_bench.ko, so lockmap and all
 * its rivals get it, and with them the parts of rhashtable, RCU, atomics and
 * mutexes that are inlined. The kernel image stays as it is: functions that are
 * called there, such as rhashtable's slow paths, still have the fences.
 * Tests are never built with this header.
 *
 * asm-generic/barrier.h defines only what nobody defined before, and makes the
 * barriers without underscores from these. Without CONFIG_SMP it makes them
 * compiler barriers anyway.
 */
#ifndef _BENCH_UML_BARRIERS_H
#define _BENCH_UML_BARRIERS_H

#ifndef CONFIG_UML_X86
#error "this is for User Mode Linux only: other kernels have native barriers"
#endif

#ifdef CONFIG_X86_64
#define BENCH_UML_BARRIERS

#define __smp_mb()							\
	({ asm volatile("lock addl $0,-4(%%rsp)" ::: "memory", "cc"); })
#define __smp_rmb()			barrier()
#define __smp_wmb()			barrier()
/* An atomic operation of x86 is a full barrier itself. */
#define __smp_mb__before_atomic()	do { } while (0)
#define __smp_mb__after_atomic()	do { } while (0)
#define __smp_store_mb(var, value)	((void)xchg(&(var), value))

#define __smp_store_release(p, v)					\
do {									\
	compiletime_assert_atomic_type(*(p));				\
	barrier();							\
	WRITE_ONCE(*(p), v);						\
} while (0)

#define __smp_load_acquire(p)						\
({									\
	__unqual_scalar_typeof(*(p)) ___p1 = READ_ONCE(*(p));		\
	compiletime_assert_atomic_type(*(p));				\
	barrier();							\
	(typeof(*(p)))___p1;						\
})
#endif

#endif /* _BENCH_UML_BARRIERS_H */
