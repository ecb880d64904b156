// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Code of Documentation/api.rst and Documentation/rust.rst. Each function is a
 * piece of a page; loading the module runs them all.
 */
#include <linux/list.h>
#include <linux/module.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/workqueue.h>
#include "lockmap.h"

struct info {
	u64 users;
};

/* [create] */
static struct lockmap *create_paths(void)
{
	return lockmap_create(&(struct lockmap_params) {
		.name = "paths",
		.key_len = 255,		/* the longest */
		.value_len = sizeof(struct info),
		.flags = LOCKMAP_VAR_KEY,
	});
}

/* [create end] */

/* [batch] */
static int transfer(struct lockmap *map, u64 from, u64 to, u64 amount)
{
	const struct lockmap_key keys[] = { { &from, sizeof(from) }, { &to, sizeof(to) } };
	struct lockmap_batch *batch = lockmap_batch_lock_killable(map, keys, 2);
	struct lockmap_entry *from_entry, *to_entry;

	if (IS_ERR(batch))
		return PTR_ERR(batch);
	from_entry = lockmap_batch_entry(batch, &from, sizeof(from));
	to_entry = lockmap_batch_entry(batch, &to, sizeof(to));
	*(u64 *)lockmap_entry_get_or_insert(from_entry, NULL) -= amount;
	*(u64 *)lockmap_entry_get_or_insert(to_entry, NULL) += amount;
	lockmap_batch_unlock(batch);
	return 0;
}

/* [batch end] */

/* [share] */
static int users_of(struct lockmap *map, u64 id, u64 *users)
{
	const struct lockmap_entry *entry = lockmap_lock_shared_killable(map, &id, sizeof(id));
	const u64 *value;

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	value = lockmap_entry_value_shared(entry);	/* others may read it meanwhile */
	*users = value ? *value : 0;
	lockmap_unlock_shared(entry);
	return 0;
}

/* [share end] */

/* [users] */
struct file_info {
	u64 users;		/* by the key's lock */
};

/* Return: the value, which stays where it is until put_info(); or an error. */
static struct file_info *get_info(struct lockmap *map, u64 inode)
{
	struct lockmap_entry *entry = lockmap_lock_killable(map, &inode, sizeof(inode));
	struct file_info *info;

	if (IS_ERR(entry))
		return ERR_CAST(entry);
	info = lockmap_entry_get_or_insert(entry, NULL);
	info->users++;
	lockmap_unlock(entry);
	return info;
}

/* The caller holds no key of the map, so that it is not refused. */
static void put_info(struct file_info *info)
{
	struct lockmap_entry *entry = lockmap_value_entry(info);

	if (WARN_ON(lockmap_entry_lock(entry)))
		return;
	if (!--info->users)
		lockmap_entry_remove(entry, NULL);
	lockmap_unlock(entry);
}

/* [users end] */

/* [reference] */
struct session {
	struct list_head lru;	/* in "sessions"; by sessions_lock */
	unsigned long used;	/* when; by the key's lock, as is the rest */
};

static DEFINE_SPINLOCK(sessions_lock);
static LIST_HEAD(sessions);

/* The only code that removes values: so those in the list stay as long as it does not run. */
static void end_oldest_session(void)
{
	struct lockmap_entry *entry = NULL;
	struct session *oldest;

	spin_lock(&sessions_lock);
	oldest = list_first_entry_or_null(&sessions, struct session, lru);
	if (oldest)
		entry = lockmap_value_entry(oldest);
	if (entry && lockmap_entry_trylock(entry))	/* a session that is busy stays */
		list_del(&oldest->lru);
	else
		entry = NULL;
	spin_unlock(&sessions_lock);
	if (!entry)
		return;
	lockmap_entry_remove(entry, NULL);
	lockmap_unlock(entry);
}

/* [reference end] */

/* [async] */
struct job {
	struct lockmap_request req;
	struct work_struct work;
	struct lockmap_entry *entry;
};

/* Context: Whoever unlocked the key, perhaps in softirq. */
static void job_granted(struct lockmap_request *req, struct lockmap_entry *entry)
{
	struct job *job = container_of(req, struct job, req);

	job->entry = entry;
	schedule_work(&job->work);
}

/* Begin a job when its key is free. The work unlocks job->entry at its end. */
static int start_job(struct lockmap *map, u64 id, struct job *job)
{
	struct lockmap_entry *entry;

	job->req.granted = job_granted;
	entry = lockmap_lock_async(map, &id, sizeof(id), &job->req);
	if (!IS_ERR(entry))
		job_granted(&job->req, entry);
	else if (PTR_ERR(entry) != -EINPROGRESS)
		return PTR_ERR(entry);
	return 0;
}

/* [async end] */

/* [guards] */
static int reset(struct lockmap *map, u64 user)
{
	CLASS(lockmap_lock_killable, entry)(map, &user, sizeof(user));
	if (IS_ERR(entry))
		return PTR_ERR(entry);

	return lockmap_entry_remove(entry, NULL) ? 0 : -ENOENT;	/* and the key is unlocked */
}

static int reset_soon(struct lockmap *map, u64 user)
{
	struct lockmap_entry *entry __free(lockmap_unlock) =
		lockmap_lock_timeout(map, &user, sizeof(user), HZ);

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	return lockmap_entry_remove(entry, NULL) ? 0 : -ENOENT;
}

/* [guards end] */

/* [count] */
static int count_visit(struct lockmap *map, u64 user)
{
	struct lockmap_entry *entry = lockmap_lock(map, &user, sizeof(user));

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	++*(u64 *)lockmap_entry_get_or_insert(entry, NULL);
	lockmap_unlock(entry);
	return 0;
}

/* [count end] */

static void job_work(struct work_struct *work)
{
	struct job *job = container_of(work, struct job, work);

	lockmap_unlock(job->entry);
}

/* Have a job wait for a key, and see that it gets it. */
static int try_job(struct lockmap *map, u64 id)
{
	struct lockmap_entry *entry = lockmap_lock(map, &id, sizeof(id));
	struct job job = {};
	int err;

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	INIT_WORK_ONSTACK(&job.work, job_work);
	err = start_job(map, id, &job);
	lockmap_unlock(entry);	/* the job has the key now */
	flush_work(&job.work);
	destroy_work_on_stack(&job.work);
	return err ?: job.entry ? 0 : -EIO;
}

/* Use a value twice at a time, then drop it. */
static int try_users(void)
{
	struct lockmap *map __free(lockmap_destroy) = lockmap_create(&(struct lockmap_params) {
		.name = "infos", .key_len = sizeof(u64), .value_len = sizeof(struct file_info),
	});
	struct file_info *info[2];

	if (IS_ERR(map))
		return PTR_ERR(map);
	for (int i = 0; i < 2; i++) {
		info[i] = get_info(map, 7);
		if (IS_ERR(info[i]))
			return PTR_ERR(info[i]);
	}
	put_info(info[0]);
	if (info[0] != info[1] || lockmap_len(map) != 1)
		return -EIO;
	put_info(info[1]);
	return lockmap_is_empty(map) ? 0 : -EIO;
}

/* Begin two sessions, and end one while the other is in use. */
static int try_sessions(void)
{
	struct lockmap *map __free(lockmap_destroy) = lockmap_create(&(struct lockmap_params) {
		.name = "sessions", .key_len = sizeof(u64), .value_len = sizeof(struct session),
	});
	struct lockmap_entry *entry = NULL;
	struct session *session;
	size_t left;

	if (IS_ERR(map))
		return PTR_ERR(map);
	for (u64 id = 1; id <= 2; id++) {
		entry = lockmap_lock(map, &id, sizeof(id));
		if (IS_ERR(entry))
			return PTR_ERR(entry);
		session = lockmap_entry_get_or_insert(entry, NULL);
		spin_lock(&sessions_lock);
		list_add_tail(&session->lru, &sessions);
		spin_unlock(&sessions_lock);
		if (id == 1)
			lockmap_unlock(entry);
	}
	end_oldest_session();
	end_oldest_session();	/* the one in use stays */
	left = lockmap_len(map);
	spin_lock(&sessions_lock);
	list_del(sessions.next);
	spin_unlock(&sessions_lock);
	lockmap_unlock(entry);
	return left == 1 ? 0 : -EIO;
}

static int __init api_init(void)
{
	struct lockmap *paths __free(lockmap_destroy) = create_paths();
	struct lockmap *users __free(lockmap_destroy) =
		lockmap_create(&(struct lockmap_params) {
			.name = "users", .key_len = sizeof(u64), .value_len = sizeof(u64),
		});
	u64 count = 0;
	int err;

	if (IS_ERR(paths))
		return PTR_ERR(paths);
	if (IS_ERR(users))
		return PTR_ERR(users);
	err = count_visit(users, 7) ?: transfer(users, 7, 8, 1);
	err = err ?: users_of(users, 8, &count) ?: try_job(users, 8);
	err = err ?: try_users() ?: try_sessions();
	if (!err && count != 1)
		err = -EIO;
	err = err ?: reset(users, 7) ?: reset_soon(users, 8);
	if (!err && (reset(users, 7) != -ENOENT || !lockmap_is_empty(users)))
		err = -EIO;
	return err;
}

static void __exit api_exit(void)
{
}

module_init(api_init);
module_exit(api_exit);
MODULE_DESCRIPTION("Code that the documentation of lockmap shows");
MODULE_LICENSE("Dual MIT/GPL");
