// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The second half of the tutorial, Documentation/tutorial.rst: the keys are names,
 * guards unlock, and a batch locks two users at once.
 */
#include <linux/module.h>
#include <linux/string.h>
#include "lockmap.h"

#define MAX_VISITS	3

/* [create] */
static struct lockmap *visits;

static int create_visits(void)
{
	visits = lockmap_create(&(struct lockmap_params) {
		.name = "visitors",
		.key_len = 32,			/* names of up to 32 bytes */
		.flags = LOCKMAP_VAR_KEY,
		.value_len = sizeof(u64),
	});
	return PTR_ERR_OR_ZERO(visits);
}

/* [create end] */

/* [guard] */
static int visit(const char *name)
{
	u64 *count;

	CLASS(lockmap_lock_killable, entry)(visits, name, strlen(name));
	if (IS_ERR(entry))
		return PTR_ERR(entry);

	count = lockmap_entry_get_or_insert(entry, NULL);
	if (*count == MAX_VISITS)
		return -EDQUOT;		/* the guard unlocks the key */
	++*count;
	return 0;
}

/* [guard end] */

/* [batch] */
/* Rename a user. The visits are counted under the new name from now on. */
static int change_name(const char *old, const char *new)
{
	const struct lockmap_key keys[] = {
		{ old, strlen(old) },
		{ new, strlen(new) },
	};
	struct lockmap_entry *from, *to;
	u64 count;

	CLASS(lockmap_batch_lock_killable, batch)(visits, keys, ARRAY_SIZE(keys));
	if (IS_ERR(batch))
		return PTR_ERR(batch);

	from = lockmap_batch_entry(batch, old, strlen(old));
	to = lockmap_batch_entry(batch, new, strlen(new));
	if (!lockmap_entry_remove(from, &count))
		return -ENOENT;
	*(u64 *)lockmap_entry_get_or_insert(to, NULL) += count;
	return 0;
}

/* [batch end] */

/* A real module would do this when users visit. */
static int try_it(void)
{
	u64 count;
	int err;

	err = visit("ann") ?: visit("ann") ?: visit("bob");
	err = err ?: change_name("bob", "bob") ?: change_name("bob", "ann");
	if (!err && (visit("ann") != -EDQUOT || change_name("bob", "carl") != -ENOENT))
		err = -EIO;
	err = err ?: lockmap_get(visits, "ann", 3, &count);
	if (!err)
		pr_info("ann: %llu visits, of %zu users\n", count, lockmap_len(visits));
	return err;
}

static int __init names_init(void)
{
	int err = create_visits();

	if (err)
		return err;
	err = try_it();
	if (err)
		lockmap_destroy(visits);
	return err;
}

static void __exit names_exit(void)
{
	lockmap_destroy(visits);
}

module_init(names_init);
module_exit(names_exit);
MODULE_DESCRIPTION("Counts visits by name");
MODULE_LICENSE("Dual MIT/GPL");
