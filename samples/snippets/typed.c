// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Code of Documentation/api.rst and Documentation/rust.rst for maps with types.
 * Each function is a piece of a page; loading the module runs them all.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include "lockmap.h"

DEFINE_LOCKMAP(visits, u64, u64);

static struct visits *visits;

/* [guard] */
static int reset(u64 user)
{
	struct visits_entry *entry __free(lockmap_unlock) = visits_lock_killable(visits, &user);

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	return visits_entry_remove(entry, NULL) ? 0 : -ENOENT;
}

/* [guard end] */

/* [batch] */
static int reset_both(u64 one, u64 other)
{
	struct visits_key keys[] = { visits_key(&one), visits_key(&other) };
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

static int __init typed_init(void)
{
	int err;

	visits = visits_create(NULL);
	if (IS_ERR(visits))
		return PTR_ERR(visits);
	err = count_visit(7) ?: count_visit(8) ?: count_visit(9) ?: reset_both(7, 8) ?: reset(9);
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
