/*
 * agent/spawn/main.c - fh-spawn: starts workers for the agent. See spawn.h.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "agent/spawn/spawn.h"
#include "lib/log.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char usage[] =
    "usage: fh-spawn [--run DIR] [--worker PROGRAM] [--cgroup DIR]\n"
    "\n"
    "Starts virtual machines' workers for fh-agent. Needs root.\n"
    "\n"
    "  --run DIR         where sockets are (/run/freehold); listens on DIR/spawn.sock\n"
    "  --worker PROGRAM  what is started (/usr/bin/fh-worker)\n"
    "  --cgroup DIR      control group (v2) that workers' groups are made in (/sys/fs/cgroup/freehold)\n";

static int
parse(int argc, char **argv, struct spawner *s)
{
	static const struct option longs[] = { { "run", required_argument, NULL, 'r' },
		{ "worker", required_argument, NULL, 'w' }, { "cgroup", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' }, { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'r')
			s->run = optarg;
		else if (c == 'w')
			s->worker = optarg;
		else if (c == 'c')
			s->cgroup = optarg;
		else
			return c == 'h' ? 1 : -1;
	}
	return optind == argc ? 0 : -1;
}

int
main(int argc, char **argv)
{
	static struct spawner s = {
		.run = "/run/freehold", .worker = "/usr/bin/fh-worker", .cgroup = "/sys/fs/cgroup/freehold"
	};
	struct err e = { 0 };
	int rc = parse(argc, argv, &s);

	if (rc != 0) {
		fputs(usage, rc > 0 ? stdout : stderr);
		return rc > 0 ? 0 : EXIT_USAGE;
	}
	log_open("fh-spawn", STDERR_FILENO, LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	/* A worker's first process ends at once; the worker itself then becomes our child, and tells us its
	 * exit status. */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	rc = cgroup_prepare(s.cgroup, &e);
	if (rc == 0)
		rc = children_find(&s, &e);
	if (rc == 0)
		rc = spawn_listen(&s, &e);
	if (rc < 0) {
		log_msg(LOG_ERROR, "%s", e.msg);
		return EXIT_FAILED;
	}
	for (;;)
		spawn_step(&s, -1);
}
