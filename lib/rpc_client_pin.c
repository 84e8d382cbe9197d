/*
 * lib/rpc_client_pin.c - the certificates that hosts had when they were met first: one line a host,
 * "name:port SHA256:12:34:...". People may edit the file; what is no such line is passed over.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/rpc_client_private.h"

enum { LINE_MAX_BYTES = 512, LINES_MAX = 100000 };

static const char prefix[] = "SHA256:";

bool
rpc_known_hosts_path(char *out, size_t size)
{
	const char *given = getenv("FREEHOLD_KNOWN_HOSTS"), *home = getenv("HOME");
	struct stat st;
	int n;

	if (given && *given)
		n = snprintf(out, size, "%s", given);
	else if (geteuid() == 0 && stat("/data/system", &st) == 0 && S_ISDIR(st.st_mode))
		n = snprintf(out, size, "/data/system/known_hosts");
	else if (home && *home == '/')
		n = snprintf(out, size, "%s/.config/freehold/known_hosts", home);
	else
		return false;
	return n >= 0 && (size_t)n < size;
}

/* The fingerprint on a line that is about key, or NULL. Cuts the line after it. */
static char *
pin_on(char *line, const char *key)
{
	size_t len = strcspn(line, " \t\r\n");
	char *s = line + len;

	if (line[0] == '#' || len != strlen(key) || strncasecmp(line, key, len) != 0)
		return NULL;
	s += strspn(s, " \t");
	if (strncmp(s, prefix, strlen(prefix)) != 0)
		return NULL;
	s += strlen(prefix);
	s[strcspn(s, " \t\r\n")] = '\0';
	return strlen(s) == RPC_FINGERPRINT_SIZE - 1 ? s : NULL;
}

static void
make_key(char *key, size_t size, const char *host, uint16_t port)
{
	snprintf(key, size, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
}

int
rpc_pin_find(
    const char *file, const char *host, uint16_t port, char out[RPC_FINGERPRINT_SIZE], struct rpc_error *e)
{
	char line[LINE_MAX_BYTES], key[RPC_HOST_MAX + 16];
	int rc = -ENOENT;
	FILE *f = fopen(file, "re");

	if (!f && errno != ENOENT) {
		rc = -errno;
		return rpc_fail(e, RPC_LOCAL_FAULT, rc, NULL, "%s: %s", file, strerror(-rc));
	}
	make_key(key, sizeof(key), host, port);
	for (int n = 0; f && rc < 0 && n < LINES_MAX && fgets(line, sizeof(line), f); n++) {
		const char *pin = pin_on(line, key);

		if (!pin)
			continue;
		snprintf(out, RPC_FINGERPRINT_SIZE, "%s", pin);
		rc = 0;
	}
	if (f)
		fclose(f);
	return rc;
}

/* Makes the folders above path; what cannot be made is told when the file is opened. */
static void
make_folders(const char *path)
{
	char folder[PATH_MAX];

	if (snprintf(folder, sizeof(folder), "%s", path) >= (int)sizeof(folder))
		return;
	for (char *s = strchr(folder + 1, '/'); s; s = strchr(s + 1, '/')) {
		*s = '\0';
		mkdir(folder, 0700);
		*s = '/';
	}
}

/* People edit the file: its last line may have no end, and would be joined with ours. */
static bool
lacks_newline(int fd)
{
	off_t end = lseek(fd, 0, SEEK_END);
	char last = '\n';

	return end > 0 && pread(fd, &last, 1, end - 1) == 1 && last != '\n';
}

/* One write under a lock: two programs that meet hosts at once leave two whole lines. */
static int
add_line(int fd, const char *key, const char *fingerprint)
{
	char line[LINE_MAX_BYTES];
	int n;

	if (flock(fd, LOCK_EX) < 0)
		return -errno;
	n = snprintf(
	    line, sizeof(line), "%s%s %s%s\n", lacks_newline(fd) ? "\n" : "", key, prefix, fingerprint);
	if (write(fd, line, (size_t)n) != n || fsync(fd) < 0)
		return errno ? -errno : -EIO;
	return 0;
}

int
rpc_pin_add(const char *file, const char *host, uint16_t port, const char *fingerprint, struct rpc_error *e)
{
	char key[RPC_HOST_MAX + 16];
	int fd, rc;

	make_folders(file);
	fd = open(file, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	make_key(key, sizeof(key), host, port);
	rc = fd < 0 ? -errno : add_line(fd, key, fingerprint);
	if (fd >= 0)
		close(fd);
	if (rc < 0)
		return rpc_fail(e, RPC_LOCAL_FAULT, rc,
		    "The certificate cannot be remembered; set FREEHOLD_KNOWN_HOSTS to a file that can be "
		    "written.",
		    "%s: %s", file, strerror(-rc));
	return 0;
}
