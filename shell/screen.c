/*
 * shell/screen.c - one string of what a vt100, an xterm and the kernel's console understand or leave alone.
 */
#include "shell/screen.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { WAIT_MS = 1000 };

static const char reset[] =
    "\030\033\\"                        /* CAN, ST: what was begun and not ended */
    "\0337\033[?1049;1047;47l\0338"     /* the other screen; 1049 also moves the cursor, hence the 7 and 8 */
    "\033[?9;1000;1001;1002;1003;1004l" /* the mouse, focus */
    "\033[?1005;1006;1015;2004l"        /* how the mouse is told; bracketed paste */
    "\033%G\033(B\033)B\017"            /* UTF-8, ASCII in both sets, the first in use */
    "\033[?1;5;6l\033[?7;25h\033[4l\033>" /* cursor keys, dark on light, origin; wrapping, cursor; insert;
					     keypad */
    "\033[r\033[m"                        /* all lines scroll, no colours */
    "\033[999;1H\r\n";                    /* the region has sent the cursor to the top */

/* A terminal that takes nothing (a stopped line) does not keep us. */
static int
wait_for(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, WAIT_MS) == 1;
}

void
screen_reset(int fd)
{
	const char *at = reset;
	size_t left = sizeof(reset) - 1;
	int saved = errno;

	while (left > 0) {
		ssize_t n = wait_for(fd) ? write(fd, at, left) : -1;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		at += n;
		left -= (size_t)n;
	}
	errno = saved;
}
