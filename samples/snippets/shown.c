// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Code that README.md and the comments of lockmap.h show, paragraph for
 * paragraph. tools/test-docs looks for each of theirs in the samples.
 */
#include <linux/module.h>
#include <linux/string.h>
#include "lockmap.h"

struct info {
	u64 users;
};

/* README.md */
static int lock_path(const char *path)
{
	struct lockmap_entry *entry;
	struct lockmap *map;

	map = lockmap_create(&(struct lockmap_params) {
		.name = "paths", .flags = LOCKMAP_VAR_KEY,
		.key_len = 4096,	/* the longest */
		.value_len = sizeof(struct info),
	});
	entry = lockmap_lock_killable(map, path, strlen(path));

	lockmap_unlock(entry);
	lockmap_destroy(map);
	return PTR_ERR_OR_ZERO(entry);
}

/* The head of lockmap.h */
static int count_user(u64 ino)
{
	struct lockmap *map = lockmap_create(&(struct lockmap_params) {
		.name = "inodes", .key_len = sizeof(u64), .value_len = sizeof(struct info),
	});

	if (IS_ERR(map))
		return PTR_ERR(map);

	struct lockmap_entry *entry = lockmap_lock_killable(map, &ino, sizeof(ino));

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	struct info *info = lockmap_entry_get_or_insert(entry, NULL);	// zero if new

	info->users++;
	lockmap_unlock(entry);

	lockmap_destroy(map);
	return 0;
}

/* lockmap_batch_lock() */
static int lock_both(struct lockmap *map, u64 from, u64 to)
{
	const struct lockmap_key keys[] = { { &from, sizeof(from) }, { &to, sizeof(to) } };
	struct lockmap_batch *batch = lockmap_batch_lock(map, keys, ARRAY_SIZE(keys));

	lockmap_batch_unlock(batch);
	return PTR_ERR_OR_ZERO(batch);
}

/* Scope guards */
static int lock_killable(struct lockmap *map, u64 key)
{
	CLASS(lockmap_lock_killable, entry)(map, &key, sizeof(key));
	if (IS_ERR(entry))
		return PTR_ERR(entry);

	return 0;
}

static int trylock(struct lockmap *map, u64 key, size_t len)
{
	struct lockmap_entry *entry __free(lockmap_unlock) = lockmap_trylock(map, &key, len);

	return PTR_ERR_OR_ZERO(entry);
}

static int __init shown_init(void)
{
	struct lockmap *map __free(lockmap_destroy) = lockmap_create(&(struct lockmap_params) {
		.name = "locks", .key_len = sizeof(u64),
	});
	u64 key = 1;

	if (IS_ERR(map))
		return PTR_ERR(map);
	return lock_path("/tmp") ?: count_user(2) ?: lock_both(map, 1, 2) ?:
	       lock_killable(map, key) ?: trylock(map, key, sizeof(key));
}

static void __exit shown_exit(void)
{
}

module_init(shown_init);
module_exit(shown_exit);
MODULE_DESCRIPTION("Code that README.md and lockmap.h show");
MODULE_LICENSE("Dual MIT/GPL");
