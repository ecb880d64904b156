// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The clock hand: which idle entries stay, and which are evicted.
 *
 * An entry without holder, waiters and value is idle: as good as absent, but
 * still in its table, so that the next task that wants the key need not make it
 * again. Idle entries are in rings, over which a clock hand goes: the
 * second-chance algorithm (Corbato, 1968) over an array.
 *
 * An entry comes into the ring when it is unlocked without a value and is not
 * IDLE yet, and stays there, IDLE, while it is locked again and even has a value
 * for a while: an unlock then has nothing to do but to set REFERENCED. The hand
 * finds out. Only the task that takes an entry out of its slot, the clock hand
 * or the shrinker, may evict it.
 */
#include <linux/atomic.h>
#include <linux/hash.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>

#include "compat.h"
#include "types.h"

/* The first chunk of a ring; each further one doubles the ring. */
#define LM_RING_FIRST	64U
/* The clock hand passes so many referenced entries before it takes one all the same. */
#define LM_RING_CHANCES	16
/* A full ring takes one newcomer of so many. */
#define LM_RING_ADMIT	128
/* A map has room for so many idle entries as long as few keys come back. */
#define LM_IDLE_FIRST	1024U
/* By default idle entries may take one part of so many of memory, ... */
#define LM_IDLE_SHARE	64
/* ... but be no more than this. */
#define LM_IDLE_MAX	98304U
/* One newcomer of so many makes lm_ring_sample() look at a slot. */
#define LM_RING_SAMPLE	8
/* If of so many samples ... */
#define LM_RING_SAMPLES	64
/* ... so many saw a key that came back, ... */
#define LM_RING_RETURNED	8
/* ... the ring gets so many times the room. */
#define LM_RING_GROWTH	8

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
		kfree(chunk);	/* another task added it */
	/* Pairs with lm_ring_step(): the chunk before the size. */
	cmpxchg_release(&ring->size, size, size + more);
	return true;
}

/* Whether there are slots after the last one; makes new ones if there is room for them. */
static bool lm_ring_extend(struct lm_ring *ring, unsigned int size)
{
	if (size >= READ_ONCE(ring->room))
		return false;
	if (lm_ring_grow(ring, size, GFP_NOWAIT))
		return true;
	/* Without memory for slots there is no room either, until lm_ring_sample() makes some. */
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

/* What lm_ring_evict() does with an entry that was referenced since the hand passed. */
enum lm_chance {
	LM_NO_CHANCE,
	LM_SECOND_CHANCE,
};

/*
 * Decide on an entry that was taken out of the ring: evict it, or let it go if it
 * is in use, or spare it if it was referenced.
 *
 * Return: false when it was spared, and has to go back into the ring.
 */
static bool lm_ring_evict(struct lockmap_entry *entry, enum lm_chance chance)
{
	u64 old, new;
	bool in_use, spare;

	old = atomic64_read(&entry->lock.word);
	do {
		in_use = lm_word_held(old) || (old & (LM_WAITERS | LM_VALUE));
		spare = chance == LM_SECOND_CHANCE && (old & LM_REFERENCED);
		if (in_use)	/* the unlock that leaves it without a value brings it back */
			new = old & ~(LM_IDLE | LM_REFERENCED);
		else if (spare)
			new = old & ~LM_REFERENCED;
		else
			new = lm_word_dead(old);
	} while (!atomic64_try_cmpxchg(&entry->lock.word, &old, new));

	if (!in_use && !spare)
		lm_entry_evict(entry);
	return in_use || !spare;
}

/*
 * Look at slots here and there, and make room when keys come back. Without that,
 * keys that never come back would fill the caches with entries, and the table with
 * chains.
 *
 * Context: RCU read side; the entry may be evicted meanwhile.
 */
static void lm_ring_sample(struct lm_ring *ring, unsigned int nr)
{
	/* Pairs with lm_ring_grow(). */
	unsigned int size = smp_load_acquire(&ring->size);
	struct lockmap_entry *entry = READ_ONCE(*lm_ring_slot(ring, hash_32(nr, 32) % size));
	unsigned int returned = nr % LM_RING_SAMPLES ? READ_ONCE(ring->returned) : 0;

	if (entry && (atomic64_read(&entry->lock.word) & LM_REFERENCED))
		returned++;
	if (returned >= LM_RING_RETURNED) {
		WRITE_ONCE(ring->room, min_t(u64, (u64)size * LM_RING_GROWTH, ring->limit));
		returned = 0;
	}
	WRITE_ONCE(ring->returned, returned);
}

/*
 * Whether a newcomer is admitted. Keys that never come back gain nothing by a full
 * ring: each would push out an entry that went cold long ago, at the price of its
 * cache misses. Keys that do come back are admitted before long. (Bimodal insertion:
 * Qureshi et al., "Adaptive Insertion Policies for High Performance Caching", 2007.)
 */
static bool lm_ring_admits(struct lm_ring *ring)
{
	unsigned int room = READ_ONCE(ring->room), refused = READ_ONCE(ring->refused);

	if ((unsigned int)atomic_read(&ring->used) < room)
		return true;
	WRITE_ONCE(ring->refused, refused + 1);
	if (refused % LM_RING_SAMPLE == 0 && room < ring->limit)
		lm_ring_sample(ring, refused / LM_RING_SAMPLE);
	return refused % LM_RING_ADMIT == 0;
}

/*
 * Put an entry into the ring that has just become IDLE. It may be locked again
 * at any time, but cannot be evicted as long as it is not in the ring.
 */
static noinline void lm_ring_add(struct lockmap *map, u32 hash, struct lockmap_entry *entry)
{
	struct lm_ring *ring = lm_ring(map, hash);
	int chances = LM_RING_CHANCES;

	do {
		/* Full barriers: the task that takes an entry out sees it as it was put in. */
		entry = xchg(lm_ring_slot(ring, lm_ring_step(ring)), entry);
		if (!entry)
			atomic_inc(&ring->used);
	} while (entry && !lm_ring_evict(entry, chances-- > 0 ? LM_SECOND_CHANCE : LM_NO_CHANCE));
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

/* Take @nr entries out of a ring, if it has them: downwards, from where the last call ended. */
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
		lm_ring_evict(entry, LM_NO_CHANCE);
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

static size_t lm_entry_size(const struct lockmap *map)
{
	return sizeof(struct lockmap_entry) + map->key_offset +
	       (map->key_kind == LM_KEY_LONG ? sizeof(void *) : map->key_len);
}

/*
 * As many idle entries as fit into a part of memory. Few if they are charged to a
 * cgroup: its limit reclaims none of them, as the shrinker knows no cgroups.
 */
static unsigned int lm_idle_default(const struct lockmap *map)
{
	size_t size = lm_entry_size(map);
	u64 part;

	if (map->key_kind == LM_KEY_LONG)
		size += sizeof(struct lm_long_key) + map->key_len;
	if (map->params.gfp & __GFP_ACCOUNT)
		return LM_RING_FIRST;
	part = div_u64((u64)totalram_pages() << PAGE_SHIFT, LM_IDLE_SHARE);
	return clamp_t(u64, div_u64(part, size), LM_RING_FIRST, LM_IDLE_MAX);
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
