/* hypervisor/disk/import.c - images of other programs, read by qemu-img where it can do no harm. */
#include "hypervisor/disk/import.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hypervisor/disk/confined.h"
#include "hypervisor/disk/lock.h"
#include "hypervisor/disk/parent_path.h"
#include "lib/schema.h"

#define QEMU_IMG       "/usr/bin/qemu-img"
#define SIZE_MAX_BYTES (64ull << 40) /* VHDX has no more */

enum {
	INFO_MAX = 1 << 20, /* bytes of qemu-img's description */
	PATIENCE_S = 120,
	SECTOR = 512,
};

static const char *const known[] = { "vmdk", "qcow2", "vdi" };

bool
disk_import_knows(const char *format)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(format, known[i]) == 0)
			return true;
	return false;
}

/* --- what it is --------------------------------------------------------------------------------------------
 */

struct answer {
	char *text;
	size_t len;
	const struct disk_progress *p;
};

static bool
collect(void *ctx, const char *text, size_t len)
{
	struct answer *a = ctx;

	if (a->len + len > INFO_MAX)
		return true;
	memcpy(a->text + a->len, text, len);
	a->len += len;
	return disk_cancelled(a->p, "look", 0, 1, NULL);
}

static int
check(json_t *doc, const char *format, uint64_t *size, struct err *e)
{
	const char *is = json_string_value(json_object_get(doc, "format"));
	json_t *bytes = json_object_get(doc, "virtual-size");
	json_t *data = json_object_get(
	    json_object_get(json_object_get(doc, "format-specific"), "data"), "data-file");

	if (!is || strcmp(is, format) != 0)
		return err_set(e, EINVAL, "qemu-img does not find a %s image in it", format);
	if (json_object_get(doc, "backing-filename") || json_object_get(doc, "full-backing-filename"))
		return err_set(e, EINVAL,
		    "it is made on another image: bring the two together first, with the program that made "
		    "them");
	if (data)
		return err_set(e, EINVAL, "its content is in another file");
	if (!json_is_integer(bytes) || json_integer_value(bytes) <= 0 ||
	    (uint64_t)json_integer_value(bytes) > SIZE_MAX_BYTES || json_integer_value(bytes) % SECTOR)
		return err_set(e, EINVAL,
		    "qemu-img says that the disk has %lld bytes: expected are sectors, at most 64 TiB",
		    (long long)json_integer_value(bytes));
	*size = (uint64_t)json_integer_value(bytes);
	return 0;
}

static int
look(int fd, const char *format, uint64_t *size, const struct disk_progress *p, struct err *e)
{
	const char *const argv[] = { QEMU_IMG, "info", "--output=json", "-f", format, "/proc/self/fd/3",
		NULL };
	struct answer a = { .text = malloc(INFO_MAX), .p = p };
	const struct confined c = {
		.argv = argv, .input = fd, .output = -1, .patience_s = PATIENCE_S, .said = collect, .ctx = &a
	};
	json_t *doc = NULL;
	int rc = a.text ? confined_run(&c, e) : err_set(e, ENOMEM, "out of memory");

	if (rc == 0) {
		doc = schema_parse(a.text, a.len, e);
		rc = doc ? check(doc, format, size, e) : err_wrap(e, -EINVAL, "qemu-img's answer");
	}
	json_decref(doc);
	free(a.text);
	return rc;
}

/* --- its content
 * --------------------------------------------------------------------------------------------- */

/* "    (12.34/100%)\r", again and again. */
struct meter {
	const struct disk_progress *p;
	char text[32];
	size_t n;
	unsigned percent;
};

static bool
measure(void *ctx, const char *text, size_t len)
{
	struct meter *m = ctx;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '(') {
			m->n = 0;
		} else if (text[i] == '/') {
			unsigned long v;

			m->text[m->n] = '\0';
			v = strtoul(m->text, NULL, 10);
			m->percent = v <= 100 ? (unsigned)v : 100;
		} else if (m->n < sizeof(m->text) - 1) {
			m->text[m->n++] = text[i];
		}
	}
	return disk_cancelled(m->p, "read", m->percent, 100, NULL);
}

static int
extract(int fd, int raw, const char *format, uint64_t size, const struct disk_progress *p, struct err *e)
{
	const char *const argv[] = { QEMU_IMG, "convert", "-p", "-n", "--target-is-zero", "-f", format, "-O",
		"raw", "/proc/self/fd/3", "/proc/self/fd/4", NULL };
	struct meter m = { .p = p };
	const struct confined c = { .argv = argv,
		.input = fd,
		.output = raw,
		.output_max = size,
		.patience_s = PATIENCE_S,
		.said = measure,
		.ctx = &m };

	return confined_run(&c, e);
}

/* --- all of it
 * ----------------------------------------------------------------------------------------------- */

/* Nameless, in the folder of the new image, and its input's owner's: the confined program opens it again. */
static int
make_raw(const char *beside, int input, uint64_t size, struct err *e)
{
	char folder[PATH_MAX];
	struct stat st;
	int fd, n = (int)(parent_path_base(beside) - beside);

	snprintf(folder, sizeof(folder), "%.*s.", n, beside);
	fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "%s: a file without a name", folder);
	if (fstat(input, &st) < 0 || (geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) < 0) ||
	    ftruncate(fd, (off_t)size) < 0) {
		int rc = err_sys(e, "%s: a file of %llu bytes", folder, (unsigned long long)size);

		close(fd);
		return rc;
	}
	return fd;
}

/* raw is taken over. */
static int
store(
    int raw, const struct disk_new *what, struct io_loop *loop, const struct disk_progress *p, struct err *e)
{
	struct disk_file *f;
	struct disk *d;
	int rc = file_new(&f, loop, raw, true, e);

	if (rc < 0) {
		close(raw);
		return rc;
	}
	rc = disk_raw_new(&d, loop, f, SECTOR, true, e);
	if (rc < 0) {
		file_free(f);
		return rc;
	}
	rc = disk_copy_new(d, what, p, e);
	disk_free(d);
	return rc;
}

static int
import(int fd, const char *format, const struct disk_new *what, struct io_loop *loop,
    const struct disk_progress *p, struct err *e)
{
	uint64_t size = 0;
	int raw, rc = look(fd, format, &size, p, e);

	if (rc < 0)
		return rc;
	raw = make_raw(what->path, fd, size, e);
	if (raw < 0)
		return raw;
	rc = extract(fd, raw, format, size, p, e);
	if (rc < 0) {
		close(raw);
		return rc;
	}
	return store(raw, what, loop, p, e);
}

int
disk_import(const char *path, const char *format, const struct disk_new *what, struct io_loop *loop,
    const struct disk_progress *p, struct err *e)
{
	struct stat st;
	int fd, rc;

	if (!disk_import_knows(format))
		return err_set(e, EINVAL, "'%.40s' cannot be imported: vmdk, qcow2 and vdi can", format);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return err_sys(e, "%s", path);
	rc = fstat(fd, &st) < 0 ? err_sys(e, "stat") : 0;
	if (rc == 0 && !S_ISREG(st.st_mode))
		rc = err_set(e, EINVAL, "it is not a file");
	if (rc == 0)
		rc = disk_lock(fd, false, e);
	if (rc == 0)
		rc = import(fd, format, what, loop, p, e);
	close(fd);
	return rc < 0 ? err_wrap(e, rc, "%s", path) : 0;
}
