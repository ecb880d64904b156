// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What is known of keys and values, and what an actor may do with a key it holds
 *
 * Each key has a shadow, which names its holder, or counts its sharers, and describes
 * its value. Only the exclusive holder writes that. The index of a key decides its
 * class, see lmt_class().
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/hash.h>
#include <linux/panic.h>

#include "torture.h"

static u64 lmt_hash_chain(const void *key, size_t len, u64 seed, void *priv);
static int lmt_cmp_reverse(const void *a, size_t a_len, const void *b, size_t b_len, void *priv);
static void lmt_clone(void *dst, const void *src, void *priv);

/* In the last map each worker has keys of its own, which no other actor uses. */
struct lmt_map lmt_maps[] = {
	{ .params = { .name = "hot", .key_len = 8, .nr_shards = 1, .max_idle = 1 } },
	{ .params = { .name = "cold", .key_len = 8, .max_idle = 64 } },
	{ .params = { .name = "small", .key_len = 4, .nr_shards = 2 }, .keys = 64 },
	{ .params = { .name = "chain", .key_len = 16, .max_idle = 1, .hash = lmt_hash_chain,
		      .cmp = lmt_cmp_reverse, .clone = lmt_clone }, .keys = 32 },
	{ .params = { .name = "string", .key_len = 48, .flags = LOCKMAP_VAR_KEY,
		      .max_idle = 2, }, .keys = 100 },
	{ .params = { .name = "long", .key_len = LMT_MAX_KEY, .flags = LOCKMAP_VAR_KEY,
		      .nr_shards = 1, .max_idle = 2 }, .keys = 24 },
	{ .params = { .name = "cleared", .key_len = 8, .max_idle = 1, .cmp = lmt_cmp_reverse },
	  .keys = 64, .is_cleared = true },
	{ .params = { .name = "private", .key_len = 8, .nr_shards = 1, .max_idle = 8,
		      .cmp = lmt_cmp_reverse } },
};

/*
 * Helpers
 */

u32 lmt_rnd(struct lmt_actor *a)
{
	return prandom_u32_state(&a->rnd);
}

/* Return true one time in @n. */
bool lmt_one_in(struct lmt_actor *a, u32 n)
{
	return lmt_rnd(a) % n == 0;
}

void lmt_fail(struct lmt_actor *a, const struct lmt_map *m, unsigned int index, const char *check,
	      const char *fmt, ...)
{
	struct va_format vaf;
	va_list args;
	int n = atomic_inc_return(&lmt_failures);

	if (!lmt_keep_going) {
		WRITE_ONCE(lmt_stop, true);
		WRITE_ONCE(lmt_paused, true);
	}
	if (n > 20)
		return;
	va_start(args, fmt);
	vaf.fmt = fmt;
	vaf.va = &args;
	pr_err("failed check after %u ms: %s: actor %u, %s, key %s[%u]: %pV\n",
	       jiffies_to_msecs(jiffies - lmt_start), check, a ? a->id : 0,
	       a && a->op ? a->op->name : "-", m ? m->params.name : "", index, &vaf);
	va_end(args);
	if (lmt_panic)
		panic("lockmap_torture: failed");
}

enum lmt_class lmt_class(const struct lmt_map *m, unsigned int index)
{
	if (index % 4 == 0 && index < 4 * LMT_MAX_BATCH && !m->is_cleared)
		return LMT_STATIC;
	return index % 4 == 3 ? LMT_UNTRACKED : LMT_TRACKED;
}

unsigned int lmt_nr_static(const struct lmt_map *m)
{
	if (m->is_cleared)
		return 0;
	return min_t(unsigned int, DIV_ROUND_UP(m->keys, 4), LMT_MAX_BATCH);
}

/*
 * Keys
 */

static u64 lmt_hash_chain(const void *key, size_t len, u64 seed, void *priv)
{
	return *(const u8 *)key % 4;
}

static int lmt_cmp_reverse(const void *a, size_t a_len, const void *b, size_t b_len, void *priv)
{
	static unsigned int n;
	int ret = memcmp(b, a, b_len);

	/* Now and then give other tasks time to change what was compared. */
	if (data_race(++n) % 8 == 0)
		udelay(3);
	return ret;
}

/* A key of fixed length, in a map without cmp: it has 4 or 8 bytes. */
static u64 lmt_number(const struct lmt_key *key)
{
	u32 n32;
	u64 n64;

	memcpy(&n32, key->data, sizeof(n32));
	memcpy(&n64, key->data, sizeof(n64));
	return key->len == sizeof(n32) ? n32 : n64;
}

int lmt_cmp(const struct lmt_map *m, const struct lmt_key *x, const struct lmt_key *y)
{
	if (m->params.cmp)
		return m->params.cmp(x->data, x->len, y->data, y->len, m->params.priv);
	if (!(m->params.flags & LOCKMAP_VAR_KEY))
		return lmt_number(x) < lmt_number(y) ? -1 : lmt_number(x) > lmt_number(y);
	return memcmp(x->data, y->data, min(x->len, y->len)) ?: (int)x->len - (int)y->len;
}

/* String keys begin with the index in decimal, and differ in length. Others have it in binary. */
void lmt_key_init(struct lmt_key *key, const struct lmt_map *m, unsigned int index)
{
	size_t n;

	memset(key->data, 'x', sizeof(key->data));
	if (m->params.flags & LOCKMAP_VAR_KEY) {
		n = scnprintf(key->data, m->params.key_len, "%u:", index);
		key->data[n] = 'x';
		key->len = max_t(size_t, n, 1 + index * 37 % m->params.key_len);
	} else {
		memcpy(key->data, &index, sizeof(index));
		key->len = m->params.key_len;
	}
}

unsigned int lmt_key_index(const struct lmt_map *m, const u8 *data, size_t len)
{
	unsigned int index = 0;

	if (!(m->params.flags & LOCKMAP_VAR_KEY)) {
		memcpy(&index, data, sizeof(index));
		return index;
	}
	for (; len && *data >= '0' && *data <= '9'; len--)
		index = 10 * index + *data++ - '0';
	return index;
}

unsigned int lmt_entry_index(const struct lmt_map *m, const struct lockmap_entry *entry)
{
	size_t len;
	const void *data = lockmap_entry_key(entry, &len);

	return lmt_key_index(m, data, len);
}

/* Return: the index of a key that lockmap gave to a callback; m->keys if there is no such key. */
unsigned int lmt_key_check(struct lmt_actor *a, const struct lmt_map *m, const void *data,
			   size_t len)
{
	unsigned int index = lmt_key_index(m, data, len);
	struct lmt_key key;

	if (index < m->keys) {
		lmt_key_init(&key, m, index);
		if (key.len == len && !memcmp(key.data, data, len))
			return index;
	}
	lmt_fail(a, m, index, "broken key", "%zu bytes", len);
	return m->keys;
}

/*
 * Values
 */

static u64 lmt_derived_word(const struct lmt_value *v, unsigned int i)
{
	return (v->seq + i) * GOLDEN_RATIO_64 ^ v->balance ^ v->index;
}

void lmt_value_make(struct lmt_value *v, const struct lmt_map *m, unsigned int index, u64 seq,
		    u64 balance)
{
	unsigned int i;

	WRITE_ONCE(v->map, m - lmt_maps);
	WRITE_ONCE(v->index, index);
	WRITE_ONCE(v->seq, seq);
	WRITE_ONCE(v->balance, balance);
	for (i = 0; i < ARRAY_SIZE(v->derived); i++)
		WRITE_ONCE(v->derived[i], lmt_derived_word(v, i));
}

bool lmt_value_ok(const struct lmt_value *v, const struct lmt_map *m, unsigned int index)
{
	unsigned int i;

	if (v->map != m - lmt_maps || v->index != index)
		return false;
	for (i = 0; i < ARRAY_SIZE(v->derived); i++) {
		if (v->derived[i] != lmt_derived_word(v, i))
			return false;
	}
	return true;
}

/* Check that the value of a key, which the actor holds, is what the last holder left. */
void lmt_value_check(struct lmt_actor *a, const struct lmt_map *m, unsigned int index,
		     const struct lmt_value *v)
{
	const struct lmt_shadow *s = &m->shadow[index];

	if (!lmt_value_ok(v, m, index))
		lmt_fail(a, m, index, "broken value", "seq %llu", v->seq);
	else if (lmt_class(m, index) != LMT_UNTRACKED &&
		 (v->seq != s->seq || v->balance != s->balance))
		lmt_fail(a, m, index, "lost update", "seq %llu instead of %lu", v->seq, s->seq);
}

/* Note that a value was inserted. The actor holds the key, unless it is untracked. */
void lmt_value_inserted(struct lmt_map *m, unsigned int index, const struct lmt_value *v)
{
	struct lmt_shadow *s = &m->shadow[index];

	atomic_long_inc(&m->inserted);
	if (lmt_class(m, index) == LMT_UNTRACKED)
		return;
	s->balance = v->balance;
	WRITE_ONCE(s->seq, v->seq);
	/* A reader that sees the new epoch sees the value in the map; pairs with lmt_op_get(). */
	smp_store_release(&s->epoch, s->epoch + 1);
}

/* Note that a value was removed. The key is still locked, unless it is untracked. */
void lmt_value_removed(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		       const struct lmt_value *v)
{
	struct lmt_shadow *s = &m->shadow[index];

	atomic_long_inc(&m->removed);
	lmt_value_check(a, m, index, v);
	if (lmt_class(m, index) == LMT_UNTRACKED)
		return;
	if (!(s->epoch & 1))
		lmt_fail(a, m, index, "presence", "a value came out where there was none");
	/* As in lmt_value_inserted(). */
	smp_store_release(&s->epoch, s->epoch + 1);
}

void lmt_release(void *value, void *priv)
{
	struct lmt_map *m = priv;
	const struct lmt_value *v = value;

	if (v->map != m - lmt_maps || v->index >= m->keys)
		lmt_fail(NULL, m, v->index, "broken value", "released, of map %u", v->map);
	else
		lmt_value_removed(NULL, m, v->index, v);
}

static void lmt_clone(void *dst, const void *src, void *priv)
{
	memcpy(dst, src, sizeof(struct lmt_value));
}

/*
 * Holders
 */

/* An actor got a lock: what lockmap says must match the shadow. @v: the value of @entry. */
void lmt_shadow_match(struct lmt_actor *a, const struct lmt_map *m, unsigned int index,
		      const struct lockmap_entry *entry, const struct lmt_value *v)
{
	const struct lmt_shadow *s = &m->shadow[index];
	const void *data;
	size_t len;

	data = lockmap_entry_key(entry, &len);
	if (lmt_key_check(a, m, data, len) != index)
		lmt_fail(a, m, index, "wrong key", "key %u", lmt_key_index(m, data, len));
	if (lmt_class(m, index) != LMT_UNTRACKED && !v != !(s->epoch & 1))
		lmt_fail(a, m, index, "presence", "epoch %u, %s value", s->epoch, v ? "a" : "no");
	if (v)
		lmt_value_check(a, m, index, v);
}

/* Somebody got a lock exclusively: the shadow must be free. */
void lmt_shadow_take(struct lmt_actor *a, unsigned int id, struct lmt_map *m, unsigned int index,
		     struct lockmap_entry *entry)
{
	unsigned int other = cmpxchg(&m->shadow[index].holder, 0, id);

	if (other)
		lmt_fail(a, m, index, "two holders", "%u got it, actor %lu has it, %lu share it",
			 id, other & LMT_HOLDER_ID, other / LMT_SHARE_ONE);
	lmt_shadow_match(a, m, index, entry, lockmap_entry_value(entry));
}

/* An exclusive holder is about to unlock: it must still be that. */
void lmt_shadow_drop(struct lmt_actor *a, unsigned int id, struct lmt_map *m, unsigned int index)
{
	unsigned int other = cmpxchg(&m->shadow[index].holder, id, 0);

	if (other != id)
		lmt_fail(a, m, index, "two holders", "%u had it, actor %lu took it, %lu share it",
			 id, other & LMT_HOLDER_ID, other / LMT_SHARE_ONE);
}

void lmt_shadow_lock(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		     struct lockmap_entry *entry)
{
	a->acquired++;
	lmt_shadow_take(a, a->id, m, index, entry);
}

void lmt_shadow_unlock(struct lmt_actor *a, struct lmt_map *m, unsigned int index)
{
	lmt_shadow_drop(a, a->id, m, index);
}

/* Now and then sleep, spin, or give up the CPU while holding a key. */
void lmt_delay(struct lmt_actor *a)
{
	u32 r = lmt_rnd(a);

	if (r % 16 == 2)
		udelay(lmt_short_us);
	if (!in_task())
		return;
	if (r % 8192 == 0)
		msleep(lmt_long_ms);
	else if (r % 128 == 1)
		usleep_range(50, 100);
	else if (r / 128 % lmt_phase.yield_one_in == 0)
		schedule();
}

/* Change the value of a key in place. The actor holds the key. */
void lmt_value_write(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		     struct lmt_value *v, u64 balance)
{
	struct lmt_shadow *s = &m->shadow[index];

	if (lmt_class(m, index) == LMT_UNTRACKED) {
		lmt_value_make(v, m, index, v->seq + 1, balance);
		return;
	}
	s->balance = balance;
	WRITE_ONCE(s->seq, s->seq + 1);
	lmt_value_make(v, m, index, s->seq, balance);
}

static void lmt_insert(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		       struct lockmap_entry *entry)
{
	const struct lmt_shadow *s = &m->shadow[index];
	bool had = lockmap_entry_value(entry), copy = lmt_one_in(a, 2);
	struct lmt_value new, old;

	lmt_value_make(&new, m, index, s->seq + 1, s->balance);
	if (lockmap_entry_insert(entry, &new, copy ? &old : NULL) != had)
		lmt_fail(a, m, index, "presence", "insert denies that it had a value: %u",
			 had);
	if (had && copy)
		lmt_value_removed(a, m, index, &old);
	lmt_value_inserted(m, index, &new);
}

void lmt_get_or_insert(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		       struct lockmap_entry *entry)
{
	const struct lmt_shadow *s = &m->shadow[index];
	bool had = lockmap_entry_value(entry);
	struct lmt_value new, *v;

	lmt_value_make(&new, m, index, s->seq + 1, s->balance);
	v = lockmap_entry_get_or_insert(entry, &new);
	if (!had)
		lmt_value_inserted(m, index, &new);
	lmt_value_check(a, m, index, v);
}

static void lmt_remove(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		       struct lockmap_entry *entry)
{
	bool had = lockmap_entry_value(entry), copy = lmt_one_in(a, 2);
	struct lmt_value old;

	if (lockmap_entry_remove(entry, copy ? &old : NULL) != had)
		lmt_fail(a, m, index, "presence", "remove denies that it had a value: %u",
			 had);
	if (had && copy)
		lmt_value_removed(a, m, index, &old);
}

/* Check the answers that lockmap gives to a task about a key which that task holds. */
static void lmt_check_reentry(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
			      struct lockmap_entry *entry)
{
	const struct lockmap_entry *shared;
	struct lockmap_entry *again;
	struct lmt_key key;
	int err;

	lmt_key_init(&key, m, index);
	again = lockmap_trylock(m->map, key.data, key.len);
	if (PTR_ERR(again) != -EBUSY)
		lmt_fail(a, m, index, "reentered", "trylock: %ld", PTR_ERR(again));
	shared = lockmap_trylock_shared(m->map, key.data, key.len);
	if (PTR_ERR(shared) != -EBUSY)
		lmt_fail(a, m, index, "reentered", "trylock_shared: %ld", PTR_ERR(shared));
	lmt_check_ask(a, m, index);
	/* lockdep would report a wait for a key of a batch but the last one. */
	if (!in_task() || (IS_ENABLED(CONFIG_PROVE_LOCKING) && a->batch_len))
		return;
	again = lockmap_lock(m->map, key.data, key.len);
	if (PTR_ERR(again) != -EDEADLK)
		lmt_fail(a, m, index, "reentered", "lock: %ld", PTR_ERR(again));
	shared = lockmap_lock_shared(m->map, key.data, key.len);
	if (PTR_ERR(shared) != -EDEADLK)
		lmt_fail(a, m, index, "reentered", "lock_shared: %ld", PTR_ERR(shared));
	err = lockmap_get(m->map, key.data, key.len, NULL);
	if (err != -EDEADLK)
		lmt_fail(a, m, index, "reentered", "get: %d", err);
	if (lockmap_contains(m->map, key.data, key.len) != !!lockmap_entry_value(entry))
		lmt_fail(a, m, index, "presence", "contains contradicts the entry");
}

/* Do a random thing with a key that the actor holds. */
void lmt_use_entry(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		   struct lockmap_entry *entry)
{
	struct lmt_value *v = lockmap_entry_value(entry);

	switch (lmt_rnd(a) % 8) {
	case 0:
	case 1:
		if (v)
			lmt_value_write(a, m, index, v, m->shadow[index].balance);
		break;
	case 2:
		lmt_insert(a, m, index, entry);
		break;
	case 3:
	case 4:
		if (lmt_class(m, index) != LMT_STATIC)
			lmt_remove(a, m, index, entry);
		break;
	case 5:
		lmt_get_or_insert(a, m, index, entry);
		break;
	case 6:
		lmt_check_reentry(a, m, index, entry);
		break;
	}
	lmt_delay(a);
}
