// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * KUnit tests of lockmap: what lockmap.h promises, line by line
 *
 * Rules of this file:
 *
 * - A wait is observed (sleeps()), never slept for.
 * - Other threads report by return value and counters; only the thread of the
 *   case itself makes assertions.
 * - Every wait of the case's own thread is bounded. A thread that does not come
 *   back fails the case, and what it may still touch is leaked.
 * - Maps, threads and memory of a case are given back by lockmap_test_exit(),
 *   whatever way the case ended.
 * - Warnings that are wanted stand between two lines in the log that
 *   expect_warning() writes.
 */
#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/lockdep.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/unaligned.h>
#include <linux/workqueue.h>

#include <kunit/test.h>

#include "lockmap.h"

/* Longer than anything here takes unless it hangs */
#define PATIENCE	(40 * HZ)
#define MAX_MAPS	16
#define MAX_BLOCKS	16

/* What a case owns */
struct fixture {
	struct list_head workers;
	struct lockmap *maps[MAX_MAPS];
	unsigned int nr_maps;
	void *blocks[MAX_BLOCKS];
	unsigned int nr_blocks;
	unsigned int nr_workers;
	struct completion go;
	bool stop;
	bool stuck;
};

/* Every way to take or to read a key */
enum op {
	OP_LOCK,
	OP_LOCK_INTERRUPTIBLE,
	OP_LOCK_KILLABLE,
	OP_LOCK_TIMEOUT,
	OP_LOCK_PREALLOC,
	OP_BATCH,
	OP_BATCH_INTERRUPTIBLE,
	OP_BATCH_KILLABLE,
	OP_BATCH_TIMEOUT,
	NR_LOCK_OPS,
	OP_GET = NR_LOCK_OPS,
	OP_INSERT,
	OP_REMOVE,
	OP_CONTAINS,
	NR_KEY_OPS,
	OP_FOR_EACH = NR_KEY_OPS,
	OP_RETAIN,
	OP_CLEAR,
	NR_WAIT_OPS,
	OP_TRYLOCK = NR_WAIT_OPS,
	OP_BATCH_TRYLOCK,
	NR_OPS,
};

static const char * const op_name[NR_OPS] = {
	[OP_LOCK] = "lock",
	[OP_LOCK_INTERRUPTIBLE] = "lock_interruptible",
	[OP_LOCK_KILLABLE] = "lock_killable",
	[OP_LOCK_TIMEOUT] = "lock_timeout",
	[OP_LOCK_PREALLOC] = "lock_prealloc",
	[OP_BATCH] = "batch_lock",
	[OP_BATCH_INTERRUPTIBLE] = "batch_lock_interruptible",
	[OP_BATCH_KILLABLE] = "batch_lock_killable",
	[OP_BATCH_TIMEOUT] = "batch_lock_timeout",
	[OP_GET] = "get",
	[OP_INSERT] = "insert",
	[OP_REMOVE] = "remove",
	[OP_CONTAINS] = "contains",
	[OP_FOR_EACH] = "for_each",
	[OP_RETAIN] = "retain",
	[OP_CLEAR] = "clear",
	[OP_TRYLOCK] = "trylock",
	[OP_BATCH_TRYLOCK] = "batch_trylock",
};

/* A thread of a case */
struct worker {
	struct list_head node;
	struct fixture *fx;
	struct task_struct *task;
	struct completion done;
	int (*fn)(struct worker *w);
	const char *what;
	struct rnd_state rnd;
	unsigned int id;
	bool calling;

	/* what to do; each fn uses some */
	struct lockmap *map;
	enum op op;
	u64 key;
	unsigned int nr;
	unsigned long timeout;
	void *arg;

	/* what came of it */
	int ret;
	unsigned long count;
	unsigned long errors;
	u64 longest;
};

static bool slow_kernel(void)
{
	return IS_ENABLED(CONFIG_KASAN) || IS_ENABLED(CONFIG_KCSAN) ||
	       IS_ENABLED(CONFIG_PROVE_LOCKING);
}

/* A debug kernel may need a millisecond to allocate and free an entry. */
static unsigned int scaled(unsigned int n)
{
	return slow_kernel() ? n / 64 + 2 : n;
}

static void expect_warning(bool begin)
{
	pr_info("lockmap_test: expect warning %s\n", begin ? "begin" : "end");
}

/*
 * The fixture: maps, memory and threads that are given back
 */

static int lockmap_test_init(struct kunit *test)
{
	struct fixture *fx = kzalloc(sizeof(*fx), GFP_KERNEL);

	if (!fx)
		return -ENOMEM;
	INIT_LIST_HEAD(&fx->workers);
	init_completion(&fx->go);
	test->priv = fx;
	return 0;
}

static void lockmap_test_exit(struct kunit *test)
{
	struct fixture *fx = test->priv;
	struct worker *w, *next;

	if (!fx)
		return;

	WRITE_ONCE(fx->stop, true);
	complete_all(&fx->go);
	list_for_each_entry_safe(w, next, &fx->workers, node) {
		if (!wait_for_completion_timeout(&w->done, PATIENCE)) {
			KUNIT_FAIL(test, "%s, thread %u: hangs", w->what, w->id);
			fx->stuck = true;
			continue;
		}
		kthread_stop(w->task);
		put_task_struct(w->task);
		list_del(&w->node);
		kfree(w);
	}

	if (fx->stuck) {
		__module_get(THIS_MODULE);
		return;
	}
	while (fx->nr_maps)
		lockmap_destroy(fx->maps[--fx->nr_maps]);
	while (fx->nr_blocks)
		kvfree(fx->blocks[--fx->nr_blocks]);
	kfree(fx);
}

static struct lockmap *try_map(struct kunit *test, const struct lockmap_params *params)
{
	struct fixture *fx = test->priv;
	struct lockmap *map;

	KUNIT_ASSERT_LT(test, fx->nr_maps, MAX_MAPS);
	map = lockmap_create(params);
	if (!IS_ERR_OR_NULL(map))
		fx->maps[fx->nr_maps++] = map;
	return map;
}

static struct lockmap *make_map(struct kunit *test, const struct lockmap_params *params)
{
	struct lockmap *map = try_map(test, params);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	return map;
}

static void forget_map(struct kunit *test, struct lockmap *map)
{
	struct fixture *fx = test->priv;

	for (unsigned int i = 0; i < fx->nr_maps; i++)
		if (fx->maps[i] == map)
			fx->maps[i] = fx->maps[--fx->nr_maps];
}

static void drop_map(struct kunit *test, struct lockmap *map)
{
	forget_map(test, map);
	lockmap_destroy(map);
}

/* The map of most cases: u64 to u64, with few shards, as create_extremes() says why */
static struct lockmap *make_u64_map(struct kunit *test)
{
	return make_map(test, &(struct lockmap_params) {
		.name = "test_u64", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.nr_shards = 2,
	});
}

static void *get_memory(struct kunit *test, size_t size)
{
	struct fixture *fx = test->priv;
	void *block;

	KUNIT_ASSERT_LT(test, fx->nr_blocks, MAX_BLOCKS);
	block = kvzalloc(size, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, block);
	fx->blocks[fx->nr_blocks++] = block;
	return block;
}

static int worker_main(void *arg)
{
	struct worker *w = arg;

	allow_signal(SIGUSR1);
	allow_signal(SIGKILL);
	w->ret = w->fn(w);
	flush_signals(current);
	complete(&w->done);
	return 0;
}

static struct worker *new_worker(struct kunit *test, int (*fn)(struct worker *w),
				 struct lockmap *map, const char *what)
{
	struct fixture *fx = test->priv;
	struct worker *w = kzalloc(sizeof(*w), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, w);
	init_completion(&w->done);
	w->fx = fx;
	w->fn = fn;
	w->map = map;
	w->what = what;
	w->id = fx->nr_workers++;
	w->timeout = PATIENCE;
	prandom_seed_state(&w->rnd, w->id + 1);
	return w;
}

static struct worker *start(struct kunit *test, struct worker *w)
{
	struct task_struct *task = kthread_create(worker_main, w, "lockmap_test/%u", w->id);

	if (IS_ERR(task))
		kfree(w);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	w->task = get_task_struct(task);
	list_add_tail(&w->node, &w->fx->workers);
	wake_up_process(task);
	return w;
}

/* Threads that are to run against each other start together. */
static void wait_for_go(struct worker *w)
{
	wait_for_completion_timeout(&w->fx->go, PATIENCE);
}

static void go(struct kunit *test)
{
	struct fixture *fx = test->priv;

	complete_all(&fx->go);
}

static void stop(struct kunit *test)
{
	struct fixture *fx = test->priv;

	WRITE_ONCE(fx->stop, true);
}

/* User Mode Linux does not preempt kernel code when an interrupt returns: loops have to. */
static void let_others_run(void)
{
	if (need_resched())
		schedule();
}

/* What loops of threads end by */
static bool stopped(const struct worker *w)
{
	let_others_run();
	return READ_ONCE(w->fx->stop);
}

static void rewind(struct kunit *test)
{
	struct fixture *fx = test->priv;

	WRITE_ONCE(fx->stop, false);
	reinit_completion(&fx->go);
}

static int join(struct kunit *test, struct worker *w)
{
	unsigned long left = wait_for_completion_timeout(&w->done, PATIENCE);

	KUNIT_ASSERT_NE_MSG(test, left, 0, "%s, thread %u: does not come back", w->what, w->id);
	complete_all(&w->done);
	return w->ret;
}

/* All threads, each of which is to return 0 */
static void join_all(struct kunit *test)
{
	struct fixture *fx = test->priv;
	struct worker *w;

	list_for_each_entry(w, &fx->workers, node)
		KUNIT_EXPECT_EQ_MSG(test, join(test, w), 0, "%s, thread %u", w->what, w->id);
}

static unsigned long sum_counts(struct kunit *test)
{
	struct fixture *fx = test->priv;
	unsigned long sum = 0;
	struct worker *w;

	list_for_each_entry(w, &fx->workers, node)
		sum += w->count;
	return sum;
}

static unsigned long sum_errors(struct kunit *test)
{
	struct fixture *fx = test->priv;
	unsigned long sum = 0;
	struct worker *w;

	list_for_each_entry(w, &fx->workers, node)
		sum += w->errors;
	return sum;
}

static u64 longest_of_all(struct kunit *test)
{
	struct fixture *fx = test->priv;
	struct worker *w;
	u64 longest = 0;

	list_for_each_entry(w, &fx->workers, node)
		longest = max(longest, w->longest);
	return longest;
}

/* Let go of threads that were joined, so that the sums start anew. */
static void bury_all(struct kunit *test)
{
	struct fixture *fx = test->priv;
	struct worker *w, *next;

	list_for_each_entry_safe(w, next, &fx->workers, node) {
		join(test, w);
		kthread_stop(w->task);
		put_task_struct(w->task);
		list_del(&w->node);
		kfree(w);
	}
	rewind(test);
}

/* What a worker says right before the call that is to wait */
static void calling(struct worker *w)
{
	WRITE_ONCE(w->calling, true);
}

/* Whether the worker sits in its call: asleep, and after a while not woken once. */
static bool sleeps(struct worker *w)
{
	unsigned long end = jiffies + PATIENCE;

	while (time_before(jiffies, end) && !completion_done(&w->done)) {
		if (READ_ONCE(w->calling) && !task_is_running(w->task)) {
			unsigned long switches = READ_ONCE(w->task->nvcsw);

			usleep_range(1000, 1500);
			if (!completion_done(&w->done) && !task_is_running(w->task) &&
			    READ_ONCE(w->task->nvcsw) == switches)
				return true;
		}
		usleep_range(100, 200);
	}
	return false;
}

static void expect_sleeps(struct kunit *test, struct worker *w)
{
	KUNIT_EXPECT_TRUE_MSG(test, sleeps(w), "%s does not wait", w->what);
}

/*
 * Keys are big endian, so that they are in the order of their numbers, which
 * is the order in which a task has to take them one by one.
 */

static u64 key_of(u64 n)
{
	return get_unaligned_be64(&n);
}

static u64 nr_of(const void *key)
{
	return get_unaligned_be64(key);
}

static struct lockmap_entry *lock_nr(struct lockmap *map, u64 n)
{
	u64 key = key_of(n);

	return lockmap_lock_timeout(map, &key, sizeof(key), PATIENCE);
}

static struct lockmap_entry *try_nr(struct lockmap *map, u64 n)
{
	u64 key = key_of(n);

	return lockmap_trylock(map, &key, sizeof(key));
}

static struct lockmap_entry *alloc_nr(struct lockmap *map, u64 n)
{
	u64 key = key_of(n);

	return lockmap_entry_alloc(map, &key, sizeof(key), GFP_KERNEL);
}

static int get_nr(struct lockmap *map, u64 n, void *value)
{
	u64 key = key_of(n);

	return lockmap_get(map, &key, sizeof(key), value);
}

static bool contains_nr(struct lockmap *map, u64 n)
{
	u64 key = key_of(n);

	return lockmap_contains(map, &key, sizeof(key));
}

static int insert_nr(struct lockmap *map, u64 n, u64 value)
{
	u64 key = key_of(n);

	return lockmap_insert(map, &key, sizeof(key), &value, NULL);
}

static int remove_nr(struct lockmap *map, u64 n)
{
	u64 key = key_of(n);

	return lockmap_remove(map, &key, sizeof(key), NULL);
}

/* The error of a lock call; a lock that was got is let go */
static int lock_error(struct lockmap_entry *entry)
{
	if (!entry)
		return -EFAULT;
	if (IS_ERR(entry))
		return PTR_ERR(entry);
	lockmap_unlock(entry);
	return 0;
}

static int batch_error(struct lockmap_batch *batch)
{
	if (!batch)
		return -EFAULT;
	if (IS_ERR(batch))
		return PTR_ERR(batch);
	lockmap_batch_unlock(batch);
	return 0;
}

static int is_busy(struct lockmap *map, u64 n)
{
	return lock_error(try_nr(map, n));
}

static struct lockmap_entry *hold(struct kunit *test, struct lockmap *map, u64 n)
{
	struct lockmap_entry *entry = lock_nr(map, n);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	return entry;
}

/* No key of the range is held, and all can be taken. */
static void expect_free(struct kunit *test, struct lockmap *map, u64 first, u64 last)
{
	for (u64 n = first; n <= last; n++)
		KUNIT_EXPECT_EQ_MSG(test, is_busy(map, n), 0, "key %llu", n);
}

/* Lock a key by any of the waiting operations. */
static struct lockmap_entry *acquire(struct lockmap *map, enum op op, const void *key, size_t len,
				     unsigned long timeout, struct lockmap_batch **batch)
{
	struct lockmap_key k = { .data = key, .len = len };
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
		return lockmap_lock_prealloc(map, lockmap_entry_alloc(map, key, len, GFP_KERNEL));
	case OP_TRYLOCK:
		return lockmap_trylock(map, key, len);
	case OP_BATCH:
		b = lockmap_batch_lock(map, &k, 1);
		break;
	case OP_BATCH_INTERRUPTIBLE:
		b = lockmap_batch_lock_interruptible(map, &k, 1);
		break;
	case OP_BATCH_KILLABLE:
		b = lockmap_batch_lock_killable(map, &k, 1);
		break;
	case OP_BATCH_TIMEOUT:
		b = lockmap_batch_lock_timeout(map, &k, 1, timeout);
		break;
	case OP_BATCH_TRYLOCK:
		b = lockmap_batch_trylock(map, &k, 1);
		break;
	default:
		return ERR_PTR(-EOPNOTSUPP);
	}
	if (IS_ERR_OR_NULL(b))
		return ERR_PTR(b ? PTR_ERR(b) : -EFAULT);
	*batch = b;
	return b->entries[0];
}

static void let_go(struct lockmap_entry *entry, struct lockmap_batch *batch)
{
	if (batch)
		lockmap_batch_unlock(batch);
	else
		lockmap_unlock(entry);
}

static int count_value(const void *key, size_t len, void *value, void *arg)
{
	(*(unsigned long *)arg)++;
	return 0;
}

static bool keep_value(const void *key, size_t len, void *value, void *arg)
{
	(*(unsigned long *)arg)++;
	return true;
}

/* Any operation, on a map whose values have 8 bytes at most; @visits counts what walks saw. */
static int do_op(struct lockmap *map, enum op op, const void *key, size_t len,
		 unsigned long timeout, unsigned long *visits)
{
	struct lockmap_entry *entry;
	struct lockmap_batch *batch;
	u64 value = 77;

	switch (op) {
	case OP_GET:
		return lockmap_get(map, key, len, &value);
	case OP_INSERT:
		return lockmap_insert(map, key, len, &value, NULL);
	case OP_REMOVE:
		return lockmap_remove(map, key, len, NULL);
	case OP_CONTAINS:
		return lockmap_contains(map, key, len);
	case OP_FOR_EACH:
		return lockmap_for_each(map, count_value, visits);
	case OP_RETAIN:
		return lockmap_retain(map, keep_value, visits);
	case OP_CLEAR:
		return lockmap_clear(map);
	default:
		entry = acquire(map, op, key, len, timeout, &batch);
		if (IS_ERR_OR_NULL(entry))
			return entry ? PTR_ERR(entry) : -EFAULT;
		let_go(entry, batch);
		return 0;
	}
}

static int run_op(struct worker *w)
{
	u64 key = key_of(w->key);

	calling(w);
	return do_op(w->map, w->op, &key, sizeof(key), w->timeout, &w->count);
}

static struct worker *start_op(struct kunit *test, struct lockmap *map, enum op op, u64 n,
			       unsigned long timeout)
{
	struct worker *w = new_worker(test, run_op, map, op_name[op]);

	w->op = op;
	w->key = n;
	w->timeout = timeout;
	return start(test, w);
}

/* Keys of a batch: numbers from @first on, in order */
static struct lockmap_key *make_keys(struct kunit *test, u64 first, unsigned int n)
{
	struct lockmap_key *keys = get_memory(test, max(n, 1U) * (sizeof(*keys) + sizeof(u64)));
	u64 *raw = (u64 *)(keys + n);

	for (unsigned int i = 0; i < n; i++) {
		raw[i] = key_of(first + i);
		keys[i].data = raw + i;
		keys[i].len = sizeof(u64);
	}
	return keys;
}

static void shuffle(struct lockmap_key *keys, unsigned int n, u64 seed)
{
	struct rnd_state rnd;

	prandom_seed_state(&rnd, seed);
	for (unsigned int i = n; i > 1; i--) {
		unsigned int j = prandom_u32_state(&rnd) % i;

		swap(keys[i - 1], keys[j]);
	}
}

/* A value that says which key it belongs to, in all its words */
struct wide {
	u64 word[8];
};

static void fill_wide(struct wide *v, u64 x)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(v->word); i++)
		v->word[i] = x;
}

static bool is_whole(const struct wide *v)
{
	for (unsigned int i = 1; i < ARRAY_SIZE(v->word); i++)
		if (v->word[i] != v->word[0])
			return false;
	return true;
}

/*
 * Life of a map
 */

static void create_refuses(struct kunit *test)
{
	static const struct {
		const char *why;
		struct lockmap_params params;
	} bad[] = {
		{ "no name", { .key_len = 8 } },
		{ "no key", { .name = "bad", .key_len = 0 } },
		{ "no variable key", { .name = "bad", .key_len = 0, .flags = LOCKMAP_VAR_KEY } },
		{ "long key", { .name = "bad", .key_len = LOCKMAP_MAX_KEY_LEN + 1 } },
		{ "long variable key", { .name = "bad", .key_len = LOCKMAP_MAX_KEY_LEN + 1,
					 .flags = LOCKMAP_VAR_KEY } },
		{ "endless key", { .name = "bad", .key_len = SIZE_MAX } },
		{ "endless value", { .name = "bad", .key_len = 8, .value_len = SIZE_MAX } },
		{ "wrapping value", { .name = "bad", .key_len = 8, .value_len = SIZE_MAX - 16 } },
		{ "huge value", { .name = "bad", .key_len = 8, .value_len = KMALLOC_MAX_SIZE } },
		{ "flag", { .name = "bad", .key_len = 8, .flags = 1U << 1 } },
		{ "flags", { .name = "bad", .key_len = 8, .flags = ~0U } },
		{ "clearing gfp", { .name = "bad", .key_len = 8, .gfp = GFP_KERNEL | __GFP_ZERO } },
		{ "DMA", { .name = "bad", .key_len = 8, .gfp = GFP_KERNEL | GFP_DMA } },
		{ "highmem", { .name = "bad", .key_len = 8, .gfp = GFP_KERNEL | __GFP_HIGHMEM } },
		{ "shards", { .name = "bad", .key_len = 8, .nr_shards = LOCKMAP_MAX_SHARDS + 1 } },
		{ "endless shards", { .name = "bad", .key_len = 8, .nr_shards = UINT_MAX } },
	};

	KUNIT_EXPECT_EQ(test, PTR_ERR(try_map(test, NULL)), -EINVAL);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		struct lockmap *map = try_map(test, &bad[i].params);

		KUNIT_EXPECT_TRUE_MSG(test, IS_ERR(map), "%s: accepted", bad[i].why);
		KUNIT_EXPECT_EQ_MSG(test, PTR_ERR(map), -EINVAL, "%s", bad[i].why);
	}
}

/* Put 100 keys into a map and take them out. */
static void round_trip(struct kunit *test, struct lockmap *map, const char *what)
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

static void create_takes(struct kunit *test)
{
	static const struct {
		const char *what;
		struct lockmap_params params;
	} good[] = {
		{ "1 shard", { .nr_shards = 1 } },
		{ "3 shards", { .nr_shards = 3 } },
		{ "64 shards", { .nr_shards = 64 } },
		{ "max_idle 1", { .max_idle = 1 } },
		{ "max_idle UINT_MAX", { .max_idle = UINT_MAX } },
		{ "room for a key", { .nelem_hint = 1 } },
		{ "room for 2^20", { .nelem_hint = 1 << 20 } },
		{ "room for 2^20 in a shard", { .nelem_hint = 1 << 20, .nr_shards = 1 } },
		{ "GFP_NOFS", { .gfp = GFP_NOFS } },
		{ "GFP_NOIO", { .gfp = GFP_NOIO } },
		{ "accounted", { .gfp = GFP_KERNEL_ACCOUNT } },
		{ "not sleeping", { .gfp = GFP_NOWAIT } },
		{ "variable keys", { .flags = LOCKMAP_VAR_KEY } },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(good); i++) {
		struct lockmap_params params = good[i].params;
		struct lockmap *map;

		params.name = "good";
		params.key_len = sizeof(u64);
		params.value_len = sizeof(u64);
		map = try_map(test, &params);
		KUNIT_ASSERT_FALSE_MSG(test, IS_ERR_OR_NULL(map), "%s: %pe", good[i].what, map);
		round_trip(test, map, good[i].what);
		drop_map(test, map);
	}
}

static void create_extremes(struct kunit *test)
{
	struct lockmap_params params = {
		.name = "extreme", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.nr_shards = 16,
	};
	unsigned long begin, took = 0;
	struct lockmap *map;

	/*
	 * As many shards as this kernel makes and frees in bearable time: on some
	 * each of them takes an RCU grace period (irq_work_sync()).
	 */
	while (params.nr_shards <= LOCKMAP_MAX_SHARDS && took < HZ / 8) {
		begin = jiffies;
		map = make_map(test, &params);
		round_trip(test, map, "many shards");
		drop_map(test, map);
		took = jiffies - begin;
		params.nr_shards *= 4;
	}
	kunit_info(test, "up to %u shards", params.nr_shards / 4);

	/* A hint is not a parameter that can be wrong: room is made or is not. */
	params.nr_shards = 0;
	params.nelem_hint = SIZE_MAX;
	map = try_map(test, &params);
	if (IS_ERR(map)) {
		KUNIT_EXPECT_TRUE(test, PTR_ERR(map) == -ENOMEM || PTR_ERR(map) == -EINVAL);
	} else {
		round_trip(test, map, "hint SIZE_MAX");
		drop_map(test, map);
	}

	/* The longest key, and the longest value that surely fits */
	params.nelem_hint = 0;
	params.key_len = LOCKMAP_MAX_KEY_LEN;
	params.flags = LOCKMAP_VAR_KEY;
	params.value_len = sizeof(u64);
	map = make_map(test, &params);
	round_trip(test, map, "longest key");
	drop_map(test, map);
}

struct destroyer {
	struct work_struct work;
	struct lockmap *map;
};

static void destroy_in_work(struct work_struct *work)
{
	lockmap_destroy(container_of(work, struct destroyer, work)->map);
}

/* By a worker that memory reclaim may wait for, which must not wait for one that it may not. */
static void destroy_in_reclaim(struct kunit *test)
{
	struct workqueue_struct *wq;
	struct destroyer destroyer;

	wq = alloc_workqueue("lockmap_test", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	KUNIT_ASSERT_NOT_NULL(test, wq);
	destroyer.map = lockmap_create(&(struct lockmap_params) {
		.name = "reclaim", .key_len = sizeof(u64), .value_len = sizeof(u64), .nr_shards = 8,
	});
	KUNIT_EXPECT_NOT_ERR_OR_NULL(test, destroyer.map);
	if (!IS_ERR(destroyer.map)) {
		for (u64 n = 0; n < 100; n++)
			KUNIT_EXPECT_EQ(test, insert_nr(destroyer.map, n, n), 0);
		INIT_WORK_ONSTACK(&destroyer.work, destroy_in_work);
		queue_work(wq, &destroyer.work);
		flush_work(&destroyer.work);
		destroy_work_on_stack(&destroyer.work);
	}
	destroy_workqueue(wq);
}

/* What takes NULL and error pointers for nothing does so. */
static void destroy_nothing(struct kunit *test)
{
	struct lockmap_entry *entry __free(lockmap_entry_free) = NULL;
	struct lockmap *map __free(lockmap_destroy) = NULL;

	lockmap_destroy(NULL);
	lockmap_destroy(ERR_PTR(-ENOMEM));
	lockmap_entry_free(NULL);
	lockmap_entry_free(ERR_PTR(-ENOMEM));
	lockmap_batch_unlock(NULL);
	lockmap_batch_unlock(ERR_PTR(-ENOMEM));
	entry = ERR_PTR(-EINVAL);
	map = ERR_PTR(-EINVAL);
	KUNIT_SUCCEED(test);
}

static void create_copies_params(struct kunit *test)
{
	struct lockmap_params *params = kunit_kzalloc(test, sizeof(*params), GFP_KERNEL);
	char *name = kunit_kzalloc(test, 16, GFP_KERNEL);
	struct lockmap *map;

	KUNIT_ASSERT_NOT_NULL(test, params);
	KUNIT_ASSERT_NOT_NULL(test, name);
	strscpy(name, "short-lived", 16);
	params->name = name;
	params->key_len = sizeof(u64);
	params->value_len = sizeof(u64);
	map = make_map(test, params);
	kunit_kfree(test, params);
	kunit_kfree(test, name);
	round_trip(test, map, "parameters freed");
}

/* Two maps do not know each other, nor does one get in the other's way. */
static void two_maps(struct kunit *test)
{
	struct lockmap *a = make_u64_map(test), *b = make_u64_map(test);
	struct lockmap_entry *held;
	u64 value;

	KUNIT_EXPECT_EQ(test, insert_nr(a, 1, 10), 0);
	KUNIT_EXPECT_EQ(test, insert_nr(b, 1, 20), 0);
	held = hold(test, a, 1);
	KUNIT_EXPECT_EQ(test, get_nr(b, 1, &value), 0);
	KUNIT_EXPECT_EQ(test, value, 20);
	KUNIT_EXPECT_EQ(test, is_busy(b, 1), 0);
	KUNIT_EXPECT_EQ(test, remove_nr(b, 1), 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(a), 1);
	lockmap_unlock(held);
}

/*
 * Keys without a value
 */

static void expect_absent(struct kunit *test, struct lockmap *map, u64 n)
{
	struct lockmap_entry *entry;
	u64 old = 1234;

	KUNIT_EXPECT_FALSE(test, contains_nr(map, n));
	KUNIT_EXPECT_EQ(test, get_nr(map, n, &old), -ENOENT);
	KUNIT_EXPECT_EQ(test, old, 1234);
	KUNIT_EXPECT_EQ(test, remove_nr(map, n), -ENOENT);
	entry = hold(test, map, n);
	KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
	KUNIT_EXPECT_FALSE(test, lockmap_entry_remove(entry, &old));
	KUNIT_EXPECT_EQ(test, old, 1234);
	lockmap_unlock(entry);
}

static void absent_keys_lock(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct lockmap_entry *entry;
	unsigned long visits = 0;
	const void *key;
	size_t len = 0;

	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
	for (unsigned int round = 0; round < 2; round++)
		for (u64 n = 0; n < 100; n++) {
			entry = hold(test, map, n);
			KUNIT_EXPECT_EQ(test, is_busy(map, n), -EBUSY);
			KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
			key = lockmap_entry_key(entry, &len);
			KUNIT_EXPECT_EQ(test, len, sizeof(u64));
			KUNIT_EXPECT_EQ(test, nr_of(key), n);
			KUNIT_EXPECT_PTR_EQ(test, lockmap_entry_key(entry, NULL), key);
			KUNIT_EXPECT_EQ(test, lockmap_len(map), 0);
			KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
			lockmap_unlock(entry);
		}
	expect_free(test, map, 0, 99);
	for (u64 n = 0; n < 100; n++)
		expect_absent(test, map, n);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 0);
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, count_value, &visits), 0);
	KUNIT_EXPECT_EQ(test, lockmap_retain(map, keep_value, &visits), 0);
	KUNIT_EXPECT_EQ(test, visits, 0);
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
}

/*
 * However many absent keys were locked and however many of them stay behind as
 * idle entries, none of them can be told from a key that was never touched.
 */
/* What the kernel does when memory gets short, with keys that are idle, held and present. */
static void idle_keys_are_reclaimed(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct lockmap_entry *entry;
	struct file *file;
	u64 value = 0;
	loff_t pos;

	file = filp_open("/proc/sys/vm/drop_caches", O_WRONLY, 0);
	if (IS_ERR(file))
		kunit_skip(test, "no drop_caches");
	for (unsigned int round = 0; round < 3; round++) {
		for (u64 n = 0; n < 1000; n++)
			KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, n)), 0);
		KUNIT_EXPECT_GE(test, insert_nr(map, 1, 11), 0);
		entry = lock_nr(map, 2);
		pos = 0;
		/* The second time there is nothing to take, and that has to end as well. */
		KUNIT_EXPECT_EQ(test, kernel_write(file, "2", 1, &pos), 1);
		KUNIT_EXPECT_EQ(test, kernel_write(file, "2", 1, &pos), 1);
		KUNIT_EXPECT_EQ(test, is_busy(map, 2), -EBUSY);
		KUNIT_EXPECT_EQ(test, lock_error(entry), 0);
		KUNIT_EXPECT_EQ(test, get_nr(map, 1, &value), 0);
		KUNIT_EXPECT_EQ(test, value, 11);
		KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
	}
	filp_close(file, NULL);
}

static void idle_keys_are_absent(struct kunit *test)
{
	static const unsigned int max_idle[] = { 1, 16, 0, UINT_MAX };
	unsigned int nr = scaled(100000);

	for (unsigned int i = 0; i < ARRAY_SIZE(max_idle); i++) {
		struct lockmap *map = make_map(test, &(struct lockmap_params) {
			.name = "idle", .key_len = sizeof(u64), .value_len = sizeof(u64),
			.max_idle = max_idle[i],
		});
		unsigned int failures = 0;
		unsigned long visits = 0;
		struct lockmap_entry *entry;

		for (u64 n = 0; n < nr; n++)
			failures += lock_error(lock_nr(map, n)) != 0;
		/* Some come back, again and again, so that more of them are kept. */
		for (unsigned int n = 0; n < nr; n++)
			failures += lock_error(lock_nr(map, n % (nr / 8))) != 0;
		KUNIT_EXPECT_EQ_MSG(test, failures, 0, "max_idle %u", max_idle[i]);
		KUNIT_EXPECT_EQ(test, lockmap_len(map), 0);
		KUNIT_EXPECT_EQ(test, lockmap_for_each(map, count_value, &visits), 0);
		KUNIT_EXPECT_EQ(test, visits, 0);
		for (u64 n = nr - 20; n < nr; n++)
			expect_absent(test, map, n);

		/* The value of its last life does not come back. */
		for (u64 n = 0; n < 20; n++) {
			KUNIT_EXPECT_EQ(test, insert_nr(map, n, ~0ULL), 0);
			KUNIT_EXPECT_EQ(test, remove_nr(map, n), 0);
			expect_absent(test, map, n);
			entry = hold(test, map, n);
			KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_get_or_insert(entry, NULL), 0);
			lockmap_unlock(entry);
		}
		KUNIT_EXPECT_EQ(test, lockmap_len(map), 20);
		drop_map(test, map);
	}
}

/*
 * What the holder can do with an entry
 */

static void entry_values(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct lockmap_entry *entry = hold(test, map, 7);
	u64 *value, in = 1, old = 0;

	KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
	KUNIT_EXPECT_FALSE(test, lockmap_entry_remove(entry, NULL));
	KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry, &in, &old));
	KUNIT_EXPECT_EQ(test, old, 0);
	in = 99;
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
	value = lockmap_entry_value(entry);
	KUNIT_ASSERT_NOT_NULL(test, value);
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED((unsigned long)value, LOCKMAP_VALUE_ALIGN));
	KUNIT_EXPECT_EQ(test, *value, 1);

	/* put in again: replaced, with and without the old one */
	in = 2;
	KUNIT_EXPECT_TRUE(test, lockmap_entry_insert(entry, &in, &old));
	KUNIT_EXPECT_EQ(test, old, 1);
	in = 3;
	KUNIT_EXPECT_TRUE(test, lockmap_entry_insert(entry, &in, NULL));
	KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 3);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);

	/* a value that is there stays */
	value = lockmap_entry_get_or_insert(entry, &old);
	KUNIT_EXPECT_PTR_EQ(test, value, lockmap_entry_value(entry));
	KUNIT_EXPECT_EQ(test, *value, 3);
	*value = 4;
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, get_nr(map, 7, &old), 0);
	KUNIT_EXPECT_EQ(test, old, 4);

	/* taken away, and still locked */
	entry = hold(test, map, 7);
	KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 4);
	KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(entry, &old));
	KUNIT_EXPECT_EQ(test, old, 4);
	KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
	KUNIT_EXPECT_FALSE(test, lockmap_entry_remove(entry, &old));
	KUNIT_EXPECT_EQ(test, is_busy(map, 7), -EBUSY);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 0);

	/* no value stands for zero bytes */
	value = lockmap_entry_get_or_insert(entry, NULL);
	KUNIT_ASSERT_NOT_NULL(test, value);
	KUNIT_EXPECT_EQ(test, *value, 0);
	*value = 5;
	KUNIT_EXPECT_TRUE(test, lockmap_entry_insert(entry, NULL, &old));
	KUNIT_EXPECT_EQ(test, old, 5);
	KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 0);
	KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(entry, NULL));
	value = lockmap_entry_get_or_insert(entry, &(u64) { 6 });
	KUNIT_EXPECT_EQ(test, *value, 6);
	lockmap_unlock(entry);
	expect_free(test, map, 7, 7);
	KUNIT_EXPECT_EQ(test, get_nr(map, 7, &old), 0);
	KUNIT_EXPECT_EQ(test, old, 6);
}

static void map_values(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	u64 key = key_of(1), in = 10, old = 0;
	size_t len = sizeof(key);

	KUNIT_EXPECT_EQ(test, lockmap_remove(map, &key, len, &old), -ENOENT);
	KUNIT_EXPECT_EQ(test, lockmap_get(map, &key, len, &old), -ENOENT);
	KUNIT_EXPECT_EQ(test, lockmap_get(map, &key, len, NULL), -ENOENT);
	KUNIT_EXPECT_FALSE(test, lockmap_contains(map, &key, len));

	KUNIT_EXPECT_EQ(test, lockmap_insert(map, &key, len, &in, &old), 0);
	KUNIT_EXPECT_EQ(test, old, 0);
	KUNIT_EXPECT_TRUE(test, lockmap_contains(map, &key, len));
	KUNIT_EXPECT_EQ(test, lockmap_get(map, &key, len, NULL), 0);
	KUNIT_EXPECT_EQ(test, lockmap_get(map, &key, len, &old), 0);
	KUNIT_EXPECT_EQ(test, old, 10);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
	KUNIT_EXPECT_FALSE(test, lockmap_is_empty(map));

	in = 11;
	KUNIT_EXPECT_EQ(test, lockmap_insert(map, &key, len, &in, &old), 1);
	KUNIT_EXPECT_EQ(test, old, 10);
	in = 12;
	KUNIT_EXPECT_EQ(test, lockmap_insert(map, &key, len, &in, NULL), 1);
	KUNIT_EXPECT_EQ(test, lockmap_insert(map, &key, len, NULL, &old), 1);
	KUNIT_EXPECT_EQ(test, old, 12);
	KUNIT_EXPECT_EQ(test, lockmap_get(map, &key, len, &old), 0);
	KUNIT_EXPECT_EQ(test, old, 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);

	KUNIT_EXPECT_EQ(test, lockmap_insert(map, &key, len, &in, NULL), 1);
	KUNIT_EXPECT_EQ(test, lockmap_remove(map, &key, len, &old), 0);
	KUNIT_EXPECT_EQ(test, old, 12);
	KUNIT_EXPECT_EQ(test, lockmap_remove(map, &key, len, NULL), -ENOENT);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
	expect_absent(test, map, 1);
}

/* Values of no bytes: a key is there or not */
static void sets(struct kunit *test)
{
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "set", .key_len = sizeof(u64),
	});
	struct lockmap_entry *entry;
	unsigned long visits = 0;

	entry = hold(test, map, 1);
	KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
	KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry, NULL, NULL));
	KUNIT_EXPECT_NOT_NULL(test, lockmap_entry_value(entry));
	KUNIT_EXPECT_FALSE(test, IS_ERR(lockmap_entry_value(entry)));
	KUNIT_EXPECT_TRUE(test, lockmap_entry_insert(entry, NULL, NULL));
	KUNIT_EXPECT_NOT_NULL(test, lockmap_entry_get_or_insert(entry, NULL));
	lockmap_unlock(entry);

	KUNIT_EXPECT_TRUE(test, contains_nr(map, 1));
	KUNIT_EXPECT_EQ(test, get_nr(map, 1, NULL), 0);
	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 0), 1);
	KUNIT_EXPECT_EQ(test, insert_nr(map, 2, 0), 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 2);
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, count_value, &visits), 0);
	KUNIT_EXPECT_EQ(test, visits, 2);
	KUNIT_EXPECT_EQ(test, remove_nr(map, 1), 0);
	KUNIT_EXPECT_EQ(test, remove_nr(map, 1), -ENOENT);
	entry = hold(test, map, 2);
	KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(entry, NULL));
	KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
	KUNIT_EXPECT_NOT_NULL(test, lockmap_entry_get_or_insert(entry, NULL));
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
	expect_absent(test, map, 2);
}

static bool is_pattern(const u8 *p, size_t len, u8 x)
{
	return !len || (p[0] == x && !memcmp(p, p + 1, len - 1));
}

static void value_sizes(struct kunit *test)
{
	static const size_t sizes[] = { 1, 7, 8, 9, 100, 5000, 1 << 20 };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t size = sizes[i];
		unsigned int nr = size > 10000 ? 20 : slow_kernel() ? 50 : 200;
		struct lockmap *map = make_map(test, &(struct lockmap_params) {
			.name = "value_sizes", .key_len = sizeof(u32), .value_len = size,
			.max_idle = i % 2,
		});
		u8 *in = get_memory(test, 2 * size), *out = in + size, *value;
		struct lockmap_entry *entry;

		for (u32 n = 0; n < nr; n++) {
			memset(in, n, size);
			KUNIT_EXPECT_EQ(test, lockmap_insert(map, &n, sizeof(n), in, NULL), 0);
		}
		for (u32 n = 0; n < nr; n++) {
			KUNIT_EXPECT_EQ(test, lockmap_get(map, &n, sizeof(n), out), 0);
			KUNIT_EXPECT_TRUE_MSG(test, is_pattern(out, size, n), "%zu bytes", size);
			entry = lockmap_lock(map, &n, sizeof(n));
			KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
			value = lockmap_entry_value(entry);
			KUNIT_ASSERT_NOT_NULL(test, value);
			KUNIT_EXPECT_TRUE(test, IS_ALIGNED((unsigned long)value,
							   LOCKMAP_VALUE_ALIGN));
			KUNIT_EXPECT_TRUE(test, is_pattern(value, size, n));
			KUNIT_EXPECT_TRUE(test, lockmap_entry_insert(entry, NULL, out));
			KUNIT_EXPECT_TRUE(test, is_pattern(out, size, n));
			KUNIT_EXPECT_TRUE(test, is_pattern(lockmap_entry_value(entry), size, 0));
			lockmap_unlock(entry);
			memset(out, 0xff, size);
			KUNIT_EXPECT_EQ(test, lockmap_remove(map, &n, sizeof(n), out), 0);
			KUNIT_EXPECT_TRUE(test, is_pattern(out, size, 0));
		}
		KUNIT_EXPECT_EQ(test, lockmap_len(map), 0);
		drop_map(test, map);
	}
}

static void key_sizes(struct kunit *test)
{
	static const size_t sizes[] = { 1, 2, 3, 4, 7, 8, 12, 16, 24, 40, 100, 1000, 4096 };
	u8 *key = get_memory(test, LOCKMAP_MAX_KEY_LEN + 1);

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t size = sizes[i], len = 0;
		u64 nr = size == 1 ? 256 : scaled(1000) + 100, value;
		struct lockmap *map = make_map(test, &(struct lockmap_params) {
			.name = "key_sizes", .key_len = size, .value_len = sizeof(u64),
		});
		struct lockmap_entry *entry;

		/* The bytes that differ are the last ones, then the first ones. */
		for (unsigned int end = 0; end < 2; end++) {
			u8 *at = end ? key : key + size - min_t(size_t, size, 2);

			memset(key, 0, size);
			for (u64 n = 0; n < nr; n++) {
				memcpy(at, &n, min_t(size_t, size, 2));
				KUNIT_EXPECT_EQ(test, lockmap_insert(map, key, size, &n, NULL), 0);
			}
			KUNIT_EXPECT_EQ_MSG(test, lockmap_len(map), nr, "%zu bytes", size);
			for (u64 n = 0; n < nr; n++) {
				memcpy(at, &n, min_t(size_t, size, 2));
				value = ~0ULL;
				KUNIT_EXPECT_EQ(test, lockmap_get(map, key, size, &value), 0);
				KUNIT_EXPECT_EQ_MSG(test, value, n, "%zu bytes", size);
			}
			entry = lockmap_lock(map, key, size);
			KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
			KUNIT_EXPECT_MEMEQ(test, lockmap_entry_key(entry, &len), key, size);
			KUNIT_EXPECT_EQ(test, len, size);
			lockmap_unlock(entry);
			KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
		}
		drop_map(test, map);
	}
}

static void variable_keys(struct kunit *test)
{
	static const size_t lens[] = { 1, 8, 63, 64, 65, 200, 4096 };
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "var", .key_len = LOCKMAP_MAX_KEY_LEN, .value_len = sizeof(u64),
		.flags = LOCKMAP_VAR_KEY,
	});
	u8 *key = get_memory(test, LOCKMAP_MAX_KEY_LEN + 1);
	struct lockmap_entry *entry[ARRAY_SIZE(lens)];
	u64 value;
	size_t len;

	/* Each is a prefix of the next, and none is another's key. */
	memset(key, 'a', LOCKMAP_MAX_KEY_LEN + 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
		entry[i] = lockmap_lock(map, key, lens[i]);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry[i]);
		value = lens[i];
		KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry[i], &value, NULL));
		KUNIT_EXPECT_EQ(test, lock_error(lockmap_trylock(map, key, lens[i])), -EBUSY);
	}
	KUNIT_EXPECT_EQ(test, lockmap_len(map), ARRAY_SIZE(lens));
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_trylock(map, key, 2)), 0);

	/* The map has copies of the keys. */
	memset(key, 'b', LOCKMAP_MAX_KEY_LEN);
	for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
		const u8 *stored = lockmap_entry_key(entry[i], &len);

		KUNIT_EXPECT_EQ(test, len, lens[i]);
		KUNIT_EXPECT_TRUE(test, is_pattern(stored, len, 'a'));
		lockmap_unlock(entry[i]);
	}
	memset(key, 'a', LOCKMAP_MAX_KEY_LEN);
	for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
		KUNIT_EXPECT_EQ(test, lockmap_get(map, key, lens[i], &value), 0);
		KUNIT_EXPECT_EQ(test, value, lens[i]);
		KUNIT_EXPECT_EQ(test, lockmap_insert(map, key, lens[i], NULL, &value), 1);
		KUNIT_EXPECT_EQ(test, value, lens[i]);
		KUNIT_EXPECT_FALSE(test, lockmap_contains(map, key, lens[i] == 4096 ? 4095 :
							  lens[i] == 63 || lens[i] == 64 ? 62 :
							  lens[i] + 1));
	}
	KUNIT_EXPECT_EQ(test, lockmap_remove(map, key, 64, NULL), 0);
	KUNIT_EXPECT_FALSE(test, lockmap_contains(map, key, 64));
	KUNIT_EXPECT_TRUE(test, lockmap_contains(map, key, 63));
	KUNIT_EXPECT_TRUE(test, lockmap_contains(map, key, 65));
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
	KUNIT_EXPECT_FALSE(test, lockmap_contains(map, key, 4096));
}

/* Every operation refuses a key of a wrong length or none, and does nothing. */
static void expect_bad_key(struct kunit *test, struct lockmap *map, const void *key, size_t len)
{
	u64 value = 1;

	for (enum op op = 0; op < NR_OPS; op++) {
		int want = op == OP_CONTAINS ? false : -EINVAL;

		if (op == OP_FOR_EACH || op == OP_RETAIN || op == OP_CLEAR)
			continue;
		KUNIT_EXPECT_EQ_MSG(test, do_op(map, op, key, len, 1, NULL), want,
				    "%s, %zu bytes at %p", op_name[op], len, key);
	}
	KUNIT_EXPECT_EQ(test, PTR_ERR(lockmap_entry_alloc(map, key, len, GFP_KERNEL)), -EINVAL);
	KUNIT_EXPECT_EQ(test, lockmap_remove(map, key, len, &value), -EINVAL);
	KUNIT_EXPECT_EQ(test, value, 1);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
}

static void wrong_keys(struct kunit *test)
{
	struct lockmap *fixed = make_u64_map(test);
	struct lockmap *var = make_map(test, &(struct lockmap_params) {
		.name = "wrong_var", .key_len = 100, .value_len = sizeof(u64),
		.flags = LOCKMAP_VAR_KEY,
	});
	u8 *key = get_memory(test, 256);
	struct lockmap_key keys[4];
	struct lockmap_batch *batch;

	KUNIT_EXPECT_EQ(test, insert_nr(fixed, 0, 1), 0);
	KUNIT_EXPECT_EQ(test, insert_nr(var, 0, 1), 0);
	expect_bad_key(test, fixed, key, 0);
	expect_bad_key(test, fixed, key, 7);
	expect_bad_key(test, fixed, key, 9);
	expect_bad_key(test, fixed, key, SIZE_MAX);
	expect_bad_key(test, fixed, NULL, 8);
	pr_info("lockmap_test: has to be told: wrong_var: a key of 0 bytes is refused\n");
	expect_bad_key(test, var, key, 0);
	expect_bad_key(test, var, key, 101);
	expect_bad_key(test, var, key, SIZE_MAX);
	expect_bad_key(test, var, NULL, 8);

	/* One bad key among good ones: none is locked. */
	for (unsigned int i = 0; i < ARRAY_SIZE(keys); i++) {
		keys[i].data = key + 8 * i;
		keys[i].len = 8;
		key[8 * i + 7] = i;
	}
	keys[2].len = 9;
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_lock(fixed, keys, 4)), -EINVAL);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_trylock(fixed, keys, 4)), -EINVAL);
	keys[2].len = 8;
	keys[3].data = NULL;
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_lock(fixed, keys, 4)), -EINVAL);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_trylock(fixed, keys, 4)), -EINVAL);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_lock(fixed, NULL, 4)), -EINVAL);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_trylock(fixed, NULL, 4)), -EINVAL);
	expect_free(test, fixed, 0, 3);

	/* A batch answers for a key it cannot have. */
	keys[3].data = key + 24;
	batch = lockmap_batch_lock(fixed, keys, 4);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_EXPECT_NOT_NULL(test, lockmap_batch_entry(batch, key, 8));
	KUNIT_EXPECT_NULL(test, lockmap_batch_entry(batch, key, 7));
	KUNIT_EXPECT_NULL(test, lockmap_batch_entry(batch, key, 0));
	KUNIT_EXPECT_NULL(test, lockmap_batch_entry(batch, NULL, 8));
	lockmap_batch_unlock(batch);
}

static void no_map(struct kunit *test)
{
	u64 key = key_of(1);

	for (enum op op = 0; op < NR_OPS; op++) {
		int want = op == OP_CONTAINS ? false : -EINVAL;
		unsigned long visits = 0;

		KUNIT_EXPECT_EQ_MSG(test, do_op(NULL, op, &key, sizeof(key), 1, &visits), want,
				    "%s of no map", op_name[op]);
		KUNIT_EXPECT_EQ(test, visits, 0);
	}
	KUNIT_EXPECT_EQ(test, PTR_ERR(lockmap_entry_alloc(NULL, &key, sizeof(key), GFP_KERNEL)),
			-EINVAL);
}

static void no_callback(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);

	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 1), 0);
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, NULL, NULL), -EINVAL);
	KUNIT_EXPECT_EQ(test, lockmap_retain(map, NULL, NULL), -EINVAL);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
}

/*
 * Callbacks. They get no argument: what they report is here.
 */

static struct {
	struct lockmap *map;
	unsigned long calls;
	u64 sum;
	unsigned long not_locked;
} heard;

static void hear(struct lockmap *map)
{
	memset(&heard, 0, sizeof(heard));
	heard.map = map;
}

/* The values of these maps are the numbers of their keys. */
static void hear_release(void *value)
{
	u64 n = *(u64 *)value;

	heard.calls++;
	heard.sum += n;
	if (heard.map && is_busy(heard.map, n) != -EBUSY)
		heard.not_locked++;
	might_sleep();
}

static void hear_clone(void *dst, const void *src)
{
	u64 n = *(const u64 *)src;

	heard.calls++;
	if (heard.map && is_busy(heard.map, n) != -EBUSY)
		heard.not_locked++;
	usleep_range(10, 20);
	*(u64 *)dst = n + 1000;
}

static void expect_heard(struct kunit *test, unsigned long calls, u64 sum)
{
	KUNIT_EXPECT_EQ(test, heard.calls, calls);
	KUNIT_EXPECT_EQ(test, heard.sum, sum);
	KUNIT_EXPECT_EQ(test, heard.not_locked, 0);
	hear(heard.map);
}

static bool keep_even(const void *key, size_t len, void *value, void *arg)
{
	return *(u64 *)value % 2 == 0;
}

static void release_counts(struct kunit *test)
{
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "release", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.release = hear_release,
	});
	u64 key = key_of(3), three = 3, old;
	struct lockmap_entry *entry;

	hear(map);
	KUNIT_EXPECT_EQ(test, insert_nr(map, 3, 3), 0);
	KUNIT_EXPECT_EQ(test, lockmap_insert(map, &key, 8, &three, &old), 1);
	KUNIT_EXPECT_EQ(test, lockmap_remove(map, &key, 8, &old), 0);
	expect_heard(test, 0, 0);

	KUNIT_EXPECT_EQ(test, insert_nr(map, 3, 3), 0);
	KUNIT_EXPECT_EQ(test, insert_nr(map, 3, 3), 1);
	expect_heard(test, 1, 3);
	KUNIT_EXPECT_EQ(test, remove_nr(map, 3), 0);
	expect_heard(test, 1, 3);
	KUNIT_EXPECT_EQ(test, remove_nr(map, 3), -ENOENT);
	expect_heard(test, 0, 0);

	entry = hold(test, map, 3);
	KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry, &three, NULL));
	KUNIT_EXPECT_PTR_EQ(test, lockmap_entry_get_or_insert(entry, NULL),
			    lockmap_entry_value(entry));
	KUNIT_EXPECT_TRUE(test, lockmap_entry_insert(entry, &three, &old));
	KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(entry, &old));
	KUNIT_EXPECT_FALSE(test, lockmap_entry_remove(entry, NULL));
	expect_heard(test, 0, 0);
	KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry, &three, NULL));
	KUNIT_EXPECT_TRUE(test, lockmap_entry_insert(entry, &three, NULL));
	expect_heard(test, 1, 3);
	KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(entry, NULL));
	expect_heard(test, 1, 3);
	lockmap_unlock(entry);
	expect_heard(test, 0, 0);

	/* sums 0 + 1 + ... + 99: what is dropped is what is told */
	for (u64 n = 0; n < 100; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
	KUNIT_EXPECT_EQ(test, lockmap_retain(map, keep_even, NULL), 0);
	expect_heard(test, 50, 2500);
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
	expect_heard(test, 50, 2450);
	for (u64 n = 0; n < 100; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
	hear(NULL);
	drop_map(test, map);
	expect_heard(test, 100, 4950);
}

static void clone_is_used(struct kunit *test)
{
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "clone", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.clone = hear_clone,
	});
	struct lockmap_entry *entry;
	struct worker *w;
	u64 value = 0;

	hear(map);
	KUNIT_EXPECT_EQ(test, insert_nr(map, 5, 5), 0);
	KUNIT_EXPECT_EQ(test, get_nr(map, 5, &value), 0);
	KUNIT_EXPECT_EQ(test, value, 1005);
	expect_heard(test, 1, 0);
	KUNIT_EXPECT_EQ(test, get_nr(map, 5, NULL), 0);
	KUNIT_EXPECT_EQ(test, get_nr(map, 6, &value), -ENOENT);
	KUNIT_EXPECT_EQ(test, value, 1005);
	KUNIT_EXPECT_TRUE(test, contains_nr(map, 5));
	expect_heard(test, 0, 0);
	expect_free(test, map, 5, 6);

	entry = hold(test, map, 5);
	KUNIT_EXPECT_EQ(test, get_nr(map, 5, &value), -EDEADLK);
	w = start_op(test, map, OP_GET, 5, 0);
	expect_sleeps(test, w);
	expect_heard(test, 0, 0);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, join(test, w), 0);
	expect_heard(test, 1, 0);
}

static u64 lower_hash(const void *key, size_t len, u64 seed)
{
	const u8 *p = key;
	u64 hash = seed;

	while (len--)
		hash = (hash ^ (*p++ | 0x20)) * 0x9e3779b97f4a7c15ULL;
	return hash;
}

static int lower_cmp(const void *a, size_t a_len, const void *b, size_t b_len)
{
	const u8 *p = a, *q = b;

	for (size_t i = 0; i < min(a_len, b_len); i++)
		if ((p[i] | 0x20) != (q[i] | 0x20))
			return (p[i] | 0x20) - (q[i] | 0x20);
	return a_len < b_len ? -1 : a_len > b_len;
}

/* Keys are the same when @cmp says so. */
static void custom_equality(struct kunit *test)
{
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "caseless", .key_len = 32, .value_len = sizeof(u64),
		.flags = LOCKMAP_VAR_KEY, .hash = lower_hash, .cmp = lower_cmp,
	});
	struct lockmap_key keys[] = { { "ABC", 3 }, { "b", 1 }, { "abc", 3 }, { "B", 1 } };
	struct lockmap_entry *entry = lockmap_lock(map, "Hello", 5);
	struct lockmap_batch *batch;
	u64 value = 5;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry, &value, NULL));
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_trylock(map, "hELLO", 5)), -EBUSY);
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock(map, "HELLO", 5)), -EDEADLK);
	lockmap_unlock(entry);
	value = 0;
	KUNIT_EXPECT_EQ(test, lockmap_get(map, "hello", 5, &value), 0);
	KUNIT_EXPECT_EQ(test, value, 5);
	KUNIT_EXPECT_EQ(test, lockmap_insert(map, "HELLO", 5, &value, NULL), 1);
	KUNIT_EXPECT_EQ(test, lockmap_get(map, "hell", 4, &value), -ENOENT);

	batch = lockmap_batch_lock(map, keys, ARRAY_SIZE(keys));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_EXPECT_EQ(test, batch->nr, 2);
	KUNIT_EXPECT_PTR_EQ(test, lockmap_batch_entry(batch, "aBc", 3), batch->entries[0]);
	KUNIT_EXPECT_PTR_EQ(test, lockmap_batch_entry(batch, "b", 1), batch->entries[1]);
	lockmap_batch_unlock(batch);
	KUNIT_EXPECT_EQ(test, lockmap_remove(map, "hellO", 5, NULL), 0);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
}

static u64 zero_hash(const void *key, size_t len, u64 seed)
{
	return 0;
}

static u64 low_hash(const void *key, size_t len, u64 seed)
{
	return nr_of(key) % 4;
}

static u64 high_hash(const void *key, size_t len, u64 seed)
{
	return nr_of(key) << 62;
}

/* A hash may be as bad as it wants: slow, but right. */
static void bad_hashes(struct kunit *test)
{
	static u64 (* const hash[])(const void *key, size_t len, u64 seed) = {
		zero_hash, low_hash, high_hash,
	};
	unsigned int nr = slow_kernel() ? 300 : 5000;

	for (unsigned int i = 0; i < ARRAY_SIZE(hash); i++) {
		struct lockmap *map = make_map(test, &(struct lockmap_params) {
			.name = "bad_hash", .key_len = sizeof(u64), .value_len = sizeof(u64),
			.hash = hash[i],
		});
		unsigned int failures = 0;
		unsigned long visits = 0;
		u64 value;

		for (u64 n = 0; n < nr; n++)
			failures += insert_nr(map, n, n) != 0;
		KUNIT_EXPECT_EQ_MSG(test, failures, 0, "hash %u: inserts", i);
		KUNIT_EXPECT_EQ(test, lockmap_len(map), nr);
		for (u64 n = 0; n < nr; n++)
			failures += get_nr(map, n, &value) || value != n;
		KUNIT_EXPECT_EQ_MSG(test, failures, 0, "hash %u: gets", i);
		KUNIT_EXPECT_EQ(test, lockmap_for_each(map, count_value, &visits), 0);
		KUNIT_EXPECT_EQ(test, visits, nr);
		for (u64 n = nr; n < nr + 100; n++)
			failures += is_busy(map, n) != 0;
		KUNIT_EXPECT_EQ_MSG(test, failures, 0, "hash %u: trylocks", i);
		for (u64 n = 0; n < nr; n++)
			failures += remove_nr(map, n) != 0;
		KUNIT_EXPECT_EQ_MSG(test, failures, 0, "hash %u: removes", i);
		KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
		drop_map(test, map);
	}
}

/*
 * Mutual exclusion
 */

static int touch_all_but(struct worker *w)
{
	struct lockmap_key keys[4];
	u64 raw[4], value;
	int ret;

	for (unsigned int n = 0; n < 1000; n++) {
		if (n == w->key)
			continue;
		raw[0] = key_of(n);
		for (enum op op = 0; op < NR_OPS; op++) {
			if (op >= OP_FOR_EACH && op <= OP_CLEAR)
				continue;
			ret = do_op(w->map, op, raw, sizeof(u64), PATIENCE, NULL);
			if (ret < 0 && ret != -ENOENT)
				return ret;
		}
		if (insert_nr(w->map, n, n) || get_nr(w->map, n, &value) || value != n)
			return -EIO;

		for (unsigned int i = 0; i < 4; i++) {
			u64 other = (n + 100 * i) % 1000;

			raw[i] = key_of(other == w->key ? n : other);
			keys[i] = (struct lockmap_key) { raw + i, sizeof(u64) };
		}
		ret = batch_error(lockmap_batch_lock(w->map, keys, 4)) ?:
		      batch_error(lockmap_batch_trylock(w->map, keys, 4));
		if (ret)
			return ret;
		w->count++;
	}
	return 0;
}

/* Whatever is held, for however long: other keys do not notice. */
static void keys_are_independent(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct lockmap_entry *entry = hold(test, map, 500);
	struct worker *waiter = start_op(test, map, OP_LOCK, 500, 0);
	struct worker *w;

	expect_sleeps(test, waiter);
	w = new_worker(test, touch_all_but, map, "other keys");
	w->key = 500;
	start(test, w);
	KUNIT_EXPECT_EQ(test, join(test, w), 0);
	KUNIT_EXPECT_EQ(test, w->count, 999);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 999);
	KUNIT_EXPECT_FALSE(test, completion_done(&waiter->done));

	/* The holder itself may go on too, in ascending order. */
	for (u64 n = 501; n < 1000; n++)
		KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, n)), 0);
	KUNIT_EXPECT_EQ(test, insert_nr(map, 501, 1), 1);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, join(test, waiter), 0);
}

/* What only the holder of the key may touch */
struct arena {
	u64 plain;
	unsigned long inside;
};

/* Add one to two counters that nothing but the key's lock protects. */
static int hammer(struct worker *w)
{
	struct arena *arena = w->arg;
	u64 key = key_of(w->key), begin, value, plain, *p;
	struct lockmap_entry *entry;
	struct lockmap_batch *batch;

	wait_for_go(w);
	for (unsigned int i = 0; i < w->nr && !stopped(w); i++) {
		enum op op = w->op == NR_OPS ? i % NR_LOCK_OPS : w->op;

		if (i % 8 == 0)
			w->errors += is_busy(w->map, w->key) == -EBUSY;
		begin = ktime_get_ns();
		entry = acquire(w->map, op, &key, sizeof(key), PATIENCE, &batch);
		if (IS_ERR_OR_NULL(entry))
			return PTR_ERR(entry) ?: -EFAULT;
		w->longest = max(w->longest, ktime_get_ns() - begin);
		p = lockmap_entry_get_or_insert(entry, NULL);
		value = *p;
		plain = arena->plain;
		if (arena->inside++)
			w->ret = -EILSEQ;
		if (i % 128 == 0)
			usleep_range(20, 50);
		else if (i % 16 == 0)
			schedule();
		*p = value + 1;
		arena->plain = plain + 1;
		arena->inside--;
		let_go(entry, batch);
		w->count++;
	}
	return w->ret;
}

/* Like hammer(), on a key that never gets a value: only the lock is there. */
static int hammer_absent(struct worker *w)
{
	struct arena *arena = w->arg;
	u64 key = key_of(w->key), plain;
	struct lockmap_entry *entry;
	struct lockmap_batch *batch;

	wait_for_go(w);
	for (unsigned int i = 0; i < w->nr && !stopped(w); i++) {
		if (i % 8 == 0)
			w->errors += is_busy(w->map, w->key) == -EBUSY;
		entry = acquire(w->map, w->op == NR_OPS ? i % NR_LOCK_OPS : w->op, &key,
				sizeof(key), PATIENCE, &batch);
		if (IS_ERR_OR_NULL(entry))
			return PTR_ERR(entry) ?: -EFAULT;
		if (lockmap_entry_value(entry))
			w->ret = -EEXIST;
		plain = arena->plain;
		if (i % 128 == 0)
			usleep_range(20, 50);
		else if (i % 16 == 0)
			schedule();
		arena->plain = plain + 1;
		let_go(entry, batch);
		w->count++;
	}
	return w->ret;
}

static void hammer_with(struct kunit *test, struct lockmap *map, enum op op, const char *what)
{
	struct arena *arena = get_memory(test, sizeof(*arena));
	unsigned int threads = 6, rounds = scaled(5000) + 50;
	u64 value = 0, longest = 0;

	for (unsigned int absent = 0; absent < 2; absent++) {
		arena->plain = 0;
		for (unsigned int i = 0; i < threads; i++) {
			struct worker *w = new_worker(test, absent ? hammer_absent : hammer, map,
						      what);

			w->op = op;
			w->key = absent + 1;
			w->nr = rounds;
			w->arg = arena;
			start(test, w);
		}
		go(test);
		join_all(test);
		KUNIT_EXPECT_EQ_MSG(test, sum_counts(test), threads * rounds, "%s", what);
		KUNIT_EXPECT_EQ_MSG(test, arena->plain, threads * rounds, "%s: outside", what);
		KUNIT_EXPECT_GT_MSG(test, sum_errors(test), 0, "%s: nobody ever waited", what);
		longest = max(longest, longest_of_all(test));
		bury_all(test);
	}
	KUNIT_EXPECT_EQ(test, get_nr(map, 1, &value), 0);
	KUNIT_EXPECT_EQ_MSG(test, value, threads * rounds, "%s: in the value", what);
	KUNIT_EXPECT_LT_MSG(test, longest, 2 * NSEC_PER_SEC, "%s: longest wait", what);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
	expect_free(test, map, 1, 2);
}

static void exclusion_lock(struct kunit *test)
{
	hammer_with(test, make_u64_map(test), OP_LOCK, "lock");
}

static void exclusion_prealloc(struct kunit *test)
{
	hammer_with(test, make_u64_map(test), OP_LOCK_PREALLOC, "prealloc");
}

static void exclusion_batch(struct kunit *test)
{
	hammer_with(test, make_u64_map(test), OP_BATCH, "batch");
}

static void exclusion_all_ways(struct kunit *test)
{
	hammer_with(test, make_u64_map(test), NR_OPS, "all ways");
}

/* With no idle entries to speak of, the key comes and goes all the time. */
static void exclusion_no_idle(struct kunit *test)
{
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "no_idle", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.max_idle = 1, .nr_shards = 1,
	});

	hammer_with(test, map, NR_OPS, "no idle");
}

#define WANDER_KEYS	48

/* What a key's value should be, changed only by the key's holder */
struct shadow {
	u64 value;
	bool present;
};

/* Random keys, random ways, random changes, each compared with the shadow */
static int wander(struct worker *w)
{
	struct shadow *shadows = w->arg;

	wait_for_go(w);
	for (unsigned int i = 0; i < w->nr && !stopped(w); i++) {
		u32 dice = prandom_u32_state(&w->rnd);
		u64 n = dice % WANDER_KEYS, key = key_of(n), old = 0, *p;
		struct shadow *s = &shadows[n];
		struct lockmap_entry *entry;
		struct lockmap_batch *batch;
		bool was;

		entry = acquire(w->map, (dice >> 8) % NR_LOCK_OPS, &key, sizeof(key), PATIENCE,
				&batch);
		if (IS_ERR_OR_NULL(entry))
			return PTR_ERR(entry) ?: -EFAULT;
		p = lockmap_entry_value(entry);
		w->errors += !!p != s->present || (p && *p != s->value) ||
			     nr_of(lockmap_entry_key(entry, NULL)) != n;
		switch ((dice >> 16) % 6) {
		case 0:
			was = lockmap_entry_remove(entry, &old);
			w->errors += was != s->present || (was && old != s->value);
			s->present = false;
			break;
		case 1:
			was = lockmap_entry_insert(entry, &(u64) { dice }, &old);
			w->errors += was != s->present || (was && old != s->value);
			s->present = true;
			s->value = dice;
			break;
		case 2:
			p = lockmap_entry_get_or_insert(entry, NULL);
			if (!s->present)
				s->value = 0;
			w->errors += *p != s->value;
			s->present = true;
			s->value = ++*p;
			break;
		case 3:
			if (p)
				s->value = (*p += n);
			if (dice >> 31)
				schedule();
			break;
		default:
			break;
		}
		let_go(entry, batch);
		w->count++;
	}
	return 0;
}

/* Few keys, many shards and no idle entries: memory goes from key to key under the waiters. */
#define CHURN_KEYS	32

static int churn_keys(struct worker *w)
{
	wait_for_go(w);
	for (unsigned int i = 0; i < w->nr && !stopped(w); i++) {
		u32 dice = prandom_u32_state(&w->rnd);
		u64 key = key_of(dice % CHURN_KEYS);
		struct lockmap_entry *entry = lockmap_lock(w->map, &key, sizeof(key));

		if (IS_ERR_OR_NULL(entry))
			return PTR_ERR(entry) ?: -EFAULT;
		if (!(dice >> 16 & 15))
			usleep_range(50, 100);
		else if (dice >> 16 & 1)
			udelay(3);
		lockmap_unlock(entry);
		w->count++;
	}
	return 0;
}

static void churn_loses_no_wakeup(struct kunit *test)
{
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "churn", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.max_idle = 1, .nr_shards = 64,
	});
	unsigned int threads = 12, rounds = scaled(4000);

	for (unsigned int t = 0; t < threads; t++) {
		struct worker *w = new_worker(test, churn_keys, map, "churn");

		w->nr = rounds;
		start(test, w);
	}
	go(test);
	join_all(test);
	KUNIT_EXPECT_EQ(test, sum_counts(test), threads * rounds);
	expect_free(test, map, 0, CHURN_KEYS - 1);
}

static void random_keys(struct kunit *test)
{
	static const unsigned int max_idle[] = { 0, 1 };

	for (unsigned int i = 0; i < ARRAY_SIZE(max_idle); i++) {
		struct lockmap *map = make_map(test, &(struct lockmap_params) {
			.name = "random", .key_len = sizeof(u64), .value_len = sizeof(u64),
			.max_idle = max_idle[i],
		});
		struct shadow *shadows = get_memory(test, WANDER_KEYS * sizeof(*shadows));
		unsigned int present = 0;

		for (unsigned int t = 0; t < 6; t++) {
			struct worker *w = new_worker(test, wander, map, "random keys");

			w->arg = shadows;
			w->nr = scaled(50000);
			start(test, w);
		}
		go(test);
		join_all(test);
		KUNIT_EXPECT_EQ(test, sum_errors(test), 0);
		KUNIT_EXPECT_EQ(test, sum_counts(test), 6 * scaled(50000));
		for (u64 n = 0; n < WANDER_KEYS; n++) {
			u64 value = 0;

			KUNIT_EXPECT_EQ(test, get_nr(map, n, &value),
					shadows[n].present ? 0 : -ENOENT);
			if (shadows[n].present)
				KUNIT_EXPECT_EQ(test, value, shadows[n].value);
			present += shadows[n].present;
		}
		KUNIT_EXPECT_EQ(test, lockmap_len(map), present);
		bury_all(test);
		drop_map(test, map);
	}
}

/*
 * Readers that take no lock. A value says in all its words which key it
 * belongs to and which life of it; writers change, drop and bring back values,
 * and with max_idle 1 entries go from key to key.
 */

#define LIFE_KEYS	64

static int write_lives(struct worker *w)
{
	u64 life = 0;

	wait_for_go(w);
	while (!stopped(w)) {
		u32 dice = prandom_u32_state(&w->rnd);
		u64 n = dice % LIFE_KEYS, key = key_of(n);
		struct lockmap_entry *entry;
		struct wide v, *p;
		int ret;

		fill_wide(&v, n << 32 | (++life & U32_MAX));
		switch ((dice >> 16) % 4) {
		case 0:
			ret = lockmap_remove(w->map, &key, sizeof(key), &v);
			if (!ret)
				w->errors += !is_whole(&v) || v.word[0] >> 32 != n;
			break;
		case 1:
			ret = lockmap_insert(w->map, &key, sizeof(key), &v, NULL);
			if (ret < 0)
				return ret;
			break;
		default:
			entry = lockmap_lock(w->map, &key, sizeof(key));
			if (IS_ERR_OR_NULL(entry))
				return PTR_ERR(entry) ?: -EFAULT;
			p = lockmap_entry_value(entry);
			if (p) {
				w->errors += !is_whole(p) || p->word[0] >> 32 != n;
				*p = v;
			}
			lockmap_unlock(entry);
		}
		w->count++;
	}
	return 0;
}

static int read_lives(struct worker *w)
{
	wait_for_go(w);
	while (!stopped(w)) {
		u64 n = prandom_u32_state(&w->rnd) % LIFE_KEYS, key = key_of(n);
		struct wide v;

		switch (lockmap_get(w->map, &key, sizeof(key), &v)) {
		case 0:
			w->errors += !is_whole(&v) || v.word[0] >> 32 != n;
			w->count++;
			break;
		case -ENOENT:
			break;
		default:
			return -EIO;
		}
	}
	return 0;
}

static void clone_wide(void *dst, const void *src)
{
	memcpy(dst, src, sizeof(struct wide));
}

static void readers_see_whole_values(struct kunit *test)
{
	static const struct lockmap_params params[] = {
		{ .name = "lives" },
		{ .name = "lives_1", .max_idle = 1, .nr_shards = 1 },
		{ .name = "lives_clone", .max_idle = 1, .clone = clone_wide },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(params); i++) {
		struct lockmap_params p = params[i];
		struct lockmap *map;

		p.key_len = sizeof(u64);
		p.value_len = sizeof(struct wide);
		map = make_map(test, &p);
		for (unsigned int t = 0; t < 2; t++) {
			start(test, new_worker(test, write_lives, map, "writer"));
			start(test, new_worker(test, read_lives, map, "reader"));
		}
		go(test);
		msleep(slow_kernel() ? 2000 : 700);
		stop(test);
		join_all(test);
		KUNIT_EXPECT_EQ_MSG(test, sum_errors(test), 0, "%s", p.name);
		KUNIT_EXPECT_GT(test, sum_counts(test), 1000);
		bury_all(test);
		drop_map(test, map);
	}
}

/* A reader gets the key too while it changes without a pause. */
static int change_always(struct worker *w)
{
	u64 key = key_of(1);

	wait_for_go(w);
	while (!stopped(w)) {
		struct lockmap_entry *entry = lockmap_lock(w->map, &key, sizeof(key));
		struct wide *v;

		if (IS_ERR_OR_NULL(entry))
			return PTR_ERR(entry) ?: -EFAULT;
		v = lockmap_entry_get_or_insert(entry, NULL);
		fill_wide(v, v->word[0] + 1);
		lockmap_unlock(entry);
	}
	return 0;
}

static void readers_get_their_turn(struct kunit *test)
{
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "turn", .key_len = sizeof(u64), .value_len = sizeof(struct wide),
	});
	u64 last = 0, longest = 0, key = key_of(1);
	unsigned long end, gets = 0;
	struct wide v;

	KUNIT_EXPECT_EQ(test, lockmap_insert(map, &key, sizeof(key), NULL, NULL), 0);
	for (unsigned int t = 0; t < 3; t++)
		start(test, new_worker(test, change_always, map, "writer"));
	go(test);
	end = jiffies + HZ / 2;
	while (time_before(jiffies, end)) {
		u64 begin = ktime_get_ns();

		KUNIT_EXPECT_EQ(test, lockmap_get(map, &key, sizeof(key), &v), 0);
		longest = max(longest, ktime_get_ns() - begin);
		KUNIT_EXPECT_TRUE(test, is_whole(&v));
		KUNIT_EXPECT_GE(test, v.word[0], last);
		last = v.word[0];
		gets++;
		let_others_run();
	}
	stop(test);
	join_all(test);
	KUNIT_EXPECT_GT(test, last, 0);
	KUNIT_EXPECT_LT(test, longest, NSEC_PER_SEC);
	kunit_info(test, "%lu gets during %llu changes, the longest %llu us", gets, last,
		   div_u64(longest, NSEC_PER_USEC));
}

/*
 * Waiting
 */

/* Every operation waits while its key is held, and goes on when it is let go. */
static void everything_waits(struct kunit *test)
{
	for (enum op op = 0; op < NR_WAIT_OPS; op++) {
		struct lockmap *map = make_u64_map(test);
		struct lockmap_entry *entry;
		struct worker *w;
		int want = op == OP_INSERT || op == OP_CONTAINS ? 1 : 0;

		/* a key with a value */
		KUNIT_EXPECT_EQ(test, insert_nr(map, 5, 50), 0);
		entry = hold(test, map, 5);
		w = start_op(test, map, op, 5, PATIENCE);
		expect_sleeps(test, w);
		KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
		lockmap_unlock(entry);
		KUNIT_EXPECT_EQ_MSG(test, join(test, w), want, "%s", op_name[op]);
		expect_free(test, map, 5, 5);
		KUNIT_EXPECT_EQ_MSG(test, lockmap_len(map), op != OP_REMOVE && op != OP_CLEAR,
				    "%s", op_name[op]);

		/* one that gets its value while the other waits */
		if (op < NR_KEY_OPS) {
			entry = hold(test, map, 6);
			w = start_op(test, map, op, 6, PATIENCE);
			expect_sleeps(test, w);
			KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry, NULL, NULL));
			lockmap_unlock(entry);
			KUNIT_EXPECT_EQ_MSG(test, join(test, w), want, "%s", op_name[op]);
		}

		/* one that loses it */
		KUNIT_EXPECT_GE(test, insert_nr(map, 7, 70), 0);
		entry = hold(test, map, 7);
		w = start_op(test, map, op, 7, PATIENCE);
		expect_sleeps(test, w);
		KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(entry, NULL));
		lockmap_unlock(entry);
		want = op == OP_GET || op == OP_REMOVE ? -ENOENT : 0;
		KUNIT_EXPECT_EQ_MSG(test, join(test, w), want, "%s", op_name[op]);
		expect_free(test, map, 5, 7);
		drop_map(test, map);
	}
}

static void trylock_says_busy(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct lockmap_key *keys = make_keys(test, 1, 8);
	struct lockmap_entry *entry = hold(test, map, 5);
	struct lockmap_batch *batch;
	struct worker *w;

	/* the holder itself */
	KUNIT_EXPECT_EQ(test, is_busy(map, 5), -EBUSY);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_trylock(map, keys, 8)), -EBUSY);
	/* somebody else */
	w = start_op(test, map, OP_TRYLOCK, 5, 0);
	KUNIT_EXPECT_EQ(test, join(test, w), -EBUSY);
	w = start_op(test, map, OP_BATCH_TRYLOCK, 5, 0);
	KUNIT_EXPECT_EQ(test, join(test, w), -EBUSY);
	/* with somebody waiting */
	w = start_op(test, map, OP_LOCK, 5, 0);
	expect_sleeps(test, w);
	KUNIT_EXPECT_EQ(test, is_busy(map, 5), -EBUSY);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, join(test, w), 0);
	/* a batch that was refused has left nothing locked */
	expect_free(test, map, 1, 8);

	batch = lockmap_batch_trylock(map, keys, 8);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_EXPECT_EQ(test, batch->nr, 8);
	for (u64 n = 1; n <= 8; n++)
		KUNIT_EXPECT_EQ(test, is_busy(map, n), -EBUSY);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_trylock(map, keys, 1)), -EBUSY);
	lockmap_batch_unlock(batch);
	expect_free(test, map, 1, 8);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
}

static void timeouts(struct kunit *test)
{
	static const unsigned long forever[] = { LONG_MAX, (unsigned long)LONG_MAX + 1, ULONG_MAX };
	struct lockmap *map = make_u64_map(test);
	struct lockmap_key *keys = make_keys(test, 1, 8);
	u64 key = key_of(5);
	struct lockmap_entry *entry;
	struct worker *w;

	/* no time, and free */
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_timeout(map, &key, 8, 0)), 0);
	KUNIT_EXPECT_EQ(test, batch_error(lockmap_batch_lock_timeout(map, keys, 8, 0)), 0);

	/* no time, and held */
	entry = hold(test, map, 5);
	for (enum op op = OP_LOCK_TIMEOUT; op <= OP_BATCH_TIMEOUT; op++) {
		if (op != OP_LOCK_TIMEOUT && op != OP_BATCH_TIMEOUT)
			continue;
		w = start_op(test, map, op, 5, 0);
		KUNIT_EXPECT_EQ_MSG(test, join(test, w), -ETIMEDOUT, "%s", op_name[op]);

		/* some time: all of it is waited */
		for (unsigned long t = 1; t < 20; t += 6) {
			unsigned long begin = jiffies;

			w = start_op(test, map, op, 5, t);
			KUNIT_EXPECT_EQ_MSG(test, join(test, w), -ETIMEDOUT, "%s", op_name[op]);
			KUNIT_EXPECT_GE_MSG(test, jiffies - begin, t, "%s", op_name[op]);
		}
	}
	KUNIT_EXPECT_EQ(test, is_busy(map, 5), -EBUSY);
	lockmap_unlock(entry);
	expect_free(test, map, 1, 8);

	/* more time than there is */
	for (unsigned int i = 0; i < ARRAY_SIZE(forever); i++)
		for (enum op op = OP_LOCK_TIMEOUT; op <= OP_BATCH_TIMEOUT; op++) {
			if (op != OP_LOCK_TIMEOUT && op != OP_BATCH_TIMEOUT)
				continue;
			entry = hold(test, map, 5);
			w = start_op(test, map, op, 5, forever[i]);
			expect_sleeps(test, w);
			lockmap_unlock(entry);
			KUNIT_EXPECT_EQ_MSG(test, join(test, w), 0, "%s", op_name[op]);
		}
}

static int run_batch(struct worker *w)
{
	struct lockmap_batch *batch;

	calling(w);
	switch (w->op) {
	case OP_BATCH:
		batch = lockmap_batch_lock(w->map, w->arg, w->nr);
		break;
	case OP_BATCH_INTERRUPTIBLE:
		batch = lockmap_batch_lock_interruptible(w->map, w->arg, w->nr);
		break;
	case OP_BATCH_KILLABLE:
		batch = lockmap_batch_lock_killable(w->map, w->arg, w->nr);
		break;
	case OP_BATCH_TIMEOUT:
		batch = lockmap_batch_lock_timeout(w->map, w->arg, w->nr, w->timeout);
		break;
	default:
		batch = lockmap_batch_trylock(w->map, w->arg, w->nr);
		break;
	}
	return batch_error(batch);
}

static struct worker *start_batch(struct kunit *test, struct lockmap *map, enum op op,
				  struct lockmap_key *keys, unsigned int nr, unsigned long timeout)
{
	struct worker *w = new_worker(test, run_batch, map, op_name[op]);

	w->op = op;
	w->arg = keys;
	w->nr = nr;
	w->timeout = timeout;
	return start(test, w);
}

/* The time of a batch is for all its keys together. */
static void batch_timeout_is_for_all(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct lockmap_key *keys = make_keys(test, 0, 8);
	unsigned long timeout = HZ / 5 + 1;
	struct lockmap_entry *entry[8];
	struct worker *w;

	for (u64 n = 0; n < 8; n++)
		entry[n] = hold(test, map, n);
	w = start_batch(test, map, OP_BATCH_TIMEOUT, keys, 8, timeout);
	expect_sleeps(test, w);
	for (u64 n = 0; n < 8; n++) {
		schedule_timeout_uninterruptible(timeout / 2);
		lockmap_unlock(entry[n]);
	}
	KUNIT_EXPECT_EQ(test, join(test, w), -ETIMEDOUT);
	expect_free(test, map, 0, 7);
}

/* How a wait can end without the key */
static const struct {
	enum op op;
	int sig;
	int error;
} endings[] = {
	{ OP_LOCK_INTERRUPTIBLE, SIGUSR1, -EINTR },
	{ OP_LOCK_INTERRUPTIBLE, SIGKILL, -EINTR },
	{ OP_LOCK_KILLABLE, SIGKILL, -EINTR },
	{ OP_LOCK_TIMEOUT, 0, -ETIMEDOUT },
	{ OP_BATCH_INTERRUPTIBLE, SIGUSR1, -EINTR },
	{ OP_BATCH_INTERRUPTIBLE, SIGKILL, -EINTR },
	{ OP_BATCH_KILLABLE, SIGKILL, -EINTR },
	{ OP_BATCH_TIMEOUT, 0, -ETIMEDOUT },
};

static unsigned long ending_timeout(unsigned int i)
{
	return endings[i].sig ? PATIENCE : HZ / 8;
}

static void end_wait(struct kunit *test, struct worker *w, unsigned int i)
{
	if (endings[i].sig)
		send_sig(endings[i].sig, w->task, 1);
	KUNIT_EXPECT_EQ_MSG(test, join(test, w), endings[i].error, "%s, signal %d",
			    op_name[endings[i].op], endings[i].sig);
}

static void waits_end_alone(struct kunit *test)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(endings); i++)
		for (unsigned int present = 0; present < 2; present++) {
			struct lockmap *map = make_u64_map(test);
			struct lockmap_entry *entry;
			struct worker *w;

			if (present)
				KUNIT_EXPECT_EQ(test, insert_nr(map, 5, 50), 0);
			entry = hold(test, map, 5);
			w = start_op(test, map, endings[i].op, 5, ending_timeout(i));
			expect_sleeps(test, w);
			end_wait(test, w, i);
			KUNIT_EXPECT_EQ(test, is_busy(map, 5), -EBUSY);
			lockmap_unlock(entry);
			expect_free(test, map, 5, 5);
			KUNIT_EXPECT_EQ(test, lockmap_len(map), present);

			/* The next one waits and gets it as ever. */
			entry = hold(test, map, 5);
			w = start_op(test, map, endings[i].op, 5, PATIENCE);
			expect_sleeps(test, w);
			lockmap_unlock(entry);
			KUNIT_EXPECT_EQ(test, join(test, w), 0);
			drop_map(test, map);
		}
}

/* Four wait; one of them gives up, wherever it stands; the others get the key. */
static void waits_end_in_a_queue(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);

	for (unsigned int i = 0; i < ARRAY_SIZE(endings); i++)
		for (unsigned int quitter = 0; quitter < 4; quitter++) {
			struct lockmap_entry *entry = hold(test, map, 5);
			struct worker *w[4];

			for (unsigned int t = 0; t < 4; t++) {
				enum op op = t % 2 ? OP_BATCH : OP_LOCK;

				if (t == quitter)
					op = endings[i].op;
				w[t] = start_op(test, map, op, 5, ending_timeout(i));
				expect_sleeps(test, w[t]);
			}
			end_wait(test, w[quitter], i);
			for (unsigned int t = 0; t < 4; t++)
				if (t != quitter)
					expect_sleeps(test, w[t]);
			lockmap_unlock(entry);
			for (unsigned int t = 0; t < 4; t++)
				if (t != quitter)
					KUNIT_EXPECT_EQ(test, join(test, w[t]), 0);
			expect_free(test, map, 5, 5);
			KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
			bury_all(test);
		}
}

/* A batch that gives up at its third key lets the first two go. */
static void waits_end_in_a_batch(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct lockmap_key *keys = make_keys(test, 1, 5);

	for (unsigned int i = 0; i < ARRAY_SIZE(endings); i++) {
		struct lockmap_entry *entry;
		struct worker *w, *next;

		if (endings[i].op < OP_BATCH)
			continue;
		entry = hold(test, map, 3);
		shuffle(keys, 5, i);
		w = start_batch(test, map, endings[i].op, keys, 5, ending_timeout(i));
		expect_sleeps(test, w);
		KUNIT_EXPECT_EQ(test, is_busy(map, 1), -EBUSY);
		KUNIT_EXPECT_EQ(test, is_busy(map, 2), -EBUSY);
		expect_free(test, map, 4, 5);
		next = start_op(test, map, OP_LOCK, 2, 0);
		expect_sleeps(test, next);
		end_wait(test, w, i);
		KUNIT_EXPECT_EQ(test, join(test, next), 0);
		expect_free(test, map, 1, 2);
		lockmap_unlock(entry);
		expect_free(test, map, 1, 5);
		KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
	}
}

/* What is not to be ended by a signal is not. */
static void waits_do_not_end(struct kunit *test)
{
	static const struct {
		enum op op;
		int sig;
	} deaf[] = {
		{ OP_LOCK, SIGUSR1 }, { OP_LOCK, SIGKILL },
		{ OP_LOCK_KILLABLE, SIGUSR1 },
		{ OP_LOCK_TIMEOUT, SIGKILL },
		{ OP_LOCK_PREALLOC, SIGKILL },
		{ OP_BATCH, SIGKILL }, { OP_BATCH_KILLABLE, SIGUSR1 },
		{ OP_BATCH_TIMEOUT, SIGKILL },
		{ OP_GET, SIGKILL }, { OP_INSERT, SIGKILL }, { OP_CONTAINS, SIGKILL },
		{ OP_REMOVE, SIGKILL }, { OP_FOR_EACH, SIGKILL }, { OP_CLEAR, SIGKILL },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(deaf); i++) {
		struct lockmap *map = make_u64_map(test);
		enum op op = deaf[i].op;
		struct lockmap_entry *entry;
		struct worker *w;

		KUNIT_EXPECT_EQ(test, insert_nr(map, 5, 50), 0);
		entry = hold(test, map, 5);
		w = start_op(test, map, op, 5, PATIENCE);
		expect_sleeps(test, w);
		send_sig(deaf[i].sig, w->task, 1);
		expect_sleeps(test, w);
		lockmap_unlock(entry);
		KUNIT_EXPECT_EQ_MSG(test, join(test, w), op == OP_INSERT || op == OP_CONTAINS,
				    "%s, signal %d", op_name[op], deaf[i].sig);
		expect_free(test, map, 5, 5);
		drop_map(test, map);
	}
}

/*
 * Three are interrupted at about the moment when the key is let go. The fourth
 * must get it, and nobody unlocks again to make up for a lost wakeup.
 */
static void waits_end_at_the_unlock(struct kunit *test)
{
	unsigned int rounds = slow_kernel() ? 20 : 40;
	struct lockmap *map = make_u64_map(test);
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 1);
	for (unsigned int i = 0; i < rounds; i++) {
		struct lockmap_entry *entry = hold(test, map, 5);
		struct worker *w[4];

		for (unsigned int t = 0; t < 4; t++) {
			w[t] = start_op(test, map, t == 3 ? OP_LOCK : OP_LOCK_INTERRUPTIBLE, 5, 0);
			expect_sleeps(test, w[t]);
		}
		for (unsigned int t = 0; t < 3; t++)
			send_sig(SIGUSR1, w[t]->task, 1);
		udelay(prandom_u32_state(&rnd) % 100);
		lockmap_unlock(entry);
		for (unsigned int t = 0; t < 3; t++)
			KUNIT_EXPECT_TRUE(test, join(test, w[t]) == 0 || w[t]->ret == -EINTR);
		KUNIT_EXPECT_EQ(test, join(test, w[3]), 0);
		expect_free(test, map, 5, 5);
		bury_all(test);
	}
}

/* Waits that end while the key goes round and round */
static int give_up_often(struct worker *w)
{
	struct arena *arena = w->arg;
	u64 key = key_of(1);

	wait_for_go(w);
	while (!stopped(w)) {
		struct lockmap_entry *entry;

		switch (w->id % 3) {
		case 0:
			entry = lockmap_lock_timeout(w->map, &key, sizeof(key), w->count % 2);
			break;
		case 1:
			entry = lockmap_lock_interruptible(w->map, &key, sizeof(key));
			break;
		default:
			entry = lockmap_lock(w->map, &key, sizeof(key));
			break;
		}
		if (signal_pending(current))
			flush_signals(current);
		if (IS_ERR_OR_NULL(entry)) {
			if (PTR_ERR(entry) != -EINTR && PTR_ERR(entry) != -ETIMEDOUT)
				return PTR_ERR(entry) ?: -EFAULT;
			w->errors++;
			continue;
		}
		arena->plain++;
		w->count++;
		if (w->count % 4 == 0)
			usleep_range(50, 2000);
		lockmap_unlock(entry);
	}
	return 0;
}

static void waits_end_in_races(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct arena *arena = get_memory(test, sizeof(*arena));
	unsigned long end = jiffies + (slow_kernel() ? 3 : 1) * HZ;
	struct worker *w[6];

	for (unsigned int t = 0; t < ARRAY_SIZE(w); t++) {
		w[t] = new_worker(test, give_up_often, map, "giving up");
		w[t]->arg = arena;
		start(test, w[t]);
	}
	go(test);
	while (time_before(jiffies, end)) {
		for (unsigned int t = 0; t < ARRAY_SIZE(w); t++)
			if (w[t]->id % 3 == 1 && !completion_done(&w[t]->done))
				send_sig(SIGUSR1, w[t]->task, 1);
		usleep_range(100, 1000);
	}
	stop(test);
	join_all(test);
	KUNIT_EXPECT_EQ(test, arena->plain, sum_counts(test));
	KUNIT_EXPECT_GT(test, sum_counts(test), 0);
	KUNIT_EXPECT_GT(test, sum_errors(test), 0);
	expect_free(test, map, 1, 1);
	kunit_info(test, "%lu locked, %lu gave up", sum_counts(test), sum_errors(test));
}

/* No waiter starves, however much the others want the key. */
static int hammer_timed(struct worker *w)
{
	struct arena *arena = w->arg;
	u64 key = key_of(1);

	wait_for_go(w);
	while (!stopped(w)) {
		u64 begin = ktime_get_ns();
		struct lockmap_entry *entry = lockmap_lock(w->map, &key, sizeof(key));

		if (IS_ERR_OR_NULL(entry))
			return PTR_ERR(entry) ?: -EFAULT;
		w->longest = max(w->longest, ktime_get_ns() - begin);
		arena->plain++;
		w->count++;
		lockmap_unlock(entry);
	}
	return 0;
}

static void longest_wait(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct arena *arena = get_memory(test, sizeof(*arena));
	unsigned long least = ULONG_MAX, most = 0, mean;
	struct worker *w[8];
	u64 longest = 0;

	for (unsigned int t = 0; t < ARRAY_SIZE(w); t++) {
		w[t] = new_worker(test, hammer_timed, map, "hot key");
		w[t]->arg = arena;
		start(test, w[t]);
	}
	go(test);
	msleep(slow_kernel() ? 2000 : 800);
	stop(test);
	join_all(test);
	mean = sum_counts(test) / ARRAY_SIZE(w);
	for (unsigned int t = 0; t < ARRAY_SIZE(w); t++) {
		least = min(least, w[t]->count);
		most = max(most, w[t]->count);
		longest = max(longest, w[t]->longest);
	}
	kunit_info(test, "8 threads, 1 key: %lu to %lu acquisitions each, longest wait %llu us",
		   least, most, div_u64(longest, NSEC_PER_USEC));
	KUNIT_EXPECT_EQ(test, arena->plain, sum_counts(test));
	KUNIT_EXPECT_GE(test, least * 100, mean);
	KUNIT_EXPECT_LT(test, longest, NSEC_PER_SEC);
}

/* Hold the key for long, and want it back at once. */
static int be_greedy(struct worker *w)
{
	u64 key = key_of(1), end;

	wait_for_go(w);
	while (!stopped(w)) {
		struct lockmap_entry *entry = lockmap_lock(w->map, &key, sizeof(key));

		if (IS_ERR_OR_NULL(entry))
			return PTR_ERR(entry) ?: -EFAULT;
		end = ktime_get_ns() + 500 * NSEC_PER_USEC;
		while (ktime_get_ns() < end)
			cpu_relax();
		w->count++;
		lockmap_unlock(entry);
	}
	return 0;
}

static int be_modest(struct worker *w)
{
	u64 key = key_of(1);

	wait_for_go(w);
	while (!stopped(w)) {
		u64 begin = ktime_get_ns();

		if (lock_error(lockmap_lock(w->map, &key, sizeof(key))))
			return -EIO;
		w->longest = max(w->longest, ktime_get_ns() - begin);
		w->count++;
		usleep_range(50, 100);
	}
	return 0;
}

static void greedy_holders(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct worker *greedy[2], *modest;

	for (unsigned int t = 0; t < ARRAY_SIZE(greedy); t++)
		greedy[t] = start(test, new_worker(test, be_greedy, map, "greedy"));
	modest = start(test, new_worker(test, be_modest, map, "modest"));
	go(test);
	msleep(1000);
	stop(test);
	join_all(test);
	kunit_info(test, "%lu and %lu greedy acquisitions, %lu modest ones, longest wait %llu us",
		   greedy[0]->count, greedy[1]->count, modest->count,
		   div_u64(modest->longest, NSEC_PER_USEC));
	/* Without fine timers it sleeps for a tick: 10 ms, in which they take twenty turns. */
	KUNIT_EXPECT_GE(test, modest->count * 50, greedy[0]->count + greedy[1]->count);
	KUNIT_EXPECT_LT(test, modest->longest, NSEC_PER_SEC);
}

/*
 * To whom a lock belongs
 */

static bool never(const void *key, size_t len, void *value, void *arg)
{
	(*(unsigned long *)arg)++;
	return false;
}

static int stop_at_once(const void *key, size_t len, void *value, void *arg)
{
	(*(unsigned long *)arg)++;
	return 1;
}

/* What each operation tells a task that holds the key; nothing is changed. */
static void expect_deadlk(struct kunit *test, struct lockmap *map, u64 n, bool present,
			  const char *when)
{
	size_t len = lockmap_len(map);
	u64 key = key_of(n), old = 1234;
	unsigned long visits = 0;

	for (enum op op = 0; op < NR_OPS; op++) {
		int want = op == OP_CONTAINS ? present :
			   op == OP_TRYLOCK || op == OP_BATCH_TRYLOCK ? -EBUSY : -EDEADLK;

		KUNIT_EXPECT_EQ_MSG(test, do_op(map, op, &key, sizeof(key), HZ, &visits), want,
				    "%s, %s", op_name[op], when);
	}
	KUNIT_EXPECT_EQ(test, lockmap_insert(map, &key, sizeof(key), &old, &old), -EDEADLK);
	KUNIT_EXPECT_EQ(test, lockmap_remove(map, &key, sizeof(key), &old), -EDEADLK);
	KUNIT_EXPECT_EQ(test, lockmap_get(map, &key, sizeof(key), NULL), -EDEADLK);
	KUNIT_EXPECT_EQ(test, lockmap_retain(map, never, &visits), -EDEADLK);
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, stop_at_once, &visits), -EDEADLK);
	KUNIT_EXPECT_EQ_MSG(test, visits, 0, "%s", when);
	KUNIT_EXPECT_EQ(test, old, 1234);
	KUNIT_EXPECT_EQ_MSG(test, lockmap_len(map), len, "%s", when);
}

static void not_reentrant(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct lockmap_entry *entry;
	struct lockmap_batch *batch;
	struct worker *w;

	for (u64 n = 1; n < 5; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n * 10), 0);

	entry = hold(test, map, 3);
	expect_deadlk(test, map, 3, true, "present");
	w = start_op(test, map, OP_LOCK, 3, 0);
	expect_sleeps(test, w);
	expect_deadlk(test, map, 3, true, "waited for");
	KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 30);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, join(test, w), 0);

	entry = hold(test, map, 9);
	expect_deadlk(test, map, 9, false, "absent");
	KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
	lockmap_unlock(entry);

	batch = lockmap_batch_lock(map, make_keys(test, 2, 3), 3);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	for (u64 n = 2; n < 5; n++)
		expect_deadlk(test, map, n, true, "in a batch");
	lockmap_batch_unlock(batch);

	/* After the unlock nothing of it is left. */
	for (u64 n = 1; n < 10; n++)
		KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, n)), 0);
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
}

/*
 * A batch that meets a key of its own task in the middle. The order of the
 * locks is wrong by intent; lockdep is not asked.
 */
static void batch_meets_own_key(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct lockmap_key *keys = make_keys(test, 1, 9);
	struct lockmap_entry *entry = hold(test, map, 5);
	int error[5];

	shuffle(keys, 9, 1);
	lockdep_off();
	error[0] = batch_error(lockmap_batch_lock(map, keys, 9));
	error[1] = batch_error(lockmap_batch_lock_interruptible(map, keys, 9));
	error[2] = batch_error(lockmap_batch_lock_killable(map, keys, 9));
	error[3] = batch_error(lockmap_batch_lock_timeout(map, keys, 9, HZ));
	error[4] = batch_error(lockmap_batch_trylock(map, keys, 9));
	lockdep_on();
	for (unsigned int i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ(test, error[i], -EDEADLK);
	KUNIT_EXPECT_EQ(test, error[4], -EBUSY);
	for (u64 n = 1; n < 10; n++)
		KUNIT_EXPECT_EQ(test, is_busy(map, n), n == 5 ? -EBUSY : 0);
	lockmap_unlock(entry);
	expect_free(test, map, 1, 9);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
}

/*
 * Circles of tasks, each of which holds a key and wants the next one's, by any
 * call. Keys with odd numbers are in another map. Lockdep would complain of the
 * order, and rightly.
 */
struct circle {
	struct lockmap *map[2];
	unsigned int size;

	/* of circles_race() */
	bool may_give_up;
	wait_queue_head_t all_there;
	atomic_t arrived;
	atomic_t refused;
	atomic_t gave_up;
};

static struct circle *make_circle(struct kunit *test, unsigned int size)
{
	struct circle *c = get_memory(test, sizeof(*c));

	c->map[0] = make_u64_map(test);
	c->map[1] = make_u64_map(test);
	c->size = size;
	init_waitqueue_head(&c->all_there);
	return c;
}

static void break_up(struct kunit *test, struct circle *c)
{
	struct fixture *fx = test->priv;

	for (u64 n = 0; n < c->size; n++)
		expect_free(test, c->map[n % 2], n, n);
	drop_map(test, c->map[0]);
	drop_map(test, c->map[1]);
	kvfree(fx->blocks[--fx->nr_blocks]);
}

static int want(struct circle *c, u64 n, enum op op, unsigned long timeout)
{
	unsigned long visits = 0;
	u64 key = key_of(n);
	int ret;

	ret = do_op(c->map[n % 2], op, &key, sizeof(key), timeout, &visits);
	return ret == -ENOENT ? 0 : min(ret, 0);
}

static int hold_and_want(struct worker *w)
{
	struct circle *c = w->arg;
	struct lockmap_entry *entry;

	lockdep_off();
	entry = lock_nr(c->map[w->key % 2], w->key);
	if (!IS_ERR_OR_NULL(entry)) {
		calling(w);
		w->ret = want(c, w->key + 1, w->op, PATIENCE);
		lockmap_unlock(entry);
	}
	lockdep_on();
	return IS_ERR_OR_NULL(entry) ? -EFAULT : w->ret;
}

static void circles_are_refused(struct kunit *test)
{
	for (unsigned int size = 2; size <= 16; size++) {
		struct circle *c = make_circle(test, size);
		struct lockmap_entry *last = hold(test, c->map[(size - 1) % 2], size - 1);
		int error[NR_KEY_OPS], busy;

		/* 0 wants 1, 1 wants 2, ...: nobody gets anything while @last is held */
		for (unsigned int n = size - 1; n--; ) {
			struct worker *w = new_worker(test, hold_and_want, NULL, "hold and want");

			w->arg = c;
			w->key = n;
			w->op = (n + size) % NR_KEY_OPS;
			start(test, w);
			expect_sleeps(test, w);
		}
		lockdep_off();
		for (enum op op = 0; op < NR_KEY_OPS; op++)
			error[op] = want(c, 0, op, PATIENCE);
		busy = is_busy(c->map[0], 0);
		lockdep_on();
		for (enum op op = 0; op < NR_KEY_OPS; op++)
			KUNIT_EXPECT_EQ_MSG(test, error[op], op == OP_CONTAINS ? 0 : -EDEADLK,
					    "%s closes a circle of %u", op_name[op], size);
		KUNIT_EXPECT_EQ(test, busy, -EBUSY);
		lockmap_unlock(last);
		join_all(test);
		bury_all(test);
		break_up(test, c);
	}
}

/*
 * Who would wait behind more than 1024 tasks, each of which waits for the next, is
 * refused: going all the way would take too long.
 */
static void rows_are_limited(struct kunit *test)
{
	const unsigned int most = 1024;
	struct circle *c = make_circle(test, most + 2);
	struct lockmap_entry *last = hold(test, c->map[(most + 1) % 2], most + 1);
	struct worker *w;

	for (unsigned int n = most + 1; n--; ) {
		w = new_worker(test, hold_and_want, NULL, "hold and want");
		w->arg = c;
		w->key = n;
		w->op = OP_LOCK;
		start(test, w);
		if (n)
			expect_sleeps(test, w);
		else
			KUNIT_EXPECT_EQ(test, join(test, w), -EDEADLK);
	}
	lockmap_unlock(last);
	list_for_each_entry(w, &((struct fixture *)test->priv)->workers, node)
		KUNIT_EXPECT_EQ(test, join(test, w), w->key ? 0 : -EDEADLK);
	bury_all(test);
	break_up(test, c);
}

/*
 * Keys of a map that are locked out of order are told of, though nobody waits, and
 * though the first two that were locked together were in order: tools/vm/check-log
 * looks whether it was told.
 */
static void disorder_is_told(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct lockmap_entry *entry;

	if (!IS_ENABLED(CONFIG_PROVE_LOCKING))
		kunit_skip(test, "a kernel without PROVE_LOCKING");
	for (u64 n = 10; n > 0; n--) {
		entry = hold(test, map, n);
		KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, n + 1)), 0);
		KUNIT_EXPECT_EQ(test, lock_error(try_nr(map, n - 1)), 0);
		lockmap_unlock(entry);
	}

	entry = hold(test, map, 6);
	expect_warning(true);
	pr_info("lockmap_test: has to be told: key 0x500000000000000 locked by\n");
	KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, 5)), 0);
	expect_warning(false);
	/* once a map */
	KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, 4)), 0);
	lockmap_unlock(entry);
}

/* Wait for the others of the circle; all of them come by here equally often. */
static bool meet(struct circle *c)
{
	int turn = atomic_inc_return(&c->arrived), all;

	all = roundup(turn, (int)c->size);
	wake_up_all(&c->all_there);
	return wait_event_timeout(c->all_there, atomic_read(&c->arrived) >= all, PATIENCE);
}

/* One round: hold a key, and when all do want the next; or, once in a while, do not. */
static int go_round(struct circle *c, struct worker *w, bool wants)
{
	struct lockmap_entry *entry = lock_nr(c->map[w->key % 2], w->key);
	unsigned long timeout = PATIENCE;
	int ret;

	if (IS_ERR_OR_NULL(entry))
		return -EFAULT;
	if (c->may_give_up && prandom_u32_state(&w->rnd) % 4 == 0)
		timeout = prandom_u32_state(&w->rnd) % 3;
	if (!meet(c))
		return -EPIPE;
	ret = wants ? want(c, w->key + 1 < c->size ? w->key + 1 : 0, w->op, timeout) : 0;
	lockmap_unlock(entry);
	flush_signals(current);
	if (ret == -EDEADLK)
		atomic_inc(&c->refused);
	else if (c->may_give_up && (ret == -EINTR || ret == -ETIMEDOUT || w->op == OP_CONTAINS))
		atomic_inc(&c->gave_up);
	else if (ret)
		return ret;
	return meet(c) ? 0 : -EPIPE;
}

static int go_rounds(struct worker *w)
{
	struct circle *c = w->arg;
	struct rnd_state same;		/* for all of them */
	int err = 0;

	prandom_seed_state(&same, c->size);
	lockdep_off();
	for (w->count = 0; w->count < w->nr && !err; w->count++) {
		u32 stays_out = prandom_u32_state(&same) % (2 * c->size);

		/* Whether a key has a value can be told without waiting for it. */
		do {
			w->op = prandom_u32_state(&w->rnd) % NR_KEY_OPS;
		} while (w->op == OP_CONTAINS && !c->may_give_up);
		err = go_round(c, w, w->key != stays_out);
		/* Who is refused or gives up lets go, and that was the circle. */
		if (!err && w->key == 0) {
			int refused = atomic_xchg(&c->refused, 0);
			int gave_up = atomic_xchg(&c->gave_up, 0);
			bool closed = stays_out >= c->size;

			w->errors += refused > closed || (closed && !refused && !gave_up);
		}
		if (!err && !meet(c))
			err = -EPIPE;
	}
	lockdep_on();
	return err;
}

static void disturb(struct kunit *test, struct worker **w, unsigned int n)
{
	struct rnd_state rnd;

	prandom_seed_state(&rnd, n);
	while (!completion_done(&w[0]->done)) {
		unsigned int victim = prandom_u32_state(&rnd) % n;

		if (!completion_done(&w[victim]->done))
			send_sig(prandom_u32_state(&rnd) % 2 ? SIGUSR1 : SIGKILL,
				 w[victim]->task, 1);
		usleep_range(50, 500);
	}
}

/*
 * All of the circle go to sleep at once: one and only one is refused, and nobody if one
 * stays out. With signals and timeouts circles dissolve while they form.
 */
static void circles_race(struct kunit *test)
{
	static const unsigned int sizes[] = { 2, 3, 4, 7, 16 };
	unsigned int rounds = 20;

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (unsigned int give_up = 0; give_up < 2; give_up++) {
			unsigned int size = sizes[i];
			struct circle *c = make_circle(test, size);
			struct worker *w[16];

			c->may_give_up = give_up;
			for (u64 n = 0; n < size; n++) {
				w[n] = new_worker(test, go_rounds, NULL, "circle");
				w[n]->arg = c;
				w[n]->key = n;
				w[n]->nr = rounds;
				start(test, w[n]);
			}
			if (give_up)
				disturb(test, w, size);
			join_all(test);
			KUNIT_EXPECT_EQ_MSG(test, sum_errors(test), 0, "circle of %u, %u", size,
					    give_up);
			KUNIT_EXPECT_EQ(test, sum_counts(test), size * rounds);
			bury_all(test);
			break_up(test, c);
		}
	}
}

/* Whoever gets the key next sees what the last one left, half done or not. */
static int leave_half_done(struct worker *w)
{
	struct lockmap_entry *entry = lock_nr(w->map, w->key);
	struct wide *v;

	if (IS_ERR_OR_NULL(entry))
		return PTR_ERR(entry) ?: -EFAULT;
	v = lockmap_entry_get_or_insert(entry, NULL);
	v->word[0] = 1;
	lockmap_unlock(entry);
	return 0;
}

static void no_poisoning(struct kunit *test)
{
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "poison", .key_len = sizeof(u64), .value_len = sizeof(struct wide),
	});
	struct worker *w = new_worker(test, leave_half_done, map, "half done");
	struct lockmap_entry *entry;
	struct wide *v;

	w->key = 1;
	start(test, w);
	KUNIT_EXPECT_EQ(test, join(test, w), 0);
	entry = hold(test, map, 1);
	v = lockmap_entry_value(entry);
	KUNIT_EXPECT_NOT_NULL(test, v);
	if (v) {
		KUNIT_EXPECT_EQ(test, v->word[0], 1);
		KUNIT_EXPECT_EQ(test, v->word[7], 0);
	}
	lockmap_unlock(entry);
}

static int unlock_it(struct worker *w)
{
	lockmap_unlock(w->arg);
	return 0;
}

static int unlock_batch(struct worker *w)
{
	lockmap_batch_unlock(w->arg);
	return 0;
}

static void finish_elsewhere(struct kunit *test, int (*fn)(struct worker *w), void *what)
{
	struct worker *w = new_worker(test, fn, NULL, "finish elsewhere");

	w->arg = what;
	start(test, w);
	KUNIT_EXPECT_EQ(test, join(test, w), 0);
}

static int disown_and_walk(struct worker *w)
{
	struct lockmap_entry *entry = lock_nr(w->map, 5);
	unsigned long visits = 0;
	int ret;

	if (IS_ERR_OR_NULL(entry))
		return PTR_ERR(entry) ?: -EFAULT;
	lockmap_entry_disown(entry);
	w->arg = entry;
	calling(w);
	ret = lockmap_for_each(w->map, count_value, &visits);
	w->count = visits;
	return ret;
}

static void disowned(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	u64 key = key_of(5);
	struct lockmap_entry *entry;
	struct lockmap_batch *batch;
	struct worker *w;

	KUNIT_EXPECT_EQ(test, insert_nr(map, 5, 50), 0);
	entry = hold(test, map, 5);
	lockmap_entry_disown(entry);

	/* Locked for the one who disowned it as for anybody: no -EDEADLK */
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_timeout(map, &key, 8, 2)), -ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_timeout(map, &key, 8, 0)), -ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, is_busy(map, 5), -EBUSY);
	w = start_op(test, map, OP_GET, 5, 0);
	expect_sleeps(test, w);

	/* It can be used as before, and is unlocked by another task. */
	KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 50);
	finish_elsewhere(test, unlock_it, entry);
	KUNIT_EXPECT_EQ(test, join(test, w), 0);
	expect_free(test, map, 5, 5);

	/* disowned with somebody waiting already, and unlocked by the same task */
	entry = hold(test, map, 5);
	w = start_op(test, map, OP_LOCK, 5, 0);
	expect_sleeps(test, w);
	lockmap_entry_disown(entry);
	expect_sleeps(test, w);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, join(test, w), 0);

	/* The walk of one who disowned waits too. */
	w = start(test, new_worker(test, disown_and_walk, map, "disown and walk"));
	expect_sleeps(test, w);
	lockmap_unlock(w->arg);
	KUNIT_EXPECT_EQ(test, join(test, w), 0);
	KUNIT_EXPECT_EQ(test, w->count, 1);

	/* a batch, all of it */
	batch = lockmap_batch_lock(map, make_keys(test, 4, 3), 3);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	lockmap_batch_for_each(batch, entry)
		lockmap_entry_disown(entry);
	for (u64 n = 4; n < 7; n++) {
		key = key_of(n);
		KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_timeout(map, &key, 8, 1)),
				-ETIMEDOUT);
	}
	finish_elsewhere(test, unlock_batch, batch);
	expect_free(test, map, 4, 6);
}

/*
 * Softirq: a timer does one thing and tells what came of it.
 */

enum soft_action {
	SOFT_TRYLOCK,
	SOFT_UNLOCK,
	SOFT_BATCH_TRYLOCK,
	SOFT_BATCH_UNLOCK,
	SOFT_VALUES,
};

static struct {
	struct timer_list timer;
	struct completion done;
	enum soft_action action;
	struct lockmap *map;
	u64 key;
	struct lockmap_key keys[3];
	struct lockmap_entry *entry;
	struct lockmap_batch *batch;
	unsigned long errors;
	bool served;
} soft;

/* Put in, replace and take out in softirq; the entry stays locked. */
static unsigned long soft_values(struct lockmap_entry *entry)
{
	unsigned long errors = 0;
	u64 *p, old = 0;

	errors += lockmap_entry_insert(entry, &(u64) { 1 }, NULL) != false;
	errors += lockmap_entry_insert(entry, &(u64) { 2 }, &old) != true || old != 1;
	p = lockmap_entry_value(entry);
	errors += !p || *p != 2;
	errors += lockmap_entry_remove(entry, NULL) != true;
	errors += !!lockmap_entry_value(entry);
	p = lockmap_entry_get_or_insert(entry, &(u64) { 3 });
	errors += *p != 3;
	errors += lockmap_is_empty(soft.map);
	return errors;
}

static void soft_fn(struct timer_list *timer)
{
	soft.served = in_serving_softirq();
	switch (soft.action) {
	case SOFT_TRYLOCK:
		soft.entry = lockmap_trylock(soft.map, &soft.key, sizeof(soft.key));
		break;
	case SOFT_UNLOCK:
		lockmap_unlock(soft.entry);
		break;
	case SOFT_BATCH_TRYLOCK:
		soft.batch = lockmap_batch_trylock(soft.map, soft.keys, ARRAY_SIZE(soft.keys));
		break;
	case SOFT_BATCH_UNLOCK:
		lockmap_batch_unlock(soft.batch);
		break;
	case SOFT_VALUES:
		soft.errors = soft_values(soft.entry);
		break;
	}
	complete(&soft.done);
}

static void in_softirq_do(struct kunit *test, enum soft_action action)
{
	unsigned long end = jiffies + 1 + HZ / 2, left;

	soft.action = action;
	soft.served = false;
	init_completion(&soft.done);
	timer_setup(&soft.timer, soft_fn, 0);
	mod_timer(&soft.timer, jiffies + 1);
	/* Be the task that is interrupted: what softirq does is not to be taken for ours. */
	while (!completion_done(&soft.done) && time_before(jiffies, end))
		cpu_relax();
	left = wait_for_completion_timeout(&soft.done, PATIENCE);
	timer_delete_sync(&soft.timer);
	KUNIT_ASSERT_NE(test, left, 0);
	KUNIT_EXPECT_TRUE(test, soft.served);
}

static void softirq(struct kunit *test)
{
	struct lockmap_entry *entry;
	struct worker *w;

	soft.map = make_u64_map(test);
	soft.key = key_of(5);

	/* a new key, taken and let go in softirq; a task waits for it meanwhile */
	in_softirq_do(test, SOFT_TRYLOCK);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, soft.entry);
	KUNIT_EXPECT_EQ(test, is_busy(soft.map, 5), -EBUSY);
	w = start_op(test, soft.map, OP_GET, 5, 0);
	expect_sleeps(test, w);
	in_softirq_do(test, SOFT_VALUES);
	KUNIT_EXPECT_EQ(test, soft.errors, 0);
	expect_sleeps(test, w);
	in_softirq_do(test, SOFT_UNLOCK);
	KUNIT_EXPECT_EQ(test, join(test, w), 0);
	expect_free(test, soft.map, 5, 5);

	/* It belongs to nobody: no -EDEADLK, and a task unlocks it. */
	in_softirq_do(test, SOFT_TRYLOCK);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, soft.entry);
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_timeout(soft.map, &soft.key, 8, 2)),
			-ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(soft.entry), 3);
	lockmap_unlock(soft.entry);
	expect_free(test, soft.map, 5, 5);
	in_softirq_do(test, SOFT_TRYLOCK);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, soft.entry);
	finish_elsewhere(test, unlock_it, soft.entry);
	expect_free(test, soft.map, 5, 5);

	/* held by a task; by one that sleeps on it */
	entry = hold(test, soft.map, 5);
	in_softirq_do(test, SOFT_TRYLOCK);
	KUNIT_EXPECT_EQ(test, PTR_ERR(soft.entry), -EBUSY);

	/* disowned by a task, finished in softirq: as I/O goes */
	lockmap_entry_disown(entry);
	w = start_op(test, soft.map, OP_LOCK, 5, 0);
	expect_sleeps(test, w);
	soft.entry = entry;
	in_softirq_do(test, SOFT_UNLOCK);
	KUNIT_EXPECT_EQ(test, join(test, w), 0);
	expect_free(test, soft.map, 5, 5);
}

static void softirq_batch(struct kunit *test)
{
	struct lockmap_key *keys = make_keys(test, 1, 3);
	struct lockmap_entry *entry;
	struct worker *w;

	soft.map = make_u64_map(test);
	memcpy(soft.keys, keys, sizeof(soft.keys));
	in_softirq_do(test, SOFT_BATCH_TRYLOCK);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, soft.batch);
	KUNIT_EXPECT_EQ(test, soft.batch->nr, 3);
	for (u64 n = 1; n < 4; n++)
		KUNIT_EXPECT_EQ(test, is_busy(soft.map, n), -EBUSY);
	w = start_batch(test, soft.map, OP_BATCH, keys, 3, 0);
	expect_sleeps(test, w);
	in_softirq_do(test, SOFT_BATCH_UNLOCK);
	KUNIT_EXPECT_EQ(test, join(test, w), 0);

	in_softirq_do(test, SOFT_BATCH_TRYLOCK);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, soft.batch);
	finish_elsewhere(test, unlock_batch, soft.batch);

	entry = hold(test, soft.map, 2);
	in_softirq_do(test, SOFT_BATCH_TRYLOCK);
	KUNIT_EXPECT_EQ(test, PTR_ERR(soft.batch), -EBUSY);
	lockmap_unlock(entry);
	expect_free(test, soft.map, 1, 3);
}

/* Under a spinlock, with bottom halves off: a task's lock all the same */
static void trylock_in_atomic(struct kunit *test)
{
	static DEFINE_SPINLOCK(spin);
	struct lockmap *map = make_u64_map(test);
	struct lockmap_key *keys = make_keys(test, 1, 3);
	struct lockmap_entry *entry, *other, *new;
	struct lockmap_batch *batch;
	u64 key = key_of(5), key6 = key_of(6);
	int error[4];

	spin_lock_bh(&spin);
	entry = lockmap_trylock(map, &key, sizeof(key));
	error[0] = lock_error(lockmap_trylock(map, &key, sizeof(key)));
	other = lockmap_trylock(map, &key6, sizeof(key6));
	error[1] = lock_error(other);
	batch = lockmap_batch_trylock(map, keys, 3);
	error[2] = batch_error(batch);
	new = lockmap_entry_alloc(map, &key, sizeof(key), GFP_ATOMIC);
	error[3] = PTR_ERR_OR_ZERO(new);
	lockmap_entry_free(new);
	spin_unlock_bh(&spin);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	KUNIT_EXPECT_EQ(test, error[0], -EBUSY);
	KUNIT_EXPECT_EQ(test, error[1], 0);
	KUNIT_EXPECT_EQ(test, error[2], 0);
	KUNIT_EXPECT_EQ(test, error[3], 0);
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock(map, &key, sizeof(key))), -EDEADLK);

	spin_lock_bh(&spin);
	lockmap_entry_insert(entry, &(u64) { 1 }, NULL);
	lockmap_unlock(entry);
	spin_unlock_bh(&spin);
	expect_free(test, map, 1, 6);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);
}

/* Keys that nobody else wants are never refused, while idle ones are reclaimed. */
static int trylock_own(struct worker *w)
{
	wait_for_go(w);
	for (u64 i = 0; i < w->nr && !stopped(w); i++) {
		u64 key = key_of((u64)w->id << 32 | i);
		int ret;

		if (i % 4 == 0)
			local_bh_disable();
		ret = lock_error(lockmap_trylock(w->map, &key, sizeof(key)));
		if (i % 4 == 0)
			local_bh_enable();
		if (ret == -EBUSY)
			w->errors++;
		else if (ret == -ENOMEM)
			w->longest++;
		else if (ret)
			return ret;
		w->count += !ret;
	}
	return 0;
}

static void trylock_own_keys(struct kunit *test)
{
	static const unsigned int max_idle[] = { 1, 16, 0, UINT_MAX };
	unsigned int nr = scaled(20000);

	for (unsigned int i = 0; i < ARRAY_SIZE(max_idle); i++) {
		struct lockmap *map = make_map(test, &(struct lockmap_params) {
			.name = "own_keys", .key_len = sizeof(u64), .value_len = sizeof(u64),
			.max_idle = max_idle[i],
		});

		for (unsigned int t = 0; t < 3; t++) {
			struct worker *w = new_worker(test, trylock_own, map, "own keys");

			w->nr = nr;
			start(test, w);
		}
		go(test);
		join_all(test);
		KUNIT_EXPECT_EQ_MSG(test, sum_errors(test), 0, "max_idle %u: -EBUSY", max_idle[i]);
		KUNIT_EXPECT_EQ_MSG(test, sum_counts(test), 3 * nr, "max_idle %u", max_idle[i]);
		KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
		bury_all(test);
		drop_map(test, map);
	}
}

/*
 * Entries brought along
 */

static void prealloc(struct kunit *test)
{
	for (unsigned int round = 0; round < 10; round++) {
		struct lockmap *map = make_map(test, &(struct lockmap_params) {
			.name = "prealloc", .key_len = sizeof(u64), .value_len = sizeof(u64),
			.max_idle = round % 2,
		});
		struct lockmap_entry *new, *entry;

		/* not in the map: the entry itself, without a value */
		new = alloc_nr(map, 1);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, new);
		KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
		KUNIT_EXPECT_EQ(test, is_busy(map, 2), 0);
		entry = lockmap_lock_prealloc(map, new);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
		KUNIT_EXPECT_PTR_EQ(test, entry, new);
		KUNIT_EXPECT_EQ(test, nr_of(lockmap_entry_key(entry, NULL)), 1);
		KUNIT_EXPECT_NULL(test, lockmap_entry_value(entry));
		KUNIT_EXPECT_EQ(test, is_busy(map, 1), -EBUSY);
		KUNIT_EXPECT_FALSE(test, lockmap_entry_insert(entry, &(u64) { 10 }, NULL));

		/* held by the same task: consumed */
		new = alloc_nr(map, 1);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, new);
		KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_prealloc(map, new)), -EDEADLK);
		lockmap_unlock(entry);

		/* in the map: the one that is there, with its value */
		new = alloc_nr(map, 1);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, new);
		entry = lockmap_lock_prealloc(map, new);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
		KUNIT_EXPECT_NOT_NULL(test, lockmap_entry_value(entry));
		if (lockmap_entry_value(entry))
			KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 10);
		lockmap_unlock(entry);

		/* never used */
		for (u64 n = 0; n < 10; n++)
			lockmap_entry_free(alloc_nr(map, n));

		/* two for one key: the second finds what the first brought */
		new = alloc_nr(map, 3);
		entry = lockmap_lock_prealloc(map, alloc_nr(map, 3));
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
		lockmap_unlock(entry);
		KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_prealloc(map, new)), 0);
		KUNIT_EXPECT_EQ(test, lockmap_len(map), 1);

		/* Had one of them got lost, the slab would say so here. */
		drop_map(test, map);
	}
}

static void prealloc_refuses(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test), *other = make_u64_map(test);
	static const gfp_t bad[] = { GFP_KERNEL | __GFP_ZERO, GFP_KERNEL | GFP_DMA,
				     GFP_KERNEL | __GFP_HIGHMEM };
	u64 key = key_of(1);

	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_prealloc(map, NULL)), -EINVAL);
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_prealloc(map, ERR_PTR(-ENOMEM))), -ENOMEM);
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_prealloc(map, ERR_PTR(-EIO))), -EIO);
	/* consumed all the same, as the other map's slab will tell */
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_prealloc(map, alloc_nr(other, 1))), -EINVAL);
	expect_free(test, map, 1, 1);
	expect_free(test, other, 1, 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ(test, PTR_ERR(lockmap_entry_alloc(map, &key, sizeof(key), bad[i])),
				-EINVAL);
	drop_map(test, other);
}

/*
 * Keys that all have one hash under a hash that everybody knows: to a map with the
 * default hash they are like any others.
 */

#define HOSTILE_SAMPLE	1024

static u64 hash_all_know(const void *key, size_t len, u64 seed)
{
	return (u32)get_unaligned((const u64 *)key) * 2654435761U;
}

static u64 harmless(u64 n)
{
	return n;
}

static u64 hostile(u64 n)
{
	return n << 32;
}

static struct lockmap *map_full_of(struct kunit *test, u64 (*hash)(const void *, size_t, u64),
				   u64 (*key_nr)(u64 n), u64 nr)
{
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "full", .key_len = sizeof(u64), .value_len = sizeof(u64), .hash = hash,
	});

	for (u64 n = 0; n < nr; n++) {
		u64 key = key_nr(n);

		KUNIT_ASSERT_GE(test, lockmap_insert(map, &key, sizeof(key), &n, NULL), 0);
		let_others_run();
	}
	return map;
}

/* What one lookup takes, in nanoseconds, of keys from here and there. */
static u64 time_lookups(struct lockmap *map, u64 (*key_nr)(u64 n), u64 nr)
{
	u64 begin = ktime_get_ns(), value;

	for (u64 n = 0; n < HOSTILE_SAMPLE; n++) {
		u64 key = key_nr(n * nr / HOSTILE_SAMPLE);

		if (lockmap_get(map, &key, sizeof(key), &value))
			return 0;
	}
	return (ktime_get_ns() - begin) / HOSTILE_SAMPLE;
}

static void hostile_keys(struct kunit *test)
{
	u64 nr = slow_kernel() ? 1 << 14 : 1 << 20, few = 1 << 12;
	struct lockmap *good = map_full_of(test, NULL, harmless, nr);
	struct lockmap *bad = map_full_of(test, NULL, hostile, nr);
	struct lockmap *known = map_full_of(test, hash_all_know, hostile, few);
	u64 best[3] = { U64_MAX, U64_MAX, U64_MAX };

	for (unsigned int round = 0; round < 20; round++) {
		best[0] = min(best[0], time_lookups(good, harmless, nr));
		best[1] = min(best[1], time_lookups(bad, hostile, nr));
		if (round < 3)
			best[2] = min(best[2], time_lookups(known, hostile, few));
		cond_resched();
	}
	kunit_info(test, "ns a lookup: %llu of %llu harmless keys, %llu of as many hostile ones; "
		   "%llu of %llu with the hash they are made for\n",
		   best[0], nr, best[1], best[2], few);
	KUNIT_EXPECT_GT(test, best[0], 0);
	KUNIT_EXPECT_GT(test, best[1], 0);
	KUNIT_EXPECT_LT(test, best[1], 2 * best[0] + 20);
	KUNIT_EXPECT_GT(test, best[2], 4 * best[0]);
}

/* A comparison that takes its time: another CPU frees what is compared. */
static struct slow_look {
	struct task_struct *who;
	bool begun;
	bool over;
	bool changed;
} slow_look;

static int cmp_slowly(const void *a, size_t a_len, const void *b, size_t b_len)
{
	u8 was[128] = {};

	if (READ_ONCE(slow_look.who) == current) {
		WRITE_ONCE(slow_look.who, NULL);
		memcpy(was, a, min(a_len, sizeof(was)));
		WRITE_ONCE(slow_look.begun, true);
		for (unsigned int ms = 0; ms < 3000 && !READ_ONCE(slow_look.over); ms++)
			mdelay(1);
		slow_look.changed = memcmp(was, a, min(a_len, sizeof(was)));
	}
	return memcmp(a, b, min(a_len, b_len)) ?: (a_len > b_len) - (a_len < b_len);
}

static int lock_long(struct lockmap *map, u32 n)
{
	u8 key[100];

	memset(key, n, sizeof(key));
	put_unaligned(n, (u32 *)key);
	return lock_error(lockmap_lock(map, key, sizeof(key)));
}

static int look_slowly(struct worker *w)
{
	set_cpus_allowed_ptr(current, cpumask_of(cpumask_first(cpu_online_mask)));
	WRITE_ONCE(slow_look.who, current);
	return lock_long(w->map, 1);
}

/* Idle entries go, and so do their keys, whose memory is wanted at once. */
static int make_idle(struct worker *w)
{
	int err = 0;

	set_cpus_allowed_ptr(current, cpumask_of(cpumask_last(cpu_online_mask)));
	wait_for_go(w);
	for (u32 n = 2; n < 2000 && !err; n++) {
		err = lock_long(w->map, n);
		let_others_run();
	}
	WRITE_ONCE(slow_look.over, true);
	return err;
}

static void long_key_outlives_look(struct kunit *test)
{
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "slow", .key_len = 100, .flags = LOCKMAP_VAR_KEY, .cmp = cmp_slowly,
		.max_idle = 1, .nr_shards = 1,
	});
	unsigned long end = jiffies + PATIENCE;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	memset(&slow_look, 0, sizeof(slow_look));
	KUNIT_EXPECT_EQ(test, lock_long(map, 1), 0);
	start(test, new_worker(test, make_idle, map, "make idle"));
	start(test, new_worker(test, look_slowly, map, "look"));
	while (!READ_ONCE(slow_look.begun) && time_before(jiffies, end))
		usleep_range(50, 100);
	go(test);
	join_all(test);
	KUNIT_EXPECT_TRUE(test, slow_look.begun);
	KUNIT_EXPECT_TRUE(test, slow_look.over);
	KUNIT_EXPECT_FALSE(test, slow_look.changed);
}

/* All key lengths, as the memory of a long key may be another's business */
static void prealloc_long_keys(struct kunit *test)
{
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "prealloc_var", .key_len = LOCKMAP_MAX_KEY_LEN, .value_len = 24,
		.flags = LOCKMAP_VAR_KEY, .max_idle = 1,
	});
	u8 *key = get_memory(test, LOCKMAP_MAX_KEY_LEN);

	for (size_t len = 1; len <= LOCKMAP_MAX_KEY_LEN; len += len < 300 ? 1 : 379) {
		struct lockmap_entry *new = lockmap_entry_alloc(map, key, len, GFP_KERNEL);
		struct lockmap_entry *entry;
		size_t got = 0;

		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, new);
		entry = lockmap_lock_prealloc(map, new);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
		KUNIT_EXPECT_MEMEQ(test, lockmap_entry_key(entry, &got), key, len);
		KUNIT_EXPECT_EQ(test, got, len);
		lockmap_unlock(entry);
		lockmap_entry_free(lockmap_entry_alloc(map, key, len, GFP_KERNEL));
	}
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
}

/*
 * Batches
 */

static int reverse_cmp(const void *a, size_t a_len, const void *b, size_t b_len)
{
	u64 m = nr_of(a), n = nr_of(b);

	return m > n ? -1 : m < n;
}

/* A batch of @n keys, each twice, shuffled */
static void batch_of(struct kunit *test, struct lockmap *map, unsigned int n, bool reverse)
{
	struct lockmap_key *keys = make_keys(test, 1000, n);
	struct lockmap_key *all = get_memory(test, max(2 * n, 1U) * sizeof(*all));
	unsigned int wrong = 0, visits = 0;
	struct lockmap_batch *batch;
	struct lockmap_entry *entry;
	u64 absent = key_of(999), after = key_of(1000 + n);

	memcpy(all, keys, n * sizeof(*keys));
	memcpy(all + n, keys, n * sizeof(*keys));
	shuffle(all, 2 * n, n + 1);
	batch = lockmap_batch_lock(map, all, 2 * n);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_EXPECT_EQ(test, batch->nr, n);
	KUNIT_EXPECT_PTR_EQ(test, batch->map, map);

	lockmap_batch_for_each(batch, entry) {
		u64 want = 1000 + (reverse ? n - 1 - visits : visits);

		wrong += nr_of(lockmap_entry_key(entry, NULL)) != want;
		wrong += entry != batch->entries[visits];
		wrong += lockmap_batch_entry(batch, &(u64) { key_of(want) }, sizeof(u64)) != entry;
		wrong += is_busy(map, want) != -EBUSY;
		*(u64 *)lockmap_entry_get_or_insert(entry, NULL) += want;
		visits++;
	}
	KUNIT_EXPECT_EQ(test, visits, n);
	KUNIT_EXPECT_EQ_MSG(test, wrong, 0, "%u keys", n);
	KUNIT_EXPECT_NULL(test, lockmap_batch_entry(batch, &absent, sizeof(absent)));
	KUNIT_EXPECT_NULL(test, lockmap_batch_entry(batch, &after, sizeof(after)));
	lockmap_batch_unlock(batch);

	for (u64 i = 0; i < n; i++) {
		u64 value = 0;

		wrong += get_nr(map, 1000 + i, &value) || value != 1000 + i;
		wrong += is_busy(map, 1000 + i) != 0;
	}
	KUNIT_EXPECT_EQ_MSG(test, wrong, 0, "%u keys", n);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), n);
}

static void batches(struct kunit *test)
{
	static const unsigned int sizes[] = { 0, 1, 2, 3, 100, 1000 };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct lockmap *map = make_u64_map(test);

		batch_of(test, map, sizes[i], false);
		drop_map(test, map);
	}
}

static void batches_in_custom_order(struct kunit *test)
{
	static const unsigned int sizes[] = { 2, 100, 1000 };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct lockmap *map = make_map(test, &(struct lockmap_params) {
			.name = "reverse", .key_len = sizeof(u64), .value_len = sizeof(u64),
			.cmp = reverse_cmp,
		});

		batch_of(test, map, sizes[i], true);
		drop_map(test, map);
	}
}

static void empty_batch(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct lockmap_key *keys = make_keys(test, 1, 1);
	struct lockmap_batch *batch[] = {
		lockmap_batch_lock(map, keys, 0),
		lockmap_batch_lock(map, NULL, 0),
		lockmap_batch_trylock(map, keys, 0),
		lockmap_batch_lock_timeout(map, keys, 0, 0),
		lockmap_batch_lock_killable(map, keys, 0),
		lockmap_batch_lock_interruptible(map, keys, 0),
	};
	struct lockmap_entry *entry;

	for (unsigned int i = 0; i < ARRAY_SIZE(batch); i++) {
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch[i]);
		KUNIT_EXPECT_EQ(test, batch[i]->nr, 0);
		KUNIT_EXPECT_NULL(test, lockmap_batch_entry(batch[i], keys->data, keys->len));
		lockmap_batch_for_each(batch[i], entry)
			KUNIT_FAIL(test, "%p in an empty batch", entry);
	}
	expect_free(test, map, 1, 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(batch); i++)
		lockmap_batch_unlock(batch[i]);
}

/* Prefixes come before what they are a prefix of, bytes count as unsigned. */
static void batch_order_of_variable_keys(struct kunit *test)
{
	static const char * const sorted[] = { "\x01", "a", "aa", "ab", "b", "ba", "\x80", "\xff" };
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "var_order", .key_len = 8, .flags = LOCKMAP_VAR_KEY,
	});
	struct lockmap_key keys[ARRAY_SIZE(sorted)];
	struct lockmap_batch *batch;

	for (unsigned int i = 0; i < ARRAY_SIZE(sorted); i++)
		keys[i] = (struct lockmap_key) { sorted[i], strlen(sorted[i]) };
	shuffle(keys, ARRAY_SIZE(keys), 3);
	batch = lockmap_batch_lock(map, keys, ARRAY_SIZE(keys));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_EXPECT_EQ(test, batch->nr, ARRAY_SIZE(sorted));
	for (unsigned int i = 0; i < min_t(size_t, batch->nr, ARRAY_SIZE(sorted)); i++) {
		size_t len = 0;
		const void *key = lockmap_entry_key(batch->entries[i], &len);

		KUNIT_EXPECT_EQ(test, len, strlen(sorted[i]));
		KUNIT_EXPECT_EQ(test, memcmp(key, sorted[i], strlen(sorted[i])), 0);
	}
	lockmap_batch_unlock(batch);
}

#define ACCOUNTS	16
#define DEPOSIT		1000

/* Move money between random accounts: the sum stays. */
static int transfer(struct worker *w)
{
	wait_for_go(w);
	for (unsigned int i = 0; i < w->nr && !stopped(w); i++) {
		unsigned int n = 1 + prandom_u32_state(&w->rnd) % 6;
		struct lockmap_batch *batch;
		struct lockmap_key keys[6];
		u64 raw[6], *from, *to;

		for (unsigned int j = 0; j < n; j++) {
			raw[j] = key_of(prandom_u32_state(&w->rnd) % ACCOUNTS);
			keys[j] = (struct lockmap_key) { raw + j, sizeof(u64) };
		}
		switch (i % 5) {
		case 0:
			batch = lockmap_batch_lock(w->map, keys, n);
			break;
		case 1:
			batch = lockmap_batch_lock_interruptible(w->map, keys, n);
			break;
		case 2:
			batch = lockmap_batch_lock_killable(w->map, keys, n);
			break;
		case 3:
			batch = lockmap_batch_lock_timeout(w->map, keys, n, PATIENCE);
			break;
		default:
			batch = lockmap_batch_trylock(w->map, keys, n);
			if (PTR_ERR(batch) == -EBUSY)
				continue;
			break;
		}
		if (IS_ERR_OR_NULL(batch))
			return PTR_ERR(batch) ?: -EFAULT;
		from = lockmap_entry_value(lockmap_batch_entry(batch, &raw[0], sizeof(u64)));
		to = lockmap_entry_value(lockmap_batch_entry(batch, &raw[n - 1], sizeof(u64)));
		if (from && to && *from) {
			--*from;
			if (i % 16 == 0)
				schedule();
			++*to;
			w->count++;
		}
		lockmap_batch_unlock(batch);
	}
	return 0;
}

static void overlapping_batches(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	u64 sum = 0;

	for (u64 n = 0; n < ACCOUNTS; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, DEPOSIT), 0);
	for (unsigned int t = 0; t < 6; t++) {
		struct worker *w = new_worker(test, transfer, map, "transfer");

		w->nr = scaled(10000);
		start(test, w);
	}
	go(test);
	join_all(test);
	KUNIT_EXPECT_GT(test, sum_counts(test), scaled(10000));
	for (u64 n = 0; n < ACCOUNTS; n++) {
		u64 value = 0;

		KUNIT_EXPECT_EQ(test, get_nr(map, n, &value), 0);
		sum += value;
	}
	KUNIT_EXPECT_EQ(test, sum, ACCOUNTS * DEPOSIT);
	expect_free(test, map, 0, ACCOUNTS - 1);
}

/* A batch holds its first keys while it waits for the next; others are not held up. */
static void batch_waits_in_order(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct lockmap_key *keys = make_keys(test, 1, 4);
	struct lockmap_entry *entry = hold(test, map, 3);
	struct worker *w, *behind;

	w = start_batch(test, map, OP_BATCH, keys, 4, 0);
	expect_sleeps(test, w);
	KUNIT_EXPECT_EQ(test, is_busy(map, 1), -EBUSY);
	KUNIT_EXPECT_EQ(test, is_busy(map, 2), -EBUSY);
	KUNIT_EXPECT_EQ(test, is_busy(map, 4), 0);
	behind = start_batch(test, map, OP_BATCH, keys, 2, 0);
	expect_sleeps(test, behind);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, join(test, w), 0);
	KUNIT_EXPECT_EQ(test, join(test, behind), 0);
	expect_free(test, map, 1, 4);
}

static void huge_batch(struct kunit *test)
{
	unsigned int nr = slow_kernel() ? 1 << 12 : 1 << 20;
	struct lockmap_key *keys = make_keys(test, 0, nr);
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "huge_batch", .key_len = sizeof(u64), .value_len = sizeof(u64),
	});
	struct lockmap_batch *batch;
	unsigned int wrong = 0;
	u64 begin, locked;

	shuffle(keys, nr, 1);
	begin = ktime_get_ns();
	batch = lockmap_batch_lock(map, keys, nr);
	locked = ktime_get_ns();
	if (IS_ERR(batch)) {
		KUNIT_EXPECT_TRUE(test, PTR_ERR(batch) == -ENOMEM || PTR_ERR(batch) == -E2BIG);
		kunit_info(test, "%u keys in one batch: %pe", nr, batch);
	} else {
		KUNIT_EXPECT_EQ(test, batch->nr, nr);
		for (u64 n = 0; n < batch->nr; n++)
			wrong += nr_of(lockmap_entry_key(batch->entries[n], NULL)) != n;
		for (u64 n = 0; n < nr; n += 997)
			wrong += is_busy(map, n) != -EBUSY;
		lockmap_batch_unlock(batch);
		kunit_info(test, "%u keys in one batch: locked in %llu ms", nr,
			   div_u64(locked - begin, NSEC_PER_MSEC));
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
	expect_free(test, map, 0, 1000);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
}

/*
 * Walks
 */

/* What a walk saw: each of @nr stable keys counted, others marked in @others */
struct seen {
	unsigned int nr;
	u8 *times;
	unsigned long *others;
	u64 nr_others;
	u64 visits;
	u64 twice;
	u64 wrong;
};

#define OTHERS_FROM	BIT_ULL(32)

static int see(const void *key, size_t len, void *value, void *arg)
{
	struct seen *seen = arg;
	u64 n = nr_of(key);

	seen->visits++;
	seen->wrong += len != sizeof(u64) || *(u64 *)value != n;
	if (n < seen->nr)
		seen->times[n]++;
	else if (n < OTHERS_FROM || n - OTHERS_FROM >= seen->nr_others)
		seen->wrong++;
	else if (__test_and_set_bit(n - OTHERS_FROM, seen->others))
		seen->twice++;
	return 0;
}

static void walks_see_all(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct seen *seen = get_memory(test, sizeof(*seen));
	unsigned int wrong = 0;

	seen->nr = scaled(10000);
	seen->times = get_memory(test, seen->nr);
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, see, seen), 0);
	KUNIT_EXPECT_EQ(test, seen->visits, 0);
	for (u64 n = 0; n < seen->nr; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
	for (unsigned int round = 1; round < 4; round++) {
		KUNIT_EXPECT_EQ(test, lockmap_for_each(map, see, seen), 0);
		for (u64 n = 0; n < seen->nr; n++)
			wrong += seen->times[n] != round;
		KUNIT_EXPECT_EQ(test, wrong, 0);
	}
	KUNIT_EXPECT_EQ(test, seen->wrong, 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), seen->nr);
}

/* Ever-new keys come in thousands and go again, so that tables grow and shrink. */
static int churn(struct worker *w)
{
	u64 in = 0, out = 0;
	int ret = 0;

	while (!stopped(w) && in < w->key) {
		for (unsigned int i = 0; i < w->nr && in < w->key && ret >= 0; i++, in++)
			ret = insert_nr(w->map, OTHERS_FROM + in, OTHERS_FROM + in);
		for (; out < in && ret >= 0; out++)
			ret = remove_nr(w->map, OTHERS_FROM + out);
		if (ret < 0)
			return ret;
	}
	w->count = in;
	return 0;
}

static int walk_on(struct worker *w)
{
	struct seen *seen = w->arg;

	do {
		int ret;

		memset(seen->times, 0, seen->nr);
		bitmap_zero(seen->others, seen->nr_others);
		ret = lockmap_for_each(w->map, see, seen);
		if (ret)
			return ret;
		for (u64 n = 0; n < seen->nr; n++)
			w->errors += seen->times[n] != 1;
		w->count++;
	} while (!stopped(w));
	return 0;
}

static void walks_while_tables_resize(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct seen *seen = get_memory(test, 2 * sizeof(*seen));
	unsigned int nr = scaled(10000);
	struct worker *churner, *walker[2];

	for (u64 n = 0; n < nr; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
	churner = new_worker(test, churn, map, "churn");
	churner->nr = scaled(40000);
	churner->key = 1 << 22;
	start(test, churner);
	for (unsigned int t = 0; t < 2; t++) {
		seen[t].nr = nr;
		seen[t].times = get_memory(test, nr);
		seen[t].nr_others = churner->key;
		seen[t].others = get_memory(test, BITS_TO_LONGS(churner->key) * sizeof(long));
		walker[t] = new_worker(test, walk_on, map, "walk");
		walker[t]->arg = &seen[t];
		start(test, walker[t]);
	}
	msleep(slow_kernel() ? 4000 : 2000);
	stop(test);
	join_all(test);
	for (unsigned int t = 0; t < 2; t++) {
		KUNIT_EXPECT_EQ(test, walker[t]->errors, 0);
		KUNIT_EXPECT_EQ(test, seen[t].wrong, 0);
		KUNIT_EXPECT_EQ(test, seen[t].twice, 0);
	}
	KUNIT_EXPECT_GE(test, churner->count, churner->nr);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), nr);
	kunit_info(test, "%lu + %lu walks while %lu keys came and went", walker[0]->count,
		   walker[1]->count, churner->count);
}

/* Walks that are stopped, that write, sleep, and lock other keys */
struct tour {
	struct lockmap *map;
	unsigned int visits;
	unsigned int stop_after;
	unsigned int failures;
};

static int tour_stop(const void *key, size_t len, void *value, void *arg)
{
	struct tour *tour = arg;

	return ++tour->visits == tour->stop_after ? 1000 + tour->visits : 0;
}

static int tour_fail(const void *key, size_t len, void *value, void *arg)
{
	return -EPIPE;
}

static int tour_busy(const void *key, size_t len, void *value, void *arg)
{
	struct tour *tour = arg;
	u64 n = nr_of(key), other;

	tour->visits++;
	*(u64 *)value += 1;
	usleep_range(10, 20);
	/* this key is locked, the others of the walk are not */
	tour->failures += is_busy(tour->map, n) != -EBUSY;
	for (u64 m = 0; m < 20; m++)
		tour->failures += m != n && is_busy(tour->map, m) != 0;
	/* keys behind this one in order may be locked, read and changed */
	tour->failures += lock_error(lock_nr(tour->map, 1000 + n)) != 0;
	tour->failures += insert_nr(tour->map, 1 << 20, 1) < 0;
	tour->failures += get_nr(tour->map, 1 << 20, &other) != 0;
	tour->failures += remove_nr(tour->map, 1 << 20) != 0;
	return 0;
}

static void walk_functions(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct tour tour = { .map = map };
	u64 value;

	for (u64 n = 0; n < 20; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
	for (unsigned int i = 1; i <= 20; i++) {
		tour.visits = 0;
		tour.stop_after = i;
		KUNIT_EXPECT_EQ(test, lockmap_for_each(map, tour_stop, &tour), 1000 + i);
		KUNIT_EXPECT_EQ(test, tour.visits, i);
	}
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, tour_fail, NULL), -EPIPE);
	expect_free(test, map, 0, 20);

	/* a key that is put in and taken out meanwhile may be seen, too */
	tour.visits = 0;
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, tour_busy, &tour), 0);
	KUNIT_EXPECT_GE(test, tour.visits, 20);
	KUNIT_EXPECT_EQ(test, tour.failures, 0);
	for (u64 n = 0; n < 20; n++) {
		KUNIT_EXPECT_EQ(test, get_nr(map, n, &value), 0);
		KUNIT_EXPECT_EQ(test, value, n + 1);
	}
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 20);
}

/*
 * One of 100 values is held: a walk waits for it and then sees what the holder
 * left. A held key without a value that gets one is seen once or not at all.
 */
static int walk_once(struct worker *w)
{
	calling(w);
	return lockmap_for_each(w->map, see, w->arg);
}

/* What a holder does to its value: nothing, put it in again, take it out and in, take it out */
static void change_value(struct lockmap_entry *entry, u64 n, unsigned int change)
{
	if (change == 1)
		lockmap_entry_insert(entry, &n, NULL);
	if (change >= 2)
		lockmap_entry_remove(entry, NULL);
	if (change == 2)
		lockmap_entry_insert(entry, &n, NULL);
}

static void walks_wait_for_holders(struct kunit *test)
{
	for (unsigned int i = 0; i < 8; i++) {
		struct lockmap *map = make_u64_map(test);
		struct seen *seen = get_memory(test, sizeof(*seen) + 200);
		struct lockmap_entry *held, *other, *absent;
		unsigned int change = i / 2, before = i % 2;
		struct worker *w;

		seen->nr = 200;
		seen->times = (u8 *)(seen + 1);
		for (u64 n = 0; n < 100; n++)
			KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
		held = hold(test, map, 50);
		other = hold(test, map, 60);
		absent = hold(test, map, 150);
		if (before) {
			change_value(held, 50, change);
			change_value(absent, 150, 1);
		}
		w = new_worker(test, walk_once, map, "for_each");
		w->arg = seen;
		start(test, w);
		expect_sleeps(test, w);
		KUNIT_EXPECT_EQ(test, seen->times[50], 0);
		if (!before) {
			change_value(held, 50, change);
			change_value(absent, 150, 1);
		}
		lockmap_unlock(held);
		lockmap_unlock(absent);
		lockmap_unlock(other);
		KUNIT_EXPECT_EQ(test, join(test, w), 0);
		for (u64 n = 0; n < 100; n++)
			if (n != 50)
				KUNIT_EXPECT_EQ(test, seen->times[n], 1);

		/* what was there all the time once, what came meanwhile once at most */
		if (change < 2 || (change == 2 && before))
			KUNIT_EXPECT_EQ(test, seen->times[50], 1);
		else
			KUNIT_EXPECT_LE(test, seen->times[50], change == 2);
		if (before)
			KUNIT_EXPECT_EQ(test, seen->times[150], 1);
		else
			KUNIT_EXPECT_LE(test, seen->times[150], 1);
		KUNIT_EXPECT_EQ(test, seen->wrong, 0);
		expect_free(test, map, 0, 200);
		drop_map(test, map);
	}
}

static void retain(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	unsigned int nr = scaled(10000) & ~3U, wrong = 0;
	unsigned long visits = 0;

	for (u64 n = 0; n < nr; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
	KUNIT_EXPECT_EQ(test, lockmap_retain(map, keep_value, &visits), 0);
	KUNIT_EXPECT_EQ(test, visits, nr);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), nr);
	KUNIT_EXPECT_EQ(test, lockmap_retain(map, keep_even, NULL), 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), nr / 2);
	for (u64 n = 0; n < nr; n++)
		wrong += contains_nr(map, n) != (n % 2 == 0);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	visits = 0;
	KUNIT_EXPECT_EQ(test, lockmap_retain(map, never, &visits), 0);
	KUNIT_EXPECT_EQ(test, visits, nr / 2);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 1), 0);
}

static int retain_even(struct worker *w)
{
	calling(w);
	return lockmap_retain(w->map, keep_even, NULL);
}

static void clear_and_retain_wait(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	struct lockmap_entry *entry;
	struct worker *w;

	/* the holder changes its mind about the value while retain waits for it */
	for (u64 n = 0; n < 100; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
	entry = hold(test, map, 51);
	w = start(test, new_worker(test, retain_even, map, "retain"));
	expect_sleeps(test, w);
	*(u64 *)lockmap_entry_value(entry) = 52;
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, join(test, w), 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 51);
	KUNIT_EXPECT_TRUE(test, contains_nr(map, 51));

	entry = hold(test, map, 51);
	w = start_op(test, map, OP_CLEAR, 0, 0);
	expect_sleeps(test, w);
	KUNIT_EXPECT_EQ(test, *(u64 *)lockmap_entry_value(entry), 52);
	KUNIT_EXPECT_GE(test, lockmap_len(map), 1);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, join(test, w), 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 0);
	for (u64 n = 0; n < 100; n++)
		KUNIT_EXPECT_FALSE(test, contains_nr(map, n));
}

/* Every value put in while others clear is cleared once, by somebody. */
static atomic_long_t nr_released;

static void count_release(void *value)
{
	atomic_long_inc(&nr_released);
}

static int clear_on(struct worker *w)
{
	int ret = 0;

	wait_for_go(w);
	while (!ret && !stopped(w)) {
		ret = w->id % 2 ? lockmap_clear(w->map) : lockmap_retain(w->map, keep_even, NULL);
		w->errors++;
	}
	return ret;
}

static int insert_on(struct worker *w)
{
	wait_for_go(w);
	for (unsigned int i = 0; i < w->nr && !stopped(w); i++) {
		int ret = insert_nr(w->map, prandom_u32_state(&w->rnd) % 256, i);

		if (ret < 0)
			return ret;
		w->count++;
	}
	return 0;
}

static void clear_races(struct kunit *test)
{
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "clear", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.max_idle = 1, .release = count_release,
	});
	struct worker *inserter[2];

	atomic_long_set(&nr_released, 0);
	for (unsigned int t = 0; t < 2; t++)
		start(test, new_worker(test, clear_on, map, "clear"));
	for (unsigned int t = 0; t < 2; t++) {
		inserter[t] = new_worker(test, insert_on, map, "insert");
		inserter[t]->nr = scaled(50000);
		start(test, inserter[t]);
	}
	go(test);
	for (unsigned int t = 0; t < 2; t++)
		KUNIT_EXPECT_EQ(test, join(test, inserter[t]), 0);
	stop(test);
	join_all(test);
	KUNIT_EXPECT_GT(test, sum_errors(test), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&nr_released) + lockmap_len(map), sum_counts(test));
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&nr_released), sum_counts(test));
}

/*
 * Size
 */

#define STABLE	1000

static int read_stable(struct worker *w)
{
	wait_for_go(w);
	while (!stopped(w)) {
		u64 n = prandom_u32_state(&w->rnd) % STABLE, value = 0;

		switch (w->count % 4) {
		case 0:
			w->errors += !contains_nr(w->map, n);
			break;
		case 1:
			w->errors += lock_error(lock_nr(w->map, n)) != 0;
			break;
		default:
			w->errors += get_nr(w->map, n, &value) || value != n;
			break;
		}
		if (++w->count % 64 == 0)
			usleep_range(100, 200);
	}
	return 0;
}

static void grow_and_shrink(struct kunit *test)
{
	u64 begin, grown, shrunk, nr = slow_kernel() ? 3000 : 1000000;
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "grow", .key_len = sizeof(u64), .value_len = sizeof(u64),
	});
	unsigned int failures = 0;

	for (u64 n = 0; n < STABLE; n++)
		KUNIT_EXPECT_EQ(test, insert_nr(map, n, n), 0);
	for (unsigned int t = 0; t < 2; t++)
		start(test, new_worker(test, read_stable, map, "reader"));
	go(test);
	begin = ktime_get_ns();
	for (u64 n = STABLE; n < nr; n++)
		failures += insert_nr(map, n, n) != 0;
	grown = ktime_get_ns();
	KUNIT_EXPECT_EQ(test, failures, 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), nr);
	for (u64 n = STABLE; n < nr; n += 7)
		failures += !contains_nr(map, n);
	KUNIT_EXPECT_EQ(test, failures, 0);
	shrunk = ktime_get_ns();
	for (u64 n = STABLE; n < nr; n++)
		failures += remove_nr(map, n) != 0;
	shrunk = ktime_get_ns() - shrunk;
	KUNIT_EXPECT_EQ(test, failures, 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), STABLE);
	stop(test);
	join_all(test);
	KUNIT_EXPECT_EQ(test, sum_errors(test), 0);
	KUNIT_EXPECT_GT(test, sum_counts(test), 1000);
	KUNIT_EXPECT_EQ(test, lockmap_clear(map), 0);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
	kunit_info(test, "%llu keys came in %llu ms and went in %llu ms", nr,
		   div_u64(grown - begin, NSEC_PER_MSEC), div_u64(shrunk, NSEC_PER_MSEC));
}

/* Threads put in and take out keys of their own: the length is their sum. */
static int insert_own(struct worker *w)
{
	wait_for_go(w);
	for (u64 n = 0; n < w->nr && !stopped(w); n++) {
		u64 mine = n << 8 | w->id, value = 0;

		w->errors += insert_nr(w->map, mine, mine) != 0;
		w->errors += get_nr(w->map, mine, &value) || value != mine;
		if (n % 3 == 0)
			w->errors += remove_nr(w->map, mine) != 0;
		else
			w->count++;
	}
	return 0;
}

static void length_is_exact(struct kunit *test)
{
	struct lockmap *map = make_u64_map(test);
	unsigned long visits = 0;

	for (unsigned int t = 0; t < 4; t++) {
		struct worker *w = new_worker(test, insert_own, map, "insert own");

		w->nr = scaled(50000);
		start(test, w);
	}
	go(test);
	join_all(test);
	KUNIT_EXPECT_EQ(test, sum_errors(test), 0);
	KUNIT_EXPECT_EQ(test, lockmap_len(map), sum_counts(test));
	KUNIT_EXPECT_FALSE(test, lockmap_is_empty(map));
	KUNIT_EXPECT_EQ(test, lockmap_for_each(map, count_value, &visits), 0);
	KUNIT_EXPECT_EQ(test, visits, sum_counts(test));
}

/*
 * Memory that is not there. The n-th allocation of this task fails, for n from
 * 1 on, until the call makes fewer than that.
 */

#define FAIL_NTH_0(n)		((void)(n))
#define FAIL_NTH_1(n)		WRITE_ONCE(current->fail_nth, (n))
#define FAILS_LEFT_0		0U
#define FAILS_LEFT_1		READ_ONCE(current->fail_nth)
#define MAKE_IT_FAIL_0(on)	((void)(on))
#define MAKE_IT_FAIL_1(on)	(current->make_it_fail = (on))

/* The fields are there only with fault injection: choose by its 0 or 1. */
#define fail_nth(n)		CONCATENATE(FAIL_NTH_, IS_ENABLED(CONFIG_FAULT_INJECTION))(n)
#define fails_left()		CONCATENATE(FAILS_LEFT_, IS_ENABLED(CONFIG_FAULT_INJECTION))
#define make_it_fail(on)	CONCATENATE(MAKE_IT_FAIL_, IS_ENABLED(CONFIG_FAULT_INJECTION))(on)

/* failslab's settings, as debugfs has them */
static struct {
	bool *ignore_sleeping;
	bool *task_filter;
	unsigned long *probability;
	unsigned long *verbose;
	atomic_t *times;
} failslab;

static void *find_knob(const char *name)
{
	struct dentry *dir = debugfs_lookup("failslab", NULL);
	struct dentry *file;
	void *knob;

	/* An error without CONFIG_DEBUG_FS. */
	if (IS_ERR_OR_NULL(dir))
		return NULL;
	file = debugfs_lookup(name, dir);
	knob = file ? d_inode(file)->i_private : NULL;
	dput(file);
	dput(dir);
	return knob;
}

static void failslab_reset(void *unused)
{
	*failslab.ignore_sleeping = true;
	*failslab.task_filter = false;
	*failslab.probability = 0;
	*failslab.verbose = 2;
	atomic_set(failslab.times, 1);
}

/* Skips the case on a kernel that cannot fail. */
static void failslab_setup(struct kunit *test)
{
	failslab.ignore_sleeping = find_knob("ignore-gfp-wait");
	failslab.task_filter = find_knob("task-filter");
	failslab.probability = find_knob("probability");
	failslab.verbose = find_knob("verbose");
	failslab.times = find_knob("times");
	if (!IS_ENABLED(CONFIG_FAULT_INJECTION) || !failslab.ignore_sleeping ||
	    !failslab.task_filter || !failslab.probability || !failslab.verbose || !failslab.times)
		kunit_skip(test, "no failslab in debugfs");

	KUNIT_ASSERT_EQ(test, kunit_add_action(test, failslab_reset, NULL), 0);
	*failslab.ignore_sleeping = false;
	*failslab.verbose = 0;
	atomic_set(failslab.times, -1);
}

/* Let every allocation of this task fail, and none of others. */
static void fail_everything(bool on)
{
	*failslab.task_filter = true;
	*failslab.probability = on ? 100 : 0;
	make_it_fail(on);
}

#define MAX_FAILS	400

static void fail_create(struct kunit *test)
{
	const struct lockmap_params params = {
		.name = "fail_create", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.nr_shards = 2,
	};
	unsigned int n, left = 0, refused = 0;

	failslab_setup(test);
	/* slab and the allocator may print where they failed */
	expect_warning(true);
	for (n = 1; n < MAX_FAILS && !left; n++) {
		struct lockmap *map;

		fail_nth(n);
		map = lockmap_create(&params);
		left = fails_left();
		fail_nth(0);
		KUNIT_EXPECT_NOT_NULL(test, map);
		if (IS_ERR_OR_NULL(map)) {
			KUNIT_EXPECT_EQ_MSG(test, PTR_ERR(map), -ENOMEM, "allocation %u", n);
			KUNIT_EXPECT_EQ_MSG(test, left, 0, "failed without a reason");
			refused++;
			continue;
		}
		KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 1), 0);
		lockmap_destroy(map);
	}
	expect_warning(false);
	KUNIT_EXPECT_NE(test, left, 0);
	KUNIT_EXPECT_GT(test, refused, 0);
	kunit_info(test, "%u allocations, %u of them indispensable", n - 2, refused);
}

/* An operation on new keys either works or is refused and leaves no trace. */
static void fail_op(struct kunit *test, enum op op)
{
	struct lockmap *map = make_map(test, &(struct lockmap_params) {
		.name = "fail_op", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.max_idle = 1, .nr_shards = 1,
	});
	bool may_fail = op != OP_GET && op != OP_CONTAINS && op != OP_REMOVE &&
			op != OP_FOR_EACH && op != OP_RETAIN && op != OP_CLEAR;
	unsigned int refused = 0;
	unsigned long visits = 0;

	KUNIT_EXPECT_EQ(test, insert_nr(map, 1 << 20, 1), 0);
	for (u64 key = 0; key < 60; key++) {
		unsigned int left = 0;

		for (unsigned int n = 1; n < MAX_FAILS && !left; n++) {
			size_t len = lockmap_len(map);
			u64 raw = key_of(key);
			int ret;

			fail_nth(n);
			ret = do_op(map, op, &raw, sizeof(raw), HZ, &visits);
			left = fails_left();
			fail_nth(0);
			if (ret == -ENOMEM && !left && may_fail) {
				refused++;
				KUNIT_EXPECT_EQ(test, lockmap_len(map), len);
				KUNIT_EXPECT_FALSE(test, contains_nr(map, key));
				KUNIT_EXPECT_EQ(test, is_busy(map, key), 0);
				continue;
			}
			if (op == OP_GET || op == OP_REMOVE)
				KUNIT_EXPECT_EQ_MSG(test, ret, -ENOENT, "%s", op_name[op]);
			else
				KUNIT_EXPECT_TRUE_MSG(test, ret == 0 || ret == 1, "%s: %d",
						      op_name[op], ret);
			KUNIT_EXPECT_EQ(test, is_busy(map, key), 0);
		}
		KUNIT_EXPECT_NE_MSG(test, left, 0, "%s never succeeds", op_name[op]);
		KUNIT_EXPECT_EQ(test, lock_error(lock_nr(map, key)), 0);
	}
	if (may_fail && op != OP_TRYLOCK)
		KUNIT_EXPECT_GT_MSG(test, refused, 0, "%s", op_name[op]);
	drop_map(test, map);
}

static void fail_ops(struct kunit *test)
{
	failslab_setup(test);
	expect_warning(true);
	for (enum op op = 0; op < NR_OPS; op++)
		fail_op(test, op);
	expect_warning(false);
}

/* A batch that gets no memory for one of its keys locks none. */
static void fail_batch(struct kunit *test)
{
	struct lockmap_key *keys = make_keys(test, 0, 20);
	unsigned int refused = 0;

	failslab_setup(test);
	expect_warning(true);
	for (unsigned int try = 0; try < 2; try++) {
		unsigned int left = 0;

		for (unsigned int n = 1; n < MAX_FAILS && !left; n++) {
			struct lockmap *map = make_map(test, &(struct lockmap_params) {
				.name = "fail_batch", .key_len = sizeof(u64),
				.value_len = sizeof(u64), .max_idle = 1, .nr_shards = 1,
			});
			struct lockmap_batch *batch;

			fail_nth(n);
			batch = try ? lockmap_batch_trylock(map, keys, 20) :
				      lockmap_batch_lock(map, keys, 20);
			left = fails_left();
			fail_nth(0);
			if (IS_ERR_OR_NULL(batch)) {
				KUNIT_EXPECT_EQ(test, PTR_ERR(batch), -ENOMEM);
				KUNIT_EXPECT_EQ(test, left, 0);
				refused++;
			} else {
				KUNIT_EXPECT_EQ(test, batch->nr, 20);
				lockmap_batch_unlock(batch);
			}
			expect_free(test, map, 0, 19);
			KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
			drop_map(test, map);
		}
		KUNIT_EXPECT_NE(test, left, 0);
	}
	expect_warning(false);
	KUNIT_EXPECT_GT(test, refused, 2);
}

/*
 * Without any memory: entries brought along can be locked, however many they
 * are; what is there can be read, locked and removed; walks go on.
 */
static void fail_everything_but(struct kunit *test)
{
	unsigned int nr = 2000, failures = 0;
	struct lockmap_entry **new = get_memory(test, nr * sizeof(*new));
	struct lockmap_entry *entry;
	unsigned long visits = 0;
	struct lockmap *map;
	int ret[3];
	u64 value;

	failslab_setup(test);
	map = make_map(test, &(struct lockmap_params) {
		.name = "fail_all", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.nr_shards = 1,
	});
	for (u64 n = 0; n < nr; n++) {
		new[n] = alloc_nr(map, n);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, new[n]);
	}

	fail_everything(true);
	for (u64 n = 0; n < nr; n++) {
		entry = lockmap_lock_prealloc(map, new[n]);
		if (IS_ERR_OR_NULL(entry)) {
			failures++;
			continue;
		}
		lockmap_entry_insert(entry, &n, NULL);
		lockmap_unlock(entry);
	}
	for (u64 n = 0; n < nr; n++) {
		failures += get_nr(map, n, &value) || value != n;
		failures += lock_error(lock_nr(map, n)) != 0;
		failures += is_busy(map, n) != 0;
		failures += insert_nr(map, n, n) != 1;
	}
	ret[0] = lockmap_for_each(map, count_value, &visits);
	ret[1] = lockmap_retain(map, keep_even, NULL);
	for (u64 n = 0; n < nr; n += 4)
		failures += remove_nr(map, n) != 0;
	ret[2] = lockmap_clear(map);
	fail_everything(false);

	KUNIT_EXPECT_EQ(test, failures, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(ret); i++)
		KUNIT_EXPECT_EQ(test, ret[i], 0);
	KUNIT_EXPECT_EQ(test, visits, nr);
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
	round_trip(test, map, "memory is back");
}

/* Walks over long keys, which have to be kept while the walk waits */
static void fail_walk_of_long_keys(struct kunit *test)
{
	struct lockmap *map;
	unsigned long visits = 0;
	u8 key[200] = { };
	int ret;

	failslab_setup(test);
	map = make_map(test, &(struct lockmap_params) {
		.name = "fail_walk", .key_len = sizeof(key), .value_len = sizeof(u64),
	});
	for (unsigned int n = 0; n < 100; n++) {
		key[199] = n;
		KUNIT_EXPECT_EQ(test, lockmap_insert(map, key, sizeof(key), NULL, NULL), 0);
	}
	fail_everything(true);
	ret = lockmap_for_each(map, count_value, &visits);
	fail_everything(false);
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_EQ(test, visits, 100);
}

/*
 * The typed interface: every function that DEFINE_LOCKMAP() makes, once
 */

struct lmt_point {
	u32 x, y;
};

struct lmt_nothing { };

DEFINE_LOCKMAP(lmt_points, u32, struct lmt_point);
DEFINE_LOCKMAP(lmt_set, u64, struct lmt_nothing);

static int sum_points(const u32 *key, struct lmt_point *value, void *arg)
{
	*(u32 *)arg += *key + value->x;
	return 0;
}

static bool keep_point(const u32 *key, struct lmt_point *value, void *arg)
{
	return value->x >= *(u32 *)arg;
}

static void expect_point_lock(struct kunit *test, struct lmt_points_entry *entry, u32 key)
{
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	KUNIT_EXPECT_EQ(test, *lmt_points_entry_key(entry), key);
	lmt_points_unlock(entry);
}

static void typed_entries(struct kunit *test)
{
	struct lmt_points *map = lmt_points_create(NULL);
	struct lmt_point in = { 1, 2 }, out = { };
	struct lmt_points_entry *entry;
	u32 key = 7;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	((struct fixture *)test->priv)->maps[((struct fixture *)test->priv)->nr_maps++] =
		(struct lockmap *)map;

	KUNIT_EXPECT_EQ(test, lmt_points_get(map, &key, &out), -ENOENT);
	KUNIT_EXPECT_EQ(test, lmt_points_insert(map, &key, &in, &out), 0);
	KUNIT_EXPECT_EQ(test, lmt_points_insert(map, &key, &in, &out), 1);
	KUNIT_EXPECT_EQ(test, out.y, 2);
	KUNIT_EXPECT_TRUE(test, lmt_points_contains(map, &key));
	KUNIT_EXPECT_EQ(test, lmt_points_get(map, &key, &out), 0);
	KUNIT_EXPECT_EQ(test, out.x, 1);
	KUNIT_EXPECT_EQ(test, lmt_points_len(map), 1);
	KUNIT_EXPECT_FALSE(test, lmt_points_is_empty(map));

	expect_point_lock(test, lmt_points_lock(map, &key), 7);
	expect_point_lock(test, lmt_points_lock_interruptible(map, &key), 7);
	expect_point_lock(test, lmt_points_lock_killable(map, &key), 7);
	expect_point_lock(test, lmt_points_lock_timeout(map, &key, HZ), 7);
	expect_point_lock(test, lmt_points_trylock(map, &key), 7);
	entry = lmt_points_entry_alloc(map, &key, GFP_KERNEL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	expect_point_lock(test, lmt_points_lock_prealloc(map, entry), 7);
	entry = lmt_points_entry_alloc(map, &key, GFP_KERNEL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	lmt_points_entry_free(entry);

	entry = lmt_points_lock(map, &key);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	KUNIT_EXPECT_EQ(test, lmt_points_entry_value(entry)->y, 2);
	in.x = 5;
	KUNIT_EXPECT_TRUE(test, lmt_points_entry_insert(entry, &in, &out));
	KUNIT_EXPECT_EQ(test, out.x, 1);
	KUNIT_EXPECT_TRUE(test, lmt_points_entry_remove(entry, &out));
	KUNIT_EXPECT_EQ(test, out.x, 5);
	KUNIT_EXPECT_EQ(test, lmt_points_entry_get_or_insert(entry, &in)->x, 5);
	lmt_points_entry_disown(entry);
	lmt_points_unlock(entry);

	KUNIT_EXPECT_EQ(test, lmt_points_remove(map, &key, &out), 0);
	KUNIT_EXPECT_EQ(test, out.x, 5);
	KUNIT_EXPECT_EQ(test, lmt_points_remove(map, &key, NULL), -ENOENT);
	forget_map(test, (struct lockmap *)map);
	lmt_points_destroy(map);
}

static void expect_point_batch(struct kunit *test, struct lmt_points_batch *batch)
{
	u32 last = 0, absent = 99;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, batch);
	KUNIT_EXPECT_EQ(test, lmt_points_batch_nr(batch), 3);
	for (unsigned int i = 0; i < lmt_points_batch_nr(batch); i++) {
		struct lmt_points_entry *entry = lmt_points_batch_nth(batch, i);
		u32 key = *lmt_points_entry_key(entry);

		KUNIT_EXPECT_GT(test, memcmp(&key, &last, sizeof(key)), 0);
		KUNIT_EXPECT_PTR_EQ(test, lmt_points_batch_entry(batch, &key), entry);
		lmt_points_entry_get_or_insert(entry, NULL)->x++;
		last = key;
	}
	KUNIT_EXPECT_NULL(test, lmt_points_batch_entry(batch, &absent));
	lmt_points_batch_unlock(batch);
}

static int guarded_point(struct lmt_points *map, u32 key)
{
	struct lmt_points_entry *entry __free(lockmap_unlock) = lmt_points_trylock(map, &key);

	return IS_ERR(entry) ? PTR_ERR(entry) : lmt_points_entry_value(entry)->x;
}

static int guarded_points(struct lmt_points *map, u32 key)
{
	struct lmt_points_key keys[] = { lmt_points_key(&key) };
	struct lmt_points_batch *batch __free(lockmap_batch_unlock) =
		lmt_points_batch_trylock(map, keys, 1);

	return IS_ERR(batch) ? PTR_ERR(batch) : guarded_point(map, key);
}

static void typed_guards(struct kunit *test)
{
	struct lmt_points *map __free(lockmap_destroy) = lmt_points_create(NULL);
	struct lmt_point in = { 3, 4 };
	u32 key = 7;

	KUNIT_EXPECT_NOT_ERR_OR_NULL(test, map);
	if (IS_ERR_OR_NULL(map))
		return;
	KUNIT_EXPECT_EQ(test, lmt_points_insert(map, &key, &in, NULL), 0);
	for (unsigned int i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, guarded_points(map, key), -EBUSY);
		KUNIT_EXPECT_EQ(test, guarded_point(map, key), 3);
	}
}

static void typed_batches_and_walks(struct kunit *test)
{
	struct lockmap_params params = { .nr_shards = 2, .key_len = 1, .value_len = 1 };
	struct lmt_points *map = lmt_points_create(&params);
	u32 raw[] = { 3, 1, 2, 3 }, sum = 0, limit = 6;
	struct lmt_points_key keys[ARRAY_SIZE(raw)];

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	((struct fixture *)test->priv)->maps[((struct fixture *)test->priv)->nr_maps++] =
		(struct lockmap *)map;
	for (unsigned int i = 0; i < ARRAY_SIZE(raw); i++)
		keys[i] = lmt_points_key(&raw[i]);
	expect_point_batch(test, lmt_points_batch_lock(map, keys, 4));
	expect_point_batch(test, lmt_points_batch_lock_interruptible(map, keys, 4));
	expect_point_batch(test, lmt_points_batch_lock_killable(map, keys, 4));
	expect_point_batch(test, lmt_points_batch_lock_timeout(map, keys, 4, HZ));
	expect_point_batch(test, lmt_points_batch_trylock(map, keys, 4));

	/* keys 1, 2, 3, each with 5 */
	KUNIT_EXPECT_EQ(test, lmt_points_for_each(map, sum_points, &sum), 0);
	KUNIT_EXPECT_EQ(test, sum, 21);
	KUNIT_EXPECT_EQ(test, lmt_points_for_each(map, NULL, &sum), -EINVAL);
	KUNIT_EXPECT_EQ(test, lmt_points_retain(map, NULL, &sum), -EINVAL);
	KUNIT_EXPECT_EQ(test, lmt_points_insert(map, &raw[0], &(struct lmt_point) { 6, 0 }, NULL),
			1);
	KUNIT_EXPECT_EQ(test, lmt_points_retain(map, keep_point, &limit), 0);
	KUNIT_EXPECT_EQ(test, lmt_points_len(map), 1);
	KUNIT_EXPECT_TRUE(test, lmt_points_contains(map, &raw[0]));
	KUNIT_EXPECT_EQ(test, lmt_points_clear(map), 0);
	KUNIT_EXPECT_TRUE(test, lmt_points_is_empty(map));
	forget_map(test, (struct lockmap *)map);
	lmt_points_destroy(map);
}

static void typed_set(struct kunit *test)
{
	struct lmt_set *set = lmt_set_create(NULL);
	struct lmt_set_entry *entry;
	u64 key = 1;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, set);
	((struct fixture *)test->priv)->maps[((struct fixture *)test->priv)->nr_maps++] =
		(struct lockmap *)set;
	KUNIT_EXPECT_EQ(test, lmt_set_insert(set, &key, NULL, NULL), 0);
	KUNIT_EXPECT_EQ(test, lmt_set_insert(set, &key, NULL, NULL), 1);
	KUNIT_EXPECT_TRUE(test, lmt_set_contains(set, &key));
	entry = lmt_set_lock(set, &key);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	KUNIT_EXPECT_NOT_NULL(test, lmt_set_entry_value(entry));
	KUNIT_EXPECT_TRUE(test, lmt_set_entry_remove(entry, NULL));
	KUNIT_EXPECT_NULL(test, lmt_set_entry_value(entry));
	lmt_set_unlock(entry);
	KUNIT_EXPECT_FALSE(test, lmt_set_contains(set, &key));
}

/*
 * Scope guards
 */

static int guarded_lock(struct lockmap *map, u64 n)
{
	u64 key = key_of(n);

	CLASS(lockmap_lock, entry)(map, &key, sizeof(key));
	return IS_ERR(entry) ? PTR_ERR(entry) : is_busy(map, n);
}

static int guarded_lock_interruptible(struct lockmap *map, u64 n)
{
	u64 key = key_of(n);

	CLASS(lockmap_lock_interruptible, entry)(map, &key, sizeof(key));
	return IS_ERR(entry) ? PTR_ERR(entry) : is_busy(map, n);
}

static int guarded_lock_killable(struct lockmap *map, u64 n)
{
	u64 key = key_of(n);

	CLASS(lockmap_lock_killable, entry)(map, &key, sizeof(key));
	return IS_ERR(entry) ? PTR_ERR(entry) : is_busy(map, n);
}

static int guarded_trylock(struct lockmap *map, u64 n)
{
	u64 key = key_of(n);

	CLASS(lockmap_trylock, entry)(map, &key, sizeof(key));
	return IS_ERR(entry) ? PTR_ERR(entry) : is_busy(map, n);
}

static int freed_lock(struct lockmap *map, u64 n)
{
	u64 key = key_of(n);
	struct lockmap_entry *entry __free(lockmap_unlock) =
		lockmap_lock_timeout(map, &key, sizeof(key), 1);

	return IS_ERR(entry) ? PTR_ERR(entry) : is_busy(map, n);
}

static int guarded_batch(struct lockmap *map, u64 n)
{
	u64 key = key_of(n);
	struct lockmap_key keys[] = { { &key, sizeof(key) } };

	CLASS(lockmap_batch_lock, batch)(map, keys, 1);
	return IS_ERR(batch) ? PTR_ERR(batch) : is_busy(map, n);
}

static int guarded_batch_interruptible(struct lockmap *map, u64 n)
{
	u64 key = key_of(n);
	struct lockmap_key keys[] = { { &key, sizeof(key) } };

	CLASS(lockmap_batch_lock_interruptible, batch)(map, keys, 1);
	return IS_ERR(batch) ? PTR_ERR(batch) : is_busy(map, n);
}

static int guarded_batch_killable(struct lockmap *map, u64 n)
{
	u64 key = key_of(n);
	struct lockmap_key keys[] = { { &key, sizeof(key) } };

	CLASS(lockmap_batch_lock_killable, batch)(map, keys, 1);
	return IS_ERR(batch) ? PTR_ERR(batch) : is_busy(map, n);
}

static int guarded_batch_trylock(struct lockmap *map, u64 n)
{
	u64 key = key_of(n);
	struct lockmap_key keys[] = { { &key, sizeof(key) } };

	CLASS(lockmap_batch_trylock, batch)(map, keys, 1);
	return IS_ERR(batch) ? PTR_ERR(batch) : is_busy(map, n);
}

static int freed_batch(struct lockmap *map, u64 n)
{
	u64 key = key_of(n);
	struct lockmap_key keys[] = { { &key, sizeof(key) } };
	struct lockmap_batch *batch __free(lockmap_batch_unlock) =
		lockmap_batch_lock_timeout(map, keys, 1, 1);

	return IS_ERR(batch) ? PTR_ERR(batch) : is_busy(map, n);
}

static int freed_new(struct lockmap *map, u64 n)
{
	struct lockmap_entry *new __free(lockmap_entry_free) = alloc_nr(map, n);

	/* One that is locked must not be freed as well. */
	if (is_busy(map, n) == -EBUSY)
		return lock_error(lockmap_lock_prealloc(map, no_free_ptr(new)));
	return -EBUSY;
}

static void scope_guards(struct kunit *test)
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
		{ guarded_batch, -EDEADLK },
		{ guarded_batch_interruptible, -EDEADLK },
		{ guarded_batch_killable, -EDEADLK },
		{ guarded_batch_trylock, -EBUSY },
		{ freed_batch, -EDEADLK },
		{ freed_new, -EDEADLK },
	};
	struct lockmap *map = make_u64_map(test);
	struct lockmap_entry *entry;

	for (unsigned int i = 0; i < ARRAY_SIZE(guards); i++) {
		/* locked inside, free afterwards */
		KUNIT_EXPECT_EQ_MSG(test, guards[i].fn(map, 1), -EBUSY, "guard %u", i);
		expect_free(test, map, 1, 1);
		/* an error: nothing to unlock */
		entry = hold(test, map, 1);
		KUNIT_EXPECT_EQ_MSG(test, guards[i].fn(map, 1), guards[i].error, "guard %u", i);
		KUNIT_EXPECT_EQ(test, is_busy(map, 1), -EBUSY);
		lockmap_unlock(entry);
	}
	expect_free(test, map, 1, 1);

	scoped_guard(preempt) {
		struct lockmap_entry *in __free(lockmap_unlock) = try_nr(map, 2);

		entry = in;
	}
	KUNIT_EXPECT_NOT_NULL(test, entry);
	KUNIT_EXPECT_FALSE(test, IS_ERR(entry));
	expect_free(test, map, 2, 2);

	{
		struct lockmap *own __free(lockmap_destroy) =
			lockmap_create(&(struct lockmap_params) {
				.name = "guarded", .key_len = sizeof(u64),
			});

		KUNIT_EXPECT_FALSE(test, IS_ERR_OR_NULL(own));
		if (!IS_ERR_OR_NULL(own))
			KUNIT_EXPECT_EQ(test, insert_nr(own, 1, 0), 0);
	}
}

/*
 * A map destroyed under its holders: told, and leaked, so that they can go on.
 * Last, because what is leaked stays.
 */
static void destroy_under_holders(struct kunit *test)
{
	struct lockmap *map = lockmap_create(&(struct lockmap_params) {
		.name = "leaked", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.cmp = cmp_slowly,
	});
	struct lockmap_entry *entry, *absent;
	u64 old = 0;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	KUNIT_EXPECT_EQ(test, insert_nr(map, 1, 10), 0);
	entry = lock_nr(map, 1);
	absent = lock_nr(map, 2);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, absent);
	expect_warning(true);
	lockmap_destroy(map);
	expect_warning(false);
	KUNIT_EXPECT_EQ(test, nr_of(lockmap_entry_key(entry, NULL)), 1);
	KUNIT_EXPECT_NOT_NULL(test, lockmap_entry_value(entry));
	KUNIT_EXPECT_TRUE(test, lockmap_entry_insert(entry, &(u64) { 11 }, &old));
	KUNIT_EXPECT_EQ(test, old, 10);
	KUNIT_EXPECT_TRUE(test, lockmap_entry_remove(entry, &old));
	KUNIT_EXPECT_EQ(test, old, 11);
	KUNIT_EXPECT_NULL(test, lockmap_entry_value(absent));
	lockmap_unlock(absent);
	lockmap_unlock(entry);
}

static struct kunit_case lockmap_test_cases[] = {
	KUNIT_CASE(create_refuses),
	KUNIT_CASE(create_takes),
	KUNIT_CASE_SLOW(create_extremes),
	KUNIT_CASE(create_copies_params),
	KUNIT_CASE(destroy_in_reclaim),
	KUNIT_CASE(destroy_nothing),
	KUNIT_CASE(two_maps),
	KUNIT_CASE(absent_keys_lock),
	KUNIT_CASE(idle_keys_are_reclaimed),
	KUNIT_CASE_SLOW(idle_keys_are_absent),
	KUNIT_CASE(entry_values),
	KUNIT_CASE(map_values),
	KUNIT_CASE(sets),
	KUNIT_CASE(value_sizes),
	KUNIT_CASE(key_sizes),
	KUNIT_CASE(variable_keys),
	KUNIT_CASE(wrong_keys),
	KUNIT_CASE(no_map),
	KUNIT_CASE(no_callback),
	KUNIT_CASE(release_counts),
	KUNIT_CASE(clone_is_used),
	KUNIT_CASE(custom_equality),
	KUNIT_CASE_SLOW(bad_hashes),
	KUNIT_CASE(keys_are_independent),
	KUNIT_CASE_SLOW(exclusion_lock),
	KUNIT_CASE_SLOW(exclusion_prealloc),
	KUNIT_CASE_SLOW(exclusion_batch),
	KUNIT_CASE_SLOW(exclusion_all_ways),
	KUNIT_CASE_SLOW(exclusion_no_idle),
	KUNIT_CASE_SLOW(churn_loses_no_wakeup),
	KUNIT_CASE_SLOW(random_keys),
	KUNIT_CASE_SLOW(readers_see_whole_values),
	KUNIT_CASE(readers_get_their_turn),
	KUNIT_CASE(everything_waits),
	KUNIT_CASE(trylock_says_busy),
	KUNIT_CASE(timeouts),
	KUNIT_CASE(batch_timeout_is_for_all),
	KUNIT_CASE(waits_end_alone),
	KUNIT_CASE_SLOW(waits_end_in_a_queue),
	KUNIT_CASE(waits_end_in_a_batch),
	KUNIT_CASE(waits_do_not_end),
	KUNIT_CASE_SLOW(waits_end_at_the_unlock),
	KUNIT_CASE_SLOW(waits_end_in_races),
	KUNIT_CASE_SLOW(longest_wait),
	KUNIT_CASE_SLOW(greedy_holders),
	KUNIT_CASE(not_reentrant),
	KUNIT_CASE(batch_meets_own_key),
	KUNIT_CASE(circles_are_refused),
	KUNIT_CASE_SLOW(circles_race),
	KUNIT_CASE_SLOW(rows_are_limited),
	KUNIT_CASE(disorder_is_told),
	KUNIT_CASE(no_poisoning),
	KUNIT_CASE(disowned),
	KUNIT_CASE(softirq),
	KUNIT_CASE(softirq_batch),
	KUNIT_CASE(trylock_in_atomic),
	KUNIT_CASE_SLOW(trylock_own_keys),
	KUNIT_CASE(prealloc),
	KUNIT_CASE(prealloc_refuses),
	KUNIT_CASE_SLOW(hostile_keys),
	KUNIT_CASE(long_key_outlives_look),
	KUNIT_CASE(prealloc_long_keys),
	KUNIT_CASE(batches),
	KUNIT_CASE(batches_in_custom_order),
	KUNIT_CASE(empty_batch),
	KUNIT_CASE(batch_order_of_variable_keys),
	KUNIT_CASE_SLOW(overlapping_batches),
	KUNIT_CASE(batch_waits_in_order),
	KUNIT_CASE_SLOW(huge_batch),
	KUNIT_CASE(walks_see_all),
	KUNIT_CASE_SLOW(walks_while_tables_resize),
	KUNIT_CASE(walk_functions),
	KUNIT_CASE(walks_wait_for_holders),
	KUNIT_CASE(retain),
	KUNIT_CASE(clear_and_retain_wait),
	KUNIT_CASE_SLOW(clear_races),
	KUNIT_CASE_SLOW(grow_and_shrink),
	KUNIT_CASE_SLOW(length_is_exact),
	KUNIT_CASE_SLOW(fail_create),
	KUNIT_CASE_SLOW(fail_ops),
	KUNIT_CASE_SLOW(fail_batch),
	KUNIT_CASE_SLOW(fail_everything_but),
	KUNIT_CASE(fail_walk_of_long_keys),
	KUNIT_CASE(typed_entries),
	KUNIT_CASE(typed_batches_and_walks),
	KUNIT_CASE(typed_guards),
	KUNIT_CASE(typed_set),
	KUNIT_CASE(scope_guards),
	KUNIT_CASE(destroy_under_holders),
	{}
};

static struct kunit_suite lockmap_test_suite = {
	.name = "lockmap",
	.init = lockmap_test_init,
	.exit = lockmap_test_exit,
	.test_cases = lockmap_test_cases,
};

kunit_test_suite(lockmap_test_suite);

MODULE_DESCRIPTION("KUnit tests of lockmap");
MODULE_LICENSE("Dual MIT/GPL");
