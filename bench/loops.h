/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The measured loops. This is a template, which impl.h includes once for each key
 * length, BENCH_LEN, of an implementation, BENCH_IMPL. See bench.h.
 *
 * A loop does @n operations and starts with the thread's operation number @next.
 */
#define __BENCH_2(a, b)		a##_##b
#define _BENCH_2(a, b)		__BENCH_2(a, b)
#define __BENCH_3(a, b, c)	a##_##b##_##c
#define _BENCH_3(a, b, c)	__BENCH_3(a, b, c)
#define DO(what)		_BENCH_2(BENCH_IMPL, what)
#define bench_held		DO(held)
#define LOOP(what)		_BENCH_3(BENCH_IMPL, what, BENCH_LEN)

static __always_inline const u8 *LOOP(key)(const struct bench_thread *t, u64 i)
{
	return t->keys + (i & t->mask) * BENCH_LEN;
}

static __always_inline u64 LOOP(add)(struct bench_held *held)
{
	u64 *value = DO(value)(held);

	return value ? ++*value : 0;
}

static noinline void LOOP(loop_fill)(struct bench_thread *t, unsigned int n)
{
	u64 i = t->next, end = i + n;

	for (; i != end; i++) {
		if (!DO(insert)(t->map, LOOP(key)(t, i), BENCH_LEN, i))
			t->failed++;
	}
	t->next = end;
}

static noinline void LOOP(loop_get)(struct bench_thread *t, unsigned int n)
{
	u64 i = t->next, end = i + n, sum = 0, value;

	for (; i != end; i++) {
		if (DO(get)(t->map, LOOP(key)(t, i), BENCH_LEN, &value))
			sum += value;
	}
	t->next = end;
	t->sum += sum;
}

static noinline void LOOP(loop_change)(struct bench_thread *t, unsigned int n)
{
	u64 i = t->next, end = i + n, sum = 0;
	struct bench_held held;

	for (; i != end; i++) {
		if (unlikely(!DO(lock)(t->map, LOOP(key)(t, i), BENCH_LEN, &held))) {
			t->failed++;
			continue;
		}
		sum += LOOP(add)(&held);
		DO(unlock)(t->map, &held, BENCH_LEN);
	}
	t->next = end;
	t->sum += sum;
}

#if BENCH_LEN == 8
/* Lock and unlock, by whichever calls. */
#define BENCH_LOCK_LOOP(name, lock, unlock)							\
static noinline void LOOP(name)(struct bench_thread *t, unsigned int n)				\
{												\
	u64 i = t->next, end = i + n;								\
	struct bench_held held;									\
												\
	for (; i != end; i++) {									\
		if (unlikely(!DO(lock)(t->map, LOOP(key)(t, i), BENCH_LEN, &held)))		\
			t->failed++;								\
		else										\
			DO(unlock)(t->map, &held, BENCH_LEN);					\
	}											\
	t->next = end;										\
}

BENCH_LOCK_LOOP(loop_lock, lock, unlock)

#ifndef BENCH_NO_TRYLOCK
static noinline void LOOP(loop_trylock)(struct bench_thread *t, unsigned int n)
{
	u64 i = t->next, end = i + n, sum = 0;
	struct bench_held held;

	for (; i != end; i++) {
		if (!DO(trylock)(t->map, LOOP(key)(t, i), BENCH_LEN, &held))
			continue;
		sum += LOOP(add)(&held);
		DO(unlock)(t->map, &held, BENCH_LEN);
	}
	t->next = end;
	t->sum += sum;
}
#endif

static noinline void LOOP(loop_insert_remove)(struct bench_thread *t, unsigned int n)
{
	u64 i = t->next, end = i + n;

	for (; i != end; i++) {
		const u8 *key = LOOP(key)(t, i);

		if (unlikely(!DO(insert)(t->map, key, BENCH_LEN, i)))
			t->failed++;
		/* May fail: another thread may have removed the key meanwhile. */
		DO(remove)(t->map, key, BENCH_LEN);
	}
	t->next = end;
}

static noinline void LOOP(loop_mixed)(struct bench_thread *t, unsigned int n)
{
	u64 i = t->next, end = i + n, sum = 0, value;

	for (; i != end; i++) {
		const u8 *key = LOOP(key)(t, i);

		if ((u32)i % 10 == 0) {
			if (unlikely(!DO(insert)(t->map, key, BENCH_LEN, i)))
				t->failed++;
		} else if (DO(get)(t->map, key, BENCH_LEN, &value)) {
			sum += value;
		}
	}
	t->next = end;
	t->sum += sum;
}

static __always_inline void LOOP(batches)(struct bench_thread *t, unsigned int n, unsigned int size)
{
	u64 i = t->next, end = i + n;

	/* No batch runs over the sequence's end: its length is a multiple of the size. */
	for (; i != end; i++) {
		if (unlikely(!DO(batch)(t->map, LOOP(key)(t, i * size), BENCH_LEN, size)))
			t->failed++;
	}
	t->next = end;
}

static noinline void LOOP(loop_batch_2)(struct bench_thread *t, unsigned int n)
{
	LOOP(batches)(t, n, 2);
}

static noinline void LOOP(loop_batch_4)(struct bench_thread *t, unsigned int n)
{
	LOOP(batches)(t, n, 4);
}

static noinline void LOOP(loop_batch_16)(struct bench_thread *t, unsigned int n)
{
	LOOP(batches)(t, n, 16);
}

#ifdef BENCH_HAS_SHARED
BENCH_LOCK_LOOP(loop_shared, lock_shared, unlock_shared)
#endif

#ifdef BENCH_HAS_ASYNC
BENCH_LOCK_LOOP(loop_async, async, unlock)

static noinline void LOOP(loop_grant)(struct bench_thread *t, unsigned int n)
{
	u64 i = t->next, end = i + n;

	for (; i != end; i++) {
		if (unlikely(!DO(grant)(t->map, LOOP(key)(t, i), BENCH_LEN)))
			t->failed++;
	}
	t->next = end;
}
#endif

static noinline void LOOP(loop_hold)(struct bench_thread *t, unsigned int n)
{
	u64 i = t->next, end = i + n, sum = 0, asked, got;
	struct bench_held held;

	for (; i != end; i++) {
		asked = bench_ticks();
		if (unlikely(!DO(lock)(t->map, LOOP(key)(t, i), BENCH_LEN, &held))) {
			t->failed++;
			continue;
		}
		got = bench_ticks();
		bench_wait_add(t->waits, got - asked);
		sum += LOOP(add)(&held);
		while (bench_ticks() - got < t->hold)
			cpu_relax();
		DO(unlock)(t->map, &held, BENCH_LEN);
	}
	t->next = end;
	t->sum += sum;
}

#if defined(__KERNEL__) && !defined(BENCH_SPINS)
/*
 * The holder lets others of its CPU run, so that the other thread of the pair finds the
 * key held by a task that does not run, and sleeps for it. Then it lets that one have it.
 */
static noinline void LOOP(loop_hand_over)(struct bench_thread *t, unsigned int n)
{
	u64 i = t->next, end = i + n, asked;
	struct bench_held held;

	for (; i != end; i++) {
		asked = bench_ticks();
		if (unlikely(!DO(lock)(t->map, LOOP(key)(t, i), BENCH_LEN, &held))) {
			t->failed++;
			continue;
		}
		bench_wait_add(t->waits, bench_ticks() - asked);
		bench_yield();
		DO(unlock)(t->map, &held, BENCH_LEN);
		bench_yield();
	}
	t->next = end;
}

static noinline void LOOP(loop_unlock)(struct bench_thread *t, unsigned int n)
{
	u64 i = t->next, end = i + n, began;
	struct bench_held held;

	for (; i != end; i++) {
		if (unlikely(!DO(lock)(t->map, LOOP(key)(t, i), BENCH_LEN, &held))) {
			t->failed++;
			continue;
		}
		t->while_held(t->arg);
		began = bench_ticks();
		DO(unlock)(t->map, &held, BENCH_LEN);
		t->took = bench_ticks() - began;
	}
	t->next = end;
}

#ifdef BENCH_HAS_SHARED
/* The writer comes back a millisecond after it unlocked, when readers hold the key again. */
static __always_inline bool LOOP(write)(struct bench_thread *t, const u8 *key)
{
	struct bench_held held;
	u64 asked;

	bench_sleep_us(1000);
	asked = bench_ticks();
	if (unlikely(!DO(lock)(t->map, key, BENCH_LEN, &held)))
		return false;
	bench_wait_add(t->waits, bench_ticks() - asked);
	LOOP(add)(&held);
	DO(unlock)(t->map, &held, BENCH_LEN);
	return true;
}

static __always_inline bool LOOP(read)(struct bench_thread *t, const u8 *key)
{
	struct bench_held held;

	if (unlikely(!DO(lock_shared)(t->map, key, BENCH_LEN, &held)))
		return false;
	bench_sleep_us(t->hold_us);
	DO(unlock_shared)(t->map, &held, BENCH_LEN);
	return true;
}

static noinline void LOOP(loop_sleep)(struct bench_thread *t, unsigned int n)
{
	u64 i = t->next, end = i + n;
	const u8 *key;

	for (; i != end; i++) {
		key = LOOP(key)(t, i);
		if (!(t->writer ? LOOP(write)(t, key) : LOOP(read)(t, key)))
			t->failed++;
	}
	t->next = end;
}
#endif
#endif
#endif

/* In the order of enum bench_op. */
static const bench_loop_t LOOP(loops)[BENCH_NR_OPS] = {
	LOOP(loop_fill),
	LOOP(loop_get),
	LOOP(loop_change),
#if BENCH_LEN == 8
	LOOP(loop_lock),
#ifdef BENCH_NO_TRYLOCK
	NULL,
#else
	LOOP(loop_trylock),
#endif
	LOOP(loop_insert_remove),
	LOOP(loop_mixed),
	LOOP(loop_batch_2),
	LOOP(loop_batch_4),
	LOOP(loop_batch_16),
#ifdef BENCH_HAS_SHARED
	LOOP(loop_shared),
#else
	NULL,
#endif
#ifdef BENCH_HAS_ASYNC
	LOOP(loop_async),
	LOOP(loop_grant),
#else
	NULL,
	NULL,
#endif
	LOOP(loop_hold),
#if defined(__KERNEL__) && !defined(BENCH_SPINS)
	LOOP(loop_hand_over),
#ifdef BENCH_HAS_SHARED
	LOOP(loop_sleep),
#else
	NULL,
#endif
	LOOP(loop_unlock),
#endif
#endif
};

#undef BENCH_LOCK_LOOP
#undef LOOP
#undef bench_held
#undef DO
#undef _BENCH_3
#undef __BENCH_3
#undef _BENCH_2
#undef __BENCH_2
#undef BENCH_LEN
