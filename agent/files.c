/* agent/files.c - files on the data disk, opened without a way out. */
#include "agent/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/text.h"

enum { LIST_MAX = 5000 };

static const char *
skip_prefix(const char *path, const char *prefix)
{
	size_t len = strlen(prefix);

	if (strncmp(path, prefix, len) != 0 || path[len] != '/')
		return NULL;
	path += len;
	while (*path == '/')
		path++;
	return path;
}

int
file_path_tidy(const char *data, const char *name, const char *path, char *out, size_t cap, struct err *e)
{
	const char *rest = skip_prefix(path, data), *at = rest ? rest : path, *place = "images";

	rest = skip_prefix(at, "images");
	if (!rest) {
		place = ".";
		rest = skip_prefix(at, "vms");
		rest = rest ? skip_prefix(rest, name) : skip_prefix(at, ".");
	}
	if (!rest || !rest[0])
		return err_set(e, EINVAL,
		    "'%s': a machine's files are below %s/images or in its own folder (./NAME)", path, data);
	if ((size_t)snprintf(out, cap, "%s/%s", place, rest) >= cap)
		return err_set(e, ENAMETOOLONG, "a path has %zu bytes at most", cap - 1);
	return 0;
}

/* dir is ours, rest is not. */
static int
open_beneath(const char *dir, const char *rest, unsigned flags, struct err *e)
{
	struct open_how how = { .flags = flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	int rc, at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (at < 0)
		return err_sys(e, "%s", dir);
	rc = (int)syscall(SYS_openat2, at, rest, &how, sizeof(how));
	if (rc < 0 && errno == EXDEV)
		rc = err_set(e, EINVAL, "it leads out of %s", dir);
	else if (rc < 0)
		rc = err_set(e, errno, "%s", strerror(errno));
	close(at);
	return rc;
}

int
file_open_image(const char *data, const char *name, const char *path, struct err *e)
{
	char dir[PATH_MAX], tidy[PATH_MAX] = "";
	struct stat st;
	int fd = file_path_tidy(data, name, path, tidy, sizeof(tidy), e);

	if (fd < 0)
		return fd;
	if (tidy[0] == '.')
		snprintf(dir, sizeof(dir), "%s/vms/%s", data, name);
	else
		snprintf(dir, sizeof(dir), "%s/images", data);
	fd = open_beneath(dir, strchr(tidy, '/') + 1, O_RDONLY, e);
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		fd = err_set(e, EINVAL, "it is not a file");
	}
	return fd < 0 ? err_wrap(e, fd, "%s", path) : fd;
}

/* Each part of rest as it is, with one slash between: false when one is no name that a user may give. */
static bool
join_parts(const char *rest, char *out, size_t cap)
{
	size_t len = strlen(out), part;

	for (; *rest; rest += part + strspn(rest + part, "/")) {
		part = strcspn(rest, "/");
		if (part == 0 || rest[0] == '.' || part > NAME_MAX || len + part + 2 > cap)
			return false;
		len += (size_t)snprintf(out + len, cap - len, "/%.*s", (int)part, rest);
	}
	return len > strlen("images");
}

int
file_image_path(const char *data, const char *path, char *out, size_t cap, struct err *e)
{
	const char *rest = skip_prefix(path, data), *at = rest ? rest : path;
	size_t len = strlen(path);

	rest = skip_prefix(at, "images");
	snprintf(out, cap, "images");
	if (len == 0 || path[len - 1] == '/' || !join_parts(rest ? rest : at, out, cap))
		return err_set(e, EINVAL,
		    "'%.200s': a file is images/NAME, or in a folder there; no part of it begins with a dot",
		    path);
	return 0;
}

int
file_open_folder(const char *data, const char *path, const char **name, struct err *e)
{
	const char *rest = path + strlen("images/"), *slash = strrchr(rest, '/');
	char dir[PATH_MAX], folder[PATH_MAX];
	int fd;

	*name = slash ? slash + 1 : rest;
	snprintf(dir, sizeof(dir), "%s/images", data);
	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - rest) : 1, slash ? rest : ".");
	fd = open_beneath(dir, folder, O_RDONLY | O_DIRECTORY, e);
	return fd < 0 ? err_wrap(e, fd, "images/%s", slash ? folder : "") : fd;
}

static json_t *
describe(const char *folder, const char *name, const struct stat *st)
{
	char path[PATH_MAX], when[32];
	struct tm tm;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	gmtime_r(&st->st_mtime, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_pack("{s:s, s:s, s:I, s:s}", "name", name, "path", path, "size", (json_int_t)st->st_size,
	    "modified", when);
}

static json_t *
list_entries(int fd, const char *folder, struct err *e)
{
	json_t *list = json_array();
	struct dirent **entry;
	int n = scandirat(fd, ".", &entry, NULL, alphasort);

	if (n < 0) {
		err_sys(e, "%s", folder);
		json_decref(list);
		return NULL;
	}
	for (int i = 0; i < n; i++) {
		const char *name = entry[i]->d_name;
		struct stat st;

		if (i < LIST_MAX && name[0] != '.' && text_is_clean(name, strlen(name)) &&
		    fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			json_array_append_new(list, describe(folder, name, &st));
		free(entry[i]);
	}
	free(entry);
	return list;
}

json_t *
file_list(const char *data, const char *folder, struct err *e)
{
	const char *rest = strcmp(folder, "images") == 0 ? "." : skip_prefix(folder, "images");
	char dir[PATH_MAX];
	json_t *list;
	int fd;

	if (!rest) {
		err_set(e, EINVAL, "'%s': only images and folders below it are shown", folder);
		return NULL;
	}
	snprintf(dir, sizeof(dir), "%s/images", data);
	fd = open_beneath(dir, rest[0] ? rest : ".", O_RDONLY | O_DIRECTORY, e);
	if (fd < 0) {
		err_wrap(e, fd, "%s", folder);
		return NULL;
	}
	list = list_entries(fd, folder, e);
	close(fd);
	return list;
}
