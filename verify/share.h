/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What models of shared locks have in common: tasks that read what others write. */
#ifndef _VERIFY_SHARE_H
#define _VERIFY_SHARE_H

#include "lock.h"
#include "core/shared.c"

static const struct lm_wait_mode lm_share_timed = {
	.state = TASK_UNINTERRUPTIBLE, .timed = true, .deadline = 1, .shared = true,
};

/* By task: it has been in, or has tried to get in. */
static u8 was_in[MAX_TASKS] __world;

/* Comes to an end only if another task makes it. */
static void until(u8 *flag)
{
	while (!READ_ONCE(*flag))
		;
}

static void mark_in(void)
{
	WRITE_ONCE(was_in[current - tasks], 1);
}

static bool share(const struct lm_wait_mode *mode)
{
	if (want(0, mode))
		return false;
	enter_shared(0);
	return true;
}

static void must_share(void)
{
	ex_assert(share(&lm_share_forever), "does not share the key");
}

static void write_once(void)
{
	must_use(0);
}

static void read_once(void)
{
	must_share();
	ex_step("shares the key");
	leave_shared(0);
}

static void read_timed(void)
{
	if (!share(&lm_share_timed))
		return;
	ex_step("shares the key");
	leave_shared(0);
}

static void read_and_mark(void)
{
	must_share();
	mark_in();
	leave_shared(0);
}

/* Stays until the third task has got in as well. */
static void read_until_3(void)
{
	must_share();
	mark_in();
	until(&was_in[2]);
	leave_shared(0);
}

/* From now on the caller shares what it held. */
static void enter_downgraded(unsigned int l)
{
	ex_assert(holder[l] == current && !sharers[l], "two tasks hold one key");
	ex_write(l);
	holder[l] = NULL;
	sharers[l]++;
	lockmap_downgrade(&entries[l]);
	ex_assert(!holder[l], "another task holds what was downgraded");
	ex_read(l);
	if (!l)
		ex_note_reader();
}

static void lock_and_downgrade(void)
{
	ex_assert(!want(0, &lm_wait_forever), "did not get the key");
	enter(0);
	ex_step("in the critical section");
	enter_downgraded(0);
}

static void downgrade(void)
{
	lock_and_downgrade();
	leave_shared(0);
}

#endif /* _VERIFY_SHARE_H */
