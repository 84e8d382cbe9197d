/*
 * agent/main.c - fh-agent: owns the inventory, answers every call. Runs until SIGTERM; workers outlive it.
 */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/discover.h"
#include "lib/log.h"

enum { STOP_SECONDS = 20 };

static const char usage[] = "usage: fh-agent [--data DIR] [--run DIR] [--etc DIR] [--port N] [--remote]\n"
			    "       fh-agent --describe        writes docs/api.md\n"
			    "       fh-agent --openrpc         writes what rpc.discover answers\n"
			    "\n"
			    "  --data DIR   machines, images, settings, log (/data)\n"
			    "  --run DIR    sockets (/run/freehold)\n"
			    "  --etc DIR    passwd, shadow, group (/etc)\n"
			    "  --port N     of remote management (8443; 0: any)\n"
			    "  --remote     open it at start, whatever the host's settings say\n";

static const struct option options[] = {
	{ "data", required_argument, NULL, 'd' },
	{ "run", required_argument, NULL, 'r' },
	{ "etc", required_argument, NULL, 'e' },
	{ "port", required_argument, NULL, 'p' },
	{ "remote", no_argument, NULL, 'R' },
	{ "describe", no_argument, NULL, 'D' },
	{ "openrpc", no_argument, NULL, 'O' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int
print_openrpc(void)
{
	json_t *doc = discover_openrpc();
	int rc = doc ? json_dumpf(doc, stdout, JSON_INDENT(2)) : -1;

	json_decref(doc);
	putchar('\n');
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static bool
read_port(const char *text, uint16_t *port)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	*port = (uint16_t)n;
	return text[0] && *end == '\0' && n <= UINT16_MAX;
}

/* What is printed instead of a run; -1: the agent is to run. */
static int
read_options(int argc, char **argv, struct agent_options *o)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 'd':
			o->data = optarg;
			break;
		case 'r':
			o->run = optarg;
			break;
		case 'e':
			o->etc = optarg;
			break;
		case 'p':
			if (!read_port(optarg, &o->port)) {
				fprintf(stderr, "fh-agent: '%s' is not a port\n", optarg);
				return 2;
			}
			break;
		case 'R':
			o->remote = true;
			break;
		case 'D':
			discover_markdown(stdout);
			return EXIT_SUCCESS;
		case 'O':
			return print_openrpc();
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind == argc)
		return -1;
	fputs(usage, stderr);
	return 2;
}

int
main(int argc, char **argv)
{
	struct agent_options o = { .data = "/data", .run = "/run/freehold", .etc = "/etc", .port = 8443 };
	struct agent *a;
	struct err e = { 0 };
	sigset_t ends;
	int rc = read_options(argc, argv, &o), sig;

	if (rc >= 0)
		return rc;
	log_open("fh-agent", STDERR_FILENO, LOG_INFO);
	umask(0077);
	mallopt(M_ARENA_MAX, 2); /* a pool for each thread would keep megabytes after a large answer */
	signal(SIGPIPE, SIG_IGN);
	/* Blocked in all threads; this one waits for them. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGHUP);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	if (agent_start(&a, &o, &e) < 0) {
		log_msg(LOG_ERROR, "cannot start: %s", e.msg);
		return EXIT_FAILURE;
	}
	log_msg(LOG_INFO, "ready");
	sigwait(&ends, &sig);
	log_msg(LOG_INFO, "ends: %s", strsignal(sig));
	agent_host_goes_down(a);
	alarm(STOP_SECONDS); /* a call that hangs must not keep it; its job is told at the next start */
	agent_stop(a);
	return EXIT_SUCCESS;
}
