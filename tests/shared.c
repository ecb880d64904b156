// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Keys that many hold together
 *
 * Holders that share a key have no names: the thread of a case holds a key as often as
 * it likes, by share_nr().
 */
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/wait.h>

#include "worker.h"

/* So many waiters are let in at once; see LM_SERVE_MOST in core/turnstile.c. */
#define SERVED_AT_ONCE	16

/* While a key is shared, others share it, and nobody has it exclusively, or gives it a value. */
static void holders_share_a_key(struct kunit *test)
{
	static const enum op excluded[] = {
		OP_LOCK, OP_LOCK_PREALLOC, OP_BATCH, OP_INSERT, OP_REMOVE,
	};
	const struct lockmap_entry *entry[50];

	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(excluded); i++) {
		struct lockmap *map = lmtest_create_u64(test);
		enum op op = excluded[i / 2];
		bool present = i % 2;
		u64 key = 5;
		struct worker *w;
		int ret;

		if (present)
			KUNIT_EXPECT_EQ(test, insert_nr(map, 5, 50), 0);
		for (unsigned int t = 0; t < ARRAY_SIZE(entry); t++) {
			entry[t] = lmtest_hold_shared(test, map, 5);
			KUNIT_EXPECT_PTR_EQ(test, entry[t], entry[0]);
		}
		for (enum op share = NR_LOCK_OPS; share < NR_SHARE_OPS; share++) {
			w = lmtest_start_op(test, map, share, 5, 0);
			KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
		}
		KUNIT_EXPECT_EQ(test, nr_of(lockmap_entry_key(entry[0], NULL)), 5);
		KUNIT_EXPECT_EQ(test, lmtest_shared_value(entry[0]), present ? 50 : 0);
		KUNIT_EXPECT_EQ(test, !!lockmap_entry_value_shared(entry[0]), present);
		KUNIT_EXPECT_EQ(test, trylock_error(map, 5), -EBUSY);
		w = lmtest_start_op(test, map, OP_LOCK_TIMEOUT, 5, 2);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w), -ETIMEDOUT);
		KUNIT_EXPECT_EQ(test, share_error(map, 5), 0);

		w = lmtest_start_op(test, map, op, 5, PATIENCE);
		lmtest_expect_waiting(test, w);
		for (unsigned int t = 1; t < ARRAY_SIZE(entry); t++)
			lockmap_unlock_shared(entry[t]);
		lmtest_expect_waiting(test, w);
		KUNIT_EXPECT_EQ(test, trylock_error(map, 5), -EBUSY);
		KUNIT_EXPECT_EQ(test, lockmap_contains(map, &key, sizeof(key)), present);
		lockmap_unlock_shared(entry[0]);
		ret = lmtest_join(test, w);
		if (op == OP_REMOVE)
			KUNIT_EXPECT_EQ(test, ret, present ? 0 : -ENOENT);
		else
			KUNIT_EXPECT_EQ(test, ret, op == OP_INSERT && present);
		lmtest_expect_unlocked(test, map, 5, 5);
		lmtest_destroy(test, map);
	}
}

/**
 * struct room - what the holders of a key find there
 * @turn: counts those who came in
 * @readers: how many share the key now
 * @writers: how many have it exclusively
 * @meeting: readers wait here for each other
 * @together: so many readers have to be in at the same time
 * @met: they were
 */
struct room {
	atomic_t turn;
	atomic_t readers;
	atomic_t writers;
	wait_queue_head_t meeting;
	int together;
	bool met;
};

static struct room *create_room(struct kunit *test, int together)
{
	struct room *room = lmtest_zalloc(test, sizeof(*room));

	init_waitqueue_head(&room->meeting);
	room->together = together;
	return room;
}

/* Stay until all readers of the group are in. */
static void meet_readers(struct room *room)
{
	if (atomic_inc_return(&room->readers) >= room->together) {
		WRITE_ONCE(room->met, true);
		wake_up_all(&room->meeting);
	}
	wait_event_timeout(room->meeting, READ_ONCE(room->met), PATIENCE);
}

static int visit_room(struct worker *w)
{
	struct room *room = w->arg;
	struct lockmap_entry *entry;
	struct lockmap_batch *batch;
	u64 key = w->key;

	lmtest_about_to_wait(w);
	entry = lmtest_lock_by(w->map, w->op, &key, sizeof(key), w->timeout, &batch);
	if (IS_ERR_OR_NULL(entry))
		return PTR_ERR(entry) ?: -EFAULT;
	w->count = atomic_inc_return(&room->turn);
	if (op_shares(w->op)) {
		w->errors += atomic_read(&room->writers) != 0;
		meet_readers(room);
		w->errors += !room->met || atomic_read(&room->writers) != 0;
		atomic_dec(&room->readers);
	} else {
		w->errors += atomic_inc_return(&room->writers) != 1;
		w->errors += atomic_read(&room->readers) != 0;
		usleep_range(200, 500);
		atomic_dec(&room->writers);
	}
	lmtest_unlock_by(w->op, entry, batch);
	return 0;
}

static struct worker *queue_visitor(struct kunit *test, struct lockmap *map, enum op op,
				    struct room *room)
{
	struct worker *w = lmtest_worker_create(test, visit_room, map, lmtest_op_name[op]);

	w->op = op;
	w->key = 5;
	w->arg = room;
	lmtest_worker_start(test, w);
	lmtest_expect_waiting(test, w);
	return w;
}

/* How it becomes the turn of readers */
enum turn {
	TURN_UNLOCK,		/* an exclusive holder unlocks */
	TURN_DOWNGRADE,		/* an exclusive holder goes on sharing */
	TURN_WRITER_UNLOCKS,	/* so does a writer that stood before them */
	TURN_CANCEL,		/* a request that stood before them is taken back */
	NR_TURNS,
};

static void never_granted(struct lockmap_request *req, struct lockmap_entry *entry)
{
}

/* @nr readers wait, and a writer and a reader behind them. */
static void play_turn(struct kunit *test, enum turn turn, unsigned int nr)
{
	struct lockmap_request req = { .granted = never_granted };
	struct room *room = create_room(test, nr), *late = create_room(test, 1);
	struct lockmap *map = lmtest_create_u64(test);
	const struct lockmap_entry *shared = NULL;
	struct lockmap_entry *entry = NULL;
	struct worker *writer, *last;
	u64 key = 5;

	if (turn == TURN_CANCEL) {
		shared = lmtest_hold_shared(test, map, 5);
		KUNIT_EXPECT_EQ(test, PTR_ERR(lockmap_lock_async(map, &key, sizeof(key), &req)),
				-EINPROGRESS);
	} else {
		entry = lmtest_hold(test, map, 5);
	}
	if (turn == TURN_WRITER_UNLOCKS)
		queue_visitor(test, map, OP_LOCK, late);
	for (unsigned int i = 0; i < nr; i++)
		queue_visitor(test, map, NR_LOCK_OPS + i % (NR_SHARE_OPS - NR_LOCK_OPS), room);
	writer = queue_visitor(test, map, OP_LOCK, late);
	last = queue_visitor(test, map, OP_LOCK_SHARED, late);
	msleep(LOOKED_FOR_CYCLE_MS);
	if (turn == TURN_DOWNGRADE)
		shared = lockmap_downgrade(entry);
	else if (turn == TURN_CANCEL)
		KUNIT_EXPECT_TRUE(test, lockmap_cancel(&req));
	else
		lockmap_unlock(entry);
	KUNIT_EXPECT_NE_MSG(test, wait_event_timeout(room->meeting, READ_ONCE(room->met), PATIENCE),
			    0, "%u readers, turn %u", nr, turn);
	if (shared) {
		lmtest_expect_waiting(test, writer);
		lmtest_expect_waiting(test, last);
		KUNIT_EXPECT_EQ(test, share_error(map, 5), -EBUSY);
		lockmap_unlock_shared(shared);
	}
	lmtest_join_all(test);
	KUNIT_EXPECT_EQ_MSG(test, lmtest_sum_errors(test), 0, "%u readers, turn %u", nr, turn);
	/* The writer was not overtaken by the reader behind it. */
	KUNIT_EXPECT_EQ(test, last->count, writer->count + 1);
	lmtest_expect_unlocked(test, map, 5, 5);
	lmtest_release_workers(test);
	lmtest_destroy(test, map);
}

/* All readers at the front come in when it is their turn, and none waits for another. */
static void readers_come_in_together(struct kunit *test)
{
	static const unsigned int nr[] = { 1, 2, SERVED_AT_ONCE, SERVED_AT_ONCE + 1,
					   2 * SERVED_AT_ONCE + 8 };

	for (enum turn turn = 0; turn < NR_TURNS; turn++)
		for (unsigned int i = 0; i < ARRAY_SIZE(nr); i++)
			play_turn(test, turn, nr[i]);
}

/* Who wants to share a key queues behind who wants it exclusively, and follows it. */
static void readers_do_not_overtake_a_writer(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);

	for (enum op op = 0; op < NR_LOCK_OPS; op++) {
		struct room *room = create_room(test, 1);
		const struct lockmap_entry *shared = lmtest_hold_shared(test, map, 5);
		struct worker *writer, *reader, *w;

		writer = queue_visitor(test, map, op, room);
		reader = queue_visitor(test, map, OP_LOCK_SHARED, room);
		KUNIT_EXPECT_EQ(test, share_error(map, 5), -EBUSY);
		w = lmtest_start_op(test, map, OP_LOCK_SHARED_TIMEOUT, 5, 1);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w), -ETIMEDOUT);
		msleep(LOOKED_FOR_CYCLE_MS);
		lockmap_unlock_shared(shared);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, writer), 0);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, reader), 0);
		KUNIT_EXPECT_EQ(test, lmtest_sum_errors(test), 0);
		KUNIT_EXPECT_EQ_MSG(test, writer->count, 1, "%s", lmtest_op_name[op]);
		KUNIT_EXPECT_EQ(test, reader->count, 2);
		lmtest_release_workers(test);
	}
	lmtest_expect_unlocked(test, map, 5, 5);
}

/* A writer that leaves lets in the readers behind it, who share the key with its holder. */
static void writer_that_leaves_lets_readers_in(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);

	for (unsigned int i = 0; i < NR_ENDINGS; i++) {
		const struct ending *end = &lmtest_endings[i];
		unsigned int nr = i % 2 ? SERVED_AT_ONCE + 4 : 2;
		struct room *room = create_room(test, nr);
		const struct lockmap_entry *shared;
		struct worker *writer;

		if (op_shares(end->op))
			continue;
		shared = lmtest_hold_shared(test, map, 5);
		writer = lmtest_start_op(test, map, end->op, 5, end->sig ? PATIENCE : HZ / 4);
		lmtest_expect_waiting(test, writer);
		for (unsigned int t = 0; t < nr; t++) {
			struct worker *w = lmtest_worker_create(test, visit_room, map, "reader");

			w->op = OP_LOCK_SHARED;
			w->key = 5;
			w->arg = room;
			lmtest_worker_start(test, w);
			if (end->sig)
				lmtest_expect_waiting(test, w);
		}
		if (end->sig)
			send_sig(end->sig, writer->task, 1);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, writer), end->error);
		KUNIT_EXPECT_NE(test, wait_event_timeout(room->meeting, READ_ONCE(room->met),
							 PATIENCE), 0);
		KUNIT_EXPECT_EQ(test, trylock_error(map, 5), -EBUSY);
		lockmap_unlock_shared(shared);
		list_for_each_entry(writer, &((struct fixture *)test->priv)->workers, node)
			lmtest_join(test, writer);
		KUNIT_EXPECT_EQ(test, lmtest_sum_errors(test), 0);
		lmtest_expect_unlocked(test, map, 5, 5);
		lmtest_release_workers(test);
	}
}

/* Calls that only read do not wait for holders that share, nor for who waits for these. */
static void readers_do_not_wait_for_sharers(struct kunit *test)
{
	static const enum op reads[] = { OP_GET, OP_CONTAINS };
	static const enum op walks[] = { OP_FOR_EACH, OP_RETAIN, OP_CLEAR };
	struct lockmap *map = lmtest_create_u64(test);
	const struct lockmap_entry *shared;
	struct worker *writer, *w;

	KUNIT_EXPECT_EQ(test, insert_nr(map, 5, 50), 0);
	shared = lmtest_hold_shared(test, map, 5);
	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(reads); i++) {
		enum op op = reads[i % ARRAY_SIZE(reads)];

		w = lmtest_start_op(test, map, op, 5, 0);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w), op == OP_CONTAINS);
		if (i == 1) {
			writer = lmtest_start_op(test, map, OP_LOCK, 5, 0);
			lmtest_expect_waiting(test, writer);
		}
	}
	lockmap_unlock_shared(shared);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, writer), 0);

	/* walks give the value to be written */
	for (unsigned int i = 0; i < ARRAY_SIZE(walks); i++) {
		shared = lmtest_hold_shared(test, map, 5);
		w = lmtest_start_op(test, map, walks[i], 5, 0);
		lmtest_expect_waiting(test, w);
		lockmap_unlock_shared(shared);
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
	}
	KUNIT_EXPECT_TRUE(test, lockmap_is_empty(map));
}

/**
 * struct sharer - shares a key, or unlocks it, in the middle of a lookup of another call
 * @softirq: runs while the keys are compared
 * @map: of the key; %NULL to do nothing
 * @shared: the entries
 * @nr: how many
 * @lock: share the key; else unlock it
 * @lookups: how often keys were compared
 */
struct sharer {
	struct tasklet_struct softirq;
	struct lockmap *map;
	const struct lockmap_entry *shared[2];
	unsigned int nr;
	bool lock;
	unsigned int lookups;
};

static void share_in_softirq(struct tasklet_struct *softirq)
{
	struct sharer *sharer = from_tasklet(sharer, softirq, softirq);
	struct lockmap *map = sharer->map;

	/* This lookup is the softirq's own. */
	sharer->map = NULL;
	if (sharer->lock && sharer->nr < ARRAY_SIZE(sharer->shared))
		sharer->shared[sharer->nr++] = share_nr(map, 5);
	else if (!sharer->lock && sharer->nr)
		lockmap_unlock_shared(sharer->shared[--sharer->nr]);
	sharer->map = map;
}

static int cmp_and_share(const void *a, size_t a_len, const void *b, size_t b_len, void *priv)
{
	struct sharer *sharer = priv;

	if (sharer->map) {
		sharer->lookups++;
		local_bh_disable();
		tasklet_schedule(&sharer->softirq);
		/* Now it runs. */
		local_bh_enable();
	}
	return memcmp(a, b, a_len);
}

/* A reader is not disturbed if its key is shared, or unlocked by a sharer, in the middle. */
static void sharers_do_not_disturb_readers(struct kunit *test)
{
	struct sharer *sharer = lmtest_zalloc(test, sizeof(*sharer));
	struct lockmap *map = lmtest_create(test, &(struct lockmap_params) {
		.name = "undisturbed", .key_len = sizeof(u64), .value_len = sizeof(u64),
		.cmp = cmp_and_share, .priv = sharer,
	});
	u64 value = 0;

	tasklet_setup(&sharer->softirq, share_in_softirq);
	KUNIT_EXPECT_EQ(test, insert_nr(map, 5, 50), 0);
	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(sharer->shared); i++) {
		unsigned int nr = sharer->nr;

		sharer->lock = i < ARRAY_SIZE(sharer->shared);
		sharer->lookups = 0;
		sharer->map = map;
		KUNIT_EXPECT_EQ(test, get_nr(map, 5, &value), 0);
		sharer->map = NULL;
		KUNIT_EXPECT_EQ(test, value, 50);
		KUNIT_EXPECT_EQ_MSG(test, sharer->lookups, 1, "read %u", i);
		KUNIT_EXPECT_EQ(test, sharer->nr, sharer->lock ? nr + 1 : nr - 1);
	}
	tasklet_kill(&sharer->softirq);
	lmtest_expect_unlocked(test, map, 5, 5);
}

#define HOLD_US		5000

/* Hold the key for 5 ms, again and again. */
static int hold_key(struct worker *w)
{
	u64 key = 5;

	lmtest_wait_at_gate(w);
	while (!lmtest_must_stop(w)) {
		u64 begin = ktime_get_ns();
		struct lockmap_entry *entry;
		struct lockmap_batch *batch;

		entry = lmtest_lock_by(w->map, w->op, &key, sizeof(key), PATIENCE, &batch);
		if (IS_ERR_OR_NULL(entry))
			return PTR_ERR(entry) ?: -EFAULT;
		w->longest = max(w->longest, ktime_get_ns() - begin);
		w->count++;
		usleep_range(HOLD_US, HOLD_US + 100);
		lmtest_unlock_by(w->op, entry, batch);
		/* A writer comes now and then. */
		if (!op_shares(w->op))
			msleep(50);
	}
	return 0;
}

/* Return: how often readers had the key in a second; and how long a writer waited at most. */
static unsigned long reader_rate(struct kunit *test, unsigned int readers, u64 *longest)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct worker *w, *writer = NULL;
	unsigned long count;

	for (unsigned int t = 0; t < readers + !!longest; t++) {
		w = lmtest_worker_create(test, hold_key, map, "holder");
		w->op = t < readers ? OP_LOCK_SHARED : OP_LOCK;
		if (t == readers)
			writer = w;
		lmtest_worker_start(test, w);
	}
	lmtest_open_gate(test);
	msleep(1000);
	lmtest_stop_workers(test);
	lmtest_join_all(test);
	count = lmtest_sum_counts(test);
	if (writer) {
		*longest = writer->longest;
		KUNIT_EXPECT_GT(test, writer->count, 5);
	}
	lmtest_release_workers(test);
	lmtest_destroy(test, map);
	return count;
}

/* Six readers have the key six times as often as one, and a writer waits for who is in there. */
static void readers_do_not_hold_each_other_up(struct kunit *test)
{
	unsigned long one, six;
	u64 longest = 0;

	if (slow_kernel())
		kunit_skip(test, "not for slow kernels");
	one = reader_rate(test, 1, NULL);
	six = reader_rate(test, 6, NULL);
	reader_rate(test, 6, &longest);
	kunit_info(test, "key held for 5 ms: %lu times a second by one reader, %lu by six; writer waited %llu us at most",
		   one, six, div_u64(longest, NSEC_PER_USEC));
	KUNIT_EXPECT_GE(test, six, 5 * one);
	KUNIT_EXPECT_LE(test, longest, 10ULL * HOLD_US * NSEC_PER_USEC);
}

static struct kunit_case shared_cases[] = {
	KUNIT_CASE(holders_share_a_key),
	KUNIT_CASE_SLOW(readers_come_in_together),
	KUNIT_CASE(readers_do_not_overtake_a_writer),
	KUNIT_CASE_SLOW(writer_that_leaves_lets_readers_in),
	KUNIT_CASE(readers_do_not_wait_for_sharers),
	KUNIT_CASE(sharers_do_not_disturb_readers),
	KUNIT_CASE_SLOW(readers_do_not_hold_each_other_up),
	{}
};

struct kunit_suite lmtest_shared_suite = {
	.name = "lockmap_shared",
	.init = lmtest_init,
	.test_cases = shared_cases,
};
