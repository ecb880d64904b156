// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Run a model in all ways there are: depth first over states, each visited once.
 *
 * Wrong is what a model or explore.h asserts, and a state from which the end of
 * all tasks cannot be reached any more, whatever the scheduler does: a lost
 * wakeup, a deadlock, a loop that nobody can end. The last takes Tarjan's
 * algorithm: a strongly connected component that no way leads out of must be a
 * state in which all tasks are done.
 *
 * A state is the section "world" and the live part of each task's stack, saved
 * registers included. It is known by a 64-bit hash of these bytes. That two of
 * n states share one has a probability of n^2 / 2^65, 3 in a million for ten
 * million states. Bytes that mean nothing any more make for more states than
 * there need be, never for less.
 *
 * usage: a program made of this and a model: PROGRAM MODEL [SECONDS]
 * exit code: 0 all states visited, 1 a counterexample was found and printed,
 * 2 not finished in time
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "shim.h"

#ifndef __x86_64__
#error "switch_stack() is for x86-64"
#endif

#define STACK_SIZE	8192
#define STACK_SPARE	1024
#define MAX_NOTES	64
#define MAX_WAYS	16

struct task_struct *current __world;
struct task_struct tasks[MAX_TASKS] __world;
int nr_tasks __world;
int spurious __world;
/* By datum, one bit each: which tasks have seen the last write to it. */
static u8 seen[MAX_DATA] __world;

extern char __start_world[], __stop_world[];
static char stacks[MAX_TASKS][STACK_SIZE] __aligned(64);
static const struct model *model;
struct sync *syncs[16];
int nr_syncs;

/* What happened in the last step, for the trace; no part of the state. */
static struct note {
	const char *what;
	const void *where;
	u64 old, new;
} notes[MAX_NOTES];
static int nr_notes;
static const char *failure;
static void *engine_sp;

/* One way to go on: a task, and what it gets to know. */
struct way {
	u8 task;
	u8 chosen;
	const char *how;
};

/*
 * A state on the way to where we are. @low: the first state in the order of
 * visits that is known to be reachable from here, and to reach this one; @exit:
 * there is a way out of the component.
 */
struct node {
	size_t saved;	/* offset in the pile of saved states */
	u32 index, low;
	bool exit, end;
	int nr_ways, next;
	struct way ways[MAX_WAYS];
};

static struct node *path;
static size_t depth, max_depth, path_room;
static char *pile;
static size_t pile_top, pile_room;
/* The states by hash; 0 is none. @index: when it was visited first. */
static struct slot {
	u64 hash;
	size_t index;
} *table;
static size_t table_size = 1 << 16, nr_states, nr_steps;
/* By index: the component is complete. And the states of components that are not. */
static bool *complete;
static u32 *open;
static size_t nr_open, index_room;

/* Save what a function must preserve on this stack; go on with the other one. */
void switch_stack(void **save, void *to);
asm(".text\n"
	"switch_stack:\n"
	"	push %rbp\n	push %rbx\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbx\n	pop %rbp\n"
	"	ret\n");

/* For tasks */

void ex_yield(enum op_kind kind, const char *what, const char *func, int line, spinlock_t *lock,
	      bool timed, int choices)
{
	current->op = (struct op) { kind, what, func, line, lock, timed, choices };
	switch_stack(&current->sp, engine_sp);
}

void ex_fail(const char *why)
{
	if (!failure)
		failure = why;
	while (current)
		switch_stack(&current->sp, engine_sp);
}

void ex_note(const char *what, const void *where, u64 old, u64 new)
{
	if (nr_notes < MAX_NOTES)
		notes[nr_notes++] = (struct note) { what, where, old, new };
}

/* A coroutine begins here. */
static void task_main(void)
{
	model->body[current - tasks]();
	ex_assert(!current->rcu, "ends in an RCU read side section");
	for (;;)
		ex_yield(OP_DONE, "done", __func__, __LINE__, NULL, false, 1);
}

/* Who sees what */

void ex_register(struct sync *sync)
{
	if (nr_syncs == ARRAY_SIZE(syncs))
		abort();
	syncs[nr_syncs++] = sync;
}

static u8 view(void)
{
	u8 view = 0;
	int d;

	for (d = 0; d < MAX_DATA; d++) {
		if (seen[d] & (1 << (current - tasks)))
			view |= 1 << d;
	}
	return view;
}

static void see(u8 data)
{
	int d;

	for (d = 0; d < MAX_DATA; d++) {
		if (data & (1 << d))
			seen[d] |= 1 << (current - tasks);
	}
	current->pending &= ~data;
}

void ex_acquire(const struct sync *sync)
{
	see(sync->carries);
}

/* Only map.c's lines have a barrier that makes use of this. */
void ex_relaxed(const struct sync *sync)
{
	if (model->barriers)
		current->pending |= sync->carries & ~view();
}

void ex_barrier(void)
{
	see(current->pending);
}

void ex_release(struct sync *sync, bool add)
{
	sync->carries = view() | (add ? sync->carries : 0);
}

void ex_write(unsigned int datum)
{
	int i;

	if (!(seen[datum] & (1 << (current - tasks))))
		ex_fail("touches data without having seen the last write to it (a data race)");
	seen[datum] = 1 << (current - tasks);
	for (i = 0; i < nr_syncs; i++)
		syncs[i]->carries &= ~(1 << datum);
	for (i = 0; i < nr_tasks; i++)
		tasks[i].pending &= ~(1 << datum);
}

/* States */

static char *stack_end(int i)
{
	return stacks[i] + STACK_SIZE;
}

static void *grow(void *p, size_t size)
{
	p = realloc(p, size);
	if (!p)
		abort();
	return p;
}

static void save(struct node *node)
{
	size_t size = __stop_world - __start_world, live;
	int i;

	if (pile_room < pile_top + size + sizeof(stacks)) {
		pile_room = 2 * (pile_room + size + sizeof(stacks));
		pile = grow(pile, pile_room);
	}
	node->saved = pile_top;
	memcpy(pile + pile_top, __start_world, size);
	pile_top += size;
	for (i = 0; i < nr_tasks; i++) {
		live = stack_end(i) - (char *)tasks[i].sp;
		memcpy(pile + pile_top, tasks[i].sp, live);
		pile_top += live;
	}
}

static void restore(const struct node *node)
{
	size_t size = __stop_world - __start_world, from = node->saved + size, live;
	int i;

	memcpy(__start_world, pile + node->saved, size);
	for (i = 0; i < nr_tasks; i++) {
		live = stack_end(i) - (char *)tasks[i].sp;
		/* What is left there must not make a difference, and nobody should use it. */
		memset(stacks[i] + STACK_SPARE, 0, STACK_SIZE - STACK_SPARE - live);
		memcpy(tasks[i].sp, pile + from, live);
		from += live;
	}
}

static u64 hash_bytes(u64 h, const void *data, size_t len)
{
	const u64 *p = data;

	for (; len >= 8; len -= 8) {
		h = (h ^ *p++) * 0x9fb21c651e98df25ULL;
		h ^= h >> 32;
	}
	return h;
}

static u64 hash_state(void)
{
	u64 h = hash_bytes(1, __start_world, __stop_world - __start_world);
	int i;

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

/* Return: the index of the state we are in; @new is set if it was not visited before. */
static u32 visit(bool *new)
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

static void add_way(struct node *node, int task, int chosen, const char *how)
{
	if (node->nr_ways == MAX_WAYS)
		abort();
	node->ways[node->nr_ways++] = (struct way) { task, chosen, how };
}

/* How this task can go on. */
static void add_ways(struct node *node, int i)
{
	struct task_struct *task = &tasks[i];
	const struct op *op = &task->op;
	int c;

	switch (op->kind) {
	case OP_STEP:
		add_way(node, i, 0, "");
		break;
	case OP_LOCK:
		if (!op->lock->holder)
			add_way(node, i, 0, "");
		break;
	case OP_CHOOSE:
		for (c = 0; c < op->choices; c++)
			add_way(node, i, c, c ? ": yes" : ": no");
		break;
	case OP_SLEEP:
		if (task->state == TASK_RUNNING)
			add_way(node, i, 1, ": was woken");
		if (op->timed)
			add_way(node, i, 0, ": time is up");
		if (task->state == TASK_INTERRUPTIBLE && task->may_get_signal)
			add_way(node, i, 2, ": signal");
		else if (task->state != TASK_RUNNING && spurious)
			add_way(node, i, 3, ": woken for nothing");
		break;
	case OP_DONE:
		break;
	}
}

static void find_ways(struct node *node)
{
	bool done = true;
	int i;

	node->nr_ways = 0;
	node->next = 0;
	node->end = false;
	/* Nobody sees a choice, so it may come before whatever others do. */
	for (i = 0; i < nr_tasks; i++) {
		done = done && tasks[i].op.kind == OP_DONE;
		if (tasks[i].op.kind == OP_CHOOSE) {
			add_ways(node, i);
			return;
		}
	}
	for (i = 0; i < nr_tasks; i++)
		add_ways(node, i);
	if (node->nr_ways)
		return;
	node->end = done;
	if (done)
		model->end();
	else
		failure = "nobody can go on, for ever: a wakeup was lost, or a deadlock is there";
}

static void step(const struct way *way)
{
	struct task_struct *task = &tasks[way->task];

	nr_notes = 0;
	current = task;
	task->chosen = way->chosen;
	if (task->op.kind == OP_SLEEP && way->chosen >= 2) {
		task->signalled |= way->chosen == 2;
		spurious -= way->chosen == 3;
		task->chosen = 1;
	}
	switch_stack(&engine_sp, task->sp);
	current = NULL;
	task->chosen = 0;
	if ((char *)task->sp < stacks[way->task] + STACK_SPARE)
		failure = "stack of the model too small";
	else
		memset(stacks[way->task] + STACK_SPARE, 0,
		       (char *)task->sp - stacks[way->task] - STACK_SPARE);
	nr_steps++;
}

/* The trace */

static void print_word(u64 w)
{
	static const char *const flags[] = {
		"LOCKED", "WAITERS", "HANDOFF", "VALUE", "DEAD", "IDLE", "REFERENCED", "WOKEN",
	};
	unsigned int i;

	printf("%u", (u32)(w >> 32));
	if (w >> 8 & 0xffffff)
		printf(" owner %u", (u32)(w >> 8 & 0xffffff));
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		if (w & (1 << i))
			printf(" %s", flags[i]);
	}
}

static void print_notes(void)
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

/* Go the way that was found once more, and say what happens. */
static void print_trace(void)
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
		step(way);
		print_notes();
	}
	printf("    then: %s\n", why);
	for (i = 0; i < (size_t)nr_tasks; i++)
		printf("          task %d is at %s, line %d: %s\n", tasks[i].pid, tasks[i].op.func,
		       tasks[i].op.line, tasks[i].op.what);
}

static void on_fault(int sig)
{
	static bool again;

	failure = "memory is touched that is none";
	if (again) {
		print_notes();
		printf("    then: %s\n%s: rejected\n", failure, model->name);
	} else {
		again = true;
		print_trace();
	}
	fflush(stdout);
	_exit(1);
}

/* The state we are in, as one that a way led to. */
static void look(void)
{
	struct node *from = depth ? &path[depth - 1] : NULL, *node;
	bool new;
	u32 index = visit(&new);

	if (!new) {
		if (complete[index])
			from->exit = true;
		else
			from->low = from->low < index ? from->low : index;
		return;
	}
	if (depth == path_room) {
		path_room = 2 * path_room + 1024;
		path = grow(path, path_room * sizeof(*path));
	}
	if (depth + 1 > max_depth)
		max_depth = depth + 1;
	node = &path[depth++];
	node->index = index;
	node->low = index;
	node->exit = false;
	save(node);
	if (model->always)
		model->always();
	if (!failure)
		find_ways(node);
}

/* All ways from the last state were gone. */
static void go_back(void)
{
	struct node *node = &path[depth - 1], *from = depth > 1 ? node - 1 : NULL;

	if (node->low == node->index) {
		if (!node->exit && !node->end) {
			failure = "from here on the tasks run in circles, and none can end that";
			node->next = 0;
			return;
		}
		do {
			complete[open[--nr_open]] = true;
		} while (open[nr_open] != node->index);
		if (from)
			from->exit = true;
	} else {
		from->low = from->low < node->low ? from->low : node->low;
		from->exit |= node->exit;
	}
	pile_top = node->saved;
	depth--;
}

static void explore(double limit)
{
	clock_t begin = clock();
	double seconds;

	look();
	while (depth && !failure) {
		struct node *node = &path[depth - 1];

		if (node->next == node->nr_ways) {
			go_back();
			continue;
		}
		restore(node);
		step(&node->ways[node->next++]);
		if (!failure)
			look();
		if (nr_steps % 65536 == 0 && (double)(clock() - begin) / CLOCKS_PER_SEC > limit) {
			printf("%s: not finished after %.0f s: %zu states, %zu steps\n",
			       model->name, limit, nr_states, nr_steps);
			exit(2);
		}
	}
	seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
	if (failure)
		print_trace();
	printf("%s: %s; %zu states, %zu steps, up to %zu in a row, %.1f s\n", model->name,
	       failure ? "rejected" : "all states visited", nr_states, nr_steps, max_depth,
	       seconds);
	exit(!!failure);
}

int main(int argc, char **argv)
{
	static char alt_stack[65536];
	stack_t ss = { .ss_sp = alt_stack, .ss_size = sizeof(alt_stack) };
	struct sigaction sa = {
		.sa_handler = on_fault,
		.sa_flags = SA_ONSTACK | SA_NODEFER,
	};
	int i;

	for (i = 0; i < nr_models; i++) {
		if (argc > 1 && !strcmp(models[i].name, argv[1]))
			model = &models[i];
		else if (argc == 1)
			printf("%s\t%s\n", models[i].name, models[i].what);
	}
	if (argc == 1)
		return 0;
	if (!model) {
		fprintf(stderr, "%s: no such model: %s\n", argv[0], argv[1]);
		return 2;
	}
	sigaltstack(&ss, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	table = calloc(table_size, sizeof(*table));
	if (!table)
		abort();

	memset(seen, 0xff, sizeof(seen));
	for (i = 0; i < MAX_TASKS && model->body[i]; i++) {
		void **sp = (void **)stack_end(i);

		*--sp = NULL;		/* keeps the stack aligned as after a call */
		*--sp = task_main;	/* for the ret of switch_stack() */
		tasks[i].pid = i + 1;
		tasks[i].sp = sp - 6;
		tasks[i].op = (struct op) { OP_STEP, "begins", "task", 0, NULL, false, 1 };
	}
	nr_tasks = i;
	model->init();
	explore(argc > 2 ? atof(argv[2]) : 300);
}
