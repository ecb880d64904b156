// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Requests: locks that no task waits for
 */
#include <linux/container_of.h>
#include <linux/delay.h>
#include <linux/irqflags.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include "worker.h"

/**
 * struct asked - a request of a case
 * @req: the request
 * @entry: what it was granted
 * @granted: how often
 * @task: the task in which that was
 * @turn: the how manieth it was
 * @turns: counts those that were granted, if not %NULL
 * @keep: do not unlock
 */
struct asked {
	struct lockmap_request req;
	struct lockmap_entry *entry;
	unsigned int granted;
	struct task_struct *task;
	int turn;
	atomic_t *turns;
	bool keep;
};

static void note_grant(struct lockmap_request *req, struct lockmap_entry *entry)
{
	struct asked *asked = container_of(req, struct asked, req);

	asked->entry = entry;
	asked->task = current;
	if (asked->turns)
		asked->turn = atomic_inc_return(asked->turns);
	WRITE_ONCE(asked->granted, asked->granted + 1);
	if (!asked->keep)
		lockmap_unlock(entry);
}

static struct lockmap_entry *ask_nr(struct lockmap *map, u64 n, struct lockmap_request *req)
{
	return lockmap_lock_async(map, &n, sizeof(n), req);
}

static struct asked *create_asked(struct kunit *test)
{
	struct asked *asked = lmtest_zalloc(test, sizeof(*asked));

	asked->req.granted = note_grant;
	return asked;
}

static void expect_pending(struct kunit *test, struct lockmap *map, u64 n, struct asked *asked)
{
	KUNIT_EXPECT_EQ(test, PTR_ERR(ask_nr(map, n, &asked->req)), -EINPROGRESS);
	KUNIT_EXPECT_EQ(test, asked->granted, 0);
}

/* A key that is free, or that the map does not have, is locked at once, for no task. */
static void free_key_is_locked_at_once(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct asked *asked = create_asked(test);
	struct lockmap_entry *entry;

	KUNIT_EXPECT_EQ(test, insert_nr(map, 2, 20), 0);
	for (unsigned int i = 0; i < 6; i++) {
		u64 n = i / 2, key = n;

		entry = ask_nr(map, n, &asked->req);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, entry);
		KUNIT_EXPECT_EQ(test, nr_of(lockmap_entry_key(entry, NULL)), n);
		KUNIT_EXPECT_EQ(test, !!lockmap_entry_value(entry), n == 2);
		KUNIT_EXPECT_EQ(test, share_error(map, n), -EBUSY);
		KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_timeout(map, &key, sizeof(key), 1)),
				-ETIMEDOUT);
		KUNIT_EXPECT_FALSE(test, lockmap_cancel(&asked->req));
		if (i % 2)
			lmtest_unlock_elsewhere(test, entry);
		else
			lockmap_unlock(entry);
		lmtest_expect_unlocked(test, map, n, n);
	}
	KUNIT_EXPECT_EQ(test, asked->granted, 0);
}

static void bad_requests_are_refused(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_request no_function = { };
	struct asked *asked = create_asked(test);
	u64 key = 1;

	KUNIT_EXPECT_EQ(test, PTR_ERR(ask_nr(map, 1, NULL)), -EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(ask_nr(map, 1, &no_function)), -EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(ask_nr(NULL, 1, &asked->req)), -EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(lockmap_lock_async(map, NULL, sizeof(key), &asked->req)),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(lockmap_lock_async(map, &key, 7, &asked->req)), -EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(lockmap_lock_async(map, &key, 0, &asked->req)), -EINVAL);
	lmtest_expect_unlocked(test, map, 1, 1);
}

/* The caller may hold the key: its own unlock grants the request, which then belongs to no task. */
static void holder_may_ask_for_its_key(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry = lmtest_hold(test, map, 5);
	struct asked *asked = create_asked(test);
	u64 key = 5;

	asked->keep = true;
	expect_pending(test, map, 5, asked);
	lockmap_unlock(entry);
	KUNIT_EXPECT_EQ(test, asked->granted, 1);
	KUNIT_ASSERT_PTR_EQ(test, asked->entry, entry);
	KUNIT_EXPECT_PTR_EQ(test, asked->task, current);
	KUNIT_EXPECT_FALSE(test, lockmap_cancel(&asked->req));
	KUNIT_EXPECT_EQ(test, lock_error(lockmap_lock_timeout(map, &key, sizeof(key), 1)),
			-ETIMEDOUT);
	lmtest_unlock_elsewhere(test, asked->entry);
	lmtest_expect_unlocked(test, map, 5, 5);
}

/* The last of those who share a key grants it. */
static void request_waits_for_all_sharers(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	const struct lockmap_entry *shared[20];
	struct asked *asked = create_asked(test);

	for (unsigned int i = 0; i < ARRAY_SIZE(shared); i++)
		shared[i] = share_nr(map, 5);
	expect_pending(test, map, 5, asked);
	KUNIT_EXPECT_EQ(test, share_error(map, 5), -EBUSY);
	for (unsigned int i = 0; i < ARRAY_SIZE(shared); i++) {
		KUNIT_EXPECT_EQ(test, asked->granted, 0);
		lockmap_unlock_shared(shared[i]);
	}
	KUNIT_EXPECT_EQ(test, asked->granted, 1);
	lmtest_expect_unlocked(test, map, 5, 5);
}

static int take_turn(struct worker *w)
{
	struct lockmap_entry *entry;
	struct lockmap_batch *batch;
	u64 key = w->key;

	lmtest_about_to_wait(w);
	entry = lmtest_lock_by(w->map, w->op, &key, sizeof(key), PATIENCE, &batch);
	if (IS_ERR_OR_NULL(entry))
		return PTR_ERR(entry) ?: -EFAULT;
	w->count = atomic_inc_return((atomic_t *)w->arg);
	lmtest_unlock_by(w->op, entry, batch);
	return 0;
}

/* Tasks and requests get the key in the order in which they came, in whatever order that is. */
static void first_come_first_served(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	atomic_t *turns = lmtest_zalloc(test, sizeof(*turns));

	for (unsigned int pattern = 0; pattern < 32; pattern++) {
		struct lockmap_entry *entry = lmtest_hold(test, map, 5);
		struct worker *w[5] = { };
		struct asked *asked[5] = { };

		atomic_set(turns, 0);
		for (unsigned int i = 0; i < 5; i++) {
			if (pattern & BIT(i)) {
				asked[i] = create_asked(test);
				asked[i]->turns = turns;
				expect_pending(test, map, 5, asked[i]);
				continue;
			}
			w[i] = lmtest_worker_create(test, take_turn, map, "waits among requests");
			w[i]->op = i == 3 ? OP_LOCK_SHARED : OP_LOCK;
			w[i]->key = 5;
			w[i]->arg = turns;
			lmtest_worker_start(test, w[i]);
			lmtest_expect_waiting(test, w[i]);
		}
		msleep(LOOKED_FOR_CYCLE_MS);
		lockmap_unlock(entry);
		if (asked[0])
			KUNIT_EXPECT_EQ(test, READ_ONCE(asked[0]->granted), 1);
		lmtest_join_all(test);
		for (unsigned int i = 0; i < 5; i++)
			KUNIT_EXPECT_EQ_MSG(test, w[i] ? w[i]->count : asked[i]->turn, i + 1,
					    "pattern %#x, place %u", pattern, i);
		lmtest_release_workers(test);
	}
}

static int snatch(struct worker *w)
{
	while (!lmtest_must_stop(w)) {
		w->count += trylock_error(w->map, 5) == 0;
		w->count += share_error(w->map, 5) == 0;
	}
	return 0;
}

/* However greedy others are: the function has run when the unlock returns. */
static void request_is_never_overtaken(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct asked *asked = create_asked(test);
	unsigned int late = 0, pending = 0;

	lmtest_worker_start(test, lmtest_worker_create(test, snatch, map, "greedy"));
	for (unsigned int i = 0; i < scaled(20000); i++) {
		struct lockmap_entry *entry = lock_nr(map, 5);

		if (IS_ERR_OR_NULL(entry))
			break;
		asked->granted = 0;
		pending += PTR_ERR(ask_nr(map, 5, &asked->req)) == -EINPROGRESS;
		lockmap_unlock(entry);
		late += asked->granted != 1;
		resched_if_needed();
	}
	lmtest_stop_workers(test);
	lmtest_join_all(test);
	KUNIT_EXPECT_EQ(test, pending, scaled(20000));
	KUNIT_EXPECT_EQ(test, late, 0);
	lmtest_expect_unlocked(test, map, 5, 5);
}

/* What the functions of a chain find, and do */
static struct {
	struct lockmap *map;
	struct lockmap_entry **held;
	unsigned long count;
	unsigned long left;
	unsigned long errors;
	unsigned int depth;
	unsigned long lowest;
	unsigned long highest;
} chain;

static void chain_init(struct lockmap *map, unsigned long left)
{
	memset(&chain, 0, sizeof(chain));
	chain.map = map;
	chain.left = left;
	chain.lowest = ULONG_MAX;
}

/* Note how deep the stack is. Nothing is called from within another, or with interrupts off. */
static void chain_enter(void)
{
	unsigned long frame = (unsigned long)__builtin_frame_address(0);

	chain.lowest = min(chain.lowest, frame);
	chain.highest = max(chain.highest, frame);
	chain.errors += chain.depth++ != 0;
	chain.errors += irqs_disabled();
	chain.count++;
}

/* Ask for the key again, behind the other request, and unlock it. */
static noinline void ask_again(struct lockmap_request *req, struct lockmap_entry *entry)
{
	chain_enter();
	if (chain.left) {
		chain.left--;
		chain.errors += PTR_ERR(ask_nr(chain.map, 5, req)) != -EINPROGRESS;
	}
	lockmap_unlock(entry);
	chain.depth--;
}

/* Unlock the key, and the next one. */
static noinline void unlock_next(struct lockmap_request *req, struct lockmap_entry *entry)
{
	u64 n = nr_of(lockmap_entry_key(entry, NULL));

	chain_enter();
	lockmap_unlock(entry);
	if (chain.left) {
		chain.left--;
		lockmap_unlock(chain.held[n + 1]);
	}
	chain.depth--;
}

static void expect_chain(struct kunit *test, unsigned long count)
{
	KUNIT_EXPECT_EQ(test, chain.count, count);
	KUNIT_EXPECT_EQ(test, chain.errors, 0);
	KUNIT_EXPECT_LE(test, chain.highest - chain.lowest, 256);
}

/* A million grants, each by the one before, have all been made when the first unlock returns. */
static void long_chain_over_one_key(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_request *req = lmtest_zalloc(test, 2 * sizeof(*req));
	struct lockmap_entry *entry = lmtest_hold(test, map, 5);
	unsigned long nr = scaled(1000000);

	chain_init(map, nr - 2);
	for (unsigned int i = 0; i < 2; i++) {
		req[i].granted = ask_again;
		KUNIT_EXPECT_EQ(test, PTR_ERR(ask_nr(map, 5, &req[i])), -EINPROGRESS);
	}
	lockmap_unlock(entry);
	expect_chain(test, nr);
	lmtest_expect_unlocked(test, map, 5, 5);
}

/* The same, with requests that all wait at once: in one row, or each for a key of its own. */
static void long_chain_of_many_requests(struct kunit *test)
{
	unsigned int nr = scaled(1000000);
	struct lockmap_request *req = lmtest_zalloc(test, nr * sizeof(*req));
	struct lockmap_entry **held = lmtest_zalloc(test, (nr + 1) * sizeof(*held));

	for (unsigned int many_keys = 0; many_keys < 2; many_keys++) {
		struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
			.name = "chain", .key_len = sizeof(u64),
		});
		/* Those that wait for different keys meet in one bucket, which takes time. */
		unsigned int size = many_keys ? min(nr, 5000U) : nr;
		unsigned int failures = 0;
		u64 n;

		chain_init(map, many_keys ? size - 1 : 0);
		chain.held = held;
		for (unsigned int i = 0; i < (many_keys ? size : 1); i++) {
			held[i] = trylock_nr(map, i);
			failures += IS_ERR_OR_NULL(held[i]);
			if (!failures)
				lockmap_entry_disown(held[i]);
		}
		for (unsigned int i = 0; i < size; i++) {
			req[i].granted = unlock_next;
			n = many_keys ? i : 0;
			failures += PTR_ERR(ask_nr(map, n, &req[i])) != -EINPROGRESS;
			resched_if_needed();
		}
		KUNIT_ASSERT_EQ(test, failures, 0);
		lockmap_unlock(held[0]);
		expect_chain(test, size);
		lmtest_expect_unlocked(test, map, 0, 10);
		lmtest_destroy(test, map);
	}
}

/* A request in the row is taken back, whichever, and the others get the key. */
static void cancelled_request_leaves_nothing(struct kunit *test)
{
	for (unsigned int i = 0; i < 8; i++) {
		struct lockmap *map = lmtest_create_u64(test);
		struct lockmap_entry *entry = lmtest_hold(test, map, 5);
		bool alone = i / 4;
		struct asked *asked[4];
		struct worker *w = NULL;

		for (unsigned int k = 0; k < 4; k++) {
			asked[k] = create_asked(test);
			if (!alone || k == i % 4)
				expect_pending(test, map, 5, asked[k]);
		}
		if (i % 2) {
			w = lmtest_start_op(test, map, OP_LOCK, 5, 0);
			lmtest_expect_waiting(test, w);
		}
		KUNIT_EXPECT_TRUE(test, lockmap_cancel(&asked[i % 4]->req));
		KUNIT_EXPECT_EQ(test, trylock_error(map, 5), -EBUSY);
		lockmap_unlock(entry);
		if (w)
			KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
		for (unsigned int k = 0; k < 4; k++)
			KUNIT_EXPECT_EQ(test, asked[k]->granted, k != i % 4 && !alone);
		lmtest_expect_unlocked(test, map, 5, 5);

		/* It can be used again. */
		entry = lmtest_hold(test, map, 5);
		expect_pending(test, map, 5, asked[i % 4]);
		lockmap_unlock(entry);
		KUNIT_EXPECT_EQ(test, asked[i % 4]->granted, 1);
		lmtest_destroy(test, map);
	}
}

/**
 * struct duel - a request that one CPU grants and another takes back, at the same time
 * @asked: the request
 * @round: the round that is to begin
 * @ended: the round whose cancel has returned @cancelled
 * @cancelled: whether it was taken back
 */
struct duel {
	struct asked asked;
	unsigned int round;
	unsigned int ended;
	bool cancelled;
};

/* Whom the caller spins for may need its CPU. */
static void let_other_run(void)
{
	if (num_online_cpus() > 1)
		cpu_relax();
	else
		usleep_range(50, 100);
}

static int cancel_in_rounds(struct worker *w)
{
	struct duel *duel = w->arg;

	for (unsigned int i = 1; i <= w->nr; i++) {
		/* The request, before it is taken back. */
		while (smp_load_acquire(&duel->round) != i) {
			if (lmtest_must_stop(w))
				return 0;
			let_other_run();
		}
		for (unsigned int k = 0; k < i / 64 % 64; k++)
			cpu_relax();
		duel->cancelled = lockmap_cancel(&duel->asked.req);
		w->count += duel->cancelled;
		smp_store_release(&duel->ended, i);	/* after @cancelled */
	}
	return 0;
}

/* A request is either granted or taken back. */
static void cancel_races_with_grant(struct kunit *test)
{
	struct duel *duel = lmtest_zalloc(test, sizeof(*duel));
	struct lockmap *map = lmtest_create_u64(test);
	unsigned int rounds = scaled(50000), wrong = 0;
	struct worker *w;

	duel->asked.req.granted = note_grant;
	w = lmtest_worker_create(test, cancel_in_rounds, map, "cancel");
	w->nr = rounds;
	w->arg = duel;
	lmtest_worker_start(test, w);
	for (unsigned int i = 1; i <= rounds && !wrong; i++) {
		unsigned long end = jiffies + PATIENCE;
		struct lockmap_entry *entry = lock_nr(map, 5);

		if (IS_ERR_OR_NULL(entry))
			break;
		duel->asked.granted = 0;
		wrong += PTR_ERR(ask_nr(map, 5, &duel->asked.req)) != -EINPROGRESS;
		smp_store_release(&duel->round, i);	/* after the request was made */
		for (unsigned int k = 0; k < i % 64; k++)
			cpu_relax();
		lockmap_unlock(entry);
		/* @ended, before @cancelled is read. */
		while (smp_load_acquire(&duel->ended) != i && time_before(jiffies, end)) {
			resched_if_needed();
			let_other_run();
		}
		wrong += READ_ONCE(duel->ended) != i;
		wrong += duel->asked.granted + duel->cancelled != 1;
		wrong += trylock_error(map, 5) != 0;
	}
	lmtest_stop_workers(test);
	lmtest_join_all(test);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	kunit_info(test, "%u requests, %lu taken back", rounds, w->count);
}

static struct kunit_case async_cases[] = {
	KUNIT_CASE(free_key_is_locked_at_once),
	KUNIT_CASE(bad_requests_are_refused),
	KUNIT_CASE(holder_may_ask_for_its_key),
	KUNIT_CASE(request_waits_for_all_sharers),
	KUNIT_CASE_SLOW(first_come_first_served),
	KUNIT_CASE(request_is_never_overtaken),
	KUNIT_CASE_SLOW(long_chain_over_one_key),
	KUNIT_CASE_SLOW(long_chain_of_many_requests),
	KUNIT_CASE(cancelled_request_leaves_nothing),
	KUNIT_CASE_SLOW(cancel_races_with_grant),
	{}
};

struct kunit_suite lmtest_async_suite = {
	.name = "lockmap_async",
	.init = lmtest_init,
	.test_cases = async_cases,
};
