/*
 * hypervisor/disk/vhdx_check.c - naming everything that is wrong with an image, and repairing what needs no
 * guess: a header or region table from its other copy, a log that was not replayed, the end of the file.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhdx.h"

enum { PROGRESS_PAGES = 256 };

/* --- The block table --- */

struct walk {
	struct vhdx *v;
	bool partial;      /* the chunk has a block that is only partly here */
	uint64_t stale;    /* entries behind the last one that are not zero */
	uint64_t lost;     /* fixed: blocks without a place */
	uint64_t end;      /* of the last owner */
	bool placed_zeros; /* blocks of zeros with a place */
	uint64_t anchored; /* blocks that only keep their place */
};

static void
fault_entry(struct vhdx *v, enum disk_fault_kind kind, uint64_t index, uint64_t entry, const char *why)
{
	bool bitmap = vhdx_is_bitmap(v, index);

	vhdx_fault(v, kind, "%s %llu (block table, entry %llu at offset %#llx: %#llx): %s",
	    bitmap ? "bitmap of chunk" : "block",
	    (unsigned long long)(bitmap ? index / (v->ratio + 1) : index - index / (v->ratio + 1)),
	    (unsigned long long)index, (unsigned long long)(v->bat.offset + index * 8),
	    (unsigned long long)entry, why);
}

static void
own(struct walk *w, uint64_t index, uint64_t entry)
{
	struct vhdx *v = w->v;
	uint64_t space = vhdx_entry_space(v, index, entry), at = entry & ENTRY_OFFSET;

	if (!space)
		return;
	vhdx_space_mark(v, at, space, true);
	if (at + space > v->replayed)
		fault_entry(v, DISK_REPAIRABLE, index, entry, "the file ends within it");
	if (at + space > w->end)
		w->end = at + space;
}

static void
walk_entry(struct walk *w, uint64_t index, uint64_t entry)
{
	struct vhdx *v = w->v;
	uint64_t state = entry & ENTRY_STATE;
	const char *why = vhdx_entry_fault(v, index, entry);

	if (why) {
		fault_entry(v, DISK_DAMAGE, index, entry, why);
		return;
	}
	own(w, index, entry);
	if (vhdx_is_bitmap(v, index)) {
		if (w->partial && state != BLOCK_FULL)
			fault_entry(
			    v, DISK_DAMAGE, index, entry, "blocks need this bitmap, but it has no place");
		w->partial = false;
		return;
	}
	v->check->blocks++;
	w->placed_zeros |= state == BLOCK_ZERO && entry & ENTRY_OFFSET;
	if (state == BLOCK_ZERO && entry & ENTRY_OFFSET)
		fault_entry(
		    v, DISK_REPAIRABLE, index, entry, "a block of zeros has a place, which Windows refuses");
	w->partial |= state == BLOCK_PARTIAL;
	if (state == BLOCK_FULL || state == BLOCK_PARTIAL)
		v->check->allocated++;
	else if (vhdx_entry_space(v, index, entry))
		w->anchored++;
	else
		w->lost++;
}

static int
walk_table(struct walk *w, const struct disk_progress *p)
{
	struct vhdx *v = w->v;
	static const uint64_t none[VHDX_ENTRIES];
	uint64_t e[VHDX_ENTRIES], all = v->bat.length / 8, payload;

	for (uint64_t index = 0; index < all; index += VHDX_ENTRIES) {
		int rc = vhdx_get(v, e, sizeof(e), v->bat.offset + index * 8);

		if (rc < 0)
			return rc;
		if (index >= v->entries && memcmp(e, none, sizeof(e)) == 0)
			continue; /* most of a region that is larger than it need be */
		for (unsigned i = 0; i < VHDX_ENTRIES; i++) {
			payload = index + i - (index + i) / (v->ratio + 1);
			if (index + i >= v->entries ||
			    (!vhdx_is_bitmap(v, index + i) && payload >= v->blocks))
				w->stale += e[i] != 0;
			else
				walk_entry(w, index + i, e[i]);
		}
		if (index / VHDX_ENTRIES % PROGRESS_PAGES == 0 && vhdx_cancelled(p, "check", index, all))
			return err_set(v->err, ECANCELED, "stopped");
	}
	return 0;
}

/* --- All of it --- */

static uint64_t
regions_end(const struct vhdx *v)
{
	const struct vhdx_header *h = &v->header[v->current];
	uint64_t end = h->log_offset + h->log_length;
	struct vhdx_region_head head;
	struct vhdx_region r;

	memcpy(&head, v->regions, sizeof(head));
	for (unsigned i = 0; i < head.count; i++) {
		memcpy(&r, v->regions + sizeof(head) + i * sizeof(r), sizeof(r));
		if (r.offset + r.length > end)
			end = r.offset + r.length;
	}
	return end;
}

static uint64_t
free_inside(const struct vhdx *v, uint64_t end)
{
	uint64_t n = 0;

	for (uint64_t at = 0; at + VHDX_MIB <= end; at += VHDX_MIB)
		n += vhdx_space_free(v, at, VHDX_MIB);
	return n;
}

static void
judge(struct walk *w)
{
	struct vhdx *v = w->v;
	uint64_t lost = free_inside(v, w->end);

	if (w->stale)
		vhdx_fault(v, DISK_NOTE, "block table: %llu entries behind the last block are not zero",
		    (unsigned long long)w->stale);
	if (v->fixed && w->lost)
		vhdx_fault(v, DISK_NOTE,
		    "the image is fixed, but %llu of its %llu blocks have no place in the file",
		    (unsigned long long)w->lost, (unsigned long long)v->blocks);
	if (v->replayed > w->end)
		vhdx_fault(v, DISK_NOTE,
		    "%llu bytes behind offset %#llx, at the end of the file, belong to nobody",
		    (unsigned long long)(v->replayed - w->end), (unsigned long long)w->end);
	if (lost)
		vhdx_fault(v, DISK_NOTE,
		    "%llu MiB within the file belong to nobody: a compact gives them back",
		    (unsigned long long)lost);
	if (w->anchored)
		vhdx_fault(v, DISK_NOTE,
		    "%llu blocks were trimmed and keep their place: a compact gives them back",
		    (unsigned long long)w->anchored);
}

static int
look(struct vhdx *v, struct walk *w, const struct disk_progress *p)
{
	int rc = vhdx_load(v);

	if (rc < 0)
		return rc;
	if (v->was_dirty)
		vhdx_fault(v, DISK_REPAIRABLE, "the file was not closed: its log is to be replayed");
	*w = (struct walk){ .v = v, .end = regions_end(v) };
	rc = walk_table(w, p);
	if (rc == 0)
		judge(w);
	return rc;
}

/* --- Repair --- */

static void
repaired(struct disk_check *c, const char *text)
{
	c->faults[DISK_REPAIRED]++;
	if (c->found)
		c->found(c->ctx, DISK_REPAIRED, text);
}

static int
repair_regions(struct vhdx *v, struct disk_check *c)
{
	unsigned bad = v->region_ok[0] ? 1 : 0;
	int rc;

	if (v->region_ok[0] && v->region_ok[1])
		return 0;
	rc = vhdx_begin(v, false);
	if (rc == 0)
		rc = vhdx_change_bytes(v, VHDX_REGION_AT + bad * (uint64_t)VHDX_COPY, v->regions, VHDX_COPY);
	if (rc == 0)
		rc = vhdx_commit(v);
	if (rc == 0)
		rc = vhdx_end(v);
	if (rc == 0)
		repaired(c, bad ? "region table 2 was written again from region table 1"
				: "region table 1 was written again from region table 2");
	return rc;
}

/* Blocks of zeros have no place. */
static int
repair_zeros(struct vhdx *v, struct disk_check *c)
{
	bool begun = false;
	int rc = vhdx_read_bat(v);

	for (uint64_t b = 0; rc == 0 && b < v->blocks; b++) {
		uint64_t index = vhdx_block_index(v, b), *e;

		rc = vhdx_entry(v, index, &e);
		if (rc < 0 || (*e & ENTRY_STATE) != BLOCK_ZERO || *e == BLOCK_ZERO)
			continue;
		vhdx_set_entry(v, index, BLOCK_ZERO);
		if (!begun)
			rc = vhdx_begin(v, false);
		begun = true;
		if (rc == 0 && v->w.dirties == VHDX_COMMIT_CAP)
			rc = vhdx_commit(v);
	}
	if (rc < 0 || !begun)
		return rc;
	rc = vhdx_commit(v);
	if (rc == 0)
		rc = vhdx_end(v);
	if (rc == 0)
		repaired(c, "blocks of zeros have no place any more");
	return rc;
}

/* The file ends where the last owner does. */
static int
repair_end(struct vhdx *v, const struct walk *w, struct disk_check *c)
{
	uint64_t end = round_up(w->end, VHDX_MIB);
	int rc;

	if (v->file_size == end || (v->file_size < end && end - v->file_size > v->block_size))
		return 0;
	rc = file_truncate(v->file, end, v->err);
	if (rc == 0)
		rc = file_sync(v->file, v->err);
	if (rc == 0)
		repaired(c, v->file_size > end ? "the file was cut behind its last block"
					       : "the file was made as long as its last block needs");
	return rc;
}

static int
repair(
    struct disk_file *f, struct disk_check *c, const struct vhdx *seen, const struct walk *w, struct err *e)
{
	struct vhdx v;
	bool headers = seen->header_ok[0] && seen->header_ok[1];
	int rc = vhdx_take(&v, f, e);

	if (rc == 0 && v.was_dirty)
		repaired(c, "the log was replayed");
	if (rc == 0 && !headers) {
		if (!v.was_dirty)
			rc = vhdx_update_headers(&v, NULL);
		if (rc == 0)
			repaired(c, "the damaged header was written again from the other");
	}
	if (rc == 0)
		rc = repair_regions(&v, c);
	/* Only if every entry could be believed is it known where the last block ends. */
	if (rc == 0 && !seen->check->faults[DISK_DAMAGE]) {
		if (w->placed_zeros)
			rc = repair_zeros(&v, c);
		if (rc == 0)
			rc = repair_end(&v, w, c);
	}
	return vhdx_give_back(&v, rc);
}

/* What there is to be repaired is found in silence first; what is left is told after it. */
static int
look_and_repair(struct disk_file *f, struct disk_check *c, const struct disk_progress *p, struct err *e)
{
	struct disk_check silent = { .repair = true };
	struct vhdx *v = calloc(1, sizeof(*v));
	struct walk w = { NULL };
	int rc;

	if (!v)
		return err_set(e, ENOMEM, "VHDX: out of memory");
	v->file = f;
	v->read_only = v->blocking = true;
	v->check = &silent;
	v->err = e;
	rc = look(v, &w, p);
	if (rc == 0)
		rc = repair(f, c, v, &w, e);
	vhdx_drop(v);
	free(v);
	return rc;
}

int
vhdx_check(struct disk_file *f, struct disk_check *c, const struct disk_progress *p, struct err *e)
{
	struct vhdx *v = calloc(1, sizeof(*v));
	struct walk w;
	int rc;

	if (!v)
		return err_set(e, ENOMEM, "VHDX: out of memory");
	rc = c->repair ? look_and_repair(f, c, p, e) : 0;
	v->file = f;
	v->read_only = v->blocking = true;
	v->check = c;
	v->err = e;
	if (rc != -ECANCELED)
		rc = look(v, &w, p);
	vhdx_drop(v);
	free(v);
	return rc < 0 && rc != -ECANCELED && c->faults[DISK_DAMAGE] ? 0 : rc;
}
