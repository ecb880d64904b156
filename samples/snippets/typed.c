// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Code of Documentation/api.rst and Documentation/rust.rst for maps with types.
 * Each function is a piece of a page; loading the module runs them all.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include "lockmap.h"

DEFINE_LOCKMAP(visits, u64, u64);
DEFINE_LOCKMAP_SET(banned, u64);

static struct visits *visits;

/* [guard] */
static int reset(u64 user)
{
	CLASS(visits_lock_killable, entry)(visits, &user);
	if (IS_ERR(entry))
		return PTR_ERR(entry);

	return visits_entry_remove(entry, NULL) ? 0 : -ENOENT;
}

static int reset_soon(u64 user)
{
	struct visits_entry *entry __free(visits_unlock) = visits_lock_timeout(visits, &user, HZ);

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	return visits_entry_remove(entry, NULL) ? 0 : -ENOENT;
}

/* [guard end] */

/* [batch] */
static int reset_both(u64 one, u64 other)
{
	struct visits_batch_key keys[] = { visits_batch_key(&one), visits_batch_key(&other) };
	struct visits_batch *batch = visits_batch_lock_killable(visits, keys, ARRAY_SIZE(keys));
	unsigned int i;

	if (IS_ERR(batch))
		return PTR_ERR(batch);
	for (i = 0; i < visits_batch_nr(batch); i++)
		visits_entry_remove(visits_batch_nth(batch, i), NULL);
	visits_batch_unlock(batch);
	return 0;
}

/* [batch end] */

/* [set] */
/* Forget the visits of a user for good. */
static int ban(struct banned *banned, u64 user)
{
	struct banned_entry *entry = banned_lock(banned, &user);
	int err = 0;

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	if (!banned_entry_contains(entry))
		err = visits_remove(visits, &user, NULL);
	banned_entry_insert(entry);
	banned_unlock(entry);
	return err == -ENOENT ? 0 : err;
}

/* [set end] */

/* [count] */
static int count_visit(u64 user)
{
	struct visits_entry *entry = visits_lock(visits, &user);

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	++*visits_entry_get_or_insert(entry, NULL);
	visits_unlock(entry);
	return 0;
}

/* [count end] */

/* Ban a user, and ask whether the set has it. */
static int try_ban(u64 user)
{
	struct banned *banned = banned_create(NULL);
	int err;

	if (IS_ERR(banned))
		return PTR_ERR(banned);
	err = ban(banned, user) ?: ban(banned, user);
	if (!err && !banned_contains(banned, &user))
		err = -EIO;
	banned_destroy(banned);
	return err;
}

static int __init typed_init(void)
{
	int err;

	visits = visits_create(NULL);
	if (IS_ERR(visits))
		return PTR_ERR(visits);
	err = count_visit(7) ?: count_visit(8) ?: count_visit(9) ?: reset_both(7, 8) ?: reset(9);
	err = err ?: count_visit(7) ?: reset_soon(7) ?: count_visit(8) ?: try_ban(8);
	if (!err && !visits_is_empty(visits))
		err = -EIO;
	visits_destroy(visits);
	return err;
}

static void __exit typed_exit(void)
{
}

module_init(typed_init);
module_exit(typed_exit);
MODULE_DESCRIPTION("Code with types that the documentation of lockmap shows");
MODULE_LICENSE("Dual MIT/GPL");
