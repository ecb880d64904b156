// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Lock a key without a task that waits: a request stands at the turnstile in its
 * place, and whoever unlocks calls its function (dispatch.c).
 *
 * A request joins the row unarmed. If it is granted then, or the word dies, that is
 * only noted in it, and lockmap_lock_async(), which is still at work, acts on it. That
 * call arms the request once it knows that the entry is the key's and stays so:
 *
 * - the entry is in the table. It was held when the request joined, and WAITERS keeps it
 *   from being evicted. But lm_mark_dead() may send waiters away from an entry that never
 *   got into the table. A second lookup, begun after the request joined, does not find
 *   such an entry: only lookups that were under way when the entry left a chain in an
 *   earlier life may come across it, and that was before it was held in this one.
 * - it has the key that is wanted, which the same lookup finds.
 */
#include <linux/bug.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/list.h>
#include <linux/rcupdate.h>
#include <linux/string.h>

#include "compat.h"
#include "types.h"

static void lm_request_init(struct lm_waiter *waiter, struct lm_lock *lock)
{
	memset(waiter, 0, sizeof(*waiter));
	waiter->lock = lock;
	INIT_LIST_HEAD(&waiter->turnstile);
	INIT_LIST_HEAD(&waiter->row);
}

/* From now on the request is to be called, unless its wait has ended: then return how. */
static enum lm_wait_result lm_arm(struct lm_waiter *waiter)
{
	struct lm_bucket *bucket = lm_bucket(waiter->lock);
	enum lm_wait_result result;
	unsigned long flags;

	spin_lock_irqsave(&bucket->lock, flags);
	result = waiter->result;
	waiter->armed = result == LM_WAITING;
	spin_unlock_irqrestore(&bucket->lock, flags);
	return result;
}

/*
 * Have a request wait for an entry that lm_find() found, and that was held.
 *
 * Context: RCU read side, which is left.
 * Return: -EINPROGRESS: the request waits; 0: the caller has the lock; -EAGAIN to look
 * the key up again.
 */
static int lm_request_wait(struct lm_key *key, struct lockmap_entry *entry,
			   struct lm_waiter *waiter)
	__releases(RCU)
{
	enum lm_wait_result result;

	lm_request_init(waiter, &entry->lock);
	if (!lm_enqueue(waiter)) {
		rcu_read_unlock();
		/* For lockmap_cancel(): it does not wait, and the entry may be gone. */
		lm_set_result(waiter, LM_GONE);
		return -EAGAIN;
	}
	if (unlikely(lm_find(key) != entry)) {
		if (lm_give_up(waiter) == LM_GRANTED)
			lm_unlock(entry);
		lm_set_result(waiter, LM_GONE);
		return -EAGAIN;
	}
	rcu_read_unlock();
	/* Once it is armed, it may be granted, and freed, at any moment. */
	result = lm_arm(waiter);
	if (result == LM_WAITING)
		return -EINPROGRESS;
	return result == LM_GRANTED ? 0 : -EAGAIN;
}

/* Lock a key for no task, or have a request wait for it. */
static struct lockmap_entry *lm_lock_request(struct lm_key *key, struct lockmap_request *req)
{
	struct lockmap_entry *entry, *new = NULL;
	int err;

	do {
		rcu_read_lock();
		entry = lm_find(key);
		if (entry && lm_acquire(&entry->lock, key->word, 0)) {
			rcu_read_unlock();
			err = 0;
			break;
		}
		if (entry) {
			err = lm_request_wait(key, entry, lm_request_waiter(req));
			continue;
		}
		rcu_read_unlock();
		if (!new)
			new = lm_entry_new(key, lm_gfp(key->map, &lm_wait_never));
		if (!new)
			return ERR_PTR(-ENOMEM);
		err = lm_entry_publish(key, new, 0, LM_IF_FULL_REFUSE);
		if (!err)
			return new;
		err = err == -EEXIST ? -EAGAIN : -ENOMEM;
	} while (err == -EAGAIN);

	if (new)
		lm_entry_free(new);
	return err ? ERR_PTR(err) : entry;
}

struct lockmap_entry *lockmap_lock_async(struct lockmap *map, const void *data, size_t len,
					 struct lockmap_request *req)
{
	struct lm_key key;
	int err;

	if (!req)
		return ERR_PTR(-EINVAL);
	/* For lockmap_cancel(), if it comes to nothing. */
	lm_request_init(lm_request_waiter(req), NULL);
	if (!req->granted)
		return ERR_PTR(-EINVAL);
	err = lm_key_init(&key, map, data, len);
	if (unlikely(err))
		return ERR_PTR(err);
	return lm_lock_request(&key, req);
}
EXPORT_SYMBOL_GPL(lockmap_lock_async);

bool lockmap_cancel(struct lockmap_request *req)
{
	struct lm_waiter *waiter = lm_request_waiter(req);

	/* It never waited. */
	if (!waiter->lock)
		return false;
	rcu_read_lock();
	return lm_give_up(waiter) == LM_WAITING;
}
EXPORT_SYMBOL_GPL(lockmap_cancel);
