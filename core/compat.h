/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Every difference between kernels, and nothing else.
 *
 * The other rooms are written for the newest kernel. This is the only file that
 * may look at LINUX_VERSION_CODE, or at the configuration with an #ifdef.
 */
#ifndef _LOCKMAP_CORE_COMPAT_H
#define _LOCKMAP_CORE_COMPAT_H

#include <linux/math64.h>
#include <linux/overflow.h>
#include <linux/rhashtable.h>
#include <linux/sched.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0) || LINUX_VERSION_CODE >= KERNEL_VERSION(7, 4, 0)
#error "lockmap is for Linux 6.1 to 7.3"
#endif

/* 6.12: moved. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#include <linux/unaligned.h>
#else
#include <asm/unaligned.h>
#endif

/* 6.5, and a stable backport to 6.1. */
#ifndef struct_size_t
#define struct_size_t(type, member, count)	struct_size((type *)NULL, member, count)
#endif

/* 7.0 */
#ifndef kzalloc_obj
#define kzalloc_obj(obj, gfp)	kzalloc(sizeof(obj), gfp)
#endif

/* 7.2: rhashtable can be told to bear long chains: neither to rehash nor to refuse for them. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 2, 0)
#define LM_RHT_INSECURE_ELASTICITY	.insecure_elasticity = true,
#else
#define LM_RHT_INSECURE_ELASTICITY
#endif

/* 6.2: the lock of a bucket turns interrupts off, not only bottom halves. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
#define lm_rht_lock(tbl, bucket, flags)		((flags) = rht_lock(tbl, bucket))
#define lm_rht_unlock(tbl, bucket, flags)	rht_unlock(tbl, bucket, flags)
#define lm_rht_assign_unlock(tbl, bucket, node, flags)	rht_assign_unlock(tbl, bucket, node, flags)
#else
#define lm_rht_lock(tbl, bucket, flags)		((flags) = 0, rht_lock(tbl, bucket))
#define lm_rht_unlock(tbl, bucket, flags)	((void)(flags), rht_unlock(tbl, bucket))
#define lm_rht_assign_unlock(tbl, bucket, node, flags)			\
	((void)(flags), rht_assign_unlock(tbl, bucket, node))
#endif

/* 6.7: exported to modules. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
#include <trace/events/lock.h>
#define lm_contention_begin(lock)	trace_contention_begin(lock, 0)
#define lm_contention_end(lock, ret)	trace_contention_end(lock, ret)
#else
#define lm_contention_begin(lock)	do { } while (0)
#define lm_contention_end(lock, ret)	do { } while (0)
#endif

/* With CONFIG_LOCKMAP_DEBUG an entry knows more of its owner than the pid. */
#ifdef CONFIG_LOCKMAP_DEBUG
struct lm_owner_note {
	u64 start;
	pid_t pid;
	char comm[TASK_COMM_LEN];
};

static inline void lm_owner_note(struct lm_owner_note *note, const struct task_struct *task)
{
	note->start = task->start_time;
	note->pid = task->pid;
	memcpy(note->comm, task->comm, TASK_COMM_LEN);
}

/* No task has noted itself yet. */
static inline void lm_owner_forget(struct lm_owner_note *note)
{
	note->pid = 0;
}

static inline bool lm_owner_is(const struct lm_owner_note *note, const struct task_struct *task)
{
	/* A task that was just given the lock has not noted itself yet: it passes. */
	return data_race(note->pid != task->pid || note->start == task->start_time);
}

static inline const char *lm_owner_comm(const struct lm_owner_note *note)
{
	return note->comm;
}
#else
struct lm_owner_note {
};

static inline void lm_owner_note(struct lm_owner_note *note, const struct task_struct *task)
{
}

static inline void lm_owner_forget(struct lm_owner_note *note)
{
}

static inline bool lm_owner_is(const struct lm_owner_note *note, const struct task_struct *task)
{
	return true;
}

static inline const char *lm_owner_comm(const struct lm_owner_note *note)
{
	return "?";
}
#endif

/* Compilers for 32 bits have no 128-bit integers. */
#ifdef __SIZEOF_INT128__
#define LM_HAS_INT128	1
#define lm_u128		unsigned __int128
#else
#define LM_HAS_INT128	0
#define lm_u128		u64
#endif

/*
 * A section with preemption off is an RCU read side section too, at half the
 * price, so the fast path takes that. lockdep does not know it for one, and
 * PREEMPT_RT wants no such sections.
 */
#if defined(CONFIG_PROVE_RCU) || defined(CONFIG_PREEMPT_RT)
#define lm_read_lock()		rcu_read_lock()
#define lm_read_unlock()	rcu_read_unlock()
#else
#define lm_read_lock()		preempt_disable()
#define lm_read_unlock()	preempt_enable()
#endif

/* The check of kernel logs tells KCSAN's reports apart by the names of functions. */
#ifdef CONFIG_KCSAN
#define lm_noinline_kcsan	noinline
#else
#define lm_noinline_kcsan
#endif

/*
 * The next lock of a class, from the @i-th on, of those that lockdep sees the caller
 * hold; and whether the caller shares it.
 */
static inline const struct lockdep_map *lm_held_lock(unsigned int *i, bool *shared,
						     const struct lock_class_key *key)
{
#ifdef CONFIG_PROVE_LOCKING
	while (*i < current->lockdep_depth) {
		const struct held_lock *held = &current->held_locks[(*i)++];

		*shared = held->read;
		if (held->instance->key == key)
			return held->instance;
	}
#endif
	return NULL;
}

/* A stable backport to 6.1. */
#ifndef lock_set_cmp_fn
#define lock_set_cmp_fn(lock, ...)	do { } while (0)
#endif

/* Before 7.0 only SMP kernels have owner_on_cpu(); on one CPU no other task ever runs. */
static inline bool lm_owner_on_cpu(struct task_struct *task)
{
#ifdef CONFIG_SMP
	return owner_on_cpu(task);
#else
	return false;
#endif
}

/*
 * 6.12: the free pointer of a type-safe cache may lie within the object. It lies
 * over the value, of which readers that come too late believe nothing. The value
 * may be copied to and from user space.
 */
static inline struct kmem_cache *lm_cache_create(const char *name, unsigned int size,
						 unsigned int align, unsigned int value,
						 unsigned int value_len)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	struct kmem_cache_args args = {
		.align = align,
		.useroffset = value_len ? value : 0,
		.usersize = value_len,
		.freeptr_offset = value,
		.use_freeptr_offset = value_len >= sizeof(void *),
	};

	return kmem_cache_create(name, size, &args, SLAB_TYPESAFE_BY_RCU);
#else
	return kmem_cache_create_usercopy(name, size, align, SLAB_TYPESAFE_BY_RCU,
					  value_len ? value : 0, value_len, NULL);
#endif
}

/* 6.7: shrinkers are allocated. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
static inline void *lm_shrinker_data(struct shrinker *shrinker)
{
	return shrinker->private_data;
}

static inline struct shrinker *
lm_shrinker_create(const char *name, void *data,
		   unsigned long (*count)(struct shrinker *, struct shrink_control *),
		   unsigned long (*scan)(struct shrinker *, struct shrink_control *))
{
	struct shrinker *shrinker = shrinker_alloc(0, "lockmap:%s", name);

	if (!shrinker)
		return NULL;
	shrinker->count_objects = count;
	shrinker->scan_objects = scan;
	shrinker->private_data = data;
	shrinker_register(shrinker);
	return shrinker;
}

static inline void lm_shrinker_destroy(struct shrinker *shrinker)
{
	shrinker_free(shrinker);
}
#else
struct lm_shrinker {
	struct shrinker shrinker;
	void *data;
};

static inline void *lm_shrinker_data(struct shrinker *shrinker)
{
	return container_of(shrinker, struct lm_shrinker, shrinker)->data;
}

static inline struct shrinker *
lm_shrinker_create(const char *name, void *data,
		   unsigned long (*count)(struct shrinker *, struct shrink_control *),
		   unsigned long (*scan)(struct shrinker *, struct shrink_control *))
{
	struct lm_shrinker *s = kzalloc_obj(*s, GFP_KERNEL);

	if (!s)
		return NULL;
	s->shrinker.count_objects = count;
	s->shrinker.scan_objects = scan;
	s->shrinker.seeks = DEFAULT_SEEKS;
	s->data = data;
	if (register_shrinker(&s->shrinker, "lockmap:%s", name)) {
		kfree(s);
		return NULL;
	}
	return &s->shrinker;
}

static inline void lm_shrinker_destroy(struct shrinker *shrinker)
{
	unregister_shrinker(shrinker);
	kfree(container_of(shrinker, struct lm_shrinker, shrinker));
}
#endif

/*
 * For the sample that has a disk, which includes linux/blkdev.h. 6.9: a disk is made with
 * its limits, of which the sample sets the size of blocks and chunks. 6.11: what the
 * queue can do is one of them.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
#define lm_disk_alloc(limits)	blk_alloc_disk(limits, NUMA_NO_NODE)
#else
#define lm_disk_alloc(limits)								\
({											\
	struct gendisk *__disk = blk_alloc_disk(NUMA_NO_NODE) ?: ERR_PTR(-ENOMEM);	\
											\
	if (!IS_ERR(__disk)) {								\
		blk_queue_logical_block_size(__disk->queue, (limits)->logical_block_size); \
		blk_queue_chunk_sectors(__disk->queue, (limits)->chunk_sectors);	\
	}										\
	__disk;										\
})
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
#define LM_DISK_FEATURES	\
	.features = BLK_FEAT_WRITE_CACHE | BLK_FEAT_FUA | BLK_FEAT_STABLE_WRITES,
#define lm_disk_set_features(disk)	do { } while (0)
#else
#define LM_DISK_FEATURES
#define lm_disk_set_features(disk)							\
do {											\
	blk_queue_write_cache((disk)->queue, true, true);				\
	blk_queue_flag_set(QUEUE_FLAG_STABLE_WRITES, (disk)->queue);			\
} while (0)
#endif

/* For the sample that has a socket. 6.19: kernel_bind() takes an address of another type. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
#define lm_sockaddr	sockaddr_unsized
#else
#define lm_sockaddr	sockaddr
#endif

#endif /* _LOCKMAP_CORE_COMPAT_H */
