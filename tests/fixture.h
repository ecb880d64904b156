/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What all cases share: maps and memory that are given back, keys by number,
 * and every call that locks or reads a key as a value of enum op
 *
 * Functions that are shared between files begin with lmtest_, because the tests
 * may be built into a kernel, whose other symbols they must not clash with.
 */
#ifndef _LOCKMAP_TESTS_FIXTURE_H
#define _LOCKMAP_TESTS_FIXTURE_H

#include <linux/completion.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/kconfig.h>
#include <linux/list.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/types.h>
#include <linux/unaligned.h>

#include <kunit/test.h>

#include "../lockmap.h"

/* Longer than anything here takes unless it hangs */
#define PATIENCE	(120 * HZ)

/**
 * struct fixture - what a case has; test->priv
 * @workers: the threads that were started and not released yet
 * @nr_workers: how many threads there were so far
 * @nr_maps: how many maps without a lock_key of the case's own
 * @gate: threads that have to run against each other wait for it
 * @stop: tells threads that loop to end
 * @stuck: a thread did not come back: what it may touch is not given back
 */
struct fixture {
	struct list_head workers;
	unsigned int nr_workers;
	unsigned int nr_maps;
	struct completion gate;
	bool stop;
	bool stuck;
};

/* Suites, each in the file of its name. */
extern struct kunit_suite lmtest_create_suite;
extern struct kunit_suite lmtest_absent_suite;
extern struct kunit_suite lmtest_value_suite;
extern struct kunit_suite lmtest_key_suite;
extern struct kunit_suite lmtest_order_suite;
extern struct kunit_suite lmtest_callback_suite;
extern struct kunit_suite lmtest_hash_suite;
extern struct kunit_suite lmtest_exclusion_suite;
extern struct kunit_suite lmtest_shared_suite;
extern struct kunit_suite lmtest_mode_suite;
extern struct kunit_suite lmtest_reader_suite;
extern struct kunit_suite lmtest_wait_suite;
extern struct kunit_suite lmtest_giveup_suite;
extern struct kunit_suite lmtest_owner_suite;
extern struct kunit_suite lmtest_misuse_suite;
extern struct kunit_suite lmtest_cycle_suite;
extern struct kunit_suite lmtest_crowd_suite;
extern struct kunit_suite lmtest_async_suite;
extern struct kunit_suite lmtest_softirq_suite;
extern struct kunit_suite lmtest_prealloc_suite;
extern struct kunit_suite lmtest_present_suite;
extern struct kunit_suite lmtest_reference_suite;
extern struct kunit_suite lmtest_batch_suite;
extern struct kunit_suite lmtest_walk_suite;
extern struct kunit_suite lmtest_size_suite;
extern struct kunit_suite lmtest_nomem_suite;
extern struct kunit_suite lmtest_typed_suite;
extern struct kunit_suite lmtest_guard_suite;
extern struct kunit_suite lmtest_debugfs_suite;
extern struct kunit_suite lmtest_gone_suite;
extern struct kunit_suite lmtest_leak_suite;

/* Every call that locks or reads keys */
enum op {
	/* those that lock a key for themselves, and wait for it */
	OP_LOCK,
	OP_LOCK_INTERRUPTIBLE,
	OP_LOCK_KILLABLE,
	OP_LOCK_TIMEOUT,
	OP_LOCK_PREALLOC,
	OP_BATCH,
	OP_BATCH_INTERRUPTIBLE,
	OP_BATCH_KILLABLE,
	OP_BATCH_TIMEOUT,
	NR_LOCK_OPS,
	/* those that share a key, and wait for it */
	OP_LOCK_SHARED = NR_LOCK_OPS,
	OP_LOCK_SHARED_INTERRUPTIBLE,
	OP_LOCK_SHARED_KILLABLE,
	OP_LOCK_SHARED_TIMEOUT,
	OP_BATCH_SHARED,
	OP_BATCH_SHARED_INTERRUPTIBLE,
	OP_BATCH_SHARED_KILLABLE,
	OP_BATCH_SHARED_TIMEOUT,
	NR_SHARE_OPS,
	/* those that wait for the holder of their key, and return without a lock */
	OP_GET = NR_SHARE_OPS,
	OP_INSERT,
	OP_REMOVE,
	OP_CONTAINS,
	OP_LOCK_PRESENT,
	OP_LOCK_PRESENT_KILLABLE,
	NR_KEY_OPS,
	/* those that wait for the holder of any key with a value */
	OP_FOR_EACH = NR_KEY_OPS,
	OP_RETAIN,
	OP_CLEAR,
	NR_WAIT_OPS,
	/* those that never wait */
	OP_TRYLOCK = NR_WAIT_OPS,
	OP_BATCH_TRYLOCK,
	OP_TRYLOCK_SHARED,
	OP_BATCH_TRYLOCK_SHARED,
	OP_LOCK_ASYNC,
	OP_TRYLOCK_PRESENT,
	OP_TRYGET,
	NR_OPS,
};

extern const char * const lmtest_op_name[NR_OPS];

/* The call shares keys. */
static inline bool op_shares(enum op op)
{
	return (op >= NR_LOCK_OPS && op < NR_SHARE_OPS) ||
	       op == OP_TRYLOCK_SHARED || op == OP_BATCH_TRYLOCK_SHARED;
}

/* The call says -ENOENT of a key that has no value. */
static inline bool op_misses(enum op op)
{
	return op == OP_GET || op == OP_REMOVE || op == OP_LOCK_PRESENT ||
	       op == OP_LOCK_PRESENT_KILLABLE || op == OP_TRYLOCK_PRESENT || op == OP_TRYGET;
}

/* The call locks a batch. */
static inline bool op_is_batch(enum op op)
{
	return (op >= OP_BATCH && op <= OP_BATCH_TIMEOUT) ||
	       (op >= OP_BATCH_SHARED && op <= OP_BATCH_SHARED_TIMEOUT) ||
	       op == OP_BATCH_TRYLOCK || op == OP_BATCH_TRYLOCK_SHARED;
}

/* Cases. */

int lmtest_init(struct kunit *test);
int lmtest_shell(const char *command);
bool lmtest_shell_sees_debugfs(void);

/* Maps and memory, which last until the case ends. */

struct lockmap *lmtest_try_create(struct kunit *test, const struct lockmap_params *params);
struct lockmap *lmtest_create(struct kunit *test, const struct lockmap_params *params);
struct lockmap *lmtest_create_u64(struct kunit *test);
void lmtest_destroy(struct kunit *test, struct lockmap *map);
void *lmtest_zalloc(struct kunit *test, size_t size);

/* Locks. */

struct lockmap_entry *lmtest_hold(struct kunit *test, struct lockmap *map, u64 n);
const struct lockmap_entry *lmtest_hold_shared(struct kunit *test, struct lockmap *map, u64 n);
u64 lmtest_shared_value(const struct lockmap_entry *entry);
struct lockmap_entry *lmtest_lock_by(struct lockmap *map, enum op op, const void *key, size_t len,
				     unsigned long timeout, struct lockmap_batch **batch);
void lmtest_unlock_by(enum op op, struct lockmap_entry *entry, struct lockmap_batch *batch);
struct lockmap_batch *lmtest_batch_by(struct lockmap *map, enum op op,
				      const struct lockmap_key *keys, unsigned int nr,
				      unsigned long timeout);
int lmtest_do_op(struct lockmap *map, enum op op, const void *key, size_t len,
		 unsigned long timeout, unsigned long *visits);

/* The n-th entry of a batch without shared keys. */
static inline struct lockmap_entry *lmtest_nth(struct lockmap_batch *batch, unsigned int n)
{
	struct lockmap_entry *entry;

	lockmap_batch_for_each(batch, entry) {
		if (!n--)
			return entry;
	}
	return NULL;
}

/* What a map has to be like. */

void lmtest_expect_unlocked(struct kunit *test, struct lockmap *map, u64 first, u64 last);
void lmtest_expect_absent(struct kunit *test, struct lockmap *map, u64 n);
void lmtest_expect_usable(struct kunit *test, struct lockmap *map, const char *what);

/* Functions for walks; @arg is an unsigned long that counts visits, or NULL. */

int lmtest_count_visit(const void *key, size_t len, void *value, void *arg);
bool lmtest_keep_all(const void *key, size_t len, void *value, void *arg);
bool lmtest_keep_none(const void *key, size_t len, void *value, void *arg);
bool lmtest_keep_even(const void *key, size_t len, void *value, void *arg);

/* Keys of a batch. */

struct lockmap_key *lmtest_make_keys(struct kunit *test, u64 first, unsigned int n);
void lmtest_shuffle_keys(struct lockmap_key *keys, unsigned int n, u64 seed);

static inline bool slow_kernel(void)
{
	return IS_ENABLED(CONFIG_KASAN) || IS_ENABLED(CONFIG_KCSAN) ||
	       IS_ENABLED(CONFIG_PROVE_LOCKING);
}

/* Thousands of threads take too long, or too much memory, but in User Mode Linux. */
static inline bool small_kernel(void)
{
	return slow_kernel() || !IS_ENABLED(CONFIG_UML);
}

/* A debug kernel may need a millisecond to allocate and free an entry. */
static inline unsigned int scaled(unsigned int n)
{
	return slow_kernel() ? n / 64 + 2 : n;
}

/* User Mode Linux does not preempt kernel code when an interrupt returns: loops have to. */
static inline void resched_if_needed(void)
{
	if (need_resched())
		schedule();
}

/* tools/vm/check-log ignores warnings in the kernel log between these two. */
static inline void expect_warning_begin(void)
{
	pr_info("lockmap_test: expect warning begin\n");
}

static inline void expect_warning_end(void)
{
	pr_info("lockmap_test: expect warning end\n");
}

/* tools/vm/check-log fails unless this text follows in the kernel log. */
static inline void expect_log(const char *text)
{
	pr_info("lockmap_test: has to be told: %s\n", text);
}

/* What comes next, up to expect_warning_end(), has to give one warning, with this text. */
static inline void expect_told_begin(const char *text)
{
	expect_warning_begin();
	expect_log(text);
}

/*
 * Keys by number: lockmap's order of keys, in which a task has to lock them one by one,
 * is that of their numbers.
 */

static inline u64 nr_of(const void *key)
{
	return get_unaligned((const u64 *)key);
}

static inline struct lockmap_entry *lock_nr(struct lockmap *map, u64 n)
{
	return lockmap_lock_timeout(map, &n, sizeof(n), PATIENCE);
}

static inline struct lockmap_entry *trylock_nr(struct lockmap *map, u64 n)
{
	return lockmap_trylock(map, &n, sizeof(n));
}

/*
 * Share a key that need not be waited for. lockdep need not know: a case may share a key
 * with itself, as holders that share a key have no names.
 */
static inline const struct lockmap_entry *share_nr(struct lockmap *map, u64 n)
{
	const struct lockmap_entry *entry = lockmap_trylock_shared(map, &n, sizeof(n));

	if (!IS_ERR_OR_NULL(entry))
		lockmap_entry_disown_shared(entry);
	return entry;
}

static inline struct lockmap_entry *present_nr(struct lockmap *map, u64 n)
{
	return lockmap_lock_present(map, &n, sizeof(n));
}

static inline struct lockmap_entry *prealloc_nr(struct lockmap *map, u64 n,
						struct lockmap_prealloc **pre)
{
	return lockmap_lock_prealloc(map, &n, sizeof(n), pre);
}

static inline int get_nr(struct lockmap *map, u64 n, void *value)
{
	return lockmap_get(map, &n, sizeof(n), value);
}

static inline int tryget_nr(struct lockmap *map, u64 n, void *value)
{
	return lockmap_tryget(map, &n, sizeof(n), value);
}

static inline bool contains_nr(struct lockmap *map, u64 n)
{
	return lockmap_contains(map, &n, sizeof(n));
}

static inline int insert_nr(struct lockmap *map, u64 n, u64 value)
{
	return lockmap_insert(map, &n, sizeof(n), &value, NULL);
}

static inline int remove_nr(struct lockmap *map, u64 n)
{
	return lockmap_remove(map, &n, sizeof(n), NULL);
}

/* The error of a call that locks one key, 0 if it succeeded; the key is unlocked again. */
static inline int lock_error(struct lockmap_entry *entry)
{
	if (!entry)
		return -EFAULT;
	if (IS_ERR(entry))
		return PTR_ERR(entry);
	lockmap_unlock(entry);
	return 0;
}

/* The same for a batch */
static inline int batch_error(struct lockmap_batch *batch)
{
	if (!batch)
		return -EFAULT;
	if (IS_ERR(batch))
		return PTR_ERR(batch);
	lockmap_batch_unlock(batch);
	return 0;
}

/* What lockmap_trylock() says of a key: 0, -EBUSY if it is locked, or -ENOMEM */
static inline int trylock_error(struct lockmap *map, u64 n)
{
	return lock_error(trylock_nr(map, n));
}

/* What lockmap_trylock_shared() says of a key: 0, -EBUSY or -ENOMEM */
static inline int share_error(struct lockmap *map, u64 n)
{
	const struct lockmap_entry *entry = share_nr(map, n);

	if (!entry)
		return -EFAULT;
	if (IS_ERR(entry))
		return PTR_ERR(entry);
	lockmap_unlock_shared(entry);
	return 0;
}

#endif /* _LOCKMAP_TESTS_FIXTURE_H */
