/*
 * tests/crash/disk_rig.h - a disk in memory that is worked with (disk_work.h), and what every power cut would
 * leave of it: opened again, checked, read, mended, cut again while it is mended, used.
 */
#ifndef TESTS_CRASH_DISK_RIG_H
#define TESTS_CRASH_DISK_RIG_H

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "hypervisor/disk/format.h"
#include "tests/crash/disk_model.h"
#include "tests/disk/memory_file.h"

enum { RIG_FILES = 16, RIG_DEPTH = 6, RIG_BUFFER = 2 * SPOT, RIG_AGAIN = 16 };

struct scenario {
	const char *name;
	struct disk_create create;
	uint64_t hot[HOT_MAX]; /* numbers of blocks */
	unsigned n_hot;
};

struct rig_request {
	struct disk_io io; /* first */
	struct rig *rig;
	struct iovec iov;
	uint8_t *buffer;
	uint32_t id, flush; /* numbers: of a change, of a flush */
	bool busy;
};

/* What each sector of the spots holds: model_who. */
typedef uint32_t rig_content[HOT_MAX][SPOTS][SPOT_SECTORS];

struct rig {
	const struct disk_format *f;
	const struct scenario *s;
	uint64_t seed, began_with;
	struct memory_host *host;
	unsigned n_files, top; /* top: the machine's disk */
	int parent[RIG_FILES]; /* -1: none */
	struct model model;
	struct disk *disk; /* the first of the chain, open */
	uint32_t flushes;
	unsigned focus; /* number of a hot block */
	struct rig_request slot[RIG_DEPTH];

	unsigned mend;   /* one state of so many is mended */
	unsigned errors; /* one change or flush of so many fails; 0: none does */
	unsigned long states, mended, again, events, faults;
	uint64_t state; /* the seed of the state that is looked at */
	bool failed, began, trace;
	char check_text[240];
	/* Some states are also written to files, for other readers. */
	const char *samples;
	unsigned most_samples;
};

#define RIG_FAIL(r, ...)                                                                     \
	do {                                                                                 \
		if (!(r)->failed) {                                                          \
			printf("%s, CRASH_SEED=%llu, event %lu, state %llu: ", (r)->s->name, \
			    (unsigned long long)(r)->began_with, (r)->events,                \
			    (unsigned long long)(r)->state);                                 \
			printf(__VA_ARGS__);                                                 \
			printf("\n");                                                        \
		}                                                                            \
		(r)->failed = true;                                                          \
	} while (0)

/* What is done, with CRASH_TRACE=1. */
#define RIG_TRACE(r, ...)                    \
	do {                                 \
		if ((r)->trace) {            \
			printf("< ");        \
			printf(__VA_ARGS__); \
			printf("\n");        \
		}                            \
	} while (0)

static inline uint32_t
rig_random(struct rig *r, uint32_t n)
{
	r->seed++;
	return (uint32_t)(memory_mix(r->began_with, r->seed) % n);
}

/* --- Opening --- */

static inline int
rig_info(struct rig *r, struct memory_host *h, unsigned n, struct disk_info *info, struct err *e)
{
	struct disk_file *f = memory_open(h, n, true);
	int rc = r->f->info(f, info, e);

	file_free(f);
	return rc < 0 ? err_wrap(e, rc, "info of file %u", n) : 0;
}

static inline int
rig_open_one(struct rig *r, struct memory_host *h, unsigned n, bool read_only, struct disk *parent,
    bool keep_id, struct disk **out, struct err *e)
{
	struct disk_open how = { .file = memory_open(h, n, read_only),
		.read_only = read_only,
		.parent = parent,
		.keep_data_id = keep_id };
	int rc = r->f->open(out, &how, e);

	if (rc < 0) {
		disk_free(parent);
		file_free(how.file);
	}
	return rc < 0 ? err_wrap(e, rc, "file %u", n) : 0;
}

/* The chain that begins with a file. */
static inline int
rig_open(struct rig *r, struct memory_host *h, unsigned n, bool read_only, struct disk **out, struct err *e)
{
	struct disk_info info, above;
	struct disk *parent = NULL;
	int rc = rig_info(r, h, n, &info, e);

	if (rc == 0 && r->parent[n] >= 0) {
		unsigned p = (unsigned)r->parent[n];

		rc = rig_info(r, h, p, &above, e);
		if (rc == 0)
			rc = disk_parent_fits(&info, &above, e);
		if (rc == 0)
			rc = rig_open(r, h, p, true, &parent, e);
	}
	return rc < 0 ? rc : rig_open_one(r, h, n, read_only, parent, false, out, e);
}

/* --- Reading, by the tables --- */

/* What lies at an offset, in whichever file of the chain; NULL: zeros. */
static inline int
rig_find(struct disk *d, uint64_t off, uint64_t len, struct extent *x, struct disk_file **f, struct err *e)
{
	for (*f = NULL;; d = d->parent) {
		int rc;

		if (!d || off >= d->size) {
			*x = (struct extent){ .kind = EXTENT_ZERO, .len = len };
			return 0;
		}
		len = len < d->size - off ? len : d->size - off;
		rc = d->ops->extent(d, off, len, x, e);
		if (rc < 0)
			return rc;
		if (!x->len || x->len > len || x->len % SECTOR || x->at % SECTOR)
			return err_set(e, EPROTO, "an extent of %llu bytes at %llu",
			    (unsigned long long)x->len, (unsigned long long)x->at);
		len = x->len;
		*f = x->kind == EXTENT_DATA ? d->file : NULL;
		if (x->kind != EXTENT_PARENT)
			return 0;
	}
}

/* Outside the spots nothing was ever written: whatever is there is another place's. */
static inline void
rig_foreign(struct rig *r, struct disk_file *f, uint64_t off, const struct extent *x)
{
	static const uint8_t zero[SECTOR];
	uint8_t page[PAGE_BYTES];
	uint64_t at = x->at, end = x->at + x->len;

	while (at < end) {
		int64_t data = f->ops->seek(f, at, SEEK_DATA);
		uint64_t n;

		if (data < 0 || (uint64_t)data >= end)
			return;
		at = (uint64_t)data > at ? (uint64_t)data : at;
		n = PAGE_BYTES - at % PAGE_BYTES < end - at ? PAGE_BYTES - at % PAGE_BYTES : end - at;
		if (file_get(f, page, n, at, NULL) < 0)
			return; /* behind the end of the file */
		for (uint64_t i = 0; i < n; i += SECTOR)
			if (memcmp(page + i, zero, SECTOR) != 0 &&
			    !model_sector(&r->model, off + at + i - x->at)) {
				RIG_FAIL(r, "other bytes show at %llu, from %llu of the file",
				    (unsigned long long)(off + at + i - x->at), (unsigned long long)(at + i));
				return;
			}
		at += n;
	}
}

static inline void
rig_read_spot(struct rig *r, struct disk *d, uint64_t off, uint32_t *who)
{
	uint64_t end = off + SPOT < d->size ? off + SPOT : d->size;
	static uint8_t buf[SPOT];
	struct disk_file *f;
	struct extent x;
	struct err e = { 0 };

	for (; off < end && !r->failed; off += x.len) {
		int rc = rig_find(d, off, end - off, &x, &f, &e);

		if (rc == 0 && f)
			rc = file_get(f, buf, x.len, x.at, &e);
		if (rc < 0)
			RIG_FAIL(r, "%llu cannot be read: %s", (unsigned long long)off, e.msg);
		for (uint64_t i = 0; rc == 0 && i < x.len; i += SECTOR)
			*who++ = f ? model_who(buf + i, off + i) : 0;
	}
}

static inline void
rig_read_all(struct rig *r, struct disk *d, rig_content who)
{
	struct model *m = &r->model;
	struct err e = { 0 };

	memset(who, 0, sizeof(rig_content));
	for (unsigned h = 0; h < m->n_hot; h++) {
		uint64_t off = m->hot[h] * m->block, end = off + m->block;
		struct disk_file *f;
		struct extent x;

		for (unsigned k = 0; k < SPOTS; k++)
			rig_read_spot(r, d, model_spot(m, h, k), who[h][k]);
		for (end = end < d->size ? end : d->size; off < end && !r->failed; off += x.len) {
			if (rig_find(d, off, end - off, &x, &f, &e) < 0)
				RIG_FAIL(r, "%llu cannot be found: %s", (unsigned long long)off, e.msg);
			else if (f)
				rig_foreign(r, f, off, &x);
		}
	}
}

static inline void
rig_judge(struct rig *r, struct disk *d, rig_content who)
{
	const struct model *m = &r->model;

	if (d->size != m->size && d->size != m->to_size)
		RIG_FAIL(r, "the disk has %llu bytes", (unsigned long long)d->size);
	for (unsigned h = 0; h < m->n_hot; h++)
		for (unsigned k = 0; k < SPOTS; k++)
			for (unsigned i = 0; i < SPOT_SECTORS; i++) {
				const struct history *x = &m->sector[h][k][i];

				if (model_ok(m, x, who[h][k][i], true))
					continue;
				RIG_FAIL(r,
				    "block %llu, spot %u, sector %u holds what request %d wrote, not %u",
				    (unsigned long long)m->hot[h], k, i, (int)who[h][k][i],
				    x->n ? x->id[x->n - 1] : 0);
				return;
			}
}

/* --- A state --- */

static inline void
rig_found(void *ctx, enum disk_fault_kind kind, const char *text)
{
	struct rig *r = ctx;

	if (kind == DISK_DAMAGE)
		snprintf(r->check_text, sizeof(r->check_text), "%s", text);
}

static inline void
rig_check(struct rig *r, struct memory_host *h, unsigned n)
{
	struct disk_check check = { .found = rig_found, .ctx = r };
	struct disk_file *f = memory_open(h, n, true);
	struct err e = { 0 };
	int rc = r->f->check(f, &check, NULL, &e);

	file_free(f);
	if (rc < 0 && rc != -ENOTSUP)
		RIG_FAIL(r, "check: %s", e.msg);
	else if (check.faults[DISK_DAMAGE])
		RIG_FAIL(r, "check finds: %s", r->check_text);
}

/* Opens, reads and judges; the disk stays open. NULL: it failed. */
static inline struct disk *
rig_look(struct rig *r, struct memory_host *h, bool read_only, rig_content who)
{
	struct err e = { 0 };
	struct disk *d;

	if (rig_open(r, h, r->top, read_only, &d, &e) < 0) {
		RIG_FAIL(r, "it does not open: %s", e.msg);
		return NULL;
	}
	rig_read_all(r, d, who);
	if (read_only && (h->count[MEMORY_WRITE] || h->count[MEMORY_RESIZE] || h->count[MEMORY_ALLOCATE]))
		RIG_FAIL(r, "it is written, though it is opened to be read");
	rig_judge(r, d, who);
	return d;
}

/* Opened to be read; checked; all in order. */
static inline void
rig_is_good(struct rig *r, struct memory_host *h, rig_content who)
{
	disk_free(rig_look(r, h, true, who));
	for (int i = (int)r->top; i >= 0 && !r->failed; i = r->parent[i])
		rig_check(r, h, (unsigned)i);
}

static inline void
rig_same(struct rig *r, rig_content a, rig_content b, const char *when)
{
	if (!r->failed && memcmp(a, b, sizeof(rig_content)) != 0)
		RIG_FAIL(r, "it holds something else %s", when);
}

struct rig_mending {
	struct rig *rig;
	struct memory_host *host;
	unsigned left; /* cuts while it is mended */
};

/* Cut again while it is mended. */
static inline int
rig_mend_event(void *ctx, const struct memory_op *op)
{
	struct rig_mending *x = ctx;
	struct memory_host *again;
	static rig_content who;

	if (op->kind == MEMORY_READ || !x->left || x->rig->failed)
		return 0;
	x->left--;
	again = memory_cut(x->host, rig_random(x->rig, UINT32_MAX));
	rig_is_good(x->rig, again, who);
	memory_host_free(again);
	x->rig->states++;
	x->rig->again++;
	return 0;
}

/* A guest writes to what was mended, and flushes. */
static inline void
rig_write_after(struct rig *r, struct memory_host *h, rig_content who)
{
	unsigned hot = rig_random(r, r->model.n_hot), k = rig_random(r, SPOTS);
	uint64_t off = model_spot(&r->model, hot, k);
	static uint8_t buf[4096];
	struct iovec iov = { buf, sizeof(buf) };
	const struct disk_io flush = { .op = DISK_FLUSH };
	const struct disk_io io = {
		.op = DISK_WRITE, .offset = off, .len = sizeof(buf), .iov = &iov, .iovs = 1
	};
	struct err e = { 0 };
	struct disk *d;
	int rc = rig_open(r, h, r->top, false, &d, &e);

	if (rc < 0) {
		RIG_FAIL(r, "it does not open a second time: %s", e.msg);
		return;
	}
	if (off + sizeof(buf) <= d->size) {
		model_fill(buf, r->model.n, off, sizeof(buf));
		rc = disk_wait(d, &io);
		rc = rc < 0 ? rc : disk_wait(d, &flush);
		for (unsigned i = 0; i < sizeof(buf) / SECTOR; i++)
			who[hot][k][i] = r->model.n;
	}
	if (rc < 0)
		RIG_FAIL(r, "a write after it was opened again: error %d", rc);
	disk_free(d);
}

/* Of nothing durable anything is lost, and it is as it was. */
static inline void
rig_reopen(struct rig *r, struct memory_host *h, rig_content want, const char *when, bool closed)
{
	struct memory_host *cut = memory_cut(h, closed ? 0 : rig_random(r, UINT32_MAX));
	static struct disk_info info;
	static rig_content who;
	struct err e = { 0 };
	struct disk *d;

	if (!r->failed && rig_open(r, cut, r->top, true, &d, &e) < 0)
		RIG_FAIL(r, "it does not open %s: %s", when, e.msg);
	if (!r->failed) {
		rig_read_all(r, d, who);
		disk_free(d);
		rig_same(r, want, who, when);
		rig_check(r, cut, r->top);
		if (closed && rig_info(r, cut, r->top, &info, &e) == 0 && info.dirty)
			RIG_FAIL(r, "it is not clean %s", when);
	}
	memory_host_free(cut);
}

/* Opened for writing, which mends it; closed or not; used. */
static inline void
rig_mend(struct rig *r, struct memory_host *state, rig_content first)
{
	struct memory_host *h = memory_copy(state);
	struct rig_mending x = { r, h, RIG_AGAIN };
	static rig_content who;
	struct err e = { 0 };
	struct disk *d;
	bool close = rig_random(r, 2);

	h->fault = rig_mend_event;
	h->ctx = &x;
	d = rig_look(r, h, false, who);
	rig_same(r, first, who, "when it is opened for writing");
	if (d && close && !r->failed && disk_close(d, &e) < 0)
		RIG_FAIL(r, "close: %s", e.msg);
	disk_free(d);
	h->fault = NULL;
	rig_reopen(r, h, first, close ? "after it was closed" : "when it is mended twice", close);
	if (!r->failed)
		rig_write_after(r, h, first);
	rig_reopen(r, h, first, "after another write and cut", false);
	memory_host_free(h);
	r->mended++;
}

/* What is read of the blocks that are written to, as a raw file. */
static inline int
rig_save_raw(struct rig *r, struct memory_host *h, const char *path)
{
	static uint8_t buf[64 * 1024];
	struct model *m = &r->model;
	struct err e = { 0 };
	FILE *out = fopen(path, "w");
	struct disk *d;
	int rc = rig_open(r, h, r->top, true, &d, &e);

	for (unsigned i = 0; out && rc == 0 && i < m->n_hot; i++)
		for (uint64_t n, off = m->hot[i] * m->block, end = off + m->block; off < end && off < d->size;
		     off += n) {
			struct iovec iov = { buf,
				n = sizeof(buf) < d->size - off ? sizeof(buf) : d->size - off };
			struct disk_io io = {
				.op = DISK_READ, .offset = off, .len = n, .iov = &iov, .iovs = 1
			};

			rc = disk_wait(d, &io);
			if (rc < 0 || fseek(out, (long)off, SEEK_SET) || fwrite(buf, 1, n, out) != n)
				rc = -EIO;
		}
	if (!out || rc < 0 || fflush(out) || ftruncate(fileno(out), (off_t)d->size))
		rc = -EIO;
	if (out)
		fclose(out);
	disk_free(d);
	return rc;
}

static inline void
rig_sample(struct rig *r, struct memory_host *h)
{
	char path[256];
	unsigned level = 0;
	int at, rc = 0;

	if (!r->samples || !r->most_samples)
		return;
	r->most_samples--;
	at = snprintf(path, sizeof(path), "%s/%llu-%lu-%llu.", r->samples, (unsigned long long)r->began_with,
	    r->events, (unsigned long long)r->state);
	for (int i = (int)r->top; i >= 0 && rc == 0; i = r->parent[i]) {
		snprintf(path + at, sizeof(path) - (size_t)at, level ? "parent%02u" : "top", level);
		level++;
		rc = memory_save(h, (unsigned)i, path);
	}
	snprintf(path + at, sizeof(path) - (size_t)at, "raw");
	if (rc == 0)
		rc = rig_save_raw(r, h, path);
	if (rc < 0)
		RIG_FAIL(r, "%s cannot be written", path);
}

static inline void
rig_state(struct rig *r, uint64_t seed)
{
	struct memory_host *h = memory_cut(r->host, seed);
	static rig_content who;

	r->state = seed;
	rig_is_good(r, h, who);
	if (!r->failed && rig_random(r, r->mend) == 0)
		rig_mend(r, h, who);
	if (!r->failed && rig_random(r, 512) == 0)
		rig_sample(r, h);
	memory_host_free(h);
	r->states++;
}

static inline bool
rig_unsafe(const struct rig *r)
{
	if (r->host->in_flight)
		return true;
	for (int i = (int)r->top; i >= 0; i = r->parent[i])
		if (memory_unsafe(r->host, (unsigned)i))
			return true;
	return false;
}

/* What a file answers instead of doing what it is asked: no room, or a fault below. */
static inline int
rig_error(struct rig *r, const struct memory_op *op)
{
	int rc;

	if (r->failed || !r->errors || rig_random(r, r->errors) != 0)
		return 0;
	rc = op->kind != MEMORY_FLUSH && rig_random(r, 2) ? -ENOSPC : -EIO;
	RIG_TRACE(r, "%lu: fails: %d", r->events, rc);
	r->faults++;
	return rc;
}

/* Before each change and flush of a file: what would a cut leave now? */
static inline int
rig_event(void *ctx, const struct memory_op *op)
{
	static const char *const kinds[] = { "read", "write", "flush", "allocate", "resize" };
	struct rig *r = ctx;

	if (!r->began || r->failed || op->kind == MEMORY_READ)
		return 0;
	r->events++;
	RIG_TRACE(r, "%lu: file %u: %s %llu+%llu%s", r->events, op->file, kinds[op->kind],
	    (unsigned long long)op->off, (unsigned long long)op->len, op->fua ? ", FUA" : "");
	rig_state(r, 1);
	if (!rig_unsafe(r))
		return rig_error(r, op);
	rig_state(r, 0);
	/* Before a flush takes effect most may be lost: there most states differ. */
	for (unsigned i = op->kind == MEMORY_FLUSH ? 0 : 4; i < 5 && !r->failed; i++)
		rig_state(r, 2 + rig_random(r, UINT32_MAX));
	return rig_error(r, op);
}

#endif
