/* hypervisor/disk/merge.c - what differencing images hold goes into the image they were made on. */
#include "hypervisor/disk/merge.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "hypervisor/disk/copy.h"
#include "hypervisor/disk/mover.h"

enum { STEP = 32 << 20 }; /* bytes between two looks at the caller's wish to go on */

/* --- before anything is written ------------------------------------------------------------------------ */

static int
check(const struct disk_chain *c, unsigned into, struct err *e)
{
	const struct disk_info *top, *parent;

	if (into == 0 || into >= c->n)
		return err_set(e, EINVAL, "%s has %u images above it in its chain, not %u", c->link[0]->path,
		    c->n - 1, into);
	top = &c->link[0]->info;
	parent = &c->link[into]->info;
	if (top->size != parent->size)
		return err_set(e, EINVAL,
		    "%s has %llu bytes, %s has %llu: images of different sizes are not merged (convert makes "
		    "one of "
		    "them)",
		    c->link[0]->path, (unsigned long long)top->size, c->link[into]->path,
		    (unsigned long long)parent->size);
	if (parent->saved_state)
		return err_set(e, EBUSY, "%s belongs to a machine's saved state: it must not change",
		    c->link[into]->path);
	return 0;
}

/* --- identities ---------------------------------------------------------------------------------------- */

typedef int set_id(struct disk_file *f, const uint8_t *next, struct err *e);

static int
set(struct disk_chain *c, unsigned n, set_id *fn, const uint8_t *next, struct err *e)
{
	struct disk_file *f;
	int rc = disk_chain_file(&f, c, n, true, e);

	if (rc < 0)
		return rc;
	rc = fn(f, next, e);
	file_free(f);
	if (rc < 0)
		return err_wrap(e, rc, "%s", c->link[n]->path);
	return disk_chain_reread(c, n, e);
}

bool
disk_merge_is_prepared(const struct disk_info *child, const struct disk_info *parent)
{
	static const uint8_t none[GUID_BYTES];

	return memcmp(child->parent_id2, none, GUID_BYTES) != 0 &&
	       memcmp(child->parent_id2, parent->data_id, GUID_BYTES) == 0;
}

int
disk_merge_next_id(uint8_t next[GUID_BYTES], struct err *e)
{
	if (getrandom(next, GUID_BYTES, 0) != GUID_BYTES)
		return err_sys(e, "a new identity");
	next[6] = (uint8_t)((next[6] & 0x0f) | 0x40); /* RFC 4122: version 4, of random bits */
	next[8] = (uint8_t)((next[8] & 0x3f) | 0x80);
	return 0;
}

static int
change_identity(struct disk_chain *c, unsigned into, struct err *e)
{
	const struct disk_format *f = disk_formats[c->link[into]->info.format];
	uint8_t next[GUID_BYTES];
	int rc;

	if (!f->set_parent_id2 || disk_merge_is_prepared(&c->link[into - 1]->info, &c->link[into]->info))
		return 0;
	rc = disk_merge_next_id(next, e);
	if (rc == 0)
		rc = set(c, into - 1, f->set_parent_id2, next, e);
	return rc < 0 ? rc : set(c, into, f->set_data_id, next, e);
}

int
disk_merge_prepare(struct disk_chain *c, unsigned into, struct err *e)
{
	int rc = check(c, into, e);

	if (rc == 0)
		rc = disk_chain_rewrite(c, into - 1, e);
	if (rc == 0)
		rc = disk_chain_rewrite(c, into, e);
	if (rc == 0) /* for a moment it was not locked */
		rc = disk_parent_fits(&c->link[into - 1]->info, &c->link[into]->info, e);
	return rc < 0 ? rc : change_identity(c, into, e);
}

/* --- content ------------------------------------------------------------------------------------------- */

static int
move_all(struct mover *m, uint64_t size, const struct disk_progress *p, struct err *e)
{
	int rc = 0;

	for (uint64_t at = 0; at < size && rc == 0;) {
		uint64_t len = size - at < STEP ? size - at : STEP;

		if (disk_cancelled(p, "merge", at, size, e))
			return -ECANCELED;
		rc = mover_wait(m, at, len, e);
		at += len;
	}
	return rc;
}

static int
flush(struct disk *d, struct err *e)
{
	const struct disk_io io = { .op = DISK_FLUSH };
	int rc = disk_wait(d, &io);

	return rc < 0 ? err_set(e, -rc, "it cannot be brought to the disk: %s", strerror(-rc)) : 0;
}

static int
move(struct disk *top, struct disk *parent, const struct disk_progress *p, struct err *e)
{
	const struct mover_how how = { .from = top, .stop = parent, .to = parent };
	struct mover *m;
	int rc = mover_new(&m, &how, e);

	if (rc < 0)
		return rc;
	rc = move_all(m, top->size, p, e);
	mover_free(m);
	return rc == 0 ? flush(parent, e) : rc;
}

/* Also what was moved before it was broken off is put in order. */
static int
close_parent(struct disk *parent, int rc, struct err *e)
{
	struct err ignored = { 0 };
	int closed = disk_close(parent, rc < 0 ? &ignored : e);

	return rc < 0 ? rc : closed;
}

int
disk_merge(
    struct disk_chain *c, unsigned into, struct io_loop *loop, const struct disk_progress *p, struct err *e)
{
	struct disk_stack lower = { .from = into, .loop = loop, .write = true, .keep_id = true };
	struct disk_stack upper = { .to = into, .loop = loop };
	struct disk *parent = NULL, *top = NULL;
	int rc = disk_merge_prepare(c, into, e);

	if (rc < 0)
		return rc;
	rc = disk_chain_disk(&parent, c, &lower, e);
	if (rc < 0)
		return rc;
	upper.below = parent;
	rc = disk_chain_disk(&top, c, &upper, e);
	if (rc < 0)
		return rc;
	rc = close_parent(parent, move(top, parent, p, e), e);
	disk_free(top);
	if (rc < 0 && rc != -ECANCELED)
		return err_wrap(e, rc, "%s", c->link[into]->path);
	return rc < 0 ? rc : disk_chain_reread(c, into, e);
}
