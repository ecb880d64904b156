// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Tasks that end while they hold a key, and later tasks that have their pids
 *
 * Nobody can unlock such a key any more, so these cases leak their maps.
 */
#include <linux/delay.h>
#include <linux/idr.h>
#include <linux/lockdep.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/rcupdate.h>

#include "worker.h"

/* What messages call a holder that has ended, whose pid follows. */
static const char *gone_name(unsigned int id)
{
	return !IS_ENABLED(CONFIG_LOCKMAP_DEBUG) ? "?" : id ? "lockmap_test/1" : "lockmap_test/0";
}

static struct lockmap *create_unmanaged(struct kunit *test, const char *name)
{
	struct lockmap *map = lockmap_create(&(struct lockmap_params) {
		.name = name, .key_len = sizeof(u64), .value_len = sizeof(u64),
		.nr_shards = 2,
	});

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, map);
	return map;
}

static void destroy_told(struct lockmap *map, const char *name, unsigned int held,
			 unsigned int gone)
{
	char text[128];

	scnprintf(text, sizeof(text), "%s: destroyed with %u key%s held, %u by %s gone; leaked",
		  name, held, held == 1 ? "" : "s", gone,
		  gone == 1 ? "a task that is" : "tasks that are");
	expect_told_begin(text);
	lockmap_destroy(map);
	expect_warning_end();
}

static int lock_and_end(struct worker *w)
{
	struct lockmap_entry *entry;

	/* The kernel would report a task that ends with a lock that lockdep knows of. */
	lockdep_off();
	entry = lock_nr(w->map, w->key);
	lockdep_on();
	w->arg = entry;
	return PTR_ERR_OR_ZERO(entry);
}

static bool pid_is_free(pid_t pid)
{
	bool is_free;

	rcu_read_lock();
	is_free = !find_pid_ns(pid, &init_pid_ns);
	rcu_read_unlock();
	return is_free;
}

/* Have a task lock a key, and end. Return: what is known of it: its pid, and @arg, the entry. */
static struct worker *hold_and_end(struct kunit *test, struct lockmap *map, u64 n)
{
	struct worker *w = lmtest_worker_create(test, lock_and_end, map, "lock and end");
	unsigned long end = jiffies + PATIENCE;

	w->key = n;
	lmtest_worker_start(test, w);
	KUNIT_ASSERT_EQ(test, lmtest_join(test, w), 0);
	while (!pid_is_free(w->task->pid) && time_before(jiffies, end))
		usleep_range(100, 200);
	KUNIT_ASSERT_TRUE(test, pid_is_free(w->task->pid));
	return w;
}

static int wait_for_key(struct lockmap *map, u64 n, unsigned long timeout)
{
	return lock_error(lockmap_lock_timeout(map, &n, sizeof(n), timeout));
}

/* The next task that waits for the key tells, once it has slept for 10 ms; once a map. */
static void waiter_tells(struct kunit *test)
{
	struct lockmap *map = create_unmanaged(test, "gone_waiter");
	char text[96];
	pid_t pid;

	pid = hold_and_end(test, map, 1)->task->pid;
	KUNIT_EXPECT_EQ(test, trylock_error(map, 1), -EBUSY);
	KUNIT_EXPECT_EQ(test, wait_for_key(map, 1, 1), -ETIMEDOUT);
	scnprintf(text, sizeof(text), "whose holder, %s/%d, ended without unlocking it",
		  gone_name(0), pid);
	expect_told_begin(text);
	KUNIT_EXPECT_EQ(test, wait_for_key(map, 1, HZ / 2), -ETIMEDOUT);
	expect_warning_end();
	KUNIT_EXPECT_EQ(test, wait_for_key(map, 1, HZ / 10), -ETIMEDOUT);

	/* The rest of the map is as it was. */
	KUNIT_EXPECT_EQ(test, insert_nr(map, 2, 20), 0);
	KUNIT_EXPECT_EQ(test, remove_nr(map, 2), 0);
	lmtest_expect_unlocked(test, map, 2, 9);
	destroy_told(map, "gone_waiter", 1, 1);
}

/* A holder that lives, or that is no task, is not told of, however long it takes. */
static void waiter_of_others_does_not_tell(struct kunit *test)
{
	struct lockmap *map = lmtest_create_u64(test);
	struct lockmap_entry *entry = lmtest_hold(test, map, 1);
	struct worker *w = lmtest_start_op(test, map, OP_LOCK_TIMEOUT, 1, HZ / 10);

	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), -ETIMEDOUT);
	lockmap_entry_disown(entry);
	KUNIT_EXPECT_EQ(test, wait_for_key(map, 1, HZ / 10), -ETIMEDOUT);
	lockmap_unlock(entry);
}

/* Have a process write what debugfs has of a map to the log. */
static void log_held(struct kunit *test, const char *map)
{
	char command[128];

	scnprintf(command, sizeof(command),
		  "while read -r line; do echo \"$line\"; done </sys/kernel/debug/lockmap/%s/held >/dev/kmsg",
		  map);
	KUNIT_EXPECT_EQ(test, lmtest_shell(command), 0);
}

static void debugfs_tells(struct kunit *test)
{
	struct lockmap_entry *entry;
	struct lockmap *map;
	char text[96];
	pid_t pid;

	if (!lmtest_shell_sees_debugfs())
		kunit_skip(test, "no process can read debugfs here");
	map = create_unmanaged(test, "gone_debugfs");
	pid = hold_and_end(test, map, 1)->task->pid;
	scnprintf(text, sizeof(text), " held by a task that is gone, %s/%d", gone_name(0), pid);
	expect_log(text);
	log_held(test, "gone_debugfs");
	entry = lmtest_hold(test, map, 2);
	scnprintf(text, sizeof(text), " held by %s/%d", current->comm, current->pid);
	expect_log(text);
	log_held(test, "gone_debugfs");
	lockmap_unlock(entry);
	destroy_told(map, "gone_debugfs", 1, 1);
}

/* At destroy, holders that are gone are told from a task that lives, and from none. */
static void destroy_tells(struct kunit *test)
{
	struct lockmap *map = create_unmanaged(test, "gone_destroy");
	struct lockmap_entry *mine = lmtest_hold(test, map, 1);
	struct lockmap_entry *of_no_task = lmtest_hold(test, map, 2);

	lockmap_entry_disown(of_no_task);
	hold_and_end(test, map, 3);
	hold_and_end(test, map, 4);
	destroy_told(map, "gone_destroy", 4, 2);
	lockmap_unlock(mine);
	lockmap_unlock(of_no_task);
}

/* What a task does that has the pid @nr of one that ended with the key. */
static int try_as_later_task(struct worker *w)
{
	char text[64];

	if (current->pid != w->nr)
		return -EAGAIN;
	w->errors += trylock_error(w->map, w->key) != -EBUSY;
	scnprintf(text, sizeof(text), "lockmap_test/0/%d, ended without unlocking it", w->nr);
	expect_told_begin(text);
	w->errors += wait_for_key(w->map, w->key, HZ / 2) != -ETIMEDOUT;
	expect_warning_end();
	expect_told_begin("gone_later: unlock of a key that another task holds");
	lockmap_unlock(w->arg);
	expect_warning_end();
	w->errors += trylock_error(w->map, w->key) != -EBUSY;
	lmtest_about_to_wait(w);
	lmtest_wait_at_gate(w);
	return 0;
}

/* Start a task with the pid of one that has ended: the next pid, unless others are faster. */
static struct worker *start_later_task(struct kunit *test, const struct worker *gone)
{
	struct worker *w = NULL;

	for (unsigned int i = 0; i < 100; i++) {
		w = lmtest_worker_create(test, try_as_later_task, gone->map, "later task");
		w->nr = gone->task->pid;
		w->key = gone->key;
		w->arg = gone->arg;
		idr_set_cursor(&init_pid_ns.idr, gone->task->pid);
		lmtest_worker_start(test, w);
		if (w->task->pid == gone->task->pid)
			return w;
		KUNIT_EXPECT_EQ(test, lmtest_join(test, w), -EAGAIN);
	}
	KUNIT_FAIL(test, "no task gets the pid %d", gone->task->pid);
	return w;
}

/* A later task with the pid of the holder is not taken for it. */
static void later_task_is_another(struct kunit *test)
{
	const struct worker *gone;
	struct lockmap *map;
	struct worker *w;
	char text[96];

	if (!IS_ENABLED(CONFIG_LOCKMAP_DEBUG))
		kunit_skip(test, "lockmap without CONFIG_LOCKMAP_DEBUG");
	map = create_unmanaged(test, "gone_later");
	gone = hold_and_end(test, map, 1);
	w = start_later_task(test, gone);
	lmtest_expect_waiting(test, w);
	KUNIT_EXPECT_EQ(test, w->errors, 0);

	if (lmtest_shell_sees_debugfs()) {
		scnprintf(text, sizeof(text), " held by a task that is gone, lockmap_test/0/%d",
			  gone->task->pid);
		expect_log(text);
		log_held(test, "gone_later");
	}
	destroy_told(map, "gone_later", 1, 1);
	lmtest_open_gate(test);
	KUNIT_EXPECT_EQ(test, lmtest_join(test, w), 0);
}

static struct kunit_case gone_cases[] = {
	KUNIT_CASE(waiter_tells),
	KUNIT_CASE(waiter_of_others_does_not_tell),
	KUNIT_CASE(debugfs_tells),
	KUNIT_CASE(destroy_tells),
	KUNIT_CASE(later_task_is_another),
	{}
};

struct kunit_suite lmtest_gone_suite = {
	.name = "lockmap_gone",
	.init = lmtest_init,
	.test_cases = gone_cases,
};
