// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The second half of the tutorial, Documentation/tutorial.rst: two keys at once, and
 * keys that are strings. Built with all samples.
 */
#include <linux/module.h>
#include <linux/string.h>
#include "lockmap.h"

/* [create] */
struct purse {
	u64 coins;
};

static struct lockmap *purses;

static int create_purses(void)
{
	purses = lockmap_create(&(struct lockmap_params) {
		.name = "purses",
		.key_len = 32,			/* names of up to 32 bytes */
		.flags = LOCKMAP_VAR_KEY,
		.value_len = sizeof(struct purse),
	});
	return PTR_ERR_OR_ZERO(purses);
}

/* [create end] */

/* [guard] */
static int earn(const char *name, u64 coins)
{
	struct purse *purse;

	CLASS(lockmap_lock_killable, entry)(purses, name, strlen(name));
	if (IS_ERR(entry))
		return PTR_ERR(entry);

	purse = lockmap_entry_get_or_insert(entry, NULL);
	if (check_add_overflow(purse->coins, coins, &coins))
		return -EOVERFLOW;	/* and the key is unlocked */
	purse->coins = coins;
	return 0;
}

/* [guard end] */

/* [batch] */
static struct purse *purse_of(struct lockmap_batch *batch, const struct lockmap_key *key)
{
	return lockmap_entry_value(lockmap_batch_entry(batch, key->data, key->len));
}

static int pay(const char *from, const char *to, u64 coins)
{
	const struct lockmap_key keys[] = {
		{ from, strlen(from) },
		{ to, strlen(to) },
	};
	struct purse *giver, *taker;

	CLASS(lockmap_batch_lock_killable, batch)(purses, keys, ARRAY_SIZE(keys));
	if (IS_ERR(batch))
		return PTR_ERR(batch);

	giver = purse_of(batch, &keys[0]);
	taker = purse_of(batch, &keys[1]);
	if (!giver || !taker)
		return -ENOENT;
	if (giver->coins < coins)
		return -EAGAIN;
	giver->coins -= coins;
	taker->coins += coins;
	return 0;
}

/* [batch end] */

static int __init purses_init(void)
{
	int err = create_purses();

	if (err)
		return err;
	err = earn("ann", 10) ?: earn("bob", 1) ?: pay("ann", "bob", 4);
	if (!err && pay("ann", "bob", 7) != -EAGAIN)
		err = -EIO;
	if (!err && pay("ann", "carl", 1) != -ENOENT)
		err = -EIO;
	if (err)
		lockmap_destroy(purses);
	return err;
}

static void __exit purses_exit(void)
{
	lockmap_destroy(purses);
}

module_init(purses_init);
module_exit(purses_exit);
MODULE_DESCRIPTION("Moves coins");
MODULE_LICENSE("Dual MIT/GPL");
