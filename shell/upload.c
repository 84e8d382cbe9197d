/*
 * shell/upload.c - reads a file, sends it, and hears at the end whether it has come.
 */
#include "shell/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/text.h"
#include "shell/out.h"
#include "shell/progress.h"
#include "shell/session.h"

enum { CHUNK = 64 * 1024, LINE_SIZE = 8192, SHA_SIZE = 65, DRAW_MS = 100, QUIET_MS = 300, TURN_MS = 500 };

const char upload_method[] =
    "{\"name\":\"file.upload\",\"summary\":\"Copies a file of this machine to the host's data disk.\","
    "\"x-role\":\"Administrator\",\"x-changes\":true,"
    "\"x-example\":\"file.upload(\\\"/boot/vmlinuz\\\", \\\"images/vmlinuz\\\")\",\"params\":["
    "{\"name\":\"local\",\"required\":true,\"schema\":{\"type\":\"string\",\"description\":\"The file on "
    "this "
    "machine.\"}},"
    "{\"name\":\"path\",\"x-positional\":true,\"schema\":{\"type\":\"string\",\"x-unit\":\"path\","
    "\"description\":"
    "\"Where it is to be: images/NAME, or in a folder there; without it under its own name in images.\"}},"
    "{\"name\":\"overwrite\",\"schema\":{\"type\":\"boolean\",\"default\":false,\"description\":"
    "\"Put it in the place of a file that is there.\"}}],"
    "\"result\":{\"name\":\"result\",\"schema\":{\"type\":\"object\",\"properties\":{"
    "\"changed\":{\"type\":\"boolean\"},\"path\":{\"type\":\"string\",\"x-unit\":\"path\"},"
    "\"size\":{\"type\":\"integer\",\"x-unit\":\"bytes\"},\"sha256\":{\"type\":\"string\"}}}}}";

struct sending {
	int file, stream;
	json_int_t size, read, sent; /* bytes */
	char buf[CHUNK];
	size_t from, to;      /* what of buf is still to be sent */
	char line[LINE_SIZE]; /* the host's last word */
	size_t line_len;
	bool ended; /* it is whole, or no more comes */
	bool deaf;  /* the host takes no more */
	EVP_MD_CTX *sha;
	struct progress progress;
	int64_t begun_ns;
};

static int failed(struct rpc_error *e, enum rpc_client_code code, const char *symbol, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static int
failed(struct rpc_error *e, enum rpc_client_code code, const char *symbol, const char *fmt, ...)
{
	va_list ap;

	*e = (struct rpc_error){ .code = (int)code };
	text_copy(e->symbol, sizeof(e->symbol), symbol);
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	text_clean(e->message);
	return code == RPC_INTERRUPTED ? -ECANCELED : -EIO;
}

static int
local_fault(struct rpc_error *e, const char *name, const char *why)
{
	return failed(e, RPC_LOCAL_FAULT, "LOCAL_FAULT", "%.300s: %s", name, why);
}

/* --- before
 * --------------------------------------------------------------------------------------------------- */

static int
open_local(const char *name, json_int_t *size, struct rpc_error *e)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is not waited for, but refused */
	struct stat st = { 0 };

	if (fd < 0)
		return local_fault(e, name, strerror(errno));
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
		*size = (json_int_t)st.st_size;
		return fd;
	}
	close(fd);
	return local_fault(e, name, S_ISREG(st.st_mode) ? "it is empty" : "it is not a file");
}

int
upload_prepare(json_t *params, struct rpc_error *e)
{
	const char *given = json_string_value(json_object_get(params, "local")), *name = given ? given : "";
	const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
	char path[512];
	json_int_t size = 0;
	int fd = open_local(name, &size, e);

	if (fd < 0)
		return fd;
	snprintf(path, sizeof(path), "images/%.400s", base);
	if (!json_object_get(params, "path"))
		json_object_set_new(params, "path", json_string(path));
	json_object_set_new(params, "size", json_integer(size));
	json_object_del(params, "local");
	return fd;
}

/* --- the bar
 * --------------------------------------------------------------------------------------------------- */

static int64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static void
draw(struct sending *x)
{
	const struct rpc_progress p = { .job = "",
		.state = "",
		.unit = "bytes",
		.done = (uint64_t)x->sent,
		.phase = x->sent < x->size ? "upload" : "to the disk",
		.total = (uint64_t)x->size };
	size_t width = out_columns(STDERR_FILENO);
	int64_t t = now();
	char text[512];

	progress_note(&x->progress, &p, t);
	if (width == 0 || t - x->begun_ns < QUIET_MS * INT64_C(1000000) ||
	    t - x->progress.shown_ns < DRAW_MS * INT64_C(1000000))
		return;
	progress_line(
	    &x->progress, &p, t, width < sizeof(text) ? width - 1 : sizeof(text) - 1, text, sizeof(text));
	fprintf(stderr, "\r%s\x1b[K", text);
	fflush(stderr);
	x->progress.shown_ns = t;
	x->progress.drawn = true;
}

/* --- the bytes
 * ------------------------------------------------------------------------------------------------- */

static int
fill(struct sending *x, struct rpc_error *e)
{
	json_int_t left = x->size - x->read;
	ssize_t n = read(x->file, x->buf, left < CHUNK ? (size_t)left : CHUNK);

	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0)
		return local_fault(
		    e, "the file", n < 0 ? strerror(errno) : "it became shorter while it was read");
	EVP_DigestUpdate(x->sha, x->buf, (size_t)n);
	x->read += n;
	x->from = 0;
	x->to = (size_t)n;
	return 0;
}

static int
give(struct sending *x, struct rpc_error *e)
{
	ssize_t n;
	int rc = x->from == x->to ? fill(x, e) : 0;

	if (rc < 0 || x->from == x->to)
		return rc;
	n = send(x->stream, x->buf + x->from, x->to - x->from, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0) {
		x->from += (size_t)n;
		x->sent += n;
	} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		x->deaf = true; /* it has said why, or will */
	}
	return 0;
}

static void
hear(struct sending *x)
{
	ssize_t n = recv(x->stream, x->line + x->line_len, sizeof(x->line) - x->line_len, MSG_DONTWAIT);

	if (n > 0)
		x->line_len += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		x->ended = true;
	if (memchr(x->line, '\n', x->line_len) || x->line_len == sizeof(x->line))
		x->ended = true;
}

static int
pump(struct sending *x, struct rpc_error *e)
{
	int rc = 0;

	while (rc == 0 && !x->ended) {
		bool more = x->sent < x->size && !x->deaf;
		struct pollfd p = { .fd = x->stream, .events = (short)(POLLIN | (more ? POLLOUT : 0)) };

		draw(x);
		if (poll(&p, 1, TURN_MS) < 0 && errno != EINTR)
			return local_fault(e, "upload", strerror(errno));
		if (session_interrupted())
			return failed(e, RPC_INTERRUPTED, "INTERRUPTED",
			    "the upload was broken off; the host has kept nothing of it");
		if (p.revents & (POLLIN | POLLHUP | POLLERR))
			hear(x);
		else if (p.revents & POLLOUT)
			rc = give(x, e);
	}
	return rc;
}

/* --- after
 * ---------------------------------------------------------------------------------------------------- */

static void
digest(struct sending *x, char out[SHA_SIZE])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	EVP_DigestFinal_ex(x->sha, md, &len);
	for (size_t i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", md[i]);
}

static int
judge(struct sending *x, json_t **result, struct rpc_error *e)
{
	json_t *doc = json_loadb(x->line, x->line_len, 0, NULL);
	json_t *error = json_object_get(doc, "error"), *got = json_object_get(doc, "result");
	const char *theirs = json_string_value(json_object_get(got, "sha256"));
	char ours[SHA_SIZE];
	int rc = 0;

	digest(x, ours);
	if (error) {
		rc = rpc_error_read(e, error);
	} else if (!theirs) {
		rc = failed(e, RPC_NOT_CONNECTED, "NOT_CONNECTED",
		    "the connection was lost before the host had said that it has the file");
	} else if (x->sent < x->size || strcmp(theirs, ours) != 0) {
		rc = failed(e, RPC_BAD_ANSWER, "BAD_ANSWER",
		    "the host has other bytes than were sent (SHA-256 %.64s, not %s): delete the file there",
		    theirs, ours);
	} else {
		json_object_set_new(got, "changed", json_true());
		*result = json_incref(got);
	}
	json_decref(doc);
	return rc;
}

int
upload_send(
    struct session *s, int file, const char *ticket, json_int_t size, json_t **result, struct rpc_error *e)
{
	struct sending *x = calloc(1, sizeof(*x));
	int rc = -ENOMEM;

	if (x)
		x->sha = EVP_MD_CTX_new();
	if (!x || !x->sha || !EVP_DigestInit_ex(x->sha, EVP_sha256(), NULL)) {
		rc = local_fault(e, "upload", "out of memory");
	} else {
		x->file = file;
		x->size = size;
		x->begun_ns = now();
		rc = rpc_stream_open(s->rpc, ticket, &x->stream, e);
		if (rc == 0) {
			rc = pump(x, e);
			close(x->stream);
			if (x->progress.drawn)
				fprintf(stderr, "\r\x1b[K");
			if (rc == 0)
				rc = judge(x, result, e);
		}
	}
	if (x)
		EVP_MD_CTX_free(x->sha);
	free(x);
	return rc;
}
