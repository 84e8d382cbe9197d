/*
 * tests/lab/guest/button.c - waits for the power button, as the input layer reports it.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/lab/guest/tool.h"

enum { MOST = 16 };

static nfds_t
open_inputs(struct pollfd *p)
{
	DIR *d = opendir("/dev/input");
	struct dirent *e;
	nfds_t n = 0;

	while (d && n < MOST && (e = readdir(d))) {
		if (strncmp(e->d_name, "event", 5) != 0)
			continue;
		p[n].fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);
		p[n].events = POLLIN;
		n += p[n].fd >= 0;
	}
	if (d)
		closedir(d);
	return n;
}

int
tool_button(char **args)
{
	struct pollfd p[MOST];
	nfds_t n = open_inputs(p);

	(void)args;
	printf("FH-BUTTON %u inputs\n", (unsigned)n);
	while (n > 0 && poll(p, n, -1) > 0) {
		for (nfds_t i = 0; i < n; i++) {
			struct input_event ev;

			if ((p[i].revents & POLLIN) && read(p[i].fd, &ev, sizeof(ev)) == sizeof(ev) &&
			    ev.type == EV_KEY && ev.code == KEY_POWER && ev.value == 1) {
				printf("FH-BUTTON pressed\n");
				return 0;
			}
		}
	}
	return 1;
}
