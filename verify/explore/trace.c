// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Counterexamples, for people to read. */
#include <stdio.h>

#include "engine.h"

#define MAX_NOTES	64

/* What happened in the last step; no part of the state. */
static struct note {
	const char *what;
	const void *where;
	u64 old, new;
} notes[MAX_NOTES];
static int nr_notes;

void ex_note(const char *what, const void *where, u64 old, u64 new)
{
	if (nr_notes < MAX_NOTES)
		notes[nr_notes++] = (struct note) { what, where, old, new };
}

void forget_notes(void)
{
	nr_notes = 0;
}

static void print_word(u64 w)
{
	static const char *const flags[] = {
		"LOCKED", "WAITERS", "HANDOFF", "VALUE", "DEAD", "IDLE", "REFERENCED", "WOKEN",
	};
	unsigned int i;

	printf("%u", (u32)(w >> 32));
	if (w & BIT_ULL(30))
		printf(" shared by %u", (u32)(w >> 8 & 0x3fffff));
	else if (w >> 8 & 0x3fffff)
		printf(" owner %u", (u32)(w >> 8 & 0x3fffff));
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		if (w & (1 << i))
			printf(" %s", flags[i]);
	}
}

void print_notes(void)
{
	int i;

	for (i = 0; i < nr_notes; i++) {
		const struct note *n = &notes[i];
		const char *name = n->where ? ex_name(n->where) : NULL;

		if (!n->where) {
			printf("%34s%s %llu\n", "", n->what, (unsigned long long)n->new);
			continue;
		}
		printf("%34s%s %s: ", "", n->what, name ?: "?");
		print_word(n->old);
		if (n->old != n->new) {
			printf(" -> ");
			print_word(n->new);
		}
		printf("\n");
	}
}

/* Go the path once more, and say what happens. */
void print_trace(void)
{
	const char *why = failure;
	size_t i;

	printf("    counterexample to %s: %s\n", model->name, model->what);
	for (i = 0; i < depth; i++) {
		struct node *node = &path[i];
		const struct way *way;

		restore(node);
		if (!node->next)	/* found when looking at this state */
			break;
		way = &node->ways[node->next - 1];
		printf("    %4zu  task %d  %s, line %d: %s%s\n", i + 1, tasks[way->task].pid,
		       tasks[way->task].op.func, tasks[way->task].op.line,
		       tasks[way->task].op.what, way->how);
		fflush(stdout);
		run_task(way);
		print_notes();
	}
	printf("    then: %s\n", why);
	for (i = 0; i < (size_t)nr_tasks; i++)
		printf("          task %d is at %s, line %d: %s\n", tasks[i].pid, tasks[i].op.func,
		       tasks[i].op.line, tasks[i].op.what);
}
