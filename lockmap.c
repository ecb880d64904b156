// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * lockmap: a hash map in which every key has its own lock
 *
 * lockmap.h is the manual and lockmap_lock.h has the lock of one key. Here is
 * the map: how entries are found, made and buried. The long version is
 * Documentation/design.rst.
 *
 * Objects
 *
 * A map is a power of two of shards, each with an rhashtable. There are as many
 * wait queues, which entries share, and rings of idle entries. One hash of the
 * key decides: its top bits the shard, its low bits the bucket. Entries store
 * it, so that neither a comparison with another key nor a rehash looks at keys.
 *
 * The life of an entry
 *
 * An entry comes locked into its table, put there by who wanted its key and did
 * not find it. From then on its state word (lockmap_lock.h) decides: a lookup
 * reads the word, then compares the key; a compare-exchange of that very word
 * takes the lock. No reference counts: a holder keeps an entry because it is
 * LOCKED, waiters because it has WAITERS, a value because it has VALUE.
 *
 * An entry with none of these is idle: as good as absent, but still in the
 * table, so that the next who wants the key need not make it again. Idle
 * entries are in a ring, and a clock hand goes over it (lm_ring_add()). The
 * hand alone buries entries: a compare-exchange makes the word DEAD, the entry
 * leaves the table and goes back to a SLAB_TYPESAFE_BY_RCU cache, all at once.
 * Nobody waits for a DEAD entry to leave: comparisons pass it by, so that a new
 * one with the same key can be put in front.
 *
 * A lookup under RCU may hence stand on an entry that becomes another key's.
 * The word's version tells; and a chain that was left by a reused entry ends in
 * another bucket's marker, which makes the lookup start over.
 *
 * Lock order
 *
 * key lock (may sleep)
 *   bucket lock of rhashtable
 *   wait queue's lock
 *
 * The last two never nest. More keys than one: in the order of their
 * comparison. lm_maps_lock is taken with nothing held.
 *
 * Names: @key is a struct lm_key, what is looked for, with everything that is
 * known of it; @entry an entry in a table, locked or not; @new one that is not
 * in a table yet; @self the caller's owner bits; @how the way to wait.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitrev.h>
#include <linux/bsearch.h>
#include <linux/ctype.h>
#include <linux/debug_locks.h>
#include <linux/hash.h>
#include <linux/hashtable.h>
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/percpu.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/prefetch.h>
#include <linux/random.h>
#include <linux/ratelimit.h>
#include <linux/rcupdate.h>
#include <linux/rhashtable.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/threads.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "lockmap.h"
#include "lockmap_compat.h"
#include "lockmap_lock.h"
#include "lockmap_deadlock.h"

/* Keys longer than this are kept in an allocation of their own if their length varies. */
#define LM_INLINE_KEY	64
/* The first chunk of a ring; each further one doubles it. */
#define LM_RING_FIRST	64U
#define LM_RING_CHUNKS	26
/* How many referenced entries the clock hand passes before it takes one all the same. */
#define LM_RING_CHANCES	16
/* A full ring takes one newcomer of so many. */
#define LM_RING_ADMIT	128
/* How many idle entries a map has room for as long as few keys come back. */
#define LM_IDLE_FIRST	1024U
/* By default idle entries may take this part of memory, and be so many. */
#define LM_IDLE_PART	64
#define LM_IDLE_MOST	98304U
/* With one newcomer of so many a slot is looked at. */
#define LM_RING_LOOK	8
/* If of so many looks so many saw a key that came back, there will be so many times the room. */
#define LM_RING_LOOKS	64
#define LM_RING_BACK	8
#define LM_RING_MORE	8
/* How many buckets a walk looks at in one RCU read side section. */
#define LM_WALK_WINDOW	256
/* An entry is one object of a slab cache, which needs a little for itself. */
#define LM_MAX_VALUE_LEN	(KMALLOC_MAX_SIZE - 2 * PAGE_SIZE - LOCKMAP_MAX_KEY_LEN)
/* How much is copied with preemption off. */
#define LM_PLAIN_VALUE	256
/* How much of a name, and of a key, is shown. */
#define LM_NAME_TEXT	32
#define LM_KEY_TEXT	72
/* How much of a circle of waiting tasks is. */
#define LM_CIRCLE_TEXT	576
/* How many keys of a batch are looked for at once. */
#define LM_BATCH_WINDOW	8U
/* How many keys to sort without branches. */
#define LM_BATCH_FEW	8
/* How many keys a batch has room for at least. */
#define LM_BATCH_SPARE	16U
/* How often a reader tries without the lock. */
#define LM_READ_TRIES	4

/* How a key's bytes are compared and where they are; decided once, at create. */
enum lm_key_kind {
	LM_KEY_4,	/* a number, as is the next; with our own hash and order */
	LM_KEY_8,
	LM_KEY_BYTES,	/* fixed or variable, within the entry */
	LM_KEY_CUSTOM,	/* the same, with the caller's comparison */
	LM_KEY_LONG,	/* variable, in an allocation of its own; any comparison */
};

struct lm_long_key {
	struct rcu_head rcu;
	u32 len;
	u8 data[] __aligned(LOCKMAP_VALUE_ALIGN);
};

/**
 * struct lockmap_entry - a key, its lock and its value
 * @node: in the table; by the bucket's lock, read under RCU
 * @lock: the state word; atomic
 * @map: constant while not free
 * @hash: constant while the word is not DEAD, as are @len and the key
 * @len: length of the key
 * @has_value: by the key's lock; VALUE of the word follows at unlock
 * @annotated: by the key's lock; lockdep knows of this acquisition
 * @dep_map: for lockdep; nothing without
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
	u8 data[] __aligned(LOCKMAP_VALUE_ALIGN);
};

/**
 * struct lm_ring - the idle entries of some shards, and a clock hand
 * @hand: the slot that was used last; atomic
 * @size: number of slots there are; grows with the hand
 * @room: number of slots it may grow to for now
 * @limit: the most that @room may be; constant
 * @used: number of slots with an entry; atomic
 * @refused: counts newcomers while the ring is full; roughly, without a lock
 * @back: how many of the last looks saw a key that came back; likewise
 * @shrunk: the slot that lm_ring_shrink() looked at last; likewise
 * @chunk: the slots, LM_RING_FIRST in the first and as many as all before in
 *	each other. Set once, before @size includes them. A slot changes by xchg()
 *	alone: who takes an entry out of one has the only reference that may bury it
 */
struct lm_ring {
	atomic_t hand;
	unsigned int size;
	unsigned int room;
	unsigned int limit;
	atomic_t used;
	unsigned int refused;
	unsigned int back;
	unsigned int shrunk;
	struct lockmap_entry **chunk[LM_RING_CHUNKS];
} ____cacheline_aligned_in_smp;

/**
 * struct lm_shard - the keys whose hash begins alike
 * @table: their entries
 * @wq: where those wait who wait for an entry whose address says so: lm_wq()
 * @free: frees the table
 */
struct lm_shard {
	struct rhashtable table;
	wait_queue_head_t wq;
	struct work_struct free;
} ____cacheline_aligned_in_smp;

/**
 * struct lm_waits - what became of those who had to sleep
 * @nr: how many did
 * @failed: how many of them did not get the key
 * @stolen: how often one was woken, and another had taken the key
 * @handed_over: how often a key was handed over
 * @longest_us: the longest wait, in microseconds
 *
 * Written by one CPU with preemption off, read by any.
 */
struct lm_waits {
	unsigned long nr;
	unsigned long failed;
	unsigned long stolen;
	unsigned long handed_over;
	unsigned long longest_us;
};

/**
 * struct lm_cpu - a CPU's counters of a map
 * @values: how many keys have a value; a signed part of the sum, atomic
 * @waits: of tasks that slept
 */
struct lm_cpu {
	atomic_long_t values;
	struct lm_waits waits;
};

/**
 * struct lockmap - a map; all constant but where said
 * @shard_shift: how far to shift a 32-bit hash, less one, to get its shard
 * @key_kind: how keys are compared
 * @key_len: length of keys, or the longest
 * @key_offset: of the key in &lockmap_entry.data
 * @plain_value: values are short, and have no @clone
 * @hash_key: secret
 * @params: as given, with defaults filled in
 * @cache: of entries
 * @cpu: counters
 * @rings: idle entries
 * @nr_rings: how many rings, of which each serves as many shards
 * @shrinker: takes idle entries back
 * @lock_key: lockdep class of the keys
 * @owner: the module that made the map; %NULL when it is gone, or built in. By
 *	lm_maps_lock, as are @leaked and @node
 * @leaked: destroyed with keys held, which was told
 * @refused: a key was refused for its length, which was told; without a lock
 * @disorder: keys were locked out of order, which was told; without a lock
 * @node: in lm_maps
 * @debugfs: folder of the map
 * @nr_shards: how many there are
 * @shards: the tables
 */
struct lockmap {
	unsigned int shard_shift;
	enum lm_key_kind key_kind;
	u32 key_len;
	u32 key_offset;
	bool plain_value;
	struct lm_hash_key hash_key;
	struct lockmap_params params;
	struct kmem_cache *cache;
	struct lm_cpu __percpu *cpu;
	struct lm_ring *rings;
	unsigned int nr_rings;
	struct shrinker *shrinker;
	struct lock_class_key lock_key;
	struct module *owner;
	bool leaked;
	bool refused;
	bool disorder;
	struct list_head node;
	struct dentry *debugfs;
	unsigned int nr_shards;
	struct lm_shard shards[];
};

/**
 * struct lm_key - a key that is looked for; on the caller's stack, or in registers
 * @map: where
 * @kind: how keys are compared there
 * @data: the key
 * @num: the key, if it is of a kind that is a number
 * @len: its length
 * @hash: its hash
 * @word: of the entry that was found, from before the entry's key was read
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

/* How to wait for a key. */
struct lm_how {
	unsigned int state;
	bool try;
	bool timed;
	bool batch;
	unsigned long deadline;
};

static const struct lm_how lm_how_wait = { .state = TASK_UNINTERRUPTIBLE };
static const struct lm_how lm_how_interruptible = { .state = TASK_INTERRUPTIBLE };
static const struct lm_how lm_how_killable = { .state = TASK_KILLABLE };
static const struct lm_how lm_how_try = { .try = true };

static DEFINE_PER_CPU(struct lockmap_batch *, lm_spare_batch);
static DEFINE_RATELIMIT_STATE(lm_circle_limit, DEFAULT_RATELIMIT_INTERVAL, DEFAULT_RATELIMIT_BURST);
static LIST_HEAD(lm_maps);
static DEFINE_MUTEX(lm_maps_lock);
/* Frees the shards of maps. */
static struct workqueue_struct *lm_free_wq;

/*
 * Keys
 */

/*
 * The hashes that multiply-add-shift gives to keys in a row (1, 2, 3, or 8, 16, 24) go
 * up by the same each time. In one map of a thousand that is by so near a multiple of a
 * table's size that they share a few buckets. This is one to one, so that what is said
 * below of two keys holds after it as well.
 */
static __always_inline u32 lm_scramble(u64 hash)
{
	return (hash ^ hash >> 32) * GOLDEN_RATIO_64 >> 32;
}

/*
 * Keys of up to 16 bytes: multiply-add-shift over two words that hold the key,
 * and its length. Two different keys, whatever they are, have one hash with a
 * probability of 2^-32 as long as the map's random coefficients are secret.
 * Longer keys: hsiphash, which is SipHash-1-3 where words have 64 bits.
 */
static __always_inline u32 lm_hash_bytes(const struct lm_hash_key *key, const u8 *data, u32 len)
{
	u64 x, y = 0;

	if (len > 16)
		return hsiphash(data, len, (const hsiphash_key_t *)&key->sip);
	/* For a given length, words that overlap hold the key as well as any. */
	if (len >= 8) {
		x = get_unaligned((const u64 *)data);
		y = get_unaligned((const u64 *)(data + len - 8));
	} else if (len >= 4) {
		x = get_unaligned((const u32 *)data);
		y = get_unaligned((const u32 *)(data + len - 4));
	} else {
		x = data[0] | data[len / 2] << 8 | data[len - 1] << 16;
	}
	return lm_scramble(lm_hash_3(key, x, y, len));
}

/* A caller's hash may be anything: let each bit of it count (MurmurHash3's finalizer). */
static noinline u32 lm_hash_custom(const struct lockmap *map, const void *data, u32 len)
{
	u64 hash = map->params.hash(data, len, map->hash_key.b[0]);

	hash ^= hash >> 33;
	hash *= 0xff51afd7ed558ccdULL;
	hash ^= hash >> 33;
	hash *= 0xc4ceb9fe1a85ec53ULL;
	return hash >> 32;
}

static __always_inline u32 lm_hash(const struct lm_key *key)
{
	const struct lockmap *map = key->map;

	if (likely(key->kind <= LM_KEY_8))
		return lm_scramble(lm_hash_1(&map->hash_key, key->num));
	if (unlikely(map->params.hash))
		return lm_hash_custom(map, key->data, key->len);
	return lm_hash_bytes(&map->hash_key, key->data, key->len);
}

static __always_inline bool lm_len_ok(const struct lockmap *map, size_t len)
{
	return likely(len == map->key_len) ||
	       ((map->params.flags & LOCKMAP_VAR_KEY) && len && len < map->key_len);
}

/* All of a key but its hash. */
static __always_inline struct lm_key lm_key(struct lockmap *map, enum lm_key_kind kind,
					    const void *data, u32 len)
{
	struct lm_key key = { .map = map, .kind = kind, .data = data, .len = len };

	if (kind == LM_KEY_8)
		key.num = get_unaligned((const u64 *)data);
	else if (kind == LM_KEY_4)
		key.num = get_unaligned((const u32 *)data);
	return key;
}

/* What is wrong may be a length that came from user space: that is told once a map. */
static noinline int lm_key_refused(struct lockmap *map, const void *data, size_t len)
{
	if (IS_ERR_OR_NULL(map) || !data || READ_ONCE(map->refused))
		return -EINVAL;
	WRITE_ONCE(map->refused, true);
	pr_notice("%s: a key of %zu bytes is refused, where keys have %s%u\n", map->params.name,
		  len, map->params.flags & LOCKMAP_VAR_KEY ? "1 to " : "", map->key_len);
	return -EINVAL;
}

/* What every call begins with: look at what the caller gave, hash the key once. */
static __always_inline int lm_key_init(struct lm_key *key, struct lockmap *map, const void *data,
				       size_t len)
{
	if (IS_ERR_OR_NULL(map) || unlikely(!data || !lm_len_ok(map, len)))
		return lm_key_refused(map, data, len);
	*key = lm_key(map, map->key_kind, data, len);
	key->hash = lm_hash(key);
	return 0;
}

/* Whether lm_key_8() will do. False for any other key, and for what lm_key_init() refuses. */
static __always_inline bool lm_key_is_8(const struct lockmap *map, const void *data, size_t len)
{
	return !IS_ERR_OR_NULL(map) &&
	       likely(data && len == sizeof(u64) && map->key_kind == LM_KEY_8);
}

/*
 * A key that is a 64-bit number, which the compiler keeps in registers as long as
 * nobody takes its address, and nobody declares it without giving it a value:
 * with CONFIG_INIT_STACK_ALL_ZERO that would cost more than the hash.
 */
static __always_inline struct lm_key lm_key_8(struct lockmap *map, const void *data)
{
	struct lm_key key = lm_key(map, LM_KEY_8, data, sizeof(u64));

	key.hash = lm_hash(&key);
	return key;
}

static __always_inline struct lm_shard *lm_shard(struct lockmap *map, u32 hash)
{
	return &map->shards[hash >> 1 >> map->shard_shift];
}

/*
 * The wait queue for an entry, whatever key it is of: who waits for what it was
 * before has to meet who waits for what it is.
 */
static wait_queue_head_t *lm_wq(struct lockmap *map, const struct lockmap_entry *entry)
{
	return &lm_shard(map, hash_ptr(entry, 32))->wq;
}

/* The key of an entry that may become another one while we look. */
static const u8 *lm_entry_key_rcu(const struct lockmap *map, const struct lockmap_entry *entry,
				  u32 *len)
{
	const struct lm_long_key *lk;

	if (map->key_kind != LM_KEY_LONG) {
		*len = min_t(u32, READ_ONCE(entry->len), map->key_len);
		return entry->data + map->key_offset;
	}
	lk = rcu_dereference_raw(*(struct lm_long_key __rcu **)(entry->data + map->key_offset));
	*len = lk->len;
	return lk->data;
}

/* What memcmp() says of two keys that are 64-bit numbers. */
static __always_inline int lm_cmp_8(const void *a, const void *b)
{
	u64 x = get_unaligned_be64(a), y = get_unaligned_be64(b);

	return (x > y) - (x < y);
}

static int lm_cmp(const struct lockmap *map, const void *a, u32 a_len, const void *b, u32 b_len)
{
	if (map->key_kind == LM_KEY_8)
		return lm_cmp_8(a, b);
	if (map->params.cmp)
		return map->params.cmp(a, a_len, b, b_len);
	return memcmp(a, b, min(a_len, b_len)) ?: (a_len > b_len) - (a_len < b_len);
}

/* As !memcmp(); of up to 16 bytes the first and the last eight are all. */
static __always_inline bool lm_equal(const u8 *a, const u8 *b, u32 len)
{
	if (len < 8 || len > 16)
		return !memcmp(a, b, len);
	return get_unaligned((const u64 *)a) == get_unaligned((const u64 *)b) &&
	       get_unaligned((const u64 *)(a + len - 8)) ==
	       get_unaligned((const u64 *)(b + len - 8));
}

static noinline bool lm_same_bytes(const struct lockmap *map, const void *data, u32 len,
				   const struct lockmap_entry *entry)
{
	const u8 *entry_data;
	u32 entry_len;

	entry_data = lm_entry_key_rcu(map, entry, &entry_len);
	if (map->params.cmp)
		return !map->params.cmp(entry_data, entry_len, data, len);
	return entry_len == len && !memcmp(entry_data, data, len);
}

static __always_inline bool lm_same_key(const struct lm_key *key, const struct lockmap_entry *entry)
{
	const u8 *entry_data = entry->data + key->map->key_offset;

	if (likely(key->kind == LM_KEY_8))
		return READ_ONCE(*(const u64 *)entry_data) == key->num;
	if (key->kind == LM_KEY_4)
		return READ_ONCE(*(const u32 *)entry_data) == key->num;
	if (key->kind == LM_KEY_BYTES)
		return READ_ONCE(entry->len) == key->len &&
		       lm_equal(entry_data, key->data, key->len);
	return lm_same_bytes(key->map, key->data, key->len, entry);
}

/*
 * Whether an entry is for this key, and not dead. It may become another key's
 * under our eyes, but not without another version in its word. So whoever acts
 * on the answer has to find the word unchanged since: by the compare-exchange
 * that locks it (lm_acquire()), or by reading it again (lm_unchanged()). Under the
 * lock of a bucket that the entry is in, the answer is certain.
 */
static __always_inline bool lm_match(struct lm_key *key, const struct lockmap_entry *entry)
{
	if (READ_ONCE(entry->hash) != key->hash)
		return false;
	/* (C) the word before the key; pairs with lm_entry_publish(). */
	key->word = atomic64_read_acquire(&entry->lock.word);
	/* If the key changes under us, so does the word. */
	return !(key->word & LM_DEAD) && data_race(lm_same_key(key, entry));
}

/* Whether what was read from an entry since lm_match() belongs together, and to the key. */
static __always_inline bool lm_unchanged(const struct lm_key *key,
					 const struct lockmap_entry *entry)
{
	/*
	 * What was read before the word again; pairs with lm_acquire(), if it was
	 * the value (A), and with lm_entry_new(), if it was the key (E).
	 */
	smp_rmb();
	return likely(atomic64_read(&entry->lock.word) == key->word);
}

static const char *lm_name(const struct lockmap *map)
{
	return map->params.name;
}

static bool lm_is_text(const u8 *data, u32 len)
{
	u32 i;

	for (i = 0; i < len; i++) {
		if (!isascii(data[i]) || !isprint(data[i]) || data[i] == '"')
			return false;
	}
	return true;
}

/* A key for people to read: a number, "text", or hex; cut off if it is long. */
static void lm_key_text(char *text, size_t size, const struct lockmap *map, const void *data,
			u32 len)
{
	u32 shown = min_t(u32, len, 32);
	const char *more = shown < len ? "..." : "";

	if (map->key_kind == LM_KEY_8)
		snprintf(text, size, "%#llx", get_unaligned((const u64 *)data));
	else if (map->key_kind == LM_KEY_4)
		snprintf(text, size, "%#x", get_unaligned((const u32 *)data));
	else if (lm_is_text(data, len))
		snprintf(text, size, "\"%.*s\"%s", (int)shown, (const char *)data, more);
	else
		snprintf(text, size, "%*phN%s", (int)shown, data, more);
}

#define CREATE_TRACE_POINTS
#include "lockmap_trace.h"

static u32 lm_rht_key_hash(const void *data, u32 len, u32 seed)
{
	return ((const struct lm_key *)data)->hash;
}

static u32 lm_rht_obj_hash(const void *data, u32 len, u32 seed)
{
	return ((const struct lockmap_entry *)data)->hash;
}

static int lm_rht_obj_cmp(struct rhashtable_compare_arg *arg, const void *obj)
{
	return !lm_match((struct lm_key *)arg->key, obj);
}

#define LM_RHT_PARAMS						\
	.head_offset = offsetof(struct lockmap_entry, node),	\
	.hashfn = lm_rht_key_hash,				\
	.obj_hashfn = lm_rht_obj_hash,				\
	.obj_cmpfn = lm_rht_obj_cmp,				\
	.automatic_shrinking = true

static const struct rhashtable_params lm_rht_params = { LM_RHT_PARAMS };

/*
 * With a caller's hash, chains may be long for good, and a new table does not
 * help. Not for all maps: without these checks a table grows by one step for a
 * whole burst of insertions, and then stays too small until the next.
 */
static const struct rhashtable_params lm_rht_params_custom = {
	LM_RHT_PARAMS,
	LM_RHT_INSECURE_ELASTICITY
};

/* The bucket that a key would be in, for prefetching. */
static __always_inline struct rhash_lock_head __rcu *const *lm_bucket(const struct lm_key *key)
{
	struct rhashtable *table = &lm_shard(key->map, key->hash)->table;
	struct bucket_table *tbl = rht_dereference_rcu(table->tbl, table);

	return rht_bucket(tbl, key->hash & (tbl->size - 1));
}

/*
 * Find the entry for a key, and its word as it was before the key was compared.
 * This is rhashtable_lookup(), with what it would look up at run time known.
 */
static __always_inline struct lockmap_entry *lm_find(struct lm_key *key)
{
	struct rhashtable *table = &lm_shard(key->map, key->hash)->table;
	struct bucket_table *tbl = rht_dereference_rcu(table->tbl, table);
	struct rhash_lock_head __rcu *const *bucket;
	struct lockmap_entry *entry;
	struct rhash_head *node;

	do {
		bucket = rht_bucket(tbl, key->hash & (tbl->size - 1));
		do {
			rht_for_each_rcu_from(node, rht_ptr_rcu(bucket), tbl, key->hash) {
				entry = container_of(node, struct lockmap_entry, node);
				if (likely(lm_match(key, entry)))
					return entry;
			}
			/* A chain that ends in another bucket's marker: an entry moved under us. */
		} while (unlikely(node != RHT_NULLS_MARKER(bucket)));
		/* Pairs with the rehash, which links into the new table first. */
		smp_rmb();
		tbl = rht_dereference_rcu(tbl->future_tbl, table);
	} while (unlikely(tbl));
	return NULL;
}

/*
 * Entries: memory
 */

/*
 * For lockdep, one key of a map after another is in order. It would ask for the first
 * two that anybody locks in some context, and for no others: it remembers classes.
 * Hence lm_check_order().
 */
static int __maybe_unused lm_key_cmp_dep(const struct lockdep_map *a, const struct lockdep_map *b)
{
	return -1;
}

static int lm_entry_set_key(struct lockmap_entry *new, const struct lm_key *key, gfp_t gfp)
{
	u8 *data = new->data + key->map->key_offset;
	struct lm_long_key *lk;

	if (key->map->key_kind != LM_KEY_LONG) {
		memcpy(data, key->data, key->len);
		return 0;
	}
	lk = kmalloc(struct_size(lk, data, key->len), gfp);
	if (!lk)
		return -ENOMEM;
	lk->len = key->len;
	memcpy(lk->data, key->data, key->len);
	rcu_assign_pointer(*(struct lm_long_key __rcu **)data, lk);
	return 0;
}

/*
 * Make an entry that is in no table. Its word is DEAD and stays so until
 * lm_entry_publish(): lookups that stood on this memory when it was another
 * entry may look at it still.
 */
static struct lockmap_entry *lm_entry_new(const struct lm_key *key, gfp_t gfp)
{
	struct lockmap *map = key->map;
	struct lockmap_entry *new;

	new = kmem_cache_alloc(map->cache, gfp);
	if (!new)
		return NULL;
	/*
	 * The version goes on where it was. On memory that was no entry of this
	 * map before it is whatever it is; nobody can have read it then.
	 */
	atomic64_set(&new->lock.word, lm_dead(atomic64_read(&new->lock.word)));
	/* (E) the death before the new key; pairs with lm_unchanged() and lm_cursor_take(). */
	smp_wmb();
	new->map = map;
	WRITE_ONCE(new->hash, key->hash);
	WRITE_ONCE(new->len, key->len);
	new->has_value = false;
	new->annotated = false;
	if (lm_entry_set_key(new, key, gfp)) {
		kmem_cache_free(map->cache, new);
		return NULL;
	}
	lockdep_init_map(&new->dep_map, map->params.name, &map->lock_key, 0);
	lock_set_cmp_fn(new, lm_key_cmp_dep, NULL);
	return new;
}

/* Give back an entry that is in no table, its word DEAD. */
static void lm_entry_free(struct lockmap_entry *entry)
{
	struct lockmap *map = entry->map;
	struct lm_long_key *lk;

	debug_check_no_locks_freed(entry, sizeof(*entry));
	if (map->key_kind == LM_KEY_LONG) {
		lk = *(struct lm_long_key **)(entry->data + map->key_offset);
		kfree_rcu(lk, rcu);
	}
	kmem_cache_free(map->cache, entry);
}

/*
 * Put an entry into its table, locked by the caller. From the store of the word
 * on, a lookup that comes by an old chain may find it and wait for it, even if
 * in the end it does not get into the table: hence lm_retire().
 *
 * Return: 0, -EEXIST when the table has the key already, or what rhashtable
 * says when it cannot take more for the moment: -ENOMEM, -EBUSY, -E2BIG.
 */
static lm_noinline_kcsan int lm_entry_publish(struct lm_key *key, struct lockmap_entry *new,
					      u64 self)
{
	struct lm_shard *shard = lm_shard(key->map, key->hash);
	u64 dead = atomic64_read(&new->lock.word);
	void *found;

	/* (C) the key before the word; pairs with lm_match() and lm_scan_bucket(). */
	atomic64_set_release(&new->lock.word, (dead & LM_VERSION) | LM_LOCKED | self);
	if (unlikely(key->map->params.hash))
		found = rhashtable_lookup_get_insert_key(&shard->table, key, &new->node,
							 lm_rht_params_custom);
	else
		found = rhashtable_lookup_get_insert_key(&shard->table, key, &new->node,
							 lm_rht_params);
	if (likely(!found))
		return 0;
	lm_retire(&new->lock, lm_wq(key->map, new));
	return IS_ERR(found) ? PTR_ERR(found) : -EEXIST;
}

static noinline void lm_trace_reclaimed(const struct lockmap_entry *entry)
{
	const u8 *data;
	u32 len;

	data = lm_entry_key_rcu(entry->map, entry, &len);
	trace_lockmap_reclaimed(entry->map, data, len);
}

/* Take an idle entry, whose word was just made DEAD, out of its table, and free it. */
static lm_noinline_kcsan void lm_entry_bury(struct lockmap_entry *entry)
{
	if (trace_lockmap_reclaimed_enabled())
		lm_trace_reclaimed(entry);
	rhashtable_remove_fast(&lm_shard(entry->map, entry->hash)->table, &entry->node,
			       lm_rht_params);
	lm_entry_free(entry);
}

/*
 * Entries: the idle ring
 *
 * The clock of the second-chance algorithm (Corbato, 1968) over an array. An
 * entry comes in when it is unlocked without a value and is not IDLE yet, and
 * stays, IDLE, while it is locked again and even has a value for a while: an
 * unlock then has nothing to do but to set REFERENCED. The hand finds out.
 */

static struct lm_ring *lm_ring(const struct lockmap *map, u32 hash)
{
	return &map->rings[(hash >> 1 >> map->shard_shift) & (map->nr_rings - 1)];
}

static struct lockmap_entry **lm_ring_slot(struct lm_ring *ring, unsigned int i)
{
	unsigned int n = i < LM_RING_FIRST ? 0 : ilog2(i / LM_RING_FIRST) + 1;

	return &ring->chunk[n][n ? i - (LM_RING_FIRST << (n - 1)) : i];
}

/* Add the chunk that begins with slot @size, which is below the limit, if there is memory. */
static bool lm_ring_grow(struct lm_ring *ring, unsigned int size, gfp_t gfp)
{
	unsigned int n = size ? ilog2(size / LM_RING_FIRST) + 1 : 0;
	unsigned int more = min(size ?: LM_RING_FIRST, ring->limit - size);
	struct lockmap_entry **chunk;

	chunk = kcalloc(more, sizeof(*chunk), gfp | __GFP_NOWARN);
	if (!chunk)
		return false;
	if (cmpxchg(&ring->chunk[n], NULL, chunk))
		kfree(chunk);	/* somebody else did it */
	/* Pairs with lm_ring_step(): the chunk before the size. */
	cmpxchg_release(&ring->size, size, size + more);
	return true;
}

/* Whether there are slots after the last, if need be new ones. */
static bool lm_ring_extend(struct lm_ring *ring, unsigned int size)
{
	if (size >= READ_ONCE(ring->room))
		return false;
	if (lm_ring_grow(ring, size, GFP_NOWAIT))
		return true;
	/* Without memory for slots there is no room either, until lm_ring_look() makes some. */
	if (READ_ONCE(ring->size) == size)
		WRITE_ONCE(ring->room, size);
	return false;
}

static unsigned int lm_ring_step(struct lm_ring *ring)
{
	int hand = atomic_read(&ring->hand), next;
	unsigned int size;

	do {
		/* Pairs with lm_ring_grow(). */
		size = smp_load_acquire(&ring->size);
		next = hand + 1;
		if (next >= size && !lm_ring_extend(ring, size))
			next = 0;
	} while (!atomic_try_cmpxchg(&ring->hand, &hand, next));
	return next;
}

/*
 * Decide on an entry that was taken out of the ring: bury it, or let it go if it
 * is in use, or spare it if it was referenced.
 *
 * Return: false when it was spared, and has to go back.
 */
static bool lm_ring_evict(struct lockmap_entry *entry, bool spare)
{
	u64 old, new;
	bool in_use;

	old = atomic64_read(&entry->lock.word);
	do {
		in_use = old & (LM_LOCKED | LM_WAITERS | LM_VALUE);
		spare = spare && (old & LM_REFERENCED);
		if (in_use)	/* the unlock that leaves it without a value brings it back */
			new = old & ~(LM_IDLE | LM_REFERENCED);
		else if (spare)
			new = old & ~LM_REFERENCED;
		else
			new = lm_dead(old);
	} while (!atomic64_try_cmpxchg(&entry->lock.word, &old, new));

	if (!in_use && !spare)
		lm_entry_bury(entry);
	return in_use || !spare;
}

/*
 * Look at slots here and there, and make room when keys come back. Those that never
 * do would fill the caches with entries, and the table with chains.
 *
 * Context: RCU read side; the entry may be buried meanwhile.
 */
static void lm_ring_look(struct lm_ring *ring, unsigned int nr)
{
	/* Pairs with lm_ring_grow(). */
	unsigned int size = smp_load_acquire(&ring->size);
	struct lockmap_entry *entry = READ_ONCE(*lm_ring_slot(ring, hash_32(nr, 32) % size));
	unsigned int back = nr % LM_RING_LOOKS ? READ_ONCE(ring->back) : 0;

	if (entry && (atomic64_read(&entry->lock.word) & LM_REFERENCED))
		back++;
	if (back >= LM_RING_BACK) {
		WRITE_ONCE(ring->room, min_t(u64, (u64)size * LM_RING_MORE, ring->limit));
		back = 0;
	}
	WRITE_ONCE(ring->back, back);
}

/*
 * Whether a newcomer is let in. For keys that never come back a full ring is a
 * waste: each would push out an entry that went cold long ago, and costs its cache
 * misses. Keys that do come back get in before long. (Bimodal insertion: Qureshi
 * et al., "Adaptive Insertion Policies for High Performance Caching", 2007.)
 */
static bool lm_ring_admits(struct lm_ring *ring)
{
	unsigned int room = READ_ONCE(ring->room), refused = READ_ONCE(ring->refused);

	if ((unsigned int)atomic_read(&ring->used) < room)
		return true;
	WRITE_ONCE(ring->refused, refused + 1);
	if (refused % LM_RING_LOOK == 0 && room < ring->limit)
		lm_ring_look(ring, refused / LM_RING_LOOK);
	return refused % LM_RING_ADMIT == 0;
}

/*
 * Put an entry into the ring that has just become IDLE. It may be locked again
 * at any time, but cannot be buried as long as it is not in the ring.
 */
static noinline void lm_ring_add(struct lockmap *map, u32 hash, struct lockmap_entry *entry)
{
	struct lm_ring *ring = lm_ring(map, hash);
	int chances = LM_RING_CHANCES;

	do {
		/* Full barriers: who takes an entry out sees it as it was put in. */
		entry = xchg(lm_ring_slot(ring, lm_ring_step(ring)), entry);
		if (!entry)
			atomic_inc(&ring->used);
	} while (entry && !lm_ring_evict(entry, chances-- > 0));
}

static unsigned long lm_shrink_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct lockmap *map = lm_shrinker_data(shrinker);
	unsigned long idle = 0;
	unsigned int i;

	for (i = 0; i < map->nr_rings; i++)
		idle += max(atomic_read(&map->rings[i].used), 0);
	return idle ?: SHRINK_EMPTY;
}

/* Take so many entries out of a ring, if it has them: downwards, from where the last call ended. */
static unsigned long lm_ring_shrink(struct lm_ring *ring, unsigned long nr)
{
	/* Pairs with lm_ring_grow(). */
	unsigned int size = smp_load_acquire(&ring->size), left;
	unsigned int n = READ_ONCE(ring->shrunk);
	struct lockmap_entry *entry, **slot;
	unsigned long taken = 0;

	for (left = size; left && taken < nr && atomic_read(&ring->used) > 0; left--) {
		n = (n ?: size) - 1;
		slot = lm_ring_slot(ring, n);
		entry = READ_ONCE(*slot) ? xchg(slot, NULL) : NULL;
		if (!entry)
			continue;
		atomic_dec(&ring->used);
		lm_ring_evict(entry, false);
		taken++;
	}
	WRITE_ONCE(ring->shrunk, n);
	return taken;
}

static unsigned long lm_shrink_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct lockmap *map = lm_shrinker_data(shrinker);
	unsigned long taken = 0;
	unsigned int i;

	for (i = 0; i < map->nr_rings && taken < sc->nr_to_scan; i++)
		taken += lm_ring_shrink(&map->rings[i], sc->nr_to_scan - taken);
	sc->nr_scanned = taken;
	return taken ?: SHRINK_STOP;
}

/*
 * Locking
 */

/* Tell of who may wait for a key while holding one of the same map that is not before it. */
static void lm_check_order(struct lockmap *map, const void *data, u32 len)
{
	char text[LM_KEY_TEXT], held_text[LM_KEY_TEXT];
	const struct lockmap_entry *entry;
	const struct lockdep_map *held;
	const u8 *held_data;
	unsigned int i = 0;
	u32 held_len;

	if (!IS_ENABLED(CONFIG_PROVE_LOCKING) || !debug_locks || lockdep_recursing(current) ||
	    READ_ONCE(map->disorder))
		return;
	while ((held = lm_held_lock(&i, &map->lock_key))) {
		entry = container_of(held, struct lockmap_entry, dep_map);
		held_data = lm_entry_key_rcu(map, entry, &held_len);
		if (lm_cmp(map, held_data, held_len, data, len) < 0)
			continue;
		WRITE_ONCE(map->disorder, true);
		lm_key_text(text, sizeof(text), map, data, len);
		lm_key_text(held_text, sizeof(held_text), map, held_data, held_len);
		WARN(1, "lockmap: %s: key %s locked by %s/%d, which holds %s: not in ascending order\n",
		     lm_name(map), text, current->comm, current->pid, held_text);
		return;
	}
}

static void lm_annotate(struct lockmap_entry *entry, bool try, unsigned long ip)
{
	const u8 *data;
	u32 len;

	/* What belongs to no task, lockdep cannot follow. */
	if (!IS_ENABLED(CONFIG_LOCKDEP) || !in_task())
		return;
	data = lm_entry_key_rcu(entry->map, entry, &len);
	if (!try)
		lm_check_order(entry->map, data, len);
	lock_acquire_exclusive(&entry->dep_map, 0, try, NULL, ip);
	entry->annotated = true;
}

static void lm_unannotate(struct lockmap_entry *entry, unsigned long ip)
{
	if (!IS_ENABLED(CONFIG_LOCKDEP) || !entry->annotated)
		return;
	entry->annotated = false;
	lock_release(&entry->dep_map, ip);
}

/*
 * Bury an entry that the caller has locked, and that has no value, if nobody
 * waits for it and the ring does not want it.
 */
static bool lm_unlock_bury(struct lockmap *map, struct lockmap_entry *entry)
{
	u64 old = atomic64_read(&entry->lock.word);

	/* One that is in the ring is for the clock hand to bury. */
	if ((old & (LM_WAITERS | LM_IDLE)) || lm_ring_admits(lm_ring(map, entry->hash)) ||
	    !atomic64_try_cmpxchg(&entry->lock.word, &old, lm_dead(old)))
		return false;
	lm_entry_bury(entry);
	return true;
}

static noinline void lm_unlock_tail(struct lockmap_entry *entry, u64 set)
{
	struct lockmap *map = entry->map;
	u32 hash = entry->hash;
	u64 old;

	/* Until it is unlocked, the lock keeps the entry and its map; from then on RCU does. */
	rcu_read_lock();
	if ((set & LM_IDLE) && lm_unlock_bury(map, entry)) {
		rcu_read_unlock();
		return;
	}
	old = lm_unlock_slow(&entry->lock, lm_wq(map, entry), set);
	if (set & ~old & LM_IDLE)
		lm_ring_add(map, hash, entry);
	rcu_read_unlock();
}

static __always_inline void lm_unlock(struct lockmap_entry *entry)
{
	u64 set = likely(entry->has_value) ? LM_VALUE : LM_IDLE;

	if (unlikely(!lm_unlock_fast(&entry->lock, set)))
		lm_unlock_tail(entry, set);
}

/* The end of what lm_lock_key() and lm_annotate() began. */
static __always_inline void lm_release(struct lockmap_entry *entry, unsigned long ip)
{
	lm_unannotate(entry, ip);
	lm_unlock(entry);
}

static long lm_time_left(const struct lm_how *how)
{
	long left;

	if (!how->timed)
		return MAX_SCHEDULE_TIMEOUT;
	left = how->deadline - jiffies;
	return max(left, 0L);
}

/*
 * After a waiter left: if the clock hand found the entry free but for that
 * waiter, it let go of it, and there is no unlock to come that brings it back.
 *
 * Context: RCU read side. It does not matter which key the entry is of.
 */
static void lm_adopt(struct lockmap_entry *entry)
{
	u64 word = atomic64_read(&entry->lock.word);

	if (!(word & (LM_LOCKED | LM_WAITERS | LM_VALUE | LM_IDLE | LM_DEAD)) &&
	    lm_acquire(&entry->lock, word, lm_self()))
		lm_unlock(entry);
}

/*
 * Called by lm_block() when a wait would close a circle, with the locks that keep it
 * as it is: note it down. No memory, no details.
 */
static inline void lm_circle_found(struct lm_waiter *waiter, bool closed)
{
	const struct lm_waiter *next = waiter;
	const struct lockmap_entry *entry;
	const struct task_struct *task;
	char *text, key[LM_KEY_TEXT];
	const u8 *data;
	size_t pos = 0;
	u32 len;

	if (!__ratelimit(&lm_circle_limit))
		return;
	text = kmalloc(LM_CIRCLE_TEXT, GFP_NOWAIT | __GFP_NOWARN);
	waiter->circle = text;
	if (!text)
		return;
	if (closed)
		pos = scnprintf(text, LM_CIRCLE_TEXT, "a wait that would never end was refused: ");
	else
		pos = scnprintf(text, LM_CIRCLE_TEXT,
				"a wait behind more than %u in a row was refused: ", LM_CIRCLE_MAX);
	for (; next && pos < LM_CIRCLE_TEXT - 1; next = lm_blocked_owner(next->lock)) {
		task = next->wait.private;
		entry = container_of(next->lock, struct lockmap_entry, lock);
		data = lm_entry_key_rcu(entry->map, entry, &len);
		lm_key_text(key, sizeof(key), entry->map, data, len);
		pos += scnprintf(text + pos, LM_CIRCLE_TEXT - pos, "%s/%d wants %s of %s, held by ",
				 task->comm, task->pid, key, lm_name(entry->map));
	}
	scnprintf(text + pos, LM_CIRCLE_TEXT - pos, "%s/%d", current->comm, current->pid);
}

static void lm_count_wait(const struct lm_key *key, const struct lm_waiter *waiter, int err)
{
	u64 ns = ktime_get_ns() - waiter->since;
	unsigned long us = min_t(u64, div_u64(ns, NSEC_PER_USEC), ULONG_MAX);
	struct lm_waits *waits = &get_cpu_ptr(key->map->cpu)->waits;

	WRITE_ONCE(waits->nr, waits->nr + 1);
	WRITE_ONCE(waits->failed, waits->failed + !!err);
	WRITE_ONCE(waits->stolen, waits->stolen + waiter->lost);
	WRITE_ONCE(waits->handed_over, waits->handed_over + waiter->handed_over);
	WRITE_ONCE(waits->longest_us, max(waits->longest_us, us));
	put_cpu_ptr(key->map->cpu);
	trace_lockmap_acquired(key->map, key->data, key->len, ns, err);
}

static void lm_report_circle(const struct lm_key *key, const char *circle)
{
	trace_lockmap_deadlock(key->map, key->data, key->len);
	if (circle)
		pr_warn("%s: %s\n", lm_name(key->map), circle);
}

/*
 * Sleep for an entry that is held, after it was found to be the key's.
 *
 * Context: RCU read side, which is left.
 * Return: 0 when the caller has it, -EAGAIN to look the key up again, -EDEADLK,
 * -EINTR, -ETIMEDOUT.
 */
static int lm_sleep(struct lm_key *key, struct lockmap_entry *entry, u64 self,
		    const struct lm_how *how)
	__releases(RCU)
{
	wait_queue_head_t *wq = lm_wq(key->map, entry);
	struct lm_waiter waiter;
	int err;

	if (!lm_enqueue(&entry->lock, wq, &waiter, self)) {
		rcu_read_unlock();
		return -EAGAIN;
	}
	/* It cannot become another key's any more. Did it before? */
	if (unlikely(!lm_match(key, entry))) {
		if (lm_leave(wq, &waiter))
			lm_adopt(entry);
		else
			lm_unlock(entry);
		rcu_read_unlock();
		return -EAGAIN;
	}
	/* Once we have left the queue, or were sent away, it is no entry: tell lockdep now. */
	if (!how->batch) {
		lm_check_order(key->map, key->data, key->len);
		might_lock(entry);
	}
	rcu_read_unlock();

	lm_contention_begin(entry);
	trace_lockmap_contended(key->map, key->data, key->len,
				(key->word & LM_OWNER) >> LM_OWNER_SHIFT);
	err = lm_wait(wq, &waiter, how->state, lm_time_left(how));
	if (err) {
		rcu_read_lock();
		if (!lm_leave(wq, &waiter))
			err = 0;	/* granted at the last moment */
		else if (waiter.result == LM_WAITING)
			lm_adopt(entry);
		rcu_read_unlock();
	}
	lm_contention_end(entry, err);
	lm_count_wait(key, &waiter, err);
	if (err == -EDEADLK)
		lm_report_circle(key, waiter.circle);
	kfree(waiter.circle);
	return err;
}

/* Who waits for a limited time only does not know how long the owner will run. */
static bool lm_may_spin(const struct lm_how *how)
{
	return !how->timed && !signal_pending_state(how->state, current);
}

/* The caller itself holds the key. */
static int lm_is_own(const struct lm_key *key)
{
	trace_lockmap_deadlock(key->map, key->data, key->len);
	return -EDEADLK;
}

/*
 * Lock an entry that lm_find() found, and whose word was not as hoped.
 *
 * Context: RCU read side, which is left.
 * Return: as lm_sleep(), and -EBUSY.
 */
static int lm_lock_found(struct lm_key *key, struct lockmap_entry *entry, u64 self,
			 const struct lm_how *how, unsigned int *spins)
	__releases(RCU)
{
	int err;

	if (!(key->word & LM_LOCKED))
		err = -EAGAIN;		/* somebody was faster */
	else if (how->try)
		err = lm_unchanged(key, entry) ? -EBUSY : -EAGAIN;
	else if (self && (key->word & LM_OWNER) == self)
		err = lm_is_own(key);
	else if (lm_may_spin(how) && lm_spin(&entry->lock, key->word, spins))
		err = -EAGAIN;
	else
		return lm_sleep(key, entry, self, how);
	rcu_read_unlock();
	return err;
}

/*
 * The table cannot take another entry before it has grown, which its worker
 * does: wait for that, but not longer than the caller would.
 *
 * Return: 0 to try again.
 */
static int lm_wait_for_table(const struct lm_how *how, int err)
{
	if (how->try || err == -E2BIG)
		return -ENOMEM;
	if (signal_pending_state(how->state, current))
		return -EINTR;
	if (!lm_time_left(how))
		return -ETIMEDOUT;
	schedule_timeout_uninterruptible(1);
	return 0;
}

/* A call that must not sleep allocates so. */
static gfp_t lm_gfp(const struct lockmap *map, const struct lm_how *how)
{
	gfp_t gfp = map->params.gfp;

	return how->try ? (gfp & ~__GFP_RECLAIM) | GFP_NOWAIT | __GFP_NOWARN : gfp;
}

/**
 * lm_lock_key() - lock a key in all cases
 * @key: the key
 * @new: an entry for it, consumed; or %NULL
 * @create: make one if there is none; else lock the key only if the table has it
 * @absent: the table did not have it just now
 * @how: how to wait
 *
 * Return: the entry; %NULL if there is none and none is to be made; an error as
 * in lockmap.h.
 */
static noinline struct lockmap_entry *lm_lock_key(struct lm_key *key, struct lockmap_entry *new,
						  bool create, bool absent,
						  const struct lm_how *how)
{
	struct lockmap_entry *entry;
	u64 self = lm_self();
	unsigned int spins = 0;
	int err;

	do {
		rcu_read_lock();
		entry = absent ? NULL : lm_find(key);
		if (entry) {
			if (lm_acquire(&entry->lock, key->word, self)) {
				rcu_read_unlock();
				err = 0;
				break;
			}
			err = lm_lock_found(key, entry, self, how, &spins);
			continue;
		}
		rcu_read_unlock();
		if (!new && !create)
			return NULL;
		if (!new)
			new = lm_entry_new(key, lm_gfp(key->map, how));
		if (!new)
			return ERR_PTR(-ENOMEM);
		err = lm_entry_publish(key, new, self);
		if (!err)
			return new;
		err = err == -EEXIST ? -EAGAIN : lm_wait_for_table(how, err) ?: -EAGAIN;
		absent = false;
	} while (err == -EAGAIN);

	if (new)
		lm_entry_free(new);
	return err ? ERR_PTR(err) : entry;
}

/*
 * Lock a key for which lm_key_is_8(), if it is in the table, and free; nothing else.
 *
 * Return: the entry; %NULL, with @absent, if there is none; an error if it was
 * not to be had.
 */
static __always_inline struct lockmap_entry *lm_lock_8(struct lockmap *map, const void *data)
{
	struct lm_key key = lm_key_8(map, data);
	struct lockmap_entry *entry;

	lm_read_lock();
	entry = lm_find(&key);
	if (likely(entry) && unlikely(!lm_acquire(&entry->lock, key.word, lm_self())))
		entry = ERR_PTR(-EBUSY);
	lm_read_unlock();
	return entry;
}

/* Any key, any way. */
static noinline struct lockmap_entry *lm_lock_any(struct lockmap *map, const void *data, size_t len,
						  bool create, bool absent,
						  const struct lm_how *how)
{
	struct lm_key key;
	int err;

	err = lm_key_init(&key, map, data, len);
	if (unlikely(err))
		return ERR_PTR(err);
	return lm_lock_key(&key, NULL, create, absent, how);
}

/* All but what lockdep is told. */
static __always_inline struct lockmap_entry *lm_lock_one(struct lockmap *map, const void *data,
							 size_t len, bool create,
							 const struct lm_how *how)
{
	struct lockmap_entry *entry = ERR_PTR(-EBUSY);

	if (!how->try)
		might_sleep();
	if (lm_key_is_8(map, data, len))
		entry = lm_lock_8(map, data);
	if (!IS_ERR_OR_NULL(entry))
		return entry;
	return lm_lock_any(map, data, len, create, !entry, how);
}

static __always_inline struct lockmap_entry *lm_lock(struct lockmap *map, const void *data,
						     size_t len, bool create,
						     const struct lm_how *how)
{
	struct lockmap_entry *entry = lm_lock_one(map, data, len, create, how);

	if (!IS_ERR_OR_NULL(entry))
		lm_annotate(entry, how->try, _RET_IP_);
	return entry;
}

static struct lm_how lm_how_timeout(unsigned long timeout)
{
	if (timeout > MAX_JIFFY_OFFSET)
		return lm_how_wait;
	return (struct lm_how) {
		.state = TASK_UNINTERRUPTIBLE,
		.timed = true,
		.deadline = jiffies + timeout,
	};
}

struct lockmap_entry *lockmap_lock(struct lockmap *map, const void *key, size_t len)
{
	return lm_lock(map, key, len, true, &lm_how_wait);
}
EXPORT_SYMBOL_GPL(lockmap_lock);

struct lockmap_entry *lockmap_lock_interruptible(struct lockmap *map, const void *key, size_t len)
{
	return lm_lock(map, key, len, true, &lm_how_interruptible);
}
EXPORT_SYMBOL_GPL(lockmap_lock_interruptible);

struct lockmap_entry *lockmap_lock_killable(struct lockmap *map, const void *key, size_t len)
{
	return lm_lock(map, key, len, true, &lm_how_killable);
}
EXPORT_SYMBOL_GPL(lockmap_lock_killable);

struct lockmap_entry *lockmap_lock_timeout(struct lockmap *map, const void *key, size_t len,
					   unsigned long timeout)
{
	const struct lm_how how = lm_how_timeout(timeout);

	return lm_lock(map, key, len, true, &how);
}
EXPORT_SYMBOL_GPL(lockmap_lock_timeout);

struct lockmap_entry *lockmap_trylock(struct lockmap *map, const void *key, size_t len)
{
	return lm_lock(map, key, len, true, &lm_how_try);
}
EXPORT_SYMBOL_GPL(lockmap_trylock);

/* No flags that clear an entry under a reader's eyes, or that slab or trylock cannot follow. */
static bool lm_gfp_ok(gfp_t gfp)
{
	return !(gfp & (__GFP_ZERO | __GFP_NOFAIL | GFP_ZONEMASK | ~__GFP_BITS_MASK));
}

struct lockmap_entry *lockmap_entry_alloc(struct lockmap *map, const void *data, size_t len,
					  gfp_t gfp)
{
	struct lm_key key;
	int err = lm_key_init(&key, map, data, len);

	if (err || !lm_gfp_ok(gfp))
		return ERR_PTR(-EINVAL);
	return lm_entry_new(&key, gfp) ?: ERR_PTR(-ENOMEM);
}
EXPORT_SYMBOL_GPL(lockmap_entry_alloc);

void lockmap_entry_free(struct lockmap_entry *new)
{
	if (!IS_ERR_OR_NULL(new))
		lm_entry_free(new);
}
EXPORT_SYMBOL_GPL(lockmap_entry_free);

struct lockmap_entry *lockmap_lock_prealloc(struct lockmap *map, struct lockmap_entry *new)
{
	struct lockmap_entry *entry;
	struct lm_key key;
	const u8 *data;
	u32 len;

	if (IS_ERR(new))
		return new;
	if (!new)
		return ERR_PTR(-EINVAL);
	if (map != new->map) {
		lm_entry_free(new);
		return ERR_PTR(-EINVAL);
	}
	might_sleep();
	data = lm_entry_key_rcu(map, new, &len);
	key = lm_key(map, map->key_kind, data, len);
	key.hash = new->hash;
	entry = lm_lock_key(&key, new, false, false, &lm_how_wait);
	if (!IS_ERR(entry))
		lm_annotate(entry, false, _RET_IP_);
	return entry;
}
EXPORT_SYMBOL_GPL(lockmap_lock_prealloc);

void lockmap_unlock(struct lockmap_entry *entry)
{
	u64 word;

	if (IS_ERR_OR_NULL(entry))
		return;
	word = atomic64_read(&entry->lock.word);
	if (WARN_ONCE(!(word & LM_LOCKED), "lockmap: %s: unlock of a key that is not locked\n",
		      word & LM_DEAD ? "?" : lm_name(entry->map)))
		return;
	lm_release(entry, _RET_IP_);
}
EXPORT_SYMBOL_GPL(lockmap_unlock);

void lockmap_entry_disown(struct lockmap_entry *entry)
{
	lm_unannotate(entry, _RET_IP_);
	atomic64_andnot(LM_OWNER, &entry->lock.word);
}
EXPORT_SYMBOL_GPL(lockmap_entry_disown);

/*
 * Values
 */

static void lm_count(struct lockmap *map, long more)
{
	/* Whichever CPU's: it only has to be one that others seldom touch. */
	atomic_long_add(more, &raw_cpu_ptr(map->cpu)->values);
}

static void lm_copy(void *dst, const void *src, size_t len)
{
	if (likely(len == sizeof(u64)))
		put_unaligned(get_unaligned((const u64 *)src), (u64 *)dst);
	else
		memcpy(dst, src, len);
}

static void lm_set_value(struct lockmap_entry *entry, const void *value)
{
	size_t len = entry->map->params.value_len;

	if (value)
		lm_copy(entry->data, value, len);
	else
		memset(entry->data, 0, len);
}

/* A value leaves the map: to the caller if it asked, else to the callback. */
static void lm_drop_value(struct lockmap_entry *entry, void *old)
{
	const struct lockmap_params *params = &entry->map->params;

	if (old)
		lm_copy(old, entry->data, params->value_len);
	else if (params->release)
		params->release(entry->data);
}

const void *lockmap_entry_key(const struct lockmap_entry *entry, size_t *len)
{
	u32 key_len;
	const void *key = lm_entry_key_rcu(entry->map, entry, &key_len);

	if (len)
		*len = key_len;
	return key;
}
EXPORT_SYMBOL_GPL(lockmap_entry_key);

void *lockmap_entry_value(struct lockmap_entry *entry)
{
	return entry->has_value ? entry->data : NULL;
}
EXPORT_SYMBOL_GPL(lockmap_entry_value);

bool lockmap_entry_insert(struct lockmap_entry *entry, const void *value, void *old)
{
	bool had_value = entry->has_value;

	if (had_value)
		lm_drop_value(entry, old);
	lm_set_value(entry, value);
	if (!had_value) {
		entry->has_value = true;
		lm_count(entry->map, 1);
	}
	return had_value;
}
EXPORT_SYMBOL_GPL(lockmap_entry_insert);

bool lockmap_entry_remove(struct lockmap_entry *entry, void *old)
{
	if (!entry->has_value)
		return false;
	lm_drop_value(entry, old);
	entry->has_value = false;
	lm_count(entry->map, -1);
	return true;
}
EXPORT_SYMBOL_GPL(lockmap_entry_remove);

void *lockmap_entry_get_or_insert(struct lockmap_entry *entry, const void *value)
{
	if (!entry->has_value)
		lockmap_entry_insert(entry, value, NULL);
	return entry->data;
}
EXPORT_SYMBOL_GPL(lockmap_entry_get_or_insert);

/*
 * Look at a key's value without its lock: the word and the key, in lm_find(),
 * then the value, then the word again.
 *
 * Return: 0; -ENOENT; -EBUSY when the key is held; -EAGAIN when it changed meanwhile.
 */
static __always_inline int lm_read_value(struct lm_key *key, const struct lockmap_entry *entry,
					 void *value)
{
	if (unlikely(!entry))
		return -ENOENT;
	/* (B) as @key->word was read with acquire; pairs with lm_unlock_fast(). */
	if (unlikely(key->word & LM_LOCKED))
		return -EBUSY;
	if (value && (key->word & LM_VALUE))
		/* Writers do not wait for us; if there was one, the word has changed. */
		data_race((lm_copy(value, entry->data, key->map->params.value_len), 0));
	if (!lm_unchanged(key, entry))
		return -EAGAIN;
	return key->word & LM_VALUE ? 0 : -ENOENT;
}

/* The same, patiently: spin while the holder runs. Return: as above. */
static int lm_read_value_spin(struct lm_key *key, void *value)
{
	const struct lockmap_entry *entry;
	unsigned int spins = 0;
	int err, tries = 0;

	do {
		rcu_read_lock();
		entry = lm_find(key);
		err = lm_read_value(key, entry, value);
		if (err == -EBUSY && (key->word & LM_OWNER) != lm_self() &&
		    lm_spin(&entry->lock, key->word, &spins))
			err = -EAGAIN;
		rcu_read_unlock();
	} while (err == -EAGAIN && ++tries < LM_READ_TRIES);
	return err;
}

static int lm_get_locked(struct lm_key *key, void *value)
{
	const struct lockmap_params *params = &key->map->params;
	struct lockmap_entry *entry;
	int err = -ENOENT;

	entry = lm_lock_key(key, NULL, false, false, &lm_how_wait);
	if (IS_ERR_OR_NULL(entry))
		return entry ? PTR_ERR(entry) : -ENOENT;
	lm_annotate(entry, false, _RET_IP_);
	if (entry->has_value) {
		err = 0;
		if (value && params->clone)
			params->clone(value, entry->data);
		else if (value)
			lm_copy(value, entry->data, params->value_len);
	}
	lm_release(entry, _RET_IP_);
	return err;
}

static noinline int lm_get_any(struct lockmap *map, const void *data, size_t len, void *value)
{
	struct lm_key key;
	int err;

	err = lm_key_init(&key, map, data, len);
	if (unlikely(err))
		return err;
	if (!(map->params.clone && value)) {
		err = lm_read_value_spin(&key, value);
		if (!err || err == -ENOENT)
			return err;
	}
	return lm_get_locked(&key, value);
}

static __always_inline int lm_get_8(struct lockmap *map, const void *data, void *value)
{
	struct lm_key key = lm_key_8(map, data);
	int err;

	lm_read_lock();
	err = lm_read_value(&key, lm_find(&key), value);
	lm_read_unlock();
	return err;
}

int lockmap_get(struct lockmap *map, const void *data, size_t len, void *value)
{
	int err;

	might_sleep();
	if (lm_key_is_8(map, data, len) && likely(map->plain_value)) {
		err = lm_get_8(map, data, value);
		if (likely(!err || err == -ENOENT))
			return err;
	}
	return lm_get_any(map, data, len, value);
}
EXPORT_SYMBOL_GPL(lockmap_get);

/*
 * Waiting for the key is out of the question, for its holder is the caller, or
 * waits for the caller. So nobody changes what we look at; unless one of the
 * circle gave up since, and then its word tells. Or too many wait in a row: then
 * it is as the holder left it when it went to sleep, or is just changing it.
 */
static bool lm_stuck_has_value(struct lm_key *key)
{
	struct lockmap_entry *entry;
	bool has_value;

	rcu_read_lock();
	do {
		entry = lm_find(key);
		if (!entry)
			has_value = false;
		else if (key->word & LM_LOCKED)
			/* A holder that is not stuck may be writing it: either will do. */
			has_value = data_race(READ_ONCE(entry->has_value));
		else
			has_value = key->word & LM_VALUE;
	} while (entry && !lm_unchanged(key, entry));
	rcu_read_unlock();
	return has_value;
}

bool lockmap_contains(struct lockmap *map, const void *data, size_t len)
{
	int err = lockmap_get(map, data, len, NULL);
	struct lm_key key;

	if (err == -EDEADLK && !lm_key_init(&key, map, data, len))
		return lm_stuck_has_value(&key);
	return !err;
}
EXPORT_SYMBOL_GPL(lockmap_contains);

int lockmap_insert(struct lockmap *map, const void *key, size_t len, const void *value, void *old)
{
	struct lockmap_entry *entry = lm_lock(map, key, len, true, &lm_how_wait);
	int replaced;

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	replaced = lockmap_entry_insert(entry, value, old);
	lm_release(entry, _RET_IP_);
	return replaced;
}
EXPORT_SYMBOL_GPL(lockmap_insert);

int lockmap_remove(struct lockmap *map, const void *data, size_t len, void *old)
{
	struct lockmap_entry *entry = lm_lock(map, data, len, false, &lm_how_wait);
	bool removed;

	if (IS_ERR_OR_NULL(entry))
		return entry ? PTR_ERR(entry) : -ENOENT;
	removed = lockmap_entry_remove(entry, old);
	lm_release(entry, _RET_IP_);
	return removed ? 0 : -ENOENT;
}
EXPORT_SYMBOL_GPL(lockmap_remove);

size_t lockmap_len(struct lockmap *map)
{
	long len = 0;
	int cpu;

	if (IS_ERR_OR_NULL(map))
		return 0;
	for_each_possible_cpu(cpu)
		len += atomic_long_read(&per_cpu_ptr(map->cpu, cpu)->values);
	return max(len, 0L);
}
EXPORT_SYMBOL_GPL(lockmap_len);

bool lockmap_is_empty(struct lockmap *map)
{
	return !lockmap_len(map);
}
EXPORT_SYMBOL_GPL(lockmap_is_empty);

/*
 * Batches
 */

static __always_inline int lm_key_cmp(const struct lockmap *map, enum lm_key_kind kind,
				      const struct lockmap_key *a, const struct lockmap_key *b)
{
	return kind == LM_KEY_8 ? lm_cmp_8(a->data, b->data) :
				  lm_cmp(map, a->data, a->len, b->data, b->len);
}

static int lm_batch_cmp(const void *a, const void *b, const void *priv)
{
	const struct lockmap *map = priv;

	return lm_key_cmp(map, map->key_kind, *(const struct lockmap_key * const *)a,
			  *(const struct lockmap_key * const *)b);
}

/* Few numbers: by counting the smaller ones, without a branch that depends on them. */
static void lm_batch_sort_8(const struct lockmap_key **sorted, const struct lockmap_key *keys,
			    unsigned int n)
{
	u64 num[LM_BATCH_FEW];
	u8 rank[LM_BATCH_FEW];
	unsigned int i, j;

	for (i = 0; i < n; i++) {
		num[i] = get_unaligned_be64(keys[i].data);
		rank[i] = 0;
		for (j = 0; j < i; j++) {
			bool after = num[j] <= num[i];

			rank[i] += after;
			rank[j] += !after;
		}
	}
	for (i = 0; i < n; i++)
		sorted[rank[i]] = &keys[i];
}

static void lm_batch_sort(const struct lockmap *map, const struct lockmap_key **sorted,
			  const struct lockmap_key *keys, unsigned int n)
{
	const struct lockmap_key *key;
	unsigned int i, j;

	if (map->key_kind == LM_KEY_8 && n <= LM_BATCH_FEW) {
		lm_batch_sort_8(sorted, keys, n);
		return;
	}
	for (i = 0; i < n; i++)
		sorted[i] = &keys[i];
	if (n > 2 * LM_BATCH_FEW) {
		sort_r(sorted, n, sizeof(*sorted), lm_batch_cmp, NULL, map);
		return;
	}
	/* By insertion. */
	for (i = 1; i < n; i++) {
		key = sorted[i];
		for (j = i; j && lm_batch_cmp(&key, &sorted[j - 1], map) < 0; j--)
			sorted[j] = sorted[j - 1];
		sorted[j] = key;
	}
}

/*
 * For lockdep a batch is its first and its last key: whoever locks more has to
 * be beyond the last, and had to be before the first. It could not keep track of
 * more than 48.
 */
static void lm_batch_annotate(struct lockmap_batch *batch, bool try, unsigned long ip)
{
	if (batch->nr)
		lm_annotate(batch->entries[0], try, ip);
	if (batch->nr > 1)
		lm_annotate(batch->entries[batch->nr - 1], try, ip);
}

/*
 * A small batch, when it is done with, is kept for the next: as a rule on the same
 * CPU, but any may take it.
 */
static struct lockmap_batch *lm_batch_alloc(unsigned int n, gfp_t gfp)
{
	size_t size = struct_size_t(struct lockmap_batch, entries, max(n, LM_BATCH_SPARE));
	struct lockmap_batch *batch = NULL;

	/* kvmalloc() complains of more than INT_MAX bytes, and without reclaim it cannot map. */
	if (size > INT_MAX)
		return NULL;
	if (n <= LM_BATCH_SPARE)
		batch = xchg(raw_cpu_ptr(&lm_spare_batch), NULL);
	if (batch)
		return batch;
	if (size <= PAGE_SIZE || !gfpflags_allow_blocking(gfp))
		batch = kmalloc(size, gfp);
	else
		batch = kvmalloc(size, gfp);
	if (batch)
		batch->max = max(n, LM_BATCH_SPARE);
	return batch;
}

static void lm_batch_free(struct lockmap_batch *batch)
{
	if (batch->max > LM_BATCH_SPARE || cmpxchg(raw_cpu_ptr(&lm_spare_batch), NULL, batch))
		kvfree(batch);
}

static void lm_batch_unlock(struct lockmap_batch *batch, unsigned long ip)
{
	while (batch->nr)
		lm_release(batch->entries[--batch->nr], ip);
	lm_batch_free(batch);
}

static struct lockmap_batch *lm_batch_new(struct lockmap *map, const struct lockmap_key *keys,
					  unsigned int n, gfp_t gfp)
{
	const struct lockmap_key **sorted;
	struct lockmap_batch *batch;
	unsigned int i;

	if (IS_ERR_OR_NULL(map) || (n && !keys))
		return ERR_PTR(-EINVAL);
	for (i = 0; i < n; i++) {
		if (!keys[i].data || !lm_len_ok(map, keys[i].len))
			return ERR_PTR(lm_key_refused(map, keys[i].data, keys[i].len));
	}
	batch = lm_batch_alloc(n, gfp);
	if (!batch)
		return ERR_PTR(-ENOMEM);
	batch->map = map;
	batch->nr = 0;
	/* What is to be locked, until it is locked, is kept where the entries will be. */
	sorted = (const struct lockmap_key **)batch->entries;
	lm_batch_sort(map, sorted, keys, n);
	return batch;
}

/*
 * Have the memory that some keys are in come, while we look at the first of them:
 * the buckets, then what the buckets point to.
 */
static void lm_batch_prefetch(struct lockmap *map, const struct lockmap_key *const *keys,
			      unsigned int n)
{
	struct rhash_lock_head __rcu *const *buckets[LM_BATCH_WINDOW];
	struct rhash_head *node;
	struct lm_key key;
	unsigned int i;

	/* The hash of other keys is too dear to be taken twice. */
	if (map->key_kind != LM_KEY_8 || n < 2)
		return;
	rcu_read_lock();
	for (i = 0; i < n; i++) {
		key = lm_key_8(map, keys[i]->data);
		buckets[i] = lm_bucket(&key);
		prefetch(buckets[i]);
	}
	for (i = 0; i < n; i++) {
		node = rht_ptr_rcu(buckets[i]);
		if (!rht_is_a_nulls(node))
			prefetchw(node);
	}
	rcu_read_unlock();
}

/*
 * Lock the keys of a batch, in their order, each once. No entry comes to lie in the
 * array on a key that is still to be looked at.
 */
static int lm_batch_lock_sorted(struct lockmap_batch *batch, unsigned int n,
				const struct lm_how *how)
{
	const struct lockmap_key **keys = (const struct lockmap_key **)batch->entries;
	const struct lockmap_key *key, *last = NULL;
	struct lockmap *map = batch->map;
	struct lockmap_entry *entry;
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (i % LM_BATCH_WINDOW == 0)
			lm_batch_prefetch(map, keys + i, min(n - i, LM_BATCH_WINDOW));
		key = keys[i];
		if (last && !lm_key_cmp(map, map->key_kind, last, key))
			continue;
		entry = lm_lock_one(map, key->data, key->len, true, how);
		if (IS_ERR(entry))
			return PTR_ERR(entry);
		batch->entries[batch->nr++] = entry;
		last = key;
	}
	return 0;
}

static struct lockmap_batch *lm_batch_lock(struct lockmap *map, const struct lockmap_key *keys,
					   unsigned int n, struct lm_how how)
{
	struct lockmap_batch *batch;
	int err;

	how.batch = true;
	batch = lm_batch_new(map, keys, n, IS_ERR_OR_NULL(map) ? 0 : lm_gfp(map, &how));
	if (IS_ERR(batch))
		return batch;
	err = lm_batch_lock_sorted(batch, n, &how);
	if (err) {
		lm_batch_unlock(batch, _RET_IP_);
		return ERR_PTR(err);
	}
	lm_batch_annotate(batch, how.try, _RET_IP_);
	return batch;
}

struct lockmap_batch *lockmap_batch_lock(struct lockmap *map, const struct lockmap_key *keys,
					 unsigned int n)
{
	return lm_batch_lock(map, keys, n, lm_how_wait);
}
EXPORT_SYMBOL_GPL(lockmap_batch_lock);

struct lockmap_batch *lockmap_batch_lock_interruptible(struct lockmap *map,
						       const struct lockmap_key *keys,
						       unsigned int n)
{
	return lm_batch_lock(map, keys, n, lm_how_interruptible);
}
EXPORT_SYMBOL_GPL(lockmap_batch_lock_interruptible);

struct lockmap_batch *lockmap_batch_lock_killable(struct lockmap *map,
						  const struct lockmap_key *keys, unsigned int n)
{
	return lm_batch_lock(map, keys, n, lm_how_killable);
}
EXPORT_SYMBOL_GPL(lockmap_batch_lock_killable);

struct lockmap_batch *lockmap_batch_lock_timeout(struct lockmap *map,
						 const struct lockmap_key *keys, unsigned int n,
						 unsigned long timeout)
{
	return lm_batch_lock(map, keys, n, lm_how_timeout(timeout));
}
EXPORT_SYMBOL_GPL(lockmap_batch_lock_timeout);

struct lockmap_batch *lockmap_batch_trylock(struct lockmap *map, const struct lockmap_key *keys,
					    unsigned int n)
{
	return lm_batch_lock(map, keys, n, lm_how_try);
}
EXPORT_SYMBOL_GPL(lockmap_batch_trylock);

void lockmap_batch_unlock(struct lockmap_batch *batch)
{
	if (!IS_ERR_OR_NULL(batch))
		lm_batch_unlock(batch, _RET_IP_);
}
EXPORT_SYMBOL_GPL(lockmap_batch_unlock);

static int lm_batch_find(const void *data, const void *elt)
{
	const struct lm_key *key = data;
	const struct lockmap_entry *entry = *(struct lockmap_entry * const *)elt;
	const u8 *entry_data;
	u32 len;

	entry_data = lm_entry_key_rcu(key->map, entry, &len);
	return lm_cmp(key->map, key->data, key->len, entry_data, len);
}

struct lockmap_entry *lockmap_batch_entry(struct lockmap_batch *batch, const void *data, size_t len)
{
	struct lockmap_entry **found;
	struct lm_key key;

	if (IS_ERR_OR_NULL(batch) || lm_key_init(&key, batch->map, data, len))
		return NULL;
	found = bsearch(&key, batch->entries, batch->nr, sizeof(*found), lm_batch_find);
	return found ? *found : NULL;
}
EXPORT_SYMBOL_GPL(lockmap_batch_entry);

/*
 * Walks
 *
 * rhashtable's own walk may show an object twice. Ours goes over the keys in
 * an order that no resizing changes: by the hash with its bits reversed, then
 * by key. A bucket is picked by the low bits of the hash, so that in whatever
 * table, the keys of one bucket follow each other in this order (as in Redis'
 * SCAN). The cursor is the last key visited. As it only goes forward, no key is
 * visited twice; as no key's place changes, none is left out.
 */

struct lm_cursor {
	u64 mask;		/* only entries whose word, under this mask, ... */
	u64 want;		/* ... has these bits, or any of the mask's if this is 0 */
	u64 pos;		/* the reversed hash to go on with; 2^32: done */
	u64 end;		/* how far to look now; what is beyond has not been looked at */
	bool after_key;		/* of those with this hash, only what comes after the key */
	u32 len;
	u8 *key;		/* the last key found */
	u8 *next;		/* another buffer for one */
	u8 small[2][LM_INLINE_KEY];
};

/* The best candidate so far for the next key, and its word before it was looked at. */
struct lm_candidate {
	struct lockmap_entry *entry;
	u64 word;
	u64 pos;
};

static void lm_cursor_init(struct lm_cursor *cursor, const struct lockmap *map, u64 mask, u64 want)
{
	gfp_t gfp = gfpflags_allow_blocking(map->params.gfp) ? map->params.gfp : GFP_NOIO;

	*cursor = (struct lm_cursor) { .mask = mask, .want = want };
	cursor->key = cursor->small[0];
	cursor->next = cursor->small[1];
	if (map->key_len <= LM_INLINE_KEY)
		return;
	/* Two pages at the most, for which a walk can wait. */
	cursor->key = kmalloc(2 * map->key_len, gfp | __GFP_NOFAIL);
	cursor->next = cursor->key + map->key_len;
}

static void lm_cursor_free(struct lm_cursor *cursor)
{
	if (cursor->key != cursor->small[0] && cursor->key != cursor->small[1])
		kfree(min(cursor->key, cursor->next));
}

/* Whether an entry comes after the cursor, and before the best one so far. */
static bool lm_is_next(const struct lockmap *map, const struct lm_cursor *cursor,
		       const struct lm_candidate *best, const struct lockmap_entry *entry, u64 pos)
{
	const u8 *data, *other;
	u32 len, other_len;

	if (pos < cursor->pos || pos >= cursor->end || (best->entry && pos > best->pos))
		return false;
	data = lm_entry_key_rcu(map, entry, &len);
	if (cursor->after_key && pos == cursor->pos &&
	    lm_cmp(map, data, len, cursor->key, cursor->len) <= 0)
		return false;
	if (!best->entry || pos < best->pos)
		return true;
	other = lm_entry_key_rcu(map, best->entry, &other_len);
	return lm_cmp(map, data, len, other, other_len) < 0;
}

static void lm_scan_bucket(const struct lockmap *map, const struct lm_cursor *cursor,
			   const struct bucket_table *tbl, u32 hash, struct lm_candidate *best)
{
	struct rhash_lock_head __rcu *const *bucket = rht_bucket(tbl, hash & (tbl->size - 1));
	const struct lm_candidate before = *best;
	struct lockmap_entry *entry;
	struct rhash_head *node;
	u64 word, pos;

	do {
		*best = before;
		rht_for_each_rcu_from(node, rht_ptr_rcu(bucket), tbl, hash) {
			entry = container_of(node, struct lockmap_entry, node);
			/* (C) the word before the key; pairs with lm_entry_publish(). */
			word = atomic64_read_acquire(&entry->lock.word);
			if (!(word & cursor->mask) ||
			    (cursor->want && (word & cursor->mask) != cursor->want))
				continue;
			pos = bitrev32(READ_ONCE(entry->hash));
			/* lm_cursor_take() finds out if it changed meanwhile. */
			if (data_race(lm_is_next(map, cursor, best, entry, pos)))
				*best = (struct lm_candidate) { entry, word, pos };
		}
	} while (unlikely(node != RHT_NULLS_MARKER(bucket)));
}

/* Look at the buckets of one table from the cursor on, up to its end or the first candidate. */
static void lm_scan_table(const struct lockmap *map, const struct lm_cursor *cursor,
			  const struct bucket_table *tbl, struct lm_candidate *best)
{
	unsigned int shift = 32 - ilog2(tbl->size);
	u64 i;

	for (i = cursor->pos >> shift; i << shift < cursor->end; i++) {
		if (best->entry && i << shift > best->pos)
			break;
		lm_scan_bucket(map, cursor, tbl, bitrev32(i << shift), best);
	}
}

/* Copy the candidate's key and make it the cursor's, if it still is that key. */
static bool lm_cursor_take(const struct lockmap *map, struct lm_cursor *cursor,
			   const struct lm_candidate *best)
{
	const u8 *data;
	u32 len;

	data = lm_entry_key_rcu(map, best->entry, &len);
	/* If it changes meanwhile, so does the word. */
	data_race(memcpy(cursor->next, data, len));
	/* (C) the key before the word again. */
	smp_rmb();
	if (atomic64_read(&best->entry->lock.word) != best->word)
		return false;
	swap(cursor->key, cursor->next);
	cursor->len = len;
	cursor->pos = best->pos;
	cursor->after_key = true;
	return true;
}

/* Move the cursor to the next key of a shard. Return: false when there is none. */
static bool lm_cursor_next(const struct lockmap *map, struct lm_shard *shard,
			   struct lm_cursor *cursor)
{
	struct rhashtable *table = &shard->table;
	struct lm_candidate best;
	struct bucket_table *tbl;
	unsigned int shift;
	bool found = false;

	while (!found && cursor->pos <= U32_MAX) {
		best.entry = NULL;
		rcu_read_lock();
		tbl = rht_dereference_rcu(table->tbl, table);
		shift = 32 - ilog2(tbl->size);
		cursor->end = min_t(u64, ((cursor->pos >> shift) + LM_WALK_WINDOW) << shift,
				    BIT_ULL(32));
		do {
			lm_scan_table(map, cursor, tbl, &best);
			/* As in lm_find(). */
			smp_rmb();
			tbl = rht_dereference_rcu(tbl->future_tbl, table);
		} while (tbl);
		if (best.entry) {
			found = lm_cursor_take(map, cursor, &best);
		} else {
			cursor->pos = cursor->end;
			cursor->after_key = false;
		}
		rcu_read_unlock();
		cond_resched();
	}
	return found;
}

/* How many keys are held by the caller, or by anybody if @self is 0; or just whether any is. */
static unsigned int lm_count_held(struct lockmap *map, u64 self, bool any)
{
	u64 mask = self ? LM_LOCKED | LM_OWNER : LM_LOCKED;
	struct lm_cursor cursor;
	unsigned int i, held = 0;

	for (i = 0; i < map->nr_shards && !(any && held); i++) {
		lm_cursor_init(&cursor, map, mask, self ? self | LM_LOCKED : 0);
		while (!(any && held) && lm_cursor_next(map, &map->shards[i], &cursor))
			held++;
		lm_cursor_free(&cursor);
	}
	return held;
}

typedef int (*lm_visit_t)(struct lockmap_entry *entry, void *arg);

/* Lock the key that the cursor is at and visit it, if it has a value (still). */
static int lm_walk_visit(struct lockmap *map, const struct lm_cursor *cursor, lm_visit_t visit,
			 void *arg)
{
	struct lm_key key = lm_key(map, map->key_kind, cursor->key, cursor->len);
	struct lockmap_entry *entry;
	int err = 0;

	key.hash = bitrev32(cursor->pos);
	entry = lm_lock_key(&key, NULL, false, false, &lm_how_wait);
	if (IS_ERR_OR_NULL(entry))
		return PTR_ERR_OR_ZERO(entry);
	lm_annotate(entry, false, _RET_IP_);
	if (entry->has_value)
		err = visit(entry, arg);
	lm_release(entry, _RET_IP_);
	return err;
}

static int lm_walk_shard(struct lockmap *map, struct lm_shard *shard, lm_visit_t visit, void *arg)
{
	struct lm_cursor cursor;
	int err = 0;

	/* Held ones as well: they may turn out to have a value. */
	lm_cursor_init(&cursor, map, LM_LOCKED | LM_VALUE, 0);
	while (!err && lm_cursor_next(map, shard, &cursor))
		err = lm_walk_visit(map, &cursor, visit, arg);
	lm_cursor_free(&cursor);
	return err;
}

static int lm_walk(struct lockmap *map, lm_visit_t visit, void *arg)
{
	unsigned int i;
	int err = 0;

	might_sleep();
	/* A walk would come to wait for the caller itself; say so before it changes anything. */
	if (lm_count_held(map, lm_self(), true))
		return -EDEADLK;
	for (i = 0; !err && i < map->nr_shards; i++)
		err = lm_walk_shard(map, &map->shards[i], visit, arg);
	return err;
}

struct lm_for_each {
	int (*fn)(const void *key, size_t len, void *value, void *arg);
	void *arg;
};

static int lm_visit_for_each(struct lockmap_entry *entry, void *arg)
{
	const struct lm_for_each *each = arg;
	size_t len;
	const void *key = lockmap_entry_key(entry, &len);

	return each->fn(key, len, entry->data, each->arg);
}

int lockmap_for_each(struct lockmap *map,
		     int (*fn)(const void *key, size_t len, void *value, void *arg), void *arg)
{
	struct lm_for_each each = { .fn = fn, .arg = arg };

	if (IS_ERR_OR_NULL(map) || !fn)
		return -EINVAL;
	return lm_walk(map, lm_visit_for_each, &each);
}
EXPORT_SYMBOL_GPL(lockmap_for_each);

struct lm_retain {
	bool (*keep)(const void *key, size_t len, void *value, void *arg);
	void *arg;
};

static int lm_visit_retain(struct lockmap_entry *entry, void *arg)
{
	const struct lm_retain *retain = arg;
	size_t len;
	const void *key = lockmap_entry_key(entry, &len);

	if (!retain->keep(key, len, entry->data, retain->arg))
		lockmap_entry_remove(entry, NULL);
	return 0;
}

int lockmap_retain(struct lockmap *map,
		   bool (*keep)(const void *key, size_t len, void *value, void *arg), void *arg)
{
	struct lm_retain retain = { .keep = keep, .arg = arg };

	if (IS_ERR_OR_NULL(map) || !keep)
		return -EINVAL;
	return lm_walk(map, lm_visit_retain, &retain);
}
EXPORT_SYMBOL_GPL(lockmap_retain);

static int lm_visit_clear(struct lockmap_entry *entry, void *arg)
{
	lockmap_entry_remove(entry, NULL);
	return 0;
}

int lockmap_clear(struct lockmap *map)
{
	if (IS_ERR_OR_NULL(map))
		return -EINVAL;
	return lm_walk(map, lm_visit_clear, NULL);
}
EXPORT_SYMBOL_GPL(lockmap_clear);

#include "lockmap_debugfs.h"

/*
 * Maps
 */

static const char *lm_params_fault(const struct lockmap_params *p)
{
	if (!p->name || !*p->name)
		return "no name";
	if (!p->key_len || p->key_len > LOCKMAP_MAX_KEY_LEN)
		return "key_len is not 1 to LOCKMAP_MAX_KEY_LEN";
	if (p->value_len > LM_MAX_VALUE_LEN)
		return "value_len is too large";
	if (p->flags & ~LOCKMAP_VAR_KEY)
		return "unknown flags";
	if (!lm_gfp_ok(p->gfp))
		return "gfp has __GFP_ZERO, __GFP_NOFAIL, a zone, or unknown flags";
	if (p->nr_shards > LOCKMAP_MAX_SHARDS)
		return "nr_shards is more than LOCKMAP_MAX_SHARDS";
	return NULL;
}

static void lm_set_layout(struct lockmap *map)
{
	const struct lockmap_params *p = &map->params;
	bool var = p->flags & LOCKMAP_VAR_KEY;
	unsigned int align;

	map->key_len = p->key_len;
	if (var && p->key_len > LM_INLINE_KEY)
		map->key_kind = LM_KEY_LONG;
	else if (p->cmp)
		map->key_kind = LM_KEY_CUSTOM;
	else if (var || p->hash || (p->key_len != sizeof(u64) && p->key_len != sizeof(u32)))
		map->key_kind = LM_KEY_BYTES;
	else
		map->key_kind = p->key_len == sizeof(u64) ? LM_KEY_8 : LM_KEY_4;

	/* As what a key of this size may be needs it; bytes need nothing. */
	if (map->key_kind == LM_KEY_LONG)
		align = sizeof(void *);
	else
		align = var ? 1 : min_t(size_t, p->key_len & -p->key_len, LOCKMAP_VALUE_ALIGN);
	map->key_offset = ALIGN(p->value_len, align);
	map->plain_value = !p->clone && p->value_len <= LM_PLAIN_VALUE;
}

static size_t lm_entry_size(const struct lockmap *map)
{
	return sizeof(struct lockmap_entry) + map->key_offset +
	       (map->key_kind == LM_KEY_LONG ? sizeof(void *) : map->key_len);
}

/*
 * As many idle entries as fit into a part of memory. Few if they are charged to a
 * cgroup: what its limit reclaims of them is nothing, for the shrinker is not of cgroups.
 */
static unsigned int lm_idle_default(const struct lockmap *map)
{
	size_t size = lm_entry_size(map);
	u64 part;

	if (map->key_kind == LM_KEY_LONG)
		size += sizeof(struct lm_long_key) + map->key_len;
	if (map->params.gfp & __GFP_ACCOUNT)
		return LM_RING_FIRST;
	part = div_u64((u64)totalram_pages() << PAGE_SHIFT, LM_IDLE_PART);
	return clamp_t(u64, div_u64(part, size), LM_RING_FIRST, LM_IDLE_MOST);
}

static int lm_cache_init(struct lockmap *map)
{
	const struct lockmap_params *p = &map->params;
	size_t size = lm_entry_size(map);
	static atomic_t nr;
	char *name;

	/* Maps may have one name, caches may not. */
	name = kasprintf(GFP_KERNEL, "lockmap-%s-%d", p->name, atomic_inc_return(&nr));
	if (!name)
		return -ENOMEM;
	map->cache = lm_cache_create(name, size, __alignof__(struct lockmap_entry),
				     offsetof(struct lockmap_entry, data), p->value_len);
	kfree(name);
	return map->cache ? 0 : -ENOMEM;
}

static int lm_rings_init(struct lockmap *map)
{
	unsigned int idle = map->params.max_idle, i;

	map->nr_rings = min_t(unsigned int, map->nr_shards, rounddown_pow_of_two(idle));
	map->rings = kvcalloc(map->nr_rings, sizeof(*map->rings), GFP_KERNEL);
	if (!map->rings)
		return -ENOMEM;
	for (i = 0; i < map->nr_rings; i++) {
		struct lm_ring *ring = &map->rings[i];

		atomic_set(&ring->hand, -1);
		ring->limit = min(idle / map->nr_rings, LM_RING_FIRST << (LM_RING_CHUNKS - 1));
		ring->room = min(ring->limit, max(LM_RING_FIRST, LM_IDLE_FIRST / map->nr_rings));
		/* One chunk at least, so that there always is a slot. */
		if (!lm_ring_grow(ring, 0, GFP_KERNEL))
			return -ENOMEM;
	}
	return 0;
}

static void lm_rings_free(struct lockmap *map)
{
	unsigned int i, n;

	for (i = 0; map->rings && i < map->nr_rings; i++) {
		for (n = 0; n < LM_RING_CHUNKS; n++)
			kfree(map->rings[i].chunk[n]);
	}
	kvfree(map->rings);
}

static void lm_free_entry(void *ptr, void *arg)
{
	struct lockmap_entry *entry = ptr;

	atomic64_set(&entry->lock.word, lm_dead(0));
	lm_entry_free(entry);
}

static void lm_shard_free(struct work_struct *work)
{
	struct lm_shard *shard = container_of(work, struct lm_shard, free);

	rhashtable_free_and_destroy(&shard->table, lm_free_entry, NULL);
}

/*
 * All at once: with PREEMPT_RT, and where irq_work has no interrupt of its own,
 * rhashtable waits for a grace period of RCU for each.
 */
static void lm_shards_free(struct lockmap *map)
{
	unsigned int i;

	/* Memory reclaim may wait for the caller, which then cannot wait for other workers. */
	if (current->flags & (PF_WQ_WORKER | PF_MEMALLOC)) {
		for (i = 0; i < map->nr_shards; i++)
			lm_shard_free(&map->shards[i].free);
		return;
	}
	for (i = 0; i < map->nr_shards; i++)
		queue_work(lm_free_wq, &map->shards[i].free);
	for (i = 0; i < map->nr_shards; i++)
		flush_work(&map->shards[i].free);
}

static int lm_shards_init(struct lockmap *map, unsigned int nr)
{
	struct rhashtable_params params;
	int err;

	params = map->params.hash ? lm_rht_params_custom : lm_rht_params;
	params.nelem_hint = min_t(size_t, map->params.nelem_hint / nr, U16_MAX);
	for (map->nr_shards = 0; map->nr_shards < nr; map->nr_shards++) {
		struct lm_shard *shard = &map->shards[map->nr_shards];

		err = rhashtable_init(&shard->table, &params);
		if (err)
			return err;
		init_waitqueue_head(&shard->wq);
		INIT_WORK(&shard->free, lm_shard_free);
	}
	return 0;
}

/* Free a map that nobody uses, whole or half made. */
static void lm_free(struct lockmap *map)
{
	lm_debugfs_remove(map);
	if (map->shrinker)
		lm_shrinker_destroy(map->shrinker);
	/* Those who have just unlocked a key may still be at the wait queue or at a ring. */
	synchronize_rcu();
	lm_shards_free(map);
	lm_rings_free(map);
	kmem_cache_destroy(map->cache);
	free_percpu(map->cpu);
	lockdep_unregister_key(&map->lock_key);
	kfree(map->params.name);
	kvfree(map);
}

static int lm_init(struct lockmap *map, unsigned int nr_shards)
{
	struct lockmap_params *p = &map->params;
	int err;

	p->name = kstrdup(p->name, GFP_KERNEL);
	if (!p->name)
		return -ENOMEM;
	p->gfp = p->gfp ?: GFP_KERNEL;
	map->shard_shift = 31 - ilog2(nr_shards);
	get_random_bytes(&map->hash_key, sizeof(map->hash_key));
	lm_set_layout(map);
	p->max_idle = p->max_idle ?: lm_idle_default(map);

	map->cpu = alloc_percpu(struct lm_cpu);
	if (!map->cpu)
		return -ENOMEM;
	err = lm_cache_init(map) ?: lm_shards_init(map, nr_shards) ?: lm_rings_init(map);
	if (err)
		return err;
	map->shrinker = lm_shrinker_create(p->name, map, lm_shrink_count, lm_shrink_scan);
	return map->shrinker ? 0 : -ENOMEM;
}

struct lockmap *__lockmap_create(const struct lockmap_params *params, struct module *owner)
{
	const char *fault = params ? lm_params_fault(params) : "no parameters";
	unsigned int nr_shards;
	struct lockmap *map;
	int err;

	if (fault) {
		pr_err_ratelimited("%s: cannot create: %s\n",
				   params && params->name ? params->name : "(no name)", fault);
		return ERR_PTR(-EINVAL);
	}
	might_sleep();
	nr_shards = roundup_pow_of_two(params->nr_shards ?: 4 * num_possible_cpus());
	map = kvzalloc(struct_size(map, shards, nr_shards), GFP_KERNEL);
	if (!map)
		return ERR_PTR(-ENOMEM);
	map->params = *params;
	map->owner = owner;
	lockdep_register_key(&map->lock_key);
	err = lm_init(map, nr_shards);
	if (err) {
		lm_free(map);
		return ERR_PTR(err);
	}
	lm_debugfs_add(map);
	mutex_lock(&lm_maps_lock);
	list_add(&map->node, &lm_maps);
	mutex_unlock(&lm_maps_lock);
	return map;
}
EXPORT_SYMBOL_GPL(__lockmap_create);

static void lm_forget_callbacks(struct lockmap *map)
{
	/* Whoever reads its files compares keys. Readers do not take lm_maps_lock. */
	lm_debugfs_remove(map);
	map->params.clone = NULL;
	map->params.release = NULL;
}

void lockmap_destroy(struct lockmap *map)
{
	unsigned int held;

	if (IS_ERR_OR_NULL(map))
		return;
	might_sleep();
	held = lm_count_held(map, 0, false);
	if (WARN(held, "lockmap: %s: destroyed with %u keys held; leaked\n", map->params.name,
		 held)) {
		mutex_lock(&lm_maps_lock);
		map->leaked = true;
		mutex_unlock(&lm_maps_lock);
		return;
	}
	/* Here, not where the tables are freed: in the caller's context. */
	if (map->params.release)
		lm_walk(map, lm_visit_clear, NULL);
	mutex_lock(&lm_maps_lock);
	list_del(&map->node);
	mutex_unlock(&lm_maps_lock);
	lm_free(map);
}
EXPORT_SYMBOL_GPL(lockmap_destroy);

/* A module goes and leaves a map behind, whose callbacks go with it. */
static int lm_module_notify(struct notifier_block *nb, unsigned long action, void *data)
{
	const struct module *mod = data;
	struct lockmap *map;

	if (action != MODULE_STATE_GOING)
		return NOTIFY_DONE;
	mutex_lock(&lm_maps_lock);
	list_for_each_entry(map, &lm_maps, node) {
		if (map->owner != mod)
			continue;
		WARN(!map->leaked, "lockmap: %s: not destroyed by %s, which is gone; leaked\n",
		     map->params.name, mod->name);
		lm_forget_callbacks(map);
		map->owner = NULL;
	}
	mutex_unlock(&lm_maps_lock);
	return NOTIFY_OK;
}

static struct notifier_block lm_module_nb = { .notifier_call = lm_module_notify };

static int __init lockmap_init(void)
{
	int err;

	lm_free_wq = alloc_workqueue("lockmap", WQ_UNBOUND, 0);
	if (!lm_free_wq)
		return -ENOMEM;
	err = register_module_notifier(&lm_module_nb);
	if (err) {
		destroy_workqueue(lm_free_wq);
		return err;
	}
	lm_debugfs = debugfs_create_dir("lockmap", NULL);
	return 0;
}

/* Nobody is left who could use the maps that were leaked. */
static void __exit lockmap_exit(void)
{
	struct lockmap *map, *next;
	unsigned int cpu;

	unregister_module_notifier(&lm_module_nb);
	list_for_each_entry_safe(map, next, &lm_maps, node) {
		pr_warn("%s: leaked before, freed now\n", map->params.name);
		lm_forget_callbacks(map);
		lm_free(map);
	}
	for_each_possible_cpu(cpu)
		kfree(per_cpu(lm_spare_batch, cpu));
	debugfs_remove(lm_debugfs);
	destroy_workqueue(lm_free_wq);
}

/* If built in, before those who use it. */
subsys_initcall(lockmap_init);
module_exit(lockmap_exit);
MODULE_DESCRIPTION("Hash map in which every key has its own lock");
MODULE_AUTHOR("The lockmap authors");
MODULE_LICENSE("Dual MIT/GPL");
MODULE_VERSION("0.1.0");
