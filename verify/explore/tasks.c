// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The tasks of a model: coroutines, and what each of them has seen of what the
 * others wrote.
 */
#include "engine.h"

#ifndef __x86_64__
#error "switch_stack() is for x86-64"
#endif

struct task_struct *current __world;
struct task_struct tasks[MAX_TASKS] __world;
int nr_tasks __world;
int spurious __world;
/* By datum, one bit each: which tasks have seen the last write to it. */
static u8 seen[MAX_DATA] __world;

char ex_stacks[MAX_TASKS * 8192] __aligned(64);
u8 ex_naps;
static void *engine_sp;
static struct sync *syncs[20];
static int nr_syncs;
const struct model *model;
const char *failure;

char *stack_begin(int i)
{
	return ex_stacks + i * STACK_SIZE;
}

char *stack_end(int i)
{
	return stack_begin(i) + STACK_SIZE;
}

/* Save what a function must preserve on this stack; go on with the other one. */
void switch_stack(void **save, void *to);
asm(".text\n"
	"switch_stack:\n"
	"	push %rbp\n	push %rbx\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbx\n	pop %rbp\n"
	"	ret\n");

/* What tasks call */

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

/* A coroutine begins here. */
static void task_main(void)
{
	model->body[current - tasks]();
	ex_assert(!current->rcu, "ends in an RCU read side section");
	for (;;)
		ex_yield(OP_DONE, "done", __func__, __LINE__, NULL, false, 1);
}

void init_task(int i)
{
	void **sp = (void **)stack_end(i);

	*--sp = NULL;		/* keeps the stack aligned as after a call */
	*--sp = task_main;	/* for the ret of switch_stack() */
	tasks[i].pid = i + 1;
	tasks[i].sp = sp - 6;
	tasks[i].op = (struct op) { OP_STEP, "begins", "task", 0, NULL, false, 1 };
	memset(seen, 0xff, sizeof(seen));
	nr_tasks = i + 1;
}

/* Let a task make its next step. */
void run_task(const struct way *way)
{
	struct task_struct *task = &tasks[way->task];

	forget_notes();
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
	if ((char *)task->sp < stack_begin(way->task) + STACK_SPARE)
		failure = "stack of the model too small";
	else
		memset(stack_begin(way->task) + STACK_SPARE, 0,
		       (char *)task->sp - stack_begin(way->task) - STACK_SPARE);
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
}

void ex_acquire(const struct sync *sync)
{
	see(sync->carries);
}

void ex_hear(const struct sync *sync)
{
	current->heard |= sync->carries & ~view();
}

void ex_release(struct sync *sync, bool add)
{
	sync->carries = view() | current->heard | (add ? sync->carries : 0);
}

void ex_read(unsigned int datum)
{
	if (!(seen[datum] & (1 << (current - tasks))))
		ex_fail("touches data without having seen the last write to it (a data race)");
}

/* Each task has a datum that it writes to when it reads. */
void ex_note_reader(void)
{
	ex_write(MAX_DATA - MAX_TASKS + (current - tasks));
}

void ex_see_readers(void)
{
	int i;

	for (i = 0; i < nr_tasks; i++) {
		if (!(seen[MAX_DATA - MAX_TASKS + i] & (1 << (current - tasks))))
			ex_fail("writes data without having seen its last reader (a data race)");
	}
}

void ex_write(unsigned int datum)
{
	int i;

	ex_read(datum);
	seen[datum] = 1 << (current - tasks);
	for (i = 0; i < nr_syncs; i++)
		syncs[i]->carries &= ~(1 << datum);
	for (i = 0; i < nr_tasks; i++)
		tasks[i].heard &= ~(1 << datum);
}
