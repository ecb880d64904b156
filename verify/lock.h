/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What the models of the lock have in common: tasks that use keys, and what must always hold. */
#ifndef _VERIFY_LOCK_H
#define _VERIFY_LOCK_H

#include "keys.h"

/* No row has more waiters than a crowd and all tasks. */
#define MAX_ROW		(LM_SERVE_MOST + MAX_TASKS)

/* The task in the critical section. */
static struct task_struct *holder[NR_KEYS] __world;
/* The tasks that share the key. */
static u8 sharers[NR_KEYS] __world;
/* By task, from 1: the key that it is about to get, from 1. */
static u8 wants[MAX_TASKS + 1] __world;

/* RCU keeps the memory of a word that has died. */
void ex_access(const volatile void *where)
{
	size_t i;

	for (i = 0; i < NR_KEYS; i++)
		ex_assert(where != &entries[i].lock.word || current->rcu ||
			  !(entries[i].lock.word.v & LM_DEAD),
			  "touches a word that died, without RCU");
}

const char *ex_name(const void *where)
{
	static const char *const names[] = { "key A", "key B", "key C" };
	size_t i;

	for (i = 0; i < NR_KEYS; i++) {
		if (where == &entries[i].lock.word)
			return names[i];
	}
	return NULL;
}

void rcu_read_lock(void)
{
	current->rcu++;
}

void rcu_read_unlock(void)
{
	current->rcu--;
}

static void init_buckets(bool own_buckets)
{
	unsigned int i;

	init_keys(own_buckets);
	for (i = 0; i < NR_KEYS; i++) {
		ex_register(&buckets[i].lock.sync);
		ex_register(&entries[i].lock.word.sync);
	}
}

static void init(void)
{
	init_buckets(false);
}

static void enter(unsigned int l)
{
	ex_assert(!holder[l] && !sharers[l], "two tasks hold one key");
	holder[l] = current;
	ex_write(l);
	if (!l)
		ex_see_readers();
}

/* A task may read while others do, and what it read is that of the last that wrote. */
static void enter_shared(unsigned int l)
{
	ex_assert(!holder[l], "one task holds a key that another one shares");
	sharers[l]++;
	ex_read(l);
	if (!l)
		ex_note_reader();
}

/* The last read, and then the unlock. */
static void leave_shared(unsigned int l)
{
	ex_assert(sharers[l] && !holder[l], "one task holds a key that another one shares");
	ex_read(l);
	if (!l)
		ex_note_reader();
	sharers[l]--;
	lm_unlock_shared(&entries[l]);
}

static void leave(unsigned int l)
{
	ex_assert(holder[l] == current, "two tasks hold one key");
	ex_write(l);
	holder[l] = NULL;
	lm_unlock(&entries[l]);
}

static int want(unsigned int l, const struct lm_wait_mode *mode)
{
	int err;

	wants[current->pid] = l + 1;
	note_want();
	err = lock_key(l, mode);
	wants[current->pid] = 0;
	return err;
}

static bool use(unsigned int l, const struct lm_wait_mode *mode)
{
	if (want(l, mode))
		return false;
	enter(l);
	ex_step("in the critical section");
	leave(l);
	return true;
}

static void must_use(unsigned int l)
{
	ex_assert(use(l, &lm_wait_forever), "did not get the key");
}

static void once(void)
{
	must_use(0);
}

/* At the end no task has left anything behind. */
static void end(void)
{
	unsigned int i;

	for (i = 0; i < NR_SLEEPER_BUCKETS; i++)
		ex_assert(!lm_sleepers[i].sleepers.first, "a task is left in the table");
	for (i = 0; i < NR_KEYS; i++) {
		ex_assert(list_empty(&buckets[i].heads), "a waiter is left in a row");
		ex_assert(!(entries[i].lock.word.v & ~(LM_VERSION | LM_VALUE | LM_DEAD)),
			  "a flag is left in a word");
	}
}

/* A head, and the row behind it: what the bits say about them. */
static void check_row(const struct lm_waiter *head, u64 word)
{
	const struct lm_waiter *waiter;
	const struct list_head *node;
	unsigned int nr = 0;

	ex_assert(head->head, "the first waiter is not the head");
	ex_assert(head->result == LM_WAITING, "the head, though its wait is over");
	ex_assert(head->task || (word & LM_HANDOFF), "a request is the head without HANDOFF");
	ex_assert(head->task || lm_word_held(word), "the lock is free for a request, and not its");
	ex_assert(head->woken == !!(word & LM_WOKEN), "WOKEN is wrong");
	for (node = head->row.next; node != &head->row && nr < MAX_ROW; node = node->next, nr++) {
		waiter = container_of(node, struct lm_waiter, row);
		ex_assert(waiter->lock == head->lock, "in the row of another lock");
		ex_assert(!waiter->head, "a second head");
		ex_assert(!waiter->woken, "woken, but not the head");
		ex_assert(waiter->result == LM_WAITING, "in the row, though its wait is over");
	}
	ex_assert(nr < MAX_ROW, "a row that leads nowhere");
}

/* What is to hold of a word at any time. */
static void check_word(u64 word)
{
	ex_assert(!(word & LM_SHARED) || !(word & (LM_LOCKED | LM_DEAD)),
		  "SHARED, and LOCKED or DEAD");
	ex_assert(!(word & LM_SHARED) || (word & LM_OWNER), "shared by none");
	ex_assert(lm_word_held(word) || !(word & LM_OWNER), "the owner of a free lock");
}

/* What the flags say, whenever the bucket is not being changed. */
static void flags(void)
{
	const struct lm_bucket *bucket;
	const struct lm_waiter *waiter;
	const struct list_head *node;
	unsigned int i, heads;
	u64 word;

	for (i = 0; i < NR_KEYS; i++) {
		bucket = lm_bucket(&entries[i].lock);
		if (bucket->lock.holder)
			continue;
		heads = 0;
		word = entries[i].lock.word.v;
		check_word(word);
		for (node = bucket->heads.next; node != &bucket->heads; node = node->next) {
			waiter = container_of(node, struct lm_waiter, turnstile);
			if (waiter->lock != &entries[i].lock)
				continue;
			heads++;
			check_row(waiter, word);
		}
		ex_assert(heads <= 1, "two heads of one lock");
		ex_assert(heads == !!(word & LM_WAITERS), "WAITERS is wrong");
		ex_assert(heads || !(word & LM_WOKEN), "WOKEN without a waiter");
		ex_assert(heads || !(word & LM_HANDOFF), "HANDOFF without a waiter");
	}
}

#define LOCK_MODEL(n, w, ...)	{ .name = n, .what = w, .init = init, .always = flags, \
				  .end = end, __VA_ARGS__ }

#endif /* _VERIFY_LOCK_H */
