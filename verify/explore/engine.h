/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What the parts of the explorer know of each other. */
#ifndef _VERIFY_ENGINE_H
#define _VERIFY_ENGINE_H

#include <stdlib.h>

#include "shim.h"

#define STACK_SIZE	(sizeof(ex_stacks) / MAX_TASKS)
#define STACK_SPARE	1024
#define MAX_WAYS	16

/* One way to go on: a task, and what it gets to know. */
struct way {
	u8 task;
	u8 chosen;
	const char *how;
};

/**
 * struct node - a state on the path that is being explored
 * @saved: offset in the pile of saved states
 * @index: the state's number, in the order of visits
 * @low: the lowest number of a state that is known to be reachable from here,
 *	and from which this one is reachable
 * @exit: a way leads out of the strongly connected component
 * @end: all tasks are done
 * @nr_ways: number of ways to go on
 * @next: the next one to try
 * @ways: the ways
 */
struct node {
	size_t saved;
	u32 index, low;
	bool exit, end;
	int nr_ways, next;
	struct way ways[MAX_WAYS];
};

/* tasks.c */
extern const struct model *model;
extern const char *failure;
void init_task(int i);
char *stack_end(int i);
char *stack_begin(int i);
void run_task(const struct way *way);

/* states.c */
extern size_t nr_states;
void init_states(void);
void save(struct node *node);
void restore(const struct node *node);
void forget(const struct node *node);
u32 visit(bool *new);
bool is_complete(u32 index);
void set_complete(u32 index);
void *grow(void *p, size_t size);

/* search.c */
extern struct node *path;
extern size_t depth;

/* trace.c */
void forget_notes(void);
void print_notes(void);
void print_trace(void);

#endif /* _VERIFY_ENGINE_H */
