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
/* What is about waiters, and no business of holders. */
#define OF_ROW	(LM_WAITERS | LM_HANDOFF | LM_WOKEN)
#define UNUSED	BIT_ULL(31)

/* Holders are of one kind, or there is none; and the owner field is about them. */
static bool sound(u64 word)
{
	if (word & LM_SHARED)
		return !(word & (LM_LOCKED | LM_DEAD)) && (word & LM_OWNER);
	if (word & LM_LOCKED)
		return !(word & LM_DEAD);
	return !(word & LM_OWNER);
}

static u32 version(u64 word)
{
	return word >> 32;
}

static u64 count(u64 word)
{
	return (word & LM_OWNER) >> LM_OWNER_SHIFT;
}

/* Whether words differ in these bits only. */
static bool only(u64 a, u64 b, u64 bits)
{
	return !((a ^ b) & ~bits);
}

static void check_meaning(u64 word)
{
	check((FLAGS ^ LM_OWNER ^ LM_SHARED ^ UNUSED ^ LM_VERSION) == ~0ULL,
	      "each bit has one meaning");
	check(lm_word_held(word) == !!(word & (LM_LOCKED | LM_SHARED)), "held is either way");
	check(!lm_word_free(word) || !(lm_word_held(word) || (word & LM_DEAD)),
	      "free is not held, and alive");
	check(!lm_word_owner(word) || (word & LM_LOCKED), "sharers are no owner");
	check(!lm_word_sharers(word) || (word & LM_SHARED), "an owner is no sharer");
	check(!lm_word_may_join(word) || (word & LM_SHARED), "only sharers are joined");
}

/* An exclusive holder unlocks. */
static void check_unlocked(u64 old, u64 set)
{
	u64 new = lm_word_unlocked(old, set);

	check(!(new & (LM_LOCKED | LM_OWNER)), "an unlocked word has no owner");
	check((new & LM_VALUE) == (set & LM_VALUE), "VALUE is what the unlock says");
	check((new & (OF_ROW | LM_DEAD | LM_SHARED | UNUSED)) ==
	      (old & (OF_ROW | LM_DEAD | LM_SHARED | UNUSED)), "an unlock leaves these alone");
	check(!!(new & LM_IDLE) == !!((old | set) & LM_IDLE), "IDLE stays, or is set");
	check(!!(new & LM_REFERENCED) == (!!(old & LM_REFERENCED) || (old & set & LM_IDLE)),
	      "REFERENCED if it was IDLE before");
	check(version(new) == version(old) + 1, "an unlock moves the version by one");
}

/* One that shares the key does, goes on to share it, or joins. */
static void check_shared(u64 old, u64 set)
{
	u64 new;

	if (sound(old) && (old & LM_SHARED)) {
		new = lm_word_unshared(old, set);
		check(sound(new), "an unshared word is sound");
		check(version(new) == version(old), "an unshare keeps the version");
		check((new & (OF_ROW | UNUSED)) == (old & (OF_ROW | UNUSED)),
		      "an unshare leaves these alone");
		check(count(new) == count(old) - 1, "an unshare takes one away");
		check(!!(new & LM_SHARED) == !lm_word_one_holder(old),
		      "the last one frees the key");
		check((new & LM_SHARED) ? only(old, new, LM_OWNER) :
		      !!(new & LM_IDLE) == !!((old | set) & LM_IDLE), "the last one sets IDLE");
		check(!(old & LM_VALUE) == !(set & LM_VALUE) || !(set & LM_IDLE) ||
		      (new & LM_VALUE) == (old & LM_VALUE), "an unshare takes no value away");
	}
	if (sound(old) && (old & LM_LOCKED)) {
		new = lm_word_downgraded(old, set);
		check(sound(new) && count(new) == 1, "a downgrade leaves one that shares");
		check(version(new) == version(old) + 1, "a downgrade moves the version by one");
		check((new & LM_VALUE) == (set & LM_VALUE), "VALUE is what the downgrade says");
		check(only(old, new, LM_LOCKED | LM_SHARED | LM_OWNER | LM_VALUE | LM_VERSION),
		      "a downgrade leaves the rest alone");
	}
	if (sound(old) && (lm_word_free(old) || lm_word_may_join(old))) {
		new = lm_word_shared(old);
		check(sound(new) && count(new) == count(old) + 1, "one more shares");
		check(only(old, new, LM_SHARED | LM_OWNER), "a sharer leaves the rest alone");
		check(lm_word_sharers(new) == count(new), "sharers are counted");
	}
}

static void check_dead(u64 old)
{
	u64 new = lm_word_dead(old);

	check((u32)new == LM_DEAD, "a dead word has no other flag, and no owner");
	check(version(new) == version(old) + 1, "a death moves the version by one");
}

static void check_acquire(u64 old, u64 owner)
{
	struct lm_lock lock = { .word.v = old };

	if (lm_acquire(&lock, old, owner)) {
		check(!(old & (LM_LOCKED | LM_SHARED | LM_DEAD)),
		      "only what is free and alive can be locked");
		check(lock.word.v == (old | LM_LOCKED | owner), "LOCKED and the owner are set");
		check((old & LM_OWNER) || (lock.word.v & LM_OWNER) == owner,
		      "the owner is the caller");
	} else {
		check(lock.word.v == old, "a word that was not locked is as it was");
	}

	lock.word.v = old;
	if (lm_acquire_shared(&lock, old)) {
		check(!sound(old) || !(old & (LM_LOCKED | LM_DEAD)),
		      "only what is shared or free can be shared");
		check(!(old & LM_SHARED) || !(old & LM_WAITERS),
		      "nobody joins past those who wait");
		check(!(old & LM_SHARED) || count(old) != count(LM_SHARE_MOST),
		      "as many share as fit");
		check(lock.word.v == lm_word_shared(old), "one more shares the key");
	} else {
		check(lock.word.v == old, "a word that was not shared is as it was");
	}

	lock.word.v = old;
	if (lm_upgrade(&lock, owner)) {
		check((old & LM_SHARED) && count(old) == 1, "only one that shares alone upgrades");
		check(only(old, lock.word.v, LM_LOCKED | LM_SHARED | LM_OWNER),
		      "an upgrade leaves the rest alone");
		check((lock.word.v & LM_LOCKED) && !(lock.word.v & LM_SHARED) &&
		      (lock.word.v & LM_OWNER) == owner, "the one that upgrades is the owner");
	} else {
		check(lock.word.v == old, "a word that was not upgraded is as it was");
	}
}

static void check_fast(u64 old, u64 set)
{
	struct lm_lock lock = { .word.v = old };

	if (lm_unlock_fast(&lock, set)) {
		check(!(old & (LM_WAITERS | LM_HANDOFF)), "no task waits after a fast unlock");
		check(set != LM_IDLE || (old & LM_IDLE), "a fast unlock has nothing for the ring");
		check(lock.word.v == lm_word_unlocked(old, set), "a fast unlock is an unlock");
	} else {
		check(lock.word.v == old, "a failed fast unlock changes nothing");
	}

	lock.word.v = old;
	if (lm_unlock_shared_fast(&lock, set)) {
		check(!(old & (LM_WAITERS | LM_HANDOFF)), "no task waits after a fast unshare");
		check(set != LM_IDLE || (old & LM_IDLE), "a fast unshare has nothing for the ring");
		check(lock.word.v == lm_word_unshared(old, set), "a fast unshare is an unshare");
	} else {
		check(lock.word.v == old, "a failed fast unshare changes nothing");
	}
}

int main(void)
{
	u64 old = nondet_u64(), set = nondet_u64(), owner = nondet_u64();

	__CPROVER_assume(set == LM_VALUE || set == LM_IDLE);
	__CPROVER_assume(!(owner & ~LM_OWNER));
	check_meaning(old);
	check_unlocked(old, set);
	check_shared(old, set);
	check_dead(old);
	check_acquire(old, owner);
	check_fast(old, set);
	return 0;
}
