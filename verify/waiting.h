/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What lm_turnstiles_init() and lm_sleepers_init() allocate in the kernel: a few
 * buckets for waiters, and one for sleepers, so that all of them meet there.
 */
#ifndef _VERIFY_WAITING_H
#define _VERIFY_WAITING_H

#define MAX_BUCKETS	3

static struct lm_bucket buckets[MAX_BUCKETS] __world;
static struct {
	struct lm_sleeper_table table;
	struct lm_sleeper_bucket bucket[1];
} sleepers __world;

/* For ever, unless a model is about cycles: tasks that look for them make for many states. */
long ex_patience = MAX_SCHEDULE_TIMEOUT;

static inline void init_waiting(void)
{
	unsigned int i;

	static_assert(offsetof(struct lm_sleeper_table, bucket) == sizeof(struct lm_sleeper_table));
	lm_buckets = buckets;
	lm_bucket_bits = 1;
	lm_sleepers = &sleepers.table;
	for (i = 0; i < MAX_BUCKETS; i++)
		INIT_LIST_HEAD(&buckets[i].wq.head);
}

#endif /* _VERIFY_WAITING_H */
