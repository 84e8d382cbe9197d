/*
 * hypervisor/disk/vhdx_commit.c - beginning and ending the time in which a file's log counts, and changes
 * through it that wait for each step. What a live disk does of that without waiting takes its steps from
 * here.
 *
 * A beginning: an entry without pages that carries the new GUID comes first, while no header names it; then
 * both headers, one after the other. So a header never names a log without a whole entry.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhdx.h"

int
vhdx_writer_new(struct vhdx *v, struct err *e)
{
	struct vhdx_writer *w = &v->w;
	int rc;

	w->entry = aligned_alloc(VHDX_PAGE, (size_t)(VHDX_COMMIT_MAX + 1) * VHDX_PAGE);
	if (!w->entry)
		return err_set(e, ENOMEM, "VHDX: out of memory");
	rc = vhdx_random(w->file_write, GUID_BYTES, e);
	if (rc == 0)
		rc = vhdx_random(w->data_write, GUID_BYTES, e);
	if (rc == 0)
		rc = vhdx_random(w->log, GUID_BYTES, e);
	if (rc == 0)
		rc = vhdx_random(&w->sequence, sizeof(w->sequence), e);
	/* GUIDs of version 4; numbers with much room above them, and never zero. */
	w->file_write[7] = (uint8_t)((w->file_write[7] & 15) | 0x40);
	w->data_write[7] = (uint8_t)((w->data_write[7] & 15) | 0x40);
	w->log[7] = (uint8_t)((w->log[7] & 15) | 0x40);
	w->file_write[8] = (uint8_t)((w->file_write[8] & 63) | 0x80);
	w->data_write[8] = (uint8_t)((w->data_write[8] & 63) | 0x80);
	w->log[8] = (uint8_t)((w->log[8] & 63) | 0x80);
	w->sequence = (w->sequence >> 8) + 1;
	return rc;
}

/* --- Beginning --- */

static bool
both_clean(const struct vhdx *v)
{
	static const uint8_t none[GUID_BYTES];

	return v->header_ok[0] && v->header_ok[1] && memcmp(v->header[0].log, none, GUID_BYTES) == 0 &&
	       memcmp(v->header[1].log, none, GUID_BYTES) == 0;
}

int
vhdx_begin_step(struct vhdx *v, unsigned step, struct vhdx_header *h, struct iovec *what, uint64_t *where)
{
	struct vhdx_writer *w = &v->w;

	*what = (struct iovec){ h, sizeof(*h) };
	*where = vhdx_header_place(v);
	switch (step) {
	case BEGIN_SLOT: /* the other header may name an older log: it must not be there when the ring changes
			  */
		if (both_clean(v) || w->marked) {
			what->iov_len = 0;
			return 0;
		}
		return vhdx_next_header(v, h, NULL);
	case BEGIN_ENTRY:
		w->pages = 0;
		w->head = w->last = w->live = 0;
		w->durable = v->file_size;
		vhdx_build_entry(v, 0);
		*what = (struct iovec){ w->entry, w->length };
		*where = v->header[v->current].log_offset;
		return 0;
	default:
		w->marked = true;
		return vhdx_next_header(v, h, w->log);
	}
}

void
vhdx_begin_done(struct vhdx *v, unsigned step, const struct vhdx_header *h)
{
	if (step != BEGIN_ENTRY)
		vhdx_header_written(v, h);
	if (step != BEGIN_SECOND)
		return;
	v->w.sequence++;
	v->w.head = v->w.length;
	v->w.phase = WRITER_OPEN;
}

int
vhdx_begin(struct vhdx *v, bool data)
{
	_Alignas(VHDX_PAGE) struct vhdx_header h;
	struct iovec what;
	uint64_t where;
	int rc = 0;

	v->w.data = data;
	for (unsigned step = 0; rc == 0 && step < BEGIN_STEPS; step++) {
		rc = vhdx_begin_step(v, step, &h, &what, &where);
		if (rc < 0 || !what.iov_len)
			continue;
		rc = file_put(v->file, what.iov_base, what.iov_len, where, v->err);
		if (rc == 0)
			rc = file_sync(v->file, v->err);
		if (rc == 0)
			vhdx_begin_done(v, step, &h);
	}
	return rc;
}

/* --- Changing --- */

uint8_t *
vhdx_change(struct vhdx *v, uint64_t off)
{
	struct vhdx_writer *w = &v->w;
	uint64_t home = off & ~(uint64_t)(VHDX_PAGE - 1);

	for (unsigned i = 0; i < w->pages; i++)
		if (w->home[i] == home)
			return vhdx_entry_page(v, i);
	if (w->pages == VHDX_COMMIT_MAX) {
		err_set(v->err, E2BIG, "VHDX: too much to be changed at a time");
		return NULL;
	}
	if (file_get(v->file, vhdx_entry_page(v, w->pages), VHDX_PAGE, home, v->err) < 0)
		return NULL;
	w->home[w->pages] = home;
	return vhdx_entry_page(v, w->pages++);
}

int
vhdx_change_bytes(struct vhdx *v, uint64_t off, const void *p, size_t n)
{
	const uint8_t *from = p;

	while (n) {
		size_t in = off % VHDX_PAGE, m = VHDX_PAGE - in < n ? VHDX_PAGE - in : n;
		uint8_t *page = vhdx_change(v, off);

		if (!page)
			return -EIO;
		memcpy(page + in, from, m);
		from += m;
		off += m;
		n -= m;
	}
	return 0;
}

static int
put_ring(struct vhdx *v, uint32_t at)
{
	const struct vhdx_header *h = &v->header[v->current];
	uint32_t first = h->log_length - at < v->w.length ? h->log_length - at : v->w.length;
	int rc = file_put(v->file, v->w.entry, first, h->log_offset + at, v->err);

	if (rc == 0 && first < v->w.length)
		rc = file_put(v->file, v->w.entry + first, v->w.length - first, h->log_offset, v->err);
	return rc;
}

static int
put_homes(struct vhdx *v)
{
	int rc = 0;

	vhdx_entry_pages(v);
	for (unsigned i = 0; rc == 0 && i < v->w.pages; i++)
		rc = file_put(v->file, vhdx_entry_page(v, i), VHDX_PAGE, v->w.home[i], v->err);
	return rc == 0 ? file_sync(v->file, v->err) : rc;
}

/* Pages of a live disk's last commit for which the host had no room. */
int
vhdx_settle_now(struct vhdx *v)
{
	int rc = v->w.homeless ? put_homes(v) : 0;

	if (rc == 0)
		v->w.homeless = v->w.pages = 0;
	return rc;
}

/*
 * Everything is at home before, so that the new entry needs no other: its tail is itself. The last one stays
 * where it is until the new one is safe: together they are smaller than the ring.
 */
int
vhdx_commit(struct vhdx *v)
{
	struct vhdx_writer *w = &v->w;
	int rc = file_sync(v->file, v->err);

	if (rc < 0)
		return rc;
	w->durable = v->file_size;
	vhdx_collect(v);
	w->committing = 0;
	if (!w->pages)
		return 0;
	vhdx_build_entry(v, w->head);
	rc = put_ring(v, w->head);
	if (rc == 0)
		rc = file_sync(v->file, v->err);
	if (rc == 0)
		rc = put_homes(v);
	w->sequence++;
	w->last = w->live = w->head;
	w->head = (uint32_t)(((uint64_t)w->head + w->length) % v->header[v->current].log_length);
	w->pages = 0;
	return rc;
}

int
vhdx_end(struct vhdx *v)
{
	int rc = vhdx_update_headers(v, NULL);

	if (rc == 0) {
		v->w.marked = false;
		v->w.phase = WRITER_IDLE;
	}
	return rc;
}

/* --- Operations on whole files --- */

int
vhdx_take(struct vhdx *v, struct disk_file *f, struct err *e)
{
	err_set(e, EIO, "VHDX: it could not be changed");
	*v = (struct vhdx){ .file = f, .blocking = true, .err = e };
	return vhdx_load(v);
}

int
vhdx_give_back(struct vhdx *v, int rc)
{
	vhdx_drop(v);
	return rc;
}
