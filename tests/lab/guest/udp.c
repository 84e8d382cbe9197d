/*
 * tests/lab/guest/udp.c - datagrams of every length up to a largest, each of which says which one it is and
 * whose every byte follows from that. On both sides: guest-tool is on the lab's machine too.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/lab/guest/tool.h"

enum { LARGEST = 65507, LEAST = 4, QUIET = 5 /* seconds */, ROOM = 16 << 20 };
enum { IN_A_ROW = 16384 /* bytes */, PAUSE = 10000 /* us */ };

static size_t
length_of(uint32_t number, size_t largest)
{
	return LEAST + number * 7919u % (largest - LEAST + 1);
}

static void
fill(uint8_t *d, size_t n, uint32_t number)
{
	memcpy(d, &number, sizeof(number));
	for (size_t i = LEAST; i < n; i++)
		d[i] = (uint8_t)((i * 2654435761u >> 11) + number);
}

int
tool_udp_send(char **args)
{
	static uint8_t d[LARGEST];
	struct sockaddr_in to4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(args[1])) };
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(args[1])) };
	int four = inet_pton(AF_INET, args[0], &to4.sin_addr) == 1;
	uint32_t count = (uint32_t)atoi(args[2]);
	size_t largest = (size_t)atoi(args[3]);
	size_t in_a_row = 0;
	int fd = socket(four ? AF_INET : AF_INET6, SOCK_DGRAM, 0);

	if (largest < LEAST || largest > LARGEST ||
	    (!four && inet_pton(AF_INET6, args[0], &to6.sin6_addr) != 1))
		return 2;
	if (connect(fd, four ? (void *)&to4 : (void *)&to6, four ? sizeof(to4) : sizeof(to6)) < 0) {
		perror("udp");
		return 1;
	}
	for (uint32_t i = 0; i < count; i++) {
		size_t n = length_of(i, largest);

		fill(d, n, i);
		if (send(fd, d, n, 0) < 0 && errno != ECONNREFUSED && errno != ENOBUFS) {
			perror("udp");
			return 1;
		}
		in_a_row += n;
		if (in_a_row >= IN_A_ROW) {
			usleep(PAUSE);
			in_a_row = 0;
		}
	}
	close(fd);
	return 0;
}

/* Until all have come, or none for a while. */
int
tool_udp_receive(char **args)
{
	static uint8_t d[LARGEST], right[LARGEST];
	struct sockaddr_in6 here = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(args[0])) };
	struct timeval quiet = { .tv_sec = 60 };
	uint32_t count = (uint32_t)atoi(args[1]), good = 0, bad = 0, number;
	size_t largest = (size_t)atoi(args[2]);
	int fd = socket(AF_INET6, SOCK_DGRAM, 0), room = ROOM;
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &quiet, sizeof(quiet));
	if (bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0) {
		perror("udp");
		return 1;
	}
	printf("FH-LISTENS\n");
	quiet.tv_sec = QUIET;
	while (good + bad < count && (n = recv(fd, d, sizeof(d), 0)) >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &quiet, sizeof(quiet));
		number = UINT32_MAX;
		if (n >= LEAST)
			memcpy(&number, d, sizeof(number));
		fill(right, (size_t)n, number);
		if (number < count && (size_t)n == length_of(number, largest) &&
		    memcmp(d, right, (size_t)n) == 0)
			good++;
		else
			bad++;
	}
	printf("FH-UDP %u %u\n", good, bad);
	close(fd);
	return 0;
}
