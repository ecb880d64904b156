// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What all cases share: maps and memory that are given back, keys by number,
 * and every call that locks or reads a key as a value of enum op
 *
 * KUnit runs the actions of a case last in, first out. A thread may only touch
 * what was there when it was started, so it is gone before that is given back.
 */
#include <linux/completion.h>
#include <linux/container_of.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/slab.h>
#include <linux/umh.h>

#include <kunit/test-bug.h>

#include "fixture.h"

/*
 * Cases
 */

static struct fixture *current_fixture(void)
{
	return kunit_get_current_test()->priv;
}

static void free_fixture(void *arg)
{
	struct fixture *fx = arg;

	/* The stuck thread runs code of this module, and may look at the fixture. */
	if (fx->stuck)
		__module_get(THIS_MODULE);
	else
		kfree(fx);
}

/* The .init of all suites */
int lmtest_init(struct kunit *test)
{
	struct fixture *fx = kzalloc(sizeof(*fx), GFP_KERNEL);

	if (!fx)
		return -ENOMEM;
	INIT_LIST_HEAD(&fx->workers);
	init_completion(&fx->gate);
	test->priv = fx;
	return kunit_add_action_or_reset(test, free_fixture, fx);
}

/* Have a process run a command. Return: 0 if it succeeded; where there is no shell it does not. */
int lmtest_shell(const char *command)
{
	char *argv[4] = { "/bin/sh", "-c", (char *)command, NULL };
	char *envp[2] = { "PATH=/bin", NULL };

	return call_usermodehelper(argv[0], argv, envp, UMH_WAIT_PROC);
}

/* Whether lmtest_shell() can look into debugfs: there may be none, or no shell */
bool lmtest_shell_sees_debugfs(void)
{
	return !lmtest_shell("cd /sys/kernel/debug/lockmap");
}

/*
 * Maps and memory
 */

static void destroy_map(void *map)
{
	if (!current_fixture()->stuck)
		lockmap_destroy(map);
}

/* A case has so many maps with a class of their own. */
#define MAPS_OF_A_CASE	4

/* Create a map that is destroyed when the case ends, or say why there is none. */
struct lockmap *lmtest_try_create(struct kunit *test, const struct lockmap_params *params)
{
	/* Without lockdep they have no size. */
	static struct lock_class_key keys[MAPS_OF_A_CASE];
	struct fixture *fx = test->priv;
	struct lockmap_params own;
	struct lockmap *map;

	/* Cases hold keys of one map while they lock those of another. */
	if (params && !params->lock_key) {
		own = *params;
		own.lock_key = &keys[fx->nr_maps++ % MAPS_OF_A_CASE];
		params = &own;
	}
	map = lockmap_create(params);
	if (!IS_ERR_OR_NULL(map))
		KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, destroy_map, map), 0);
	return map;
}

struct lockmap *lmtest_create(struct kunit *test, const struct lockmap_params *params)
{
	struct lockmap *map = lmtest_try_create(test, params);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	return map;
}

/* The map of most cases. Few shards: create.c says what many may cost. */
struct lockmap *lmtest_create_u64(struct kunit *test)
{
	return lmtest_create(test, &(struct lockmap_params) {
		.name = "test_u64", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.nr_shards = 2,
	});
}

/* Destroy a map before the case ends. */
void lmtest_destroy(struct kunit *test, struct lockmap *map)
{
	kunit_release_action(test, destroy_map, map);
}

static void free_memory(void *block)
{
	if (!current_fixture()->stuck)
		kvfree(block);
}

/* Zeroed memory; unlike kunit_kzalloc()'s it is kept from a stuck thread, and may be large. */
void *lmtest_zalloc(struct kunit *test, size_t size)
{
	void *block = kvzalloc(size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, block);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, free_memory, block), 0);
	return block;
}

/*
 * Locks
 */

/* Lock a key, or end the case. */
struct lockmap_entry *lmtest_hold(struct kunit *test, struct lockmap *map, u64 n)
{
	struct lockmap_entry *entry = lock_nr(map, n);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	return entry;
}

/* The same, to share it. */
const struct lockmap_entry *lmtest_hold_shared(struct kunit *test, struct lockmap *map, u64 n)
{
	const struct lockmap_entry *entry = share_nr(map, n);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	return entry;
}

/* The value of a shared key; 0 if it has none. */
u64 lmtest_shared_value(const struct lockmap_entry *entry)
{
	const u64 *value = lockmap_entry_value_shared(entry);

	return value ? *value : 0;
}

const char * const lmtest_op_name[NR_OPS] = {
	[OP_LOCK] = "lock",
	[OP_LOCK_INTERRUPTIBLE] = "lock_interruptible",
	[OP_LOCK_KILLABLE] = "lock_killable",
	[OP_LOCK_TIMEOUT] = "lock_timeout",
	[OP_LOCK_PREALLOC] = "lock_prealloc",
	[OP_BATCH] = "batch_lock",
	[OP_BATCH_INTERRUPTIBLE] = "batch_lock_interruptible",
	[OP_BATCH_KILLABLE] = "batch_lock_killable",
	[OP_BATCH_TIMEOUT] = "batch_lock_timeout",
	[OP_LOCK_SHARED] = "lock_shared",
	[OP_LOCK_SHARED_INTERRUPTIBLE] = "lock_shared_interruptible",
	[OP_LOCK_SHARED_KILLABLE] = "lock_shared_killable",
	[OP_LOCK_SHARED_TIMEOUT] = "lock_shared_timeout",
	[OP_BATCH_SHARED] = "batch_lock, shared",
	[OP_BATCH_SHARED_INTERRUPTIBLE] = "batch_lock_interruptible, shared",
	[OP_BATCH_SHARED_KILLABLE] = "batch_lock_killable, shared",
	[OP_BATCH_SHARED_TIMEOUT] = "batch_lock_timeout, shared",
	[OP_GET] = "get",
	[OP_INSERT] = "insert",
	[OP_REMOVE] = "remove",
	[OP_CONTAINS] = "contains",
	[OP_LOCK_PRESENT] = "lock_present",
	[OP_LOCK_PRESENT_KILLABLE] = "lock_present_killable",
	[OP_FOR_EACH] = "for_each",
	[OP_RETAIN] = "retain",
	[OP_CLEAR] = "clear",
	[OP_TRYLOCK] = "trylock",
	[OP_BATCH_TRYLOCK] = "batch_trylock",
	[OP_TRYLOCK_SHARED] = "trylock_shared",
	[OP_BATCH_TRYLOCK_SHARED] = "batch_trylock, shared",
	[OP_LOCK_ASYNC] = "lock_async",
	[OP_TRYLOCK_PRESENT] = "trylock_present",
	[OP_TRYGET] = "tryget",
};

/* Lock a batch by any call that can; the keys say which of them are shared. */
struct lockmap_batch *lmtest_batch_by(struct lockmap *map, enum op op,
				      const struct lockmap_key *keys, unsigned int nr,
				      unsigned long timeout)
{
	switch (op) {
	case OP_BATCH:
	case OP_BATCH_SHARED:
		return lockmap_batch_lock(map, keys, nr);
	case OP_BATCH_INTERRUPTIBLE:
	case OP_BATCH_SHARED_INTERRUPTIBLE:
		return lockmap_batch_lock_interruptible(map, keys, nr);
	case OP_BATCH_KILLABLE:
	case OP_BATCH_SHARED_KILLABLE:
		return lockmap_batch_lock_killable(map, keys, nr);
	case OP_BATCH_TIMEOUT:
	case OP_BATCH_SHARED_TIMEOUT:
		return lockmap_batch_lock_timeout(map, keys, nr, timeout);
	case OP_BATCH_TRYLOCK:
	case OP_BATCH_TRYLOCK_SHARED:
		return lockmap_batch_trylock(map, keys, nr);
	default:
		return ERR_PTR(-EOPNOTSUPP);
	}
}

/* A request that is not pending for long */
struct brief_request {
	struct lockmap_request req;
	struct lockmap_entry *entry;
	struct completion done;
};

static void brief_request_granted(struct lockmap_request *req, struct lockmap_entry *entry)
{
	struct brief_request *brief = container_of(req, struct brief_request, req);

	brief->entry = entry;
	complete(&brief->done);
}

/* Lock a key by a request, which is taken back if it has to wait. */
static struct lockmap_entry *lock_async_briefly(struct lockmap *map, const void *key, size_t len)
{
	struct brief_request brief = { .req.granted = brief_request_granted };
	struct lockmap_entry *entry;

	init_completion(&brief.done);
	entry = lockmap_lock_async(map, key, len, &brief.req);
	if (entry != ERR_PTR(-EINPROGRESS))
		return entry;
	if (lockmap_cancel(&brief.req))
		return ERR_PTR(-EBUSY);
	wait_for_completion(&brief.done);
	return brief.entry;
}

static struct lockmap_entry *lock_by_prealloc(struct lockmap *map, const void *key, size_t len)
{
	struct lockmap_prealloc *pre = lockmap_prealloc(map, GFP_KERNEL);
	struct lockmap_entry *entry;

	if (IS_ERR_OR_NULL(pre))
		return ERR_CAST(pre);
	entry = lockmap_lock_prealloc(map, key, len, &pre);
	lockmap_prealloc_free(pre);
	return entry;
}

/*
 * Lock a key by any call that can. @batch is set to the batch that the key is locked in, if
 * any. An entry that is shared must not be written.
 */
struct lockmap_entry *lmtest_lock_by(struct lockmap *map, enum op op, const void *key, size_t len,
				     unsigned long timeout, struct lockmap_batch **batch)
{
	struct lockmap_key k = { .data = key, .len = len, .shared = op_shares(op) };
	struct lockmap_batch *b;

	*batch = NULL;
	switch (op) {
	case OP_LOCK:
		return lockmap_lock(map, key, len);
	case OP_LOCK_INTERRUPTIBLE:
		return lockmap_lock_interruptible(map, key, len);
	case OP_LOCK_KILLABLE:
		return lockmap_lock_killable(map, key, len);
	case OP_LOCK_TIMEOUT:
		return lockmap_lock_timeout(map, key, len, timeout);
	case OP_LOCK_PREALLOC:
		return lock_by_prealloc(map, key, len);
	case OP_LOCK_PRESENT:
		return lockmap_lock_present(map, key, len);
	case OP_LOCK_PRESENT_KILLABLE:
		return lockmap_lock_present_killable(map, key, len);
	case OP_TRYLOCK_PRESENT:
		return lockmap_trylock_present(map, key, len);
	case OP_TRYLOCK:
		return lockmap_trylock(map, key, len);
	case OP_LOCK_ASYNC:
		return lock_async_briefly(map, key, len);
	case OP_LOCK_SHARED:
		return (struct lockmap_entry *)lockmap_lock_shared(map, key, len);
	case OP_LOCK_SHARED_INTERRUPTIBLE:
		return (struct lockmap_entry *)lockmap_lock_shared_interruptible(map, key, len);
	case OP_LOCK_SHARED_KILLABLE:
		return (struct lockmap_entry *)lockmap_lock_shared_killable(map, key, len);
	case OP_LOCK_SHARED_TIMEOUT:
		return (struct lockmap_entry *)lockmap_lock_shared_timeout(map, key, len, timeout);
	case OP_TRYLOCK_SHARED:
		return (struct lockmap_entry *)lockmap_trylock_shared(map, key, len);
	default:
		b = lmtest_batch_by(map, op, &k, 1, timeout);
		break;
	}
	if (IS_ERR_OR_NULL(b))
		return ERR_PTR(b ? PTR_ERR(b) : -EFAULT);
	*batch = b;
	return (struct lockmap_entry *)lockmap_batch_entry_shared(b, key, len);
}

/* Undo lmtest_lock_by(). */
void lmtest_unlock_by(enum op op, struct lockmap_entry *entry, struct lockmap_batch *batch)
{
	if (batch)
		lockmap_batch_unlock(batch);
	else if (op_shares(op))
		lockmap_unlock_shared(entry);
	else
		lockmap_unlock(entry);
}

/*
 * Do anything with a key, and unlock it if that locked it. Values have 8 bytes at
 * most; @visits counts the values that walks visit.
 */
int lmtest_do_op(struct lockmap *map, enum op op, const void *key, size_t len,
		 unsigned long timeout, unsigned long *visits)
{
	struct lockmap_entry *entry;
	struct lockmap_batch *batch;
	u64 value = 77;

	switch (op) {
	case OP_GET:
		return lockmap_get(map, key, len, &value);
	case OP_TRYGET:
		return lockmap_tryget(map, key, len, &value);
	case OP_INSERT:
		return lockmap_insert(map, key, len, &value, NULL);
	case OP_REMOVE:
		return lockmap_remove(map, key, len, NULL);
	case OP_CONTAINS:
		return lockmap_contains(map, key, len);
	case OP_FOR_EACH:
		return lockmap_for_each(map, lmtest_count_visit, visits);
	case OP_RETAIN:
		return lockmap_retain(map, lmtest_keep_all, visits);
	case OP_CLEAR:
		return lockmap_clear(map);
	default:
		entry = lmtest_lock_by(map, op, key, len, timeout, &batch);
		if (IS_ERR_OR_NULL(entry))
			return entry ? PTR_ERR(entry) : -EFAULT;
		lmtest_unlock_by(op, entry, batch);
		return 0;
	}
}

/*
 * What a map has to be like
 */

/* No key of the range is locked, and all can be locked. */
void lmtest_expect_unlocked(struct kunit *test, struct lockmap *map, u64 first, u64 last)
{
	for (u64 n = first; n <= last; n++)
		KUNIT_EXPECT_EQ_MSG(test, trylock_error(map, n), 0, "key %llu", n);
}

/* The key has no value, and nothing brings one to light. */
void lmtest_expect_absent(struct kunit *test, struct lockmap *map, u64 n)
{
	struct lockmap_entry *entry;
	u64 old = 1234;

	KUNIT_EXPECT_FALSE(test, contains_nr(map, n));
	KUNIT_EXPECT_EQ(test, get_nr(map, n, &old), -ENOENT);
	KUNIT_EXPECT_EQ(test, old, 1234);
	KUNIT_EXPECT_EQ(test, remove_nr(map, n), -ENOENT);
	entry = lmtest_hold(test, map, n);
	KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
	KUNIT_EXPECT_FALSE(test, lockmap_entry_remove(entry, &old));
	KUNIT_EXPECT_EQ(test, old, 1234);
	lockmap_unlock(entry);
}

/* An empty map takes 100 keys, knows their values, and is empty again without them. */
void lmtest_expect_usable(struct kunit *test, struct lockmap *map, const char *what)
{
	u64 value;

	for (u64 n = 0; n < 100; n++)
		KUNIT_EXPECT_EQ_MSG(test, insert_nr(map, n, n * 3), 0, "%s", what);
	KUNIT_EXPECT_EQ_MSG(test, lockmap_len(map), 100, "%s", what);
	for (u64 n = 0; n < 100; n++) {
		KUNIT_EXPECT_EQ_MSG(test, get_nr(map, n, &value), 0, "%s", what);
		KUNIT_EXPECT_EQ_MSG(test, value, n * 3, "%s", what);
	}
	for (u64 n = 0; n < 100; n++)
		KUNIT_EXPECT_EQ_MSG(test, remove_nr(map, n), 0, "%s", what);
	KUNIT_EXPECT_TRUE_MSG(test, lockmap_is_empty(map), "%s", what);
}

/*
 * Functions for walks
 */

static void count_visit(unsigned long *visits)
{
	if (visits)
		++*visits;
}

int lmtest_count_visit(const void *key, size_t len, void *value, void *arg)
{
	count_visit(arg);
	return 0;
}

bool lmtest_keep_all(const void *key, size_t len, void *value, void *arg)
{
	count_visit(arg);
	return true;
}

bool lmtest_keep_none(const void *key, size_t len, void *value, void *arg)
{
	count_visit(arg);
	return false;
}

bool lmtest_keep_even(const void *key, size_t len, void *value, void *arg)
{
	count_visit(arg);
	return *(u64 *)value % 2 == 0;
}

/*
 * Keys of a batch
 */

/* Keys with the numbers from @first on, in order */
struct lockmap_key *lmtest_make_keys(struct kunit *test, u64 first, unsigned int n)
{
	struct lockmap_key *keys = lmtest_zalloc(test, max(n, 1U) * (sizeof(*keys) + sizeof(u64)));
	u64 *data = (u64 *)(keys + n);

	for (unsigned int i = 0; i < n; i++) {
		data[i] = first + i;
		keys[i].data = data + i;
		keys[i].len = sizeof(u64);
	}
	return keys;
}

void lmtest_shuffle_keys(struct lockmap_key *keys, unsigned int n, u64 seed)
{
	struct rnd_state rnd;

	prandom_seed_state(&rnd, seed);
	for (unsigned int i = n; i > 1; i--) {
		unsigned int j = prandom_u32_state(&rnd) % i;

		swap(keys[i - 1], keys[j]);
	}
}
