/*
 * hypervisor/disk/vhdx_open.c - reading a VHDX file as a whole, opening it as a disk, saying what it is.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "hypervisor/disk/vhdx.h"
#include "lib/log.h"

enum { FAULTS_SAID = 1000 };    /* of a kind, by a check: a hostile table has millions */
enum { SMALL_TABLE = 1 << 20 }; /* is read at once: damage shows when it is opened */

int
vhdx_fault(struct vhdx *v, enum disk_fault_kind kind, const char *fmt, ...)
{
	char text[ERR_MSG_SIZE];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (v->check) {
		if (++v->check->faults[kind] <= FAULTS_SAID && v->check->found)
			v->check->found(v->check->ctx, kind, text);
	}
	if (kind == DISK_DAMAGE && !v->check && !v->err)
		log_msg(LOG_ERROR, "VHDX: %s", text);
	return kind == DISK_DAMAGE ? err_set(v->err, EINVAL, "%s", text) : -EINVAL;
}

void
vhdx_guid(uint8_t to[GUID_BYTES], const uint8_t from[GUID_BYTES])
{
	static const uint8_t order[GUID_BYTES] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	uint8_t turned[GUID_BYTES];

	for (unsigned i = 0; i < GUID_BYTES; i++)
		turned[i] = from[order[i]];
	memcpy(to, turned, GUID_BYTES);
}

int
vhdx_random(void *p, size_t n, struct err *e)
{
	return getrandom(p, n, 0) == (ssize_t)n ? 0 : err_sys(e, "random numbers");
}

int
vhdx_get(struct vhdx *v, void *buf, size_t len, uint64_t off)
{
	uint64_t there = off < v->file_size ? v->file_size - off : 0;
	int rc;

	if (!v->n_patches)
		return file_get(v->file, buf, len, off, v->err);
	if (there > len)
		there = len;
	memset((uint8_t *)buf + there, 0, len - there);
	rc = there ? file_get(v->file, buf, there, off, v->err) : 0;
	if (rc == 0)
		vhdx_patch(v, buf, len, off);
	return rc;
}

/* --- Loading --- */

static const uint8_t *
log_guid(const struct vhdx *v)
{
	return v->header[v->current].log;
}

/* Replays what has not come home: 2.3.3. The headers say first that somebody writes, and last that it is
 * done. */
static int
recover(struct vhdx *v)
{
	struct vhdx_sequence s;
	int rc = vhdx_find_sequence(v, &s);

	if (rc == 0 && !v->read_only) {
		uint8_t log[GUID_BYTES];

		memcpy(log, log_guid(v), GUID_BYTES);
		rc = vhdx_update_headers(v, log);
	}
	if (rc == 0)
		rc = vhdx_replay(v, &s);
	if (rc == 0 && !v->read_only)
		rc = vhdx_update_headers(v, NULL);
	return rc;
}

int
vhdx_load(struct vhdx *v)
{
	int rc = file_size(v->file, &v->file_size, v->err);

	v->replayed = v->file_size;
	if (rc < 0)
		return rc;
	if (v->file_size < VHDX_HEADERS_END)
		return vhdx_fault(v, DISK_DAMAGE,
		    "no VHDX file: it has %llu bytes, and the headers alone take 1 MiB",
		    (unsigned long long)v->file_size);
	if (v->file_size > VHDX_FILE_MAX)
		return vhdx_fault(v, DISK_DAMAGE, "the file has %llu bytes, where 256 TiB are the most",
		    (unsigned long long)v->file_size);
	/* What is read now is built on: it has to be on the disk, not only in the memory of the host, whose
	 * last flush may have failed, or was never asked for by somebody who was killed. */
	rc = v->read_only ? 0 : file_sync(v->file, v->err);
	if (rc == 0 && !v->read_only)
		rc = vhdx_writer_new(v, v->err);
	if (rc == 0)
		rc = vhdx_read_identifier(v, NULL);
	if (rc == 0)
		rc = vhdx_read_headers(v);
	if (rc == 0 && v->was_dirty)
		rc = recover(v);
	if (rc == 0)
		rc = vhdx_read_regions(v);
	if (rc == 0)
		rc = vhdx_read_metadata(v);
	return rc < 0 ? rc : vhdx_tables_new(v);
}

void
vhdx_drop(struct vhdx *v)
{
	for (unsigned i = 0; i < v->n_patches; i++)
		free(v->patches[i].page);
	free(v->patches);
	free(v->regions);
	free(v->items);
	free(v->locator);
	free(v->w.entry);
	if (v->table[TABLE_BAT].count)
		vhdx_tables_free(v);
}

/* --- As a disk --- */

int
vhdx_disk_extent(struct disk *d, uint64_t offset, uint64_t len, struct extent *x, struct err *e)
{
	struct vhdx *v = (struct vhdx *)d;
	int rc;

	err_set(e, EIO, "VHDX: the tables cannot be read");
	v->blocking = true;
	v->err = e;
	rc = vhdx_map(v, offset, len, x);
	v->blocking = false;
	v->err = NULL;
	return rc;
}

static int
close_now(struct vhdx *v)
{
	int rc;

	if (v->image.poisoned)
		return err_set(v->err, EIO,
		    "VHDX: its tables could not be written; what is in the log is replayed when it is "
		    "opened again");
	if (!v->w.marked)
		return 0;
	rc = vhdx_settle_now(v);
	if (rc == 0)
		rc = vhdx_commit(v);
	if (rc == 0)
		rc = vhdx_end(v);
	if (rc == 0 && v->next < v->file_size) {
		rc = file_truncate(v->file, v->next, v->err);
		v->file_size = v->next;
		if (rc == 0)
			rc = file_sync(v->file, v->err);
	}
	return rc;
}

int
vhdx_disk_close(struct disk *d, struct err *e)
{
	struct vhdx *v = (struct vhdx *)d;
	int rc;

	v->err = e;
	v->blocking = true;
	rc = v->read_only ? 0 : close_now(v);
	v->err = NULL;
	v->blocking = false;
	return rc;
}

void
vhdx_disk_free(struct disk *d)
{
	struct vhdx *v = (struct vhdx *)d;

	disk_free(d->parent);
	vhdx_drop(v);
	file_free(v->file);
	free(v);
}

static void
describe(struct vhdx *v, const struct disk_open *how)
{
	struct disk *d = &v->image.disk;

	*d = (struct disk){ .loop = how->loop,
		.file = how->file,
		.parent = how->parent,
		.size = v->size,
		.logical = v->logical,
		.physical = v->physical,
		.read_only = how->read_only,
		.can_discard = !v->fixed && !how->read_only,
		.discard_granularity = v->child || !how->file->can_punch ? v->block_size : VHDX_PAGE };
	d->discard_zeroes = d->can_discard && !v->child && how->file->can_punch;
}

static int
check_parent(struct vhdx *v, const struct disk_open *how, struct err *e)
{
	if (v->child && !how->parent)
		return err_set(e, EINVAL, "a differencing VHDX needs its parent to be opened");
	if (!v->child && how->parent)
		return err_set(e, EINVAL, "a VHDX without a parent was given one");
	if (how->parent && how->parent->logical != v->logical)
		return err_set(e, EINVAL, "its sectors have %u bytes, but its parent's %u", v->logical,
		    how->parent->logical);
	return 0;
}

int
vhdx_open(struct disk **out, const struct disk_open *how, struct err *e)
{
	struct vhdx *v = calloc(1, sizeof(*v));
	int rc;

	if (!v)
		return err_set(e, ENOMEM, "VHDX: out of memory");
	v->file = how->file;
	v->read_only = how->read_only;
	v->blocking = true;
	v->err = e;
	rc = vhdx_load(v);
	v->w.data = !how->keep_data_id;
	if (rc == 0)
		rc = check_parent(v, how, e);
	if (rc == 0 && v->entries <= SMALL_TABLE / 8)
		rc = vhdx_read_bat(v);
	if (rc == 0) {
		describe(v, how);
		rc = image_init(&v->image, &vhdx_image_ops, e);
	}
	if (rc < 0) {
		vhdx_drop(v);
		free(v);
		return rc;
	}
	v->blocking = false;
	v->err = NULL;
	*out = &v->image.disk;
	return 0;
}

/* --- What it says --- */

static void
link_guid(uint8_t to[GUID_BYTES], const struct vhdx *v, const char *key)
{
	char text[64];

	if (vhdx_locator_get(v->locator, v->locator_length, key, text, sizeof(text)) != 1 ||
	    strlen(text) != GUID_TEXT + 2)
		return;
	text[GUID_TEXT + 1] = '\0';
	if (!guid_parse(text + 1, to))
		memset(to, 0, GUID_BYTES);
}

static void
parent_info(const struct vhdx *v, struct disk_info *out)
{
	static const char *const which[] = { "relative_path", "volume_path", "absolute_win32_path" };

	link_guid(out->parent_id, v, "parent_linkage");
	link_guid(out->parent_id2, v, "parent_linkage2");
	for (unsigned i = 0; i < sizeof(which) / sizeof(which[0]); i++) {
		struct disk_parent_path *p = &out->parent_path[out->parent_paths];

		if (vhdx_locator_get(v->locator, v->locator_length, which[i], p->path, sizeof(p->path)) != 1)
			continue;
		snprintf(p->which, sizeof(p->which), "%s", which[i]);
		out->parent_paths++;
	}
}

static int
count_allocated(struct vhdx *v, uint64_t *allocated)
{
	int rc = vhdx_read_bat(v);

	for (uint64_t b = 0; rc == 0 && b < v->blocks; b++) {
		uint64_t *e, state;

		rc = vhdx_entry(v, vhdx_block_index(v, b), &e);
		if (rc < 0)
			return rc;
		state = *e & ENTRY_STATE;
		if (state == BLOCK_FULL || state == BLOCK_PARTIAL)
			*allocated += v->block_size;
	}
	return rc;
}

static void
fill_info(const struct vhdx *v, struct disk_info *out)
{
	out->format = DISK_VHDX;
	out->type = v->child ? DISK_DIFFERENCING : v->fixed ? DISK_FIXED : DISK_DYNAMIC;
	out->size = v->size;
	out->file_size = v->file_size;
	out->block_size = v->block_size;
	out->logical = v->logical;
	out->physical = v->physical;
	out->dirty = v->was_dirty;
	vhdx_guid(out->id, v->page83);
	vhdx_guid(out->data_id, v->header[v->current].data_write);
	if (v->child)
		parent_info(v, out);
}

int
vhdx_info(struct disk_file *f, struct disk_info *out, struct err *e)
{
	struct vhdx *v = calloc(1, sizeof(*v));
	int rc;

	if (!v)
		return err_set(e, ENOMEM, "VHDX: out of memory");
	*out = (struct disk_info){ 0 };
	v->file = f;
	v->read_only = v->blocking = true;
	v->err = e;
	rc = vhdx_load(v);
	if (rc == 0)
		rc = vhdx_read_identifier(v, out->creator);
	if (rc == 0)
		rc = count_allocated(v, &out->allocated);
	if (rc == 0)
		fill_info(v, out);
	vhdx_drop(v);
	free(v);
	return rc;
}
