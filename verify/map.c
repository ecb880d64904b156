// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Models of the map: the functions of lockmap.c that find, lock, wait for, retire
 * and bury entries, as they are (lines.awk takes them out of the source), over a
 * slab that gives memory away again at once, a table of two chains that does not
 * grow, and a ring of one slot, in which each new idle entry evicts the last, or
 * which refuses it: the models try both.
 */
#include "shim.h"
#include "lockmap_lock.h"
#include "lockmap_deadlock.h"

/* Messages are not modelled. */
static inline void lm_circle_found(struct lm_waiter *waiter, bool closed)
{
}

#define IS_ERR(ptr)		((uintptr_t)(ptr) >= (uintptr_t)-4095)
#define PTR_ERR(ptr)		((int)(intptr_t)(ptr))
#define ERR_PTR(err)		((void *)(intptr_t)(err))
#define LM_RING_CHANCES		2
#define NR_ENTRIES		4
#define NR_BUCKETS		2
#define NR_QUEUES		2
#define GFP_KERNEL		0
#define __rcu

struct rhash_head {
	struct rhash_head *next;
};

/* Only ever a pointer to one of these, as in the kernel. */
struct rhash_lock_head;

struct bucket_table {
	unsigned int size;
	struct bucket_table *future_tbl;
	struct rhash_lock_head *head[NR_BUCKETS];
	spinlock_t lock[NR_BUCKETS];
};

struct rhashtable {
	struct bucket_table *tbl;
};

struct lm_shard {
	struct rhashtable table;
};

struct lm_ring {
	struct lockmap_entry *slot;
	int used;
};

struct lockmap {
	struct lm_shard shard;
	struct bucket_table tbl;
	wait_queue_head_t wq[NR_QUEUES];
	struct lm_ring ring;
	struct {
		void *hash;
		u32 value_len;
		gfp_t gfp;
	} params;
	void *cache;
};

/* @free, @old_readers: what the slab and RCU know of this memory. */
struct lockmap_entry {
	struct rhash_head node;
	struct lm_lock lock;
	struct lockmap *map;
	u32 hash;
	u16 len;
	bool has_value;
	bool annotated;
	u64 key;
	u64 data[2];
	bool free;
	u8 old_readers;
};

struct lm_key {
	struct lockmap *map;
	const void *data;
	u32 len;
	u32 hash;
	u64 word;
};

static struct lockmap map __world;
static struct lockmap_entry entries[NR_ENTRIES] __world;
/* Who has a key. */
static struct task_struct *holder[3] __world;
static bool late[MAX_TASKS] __world;

/*
 * RCU. Memory that was freed goes away when all who were in a read side section
 * at that time have left it. Who looks at it then has made a mistake.
 */

void ex_access(const void *where)
{
	size_t i = ((char *)where - (char *)entries) / sizeof(entries[0]);

	if (current && i < NR_ENTRIES && entries[i].free)
		ex_assert(entries[i].old_readers & (1 << (current - tasks)),
			  "looks at an entry that was freed (a use after free)");
}

void rcu_read_lock(void)
{
	current->rcu++;
}

void rcu_read_unlock(void)
{
	int i;

	if (--current->rcu)
		return;
	for (i = 0; i < NR_ENTRIES; i++)
		entries[i].old_readers &= ~(1 << (current - tasks));
}

const char *ex_name(const void *where)
{
	static const char *const names[] = { "entry 1", "entry 2", "entry 3", "entry 4" };
	size_t i = ((char *)where - (char *)entries) / sizeof(entries[0]);

	return i < NR_ENTRIES ? names[i] : NULL;
}

/* The slab: gives away again at once what was freed last. */

static void *kmem_cache_alloc(void *cache, gfp_t gfp)
{
	int i;

	for (i = 0; i < NR_ENTRIES; i++) {
		if (entries[i].free) {
			entries[i].free = false;
			entries[i].old_readers = 0;
			return &entries[i];
		}
	}
	ex_fail("the model has too few entries");
	return NULL;
}

static void lm_entry_free(struct lockmap_entry *entry)
{
	const struct list_head *node;
	const struct lm_waiter *waiter;
	int i;

	ex_step("free");
	ex_assert(!entry->free, "freed twice");
	ex_assert(entry->lock.word.v & LM_DEAD, "frees an entry that is not dead");
	ex_assert(!(entry->lock.word.v & (LM_LOCKED | LM_WAITERS)),
		  "frees an entry that is in use");
	ex_assert(map.ring.slot != entry, "frees an entry that is in the ring");
	for (i = 0; i < NR_QUEUES; i++) {
		for (node = map.wq[i].head.next; node != &map.wq[i].head; node = node->next) {
			waiter = container_of(node, struct lm_waiter, wait.entry);
			ex_assert(waiter->lock != &entry->lock, "frees an entry that has a waiter");
		}
	}
	entry->free = true;
	for (i = 0; i < nr_tasks; i++) {
		if (tasks[i].rcu)
			entry->old_readers |= 1 << i;
	}
}

#define kmem_cache_free(cache, entry)	lm_entry_free(entry)
#define lockdep_init_map(...)		do { } while (0)
#define lock_set_cmp_fn(...)		do { } while (0)
#define might_lock(lock)		do { } while (0)
#define lm_check_order(map, data, len)	do { } while (0)
#define lm_contention_begin(lock)	do { } while (0)
#define lm_contention_end(lock, err)	do { } while (0)
#define lm_count_wait(key, waiter, err)	do { } while (0)
#define lm_report_circle(key, circle)	do { } while (0)
#define lm_is_own(key)			(-EDEADLK)
#define trace_lockmap_contended(...)	do { } while (0)
#define trace_lockmap_reclaimed_enabled()	false
#define lm_trace_reclaimed(entry)	do { } while (0)
#define kfree(ptr)			do { } while (0)
/* Barriers between writes do nothing here: see litmus/. */
#define smp_wmb()			do { } while (0)
#define LM_READ_TRIES			2

/* The table: chains that end in a marker, and one lock for each. */

struct rhashtable_compare_arg {
	const void *key;
};

struct rhashtable_params {
	int (*obj_cmpfn)(struct rhashtable_compare_arg *arg, const void *obj);
};

static int lm_rht_obj_cmp(struct rhashtable_compare_arg *arg, const void *obj);
static const struct rhashtable_params lm_rht_params = { lm_rht_obj_cmp };
#define lm_rht_params_custom	lm_rht_params

#define rht_dereference_rcu(ptr, table)	(ptr)
#define rht_bucket(tbl, hash)		((struct rhash_lock_head *const *)&(tbl)->head[hash])
#define RHT_NULLS_MARKER(bucket)	((struct rhash_head *)((uintptr_t)(bucket) | 1))
#define rht_is_a_nulls(ptr)		((uintptr_t)(ptr) & 1)
#define rht_for_each_rcu_from(pos, first, tbl, hash)					\
	for (pos = (first); !rht_is_a_nulls(pos); pos = READ_ONCE(pos->next))

static struct rhash_head *rht_ptr_rcu(struct rhash_lock_head *const *bucket)
{
	return (struct rhash_head *)READ_ONCE(*bucket) ?: RHT_NULLS_MARKER(bucket);
}

static struct lm_shard *lm_shard(struct lockmap *map, u32 hash)
{
	return &map->shard;
}

/* Return: what has the key already, or NULL when @node was put in front of its chain. */
static void *rhashtable_lookup_get_insert_key(struct rhashtable *table, struct lm_key *key,
					      struct rhash_head *node,
					      struct rhashtable_params params)
{
	struct bucket_table *tbl = table->tbl;
	struct rhash_lock_head *const *bucket = rht_bucket(tbl, key->hash);
	struct rhashtable_compare_arg arg = { key };
	struct rhash_head *pos, *first;

	spin_lock(&tbl->lock[key->hash]);
	first = (struct rhash_head *)*bucket ?: RHT_NULLS_MARKER(bucket);
	for (pos = first; !rht_is_a_nulls(pos); pos = pos->next) {
		void *obj = container_of(pos, struct lockmap_entry, node);

		if (!params.obj_cmpfn(&arg, obj)) {
			spin_unlock(&tbl->lock[key->hash]);
			return obj;
		}
	}
	WRITE_ONCE(node->next, first);
	WRITE_ONCE(tbl->head[key->hash], (struct rhash_lock_head *)node);
	spin_unlock(&tbl->lock[key->hash]);
	return NULL;
}

static void rhashtable_remove_fast(struct rhashtable *table, struct rhash_head *node,
				   struct rhashtable_params params)
{
	u32 hash = container_of(node, struct lockmap_entry, node)->hash;
	struct bucket_table *tbl = table->tbl;
	struct rhash_lock_head *const *bucket = rht_bucket(tbl, hash);
	struct rhash_head *pos, *next = node->next;

	spin_lock(&tbl->lock[hash]);
	next = node->next;
	pos = (struct rhash_head *)*bucket;
	if (pos == node) {
		WRITE_ONCE(tbl->head[hash], rht_is_a_nulls(next) ? NULL :
			   (struct rhash_lock_head *)next);
	} else {
		while (pos && !rht_is_a_nulls(pos) && pos->next != node)
			pos = pos->next;
		ex_assert(pos && !rht_is_a_nulls(pos), "removes what is not in the table");
		WRITE_ONCE(pos->next, next);
	}
	spin_unlock(&tbl->lock[hash]);
}

/* Keys are numbers; their lowest bit is the bucket. */

static bool lm_same_key(const struct lm_key *key, const struct lockmap_entry *entry)
{
	return READ_ONCE(entry->key) == *(const u64 *)key->data;
}

static int lm_entry_set_key(struct lockmap_entry *new, const struct lm_key *key, gfp_t gfp)
{
	WRITE_ONCE(new->key, *(const u64 *)key->data);
	return 0;
}

#ifndef QUEUE_OF
#define QUEUE_OF(map, entry)	((entry) - entries)
#endif
static wait_queue_head_t *lm_wq(struct lockmap *map, const struct lockmap_entry *entry)
{
	return &map->wq[QUEUE_OF(map, entry) % NR_QUEUES];
}

static struct lm_ring *lm_ring(struct lockmap *map, u32 hash)
{
	return &map->ring;
}

#define lm_ring_admits(ring)		ex_choose(2)
#define lm_ring_step(ring)		0
#define lm_ring_slot(ring, i)		(&(ring)->slot)
#define atomic_inc(counter)		do { } while (0)

static void lm_copy(void *dst, const void *src, size_t len)
{
	const u64 *from = src;
	u64 *to = dst;

	to[0] = READ_ONCE(from[0]);
	to[1] = READ_ONCE(from[1]);
}

/* Time: that of a task that waits for a limited time may be up at any moment. */
static unsigned long now(void)
{
	return late[current - tasks] || (late[current - tasks] = ex_choose(2));
}

#define jiffies				now()
#define lm_wait_for_table(how, err)	(-ENOMEM)
#define lm_gfp(map, how)		GFP_KERNEL

#include "map_lines.h"

static const struct lm_how lm_how_timed = { TASK_UNINTERRUPTIBLE, .timed = true, .deadline = 1 };

/* Tasks */

static struct lockmap_entry *lock(u64 *k, const struct lm_how *how)
{
	struct lm_key key = { &map, k, sizeof(*k), *k & 1 };
	struct lockmap_entry *entry = lm_lock_key(&key, NULL, true, false, how);

	if (IS_ERR(entry))
		return entry;
	ex_assert(entry->key == *k, "locked another key");
	ex_assert(entry->lock.word.v & LM_LOCKED, "a key is had without being LOCKED");
	ex_assert(!holder[*k], "two tasks have one key");
	holder[*k] = current;
	ex_write(*k);
	return entry;
}

static void unlock(struct lockmap_entry *entry)
{
	u64 key = entry->key;

	ex_assert(holder[key] == current, "two tasks have one key");
	ex_write(key);
	holder[key] = NULL;
	lm_unlock(entry);
}

static void use(u64 key, const struct lm_how *how)
{
	struct lockmap_entry *entry = lock(&key, how);

	if (IS_ERR(entry)) {
		ex_assert(how->timed || how->try, "did not get the key");
		return;
	}
	ex_step("has the key");
	unlock(entry);
}

/* A value is two numbers, the first has the key in it. */
static void put(u64 key, u64 value)
{
	struct lockmap_entry *entry = lock(&key, &lm_how_wait);

	WRITE_ONCE(entry->data[0], key << 8 | value);
	WRITE_ONCE(entry->data[1], value);
	entry->has_value = true;
	unlock(entry);
}

static void drop(u64 key)
{
	struct lockmap_entry *entry = lock(&key, &lm_how_wait);

	ex_assert(entry->has_value, "a value is lost");
	entry->has_value = false;
	unlock(entry);
}

static void get(u64 k, bool there)
{
	struct lm_key key = { &map, &k, sizeof(k), k & 1 };
	u64 value[2] = {};
	int err = lm_read_value_spin(&key, value);

	ex_assert(!there || err != -ENOENT, "a key is not found that is there");
	if (!err) {
		ex_assert(value[0] >> 8 == k, "read another key's value");
		ex_assert((value[0] & 0xff) == value[1], "read halves of two values");
	}
}

/* What a shrinker does, without looking for a slot. */
static void shrink(void)
{
	struct lockmap_entry *entry = xchg(&map.ring.slot, NULL);

	if (entry)
		lm_ring_evict(entry, false);
}

static void use_a(void)
{
	use(0, &lm_how_wait);
}

static void use_a_twice(void)
{
	use_a();
	use_a();
}

static void use_b(void)
{
	use(1, &lm_how_wait);
}

static void use_c(void)
{
	use(2, &lm_how_wait);
}

static void use_a_b(void)
{
	use_a();
	use_b();
}

static void use_b_c(void)
{
	use_b();
	use_c();
}

static void use_c_b(void)
{
	use_c();
	use_b();
}

static void get_present_a(void)
{
	get(0, true);
}

static void shrink_use_a(void)
{
	shrink();
	use_a();
}

static void shrink_use_b(void)
{
	shrink();
	use_b();
}

static void use_a_timed(void)
{
	use(0, &lm_how_timed);
}

static void try_a(void)
{
	use(0, &lm_how_try);
}

static void shrink_twice(void)
{
	shrink();
	shrink();
}

static void put_drop_a(void)
{
	put(0, 1);
	drop(0);
}

static void put_twice_a(void)
{
	put(0, 1);
	put(0, 2);
}

static void put_drop_a_put_c(void)
{
	put_drop_a();
	put(2, 2);
}

static void get_a(void)
{
	get(0, false);
}

static void get_c(void)
{
	get(2, false);
}

static void init(void)
{
	int i;

	map.shard.table.tbl = &map.tbl;
	map.tbl.size = NR_BUCKETS;
	for (i = 0; i < NR_ENTRIES; i++) {
		entries[i].lock.word.v = LM_DEAD;
		entries[i].free = true;
		ex_register(&entries[i].lock.word.sync);
	}
	for (i = 0; i < NR_QUEUES; i++) {
		INIT_LIST_HEAD(&map.wq[i].head);
		ex_register(&map.wq[i].lock.sync);
	}
	for (i = 0; i < NR_BUCKETS; i++)
		ex_register(&map.tbl.lock[i].sync);
	ex_register(&lm_blocked_lock.sync);
}

/* Key A has been used, and is idle. */
static void init_idle(void)
{
	init();
	entries[0] = (struct lockmap_entry) {
		.lock.word.v = LM_IDLE | 1ULL << 32, .map = &map, .len = 8,
	};
	entries[0].node.next = RHT_NULLS_MARKER(rht_bucket(&map.tbl, 0));
	map.tbl.head[0] = (struct rhash_lock_head *)&entries[0].node;
	map.ring.slot = &entries[0];
}

/* A has a value, and in front of it is C, idle. */
static void init_chain(void)
{
	init_idle();
	entries[1] = (struct lockmap_entry) {
		.lock.word.v = LM_VALUE | 1ULL << 32, .map = &map, .len = 8, .has_value = true,
	};
	entries[1].node.next = entries[0].node.next;
	entries[0].node.next = &entries[1].node;
	entries[0].key = 2;
}

/* Each entry is free, or in the table once; idle ones are in the ring. */
static void end(void)
{
	unsigned int found[NR_ENTRIES] = {}, keys[3] = {}, i;
	const struct lockmap_entry *entry;
	const struct rhash_head *pos;

	for (i = 0; i < NR_BUCKETS; i++) {
		pos = (struct rhash_head *)map.tbl.head[i];
		for (; pos && !rht_is_a_nulls(pos); pos = pos->next) {
			entry = container_of(pos, struct lockmap_entry, node);
			if (entry->hash != i)
				ex_fail("in a chain of another hash");
			if (found[entry - entries]++ || keys[entry->key]++)
				ex_fail("in the table twice");
		}
	}
	for (i = 0; i < NR_ENTRIES; i++) {
		u64 word = entries[i].lock.word.v;

		ex_assert(found[i] == !entries[i].free, "neither free nor in the table, or both");
		ex_assert(entries[i].free == !!(word & LM_DEAD), "dead, and not free");
		if (entries[i].free)
			continue;
		ex_assert(!(word & (LM_LOCKED | LM_OWNER | LM_WAITERS | LM_HANDOFF | LM_WOKEN)),
			  "a flag is left in a word");
		ex_assert(!!(word & LM_VALUE) == entries[i].has_value, "VALUE is wrong");
		ex_assert((word & LM_VALUE) || (word & LM_IDLE),
			  "an entry without a value is lost: not in the ring");
		ex_assert(!!(word & LM_IDLE) == (map.ring.slot == &entries[i]),
			  "IDLE, and not in the ring, or the other way round");
	}
	for (i = 0; i < NR_QUEUES; i++)
		ex_assert(map.wq[i].head.next == &map.wq[i].head, "somebody is left on a queue");
	ex_assert(!lm_blocked[0].first, "somebody is left in the table of the blocked");
}

#define MAP_MODEL(n, w, ...)	{ .name = n, .what = w, .barriers = true, .init = init, \
				  .end = end, __VA_ARGS__ }

const struct model models[] = {
	MAP_MODEL("map-insert", "two tasks want a key that is not there",
		  .body = { use_a_twice, use_a_twice }),
	MAP_MODEL("map-refused", "three at once insert one key, two are refused",
		  .body = { use_a, use_a, use_a }),
	MAP_MODEL("map-reuse", "the memory of A becomes B's, in another bucket",
		  .init = init_idle, .body = { use_a_twice, use_c_b }),
	MAP_MODEL("map-reuse-chain", "the memory of A becomes that of C, in the same bucket",
		  .init = init_idle, .body = { use_a_twice, use_b_c }),
	MAP_MODEL("map-stale-waiter", "who is about to wait for A, whose memory becomes B's",
		  .init = init_idle, .body = { use_a_b, use_a, shrink }),
	MAP_MODEL("map-three", "three tasks, two keys, one slot for idle entries",
		  .init = init_idle, .body = { use_a, use_b, use_a }),
	MAP_MODEL("map-leave", "a waiter leaves while the clock hand lets go of its entry",
		  .init = init_idle, .body = { use_a, use_a_timed, shrink_twice }),
	MAP_MODEL("map-wait", "the clock hand changes the word while a waiter tries for it",
		  .init = init_idle, .body = { use_a, use_a, shrink }),
	MAP_MODEL("map-refused-wait", "one waits for an entry that is refused",
		  .init = init_idle, .body = { use_a, use_a, shrink_use_a }),
	MAP_MODEL("map-chain", "a reader is led to another chain",
		  .init = init_chain, .body = { get_present_a, shrink_use_b }),
	MAP_MODEL("map-try", "a trylock, a shrinker", .init = init_idle,
		  .body = { use_a, try_a, shrink }),
	MAP_MODEL("map-read", "a lockless reader, and two values",
		  .body = { put_twice_a, get_a, use_a }),
	MAP_MODEL("map-read-reuse", "a lockless reader, and memory that becomes another key's",
		  .init = init_idle, .body = { put_drop_a_put_c, get_a, shrink }),
	MAP_MODEL("map-read-new", "a reader of the key that comes",
		  .init = init_idle, .body = { put_drop_a_put_c, get_c, shrink }),
};

const int nr_models = ARRAY_SIZE(models);
