// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * ask: let many processes ask /dev/singleflight for the digests of the same files
 *
 * usage: find DIR -type f | ask [-iz] [-n processes] [-o digests] [-s seed] [-d device]
 *
 * Each process asks for every file once, in a random order of its own, or with -i in
 * the order of the list. Progress is shown on standard error, totals on standard
 * output. With -o the digests are written to a file in the format of sha256sum. With
 * -z names end in NUL, in that file and in the list. The exit code is 0 if every
 * request was answered and all processes got the same answers.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "singleflight.h"

#define COMPLAINTS	5	/* how many of a kind are printed */

/* The answer that one process got for one file */
struct answer {
	int error;		/* 0 or an errno */
	unsigned char digest[32];
};

static size_t nr_processes = 8;
static __u64 seed = 1;
static bool in_order;
static int separator = '\n';

static char **files;
static size_t nr_files;

/* Shared by all processes; each writes only its own part. */
static struct answer *answers;			/* [process][file] */
static atomic_size_t *done;			/* [process]: number of requests answered */

static struct answer *answer_of(size_t process, size_t file)
{
	return &answers[process * nr_files + file];
}

static void read_list(void)
{
	size_t room = 0, size = 0;
	char *line = NULL;
	ssize_t len;

	while ((len = getdelim(&line, &size, separator, stdin)) > 0) {
		if (line[len - 1] == separator)
			line[--len] = '\0';
		if (!len)
			continue;
		if (nr_files == room) {
			room = room ? 2 * room : 1024;
			files = reallocarray(files, room, sizeof(*files));
			if (!files)
				err(2, "list of files");
		}
		files[nr_files] = strdup(line);
		if (!files[nr_files++])
			err(2, "list of files");
	}
	free(line);
	if (ferror(stdin))
		err(2, "list of files");
	if (!nr_files)
		errx(2, "no files: give their names on standard input, one a line");
}

static void *shared(size_t n, size_t size)
{
	void *p;

	if (__builtin_mul_overflow(n, size, &size))
		errx(2, "too many files");
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		err(2, "memory for the answers");
	return p;
}

/* xorshift64*: a seed gives the same order on every machine */
static __u64 next_random(__u64 *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1d;
}

static size_t *order_of(size_t process)
{
	__u64 state = (seed * 1000003 + process + 1) * 0x9e3779b97f4a7c15 ?: 1;
	size_t *order = calloc(nr_files, sizeof(*order));

	if (!order)
		err(2, "memory for an order");
	for (size_t i = 0; i < nr_files; i++) {
		size_t j = in_order ? i : next_random(&state) % (i + 1);

		order[i] = order[j];
		order[j] = i;
	}
	return order;
}

/* Returns 0 or an errno. */
static int ask(int fd, const char *path, struct answer *answer)
{
	struct singleflight_request request = { .path = (uintptr_t)path };

	if (ioctl(fd, SINGLEFLIGHT_SHA256, &request))
		return errno;
	memcpy(answer->digest, request.digest, sizeof(answer->digest));
	return 0;
}

/* What each process does: ask for all files. */
static void ask_all(int fd, size_t process, int start)
{
	size_t *order = order_of(process);
	char here[PATH_MAX], path[2 * PATH_MAX], c;

	if (!getcwd(here, sizeof(here)))
		err(2, "current directory");

	/* Nothing is ever written to the pipe: read() returns when the parent closes its end. */
	if (read(start, &c, 1) != 0)
		errx(2, "no start signal");

	for (size_t i = 0; i < nr_files; i++) {
		const char *name = files[order[i]];
		struct answer *a = answer_of(process, order[i]);

		snprintf(path, sizeof(path), "%s%s%s", name[0] == '/' ? "" : here,
			 name[0] == '/' ? "" : "/", name);
		a->error = ask(fd, path, a);
		done[process]++;
	}
	exit(0);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void show_progress(int signal)
{
	size_t all = nr_processes * nr_files, sum = 0;

	(void)signal;
	for (size_t p = 0; p < nr_processes; p++)
		sum += done[p];
	fprintf(stderr, "  %3.0f %% of %zu requests\n", 100.0 * sum / all, all);
}

static void start_processes(int fd, int start[2])
{
	fflush(NULL);
	for (size_t p = 0; p < nr_processes; p++) {
		pid_t pid = fork();

		if (pid < 0)
			err(2, "fork");
		if (pid == 0) {
			close(start[1]);
			ask_all(fd, p, start[0]);
		}
	}
}

static void wait_for_processes(void)
{
	/* The handler may print: this process is in wait() whenever the signal comes. */
	const struct sigaction action = { .sa_handler = show_progress, .sa_flags = SA_RESTART };
	const struct itimerval second = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	bool failed = false;
	int status;

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &second, NULL);
	while (wait(&status) > 0) {
		if (status)
			failed = true;
		if (WIFSIGNALED(status))
			warnx("a process died of signal %d", WTERMSIG(status));
	}
	setitimer(ITIMER_REAL, &(struct itimerval) {}, NULL);
	if (failed)
		errx(2, "a process failed");
}

/* Start the processes and wait for them. Return the seconds that took. */
static double run(int fd)
{
	double begin, seconds;
	int start[2];

	if (pipe(start))
		err(2, "pipe");
	start_processes(fd, start);
	close(start[0]);
	begin = now();
	close(start[1]);
	wait_for_processes();
	seconds = now() - begin;
	show_progress(0);
	return seconds;
}

/* Print a complaint about a file, unless there were too many of its kind. */
static void complain(size_t *count, const char *file, const char *what)
{
	if (++*count <= COMPLAINTS)
		warnx("%s: %s", file, what);
	else if (*count == COMPLAINTS + 1)
		warnx("further complaints of this kind are not shown");
}

static size_t failures(void)
{
	size_t failed = 0;

	for (size_t f = 0; f < nr_files; f++)
		for (size_t p = 0; p < nr_processes; p++)
			if (answer_of(p, f)->error)
				complain(&failed, files[f], strerror(answer_of(p, f)->error));
	return failed;
}

/* Return the answer of the first process that got one, NULL if none did. */
static const struct answer *first_answer(size_t file)
{
	for (size_t p = 0; p < nr_processes; p++)
		if (!answer_of(p, file)->error)
			return answer_of(p, file);
	return NULL;
}

static size_t differences(void)
{
	size_t different = 0;

	for (size_t f = 0; f < nr_files; f++) {
		const struct answer *first = first_answer(f);

		for (size_t p = 0; first && p < nr_processes; p++) {
			const struct answer *a = answer_of(p, f);

			if (!a->error && memcmp(a->digest, first->digest, sizeof(a->digest)))
				complain(&different, files[f], "digests differ between processes");
		}
	}
	return different;
}

static void write_digests(const char *name)
{
	FILE *out = fopen(name, "w");

	if (!out)
		err(2, "%s", name);
	for (size_t f = 0; f < nr_files; f++) {
		const struct answer *a = first_answer(f);

		if (!a)
			continue;
		for (size_t i = 0; i < sizeof(a->digest); i++)
			fprintf(out, "%02x", a->digest[i]);
		fprintf(out, "  %s%c", files[f], separator);
	}
	if (ferror(out) | fclose(out))
		err(2, "%s", name);
}

static void help(void)
{
	errx(2, "usage: ask [-iz] [-n processes] [-o digests] [-s seed] [-d device] <list");
}

int main(int argc, char **argv)
{
	const char *device = "/dev/singleflight", *digests = NULL;
	size_t failed, different;
	double seconds;
	int fd, opt;

	while ((opt = getopt(argc, argv, "n:o:s:izd:")) != -1) {
		switch (opt) {
		case 'n':
			nr_processes = strtoul(optarg, NULL, 10);
			break;
		case 'o':
			digests = optarg;
			break;
		case 's':
			seed = strtoull(optarg, NULL, 10);
			break;
		case 'i':
			in_order = true;
			break;
		case 'z':
			separator = '\0';
			break;
		case 'd':
			device = optarg;
			break;
		default:
			help();
		}
	}
	if (optind != argc || nr_processes < 1 || nr_processes > 1000)
		errx(2, "give 1 to 1000 processes, and names of files on standard input only");
	fd = open(device, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(2, "%s%s", device, errno == ENOENT ? " (is singleflight.ko loaded?)" : "");

	read_list();
	answers = shared(nr_processes * nr_files, sizeof(*answers));
	done = shared(nr_processes, sizeof(*done));

	seconds = run(fd);
	failed = failures();
	different = differences();
	if (digests)
		write_digests(digests);
	printf("files %zu\nprocesses %zu\nrequests %zu\nfailed %zu\ndifferent %zu\nseconds %.3f\n",
	       nr_files, nr_processes, nr_processes * nr_files, failed, different, seconds);
	return failed || different;
}
