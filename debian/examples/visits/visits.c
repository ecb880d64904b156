// SPDX-License-Identifier: GPL-2.0 OR MIT
#include <linux/module.h>
#include "lockmap.h"

DEFINE_LOCKMAP(visits, u64, u64);	/* struct visits, visits_lock(), ... */

static struct visits *visits;

/* Count a visit of a user. However long this takes, it delays no other user. */
static int visit(u64 user)
{
	struct visits_entry *entry = visits_lock_killable(visits, &user);
	u64 *count;

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	count = visits_entry_get_or_insert(entry, NULL);	/* a new value is 0 */
	pr_info("user %llu: number %llu\n", user, ++*count);
	visits_unlock(entry);
	return 0;
}

static int __init visits_init(void)
{
	int err;

	visits = visits_create(NULL);
	if (IS_ERR(visits))
		return PTR_ERR(visits);
	err = visit(7) ?: visit(7);
	if (err)
		visits_destroy(visits);
	return err;
}

static void __exit visits_exit(void)
{
	visits_destroy(visits);
}

module_init(visits_init);
module_exit(visits_exit);
MODULE_DESCRIPTION("Counts the visits of each user");
MODULE_LICENSE("Dual MIT/GPL");
