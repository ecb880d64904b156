/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the rooms in core/ use of the kernel, for user space. Written afresh, and
 * no more of it than they need. All headers linux/... of a model are this one;
 * callback.h, compat.h and observe.h take the places of four rooms.
 *
 * The machine underneath, which is atomics, spin locks and the scheduler, is
 * either explore.h or threads.h.
 */
#ifndef _VERIFY_SHIM_H
#define _VERIFY_SHIM_H

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long long u64;
typedef unsigned int gfp_t;

/* Numbers */
#define BIT(n)			(1UL << (n))
#define BIT_ULL(n)		(1ULL << (n))
#define GENMASK_ULL(h, l)	((~0ULL >> (63 - (h))) & (~0ULL << (l)))
#define ilog2(n)		(63 - __builtin_clzll(n))
#define rounddown_pow_of_two(n)	(1ULL << ilog2(n))
#define roundup_pow_of_two(n)	(1ULL << (64 - __builtin_clzll((n) - 1)))
#define SZ_1M			BIT(20)
#define max(a, b)		((a) > (b) ? (a) : (b))
#define min(a, b)		((a) < (b) ? (a) : (b))
#define min_t(type, a, b)	min((type)(a), (type)(b))
#define clamp(n, low, high)	min(max(n, low), high)
#define clamp_t(type, n, low, high)	min(max((type)(n), (type)(low)), (type)(high))
#define div_u64(a, b)		((u64)(a) / (b))

/* The compiler */
#define static_assert(expr)	_Static_assert(expr, #expr)
#define likely(x)		(x)
#define unlikely(x)		(x)
#define noinline		__attribute__((noinline))
#define __must_check
#define __maybe_unused		__attribute__((unused))
#define __aligned(n)		__attribute__((aligned(n)))
#define __section(name)		__attribute__((section(name)))
#define ____cacheline_aligned_in_smp
#define __percpu
#define __rcu
#define __releases(x)
#define HZ			500
#define U32_MAX			0xffffffffU
#define swap(a, b)		do { typeof(a) __a = (a); (a) = (b); (b) = __a; } while (0)
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define sizeof_field(type, member)	sizeof(((type *)0)->member)
#define container_of(ptr, type, member)	((type *)((char *)(ptr) - offsetof(type, member)))
#define struct_size(p, member, n)	(sizeof(*(p)) + sizeof(*(p)->member) * (n))
#define EXPORT_SYMBOL_GPL(name)
#define __init
#define __flatten
#define module_param_named(name, value, type, perm)
#define MODULE_PARM_DESC(name, text)
#define DEFINE_FREE(name, type, free)
#define DEFINE_CLASS(name, type, exit, init, args...)	struct no_class_##name
#define _RET_IP_		0

#define IS_ERR(ptr)		((uintptr_t)(ptr) >= (uintptr_t)-4095)
#define IS_ERR_OR_NULL(ptr)	(!(ptr) || IS_ERR(ptr))
#define PTR_ERR(ptr)		((int)(intptr_t)(ptr))
#define ERR_PTR(err)		((void *)(intptr_t)(err))
#define PTR_ERR_OR_ZERO(ptr)	(IS_ERR(ptr) ? PTR_ERR(ptr) : 0)

/* Bytes */
#define as_packed(ptr)		((struct { typeof(*(ptr)) x; } __attribute__((packed)) *)(ptr))
#define get_unaligned(ptr)	(as_packed(ptr)->x)
#define put_unaligned(n, ptr)	(as_packed(ptr)->x = (n))

static inline u32 bitrev32(u32 x)
{
	u32 ret = 0;
	int i;

	for (i = 0; i < 32; i++)
		ret |= (x >> i & 1) << (31 - i);
	return ret;
}

/* Hashes: the constant of linux/hash.h. No model asks for SipHash. A model may hash addresses. */
#define GOLDEN_RATIO_64		0x61C8864680B583EBull
#define hash_32(n, bits)	(n)
#define hash_ptr(ptr, bits)	0
/* Two buckets of sleepers are enough. Owner bits differ in the pid. */
#define NR_SLEEPER_BUCKETS	2
#define hash_64(n, bits)	((n) >> 8 & (NR_SLEEPER_BUCKETS - 1))

typedef struct { u64 key[2]; } siphash_key_t, hsiphash_key_t;
#define siphash_1u64(x, key)		((void)(key), (u64)(x))
#define siphash_3u64(x, y, z, key)	((void)(key), (u64)(x))
#define hsiphash(data, len, key)	((void)(key), (void)(data), (u32)(len))

/* Tasks */
#define PID_MAX_LIMIT		(4 * 1024 * 1024)
#define TASK_RUNNING		0
#define TASK_INTERRUPTIBLE	1
#define TASK_UNINTERRUPTIBLE	2
#define TASK_NORMAL		3
#define TASK_KILLABLE		TASK_UNINTERRUPTIBLE
#define MAX_SCHEDULE_TIMEOUT	LONG_MAX
#define PIDTYPE_PID		0
#define find_pid_ns(nr, ns)	(nr)
#define pid_task(nr, type)	(&tasks[(nr) - 1])
#define in_serving_softirq()	(!in_task())
#define might_sleep()		do { } while (0)
#define num_online_cpus()	2

/* Structs that models have no use for */
struct lockdep_map { };
struct lock_class_key { };
struct work_struct { };
struct rcu_head { };
struct shrinker;
struct dentry;
struct module;
struct kmem_cache;

#ifdef VERIFY_THREADS
#include "threads.h"
#else
#include "explore.h"
#endif

#define spin_lock_irq(lock)			spin_lock(lock)
#define spin_unlock_irq(lock)			spin_unlock(lock)
#define spin_lock_irqsave(lock, flags)		do { (flags) = 0; spin_lock(lock); } while (0)
#define spin_unlock_irqrestore(lock, flags)	do { (void)(flags); spin_unlock(lock); } while (0)
#define rcu_dereference_raw(ptr)		READ_ONCE(ptr)
#define rcu_access_pointer(ptr)			READ_ONCE(ptr)
#define RCU_INIT_POINTER(ptr, value)		((ptr) = (value))
#define rcu_assign_pointer(ptr, value)		((ptr) = (value))

#include "list.h"
#include "memory.h"
#include "rhashtable.h"

#define WARN_ONCE(cond, ...)	({ ex_assert(!(cond), "a warning of lockmap's"); 0; })
#define pr_notice(...)		do { } while (0)

#endif /* _VERIFY_SHIM_H */
