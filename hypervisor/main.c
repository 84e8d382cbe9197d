/*
 * hypervisor/main.c - fh-worker: one process, one child partition.
 *
 * Started as root with the place of its control socket and the user it is to become. The first half,
 * still with privileges, checks the host and makes the socket; then it forks into the namespaces
 * (sandbox/walls.h), and the child becomes the worker. Without --foreground the parent ends as soon as the
 * child is ready, so that the worker belongs to nobody and outlives whoever started it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hypervisor/core/host.h"
#include "hypervisor/core/vcpu.h"
#include "hypervisor/sandbox/walls.h"
#include "hypervisor/worker/worker.h"
#include "lib/log.h"

/* Exit status: what a script can tell apart. */
enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_HOST = 3 };

struct options {
	const char *socket;
	struct walls walls;
	bool foreground;
};

static const char usage[] =
    "usage: fh-worker --socket PATH --uid N --gid N [--cgroup DIR] [--foreground]\n"
    "\n"
    "Runs one virtual machine. It is told which one, and everything else, on the control socket PATH.\n"
    "Started as root; runs as user N in namespaces of its own with no privileges at all.\n"
    "\n"
    "  --socket PATH  where to make the control socket (Unix, SOCK_SEQPACKET, mode 600)\n"
    "  --uid N        the worker's own user, of no other process\n"
    "  --gid N        the worker's own group\n"
    "  --cgroup DIR   control group to run in: a directory below /sys/fs/cgroup\n"
    "  --foreground   stay until the worker ends, and end with its status; the worker ends with this\n"
    "                 process, whatever ends it\n"
    "\n"
    "Ends with 0 after \"quit\", 1 after a failure, 2 for a wrong command line, 3 when this host lacks\n"
    "something; standard error says what.\n";

static int
number(const char *s, unsigned *out)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(s, &end, 10);
	if (errno || end == s || *end || *s == '-' || v == 0 || v >= UINT32_MAX)
		return -1;
	*out = (unsigned)v;
	return 0;
}

static int
parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = { { "socket", required_argument, NULL, 's' },
		{ "uid", required_argument, NULL, 'u' }, { "gid", required_argument, NULL, 'g' },
		{ "cgroup", required_argument, NULL, 'c' }, { "foreground", no_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' }, { 0 } };
	int c, bad = 0;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 's')
			o->socket = optarg;
		else if (c == 'u')
			bad |= number(optarg, &o->walls.uid);
		else if (c == 'g')
			bad |= number(optarg, &o->walls.gid);
		else if (c == 'c')
			o->walls.cgroup = optarg;
		else if (c == 'f')
			o->foreground = true;
		else if (c == 'h')
			return 1;
		else
			return -1;
	}
	return bad || optind != argc || !o->socket || !o->walls.uid || !o->walls.gid ? -1 : 0;
}

/* --- with privileges ------------------------------------------------------------------------------ */

static int
make_socket(const char *path, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	mode_t mask;
	int fd, rc = 0;

	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(e, ENAMETOOLONG, "%s: too long for a socket", path);
	memcpy(a.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, "socket");
	mask = umask(0177);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		rc = err_sys(e, "%s", path);
	} else if (listen(fd, 4) < 0) {
		rc = err_sys(e, "%s", path);
		unlink(path);
	}
	umask(mask);
	if (rc < 0)
		close(fd);
	return rc < 0 ? rc : fd;
}

/* The parent's end: waits until the worker is ready, or ended before it was. */
static int
wait_for(const struct options *o, pid_t pid, int ready)
{
	int status = 0;
	char c;
	bool up = read(ready, &c, 1) == 1;

	if (up && !o->foreground)
		return 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	unlink(o->socket);
	if (WIFSIGNALED(status)) {
		log_msg(LOG_ERROR, "the worker was ended by signal %d", WTERMSIG(status));
		return EXIT_FAILED;
	}
	return WEXITSTATUS(status);
}

/* --- without ---------------------------------------------------------------------------------------- */

/* Standard input and output are nobody's; the log keeps standard error. */
static int
close_terminal(struct err *e)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
		return err_sys(e, "/dev/null");
	close(null);
	return 0;
}

static int
run_worker(const struct options *o, const struct host *host, int listener, int ready, struct err *e)
{
	static struct worker w; /* zero; its console buffers are no business of the stack */
	int rc;

	mallopt(M_ARENA_MAX, 1);
	w.host = *host;
	for (int i = 0; i < MACHINE_COM_PORTS; i++)
		w.console[i].fd = -1;
	rc = close_terminal(e);
	if (rc == 0)
		rc = vcpu_setup_signal(e);
	if (rc == 0)
		rc = walls_enter(&o->walls, e);
	/* Not before: changing the user takes it back. A parent that is gone already is found at write. */
	if (o->foreground)
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (rc == 0)
		rc = control_new(&w.control, listener, worker_methods, &w, e);
	if (rc == 0)
		rc = disks_new(&w.disks, w.control, e);
	if (rc == 0)
		rc = nics_new(&w.nics, w.control, e);
	if (rc < 0)
		return EXIT_FAILED;
	if (write(ready, "", 1) != 1)
		return EXIT_FAILED;
	close(ready);
	return worker_loop(&w);
}

static int
start(const struct options *o, struct err *e)
{
	struct host host;
	int pipe_fd[2], listener;
	pid_t pid;

	if (host_open(&host, e) < 0)
		return EXIT_HOST;
	listener = make_socket(o->socket, e);
	if (listener < 0)
		return EXIT_FAILED;
	if (pipe2(pipe_fd, O_CLOEXEC) < 0) {
		err_sys(e, "pipe");
		unlink(o->socket);
		return EXIT_FAILED;
	}
	pid = walls_spawn(&o->walls, e);
	if (pid == 0) {
		close(pipe_fd[0]);
		return run_worker(o, &host, listener, pipe_fd[1], e);
	}
	close(pipe_fd[1]);
	if (pid < 0) {
		unlink(o->socket);
		return EXIT_FAILED;
	}
	close(listener);
	close(host.kvm_fd);
	return wait_for(o, pid, pipe_fd[0]);
}

int
main(int argc, char **argv)
{
	struct options o = { 0 };
	struct err e = { 0 };
	int rc = parse(argc, argv, &o);

	if (rc != 0) {
		fputs(usage, rc > 0 ? stdout : stderr);
		return rc > 0 ? 0 : EXIT_USAGE;
	}
	log_open("fh-worker", STDERR_FILENO, LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	rc = start(&o, &e);
	if (e.code)
		log_msg(LOG_ERROR, "%s", e.msg);
	/* _exit: processor threads may still be there, and nothing is left to do. */
	_exit(rc);
}
