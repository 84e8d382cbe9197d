/* hypervisor/disk/layers.c - which file of a chain holds what a reader of the disk sees. */
#include "hypervisor/disk/layers.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/disk/image.h"

static int
ask(struct disk *d, bool live, uint64_t offset, uint64_t len, struct extent *x, struct err *e)
{
	struct image *i = d->ops->submit == image_submit ? (struct image *)d : NULL;
	int rc;

	if (!live)
		return d->ops->extent(d, offset, len, x, e);
	if (!i) { /* no tables */
		*x = (struct extent){ .kind = EXTENT_DATA, .at = offset, .len = len };
		return 0;
	}
	rc = i->ops->map(i, offset, len, x);
	if (rc < 0 && rc != -EAGAIN)
		err_set(e, -rc, "offset %llu: its table cannot be read: %s", (unsigned long long)offset,
		    strerror(-rc));
	return rc;
}

/* Data whose place in the host's file is a hole reads zero. Only whole sectors count. */
static void
look_for_hole(const struct layer_find *how, struct layer_extent *x)
{
	uint64_t sector = how->top->logical, alike = x->len;
	bool hole = file_is_hole(x->owner->file, x->at, x->len, &alike);

	if (hole && alike < sector) {
		hole = false;
		alike = sector;
	}
	alike = hole ? alike / sector * sector : (alike + sector - 1) / sector * sector;
	if (alike < x->len)
		x->len = alike;
	if (hole)
		x->kind = EXTENT_ZERO;
}

int
layer_find(const struct layer_find *how, uint64_t offset, uint64_t len, struct layer_extent *x, struct err *e)
{
	const uint64_t sector = how->top->logical;
	struct disk *d = how->top;
	struct extent one = { .kind = EXTENT_PARENT, .len = len };

	for (; d != how->stop && d && offset < d->size; d = d->parent) {
		int rc;

		if (one.len > d->size - offset)
			one.len = d->size - offset;
		rc = ask(d, how->live, offset, one.len, &one, e);
		if (rc < 0)
			return rc;
		if (one.len == 0 || one.len % sector)
			return err_set(e, EIO,
			    "offset %llu: a piece of %llu bytes: expected are whole sectors",
			    (unsigned long long)offset, (unsigned long long)one.len);
		if (one.kind != EXTENT_PARENT)
			break;
	}
	if (one.kind == EXTENT_PARENT && (d != how->stop || !d))
		one.kind = EXTENT_ZERO; /* behind the end of the last */
	*x = (struct layer_extent){ one.kind, d, one.at, one.len };
	/* Whoever has no tables has looked for holes itself. */
	if (x->kind == EXTENT_DATA && how->holes && !how->live && d && d->ops->submit == image_submit)
		look_for_hole(how, x);
	return 0;
}
