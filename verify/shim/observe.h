/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * In the place of core/observe.c and core/misuse.c. Of all that they do, models only
 * look at how waits end, and at what lm_note_refusal() and lm_note_link() are told:
 * each model says what these are.
 */
#ifndef _VERIFY_OBSERVE_H
#define _VERIFY_OBSERVE_H

#include "core/types.h"

#define lm_lockdep_init_entry(new)		do { } while (0)
#define lm_lockdep_may_lock(map)		do { } while (0)
#define lm_lockdep_may_lock_any(map)		do { } while (0)
#define lm_lockdep_may_lock_key(map, data, len, whom)	((void)(whom))
#define lm_lockdep_may_alloc(map)		do { } while (0)
#define lm_lockdep_acquire(entry, mode, ip)	do { } while (0)
#define lm_lockdep_release(entry, ip)		do { } while (0)
#define lm_lockdep_release_shared(entry, ip)	do { } while (0)
#define lm_lockdep_downgrade(entry, ip)		do { } while (0)
#define lm_lockdep_upgrade(entry, ip)		do { } while (0)
#define lm_note_reclaimed(entry)		do { } while (0)
#define lm_note_contended(key, entry)		do { } while (0)
#define lm_note_wait_begin()			0
#define lm_note_closed()			do { } while (0)
#define lm_report_refusal(key, err)		do { } while (0)
#define lm_refuse_own(key)			(-EDEADLK)
#define lm_debug_own(entry)			do { } while (0)
#define lm_debug_owns(entry)			true
#define lm_misused(entry, call)			false
#define lm_misused_by_any(entry, call)		false
#define lm_misused_key(entry)			false
#define lm_misused_shared(entry, call)		false
#define lm_misused_unlock_shared(entry)		false
#define lm_misused_unlock(entry)		false
#define lm_check_owner_lives(waiter)		do { } while (0)

static inline void lm_note_wait(const struct lm_key *key, struct lockmap_entry *entry,
				const struct lm_sleeper *sleeper, int err)
{
	const struct lm_waiter *waiter = &sleeper->waiter;

	ex_assert(hlist_unhashed(&sleeper->node), "still in the table of sleepers");
	ex_assert(list_empty(&waiter->turnstile), "still on the list of heads");
	ex_assert(list_empty(&waiter->row), "still in the row");
	ex_assert(!waiter->head, "still the head");
}

#endif /* _VERIFY_OBSERVE_H */
