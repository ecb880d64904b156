// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Models of the map: all rooms by which a key is found, locked, waited for, read
 * and evicted, over a slab that reuses freed memory at once, a table of two
 * chains that does not grow, and a ring of one slot. Each new idle entry evicts
 * the last, or is refused: the models try both.
 */
#include "shim.h"
#include "slab.h"

/* A value is two words, and is copied in two steps. */
#define VALUE_LEN	(2 * sizeof(u64))
#define memcpy(dst, src, len)	ex_memcpy(dst, src, len)

/* The bucket of a lock depends on its place: two entries may share one. */
#define hash_ptr(ptr, bits)	(entry_number(ptr) & (BIT(bits) - 1))

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
#include "core/turnstile.c"
#include "core/wait.c"
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
#define BUCKET_BITS	1

/* Constant. */
static struct {
	struct lockmap map;
	struct lm_shard shard;
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
/* The task that has a key. */
static struct task_struct *holder[NR_KEYS] __world;

static const struct lm_wait_mode lm_wait_timed = {
	.state = TASK_UNINTERRUPTIBLE, .timed = true, .deadline = 1,
};

static const struct lm_wait_mode lm_wait_timed_nap = {
	.state = TASK_UNINTERRUPTIBLE, .timed = true, .deadline = 2,
};

/* Keys are numbers; their lowest bit is the bucket. */
static u64 key_of(const struct lockmap_entry *entry)
{
	return *(const u64 *)(entry->data + VALUE_LEN);
}

static struct lm_key key_number(const u64 *number)
{
	struct lm_key key = lm_key(&the_map, LM_KEY_U64, number, sizeof(*number));

	key.hash = *number & 1;
	return key;
}

static void check_free(const struct lockmap_entry *entry)
{
	const struct list_head *node, *head;
	const struct lm_waiter *waiter;
	int i;

	ex_assert(entry->lock.word.v & LM_DEAD, "frees an entry that is not dead");
	ex_assert(!(entry->lock.word.v & (LM_LOCKED | LM_WAITERS)),
		  "frees an entry that is in use");
	ex_assert(slot != entry, "frees an entry that is in the ring");
	for (i = 0; i < (int)ARRAY_SIZE(buckets); i++) {
		head = &buckets[i].wq.head;
		for (node = head->next; node != head; node = node->next) {
			waiter = container_of(node, struct lm_waiter, wait.entry);
			ex_assert(waiter->lock != &entry->lock, "frees an entry that has a waiter");
		}
	}
}

/* Tasks */

static noinline struct lockmap_entry *lock(u64 number, const struct lm_wait_mode *mode)
{
	struct lm_key key = key_number(&number);
	struct lockmap_entry *entry = lm_lock_slow(&key, NULL, LM_CREATE, mode);

	if (IS_ERR(entry))
		return entry;
	ex_assert(key_of(entry) == number, "locked another key");
	ex_assert(entry->lock.word.v & LM_LOCKED, "a key is held without being LOCKED");
	ex_assert(!holder[number], "two tasks hold one key");
	holder[number] = current;
	ex_write(number);
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
	int err = lm_read_value_spin(&key, value);

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

static void use_a(void)
{
	use(0, &lm_wait_forever);
}

static void use_a_twice(void)
{
	use_a();
	use_a();
}

static void use_b(void)
{
	use(1, &lm_wait_forever);
}

static void use_c(void)
{
	use(2, &lm_wait_forever);
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
	use(0, &lm_wait_timed);
}

/* Does not wait for ever, though long enough for a nap. */
static void hold_b_use_a_timed(void)
{
	struct lockmap_entry *b = lock(1, &lm_wait_forever);

	use(0, &lm_wait_timed_nap);
	unlock(b);
}

/* Is refused if the other task that holds a key waits for this one. */
static void hold_a_use_b(void)
{
	struct lockmap_entry *a = lock(0, &lm_wait_forever), *b = lock(1, &lm_wait_forever);

	ex_assert(!IS_ERR(b) || PTR_ERR(b) == -EDEADLK, "did not get the key");
	if (!IS_ERR(b))
		unlock(b);
	unlock(a);
}

static void use_a_shrink(void)
{
	use_a();
	shrink();
}

static void try_a(void)
{
	use(0, &lm_wait_never);
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
		init_waitqueue_head(&buckets[i].wq);
		ex_register(&buckets[i].wq.lock.sync);
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
		ex_assert(!(word & (LM_LOCKED | LM_OWNER | LM_WAITERS | LM_HANDOFF | LM_WOKEN)),
			  "a flag is left in a word");
		ex_assert(!!(word & LM_VALUE) == entry->has_value, "VALUE is wrong");
		ex_assert((word & LM_VALUE) || (word & LM_IDLE),
			  "an entry without a value is lost: not in the ring");
		ex_assert(!!(word & LM_IDLE) == (slot == entry),
			  "IDLE, and not in the ring, or the other way round");
	}
	for (i = 0; i < ARRAY_SIZE(buckets); i++)
		ex_assert(list_empty(&buckets[i].wq.head), "a task is left on a queue");
}

#define MAP_MODEL(n, w, ...)	{ .name = n, .what = w, .init = init, \
				  .end = end, __VA_ARGS__ }

const struct model models[] = {
	MAP_MODEL("map-insert", "two tasks want a key that is absent",
		  .body = { use_a_twice, use_a_twice }),
	MAP_MODEL("map-refused", "three tasks insert one key at once, two are refused",
		  .body = { use_a, use_a, use_a }),
	MAP_MODEL("map-reuse", "the memory of A becomes B's, in another bucket",
		  .init = init_idle, .body = { use_a_twice, use_c_b }),
	MAP_MODEL("map-reuse-chain", "the memory of A becomes that of C, in the same bucket",
		  .init = init_idle, .body = { use_a_twice, use_b_c }),
	MAP_MODEL("map-stale-waiter", "a task is about to wait for A, whose memory becomes B's",
		  .init = init_idle, .body = { use_a_b, use_a, shrink }),
	MAP_MODEL("map-three", "three tasks, two keys, one slot for idle entries",
		  .init = init_idle, .body = { use_a, use_b, use_a }),
	MAP_MODEL("map-leave", "a waiter leaves while the clock hand lets go of its entry",
		  .init = init_idle, .body = { use_a, use_a_timed, shrink_twice }),
	MAP_MODEL("map-wait", "the clock hand changes the word while a waiter tries for it",
		  .init = init_idle, .body = { use_a, use_a, shrink }),
	MAP_MODEL("map-refused-wait", "a task waits for an entry that the table refuses",
		  .init = init_idle, .body = { use_a, use_a, shrink_use_a }),
	MAP_MODEL("map-walk", "the same, and the task looks for a cycle meanwhile",
		  .init = init_idle_nap, .body = { use_a, use_a, shrink_use_a }),
	MAP_MODEL("map-walk-past", "a walk comes past a task that leaves, and its lock is evicted",
		  .init = init_idle_naps, .body = { hold_b_use_a_timed, use_b, use_a_shrink }),
	MAP_MODEL("map-cycle", "a cycle of two tasks, and one may time out",
		  .init = init_idle_naps, .body = { hold_b_use_a_timed, hold_a_use_b, shrink }),
	MAP_MODEL("map-chain", "a reader is led to another chain",
		  .init = init_chain, .body = { get_present_a, shrink_use_b }),
	MAP_MODEL("map-try", "a trylock, a shrinker", .init = init_idle,
		  .body = { use_a, try_a, shrink }),
	MAP_MODEL("map-read", "a reader without the lock, and two values",
		  .body = { put_twice_a, get_a, use_a }),
	MAP_MODEL("map-read-reuse", "a reader without the lock, and memory that is reused",
		  .init = init_idle, .body = { put_drop_a_put_c, get_a, shrink }),
	MAP_MODEL("map-read-new", "a reader of the key that is inserted",
		  .init = init_idle, .body = { put_drop_a_put_c, get_c, shrink }),
};

const int nr_models = ARRAY_SIZE(models);
