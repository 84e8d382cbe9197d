/* vmbench_kvm.c - KVM's counters from debugfs, its entries and exits from tracefs. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/vmbench.h"

#define COUNTERS "/sys/kernel/debug/kvm/"
#define TRACE    "/sys/kernel/tracing/"

/* Over all machines, of which there is only the measured one. */
double
kvm_counter(const char *name)
{
	char path[400], text[64] = "";
	int fd;

	snprintf(path, sizeof(path), COUNTERS "%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(fd);
	return isdigit((unsigned char)text[0]) ? atof(text) : 0;
}

void
kvm_counters(void)
{
	DIR *d = opendir(COUNTERS);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char figure[300];
		double v = e->d_type == DT_REG ? kvm_counter(e->d_name) : 0;

		snprintf(figure, sizeof(figure), "kvm.%s", e->d_name);
		if (v != 0)
			out(figure, v);
	}
	if (d)
		closedir(d);
}

/* The buffer keeps the first events: it is the first entry that is wanted. */
void
kvm_trace_entry(int on)
{
	put(TRACE "tracing_on", "0");
	put(TRACE "events/kvm/kvm_entry/enable", on ? "1" : "0");
	if (on) {
		put(TRACE "trace_clock", "mono");
		put(TRACE "options/overwrite", "0");
		put(TRACE "buffer_size_kb", "512");
		put(TRACE "trace", "");
		put(TRACE "tracing_on", "1");
	}
}

double
kvm_first_entry(void)
{
	char line[512];
	double at = 0;
	FILE *f = fopen(TRACE "trace", "re");

	while (f && at == 0 && fgets(line, sizeof(line), f)) {
		char *p = strstr(line, ": kvm_entry");

		while (p && p > line && p[-1] != ' ')
			p--;
		if (p)
			at = atof(p);
	}
	if (f)
		fclose(f);
	put(TRACE "trace", "");
	return at;
}

static void
trigger(const char *event, const char *keys, const char *prefix)
{
	char path[200], text[200];

	snprintf(path, sizeof(path), TRACE "events/kvm/%s/trigger", event);
	snprintf(text, sizeof(text), "%shist:keys=%s:size=4096", prefix, keys);
	put(path, text);
}

void
kvm_hist_on(const char *event, const char *keys)
{
	put(TRACE "tracing_on", "1"); /* a histogram counts only while tracing is on */
	trigger(event, keys, "");
}

void
kvm_hist_off(
    const char *event, const char *keys, void (*use)(void *ctx, const char *row, double hits), void *ctx)
{
	char path[200], line[512];
	FILE *f;

	snprintf(path, sizeof(path), TRACE "events/kvm/%s/hist", event);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		char *end = strstr(line, "} hitcount:");

		if (line[0] != '{' || !end)
			continue;
		*end = 0;
		use(ctx, line + 1, atof(end + strlen("} hitcount:")));
	}
	if (f)
		fclose(f);
	trigger(event, keys, "!");
}
