/*
 * tests/crash/stream_crash.c - a saved machine, cut and broken wherever it can be. A cut one is refused in
 * words. A descriptor that fails makes the save fail with a sentence, leaves the machine as it was, and what
 * it has taken by then is refused as well. A descriptor that takes little at once changes nothing.
 */
#include <string.h>

#include "tests/crash/fault.h"
#include "tests/unit/fake_saved.h"

enum { MB = 32, BYTES_MAX = 1 << 20, WRITES_MAX = 256, SMALL = 1024 };

static struct machine m;
static struct host host;
static struct partition source;

int __wrap_walls_close_control(struct err *e);
int __wrap_walls_close_processor(struct err *e);
int __wrap_walls_close_io(struct err *e);

/* --- the descriptor that records -------------------------------------------------------------------- */

static struct {
	bool on;
	uint8_t bytes[BYTES_MAX];
	size_t len;
	size_t boundary[WRITES_MAX]; /* where each write ended */
	unsigned writes;
	unsigned fail_at; /* the write that fails, from 0 */
	int code;
	size_t partly; /* bytes that the failing one takes first, as a short write */
	size_t most;   /* bytes that any takes at once; 0: all */
	bool failing;
} rec;

ssize_t __real_writev(int fd, const struct iovec *v, int n);
ssize_t __wrap_writev(int fd, const struct iovec *v, int n);

static size_t
take(const struct iovec *v, int n, size_t room)
{
	size_t taken = 0;

	for (int i = 0; i < n; i++) {
		size_t part = v[i].iov_len < room - taken ? v[i].iov_len : room - taken;

		if (rec.len + part > BYTES_MAX)
			abort();
		if (part)
			memcpy(rec.bytes + rec.len, v[i].iov_base, part);
		rec.len += part;
		taken += part;
	}
	return taken;
}

ssize_t
__wrap_writev(int fd, const struct iovec *v, int n)
{
	size_t room = rec.most ? rec.most : SIZE_MAX, taken;

	if (!rec.on)
		return __real_writev(fd, v, n);
	if (rec.failing || (rec.writes == rec.fail_at && !rec.partly)) {
		errno = rec.code;
		return -1;
	}
	if (rec.writes == rec.fail_at) {
		rec.failing = true;
		room = rec.partly;
	}
	taken = take(v, n, room);
	if (rec.writes < WRITES_MAX)
		rec.boundary[rec.writes] = rec.len;
	rec.writes++;
	return (ssize_t)taken;
}

static int
save(unsigned fail_at, int code, size_t partly, size_t most, struct err *e)
{
	int rc;

	memset(&rec, 0, sizeof(rec));
	rec.fail_at = fail_at;
	rec.code = code;
	rec.partly = partly;
	rec.most = most;
	rec.on = true;
	rc = machine_save(&source, -1, e);
	rec.on = false;
	return rc;
}

/* --- restoring ---------------------------------------------------------------------------------------- */

static int
restore(const uint8_t *bytes, size_t len, struct err *e)
{
	static int fd = -1;
	static struct partition copy;
	struct saved_facts facts;
	static struct fake_kvm was;
	int rc;

	if (fd < 0)
		fd = memfd_create("saved", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) < 0 || pwrite(fd, bytes, len, 0) != (ssize_t)len ||
	    lseek(fd, 0, SEEK_SET) < 0)
		abort();
	rc = saved_facts_read(&facts, &m, fd, e);
	if (rc < 0)
		return rc; /* no partition is made then */
	/* The fake has one machine at a time: the source's waits meanwhile. */
	was = fake_kvm;
	fake_kvm.vcpus = 0;
	memset(fake_kvm.vcpu, 0, sizeof(fake_kvm.vcpu));
	if (fake_saved_init(&copy, &host, &m, NULL) < 0)
		abort();
	rc = machine_restore(&copy, &facts, fd, e);
	fake_saved_free(&copy);
	fake_kvm = was;
	return rc;
}

static void
check_refused(const uint8_t *bytes, size_t len)
{
	struct err e = { 0 };
	int rc = restore(bytes, len, &e);

	point(rc < 0 && strncmp(e.msg, "saved state: ", 13) == 0, rc < 0 ? "is refused as" : "is restored",
	    e.msg);
}

/* --- the recording ---------------------------------------------------------------------------------------
 */

static uint8_t whole[BYTES_MAX];
static size_t whole_len, boundary[WRITES_MAX];
static unsigned writes;

static bool
same_as_whole(void)
{
	return rec.len == whole_len && memcmp(rec.bytes, whole, whole_len) == 0;
}

static void
make_source(void)
{
	struct err e = { 0 };

	host = (struct host){ .kvm_fd = fake_kvm_open() };
	fake_machine(&m, MB, 1);
	if (fake_saved_init(&source, &host, &m, &e) < 0)
		abort();
	memset(gmem_span(source.mem, 0x100000, 8192), 0x42, 8192);
	memset(gmem_span(source.mem, 0x180000, 4096), 0x43, 4096);
	for (int i = 0; i < FAKE_STATES; i++)
		memset(fake_kvm.vcpu[0].state[i], i + 1, 4096);
	bus_write(&source.ports, 0x3ff, 1, 0x77);
	if (save(UINT32_MAX, 0, 0, 0, &e) < 0)
		abort();
	memcpy(whole, rec.bytes, rec.len);
	memcpy(boundary, rec.boundary, sizeof(boundary));
	whole_len = rec.len;
	writes = rec.writes;
}

/* --- targets ---------------------------------------------------------------------------------------------
 */

/* At every boundary, just before and after it, at every byte of small sections, and here and there in large.
 */
static void
cuts(void)
{
	for (unsigned w = 0; w < writes; w++) {
		size_t from = w ? boundary[w - 1] : 0, len = boundary[w] - from;

		for (size_t at = 0; at < len; at += len <= SMALL || at < 64 || at + 64 > len ? 1 : 61) {
			snprintf(tally.point, sizeof(tally.point), "cut at %zu of %zu", from + at, whole_len);
			check_refused(whole, from + at);
		}
	}
}

static void
check_failing_write(unsigned w, int code, size_t partly)
{
	struct err e = { 0 }, again = { 0 };
	static uint8_t taken[BYTES_MAX];
	size_t n;
	int rc = save(w, code, partly, 0, &e);

	snprintf(tally.point, sizeof(tally.point), "write %u: %s after %zu bytes", w, strerror(code), partly);
	point(rc == -code && e.code == code && strncmp(e.msg, "saved state: ", 13) == 0, "the save says",
	    e.msg);
	memcpy(taken, rec.bytes, rec.len);
	n = rec.len;
	check_refused(taken, n);
	/* With the space that was asked for but never filled: what a file looks like after a power failure.
	 */
	memset(taken + n, 0, 4096);
	if (n + 4096 < whole_len ||
	    memcmp(taken, whole, whole_len) != 0) /* unless zeros were all that was missing */
		check_refused(taken, n + 4096);
	point(save(UINT32_MAX, 0, 0, 0, &again) == 0 && same_as_whole(), "the machine is another after it",
	    again.msg);
}

static void
failing_writes(void)
{
	static const int codes[] = { ENOSPC, EIO, EPIPE };

	for (unsigned w = 0; w < writes; w++)
		for (size_t c = 0; c < sizeof(codes) / sizeof(codes[0]); c++) {
			size_t len = boundary[w] - (w ? boundary[w - 1] : 0);

			check_failing_write(w, codes[c], 0);
			for (size_t partly = 1; partly < len; partly = partly * 3 + 1)
				check_failing_write(w, codes[c], partly);
			check_failing_write(w, codes[c], len - 1);
		}
}

static void
short_writes(void)
{
	static const size_t most[] = { 1, 2, 3, 7, 15, 16, 17, 512, 4095, 4096, 4097 };
	struct err e = { 0 };

	for (size_t i = 0; i < sizeof(most) / sizeof(most[0]); i++) {
		snprintf(tally.point, sizeof(tally.point), "writes of %zu bytes", most[i]);
		point(save(UINT32_MAX, 0, 0, most[i], &e) == 0 && same_as_whole(), "other bytes", e.msg);
	}
}

static void
the_whole(void)
{
	struct err e = { 0 };

	snprintf(tally.point, sizeof(tally.point), "whole");
	point(restore(whole, whole_len, &e) == 0, "is refused:", e.msg);
}

int
__wrap_walls_close_control(struct err *e)
{
	(void)e;
	return 0;
}

int
__wrap_walls_close_processor(struct err *e)
{
	(void)e;
	return 0;
}

int
__wrap_walls_close_io(struct err *e)
{
	(void)e;
	return 0;
}

int
main(void)
{
	static void (*const targets[])(void) = { the_whole, cuts, failing_writes, short_writes };

	make_source();
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
		targets[i]();
	fake_saved_free(&source);
	machine_close(&m);
	return tell("stream");
}
