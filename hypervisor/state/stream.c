/* hypervisor/state/stream.c - a saved machine as a stream of sections. */
#include "hypervisor/state/stream.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static const char magic[8] = { 'F', 'H', 'S', 'T', 'A', 'T', 'E', '1' };

struct head {
	uint32_t type, zero;
	uint64_t len;
};

static int
write_all(int fd, struct iovec *v, int n, struct err *e)
{
	while (n > 0) {
		ssize_t w = writev(fd, v, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return err_sys(e, "saved state: write");
		if (w == 0) /* nothing would ever come of trying again */
			return err_set(e, EIO, "saved state: write: nothing was taken");
		while (n > 0 && (size_t)w >= v->iov_len) {
			w -= (ssize_t)v->iov_len;
			v++;
			n--;
		}
		if (n > 0) {
			v->iov_base = (uint8_t *)v->iov_base + w;
			v->iov_len -= (size_t)w;
		}
	}
	return 0;
}

int
stream_begin_write(int fd, struct err *e)
{
	char m[sizeof(magic)];
	struct iovec v = { m, sizeof(m) };

	memcpy(m, magic, sizeof(m));
	return write_all(fd, &v, 1, e);
}

int
stream_write(
    int fd, enum section_type type, const void *a, size_t alen, const void *b, size_t blen, struct err *e)
{
	struct head h = { .type = type, .len = alen + blen };
	struct iovec v[3] = { { &h, sizeof(h) }, { (void *)(uintptr_t)a, alen },
		{ (void *)(uintptr_t)b, blen } };

	return write_all(fd, v, 3, e);
}

int
stream_read(int fd, void *buf, size_t len, struct err *e)
{
	uint8_t *at = buf;

	while (len > 0) {
		ssize_t n = read(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "saved state: read");
		if (n == 0)
			return err_set(e, EINVAL, "saved state: cut short");
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int
stream_begin_read(int fd, struct err *e)
{
	char m[sizeof(magic)];
	int rc = stream_read(fd, m, sizeof(m), e);

	if (rc == 0 && memcmp(m, magic, sizeof(m)) != 0)
		return err_set(e, EINVAL, "saved state: this is not a saved machine");
	return rc;
}

int
stream_next(int fd, struct section *s, struct err *e)
{
	struct head h;
	int rc = stream_read(fd, &h, sizeof(h), e);

	if (rc < 0)
		return rc;
	if (h.len > SECTION_MAX || h.zero != 0)
		return err_set(e, EINVAL, "saved state: damaged (a section of type %u with %llu bytes)",
		    h.type, (unsigned long long)h.len);
	s->type = h.type;
	s->len = h.len;
	return 0;
}
