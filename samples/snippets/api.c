// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Code of Documentation/api.rst and Documentation/rust.rst. Each function is a
 * piece of a page; loading the module runs them all.
 */
#include <linux/module.h>
#include <linux/string.h>
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

static int __init api_init(void)
{
	struct lockmap *paths __free(lockmap_destroy) = create_paths();
	struct lockmap *users __free(lockmap_destroy) =
		lockmap_create(&(struct lockmap_params) {
			.name = "users", .key_len = sizeof(u64), .value_len = sizeof(u64),
		});
	int err;

	if (IS_ERR(paths))
		return PTR_ERR(paths);
	if (IS_ERR(users))
		return PTR_ERR(users);
	err = count_visit(users, 7) ?: transfer(users, 7, 8, 1);
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
