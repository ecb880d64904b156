/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Threads of a case
 *
 * A case makes a worker, tells it what to do in its fields, starts it and joins
 * it. Whatever way the case ends, its threads are stopped; a thread that does
 * not come back fails it.
 */
#ifndef _LOCKMAP_TESTS_WORKER_H
#define _LOCKMAP_TESTS_WORKER_H

#include <linux/prandom.h>

#include "fixture.h"

/**
 * struct worker - a thread of a case
 * @node: in the fixture's list
 * @fx: the fixture
 * @task: the thread
 * @done: it returned from @fn
 * @fn: what it runs; returns 0 or an error
 * @what: in messages
 * @rnd: where its random numbers come from
 * @id: counts from 0 in a case
 * @about_to_wait: set by lmtest_about_to_wait()
 * @map: what it does it with; as the following fields, each @fn uses some
 * @op: what to do
 * @key: number of the key
 * @nr: how often, or with how many
 * @timeout: for calls that have one
 * @arg: anything else
 * @ret: what @fn returned
 * @count: what it did
 * @errors: what went wrong
 * @longest: the longest time that it waited, in nanoseconds
 */
struct worker {
	struct list_head node;
	struct fixture *fx;
	struct task_struct *task;
	struct completion done;
	int (*fn)(struct worker *w);
	const char *what;
	struct rnd_state rnd;
	unsigned int id;
	bool about_to_wait;

	struct lockmap *map;
	enum op op;
	u64 key;
	unsigned int nr;
	unsigned long timeout;
	void *arg;

	int ret;
	unsigned long count;
	unsigned long errors;
	u64 longest;
};

/* A way in which a wait can end without the key: by a signal, or else by its timeout. */
struct ending {
	enum op op;
	int sig;
	int error;
};

#define NR_ENDINGS	15

extern const struct ending lmtest_endings[NR_ENDINGS];

/*
 * A task that has slept for so long has looked for a cycle. Until then it wakes up once by
 * itself, and may find the key free before the first in the row does.
 */
#define LOOKED_FOR_CYCLE_MS	(10 + 3 * MSEC_PER_SEC / HZ)

/* For the case. */

struct worker *lmtest_worker_create(struct kunit *test, int (*fn)(struct worker *w),
				    struct lockmap *map, const char *what);
struct worker *lmtest_worker_start(struct kunit *test, struct worker *w);
struct worker *lmtest_start_op(struct kunit *test, struct lockmap *map, enum op op, u64 n,
			       unsigned long timeout);
struct worker *lmtest_start_batch(struct kunit *test, struct lockmap *map, enum op op,
				  struct lockmap_key *keys, unsigned int nr,
				  unsigned long timeout);
void lmtest_open_gate(struct kunit *test);
void lmtest_stop_workers(struct kunit *test);
int lmtest_join(struct kunit *test, struct worker *w);
void lmtest_join_all(struct kunit *test);
void lmtest_release_workers(struct kunit *test);
unsigned long lmtest_sum_counts(struct kunit *test);
unsigned long lmtest_sum_errors(struct kunit *test);
void lmtest_expect_waiting(struct kunit *test, struct worker *w);
void lmtest_unlock_elsewhere(struct kunit *test, struct lockmap_entry *entry);
void lmtest_batch_unlock_elsewhere(struct kunit *test, struct lockmap_batch *batch);

/* For the thread. */

void lmtest_wait_at_gate(struct worker *w);
bool lmtest_must_stop(const struct worker *w);
void lmtest_about_to_wait(struct worker *w);

#endif /* _LOCKMAP_TESTS_WORKER_H */
