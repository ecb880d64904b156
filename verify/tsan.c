// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * lockmap_lock.h and lockmap_deadlock.h with real threads, under ThreadSanitizer:
 * a few locks on one queue, and waits that end by signals, timeouts and refusals.
 * What the locks protect is plain memory, so whatever order is missing shows.
 *
 * usage: tsan SECONDS
 */
#define VERIFY_THREADS
#include "shim.h"
#include "lockmap_lock.h"
#include "lockmap_deadlock.h"

/* Messages are not modelled. */
static inline void lm_circle_found(struct lm_waiter *waiter, bool closed)
{
}

#include <stdio.h>
#include <unistd.h>

#define NR_LOCKS	3
#define NR_THREADS	6

static struct lm_lock locks[NR_LOCKS];
static struct wait_queue_head wq = { .lock = PTHREAD_MUTEX_INITIALIZER };
/* By lock: who has it, and how often it was had; plain on purpose. */
static struct {
	int holder;
	unsigned long count;
} data[NR_LOCKS];
/* By thread: how often it had each lock, and how its waits ended. */
static unsigned long had[NR_THREADS][NR_LOCKS], errors[NR_THREADS][3], progress[NR_THREADS];
static bool stop;

static void fail(const char *why)
{
	printf("tsan: %s\n", why);
	fflush(stdout);
	_exit(1);
}

static unsigned int roll(unsigned int n)
{
	return rand_r(&current->seed) % n;
}

/* What lm_lock_key() does for a key, without looking for it. */
static int lock(struct lm_lock *lock, unsigned int state, long timeout)
{
	struct lm_waiter waiter;
	u64 self = lm_self(), old;
	unsigned int spins = 0;
	int err;

	for (;;) {
		old = atomic64_read(&lock->word);
		if (lm_acquire(lock, old, self))
			return 0;
		if (!(old & LM_LOCKED))
			continue;
		if (timeout == MAX_SCHEDULE_TIMEOUT && lm_spin(lock, old, &spins))
			continue;
		if (!lm_enqueue(lock, &wq, &waiter, self))
			continue;
		err = lm_wait(&wq, &waiter, state, timeout);
		if (err && !lm_leave(&wq, &waiter))
			err = 0;
		return err;
	}
}

static int take(unsigned int l)
{
	unsigned int how = roll(4);
	int err;

	err = lock(&locks[l], how ? TASK_UNINTERRUPTIBLE : TASK_INTERRUPTIBLE,
		   how == 1 ? roll(8) : MAX_SCHEDULE_TIMEOUT);
	if (err) {
		errors[current - tasks][err == -EINTR ? 0 : err == -ETIMEDOUT ? 1 : 2]++;
		if (err == -EINTR)
			__atomic_store_n(&current->signalled, false, __ATOMIC_RELAXED);
		return err;
	}
	if (data[l].holder)
		fail("two threads have one lock");
	data[l].holder = current->pid;
	data[l].count++;
	had[current - tasks][l]++;
	return 0;
}

static void drop(unsigned int l)
{
	if (data[l].holder != current->pid)
		fail("two threads have one lock");
	data[l].holder = 0;
	if (!lm_unlock_fast(&locks[l], LM_VALUE))
		lm_unlock_slow(&locks[l], &wq, LM_VALUE);
}

static void *run(void *arg)
{
	unsigned int a, b;

	current = arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		a = roll(NR_LOCKS);
		b = roll(NR_LOCKS);
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

/* Signals; and who did not get anywhere for this long was forgotten. */
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
				fail("a thread waits for ever: a wakeup was lost");
		}
	}
}

int main(int argc, char **argv)
{
	unsigned long sum, ops = 0, ends[3] = {};
	pthread_t threads[NR_THREADS];
	int i, l;

	INIT_LIST_HEAD(&wq.head);
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
	for (l = 0; l < NR_LOCKS; l++) {
		sum = 0;
		for (i = 0; i < NR_THREADS; i++)
			sum += had[i][l];
		if (sum != data[l].count)
			fail("two threads had one lock: the counts differ");
		if (locks[l].word.v & ~(LM_VERSION | LM_VALUE))
			fail("a flag is left in a word");
		ops += sum;
	}
	for (i = 0; i < NR_THREADS; i++) {
		for (l = 0; l < 3; l++)
			ends[l] += errors[i][l];
	}
	printf("tsan: %d threads, %lu times a lock, %lu signals, %lu timeouts, %lu circles\n",
	       NR_THREADS, ops, ends[0], ends[1], ends[2]);
	return 0;
}
