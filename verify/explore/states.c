// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The states of a model: saved, restored, and those that were visited.
 *
 * A state is the section "world" and the live part of each task's stack, saved
 * registers included. It is known by a 64-bit hash of these bytes. That two of
 * n states share one has a probability of n^2 / 2^65, 3 in a million for ten
 * million states. Bytes that mean nothing any more make for more states than
 * there need be, never for less.
 */
#include "engine.h"

/* What the world is made of, but for stacks. */
static struct region {
	char *from;
	size_t size;
} regions[4];
static int nr_regions;
static char *pile;
static size_t pile_top, pile_room;
/* The states by hash; 0 is none. @index: the state's number. */
static struct slot {
	u64 hash;
	size_t index;
} *table;
static size_t table_size = 1 << 16;
size_t nr_states;
static size_t world_size;
/* By number: the component is complete. And the states of components that are not. */
static bool *complete;
static u32 *open;
static size_t nr_open, index_room;

void init_states(void)
{
	table = calloc(table_size, sizeof(*table));
	if (!table)
		abort();
	ex_add_world(__start_world, __stop_world - __start_world);
}

void ex_add_world(void *from, size_t size)
{
	if (nr_regions == ARRAY_SIZE(regions) || size % 8)
		abort();
	regions[nr_regions++] = (struct region) { from, size };
	world_size += size;
}

void *grow(void *p, size_t size)
{
	p = realloc(p, size);
	if (!p)
		abort();
	return p;
}

void save(struct node *node)
{
	size_t size = world_size, live;
	int i;

	if (pile_room < pile_top + size + MAX_TASKS * STACK_SIZE) {
		pile_room = 2 * (pile_room + size + MAX_TASKS * STACK_SIZE);
		pile = grow(pile, pile_room);
	}
	node->saved = pile_top;
	for (i = 0; i < nr_regions; i++) {
		memcpy(pile + pile_top, regions[i].from, regions[i].size);
		pile_top += regions[i].size;
	}
	for (i = 0; i < nr_tasks; i++) {
		live = stack_end(i) - (char *)tasks[i].sp;
		memcpy(pile + pile_top, tasks[i].sp, live);
		pile_top += live;
	}
}

void restore(const struct node *node)
{
	size_t from = node->saved, live;
	int i;

	for (i = 0; i < nr_regions; i++) {
		memcpy(regions[i].from, pile + from, regions[i].size);
		from += regions[i].size;
	}
	for (i = 0; i < nr_tasks; i++) {
		live = stack_end(i) - (char *)tasks[i].sp;
		/* What is left there must not make a difference, and no task should use it. */
		memset(stack_begin(i) + STACK_SPARE, 0, STACK_SIZE - STACK_SPARE - live);
		memcpy(tasks[i].sp, pile + from, live);
		from += live;
	}
}

/* Four sums that do not wait for each other; @len is a multiple of 8. */
static u64 hash_bytes(u64 h, const void *data, size_t len)
{
	u64 sum[] = { h, h + 1, h + 2, h + 3 };
	const u64 *p = data;
	size_t i;

	for (i = 0; i < len / 8; i++) {
		u64 *s = &sum[i % 4];

		*s = (*s ^ p[i]) * 0x9fb21c651e98df25ULL;
		*s ^= *s >> 32;
	}
	for (i = 1; i < 4; i++)
		sum[0] = (sum[0] ^ sum[i]) * 0x9fb21c651e98df25ULL ^ sum[i] >> 32;
	return sum[0];
}

static u64 hash_state(void)
{
	u64 h = 1;
	int i;

	for (i = 0; i < nr_regions; i++)
		h = hash_bytes(h, regions[i].from, regions[i].size);
	for (i = 0; i < nr_tasks; i++)
		h = hash_bytes(h, tasks[i].sp, stack_end(i) - (char *)tasks[i].sp);
	return (h ^ h >> 29) * 0xff51afd7ed558ccdULL | 1;
}

static struct slot *find_slot(u64 hash)
{
	size_t i = hash >> 8 & (table_size - 1);

	while (table[i].hash && table[i].hash != hash)
		i = (i + 1) & (table_size - 1);
	return &table[i];
}

/* Return: the number of the current state; @new is set if it was not visited before. */
u32 visit(bool *new)
{
	u64 hash = hash_state();
	struct slot *slot = find_slot(hash), *old = table;
	size_t i;

	*new = !slot->hash;
	if (!*new)
		return slot->index;
	if (nr_states == index_room) {
		index_room = 2 * index_room + 1024;
		complete = grow(complete, index_room * sizeof(*complete));
		open = grow(open, index_room * sizeof(*open));
	}
	complete[nr_states] = false;
	open[nr_open++] = nr_states;
	*slot = (struct slot) { hash, nr_states++ };
	if (nr_states > table_size / 4 * 3) {
		table_size *= 2;
		table = calloc(table_size, sizeof(*table));
		if (!table)
			abort();
		for (i = 0; i < table_size / 2; i++) {
			if (old[i].hash)
				*find_slot(old[i].hash) = old[i];
		}
		free(old);
	}
	return nr_states - 1;
}

/* The path goes back beyond this state. */
void forget(const struct node *node)
{
	pile_top = node->saved;
}

bool is_complete(u32 index)
{
	return complete[index];
}

/* The component that begins with this state is complete. */
void set_complete(u32 index)
{
	do {
		complete[open[--nr_open]] = true;
	} while (open[nr_open] != index);
}
