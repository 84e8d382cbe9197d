/*
 * lib/log.c - lines to one descriptor, a write() each, so that lines of several threads never mix.
 *
 * Works inside the sandbox: clock_gettime, futex and write, no allocation. A line that cannot be
 * written (a non-blocking descriptor whose reader is behind) counts as dropped.
 */
#include "lib/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/rate.h"
#include "lib/text.h"

/* The one log of the program; everything in it is guarded by its lock. */
static struct {
	pthread_mutex_t lock;
	const char *ident;
	int fd;
	enum log_level most;
	struct rate rate;
	uint64_t dropped;
} self = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.ident = "freehold",
	.fd = 2,
	.most = LOG_INFO,
	.rate = { .burst = LOG_BURST, .per_s = LOG_PER_SECOND },
};

void
log_open(const char *ident, int fd, enum log_level most)
{
	pthread_mutex_lock(&self.lock);
	self.ident = ident;
	self.fd = fd;
	self.most = most;
	self.rate = (struct rate){ .burst = LOG_BURST, .per_s = LOG_PER_SECOND };
	self.dropped = 0;
	pthread_mutex_unlock(&self.lock);
}

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int
put_line(enum log_level level, const char *text)
{
	char line[LOG_LINE_MAX];
	size_t len;
	ssize_t n;

	snprintf(line, sizeof(line) - 1, "<%d>%s: %s", (int)level, self.ident, text);
	text_clean(line); /* cuts no character in half, lets no guest write a line of its own */
	len = strlen(line);
	line[len++] = '\n';
	do
		n = write(self.fd, line, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* With the lock held. */
static void
put(enum log_level level, const char *text)
{
	char told[64];

	if (!rate_take(&self.rate, now_ns())) {
		self.dropped++;
		return;
	}
	if (self.dropped) {
		snprintf(told, sizeof(told), "%ju lines dropped", (uintmax_t)self.dropped);
		if (put_line(LOG_WARN, told) == 0)
			self.dropped = 0;
	}
	if (put_line(level, text) < 0)
		self.dropped++;
}

void
log_msg(enum log_level level, const char *fmt, ...)
{
	int saved = errno; /* logging must not disturb who looks at errno afterwards */
	char text[LOG_LINE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&self.lock);
	if (level <= self.most)
		put(level, text);
	pthread_mutex_unlock(&self.lock);
	errno = saved;
}
