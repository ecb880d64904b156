// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What the rest of the kernel, and people, get to know: lockdep, tracepoints,
 * counters, and messages about refused waits.
 *
 * The other rooms call the functions here and know no tracepoint, no message and
 * no lockdep call themselves.
 */
#include <linux/debug_locks.h>
#include <linux/ktime.h>
#include <linux/lockdep.h>
#include <linux/math64.h>
#include <linux/percpu.h>
#include <linux/ratelimit.h>
#include <linux/sched.h>

#include "compat.h"
#include "types.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* How many tasks of a cycle a message names. */
#define LM_CYCLE_SHOWN	8
/* How long the message may become. */
#define LM_CYCLE_TEXT	640

/*
 * lockdep
 */

/*
 * Tell lockdep that all keys of a map are in order, whatever they are. It would
 * ask only for the first two keys that any task locks in some context, as it
 * remembers classes, not locks. lm_check_order() looks at every pair instead.
 */
static int __maybe_unused lm_lockdep_cmp(const struct lockdep_map *a, const struct lockdep_map *b)
{
	return -1;
}

static void lm_lockdep_init(struct lockmap_entry *new)
{
	lockdep_init_map(&new->dep_map, lm_name(new->map), &new->map->lock_key, 0);
	lock_set_cmp_fn(new, lm_lockdep_cmp, NULL);
}

/* Warn if the task already holds a key of the map that does not sort before this one. */
static void lm_check_order(struct lockmap *map, const void *data, u32 len)
{
	const struct lockmap_entry *entry;
	const struct lockdep_map *held;
	const u8 *held_data;
	unsigned int i = 0;
	u32 held_len;

	if (!IS_ENABLED(CONFIG_PROVE_LOCKING) || !debug_locks || lockdep_recursing(current) ||
	    READ_ONCE(map->disorder))
		return;
	while ((held = lm_held_lock(&i, &map->lock_key))) {
		entry = container_of(held, struct lockmap_entry, dep_map);
		held_data = lm_entry_key_rcu(map, entry, &held_len);
		if (lm_cmp(map, held_data, held_len, data, len) < 0)
			continue;
		WRITE_ONCE(map->disorder, true);
		WARN(1, "lockmap: %s: %s/%d holds a key and locks another that does not sort after it\n",
		     lm_name(map), current->comm, current->pid);
		return;
	}
}

/* Tell lockdep of a lock that the caller has just taken. */
static void lm_lockdep_acquire(struct lockmap_entry *entry, const struct lm_wait_mode *mode,
			       unsigned long ip)
{
	const u8 *data;
	u32 len;

	/* A lock that belongs to no task is none that lockdep can follow. */
	if (!IS_ENABLED(CONFIG_LOCKDEP) || !in_task())
		return;
	if (!mode->try) {
		data = lm_entry_key_rcu(entry->map, entry, &len);
		lm_check_order(entry->map, data, len);
	}
	lock_acquire_exclusive(&entry->dep_map, 0, mode->try, NULL, ip);
	entry->annotated = true;
}

static void lm_lockdep_release(struct lockmap_entry *entry, unsigned long ip)
{
	if (!IS_ENABLED(CONFIG_LOCKDEP) || !entry->annotated)
		return;
	entry->annotated = false;
	lock_release(&entry->dep_map, ip);
}

/* Tell lockdep of a wait before it begins. Waiters keep the entry what it is. */
static void lm_lockdep_wait(const struct lm_key *key, struct lockmap_entry *entry)
{
	lm_check_order(key->map, key->data, key->len);
	might_lock(entry);
}

/*
 * Tracepoints and counters
 */

static noinline void lm_trace_reclaimed(const struct lockmap_entry *entry)
{
	const u8 *data;
	u32 len;

	data = lm_entry_key_rcu(entry->map, entry, &len);
	trace_lockmap_reclaimed(entry->map, data, len);
}

/* An idle entry was evicted; it is dead, and in its table still. */
static void lm_note_reclaimed(const struct lockmap_entry *entry)
{
	if (trace_lockmap_reclaimed_enabled())
		lm_trace_reclaimed(entry);
}

/* A wait begins. Return: when, in ns, for lm_note_wait(). */
static u64 lm_note_wait_begin(void)
{
	return ktime_get_ns();
}

/* The caller is about to sleep for a key. */
static void lm_note_contended(const struct lm_key *key, struct lockmap_entry *entry)
{
	lm_contention_begin(entry);
	trace_lockmap_contended(key->map, key->data, key->len, lm_word_pid(key->word));
}

/* The caller slept for a key, and has it, or does not get it because of @err. */
static void lm_note_wait(const struct lm_key *key, struct lockmap_entry *entry,
			 const struct lm_waiter *waiter, int err)
{
	u64 ns = ktime_get_ns() - waiter->since;
	unsigned long us = min_t(u64, div_u64(ns, NSEC_PER_USEC), ULONG_MAX);
	struct lm_waits *waits = &get_cpu_ptr(key->map->cpu)->waits;

	WRITE_ONCE(waits->nr, waits->nr + 1);
	WRITE_ONCE(waits->failed, waits->failed + !!err);
	WRITE_ONCE(waits->stolen, waits->stolen + waiter->lost);
	WRITE_ONCE(waits->handed_over, waits->handed_over + waiter->handed_over);
	WRITE_ONCE(waits->longest_us, max(waits->longest_us, us));
	put_cpu_ptr(key->map->cpu);
	lm_contention_end(entry, err);
	trace_lockmap_acquired(key->map, key->data, key->len, ns, err);
}

/* The caller asked for a key that it holds itself. */
static int lm_refuse_own(const struct lm_key *key)
{
	trace_lockmap_deadlock(key->map, key->data, key->len);
	return -EDEADLK;
}

/*
 * Refused waits
 */

/**
 * struct lm_refusal - a refused wait that the log is to hear of; there is one
 * @task: the refused task, which has the rest for itself until it clears this; %NULL: free
 * @cycle: the wait would have closed a cycle; else the chain of tasks is too long
 * @nr: number of tasks that were noted
 * @more: the chain went on after the last of them
 * @chain: the refused task, the holder that it would wait for, that one's holder, ...
 * @text: the message
 *
 * deadlock.c finds the chain with spinlocks held, where only names are copied. The
 * refused task writes the message when it has dropped them.
 */
struct lm_refusal {
	struct task_struct *task;
	bool cycle;
	bool more;
	unsigned int nr;
	struct {
		char comm[TASK_COMM_LEN];
		pid_t pid;
		char map[LM_NAME_TEXT];
	} chain[LM_CYCLE_SHOWN];
	char text[LM_CYCLE_TEXT];
};

static struct lm_refusal lm_refusal;
static DEFINE_RATELIMIT_STATE(lm_refusal_limit, DEFAULT_RATELIMIT_INTERVAL,
			      DEFAULT_RATELIMIT_BURST);

/* The caller is refused. Return: whether lm_note_link() may follow; calls never overlap. */
static bool lm_note_refusal(bool cycle)
{
	/* Pairs with lm_report_refusal(). */
	if (smp_load_acquire(&lm_refusal.task) || !__ratelimit(&lm_refusal_limit))
		return false;
	lm_refusal.cycle = cycle;
	lm_refusal.more = false;
	lm_refusal.nr = 0;
	WRITE_ONCE(lm_refusal.task, current);
	return true;
}

/* Note a task of the chain. Return: false when no more are wanted. */
static bool lm_note_link(const struct lm_waiter *waiter)
{
	const struct lockmap_entry *entry = container_of(waiter->lock, struct lockmap_entry, lock);
	const struct task_struct *task = waiter->wait.private;
	unsigned int i = lm_refusal.nr;

	lm_refusal.more = i == LM_CYCLE_SHOWN;
	if (lm_refusal.more)
		return false;
	strscpy(lm_refusal.chain[i].comm, task->comm, TASK_COMM_LEN);
	strscpy(lm_refusal.chain[i].map, lm_name(entry->map), LM_NAME_TEXT);
	lm_refusal.chain[i].pid = task->pid;
	lm_refusal.nr++;
	return true;
}

static void lm_print_refusal(const struct lm_key *key)
{
	struct lm_refusal *refusal = &lm_refusal;
	char *text = refusal->text;
	size_t pos = 0;
	unsigned int i;

	for (i = 0; i < refusal->nr; i++)
		pos += scnprintf(text + pos, LM_CYCLE_TEXT - pos,
				 "%s/%d%s waits for a key of %s held by ", refusal->chain[i].comm,
				 refusal->chain[i].pid, i ? ", which" : "",
				 refusal->chain[i].map);
	if (refusal->more)
		scnprintf(text + pos, LM_CYCLE_TEXT - pos, "more tasks");
	else
		scnprintf(text + pos, LM_CYCLE_TEXT - pos, "%s/%d", current->comm, current->pid);
	pr_warn("%s: refused a wait %s: %s\n", lm_name(key->map),
		refusal->cycle ? "that would never end" : "in a chain that is too long", text);
}

/* The caller was refused with -EDEADLK, and holds no spinlock any more. */
static void lm_report_refusal(const struct lm_key *key)
{
	trace_lockmap_deadlock(key->map, key->data, key->len);
	if (READ_ONCE(lm_refusal.task) != current)
		return;
	lm_print_refusal(key);
	/* Pairs with lm_note_refusal(): the next one begins when this one is through. */
	smp_store_release(&lm_refusal.task, NULL);
}
