/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A cell has checksums of its blocks, which change with what is written. There are no
 * locks here: the caller has the cell, for a read together with others.
 */
#ifndef _BLOCKCELLS_CELL_H
#define _BLOCKCELLS_CELL_H

#include <linux/bio.h>
#include <linux/bitmap.h>
#include <linux/crc32.h>
#include <linux/highmem.h>
#include <linux/minmax.h>
#include <linux/sizes.h>

#define BLOCK_BYTES	SZ_4K
#define BLOCK_SECTORS	(BLOCK_BYTES >> SECTOR_SHIFT)
#define CELL_SECTORS	(SZ_64K >> SECTOR_SHIFT)
#define CELL_BLOCKS	(CELL_SECTORS / BLOCK_SECTORS)

struct cell {
	u32 checksum[CELL_BLOCKS];
	unsigned long known;	/* a bit for each checksum */
	bool writing;		/* to find out if two writes are here at once */
};

/* A bio is of whole blocks, all in one cell. */
static unsigned int first_block(const struct bio *bio)
{
	return bio->bi_iter.bi_sector % CELL_SECTORS / BLOCK_SECTORS;
}

static unsigned int nr_blocks(const struct bio *bio)
{
	return bio_sectors(bio) / BLOCK_SECTORS;
}

/* Write the checksum of each block. A block may be in several segments. */
static void take_checksums(struct bio *bio, u32 *checksum)
{
	unsigned int filled = 0, done, n;
	struct bvec_iter iter;
	struct bio_vec vec;
	u32 crc = ~0;
	u8 *data;

	bio_for_each_segment(vec, bio, iter) {
		data = bvec_kmap_local(&vec);
		for (done = 0; done < vec.bv_len; done += n) {
			n = min(vec.bv_len - done, BLOCK_BYTES - filled);
			crc = crc32_le(crc, data + done, n);
			filled += n;
			if (filled == BLOCK_BYTES) {
				*checksum++ = crc;
				crc = ~0;
				filled = 0;
			}
		}
		kunmap_local(data);
	}
}

static void cell_write(struct cell *cell, struct bio *bio)
{
	take_checksums(bio, cell->checksum + first_block(bio));
	bitmap_set(&cell->known, first_block(bio), nr_blocks(bio));
}

/* A write has failed: nobody knows what is on the disk. */
static void cell_forget(struct cell *cell, struct bio *bio)
{
	bitmap_clear(&cell->known, first_block(bio), nr_blocks(bio));
}

/* Return: whether blocks that were read have their checksums. A cell may be %NULL. */
static bool cell_agrees(const struct cell *cell, struct bio *bio)
{
	unsigned int first = first_block(bio), i;
	u32 checksum[CELL_BLOCKS];

	take_checksums(bio, checksum);
	for (i = 0; cell && i < nr_blocks(bio); i++) {
		if (test_bit(first + i, &cell->known) && cell->checksum[first + i] != checksum[i])
			return false;
	}
	return true;
}

#endif /* _BLOCKCELLS_CELL_H */
