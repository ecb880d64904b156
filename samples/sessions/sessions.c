// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * sessions: a table of sessions that end when they are not used for some time
 *
 * /proc/sessions is the table. Writing "alice reads mail" to it begins or continues
 * the session "alice", and stores the note "reads mail" in it. Writing "-alice" ends
 * the session. Reading shows name, number of uses, seconds left and note. A session
 * that is not used for `timeout` seconds expires, and a work item frees its memory.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "lockmap.h"

#define MAX_NAME	64
#define MAX_LINE	512
#define MAX_TIMEOUT	86400

struct session {
	unsigned long expires;	/* jiffies */
	unsigned long uses;
	char *note;
};

static struct lockmap *sessions;	/* from a name, without its NUL, to a struct session */

static unsigned int timeout = 60;
module_param(timeout, uint, 0444);
MODULE_PARM_DESC(timeout, "Seconds after which an unused session ends");

/* lockmap calls this for each value that it drops, also when the map is destroyed. */
static void release_session(void *value, void *priv)
{
	struct session *session = value;

	kfree(session->note);
}

static bool expired(const struct session *session)
{
	return time_after_eq(jiffies, session->expires);
}

/* Return: the session of a locked name. Remove it here if it has expired but was not swept. */
static struct session *session_of(struct lockmap_entry *entry)
{
	struct session *session = lockmap_entry_value(entry);

	if (session && expired(session)) {
		lockmap_entry_remove(entry, NULL);
		return NULL;
	}
	return session;
}

static int use_session(const char *name, size_t len, const char *note)
{
	/* Allocate before locking: no task shall wait for the name while this waits for memory. */
	char *new_note __free(kfree) = kstrdup(note, GFP_KERNEL);
	struct session *session;

	if (!new_note)
		return -ENOMEM;

	CLASS(lockmap_lock_killable, entry)(sessions, name, len);
	if (IS_ERR(entry))
		return PTR_ERR(entry);
	session = session_of(entry) ?: lockmap_entry_get_or_insert(entry, NULL);
	session->expires = jiffies + timeout * HZ;
	session->uses++;
	swap(session->note, new_note);	/* on return __free(kfree) frees the old note */
	return 0;
}

static int end_session(const char *name, size_t len)
{
	CLASS(lockmap_lock_killable, entry)(sessions, name, len);
	if (IS_ERR(entry))
		return PTR_ERR(entry);
	if (!session_of(entry))
		return -ENOENT;
	lockmap_entry_remove(entry, NULL);
	return 0;
}

static bool not_expired(const void *key, size_t len, void *value, void *arg)
{
	return !expired(value);
}

static void sweep(struct work_struct *work);
static DECLARE_DELAYED_WORK(sweeper, sweep);

/* lockmap_retain() locks one session at a time, so it delays the users of no other session. */
static void sweep(struct work_struct *work)
{
	lockmap_retain(sessions, not_expired, NULL);
	schedule_delayed_work(&sweeper, HZ);
}

static int show_session(const void *key, size_t len, void *value, void *arg)
{
	const struct session *session = value;
	long left = session->expires - jiffies;
	struct seq_file *m = arg;

	if (left <= 0)
		return 0;
	seq_printf(m, "%*pE %lu %lu %*pE\n", (int)len, key, session->uses, left / HZ,
		   (int)strlen(session->note), session->note);
	/* If the buffer is full, stop: seq_file calls again with one of twice the size. */
	return seq_has_overflowed(m);
}

/* The first line counts the sessions in memory, also expired ones that were not swept yet. */
static int sessions_show(struct seq_file *m, void *unused)
{
	int ret;

	seq_printf(m, "# %zu sessions: name, uses, seconds left, note\n", lockmap_len(sessions));
	ret = lockmap_for_each(sessions, show_session, m);
	return ret < 0 ? ret : 0;
}

static int sessions_open(struct inode *inode, struct file *file)
{
	return single_open(file, sessions_show, NULL);
}

/* Accept "name note" or "-name". */
static ssize_t sessions_write(struct file *file, const char __user *data, size_t size, loff_t *pos)
{
	char *line __free(kfree) =
		size > MAX_LINE ? ERR_PTR(-EINVAL) : memdup_user_nul(data, size);
	char *name = line;
	size_t len;
	int err;

	if (IS_ERR(line))
		return PTR_ERR(line);
	if (line[0] == '-')
		name++;
	len = strcspn(name, "\n ");
	if (!len || len > MAX_NAME)
		return -EINVAL;
	err = name > line ? end_session(name, len) : use_session(name, len, strim(name + len));
	return err ?: size;
}

static const struct proc_ops sessions_ops = {
	.proc_open	= sessions_open,
	.proc_read	= seq_read,
	.proc_write	= sessions_write,
	.proc_lseek	= seq_lseek,
	.proc_release	= single_release,
};

static int __init sessions_init(void)
{
	if (!timeout || timeout > MAX_TIMEOUT)
		return -EINVAL;
	sessions = lockmap_create(&(struct lockmap_params) {
		.name = "sessions",
		.flags = LOCKMAP_VAR_KEY,
		.key_len = MAX_NAME,
		.value_len = sizeof(struct session),
		.release = release_session,
	});
	if (IS_ERR(sessions))
		return PTR_ERR(sessions);
	if (!proc_create("sessions", 0600, NULL, &sessions_ops)) {
		lockmap_destroy(sessions);
		return -ENOMEM;
	}
	schedule_delayed_work(&sweeper, HZ);
	return 0;
}
module_init(sessions_init);

/*
 * remove_proc_entry() waits for readers and writers, and the next line for the sweep.
 * Then nothing uses the map any more, and it can be destroyed.
 */
static void __exit sessions_exit(void)
{
	remove_proc_entry("sessions", NULL);
	cancel_delayed_work_sync(&sweeper);
	lockmap_destroy(sessions);
}
module_exit(sessions_exit);

MODULE_DESCRIPTION("A table of sessions that end when they are not used: a sample of lockmap");
MODULE_LICENSE("Dual MIT/GPL");
