// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Run a model in all ways there are: depth first over states, each visited once.
 *
 * Wrong is what a model or explore.h asserts, and a state from which the end of
 * all tasks cannot be reached any more, whatever the scheduler does: a lost
 * wakeup, a deadlock, a loop that no task can end. The last takes Tarjan's
 * algorithm: a strongly connected component that no way leads out of must be a
 * state in which all tasks are done.
 *
 * usage: a program made of this and a model: PROGRAM MODEL [SECONDS]
 * exit code: 0 all states visited, 1 a counterexample was found and printed,
 * 2 not finished in time
 */
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"

struct node *path;
size_t depth;
static size_t max_depth, path_room, nr_steps;

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
			add_way(node, i, 3, ": woken for no reason");
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
	/* No other task sees a choice, so it may come before whatever they do. */
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
		failure = "no task can ever go on: a wakeup was lost, or this is a deadlock";
}

static void on_fault(int sig)
{
	static bool again;

	failure = "an access to an invalid address";
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

/* Visit the current state, to which a way led. */
static void look(void)
{
	struct node *from = depth ? &path[depth - 1] : NULL, *node;
	bool new;
	u32 index = visit(&new);

	if (!new) {
		if (is_complete(index))
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

/* All ways from the last state were tried. */
static void go_back(void)
{
	struct node *node = &path[depth - 1], *from = depth > 1 ? node - 1 : NULL;

	if (node->low == node->index) {
		if (!node->exit && !node->end) {
			failure = "the tasks run in a loop that none of them can end";
			node->next = 0;
			return;
		}
		set_complete(node->index);
		if (from)
			from->exit = true;
	} else {
		from->low = from->low < node->low ? from->low : node->low;
		from->exit |= node->exit;
	}
	forget(node);
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
		run_task(&node->ways[node->next++]);
		nr_steps++;
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
	init_states();
	for (i = 0; i < MAX_TASKS && model->body[i]; i++)
		init_task(i);
	model->init();
	explore(argc > 2 ? atof(argv[2]) : 300);
}
