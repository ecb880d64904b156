/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Shared by the files of lockmap_torture; main.c describes the test. */
#ifndef _LOCKMAP_TORTURE_H
#define _LOCKMAP_TORTURE_H

#include <linux/completion.h>
#include <linux/kernel.h>
#include <linux/lockdep_types.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/timer.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "lockmap.h"

#define LMT_MAX_KEY	200	/* bytes of a key */
#define LMT_MAX_BATCH	64	/* keys of a batch */
#define LMT_BURST	16	/* operations of a worker between two looks at lmt_paused */
#define LMT_BALANCE	1000	/* of each account at the start */
#define LMT_NR_SHARED	7	/* maps that all actors share; one more has private keys */
#define LMT_OPS		20
#define LMT_REFUSALS	5
#define LMT_CHAINS	3	/* chains of requests of a worker or timer */
#define LMT_CHAIN_LEN	4	/* requests of a chain */

/* In &lmt_shadow.holder, above the id of an exclusive holder: the number of sharers. */
#define LMT_SHARE_ONE	BIT(16)
#define LMT_HOLDER_ID	(LMT_SHARE_ONE - 1)

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
 * struct lmt_shadow - what is known of a key; written by its exclusive holder only
 * @holder: &lmt_actor.id or &lmt_request.id of the exclusive holder, or the number of
 *	sharers, times LMT_SHARE_ONE; 0 if the key is free; atomic
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
 * @lock_key: its lockdep class
 * @map: the map
 * @shadow: the shadow of each key
 * @inserted: how many values were put in
 * @removed: how many values came out: replaced, removed, or released by the map
 */
struct lmt_map {
	struct lockmap_params params;
	unsigned int keys;
	bool is_cleared;
	struct lock_class_key lock_key;
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
 * enum lmt_wait_mode - the ways to lock a key; all but LMT_PREALLOC also lock a batch,
 *	or share a key
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
struct lmt_chain;

/**
 * struct lmt_hold - a key that an actor holds, in either way
 * @m: the map
 * @index: index of the key
 * @entry: set if the key is locked exclusively
 * @shared: set if the key is shared
 */
struct lmt_hold {
	struct lmt_map *m;
	unsigned int index;
	struct lockmap_entry *entry;
	const struct lockmap_entry *shared;
};

/**
 * struct lmt_ask - a request whose grants are only noted
 * @req: for lockmap
 * @entry: the entry that was granted
 * @granted: how often
 */
struct lmt_ask {
	struct lockmap_request req;
	struct lockmap_entry *entry;
	unsigned int granted;
};

/**
 * struct lmt_follower - work that shares or reads a key, for an actor that holds it
 * @work: for a workqueue
 * @index: the key, in the map of private keys
 * @begun: it is about to wait for the key
 * @done: it had the key, or has read it
 */
struct lmt_follower {
	struct work_struct work;
	unsigned int index;
	bool begun;
	struct completion done;
};

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
 * struct lmt_actor - a worker, a timer, the unlocker, the creator or one of the crowd
 * @id: counts from 1
 * @task: the task; %NULL for a timer
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
 * @disowned_shared: it is shared
 * @disowned_map: the map of @disowned
 * @kept: what a timer keeps locked until its next tick
 * @chains: its chains of requests
 * @nr_chains: number of these
 * @ask: requests of which no other actor knows
 * @follower: of a worker
 * @acquired: number of locks acquired; of the creator: number of maps
 * @shared: number of keys shared
 * @upgraded: how often it became the exclusive holder of a key that it shared
 * @downgraded: how often the other way round
 * @sum: of what it has read of kcsan_count
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
 * @batch_len: number of keys in the batch that it holds
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
	bool disowned_shared;
	struct lmt_map *disowned_map;
	struct lmt_hold kept;
	struct lmt_chain *chains;
	unsigned int nr_chains;
	struct lmt_ask ask[2];
	struct lmt_follower follower;
	unsigned long acquired;
	unsigned long shared;
	unsigned long upgraded;
	unsigned long downgraded;
	unsigned int sum;
	unsigned long softirq_locks;
	unsigned long unlocked_others;
	u64 longest;
	unsigned long refused[LMT_REFUSALS];
	unsigned long ops[LMT_OPS];
	struct lmt_value new;
	struct lmt_value old;
	unsigned long *seen;
	struct lmt_key *keys;
	struct lockmap_key *batch;
	unsigned int batch_len;
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
void lmt_release(void *value, void *priv);
void lmt_shadow_match(struct lmt_actor *a, const struct lmt_map *m, unsigned int index,
		      const struct lockmap_entry *entry, const struct lmt_value *v);
void lmt_shadow_take(struct lmt_actor *a, unsigned int id, struct lmt_map *m, unsigned int index,
		     struct lockmap_entry *entry);
void lmt_shadow_drop(struct lmt_actor *a, unsigned int id, struct lmt_map *m, unsigned int index);
void lmt_shadow_lock(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		     struct lockmap_entry *entry);
void lmt_shadow_unlock(struct lmt_actor *a, struct lmt_map *m, unsigned int index);
void lmt_delay(struct lmt_actor *a);
void lmt_get_or_insert(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		       struct lockmap_entry *entry);
void lmt_use_entry(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		   struct lockmap_entry *entry);

/* lock.c: pick a map, a key, a way; lock and unlock */

extern const struct lmt_refusal lmt_refusals[LMT_REFUSALS];

struct lmt_map *lmt_pick_map(struct lmt_actor *a);
unsigned int lmt_pick_key(struct lmt_actor *a, const struct lmt_map *m);
enum lmt_wait_mode lmt_pick_wait_mode(struct lmt_actor *a);
enum lmt_wait_mode lmt_pick_sharers_mode(struct lmt_actor *a);
void lmt_begin_wait(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		    enum lmt_wait_mode mode);
void lmt_end_wait(struct lmt_actor *a, u64 begin);
bool lmt_may_refuse(enum lmt_wait_mode mode, int err, bool holds, unsigned long waited,
		    unsigned long timeout);
void lmt_count_refusal(struct lmt_actor *a, int err);
struct lockmap_entry *lmt_lock(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
			       enum lmt_wait_mode mode, bool holds);
void lmt_unlock(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		struct lockmap_entry *entry);
const struct lockmap_entry *lmt_lock_shared(struct lmt_actor *a, struct lmt_map *m,
					    unsigned int index, enum lmt_wait_mode mode,
					    bool holds);
void lmt_unlock_shared(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		       const struct lockmap_entry *entry);

/* batch.c: the same for batches */

void lmt_batch_key(struct lmt_actor *a, const struct lmt_map *m, unsigned int i,
		   unsigned int index, bool shared);
struct lockmap_batch *lmt_batch_lock(struct lmt_actor *a, struct lmt_map *m, unsigned int n,
				     enum lmt_wait_mode mode, bool holds);
void lmt_batch_unlock(struct lmt_actor *a, struct lmt_map *m, struct lockmap_batch *batch);

/* shared.c: keys that are shared */

void lmt_shadow_share(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		      const struct lockmap_entry *entry);
void lmt_shadow_unshare(struct lmt_actor *a, struct lmt_map *m, unsigned int index);
void lmt_use_shared(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		    const struct lockmap_entry *entry);
bool lmt_hold(struct lmt_actor *a, struct lmt_hold *h, bool shared, enum lmt_wait_mode mode,
	      bool holds);
void lmt_let_go(struct lmt_actor *a, struct lmt_hold *h);
void lmt_use_hold(struct lmt_actor *a, struct lmt_hold *h);
void lmt_change_hold(struct lmt_actor *a, struct lmt_hold *h);
void lmt_op_shared(struct lmt_actor *a);
void lmt_op_downgrade(struct lmt_actor *a);

/* async.c: requests */

int lmt_requests_init(void);
void lmt_requests_stop(void);
void lmt_requests_free(void);
bool lmt_find_pending(void);
void lmt_request(struct lmt_actor *a);
void lmt_op_async(struct lmt_actor *a);
void lmt_unlock_granted(void);
void lmt_check_requests(void);
void lmt_report_pending(void);
void lmt_report_requests(void);

/* alone.c: calls for a key that no other actor uses, so the right answer is known */

int lmt_alone_init(void);
void lmt_alone_exit(void);
void lmt_check_ask(struct lmt_actor *a, struct lmt_map *m, unsigned int index);
void lmt_op_private(struct lmt_actor *a);
void lmt_op_alone(struct lmt_actor *a);

/* keep.c: keys that have a value, and entries that a value keeps */

void lmt_op_present(struct lmt_actor *a);
void lmt_op_tryget(struct lmt_actor *a);
void lmt_op_reference(struct lmt_actor *a);

/* crowd.c: tasks that wait for a few keys */

int lmt_crowd_fn(void *arg);

/* ops.c: the operations of workers */

extern const struct lmt_op lmt_ops[LMT_OPS];

const struct lmt_op *lmt_pick_op(struct rnd_state *rnd);
int lmt_read(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
	     int (*read)(struct lockmap *map, const void *key, size_t len, void *value));
bool lmt_set(struct lmt_actor *a, struct lmt_map *m, unsigned int index, bool insert);
void lmt_transfer(struct lmt_actor *a, struct lmt_map *m, struct lockmap_batch *batch);

/* short_map.c: maps that live for a moment */

void lmt_fail_allocations(bool fail);
void lmt_short_map(struct lmt_actor *a);

/* actors.c: the tasks and timers */

extern struct lmt_actor *lmt_workers, *lmt_timers, *lmt_unlocker, *lmt_creator, *lmt_crowd;
extern unsigned long lmt_signals_sent;
extern wait_queue_head_t lmt_phase_wq;

struct task_struct *lmt_kthread(int (*fn)(void *arg), void *arg, const char *name, unsigned int i);
void lmt_kthread_stop(struct task_struct *task);
bool lmt_wait_for_phase(struct lmt_actor *a);
struct lmt_actor *lmt_task_actor(unsigned int i);
bool lmt_find_active(void);
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

extern unsigned int lmt_nr_workers, lmt_nr_timers, lmt_nr_crowd;
extern unsigned int lmt_short_us, lmt_long_ms;
extern unsigned long lmt_seed;
extern bool lmt_signals, lmt_keep_going, lmt_panic;
extern bool lmt_paused, lmt_stop;
extern unsigned long lmt_start, lmt_nr_phases;
extern atomic_t lmt_failures;
extern struct lmt_phase lmt_phase;

#endif /* _LOCKMAP_TORTURE_H */
