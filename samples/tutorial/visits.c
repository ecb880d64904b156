// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The first half of the tutorial, Documentation/tutorial.rst: count the visits of
 * each user.
 */
/* [types] */
#include <linux/module.h>
#include "lockmap.h"

DEFINE_LOCKMAP(visits, u64, u64);

static struct visits *visits;
/* [types end] */

/* [visit] */
static int visit(u64 user)
{
	struct visits_entry *entry = visits_lock(visits, &user);

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	++*visits_entry_get_or_insert(entry, NULL);
	visits_unlock(entry);
	return 0;
}

/* [visit end] */

/* [killable] */
static int visit_killable(u64 user)
{
	struct visits_entry *entry = visits_lock_killable(visits, &user);

	if (IS_ERR(entry))
		return PTR_ERR(entry);	/* -EINTR: the task was killed */
	++*visits_entry_get_or_insert(entry, NULL);
	visits_unlock(entry);
	return 0;
}

/* [killable end] */

/* [read] */
static u64 visits_of(u64 user)
{
	u64 count;

	return visits_get(visits, &user, &count) ? 0 : count;
}

/* [read end] */

/* [share] */
static int report(u64 user)
{
	const struct visits_entry *entry = visits_lock_shared_killable(visits, &user);
	const u64 *count;

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	count = visits_entry_value_shared(entry);
	if (count)
		pr_info("user %llu: %llu visits so far\n", user, *count);
	visits_unlock_shared(entry);
	return 0;
}

/* [share end] */

/* [present] */
static int start_over(u64 user)
{
	struct visits_entry *entry = visits_lock_present(visits, &user);

	if (IS_ERR(entry))
		return PTR_ERR(entry);	/* -ENOENT: there is no such user */
	*visits_entry_value(entry) = 1;
	visits_unlock(entry);
	return 0;
}

/* [present end] */

/* [walk] */
static int show(const u64 *user, u64 *count, void *arg)
{
	pr_info("user %llu: %llu visits\n", *user, *count);
	return 0;
}

static bool is_regular(const u64 *user, u64 *count, void *arg)
{
	return *count > 1;
}

static int show_regulars(void)
{
	return visits_retain(visits, is_regular, NULL) ?: visits_for_each(visits, show, NULL);
}

/* [walk end] */

/* [try] */
static int try_it(void)
{
	int err = visit(7) ?: visit_killable(7) ?: visit(8) ?: report(7) ?: show_regulars();

	if (!err && (visits_of(7) != 2 || visits_of(8)))
		err = -EIO;
	err = err ?: start_over(7);
	if (!err && (visits_of(7) != 1 || start_over(8) != -ENOENT))
		err = -EIO;
	return err;
}

/* [try end] */

/* [module] */
static int __init visits_init(void)
{
	int err;

	visits = visits_create(NULL);
	if (IS_ERR(visits))
		return PTR_ERR(visits);
	err = try_it();
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
MODULE_DESCRIPTION("Counts visits");
MODULE_LICENSE("Dual MIT/GPL");
/* [module end] */
