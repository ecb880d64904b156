// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * pay: let processes move money through /dev/transfer while others audit the sum
 *
 * usage: pay [-n processes] [-t seconds]
 *
 * One process of four audits, the others pay, each as fast as it can. Ten times a
 * second a process is killed at any point, and another takes its place. The exit
 * code is 0 if every audit gave the same sum.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NR_ACCOUNTS	100	/* as in transfer.c */
#define MAX_PROCESSES	100

/* Shared by all processes */
static struct {
	atomic_ulong transfers, refused, audits, wrong;
	atomic_int stop;
} *all;

static int fd;
static unsigned long right_sum;

static unsigned long audit(void)
{
	char line[32] = "";

	if (pread(fd, line, sizeof(line) - 1, 0) <= 0)
		err(2, "audit");
	return strtoul(line, NULL, 10);
}

static void pay(unsigned int *seed)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "%d %d %d", rand_r(seed) % NR_ACCOUNTS,
			 rand_r(seed) % NR_ACCOUNTS, rand_r(seed) % 500);

	if (write(fd, line, n) == n)
		atomic_fetch_add(&all->transfers, 1);
	else if (errno == ERANGE)	/* not enough money */
		atomic_fetch_add(&all->refused, 1);
	else
		err(2, "transfer of %s", line);
}

static pid_t start(int process)
{
	static unsigned int seed;
	pid_t pid = fork();

	if (pid < 0)
		err(2, "fork");
	seed++;
	if (pid)
		return pid;
	while (!atomic_load(&all->stop)) {
		if (process % 4) {
			pay(&seed);
		} else {
			if (audit() != right_sum)
				atomic_fetch_add(&all->wrong, 1);
			atomic_fetch_add(&all->audits, 1);
		}
	}
	exit(0);
}

/* Wait for a process to end. Return whether it ended as expected. */
static int ended(pid_t pid, int killed)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		err(2, "waitpid");
	return !status || (killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

int main(int argc, char **argv)
{
	unsigned long n = 8, seconds = 3, killed = 0, failed = 0;
	const struct timespec tenth = { .tv_nsec = 100000000 };
	pid_t pids[MAX_PROCESSES];
	int opt;

	while ((opt = getopt(argc, argv, "n:t:")) != -1) {
		if (opt == 'n')
			n = strtoul(optarg, NULL, 10);
		else if (opt == 't')
			seconds = strtoul(optarg, NULL, 10);
		else
			errx(2, "usage: pay [-n processes] [-t seconds]");
	}
	if (n < 2 || n > MAX_PROCESSES)
		errx(2, "the number of processes must be from 2 to %d", MAX_PROCESSES);
	fd = open("/dev/transfer", O_RDWR);
	if (fd < 0)
		err(2, "/dev/transfer%s", errno == ENOENT ? " (is transfer.ko loaded?)" : "");
	all = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		err(2, "memory");

	right_sum = audit();
	for (unsigned long i = 0; i < n; i++)
		pids[i] = start(i);
	for (; killed < 10 * seconds; killed++) {
		unsigned long i = killed % n;

		nanosleep(&tenth, NULL);
		kill(pids[i], SIGKILL);
		failed += !ended(pids[i], 1);
		pids[i] = start(i);
	}
	atomic_store(&all->stop, 1);
	for (unsigned long i = 0; i < n; i++)
		failed += !ended(pids[i], 0);

	printf("transfers %lu\nrefused %lu\n", atomic_load(&all->transfers),
	       atomic_load(&all->refused));
	printf("audits %lu\nwrong %lu\n", atomic_load(&all->audits), atomic_load(&all->wrong));
	printf("killed %lu\nfailed %lu\n", killed, failed);
	return failed || atomic_load(&all->wrong) || audit() != right_sum;
}
