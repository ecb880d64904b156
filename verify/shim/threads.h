/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Real threads: atomics are those of C11, spin locks are mutexes, sleep is a condition. */
#ifndef _VERIFY_THREADS_H
#define _VERIFY_THREADS_H

#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define __world

typedef struct {
	u64 v;
} atomic64_t;

/* As the kernel orders them; what a failed compare-exchange reads has no order. */
#define atomic64_read(a)		__atomic_load_n(&(a)->v, __ATOMIC_RELAXED)
#define atomic64_read_acquire(a)	__atomic_load_n(&(a)->v, __ATOMIC_ACQUIRE)
#define atomic64_set_release(a, x)	__atomic_store_n(&(a)->v, x, __ATOMIC_RELEASE)
#define atomic64_set(a, x)		__atomic_store_n(&(a)->v, x, __ATOMIC_RELAXED)
#define atomic64_or(x, a)		((void)__atomic_fetch_or(&(a)->v, x, __ATOMIC_RELAXED))
#define atomic64_andnot(x, a)		((void)__atomic_fetch_and(&(a)->v, ~(x), __ATOMIC_RELAXED))
#define atomic64_fetch_or(x, a)		__atomic_fetch_or(&(a)->v, x, __ATOMIC_SEQ_CST)
#define atomic64_inc_return(a)		__atomic_add_fetch(&(a)->v, 1, __ATOMIC_SEQ_CST)
#define cmpxchg_order(a, old, new, order)						\
	__atomic_compare_exchange_n(&(a)->v, old, new, false, order, __ATOMIC_RELAXED)
#define atomic64_try_cmpxchg(a, old, new)	cmpxchg_order(a, old, new, __ATOMIC_SEQ_CST)
#define atomic64_try_cmpxchg_release(a, old, new) cmpxchg_order(a, old, new, __ATOMIC_RELEASE)
#define atomic64_try_cmpxchg_relaxed(a, old, new) cmpxchg_order(a, old, new, __ATOMIC_RELAXED)

#define READ_ONCE(x)			__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, n)		__atomic_store_n(&(x), n, __ATOMIC_RELAXED)
#define xchg(ptr, new)			__atomic_exchange_n(ptr, new, __ATOMIC_SEQ_CST)
/* No thread reads without a lock what the barriers are for. */
#define smp_rmb()			do { } while (0)
#define smp_wmb()			do { } while (0) /* likewise */
#define data_race(expr)			((void)0, expr)

static inline void ex_fail(const char *why)
{
	printf("tsan: %s\n", why);
	fflush(stdout);
	_exit(1);
}

#define ex_assert(cond, why)		do { if (!(cond)) ex_fail(why); } while (0)

typedef pthread_mutex_t spinlock_t;

#define spin_lock_init(lock)		((void)pthread_mutex_init(lock, NULL))
#define spin_lock(lock)			((void)pthread_mutex_lock(lock))
#define spin_unlock(lock)		((void)pthread_mutex_unlock(lock))
#define lockdep_assert_held(lock)	((void)(lock))

/* @state is atomic; it changes with @mutex held. */
struct task_struct {
	int pid;
	unsigned int state;
	bool signalled;
	unsigned int seed;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
};

#define MAX_TASKS	8
static struct task_struct tasks[MAX_TASKS] __maybe_unused;
static __thread struct task_struct *current;

static inline bool in_task(void)
{
	return true;
}

static inline bool signal_pending_state(unsigned int state, struct task_struct *task)
{
	return (state & TASK_INTERRUPTIBLE) && __atomic_load_n(&task->signalled, __ATOMIC_RELAXED);
}

static inline void set_current_state(unsigned int state)
{
	pthread_mutex_lock(&current->mutex);
	__atomic_store_n(&current->state, state, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&current->mutex);
}

#define __set_current_state(state)	set_current_state(state)

static inline void wake_up_process(struct task_struct *task)
{
	pthread_mutex_lock(&task->mutex);
	__atomic_store_n(&task->state, TASK_RUNNING, __ATOMIC_RELAXED);
	pthread_cond_signal(&task->wake);
	pthread_mutex_unlock(&task->mutex);
}

#define get_task_struct(task)		((void)(task))
#define put_task_struct(task)		((void)(task))
#define cond_resched()			do { } while (0)

/* A jiffy is a tenth of a millisecond; the clock stands still, so a deadline is a timeout. */
#define jiffies				0UL
#define msecs_to_jiffies(ms)		((ms) / 2)
#define schedule_timeout_uninterruptible(timeout)	ex_fail("waits for a table to grow")

static inline long schedule_timeout(long timeout)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += timeout == MAX_SCHEDULE_TIMEOUT ? 0 : timeout * 100000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&current->mutex);
	while (!err && current->state != TASK_RUNNING &&
	       !signal_pending_state(current->state, current)) {
		if (timeout == MAX_SCHEDULE_TIMEOUT)
			err = pthread_cond_wait(&current->wake, &current->mutex);
		else
			err = pthread_cond_timedwait(&current->wake, &current->mutex, &until);
	}
	__atomic_store_n(&current->state, TASK_RUNNING, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&current->mutex);
	return err ? 0 : timeout;
}

#define rcu_read_lock()			do { } while (0)
#define rcu_read_unlock()		do { } while (0)

#define IS_ENABLED(option)		1
#define cpu_relax()			__builtin_ia32_pause()
#define need_resched()			(rand_r(&current->seed) % 64 == 0)
#define lm_owner_on_cpu(task)							\
	(__atomic_load_n(&(task)->state, __ATOMIC_RELAXED) == TASK_RUNNING)

#endif /* _VERIFY_THREADS_H */
