/*
 * tests/crash/disk_work.h - what is done to a disk while its power may be cut: a guest's requests, several in
 * flight, and what its owner does: closing, checking, resizing, compacting, making children, merging.
 */
#ifndef TESTS_CRASH_DISK_WORK_H
#define TESTS_CRASH_DISK_WORK_H

#include "hypervisor/disk/merge.h"
#include "hypervisor/disk/mover.h"
#include "tests/crash/disk_rig.h"

enum { WORK_PUMPS = 100000 };

/* --- A guest's requests --- */

static inline bool
work_overlaps(const struct rig *r, uint64_t off, uint64_t len)
{
	for (unsigned i = 0; i < RIG_DEPTH; i++) {
		const struct rig_request *q = &r->slot[i];

		if (q->busy && off < q->io.offset + q->io.len && q->io.offset < off + len)
			return true;
	}
	return false;
}

static inline void
work_read_done(struct rig *r, struct rig_request *q)
{
	for (uint64_t i = 0; i < q->io.len; i += SECTOR) {
		uint64_t off = q->io.offset + i;
		const struct history *h = model_sector(&r->model, off);
		uint32_t who = model_who(q->buffer + i, off);

		if (h ? !model_ok(&r->model, h, who, false) : who != 0)
			RIG_FAIL(r, "a running disk reads %u at %llu", who, (unsigned long long)off);
	}
}

static inline void
work_done(struct disk_io *io, int rc)
{
	struct rig_request *q = (struct rig_request *)io;
	struct rig *r = q->rig;
	struct model *m = &r->model;

	q->busy = false;
	RIG_TRACE(r, "request %u ends: %d", q->flush, rc);
	if (rc < 0 && r->faults && io->op != DISK_READ) {
		m->w[q->id].failed |= io->op != DISK_FLUSH;
		return;
	}
	if (rc < 0) {
		RIG_FAIL(r, "request %u (operation %d at %llu, %llu bytes) fails: %d", q->id, io->op,
		    (unsigned long long)io->offset, (unsigned long long)io->len, rc);
		return;
	}
	if (io->op == DISK_READ) {
		work_read_done(r, q);
	} else if (io->op == DISK_FLUSH) {
		model_flushed(m, q->flush);
	} else {
		m->w[q->id].ended = true;
		m->w[q->id].durable = io->fua;
	}
}

static inline struct rig_request *
work_slot(struct rig *r)
{
	for (unsigned i = 0; i < RIG_DEPTH; i++)
		if (!r->slot[i].busy)
			return &r->slot[i];
	return NULL;
}

static inline void
work_submit(struct rig *r, enum disk_op op, uint64_t off, uint64_t len, bool fua, bool unmap)
{
	static const enum wrote what[] = {
		[DISK_WRITE] = WROTE_DATA, [DISK_ZERO] = WROTE_ZERO, [DISK_DISCARD] = WROTE_MAYBE
	};
	struct rig_request *q = work_slot(r);

	if (!q || (op != DISK_FLUSH && (off + len > r->disk->size || work_overlaps(r, off, len))))
		return;
	q->iov = (struct iovec){ q->buffer, len };
	q->io = (struct disk_io){ .op = op,
		.offset = off,
		.len = len,
		.fua = fua,
		.unmap = unmap,
		.done = work_done,
		.iov = op == DISK_READ || op == DISK_WRITE ? &q->iov : NULL,
		.iovs = op == DISK_READ || op == DISK_WRITE };
	q->busy = true;
	q->flush = ++r->flushes;
	if (op == DISK_FLUSH)
		model_flush_begins(&r->model, q->flush);
	else if (op != DISK_READ)
		q->id = model_begin(&r->model, what[op], off, len);
	if (op == DISK_WRITE)
		model_fill(q->buffer, q->id, off, len);
	RIG_TRACE(r, "request %u: operation %d, %llu+%llu%s%s", q->flush, op, (unsigned long long)off,
	    (unsigned long long)len, fua ? ", FUA" : "", q->id && op != DISK_READ ? "" : ", changes nothing");
	disk_submit(r->disk, &q->io);
}

/* For some time one block sees half of the requests: trims meet writes, and flushes both. */
static inline unsigned
work_block(struct rig *r)
{
	if (rig_random(r, 12) == 0)
		r->focus = rig_random(r, r->model.n_hot);
	return rig_random(r, 2) ? r->focus : rig_random(r, r->model.n_hot);
}

/* Some sectors in a spot; sometimes over the border into the next block. */
static inline void
work_range(struct rig *r, uint64_t *off, uint64_t *len)
{
	const struct model *m = &r->model;
	unsigned h = work_block(r), k = rig_random(r, SPOTS), sectors = r->disk->logical / SECTOR;
	unsigned all = SPOT_SECTORS / sectors, from = rig_random(r, all);
	unsigned most = rig_random(r, 4) ? 8 / sectors + 1 : all;
	unsigned n = 1 + rig_random(r, most < all - from ? most : all - from);

	*off = model_spot(m, h, k) + (uint64_t)from * sectors * SECTOR;
	*len = (uint64_t)n * sectors * SECTOR;
	if (k == SPOTS - 1 && h + 1 < m->n_hot && m->hot[h + 1] == m->hot[h] + 1 && rig_random(r, 3) == 0)
		*len = model_spot(m, h + 1, 0) + (uint64_t)n * sectors * SECTOR - *off;
}

/* Whole blocks, one or two. */
static inline void
work_blocks(struct rig *r, uint64_t *off, uint64_t *len)
{
	const struct model *m = &r->model;
	unsigned h = work_block(r);

	*off = m->hot[h] * m->block;
	*len = m->block;
	if (h + 1 < m->n_hot && m->hot[h + 1] == m->hot[h] + 1 && rig_random(r, 3) == 0)
		*len *= 2;
	if (*off<r->disk->size && * off + *len> r->disk->size)
		*len = r->disk->size - *off;
}

static inline void
work_request(struct rig *r)
{
	unsigned what = rig_random(r, 100);
	uint64_t off, len;

	if (what < 78)
		work_range(r, &off, &len);
	else
		work_blocks(r, &off, &len);
	if (what < 45)
		work_submit(r, DISK_WRITE, off, len, what < 7, false);
	else if (what < 65)
		work_submit(r, DISK_READ, off, len, false, false);
	else if (what < 73 || (what >= 78 && what < 83))
		work_submit(r, DISK_ZERO, off, len, what % 4 == 0, what % 2);
	else if (what < 78 || what < 87)
		work_submit(r, DISK_DISCARD, off, len, false, false);
	else
		work_submit(r, DISK_FLUSH, 0, 0, false, false);
}

static inline bool
work_busy(const struct rig *r)
{
	for (unsigned i = 0; i < RIG_DEPTH; i++)
		if (r->slot[i].busy)
			return true;
	return false;
}

static inline void
work_drain(struct rig *r)
{
	for (unsigned i = 0; work_busy(r) && !r->failed; i++)
		if (i == WORK_PUMPS || !file_pump(r->disk->file))
			RIG_FAIL(r, "a request never ends");
}

static inline void
work_guest(struct rig *r, unsigned requests)
{
	for (unsigned i = 0; i < requests && !r->failed; i++) {
		work_request(r);
		for (unsigned n = rig_random(r, 4); n && work_busy(r); n--)
			file_pump(r->disk->file);
	}
}

/* --- The disk's owner --- */

/* Whether something that failed was made to fail. */
static inline bool
work_was_made_to(const struct rig *r, unsigned long faults)
{
	return r->faults > faults;
}

/* To open it writes, if there is something to mend; when that fails it can be tried again. */
static inline void
work_open(struct rig *r)
{
	unsigned long faults = r->faults;
	unsigned errors = r->errors;
	struct err e = { 0 };
	int rc = r->failed ? 0 : rig_open(r, r->host, r->top, false, &r->disk, &e);

	if (rc < 0 && work_was_made_to(r, faults)) {
		r->errors = 0;
		rc = rig_open(r, r->host, r->top, false, &r->disk, &e);
		r->errors = errors;
	}
	if (rc < 0)
		RIG_FAIL(r, "it does not open: %s", e.msg);
	else if (!r->failed)
		r->model.size = r->model.to_size =
		    r->disk->size; /* judged by rig_judge to be one of the two */
}

/* What was not flushed before need not be durable. */
static inline void
work_close(struct rig *r, bool flush)
{
	struct err e = { 0 };
	int rc;

	work_drain(r);
	if (flush)
		work_submit(r, DISK_FLUSH, 0, 0, false, false);
	work_drain(r);
	rc = r->failed ? 0 : disk_close(r->disk, &e);
	if (rc < 0 && r->faults)
		model_lost(&r->model);
	else if (rc < 0)
		RIG_FAIL(r, "close: %s", e.msg);
	memory_run(r->host);
	disk_free(r->disk);
	r->disk = NULL;
}

/* A whole file, for what changes it as a whole. */
static inline int
work_whole(
    struct rig *r, unsigned n, int (*fn)(struct rig *, struct disk_file *, struct err *), struct err *e)
{
	struct disk_file *f = memory_open(r->host, n, false);
	int rc = fn(r, f, e);

	file_free(f);
	return rc;
}

/* What was made to fail is tried once more, on what it has left in the host's memory. faults: as they were
 * before the try that counts. */
static inline int
work_twice(struct rig *r, int (*fn)(struct rig *, struct disk_file *, struct err *), unsigned long *faults,
    struct err *e)
{
	int rc = work_whole(r, r->top, fn, e);

	if (rc == 0 || r->failed || !work_was_made_to(r, *faults))
		return rc;
	RIG_TRACE(r, "it failed (%d): again", rc);
	*faults = r->faults;
	return work_whole(r, r->top, fn, e);
}

static inline int
work_create(struct rig *r, struct disk_file *f, struct err *e)
{
	return r->f->create(f, &r->s->create, NULL, e);
}

static inline int
work_sync(struct rig *r, struct disk_file *f, struct err *e)
{
	(void)r;
	return file_sync(f, e);
}

static inline int
work_create_child(struct rig *r, struct disk_file *f, struct err *e)
{
	struct disk_create how = r->s->create;
	static struct disk_info info;
	int rc = work_whole(r, r->top, work_sync, e); /* as disk_chain_sync */

	rc = rc < 0 ? rc : rig_info(r, r->host, r->top, &info, e);
	how.type = DISK_DIFFERENCING;
	how.size = 0;
	how.parent = &info;
	how.parent_relative = "parent";
	return rc < 0 ? rc : r->f->create(f, &how, NULL, e);
}

/* One that could not be made whole is never used. */
static inline void
work_child(struct rig *r)
{
	unsigned long faults = r->faults;
	struct err e = { 0 };
	unsigned n = r->n_files;
	int rc;

	if (n == RIG_FILES || r->s->create.type == DISK_FIXED)
		return;
	rc = work_whole(r, n, work_create_child, &e);
	r->n_files++;
	r->parent[n] = (int)r->top;
	if (rc == 0)
		r->top = n;
	else if (!work_was_made_to(r, faults))
		RIG_FAIL(r, "a child: %s", e.msg);
}

static inline int
work_merge_into(struct rig *r, unsigned parent, struct err *e)
{
	const struct disk_io flush = { .op = DISK_FLUSH };
	struct disk *top = NULL, *to = NULL, *below = NULL;
	struct mover *m = NULL;
	int rc = 0;

	if (r->parent[parent] >= 0)
		rc = rig_open(r, r->host, (unsigned)r->parent[parent], true, &below, e);
	rc = rc < 0 ? rc : rig_open_one(r, r->host, parent, false, below, true, &to, e);
	rc = rc < 0 ? rc : rig_open_one(r, r->host, r->top, true, to, false, &top, e);
	if (rc < 0)
		return rc;
	rc = mover_new(&m, &(struct mover_how){ .from = top, .stop = to, .to = to }, e);
	rc = rc < 0 ? rc : mover_wait(m, 0, top->size, e);
	mover_free(m);
	rc = rc < 0 ? rc : disk_wait(to, &flush);
	rc = rc < 0 ? rc : disk_close(to, e);
	disk_free(top);
	return rc;
}

static inline void
work_next_id(const struct rig *r, uint8_t id[GUID_BYTES])
{
	memset(id, 0x5a, GUID_BYTES);
	memcpy(id, &r->flushes, sizeof(r->flushes));
}

static inline int
work_name_child(struct rig *r, struct disk_file *f, struct err *e)
{
	uint8_t id[GUID_BYTES];

	work_next_id(r, id);
	return r->f->set_parent_id2 ? r->f->set_parent_id2(f, id, e) : 0;
}

static inline int
work_name_parent(struct rig *r, struct disk_file *f, struct err *e)
{
	uint8_t id[GUID_BYTES];

	work_next_id(r, id);
	return r->f->set_data_id ? r->f->set_data_id(f, id, e) : 0;
}

/* One that failed before may have come so far. */
static inline int
work_prepare_merge(struct rig *r, unsigned parent, struct err *e)
{
	static struct disk_info child, info;
	int rc = rig_info(r, r->host, r->top, &child, e);

	rc = rc < 0 ? rc : rig_info(r, r->host, parent, &info, e);
	if (rc < 0 || disk_merge_is_prepared(&child, &info))
		return rc;
	rc = work_whole(r, r->top, work_name_child, e);
	return rc < 0 ? rc : work_whole(r, parent, work_name_parent, e);
}

/* As merge.c does it, which knows files by their paths. */
static inline void
work_merge(struct rig *r)
{
	unsigned long faults = r->faults;
	struct err e = { 0 };
	unsigned parent;
	int rc;

	if (r->parent[r->top] < 0)
		return;
	parent = (unsigned)r->parent[r->top];
	rc = work_prepare_merge(r, parent, &e);
	rc = rc < 0 ? rc : work_merge_into(r, parent, &e);
	if (rc == 0)
		r->top = parent;
	else if (!work_was_made_to(r, faults))
		RIG_FAIL(r, "merge: %d %s", rc, e.msg);
}

static inline int
work_set_size(struct rig *r, struct disk_file *f, struct err *e)
{
	return r->f->resize(f, r->model.to_size, NULL, e);
}

/* A child has its parent's size; and what was written behind the first end, while the disk was larger, is not
 * cut off. */
static inline bool
work_may_refuse(const struct rig *r)
{
	const struct model *m = &r->model;

	return r->parent[r->top] >= 0 ||
	       (m->to_size < m->size && (m->hot[m->n_hot - 1] + 1) * m->block > r->s->create.size);
}

/* If it is refused, nothing has changed. */
static inline void
work_resize(struct rig *r)
{
	struct model *m = &r->model;
	uint64_t first = r->s->create.size;
	unsigned long faults = r->faults;
	struct err e = { 0 };

	m->to_size = m->size == first ? first + (1 + rig_random(r, 3)) * m->block : first;
	if (work_twice(r, work_set_size, &faults, &e) == 0)
		m->size = m->to_size;
	else if (work_was_made_to(r, faults))
		return; /* either: it is opened next */
	else if (!work_may_refuse(r))
		RIG_FAIL(r, "resize to %llu: %s", (unsigned long long)m->to_size, e.msg);
	m->to_size = m->size;
}

static inline int
work_compact(struct rig *r, struct disk_file *f, struct err *e)
{
	return r->f->compact(f, NULL, e);
}

static inline void
work_shorten(struct rig *r)
{
	unsigned long faults = r->faults;
	struct err e = { 0 };

	if (work_twice(r, work_compact, &faults, &e) < 0 && !work_was_made_to(r, faults))
		RIG_FAIL(r, "compact: %s", e.msg);
}

static inline void
work_owner(struct rig *r)
{
	unsigned what = rig_random(r, 10);

	work_close(r, what >= 5 || rig_random(r, 2)); /* who makes a child of it flushes it */
	if (r->failed)
		return;
	RIG_TRACE(r, "closed; next: %u", what);
	if (what < 2)
		work_resize(r);
	else if (what < 5 && r->s->create.type != DISK_FIXED)
		work_shorten(r);
	else if (what >= 5 && what < 7)
		work_child(r);
	else if (what >= 7 && what < 9)
		work_merge(r);
	work_open(r);
}

/* --- A run --- */

static inline void
work_init(struct rig *r, const struct disk_format *f, const struct scenario *s, uint64_t seed)
{
	memset(r, 0, sizeof(*r));
	r->f = f;
	r->s = s;
	r->began_with = seed;
	r->host = memory_host_new();
	r->host->seed = seed;
	r->host->fault = rig_event;
	r->host->ctx = r;
	model_init(&r->model, s->create.block_size);
	r->model.size = r->model.to_size = s->create.size;
	r->model.n_hot = s->n_hot;
	memcpy(r->model.hot, s->hot, sizeof(r->model.hot));
	for (unsigned i = 0; i < RIG_DEPTH; i++) {
		r->slot[i].rig = r;
		r->slot[i].buffer = malloc(RIG_BUFFER);
		if (!r->slot[i].buffer)
			abort();
	}
}

static inline void
work_fini(struct rig *r)
{
	disk_free(r->disk);
	memory_host_free(r->host);
	for (unsigned i = 0; i < RIG_DEPTH; i++)
		free(r->slot[i].buffer);
	model_fini(&r->model);
}

static inline void
work_run(struct rig *r, unsigned rounds, unsigned requests)
{
	struct err e = { 0 };

	r->parent[r->n_files++] = -1;
	if (work_whole(r, 0, work_create, &e) < 0)
		RIG_FAIL(r, "create: %s", e.msg);
	r->began = true;
	work_open(r);
	for (unsigned i = 0; i < rounds && !r->failed; i++) {
		work_guest(r, requests);
		if (!r->failed)
			work_owner(r);
	}
	if (!r->failed && rig_random(r, 2))
		work_guest(r, requests); /* the power fails while it runs */
	if (!r->failed)
		work_drain(r);
	r->began = false;
	memory_run(r->host);
}

#endif
