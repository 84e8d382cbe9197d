/*
 * fh-start.c - starts one machine in a worker, for measuring: what the agent does, and nothing else.
 *
 *   fh-start [-d DISK] [-n TAP] WORKER MIB KERNEL INITRD COMMAND-LINE [BASELINE]
 *
 * The guest's first serial port comes out on standard output. Ends as soon as the guest runs, so that
 * only the worker is left to be measured.
 */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/control.h"

static const char *socket_path = "/tmp/fh-start.sock";

static void
die(const char *what, const struct err *e)
{
	fprintf(stderr, "fh-start: %s: %s\n", what, e ? e->msg : "failed");
	exit(1);
}

/* Returns when the worker's socket answers. */
static void
start_worker(const char *worker)
{
	int status;
	pid_t pid;

	unlink(socket_path);
	pid = vfork();
	if (pid == 0) {
		execl(worker, worker, "--socket", socket_path, "--uid", "60000", "--gid", "60000",
		    (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		die(worker, NULL);
}

static void
call(struct control_client *c, const char *method, json_t *params, const int *fds, size_t n)
{
	struct err e = { 0 };

	if (control_call(c, method, params, fds, n, 60000, NULL, &e) < 0)
		die(method, &e);
}

/* A raw file as the first disk of the first controller. */
static void
add_disk(struct control_client *c, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die(path, NULL);
	call(c, "disk.add",
	    json_pack("{s:i, s:s, s:s, s:i}", "Lun", 0, "Type", "VirtualDisk", "Format", "Raw", "File", 0),
	    &fd, 1);
	close(fd);
}

/* A tap that is there already, as the first adapter. */
static void
add_nic(struct control_client *c, const char *name)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r) != 0)
		die(name, NULL);
	call(c, "nic.add", json_pack("{s:i, s:[{s:i}]}", "Number", 0, "Taps", "Tap", 0), &fd, 1);
	close(fd);
}

int
main(int argc, char **argv)
{
	const char *disk = NULL, *nic = NULL;
	struct control_client *c;
	struct err e = { 0 };
	int fds[2], out = STDOUT_FILENO;

	for (; argc > 2 && argv[1][0] == '-'; argv += 2, argc -= 2)
		*(strcmp(argv[1], "-n") == 0 ? &nic : &disk) = argv[2];
	if (argc < 6)
		die("usage: fh-start [-d DISK] [-n TAP] WORKER MIB KERNEL INITRD COMMAND-LINE [BASELINE]",
		    NULL);
	fds[0] = open(argv[3], O_RDONLY | O_CLOEXEC);
	fds[1] = open(argv[4], O_RDONLY | O_CLOEXEC);
	if (fds[0] < 0 || fds[1] < 0)
		die("kernel or initrd", NULL);
	start_worker(argv[1]);
	if (control_connect(&c, socket_path, &e) < 0)
		die("connect", &e);
	unlink(socket_path);
	if (disk)
		add_disk(c, disk);
	if (nic)
		add_nic(c, nic);
	call(c, "create",
	    json_pack("{s:{s:i, s:s, s:s, s:{s:i}, s:{s:s}, s:{s:i}, s:{s:b}, s:{s:i, s:i, s:s}}}", "Machine",
		"ConfigurationVersion", 1, "Id", "4c414221-0000-4000-8000-000000000001", "Name", "bench",
		"Devices", "ScsiControllers", disk != NULL, "Processor", "Baseline",
		argc > 6 ? argv[6] : "host", "Memory", "SizeInMB", atoi(argv[2]), "ComPorts", "Com1", 1,
		"LinuxKernelDirect", "Kernel", 0, "Initrd", 1, "CommandLine", argv[5]),
	    fds, 2);
	call(c, "console.attach", json_pack("{s:i, s:i}", "Port", 0, "Stream", 0), &out, 1);
	call(c, "start", NULL, NULL, 0);
	return 0;
}
