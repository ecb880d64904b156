// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The lock with real threads, under ThreadSanitizer: a few keys in one bucket, and
 * waits that end by signals, timeouts and refusals. What the keys protect is plain
 * memory, so a missing order shows.
 *
 * usage: tsan SECONDS
 */
#define VERIFY_THREADS
#include "shim.h"
#include "core/word.c"
#include "core/key.c"
#include "observe.h"
#define lm_note_refusal()	false
#define lm_note_link(waiter)	((void)(waiter), false)
#include "keys.h"

#define NR_THREADS	6

/* By key: the thread that holds it, and how often it was locked; plain on purpose. */
static struct {
	int holder;
	unsigned long count;
} data[NR_KEYS];
/* By thread: how often it locked each key, and how its waits ended. */
static unsigned long had[NR_THREADS][NR_KEYS], errors[NR_THREADS][3], progress[NR_THREADS];
static bool stop;

static unsigned int roll(unsigned int n)
{
	return rand_r(&current->seed) % n;
}

static int take(unsigned int l)
{
	unsigned int how = roll(4);
	struct lm_wait_mode mode = lm_wait_forever;
	int err;

	if (!how)
		mode = lm_wait_interruptible;
	else if (how == 1)
		mode = lm_wait_until(roll(8));
	err = lock_key(l, &mode);
	if (err) {
		errors[current - tasks][err == -EINTR ? 0 : err == -ETIMEDOUT ? 1 : 2]++;
		if (err == -EINTR)
			__atomic_store_n(&current->signalled, false, __ATOMIC_RELAXED);
		return err;
	}
	if (data[l].holder)
		ex_fail("two threads hold one key");
	data[l].holder = current->pid;
	data[l].count++;
	had[current - tasks][l]++;
	return 0;
}

static void drop(unsigned int l)
{
	if (data[l].holder != current->pid)
		ex_fail("two threads hold one key");
	data[l].holder = 0;
	lm_unlock(&entries[l]);
}

static void *run(void *arg)
{
	unsigned int a, b;

	current = arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		a = roll(NR_KEYS);
		b = roll(NR_KEYS);
		__atomic_fetch_add(&progress[current - tasks], 1, __ATOMIC_RELAXED);
		if (take(a))
			continue;
		if (a != b && !take(b)) {
			if (!roll(50))
				usleep(100);
			drop(b);
		}
		drop(a);
	}
	return NULL;
}

/* Send signals; and find a thread that makes no progress for so long that it was forgotten. */
static void watch(int seconds)
{
	unsigned long last[NR_THREADS] = {}, now;
	int i, ms, idle[NR_THREADS] = {};

	for (ms = 0; ms < seconds * 1000; ms++) {
		usleep(1000);
		i = rand() % NR_THREADS;
		__atomic_store_n(&tasks[i].signalled, true, __ATOMIC_RELAXED);
		pthread_mutex_lock(&tasks[i].mutex);
		if (tasks[i].state & TASK_INTERRUPTIBLE)
			pthread_cond_signal(&tasks[i].wake);
		pthread_mutex_unlock(&tasks[i].mutex);
		for (i = 0; i < NR_THREADS; i++) {
			now = __atomic_load_n(&progress[i], __ATOMIC_RELAXED);
			idle[i] = now == last[i] ? idle[i] + 1 : 0;
			last[i] = now;
			if (idle[i] > 5000)
				ex_fail("a thread waits for ever: a wakeup was lost");
		}
	}
}

int main(int argc, char **argv)
{
	unsigned long sum, ops = 0, ends[3] = {};
	pthread_t threads[NR_THREADS];
	int i, l;

	init_keys(false);
	for (i = 0; i < NR_THREADS; i++) {
		tasks[i].pid = i + 1;
		tasks[i].seed = i + 1;
		pthread_mutex_init(&tasks[i].mutex, NULL);
		pthread_cond_init(&tasks[i].wake, NULL);
		pthread_create(&threads[i], NULL, run, &tasks[i]);
	}
	watch(argc > 1 ? atoi(argv[1]) : 5);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	alarm(20);
	for (i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	for (l = 0; l < NR_KEYS; l++) {
		sum = 0;
		for (i = 0; i < NR_THREADS; i++)
			sum += had[i][l];
		if (sum != data[l].count)
			ex_fail("two threads held one key: the counts differ");
		if (entries[l].lock.word.v & ~(LM_VERSION | LM_VALUE))
			ex_fail("a flag is left in a word");
		ops += sum;
	}
	for (i = 0; i < NR_THREADS; i++) {
		for (l = 0; l < 3; l++)
			ends[l] += errors[i][l];
	}
	printf("tsan: %d threads, %lu times a key, %lu signals, %lu timeouts, %lu cycles\n",
	       NR_THREADS, ops, ends[0], ends[1], ends[2]);
	return 0;
}
