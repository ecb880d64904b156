// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What people can see of a map: /sys/kernel/debug/lockmap/MAP/stats, and held,
 * for when something hangs. For root only, as keys may be anything.
 *
 * debugfs keeps the readers of a file and debugfs_remove() apart, so that a map
 * cannot go while it is read.
 */
#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/string.h>

#include "compat.h"
#include "types.h"

/* The list of held keys ends after so many, ... */
#define LM_HELD_SHOWN	1000
/* ... and the list of tasks that wait for one of them after so many. */
#define LM_WAITERS_SHOWN	16

static struct dentry *lm_debugfs;
/* A folder that one map finds missing is not created by another. Taken with nothing held. */
static DEFINE_MUTEX(lm_debugfs_lock);

/* Add up what all CPUs have counted. */
static struct lm_waits lm_sum_waits(const struct lockmap *map)
{
	struct lm_waits sum = {};
	int cpu;

	for_each_possible_cpu(cpu) {
		const struct lm_waits *waits = &per_cpu_ptr(map->cpu, cpu)->waits;

		sum.over += READ_ONCE(waits->over);
		sum.stolen += READ_ONCE(waits->stolen);
		sum.handed_over += READ_ONCE(waits->handed_over);
		sum.failed += READ_ONCE(waits->failed);
		sum.longest_us = max(sum.longest_us, READ_ONCE(waits->longest_us));
	}
	/* Afterwards, as a wait that is over has begun; there is no barrier, though. */
	for_each_possible_cpu(cpu)
		sum.nr += READ_ONCE(per_cpu_ptr(map->cpu, cpu)->waits.nr);
	return sum;
}

static int lm_stats_show(struct seq_file *m, void *unused)
{
	struct lockmap *map = m->private;
	unsigned int entries, least = UINT_MAX, most = 0, i;
	struct lm_waits waits = lm_sum_waits(map);
	unsigned long idle = 0, all = 0;

	for (i = 0; i < map->nr_shards; i++) {
		entries = atomic_read(&map->shards[i].table.nelems);
		least = min(least, entries);
		most = max(most, entries);
		all += entries;
	}
	for (i = 0; i < map->nr_rings; i++)
		idle += max(atomic_read(&map->rings[i].used), 0);
	seq_printf(m, "values:          %zu\n", lockmap_len(map));
	seq_printf(m, "entries:         %lu\n", all);
	seq_printf(m, "idle:            %lu of at most %u\n", idle, map->params.max_idle);
	seq_printf(m, "shards:          %u\n", map->nr_shards);
	seq_printf(m, "entries a shard: %u to %u\n", least, most);
	seq_printf(m, "waits:           %lu\n", waits.nr);
	seq_printf(m, "waiting now:     %ld\n", max_t(long, waits.nr - waits.over, 0));
	seq_printf(m, "waits in vain:   %lu\n", waits.failed);
	seq_printf(m, "longest wait:    %lu us\n", waits.longest_us);
	seq_printf(m, "steals:          %lu\n", waits.stolen);
	seq_printf(m, "hand-offs:       %lu\n", waits.handed_over);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(lm_stats);

static void lm_show_task(struct seq_file *m, const char *what, const struct task_struct *task)
{
	seq_printf(m, "%s %s/%d", what, task->comm, task->pid);
}

static void lm_show_holder(struct seq_file *m, const struct lockmap_entry *entry, u64 word)
{
	const struct task_struct *task = lm_owner_task(entry, word);
	pid_t pid = lm_word_pid(word);

	if (word & LM_SHARED)
		seq_printf(m, " shared by %u", lm_word_sharers(word));
	else if (!pid)
		seq_puts(m, " held by no task");
	else if (task)
		lm_show_task(m, " held by", task);
	else
		seq_printf(m, " held by a task that is gone, %s/%d",
			   lm_owner_comm(&entry->owner_note), pid);
}

static void lm_show_waiter(struct seq_file *m, const struct lm_waiter *waiter)
{
	const struct lm_sleeper *sleeper = container_of(waiter, struct lm_sleeper, waiter);

	if (!waiter->task) {
		seq_puts(m, ", wanted by a request");
		return;
	}
	lm_show_task(m, waiter->shared ? ", wanted shared by" : ", wanted by", waiter->task);
	/* The task has joined the row before, so the clock is past @since. */
	seq_printf(m, " for %llu us", div_u64(ktime_get_ns() - sleeper->since, NSEC_PER_USEC));
}

static void lm_show_waiters(struct seq_file *m, const struct lm_lock *lock)
{
	struct lm_bucket *bucket = lm_bucket(lock);
	const struct lm_waiter *head, *waiter;
	unsigned int nr = 1;
	unsigned long flags;

	spin_lock_irqsave(&bucket->lock, flags);
	head = lm_head(bucket, lock);
	if (head) {
		lm_show_waiter(m, head);
		list_for_each_entry(waiter, &head->row, row) {
			if (nr++ >= LM_WAITERS_SHOWN)
				break;
			lm_show_waiter(m, waiter);
		}
	}
	spin_unlock_irqrestore(&bucket->lock, flags);
	if (nr > LM_WAITERS_SHOWN)
		seq_puts(m, ", and by more");
}

/* One key that was held a moment ago, if it still is. */
static void lm_show_held(struct seq_file *m, struct lockmap *map, const struct lm_cursor *cursor)
{
	struct lm_key key = lm_cursor_key(map, cursor);
	char text[LM_KEY_TEXT];
	struct lockmap_entry *entry;

	rcu_read_lock();
	entry = lm_find(&key);
	if (entry && lm_word_held(key.word)) {
		lm_key_text(text, sizeof(text), map, key.data, key.len);
		seq_puts(m, text);
		lm_show_holder(m, entry, key.word);
		if (key.word & LM_WAITERS)
			lm_show_waiters(m, &entry->lock);
		seq_putc(m, '\n');
	}
	rcu_read_unlock();
}

static int lm_held_show(struct seq_file *m, void *unused)
{
	struct lockmap *map = m->private;
	unsigned int i, shown = 0;
	struct lm_cursor cursor;

	for (i = 0; i < map->nr_shards; i++) {
		lm_cursor_init(&cursor, map, LM_LOCKED | LM_SHARED, 0);
		while (shown <= LM_HELD_SHOWN && lm_cursor_next(map, &map->shards[i], &cursor)) {
			if (shown++ < LM_HELD_SHOWN)
				lm_show_held(m, map, &cursor);
		}
		lm_cursor_free(&cursor);
	}
	if (shown > LM_HELD_SHOWN)
		seq_puts(m, "and more\n");
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(lm_held);

static bool lm_debugfs_has(const char *name)
{
	struct dentry *dentry = debugfs_lookup(name, lm_debugfs);

	if (IS_ERR_OR_NULL(dentry))
		return false;
	dput(dentry);
	return true;
}

/* Create a folder. Several maps may have the same name, and others that name with a number. */
static struct dentry *lm_debugfs_create_dir(const char *map_name)
{
	static unsigned int nr;		/* by lm_debugfs_lock */
	char name[LM_NAME_TEXT + 12];
	struct dentry *dir;

	strscpy(name, map_name, sizeof(name));
	mutex_lock(&lm_debugfs_lock);
	while (lm_debugfs_has(name))
		scnprintf(name, sizeof(name), "%s.%u", map_name, ++nr);
	dir = debugfs_create_dir(name, lm_debugfs);
	mutex_unlock(&lm_debugfs_lock);
	return dir;
}

/* Without debugfs, or without memory for it, there is just nothing to see. */
static void lm_debugfs_add(struct lockmap *map)
{
	map->debugfs = lm_debugfs_create_dir(lm_name(map));
	if (IS_ERR(map->debugfs))
		return;
	debugfs_create_file("stats", 0400, map->debugfs, map, &lm_stats_fops);
	debugfs_create_file("held", 0400, map->debugfs, map, &lm_held_fops);
}

static void lm_debugfs_remove(struct lockmap *map)
{
	debugfs_remove(map->debugfs);
	map->debugfs = NULL;
}

static void __init lm_debugfs_init(void)
{
	lm_debugfs = debugfs_create_dir("lockmap", NULL);
}

static void lm_debugfs_exit(void)
{
	debugfs_remove(lm_debugfs);
}
