/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What differs between kernels from 6.1 to 7.3: how a disk gets its queue limits. A
 * driver for one kernel has a struct queue_limits, and calls blk_alloc_disk().
 */
#ifndef _BLOCKCELLS_COMPAT_H
#define _BLOCKCELLS_COMPAT_H

#include <linux/blkdev.h>
#include <linux/err.h>
#include <linux/numa.h>
#include <linux/version.h>

/*
 * Make a disk whose bios are of whole blocks, and bio_split_to_limits() splits them
 * where a chunk ends. It has a write cache, as the device below may have one. Pages are
 * not to change while they are written, since their checksum is taken before.
 */
static struct gendisk *alloc_disk_of_chunks(unsigned int block_bytes, unsigned int chunk_sectors)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
	struct queue_limits limits = {
		.logical_block_size = block_bytes,
		.chunk_sectors = chunk_sectors,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
		.features = BLK_FEAT_WRITE_CACHE | BLK_FEAT_FUA | BLK_FEAT_STABLE_WRITES,
#endif
	};
	struct gendisk *disk = blk_alloc_disk(&limits, NUMA_NO_NODE);
#else
	struct gendisk *disk = blk_alloc_disk(NUMA_NO_NODE) ?: ERR_PTR(-ENOMEM);

	if (!IS_ERR(disk)) {
		blk_queue_logical_block_size(disk->queue, block_bytes);
		blk_queue_chunk_sectors(disk->queue, chunk_sectors);
	}
#endif
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
	if (!IS_ERR(disk)) {
		blk_queue_write_cache(disk->queue, true, true);
		blk_queue_flag_set(QUEUE_FLAG_STABLE_WRITES, disk->queue);
	}
#endif
	return disk;
}

#endif /* _BLOCKCELLS_COMPAT_H */
