// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * singleflight: a cache of SHA-256 digests of files, in which each file is read once
 *
 * Processes ask /dev/singleflight for the digest of a file by its path, with the
 * ioctl in singleflight.h. A lockmap maps paths to digests, and a process that reads
 * a file holds the lock of its path. If many processes ask for a file at once, one
 * reads it and all get the digest, while other files are read in parallel.
 *
 * ask_lockmap() is the part to copy. For comparison, mode=mutex and mode=naive load
 * the module with what one would write without a lock per key.
 *
 * To stay short this leaves something out: a file that changes keeps its old digest,
 * and the number of digests has no limit. A process also gets the digest of a file
 * that it may not read, once another process has read it: so only root may open the
 * device.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <crypto/hash.h>
#include <crypto/sha2.h>
#include <linux/debugfs.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "lockmap.h"
#include "singleflight.h"

struct digest {
	u8 bytes[SHA256_DIGEST_SIZE];
};

static struct lockmap *digests;		/* from a path, without its NUL, to a struct digest */
static struct crypto_shash *sha256_alg;

/* In /sys/kernel/debug/singleflight */
static atomic_t requests;	/* digests asked for */
static atomic_t reads;		/* files read */
static atomic_t waited;		/* requests that found the lock taken */

static int digest_of_open_file(struct file *file, struct digest *digest)
{
	u8 *chunk __free(kfree) = kmalloc(SZ_64K, GFP_KERNEL);
	SHASH_DESC_ON_STACK(desc, sha256_alg);
	loff_t pos = 0;
	ssize_t n;
	int err;

	if (!chunk)
		return -ENOMEM;
	desc->tfm = sha256_alg;
	err = crypto_shash_init(desc);
	while (!err) {
		if (fatal_signal_pending(current))
			return -EINTR;
		n = kernel_read(file, chunk, SZ_64K, &pos);
		if (n < 0)
			return n;
		if (n == 0)
			return crypto_shash_final(desc, digest->bytes);
		err = crypto_shash_update(desc, chunk, n);
		cond_resched();
	}
	return err;
}

/* Open the file with the rights of the asking process, and read it. That may take long. */
static int read_file(const char *path, struct digest *digest)
{
	struct file *file = filp_open(path, O_RDONLY | O_LARGEFILE | O_NONBLOCK, 0);
	int err = -EINVAL;

	if (IS_ERR(file))
		return PTR_ERR(file);
	if (S_ISREG(file_inode(file)->i_mode)) {
		atomic_inc(&reads);
		err = digest_of_open_file(file, digest);
	}
	fput(file);
	return err;
}

/* Like lockmap_lock_killable(), but count the requests that have to wait. */
static struct lockmap_entry *lock_path(const char *path, size_t len)
{
	struct lockmap_entry *entry = lockmap_trylock(digests, path, len);

	if (!IS_ERR(entry))
		return entry;
	if (PTR_ERR(entry) == -EBUSY)
		atomic_inc(&waited);
	return lockmap_lock_killable(digests, path, len);
}

/*
 * One lock per path. The first process to ask holds it while it reads the file.
 * Processes that ask meanwhile sleep in lock_path(), and then find the digest. An
 * error is not stored: the next process finds no value and reads the file itself,
 * also if the first one was killed.
 */
static int ask_lockmap(const char *path, size_t len, struct digest *digest)
{
	struct lockmap_entry *entry __free(lockmap_unlock) = lock_path(path, len);
	const struct digest *known;
	int err;

	if (IS_ERR(entry))
		return PTR_ERR(entry);

	known = lockmap_entry_value(entry);
	if (known) {
		*digest = *known;
		return 0;
	}
	err = read_file(path, digest);
	if (!err)
		lockmap_entry_insert(entry, digest, NULL);
	return err;
}

/* For comparison: look up, read, insert. Several processes may read the same file at once. */
static int ask_naive(const char *path, size_t len, struct digest *digest)
{
	int err = lockmap_get(digests, path, len, digest);

	if (err != -ENOENT)
		return err;
	err = read_file(path, digest);
	if (err)
		return err;
	err = lockmap_insert(digests, path, len, digest, NULL);
	return err < 0 ? err : 0;
}

/* For comparison: one lock for all. No file is read twice, and no two files in parallel. */
static int ask_mutex(const char *path, size_t len, struct digest *digest)
{
	static DEFINE_MUTEX(lock);
	int err;

	if (!mutex_trylock(&lock)) {
		atomic_inc(&waited);
		err = mutex_lock_killable(&lock);
		if (err)
			return err;
	}
	err = ask_naive(path, len, digest);
	mutex_unlock(&lock);
	return err;
}

static const struct mode {
	const char *name;
	int (*ask)(const char *path, size_t len, struct digest *digest);
} modes[] = {
	{ "lockmap", ask_lockmap },
	{ "mutex", ask_mutex },
	{ "naive", ask_naive },
};

static const struct mode *mode;
static char *mode_name = "lockmap";
module_param_named(mode, mode_name, charp, 0444);
MODULE_PARM_DESC(mode, "lockmap (default), mutex or naive");

static long singleflight_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct singleflight_request __user *request = (void __user *)arg;
	struct digest digest;
	u64 address;
	int err;

	if (cmd != SINGLEFLIGHT_SHA256)
		return -ENOTTY;
	if (get_user(address, &request->path))
		return -EFAULT;

	char *path __free(kfree) = strndup_user(u64_to_user_ptr(address), PATH_MAX);

	if (IS_ERR(path))
		return PTR_ERR(path);
	/* A relative path would mean different files to different processes. */
	if (path[0] != '/')
		return -EINVAL;

	atomic_inc(&requests);
	err = mode->ask(path, strlen(path), &digest);
	if (err)
		return err;
	return copy_to_user(request->digest, digest.bytes, sizeof(digest.bytes)) ? -EFAULT : 0;
}

static const struct file_operations singleflight_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= singleflight_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice singleflight_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "singleflight",
	.mode	= 0600,
	.fops	= &singleflight_fops,
};

static const struct mode *find_mode(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (!strcmp(modes[i].name, name))
			return &modes[i];
	return NULL;
}

static struct dentry *debug_dir;

static void make_counters(void)
{
	debug_dir = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_atomic_t("requests", 0444, debug_dir, &requests);
	debugfs_create_atomic_t("reads", 0444, debug_dir, &reads);
	debugfs_create_atomic_t("waited", 0444, debug_dir, &waited);
}

static int __init singleflight_init(void)
{
	int err;

	mode = find_mode(mode_name);
	if (!mode) {
		pr_err("no such mode: %s\n", mode_name);
		return -EINVAL;
	}
	sha256_alg = crypto_alloc_shash("sha256", 0, 0);
	if (IS_ERR(sha256_alg))
		return PTR_ERR(sha256_alg);
	digests = lockmap_create(&(struct lockmap_params) {
		.name = "singleflight",
		.flags = LOCKMAP_VAR_KEY,
		.key_len = PATH_MAX - 1,
		.value_len = sizeof(struct digest),
	});
	if (IS_ERR(digests)) {
		err = PTR_ERR(digests);
		goto no_map;
	}
	make_counters();
	err = misc_register(&singleflight_device);
	if (err)
		goto no_device;
	return 0;

no_device:
	debugfs_remove(debug_dir);
	lockmap_destroy(digests);
no_map:
	crypto_free_shash(sha256_alg);
	return err;
}
module_init(singleflight_init);

static void __exit singleflight_exit(void)
{
	misc_deregister(&singleflight_device);
	debugfs_remove(debug_dir);
	lockmap_destroy(digests);
	crypto_free_shash(sha256_alg);
}
module_exit(singleflight_exit);

MODULE_DESCRIPTION("A cache of SHA-256 digests, each file read once: a sample of lockmap");
MODULE_LICENSE("Dual MIT/GPL");
