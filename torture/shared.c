// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Keys that are shared: the shadow counts the sharers, and the value does not change
 *
 * Who shares a key is not known to lockmap. So no actor asks for a key that it shares
 * but in ways that do not wait, and one that shares a key in a phase of disorder waits
 * for other keys for a limited time only.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>

#include "torture.h"

/* An actor shares a key: nobody may have it exclusively. */
void lmt_shadow_share(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		      const struct lockmap_entry *entry)
{
	unsigned int *holder = &m->shadow[index].holder, old = READ_ONCE(*holder);

	a->shared++;
	do {
		if (old & LMT_HOLDER_ID)
			lmt_fail(a, m, index, "shared and held", "actor %lu has it",
				 old & LMT_HOLDER_ID);
	} while (!try_cmpxchg(holder, &old, old + LMT_SHARE_ONE));
	lmt_shadow_match(a, m, index, entry, lockmap_entry_value_shared(entry));
}

/* An actor is about to unlock a key that it shares. */
void lmt_shadow_unshare(struct lmt_actor *a, struct lmt_map *m, unsigned int index)
{
	unsigned int *holder = &m->shadow[index].holder, old = READ_ONCE(*holder);

	do {
		if ((old & LMT_HOLDER_ID) || !old) {
			lmt_fail(a, m, index, "shared and held", "actor %lu took it",
				 old & LMT_HOLDER_ID);
			return;
		}
	} while (!try_cmpxchg(holder, &old, old - LMT_SHARE_ONE));
}

/* What the others are told of a key while the actor shares it. */
static void lmt_check_shared(struct lmt_actor *a, struct lmt_map *m, unsigned int index, bool has)
{
	struct lockmap_entry *entry;
	struct lmt_key key;

	lmt_key_init(&key, m, index);
	entry = lockmap_trylock(m->map, key.data, key.len);
	if (PTR_ERR(entry) != -EBUSY)
		lmt_fail(a, m, index, "shared and held", "trylock: %ld", PTR_ERR(entry));
	/* lockdep would take this for a call that may wait. */
	if (in_task() && !IS_ENABLED(CONFIG_PROVE_LOCKING) &&
	    lockmap_contains(m->map, key.data, key.len) != has)
		lmt_fail(a, m, index, "presence", "contains contradicts the shared entry");
}

/* Keep a key shared for a while: its value must stay as it is. */
void lmt_use_shared(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		    const struct lockmap_entry *entry)
{
	const struct lmt_value *v = lockmap_entry_value_shared(entry);
	u64 seq = v ? v->seq : 0, balance = v ? v->balance : 0;

	lmt_delay(a);
	if (lmt_one_in(a, 4))
		lmt_check_shared(a, m, index, v);
	if (lockmap_entry_value_shared(entry) != v)
		lmt_fail(a, m, index, "changed while shared", "the value came or went");
	if (!v)
		return;
	if (v->seq != seq || v->balance != balance)
		lmt_fail(a, m, index, "changed while shared", "seq %llu, then %llu", seq, v->seq);
	lmt_value_check(a, m, index, v);
}

/* Lock a key in either way. Return: false if lockmap refused. */
bool lmt_hold(struct lmt_actor *a, struct lmt_hold *h, bool shared, enum lmt_wait_mode mode,
	      bool holds)
{
	h->entry = NULL;
	h->shared = NULL;
	if (shared)
		h->shared = lmt_lock_shared(a, h->m, h->index, mode, holds);
	else
		h->entry = lmt_lock(a, h->m, h->index, mode, holds);
	return h->shared || h->entry;
}

void lmt_let_go(struct lmt_actor *a, struct lmt_hold *h)
{
	if (h->shared)
		lmt_unlock_shared(a, h->m, h->index, h->shared);
	else
		lmt_unlock(a, h->m, h->index, h->entry);
}

void lmt_use_hold(struct lmt_actor *a, struct lmt_hold *h)
{
	if (h->shared)
		lmt_use_shared(a, h->m, h->index, h->shared);
	else
		lmt_use_entry(a, h->m, h->index, h->entry);
}

/* Go on sharing a key: nobody may have it exclusively in between. */
static void lmt_downgrade(struct lmt_actor *a, struct lmt_hold *h)
{
	struct lmt_value *v = lockmap_entry_value(h->entry);
	struct lmt_shadow *s = &h->m->shadow[h->index];
	unsigned int other;
	u64 seq = 0;

	if (v) {
		lmt_value_write(a, h->m, h->index, v, s->balance);
		seq = v->seq;
	}
	/* As in lmt_unlock(). */
	s->kcsan_count++;
	other = cmpxchg(&s->holder, a->id, LMT_SHARE_ONE);
	if (other != a->id)
		lmt_fail(a, h->m, h->index, "two holders", "actor %u took it", other);
	h->shared = lockmap_downgrade(h->entry);
	h->entry = NULL;
	a->downgraded++;
	if (lockmap_entry_value_shared(h->shared) != v || (v && v->seq != seq))
		lmt_fail(a, h->m, h->index, "changed while shared", "at a downgrade");
}

/* Become the exclusive holder, if the actor is the only one that shares the key. */
static void lmt_upgrade(struct lmt_actor *a, struct lmt_hold *h)
{
	struct lockmap_entry *entry = lockmap_try_upgrade(h->shared);
	unsigned int other;

	if (!entry)
		return;
	h->entry = entry;
	h->shared = NULL;
	a->upgraded++;
	other = cmpxchg(&h->m->shadow[h->index].holder, LMT_SHARE_ONE, a->id);
	if (other != LMT_SHARE_ONE)
		lmt_fail(a, h->m, h->index, "two holders",
			 "after an upgrade: actor %lu has it, %lu share it",
			 other & LMT_HOLDER_ID, other / LMT_SHARE_ONE);
	lmt_shadow_match(a, h->m, h->index, entry, lockmap_entry_value(entry));
}

/* Hold a key in the other way, if that can be. */
void lmt_change_hold(struct lmt_actor *a, struct lmt_hold *h)
{
	if (h->shared)
		lmt_upgrade(a, h);
	else
		lmt_downgrade(a, h);
}

static void lmt_share_and_change(struct lmt_actor *a, bool shared)
{
	struct lmt_hold h = { .m = lmt_pick_map(a) };

	h.index = lmt_pick_key(a, h.m);
	if (!lmt_hold(a, &h, shared, lmt_pick_wait_mode(a), false))
		return;
	/* Readers without the lock come across a hold that was short. */
	if (shared || lmt_one_in(a, 2))
		lmt_use_hold(a, &h);
	while (!shared || lmt_one_in(a, 4)) {
		shared = true;
		lmt_change_hold(a, &h);
		lmt_use_hold(a, &h);
	}
	lmt_let_go(a, &h);
}

void lmt_op_shared(struct lmt_actor *a)
{
	lmt_share_and_change(a, true);
}

void lmt_op_downgrade(struct lmt_actor *a)
{
	lmt_share_and_change(a, false);
}
