// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * visit: let processes use the sessions in /proc/sessions while others read the table
 *
 * usage: visit [-n processes] [-s sessions] [-t seconds]
 *
 * This begins the sessions user0, user1, and so on. Then one process of four reads
 * the table again and again, and the others use sessions at random. The exit code
 * is 0 if each reading has each session once, with no fewer uses than the reading
 * before, and if the last reading has as many uses as there were.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_SESSIONS	1000

/* Shared by all processes */
static struct {
	atomic_ulong uses, readings;
} *all;

static unsigned long nr_sessions = 50;

static void visit(int fd, unsigned long session)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "user%lu process %d was here\n", session, getpid());

	if (write(fd, line, n) != n)
		err(2, "user%lu", session);
	atomic_fetch_add(&all->uses, 1);
}

/* Read the table once. @before has the uses of each session that the last reading showed. */
static bool read_table(unsigned long *before, unsigned long *sum)
{
	bool seen[MAX_SESSIONS] = {};
	unsigned long rows = 0, session, uses;
	FILE *table = fopen("/proc/sessions", "r");
	char line[1024];

	if (!table)
		err(2, "/proc/sessions");
	*sum = 0;
	while (fgets(line, sizeof(line), table)) {
		if (sscanf(line, "user%lu %lu", &session, &uses) != 2)
			continue;	/* the heading, or a session of another program */
		if (session >= nr_sessions || seen[session] || uses < before[session]) {
			warnx("unexpected line in the table: %s", line);
			fclose(table);
			return false;
		}
		seen[session] = true;
		before[session] = uses;
		*sum += uses;
		rows++;
	}
	fclose(table);
	atomic_fetch_add(&all->readings, 1);
	if (rows != nr_sessions)
		warnx("%lu rows for %lu sessions", rows, nr_sessions);
	return rows == nr_sessions;
}

static int work(int fd, int process, time_t end)
{
	unsigned long before[MAX_SESSIONS] = {}, sum;
	unsigned int seed = process;

	while (time(NULL) < end) {
		if (process % 4)
			visit(fd, rand_r(&seed) % nr_sessions);
		else if (!read_table(before, &sum))
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long n = 8, seconds = 3, sum, before[MAX_SESSIONS] = {};
	int fd, opt, status, failed = 0;
	time_t end;

	while ((opt = getopt(argc, argv, "n:s:t:")) != -1) {
		if (opt == 'n')
			n = strtoul(optarg, NULL, 10);
		else if (opt == 's')
			nr_sessions = strtoul(optarg, NULL, 10);
		else if (opt == 't')
			seconds = strtoul(optarg, NULL, 10);
		else
			errx(2, "usage: visit [-n processes] [-s sessions] [-t seconds]");
	}
	if (!nr_sessions || nr_sessions > MAX_SESSIONS)
		errx(2, "the number of sessions must be from 1 to %d", MAX_SESSIONS);
	fd = open("/proc/sessions", O_WRONLY);
	if (fd < 0)
		err(2, "/proc/sessions%s", errno == ENOENT ? " (is sessions.ko loaded?)" : "");
	all = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		err(2, "memory");

	for (unsigned long i = 0; i < nr_sessions; i++)
		visit(fd, i);
	end = time(NULL) + seconds;
	for (unsigned long i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(2, "fork");
		if (!pid)
			exit(work(fd, i, end));
	}
	while (wait(&status) > 0)
		failed |= status;
	failed |= !read_table(before, &sum);
	printf("uses %lu\nshown %lu\nreadings %lu\n", atomic_load(&all->uses), sum,
	       atomic_load(&all->readings));
	return failed || sum != atomic_load(&all->uses);
}
