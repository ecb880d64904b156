// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The operations that workers choose from: lmt_ops[] is the list
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>

#include "torture.h"

static void lmt_op_lock(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m);
	struct lockmap_entry *entry = lmt_lock(a, m, index, lmt_pick_wait_mode(a), false);

	if (!entry)
		return;
	lmt_use_entry(a, m, index, entry);
	lmt_unlock(a, m, index, entry);
}

/*
 * Read a value without the lock, by lockmap_get() or lockmap_tryget(): it is of one piece,
 * and no older than the call. Return: what the call returned.
 */
int lmt_read(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
	     int (*read)(struct lockmap *map, const void *key, size_t len, void *value))
{
	const struct lmt_shadow *s = &m->shadow[index];
	bool untracked = lmt_class(m, index) == LMT_UNTRACKED;
	struct lmt_value v;
	unsigned int epoch;
	unsigned long seq;
	struct lmt_key key;
	int err;

	lmt_key_init(&key, m, index);
	/* Read the shadow before the value; pairs with lmt_value_inserted(), lmt_value_write(). */
	epoch = smp_load_acquire(&s->epoch);
	/* As above. */
	seq = smp_load_acquire(&s->seq);
	err = read(m->map, key.data, key.len, &v);
	smp_rmb(); /* read the value before the shadow as it is now */
	if (err && err != -ENOENT)
		return err;
	if (!err && !lmt_value_ok(&v, m, index))
		lmt_fail(a, m, index, "torn value", "seq %llu", v.seq);
	else if (!err && !untracked && (v.seq < seq || v.seq > READ_ONCE(s->seq)))
		lmt_fail(a, m, index, "stale value", "seq %llu, not %lu", v.seq, seq);
	else if (!untracked && READ_ONCE(s->epoch) == epoch && (err == 0) != (epoch & 1))
		lmt_fail(a, m, index, "presence", "read: %d in epoch %u", err, epoch);
	return err;
}

static void lmt_op_get(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m);
	int err;

	lmt_begin_wait(a, m, index, LMT_LOCK);
	err = lmt_read(a, m, index, lockmap_get);
	if (err && err != -ENOENT)
		lmt_fail(a, m, index, "error code", "get: %d", err);
}

static void lmt_op_contains(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m), epoch;
	const struct lmt_shadow *s = &m->shadow[index];
	struct lmt_key key;
	bool has;

	lmt_key_init(&key, m, index);
	lmt_begin_wait(a, m, index, LMT_LOCK);
	/* As in lmt_read(). */
	epoch = smp_load_acquire(&s->epoch);
	has = lockmap_contains(m->map, key.data, key.len);
	smp_rmb(); /* as in lmt_read() */
	if (lmt_class(m, index) != LMT_UNTRACKED && READ_ONCE(s->epoch) == epoch &&
	    has != (epoch & 1))
		lmt_fail(a, m, index, "presence", "contains: %d in epoch %u", has, epoch);
}

/* Call lockmap_insert() or lockmap_remove(). Return: whether there was a value before. */
bool lmt_set(struct lmt_actor *a, struct lmt_map *m, unsigned int index, bool insert)
{
	bool copy = lmt_one_in(a, 2), had;
	struct lmt_value *old = copy ? &a->old : NULL;
	struct lmt_key key;
	int ret;

	lmt_key_init(&key, m, index);
	lmt_begin_wait(a, m, index, LMT_LOCK);
	lmt_value_make(&a->new, m, index, lmt_rnd(a), 0);
	if (insert)
		ret = lockmap_insert(m->map, key.data, key.len, &a->new, old);
	else
		ret = lockmap_remove(m->map, key.data, key.len, old);
	had = insert ? ret == 1 : ret == 0;
	if (insert && ret >= 0)
		lmt_value_inserted(m, index, &a->new);
	if (had && old)
		lmt_value_removed(a, m, index, old);
	if (ret < 0 && ret != -ENOENT && !lmt_may_refuse(LMT_LOCK, ret, false, 0, 0))
		lmt_fail(a, m, index, "error code", "%s: %d", insert ? "insert" : "remove", ret);
	if (ret < 0)
		lmt_count_refusal(a, ret);
	return had;
}

static void lmt_op_set(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int index = lmt_pick_key(a, m) | 3;

	if (index < m->keys)
		lmt_set(a, m, index, lmt_one_in(a, 2));
}

/*
 * Lock a second key while holding one, each in either way; in a phase of disorder in
 * any order.
 */
static void lmt_op_nested(struct lmt_actor *a)
{
	struct lmt_hold h[2] = { { .m = lmt_pick_map(a) }, { .m = lmt_pick_map(a) } };
	enum lmt_wait_mode mode;
	struct lmt_key key[2];
	int order;

	h[0].index = lmt_pick_key(a, h[0].m);
	h[1].index = lmt_pick_key(a, h[1].m);
	lmt_key_init(&key[0], h[0].m, h[0].index);
	lmt_key_init(&key[1], h[1].m, h[1].index);
	order = h[0].m == h[1].m ? lmt_cmp(h[0].m, &key[0], &key[1]) :
				   h[0].m > h[1].m ? 1 : -1;
	if (!order)
		return;
	if (order > 0 && !lmt_phase.disorder)
		swap(h[0], h[1]);
	if (!lmt_hold(a, &h[0], lmt_one_in(a, 6), lmt_pick_wait_mode(a), false))
		return;
	lmt_use_hold(a, &h[0]);
	if (lmt_one_in(a, 8))
		lmt_change_hold(a, &h[0]);
	mode = h[0].shared ? lmt_pick_sharers_mode(a) : lmt_pick_wait_mode(a);
	if (lmt_hold(a, &h[1], lmt_one_in(a, 6), mode, true)) {
		lmt_use_hold(a, &h[1]);
		lmt_let_go(a, &h[1]);
	}
	lmt_let_go(a, &h[0]);
}

/* Move an amount from each account of a batch to the next one. */
void lmt_transfer(struct lmt_actor *a, struct lmt_map *m, struct lockmap_batch *batch)
{
	struct lmt_value *from = NULL, *to;
	struct lockmap_entry *entry;
	u64 amount;

	lockmap_batch_for_each(batch, entry) {
		if (lmt_class(m, lmt_entry_index(m, entry)) != LMT_STATIC)
			continue;
		to = lockmap_entry_value(entry);
		if (from && to) {
			amount = lmt_rnd(a);
			lmt_value_write(a, m, from->index, from, from->balance - amount);
			lmt_value_write(a, m, to->index, to, to->balance + amount);
		}
		from = to;
	}
}

static void lmt_op_batch(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int n = lmt_rnd(a) % (lmt_one_in(a, 4) ? 20 : 5), i;
	bool shares = lmt_one_in(a, 2);
	struct lockmap_batch *batch;
	struct lockmap_entry *entry;
	enum lmt_wait_mode mode;

	for (i = 0; i < n; i++)
		lmt_batch_key(a, m, i, lmt_pick_key(a, m), shares && lmt_one_in(a, 2));
	mode = shares ? lmt_pick_sharers_mode(a) : lmt_pick_wait_mode(a);
	batch = lmt_batch_lock(a, m, n, mode, true);
	if (!batch)
		return;
	lmt_transfer(a, m, batch);
	lockmap_batch_for_each(batch, entry)
		if (lmt_one_in(a, 2))
			lmt_use_entry(a, m, lmt_entry_index(m, entry), entry);
	lmt_batch_unlock(a, m, batch);
}

/* The sum of all accounts of a map, locked by one batch, never changes. */
static void lmt_op_audit(struct lmt_actor *a)
{
	struct lmt_map *m = lmt_pick_map(a);
	unsigned int n = lmt_nr_static(m), i;
	const struct lockmap_entry *entry;
	bool shared = lmt_one_in(a, 2);
	struct lockmap_batch *batch;
	const struct lmt_value *v;
	enum lmt_wait_mode mode;
	u64 sum = 0;

	for (i = 0; i < n; i++)
		lmt_batch_key(a, m, i, 4 * i, shared || lmt_one_in(a, 8));
	if (!n)
		return;
	mode = lmt_pick_sharers_mode(a);
	batch = lmt_batch_lock(a, m, n, mode, true);
	if (!batch)
		return;
	lockmap_batch_for_each_shared(batch, entry) {
		v = lockmap_entry_value_shared(entry);
		sum += v ? v->balance : 0;
	}
	if (sum != (u64)n * LMT_BALANCE)
		lmt_fail(a, m, 0, "sum", "%llu instead of %u", sum, n * LMT_BALANCE);
	lmt_batch_unlock(a, m, batch);
}

/* Lock a key and leave it to another actor to unlock. */
static void lmt_op_disown(struct lmt_actor *a)
{
	struct lmt_hold h = { .m = lmt_pick_map(a) };

	h.index = lmt_pick_key(a, h.m);
	if (READ_ONCE(a->disowned) ||
	    !lmt_hold(a, &h, lmt_one_in(a, 3), lmt_pick_wait_mode(a), false))
		return;
	lmt_use_hold(a, &h);
	if (h.shared)
		lockmap_entry_disown_shared(h.shared);
	else
		lockmap_entry_disown(h.entry);
	a->disowned_map = h.m;
	a->disowned_shared = h.shared;
	/* From now on the entry is that actor's; pairs with lmt_unlock_disowned(). */
	smp_store_release(&a->disowned, h.entry ?: (struct lockmap_entry *)h.shared);
}

/**
 * struct lmt_walk - a walk over a map
 * @a: the worker
 * @m: the map
 * @stop_after: how many keys to visit; 0 for all
 */
struct lmt_walk {
	struct lmt_actor *a;
	struct lmt_map *m;
	unsigned int stop_after;
};

/* A walk locks each key, and visits none twice. Return: the key's index, its shadow locked. */
static unsigned int lmt_visit_key(struct lmt_walk *w, const void *data, size_t len, void *value)
{
	unsigned int index = lmt_key_check(w->a, w->m, data, len);

	if (index >= w->m->keys)
		return index;
	if (__test_and_set_bit(index, w->a->seen))
		lmt_fail(w->a, w->m, index, "walk", "visits a key twice");
	if (cmpxchg(&w->m->shadow[index].holder, 0, w->a->id))
		lmt_fail(w->a, w->m, index, "two holders", "at a walk");
	lmt_value_check(w->a, w->m, index, value);
	return index;
}

static int lmt_walk_fn(const void *data, size_t len, void *value, void *arg)
{
	struct lmt_walk *w = arg;
	unsigned int index = lmt_visit_key(w, data, len, value);

	if (index >= w->m->keys)
		return 0;
	if (lmt_one_in(w->a, 4))
		lmt_value_write(w->a, w->m, index, value, w->m->shadow[index].balance);
	lmt_shadow_unlock(w->a, w->m, index);
	return w->stop_after && !--w->stop_after ? 1 : 0;
}

static bool lmt_keep_fn(const void *data, size_t len, void *value, void *arg)
{
	struct lmt_walk *w = arg;
	unsigned int index = lmt_visit_key(w, data, len, value);

	if (index >= w->m->keys)
		return true;
	lmt_shadow_unlock(w->a, w->m, index);
	return lmt_class(w->m, index) == LMT_STATIC || !lmt_one_in(w->a, 8);
}

static void lmt_walk_check(struct lmt_walk *w, int err, int want)
{
	unsigned int i;

	if (err != want)
		lmt_fail(w->a, w->m, 0, "error code", "walk: %d", err);
	for (i = 0; !err && i < lmt_nr_static(w->m); i++) {
		if (!test_bit(4 * i, w->a->seen))
			lmt_fail(w->a, w->m, 4 * i, "walk", "leaves out a static key");
	}
}

static void lmt_op_walk(struct lmt_actor *a)
{
	struct lmt_walk w = { .a = a, .m = lmt_pick_map(a) };
	bool stops = lmt_nr_static(w.m) && lmt_one_in(a, 4);

	bitmap_zero(a->seen, w.m->keys);
	lmt_begin_wait(a, w.m, 0, LMT_LOCK);
	/* No more than there are keys with a value: the walk has to get there. */
	if (stops)
		w.stop_after = 1 + lmt_rnd(a) % lmt_nr_static(w.m);
	lmt_walk_check(&w, lockmap_for_each(w.m->map, lmt_walk_fn, &w), stops);
}

static void lmt_op_retain(struct lmt_actor *a)
{
	struct lmt_walk w = { .a = a, .m = lmt_pick_map(a) };

	bitmap_zero(a->seen, w.m->keys);
	lmt_begin_wait(a, w.m, 0, LMT_LOCK);
	lmt_walk_check(&w, lockmap_retain(w.m->map, lmt_keep_fn, &w), 0);
}

/*
 * lockmap_clear() while others insert and remove. A value that was there during the
 * whole call must be gone; if it was released, lmt_release() raised the epoch.
 */
static void lmt_op_clear(struct lmt_actor *a)
{
	unsigned int index, epoch;
	struct lmt_shadow *s;
	int err;

	if (!lmt_cleared->map)
		return;
	index = lmt_pick_key(a, lmt_cleared);
	s = &lmt_cleared->shadow[index];
	lmt_begin_wait(a, lmt_cleared, index, LMT_LOCK);
	/* As in lmt_read(). */
	epoch = smp_load_acquire(&s->epoch);
	err = lockmap_clear(lmt_cleared->map);
	if (err)
		lmt_fail(a, lmt_cleared, index, "error code", "clear: %d", err);
	else if ((epoch & 1) && READ_ONCE(s->epoch) == epoch)
		lmt_fail(a, lmt_cleared, index, "clear", "leaves a value, epoch %u", epoch);
}

/*
 * Move to another CPU, but not while CPUs come and go: the scheduler may leave a task
 * that asks for a dying CPU where it is, and warn later when PREEMPT_RT migrates.
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
	{ "private", 60, lmt_op_private },
	{ "alone", 30, lmt_op_alone },
	{ "nested", 150, lmt_op_nested },
	{ "batch", 60, lmt_op_batch },
	{ "audit", 6, lmt_op_audit },
	{ "disown", 10, lmt_op_disown },
	{ "walk", 2, lmt_op_walk },
	{ "retain", 1, lmt_op_retain },
	{ "clear", 4, lmt_op_clear },
	{ "migrate", 10, lmt_op_migrate },
	{ "shared", 250, lmt_op_shared },
	{ "downgrade", 100, lmt_op_downgrade },
	{ "async", 150, lmt_op_async },
	{ "present", 100, lmt_op_present },
	{ "tryget", 100, lmt_op_tryget },
	{ "reference", 60, lmt_op_reference },
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
