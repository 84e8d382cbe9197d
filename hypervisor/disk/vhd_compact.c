/*
 * hypervisor/disk/vhd_compact.c - makes a VHD's file as short as what is in it: blocks without content leave
 * the table, the highest blocks move into gaps further down, the rest of the file is cut off.
 *
 * A block's copy is durable before the table names it, and a place that was left is not used again: what is
 * still to be moved lies below it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhd.h"

enum { BATCH = 32 }; /* blocks that move between two flushes */

struct compaction {
	struct vhd *v;
	const struct disk_progress *p;
	struct vhd_extent fixture[VHD_FIXTURES];
	unsigned fixtures;
	uint64_t *place; /* all blocks as they lay at the beginning */
	uint32_t low;    /* the first of them that ends behind `at` */
	uint32_t high;   /* how many have not moved */
	uint64_t at;     /* gaps are looked for from here */
};

static bool
cancelled(const struct disk_progress *p, const char *phase, uint64_t done, uint64_t total)
{
	return p && p->step(p->ctx, phase, done, total);
}

/* --- Blocks without content -------------------------------------------------------------------------- */

static int
give_up(struct vhd *v, const struct disk_progress *p, struct err *e)
{
	bool any = false;

	for (uint32_t i = 0; i < v->header.entries; i++) {
		int rc;

		if (vhd_entry(v, i) == VHD_ABSENT)
			continue;
		if (cancelled(p, "looking for empty blocks", i, v->header.entries))
			return err_set(e, ECANCELED, "cancelled");
		rc = i >= v->blocks ? 1 : vhd_is_blank(v, i, 0, e);
		if (rc > 0) {
			vhd_set_entry(v, i, VHD_ABSENT);
			rc = vhd_write_entry(v, i, e);
			any = true;
		}
		if (rc < 0)
			return rc;
	}
	/* Their places are about to be used. */
	return any ? file_sync(v->file, e) : 0;
}

/* --- Gaps -------------------------------------------------------------------------------------------- */

/* What lies nearest in [at, at+len), if anything does: where it ends, else 0. */
static uint64_t
in_the_way(struct compaction *c, uint64_t at, uint64_t len)
{
	uint64_t span = vhd_span(c->v), from;

	for (unsigned i = 0; i < c->fixtures; i++)
		if (at < c->fixture[i].at + c->fixture[i].len && c->fixture[i].at < at + len)
			return c->fixture[i].at + c->fixture[i].len;
	while (c->low < c->v->allocated && (c->place[c->low] >> 32) * VHD_SECTOR + span <= c->at)
		c->low++;
	if (c->low == c->v->allocated)
		return 0;
	from = (c->place[c->low] >> 32) * VHD_SECTOR;
	return from < at + len ? from + span : 0;
}

/* The lowest gap for a block, aligned if it can be; below `limit`, or 0. */
static uint64_t
next_gap(struct compaction *c, uint64_t limit)
{
	uint64_t span = vhd_span(c->v);

	while (c->at + span <= limit) {
		uint64_t aligned = vhd_place(c->v, c->at), found = c->at, way;

		way = in_the_way(c, c->at, span);
		if (way) {
			c->at = (way + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
			continue;
		}
		if (aligned + span <= limit && !in_the_way(c, aligned, span))
			found = aligned;
		c->at = found + span;
		return found;
	}
	return 0;
}

/* --- Moving ------------------------------------------------------------------------------------------ */

/* Copies, one flush, the table, one flush. */
static int
move_batch(struct compaction *c, const uint32_t *block, const uint64_t *to, unsigned n, struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; i < n && rc == 0; i++)
		rc = vhd_copy_block(c->v, block[i], to[i], e);
	if (rc == 0)
		rc = file_sync(c->v->file, e);
	for (unsigned i = 0; i < n && rc == 0; i++) {
		vhd_set_entry(c->v, block[i], (uint32_t)(to[i] / VHD_SECTOR));
		rc = vhd_write_entry(c->v, block[i], e);
	}
	return rc < 0 ? rc : file_sync(c->v->file, e);
}

/* The highest blocks and the lowest gaps, until they meet. */
static unsigned
choose(struct compaction *c, uint32_t block[BATCH], uint64_t to[BATCH])
{
	unsigned n = 0;

	while (n < BATCH && c->high > 0) {
		uint64_t last = c->place[c->high - 1];

		to[n] = next_gap(c, (last >> 32) * VHD_SECTOR);
		if (to[n] == 0)
			break;
		block[n++] = (uint32_t)last;
		c->high--;
	}
	return n;
}

static int
move_down(struct compaction *c, struct err *e)
{
	uint32_t block[BATCH];
	uint64_t to[BATCH];
	unsigned n;
	int rc = 0;

	while (rc == 0 && (n = choose(c, block, to)) > 0) {
		if (cancelled(c->p, "moving blocks", c->v->allocated - c->high, c->v->allocated))
			return err_set(e, ECANCELED, "cancelled");
		rc = move_batch(c, block, to, n, e);
	}
	return rc;
}

static int
move_all(struct vhd *v, const struct disk_progress *p, struct err *e)
{
	struct compaction c = { .v = v, .p = p, .at = VHD_FOOTER };
	int rc;

	vhd_recount(v);
	c.place = vhd_sorted(v);
	if (!c.place)
		return err_set(e, ENOMEM, "no memory for the places of %u blocks", v->allocated);
	c.fixtures = vhd_fixtures(v, c.fixture);
	c.high = v->allocated;
	rc = move_down(&c, e);
	free(c.place);
	return rc;
}

int
vhd_compact(struct disk_file *f, const struct disk_progress *p, struct err *e)
{
	struct vhd v;
	int rc = vhd_load_to_change(&v, f, e), cut;

	if (rc < 0)
		return rc;
	if (v.footer.type == VHD_FIXED) {
		vhd_unload(&v);
		return err_set(e, ENOTSUP, "a fixed disk keeps its space: convert it to a dynamic one");
	}
	rc = give_up(&v, p, e);
	if (rc == 0)
		rc = move_all(&v, p, e);
	vhd_recount(&v);
	/* What has been done so far is worth it when the rest is given up. */
	if (rc == 0 || rc == -ECANCELED) {
		cut = vhd_cut(&v, rc < 0 ? NULL : e);
		rc = rc < 0 ? rc : cut;
	}
	vhd_unload(&v);
	return rc;
}
