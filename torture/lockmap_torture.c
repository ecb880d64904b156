// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * lockmap_torture: many tasks do everything that lockmap.h has, for as long as one likes
 *
 * In the manner of kernel/locking/locktorture.c. Loading the module starts it,
 * `seconds` later it says "End of test: SUCCESS" or "FAILURE" in the log, and
 * the read-only parameter `running` becomes N. Unloading ends it early.
 *
 * Who is who
 *
 * - Workers: kthreads that do one random operation after the other (lmt_ops[]),
 *   with random keys of random maps (lmt_maps[]).
 * - Timers: lock, change and unlock keys in softirq.
 * - The closer, and the timers: unlock what workers locked and disowned.
 * - The briefer: makes a map, uses and destroys it, and again.
 * - The signaller: sends signals to workers that wait for a key.
 * - The monitor: begins and ends phases.
 *
 * Phases
 *
 * In a phase of some 10 ms most workers are after the same few keys. Between
 * phases everybody has to come to rest: what is still waited for then, nobody
 * will ever unlock, so a lost wakeup shows. At rest the counts have to agree.
 *
 * What is known of a key
 *
 * Each key has a shadow, which says who holds it and what value it has; only
 * the holder writes it. The index of a key decides its class, see lmt_class.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/hash.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/reboot.h>
#include <linux/sched/debug.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/wait.h>

#include "lockmap.h"

static unsigned int tasks = 12;
module_param(tasks, uint, 0444);
MODULE_PARM_DESC(tasks, "Number of workers");

static unsigned int timers = 2;
module_param(timers, uint, 0444);
MODULE_PARM_DESC(timers, "Number of timers that lock keys in softirq");

static unsigned int hot_keys = 12;
module_param(hot_keys, uint, 0444);
MODULE_PARM_DESC(hot_keys, "Number of keys in the map of few keys");

static unsigned int cold_keys = 2000;
module_param(cold_keys, uint, 0444);
MODULE_PARM_DESC(cold_keys, "Number of keys in the map of many keys");

static unsigned int maps = ~0U;
module_param(maps, uint, 0444);
MODULE_PARM_DESC(maps, "Which maps to use, as a bit mask: see lmt_maps[]");

static unsigned int seconds = 30;
module_param(seconds, uint, 0444);
MODULE_PARM_DESC(seconds, "How long to run; 0 until the module is unloaded");

static unsigned int phase_ms = 100;
module_param(phase_ms, uint, 0444);
MODULE_PARM_DESC(phase_ms, "How long a phase is on average, in milliseconds");

static unsigned int short_us = 10;
module_param(short_us, uint, 0444);
MODULE_PARM_DESC(short_us, "Short holds, one in 16, in microseconds");

static unsigned int long_ms = 100;
module_param(long_ms, uint, 0444);
MODULE_PARM_DESC(long_ms, "Long holds, one in 8192, in milliseconds");

static unsigned int stall = 10;
module_param(stall, uint, 0444);
MODULE_PARM_DESC(stall, "How many seconds nobody may need to come to rest");

static unsigned int progress = 10;
module_param(progress, uint, 0444);
MODULE_PARM_DESC(progress, "Seconds between messages of progress; 0 for none");

static bool signals = true;
module_param(signals, bool, 0444);
MODULE_PARM_DESC(signals, "Send signals to those who wait");

/* On purpose against the rules, which lockdep would tell. */
static bool disorder = !IS_ENABLED(CONFIG_PROVE_LOCKING);
module_param(disorder, bool, 0444);
MODULE_PARM_DESC(disorder, "Lock keys in any order, to provoke -EDEADLK");

static bool keep_going;
module_param(keep_going, bool, 0444);
MODULE_PARM_DESC(keep_going, "Do not stop at the first failure");

static bool panic_on_failure;
module_param(panic_on_failure, bool, 0444);
MODULE_PARM_DESC(panic_on_failure, "Panic at the first failure");

static bool shutdown;
module_param(shutdown, bool, 0444);
MODULE_PARM_DESC(shutdown, "Power off at the end");

static ulong seed;
module_param(seed, ulong, 0444);
MODULE_PARM_DESC(seed, "Of the random numbers; 0 for another one each time");

static bool running = true;
module_param(running, bool, 0444);
MODULE_PARM_DESC(running, "Read only: whether the test goes on");

#define LMT_MAX_KEY	200	/* bytes of a key */
#define LMT_MAX_BATCH	64	/* keys of a batch */
#define LMT_MAX_TASKS	256
#define LMT_BURST	16	/* operations between two looks at whether to rest */
#define LMT_BALANCE	1000	/* of each account at the start */
#define LMT_BRIEF_KEYS	48

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
	u64 mix[13];
};

/**
 * struct lmt_shadow - what is known of a key; written by its holder only
 * @holder: &lmt_actor.id of who has it, 0 for nobody
 * @epoch: odd when the key has a value; goes up when it gets or loses one
 * @seq: of its value, also of the last one it had
 * @balance: of its value
 */
struct lmt_shadow {
	unsigned int holder;
	unsigned int epoch;
	u64 seq;
	u64 balance;
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

/* What calls may be refused with, and how it is told at the end. */
static const struct {
	int err;
	const char *name;
} lmt_refusals[] = {
	{ -EBUSY, "busy" }, { -ETIMEDOUT, "timeout" }, { -EINTR, "signal" },
	{ -EDEADLK, "deadlock" }, { -ENOMEM, "no memory" },
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
	unsigned long refused[ARRAY_SIZE(lmt_refusals)];
	unsigned long ops[32];
	unsigned long *seen;
	struct lmt_key keys[LMT_MAX_BATCH];
	struct lockmap_key batch[LMT_MAX_BATCH];
};

static u64 lmt_hash_chain(const void *key, size_t len, u64 seed);
static int lmt_cmp_reverse(const void *a, size_t a_len, const void *b, size_t b_len);
static void lmt_clone(void *dst, const void *src);

/* The last one is the workers' own: each uses the key of its number, and nobody else does. */
static struct lmt_map lmt_maps[] = {
	{ .params = { .name = "hot", .key_len = 8, .nr_shards = 1, .max_idle = 1 } },
	{ .params = { .name = "cold", .key_len = 8, .max_idle = 64 } },
	{ .params = { .name = "small", .key_len = 4, .nr_shards = 2 }, .keys = 64 },
	{ .params = { .name = "chain", .key_len = 16, .max_idle = 4, .hash = lmt_hash_chain,
		      .cmp = lmt_cmp_reverse, .clone = lmt_clone }, .keys = 32 },
	{ .params = { .name = "string", .key_len = 48, .flags = LOCKMAP_VAR_KEY,
		      .max_idle = 2, }, .keys = 100 },
	{ .params = { .name = "long", .key_len = LMT_MAX_KEY, .flags = LOCKMAP_VAR_KEY,
		      .nr_shards = 1, .max_idle = 2 }, .keys = 24 },
	{ .params = { .name = "own", .key_len = 8, .nr_shards = 1, .max_idle = 1 } },
};

#define LMT_SHARED	(ARRAY_SIZE(lmt_maps) - 1)
#define lmt_own		(&lmt_maps[LMT_SHARED])

static struct lmt_actor *lmt_workers, *lmt_timers, *lmt_closer, *lmt_briefer;
static struct task_struct *lmt_monitor, *lmt_signaller;
static DECLARE_WAIT_QUEUE_HEAD(lmt_wq);
static bool lmt_paused = true;
static bool lmt_stop;
static unsigned long lmt_start;
static unsigned long lmt_phases, lmt_signals_sent, lmt_briefs;
static atomic_t lmt_failures;

/* What most workers are after in this phase: keys from @base on, of @map or of all. */
static struct {
	int map;
	unsigned int base;
	unsigned int spread;
} lmt_focus;

/*
 * Helpers
 */

static u32 lmt_rnd(struct lmt_actor *a)
{
	return prandom_u32_state(&a->rnd);
}

/* True once in @n times. */
static bool lmt_once_in(struct lmt_actor *a, u32 n)
{
	return lmt_rnd(a) % n == 0;
}

static void __printf(5, 6) lmt_fail(struct lmt_actor *a, const struct lmt_map *m, unsigned int index,
				    const char *check, const char *fmt, ...)
{
	struct va_format vaf;
	va_list args;
	int n = atomic_inc_return(&lmt_failures);

	if (!keep_going) {
		WRITE_ONCE(lmt_stop, true);
		WRITE_ONCE(lmt_paused, true);
	}
	if (n > 20)
		return;
	va_start(args, fmt);
	vaf.fmt = fmt;
	vaf.va = &args;
	pr_err("failed check after %u ms: %s: actor %u, %s, key %s[%u]: %pV\n",
	       jiffies_to_msecs(jiffies - lmt_start), check, a ? a->id : 0,
	       a && a->op ? a->op->name : "-", m ? m->params.name : "", index, &vaf);
	va_end(args);
	if (panic_on_failure)
		panic("lockmap_torture: failed");
}

static enum lmt_class lmt_class(unsigned int index)
{
	if (index % 4 == 0 && index < 4 * LMT_MAX_BATCH)
		return LMT_STATIC;
	return index % 4 == 3 ? LMT_LOOSE : LMT_EXACT;
}

static unsigned int lmt_nr_static(const struct lmt_map *m)
{
	return min_t(unsigned int, DIV_ROUND_UP(m->keys, 4), LMT_MAX_BATCH);
}

/*
 * Keys
 */

static u64 lmt_hash_chain(const void *key, size_t len, u64 seed)
{
	return *(const u8 *)key % 4;
}

static int lmt_cmp_reverse(const void *a, size_t a_len, const void *b, size_t b_len)
{
	return memcmp(b, a, b_len);
}

static int lmt_cmp(const struct lmt_map *m, const struct lmt_key *x, const struct lmt_key *y)
{
	if (m->params.cmp)
		return m->params.cmp(x->data, x->len, y->data, y->len);
	return memcmp(x->data, y->data, min(x->len, y->len)) ?: (int)x->len - (int)y->len;
}

/* Strings begin with the number, and are of many lengths; keys of fixed size begin with it in binary. */
static void lmt_key_init(struct lmt_key *key, const struct lmt_map *m, unsigned int index)
{
	size_t n;

	memset(key->data, 'x', sizeof(key->data));
	if (m->params.flags & LOCKMAP_VAR_KEY) {
		n = scnprintf(key->data, m->params.key_len, "%u:", index);
		key->data[n] = 'x';
		key->len = max_t(size_t, n, 1 + index * 37 % m->params.key_len);
	} else {
		memcpy(key->data, &index, sizeof(index));
		key->len = m->params.key_len;
	}
}

static unsigned int lmt_key_index(const struct lmt_map *m, const u8 *data, size_t len)
{
	unsigned int index = 0;

	if (!(m->params.flags & LOCKMAP_VAR_KEY)) {
		memcpy(&index, data, sizeof(index));
		return index;
	}
	for (; len && *data >= '0' && *data <= '9'; len--)
		index = 10 * index + *data++ - '0';
	return index;
}

/* The index of a key that a map gave us; the number of keys if it is none of ours. */
static unsigned int lmt_key_check(struct lmt_actor *a, const struct lmt_map *m, const void *data,
				  size_t len)
{
	unsigned int index = lmt_key_index(m, data, len);
	struct lmt_key key;

	if (index < m->keys) {
		lmt_key_init(&key, m, index);
		if (key.len == len && !memcmp(key.data, data, len))
			return index;
	}
	lmt_fail(a, m, index, "broken key", "%zu bytes", len);
	return m->keys;
}

/*
 * Values
 */

static u64 lmt_mix(const struct lmt_value *v, unsigned int i)
{
	return (v->seq + i) * GOLDEN_RATIO_64 ^ v->balance ^ v->index;
}

static void lmt_value_make(struct lmt_value *v, const struct lmt_map *m, unsigned int index,
			   u64 seq, u64 balance)
{
	unsigned int i;

	WRITE_ONCE(v->map, m - lmt_maps);
	WRITE_ONCE(v->index, index);
	WRITE_ONCE(v->seq, seq);
	WRITE_ONCE(v->balance, balance);
	for (i = 0; i < ARRAY_SIZE(v->mix); i++)
		WRITE_ONCE(v->mix[i], lmt_mix(v, i));
}

static bool lmt_value_ok(const struct lmt_value *v, const struct lmt_map *m, unsigned int index)
{
	unsigned int i;

	if (v->map != m - lmt_maps || v->index != index)
		return false;
	for (i = 0; i < ARRAY_SIZE(v->mix); i++) {
		if (v->mix[i] != lmt_mix(v, i))
			return false;
	}
	return true;
}

/* The value of a key that the caller holds is what its last holder left. */
static void lmt_value_check(struct lmt_actor *a, const struct lmt_map *m, unsigned int index,
			    const struct lmt_value *v)
{
	const struct lmt_shadow *s = &m->shadow[index];

	if (!lmt_value_ok(v, m, index))
		lmt_fail(a, m, index, "broken value", "seq %llu", v->seq);
	else if (lmt_class(index) != LMT_LOOSE && (v->seq != s->seq || v->balance != s->balance))
		lmt_fail(a, m, index, "lost update", "seq %llu instead of %llu", v->seq, s->seq);
}

/* A value was put in; the key is held. */
static void lmt_value_born(struct lmt_map *m, unsigned int index, const struct lmt_value *v)
{
	struct lmt_shadow *s = &m->shadow[index];

	atomic_long_inc(&m->born);
	if (lmt_class(index) == LMT_LOOSE)
		return;
	s->balance = v->balance;
	WRITE_ONCE(s->seq, v->seq);
	smp_store_release(&s->epoch, s->epoch + 1);
}

/* A value came out; the key is held. */
static void lmt_value_back(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
			   const struct lmt_value *v)
{
	struct lmt_shadow *s = &m->shadow[index];

	atomic_long_inc(&m->returned);
	lmt_value_check(a, m, index, v);
	if (lmt_class(index) == LMT_LOOSE)
		return;
	if (!(s->epoch & 1))
		lmt_fail(a, m, index, "presence", "a value came out where there was none");
	smp_store_release(&s->epoch, s->epoch + 1);
}

static void lmt_release(void *value)
{
	const struct lmt_value *v = value;

	if (v->map >= ARRAY_SIZE(lmt_maps) || v->index >= lmt_maps[v->map].keys)
		lmt_fail(NULL, NULL, v->index, "broken value", "released, of map %u", v->map);
	else
		lmt_value_back(NULL, &lmt_maps[v->map], v->index, v);
}

static void lmt_clone(void *dst, const void *src)
{
	memcpy(dst, src, sizeof(struct lmt_value));
}

/*
 * Holders
 */

static void lmt_enter(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		      struct lockmap_entry *entry)
{
	struct lmt_shadow *s = &m->shadow[index];
	const struct lmt_value *v = lockmap_entry_value(entry);
	unsigned int other;
	const void *data;
	size_t len;

	a->acquired++;
	data = lockmap_entry_key(entry, &len);
	if (lmt_key_check(a, m, data, len) != index)
		lmt_fail(a, m, index, "wrong key", "key %u", lmt_key_index(m, data, len));
	other = cmpxchg(&s->holder, 0, a->id);
	if (other)
		lmt_fail(a, m, index, "two holders", "actor %u has it", other);
	if (lmt_class(index) != LMT_LOOSE && !v != !(s->epoch & 1))
		lmt_fail(a, m, index, "presence", "epoch %u, %s value", s->epoch, v ? "a" : "no");
	if (v)
		lmt_value_check(a, m, index, v);
}

static void lmt_leave(struct lmt_actor *a, struct lmt_map *m, unsigned int index)
{
	unsigned int other = cmpxchg(&m->shadow[index].holder, a->id, 0);

	if (other != a->id)
		lmt_fail(a, m, index, "two holders", "actor %u took it away", other);
}

/* A sleeping or a spinning hold, now and then. */
static void lmt_hold(struct lmt_actor *a)
{
	u32 r = lmt_rnd(a);

	if (in_task() && r % 8192 == 0)
		msleep(long_ms);
	else if (in_task() && r % 256 == 1)
		usleep_range(50, 100);
	else if (r % 16 == 2)
		udelay(short_us);
	else if (in_task() && r % 16 == 3)
		schedule();
}

/* Write a value in place. */
static void lmt_write(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		      struct lmt_value *v, u64 balance)
{
	struct lmt_shadow *s = &m->shadow[index];

	if (lmt_class(index) == LMT_LOOSE) {
		lmt_value_make(v, m, index, lmt_rnd(a), balance);
		return;
	}
	s->balance = balance;
	WRITE_ONCE(s->seq, s->seq + 1);
	lmt_value_make(v, m, index, s->seq, balance);
}

static void lmt_insert(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		       struct lockmap_entry *entry)
{
	const struct lmt_shadow *s = &m->shadow[index];
	bool had = lockmap_entry_value(entry), copy = lmt_once_in(a, 2);
	struct lmt_value new, old;

	lmt_value_make(&new, m, index, s->seq + 1, s->balance);
	if (lockmap_entry_insert(entry, &new, copy ? &old : NULL) != had)
		lmt_fail(a, m, index, "presence", "insert says no to %u", had);
	if (had && copy)
		lmt_value_back(a, m, index, &old);
	lmt_value_born(m, index, &new);
}

static void lmt_get_or_insert(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
			      struct lockmap_entry *entry)
{
	const struct lmt_shadow *s = &m->shadow[index];
	bool had = lockmap_entry_value(entry);
	struct lmt_value new, *v;

	lmt_value_make(&new, m, index, s->seq + 1, s->balance);
	v = lockmap_entry_get_or_insert(entry, &new);
	if (!had)
		lmt_value_born(m, index, &new);
	lmt_value_check(a, m, index, v);
}

static void lmt_remove(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		       struct lockmap_entry *entry)
{
	bool had = lockmap_entry_value(entry), copy = lmt_once_in(a, 2);
	struct lmt_value old;

	if (lockmap_entry_remove(entry, copy ? &old : NULL) != had)
		lmt_fail(a, m, index, "presence", "remove says no to %u", had);
	if (had && copy)
		lmt_value_back(a, m, index, &old);
}

/* What the map has to tell a task about a key that it holds. */
static void lmt_probe(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		      struct lockmap_entry *entry)
{
	struct lockmap_entry *again;
	struct lmt_key key;
	int err;

	lmt_key_init(&key, m, index);
	again = lockmap_trylock(m->map, key.data, key.len);
	if (PTR_ERR(again) != -EBUSY)
		lmt_fail(a, m, index, "reentered", "trylock: %ld", PTR_ERR(again));
	if (!in_task())
		return;
	again = lockmap_lock(m->map, key.data, key.len);
	if (PTR_ERR(again) != -EDEADLK)
		lmt_fail(a, m, index, "reentered", "lock: %ld", PTR_ERR(again));
	err = lockmap_get(m->map, key.data, key.len, NULL);
	if (err != -EDEADLK)
		lmt_fail(a, m, index, "reentered", "get: %d", err);
	if (lockmap_contains(m->map, key.data, key.len) != !!lockmap_entry_value(entry))
		lmt_fail(a, m, index, "presence", "contains errs");
}

/* Do something with a key that is held. */
static void lmt_touch(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		      struct lockmap_entry *entry)
{
	struct lmt_value *v = lockmap_entry_value(entry);

	switch (lmt_rnd(a) % 8) {
	case 0:
	case 1:
		if (v)
			lmt_write(a, m, index, v, m->shadow[index].balance);
		break;
	case 2:
		lmt_insert(a, m, index, entry);
		break;
	case 3:
	case 4:
		if (lmt_class(index) != LMT_STATIC)
			lmt_remove(a, m, index, entry);
		break;
	case 5:
		lmt_get_or_insert(a, m, index, entry);
		break;
	case 6:
		lmt_probe(a, m, index, entry);
		break;
	}
	lmt_hold(a);
}

/*
 * Locking
 */

static struct lmt_map *lmt_pick_map(struct lmt_actor *a)
{
	unsigned int n = READ_ONCE(lmt_focus.map);

	if (n >= LMT_SHARED || lmt_once_in(a, 8))
		n = lmt_rnd(a) % LMT_SHARED;
	while (!lmt_maps[n].map)
		n = (n + 1) % LMT_SHARED;
	return &lmt_maps[n];
}

static unsigned int lmt_pick_key(struct lmt_actor *a, const struct lmt_map *m)
{
	return (lmt_focus.base + lmt_rnd(a) % lmt_focus.spread) % m->keys;
}

static enum lmt_how lmt_pick_how(struct lmt_actor *a)
{
	return lmt_rnd(a) % LMT_HOWS;
}

/* For the monitor and for messages: what the actor is about to wait for. */
static void lmt_waits(struct lmt_actor *a, struct lmt_map *m, unsigned int index, enum lmt_how how)
{
	a->map = m;
	a->index = index;
	WRITE_ONCE(a->since, jiffies);
	WRITE_ONCE(a->how, how);
}

static void lmt_waited(struct lmt_actor *a, u64 begin)
{
	WRITE_ONCE(a->how, LMT_LOCK);
	a->longest = max(a->longest, ktime_get_ns() - begin);
}

/* Whether the way to wait allows for the error, and there is a reason for it. */
static bool lmt_may_refuse(enum lmt_how how, int err, bool holds, unsigned long waited,
			   unsigned long timeout)
{
	switch (err) {
	case -EBUSY:
		return how == LMT_TRY;
	case -ENOMEM:
		return how == LMT_TRY || IS_ENABLED(CONFIG_FAILSLAB);
	case -EINTR:
		return how == LMT_KILLABLE ? fatal_signal_pending(current) :
		       how == LMT_INTERRUPTIBLE && signal_pending(current);
	case -ETIMEDOUT:
		return how == LMT_TIMEOUT && waited >= timeout;
	case -EDEADLK:
		return holds && disorder;
	}
	return false;
}

static void lmt_refused(struct lmt_actor *a, int err)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lmt_refusals); i++) {
		if (lmt_refusals[i].err == err)
			a->refused[i]++;
	}
	if (err == -EINTR)
		flush_signals(current);
}

static struct lockmap_entry *lmt_call_lock(struct lockmap *map, const struct lmt_key *key,
					   enum lmt_how how, unsigned long timeout)
{
	switch (how) {
	case LMT_INTERRUPTIBLE:
		return lockmap_lock_interruptible(map, key->data, key->len);
	case LMT_KILLABLE:
		return lockmap_lock_killable(map, key->data, key->len);
	case LMT_TIMEOUT:
		return lockmap_lock_timeout(map, key->data, key->len, timeout);
	case LMT_TRY:
		return lockmap_trylock(map, key->data, key->len);
	case LMT_PREALLOC:
		return lockmap_lock_prealloc(map, lockmap_entry_alloc(map, key->data, key->len,
								      GFP_KERNEL));
	default:
		return lockmap_lock(map, key->data, key->len);
	}
}

/* Lock and enter a key. @holds: whether the caller has another one. Return: %NULL if refused. */
static struct lockmap_entry *lmt_lock(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
				      enum lmt_how how, bool holds)
{
	unsigned long begin = jiffies, timeout = lmt_rnd(a) % 5;
	struct lockmap_entry *entry;
	u64 start = ktime_get_ns();
	struct lmt_key key;

	lmt_key_init(&key, m, index);
	lmt_waits(a, m, index, how);
	entry = lmt_call_lock(m->map, &key, how, timeout);
	lmt_waited(a, start);
	if (!IS_ERR_OR_NULL(entry)) {
		lmt_enter(a, m, index, entry);
		return entry;
	}
	if (!lmt_may_refuse(how, PTR_ERR(entry), holds, jiffies - begin, timeout))
		lmt_fail(a, m, index, "error code", "lock in way %u: %ld", how, PTR_ERR(entry));
	lmt_refused(a, PTR_ERR(entry));
	return NULL;
}

static void lmt_unlock(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		       struct lockmap_entry *entry)
{
	lmt_leave(a, m, index);
	lockmap_unlock(entry);
}

static struct lockmap_batch *lmt_call_batch(struct lockmap *map, const struct lockmap_key *keys,
					    unsigned int n, enum lmt_how how, unsigned long timeout)
{
	switch (how) {
	case LMT_INTERRUPTIBLE:
		return lockmap_batch_lock_interruptible(map, keys, n);
	case LMT_KILLABLE:
		return lockmap_batch_lock_killable(map, keys, n);
	case LMT_TIMEOUT:
		return lockmap_batch_lock_timeout(map, keys, n, timeout);
	case LMT_TRY:
		return lockmap_batch_trylock(map, keys, n);
	default:
		return lockmap_batch_lock(map, keys, n);
	}
}

static unsigned int lmt_entry_index(const struct lmt_map *m, const struct lockmap_entry *entry)
{
	size_t len;
	const void *data = lockmap_entry_key(entry, &len);

	return lmt_key_index(m, data, len);
}

/* All keys that were asked for, each once, in ascending order. */
static void lmt_batch_check(struct lmt_actor *a, struct lmt_map *m, struct lockmap_batch *batch,
			    unsigned int n)
{
	struct lmt_key keys[2];
	struct lockmap_entry *entry;
	unsigned int i, index;

	for (i = 0; i < n; i++) {
		entry = lockmap_batch_entry(batch, a->keys[i].data, a->keys[i].len);
		index = lmt_key_index(m, a->keys[i].data, a->keys[i].len);
		if (!entry || lmt_entry_index(m, entry) != index)
			lmt_fail(a, m, index, "batch", "does not find its key");
	}
	for (i = 0; i < batch->nr; i++) {
		index = lmt_entry_index(m, batch->entries[i]);
		lmt_key_init(&keys[i % 2], m, index);
		if (i && lmt_cmp(m, &keys[(i - 1) % 2], &keys[i % 2]) >= 0)
			lmt_fail(a, m, index, "batch", "is not in order");
	}
}

/* Lock and enter the first @n of a->keys. Return: %NULL if refused. */
static struct lockmap_batch *lmt_batch_lock(struct lmt_actor *a, struct lmt_map *m, unsigned int n,
					    enum lmt_how how, bool holds)
{
	unsigned long begin = jiffies, timeout = lmt_rnd(a) % 8;
	struct lockmap_batch *batch;
	struct lockmap_entry *entry;
	u64 start = ktime_get_ns();

	lmt_waits(a, m, n ? lmt_key_index(m, a->keys[0].data, a->keys[0].len) : 0, how);
	batch = lmt_call_batch(m->map, a->batch, n, how, timeout);
	lmt_waited(a, start);
	if (IS_ERR(batch)) {
		if (!lmt_may_refuse(how, PTR_ERR(batch), holds, jiffies - begin, timeout))
			lmt_fail(a, m, a->index, "error code", "batch in way %u: %ld", how,
				 PTR_ERR(batch));
		lmt_refused(a, PTR_ERR(batch));
		return NULL;
	}
	lmt_batch_check(a, m, batch, n);
	lockmap_batch_for_each(batch, entry)
		lmt_enter(a, m, lmt_entry_index(m, entry), entry);
	return batch;
}

static void lmt_batch_unlock(struct lmt_actor *a, struct lmt_map *m, struct lockmap_batch *batch)
{
	struct lockmap_entry *entry;

	lockmap_batch_for_each(batch, entry)
		lmt_leave(a, m, lmt_entry_index(m, entry));
	lockmap_batch_unlock(batch);
}

static void lmt_batch_key(struct lmt_actor *a, const struct lmt_map *m, unsigned int i,
			  unsigned int index)
{
	lmt_key_init(&a->keys[i], m, index);
	a->batch[i] = (struct lockmap_key) { a->keys[i].data, a->keys[i].len };
}

/*
 * Operations of workers
 */

static void lmt_op_lock(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m);
	struct lockmap_entry *entry = lmt_lock(a, m, index, lmt_pick_how(a), false);

	if (!entry)
		return;
	lmt_touch(a, m, index, entry);
	lmt_unlock(a, m, index, entry);
}

/* A value that is read is in one piece, and no older than the call. */
static void lmt_op_get(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m), epoch;
	const struct lmt_shadow *s = &m->shadow[index];
	bool loose = lmt_class(index) == LMT_LOOSE;
	struct lmt_value v;
	struct lmt_key key;
	u64 seq;
	int err;

	lmt_key_init(&key, m, index);
	lmt_waits(a, m, index, LMT_LOCK);
	epoch = smp_load_acquire(&s->epoch);
	seq = smp_load_acquire(&s->seq);
	err = lockmap_get(m->map, key.data, key.len, &v);
	smp_rmb(); /* the value, then what the shadow says now */
	if (err && err != -ENOENT)
		lmt_fail(a, m, index, "error code", "get: %d", err);
	else if (!err && !lmt_value_ok(&v, m, index))
		lmt_fail(a, m, index, "torn value", "seq %llu", v.seq);
	else if (!err && !loose && (v.seq < seq || v.seq > READ_ONCE(s->seq)))
		lmt_fail(a, m, index, "stale value", "seq %llu, not %llu", v.seq, seq);
	else if (!loose && READ_ONCE(s->epoch) == epoch && (err == 0) != (epoch & 1))
		lmt_fail(a, m, index, "presence", "get: %d in epoch %u", err, epoch);
}

static void lmt_op_contains(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m), epoch;
	const struct lmt_shadow *s = &m->shadow[index];
	struct lmt_key key;
	bool has;

	lmt_key_init(&key, m, index);
	lmt_waits(a, m, index, LMT_LOCK);
	epoch = smp_load_acquire(&s->epoch);
	has = lockmap_contains(m->map, key.data, key.len);
	smp_rmb(); /* as in lmt_op_get() */
	if (lmt_class(index) != LMT_LOOSE && READ_ONCE(s->epoch) == epoch && has != (epoch & 1))
		lmt_fail(a, m, index, "presence", "contains: %d in epoch %u", has, epoch);
}

/* lockmap_insert() or lockmap_remove(). Return: whether there was a value before. */
static bool lmt_set(struct lmt_actor *a, struct lmt_map *m, unsigned int index, bool insert)
{
	bool copy = lmt_once_in(a, 2), had;
	struct lmt_value new, old;
	struct lmt_key key;
	int ret;

	lmt_key_init(&key, m, index);
	lmt_waits(a, m, index, LMT_LOCK);
	lmt_value_make(&new, m, index, lmt_rnd(a), 0);
	if (insert)
		ret = lockmap_insert(m->map, key.data, key.len, &new, copy ? &old : NULL);
	else
		ret = lockmap_remove(m->map, key.data, key.len, copy ? &old : NULL);
	had = insert ? ret == 1 : ret == 0;
	if (insert && ret >= 0)
		lmt_value_born(m, index, &new);
	if (had && copy)
		lmt_value_back(a, m, index, &old);
	if (ret < 0 && ret != -ENOENT && !lmt_may_refuse(LMT_LOCK, ret, false, 0, 0))
		lmt_fail(a, m, index, "error code", "%s: %d", insert ? "insert" : "remove", ret);
	if (ret < 0)
		lmt_refused(a, ret);
	return had;
}

static void lmt_op_set(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m) | 3;

	if (index < m->keys)
		lmt_set(a, m, index, lmt_once_in(a, 2));
}

/* A key that nobody else uses is always free, and nobody changes it. */
static void lmt_op_own(struct lmt_actor *a)
{
	unsigned int index = 4 * (a->id - 1) + 1;
	struct lockmap_entry *entry;
	struct lmt_key key;

	lmt_key_init(&key, lmt_own, index);
	entry = lockmap_trylock(lmt_own->map, key.data, key.len);
	if (PTR_ERR(entry) == -ENOMEM)
		return;
	if (IS_ERR(entry)) {
		lmt_fail(a, lmt_own, index, "trylock lied", "%ld", PTR_ERR(entry));
		return;
	}
	lmt_enter(a, lmt_own, index, entry);
	lmt_touch(a, lmt_own, index, entry);
	lmt_unlock(a, lmt_own, index, entry);
	index += 2;	/* a loose one */
	lmt_set(a, lmt_own, index, true);
	if (!lmt_set(a, lmt_own, index, false) && !IS_ENABLED(CONFIG_FAILSLAB))
		lmt_fail(a, lmt_own, index, "presence", "what was put in is gone");
}

/* Hold one key, want another, in whatever order. */
static void lmt_op_nested(struct lmt_actor *a)
{
	struct lmt_map *m[2] = { lmt_pick_map(a), lmt_pick_map(a) };
	unsigned int index[2] = { lmt_pick_key(a, m[0]), lmt_pick_key(a, m[1]) };
	struct lockmap_entry *entry[2];
	struct lmt_key key[2];
	int order;

	lmt_key_init(&key[0], m[0], index[0]);
	lmt_key_init(&key[1], m[1], index[1]);
	order = m[0] == m[1] ? lmt_cmp(m[0], &key[0], &key[1]) : m[0] > m[1] ? 1 : -1;
	if (!order)
		return;
	if (order > 0 && !disorder) {
		swap(m[0], m[1]);
		swap(index[0], index[1]);
	}
	entry[0] = lmt_lock(a, m[0], index[0], lmt_pick_how(a), false);
	if (!entry[0])
		return;
	lmt_touch(a, m[0], index[0], entry[0]);
	entry[1] = lmt_lock(a, m[1], index[1], lmt_pick_how(a), true);
	if (entry[1]) {
		lmt_touch(a, m[1], index[1], entry[1]);
		lmt_unlock(a, m[1], index[1], entry[1]);
	}
	lmt_unlock(a, m[0], index[0], entry[0]);
}

/* Move amounts from one account to the next. */
static void lmt_transfer(struct lmt_actor *a, struct lmt_map *m, struct lockmap_batch *batch)
{
	struct lmt_value *from = NULL, *to;
	struct lockmap_entry *entry;
	u64 amount;

	lockmap_batch_for_each(batch, entry) {
		if (lmt_class(lmt_entry_index(m, entry)) != LMT_STATIC)
			continue;
		to = lockmap_entry_value(entry);
		if (from && to) {
			amount = lmt_rnd(a);
			lmt_write(a, m, from->index, from, from->balance - amount);
			lmt_write(a, m, to->index, to, to->balance + amount);
		}
		from = to;
	}
}

static void lmt_op_batch(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int n = lmt_rnd(a) % (lmt_once_in(a, 4) ? 20 : 5), i;
	struct lockmap_batch *batch;
	struct lockmap_entry *entry;

	for (i = 0; i < n; i++)
		lmt_batch_key(a, m, i, lmt_pick_key(a, m));
	batch = lmt_batch_lock(a, m, n, lmt_pick_how(a), true);
	if (!batch)
		return;
	lmt_transfer(a, m, batch);
	lockmap_batch_for_each(batch, entry)
		if (lmt_once_in(a, 2))
			lmt_touch(a, m, lmt_entry_index(m, entry), entry);
	lmt_batch_unlock(a, m, batch);
}

/* A batch of all accounts of a map finds what there was at the start, in all. */
static void lmt_op_audit(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int n = lmt_nr_static(m), i;
	struct lockmap_batch *batch;
	struct lockmap_entry *entry;
	struct lmt_value *v;
	u64 sum = 0;

	for (i = 0; i < n; i++)
		lmt_batch_key(a, m, i, 4 * i);
	batch = lmt_batch_lock(a, m, n, lmt_pick_how(a), true);
	if (!batch)
		return;
	lockmap_batch_for_each(batch, entry) {
		v = lockmap_entry_value(entry);
		sum += v ? v->balance : 0;
	}
	if (sum != (u64)n * LMT_BALANCE)
		lmt_fail(a, m, 0, "sum", "%llu instead of %u", sum, n * LMT_BALANCE);
	lmt_batch_unlock(a, m, batch);
}

/* Lock a key and leave it to another to unlock. */
static void lmt_op_disown(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m);
	struct lockmap_entry *entry;

	if (READ_ONCE(a->parcel))
		return;
	entry = lmt_lock(a, m, index, lmt_pick_how(a), false);
	if (!entry)
		return;
	lmt_touch(a, m, index, entry);
	lockmap_entry_disown(entry);
	a->parcel_map = m;
	smp_store_release(&a->parcel, entry);	/* lmt_deliver() has it now */
}

/* A worker and the map that it walks over. */
struct lmt_walk {
	struct lmt_actor *a;
	struct lmt_map *m;
	unsigned int stop_after;
};

/* Each key once. */
static unsigned int lmt_visit(struct lmt_walk *w, const void *data, size_t len, void *value)
{
	unsigned int index = lmt_key_check(w->a, w->m, data, len);

	if (index >= w->m->keys)
		return index;
	if (__test_and_set_bit(index, w->a->seen))
		lmt_fail(w->a, w->m, index, "walk", "visits a key twice");
	lmt_value_check(w->a, w->m, index, value);
	return index;
}

static int lmt_walk_fn(const void *data, size_t len, void *value, void *arg)
{
	struct lmt_walk *w = arg;
	unsigned int index = lmt_visit(w, data, len, value);

	if (index >= w->m->keys)
		return 0;
	if (cmpxchg(&w->m->shadow[index].holder, 0, w->a->id))
		lmt_fail(w->a, w->m, index, "two holders", "at a walk");
	if (lmt_once_in(w->a, 4))
		lmt_write(w->a, w->m, index, value, w->m->shadow[index].balance);
	lmt_leave(w->a, w->m, index);
	return w->stop_after && !--w->stop_after ? 1 : 0;
}

static bool lmt_keep_fn(const void *data, size_t len, void *value, void *arg)
{
	struct lmt_walk *w = arg;
	unsigned int index = lmt_visit(w, data, len, value);

	return lmt_class(index) == LMT_STATIC || !lmt_once_in(w->a, 8);
}

static void lmt_walk_check(struct lmt_walk *w, int err, int want)
{
	unsigned int i;

	if (err != want)
		lmt_fail(w->a, w->m, 0, "error code", "walk: %d", err);
	for (i = 0; !err && i < lmt_nr_static(w->m); i++) {
		if (!test_bit(4 * i, w->a->seen))
			lmt_fail(w->a, w->m, 4 * i, "walk", "leaves out a key");
	}
}

static void lmt_op_walk(struct lmt_actor *a)
{
	struct lmt_walk w = { .a = a, .m = lmt_pick_map(a) };
	bool stops = lmt_once_in(a, 4);

	bitmap_zero(a->seen, w.m->keys);
	lmt_waits(a, w.m, 0, LMT_LOCK);
	/* There are that many at least. */
	if (stops)
		w.stop_after = 1 + lmt_rnd(a) % lmt_nr_static(w.m);
	lmt_walk_check(&w, lockmap_for_each(w.m->map, lmt_walk_fn, &w), stops);
}

static void lmt_op_retain(struct lmt_actor *a)
{
	struct lmt_walk w = { .a = a, .m = lmt_pick_map(a) };

	bitmap_zero(a->seen, w.m->keys);
	lmt_waits(a, w.m, 0, LMT_LOCK);
	lmt_walk_check(&w, lockmap_retain(w.m->map, lmt_keep_fn, &w), 0);
}

/*
 * Not while CPUs come and go: the scheduler may leave a task that asks for a
 * dying CPU where it is, and then warns of it when PREEMPT_RT migrates.
 */
static void lmt_op_migrate(struct lmt_actor *a)
{
	unsigned int cpu;

	if (!cpus_read_trylock())
		return;
	cpu = cpumask_next(lmt_rnd(a) % nr_cpu_ids, cpu_online_mask);
	set_cpus_allowed_ptr(current, cpu < nr_cpu_ids ? cpumask_of(cpu) : cpu_possible_mask);
	cpus_read_unlock();
}

static const struct lmt_op lmt_ops[] = {
	{ "lock", 400, lmt_op_lock },
	{ "get", 300, lmt_op_get },
	{ "contains", 50, lmt_op_contains },
	{ "set", 80, lmt_op_set },
	{ "own", 60, lmt_op_own },
	{ "nested", 40, lmt_op_nested },
	{ "batch", 60, lmt_op_batch },
	{ "audit", 6, lmt_op_audit },
	{ "disown", 10, lmt_op_disown },
	{ "walk", 2, lmt_op_walk },
	{ "retain", 1, lmt_op_retain },
	{ "migrate", 10, lmt_op_migrate },
};

/*
 * Workers
 */

static const struct lmt_op *lmt_pick_op(struct lmt_actor *a)
{
	static unsigned int total;
	unsigned int i, r;

	if (!total) {
		for (r = 0, i = 0; i < ARRAY_SIZE(lmt_ops); i++)
			r += lmt_ops[i].weight;
		WRITE_ONCE(total, r);
	}
	r = lmt_rnd(a) % READ_ONCE(total);
	for (i = 0; r >= lmt_ops[i].weight; i++)
		r -= lmt_ops[i].weight;
	return &lmt_ops[i];
}

/* Rest while all do. Return: false when the test is over. */
static bool lmt_gate(struct lmt_actor *a)
{
	do {
		smp_store_release(&a->parked, true);
		wait_event(lmt_wq, !READ_ONCE(lmt_paused) || kthread_should_stop());
		/* Either we see that all rest, or lmt_all_rest() sees that we do not. */
		smp_store_mb(a->parked, false);
	} while (READ_ONCE(lmt_paused) && !kthread_should_stop());
	return !kthread_should_stop();
}

/* For a failslab with a task filter: whether allocations of this task may fail. */
static void lmt_fail_allocations(bool fail)
{
#ifdef CONFIG_FAULT_INJECTION
	current->make_it_fail = fail;
#endif
}

static int lmt_worker(void *arg)
{
	struct lmt_actor *a = arg;
	unsigned int i;

	allow_signal(SIGINT);
	allow_signal(SIGKILL);
	lmt_fail_allocations(true);
	while (lmt_gate(a)) {
		for (i = 0; i < LMT_BURST && !READ_ONCE(lmt_stop); i++) {
			a->op = lmt_pick_op(a);
			a->op->fn(a);
			a->ops[a->op - lmt_ops]++;
			if (need_resched())
				schedule();
		}
		if (signal_pending(current))
			flush_signals(current);
		if (need_resched())
			schedule();
	}
	return 0;
}

/*
 * Others
 */

static void lmt_unlock_nobodys(struct lmt_actor *a, struct lmt_map *m, struct lockmap_entry *entry,
			       unsigned int holder)
{
	unsigned int index = lmt_entry_index(m, entry);

	if (cmpxchg(&m->shadow[index].holder, holder, 0) != holder)
		lmt_fail(a, m, index, "two holders", "at the delivery for %u", holder);
	lockmap_unlock(entry);
}

/* Unlock what workers disowned: the first timer does it for some of them, the closer for the others. */
static void lmt_deliver(struct lmt_actor *a, bool softirq)
{
	struct lockmap_entry *entry;
	struct lmt_actor *from;
	unsigned int i;

	for (i = 0; i < tasks; i++) {
		from = &lmt_workers[i];
		entry = smp_load_acquire(&from->parcel);
		if (!entry || softirq != (timers && from->id % 8 == 0))
			continue;
		lmt_unlock_nobodys(a, from->parcel_map, entry, from->id);
		smp_store_release(&from->parcel, NULL);
		a->delivered++;
	}
}

static int lmt_closer_fn(void *arg)
{
	while (!kthread_should_stop()) {
		lmt_deliver(arg, false);
		usleep_range(20, 200);
	}
	return 0;
}

static void lmt_timer_batch(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int n = lmt_rnd(a) % 4, i;
	struct lockmap_batch *batch;

	for (i = 0; i < n; i++)
		lmt_batch_key(a, m, i, lmt_pick_key(a, m));
	batch = lmt_batch_lock(a, m, n, LMT_TRY, true);
	if (!batch)
		return;
	lmt_transfer(a, m, batch);
	lmt_batch_unlock(a, m, batch);
	a->softirq++;
}

/* Lock a key, and unlock it at once or at the next tick. */
static void lmt_timer_lock(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m);
	struct lockmap_entry *entry = lmt_lock(a, m, index, LMT_TRY, false);

	if (!entry)
		return;
	lmt_touch(a, m, index, entry);
	a->softirq++;
	if (!lmt_once_in(a, 64)) {
		lmt_unlock(a, m, index, entry);
		return;
	}
	a->entry = entry;
	a->entry_map = m;
}

static void lmt_timer_fn(struct timer_list *timer)
{
	struct lmt_actor *a = container_of(timer, struct lmt_actor, timer);
	int n;

	smp_store_mb(a->parked, false);	/* as in lmt_gate() */
	if (a == lmt_timers)
		lmt_deliver(a, true);
	if (a->entry)
		lmt_unlock_nobodys(a, a->entry_map, a->entry, a->id);
	a->entry = NULL;
	if (!READ_ONCE(lmt_paused)) {
		for (n = 0; n < 16 && !a->entry; n++)
			lmt_timer_lock(a);
		lmt_timer_batch(a);
	}
	smp_store_release(&a->parked, !a->entry);
	mod_timer(timer, jiffies + 1);
}

/* SIGKILL for those who wait killably; both for those who wait interruptibly. */
static int lmt_signaller_fn(void *arg)
{
	struct rnd_state rnd;
	struct lmt_actor *a;

	prandom_seed_state(&rnd, seed);
	while (!kthread_should_stop()) {
		usleep_range(50, 500);
		a = &lmt_workers[prandom_u32_state(&rnd) % tasks];
		switch (READ_ONCE(a->how)) {
		case LMT_INTERRUPTIBLE:
		case LMT_KILLABLE:
			send_sig(prandom_u32_state(&rnd) % 4 ? SIGKILL : SIGINT, a->task, 1);
			lmt_signals_sent++;
			break;
		default:
			break;
		}
	}
	return 0;
}

/*
 * Brief maps: one after the other, used by one task alone, so that all answers are known
 */

static int lmt_brief_count(const void *key, size_t len, void *value, void *arg)
{
	++*(unsigned int *)arg;
	return 0;
}

static void lmt_brief_use(struct lmt_actor *a, struct lockmap *map)
{
	DECLARE_BITMAP(has, LMT_BRIEF_KEYS) = { };
	unsigned int i, visited = 0;
	u64 key, value;
	int ret, want;
	bool insert;

	for (i = 0; i < 4 * LMT_BRIEF_KEYS; i++) {
		key = lmt_rnd(a) % LMT_BRIEF_KEYS;
		value = ~key;
		insert = !lmt_once_in(a, 3);
		want = insert || test_bit(key, has) ? 0 : -ENOENT;
		if (insert)
			ret = lockmap_insert(map, &key, sizeof(key), &value, NULL);
		else
			ret = lockmap_remove(map, &key, sizeof(key), NULL);
		if (ret == -ENOMEM && IS_ENABLED(CONFIG_FAILSLAB))
			continue;
		if (ret != (insert ? test_bit(key, has) : want))
			lmt_fail(a, NULL, key, "brief map", "insert %d: %d", insert, ret);
		value = 0;
		ret = lockmap_get(map, &key, sizeof(key), &value);
		if (ret != (insert ? 0 : -ENOENT) || (insert && value != ~key))
			lmt_fail(a, NULL, key, "brief map", "get: %d", ret);
		assign_bit(key, has, insert);
	}
	if (lockmap_for_each(map, lmt_brief_count, &visited) || visited != lockmap_len(map) ||
	    visited != bitmap_weight(has, LMT_BRIEF_KEYS))
		lmt_fail(a, NULL, 0, "brief map", "%u visited, len %zu", visited, lockmap_len(map));
	if (lmt_once_in(a, 2) && (lockmap_clear(map) || !lockmap_is_empty(map)))
		lmt_fail(a, NULL, 0, "brief map", "is not empty after clear");
}

static void lmt_brief(struct lmt_actor *a)
{
	struct lockmap *map = lockmap_create(&(struct lockmap_params) {
		.name = "brief",
		.key_len = sizeof(u64),
		.value_len = sizeof(u64),
		.nr_shards = lmt_rnd(a) % 4,
		.max_idle = lmt_rnd(a) % 4,
	});

	if (IS_ERR(map)) {
		if (!lmt_may_refuse(LMT_LOCK, PTR_ERR(map), false, 0, 0))
			lmt_fail(a, NULL, 0, "error code", "create: %ld", PTR_ERR(map));
		return;
	}
	lmt_fail_allocations(true);
	lmt_brief_use(a, map);
	lmt_fail_allocations(false);	/* a slab cache that cannot be made is an event for the log */
	lockmap_destroy(map);
	lmt_briefs++;
}

static int lmt_brief_fn(void *arg)
{
	while (!kthread_should_stop()) {
		lmt_brief(arg);
		usleep_range(1000, 2000);
	}
	return 0;
}

/*
 * The monitor
 */

static const struct lmt_actor *lmt_restless(void)
{
	unsigned int i;

	/* Who rests gives no parcels, so look at those afterwards. */
	for (i = 0; i < tasks; i++) {
		if (!smp_load_acquire(&lmt_workers[i].parked))
			return &lmt_workers[i];
	}
	for (i = 0; i < timers; i++) {
		if (!smp_load_acquire(&lmt_timers[i].parked))
			return &lmt_timers[i];
	}
	for (i = 0; i < tasks; i++) {
		if (smp_load_acquire(&lmt_workers[i].parcel))
			return &lmt_workers[i];
	}
	return NULL;
}

static void lmt_tell_stuck(void)
{
	struct lmt_actor *a;
	unsigned int i;

	for (i = 0; i < tasks; i++) {
		a = &lmt_workers[i];
		if (READ_ONCE(a->parked))
			continue;
		lmt_fail(a, a->map, a->index, "stuck", "for %u ms; the key is held by actor %u",
			 jiffies_to_msecs(jiffies - a->since),
			 a->map ? a->map->shadow[a->index].holder : 0);
		sched_show_task(a->task);
	}
	for (i = 0; i < timers; i++) {
		a = &lmt_timers[i];
		if (!READ_ONCE(a->parked))
			lmt_fail(a, a->map, a->index, "stuck", "a timer");
	}
}

/* Have everybody come to rest. Return: false when somebody does not. */
static bool lmt_pause(void)
{
	unsigned long end = jiffies + stall * HZ;

	WRITE_ONCE(lmt_paused, true);
	smp_mb(); /* pairs with lmt_gate() */
	while (lmt_restless()) {
		if (time_after(jiffies, end)) {
			lmt_tell_stuck();
			if (!lmt_restless())
				return true;
			lmt_fail(NULL, NULL, 0, "stuck", "somebody, for %u s", stall);
			return false;
		}
		usleep_range(200, 1000);
	}
	return true;
}

/* Set what the next phase is about, and let everybody go. */
static void lmt_resume(struct rnd_state *rnd)
{
	static const unsigned int spreads[] = { 1, 2, 4, 16, 1 << 20 };

	lmt_focus.map = prandom_u32_state(rnd) % (LMT_SHARED + 1);
	lmt_focus.base = prandom_u32_state(rnd) % 4096;
	lmt_focus.spread = spreads[prandom_u32_state(rnd) % ARRAY_SIZE(spreads)];
	lmt_phases++;
	smp_store_release(&lmt_paused, false);
	wake_up_all(&lmt_wq);
}

/* Nobody holds or waits for a key now. */
static void lmt_check_rest(struct lmt_map *m)
{
	long count = atomic_long_read(&m->born) - atomic_long_read(&m->returned);
	unsigned int i;

	if (lockmap_len(m->map) != count)
		lmt_fail(NULL, m, 0, "len", "%zu instead of %ld", lockmap_len(m->map), count);
	for (i = 0; i < m->keys; i++) {
		if (m->shadow[i].holder)
			lmt_fail(NULL, m, i, "left locked", "by %u", m->shadow[i].holder);
	}
}

static unsigned long lmt_count_ops(void)
{
	unsigned long n = 0;
	unsigned int i, j;

	for (i = 0; i < tasks; i++) {
		for (j = 0; j < ARRAY_SIZE(lmt_ops); j++)
			n += READ_ONCE(lmt_workers[i].ops[j]);
	}
	return n;
}

static void lmt_tell_progress(void)
{
	static unsigned long next;

	if (!progress || (next && time_before(jiffies, next)))
		return;
	if (next)
		pr_info("%u s: %lu operations, %lu phases, %d failures\n",
			jiffies_to_msecs(jiffies - lmt_start) / 1000, lmt_count_ops(), lmt_phases,
			atomic_read(&lmt_failures));
	next = jiffies + progress * HZ;
}

static bool lmt_goes_on(void)
{
	return !READ_ONCE(lmt_stop) && !kthread_should_stop() &&
	       (!seconds || time_before(jiffies, lmt_start + seconds * HZ));
}

/* Return: whether all rest in the end. */
static bool lmt_run_phases(void)
{
	struct rnd_state rnd;
	bool rest = true;
	unsigned int i;

	prandom_seed_state(&rnd, seed + 1);
	while (rest && lmt_goes_on()) {
		lmt_resume(&rnd);
		msleep(prandom_u32_state(&rnd) % (2 * phase_ms) + 1);
		rest = lmt_pause();
		for (i = 0; rest && i < ARRAY_SIZE(lmt_maps); i++) {
			if (lmt_maps[i].map)
				lmt_check_rest(&lmt_maps[i]);
		}
		lmt_tell_progress();
	}
	return rest;
}

/*
 * The report
 */

static void lmt_tell_ops(void)
{
	unsigned long n[ARRAY_SIZE(lmt_ops)] = { };
	char line[400];
	unsigned int i, j;
	int len = 0;

	for (j = 0; j < ARRAY_SIZE(lmt_ops); j++) {
		for (i = 0; i < tasks; i++)
			n[j] += lmt_workers[i].ops[j];
		len += scnprintf(line + len, sizeof(line) - len, " %s %lu", lmt_ops[j].name, n[j]);
	}
	pr_info("operations:%s\n", line);
}

static void lmt_tell_locks(unsigned int ms)
{
	unsigned long least = ULONG_MAX, most = 0, all = 0, softirq = 0, delivered = 0;
	unsigned int i;

	for (i = 0; i < tasks; i++) {
		least = min(least, lmt_workers[i].acquired);
		most = max(most, lmt_workers[i].acquired);
		all += lmt_workers[i].acquired;
	}
	for (i = 0; i < timers; i++) {
		softirq += lmt_timers[i].softirq;
		delivered += lmt_timers[i].delivered;
	}
	delivered += lmt_closer->delivered;
	pr_info("locks: %lu, %lu a second, %lu to %lu a task; in softirq %lu; unlocked by others %lu\n",
		all, all * 1000 / ms, least, most, softirq, delivered);
}

static void lmt_tell_refusals(void)
{
	unsigned long n[ARRAY_SIZE(lmt_refusals)] = { };
	u64 longest = 0;
	unsigned int i, j;
	char line[200];
	int len = 0;

	for (i = 0; i < tasks; i++)
		longest = max(longest, lmt_workers[i].longest);
	for (j = 0; j < ARRAY_SIZE(lmt_refusals); j++) {
		for (i = 0; i < tasks; i++)
			n[j] += lmt_workers[i].refused[j];
		len += scnprintf(line + len, sizeof(line) - len, " %s %lu,", lmt_refusals[j].name, n[j]);
	}
	pr_info("refused:%s signals sent %lu; longest wait %llu us; brief maps %lu\n", line,
		lmt_signals_sent, div_u64(longest, NSEC_PER_USEC), lmt_briefs);
}

static void lmt_report(void)
{
	unsigned int ms = jiffies_to_msecs(jiffies - lmt_start) ?: 1;
	int failures = atomic_read(&lmt_failures);

	lmt_tell_ops();
	lmt_tell_locks(ms);
	lmt_tell_refusals();
	pr_info("End of test: %s: %lu operations in %u ms, %lu phases, %d failures\n",
		failures ? "FAILURE" : "SUCCESS", lmt_count_ops(), ms, lmt_phases, failures);
}

/*
 * Begin and end
 */

static int lmt_insert_static(struct lmt_map *m)
{
	struct lmt_value v;
	struct lmt_key key;
	unsigned int i;
	int err;

	for (i = 0; i < lmt_nr_static(m); i++) {
		lmt_key_init(&key, m, 4 * i);
		lmt_value_make(&v, m, 4 * i, 1, LMT_BALANCE);
		err = lockmap_insert(m->map, key.data, key.len, &v, NULL);
		if (err)
			return err;
		lmt_value_born(m, 4 * i, &v);
	}
	return 0;
}

static int lmt_map_init(struct lmt_map *m)
{
	m->shadow = kvcalloc(m->keys, sizeof(*m->shadow), GFP_KERNEL);
	if (!m->shadow)
		return -ENOMEM;
	m->params.value_len = sizeof(struct lmt_value);
	m->params.release = lmt_release;
	m->map = lockmap_create(&m->params);
	if (IS_ERR(m->map)) {
		int err = PTR_ERR(m->map);

		m->map = NULL;
		return err;
	}
	return m == lmt_own ? 0 : lmt_insert_static(m);
}

static int lmt_maps_init(void)
{
	unsigned int i;
	int err;

	lmt_maps[0].keys = max(hot_keys, 1U);
	lmt_maps[1].keys = max(cold_keys, 1U);
	lmt_own->keys = 4 * tasks;
	if (!(maps & GENMASK(LMT_SHARED - 1, 0)))
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(lmt_maps); i++) {
		if (i < LMT_SHARED && !(maps & BIT(i)))
			continue;
		err = lmt_map_init(&lmt_maps[i]);
		if (err)
			return err;
	}
	return 0;
}

/* Whatever was put in came out again by now. */
static void lmt_maps_destroy(void)
{
	struct lmt_map *m;

	for (m = lmt_maps; m < lmt_maps + ARRAY_SIZE(lmt_maps); m++) {
		lockmap_destroy(m->map);
		m->map = NULL;
		if (atomic_long_read(&m->born) != atomic_long_read(&m->returned))
			lmt_fail(NULL, m, 0, "len", "%ld values came in, %ld out",
				 atomic_long_read(&m->born), atomic_long_read(&m->returned));
	}
}

static unsigned int lmt_max_keys(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < ARRAY_SIZE(lmt_maps); i++)
		n = max(n, lmt_maps[i].keys);
	return n;
}

static int lmt_actors_init(void)
{
	unsigned int i, n = tasks + timers + 2;

	lmt_workers = kvcalloc(n, sizeof(*lmt_workers), GFP_KERNEL);
	if (!lmt_workers)
		return -ENOMEM;
	lmt_timers = lmt_workers + tasks;
	lmt_closer = lmt_timers + timers;
	lmt_briefer = lmt_closer + 1;
	for (i = 0; i < n; i++) {
		lmt_workers[i].id = i + 1;
		lmt_workers[i].parked = true;
		prandom_seed_state(&lmt_workers[i].rnd, seed + 2 + i);
	}
	for (i = 0; i < tasks; i++) {
		lmt_workers[i].seen = kvcalloc(BITS_TO_LONGS(lmt_max_keys()), sizeof(long),
					       GFP_KERNEL);
		if (!lmt_workers[i].seen)
			return -ENOMEM;
	}
	return 0;
}

static void lmt_actors_free(void)
{
	unsigned int i;

	for (i = 0; lmt_workers && i < tasks; i++)
		kvfree(lmt_workers[i].seen);
	kvfree(lmt_workers);
	for (i = 0; i < ARRAY_SIZE(lmt_maps); i++)
		kvfree(lmt_maps[i].shadow);
}

static void lmt_kthread_stop(struct task_struct *task)
{
	if (IS_ERR_OR_NULL(task))
		return;
	kthread_stop(task);
	put_task_struct(task);
}

/* All rest. */
static void lmt_actors_stop(void)
{
	unsigned int i;

	lmt_kthread_stop(lmt_signaller);
	for (i = 0; i < tasks; i++)
		lmt_kthread_stop(lmt_workers[i].task);
	for (i = 0; i < timers; i++)
		timer_shutdown_sync(&lmt_timers[i].timer);
	lmt_kthread_stop(lmt_closer->task);
	lmt_kthread_stop(lmt_briefer->task);
}

static struct task_struct *lmt_kthread(int (*fn)(void *arg), void *arg, const char *name,
				       unsigned int i)
{
	struct task_struct *task = kthread_create(fn, arg, "lmt_%s/%u", name, i);

	if (!IS_ERR(task)) {
		get_task_struct(task);
		wake_up_process(task);
	}
	return task;
}

static int lmt_actors_start(void)
{
	unsigned int i;

	for (i = 0; i < timers; i++)
		timer_setup(&lmt_timers[i].timer, lmt_timer_fn, 0);
	for (i = 0; i < tasks; i++) {
		lmt_workers[i].task = lmt_kthread(lmt_worker, &lmt_workers[i], "worker", i + 1);
		if (IS_ERR(lmt_workers[i].task))
			return PTR_ERR(lmt_workers[i].task);
	}
	lmt_closer->task = lmt_kthread(lmt_closer_fn, lmt_closer, "closer", 0);
	if (IS_ERR(lmt_closer->task))
		return PTR_ERR(lmt_closer->task);
	lmt_briefer->task = lmt_kthread(lmt_brief_fn, lmt_briefer, "brief", 0);
	if (IS_ERR(lmt_briefer->task))
		return PTR_ERR(lmt_briefer->task);
	if (signals)
		lmt_signaller = lmt_kthread(lmt_signaller_fn, NULL, "signaller", 0);
	if (IS_ERR(lmt_signaller))
		return PTR_ERR(lmt_signaller);
	for (i = 0; i < timers; i++)
		mod_timer(&lmt_timers[i].timer, jiffies + 1);
	return 0;
}

static int lmt_monitor_fn(void *arg)
{
	if (lmt_run_phases()) {
		lmt_actors_stop();
		if (!atomic_read(&lmt_failures))
			lmt_maps_destroy();
	}
	/* What is broken is left as it is, for who wants to look at it. */
	if (atomic_read(&lmt_failures))
		__module_get(THIS_MODULE);
	lmt_report();
	WRITE_ONCE(running, false);
	if (shutdown)
		kernel_power_off();
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ / 10);
	return 0;
}

static int __init lmt_init(void)
{
	int err;

	tasks = clamp(tasks, 1U, LMT_MAX_TASKS);
	timers = min(timers, LMT_MAX_TASKS);
	phase_ms = max(phase_ms, 1U);
	seed = seed ?: get_random_u32();
	err = lmt_maps_init() ?: lmt_actors_init();
	if (err)
		goto free;
	pr_info("%u tasks, %u timers, %u s, seed=%lu, disorder=%d\n", tasks, timers, seconds, seed,
		disorder);
	lmt_start = jiffies;
	err = lmt_actors_start();
	if (!err) {
		lmt_monitor = lmt_kthread(lmt_monitor_fn, NULL, "monitor", 0);
		err = PTR_ERR_OR_ZERO(lmt_monitor);
	}
	if (!err)
		return 0;
	lmt_actors_stop();
free:
	lmt_maps_destroy();
	lmt_actors_free();
	return err;
}

static void __exit lmt_exit(void)
{
	lmt_kthread_stop(lmt_monitor);
	lmt_actors_free();
}

module_init(lmt_init);
module_exit(lmt_exit);
MODULE_DESCRIPTION("Torture test of lockmap");
MODULE_AUTHOR("The lockmap authors");
MODULE_LICENSE("Dual MIT/GPL");
