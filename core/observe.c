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
#include <linux/sched/mm.h>

#include "compat.h"
#include "types.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* How many tasks of a cycle a message names. */
#define LM_CYCLE_SHOWN	8
/* How long the message may become. */
#define LM_CYCLE_TEXT	768

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

static void lm_lockdep_init_entry(struct lockmap_entry *new)
{
	lockdep_init_map_wait(&new->dep_map, new->map->lock_name, new->map->lock_key, 0,
			      LD_WAIT_SLEEP);
	lock_set_cmp_fn(new, lm_lockdep_cmp, NULL);
}

/* A class has one name, wherever a key of the caller's is used. */
static void lm_lockdep_init_map(struct lockmap *map, struct lock_class_key *key, const char *site)
{
	map->lock_key = map->params.lock_key ?: key;
	map->lock_name = map->params.lock_key ? "lockmap_params.lock_key" : site;
	lockdep_init_map_wait(&map->dep_map, map->lock_name, map->lock_key, 0, LD_WAIT_SLEEP);
	lock_set_cmp_fn(map, lm_lockdep_cmp, NULL);
}

/* What is wrong with locking a key, or any (%NULL), while the task holds another of its class. */
static const char *lm_order_fault(const struct lockmap *map, const void *data, u32 len,
				  const struct lockmap_entry *held, bool shared)
{
	const u8 *held_data;
	u32 held_len;
	int cmp;

	if (held->map != map)
		return "of another map from the same lockmap_create(), without a lock_key";
	/* A key that it holds exclusively is refused, and need not be told of. */
	if (!data)
		return shared ? "shared, which may be the same" : NULL;
	held_data = lm_entry_key_rcu(map, held, &held_len);
	cmp = lm_cmp(map, held_data, held_len, data, len);
	if (!cmp && shared)
		return "shared, which is the same";
	return cmp > 0 ? "that sorts after it" : NULL;
}

/* Warn if the task holds a key that forbids to wait for this one. */
static void lm_check_order(struct lockmap *map, const void *data, u32 len, enum lm_waits_for whom)
{
	const struct lockmap_entry *entry;
	const struct lockdep_map *held;
	unsigned int i = 0;
	const char *fault;
	bool shared;

	if (!IS_ENABLED(CONFIG_PROVE_LOCKING) || !debug_locks || lockdep_recursing(current) ||
	    READ_ONCE(map->disorder))
		return;
	while ((held = lm_held_lock(&i, &shared, map->lock_key))) {
		entry = container_of(held, struct lockmap_entry, dep_map);
		fault = lm_order_fault(map, data, len, entry,
				       shared && whom != LM_FOR_EXCLUSIVE_HOLDER);
		if (!fault)
			continue;
		WRITE_ONCE(map->disorder, true);
		WARN(1, "lockmap: %s: %s/%d may wait for a key while it holds one %s\n",
		     lm_name(map), current->comm, current->pid, fault);
		return;
	}
}

/* Tell lockdep that a call may wait for some key of a map, before it does. */
static void lm_lockdep_may_lock(struct lockmap *map)
{
	might_lock(map);
}

/* The same for any key. A task that holds one of this map is refused, and need not be told. */
static void lm_lockdep_may_lock_any(struct lockmap *map)
{
	lm_check_order(map, NULL, 0, LM_FOR_ANY_HOLDER);
	lm_lockdep_may_lock(map);
}

/* The same for a certain key. The map and the key are as the caller gave them. */
static void lm_lockdep_may_lock_key(struct lockmap *map, const void *data, size_t len,
				    enum lm_waits_for whom)
{
	if (!IS_ENABLED(CONFIG_LOCKDEP) || IS_ERR_OR_NULL(map) || !data || !lm_len_ok(map, len))
		return;
	lm_check_order(map, data, len, whom);
	lm_lockdep_may_lock(map);
}

/* Tell lockdep that a call may allocate as the map's parameters say. */
static void lm_lockdep_may_alloc(const struct lockmap *map)
{
	if (IS_ENABLED(CONFIG_LOCKDEP) && !IS_ERR_OR_NULL(map))
		might_alloc(map->params.gfp);
}

/* Tell lockdep that a call may do so with a key of the map locked of which it was not told yet. */
static void lm_lockdep_may_alloc_locked(struct lockmap *map)
{
	if (!IS_ENABLED(CONFIG_LOCKDEP))
		return;
	lock_map_acquire(&map->dep_map);
	lm_lockdep_may_alloc(map);
	lock_map_release(&map->dep_map);
}

/* Tell lockdep of a lock that the caller has just taken. */
static void lm_lockdep_acquire(struct lockmap_entry *entry, const struct lm_wait_mode *mode,
			       unsigned long ip)
{
	/* A lock that belongs to no task is none that lockdep can follow. */
	if (!IS_ENABLED(CONFIG_LOCKDEP) || !in_task())
		return;
	if (mode->shared) {
		lock_acquire_shared(&entry->dep_map, 0, mode->try, NULL, ip);
		return;
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

/* The holders of a shared key cannot note in it which of them lockdep knows: ask lockdep. */
static void lm_lockdep_release_shared(const struct lockmap_entry *entry, unsigned long ip)
{
	if (IS_ENABLED(CONFIG_LOCKDEP) && in_task() && lock_is_held(&entry->dep_map))
		lock_release((struct lockdep_map *)&entry->dep_map, ip);
}

static void lm_lockdep_downgrade(struct lockmap_entry *entry, unsigned long ip)
{
	if (!IS_ENABLED(CONFIG_LOCKDEP) || !entry->annotated)
		return;
	entry->annotated = false;
	lock_downgrade(&entry->dep_map, ip);
}

/* The caller did share the key, and has it for itself now. */
static void lm_lockdep_upgrade(struct lockmap_entry *entry, unsigned long ip)
{
	if (!IS_ENABLED(CONFIG_LOCKDEP) || !in_task() || !lock_is_held(&entry->dep_map))
		return;
	lock_release(&entry->dep_map, ip);
	lock_acquire_exclusive(&entry->dep_map, 0, 1, NULL, ip);
	entry->annotated = true;
}

/*
 * Tracepoints and counters
 */

static noinline void lm_trace_reclaimed(const struct lockmap_entry *entry)
{
	char text[LM_KEY_TEXT];
	const u8 *data;
	u32 len;

	data = lm_entry_key_rcu(entry->map, entry, &len);
	lm_key_text(text, sizeof(text), entry->map, data, len);
	trace_lockmap_reclaimed(entry->map, text);
}

static __always_inline void lm_trace_contended(const struct lm_key *key)
{
	char text[LM_KEY_TEXT];

	lm_key_text(text, sizeof(text), key->map, key->data, key->len);
	trace_lockmap_contended(key->map, text, lm_word_pid(key->word));
}

static noinline void lm_trace_acquired(const struct lm_key *key, u64 ns, int err)
{
	char text[LM_KEY_TEXT];

	lm_key_text(text, sizeof(text), key->map, key->data, key->len);
	trace_lockmap_acquired(key->map, text, ns, err);
}

static noinline void lm_trace_deadlock(const struct lm_key *key)
{
	char text[LM_KEY_TEXT];

	lm_key_text(text, sizeof(text), key->map, key->data, key->len);
	trace_lockmap_deadlock(key->map, text);
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

/*
 * The caller is about to sleep for a key. People look at the stacks of these events,
 * which begin in lm_sleep().
 */
static __always_inline void lm_note_contended(const struct lm_key *key, struct lockmap_entry *entry)
{
	struct lm_waits *waits = &get_cpu_ptr(key->map->cpu)->waits;

	WRITE_ONCE(waits->nr, waits->nr + 1);
	put_cpu_ptr(key->map->cpu);
	lm_contention_begin(entry);
	if (trace_lockmap_contended_enabled())
		lm_trace_contended(key);
}

/* The caller slept for a key, and has it, or does not get it because of @err. */
static void lm_note_wait(const struct lm_key *key, struct lockmap_entry *entry,
			 const struct lm_sleeper *sleeper, int err)
{
	u64 ns = ktime_get_ns() - sleeper->since;
	unsigned long us = min_t(u64, div_u64(ns, NSEC_PER_USEC), ULONG_MAX);
	struct lm_waits *waits = &get_cpu_ptr(key->map->cpu)->waits;

	WRITE_ONCE(waits->over, waits->over + 1);
	WRITE_ONCE(waits->failed, waits->failed + !!err);
	WRITE_ONCE(waits->stolen, waits->stolen + sleeper->lost);
	WRITE_ONCE(waits->handed_over, waits->handed_over + sleeper->waiter.handed_over);
	WRITE_ONCE(waits->longest_us, max(waits->longest_us, us));
	put_cpu_ptr(key->map->cpu);
	lm_contention_end(entry, err);
	if (trace_lockmap_acquired_enabled())
		lm_trace_acquired(key, ns, err);
}

/* The caller asked for a key that it holds itself. */
static int lm_refuse_own(const struct lm_key *key)
{
	if (trace_lockmap_deadlock_enabled())
		lm_trace_deadlock(key);
	return -EDEADLK;
}

/*
 * Refused waits
 */

/**
 * struct lm_refusal - a refused wait that the log is to hear of; there is one
 * @task: the refused task, which has the rest for itself until it clears this; %NULL: free
 * @nr: number of tasks that were noted
 * @closed: they are the whole cycle; else it is longer, or was just opened
 * @chain: the refused task, the holder that it waits for, the task that this one waits for, ...
 * @text: the message
 *
 * deadlock.c finds the cycle with spinlocks held, where only names are copied. The
 * refused task writes the message when it holds none.
 */
struct lm_refusal {
	struct task_struct *task;
	bool closed;
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

/* The caller is refused. Return: whether lm_note_link() may follow. */
static bool lm_note_refusal(void)
{
	/* Acquires the notes; pairs with lm_report_refusal(). */
	if (READ_ONCE(lm_refusal.task) || !__ratelimit(&lm_refusal_limit) ||
	    cmpxchg_acquire(&lm_refusal.task, NULL, current))
		return false;
	lm_refusal.closed = false;
	lm_refusal.nr = 0;
	return true;
}

/* Note a task of the cycle, which is in the table of sleepers. Return: false for one too many. */
static bool lm_note_link(const struct lm_waiter *waiter)
{
	const struct lockmap_entry *entry = container_of(waiter->lock, struct lockmap_entry, lock);
	const struct task_struct *task = waiter->task;
	unsigned int i = lm_refusal.nr;

	if (i == LM_CYCLE_SHOWN)
		return false;
	strscpy(lm_refusal.chain[i].comm, task->comm, TASK_COMM_LEN);
	strscpy(lm_refusal.chain[i].map, lm_name(entry->map), LM_NAME_TEXT);
	lm_refusal.chain[i].pid = task->pid;
	lm_refusal.nr++;
	return true;
}

/* The last task that was noted waits for the caller. */
static void lm_note_closed(void)
{
	lm_refusal.closed = true;
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
	if (!refusal->closed)
		scnprintf(text + pos, LM_CYCLE_TEXT - pos, "more tasks");
	else
		scnprintf(text + pos, LM_CYCLE_TEXT - pos, "%s/%d", current->comm, current->pid);
	pr_warn("%s: refused a wait that would never end: %s\n", lm_name(key->map), text);
}

/*
 * The wait of the caller closed a cycle, and has ended: with -EDEADLK, unless the
 * task was given the lock after all, or there was another reason to end it.
 */
static void lm_report_refusal(const struct lm_key *key, int err)
{
	if (err == -EDEADLK && trace_lockmap_deadlock_enabled())
		lm_trace_deadlock(key);
	if (READ_ONCE(lm_refusal.task) != current)
		return;
	if (err == -EDEADLK)
		lm_print_refusal(key);
	/* Releases the notes; pairs with lm_note_refusal(). */
	smp_store_release(&lm_refusal.task, NULL);
}
