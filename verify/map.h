/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the models of the map have in common: all rooms by which a key is found,
 * locked, waited for, read and evicted, over a slab that reuses freed memory at once,
 * a table of two chains that does not grow, and a ring of one slot. Each new idle
 * entry evicts the last, or is refused: the models try both.
 */
#ifndef _VERIFY_MAP_H
#define _VERIFY_MAP_H

#include "shim.h"
#include "slab.h"

/* A value is two words, and is copied in two steps. */
#define VALUE_LEN	(2 * sizeof(u64))
#define memcpy(dst, src, len)	ex_memcpy(dst, src, len)

#include "core/word.c"
#include "core/key.c"
#include "observe.h"
#define lm_note_refusal()	true

/* Notes the map of the entry that a task of the cycle waits for. */
static bool lm_note_link(const struct lm_waiter *waiter)
{
	const struct lockmap_entry *entry = container_of(waiter->lock, struct lockmap_entry, lock);

	ex_step("notes a task of the cycle");
	ex_access(entry);
	return entry->map;
}

#include "core/deadlock.c"
#include "core/dispatch.c"

/* The bucket of a lock depends on its place: two entries may share one. */
#undef hash_ptr
#define hash_ptr(ptr, bits)	(entry_number(ptr) & (BIT(bits) - 1))

#include "core/turnstile.c"
#include "core/wait.c"

static bool page_there __world;
static u8 pages_refused __world;

/* Return: the bucket; or NULL when there is no page for it, which happens twice at most. */
static inline struct rhash_lock_head **rht_bucket_insert(struct rhashtable *table,
							 struct bucket_table *tbl, u32 hash)
{
	if (tbl != nested_table || READ_ONCE(page_there))
		return &tbl->head[hash];
	if (pages_refused < 2 && !ex_choose(2)) {
		pages_refused++;
		return READ_ONCE(page_there) ? &tbl->head[hash] : NULL;
	}
	ex_step("gets a page");
	page_there = true;
	return &tbl->head[hash];
}

#include "core/table.c"
#include "core/value.c"

/* A full ring admits some newcomers, by their number: here, either answer is possible. */
#define lm_ring_admits	lm_ring_admits_by_number
#include "core/clock.c"
#undef lm_ring_admits
#define lm_ring_admits(ring)	((void)(ring), ex_choose(2))

#include "core/acquire.c"
#include "core/get.c"

#define NR_KEYS		3
#ifndef NR_SHARDS
#define NR_SHARDS	1
#define HASH_OF(key)	((key) & 1)
#endif
#define BUCKET_BITS	1

/* Constant. */
static struct {
	struct lockmap map;
	struct lm_shard shard[NR_SHARDS];
} model_map;
#define the_map	model_map.map
static_assert(offsetof(struct lockmap, shards) == sizeof(struct lockmap));

static struct lm_bucket buckets[1 << BUCKET_BITS] __world;
static struct bucket_table tbl __world;
/* The ring is constant but for its slot: the count of its entries is inexact anyway. */
static struct lockmap_entry *slot __world;
static struct lm_ring ring = {
	.size = 1, .room = 1, .limit = 1, .used = { 1 }, .chunk = { &slot },
};

static struct lm_cpu cpu;
/* The task that has a key, and how many share it. */
static struct task_struct *holder[NR_KEYS] __world;
static u8 sharers[NR_KEYS] __world;

static const struct lm_wait_mode lm_wait_timed = {
	.state = TASK_UNINTERRUPTIBLE, .timed = true, .deadline = 1,
};

static const struct lm_wait_mode lm_wait_timed_nap = {
	.state = TASK_UNINTERRUPTIBLE, .timed = true, .deadline = 2,
};

/* Keys are numbers; their lowest bit is the bucket, unless a model says otherwise. */
static u64 key_of(const struct lockmap_entry *entry)
{
	return *(const u64 *)(entry->data + VALUE_LEN);
}

static struct lm_key key_number(const u64 *number)
{
	struct lm_key key = lm_key(&the_map, LM_KEY_U64, number, sizeof(*number));

	key.hash = HASH_OF(*number);
	return key;
}

static void check_free(const struct lockmap_entry *entry)
{
	const struct list_head *node, *head;
	const struct lm_waiter *waiter;
	int i;

	ex_assert(entry->lock.word.v & LM_DEAD, "frees an entry that is not dead");
	ex_assert(!(entry->lock.word.v & (LM_LOCKED | LM_SHARED | LM_WAITERS)),
		  "frees an entry that is in use");
	ex_assert(slot != entry, "frees an entry that is in the ring");
	for (i = 0; i < (int)ARRAY_SIZE(buckets); i++) {
		head = &buckets[i].heads;
		for (node = head->next; node != head; node = node->next) {
			waiter = container_of(node, struct lm_waiter, turnstile);
			ex_assert(waiter->lock != &entry->lock, "frees an entry that has a waiter");
		}
	}
}

/* Tasks */

static void enter(u64 number)
{
	ex_assert(!holder[number] && !sharers[number], "two tasks hold one key");
	holder[number] = current;
	ex_write(number);
}

static noinline struct lockmap_entry *lock(u64 number, const struct lm_wait_mode *mode)
{
	struct lm_key key = key_number(&number);
	struct lockmap_entry *entry = lm_lock_slow(&key, NULL, LM_CREATE, mode);

	if (IS_ERR(entry))
		return entry;
	ex_assert(key_of(entry) == number, "locked another key");
	ex_assert(entry->lock.word.v & LM_LOCKED, "a key is held without being LOCKED");
	enter(number);
	return entry;
}

static noinline void unlock(struct lockmap_entry *entry)
{
	u64 number = key_of(entry);

	ex_assert(holder[number] == current, "two tasks hold one key");
	ex_write(number);
	holder[number] = NULL;
	lm_unlock(entry);
}

static noinline void use(u64 number, const struct lm_wait_mode *mode)
{
	struct lockmap_entry *entry = lock(number, mode);

	if (IS_ERR(entry)) {
		ex_assert(mode->timed || mode->try, "did not get the key");
		return;
	}
	ex_step("holds the key");
	unlock(entry);
}

/* A value is two numbers, the first has the key in it. */
static void put(u64 number, u64 value)
{
	struct lockmap_entry *entry = lock(number, &lm_wait_forever);
	u64 words[] = { number << 8 | value, value };

	lockmap_entry_insert(entry, words, NULL);
	unlock(entry);
}

static void drop(u64 number)
{
	struct lockmap_entry *entry = lock(number, &lm_wait_forever);

	ex_assert(lockmap_entry_remove(entry, NULL), "a value is lost");
	unlock(entry);
}

static void get(u64 number, bool present)
{
	struct lm_key key = key_number(&number);
	u64 value[2] = {};
	int err = lm_read_value_tries(&key, value, true);

	ex_assert(!present || err != -ENOENT, "a key that is in the map is not found");
	if (!err) {
		ex_assert(value[0] >> 8 == number, "read another key's value");
		ex_assert((value[0] & 0xff) == value[1], "read halves of two values");
	}
}

static void shrink(void)
{
	lm_ring_shrink(&ring, 1);
}

static void init(void)
{
	int i;

	the_map.key_kind = LM_KEY_U64;
	the_map.key_len = sizeof(u64);
	the_map.key_offset = VALUE_LEN;
	the_map.params.name = "model";
	the_map.params.value_len = VALUE_LEN;
	the_map.params.gfp = GFP_KERNEL;
	the_map.cpu = &cpu;
	the_map.rings = &ring;
	the_map.nr_rings = 1;
	the_map.nr_shards = 1;
	the_map.shard_shift = 31;
	the_map.shards[0].table.tbl = &tbl;
	tbl.size = NR_BUCKETS;
	for (i = 0; i < NR_ENTRIES; i++) {
		slab[i].entry.lock.word.v = LM_DEAD;
		slab[i].free = true;
		ex_register(&slab[i].entry.lock.word.sync);
	}
	lm_buckets = buckets;
	lm_bucket_bits = BUCKET_BITS;
	for (i = 0; i < (int)ARRAY_SIZE(buckets); i++) {
		INIT_LIST_HEAD(&buckets[i].heads);
		ex_register(&buckets[i].lock.sync);
	}
	for (i = 0; i < NR_BUCKETS; i++)
		ex_register(&tbl.lock[i].sync);
}

/* Some tasks look for cycles. */
static void add_naps(u8 which)
{
	int i;

	ex_naps = which;
	ex_add_world(lm_sleepers, NR_SLEEPER_BUCKETS * sizeof(*lm_sleepers));
	ex_add_world(&lm_last_number, sizeof(lm_last_number));
	for (i = 0; i < NR_SLEEPER_BUCKETS; i++)
		ex_register(&lm_sleepers[i].lock.sync);
	ex_register(&lm_last_number.sync);
}

/* Put an entry in front of the first chain. */
static void init_entry(int i, u64 number, u64 word, bool has_value)
{
	struct lockmap_entry *entry = &slab[i].entry;
	struct rhash_lock_head *first = tbl.head[0];

	slab[i].free = false;
	entry->lock.word.v = word | LM_VERSION_ONE;
	entry->map = &the_map;
	entry->len = sizeof(number);
	entry->has_value = has_value;
	slab[i].data[2] = number;
	entry->node.next = (struct rhash_head *)first ?: RHT_NULLS_MARKER(rht_bucket(&tbl, 0));
	tbl.head[0] = (struct rhash_lock_head *)&entry->node;
}

/* Key A has been used, and is idle. */
static void init_idle(void)
{
	init();
	init_entry(0, 0, LM_IDLE, false);
	slot = &slab[0].entry;
}

/* The second task looks for cycles. */
static void init_idle_nap(void)
{
	init_idle();
	add_naps(1 << 1);
}

/* So does the first. */
static void init_idle_naps(void)
{
	init_idle();
	add_naps(1 << 0 | 1 << 1);
}

/* A has a value, and in front of it is C, idle. */
static void init_chain(void)
{
	init();
	init_entry(1, 0, LM_VALUE, true);
	init_entry(0, 2, LM_IDLE, false);
	slot = &slab[0].entry;
}

static void check_table(unsigned int *found)
{
	unsigned int keys[NR_KEYS] = {}, i;
	const struct lockmap_entry *entry;
	const struct rhash_head *pos;

	for (i = 0; i < NR_BUCKETS; i++) {
		pos = (struct rhash_head *)tbl.head[i];
		for (; pos && !rht_is_a_nulls(pos); pos = pos->next) {
			entry = container_of(pos, struct lockmap_entry, node);
			if (entry->hash != i)
				ex_fail("in a chain of another hash");
			if (found[entry_number(entry)]++ || keys[key_of(entry)]++)
				ex_fail("in the table twice");
		}
	}
}

/* Each entry is free, or in the table once; idle ones are in the ring. */
static void end(void)
{
	unsigned int found[NR_ENTRIES] = {}, i;

	check_table(found);
	for (i = 0; i < NR_ENTRIES; i++) {
		const struct lockmap_entry *entry = &slab[i].entry;
		u64 word = entry->lock.word.v;

		ex_assert(found[i] == !slab[i].free, "neither free nor in the table, or both");
		ex_assert(slab[i].free == !!(word & LM_DEAD), "dead, and not free");
		if (slab[i].free)
			continue;
		ex_assert(!(word & (LM_LOCKED | LM_SHARED | LM_OWNER | LM_WAITERS | LM_HANDOFF |
				    LM_WOKEN)), "a flag is left in a word");
		ex_assert(!!(word & LM_VALUE) == entry->has_value, "VALUE is wrong");
		ex_assert((word & LM_VALUE) || (word & LM_IDLE),
			  "an entry without a value is lost: not in the ring");
		ex_assert(!!(word & LM_IDLE) == (slot == entry),
			  "IDLE, and not in the ring, or the other way round");
	}
	for (i = 0; i < ARRAY_SIZE(buckets); i++)
		ex_assert(list_empty(&buckets[i].heads), "a waiter is left in a row");
}

#define MAP_MODEL(n, w, ...)	{ .name = n, .what = w, .init = init, \
				  .end = end, __VA_ARGS__ }

#endif /* _VERIFY_MAP_H */
