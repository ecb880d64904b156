// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The operations that workers choose from: lmt_ops[] is the list
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>

#include "torture.h"

#define LMT_BRIEF_KEYS	300	/* keys of a brief map: its tables grow and shrink */

const struct lmt_refusal lmt_refusals[LMT_REFUSALS] = {
	{ -EBUSY, "busy" }, { -ETIMEDOUT, "timeout" }, { -EINTR, "signal" },
	{ -EDEADLK, "deadlock" }, { -ENOMEM, "no memory" },
};

/*
 * Locking
 */

struct lmt_map *lmt_pick_map(struct lmt_actor *a)
{
	unsigned int n = READ_ONCE(lmt_focus.map);

	if (n >= LMT_SHARED || lmt_once_in(a, 8))
		n = lmt_rnd(a) % LMT_SHARED;
	while (!lmt_maps[n].map)
		n = (n + 1) % LMT_SHARED;
	return &lmt_maps[n];
}

unsigned int lmt_pick_key(struct lmt_actor *a, const struct lmt_map *m)
{
	return (lmt_focus.base + lmt_rnd(a) % lmt_focus.spread) % m->keys;
}

static enum lmt_how lmt_pick_how(struct lmt_actor *a)
{
	return lmt_rnd(a) % LMT_HOWS;
}

/* For the monitor and for messages: what the actor is about to wait for. */
static void lmt_waits(struct lmt_actor *a, struct lmt_map *m, unsigned int index, enum lmt_how how)
{
	a->map = m;
	a->index = index;
	WRITE_ONCE(a->since, jiffies);
	WRITE_ONCE(a->how, how);
}

static void lmt_waited(struct lmt_actor *a, u64 begin)
{
	WRITE_ONCE(a->how, LMT_LOCK);
	a->longest = max(a->longest, ktime_get_ns() - begin);
}

/* Whether the way to wait allows for the error, and there is a reason for it. */
static bool lmt_may_refuse(enum lmt_how how, int err, bool holds, unsigned long waited,
			   unsigned long timeout)
{
	switch (err) {
	case -EBUSY:
		return how == LMT_TRY;
	case -ENOMEM:
		return how == LMT_TRY || IS_ENABLED(CONFIG_FAILSLAB);
	case -EINTR:
		return how == LMT_KILLABLE ? fatal_signal_pending(current) :
		       how == LMT_INTERRUPTIBLE && signal_pending(current);
	case -ETIMEDOUT:
		return how == LMT_TIMEOUT && waited >= timeout;
	case -EDEADLK:
		return holds && lmt_disorder;
	}
	return false;
}

static void lmt_refused(struct lmt_actor *a, int err)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lmt_refusals); i++) {
		if (lmt_refusals[i].err == err)
			a->refused[i]++;
	}
	if (err == -EINTR)
		flush_signals(current);
}

static struct lockmap_entry *lmt_call_lock(struct lockmap *map, const struct lmt_key *key,
					   enum lmt_how how, unsigned long timeout)
{
	switch (how) {
	case LMT_INTERRUPTIBLE:
		return lockmap_lock_interruptible(map, key->data, key->len);
	case LMT_KILLABLE:
		return lockmap_lock_killable(map, key->data, key->len);
	case LMT_TIMEOUT:
		return lockmap_lock_timeout(map, key->data, key->len, timeout);
	case LMT_TRY:
		return lockmap_trylock(map, key->data, key->len);
	case LMT_PREALLOC:
		return lockmap_lock_prealloc(map, lockmap_entry_alloc(map, key->data, key->len,
								      GFP_KERNEL));
	default:
		return lockmap_lock(map, key->data, key->len);
	}
}

/* Lock and enter a key. @holds: whether the caller has another one. Return: %NULL if refused. */
struct lockmap_entry *lmt_lock(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
			       enum lmt_how how, bool holds)
{
	unsigned long begin = jiffies, timeout = lmt_rnd(a) % 5;
	struct lockmap_entry *entry;
	u64 start = ktime_get_ns();
	struct lmt_key key;

	lmt_key_init(&key, m, index);
	lmt_waits(a, m, index, how);
	entry = lmt_call_lock(m->map, &key, how, timeout);
	lmt_waited(a, start);
	if (!IS_ERR_OR_NULL(entry)) {
		lmt_enter(a, m, index, entry);
		return entry;
	}
	if (!lmt_may_refuse(how, PTR_ERR(entry), holds, jiffies - begin, timeout))
		lmt_fail(a, m, index, "error code", "lock in way %u: %ld", how, PTR_ERR(entry));
	lmt_refused(a, PTR_ERR(entry));
	return NULL;
}

void lmt_unlock(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		struct lockmap_entry *entry)
{
	lmt_leave(a, m, index);
	/*
	 * What we do in there has barriers of its own. Here nothing but the unlock
	 * keeps a plain access from being late, and KCSAN sees if it does not.
	 */
	m->shadow[index].turns++;
	lockmap_unlock(entry);
}

static struct lockmap_batch *lmt_call_batch(struct lockmap *map, const struct lockmap_key *keys,
					    unsigned int n, enum lmt_how how, unsigned long timeout)
{
	switch (how) {
	case LMT_INTERRUPTIBLE:
		return lockmap_batch_lock_interruptible(map, keys, n);
	case LMT_KILLABLE:
		return lockmap_batch_lock_killable(map, keys, n);
	case LMT_TIMEOUT:
		return lockmap_batch_lock_timeout(map, keys, n, timeout);
	case LMT_TRY:
		return lockmap_batch_trylock(map, keys, n);
	default:
		return lockmap_batch_lock(map, keys, n);
	}
}

/* All keys that were asked for, each once, in ascending order. */
static void lmt_batch_check(struct lmt_actor *a, struct lmt_map *m, struct lockmap_batch *batch,
			    unsigned int n)
{
	struct lmt_key keys[2];
	struct lockmap_entry *entry;
	unsigned int i, index;

	for (i = 0; i < n; i++) {
		entry = lockmap_batch_entry(batch, a->keys[i].data, a->keys[i].len);
		index = lmt_key_index(m, a->keys[i].data, a->keys[i].len);
		if (!entry || lmt_entry_index(m, entry) != index)
			lmt_fail(a, m, index, "batch", "does not find its key");
	}
	for (i = 0; i < batch->nr; i++) {
		index = lmt_entry_index(m, batch->entries[i]);
		lmt_key_init(&keys[i % 2], m, index);
		if (i && lmt_cmp(m, &keys[(i - 1) % 2], &keys[i % 2]) >= 0)
			lmt_fail(a, m, index, "batch", "is not in order");
	}
}

/* Lock and enter the first @n of a->keys. Return: %NULL if refused. */
struct lockmap_batch *lmt_batch_lock(struct lmt_actor *a, struct lmt_map *m, unsigned int n,
				     enum lmt_how how, bool holds)
{
	unsigned long begin = jiffies, timeout = lmt_rnd(a) % 8;
	struct lockmap_batch *batch;
	struct lockmap_entry *entry;
	u64 start = ktime_get_ns();

	lmt_waits(a, m, n ? lmt_key_index(m, a->keys[0].data, a->keys[0].len) : 0, how);
	batch = lmt_call_batch(m->map, a->batch, n, how, timeout);
	lmt_waited(a, start);
	if (IS_ERR(batch)) {
		if (!lmt_may_refuse(how, PTR_ERR(batch), holds, jiffies - begin, timeout))
			lmt_fail(a, m, a->index, "error code", "batch in way %u: %ld", how,
				 PTR_ERR(batch));
		lmt_refused(a, PTR_ERR(batch));
		return NULL;
	}
	lmt_batch_check(a, m, batch, n);
	lockmap_batch_for_each(batch, entry)
		lmt_enter(a, m, lmt_entry_index(m, entry), entry);
	return batch;
}

void lmt_batch_unlock(struct lmt_actor *a, struct lmt_map *m, struct lockmap_batch *batch)
{
	struct lockmap_entry *entry;

	lockmap_batch_for_each(batch, entry)
		lmt_leave(a, m, lmt_entry_index(m, entry));
	lockmap_batch_unlock(batch);
}

void lmt_batch_key(struct lmt_actor *a, const struct lmt_map *m, unsigned int i, unsigned int index)
{
	lmt_key_init(&a->keys[i], m, index);
	a->batch[i] = (struct lockmap_key) { a->keys[i].data, a->keys[i].len };
}

/*
 * Operations of workers
 */

static void lmt_op_lock(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m);
	struct lockmap_entry *entry = lmt_lock(a, m, index, lmt_pick_how(a), false);

	if (!entry)
		return;
	lmt_touch(a, m, index, entry);
	lmt_unlock(a, m, index, entry);
}

/* A value that is read is in one piece, and no older than the call. */
static void lmt_op_get(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m), epoch;
	const struct lmt_shadow *s = &m->shadow[index];
	bool loose = lmt_class(index) == LMT_LOOSE;
	struct lmt_value v;
	unsigned long seq;
	struct lmt_key key;
	int err;

	lmt_key_init(&key, m, index);
	lmt_waits(a, m, index, LMT_LOCK);
	/* What the shadow says, then the value; pairs with lmt_value_born() and lmt_write(). */
	epoch = smp_load_acquire(&s->epoch);
	/* As above. */
	seq = smp_load_acquire(&s->seq);
	err = lockmap_get(m->map, key.data, key.len, &v);
	smp_rmb(); /* the value, then what the shadow says now */
	if (err && err != -ENOENT)
		lmt_fail(a, m, index, "error code", "get: %d", err);
	else if (!err && !lmt_value_ok(&v, m, index))
		lmt_fail(a, m, index, "torn value", "seq %llu", v.seq);
	else if (!err && !loose && (v.seq < seq || v.seq > READ_ONCE(s->seq)))
		lmt_fail(a, m, index, "stale value", "seq %llu, not %lu", v.seq, seq);
	else if (!loose && READ_ONCE(s->epoch) == epoch && (err == 0) != (epoch & 1))
		lmt_fail(a, m, index, "presence", "get: %d in epoch %u", err, epoch);
}

static void lmt_op_contains(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m), epoch;
	const struct lmt_shadow *s = &m->shadow[index];
	struct lmt_key key;
	bool has;

	lmt_key_init(&key, m, index);
	lmt_waits(a, m, index, LMT_LOCK);
	/* As in lmt_op_get(). */
	epoch = smp_load_acquire(&s->epoch);
	has = lockmap_contains(m->map, key.data, key.len);
	smp_rmb(); /* as in lmt_op_get() */
	if (lmt_class(index) != LMT_LOOSE && READ_ONCE(s->epoch) == epoch && has != (epoch & 1))
		lmt_fail(a, m, index, "presence", "contains: %d in epoch %u", has, epoch);
}

/* lockmap_insert() or lockmap_remove(). Return: whether there was a value before. */
static bool lmt_set(struct lmt_actor *a, struct lmt_map *m, unsigned int index, bool insert)
{
	bool copy = lmt_once_in(a, 2), had;
	struct lmt_value *old = copy ? &a->old : NULL;
	struct lmt_key key;
	int ret;

	lmt_key_init(&key, m, index);
	lmt_waits(a, m, index, LMT_LOCK);
	lmt_value_make(&a->new, m, index, lmt_rnd(a), 0);
	if (insert)
		ret = lockmap_insert(m->map, key.data, key.len, &a->new, old);
	else
		ret = lockmap_remove(m->map, key.data, key.len, old);
	had = insert ? ret == 1 : ret == 0;
	if (insert && ret >= 0)
		lmt_value_born(m, index, &a->new);
	if (had && old)
		lmt_value_back(a, m, index, old);
	if (ret < 0 && ret != -ENOENT && !lmt_may_refuse(LMT_LOCK, ret, false, 0, 0))
		lmt_fail(a, m, index, "error code", "%s: %d", insert ? "insert" : "remove", ret);
	if (ret < 0)
		lmt_refused(a, ret);
	return had;
}

static void lmt_op_set(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m) | 3;

	if (index < m->keys)
		lmt_set(a, m, index, lmt_once_in(a, 2));
}

/* A key that nobody else uses is always free, and nobody changes it. */
static void lmt_op_own(struct lmt_actor *a)
{
	unsigned int index = 4 * (a->id - 1) + 1;
	struct lockmap_entry *entry;
	struct lmt_key key;

	lmt_key_init(&key, lmt_own, index);
	entry = lockmap_trylock(lmt_own->map, key.data, key.len);
	if (PTR_ERR(entry) == -ENOMEM)
		return;
	if (IS_ERR(entry)) {
		lmt_fail(a, lmt_own, index, "trylock lied", "%ld", PTR_ERR(entry));
		return;
	}
	lmt_enter(a, lmt_own, index, entry);
	lmt_touch(a, lmt_own, index, entry);
	lmt_unlock(a, lmt_own, index, entry);
	index += 2;	/* a loose one */
	lmt_set(a, lmt_own, index, true);
	if (!lmt_set(a, lmt_own, index, false) && !IS_ENABLED(CONFIG_FAILSLAB))
		lmt_fail(a, lmt_own, index, "presence", "what was put in is gone");
}

/* Hold one key, want another, in whatever order. */
static void lmt_op_nested(struct lmt_actor *a)
{
	struct lmt_map *m[2] = { lmt_pick_map(a), lmt_pick_map(a) };
	unsigned int index[2] = { lmt_pick_key(a, m[0]), lmt_pick_key(a, m[1]) };
	struct lockmap_entry *entry[2];
	struct lmt_key key[2];
	int order;

	lmt_key_init(&key[0], m[0], index[0]);
	lmt_key_init(&key[1], m[1], index[1]);
	order = m[0] == m[1] ? lmt_cmp(m[0], &key[0], &key[1]) : m[0] > m[1] ? 1 : -1;
	if (!order)
		return;
	if (order > 0 && !lmt_disorder) {
		swap(m[0], m[1]);
		swap(index[0], index[1]);
	}
	entry[0] = lmt_lock(a, m[0], index[0], lmt_pick_how(a), false);
	if (!entry[0])
		return;
	lmt_touch(a, m[0], index[0], entry[0]);
	entry[1] = lmt_lock(a, m[1], index[1], lmt_pick_how(a), true);
	if (entry[1]) {
		lmt_touch(a, m[1], index[1], entry[1]);
		lmt_unlock(a, m[1], index[1], entry[1]);
	}
	lmt_unlock(a, m[0], index[0], entry[0]);
}

/* Move amounts from one account to the next. */
void lmt_transfer(struct lmt_actor *a, struct lmt_map *m, struct lockmap_batch *batch)
{
	struct lmt_value *from = NULL, *to;
	struct lockmap_entry *entry;
	u64 amount;

	lockmap_batch_for_each(batch, entry) {
		if (lmt_class(lmt_entry_index(m, entry)) != LMT_STATIC)
			continue;
		to = lockmap_entry_value(entry);
		if (from && to) {
			amount = lmt_rnd(a);
			lmt_write(a, m, from->index, from, from->balance - amount);
			lmt_write(a, m, to->index, to, to->balance + amount);
		}
		from = to;
	}
}

static void lmt_op_batch(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int n = lmt_rnd(a) % (lmt_once_in(a, 4) ? 20 : 5), i;
	struct lockmap_batch *batch;
	struct lockmap_entry *entry;

	for (i = 0; i < n; i++)
		lmt_batch_key(a, m, i, lmt_pick_key(a, m));
	batch = lmt_batch_lock(a, m, n, lmt_pick_how(a), true);
	if (!batch)
		return;
	lmt_transfer(a, m, batch);
	lockmap_batch_for_each(batch, entry)
		if (lmt_once_in(a, 2))
			lmt_touch(a, m, lmt_entry_index(m, entry), entry);
	lmt_batch_unlock(a, m, batch);
}

/* A batch of all accounts of a map finds what there was at the start, in all. */
static void lmt_op_audit(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int n = lmt_nr_static(m), i;
	struct lockmap_batch *batch;
	struct lockmap_entry *entry;
	struct lmt_value *v;
	u64 sum = 0;

	for (i = 0; i < n; i++)
		lmt_batch_key(a, m, i, 4 * i);
	batch = lmt_batch_lock(a, m, n, lmt_pick_how(a), true);
	if (!batch)
		return;
	lockmap_batch_for_each(batch, entry) {
		v = lockmap_entry_value(entry);
		sum += v ? v->balance : 0;
	}
	if (sum != (u64)n * LMT_BALANCE)
		lmt_fail(a, m, 0, "sum", "%llu instead of %u", sum, n * LMT_BALANCE);
	lmt_batch_unlock(a, m, batch);
}

/* Lock a key and leave it to another to unlock. */
static void lmt_op_disown(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m);
	struct lockmap_entry *entry;

	if (READ_ONCE(a->parcel))
		return;
	entry = lmt_lock(a, m, index, lmt_pick_how(a), false);
	if (!entry)
		return;
	lmt_touch(a, m, index, entry);
	lockmap_entry_disown(entry);
	a->parcel_map = m;
	/* Pairs with lmt_deliver(), which has it from now on. */
	smp_store_release(&a->parcel, entry);
}

/* A worker and the map that it walks over. */
struct lmt_walk {
	struct lmt_actor *a;
	struct lmt_map *m;
	unsigned int stop_after;
};

/* Each key once. */
static unsigned int lmt_visit(struct lmt_walk *w, const void *data, size_t len, void *value)
{
	unsigned int index = lmt_key_check(w->a, w->m, data, len);

	if (index >= w->m->keys)
		return index;
	if (__test_and_set_bit(index, w->a->seen))
		lmt_fail(w->a, w->m, index, "walk", "visits a key twice");
	lmt_value_check(w->a, w->m, index, value);
	return index;
}

static int lmt_walk_fn(const void *data, size_t len, void *value, void *arg)
{
	struct lmt_walk *w = arg;
	unsigned int index = lmt_visit(w, data, len, value);

	if (index >= w->m->keys)
		return 0;
	if (cmpxchg(&w->m->shadow[index].holder, 0, w->a->id))
		lmt_fail(w->a, w->m, index, "two holders", "at a walk");
	if (lmt_once_in(w->a, 4))
		lmt_write(w->a, w->m, index, value, w->m->shadow[index].balance);
	lmt_leave(w->a, w->m, index);
	return w->stop_after && !--w->stop_after ? 1 : 0;
}

static bool lmt_keep_fn(const void *data, size_t len, void *value, void *arg)
{
	struct lmt_walk *w = arg;
	unsigned int index = lmt_visit(w, data, len, value);

	return lmt_class(index) == LMT_STATIC || !lmt_once_in(w->a, 8);
}

static void lmt_walk_check(struct lmt_walk *w, int err, int want)
{
	unsigned int i;

	if (err != want)
		lmt_fail(w->a, w->m, 0, "error code", "walk: %d", err);
	for (i = 0; !err && i < lmt_nr_static(w->m); i++) {
		if (!test_bit(4 * i, w->a->seen))
			lmt_fail(w->a, w->m, 4 * i, "walk", "leaves out a key");
	}
}

static void lmt_op_walk(struct lmt_actor *a)
{
	struct lmt_walk w = { .a = a, .m = lmt_pick_map(a) };
	bool stops = lmt_once_in(a, 4);

	bitmap_zero(a->seen, w.m->keys);
	lmt_waits(a, w.m, 0, LMT_LOCK);
	/* There are that many at least. */
	if (stops)
		w.stop_after = 1 + lmt_rnd(a) % lmt_nr_static(w.m);
	lmt_walk_check(&w, lockmap_for_each(w.m->map, lmt_walk_fn, &w), stops);
}

static void lmt_op_retain(struct lmt_actor *a)
{
	struct lmt_walk w = { .a = a, .m = lmt_pick_map(a) };

	bitmap_zero(a->seen, w.m->keys);
	lmt_waits(a, w.m, 0, LMT_LOCK);
	lmt_walk_check(&w, lockmap_retain(w.m->map, lmt_keep_fn, &w), 0);
}

/*
 * Not while CPUs come and go: the scheduler may leave a task that asks for a
 * dying CPU where it is, and then warns of it when PREEMPT_RT migrates.
 */
static void lmt_op_migrate(struct lmt_actor *a)
{
	unsigned int cpu;

	if (!cpus_read_trylock())
		return;
	cpu = cpumask_next(lmt_rnd(a) % nr_cpu_ids, cpu_online_mask);
	set_cpus_allowed_ptr(current, cpu < nr_cpu_ids ? cpumask_of(cpu) : cpu_possible_mask);
	cpus_read_unlock();
}

const struct lmt_op lmt_ops[LMT_OPS] = {
	{ "lock", 400, lmt_op_lock },
	{ "get", 300, lmt_op_get },
	{ "contains", 50, lmt_op_contains },
	{ "set", 120, lmt_op_set },
	{ "own", 60, lmt_op_own },
	{ "nested", 40, lmt_op_nested },
	{ "batch", 60, lmt_op_batch },
	{ "audit", 6, lmt_op_audit },
	{ "disown", 10, lmt_op_disown },
	{ "walk", 2, lmt_op_walk },
	{ "retain", 1, lmt_op_retain },
	{ "migrate", 10, lmt_op_migrate },
};

const struct lmt_op *lmt_pick_op(struct rnd_state *rnd)
{
	unsigned int i, r, total = 0;

	for (i = 0; i < LMT_OPS; i++)
		total += lmt_ops[i].weight;
	r = prandom_u32_state(rnd) % total;
	for (i = 0; r >= lmt_ops[i].weight; i++)
		r -= lmt_ops[i].weight;
	return &lmt_ops[i];
}

/* For a failslab with a task filter: whether allocations of this task may fail. */
void lmt_fail_allocations(bool fail)
{
#ifdef CONFIG_FAULT_INJECTION
	current->make_it_fail = fail;
#endif
}

/*
 * Brief maps: one after the other, used by one task alone, so that all answers are known
 */

static int lmt_brief_count(const void *key, size_t len, void *value, void *arg)
{
	++*(unsigned int *)arg;
	return 0;
}

/* Also while a table is being replaced by another. */
static void lmt_brief_walk(struct lmt_actor *a, struct lockmap *map, unsigned int want)
{
	unsigned int visited = 0;

	if (lockmap_for_each(map, lmt_brief_count, &visited) || visited != want ||
	    lockmap_len(map) != want)
		lmt_fail(a, NULL, 0, "brief map", "%u visited of %u, len %zu", visited, want,
			 lockmap_len(map));
}

static void lmt_brief_use(struct lmt_actor *a, struct lockmap *map)
{
	DECLARE_BITMAP(has, LMT_BRIEF_KEYS) = { };
	unsigned int i;
	u64 key, value;
	int ret, want;
	bool insert;

	for (i = 0; i < 4 * LMT_BRIEF_KEYS; i++) {
		key = lmt_rnd(a) % LMT_BRIEF_KEYS;
		value = ~key;
		insert = !lmt_once_in(a, 3);
		want = insert || test_bit(key, has) ? 0 : -ENOENT;
		if (insert)
			ret = lockmap_insert(map, &key, sizeof(key), &value, NULL);
		else
			ret = lockmap_remove(map, &key, sizeof(key), NULL);
		if (ret == -ENOMEM && IS_ENABLED(CONFIG_FAILSLAB))
			continue;
		if (ret != (insert ? test_bit(key, has) : want))
			lmt_fail(a, NULL, key, "brief map", "insert %d: %d", insert, ret);
		value = 0;
		ret = lockmap_get(map, &key, sizeof(key), &value);
		if (ret != (insert ? 0 : -ENOENT) || (insert && value != ~key))
			lmt_fail(a, NULL, key, "brief map", "get: %d", ret);
		assign_bit(key, has, insert);
		if (lmt_once_in(a, 32))
			lmt_brief_walk(a, map, bitmap_weight(has, LMT_BRIEF_KEYS));
	}
	lmt_brief_walk(a, map, bitmap_weight(has, LMT_BRIEF_KEYS));
	if (lmt_once_in(a, 2) && (lockmap_clear(map) || !lockmap_is_empty(map)))
		lmt_fail(a, NULL, 0, "brief map", "is not empty after clear");
}

void lmt_brief(struct lmt_actor *a)
{
	struct lockmap *map = lockmap_create(&(struct lockmap_params) {
		.name = "brief",
		.key_len = sizeof(u64),
		.value_len = sizeof(u64),
		.nr_shards = lmt_rnd(a) % 4,
		.max_idle = lmt_rnd(a) % 4,
	});

	if (IS_ERR(map)) {
		if (!lmt_may_refuse(LMT_LOCK, PTR_ERR(map), false, 0, 0))
			lmt_fail(a, NULL, 0, "error code", "create: %ld", PTR_ERR(map));
		return;
	}
	lmt_fail_allocations(true);
	lmt_brief_use(a, map);
	/* A slab cache that cannot be made would be reported by the kernel. */
	lmt_fail_allocations(false);
	lockmap_destroy(map);
	a->acquired++;
}
