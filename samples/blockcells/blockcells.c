// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * blockcells: a block device whose blocks have checksums, over another block device
 *
 * /dev/blockcells passes bios on to the device that `lower` names, in cells of 64 KiB. A
 * lockmap maps the number of a cell to the checksums of its blocks. A write holds the
 * lock of its cell from before it changes checksums until the device below has the data.
 * A read shares the cell, and fails if a checksum is wrong.
 *
 * Real drivers need such locks where data and what they know of it change together.
 * Without, two writes of a block may leave the data of one and the checksum of the
 * other, and a read between the two changes reports an error. Likewise the parity of a
 * RAID stripe needs blocks that do not change while it is computed, and two first writes
 * to a chunk of a thin volume must not both allocate one.
 *
 * Whoever submits a bio, as writeback does, has others to submit, so it must not sleep
 * for a cell. A bio that finds its cell busy waits as a request. The bio that has the
 * cell unlocks it when it ends, which calls granted() of the next one, and a workqueue
 * submits that. Copy start(), wait_for_cell(), granted() and give_up().
 *
 * To stay short this keeps the checksums in memory alone. And the first access to a cell
 * needs memory, for which it tries again and again; so do not swap to this device, or
 * insert all cells before.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/numa.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "cell.h"
#include "core/compat.h"
#include "lockmap.h"

#define RESERVE		64	/* bios that go on when there is no memory */
#define RETRY_DELAY	(HZ / 100 + 1)

/* What a bio needs on its way; allocated together with its clone, from a reserve. */
struct cell_bio {
	u64 cell;
	struct bio *bio;	/* as it came */
	union {
		struct lockmap_entry *entry;		/* the cell of a write */
		const struct lockmap_entry *shared;	/* the cell of a read */
	};
	struct lockmap_request request;
	struct list_head waiting;	/* in the list of that name */
	unsigned long since;		/* jiffies */
	struct delayed_work work;	/* the next step, if it needs a task */
	struct bio below;	/* the clone, which the device below gets; comes last */
};

static struct lockmap *cells;	/* from a u64 to a struct cell */
static struct bio_set cell_bios;
static struct workqueue_struct *workers;
static struct file *lower_file;
static struct block_device *lower_device;
static struct gendisk *disk;

/* Bios that wait for their cell, the oldest first. granted() must not take the lock. */
static LIST_HEAD(waiting);
static DEFINE_SPINLOCK(waiting_lock);
static unsigned long nr_waiting, most_waiting, nr_waited, nr_late;

static atomic_long_t nr_writes, nr_reads, nr_retries;
static atomic_long_t nr_collisions;	/* two writes in a cell at once */
static atomic_long_t nr_wrong;		/* wrong checksums */

static char *lower = "";
module_param(lower, charp, 0444);
MODULE_PARM_DESC(lower, "Path of the block device below, which this module writes to");
static unsigned int patience_ms = 30000;
module_param(patience_ms, uint, 0444);
MODULE_PARM_DESC(patience_ms, "How long a bio waits for its cell before it fails, in milliseconds");

static void start(struct cell_bio *cb);

static bool is_write(const struct cell_bio *cb)
{
	return op_is_write(bio_op(cb->bio));
}

/* The bio has its cell: pass its clone on. */
static void submit_below(struct cell_bio *cb)
{
	if (is_write(cb)) {
		struct cell *cell = lockmap_entry_get_or_insert(cb->entry, NULL);

		if (xchg(&cell->writing, true))
			atomic_long_inc(&nr_collisions);
		cell_write(cell, cb->bio);
	}
	submit_bio_noacct(&cb->below);
}

static void end(struct cell_bio *cb, blk_status_t status)
{
	struct bio *bio = cb->bio;

	bio_put(&cb->below);
	if (status)
		bio->bi_status = status;
	bio_endio(bio);
}

/* Unlock the cell before the bio ends: then the map may be destroyed. */
static void finish(struct cell_bio *cb)
{
	blk_status_t status = cb->below.bi_status;

	if (is_write(cb)) {
		struct cell *cell = lockmap_entry_value(cb->entry);

		if (status)
			cell_forget(cell, cb->bio);
		xchg(&cell->writing, false);
		lockmap_unlock(cb->entry);
	} else {
		if (!status && !cell_agrees(lockmap_entry_value_shared(cb->shared), cb->bio)) {
			atomic_long_inc(&nr_wrong);
			pr_err_ratelimited("wrong checksum in cell %llu of %s\n", cb->cell, lower);
			status = BLK_STS_PROTECTION;
		}
		lockmap_unlock_shared(cb->shared);
	}
	end(cb, status);
}

static void continue_in_task(struct cell_bio *cb, work_func_t step, unsigned long delay)
{
	INIT_DELAYED_WORK(&cb->work, step);
	queue_delayed_work(workers, &cb->work, delay);
}

static void finish_in_task(struct work_struct *work)
{
	finish(container_of(work, struct cell_bio, work.work));
}

/* The driver below may call this where lockmap cannot be called: in a hard interrupt. */
static void below_done(struct bio *below)
{
	struct cell_bio *cb = container_of(below, struct cell_bio, below);

	if (in_hardirq() || irqs_disabled())
		continue_in_task(cb, finish_in_task, 0);
	else
		finish(cb);
}

static void submit_granted(struct work_struct *work)
{
	struct cell_bio *cb = container_of(work, struct cell_bio, work.work);

	/* wait_for_cell() may be at work on the bio still: wait for that. */
	spin_lock(&waiting_lock);
	list_del(&cb->waiting);
	nr_waiting--;
	spin_unlock(&waiting_lock);
	submit_below(cb);
}

/* A request gets the cell alone. A read that waited lets reads in that come later. */
static void set_entry(struct cell_bio *cb, struct lockmap_entry *entry)
{
	if (is_write(cb))
		cb->entry = entry;
	else
		cb->shared = lockmap_downgrade(entry);
}

/*
 * Called by the unlock of the bio that had the cell, in a task or softirq: this must not
 * sleep, as submit_bio_noacct() may.
 */
static void granted(struct lockmap_request *request, struct lockmap_entry *entry)
{
	struct cell_bio *cb = container_of(request, struct cell_bio, request);

	set_entry(cb, entry);
	continue_in_task(cb, submit_granted, 0);
}

/*
 * Fail the bios that have waited too long. A request that lockmap_cancel() cannot take
 * back is granted already: submit_granted() is on its way.
 */
static void give_up(struct work_struct *work)
{
	const unsigned long patience = msecs_to_jiffies(patience_ms);
	struct cell_bio *cb, *next;
	LIST_HEAD(late);

	spin_lock(&waiting_lock);
	list_for_each_entry_safe(cb, next, &waiting, waiting) {
		if (time_before(jiffies, cb->since + patience))
			break;
		if (lockmap_cancel(&cb->request)) {
			list_move_tail(&cb->waiting, &late);
			nr_waiting--;
			nr_late++;
		}
	}
	if (!list_empty(&waiting))
		schedule_delayed_work(to_delayed_work(work), patience / 4 + 1);
	spin_unlock(&waiting_lock);

	list_for_each_entry_safe(cb, next, &late, waiting)
		end(cb, BLK_STS_TIMEOUT);
}

static DECLARE_DELAYED_WORK(watch, give_up);

/*
 * Lock the cell, or leave a request for it. As soon as it is left, it may be granted, and
 * the bio be submitted, end and be freed, all before lockmap_lock_async() returns. So
 * hold a lock that submit_granted() takes as well, until the bio is in the list.
 *
 * Return: 0; -EINPROGRESS: the bio is not the caller's any more; -ENOMEM.
 */
static int wait_for_cell(struct cell_bio *cb)
{
	struct lockmap_entry *entry;

	cb->request.granted = granted;
	spin_lock(&waiting_lock);
	entry = lockmap_lock_async(cells, &cb->cell, sizeof(cb->cell), &cb->request);
	if (entry == ERR_PTR(-EINPROGRESS)) {
		cb->since = jiffies;
		list_add_tail(&cb->waiting, &waiting);
		most_waiting = max(most_waiting, ++nr_waiting);
		nr_waited++;
		schedule_delayed_work(&watch, msecs_to_jiffies(patience_ms) + 1);
	}
	spin_unlock(&waiting_lock);
	if (IS_ERR(entry))
		return PTR_ERR(entry);
	set_entry(cb, entry);
	return 0;
}

/*
 * Lock the cell if it is free, as it usually is: without waiting_lock, and reads together.
 * finish() may run anywhere, so let the lock belong to no task.
 *
 * Return: 0, -EBUSY, -ENOMEM.
 */
static int try_cell(struct cell_bio *cb)
{
	if (is_write(cb)) {
		cb->entry = lockmap_trylock(cells, &cb->cell, sizeof(cb->cell));
		if (!IS_ERR(cb->entry))
			lockmap_entry_disown(cb->entry);
		return PTR_ERR_OR_ZERO(cb->entry);
	}
	cb->shared = lockmap_trylock_shared(cells, &cb->cell, sizeof(cb->cell));
	if (!IS_ERR(cb->shared))
		lockmap_entry_disown_shared(cb->shared);
	return PTR_ERR_OR_ZERO(cb->shared);
}

static void start_again(struct work_struct *work)
{
	start(container_of(work, struct cell_bio, work.work));
}

/*
 * If there is no memory for a cell that is new, try again later. No worker sleeps until
 * there is: bios that free memory when they end may need one.
 */
static void start(struct cell_bio *cb)
{
	int err = try_cell(cb);

	if (err == -EBUSY)
		err = wait_for_cell(cb);
	if (!err) {
		submit_below(cb);
	} else if (err != -EINPROGRESS) {
		atomic_long_inc(&nr_retries);
		continue_in_task(cb, start_again, RETRY_DELAY);
	}
}

static void blockcells_submit_bio(struct bio *bio)
{
	struct cell_bio *cb;
	struct bio *below;

	/* A flush is of no cell: it is for writes that have ended. */
	if (!bio_sectors(bio)) {
		bio_set_dev(bio, lower_device);
		submit_bio_noacct(bio);
		return;
	}
	/* Of a bio that crosses cells this is the first part. The rest comes here again. */
	bio = bio_split_to_limits(bio);
	if (!bio)
		return;
	atomic_long_inc(op_is_write(bio_op(bio)) ? &nr_writes : &nr_reads);

	/*
	 * Without memory and reserve this waits until another bio ends. One does: each that
	 * has part of the reserve is below, or waits for one that is, or for memory.
	 */
	below = bio_alloc_clone(lower_device, bio, GFP_NOIO, &cell_bios);
	below->bi_end_io = below_done;
	cb = container_of(below, struct cell_bio, below);
	cb->cell = bio->bi_iter.bi_sector / CELL_SECTORS;
	cb->bio = bio;
	start(cb);
}

static const struct block_device_operations blockcells_ops = {
	.owner		= THIS_MODULE,
	.submit_bio	= blockcells_submit_bio,
};

static int open_lower(void)
{
	/* O_EXCL: nobody else mounts it meanwhile. */
	lower_file = filp_open(lower, O_RDWR | O_EXCL | O_LARGEFILE, 0);
	if (IS_ERR(lower_file)) {
		pr_err("cannot open \"%s\" (%pe): say lower=DEVICE, with one that nobody uses\n",
		       lower, lower_file);
		return PTR_ERR(lower_file);
	}
	if (!S_ISBLK(file_inode(lower_file)->i_mode)) {
		pr_err("%s is no block device; losetup makes one of a file\n", lower);
		filp_close(lower_file, NULL);
		return -ENOTBLK;
	}
	lower_device = I_BDEV(lower_file->f_mapping->host);
	return 0;
}

/*
 * Bios are of whole blocks, and bio_split_to_limits() splits them where a cell ends. The
 * disk has a write cache, as the device below may have one. Pages are not to change
 * while they are written, since their checksum is taken before.
 */
static int make_disk(void)
{
	struct queue_limits limits = {
		.logical_block_size = BLOCK_BYTES,
		.chunk_sectors = CELL_SECTORS,
		LM_DISK_FEATURES
	};
	int err;

	disk = lm_disk_alloc(&limits);
	if (IS_ERR(disk))
		return PTR_ERR(disk);
	lm_disk_set_features(disk);
	strscpy(disk->disk_name, KBUILD_MODNAME, sizeof(disk->disk_name));
	disk->fops = &blockcells_ops;
	disk->flags |= GENHD_FL_NO_PART;
	set_capacity(disk, round_down(bdev_nr_sectors(lower_device), BLOCK_SECTORS));
	err = add_disk(disk);
	if (err)
		put_disk(disk);
	return err;
}

static int __init blockcells_init(void)
{
	int err = open_lower();

	if (err)
		return err;
	cells = lockmap_create(&(struct lockmap_params) {
		.name = "blockcells",
		.key_len = sizeof(u64),
		.value_len = sizeof(struct cell),
		.gfp = GFP_NOIO,	/* to free memory may need this very device */
	});
	err = PTR_ERR_OR_ZERO(cells);
	if (err)
		goto close_lower;
	err = bioset_init(&cell_bios, RESERVE, offsetof(struct cell_bio, below), 0);
	if (err)
		goto destroy_map;
	workers = alloc_workqueue(KBUILD_MODNAME, WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	err = workers ? make_disk() : -ENOMEM;
	if (!err)
		return 0;
	if (workers)
		destroy_workqueue(workers);
	bioset_exit(&cell_bios);
destroy_map:
	lockmap_destroy(cells);
close_lower:
	filp_close(lower_file, NULL);
	return err;
}
module_init(blockcells_init);

/* The device is closed, so all bios have ended: no cell is locked, and none waited for. */
static void __exit blockcells_exit(void)
{
	del_gendisk(disk);
	put_disk(disk);
	cancel_delayed_work_sync(&watch);
	destroy_workqueue(workers);
	bioset_exit(&cell_bios);
	lockmap_destroy(cells);
	filp_close(lower_file, NULL);
	pr_info("writes %ld, reads %ld, waited %lu, at once %lu, gave up %lu, without memory %ld, collisions %ld, wrong checksums %ld\n",
		atomic_long_read(&nr_writes), atomic_long_read(&nr_reads), nr_waited,
		most_waiting, nr_late, atomic_long_read(&nr_retries),
		atomic_long_read(&nr_collisions), atomic_long_read(&nr_wrong));
}
module_exit(blockcells_exit);

MODULE_DESCRIPTION("A block device with checksums and asynchronous locks: a sample of lockmap");
MODULE_LICENSE("Dual MIT/GPL");
