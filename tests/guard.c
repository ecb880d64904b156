// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Scope guards, which unlock or free at the end of the scope
 *
 * A function for each guard locks a key that is free, and then tries to lock it
 * again, which has to fail. If the key is locked already, it returns the error.
 */
#include <linux/cleanup.h>
#include <linux/preempt.h>

#include "fixture.h"

static int guarded_lock(struct lockmap *map, u64 n)
{
	CLASS(lockmap_lock, entry)(map, &n, sizeof(n));
	return IS_ERR(entry) ? PTR_ERR(entry) : trylock_error(map, n);
}

static int guarded_lock_interruptible(struct lockmap *map, u64 n)
{
	CLASS(lockmap_lock_interruptible, entry)(map, &n, sizeof(n));
	return IS_ERR(entry) ? PTR_ERR(entry) : trylock_error(map, n);
}

static int guarded_lock_killable(struct lockmap *map, u64 n)
{
	CLASS(lockmap_lock_killable, entry)(map, &n, sizeof(n));
	return IS_ERR(entry) ? PTR_ERR(entry) : trylock_error(map, n);
}

static int guarded_trylock(struct lockmap *map, u64 n)
{
	CLASS(lockmap_trylock, entry)(map, &n, sizeof(n));
	return IS_ERR(entry) ? PTR_ERR(entry) : trylock_error(map, n);
}

static int freed_lock(struct lockmap *map, u64 n)
{
	struct lockmap_entry *entry __free(lockmap_unlock) =
		lockmap_lock_timeout(map, &n, sizeof(n), 1);

	return IS_ERR(entry) ? PTR_ERR(entry) : trylock_error(map, n);
}

static int guarded_lock_shared(struct lockmap *map, u64 n)
{
	CLASS(lockmap_lock_shared, entry)(map, &n, sizeof(n));
	return IS_ERR(entry) ? PTR_ERR(entry) : trylock_error(map, n);
}

static int guarded_lock_shared_interruptible(struct lockmap *map, u64 n)
{
	CLASS(lockmap_lock_shared_interruptible, entry)(map, &n, sizeof(n));
	return IS_ERR(entry) ? PTR_ERR(entry) : trylock_error(map, n);
}

static int guarded_lock_shared_killable(struct lockmap *map, u64 n)
{
	CLASS(lockmap_lock_shared_killable, entry)(map, &n, sizeof(n));
	return IS_ERR(entry) ? PTR_ERR(entry) : trylock_error(map, n);
}

static int guarded_trylock_shared(struct lockmap *map, u64 n)
{
	CLASS(lockmap_trylock_shared, entry)(map, &n, sizeof(n));
	return IS_ERR(entry) ? PTR_ERR(entry) : trylock_error(map, n);
}

static int freed_lock_shared(struct lockmap *map, u64 n)
{
	const struct lockmap_entry *entry __free(lockmap_unlock_shared) =
		lockmap_lock_shared_timeout(map, &n, sizeof(n), 1);

	return IS_ERR(entry) ? PTR_ERR(entry) : trylock_error(map, n);
}

static int guarded_batch(struct lockmap *map, u64 n)
{
	struct lockmap_key keys[] = { { &n, sizeof(n) } };

	CLASS(lockmap_batch_lock, batch)(map, keys, 1);
	return IS_ERR(batch) ? PTR_ERR(batch) : trylock_error(map, n);
}

static int guarded_batch_interruptible(struct lockmap *map, u64 n)
{
	struct lockmap_key keys[] = { { &n, sizeof(n) } };

	CLASS(lockmap_batch_lock_interruptible, batch)(map, keys, 1);
	return IS_ERR(batch) ? PTR_ERR(batch) : trylock_error(map, n);
}

static int guarded_batch_killable(struct lockmap *map, u64 n)
{
	struct lockmap_key keys[] = { { &n, sizeof(n) } };

	CLASS(lockmap_batch_lock_killable, batch)(map, keys, 1);
	return IS_ERR(batch) ? PTR_ERR(batch) : trylock_error(map, n);
}

static int guarded_batch_trylock(struct lockmap *map, u64 n)
{
	struct lockmap_key keys[] = { { &n, sizeof(n) } };

	CLASS(lockmap_batch_trylock, batch)(map, keys, 1);
	return IS_ERR(batch) ? PTR_ERR(batch) : trylock_error(map, n);
}

static int freed_batch(struct lockmap *map, u64 n)
{
	struct lockmap_key keys[] = { { &n, sizeof(n) } };
	struct lockmap_batch *batch __free(lockmap_batch_unlock) =
		lockmap_batch_lock_timeout(map, keys, 1, 1);

	return IS_ERR(batch) ? PTR_ERR(batch) : trylock_error(map, n);
}

static int freed_prealloc(struct lockmap *map, u64 n)
{
	struct lockmap_prealloc *pre __free(lockmap_prealloc_free) =
		lockmap_prealloc(map, GFP_KERNEL);

	/* If lockmap_lock_prealloc() uses it, it is not freed as well. */
	return lock_error(prealloc_nr(map, n, &pre)) ?: -EBUSY;
}

/* The same of a map with types. */
DEFINE_LOCKMAP(typed, u64, u64);

#define TYPED_GUARD(func)								\
static int guarded_typed_##func(struct lockmap *map, u64 n)				\
{											\
	CLASS(typed_##func, entry)((struct typed *)map, &n);				\
	return IS_ERR(entry) ? PTR_ERR(entry) : trylock_error(map, n);			\
}

#define TYPED_BATCH_GUARD(func)								\
static int guarded_typed_##func(struct lockmap *map, u64 n)				\
{											\
	struct typed_batch_key keys[] = { typed_batch_key(&n) };			\
											\
	CLASS(typed_##func, batch)((struct typed *)map, keys, ARRAY_SIZE(keys));	\
	return IS_ERR(batch) ? PTR_ERR(batch) : trylock_error(map, n);			\
}

TYPED_GUARD(lock)
TYPED_GUARD(lock_interruptible)
TYPED_GUARD(lock_killable)
TYPED_GUARD(trylock)
TYPED_GUARD(lock_shared)
TYPED_GUARD(lock_shared_interruptible)
TYPED_GUARD(lock_shared_killable)
TYPED_GUARD(trylock_shared)
TYPED_BATCH_GUARD(batch_lock)
TYPED_BATCH_GUARD(batch_lock_interruptible)
TYPED_BATCH_GUARD(batch_lock_killable)
TYPED_BATCH_GUARD(batch_trylock)

static int freed_typed_lock(struct lockmap *map, u64 n)
{
	struct typed_entry *entry __free(typed_unlock) =
		typed_lock_timeout((struct typed *)map, &n, 1);

	return IS_ERR(entry) ? PTR_ERR(entry) : trylock_error(map, n);
}

static int freed_typed_lock_shared(struct lockmap *map, u64 n)
{
	const struct typed_entry *entry __free(typed_unlock_shared) =
		typed_lock_shared_timeout((struct typed *)map, &n, 1);

	return IS_ERR(entry) ? PTR_ERR(entry) : trylock_error(map, n);
}

static int freed_typed_batch(struct lockmap *map, u64 n)
{
	struct typed_batch_key keys[] = { typed_batch_key(&n) };
	struct typed_batch *batch __free(typed_batch_unlock) =
		typed_batch_lock_timeout((struct typed *)map, keys, ARRAY_SIZE(keys), 1);

	return IS_ERR(batch) ? PTR_ERR(batch) : trylock_error(map, n);
}

static void locks_end_with_the_scope(struct kunit *test)
{
	static const struct {
		int (*fn)(struct lockmap *map, u64 n);
		int error;
	} guards[] = {
		{ guarded_lock, -EDEADLK },
		{ guarded_lock_interruptible, -EDEADLK },
		{ guarded_lock_killable, -EDEADLK },
		{ guarded_trylock, -EBUSY },
		{ freed_lock, -EDEADLK },
		{ guarded_lock_shared, -EDEADLK },
		{ guarded_lock_shared_interruptible, -EDEADLK },
		{ guarded_lock_shared_killable, -EDEADLK },
		{ guarded_trylock_shared, -EBUSY },
		{ freed_lock_shared, -EDEADLK },
		{ guarded_batch, -EDEADLK },
		{ guarded_batch_interruptible, -EDEADLK },
		{ guarded_batch_killable, -EDEADLK },
		{ guarded_batch_trylock, -EBUSY },
		{ freed_batch, -EDEADLK },
		{ freed_prealloc, -EDEADLK },
		{ guarded_typed_lock, -EDEADLK },
		{ guarded_typed_lock_interruptible, -EDEADLK },
		{ guarded_typed_lock_killable, -EDEADLK },
		{ guarded_typed_trylock, -EBUSY },
		{ guarded_typed_lock_shared, -EDEADLK },
		{ guarded_typed_lock_shared_interruptible, -EDEADLK },
		{ guarded_typed_lock_shared_killable, -EDEADLK },
		{ guarded_typed_trylock_shared, -EBUSY },
		{ guarded_typed_batch_lock, -EDEADLK },
		{ guarded_typed_batch_lock_interruptible, -EDEADLK },
		{ guarded_typed_batch_lock_killable, -EDEADLK },
		{ guarded_typed_batch_trylock, -EBUSY },
		{ freed_typed_lock, -EDEADLK },
		{ freed_typed_lock_shared, -EDEADLK },
		{ freed_typed_batch, -EDEADLK },
	};
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry;

	for (unsigned int i = 0; i < ARRAY_SIZE(guards); i++) {
		/* locked in the scope, free afterwards */
		KUNIT_EXPECT_EQ_MSG(test, guards[i].fn(map, 1), -EBUSY, "guard %u", i);
		lmtest_expect_unlocked(test, map, 1, 1);
		/* an error: the guard has nothing to unlock */
		entry = lmtest_hold(test, map, 1);
		KUNIT_EXPECT_EQ_MSG(test, guards[i].fn(map, 1), guards[i].error, "guard %u", i);
		KUNIT_EXPECT_EQ(test, trylock_error(map, 1), -EBUSY);
		lockmap_unlock(entry);
	}
	lmtest_expect_unlocked(test, map, 1, 1);
}

static void inner_scopes(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry;

	scoped_guard(preempt) {
		struct lockmap_entry *in __free(lockmap_unlock) = trylock_nr(map, 2);

		entry = in;
	}
	KUNIT_EXPECT_NOT_NULL(test, entry);
	KUNIT_EXPECT_FALSE(test, IS_ERR(entry));
	lmtest_expect_unlocked(test, map, 2, 2);

	{
		struct lockmap *own __free(lockmap_destroy) =
			lockmap_create(&(struct lockmap_params) {
				.name = "guarded", .key_len = sizeof(u64),
			});

		KUNIT_EXPECT_FALSE(test, IS_ERR_OR_NULL(own));
		if (!IS_ERR_OR_NULL(own))
			KUNIT_EXPECT_EQ(test, insert_nr(own, 1, 0), 0);
	}
	{
		struct typed *own __free(typed_destroy) = typed_create(NULL);

		KUNIT_EXPECT_FALSE(test, IS_ERR_OR_NULL(own));
	}
}

static struct kunit_case guard_cases[] = {
	KUNIT_CASE(locks_end_with_the_scope),
	KUNIT_CASE(inner_scopes),
	{}
};

struct kunit_suite lmtest_guard_suite = {
	.name = "lockmap_guard",
	.init = lmtest_init,
	.test_cases = guard_cases,
};
