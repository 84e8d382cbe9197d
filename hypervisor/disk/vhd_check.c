/*
 * hypervisor/disk/vhd_check.c - looks at all that a VHD's tables say, names what is wrong, and repairs what
 * does not have to be guessed: footers from each other, and what a crash left behind the last block.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhd.h"

enum {
	SENTENCE = 240,
	SENTENCES = 1000, /* more of a kind are only counted */
	LOOK = 1024,      /* blocks between two looks at progress */
};

__attribute__((format(printf, 3, 4))) static void
say(struct disk_check *c, enum disk_fault_kind kind, const char *fmt, ...)
{
	char text[SENTENCE];
	va_list ap;

	if (c->faults[kind]++ >= SENTENCES)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->found(c->ctx, kind, text);
}

/* --- Blocks that cannot be where they are ------------------------------------------------------------ */

static void
look_at_place(
    struct disk_check *c, const struct vhd *v, uint32_t block, const struct vhd_extent *x, unsigned n)
{
	uint64_t at = (uint64_t)vhd_entry(v, block) * VHD_SECTOR, end = at + vhd_span(v);
	uint64_t file = v->faults & VHD_NO_TRAILER ? v->file_size : v->trailer;

	if (end > file)
		say(c, DISK_DAMAGE, "block %u would lie at offset %llu up to %llu: the file ends at %llu",
		    block, (unsigned long long)at, (unsigned long long)end, (unsigned long long)file);
	for (unsigned i = 0; i < n; i++)
		if (at < x[i].at + x[i].len && x[i].at < end)
			say(c, DISK_DAMAGE, "block %u at offset %llu and %s at offset %llu overlap", block,
			    (unsigned long long)at, x[i].what, (unsigned long long)x[i].at);
}

static int
look_at_overlaps(struct disk_check *c, const struct vhd *v)
{
	uint64_t *place = vhd_sorted(v);

	if (!place)
		return -ENOMEM;
	for (uint32_t i = 1; i < v->allocated; i++)
		if ((place[i] >> 32) - (place[i - 1] >> 32) < vhd_span(v) / VHD_SECTOR)
			say(c, DISK_DAMAGE, "blocks %u and %u overlap: they lie at sectors %llu and %llu",
			    (uint32_t)place[i - 1], (uint32_t)place[i],
			    (unsigned long long)(place[i - 1] >> 32), (unsigned long long)(place[i] >> 32));
	free(place);
	return 0;
}

/* `why` is the first thing that was wrong; here all blocks are named that are. */
static int
look_at_damage(struct disk_check *c, struct disk_file *f, const struct err *why)
{
	struct vhd_extent x[VHD_FIXTURES];
	struct vhd v;
	unsigned n, before = c->faults[DISK_DAMAGE];
	int rc = vhd_load_loosely(&v, f, NULL);

	if (rc == 0 && v.footer.type != VHD_FIXED) {
		n = vhd_fixtures(&v, x);
		c->blocks = v.blocks;
		c->allocated = v.allocated;
		for (uint32_t i = 0; i < v.header.entries; i++)
			if (vhd_entry(&v, i) != VHD_ABSENT)
				look_at_place(c, &v, i, x, n);
		rc = look_at_overlaps(c, &v);
	}
	if (c->faults[DISK_DAMAGE] == before)
		say(c, DISK_DAMAGE, "%s", why->msg);
	if (rc == 0)
		vhd_unload(&v);
	return rc == -ENOMEM ? rc : 0;
}

/* --- What is odd, but no damage ---------------------------------------------------------------------- */

/* Whether the bitmap of a present block has a clear bit in what belongs to the disk. */
static int
has_gaps(const struct vhd *v, uint32_t block, uint8_t *map, struct err *e)
{
	uint64_t left = v->footer.size - (uint64_t)block * v->header.block_size;
	uint32_t n = (uint32_t)((left < v->header.block_size ? left : v->header.block_size) / VHD_SECTOR);
	int rc = file_get(v->file, map, v->bitmap, (uint64_t)vhd_entry(v, block) * VHD_SECTOR, e);

	for (uint32_t i = 0; i < n && rc == 0; i++)
		rc = !(map[i / 8] & 0x80 >> i % 8);
	return rc;
}

static int
look_at_bitmaps(struct disk_check *c, const struct vhd *v, const struct disk_progress *p)
{
	uint8_t *map = malloc(v->bitmap);
	uint32_t gaps = 0;
	int rc = map ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < v->blocks && rc == 0; i++) {
		struct err why = { 0 };

		if (p && i % LOOK == 0 && p->step(p->ctx, "reading bitmaps", i, v->blocks))
			rc = -ECANCELED;
		if (rc < 0 || vhd_entry(v, i) == VHD_ABSENT)
			continue;
		switch (has_gaps(v, i, map, &why)) {
		case 0:
			break;
		case 1:
			gaps++;
			break;
		default:
			say(c, DISK_DAMAGE, "the bitmap of block %u: %s", i, why.msg);
		}
	}
	free(map);
	if (gaps && v->footer.type == VHD_DYNAMIC)
		say(c, DISK_NOTE,
		    "%u blocks are there in part; the rest of them reads zero, but some programs do not look",
		    gaps);
	return rc;
}

static void
look_at_rest(struct disk_check *c, const struct vhd *v)
{
	static const uint8_t none[GUID_BYTES];
	uint32_t behind = 0;

	for (uint32_t i = v->blocks; i < v->header.entries; i++)
		behind += vhd_entry(v, i) != VHD_ABSENT;
	if (behind)
		say(c, DISK_NOTE, "%u blocks lie behind the end of the disk: a resize was interrupted",
		    behind);
	if (v->footer.type == VHD_DIFFERENCING && memcmp(v->header.parent_id, none, GUID_BYTES) == 0)
		say(c, DISK_DAMAGE, "the header at offset %llu names no parent",
		    (unsigned long long)v->footer.data_offset);
	if (v->footer.saved_state)
		say(c, DISK_NOTE, "the disk belongs to a machine's saved state");
	if (v->faults & VHD_OLD_TRAILER)
		say(c, DISK_NOTE,
		    "the footer has 511 bytes, as before Virtual PC 2004: the disk is only read");
}

/* --- What can be repaired ---------------------------------------------------------------------------- */

static void
look_at_faults(struct disk_check *c, const struct vhd *v, enum disk_fault_kind kind)
{
	const char *now = kind == DISK_REPAIRED ? ": repaired" : "";

	if (v->faults & VHD_NO_TRAILER)
		say(c, kind, "the last footer is missing or damaged; its copy at offset 0 is good%s", now);
	if (v->faults & VHD_LOST_TRAILER)
		say(c, kind, "behind the footer at offset %llu are only zeros: growing was interrupted%s",
		    (unsigned long long)v->trailer, now);
	if (v->faults & VHD_NO_COPY)
		say(c, kind, "the footer's copy at offset 0 is missing or damaged; the last one is good%s",
		    now);
	if (v->faults & VHD_COPY_DIFFERS)
		say(c, kind, "the footer's copy at offset 0 is not the same as the last one, which counts%s",
		    now);
	if (v->faults & VHD_SLACK)
		say(c, kind, "nothing uses the file from offset %llu to %llu: it was not closed%s",
		    (unsigned long long)v->end, (unsigned long long)v->trailer, now);
}

/* Not in a damaged image: what is behind the last block may be what is missing. */
static int
repair(struct disk_check *c, struct vhd *v)
{
	unsigned bad = v->faults & ~(unsigned)VHD_OLD_TRAILER;
	struct vhd was = *v;
	struct err why = { 0 };
	int rc;

	if (!bad)
		return 0;
	if (!c->repair || c->faults[DISK_DAMAGE]) {
		look_at_faults(c, v, DISK_REPAIRABLE);
		return 0;
	}
	rc = vhd_may_change(v, &why);
	if (rc == 0)
		rc = vhd_mend(v, &why);
	look_at_faults(c, &was, rc == 0 ? DISK_REPAIRED : DISK_REPAIRABLE);
	if (rc < 0)
		say(c, DISK_NOTE, "not repaired: %s", why.msg);
	return rc == -EROFS ? 0 : rc;
}

int
vhd_check(struct disk_file *f, struct disk_check *c, const struct disk_progress *p, struct err *e)
{
	struct err why = { 0 };
	struct vhd v;
	int rc = vhd_load(&v, f, &why);

	if (rc == -EINVAL)
		return look_at_damage(c, f, &why) < 0 ? err_set(e, ENOMEM, "no memory to look at all blocks")
						      : 0;
	if (rc < 0)
		return err_set(e, -rc, "%s", why.msg);
	c->blocks = v.blocks;
	c->allocated = v.allocated;
	look_at_rest(c, &v);
	if (v.footer.type != VHD_FIXED)
		rc = look_at_bitmaps(c, &v, p);
	if (rc == 0)
		rc = repair(c, &v);
	vhd_unload(&v);
	return rc < 0 ? err_set(e, -rc, "checking: %s", strerror(-rc)) : 0;
}
