# SPDX-License-Identifier: GPL-2.0 OR MIT
# Mistakes that a model must find: sourced by tools/verify.
# usage: twin PROGRAM MODEL FILE "WHAT IS WRONG" "WHAT THE COUNTEREXAMPLE ENDS WITH" SED-SCRIPT...
# shellcheck shell=bash disable=SC2016

gone='nobody can go on'
two='two tasks have one'
race='a data race'

# The lock
twin lock two lockmap_lock.h "the lock is taken while held" "$two|$race" \
	's/!(old & (LM_LOCKED | LM_DEAD)) &&/!(old \& LM_DEAD) \&\&/'
twin lock three lockmap_lock.h "the fast unlock overlooks waiters" "WAITERS is wrong|$gone" \
	'/^static .* lm_unlock_fast(/,/^}/s/(old & (LM_WAITERS | LM_HANDOFF)) ||/(old \& LM_HANDOFF) ||/'
twin lock two lockmap_lock.h "(B) the fast unlock releases nothing" "$race" \
	'/^static .* lm_unlock_fast(/,/^}/s/try_cmpxchg_release/try_cmpxchg_relaxed/'
twin lock three lockmap_lock.h "(B) the slow unlock releases nothing" "$race" \
	'/^static .* lm_unlock_slow(/,/^}/s/try_cmpxchg_release/try_cmpxchg_relaxed/'
twin lock two lockmap_lock.h "(B) taking the lock acquires nothing" "$race" \
	'/^static .* lm_acquire(/,/^}/s/try_cmpxchg(/try_cmpxchg_relaxed(/'
twin lock two lockmap_lock.h "an unlock wakes nobody" "$gone" \
	's/(old & LM_HANDOFF) || !(old & LM_WOKEN)/old \& LM_HANDOFF/'
twin lock two lockmap_lock.h "a woken waiter stays asleep" "$gone" \
	'/wake_up_process(waiter->wait.private);/{x;s/^/x/;/^x$/{x;d};x}'
twin lock three lockmap_lock.h "(D) WOKEN is cleared after the look at the lock" "$gone|circles" \
	's/bool lost = lm_clear_woken(waiter);/bool lost;/' \
	's/old = lost ? lm_ask/lost = lm_clear_woken(waiter);\n\t\t&/'
twin map map-wait lockmap_lock.h "a waiter tries once, and sleeps for a free lock" "$gone" \
	'/^static .* lm_acquire_queued(/,/^}/s/} while (!\(atomic64_try_cmpxchg.*\));/} while (0);\n\tif (!\1)\n\t\treturn false;/'
twin lock timeouts lockmap_lock.h "who leaves keeps the wakeup" "$gone" \
	'/^static .* lm_leave(/,/^}/{/if (waiter->woken)/d;/lm_wake_locked/d}'
twin lock signal lockmap_lock.h "who leaves keeps the wakeup" "$gone" \
	'/^static .* lm_leave(/,/^}/{/if (waiter->woken)/d;/lm_wake_locked/d}'
twin lock timeouts lockmap_lock.h "an unlock hands over to a waiter that has left" "$gone|a flag" \
	'/^static .* lm_unlock_slow(/,/^}/s/if (lm_unlock_hand_off(lock, wq, set))/if (lm_unlock_hand_off(lock, wq, set) || true)/'
twin lock timeouts lockmap_lock.h "who leaves overlooks that it was granted the lock" "$gone|a flag" \
	'/^static .* lm_leave(/,/^}/s/return waiter->result != LM_GRANTED;/return true;/'
twin lock timeouts lockmap_lock.h "who leaves forgets HANDOFF in the word" "HANDOFF to nobody|$gone|circles" \
	'/^static .* lm_dequeue(/,/^}/s/gone |= LM_HANDOFF | LM_WAITERS;/gone |= LM_WAITERS;/'
twin lock three lockmap_lock.h "a hand-off names no new owner's queue" "WAITERS is wrong|$gone" \
	'/^static .* lm_dequeue(/,/^}/s/gone |= LM_HANDOFF | LM_WAITERS;/gone |= LM_HANDOFF;/'
twin lock three lockmap_lock.h "a hand-off frees the lock in between" "$two|$race" \
	'/^static .* lm_grant(/,/^}/s/new = (old & ~(LM_OWNER | LM_VALUE))/new = (old \& ~(LM_LOCKED | LM_OWNER | LM_VALUE))/'
twin lock shared lockmap_lock.h "the first on the queue is woken, whatever it waits for" "$gone|WOKEN" \
	'/^static .* lm_wake_function(/,/^}/{/if (waiter->lock != wakeup->lock)/d;/return 0;/d}'
twin lock retire lockmap_lock.h "who waits for a word that dies is forgotten" "$gone|WAITERS" \
	's/while ((waiter = lm_first_waiter(wq, lock)))/while ((waiter = NULL))/'

# Circles
twin lock abba lockmap_deadlock.h "only the owner is looked at, not what it waits for" "$gone" \
	's/next = lm_blocked_owner(next->lock);/next = NULL;/'
twin lock circle lockmap_deadlock.h "the check and the entry are two sections" "$gone" \
	's/^\t\thash_add(/\t\tspin_unlock(\&lm_blocked_lock);\n\t\tspin_lock(\&lm_blocked_lock);\n&/'
twin lock order lockmap_deadlock.h "who meets any sleeper is refused" "refused" \
	's/(atomic64_read(&next->lock->word) & LM_OWNER) == waiter->self/next != waiter/'
twin lock abba lockmap_deadlock.h "one that just took the lock is followed to the lock it took" "circles|refused|did not get|$gone" \
	's/return waiter && waiter->lock != lock ? waiter : NULL;/return waiter;/'
twin lock abba lockmap_lock.h "who leaves stays in the table of the blocked" "table of the blocked|memory|refused|circles|$gone" \
	'/^static .* lm_dequeue(/,/^}/s/lm_unblock(waiter);//'

# The map
twin map map-reuse lockmap.c "(C) the key is compared before the word is read" "another key" \
	'/^static .* lm_match(/,/^}/s/key->word = atomic64_read_acquire(&entry->lock.word);//' \
	'/^static .* lm_match(/,/^}/s/return !(key->word & LM_DEAD) && data_race(lm_same_key(key, entry));/bool same = lm_same_key(key, entry);\n\n\tkey->word = atomic64_read(\&entry->lock.word);\n\treturn !(key->word \& LM_DEAD) \&\& same;/'
twin map map-three lockmap.c "an entry with a waiter is buried by the unlock" "in use|has a waiter|freed" \
	'/^static bool lm_unlock_bury(/,/^}/s/(LM_WAITERS | LM_IDLE)/LM_IDLE/'
twin map map-leave lockmap.c "an entry that is in the ring is buried by the unlock" "in the ring|freed|twice" \
	'/^static bool lm_unlock_bury(/,/^}/s/(LM_WAITERS | LM_IDLE)/LM_WAITERS/'
twin map map-stale-waiter lockmap.c "the key is not compared again after queueing" "another key" \
	'/^static .* lm_sleep(/,/^}/s/if (unlikely(!lm_match(key, entry)))/if (0)/'
twin map map-read lockmap_lock.h "an unlock leaves the version as it was" "halves" \
	'/^static .* lm_unlocked(/,/^}/s/LM_VERSION_ONE/0/'
twin map map-stale-waiter lockmap_lock.h "waiters queue up for what is not locked" "in use|has a waiter|another|dead" \
	's/held = old & LM_LOCKED;/held = true;/'
twin map map-leave lockmap.c "who leaves does not bring the entry back" "is lost" \
	'/^static void lm_adopt(/,/^}/s/lm_unlock(entry);/;/' \
	'/^static void lm_adopt(/,/^}/s/lm_acquire(&entry->lock, word, lm_self())/0/'
twin map map-three lockmap.c "an entry with a waiter is buried" "in use|has a waiter|freed" \
	'/^static bool lm_ring_evict(/,/^}/s/(LM_LOCKED | LM_WAITERS | LM_VALUE)/(LM_LOCKED | LM_VALUE)/'
twin map map-three lockmap.c "an entry that is held is buried" "in use|has a waiter|freed|$two|without being LOCKED" \
	'/^static bool lm_ring_evict(/,/^}/s/(LM_LOCKED | LM_WAITERS | LM_VALUE)/LM_VALUE/'
twin map map-read-reuse lockmap.c "an entry with a value is buried" "a value is lost" \
	'/^static bool lm_ring_evict(/,/^}/s/(LM_LOCKED | LM_WAITERS | LM_VALUE)/(LM_LOCKED | LM_WAITERS)/'
twin map map-refused-wait lockmap.c "an entry that is refused leaves its waiters alone" "$gone|has a waiter|not dead|in use" \
	'/^static .*int lm_entry_publish(/,/^}/s/lm_retire(&new->lock, lm_wq(key->map, new));/atomic64_set(\&new->lock.word, lm_dead(atomic64_read(\&new->lock.word)));/'
twin map map-three lockmap.c "an unlock touches the entry without RCU" "use after free" \
	'/^static noinline void lm_unlock_tail(/,/^}/{s/rcu_read_lock();//;s/rcu_read_unlock();//;s/return/&/}' \
	'/^static noinline void lm_unlock_tail(/,/^}/s/if (set & ~old & LM_IDLE)/if (atomic64_read(\&entry->lock.word), set \& ~old \& LM_IDLE)/'
twin map map-three lockmap.c "(B) nothing is acquired from the word of the key's last entry" "$race" \
	'/^static .* lm_match(/,/^}/s/atomic64_read_acquire(/atomic64_read(/'
twin map map-read lockmap.c "a reader does not look at the word again" "halves|another" \
	'/^static .* lm_read_value(/,/^}/s/if (!lm_unchanged(key, entry))/if (0)/'
twin map map-read-reuse lockmap.c "a reader does not look at the key" "another" \
	'/^static .* lm_match(/,/^}/s/&& data_race(lm_same_key(key, entry))//'
twin map map-chain lockmap.c "a lookup takes any chain's end for its own" "not found" \
	'/^static .*lm_find(/,/^}/s/while (unlikely(node != RHT_NULLS_MARKER(bucket)))/while (0)/' \
	'/^static .*lm_find(/,/^}/s/while (unlikely(tbl))/while (0)/'

# All words
twin words words lockmap_lock.h "two flags are one bit" "each bit" \
	's/^#define LM_IDLE\t.*/#define LM_IDLE\t\tBIT_ULL(6)/' 's/^#define LM_REFERENCED.*/#define LM_REFERENCED BIT_ULL(6)/'
twin words words lockmap_lock.h "an unlock forgets HANDOFF" "leaves these alone" \
	'/^static .* lm_unlocked(/,/^}/s/~(LM_LOCKED /~(LM_LOCKED | LM_HANDOFF /'
twin words words lockmap_lock.h "a dead word can be locked" "free and alive" \
	's/!(old & (LM_LOCKED | LM_DEAD)) &&/!(old \& LM_LOCKED) \&\&/'

# Threads
twin hash hash lockmap.c "keys in a row are not scrambled" "a chain of" \
	'/^static .* lm_scramble(/,/^}/s/return .*;/return hash >> 32;/'
twin tsan tsan lockmap_lock.h "(B) the fast unlock releases nothing" "data race" \
	'/^static .* lm_unlock_fast(/,/^}/s/try_cmpxchg_release/try_cmpxchg_relaxed/'
twin tsan tsan lockmap_lock.h "the result is read before the queue's lock is taken" "data race" \
	'/^static .* lm_leave(/,/^}/s/spin_lock_irqsave(&wq->lock, flags);/old = waiter->result;\n\t&/' \
	'/^static .* lm_leave(/,/^}/s/unsigned long flags;/unsigned long flags, old;/' \
	'/^static .* lm_leave(/,/^}/s/if (waiter->result == LM_WAITING)/if (old == LM_WAITING \&\& waiter->result == LM_WAITING)/'
twin tsan tsan lockmap_lock.h "a woken waiter stays asleep" "wakeup was lost" \
	'/wake_up_process(waiter->wait.private);/{x;s/^/x/;/^x$/{x;d};x}'
