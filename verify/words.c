// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What the functions of word.c make of a word, for all words there are: for CBMC,
 * which takes the locking of one task at a time.
 */
#define VERIFY_THREADS
#include "shim.h"
#include "core/word.c"

u64 nondet_u64(void);
#define check(cond, why)	__CPROVER_assert(cond, why)

#define FLAGS	(LM_LOCKED | LM_WAITERS | LM_HANDOFF | LM_VALUE | LM_DEAD | LM_IDLE | \
		 LM_REFERENCED | LM_WOKEN)

int main(void)
{
	u64 old = nondet_u64(), set = nondet_u64(), owner = nondet_u64(), new;
	struct lm_lock lock = { .word.v = old };

	__CPROVER_assume(set == LM_VALUE || set == LM_IDLE);
	__CPROVER_assume(!(owner & ~LM_OWNER));

	check((FLAGS ^ LM_OWNER ^ LM_VERSION) == ~0ULL, "each bit has one meaning");

	new = lm_word_unlocked(old, set);
	check(!(new & (LM_LOCKED | LM_OWNER)), "an unlocked word has no owner");
	check((new & LM_VALUE) == (set & LM_VALUE), "VALUE is what the unlock says");
	check((new & (LM_WAITERS | LM_HANDOFF | LM_WOKEN | LM_DEAD)) ==
	      (old & (LM_WAITERS | LM_HANDOFF | LM_WOKEN | LM_DEAD)),
	      "an unlock leaves these alone");
	check(!!(new & LM_IDLE) == !!((old | set) & LM_IDLE), "IDLE stays, or is set");
	check(!!(new & LM_REFERENCED) == (!!(old & LM_REFERENCED) || (old & set & LM_IDLE)),
	      "REFERENCED if it was IDLE before");
	check((u32)(new >> 32) == (u32)((old >> 32) + 1), "an unlock moves the version by one");

	new = lm_word_dead(old);
	check((u32)new == LM_DEAD, "a dead word has no other flag, and no owner");
	check((u32)(new >> 32) == (u32)((old >> 32) + 1), "a death moves the version by one");

	if (lm_acquire(&lock, old, owner)) {
		check(!(old & (LM_LOCKED | LM_DEAD)), "only what is free and alive can be locked");
		check(lock.word.v == (old | LM_LOCKED | owner), "only LOCKED and the owner are set");
		check((old & LM_OWNER) || (lock.word.v & LM_OWNER) == owner,
		      "the owner is the caller");
	} else {
		check(lock.word.v == old, "a word that was not locked is as it was");
	}

	lock.word.v = old;
	if (lm_unlock_fast(&lock, set)) {
		check(!(old & (LM_WAITERS | LM_HANDOFF)), "no task waits after a fast unlock");
		check(set != LM_IDLE || (old & LM_IDLE), "a fast unlock has nothing for the ring");
		check(lock.word.v == lm_word_unlocked(old, set), "a fast unlock is an unlock");
	} else {
		check(lock.word.v == old, "an unlock that is left to the slow path changes nothing");
	}
	return 0;
}
