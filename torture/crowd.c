// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The crowd: as many tasks as one likes wait for a few keys, in all ways; many are
 * sent away by signals and timeouts, and some have a request wait in their place
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "torture.h"

#define LMT_CROWD_KEYS	3	/* keys of a phase */

static struct lmt_map *lmt_crowd_map(void)
{
	struct lmt_map *m = lmt_maps;

	while (!m->map)
		m++;
	return m;
}

/* One key, held for no longer than it takes to look at it: thousands are waiting. */
static void lmt_crowd_lock(struct lmt_actor *a)
{
	struct lmt_hold h = { .m = lmt_crowd_map() };
	struct lmt_value *v;

	h.index = (lmt_phase.first_key + lmt_rnd(a) % LMT_CROWD_KEYS) % h.m->keys;
	if (!lmt_hold(a, &h, lmt_one_in(a, 2), lmt_pick_wait_mode(a), false))
		return;
	v = h.entry ? lockmap_entry_value(h.entry) : NULL;
	if (v)
		lmt_value_write(a, h.m, h.index, v, h.m->shadow[h.index].balance);
	if (lmt_one_in(a, 4))
		lmt_change_hold(a, &h);
	if (lmt_one_in(a, 4))
		schedule();
	lmt_let_go(a, &h);
}

int lmt_crowd_fn(void *arg)
{
	struct lmt_actor *a = arg;

	allow_signal(SIGINT);
	allow_signal(SIGKILL);
	while (lmt_wait_for_phase(a)) {
		if (lmt_one_in(a, 4))
			lmt_request(a);
		else
			lmt_crowd_lock(a);
		a->ops[0]++;
		if (signal_pending(current))
			flush_signals(current);
		cond_resched();
	}
	return 0;
}
