/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Shared by the files of lockmap_torture; main.c describes the test. */
#ifndef _LOCKMAP_TORTURE_H
#define _LOCKMAP_TORTURE_H

#include <linux/kernel.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/timer.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "lockmap.h"

#define LMT_MAX_KEY	200	/* bytes of a key */
#define LMT_MAX_BATCH	64	/* keys of a batch */
#define LMT_BURST	16	/* operations of a worker between two looks at lmt_paused */
#define LMT_BALANCE	1000	/* of each account at the start */
#define LMT_NR_SHARED	7	/* maps that all actors share; one more has private keys */
#define LMT_OPS		13
#define LMT_REFUSALS	5

/**
 * enum lmt_class - what the actors may do with a key; see lmt_class()
 * @LMT_STATIC: the key always has a value; batches move its balance about
 * @LMT_TRACKED: the key has a value at times; only its holder changes that, so the
 *	shadow knows when it has one, and which
 * @LMT_UNTRACKED: actors also call lockmap_insert() and lockmap_remove(), which hold
 *	the key where the shadow cannot be written; the shadow knows only the holder
 */
enum lmt_class { LMT_STATIC, LMT_TRACKED, LMT_UNTRACKED };

/**
 * struct lmt_value - a value, whose words depend on each other
 * @map: number of the map
 * @index: index of the key
 * @seq: goes up with each change
 * @balance: of a static key: the sum over its map is constant
 * @derived: computed from the words above, so a mixture of two values is noticed
 */
struct lmt_value {
	u32 map;
	u32 index;
	u64 seq;
	u64 balance;
	u64 derived[61];
};

/**
 * struct lmt_shadow - what is known of a key; written by its holder only
 * @holder: &lmt_actor.id of the holder, 0 if the key is free
 * @epoch: odd when the key has a value; goes up when it gets or loses one
 * @seq: &lmt_value.seq of its value, or of the last value it had
 * @balance: &lmt_value.balance of its value
 * @kcsan_count: roughly how often the key was unlocked; see lmt_unlock()
 */
struct lmt_shadow {
	unsigned int holder;
	unsigned int epoch;
	unsigned long seq;
	u64 balance;
	unsigned int kcsan_count;
};

/**
 * struct lmt_map - a map under test
 * @params: the parameters of the map
 * @keys: number of keys in use
 * @is_cleared: actors call lockmap_clear(), so no key is static
 * @map: the map
 * @shadow: the shadow of each key
 * @inserted: how many values were put in
 * @removed: how many values came out: replaced, removed, or released by the map
 */
struct lmt_map {
	struct lockmap_params params;
	unsigned int keys;
	bool is_cleared;
	struct lockmap *map;
	struct lmt_shadow *shadow;
	atomic_long_t inserted;
	atomic_long_t removed;
};

/**
 * struct lmt_key - the bytes of a key
 * @data: the bytes
 * @len: number of bytes
 */
struct lmt_key {
	u8 data[LMT_MAX_KEY];
	size_t len;
};

/**
 * enum lmt_wait_mode - the ways to lock a key; all but LMT_PREALLOC also lock a batch
 * @LMT_LOCK: lockmap_lock()
 * @LMT_INTERRUPTIBLE: lockmap_lock_interruptible()
 * @LMT_KILLABLE: lockmap_lock_killable()
 * @LMT_TIMEOUT: lockmap_lock_timeout()
 * @LMT_TRY: lockmap_trylock()
 * @LMT_PREALLOC: lockmap_lock_prealloc()
 * @LMT_WAIT_MODES: number of ways
 */
enum lmt_wait_mode {
	LMT_LOCK,
	LMT_INTERRUPTIBLE,
	LMT_KILLABLE,
	LMT_TIMEOUT,
	LMT_TRY,
	LMT_PREALLOC,
	LMT_WAIT_MODES
};

/**
 * struct lmt_refusal - an error that refuses a lock
 * @err: the error
 * @name: its name in the report
 */
struct lmt_refusal {
	int err;
	const char *name;
};

struct lmt_actor;

/**
 * struct lmt_op - a kind of operation
 * @name: its name in messages
 * @weight: how often workers choose it, in relation to the others
 * @fn: does it once
 */
struct lmt_op {
	const char *name;
	unsigned int weight;
	void (*fn)(struct lmt_actor *a);
};

/**
 * struct lmt_phase - what workers prefer in the current phase
 * @map: number of the map, LMT_NR_SHARED for all
 * @first_key: index of the first key
 * @nr_keys: number of keys
 * @signal_us: microseconds between two signals
 * @yield_one_in: one hold in so many gives up the CPU
 * @disorder: workers may lock keys in any order, so -EDEADLK is a right answer
 * @ops: two operations
 */
struct lmt_phase {
	unsigned int map;
	unsigned int first_key;
	unsigned int nr_keys;
	unsigned int signal_us;
	unsigned int yield_one_in;
	bool disorder;
	const struct lmt_op *ops[2];
};

/**
 * struct lmt_actor - a worker, a timer, the unlocker or the creator
 * @id: counts from 1
 * @task: of a worker, the unlocker or the creator
 * @timer: of a timer
 * @rnd: state of its random numbers
 * @parked: whether it rests; with a full barrier, see lmt_wait_for_phase()
 * @op: its current operation
 * @map: the map of that operation
 * @index: the key of that operation
 * @mode: the way in which it waits for a key; the signaller reads it
 * @since: when it began to wait, in jiffies
 * @disowned: an entry that the worker locked and left for another actor to unlock;
 *	set by the worker, cleared by the one actor that unlocks it: see
 *	lmt_unlock_disowned()
 * @disowned_map: the map of @disowned
 * @kept: an entry that a timer keeps locked until its next tick
 * @kept_map: the map of @kept
 * @acquired: number of locks acquired; of the creator: number of maps
 * @softirq_locks: how many of these in softirq
 * @unlocked_others: number of entries unlocked for others
 * @longest: its longest wait for a key or batch, in nanoseconds
 * @refused: number of refusals, by lmt_refusals[]
 * @ops: number of operations, by lmt_ops[]
 * @new: buffer for a value to be put in
 * @old: buffer for a value that comes out
 * @seen: bitmap of the keys that its current walk visited
 * @keys: the keys of a batch
 * @batch: points to @keys
 */
struct lmt_actor {
	unsigned int id;
	struct task_struct *task;
	struct timer_list timer;
	struct rnd_state rnd;
	bool parked;
	const struct lmt_op *op;
	struct lmt_map *map;
	unsigned int index;
	enum lmt_wait_mode mode;
	unsigned long since;
	struct lockmap_entry *disowned;
	struct lmt_map *disowned_map;
	struct lockmap_entry *kept;
	struct lmt_map *kept_map;
	unsigned long acquired;
	unsigned long softirq_locks;
	unsigned long unlocked_others;
	u64 longest;
	unsigned long refused[LMT_REFUSALS];
	unsigned long ops[LMT_OPS];
	struct lmt_value new;
	struct lmt_value old;
	unsigned long *seen;
	struct lmt_key keys[LMT_MAX_BATCH];
	struct lockmap_key batch[LMT_MAX_BATCH];
};

/* model.c: what is known of keys and values; what an actor may do with a key it holds */

extern struct lmt_map lmt_maps[LMT_NR_SHARED + 1];
#define lmt_cleared	(&lmt_maps[LMT_NR_SHARED - 1])
#define lmt_private	(&lmt_maps[LMT_NR_SHARED])

void __printf(5, 6) lmt_fail(struct lmt_actor *a, const struct lmt_map *m, unsigned int index,
			     const char *check, const char *fmt, ...);
u32 lmt_rnd(struct lmt_actor *a);
bool lmt_one_in(struct lmt_actor *a, u32 n);
enum lmt_class lmt_class(const struct lmt_map *m, unsigned int index);
unsigned int lmt_nr_static(const struct lmt_map *m);
int lmt_cmp(const struct lmt_map *m, const struct lmt_key *x, const struct lmt_key *y);
void lmt_key_init(struct lmt_key *key, const struct lmt_map *m, unsigned int index);
unsigned int lmt_key_index(const struct lmt_map *m, const u8 *data, size_t len);
unsigned int lmt_key_check(struct lmt_actor *a, const struct lmt_map *m, const void *data,
			   size_t len);
unsigned int lmt_entry_index(const struct lmt_map *m, const struct lockmap_entry *entry);
void lmt_value_make(struct lmt_value *v, const struct lmt_map *m, unsigned int index, u64 seq,
		    u64 balance);
bool lmt_value_ok(const struct lmt_value *v, const struct lmt_map *m, unsigned int index);
void lmt_value_check(struct lmt_actor *a, const struct lmt_map *m, unsigned int index,
		     const struct lmt_value *v);
void lmt_value_inserted(struct lmt_map *m, unsigned int index, const struct lmt_value *v);
void lmt_value_removed(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		       const struct lmt_value *v);
void lmt_value_write(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		     struct lmt_value *v, u64 balance);
void lmt_release(void *value);
void lmt_shadow_lock(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		     struct lockmap_entry *entry);
void lmt_shadow_unlock(struct lmt_actor *a, struct lmt_map *m, unsigned int index);
void lmt_use_entry(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		   struct lockmap_entry *entry);

/* lock.c: pick a map, a key, a way; lock and unlock */

extern const struct lmt_refusal lmt_refusals[LMT_REFUSALS];

struct lmt_map *lmt_pick_map(struct lmt_actor *a);
unsigned int lmt_pick_key(struct lmt_actor *a, const struct lmt_map *m);
enum lmt_wait_mode lmt_pick_wait_mode(struct lmt_actor *a);
void lmt_begin_wait(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		    enum lmt_wait_mode mode);
bool lmt_may_refuse(enum lmt_wait_mode mode, int err, bool holds, unsigned long waited,
		    unsigned long timeout);
void lmt_count_refusal(struct lmt_actor *a, int err);
struct lockmap_entry *lmt_lock(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
			       enum lmt_wait_mode mode, bool holds);
void lmt_unlock(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		struct lockmap_entry *entry);
void lmt_batch_key(struct lmt_actor *a, const struct lmt_map *m, unsigned int i,
		   unsigned int index);
struct lockmap_batch *lmt_batch_lock(struct lmt_actor *a, struct lmt_map *m, unsigned int n,
				     enum lmt_wait_mode mode, bool holds);
void lmt_batch_unlock(struct lmt_actor *a, struct lmt_map *m, struct lockmap_batch *batch);

/* ops.c: the operations of workers */

extern const struct lmt_op lmt_ops[LMT_OPS];

const struct lmt_op *lmt_pick_op(struct rnd_state *rnd);
void lmt_transfer(struct lmt_actor *a, struct lmt_map *m, struct lockmap_batch *batch);

/* short_map.c: maps that live for a moment */

void lmt_fail_allocations(bool fail);
void lmt_short_map(struct lmt_actor *a);

/* actors.c: the tasks and timers */

extern struct lmt_actor *lmt_workers, *lmt_timers, *lmt_unlocker, *lmt_creator;
extern unsigned long lmt_signals_sent;
extern wait_queue_head_t lmt_phase_wq;

struct task_struct *lmt_kthread(int (*fn)(void *arg), void *arg, const char *name, unsigned int i);
void lmt_kthread_stop(struct task_struct *task);
const struct lmt_actor *lmt_find_active(void);
int lmt_actors_init(void);
int lmt_actors_start(void);
void lmt_actors_stop(void);
void lmt_actors_free(void);

/* report.c: messages about the course of the test */

unsigned long lmt_count_ops(void);
void lmt_report_stuck(void);
void lmt_report_progress(unsigned int seconds);
void lmt_report(void);

/* main.c: parameters and phases */

extern unsigned int lmt_nr_workers, lmt_nr_timers;
extern unsigned int lmt_short_us, lmt_long_ms;
extern unsigned long lmt_seed;
extern bool lmt_signals, lmt_keep_going, lmt_panic;
extern bool lmt_paused, lmt_stop;
extern unsigned long lmt_start, lmt_nr_phases;
extern atomic_t lmt_failures;
extern struct lmt_phase lmt_phase;

#endif /* _LOCKMAP_TORTURE_H */
