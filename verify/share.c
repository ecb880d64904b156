// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Models of a lock that is shared: readers, writers, downgrades and upgrades, with
 * the same rooms as in lock.c.
 */
#include "shim.h"
#include "core/word.c"
#include "core/key.c"
#include "observe.h"

#define lm_note_refusal()	false
#define lm_note_link(waiter)	((void)(waiter), false)
#define note_want()		do { } while (0)

#include "share.h"

static const struct lm_wait_mode lm_wait_impatient = {
	.state = TASK_INTERRUPTIBLE, .timed = true, .deadline = 1,
};

static void write_twice(void)
{
	write_once();
	write_once();
}

static void write_impatient(void)
{
	use(0, &lm_wait_impatient);
}

static void write_interruptible(void)
{
	use(0, &lm_wait_interruptible);
}

static void read_twice(void)
{
	read_once();
	read_once();
}

static void read_write(void)
{
	read_once();
	write_once();
}

static void read_until_2(void)
{
	must_share();
	mark_in();
	until(&was_in[1]);
	leave_shared(0);
}

static void read_until_1(void)
{
	must_share();
	mark_in();
	until(&was_in[0]);
	leave_shared(0);
}

/* Waits until a writer waits for what is shared, and does not get in before it. */
static void try_behind_writer(void)
{
	bool in;

	while (!(READ_ONCE(entries[0].lock.word.v) & LM_WAITERS))
		;
	in = share(&lm_share_never);
	ex_assert(!in, "shares a key that a writer has waited for");
	mark_in();
}

/* Those who wait to share the key get in while the task shares it. */
static void downgrade_until_2_3(void)
{
	lock_and_downgrade();
	until(&was_in[1]);
	until(&was_in[2]);
	leave_shared(0);
}

static bool upgrade(void)
{
	must_share();
	sharers[0]--;
	if (!lockmap_try_upgrade(&entries[0])) {
		sharers[0]++;
		leave_shared(0);
		return false;
	}
	enter(0);
	ex_step("in the critical section");
	return true;
}

static void upgrade_unlock(void)
{
	if (upgrade())
		leave(0);
}

static void upgrade_downgrade(void)
{
	if (!upgrade())
		return;
	enter_downgraded(0);
	leave_shared(0);
}

static void init_signals(void)
{
	int i;

	init();
	for (i = 0; i < MAX_TASKS; i++)
		tasks[i].may_get_signal = true;
}

/* The first task shares the key. */
static void init_shared(void)
{
	init();
	entries[0].lock.word.v = LM_SHARED | LM_SHARE_ONE | LM_VALUE;
	sharers[0] = 1;
}

static void shared_until_3(void)
{
	until(&was_in[2]);
	leave_shared(0);
}

/* The first task holds the key, and is the only one that writes. */
static void init_held(void)
{
	init();
	entries[0].lock.word.v = LM_LOCKED | 1 << LM_OWNER_SHIFT;
	holder[0] = &tasks[0];
}

static void unlock_held(void)
{
	leave(0);
}

/* Unlocks, and is faster than the reader that this has woken. */
static void unlock_and_take(void)
{
	leave(0);
	use(0, &lm_wait_never);
}

/* As many share the key as can; the first task unlocks for two of them. */
static void init_full(void)
{
	init();
	entries[0].lock.word.v = LM_SHARED | LM_SHARE_MOST | LM_VALUE;
	sharers[0] = 2;
}

static void unshare_twice(void)
{
	leave_shared(0);
	leave_shared(0);
}

static void end_full(void)
{
	u64 left = LM_SHARE_MOST - 2 * LM_SHARE_ONE;

	ex_assert(entries[0].lock.word.v == (LM_SHARED | LM_VALUE | left),
		  "the number of sharers is wrong");
	entries[0].lock.word.v = LM_VALUE;
	end();
}

const struct model models[] = {
	LOCK_MODEL("share-two", "a reader and a writer, twice each",
		   .body = { read_twice, write_twice }),
	LOCK_MODEL("share-three", "two readers and a writer, twice each",
		   .body = { read_twice, read_twice, write_twice }),
	LOCK_MODEL("share-four", "two readers and two writers",
		   .body = { read_once, read_once, write_once, write_once }),
	LOCK_MODEL("share-readers", "three readers behind a writer",
		   .body = { write_once, read_once, read_once, read_once }),
	LOCK_MODEL("share-together", "two readers get in together, also behind a writer",
		   .body = { read_until_2, read_until_1 }),
	LOCK_MODEL("share-served", "a reader behind another one, which stays until both are in",
		   .init = init_held, .body = { unlock_held, read_until_3, read_and_mark }),
	LOCK_MODEL("share-handed", "the same, where the first of them is handed the lock",
		   .init = init_held, .body = { unlock_and_take, read_until_3, read_and_mark }),
	LOCK_MODEL("share-behind", "a reader behind a writer that leaves", .init = init_signals,
		   .body = { read_until_3, write_impatient, read_and_mark }),
	LOCK_MODEL("share-leave", "writers and readers that leave", .init = init_signals,
		   .body = { read_once, write_interruptible, read_timed, read_once }),
	LOCK_MODEL("share-turn", "no reader overtakes a writer that waits", .init = init_shared,
		   .body = { shared_until_3, write_once, try_behind_writer }),
	LOCK_MODEL("share-hand-off", "a writer is handed what others keep taking",
		   .body = { write_twice, read_twice, write_once }),
	LOCK_MODEL("share-mixed", "tasks that read, then write",
		   .body = { read_write, read_write, read_once }),
	LOCK_MODEL("downgrade", "a downgrade between readers and writers",
		   .body = { downgrade, read_once, write_once }),
	LOCK_MODEL("downgrade-lets-in", "a downgrade lets those in who wait to share",
		   .body = { downgrade_until_2_3, read_and_mark, read_and_mark }),
	LOCK_MODEL("downgrade-row", "two downgrades, and a reader that leaves",
		   .body = { downgrade, downgrade, read_timed }),
	LOCK_MODEL("upgrade", "two readers that try to write, and a writer",
		   .body = { upgrade_unlock, upgrade_downgrade, write_once }),
	LOCK_MODEL("upgrade-readers", "the same with a reader in the place of the writer",
		   .body = { upgrade_unlock, upgrade_downgrade, read_once }),
	LOCK_MODEL("share-full", "as many share the key as can, and two more want to",
		   .init = init_full, .body = { unshare_twice, read_once, read_once },
		   .end = end_full),
	LOCK_MODEL("share-full-writer", "the same, with one that leaves", .init = init_full,
		   .body = { unshare_twice, read_once, read_timed }, .end = end_full),
};

const int nr_models = ARRAY_SIZE(models);
