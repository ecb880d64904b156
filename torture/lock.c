// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * How actors pick a map, a key and a way to lock it; locking and unlocking with checks
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>
#include <linux/sched/signal.h>

#include "torture.h"

const struct lmt_refusal lmt_refusals[LMT_REFUSALS] = {
	{ -EBUSY, "busy" }, { -ETIMEDOUT, "timeout" }, { -EINTR, "signal" },
	{ -EDEADLK, "deadlock" }, { -ENOMEM, "no memory" },
};

struct lmt_map *lmt_pick_map(struct lmt_actor *a)
{
	unsigned int n = READ_ONCE(lmt_phase.map);

	if (n >= LMT_NR_SHARED || lmt_one_in(a, 8))
		n = lmt_rnd(a) % LMT_NR_SHARED;
	while (!lmt_maps[n].map)
		n = (n + 1) % LMT_NR_SHARED;
	return &lmt_maps[n];
}

unsigned int lmt_pick_key(struct lmt_actor *a, const struct lmt_map *m)
{
	return (lmt_phase.first_key + lmt_rnd(a) % lmt_phase.nr_keys) % m->keys;
}

enum lmt_wait_mode lmt_pick_wait_mode(struct lmt_actor *a)
{
	return lmt_rnd(a) % LMT_WAIT_MODES;
}

/*
 * The same for an actor that shares a key, and waits for another one. A cycle through
 * a shared key is not found: where there may be one, the wait has to end by itself.
 */
enum lmt_wait_mode lmt_pick_sharers_mode(struct lmt_actor *a)
{
	if (lmt_phase.disorder)
		return lmt_one_in(a, 2) ? LMT_TRY : LMT_TIMEOUT;
	return lmt_pick_wait_mode(a);
}

/* Note what the actor is about to wait for: the signaller and messages need that. */
void lmt_begin_wait(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		    enum lmt_wait_mode mode)
{
	a->map = m;
	a->index = index;
	WRITE_ONCE(a->since, jiffies);
	WRITE_ONCE(a->mode, mode);
}

void lmt_end_wait(struct lmt_actor *a, u64 begin)
{
	WRITE_ONCE(a->mode, LMT_LOCK);
	a->longest = max(a->longest, ktime_get_ns() - begin);
}

/*
 * Whether an error is a right answer: the way to lock allows for it, and there is a
 * reason for it. @holds: the actor holds another key, @waited: for so many jiffies.
 */
bool lmt_may_refuse(enum lmt_wait_mode mode, int err, bool holds, unsigned long waited,
		    unsigned long timeout)
{
	switch (err) {
	case -EBUSY:
		return mode == LMT_TRY;
	case -ENOMEM:
		return mode == LMT_TRY || IS_ENABLED(CONFIG_FAILSLAB);
	case -EINTR:
		return mode == LMT_KILLABLE ? fatal_signal_pending(current) :
		       mode == LMT_INTERRUPTIBLE && signal_pending(current);
	case -ETIMEDOUT:
		return mode == LMT_TIMEOUT && waited >= timeout;
	case -EDEADLK:
		return holds && lmt_phase.disorder;
	}
	return false;
}

void lmt_count_refusal(struct lmt_actor *a, int err)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lmt_refusals); i++) {
		if (lmt_refusals[i].err == err)
			a->refused[i]++;
	}
	if (err == -EINTR)
		flush_signals(current);
}

static struct lockmap_entry *lmt_call_prealloc(struct lockmap *map, const struct lmt_key *key)
{
	struct lockmap_prealloc *pre = lockmap_prealloc(map, GFP_KERNEL);
	struct lockmap_entry *entry;

	if (IS_ERR(pre))
		return ERR_CAST(pre);
	entry = lockmap_lock_prealloc(map, key->data, key->len, &pre);
	lockmap_prealloc_free(pre);
	return entry;
}

static struct lockmap_entry *lmt_call_lock(struct lockmap *map, const struct lmt_key *key,
					   enum lmt_wait_mode mode, unsigned long timeout)
{
	switch (mode) {
	case LMT_INTERRUPTIBLE:
		return lockmap_lock_interruptible(map, key->data, key->len);
	case LMT_KILLABLE:
		return lockmap_lock_killable(map, key->data, key->len);
	case LMT_TIMEOUT:
		return lockmap_lock_timeout(map, key->data, key->len, timeout);
	case LMT_TRY:
		return lockmap_trylock(map, key->data, key->len);
	case LMT_PREALLOC:
		return lmt_call_prealloc(map, key);
	default:
		return lockmap_lock(map, key->data, key->len);
	}
}

static const struct lockmap_entry *lmt_call_lock_shared(struct lockmap *map,
							const struct lmt_key *key,
							enum lmt_wait_mode mode,
							unsigned long timeout)
{
	switch (mode) {
	case LMT_INTERRUPTIBLE:
		return lockmap_lock_shared_interruptible(map, key->data, key->len);
	case LMT_KILLABLE:
		return lockmap_lock_shared_killable(map, key->data, key->len);
	case LMT_TIMEOUT:
		return lockmap_lock_shared_timeout(map, key->data, key->len, timeout);
	case LMT_TRY:
		return lockmap_trylock_shared(map, key->data, key->len);
	default:
		return lockmap_lock_shared(map, key->data, key->len);
	}
}

/* Lock a key in either way. Return: %NULL if lockmap refused. */
static const struct lockmap_entry *lmt_lock_either(struct lmt_actor *a, struct lmt_map *m,
						   unsigned int index, enum lmt_wait_mode mode,
						   bool shared, bool holds)
{
	unsigned long begin = jiffies, timeout = lmt_rnd(a) % 5;
	const struct lockmap_entry *entry;
	u64 start = ktime_get_ns();
	struct lmt_key key;

	lmt_key_init(&key, m, index);
	lmt_begin_wait(a, m, index, mode);
	entry = shared ? lmt_call_lock_shared(m->map, &key, mode, timeout) :
			 lmt_call_lock(m->map, &key, mode, timeout);
	lmt_end_wait(a, start);
	if (!IS_ERR_OR_NULL(entry))
		return entry;
	if (!lmt_may_refuse(mode, PTR_ERR(entry), holds, jiffies - begin, timeout))
		lmt_fail(a, m, index, "error code", "%s in mode %u: %ld",
			 shared ? "lock_shared" : "lock", mode, PTR_ERR(entry));
	lmt_count_refusal(a, PTR_ERR(entry));
	return NULL;
}

/*
 * Lock a key, and its shadow. @holds: the actor holds another key.
 * Return: %NULL if lockmap refused.
 */
struct lockmap_entry *lmt_lock(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
			       enum lmt_wait_mode mode, bool holds)
{
	const struct lockmap_entry *entry = lmt_lock_either(a, m, index, mode, false, holds);

	if (entry)
		lmt_shadow_lock(a, m, index, (struct lockmap_entry *)entry);
	return (struct lockmap_entry *)entry;
}

/* The same to share the key. */
const struct lockmap_entry *lmt_lock_shared(struct lmt_actor *a, struct lmt_map *m,
					    unsigned int index, enum lmt_wait_mode mode, bool holds)
{
	const struct lockmap_entry *entry = lmt_lock_either(a, m, index, mode, true, holds);

	if (entry)
		lmt_shadow_share(a, m, index, entry);
	return entry;
}

void lmt_unlock(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		struct lockmap_entry *entry)
{
	lmt_shadow_unlock(a, m, index);
	/*
	 * Until here the actor's accesses had barriers of their own. Only the unlock
	 * orders this plain one. If it does not, KCSAN reports a race.
	 */
	m->shadow[index].kcsan_count++;
	lockmap_unlock(entry);
}

void lmt_unlock_shared(struct lmt_actor *a, struct lmt_map *m, unsigned int index,
		       const struct lockmap_entry *entry)
{
	lmt_shadow_unshare(a, m, index);
	/* As in lmt_unlock(), whose plain write must not come before this read. */
	a->sum += m->shadow[index].kcsan_count;
	lockmap_unlock_shared(entry);
}
