// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * scribble: let processes write a file, or a block device, and read it while they do
 *
 * usage: scribble [-n processes] [-s strips] [-t seconds] FILE
 *
 * FILE is divided into strips of three blocks, which are dealt out to the processes like
 * cards: neighbours are of different processes. A process has 16 strips written at once,
 * by asynchronous direct I/O, then 16 read, of any process. Each block says where it
 * belongs and which version it is. The exit code is 0 if every block that was read was
 * whole, in its place and of a version that could be there; and if at the end the last
 * version of each is there.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK		4096
#define STRIP_BLOCKS	3
#define STRIP		(STRIP_BLOCKS * BLOCK)
#define AT_ONCE		16
#define MAX_STRIPS	10000

/* Shared by all processes */
static struct {
	atomic_ulong writes, reads, wrong;
	atomic_uint version[MAX_STRIPS];	/* the last one that is written */
} *all;

static unsigned long nr_strips = 400, nr_processes = 8;
static aio_context_t aio;
static int fd;

/* One of the transfers that a process has under way at once. */
static struct transfer {
	unsigned long strip;
	unsigned int version;	/* to be written, or known to be there before the read */
	unsigned char *data;
} transfers[AT_ONCE];

static unsigned long long word(unsigned long long block, unsigned long long version, unsigned int i)
{
	if (i == 0)
		return block;
	if (i == 1)
		return version;
	return (block * 1000003 + version + i) * 0x9e3779b97f4a7c15;
}

static void fill(const struct transfer *t)
{
	for (unsigned int b = 0; b < STRIP_BLOCKS; b++) {
		unsigned long long *data = (unsigned long long *)(t->data + b * BLOCK);

		for (unsigned int i = 0; i < BLOCK / sizeof(*data); i++)
			data[i] = word(t->strip * STRIP_BLOCKS + b, t->version, i);
	}
}

/* The last version that may be there is one that is being written. */
static void check(const struct transfer *t, unsigned int last)
{
	for (unsigned int b = 0; b < STRIP_BLOCKS; b++) {
		const unsigned long long *data = (unsigned long long *)(t->data + b * BLOCK);
		unsigned int i = 0;

		while (i < BLOCK / sizeof(*data) &&
		       data[i] == word(t->strip * STRIP_BLOCKS + b, data[1], i))
			i++;
		if (i == BLOCK / sizeof(*data) && data[1] >= t->version && data[1] <= last)
			continue;
		atomic_fetch_add(&all->wrong, 1);
		warnx("block %lu: word %u is wrong, version is %llu and should be %u to %u",
		      t->strip * STRIP_BLOCKS + b, i, data[1], t->version, last);
	}
}

/* Start @n transfers together, and wait for all of them. */
static void transfer(int opcode, unsigned int n)
{
	struct iocb iocbs[AT_ONCE] = {}, *pointers[AT_ONCE];
	struct io_event events[AT_ONCE];
	unsigned int started = 0;
	long ret;

	for (unsigned int i = 0; i < n; i++) {
		pointers[i] = &iocbs[i];
		iocbs[i].aio_fildes = fd;
		iocbs[i].aio_lio_opcode = opcode;
		iocbs[i].aio_buf = (uintptr_t)transfers[i].data;
		iocbs[i].aio_nbytes = STRIP;
		iocbs[i].aio_offset = transfers[i].strip * STRIP;
	}
	while (started < n) {
		ret = syscall(SYS_io_submit, aio, n - started, pointers + started);
		if (ret < 0)
			err(2, "io_submit");
		started += ret;
	}
	if (syscall(SYS_io_getevents, aio, n, n, events, NULL) != n)
		err(2, "io_getevents");
	for (unsigned int i = 0; i < n; i++) {
		errno = -events[i].res;
		if (events[i].res != STRIP)
			err(2, "%s", opcode == IOCB_CMD_PWRITE ? "write" : "read");
	}
	atomic_fetch_add(opcode == IOCB_CMD_PWRITE ? &all->writes : &all->reads, n);
}

static void write_some(unsigned long process, unsigned int *seed)
{
	unsigned long own = (nr_strips - process + nr_processes - 1) / nr_processes;
	unsigned long first = rand_r(seed) % own;
	unsigned int n = own < AT_ONCE ? own : AT_ONCE;

	for (unsigned int i = 0; i < n; i++) {
		transfers[i].strip = (first + i) % own * nr_processes + process;
		transfers[i].version = atomic_load(&all->version[transfers[i].strip]) + 1;
		fill(&transfers[i]);
	}
	transfer(IOCB_CMD_PWRITE, n);
	for (unsigned int i = 0; i < n; i++)
		atomic_store(&all->version[transfers[i].strip], transfers[i].version);
}

static void read_some(unsigned int *seed)
{
	unsigned long first = rand_r(seed) % nr_strips;

	for (unsigned int i = 0; i < AT_ONCE; i++) {
		transfers[i].strip = (first + i) % nr_strips;
		transfers[i].version = atomic_load(&all->version[transfers[i].strip]);
	}
	transfer(IOCB_CMD_PREAD, AT_ONCE);
	for (unsigned int i = 0; i < AT_ONCE; i++)
		check(&transfers[i], atomic_load(&all->version[transfers[i].strip]) + 1);
}

static void begin(void)
{
	aio = 0;	/* a child has its own */
	if (syscall(SYS_io_setup, AT_ONCE, &aio))
		err(2, "io_setup");
	for (int i = 0; i < AT_ONCE; i++) {
		transfers[i].data = aligned_alloc(BLOCK, STRIP);
		if (!transfers[i].data)
			err(2, "memory");
	}
}

static void work(unsigned long process, time_t end)
{
	unsigned int seed = process;

	begin();
	while (time(NULL) < end) {
		write_some(process, &seed);
		read_some(&seed);
	}
}

/* Write all strips for the first time, or read them when nobody writes any more. */
static void all_strips(int opcode)
{
	for (unsigned long strip = 0; strip < nr_strips; strip++) {
		transfers[0].strip = strip;
		transfers[0].version = atomic_load(&all->version[strip]);
		if (opcode == IOCB_CMD_PWRITE)
			fill(&transfers[0]);
		transfer(opcode, 1);
		if (opcode == IOCB_CMD_PREAD)
			check(&transfers[0], transfers[0].version);
	}
}

int main(int argc, char **argv)
{
	unsigned long seconds = 3;
	int opt, status, failed = 0;
	time_t end;

	while ((opt = getopt(argc, argv, "n:s:t:")) != -1) {
		if (opt == 'n')
			nr_processes = strtoul(optarg, NULL, 10);
		else if (opt == 's')
			nr_strips = strtoul(optarg, NULL, 10);
		else if (opt == 't')
			seconds = strtoul(optarg, NULL, 10);
		else
			optind = argc + 1;
	}
	if (optind != argc - 1)
		errx(2, "usage: scribble [-n processes] [-s strips] [-t seconds] FILE");
	if (nr_strips < AT_ONCE || nr_strips > MAX_STRIPS)
		errx(2, "the number of strips must be from %d to %d", AT_ONCE, MAX_STRIPS);
	if (!nr_processes || nr_processes > nr_strips)
		errx(2, "the number of processes must be from 1 to that of strips");
	fd = open(argv[optind], O_RDWR | O_CREAT | O_DIRECT, 0600);
	if (fd < 0)
		err(2, "%s", argv[optind]);
	all = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		err(2, "memory");

	begin();
	all_strips(IOCB_CMD_PWRITE);
	end = time(NULL) + seconds;
	for (unsigned long i = 0; i < nr_processes; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(2, "fork");
		if (!pid) {
			work(i, end);
			exit(0);
		}
	}
	while (wait(&status) > 0)
		failed |= status;
	all_strips(IOCB_CMD_PREAD);
	printf("writes %lu\nreads %lu\nwrong %lu\n", atomic_load(&all->writes),
	       atomic_load(&all->reads), atomic_load(&all->wrong));
	return failed || atomic_load(&all->wrong);
}
