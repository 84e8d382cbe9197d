/* vmbench_tree.c - the processes of the measured monitor: who they are, their memory, how often they slept.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/vmbench.h"

static pid_t helper; /* the network's peer: a child of ours that is not measured */

void
tree_helper(pid_t pid)
{
	helper = pid;
}

static pid_t
parent_of(pid_t pid)
{
	char path[64], text[512], *end;
	ssize_t n = -1;
	int fd, parent = -1;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = 0;
	end = strrchr(text, ')');
	if (end)
		sscanf(end + 1, " %*c %d", &parent);
	return parent;
}

static int
is_measured(pid_t pid)
{
	pid_t me = getpid();

	if (pid == me)
		return 0;
	for (int depth = 0; depth < 20 && pid > 1 && pid != helper; depth++) {
		pid = parent_of(pid);
		if (pid == me)
			return 1;
	}
	return 0;
}

/* The numbers among the names in a folder. */
static int
numbers_in(const char *path, pid_t *list, int max)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d)) && n < max)
		if (isdigit((unsigned char)e->d_name[0]))
			list[n++] = atoi(e->d_name);
	if (d)
		closedir(d);
	return n;
}

static int
processes(pid_t *list)
{
	static pid_t all[4096];
	int n = 0, total = numbers_in("/proc", all, 4096);

	for (int i = 0; i < total && n < MAX_PROCESSES; i++)
		if (is_measured(all[i]))
			list[n++] = all[i];
	return n;
}

void
tree_kill(void)
{
	pid_t list[MAX_PROCESSES];

	for (int tries = 0; tries < 100; tries++) {
		int n = processes(list);

		if (n == 0)
			return;
		for (int i = 0; i < n; i++)
			kill(list[i], SIGKILL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		usleep(2000);
	}
}

/* The value of NAME in a file of "NAME: VALUE" lines. */
static double
value(const char *path, const char *label)
{
	char line[512];
	size_t len = strlen(label);
	double v = 0;
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, label, len) == 0 && line[len] == ':')
			v = atof(line + len + 1);
	if (f)
		fclose(f);
	return v;
}

/*
 * Proportional memory, so that what several machines share is not counted in each. A mapping of 3/4 of the
 * guest's memory or more, or one named guest-ram, is guest memory; the rest is what the monitor costs.
 */
static void
read_mappings(const char *path, struct memory *m, long guest_mib)
{
	char line[512];
	unsigned long from, to;
	double kib;
	int guest = 0;
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
			guest = to - from >= ((unsigned long)guest_mib << 20) * 3 / 4 ||
				strstr(line, "guest-ram");
		} else if (sscanf(line, "Pss: %lf", &kib) == 1) {
			m->pss += kib;
			m->guest += guest ? kib : 0;
		} else if (sscanf(line, "Anonymous: %lf", &kib) == 1 && !guest) {
			m->anonymous += kib;
		}
	}
	if (f)
		fclose(f);
}

/* Of thread id of process pid. */
static double
thread_ms(pid_t pid, pid_t id)
{
	char path[100];
	double ns = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", pid, id);
	f = fopen(path, "re");
	if (f && fscanf(f, "%lf", &ns) != 1)
		ns = 0;
	if (f)
		fclose(f);
	return ns / 1e6;
}

void
tree_memory(struct memory *m, long guest_mib)
{
	pid_t list[MAX_PROCESSES], ids[MAX_THREADS];
	char path[100];

	*m = (struct memory){ .processes = processes(list) };
	for (int i = 0; i < m->processes; i++) {
		int threads;

		snprintf(path, sizeof(path), "/proc/%d/status", list[i]);
		m->hwm += value(path, "VmHWM");
		m->rss += value(path, "VmRSS");
		snprintf(path, sizeof(path), "/proc/%d/smaps", list[i]);
		read_mappings(path, m, guest_mib);
		snprintf(path, sizeof(path), "/proc/%d/fd", list[i]);
		m->fds += numbers_in(path, ids, MAX_THREADS);
		snprintf(path, sizeof(path), "/proc/%d/task", list[i]);
		threads = numbers_in(path, ids, MAX_THREADS);
		m->threads += threads;
		for (int t = 0; t < threads; t++)
			m->cpu_ms += thread_ms(list[i], ids[t]);
	}
}

void
tree_cpu(double *busiest_ms, double *others_ms)
{
	pid_t list[MAX_PROCESSES], ids[MAX_THREADS];
	int n = processes(list);
	char path[100];

	*busiest_ms = *others_ms = 0;
	for (int i = 0; i < n; i++) {
		int threads;

		snprintf(path, sizeof(path), "/proc/%d/task", list[i]);
		threads = numbers_in(path, ids, MAX_THREADS);
		for (int t = 0; t < threads; t++) {
			double ms = thread_ms(list[i], ids[t]);

			*others_ms += ms < *busiest_ms ? ms : *busiest_ms;
			*busiest_ms = ms > *busiest_ms ? ms : *busiest_ms;
		}
	}
}

size_t
tree_threads(struct thread *out_list, size_t max)
{
	pid_t list[MAX_PROCESSES], ids[MAX_THREADS];
	int n = processes(list);
	size_t count = 0;
	char path[100];

	for (int i = 0; i < n; i++) {
		int threads;

		snprintf(path, sizeof(path), "/proc/%d/task", list[i]);
		threads = numbers_in(path, ids, MAX_THREADS);
		for (int t = 0; t < threads && count < max; t++) {
			snprintf(path, sizeof(path), "/proc/%d/task/%d/status", list[i], ids[t]);
			out_list[count].id = ids[t];
			out_list[count++].sleeps = (long)value(path, "voluntary_ctxt_switches");
		}
	}
	return count;
}
