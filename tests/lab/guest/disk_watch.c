/*
 * tests/lab/guest/disk_watch.c - tells which disks come, go and change, as the kernel's events have it; opens
 * a drive.
 *
 *   FH-DISK add sdc 0:0:0:5        FH-DISK remove sdc 0:0:0:5        FH-DISK change sr0 0:0:0:1
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/cdrom.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lab/guest/tool.h"

/* The value of NAME in an event: strings behind one another, the first "add@/devices/...". */
static const char *
value(const char *event, size_t len, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = event; p < event + len; p += strlen(p) + 1)
		if (strncmp(p, name, n) == 0 && p[n] == '=')
			return p + n + 1;
	return "";
}

/* The part of the path that is host:channel:target:lun. */
static void
say(const char *event, size_t len)
{
	const char *address = strstr(event, "/target"), *end;

	if (strcmp(value(event, len, "SUBSYSTEM"), "block") != 0 ||
	    strcmp(value(event, len, "DEVTYPE"), "disk") != 0 || !address)
		return;
	address = strchr(address + 1, '/');
	end = address ? strchr(address + 1, '/') : NULL;
	if (end)
		printf("FH-DISK %s %s %.*s\n", value(event, len, "ACTION"), value(event, len, "DEVNAME"),
		    (int)(end - address - 1), address + 1);
}

int
tool_watch(char **args)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int s = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT), room = 1 << 20;
	char event[8192];
	ssize_t n;

	(void)args;
	setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof(a)) != 0) {
		perror("FH-WATCH");
		return 1;
	}
	printf("FH-WATCH\n");
	while ((n = recv(s, event, sizeof(event) - 1, 0)) > 0) {
		event[n] = 0;
		say(event, (size_t)n);
	}
	return 1;
}

int
tool_eject(char **args)
{
	int fd = open(args[0], O_RDONLY | O_NONBLOCK | O_CLOEXEC), rc = ioctl(fd, CDROMEJECT, 0ul);

	printf("FH-EJECT %s\n", rc < 0 ? strerror(errno) : "done");
	close(fd);
	return rc < 0;
}
