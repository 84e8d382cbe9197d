/* vmbench_net.c - tap0 with the address 10.0.0.1, and a process that answers the guest behind it. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/vmbench.h"

enum { SINK, SOURCE, ECHO, SERVICES, SOURCE_BYTES = 48 << 20 };

static void
tap_up(void)
{
	struct ifreq r = { .ifr_name = "tap0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	struct sockaddr_in *a = (struct sockaddr_in *)&r.ifr_addr;
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), s = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || ioctl(fd, TUNSETIFF, &r) != 0 || ioctl(fd, TUNSETPERSIST, 1) != 0)
		perror("vmbench: tap");
	close(fd);
	a->sin_family = AF_INET;
	inet_pton(AF_INET, "10.0.0.1", &a->sin_addr);
	ioctl(s, SIOCSIFADDR, &r);
	inet_pton(AF_INET, "255.255.255.0", &a->sin_addr);
	ioctl(s, SIOCSIFNETMASK, &r);
	ioctl(s, SIOCGIFFLAGS, &r);
	r.ifr_flags = (short)(r.ifr_flags | IFF_UP | IFF_RUNNING);
	ioctl(s, SIOCSIFFLAGS, &r);
	close(s);
}

static int
listener(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	inet_pton(AF_INET, "10.0.0.1", &a.sin_addr);
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(s, 4) != 0)
		perror("vmbench: listen");
	return s;
}

static void
serve(int service, int c)
{
	static char buf[65536];
	ssize_t n;

	switch (service) {
	case SINK:
		while (read(c, buf, sizeof(buf)) > 0)
			;
		break;
	case SOURCE:
		for (ssize_t sum = 0; sum < SOURCE_BYTES; sum += n) {
			n = write(c, buf, sizeof(buf));
			if (n <= 0)
				break;
		}
		break;
	case ECHO:
		while ((n = read(c, buf, sizeof(buf))) > 0)
			if (write(c, buf, (size_t)n) != n)
				break;
		break;
	}
}

static void
peer(void)
{
	struct pollfd p[SERVICES];
	int one = 1;

	for (int i = 0; i < SERVICES; i++)
		p[i] = (struct pollfd){ .fd = listener((uint16_t)(5001 + i)), .events = POLLIN };
	while (poll(p, SERVICES, -1) > 0)
		for (int i = 0; i < SERVICES; i++) {
			int c;

			if (!(p[i].revents & POLLIN))
				continue;
			c = accept(p[i].fd, NULL, NULL);
			setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
			serve(i, c);
			close(c);
		}
}

pid_t
net_peer(void)
{
	pid_t pid;

	tap_up();
	pid = fork();
	if (pid == 0) {
		peer();
		_exit(0);
	}
	usleep(20000); /* it listens */
	return pid;
}

static double
statistic(const char *path)
{
	double v = 0;
	FILE *f = fopen(path, "re");

	if (f && fscanf(f, "%lf", &v) != 1)
		v = 0;
	if (f)
		fclose(f);
	return v;
}

double
net_packets(void)
{
	return statistic("/sys/class/net/tap0/statistics/rx_packets") +
	       statistic("/sys/class/net/tap0/statistics/tx_packets");
}
