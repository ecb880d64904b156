// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * call: let processes call the server of replycache.ko over a network that loses datagrams
 *
 * usage: call [-n number] [-t seconds] [-r ms] [-l %] [-d %] [-p port]
 *
 * Each process adds numbers to counters, one call after the other. It throws away some of
 * the replies (-l), sends some requests twice at once or again later (-d), and sends a call
 * again when no reply has come for a while (-r). Each reply has to be that of its call, and
 * the same each time.
 *
 * At the end all calls are looked at together. A call that added 5 and was told 17 has moved
 * its counter from 12 to 17. If each call was executed once, then these moves lie end to end
 * from the counter's first value to its last. A move that nobody was told of is a call that
 * was executed twice. The exit code is 0 if there is none, and no reply was wrong.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "protocol.h"

#define MAX_PROCESSES	64
#define MAX_CALLS	20000	/* of one process */
#define GIVE_UP_AFTER	10000	/* milliseconds without a reply */
#define LATE		10	/* how many calls ago one may be that is sent again */
#define MAX_AMOUNT	100
#define COMPLAINTS	5	/* how many are printed */

/* A call, and the value that the counter had after it */
struct record {
	struct call_request request;
	__u64 value;
};

/* A client: one process, one socket */
struct client {
	unsigned int nr_calls;
	struct record records[MAX_CALLS];	/* in the order of their xids */
};

/* Shared by all processes */
static struct {
	atomic_ulong calls, resent, duplicated, thrown_away, repeated, wrong;
	struct client clients[MAX_PROCESSES + 1];	/* the last one is the parent */
} *all;

static unsigned long nr_processes = 8, seconds = 3, retransmit_ms = 40;
static unsigned long lose_percent = 20, duplicate_percent = 20, port = DEFAULT_PORT;

/* Of this process */
static struct client *me;
static int fd;
static __u32 first_xid;

static unsigned long random_below(unsigned long limit)
{
	return (unsigned long)random() % limit;
}

static bool happens(unsigned long percent)
{
	return random_below(100) < percent;
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Another process may get this port later: do not begin with the same number. */
static void begin(struct client *client)
{
	const struct sockaddr_in server = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	me = client;
	if (getrandom(&first_xid, sizeof(first_xid), 0) != sizeof(first_xid))
		err(2, "getrandom");
	srandom(first_xid);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&server, sizeof(server)))
		err(2, "socket");
}

static void send_request(const struct record *record)
{
	/* If this fails the datagram is lost. But that there is no server is worth saying. */
	if (send(fd, &record->request, sizeof(record->request), 0) < 0 && errno == ECONNREFUSED)
		errx(2, "nobody is at port %lu (is replycache.ko loaded?)", port);
}

static void complain(const char *what, const struct call_reply *reply)
{
	if (atomic_fetch_add(&all->wrong, 1) < COMPLAINTS)
		warnx("reply to call %u with value %llu: %s", reply->xid, reply->value, what);
}

/* Return: the call that a reply says it is for; NULL if that cannot be. */
static struct record *record_of(const struct call_reply *reply)
{
	__u32 i = reply->xid - first_xid;
	struct record *record;

	if (i >= me->nr_calls) {
		complain("there was no such call", reply);
		return NULL;
	}
	record = &me->records[i];
	if (reply->tag != record->request.tag || reply->counter != record->request.counter) {
		complain("it is that of another call", reply);
		return NULL;
	}
	return record;
}

/* Look at a reply. Return: whether it is the first one to the call that waits for it. */
static bool accept_reply(const struct call_reply *reply, const struct record *waiting)
{
	struct record *record = record_of(reply);

	if (!record)
		return false;
	if (record == waiting) {
		record->value = reply->value;
		return true;
	}
	atomic_fetch_add(&all->repeated, 1);
	if (reply->value != record->value)
		complain("an earlier reply had another value", reply);
	return false;
}

/* Wait for the reply to a call, up to a point in time. Return: whether it came. */
static bool wait_for_reply(const struct record *waiting, long until)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	struct call_reply reply;
	long left;

	while ((left = until - now_ms()) > 0) {
		if (poll(&poll_fd, 1, left) <= 0)
			continue;
		if (recv(fd, &reply, sizeof(reply), MSG_DONTWAIT) != sizeof(reply)) {
			if (errno == ECONNREFUSED)
				errx(2, "the server is gone");
			continue;
		}
		if (happens(lose_percent))
			atomic_fetch_add(&all->thrown_away, 1);
		else if (accept_reply(&reply, waiting))
			return true;
	}
	return false;
}

static __u64 call(unsigned int counter, __u64 amount)
{
	struct record *record = &me->records[me->nr_calls];
	long started = now_ms();

	record->request = (struct call_request) {
		.xid = first_xid + me->nr_calls++,
		.counter = counter,
		.amount = amount,
		.tag = (__u64)random() << 32 | random(),
	};
	atomic_fetch_add(&all->calls, 1);
	send_request(record);
	if (happens(duplicate_percent)) {
		atomic_fetch_add(&all->duplicated, 1);
		send_request(record);
	}
	while (!wait_for_reply(record, now_ms() + retransmit_ms)) {
		if (now_ms() - started > GIVE_UP_AFTER)
			errx(2, "no reply for %d ms", GIVE_UP_AFTER);
		atomic_fetch_add(&all->resent, 1);
		send_request(record);
	}
	return record->value;
}

/* As if a datagram had been under way for long: send a call again that has been answered. */
static void send_late(void)
{
	unsigned int ago = random_below(LATE) + 1;

	if (ago > me->nr_calls)
		return;
	atomic_fetch_add(&all->duplicated, 1);
	send_request(&me->records[me->nr_calls - ago]);
}

static void work(struct client *client, long end)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	begin(client);
	while (now_ms() < end && me->nr_calls < MAX_CALLS) {
		call(random_below(NR_COUNTERS), random_below(MAX_AMOUNT) + 1);
		if (happens(duplicate_percent))
			send_late();
	}
	exit(0);
}

static void run(void)
{
	long end = now_ms() + seconds * 1000;
	bool failed = false;
	int status;

	for (unsigned long i = 0; i < nr_processes; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(2, "fork");
		if (!pid)
			work(&all->clients[i], end);
	}
	while (wait(&status) > 0)
		failed |= status;
	if (failed)
		errx(2, "a process failed");
}

static void read_counters(__u64 values[NR_COUNTERS])
{
	for (unsigned int i = 0; i < NR_COUNTERS; i++)
		values[i] = call(i, 0);
}

static int by_value(const void *a, const void *b)
{
	const struct record *const *x = a, *const *y = b;

	return (*x)->value < (*y)->value ? -1 : (*x)->value > (*y)->value;
}

/* Collect the calls of all processes that changed a counter. Return: how many there are. */
static size_t collect(unsigned int counter, const struct record **records)
{
	size_t n = 0;

	for (unsigned long p = 0; p < nr_processes; p++) {
		const struct client *client = &all->clients[p];

		for (unsigned int i = 0; i < client->nr_calls; i++)
			if (client->records[i].request.counter == counter)
				records[n++] = &client->records[i];
	}
	return n;
}

/* Return: how many gaps and overlaps there are between the moves of a counter. */
static unsigned long check_counter(unsigned int counter, __u64 first, __u64 last)
{
	static const struct record *records[MAX_PROCESSES * MAX_CALLS];
	size_t n = collect(counter, records);
	unsigned long wrong = 0;
	__u64 value = first;

	qsort(records, n, sizeof(*records), by_value);
	for (size_t i = 0; i < n; i++) {
		wrong += records[i]->value - records[i]->request.amount != value;
		value = records[i]->value;
	}
	return wrong + (value != last);
}

static unsigned long parse(const char *text, unsigned long min, unsigned long max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (!*text || *end || n < min || n > max)
		errx(2, "%s: give a number from %lu to %lu", text, min, max);
	return n;
}

static void read_options(int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "n:t:r:l:d:p:")) != -1) {
		if (opt == 'n')
			nr_processes = parse(optarg, 1, MAX_PROCESSES);
		else if (opt == 't')
			seconds = parse(optarg, 1, 3600);
		else if (opt == 'r')
			retransmit_ms = parse(optarg, 1, 10000);
		else if (opt == 'l')
			lose_percent = parse(optarg, 0, 90);
		else if (opt == 'd')
			duplicate_percent = parse(optarg, 0, 100);
		else if (opt == 'p')
			port = parse(optarg, 1, 65535);
		else
			optind = argc + 1;
	}
	if (optind != argc)
		errx(2, "usage: call [-n number] [-t seconds] [-r ms] [-l %%] [-d %%] [-p port]");
}

int main(int argc, char **argv)
{
	__u64 first[NR_COUNTERS], last[NR_COUNTERS];
	unsigned long moves = 0;

	read_options(argc, argv);
	all = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		err(2, "memory");

	begin(&all->clients[MAX_PROCESSES]);
	read_counters(first);
	run();
	read_counters(last);
	for (unsigned int i = 0; i < NR_COUNTERS; i++)
		moves += check_counter(i, first[i], last[i]);
	printf("calls %lu\nresent %lu\nduplicated %lu\nthrown away %lu\nrepeated %lu\n",
	       atomic_load(&all->calls), atomic_load(&all->resent),
	       atomic_load(&all->duplicated), atomic_load(&all->thrown_away),
	       atomic_load(&all->repeated));
	printf("wrong replies %lu\nwrong moves %lu\n", atomic_load(&all->wrong), moves);
	return atomic_load(&all->wrong) || moves;
}
