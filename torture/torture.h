/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Shared by the files of lockmap_torture; main.c says what it is. */
#ifndef _LOCKMAP_TORTURE_H
#define _LOCKMAP_TORTURE_H

#include <linux/kernel.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/timer.h>
#include <linux/types.h>

#include "lockmap.h"

#define LMT_MAX_KEY	200	/* bytes of a key */
#define LMT_MAX_BATCH	64	/* keys of a batch */
#define LMT_BURST	16	/* operations between two looks at whether to rest */
#define LMT_BALANCE	1000	/* of each account at the start */
#define LMT_SHARED	6	/* maps that all share; one more is the workers' own */
#define LMT_OPS		12
#define LMT_REFUSALS	5

/**
 * enum lmt_class - what may be done with a key; by the two low bits of its index
 * @LMT_STATIC: always has a value, whose balance batches move about
 * @LMT_EXACT: has a value at times; the shadow knows when and which
 * @LMT_LOOSE: the same, but also lockmap_insert() and lockmap_remove() are
 *	called, under whose lock no shadow can be written: it tells holders only
 */
enum lmt_class { LMT_STATIC, LMT_EXACT, LMT_LOOSE };

/**
 * struct lmt_value - a value, whose words depend on each other
 * @map: number of the map
 * @index: of the key
 * @seq: goes up with each change
 * @balance: of a static key: the sum over its map is constant
 * @mix: made of all those, so that half of one value and half of another shows
 */
struct lmt_value {
	u32 map;
	u32 index;
	u64 seq;
	u64 balance;
	u64 mix[61];
};

/**
 * struct lmt_shadow - what is known of a key; written by its holder only
 * @holder: &lmt_actor.id of who has it, 0 for nobody
 * @epoch: odd when the key has a value; goes up when it gets or loses one
 * @seq: of its value, also of the last one it had
 * @balance: of its value
 * @turns: how often it was unlocked, roughly; for KCSAN, see lmt_unlock()
 */
struct lmt_shadow {
	unsigned int holder;
	unsigned int epoch;
	unsigned long seq;
	u64 balance;
	unsigned int turns;
};

/**
 * struct lmt_map - a map that all share
 * @params: what it is made with
 * @keys: how many keys are used in it
 * @map: the map
 * @shadow: of each key
 * @born: values that were put in
 * @returned: values that came back: replaced, removed, or dropped by the map
 */
struct lmt_map {
	struct lockmap_params params;
	unsigned int keys;
	struct lockmap *map;
	struct lmt_shadow *shadow;
	atomic_long_t born;
	atomic_long_t returned;
};

/**
 * struct lmt_key - a key's bytes
 * @data: the bytes
 * @len: how many
 */
struct lmt_key {
	u8 data[LMT_MAX_KEY];
	size_t len;
};

/**
 * enum lmt_how - the ways to lock a key, or a batch of them but for LMT_PREALLOC
 * @LMT_LOCK: lockmap_lock()
 * @LMT_INTERRUPTIBLE: lockmap_lock_interruptible()
 * @LMT_KILLABLE: lockmap_lock_killable()
 * @LMT_TIMEOUT: lockmap_lock_timeout()
 * @LMT_TRY: lockmap_trylock()
 * @LMT_PREALLOC: lockmap_lock_prealloc()
 * @LMT_HOWS: how many ways there are
 */
enum lmt_how {
	LMT_LOCK,
	LMT_INTERRUPTIBLE,
	LMT_KILLABLE,
	LMT_TIMEOUT,
	LMT_TRY,
	LMT_PREALLOC,
	LMT_HOWS
};

/**
 * struct lmt_refusal - what calls may be refused with
 * @err: the error
 * @name: in messages
 */
struct lmt_refusal {
	int err;
	const char *name;
};

struct lmt_actor;

/**
 * struct lmt_op - a kind of operation
 * @name: in messages
 * @weight: how often it is done, in relation to the others
 * @fn: does it
 */
struct lmt_op {
	const char *name;
	unsigned int weight;
	void (*fn)(struct lmt_actor *a);
};

/**
 * struct lmt_focus - what most workers are after in a phase
 * @map: number of the map, LMT_SHARED for all
 * @base: index of the first key
 * @spread: how many keys
 * @calm: microseconds between two signals
 * @hold: one hold in so many gives up the CPU
 * @ops: two operations that workers prefer
 */
struct lmt_focus {
	unsigned int map;
	unsigned int base;
	unsigned int spread;
	unsigned int calm;
	unsigned int hold;
	const struct lmt_op *ops[2];
};

/**
 * struct lmt_actor - a worker, a timer or the closer
 * @id: counts from 1
 * @task: of a worker
 * @timer: of a timer
 * @rnd: where its random numbers come from
 * @parked: whether it rests; with a full barrier, see lmt_gate()
 * @op: what it does
 * @map: in which map
 * @index: with which key
 * @how: in which way it waits for a key, for the signaller
 * @since: when it began with that, in jiffies
 * @parcel: an entry that it disowned, to be unlocked by another; set by the
 *	worker, cleared by the only one that unlocks it: see lmt_deliver()
 * @parcel_map: the map of @parcel
 * @entry: a key that a timer keeps from one tick to the next
 * @entry_map: the map of @entry
 * @acquired: how many locks it got
 * @softirq: how many of these in softirq
 * @delivered: how many it unlocked for others
 * @longest: its longest wait for a key or batch, in nanoseconds
 * @refused: how often, by lmt_refusals[]
 * @ops: how many operations, by lmt_ops[]
 * @new: room for a value to be put in
 * @old: room for one that comes out
 * @seen: keys that a walk of it visited
 * @keys: room for those of a batch
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
	enum lmt_how how;
	unsigned long since;
	struct lockmap_entry *parcel;
	struct lmt_map *parcel_map;
	struct lockmap_entry *entry;
	struct lmt_map *entry_map;
	unsigned long acquired;
	unsigned long softirq;
	unsigned long delivered;
	u64 longest;
	unsigned long refused[LMT_REFUSALS];
	unsigned long ops[LMT_OPS];
	struct lmt_value new;
	struct lmt_value old;
	unsigned long *seen;
	struct lmt_key keys[LMT_MAX_BATCH];
	struct lockmap_key batch[LMT_MAX_BATCH];
};

/* In model.c: what is known of keys and values, and what may be done with a key that is held. */

extern struct lmt_map lmt_maps[LMT_SHARED + 1];
#define lmt_own		(&lmt_maps[LMT_SHARED])

void __printf(5, 6) lmt_fail(struct lmt_actor *a, const struct lmt_map *m, unsigned int index,
			     const char *check, const char *fmt, ...);
u32 lmt_rnd(struct lmt_actor *a);
bool lmt_once_in(struct lmt_actor *a, u32 n);
enum lmt_class lmt_class(unsigned int index);
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
void lmt_value_born(struct lmt_map *m, unsigned int index, const struct lmt_value *v);
void lmt_value_back(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		    const struct lmt_value *v);
void lmt_release(void *value);
void lmt_enter(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
	       struct lockmap_entry *entry);
void lmt_leave(struct lmt_actor *a, struct lmt_map *m, unsigned int index);
void lmt_write(struct lmt_actor *a, struct lmt_map *m, unsigned int index, struct lmt_value *v,
	       u64 balance);
void lmt_touch(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
	       struct lockmap_entry *entry);

/* In ops.c: locking, and the operations of workers. */

extern const struct lmt_op lmt_ops[LMT_OPS];
extern const struct lmt_refusal lmt_refusals[LMT_REFUSALS];

struct lmt_map *lmt_pick_map(struct lmt_actor *a);
unsigned int lmt_pick_key(struct lmt_actor *a, const struct lmt_map *m);
struct lockmap_entry *lmt_lock(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
			       enum lmt_how how, bool holds);
void lmt_unlock(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		struct lockmap_entry *entry);
struct lockmap_batch *lmt_batch_lock(struct lmt_actor *a, struct lmt_map *m, unsigned int n,
				     enum lmt_how how, bool holds);
void lmt_batch_unlock(struct lmt_actor *a, struct lmt_map *m, struct lockmap_batch *batch);
void lmt_batch_key(struct lmt_actor *a, const struct lmt_map *m, unsigned int i,
		   unsigned int index);
void lmt_transfer(struct lmt_actor *a, struct lmt_map *m, struct lockmap_batch *batch);
void lmt_brief(struct lmt_actor *a);
const struct lmt_op *lmt_pick_op(struct rnd_state *rnd);
void lmt_fail_allocations(bool fail);

/* In main.c: parameters, and the course of the test. */

extern unsigned int lmt_short_us, lmt_long_ms;
extern bool lmt_disorder, lmt_keep_going, lmt_panic;
extern bool lmt_paused, lmt_stop;
extern unsigned long lmt_start;
extern atomic_t lmt_failures;
extern struct lmt_focus lmt_focus;

#endif /* _LOCKMAP_TORTURE_H */
