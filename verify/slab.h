/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Entries in a cache that is SLAB_TYPESAFE_BY_RCU, and RCU. What was freed last is
 * allocated again first. Memory that is free goes away when the tasks that were in
 * a read side section when it was freed have left that: an access by any other
 * task is an error.
 */
#ifndef _VERIFY_SLAB_H
#define _VERIFY_SLAB_H

#include "core/types.h"

#define NR_ENTRIES	4

/* @data: the value, then the key; @free, @old_readers: what the slab and RCU know of it. */
static struct slab_entry {
	struct lockmap_entry entry;
	u64 data[3];
	bool free;
	u8 old_readers;
} slab[NR_ENTRIES] __world;

static_assert(offsetof(struct slab_entry, data) == offsetof(struct lockmap_entry, data));

/* The model's: what must hold of an entry that is freed. */
static void check_free(const struct lockmap_entry *entry);

static inline size_t entry_number(const volatile void *where)
{
	return ((uintptr_t)where - (uintptr_t)slab) / sizeof(slab[0]);
}

void ex_access(const volatile void *where)
{
	size_t i = entry_number(where);

	if (current && i < NR_ENTRIES && slab[i].free)
		ex_assert(slab[i].old_readers & (1 << (current - tasks)),
			  "an access to an entry that was freed (a use after free)");
}

const char *ex_name(const void *where)
{
	static const char *const names[] = { "entry 1", "entry 2", "entry 3", "entry 4" };
	size_t i = entry_number(where);

	return i < NR_ENTRIES ? names[i] : NULL;
}

void rcu_read_lock(void)
{
	current->rcu++;
}

void rcu_read_unlock(void)
{
	int i;

	if (--current->rcu)
		return;
	for (i = 0; i < NR_ENTRIES; i++)
		slab[i].old_readers &= ~(1 << (current - tasks));
}

void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
	int i;

	for (i = 0; i < NR_ENTRIES; i++) {
		if (slab[i].free) {
			slab[i].free = false;
			slab[i].old_readers = 0;
			return &slab[i];
		}
	}
	ex_fail("the model has too few entries");
	return NULL;
}

void kmem_cache_free(struct kmem_cache *cache, void *ptr)
{
	struct slab_entry *freed = ptr;
	int i;

	ex_step("free");
	ex_assert(!freed->free, "freed twice");
	check_free(&freed->entry);
	freed->free = true;
	for (i = 0; i < nr_tasks; i++) {
		if (tasks[i].rcu)
			freed->old_readers |= 1 << i;
	}
}

#endif /* _VERIFY_SLAB_H */
