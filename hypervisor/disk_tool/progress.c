/* hypervisor/disk_tool/progress.c - how far it is, on a terminal; and the wish to stop. */
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "hypervisor/disk_tool/tool.h"

#define NS        1000000000ull
#define REDRAW_NS (NS / 10)
#define TELL_NS   (NS / 4)

static volatile sig_atomic_t asked;
static bool drawn, visible, lines;

/* The first time it is a wish; the second time the handler is gone, and the signal ends us. */
static void
ask(int signal)
{
	asked = signal;
}

bool
interrupted(void)
{
	return asked != 0;
}

static bool
step(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	static uint64_t last;
	struct timespec ts;
	uint64_t now;

	(void)ctx;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
	if (visible && (now - last >= REDRAW_NS || done == total)) {
		last = now;
		drawn = true;
		fprintf(stderr, "\r%s: %3u %%\033[K", phase,
		    total ? (unsigned)((double)done * 100 / (double)total) : 100);
	}
	if (lines && (now - last >= TELL_NS || done == total)) { /* phases are our own words */
		last = now;
		fprintf(stderr, "{\"phase\":\"%s\",\"done\":%llu,\"total\":%llu}\n", phase,
		    (unsigned long long)done, (unsigned long long)total);
	}
	return interrupted();
}

void
progress_begin(struct tool *t)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction a = { .sa_handler = ask, .sa_flags = (int)SA_RESETHAND };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct sigaction old;

		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(signals[i], &a, NULL);
	}
	lines = t->o.progress_json;
	visible = !t->o.quiet && !lines && isatty(STDERR_FILENO);
	t->progress = (struct disk_progress){ .step = step };
}

void
progress_end(void)
{
	if (drawn)
		fprintf(stderr, "\r\033[K");
	drawn = false;
}
