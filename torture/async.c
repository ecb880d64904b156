// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Requests: each is granted once, or taken back, or never waited
 *
 * An actor has some chains of requests. It asks for the first key of a chain. Whoever
 * is granted the key, in whatever context, asks for the next one of the chain, before
 * or after it unlocks: there, or later, from a timer or the unlocker. The actor may take
 * back any request that waits, at any moment, and begins a new round of a chain when
 * nothing of the last one is under way. So at rest no request may be.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/llist.h>
#include <linux/slab.h>

#include "torture.h"

enum lmt_request_state {
	LMT_FREE,	/* lockmap does not know it */
	LMT_ASKING,	/* in lockmap_lock_async(), or about to be */
	LMT_PENDING,	/* it returned -EINPROGRESS */
	LMT_GRANTED,	/* it has the key */
};

/* &lmt_request.plan: when to ask for the next key of the chain, ... */
#define LMT_NEXT_BEFORE	BIT(0)	/* before the unlock */
#define LMT_NEXT_SAME	BIT(1)	/* it is the same key; with the bit above */
/* ... what to do with the key, ... */
#define LMT_WRITE	BIT(2)
#define LMT_TRYLOCK	BIT(3)	/* another key */
#define LMT_DOWNGRADE	BIT(4)	/* before the unlock */
/* ... and where to unlock. */
#define LMT_BY_TIMER	BIT(5)
#define LMT_BY_TASK	BIT(6)
#define LMT_LATER_ONE	BIT(7)	/* both only with this */
#define LMT_PLANS	BIT(8)

/**
 * struct lmt_request - a request
 * @req: for lockmap
 * @chain: the chain that it is part of
 * @id: tells exclusive holders apart, as &lmt_actor.id
 * @state: an &enum lmt_request_state; atomic
 * @map: the map, as is @index, set with the first request of a round
 * @index: the key
 * @plan: a random choice of the bits above
 * @entry: the entry, once it was granted; the holder's, as is @shared
 * @shared: it was downgraded
 * @timer: unlocks it
 * @node: in lmt_granted
 */
struct lmt_request {
	struct lockmap_request req;
	struct lmt_chain *chain;
	unsigned int id;
	atomic_t state;
	struct lmt_map *map;
	unsigned int index;
	u32 plan;
	struct lockmap_entry *entry;
	const struct lockmap_entry *shared;
	struct timer_list timer;
	struct llist_node node;
};

/**
 * struct lmt_chain - requests, each of which is made when the one before was granted
 * @busy: number of requests that are not free; the actor may write the chain when 0
 * @len: how many of them are used in this round
 * @req: the requests
 */
struct lmt_chain {
	atomic_t busy;
	unsigned int len;
	struct lmt_request req[LMT_CHAIN_LEN];
};

/* Where requests end, all of them in @asked; atomic. */
static struct {
	atomic_long_t asked, at_once, granted, cancelled, refused, too_late, in_softirq;
} lmt_count;

static struct lmt_chain *lmt_chains;
static unsigned int lmt_nr_chains;
static LLIST_HEAD(lmt_granted);

static void __printf(3, 4) lmt_request_fail(struct lmt_request *r, int state, const char *fmt, ...)
{
	struct va_format vaf;
	va_list args;

	va_start(args, fmt);
	vaf.fmt = fmt;
	vaf.va = &args;
	lmt_fail(NULL, r->map, r->index, "request", "%u in state %d: %pV", r->id, state, &vaf);
	va_end(args);
}

/* A request has come to its end. After this the actor may use the chain again. */
static void lmt_request_end(struct lmt_request *r, enum lmt_request_state from)
{
	int state = atomic_xchg(&r->state, LMT_FREE);

	if (state != from)
		lmt_request_fail(r, state, "ended");
	/* Pairs with lmt_find_pending() and lmt_request(). */
	atomic_dec_return_release(&r->chain->busy);
}

static void lmt_request_made(struct lmt_request *r, struct lockmap_entry *entry);

static void lmt_request_ask(struct lmt_request *r, bool held)
{
	struct lockmap_entry *entry;
	struct lmt_key key;
	int state;

	lmt_key_init(&key, r->map, r->index);
	atomic_long_inc(&lmt_count.asked);
	state = atomic_xchg(&r->state, LMT_ASKING);
	if (state != LMT_FREE)
		lmt_request_fail(r, state, "is to be made");
	entry = lockmap_lock_async(r->map->map, key.data, key.len, &r->req);
	if (held && PTR_ERR(entry) != -EINPROGRESS)
		lmt_request_fail(r, 0, "for a key that is held: %d", PTR_ERR_OR_ZERO(entry));
	if (PTR_ERR(entry) == -EINPROGRESS) {
		/* It may have been granted meanwhile, and even be free again. */
		atomic_cmpxchg(&r->state, LMT_ASKING, LMT_PENDING);
		return;
	}
	state = atomic_cmpxchg(&r->state, LMT_ASKING, LMT_GRANTED);
	if (state != LMT_ASKING)
		lmt_request_fail(r, state, "has waited, but lock_async: %d",
				 PTR_ERR_OR_ZERO(entry));
	if (!IS_ERR(entry)) {
		atomic_long_inc(&lmt_count.at_once);
		if (lockmap_cancel(&r->req))
			lmt_request_fail(r, state, "cancelled, and did not wait");
		lmt_request_made(r, entry);
		return;
	}
	if (PTR_ERR(entry) != -ENOMEM)
		lmt_request_fail(r, state, "lock_async: %ld", PTR_ERR(entry));
	atomic_long_inc(&lmt_count.refused);
	lmt_request_end(r, LMT_GRANTED);
}

/* Ask for the next key of the chain. */
static void lmt_request_next(struct lmt_request *r, bool before)
{
	struct lmt_request *next = r + 1;
	bool same = before && (r->plan & LMT_NEXT_SAME);

	if (before != !!(r->plan & LMT_NEXT_BEFORE) || next == r->chain->req + r->chain->len)
		return;
	atomic_inc(&r->chain->busy);
	if (same) {
		next->map = r->map;
		next->index = r->index;
	}
	lmt_request_ask(next, same);
}

static void lmt_request_unlock(struct lmt_request *r)
{
	if (r->shared) {
		lmt_shadow_unshare(NULL, r->map, r->index);
		lockmap_unlock_shared(r->shared);
	} else {
		lmt_shadow_drop(NULL, r->id, r->map, r->index);
		/* As in lmt_unlock(). */
		r->map->shadow[r->index].kcsan_count++;
		lockmap_unlock(r->entry);
	}
	lmt_request_next(r, false);
	lmt_request_end(r, LMT_GRANTED);
}

static void lmt_request_downgrade(struct lmt_request *r)
{
	unsigned int other;

	other = cmpxchg(&r->map->shadow[r->index].holder, r->id, LMT_SHARE_ONE);
	if (other != r->id)
		lmt_request_fail(r, 0, "has a key that %u took", other);
	r->shared = lockmap_downgrade(r->entry);
}

/* Lock some other key in the context that was granted one. */
static void lmt_request_trylock(struct lmt_request *r)
{
	unsigned int index = (r->index + 1) % r->map->keys;
	const struct lockmap_entry *entry;
	struct lmt_key key;

	lmt_key_init(&key, r->map, index);
	if (index == r->index)
		return;
	entry = lockmap_trylock_shared(r->map->map, key.data, key.len);
	if (!IS_ERR(entry))
		lockmap_unlock_shared(entry);
	else if (PTR_ERR(entry) != -EBUSY && PTR_ERR(entry) != -ENOMEM)
		lmt_request_fail(r, 0, "trylock_shared of %u: %ld", index, PTR_ERR(entry));
}

/* The request has the key. */
static void lmt_request_made(struct lmt_request *r, struct lockmap_entry *entry)
{
	struct lmt_value *v = lockmap_entry_value(entry);

	r->entry = entry;
	r->shared = NULL;
	lmt_shadow_take(NULL, r->id, r->map, r->index, entry);
	if (v && (r->plan & LMT_WRITE))
		lmt_value_write(NULL, r->map, r->index, v, r->map->shadow[r->index].balance);
	if (r->plan & LMT_TRYLOCK)
		lmt_request_trylock(r);
	lmt_request_next(r, true);
	if (r->plan & LMT_DOWNGRADE)
		lmt_request_downgrade(r);
	if ((r->plan & LMT_LATER_ONE) && (r->plan & LMT_BY_TIMER))
		mod_timer(&r->timer, jiffies + 1);
	else if ((r->plan & LMT_LATER_ONE) && (r->plan & LMT_BY_TASK))
		llist_add(&r->node, &lmt_granted);
	else
		lmt_request_unlock(r);
}

static void lmt_request_granted(struct lockmap_request *req, struct lockmap_entry *entry)
{
	struct lmt_request *r = container_of(req, struct lmt_request, req);
	int state = atomic_xchg(&r->state, LMT_GRANTED);

	if (state != LMT_ASKING && state != LMT_PENDING) {
		lmt_request_fail(r, state, "granted, but does not wait");
		return;
	}
	atomic_long_inc(&lmt_count.granted);
	if (!in_task())
		atomic_long_inc(&lmt_count.in_softirq);
	lmt_request_made(r, entry);
}

static void lmt_request_timer_fn(struct timer_list *timer)
{
	lmt_request_unlock(container_of(timer, struct lmt_request, timer));
}

/* Unlock what was granted to requests, and left to the unlocker. */
void lmt_unlock_granted(void)
{
	struct lmt_request *r, *next;

	llist_for_each_entry_safe(r, next, llist_del_all(&lmt_granted), node)
		lmt_request_unlock(r);
}

/* Take back a request of the actor that waits. It may be granted at this moment. */
static void lmt_request_cancel(struct lmt_request *r, unsigned int delay)
{
	/* What another context does with it comes before this; pairs with lmt_request_ask(). */
	if (atomic_read_acquire(&r->state) != LMT_PENDING)
		return;
	if (delay)
		udelay(delay);
	if (lockmap_cancel(&r->req)) {
		atomic_long_inc(&lmt_count.cancelled);
		lmt_request_end(r, LMT_PENDING);
	} else {
		atomic_long_inc(&lmt_count.too_late);
	}
}

static void lmt_chain_begin(struct lmt_actor *a, struct lmt_chain *chain)
{
	struct lmt_request *r;

	chain->len = a->keys ? 1 + lmt_rnd(a) % LMT_CHAIN_LEN : 1;
	for (r = chain->req; r < chain->req + chain->len; r++) {
		r->map = lmt_pick_map(a);
		r->index = lmt_pick_key(a, r->map);
		r->plan = lmt_rnd(a) % LMT_PLANS;
		/* Holds of the crowd have to be short, and most others. */
		if (!a->keys || !lmt_one_in(a, 4))
			r->plan &= ~LMT_LATER_ONE;
	}
	atomic_set(&chain->busy, 1);
	lmt_request_ask(chain->req, false);
}

/* Begin a round of a chain; or take back what waits of the last one. */
void lmt_request(struct lmt_actor *a)
{
	struct lmt_chain *chain = &a->chains[lmt_rnd(a) % a->nr_chains];
	unsigned int i;

	/* Pairs with lmt_request_end(). */
	if (!atomic_read_acquire(&chain->busy)) {
		lmt_chain_begin(a, chain);
		if (!lmt_one_in(a, 4))
			return;
	}
	for (i = 0; i < chain->len; i++)
		lmt_request_cancel(&chain->req[i], lmt_rnd(a) % 8);
}

void lmt_op_async(struct lmt_actor *a)
{
	lmt_request(a);
	lmt_delay(a);
}

/* Return: whether a request has not ended. */
bool lmt_find_pending(void)
{
	unsigned int i;

	for (i = 0; i < lmt_nr_chains; i++) {
		/* Pairs with lmt_request_end(). */
		if (atomic_read_acquire(&lmt_chains[i].busy))
			return true;
	}
	return false;
}

/* At rest all requests have ended, each in one way. */
void lmt_check_requests(void)
{
	long asked = atomic_long_read(&lmt_count.asked), ended;

	ended = atomic_long_read(&lmt_count.at_once) + atomic_long_read(&lmt_count.granted) +
		atomic_long_read(&lmt_count.cancelled) + atomic_long_read(&lmt_count.refused);
	if (asked != ended)
		lmt_fail(NULL, NULL, 0, "request", "%ld were made, %ld ended", asked, ended);
}

/* Fail for each request that has not ended. */
void lmt_report_pending(void)
{
	struct lmt_request *r;
	unsigned int i, j;
	int state;

	for (i = 0; i < lmt_nr_chains; i++) {
		for (j = 0; j < LMT_CHAIN_LEN; j++) {
			r = &lmt_chains[i].req[j];
			state = atomic_read(&r->state);
			if (state != LMT_FREE)
				lmt_fail(NULL, r->map, r->index, "stuck",
					 "request %u in state %d; the key is held by actor %lu",
					 r->id, state,
					 r->map->shadow[r->index].holder & LMT_HOLDER_ID);
		}
	}
}

void lmt_report_requests(void)
{
	pr_info("requests: %lu; had at once %lu, granted %lu, in softirq %lu of these; cancelled %lu, too late %lu; no memory %lu\n",
		atomic_long_read(&lmt_count.asked), atomic_long_read(&lmt_count.at_once),
		atomic_long_read(&lmt_count.granted), atomic_long_read(&lmt_count.in_softirq),
		atomic_long_read(&lmt_count.cancelled), atomic_long_read(&lmt_count.too_late),
		atomic_long_read(&lmt_count.refused));
}

static void lmt_chains_give(struct lmt_actor *a, unsigned int n, struct lmt_chain **chain)
{
	a->chains = *chain;
	a->nr_chains = n;
	*chain += n;
}

/* Make the chains of all workers, timers and of the crowd. Ids go on after those of actors. */
int lmt_requests_init(void)
{
	unsigned int users = lmt_nr_workers + lmt_nr_timers, i, j;
	unsigned int id = users + 3 + lmt_nr_crowd;
	struct lmt_chain *chain;

	lmt_nr_chains = users * LMT_CHAINS + lmt_nr_crowd;
	chain = kvcalloc(lmt_nr_chains, sizeof(*chain), GFP_KERNEL);
	lmt_chains = chain;
	if (!chain)
		return -ENOMEM;
	for (i = 0; i < lmt_nr_chains; i++) {
		for (j = 0; j < LMT_CHAIN_LEN; j++) {
			chain[i].req[j].chain = &chain[i];
			chain[i].req[j].req.granted = lmt_request_granted;
			timer_setup(&chain[i].req[j].timer, lmt_request_timer_fn, 0);
			/* Of the crowd's chains only the first request is used. */
			if (!j || i < users * LMT_CHAINS)
				chain[i].req[j].id = id++;
		}
	}
	for (i = 0; i < users; i++)
		lmt_chains_give(&lmt_workers[i], LMT_CHAINS, &chain);
	for (i = 0; i < lmt_nr_crowd; i++)
		lmt_chains_give(&lmt_crowd[i], 1, &chain);
	return 0;
}

/* Call this when all requests have ended. */
void lmt_requests_stop(void)
{
	unsigned int i, j;

	for (i = 0; i < lmt_nr_chains; i++) {
		for (j = 0; j < LMT_CHAIN_LEN; j++)
			timer_shutdown_sync(&lmt_chains[i].req[j].timer);
	}
}

void lmt_requests_free(void)
{
	kvfree(lmt_chains);
}
