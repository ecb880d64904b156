// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * transfer: move money between accounts, while the sum never changes
 *
 * Writing "3 5 70" to /dev/transfer moves 70 from account 3 to account 5. Reading
 * gives the sum of all accounts. A transfer locks two keys, an audit locks all keys.
 * Any number of both run at once: none sees money on its way, none deadlocks, and
 * transfers between different accounts do not wait for each other.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "lockmap.h"

#define NR_ACCOUNTS	100	/* 0 to 99 */
#define OPENING_BALANCE	1000

DEFINE_LOCKMAP(accounts, u32, u64);

static struct accounts *accounts;

/* An audit locks every account. */
static u32 numbers[NR_ACCOUNTS];
static struct accounts_batch_key everybody[NR_ACCOUNTS];

static unsigned int delay_ms;
module_param(delay_ms, uint, 0644);
MODULE_PARM_DESC(delay_ms, "Milliseconds to sleep in the middle of a transfer, so that others wait");

/* The money has left one account and not yet reached the other. */
static void midway(void)
{
	unsigned int ms = READ_ONCE(delay_ms);

	/* A signal ends the delay, not the transfer, so nothing has to be undone. */
	if (ms)
		msleep_interruptible(ms);
}

/*
 * With two single locks this function would have to sort the accounts, check
 * whether both are the same, and unlock the first if it cannot get the second. The
 * batch does all that. The task can be killed while it waits for the batch: then it
 * holds no key, and nothing has changed.
 */
static int transfer(u32 from, u32 to, u64 amount)
{
	const struct accounts_batch_key keys[] = {
		accounts_batch_key(&from), accounts_batch_key(&to),
	};
	struct accounts_batch *batch;
	u64 *payer, *payee;
	int err = 0;

	batch = accounts_batch_lock_killable(accounts, keys, ARRAY_SIZE(keys));
	if (IS_ERR(batch))
		return PTR_ERR(batch);

	payer = accounts_entry_value(accounts_batch_entry(batch, &from));
	payee = accounts_entry_value(accounts_batch_entry(batch, &to));
	if (!payer || !payee) {
		err = -ENOENT;
	} else if (*payer < amount) {
		err = -ERANGE;
	} else {
		*payer -= amount;
		midway();
		*payee += amount;
	}
	accounts_batch_unlock(batch);
	return err;
}

/*
 * Lock all accounts at once. accounts_for_each() is not enough: it locks one account
 * at a time, and would count money that moves meanwhile twice, or not at all.
 */
static int audit(u64 *sum)
{
	struct accounts_batch *batch;

	batch = accounts_batch_lock_killable(accounts, everybody, NR_ACCOUNTS);
	if (IS_ERR(batch))
		return PTR_ERR(batch);

	*sum = 0;
	for (unsigned int i = 0; i < accounts_batch_nr(batch); i++)
		*sum += *accounts_entry_value(accounts_batch_nth(batch, i));
	accounts_batch_unlock(batch);
	return 0;
}

static ssize_t transfer_write(struct file *file, const char __user *data, size_t size, loff_t *pos)
{
	char line[64];
	u32 from, to;
	u64 amount;
	int err;

	if (size >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, data, size))
		return -EFAULT;
	line[size] = '\0';
	if (sscanf(line, "%u %u %llu", &from, &to, &amount) != 3)
		return -EINVAL;

	err = transfer(from, to, amount);
	return err ?: size;
}

static ssize_t transfer_read(struct file *file, char __user *data, size_t size, loff_t *pos)
{
	char line[32];
	u64 sum;
	int err;

	if (*pos)	/* end of file: the sum was read */
		return 0;
	err = audit(&sum);
	if (err)
		return err;
	return simple_read_from_buffer(data, size, pos, line,
				       scnprintf(line, sizeof(line), "%llu\n", sum));
}

static const struct file_operations transfer_fops = {
	.owner	= THIS_MODULE,
	.read	= transfer_read,
	.write	= transfer_write,
	.llseek	= default_llseek,
};

static struct miscdevice transfer_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "transfer",
	.mode	= 0600,
	.fops	= &transfer_fops,
};

static int open_accounts(void)
{
	const u64 balance = OPENING_BALANCE;

	for (u32 i = 0; i < NR_ACCOUNTS; i++) {
		int err = accounts_insert(accounts, &i, &balance, NULL);

		if (err < 0)
			return err;
		numbers[i] = i;
		everybody[i] = accounts_batch_key(&numbers[i]);
	}
	return 0;
}

static int __init transfer_init(void)
{
	int err;

	accounts = accounts_create(NULL);
	if (IS_ERR(accounts))
		return PTR_ERR(accounts);
	err = open_accounts() ?: misc_register(&transfer_device);
	if (err)
		accounts_destroy(accounts);
	return err;
}
module_init(transfer_init);

/* While a process has the device open the module cannot be unloaded, so no key is held here. */
static void __exit transfer_exit(void)
{
	misc_deregister(&transfer_device);
	accounts_destroy(accounts);
}
module_exit(transfer_exit);

MODULE_DESCRIPTION("Moves money between accounts while the sum never changes: a sample of lockmap");
MODULE_LICENSE("Dual MIT/GPL");
