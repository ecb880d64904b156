// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * flood: send UDP packets at a given rate, or count the packets that arrive
 *
 * usage: flood send ADDRESS RATE SECONDS	RATE 0: as fast as possible
 *        flood receive				until none has arrived for 2 seconds
 *
 * The sender prints "packets N" and "seconds N". The receiver prints a line
 * "ADDRESS N" for each source.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PORT		9000
#define MAX_SOURCES	1000

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int udp_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0)
		err(2, "socket");
	return fd;
}

static void send_packets(const char *address, double rate, double seconds)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	unsigned long packets = 0;
	double start, passed;
	char data[64] = "";
	int fd = udp_socket();

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
		errx(2, "%s is not an IPv4 address", address);

	start = now();
	while ((passed = now() - start) < seconds) {
		/* After sleeping too long, send without pause until the rate is met. */
		if (rate && packets > rate * passed) {
			usleep(1000);
			continue;
		}
		if (sendto(fd, data, sizeof(data), 0, (void *)&to, sizeof(to)) == sizeof(data))
			packets++;
		else if (errno != ENOBUFS)
			err(2, "send to %s", address);
	}
	printf("packets %lu\nseconds %.3f\n", packets, passed);
}

static void receive_packets(void)
{
	static struct source {
		struct in_addr address;
		unsigned long packets;
	} sources[MAX_SOURCES];
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	const struct timeval quiet = { .tv_sec = 2 };
	const int room = 64 << 20;
	int fd = udp_socket(), n = 0, i;

	if (bind(fd, (void *)&here, sizeof(here)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &quiet, sizeof(quiet)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)))
		err(2, "receiver");

	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		char data[64];

		if (recvfrom(fd, data, sizeof(data), 0, (void *)&from, &len) < 0) {
			if (errno == EAGAIN)
				break;
			err(2, "receive");
		}
		for (i = 0; i < n && sources[i].address.s_addr != from.sin_addr.s_addr; i++)
			;
		if (i == n) {
			if (n++ == MAX_SOURCES)
				errx(2, "more than %d sources", MAX_SOURCES);
			sources[i].address = from.sin_addr;
		}
		sources[i].packets++;
	}
	for (i = 0; i < n; i++)
		printf("%s %lu\n", inet_ntoa(sources[i].address), sources[i].packets);
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "send"))
		send_packets(argv[2], atof(argv[3]), atof(argv[4]));
	else if (argc == 2 && !strcmp(argv[1], "receive"))
		receive_packets();
	else
		errx(2, "usage: flood send ADDRESS RATE SECONDS | flood receive");
	return 0;
}
