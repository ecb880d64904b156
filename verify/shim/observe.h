/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * In the place of core/observe.c. Of all that it does, models only look at how waits
 * end.
 */
#ifndef _VERIFY_OBSERVE_H
#define _VERIFY_OBSERVE_H

#include "core/types.h"

#define lm_lockdep_init(new)			do { } while (0)
#define lm_lockdep_acquire(entry, mode, ip)	do { } while (0)
#define lm_lockdep_release(entry, ip)		do { } while (0)
#define lm_lockdep_wait(key, entry)		do { } while (0)
#define lm_note_reclaimed(entry)		do { } while (0)
#define lm_note_contended(key, entry)		do { } while (0)
#define lm_note_wait_begin()			0
#define lm_report_refusal(key)			do { } while (0)
#define lm_refuse_own(key)			(-EDEADLK)

static inline void lm_note_wait(const struct lm_key *key, struct lockmap_entry *entry,
				const struct lm_waiter *waiter, int err)
{
	ex_assert(hlist_unhashed(&waiter->sleeper_node), "still in the table of sleepers");
	ex_assert(list_empty(&waiter->wait.entry), "still on the queue");
}

#endif /* _VERIFY_OBSERVE_H */
