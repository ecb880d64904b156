/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The structs of lockmap, each field with what protects it.
 *
 * A map is a power of two of shards, each with an rhashtable, and of rings that
 * hold its idle entries. One hash of the key decides: its top
 * bits the shard, its low bits the bucket. Entries store the hash, so that
 * neither a comparison with another key nor a rehash reads keys.
 */
#ifndef _LOCKMAP_CORE_TYPES_H
#define _LOCKMAP_CORE_TYPES_H

#include <linux/atomic.h>
#include <linux/build_bug.h>
#include <linux/cache.h>
#include <linux/container_of.h>
#include <linux/list.h>
#include <linux/lockdep_types.h>
#include <linux/rhashtable-types.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/stddef.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "../lockmap.h"
#include "hash.h"

/* A key of variable length has an allocation of its own if it may be longer than this. */
#define LM_INLINE_KEY	64
/* A ring has so many chunks at most; see &lm_ring.chunk. */
#define LM_RING_CHUNKS	26

/* How the bytes of keys are compared, and where an entry has them. Decided at create. */
enum lm_key_kind {
	LM_KEY_U32,	/* a number, as is the next; with lockmap's own hash and order */
	LM_KEY_U64,
	LM_KEY_BYTES,	/* of fixed or variable length, in the entry */
	LM_KEY_CUSTOM,	/* the same, with the caller's comparison */
	LM_KEY_LONG,	/* of variable length, in an allocation of its own; any comparison */
};

/**
 * struct lm_long_key - a key that an entry points to
 * @rcu: frees it after the readers that may still compare it
 * @len: its length; constant while the word is not DEAD, as are
 * @data: its bytes
 */
struct lm_long_key {
	struct rcu_head rcu;
	u32 len;
	u8 data[] __aligned(LOCKMAP_VALUE_ALIGN);
};

/* The state word of a lock: word.c says what its bits are. */
struct lm_lock {
	atomic64_t word;
};

/**
 * struct lockmap_entry - a key, its lock and its value
 * @node: links the entry into its table; by the bucket's lock, read under RCU
 * @lock: the state word; atomic
 * @map: the map; constant while the entry is not free
 * @hash: hash of the key; constant while the word is not DEAD, as are @len and the key
 * @len: length of the key
 * @has_value: by the key's lock; the unlock sets VALUE in the word accordingly
 * @annotated: lockdep was told of this acquisition; by the key's lock
 * @dep_map: for lockdep; empty without
 * @owner_note: of the task that owns the lock; by the key's lock; empty without
 *	CONFIG_LOCKMAP_DEBUG
 * @data: the value, by the key's lock; then, at &lockmap.key_offset, the key
 *
 * Readers under RCU may look at all of this at any time: see lm_match().
 */
struct lockmap_entry {
	struct rhash_head node;
	struct lm_lock lock;
	struct lockmap *map;
	u32 hash;
	u16 len;
	bool has_value;
	bool annotated;
	struct lockdep_map dep_map;
	struct lm_owner_note owner_note;
	u8 data[] __aligned(LOCKMAP_VALUE_ALIGN);
};

/**
 * struct lm_ring - the idle entries of some shards, and a clock hand
 * @hand: the slot that was used last; atomic
 * @size: number of slots there are; grows by cmpxchg(), when the hand comes to the end
 * @room: number of slots that the ring may grow to for now; written without a lock
 * @limit: the most that @room may be; constant
 * @used: number of slots with an entry; atomic
 * @refused: counts newcomers while the ring is full; inexact, without a lock
 * @returned: how many of the last samples saw a key that came back; likewise
 * @shrunk: the slot that lm_ring_shrink() looked at last; likewise
 * @chunk: the slots: a few in the first chunk, and in each other as many as in all
 *	before it. Set once, before @size includes them. A slot changes by xchg() alone,
 *	and only the task that takes an entry out of its slot may evict it
 */
struct lm_ring {
	atomic_t hand;
	unsigned int size;
	unsigned int room;
	unsigned int limit;
	atomic_t used;
	unsigned int refused;
	unsigned int returned;
	unsigned int shrunk;
	struct lockmap_entry **chunk[LM_RING_CHUNKS];
} ____cacheline_aligned_in_smp;

/**
 * struct lm_shard - the keys whose hashes begin alike
 * @table: their entries; rhashtable locks it by bucket
 * @free: frees the table
 */
struct lm_shard {
	struct rhashtable table;
	struct work_struct free;
} ____cacheline_aligned_in_smp;

/**
 * struct lm_waits - waits of tasks
 * @nr: how many began
 * @over: how many ended, perhaps on another CPU than they began on
 * @failed: how many of them without the key
 * @stolen: how often a waiter was woken and another task had taken the key
 * @handed_over: how often a holder handed its key over to a waiter
 * @longest_us: the longest wait, in microseconds
 *
 * One CPU writes it, with preemption off; any CPU reads it.
 */
struct lm_waits {
	unsigned long nr;
	unsigned long over;
	unsigned long failed;
	unsigned long stolen;
	unsigned long handed_over;
	unsigned long longest_us;
};

/**
 * struct lm_cpu - a CPU's counters of a map
 * @values: this CPU's part of the number of values, may be negative; atomic
 * @waits: what became of waits, and how many there are
 */
struct lm_cpu {
	atomic_long_t values;
	struct lm_waits waits;
};

/**
 * struct lockmap - a map; what is not said to change is constant
 * @shard_shift: how far to shift a 32-bit hash, less one, to get its shard
 * @key_kind: how keys are compared
 * @key_len: length of keys, or of the longest
 * @key_offset: where the key is in &lockmap_entry.data
 * @is_number: keys sort as unsigned numbers
 * @plain_value: values are short, and are copied without @clone
 * @hash_key: secret
 * @params: as given, with defaults filled in
 * @cache: slab cache of the entries
 * @cpu: counters
 * @rings: idle entries
 * @nr_rings: number of rings, each of which serves as many shards
 * @shrinker: takes idle entries back
 * @lock_key: lockdep class of the keys
 * @lock_name: name of the class; constant as long as the class is
 * @dep_map: stands for all keys of the map in lockdep, before a call may lock one
 * @owner: the module that made the map; %NULL when it is gone, or built in. By
 *	lm_maps_lock, as are @leaked and @node
 * @leaked: the map was destroyed with keys held, and the log says so
 * @refused: a key was refused for its length, and the log says so; without a lock
 * @dead_owner: a holder ended without an unlock, and the log says so; by cmpxchg()
 * @called_back: @hash or @cmp called lockmap, and the log says so; without a lock
 * @disorder: keys were locked out of order, and the log says so; without a lock
 * @node: in lm_maps
 * @debugfs: folder of the map
 * @nr_shards: number of shards
 * @shards: the tables
 */
struct lockmap {
	unsigned int shard_shift;
	enum lm_key_kind key_kind;
	u32 key_len;
	u32 key_offset;
	bool is_number;
	bool plain_value;
	struct lm_hash_key hash_key;
	struct lockmap_params params;
	struct kmem_cache *cache;
	struct lm_cpu __percpu *cpu;
	struct lm_ring *rings;
	unsigned int nr_rings;
	struct shrinker *shrinker;
	struct lock_class_key *lock_key;
	const char *lock_name;
	struct lockdep_map dep_map;
	struct module *owner;
	bool leaked;
	bool refused;
	bool called_back;
	bool disorder;
	unsigned int dead_owner;
	struct list_head node;
	struct dentry *debugfs;
	unsigned int nr_shards;
	struct lm_shard shards[];
};

/**
 * struct lm_key - a key that is looked for; on the caller's stack, or in registers
 * @map: the map to look in
 * @kind: how keys are compared there
 * @data: the key's bytes
 * @num: the key, if it is of a kind that is a number
 * @len: its length
 * @hash: its hash
 * @word: of the entry that was found, as it was before the entry's key was read
 */
struct lm_key {
	struct lockmap *map;
	enum lm_key_kind kind;
	const void *data;
	u64 num;
	u32 len;
	u32 hash;
	u64 word;
};

/**
 * struct lm_wait_mode - how a call waits for a key
 * @state: the state that the task sleeps in
 * @try: the call does not wait at all
 * @shared: the call wants to share the key
 * @timed: it waits until @deadline
 * @deadline: in jiffies
 */
struct lm_wait_mode {
	unsigned int state;
	bool try;
	bool shared;
	bool timed;
	unsigned long deadline;
};

/* Which holders a call may have to wait for. */
enum lm_waits_for {
	LM_FOR_ANY_HOLDER,
	LM_FOR_EXCLUSIVE_HOLDER,
};

/* What an insertion does when the table has to grow, and there is no memory for that. */
enum lm_if_full {
	LM_IF_FULL_REFUSE,
	LM_IF_FULL_INSERT,
};

enum lm_wait_result {
	LM_WAITING,
	LM_GRANTED,	/* it has the lock, which it took itself or was given */
	LM_GONE,	/* the word died: look the key up again */
};

/**
 * struct lm_waiter - one that waits for a lock
 * @turnstile: in the bucket's list while the waiter is the head; by the bucket's lock,
 *	as are @row, @head, @woken, @armed, @handed_over and writes of @result
 * @row: links the waiters of one lock, in the order in which they came, with the head
 *	first; then the requests that a context is to call
 * @lock: the lock that it waits for; constant
 * @task: the task, asleep or about to be; %NULL for a request; constant
 * @owner: the owner bits to lock it with; constant
 * @result: how the wait ended; read without the lock as well
 * @head: the first waiter of its lock
 * @shared: it wants to share the lock; constant
 * @woken: lm_wake_head() chose this task, and it has not looked at the lock since
 * @armed: lockmap_lock_async() has returned, or is about to: call the request's function
 * @handed_over: the last holder took the lock for it
 */
struct lm_waiter {
	struct list_head turnstile;
	struct list_head row;
	struct lm_lock *lock;
	struct task_struct *task;
	u64 owner;
	enum lm_wait_result result;
	bool head;
	bool shared;
	bool woken;
	bool armed;
	bool handed_over;
};

/**
 * struct lm_sleeper - a task that waits for a lock, on its stack
 * @waiter: where it stands
 * @deadlock: the wait closes a cycle, and is to end; the task's own, as are the next four
 * @searched: it has looked for a cycle
 * @lost: how often the task was woken and another was faster
 * @patience: how long it sleeps before it looks for a cycle, in jiffies
 * @since: when the wait began, in ns; constant
 * @node: in the table of deadlock.c, once the patience is used up; by the lock of its
 *	bucket there, as is @number
 * @number: tells which of two tasks entered the table first
 */
struct lm_sleeper {
	struct lm_waiter waiter;
	bool deadlock;
	bool searched;
	unsigned int lost;
	long patience;
	u64 since;
	struct hlist_node node;
	u64 number;
};

/* The waiter of a request is in the request. */
static_assert(sizeof(struct lm_waiter) <= sizeof_field(struct lockmap_request, space));

static inline struct lm_waiter *lm_request_waiter(struct lockmap_request *req)
{
	return (struct lm_waiter *)req->space;
}

static inline struct lockmap_request *lm_request(struct lm_waiter *waiter)
{
	return container_of((void *)waiter, struct lockmap_request, space);
}

#endif /* _LOCKMAP_CORE_TYPES_H */
