/* agent/uploads.c - from a stream to the data disk: hidden, whole, then in its place. */
#include "agent/uploads.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "agent/audit.h"
#include "agent/dispatch.h"
#include "agent/files.h"
#include "agent/login.h"
#include "agent/vm_config.h"
#include "lib/log.h"
#include "lib/text.h"

#define TEMP ".upload-"
enum { CHUNK = 128 * 1024, FLUSH = 16 << 20, DRAIN_S = 5, STACK = 512 * 1024, SHA_SIZE = 65 };

struct upload {
	struct upload *next;
	struct uploads *all;
	struct identity who;
	char path[VM_PATH_SIZE];
	const char *name; /* in path */
	char temp[32];
	uint64_t size, done; /* bytes */
	bool overwrite;
	int folder, file, stream;
	struct stat at; /* the folder's */
};

struct uploads {
	struct agent *agent;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	struct upload *first;
	size_t n;
	uint64_t made; /* for temporary names */
	bool stop;
};

/* --- the sweep
 * ------------------------------------------------------------------------------------------------ */

static int
sweep_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	if (type == FTW_F && strncmp(path + at->base, TEMP, strlen(TEMP)) == 0 && unlink(path) < 0)
		log_msg(LOG_WARN, "%s: %s", path, strerror(errno));
	return 0;
}

int
uploads_new(struct uploads **out, struct agent *a, struct err *e)
{
	struct uploads *u = calloc(1, sizeof(*u));
	char dir[PATH_MAX];

	*out = u;
	if (!u)
		return err_set(e, ENOMEM, "out of memory");
	u->agent = a;
	pthread_mutex_init(&u->lock, NULL);
	pthread_cond_init(&u->ended, NULL);
	snprintf(dir, sizeof(dir), "%s/images", a->o.data);
	nftw(dir, sweep_one, 16, FTW_PHYS);
	return 0;
}

void
uploads_stop(struct uploads *u)
{
	if (!u)
		return;
	pthread_mutex_lock(&u->lock);
	u->stop = true;
	for (struct upload *one = u->first; one; one = one->next)
		shutdown(one->stream, SHUT_RD);
	while (u->n > 0)
		pthread_cond_wait(&u->ended, &u->lock);
	pthread_mutex_unlock(&u->lock);
}

void
uploads_free(struct uploads *u)
{
	if (!u)
		return;
	pthread_mutex_destroy(&u->lock);
	pthread_cond_destroy(&u->ended);
	free(u);
}

/* --- may it be?
 * ----------------------------------------------------------------------------------------------- */

static int
storage_fault(struct fault *f, const char *path, int code)
{
	return fault_set(f,
	    code == ENOSPC || code == EDQUOT || code == EFBIG ? FAULT_NO_SPACE : FAULT_STORAGE, NULL, NULL,
	    "%s: %s", path, strerror(code));
}

static int
check_target(const struct upload *up, struct fault *f)
{
	struct stat st;

	if (fstatat(up->folder, up->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0
		       : errno == ENAMETOOLONG
			   ? fault_set(f, FAULT_FILE_BAD, "path", NULL, "%s: %s", up->path, strerror(errno))
			   : storage_fault(f, up->path, errno);
	if (!S_ISREG(st.st_mode))
		return fault_set(
		    f, FAULT_FILE_BAD, "path", NULL, "%s is there already, and is not a file", up->path);
	if (!up->overwrite)
		return fault_set(f, FAULT_FILE_EXISTS, "path", "overwrite=true puts the new one in its place",
		    "%s is there already", up->path);
	return 0;
}

static int
check_space(const struct upload *up, struct fault *f)
{
	struct statvfs st;
	uint64_t left;

	if (fstatvfs(up->folder, &st) < 0)
		return storage_fault(f, up->path, errno);
	left = (uint64_t)st.f_bavail * st.f_frsize;
	left = left > UPLOAD_RESERVE ? left - UPLOAD_RESERVE : 0;
	if (up->size <= left)
		return 0;
	return fault_set(f, FAULT_NO_SPACE, "size", "make room on the data disk: file.delete",
	    "%s takes %" PRIu64 " MiB, and the data disk has %" PRIu64 " MiB to spare", up->path,
	    (up->size + (1 << 20) - 1) >> 20, left >> 20);
}

/* With the lock. The same folder may have several names. */
static int
check_others(const struct uploads *u, const struct upload *up, struct fault *f)
{
	for (const struct upload *o = u->first; o; o = o->next)
		if (o->at.st_dev == up->at.st_dev && o->at.st_ino == up->at.st_ino &&
		    strcmp(o->name, up->name) == 0)
			return fault_set(f, FAULT_FILE_IN_USE, "path", "wait for it, or take another name",
			    "%s is being uploaded already", up->path);
	if (u->stop)
		return fault_set(f, FAULT_STOPPING, NULL, NULL, "the agent is being stopped");
	if (u->n >= UPLOADS_MAX)
		return fault_set(f, FAULT_LIMIT, NULL, "wait until one has ended",
		    "%d files are being uploaded already", UPLOADS_MAX);
	return 0;
}

/* With the lock. */
static int
check(const struct uploads *u, const struct upload *up, struct fault *f)
{
	int rc = check_others(u, up, f);

	if (rc == 0)
		rc = check_target(up, f);
	return rc == 0 ? check_space(up, f) : rc;
}

static void
drop(struct upload *up)
{
	const int fds[] = { up->folder, up->file, up->stream };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(up);
}

/* With its folder open; NULL with *f. */
static struct upload *
upload_new(struct uploads *u, const struct upload_plan *p, struct fault *f)
{
	struct upload *up = calloc(1, sizeof(*up));
	struct err e = { 0 };

	if (!up) {
		fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
		return NULL;
	}
	up->all = u;
	up->size = p->size;
	up->overwrite = p->overwrite;
	up->file = up->stream = -1;
	text_copy(up->path, sizeof(up->path), p->path);
	up->folder = file_open_folder(u->agent->o.data, up->path, &up->name, &e);
	if (up->folder >= 0 && fstat(up->folder, &up->at) == 0)
		return up;
	if (up->folder >= 0)
		storage_fault(f, up->path, errno);
	else
		fault_err(f, e.code == ENOENT || e.code == ENOTDIR ? FAULT_FOLDER_NOT_FOUND : FAULT_FILE_BAD,
		    "path", NULL, &e);
	drop(up);
	return NULL;
}

int
uploads_check(struct uploads *u, const struct upload_plan *p, struct fault *f)
{
	struct upload *up = upload_new(u, p, f);
	int rc = -1;

	if (!up)
		return rc;
	pthread_mutex_lock(&u->lock);
	rc = check(u, up, f);
	pthread_mutex_unlock(&u->lock);
	drop(up);
	return rc;
}

/* --- the bytes
 * ------------------------------------------------------------------------------------------------ */

static int
write_all(int fd, const char *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

static bool
is_stopped(struct uploads *u)
{
	bool stop;

	pthread_mutex_lock(&u->lock);
	stop = u->stop;
	pthread_mutex_unlock(&u->lock);
	return stop;
}

/* Nothing came: why. */
static int
broken_off(const struct upload *up, ssize_t n, struct fault *f)
{
	if (is_stopped(up->all))
		return fault_set(
		    f, FAULT_STOPPING, NULL, "try again in a moment", "the agent is being stopped");
	return fault_set(f, FAULT_UPLOAD_WRONG_SIZE, NULL, NULL,
	    n == 0 ? "%s: broken off after %" PRIu64 " of %" PRIu64 " bytes; nothing was kept"
		   : "%s: given up, since nothing more came after %" PRIu64 " of %" PRIu64
		     " bytes; nothing was kept",
	    up->path, up->done, up->size);
}

static int
receive(struct upload *up, EVP_MD_CTX *sha, char *buf, struct fault *f)
{
	uint64_t flushed = 0;

	while (up->done < up->size) {
		uint64_t left = up->size - up->done;
		ssize_t n = recv(up->stream, buf, left < CHUNK ? (size_t)left : CHUNK, 0);
		int rc;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return broken_off(up, n, f);
		EVP_DigestUpdate(sha, buf, (size_t)n);
		rc = write_all(up->file, buf, (size_t)n);
		if (rc < 0)
			return storage_fault(f, up->path, -rc);
		up->done += (uint64_t)n;
		if (up->done - flushed >=
		    FLUSH) { /* begins to write now what would else all wait for the end */
			sync_file_range(
			    up->file, (off_t)flushed, (off_t)(up->done - flushed), SYNC_FILE_RANGE_WRITE);
			flushed = up->done;
		}
	}
	return 0;
}

static int
check_end(const struct upload *up, struct fault *f)
{
	char more;

	if (recv(up->stream, &more, 1, MSG_PEEK | MSG_DONTWAIT) != 1)
		return 0;
	return fault_set(f, FAULT_UPLOAD_WRONG_SIZE, NULL, NULL,
	    "%s: more than %" PRIu64 " bytes came; nothing was kept", up->path, up->size);
}

/* Who has lost the right meanwhile has uploaded nothing. */
static int
check_right(struct upload *up, struct fault *f)
{
	if (login_holds(up->all->agent, &up->who, ROLE_ADMINISTRATOR, "/"))
		return 0;
	return fault_set(f, FAULT_FORBIDDEN, NULL, NULL,
	    "%s: whoever sent it may not upload any more; nothing was kept", up->path);
}

/* All is there: into its place. */
static int
put_in_place(struct upload *up, struct fault *f)
{
	int rc = check_end(up, f);

	if (rc == 0 && fsync(up->file) < 0)
		rc = storage_fault(f, up->path, errno);
	if (rc == 0)
		rc = check_end(up, f);
	if (rc == 0)
		rc = check_right(up, f);
	if (rc == 0 &&
	    renameat2(up->folder, up->temp, up->folder, up->name, up->overwrite ? 0 : RENAME_NOREPLACE) < 0)
		rc = errno == EEXIST
			 ? fault_set(f, FAULT_FILE_EXISTS, "path", NULL,
			       "%s was made by somebody else meanwhile; nothing was kept", up->path)
			 : storage_fault(f, up->path, errno);
	if (rc < 0)
		return rc;
	return fsync(up->folder) < 0 ? storage_fault(f, up->path, errno) : 0;
}

static void
hex(EVP_MD_CTX *sha, char out[SHA_SIZE])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	EVP_DigestFinal_ex(sha, md, &len);
	for (unsigned i = 0; i < 32; i++)
		snprintf(out + 2 * (size_t)i, 3, "%02x", md[i]);
}

static int
work(struct upload *up, char sum[SHA_SIZE], struct fault *f)
{
	EVP_MD_CTX *sha = EVP_MD_CTX_new();
	char *buf = malloc(CHUNK);
	int rc = -1;

	if (!sha || !buf || !EVP_DigestInit_ex(sha, EVP_sha256(), NULL))
		fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	else
		rc = receive(up, sha, buf, f);
	if (rc == 0) {
		hex(sha, sum);
		rc = put_in_place(up, f);
	}
	EVP_MD_CTX_free(sha);
	free(buf);
	return rc;
}

/* --- the end
 * -------------------------------------------------------------------------------------------------- */

/* Who still sends reads the line sooner than a broken stream. */
static void
drain(int fd)
{
	const struct timeval wait = { .tv_sec = DRAIN_S };
	time_t until = time(NULL) + DRAIN_S;
	char buf[4096];

	shutdown(fd, SHUT_WR);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	while (time(NULL) <= until && recv(fd, buf, sizeof(buf), 0) > 0)
		;
}

static void
tell(const struct upload *up, int rc, const char *sum, const struct fault *f)
{
	json_t *doc = rc == 0 ? json_pack("{s:{s:s, s:I, s:s}}", "result", "path", up->path, "size",
				    (json_int_t)up->size, "sha256", sum)
			      : json_pack("{s:o}", "error", fault_to_json(f));
	char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;

	if (text) {
		text[len++] = '\n'; /* in the place of the NUL */
		if (send(up->stream, text, len, MSG_NOSIGNAL) == (ssize_t)len)
			drain(up->stream);
	}
	free(text);
	json_decref(doc);
}

static void
note(const struct upload *up, int rc, const struct fault *f)
{
	struct agent *a = up->all->agent;
	json_t *params = json_pack(
	    "{s:s, s:I, s:b}", "path", up->path, "size", (json_int_t)up->size, "overwrite", up->overwrite);
	json_t *result = json_pack("{s:b}", "changed", rc == 0);
	const struct audit_entry entry = { .who = &up->who,
		.method = "file.uploaded",
		.params = params,
		.row = dispatch_find("file.upload"),
		.fault = rc < 0 ? f : NULL,
		.result = rc == 0 ? result : NULL };

	audit_write(a->audit, &entry);
	json_decref(params);
	json_decref(result);
	if (rc == 0)
		event_publish(a, "file.changed",
		    json_pack("{s:s, s:s, s:I}", "path", up->path, "change", "written", "size",
			(json_int_t)up->size));
}

static void
take_off(struct upload *up)
{
	struct uploads *u = up->all;

	pthread_mutex_lock(&u->lock);
	for (struct upload **at = &u->first; *at; at = &(*at)->next)
		if (*at == up) {
			*at = up->next;
			break;
		}
	pthread_mutex_unlock(&u->lock);
}

static void
gone(struct uploads *u)
{
	pthread_mutex_lock(&u->lock);
	u->n--;
	pthread_cond_broadcast(&u->ended);
	pthread_mutex_unlock(&u->lock);
}

static void *
run(void *arg)
{
	struct upload *up = arg;
	struct uploads *u = up->all;
	char sum[SHA_SIZE] = "";
	struct fault f = { 0 };
	int rc = work(up, sum, &f);

	if (rc < 0)
		unlinkat(up->folder, up->temp, 0);
	take_off(up); /* before it is told: who hears of the end may begin anew */
	note(up, rc, &f);
	tell(up, rc, sum, &f);
	drop(up);
	gone(u);
	return NULL;
}

/* --- the beginning
 * -------------------------------------------------------------------------------------------- */

static int
make_file(struct upload *up, struct fault *f)
{
	struct timespec now;
	int rc;

	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(up->temp, sizeof(up->temp), TEMP "%08" PRIx64 "%04" PRIx64,
	    (uint64_t)now.tv_sec & 0xffffffff, up->all->made++ & 0xffff);
	up->file = openat(up->folder, up->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (up->file < 0)
		return storage_fault(f, up->path, errno);
	do
		rc = fallocate(up->file, 0, 0, (off_t)up->size);
	while (rc < 0 && errno == EINTR);
	if (rc == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
		return 0;
	rc = storage_fault(f, up->path, errno);
	unlinkat(up->folder, up->temp, 0);
	return rc;
}

static int
start_thread(struct upload *up)
{
	pthread_attr_t attr;
	pthread_t t;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	rc = pthread_create(&t, &attr, run, up);
	pthread_attr_destroy(&attr);
	return rc;
}

/* With the lock: up is the thread's from then on. */
static int
begin(struct uploads *u, struct upload *up, struct fault *f)
{
	int rc = check(u, up, f);

	if (rc == 0)
		rc = make_file(up, f);
	if (rc < 0)
		return rc;
	up->next = u->first;
	u->first = up;
	u->n++;
	if (start_thread(up) == 0)
		return 0;
	u->first = up->next;
	u->n--;
	unlinkat(up->folder, up->temp, 0);
	return fault_set(f, FAULT_INTERNAL, NULL, NULL, "no thread to be had");
}

int
uploads_begin(
    struct uploads *u, const struct upload_plan *p, const struct identity *who, int *fd, struct fault *f)
{
	const struct timeval silence = { .tv_sec = UPLOAD_SILENCE_S };
	struct upload *up = upload_new(u, p, f);
	int pair[2], rc;

	if (!up)
		return -1;
	up->who = *who;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		drop(up);
		return fault_set(f, FAULT_LIMIT, NULL, NULL, "upload: %s", strerror(errno));
	}
	up->stream = pair[0];
	setsockopt(up->stream, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence));
	pthread_mutex_lock(&u->lock);
	rc = begin(u, up, f);
	pthread_mutex_unlock(&u->lock);
	if (rc < 0) {
		drop(up);
		close(pair[1]);
		return rc;
	}
	*fd = pair[1];
	return 0;
}
