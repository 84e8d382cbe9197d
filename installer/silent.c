/* installer/silent.c - finding the answer file. A file system is mounted read-only, in a mount namespace of
 * its own. */
#include <blkid/blkid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "installer/answers.h"
#include "installer/silent.h"

enum { NOT_MOUNTED = 2, NOT_OPENED = 3 };

#define MOUNT_AT "/run/freehold/answers"

void
silent_argument(const char *cmdline, const char *name, char *out, size_t size)
{
	char line[4096], *save = NULL;
	size_t n = strlen(name);
	FILE *f = fopen(cmdline, "re");

	out[0] = '\0';
	if (f && fgets(line, sizeof(line), f)) {
		for (char *w = strtok_r(line, " \n", &save); w; w = strtok_r(NULL, " \n", &save)) {
			if (strncmp(w, name, n) == 0 && w[n] == '=')
				snprintf(out, size, "%s", w + n + 1);
		}
	}
	if (f)
		fclose(f);
}

/* Everything that a descriptor gives, at most one byte more than an answer file may have. */
static int
read_all(int fd, char **text, struct err *e)
{
	char *p = malloc(ANSWERS_MAX + 2);
	size_t n = 0;
	ssize_t r = p ? 1 : -1;

	while (r > 0 && n <= ANSWERS_MAX) {
		r = read(fd, p + n, ANSWERS_MAX + 1 - n);
		n += r > 0 ? (size_t)r : 0;
	}
	if (r < 0) {
		free(p);
		return err_sys(e, "reading the answers");
	}
	p[n] = '\0';
	*text = p;
	return 0;
}

static int
from_file(const char *path, char **text, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return err_sys(e, "answer file %s", path);
	rc = read_all(fd, text, e);
	close(fd);
	return rc < 0 ? err_wrap(e, rc, "answer file %s", path) : 1;
}

/* In a child: mounts the device where only it can see it, and sends the file. */
static void
send_file(const char *device, const char *type, int to)
{
	char buf[4096];
	ssize_t n;
	int fd;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount(device, MOUNT_AT, type, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		_exit(NOT_MOUNTED);
	fd = open(MOUNT_AT "/answers.json", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		_exit(NOT_OPENED);
	for (size_t sent = 0; (n = read(fd, buf, sizeof(buf))) > 0 && sent <= ANSWERS_MAX;
	     sent += (size_t)n) {
		if (write(to, buf, (size_t)n) != n)
			break;
	}
	_exit(n == 0 ? 0 : 1);
}

static int
from_device(const char *device, const char *type, char **text, struct err *e)
{
	int p[2], status = 0, rc;
	pid_t pid;

	if (mkdir(MOUNT_AT, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "%s", MOUNT_AT);
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	pid = fork();
	if (pid == 0)
		send_file(device, type, p[1]);
	close(p[1]);
	rc = pid < 0 ? err_sys(e, "fork") : read_all(p[0], text, e);
	close(p[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (rc < 0 || status == 0)
		return rc < 0 ? rc : 1;
	free(*text);
	*text = NULL;
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_OPENED)
		return err_set(e, ENOENT, "%s is labelled FREEHOLD-ANSW but has no answers.json", device);
	return err_set(e, EIO, "%s is labelled FREEHOLD-ANSW but cannot be read as %s", device, type);
}

/* Whether a block device is labelled; its type is left in type. */
static bool
is_labelled(const char *device, char *type, size_t size)
{
	blkid_probe p = blkid_new_probe_from_filename(device);
	const char *label = NULL, *part = NULL, *t = NULL;
	bool yes = false;

	if (!p)
		return false;
	blkid_probe_enable_superblocks(p, 1);
	blkid_probe_set_superblocks_flags(p, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL);
	blkid_probe_enable_partitions(p, 1);
	blkid_probe_set_partitions_flags(p, BLKID_PARTS_ENTRY_DETAILS);
	if (blkid_do_safeprobe(p) == 0 && blkid_probe_lookup_value(p, "TYPE", &t, NULL) == 0 &&
	    (strcmp(t, "vfat") == 0 || strcmp(t, "iso9660") == 0)) {
		blkid_probe_lookup_value(p, "LABEL", &label, NULL);
		blkid_probe_lookup_value(p, "PART_ENTRY_NAME", &part, NULL);
		yes = (label && (strcmp(label, "FREEHOLD-ANSW") == 0 || strcmp(label, "FREEHOLD-AN") == 0)) ||
		      (part && strcmp(part, "FREEHOLD-ANSW") == 0);
		snprintf(type, size, "%s", t);
	}
	blkid_free_probe(p);
	return yes;
}

static int
from_devices(char **text, char source[128], struct err *e)
{
	DIR *dir = opendir("/sys/class/block");
	char device[300], type[16];
	struct dirent *d;
	int rc = 0;

	while (dir && rc == 0 && (d = readdir(dir))) {
		if (d->d_name[0] == '.' || strncmp(d->d_name, "ram", 3) == 0 ||
		    strncmp(d->d_name, "loop", 4) == 0)
			continue;
		snprintf(device, sizeof(device), "/dev/%s", d->d_name);
		if (!is_labelled(device, type, sizeof(type)))
			continue;
		rc = from_device(device, type, text, e);
		snprintf(source, 128, "answers.json on %.100s", device);
	}
	if (dir)
		closedir(dir);
	return rc;
}

int
silent_find(const char *cmdline, const char *medium, char **text, char source[128], struct err *e)
{
	char name[256], path[600];

	silent_argument(cmdline, "freehold.answers", name, sizeof(name));
	if (!name[0])
		return from_devices(text, source, e);
	snprintf(path, sizeof(path), "%s%s%s", name[0] == '/' ? "" : medium, name[0] == '/' ? "" : "/", name);
	snprintf(source, 128, "%.127s", path);
	return from_file(path, text, e);
}
