/*
 * lib/file.c - files that are whole or not there.
 */
#include "lib/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/schema.h"
#include "lib/text.h"

/* The folder of path: "." without a slash. */
static void
folder_of(const char *path, char folder[PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 1;

	if (slash && len == 0)
		len = 1; /* "/name" */
	snprintf(folder, PATH_MAX, "%.*s", (int)len, slash ? path : ".");
}

int
file_sync_dir(const char *path, struct err *e)
{
	int rc = 0, fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		rc = err_sys(e, "%s", path);
	if (fd >= 0)
		close(fd);
	return rc;
}

static int
sync_folder_of(const char *path, struct err *e)
{
	char folder[PATH_MAX];

	folder_of(path, folder);
	return file_sync_dir(folder, e);
}

static int
write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Owner and mode of what is replaced, or 0600 and our own. */
static int
take_after(int fd, const char *old, mode_t mode)
{
	struct stat st;
	bool there = stat(old, &st) == 0;

	if (there && geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) < 0)
		return -1;
	if (!mode)
		mode = there ? st.st_mode & 07777 : 0600;
	return fchmod(fd, mode);
}

static int
write_new(const char *new, const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
	int rc = 0, fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_sys(e, "%s", new);
	if (write_all(fd, data, len) < 0 || take_after(fd, path, mode) < 0 || fsync(fd) < 0)
		rc = err_sys(e, "%s", new);
	if (close(fd) < 0 && rc == 0)
		rc = err_sys(e, "%s", new);
	return rc;
}

int
file_replace(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
	char real[PATH_MAX], new[PATH_MAX], folder[PATH_MAX];
	const char *name;
	int rc;

	if (!realpath(path, real)) {
		if (errno != ENOENT || strlen(path) >= sizeof(real))
			return err_sys(e, "%s", path);
		text_copy(real, sizeof(real), path);
	}
	folder_of(real, folder);
	name = strrchr(real, '/');
	name = name ? name + 1 : real;
	if ((size_t)snprintf(new, sizeof(new), "%s/.%s.new", folder, name) >= sizeof(new))
		return err_set(e, ENAMETOOLONG, "%s: the name is too long", path);
	rc = write_new(new, real, data, len, mode, e);
	if (rc == 0 && rename(new, real) < 0)
		rc = err_sys(e, "%s", real);
	if (rc < 0) {
		unlink(new);
		return rc;
	}
	return file_sync_dir(folder, e);
}

int
file_replace_json(const char *path, const json_t *doc, mode_t mode, struct err *e)
{
	char *text = json_dumps(doc, JSON_INDENT(2) | JSON_ENCODE_ANY), *whole = NULL;
	int len, rc;

	len = text ? asprintf(&whole, "%s\n", text) : -1;
	free(text);
	if (len < 0)
		return err_set(e, ENOMEM, "%s: out of memory", path);
	rc = file_replace(path, whole, (size_t)len, mode, e);
	free(whole);
	return rc;
}

static int
read_all(int fd, const char *path, size_t max, char **text, size_t *len, struct err *e)
{
	struct stat st;
	size_t size, done = 0;
	ssize_t n = 1;
	char *buf;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "%s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s: not a regular file", path);
	if ((uint64_t)st.st_size > max)
		return err_set(e, EFBIG, "%s: longer than %zu bytes", path, max);
	size = (size_t)st.st_size;
	buf = malloc(size + 1);
	if (!buf)
		return err_set(e, ENOMEM, "%s: out of memory", path);
	while (done < size && n > 0) {
		n = read(fd, buf + done, size - done);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			done += (size_t)n;
	}
	if (n < 0) {
		free(buf);
		return err_sys(e, "%s", path);
	}
	buf[done] = '\0';
	*text = buf;
	if (len)
		*len = done;
	return 0;
}

int
file_read(const char *path, size_t max, char **text, size_t *len, struct err *e)
{
	int rc, fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, "%s", path);
	rc = read_all(fd, path, max, text, len, e);
	close(fd);
	return rc;
}

json_t *
file_read_json(const char *path, struct err *e)
{
	struct err why = { 0 };
	json_t *doc;
	char *text = NULL;
	size_t len = 0;
	int rc = file_read(path, SCHEMA_TEXT_MAX, &text, &len, e);

	if (rc < 0)
		return NULL;
	doc = schema_parse(text, len, &why);
	if (!doc)
		err_set(e, why.code, "%s: %s", path, why.msg);
	free(text);
	return doc;
}

int
file_remove(const char *path, struct err *e)
{
	if (unlink(path) < 0)
		return errno == ENOENT ? 0 : err_sys(e, "%s", path);
	return sync_folder_of(path, e);
}

int
file_make_dirs(const char *path, mode_t mode, struct err *e)
{
	char part[PATH_MAX];

	if (strlen(path) >= sizeof(part))
		return err_set(e, ENAMETOOLONG, "%.64s...: the name is too long", path);
	for (size_t i = 1;; i++) {
		if (path[i] && path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, path[i] ? 0755 : mode) == 0) {
			int rc = sync_folder_of(part, e);

			if (rc < 0)
				return rc;
		} else if (errno != EEXIST) {
			return err_sys(e, "%s", part);
		}
		if (!path[i])
			return 0;
	}
}

int
file_rename(const char *from, const char *to, struct err *e)
{
	int rc;

	if (rename(from, to) < 0)
		return err_sys(e, "%s", from);
	rc = sync_folder_of(to, e);
	return rc < 0 ? rc : sync_folder_of(from, e);
}
