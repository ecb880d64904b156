/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Memory and counters. The slab of a model, kmem_cache_alloc() and
 * kmem_cache_free(), is the model's own. Nothing else is allocated, or gets freed.
 */
#ifndef _VERIFY_MEMORY_H
#define _VERIFY_MEMORY_H

#define GFP_KERNEL		BIT(0)
#define GFP_NOWAIT		BIT(1)
#define __GFP_NOWARN		BIT(2)
#define __GFP_ACCOUNT		BIT(3)
#define __GFP_ZERO		BIT(4)
#define __GFP_NOFAIL		BIT(5)
#define __GFP_RECLAIM		GFP_KERNEL
#define GFP_NOIO		GFP_KERNEL
#define GFP_ZONEMASK		0
#define __GFP_BITS_MASK		(BIT(6) - 1)
#define PAGE_SHIFT		12
#define totalram_pages()	BIT(20)

void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp);
void kmem_cache_free(struct kmem_cache *cache, void *ptr);

#define gfpflags_allow_blocking(gfp)	((void)(gfp), true)
#define kmalloc(size, gfp)	((void)(gfp), (void *)NULL)
#ifndef kzalloc
#define kzalloc(size, gfp)	((void *)NULL)
#endif
#define kcalloc(n, size, gfp)	((void *)NULL)
#define kvcalloc(n, size, gfp)	((void *)NULL)
#define kfree(ptr)		((void)(ptr))
#define kvfree(ptr)		((void)(ptr))
#define kfree_rcu(ptr, member)	((void)(ptr))
#define debug_check_no_locks_freed(ptr, size)	do { } while (0)

/* Of the shrinker only the types; models call what it calls. */
struct shrink_control {
	unsigned long nr_to_scan, nr_scanned;
};

#define SHRINK_EMPTY		(~0UL - 1)
#define SHRINK_STOP		(~0UL)

/*
 * Counters, each in memory that does not change (explore.h): they stay as the model
 * sets them.
 */
typedef struct { int v; } atomic_t;
typedef struct { long v; } atomic_long_t;

#define atomic_read(a)		((a)->v)
#define atomic_set(a, n)	((void)(a))
#define atomic_inc(a)		((void)(a))
#define atomic_dec(a)		((void)(a))
#define atomic_try_cmpxchg(a, old, new)	((void)(a), (void)(old), (void)(new), true)
#define atomic_long_read(a)	((a)->v)
#define atomic_long_add(n, a)	((void)(n), (void)(a))
#define raw_cpu_ptr(ptr)	(ptr)
#define per_cpu_ptr(ptr, cpu)	((void)(cpu), ptr)
#define for_each_possible_cpu(cpu)	for ((cpu) = 0; (cpu) < 1; (cpu)++)
/* Of constants, so there is nothing to order. */
#define smp_load_acquire(ptr)	(*(ptr))
#define cmpxchg(ptr, old, new)	((void)(ptr), (void)(new), (old))
#define cmpxchg_release(ptr, old, new)	cmpxchg(ptr, old, new)

#endif /* _VERIFY_MEMORY_H */
