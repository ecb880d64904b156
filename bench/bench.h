/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What is measured: keys, operations, rows. Shared by the module and the programs
 * in user/, so that all implementations do the same with the same keys.
 *
 * A row of the table is an operation on a kind of keys. A case is a row with a
 * number of threads and a number of keys. A sample is one implementation doing a
 * case for some milliseconds. driver.h describes the course of a run.
 *
 * An implementation X is a header with these functions, for keys of len bytes:
 *
 *	struct X_held;	what a holder has to remember
 *	void *X_create(unsigned int len, unsigned long keys);
 *	void X_destroy(void *map);
 *	bool X_get(void *map, const u8 *key, unsigned int len, u64 *value);
 *	bool X_lock(void *map, const u8 *key, unsigned int len, struct X_held *held);
 *	bool X_trylock(void *map, const u8 *key, unsigned int len, struct X_held *held);
 *	u64 *X_value(struct X_held *held);	NULL if there is none
 *	void X_unlock(void *map, struct X_held *held, unsigned int len);
 *	bool X_insert(void *map, const u8 *key, unsigned int len, u64 value);
 *	bool X_remove(void *map, const u8 *key, unsigned int len);
 *	bool X_batch(void *map, const u8 *keys, unsigned int len, unsigned int n);
 *
 * and these, if it defines BENCH_HAS_SHARED or BENCH_HAS_ASYNC:
 *
 *	bool X_lock_shared(void *map, const u8 *key, unsigned int len, struct X_held *held);
 *	void X_unlock_shared(void *map, struct X_held *held, unsigned int len);
 *	bool X_async(void *map, const u8 *key, unsigned int len, struct X_held *held);
 *	bool X_grant(void *map, const u8 *key, unsigned int len);
 *
 * X_lock() may lock an absent key. X_get() waits while another task holds the
 * key. X_batch() locks n keys, adds one to each value, and unlocks them.
 * X_lock_shared() is for present keys. X_async() locks a free key for no task.
 * X_grant() locks a key, requests it, and unlocks it, which grants the request; the
 * request unlocks it again. False means "absent" from X_get(), "busy" from
 * X_trylock(), and from the others a failure, which makes the run worthless. loops.h
 * makes the measured loops from these functions; len is a constant there. Waiters that
 * spin have no part in rows where the holder does not run: BENCH_SPINS.
 */
#ifndef _BENCH_H
#define _BENCH_H

#ifdef __KERNEL__
#include "platform.h"
#else
#include "user/platform.h"
#endif

#define BENCH_KEYS		65536UL
#define BENCH_HOT_SEQUENCE	4096UL
#define BENCH_NEW_SEQUENCE	262144UL
#define BENCH_MOST_THREADS	8	/* that the user may ask for */
#define BENCH_MAX_THREADS	128	/* that a row may have */
#define BENCH_MAX_BATCH		16

/* The loops that loops.h makes, in the order of its table. */
enum bench_op {
	BENCH_FILL,		/* insert; not measured */
	BENCH_GET,
	BENCH_CHANGE,		/* lock, change, unlock */
	BENCH_LOCK,		/* lock, unlock */
	BENCH_TRYLOCK,		/* trylock, change, unlock */
	BENCH_INSERT_REMOVE,
	BENCH_MIXED,		/* nine gets, one insert */
	BENCH_BATCH_2,
	BENCH_BATCH_4,
	BENCH_BATCH_16,
	BENCH_SHARED,		/* lock shared, unlock */
	BENCH_ASYNC,		/* lock for no task, unlock */
	BENCH_GRANT,		/* lock, request, unlock, and the request unlocks */
	BENCH_HOLD,		/* lock, change, spin, unlock; records how long it waited */
	/* Only in the kernel, as they need its scheduler: */
	BENCH_HAND_OVER,	/* the same, but run the other threads of the CPU, don't spin */
	BENCH_SLEEP,		/* lock shared, sleep, unlock; a writer records its waits */
	BENCH_UNLOCK,		/* lock, do something else, unlock; records how long that takes */
	BENCH_NR_OPS
};

enum bench_keys {
	BENCH_PRESENT,		/* the keys of a filled map, in random order */
	BENCH_ABSENT,		/* as many keys that are not in the map */
	BENCH_NEW,		/* never seen before */
	BENCH_HOT,		/* a few of the present keys, so threads contend */
	BENCH_PAIR,		/* a present key for two threads each */
};

struct bench_row {
	const char *name;
	enum bench_op op;
	enum bench_keys kind;
	bool filled;		/* the map is filled with the present keys */
	unsigned int hot;	/* number of keys, if BENCH_HOT */
	unsigned int key_len;
	unsigned int hold_us;
	bool quick;		/* part of a quick run */
	bool sizes;		/* measured with maps of other sizes too */
	unsigned int threads;	/* so many threads, whatever the settings say; 0: as they say */
	bool writer;		/* one of the threads is a writer, if BENCH_SLEEP */
	bool one_cpu;		/* all threads run on one CPU */
};

/* Rows that can use the same maps follow each other. */
static const struct bench_row bench_rows[] = {
	{ "get-hit", BENCH_GET, BENCH_PRESENT, true, 0, 8, 0, true, true },
	{ "get-miss", BENCH_GET, BENCH_ABSENT, true, 0, 8, 0, true, false },
	{ "lock-present", BENCH_CHANGE, BENCH_PRESENT, true, 0, 8, 0, true, true },
	{ "hot-1", BENCH_CHANGE, BENCH_HOT, true, 1, 8, 0, false, false },
	{ "hot-8", BENCH_CHANGE, BENCH_HOT, true, 8, 8, 0, true, false },
	{ "hot-64", BENCH_CHANGE, BENCH_HOT, true, 64, 8, 0, false, false },
	{ "mixed-90-10", BENCH_MIXED, BENCH_PRESENT, true, 0, 8, 0, true, false },
	{ "batch-2", BENCH_BATCH_2, BENCH_PRESENT, true, 0, 8, 0, false, false },
	{ "batch-4", BENCH_BATCH_4, BENCH_PRESENT, true, 0, 8, 0, true, false },
	{ "batch-16", BENCH_BATCH_16, BENCH_PRESENT, true, 0, 8, 0, false, false },
	{ "trylock", BENCH_TRYLOCK, BENCH_PRESENT, true, 0, 8, 0, false, false },
	{ "lock-unlock", BENCH_LOCK, BENCH_PRESENT, true, 0, 8, 0, true, false },
	{ "shared", BENCH_SHARED, BENCH_PRESENT, true, 0, 8, 0, true, false },
	{ "async", BENCH_ASYNC, BENCH_PRESENT, true, 0, 8, 0, true, false, 1 },
	{ "async-grant", BENCH_GRANT, BENCH_PRESENT, true, 0, 8, 0, true, false, 1 },
	{ "hold-0", BENCH_HOLD, BENCH_HOT, true, 1, 8, 0, false, false },
	{ "hold-1", BENCH_HOLD, BENCH_HOT, true, 1, 8, 1, true, false },
	{ "hold-50", BENCH_HOLD, BENCH_HOT, true, 1, 8, 50, false, false },
	{ "hand-over", BENCH_HAND_OVER, BENCH_PAIR, true, 0, 8, 0, true, false, 2, false, true },
	{ "pairs", BENCH_HAND_OVER, BENCH_PAIR, true, 0, 8, 0, true, false, 128 },
	{ "reader", BENCH_SLEEP, BENCH_HOT, true, 1, 8, 5000, true, false, 1 },
	{ "readers", BENCH_SLEEP, BENCH_HOT, true, 1, 8, 5000, true, false, 6 },
	{ "readers-writer", BENCH_SLEEP, BENCH_HOT, true, 1, 8, 5000, true, false, 7, true },
	{ "lock-absent", BENCH_LOCK, BENCH_ABSENT, false, 0, 8, 0, true, false },
	{ "lock-new", BENCH_LOCK, BENCH_NEW, false, 0, 8, 0, true, false },
	{ "insert-remove", BENCH_INSERT_REMOVE, BENCH_ABSENT, false, 0, 8, 0, true, false },
	{ "str16-get-hit", BENCH_GET, BENCH_PRESENT, true, 0, 16, 0, false, false },
	{ "str16-lock-present", BENCH_CHANGE, BENCH_PRESENT, true, 0, 16, 0, false, false },
	{ "str64-get-hit", BENCH_GET, BENCH_PRESENT, true, 0, 64, 0, false, false },
	{ "str64-lock-present", BENCH_CHANGE, BENCH_PRESENT, true, 0, 64, 0, false, false },
};

/* Sizes other than BENCH_KEYS, ended by 0. Above BENCH_BIG only one map exists at a time. */
static const unsigned long bench_sizes[] = {
	1024, 16384, 262144, 1048576, 4194304, 0
};

#define BENCH_BIG		262144UL

/* A histogram of waiting times: powers of two, with eight steps in each. */
#define BENCH_WAIT_STEPS	8
#define BENCH_WAIT_BUCKETS	(64 * BENCH_WAIT_STEPS)

struct bench_waits {
	u64 longest;
	u64 count[BENCH_WAIT_BUCKETS];
};

static inline unsigned int bench_wait_bucket(u64 wait)
{
	unsigned int log;

	if (wait < BENCH_WAIT_STEPS)
		return wait;
	log = ilog2(wait);
	return (log - 2) * BENCH_WAIT_STEPS + ((wait >> (log - 3)) & (BENCH_WAIT_STEPS - 1));
}

/* The shortest wait that a bucket counts. */
static inline u64 bench_wait_from(unsigned int bucket)
{
	unsigned int log = bucket / BENCH_WAIT_STEPS + 2;

	if (bucket < BENCH_WAIT_STEPS)
		return bucket;
	return (u64)(BENCH_WAIT_STEPS + bucket % BENCH_WAIT_STEPS) << (log - 3);
}

static inline void bench_wait_add(struct bench_waits *waits, u64 wait)
{
	waits->count[bench_wait_bucket(wait)]++;
	if (wait > waits->longest)
		waits->longest = wait;
}

/**
 * struct bench_thread - what a loop works on
 * @map: the implementation's map
 * @keys: the thread's sequence of keys
 * @mask: number of keys in the sequence, minus one
 * @next: number of the next operation; picks the key
 * @sum: depends on all values read, so that the compiler cannot drop the reads
 * @failed: number of operations that failed
 * @hold: how long to hold a key, in ticks
 * @waits: histogram of the waits for keys, in ticks
 * @writer: it is the writer among threads that share a key
 * @hold_us: how long to hold a key, when asleep
 * @while_held: what to do while a key is held, for BENCH_UNLOCK
 * @arg: for @while_held
 * @took: how long the last unlock took, in ticks, after BENCH_UNLOCK
 */
struct bench_thread {
	void *map;
	u8 *keys;
	u64 mask;
	u64 next;
	u64 sum;
	u64 failed;
	u64 hold;
	struct bench_waits *waits;
	bool writer;
	unsigned int hold_us;
	void (*while_held)(void *arg);
	void *arg;
	u64 took;
	u8 pad[64];	/* keeps threads off each other's cache lines */
};

typedef void (*bench_loop_t)(struct bench_thread *t, unsigned int n);

struct bench_impl {
	const char *name;
	void *(*create)(unsigned int len, unsigned long keys);
	void (*destroy)(void *map);
	const bench_loop_t *loops_8;
	const bench_loop_t *loops_16;
	const bench_loop_t *loops_64;
};

/*
 * Keys. Key number n is a bijection of n, so different numbers give different
 * keys. String keys look like file names that differ in their last 16 characters.
 */
#define BENCH_FIRST_PRESENT	0ULL
#define BENCH_FIRST_ABSENT	0x100000000ULL
#define BENCH_FIRST_NEW		0x10000000000ULL

/* The finalizer of SplitMix64 (Steele, Lea, Flood, 2014). */
static inline u64 bench_mix(u64 x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static inline void bench_make_key(u8 *key, unsigned int len, u64 number)
{
	static const char path[] = "/var/lib/lockmap/objects/by-hash/of/bench/file/of/number/";
	u64 value = bench_mix(number);
	unsigned int i;

	if (len == sizeof(value)) {
		memcpy(key, &value, sizeof(value));
		return;
	}
	for (i = 0; i < len - 16; i++)
		key[i] = path[i];
	for (; i < len; i++, value >>= 4)
		key[i] = "0123456789abcdef"[value & 15];
}

/* The number of the i-th key of a thread's sequence, before the sequence is shuffled. */
static inline u64 bench_number(const struct bench_row *row, unsigned int thread, unsigned int rep,
			       u64 i)
{
	switch (row->kind) {
	case BENCH_ABSENT:
		return BENCH_FIRST_ABSENT + i;
	case BENCH_NEW:
		return BENCH_FIRST_NEW + ((u64)thread << 40) + rep * (u64)BENCH_NEW_SEQUENCE + i;
	case BENCH_HOT:
		return BENCH_FIRST_PRESENT + bench_mix(i + thread * BENCH_HOT_SEQUENCE) % row->hot;
	case BENCH_PAIR:
		return BENCH_FIRST_PRESENT + thread / 2;
	default:
		return BENCH_FIRST_PRESENT + i;
	}
}

static inline unsigned long bench_sequence_len(const struct bench_row *row, unsigned long keys)
{
	if (row->kind == BENCH_HOT)
		return BENCH_HOT_SEQUENCE;
	if (row->kind == BENCH_PAIR)
		return 1;
	return row->kind == BENCH_NEW ? BENCH_NEW_SEQUENCE : keys;
}

static inline void bench_shuffle(u8 *keys, unsigned int len, unsigned long n, u64 seed)
{
	u8 tmp[64], *a, *b;
	unsigned long i;

	for (i = n - 1; i > 0; i--) {
		seed = bench_mix(seed);
		a = keys + i * len;
		b = keys + seed % (i + 1) * len;
		memcpy(tmp, a, len);
		memcpy(a, b, len);
		memcpy(b, tmp, len);
	}
}

/* Write a thread's sequence. It is the same for every implementation. */
static inline void bench_make_sequence(const struct bench_row *row, u8 *keys, unsigned long n,
				       unsigned int thread, unsigned int rep)
{
	unsigned long i;

	for (i = 0; i < n; i++)
		bench_make_key(keys + i * row->key_len, row->key_len,
			       bench_number(row, thread, rep, i));
	if (row->kind == BENCH_PRESENT || row->kind == BENCH_ABSENT)
		bench_shuffle(keys, row->key_len, n, thread);
}

/* Sort the keys of a batch: tasks that lock several keys must agree on an order. */
static __always_inline void bench_sort(const u8 **sorted, const u8 *keys, unsigned int len,
				       unsigned int n)
{
	const u8 *key;
	unsigned int i, j;

	for (i = 0; i < n; i++) {
		key = keys + i * len;
		for (j = i; j && memcmp(key, sorted[j - 1], len) < 0; j--)
			sorted[j] = sorted[j - 1];
		sorted[j] = key;
	}
}

#endif /* _BENCH_H */
