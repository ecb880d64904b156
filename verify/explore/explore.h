/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A machine whose scheduler is in our hands. Tasks are coroutines. Before each
 * operation that other tasks can notice, a task goes back to search.c, which
 * tries all ways to go on from there. Everything that may change is in the
 * section "world" or on the tasks' stacks, so that it can be saved, compared and
 * restored.
 *
 * The machine is sequentially consistent. But it tracks what each release passes
 * on, and it is an error if a task touches data without having seen the last
 * write to it.
 */
#ifndef _VERIFY_EXPLORE_H
#define _VERIFY_EXPLORE_H

/* What a function leaves behind on the stack when it has returned would make for more states. */
#undef __always_inline
#define __always_inline	noinline

#define __world		__section("world")
#define MAX_TASKS	4
#define MAX_DATA	8
/* So many tasks may be woken in one section of a spin lock. */
#define EX_WAKE_MOST	16

/* Which plain data, one bit each, a task that acquires from this gets to see. */
struct sync {
	u8 carries;
};

typedef struct {
	u64 v;
	struct sync sync;
} atomic64_t;

struct task_struct;

typedef struct {
	struct task_struct *holder;
	struct sync sync;
} spinlock_t;

#define spin_lock_init(lock)	((void)(lock))

enum op_kind {
	OP_STEP,	/* an operation on memory: always possible */
	OP_LOCK,	/* possible when the spin lock is free */
	OP_SLEEP,	/* when woken, or its time is up, or there may be a signal */
	OP_CHOOSE,	/* something that is not determined, and that no other task sees */
	OP_DONE,
};

struct op {
	enum op_kind kind;
	const char *what;
	const char *func;
	int line;
	spinlock_t *lock;
	bool timed;
	int choices;
};

/**
 * struct task_struct - a task of a model
 * @no_owner: its locks belong to no task, as in softirq
 * @may_get_signal: a signal may come at any moment
 * @signalled: one is pending
 * @late: the jiffy that timeouts end at has come
 * @spins: how often its time slice was asked about, which ends after three times
 * @rounds: of the spinning that it is at, see cpu_relax()
 * @quiet: its next read is no step of its own
 * @heard: data, one bit each, that its releases pass on though it has not acquired them:
 *	what the word passed on that it changed by a release (litmus/hand-off-shared)
 * @locks: how many spin locks it holds
 * @wakes: how many tasks it has woken, or chosen to wake, in one section of a spin lock
 */
struct task_struct {
	int pid;
	unsigned int state;
	void *sp;
	struct op op;
	int chosen;
	int rcu;
	bool no_owner;
	bool may_get_signal;
	bool signalled;
	bool late;
	u8 spins;
	u8 rounds;
	bool quiet;
	u8 heard;
	u8 locks;
	u8 wakes;
};

extern struct task_struct *current;
extern struct task_struct tasks[MAX_TASKS];
extern int nr_tasks;
/* How many spurious wakeups there may be, for all tasks together. */
extern int spurious;

void ex_yield(enum op_kind kind, const char *what, const char *func, int line, spinlock_t *lock,
	      bool timed, int choices);
void ex_note(const char *what, const void *where, u64 old, u64 new);
void ex_fail(const char *why);
void ex_acquire(const struct sync *sync);
void ex_hear(const struct sync *sync);
void ex_release(struct sync *sync, bool add);
void ex_write(unsigned int datum);
void ex_read(unsigned int datum);
/* Of one datum that several tasks read at a time: who writes to it comes after all of them. */
void ex_note_reader(void);
void ex_see_readers(void);
/* The model's: a task reads or writes a word, or other memory that may have been freed. */
void ex_access(const volatile void *where);

extern char __start_world[], __stop_world[];
extern char ex_stacks[MAX_TASKS * 8192];

/* The model's: which tasks look for cycles, one bit each, as their naps may end; constant. */
extern u8 ex_naps;

/*
 * Memory elsewhere does not change, or is the task's own: an access is no step. But
 * tasks that look for cycles read how the waits of others ended, without a lock.
 */
static inline bool ex_shared(const volatile void *where)
{
	uintptr_t p = (uintptr_t)where, on_stack = p - (uintptr_t)ex_stacks;

	return p - (uintptr_t)__start_world < (uintptr_t)(__stop_world - __start_world) ||
	       (on_stack < sizeof(ex_stacks) &&
		(ex_naps >> on_stack / (sizeof(ex_stacks) / MAX_TASKS) & 1));
}

#define ex_assert(cond, why)	do { if (!(cond)) ex_fail(why); } while (0)

#define ex_step(what)	ex_yield(OP_STEP, what, __func__, __LINE__, NULL, false, 1)
#define ex_choose(n)	(ex_yield(OP_CHOOSE, "choice", __func__, __LINE__, NULL, false, n), \
			 current->chosen)

enum ex_order {
	EX_RELAXED = 0,
	EX_ACQUIRE = 1,
	EX_RELEASE = 2,
	EX_FULL = 3,
};

static inline u64 ex_load(const atomic64_t *a, enum ex_order order, const char *func, int line)
{
	if (!current->quiet)
		ex_yield(OP_STEP, "read", func, line, NULL, false, 1);
	current->quiet = false;
	ex_access(a);
	if (order & EX_ACQUIRE)
		ex_acquire(&a->sync);
	ex_note("read", a, a->v, a->v);
	return a->v;
}

static inline void ex_store(atomic64_t *a, u64 v, enum ex_order order, const char *func, int line)
{
	ex_yield(OP_STEP, "set", func, line, NULL, false, 1);
	ex_access(a);
	a->sync.carries = 0;
	if (order & EX_RELEASE)
		ex_release(&a->sync, false);
	ex_note("set", a, a->v, v);
	a->v = v;
}

static inline u64 ex_rmw(atomic64_t *a, u64 clear, u64 set, enum ex_order order, const char *func,
			 int line)
{
	u64 old;

	ex_yield(OP_STEP, "change", func, line, NULL, false, 1);
	ex_access(a);
	old = a->v;
	if (order & EX_ACQUIRE)
		ex_acquire(&a->sync);
	if (order & EX_RELEASE)
		ex_release(&a->sync, true);
	a->v = (old & ~clear) | set;
	ex_note("change", a, old, a->v);
	return old;
}

static inline bool ex_cmpxchg(atomic64_t *a, u64 *old, u64 new, enum ex_order order,
			      const char *func, int line)
{
	ex_yield(OP_STEP, "cmpxchg", func, line, NULL, false, 1);
	ex_access(a);
	if (a->v != *old) {
		ex_note("cmpxchg fails", a, *old, a->v);
		*old = a->v;
		return false;
	}
	if (order & EX_ACQUIRE)
		ex_acquire(&a->sync);
	else if (order & EX_RELEASE)
		ex_hear(&a->sync);
	if (order & EX_RELEASE)
		ex_release(&a->sync, true);
	ex_note("cmpxchg", a, a->v, new);
	a->v = new;
	return true;
}

static inline u64 ex_inc(atomic64_t *a, const char *func, int line)
{
	ex_yield(OP_STEP, "increment", func, line, NULL, false, 1);
	ex_acquire(&a->sync);
	ex_release(&a->sync, true);
	return ++a->v;
}

#define atomic64_read(a)		ex_load(a, EX_RELAXED, __func__, __LINE__)
#define atomic64_read_acquire(a)	ex_load(a, EX_ACQUIRE, __func__, __LINE__)
#define atomic64_set(a, v)		ex_store(a, v, EX_RELAXED, __func__, __LINE__)
#define atomic64_set_release(a, v)	ex_store(a, v, EX_RELEASE, __func__, __LINE__)
#define atomic64_or(v, a)		((void)ex_rmw(a, 0, v, EX_RELAXED, __func__, __LINE__))
#define atomic64_andnot(v, a)		((void)ex_rmw(a, v, 0, EX_RELAXED, __func__, __LINE__))
#define atomic64_fetch_or(v, a)		ex_rmw(a, 0, v, EX_FULL, __func__, __LINE__)
#define atomic64_inc_return(a)		ex_inc(a, __func__, __LINE__)
#define atomic64_try_cmpxchg(a, old, new)						\
	ex_cmpxchg(a, old, new, EX_FULL, __func__, __LINE__)
#define atomic64_try_cmpxchg_release(a, old, new)					\
	ex_cmpxchg(a, old, new, EX_RELEASE, __func__, __LINE__)
#define atomic64_try_cmpxchg_relaxed(a, old, new)					\
	ex_cmpxchg(a, old, new, EX_RELAXED, __func__, __LINE__)

/* Plain memory that other tasks read: the read or the write itself is the step. */
#define ex_touch(ptr, what)								\
	(ex_shared(ptr) ? (ex_step(what), ex_access(ptr)) : (void)0)
#define READ_ONCE(x)									\
	(ex_touch(&(x), "read of " #x), *(volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v)								\
	(ex_touch(&(x), "write of " #x), *(volatile typeof(x) *)&(x) = (v))
#define xchg(ptr, new)									\
({											\
	typeof(ptr) __p = (ptr);							\
	typeof(*__p) __new = (new), __old;						\
	ex_touch(__p, "xchg of " #ptr);							\
	__old = *__p;									\
	*__p = __new;									\
	__old;										\
})
/* Nothing is reordered here, so barriers do nothing: litmus/ has the code that needs them. */
#define smp_rmb()		do { } while (0)
#define smp_wmb()		do { } while (0) /* likewise */
#define data_race(expr)		((void)0, expr)

/* Copies of 8 bytes or a multiple, of which other tasks may see a part. */
static inline void *ex_memcpy(void *dst, const void *src, size_t len)
{
	const u64 *from = src;
	u64 *to = dst;
	size_t i;

	for (i = 0; i < len / sizeof(u64); i++)
		WRITE_ONCE(to[i], READ_ONCE(from[i]));
	return dst;
}

static inline void ex_spin_lock(spinlock_t *lock, const char *func, int line)
{
	ex_assert(lock->holder != current, "takes a spin lock that it holds");
	ex_yield(OP_LOCK, "spin_lock", func, line, lock, false, 1);
	lock->holder = current;
	ex_acquire(&lock->sync);
	current->locks++;
	current->wakes = 0;
}

static inline void spin_unlock(spinlock_t *lock)
{
	ex_assert(lock->holder == current, "drops a spin lock that it does not hold");
	ex_release(&lock->sync, true);
	lock->holder = NULL;
	current->locks--;
	current->wakes = 0;
}

#define spin_lock(lock)			ex_spin_lock(lock, __func__, __LINE__)
#define lockdep_assert_held(lock)						\
	ex_assert((lock)->holder == current, "needs a spin lock that it does not hold")

static inline bool in_task(void)
{
	return !current->no_owner;
}

static inline bool signal_pending_state(unsigned int state, struct task_struct *task)
{
	if (!(state & TASK_INTERRUPTIBLE))
		return false;
	if (task->may_get_signal && !task->signalled)
		task->signalled = ex_choose(2);
	return task->signalled;
}

/* A walk along a chain asks after so many steps as no chain has that ends. */
#define cond_resched()		ex_fail("walks on and on")

#define set_current_state(s)	(current->state = (s))
#define __set_current_state(s)	(current->state = (s))

static inline long ex_schedule(long timeout, const char *func, int line)
{
	ex_yield(OP_SLEEP, "sleep", func, line, NULL, timeout != MAX_SCHEDULE_TIMEOUT, 1);
	current->state = TASK_RUNNING;
	/* What is left of a limited time: 0, or still something. */
	return timeout == MAX_SCHEDULE_TIMEOUT ? timeout : current->chosen;
}

#define schedule_timeout(timeout)	ex_schedule(timeout, __func__, __LINE__)

static inline void ex_count_wakes(void)
{
	ex_assert(!current->locks || current->wakes++ < EX_WAKE_MOST,
		  "too many tasks to wake in one section");
}

/* Without a spin lock, which other tasks respect, it comes at any later time. */
static inline void wake_up_process(struct task_struct *task)
{
	ex_assert(task >= tasks && task < tasks + MAX_TASKS, "wakes what is not a task");
	if (!current->locks)
		ex_step("wakes a task");
	ex_count_wakes();
	ex_note("wakes", NULL, 0, task->pid);
	task->state = TASK_RUNNING;
}

/* Tasks stay; but so does the order to wake one. */
#define get_task_struct(task)		ex_count_wakes()
#define put_task_struct(task)		((void)(task))

void rcu_read_lock(void);
void rcu_read_unlock(void);

/*
 * Time: a timeout that ends at jiffy 1 may be over at any moment. So may a nap, if
 * the model has them; else patience is endless.
 */
#define ex_takes_naps()			(ex_naps & (1 << (current - tasks)))
#define msecs_to_jiffies(ms)		(ex_takes_naps() ? 0 : MAX_SCHEDULE_TIMEOUT - 1)

static inline unsigned long ex_jiffies(void)
{
	if (!current->late)
		current->late = ex_choose(2);
	return current->late;
}

#define jiffies				ex_jiffies()
#define schedule_timeout_uninterruptible(timeout)	ex_step("waits for a table to grow")

/*
 * Spinning: both answers are possible to whether the owner runs, and to whether
 * the spinning task may go on. In its first rounds lm_spin() only reads the word.
 * Whatever it may learn from that, it may also learn from reads that all happen
 * at one moment, or that begin later; so these rounds are no steps of their own.
 * lm_spin() asks for its option when it begins.
 */
#ifdef SPIN
#define SPIN_QUIET			15
#define IS_ENABLED(option)		(current->rounds = 0, true)
#else
#define SPIN_QUIET			0
#define IS_ENABLED(option)		false
#endif

static inline bool need_resched(void)
{
	if (current->rounds < SPIN_QUIET)
		return false;
	return current->spins == 3 || (current->spins++, ex_choose(2));
}

static inline void cpu_relax(void)
{
	current->quiet = current->rounds < SPIN_QUIET;
	if (current->quiet)
		current->rounds++;
}

#define lm_owner_on_cpu(task)		((void)(task), ex_choose(2))

/* A model: what tasks do, what must hold in every state, and at the end. */
struct model {
	const char *name;
	const char *what;
	void (*init)(void);
	void (*body[MAX_TASKS])(void);
	void (*always)(void);
	void (*end)(void);
};

extern const struct model models[];
extern const int nr_models;
void ex_register(struct sync *sync);
/* This memory is a part of the world, too; a multiple of 8 bytes. */
void ex_add_world(void *from, size_t size);
/* For the trace: a name for what is at an address, or NULL. */
const char *ex_name(const void *where);

#endif /* _VERIFY_EXPLORE_H */
