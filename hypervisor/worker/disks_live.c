/*
 * hypervisor/worker/disks_live.c - another disk under a unit while its guest runs: a new differencing image
 * on top, and merges (disk/merge.h says in which order and why, disk/mirror.h how).
 *
 * Control thread. The unit rests while its images are opened and closed: some milliseconds. Whatever fails,
 * the guest goes on with the disk that it had. Images change their part here, and their locks with it: a
 * parent is locked shared, what is written exclusively.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hypervisor/disk/lock.h"
#include "hypervisor/disk/merge.h"
#include "hypervisor/disk/mirror.h"
#include "hypervisor/worker/disks_private.h"
#include "lib/log.h"

enum { REST_MS = 10000, STEP_MS = 1 };

struct live_merge {
	struct slot *slot;
	struct mirror *mirror;
	struct disk *top, *above; /* above: the image right above the parent; it may be the top */
	struct disk *parent;
	atomic_bool told;
};

/* --- a unit that rests ------------------------------------------------------------------------------ */

struct turn {
	struct slot *slot;
	struct storage *storage;
	struct io_loop *loop;
	const struct disk_format *format;
	unsigned lun;
	struct disk *disk; /* under it */
};

static int
begin_turn(struct turn *t, struct disks *d, struct slot *s, struct err *e)
{
	const struct unit *u = &s->unit;

	*t = (struct turn){ .slot = s,
		.storage = d->controller[u->controller].storage,
		.loop = d->controller[u->controller].loop,
		.format = disk_formats[u->format],
		.lun = (unsigned)u->lun };
	return storage_rest(t->storage, t->lun, REST_MS, &t->disk, e);
}

static int
find_disk(struct disks *d, const struct unit *u, struct slot **s, struct err *e)
{
	int rc = disks_find(d, u->controller, u->lun, s, e);

	if (rc == 0 && !d->p)
		rc = err_set(
		    e, EINVAL, "the machine was not created yet: name the disk's images with disk.add");
	if (rc == 0 &&
	    ((*s)->unit.config.kind == UNIT_DVD || (*s)->unit.read_only || (*s)->unit.format == DISK_RAW))
		rc = err_set(e, EINVAL, "disk %llu:%llu is no VHD or VHDX that its guest can write to",
		    (unsigned long long)u->controller, (unsigned long long)u->lun);
	return rc;
}

static int
name(const struct slot *s, int rc, struct err *e)
{
	return err_wrap(
	    e, rc, "disk %llu:%llu", (unsigned long long)s->unit.controller, (unsigned long long)s->unit.lun);
}

static void
complain(const struct slot *s, const struct err *e, const char *what)
{
	log_msg(LOG_ERROR, "%s: disk %llu:%llu: %s: %s", s->all->p->machine->name,
	    (unsigned long long)s->unit.controller, (unsigned long long)s->unit.lun, what, e->msg);
}

/* From now on it is only read. It was closed; its tables stay. */
static void
become_parent(struct disk *d)
{
	d->read_only = true;
	disk_lock(d->file->fd, false, NULL); /* it holds more now */
}

/* The descriptor is the file's, or closed. */
static int
take_file(struct disk_file **out, struct io_loop *loop, int fd, struct err *e)
{
	int rc = disk_lock(fd, true, e);

	if (rc == 0)
		rc = file_new(out, loop, fd, false, e);
	if (rc == 0)
		(*out)->hold = disk_hold_new();
	else
		close(fd);
	return rc;
}

/* --- a child ---------------------------------------------------------------------------------------- */

static int
check_child(const struct disk_info *child, const struct disk *under, struct err *e)
{
	if (child->size != under->size)
		return err_set(e, EINVAL, "the child has %llu bytes, the disk %llu",
		    (unsigned long long)child->size, (unsigned long long)under->size);
	if (child->allocated)
		return err_set(e, EINVAL, "the child is not empty: it has %llu bytes of its own",
		    (unsigned long long)child->allocated);
	return 0;
}

static int
open_child(const struct turn *t, int fd, struct disk **out, struct err *e)
{
	struct disk_open how = { .loop = t->loop, .parent = t->disk };
	struct disk_info child = { 0 }, parent = { 0 };
	int rc = take_file(&how.file, t->loop, fd, e);

	if (rc < 0)
		return rc;
	rc = t->format->info(how.file, &child, e);
	if (rc == 0)
		rc = t->format->info(t->disk->file, &parent, e);
	if (rc == 0)
		rc = disk_parent_fits(&child, &parent, e);
	if (rc == 0)
		rc = check_child(&child, t->disk, e);
	if (rc == 0)
		rc = t->format->open(out, &how, e);
	if (rc < 0)
		file_free(how.file);
	return rc;
}

/* The top is closed first, so that its file says all that it is; a top that goes on after all is opened for
 * writing again by its next write. */
static int
put_child(struct turn *t, int fd, struct err *e)
{
	struct disk *child = NULL;
	int rc = disk_close(t->disk, e);

	if (rc < 0) {
		close(fd);
		return rc;
	}
	rc = open_child(t, fd, &child, e);
	if (rc == 0)
		rc = storage_exchange(t->storage, t->lun, child, e);
	if (rc == 0) {
		become_parent(t->disk);
		return 0;
	}
	if (child) {
		child->parent = NULL; /* it is the unit's */
		disk_free(child);
	}
	return rc;
}

int
disks_branch(struct disks *d, const struct unit *u, struct err *e)
{
	struct turn t;
	struct slot *s;
	int rc = find_disk(d, u, &s, e);

	if (rc == 0)
		rc = live_busy(s, "a child", e);
	if (rc == 0)
		rc = begin_turn(&t, d, s, e);
	if (rc != 0) {
		close(u->file);
		return rc;
	}
	rc = put_child(&t, u->file, e);
	storage_go_on(t.storage, t.lun);
	return rc < 0 ? name(s, rc, e) : 0;
}

/* --- a merge begins --------------------------------------------------------------------------------- */

struct start {
	struct turn t;
	struct disk *above, *was; /* the image right above the parent; the parent as it is only read */
	struct disk_file *file;   /* the parent's, for writing; P's when there is one */
	struct disk_file *above_for_writing; /* NULL: the top is it */
	struct disk *parent;                 /* the parent for writing */
	struct live_merge *merge;
};

static int
find_images(struct start *st, uint64_t levels, struct err *e)
{
	struct disk *d = st->t.disk;

	uint64_t i = 0;

	do {
		if (!d->parent)
			return err_set(e, EINVAL, "it has %llu parents", (unsigned long long)i);
		st->above = d;
		d = d->parent;
	} while (++i < levels);
	st->was = d;
	return 0;
}

static int
same_file(int fd, const struct disk *d, const char *which, struct err *e)
{
	struct stat a, b;

	if (file_fstat(fd, &a) < 0 || file_fstat(d->file->fd, &b) < 0)
		return err_sys(e, "%s", which);
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino
		   ? 0
		   : err_set(e, EINVAL, "%s is not the file that is in the disk's chain", which);
}

/* The descriptors of the request: taken over. Nobody else may have the two open. */
static int
open_files(struct start *st, int file, int above, struct err *e)
{
	bool other = st->above != st->t.disk;
	int rc = same_file(file, st->was, "File", e);

	if (rc == 0 && other && above < 0)
		rc = err_set(e, EINVAL, "Above: the image right above that parent is needed, for writing");
	if (rc == 0 && other)
		rc = same_file(above, st->above, "Above", e);
	if (rc < 0 || !other) {
		if (above >= 0)
			close(above);
		above = -1;
	}
	if (rc < 0) {
		close(file);
		return rc;
	}
	disk_unlock(st->was->file->fd);
	rc = take_file(&st->file, st->t.loop, file, e);
	if (above < 0)
		return rc;
	disk_unlock(st->above->file->fd);
	if (rc < 0)
		close(above);
	else
		rc = take_file(&st->above_for_writing, st->t.loop, above, e);
	return rc;
}

/* The top's file was changed under it: another one takes its place. */
static int
reopen_top(struct start *st, struct err *e)
{
	struct turn *t = &st->t;
	struct disk *old = t->disk, *new = NULL;
	struct disk_open how = { .loop = t->loop, .parent = old->parent };
	int fd = fcntl(old->file->fd, F_DUPFD_CLOEXEC, 0);
	int rc = fd < 0 ? err_sys(e, "its descriptor") : file_new(&how.file, t->loop, fd, false, e);

	if (rc == 0 && how.file) {
		how.file->hold = disk_hold_share(old->file->hold);
		rc = t->format->open(&new, &how, e);
		if (rc < 0)
			file_free(how.file);
	} else if (fd >= 0) {
		close(fd);
	}
	if (rc == 0)
		rc = storage_exchange(t->storage, t->lun, new, e);
	if (rc < 0) { /* what it knows of its file is not true any more */
		old->read_only = true;
		complain(t->slot, e, "it cannot be written to any more");
		if (new) {
			new->parent = NULL;
			disk_free(new);
		}
		return rc;
	}
	if (st->above == old)
		st->above = new;
	t->disk = new;
	old->parent = NULL;
	disk_free(old);
	return 0;
}

/* Steps 1 and 2 of merge.h. The top is closed. */
static int
change_identities(struct start *st, struct err *e)
{
	const struct disk_format *f = st->t.format;
	struct disk_file *above = st->above_for_writing ? st->above_for_writing : st->above->file;
	struct disk_info child = { 0 }, parent = { 0 };
	uint8_t next[GUID_BYTES];
	int rc = f->info(above, &child, e);

	if (rc == 0)
		rc = f->info(st->file, &parent, e);
	if (rc == 0)
		rc = disk_parent_fits(&child, &parent, e);
	if (rc == 0 && parent.saved_state)
		rc = err_set(e, EBUSY, "the parent belongs to a machine's saved state: it must not change");
	if (rc < 0 || disk_merge_is_prepared(&child, &parent))
		return rc;
	rc = disk_merge_next_id(next, e);
	if (rc < 0)
		return rc;
	rc = f->set_parent_id2(above, next, e);
	if (!st->above_for_writing) {
		struct err own = { 0 };
		int rc2 = reopen_top(st, rc < 0 ? &own : e);

		rc = rc < 0 ? rc : rc2;
	}
	return rc < 0 ? rc : f->set_data_id(st->file, next, e);
}

static void
on_told(void *ctx)
{
	struct live_merge *g = ctx;

	atomic_store(&g->told, true);
	partition_ask(g->slot->all->p, ASKED_DEVICES);
}

static void
begin_on_loop(void *arg)
{
	mirror_begin(arg);
}

/* The parent for writing takes the place of the one that was only read. */
static int
link_parent(struct start *st, struct err *e)
{
	struct disk_open how = {
		.file = st->file, .loop = st->t.loop, .parent = st->was->parent, .keep_data_id = true
	};
	int rc = st->t.format->open(&st->parent, &how, e);

	if (rc < 0)
		return rc;
	st->file = NULL; /* the disk's */
	st->above->parent = st->parent;
	st->was->parent = NULL;
	return 0;
}

static void
unlink_parent(struct start *st)
{
	st->above->parent = st->was;
	st->was->parent = st->parent->parent;
	st->parent->parent = NULL;
	disk_free(st->parent);
}

static int
put_mirror(struct start *st, struct err *e)
{
	struct mirror_how how = { .top = st->t.disk, .parent = st->parent, .told = on_told };
	struct live_merge *g = calloc(1, sizeof(*g));
	int rc;

	if (!g)
		return err_set(e, ENOMEM, "out of memory");
	how.ctx = g;
	rc = mirror_new(&g->mirror, &how, e);
	if (rc == 0)
		rc = storage_exchange(st->t.storage, st->t.lun, mirror_disk(g->mirror), e);
	if (rc < 0) {
		mirror_free(g->mirror);
		free(g);
		return rc;
	}
	g->slot = st->t.slot;
	g->top = st->t.disk;
	g->above = st->above;
	g->parent = st->parent;
	st->t.slot->merge = g;
	return 0;
}

/* On the way back, what is only read is locked so again. */
static void
give_up(struct start *st)
{
	file_free(st->file);
	if (st->was)
		disk_lock(st->was->file->fd, false, NULL);
	if (st->above && st->above != st->t.disk)
		disk_lock(st->above->file->fd, false, NULL);
}

static int
begin_merge(struct start *st, uint64_t levels, int file, int above, struct err *e)
{
	int rc = find_images(st, levels, e);

	if (rc != 0) {
		close(file);
		if (above >= 0)
			close(above);
		return rc;
	}
	rc = open_files(st, file, above, e);
	if (rc == 0)
		rc = disk_close(st->t.disk, e);
	if (rc == 0)
		rc = change_identities(st, e);
	if (rc == 0)
		rc = link_parent(st, e);
	if (rc == 0) {
		rc = put_mirror(st, e);
		if (rc < 0)
			unlink_parent(st);
	}
	file_free(st->above_for_writing);
	if (rc < 0) {
		give_up(st);
		return rc;
	}
	if (st->above != st->t.disk)
		disk_lock(st->above->file->fd, false, NULL);
	disk_free(st->was);
	return 0;
}

int
disks_merge(struct disks *d, const struct unit *u, uint64_t levels, int above, struct err *e)
{
	struct start st = { 0 };
	struct slot *s;
	int rc = find_disk(d, u, &s, e);

	if (rc == 0)
		rc = live_busy(s, "another merge", e);
	if (rc == 0)
		rc = begin_turn(&st.t, d, s, e);
	if (rc != 0) {
		close(u->file);
		if (above >= 0)
			close(above);
		return rc;
	}
	rc = begin_merge(&st, levels, u->file, above, e);
	storage_go_on(st.t.storage, st.t.lun);
	if (rc < 0)
		return name(s, rc, e);
	io_loop_call(st.t.loop, begin_on_loop, s->merge->mirror);
	return 0;
}

/* --- a merge ends ----------------------------------------------------------------------------------- */

struct look {
	const struct mirror *m;
	struct mirror_report r;
};

static void
look_on_loop(void *arg)
{
	struct look *l = arg;

	mirror_look(l->m, &l->r);
}

static struct mirror_report
look_at(const struct live_merge *g)
{
	struct look l = { .m = g->mirror };

	io_loop_call(g->top->loop, look_on_loop, &l);
	return l.r;
}

static void
cancel_on_loop(void *arg)
{
	mirror_cancel(arg);
}

/* The unit rests, and its disk is `with` alone. */
static int
leave_mirror(struct slot *s, struct disk *with, struct turn *t, struct err *e)
{
	int rc = begin_turn(t, s->all, s, e);

	if (rc < 0)
		return rc;
	rc = storage_exchange(t->storage, t->lun, with, e);
	if (rc < 0) {
		storage_go_on(t->storage, t->lun);
		return rc;
	}
	mirror_free(s->merge->mirror);
	return 0;
}

/* The top is the disk again; the parent is only read. */
static int
go_back(struct slot *s, struct err *e)
{
	struct live_merge *g = s->merge;
	struct err own = { 0 };
	struct turn t;
	int rc = leave_mirror(s, g->top, &t, e);

	if (rc < 0)
		return rc;
	if (disk_close(g->parent, &own) < 0) /* what was not written is replayed, or was never counted on */
		complain(s, &own, "the parent of the merge that has ended");
	become_parent(g->parent);
	s->merge = NULL;
	free(g);
	storage_go_on(t.storage, t.lun);
	return 0;
}

int
disks_merge_complete(struct disks *d, const struct unit *u, struct err *e)
{
	struct err own = { 0 };
	struct live_merge *g;
	struct slot *s;
	struct turn t;
	int rc = find_disk(d, u, &s, e);

	if (rc < 0)
		return rc;
	g = s->merge;
	if (!g)
		return name(s, err_set(e, EINVAL, "it is not being merged"), e);
	if (look_at(g).state != MIRROR_MERGED)
		return name(
		    s, err_set(e, EBUSY, "the merge has not come to its end: wait for \"Merged\""), e);
	rc = leave_mirror(s, g->parent, &t, e);
	if (rc < 0)
		return name(s, rc, e);
	g->above->parent = NULL; /* the disk now */
	if (disk_close(g->top, &own) < 0)
		complain(s, &own, "the image that was merged");
	disk_free(g->top);
	s->merge = NULL;
	free(g);
	storage_go_on(t.storage, t.lun);
	return 0;
}

int
disks_merge_cancel(struct disks *d, const struct unit *u, struct err *e)
{
	struct slot *s;
	int rc = find_disk(d, u, &s, e);

	if (rc < 0)
		return rc;
	if (!s->merge)
		return name(s, err_set(e, EINVAL, "it is not being merged"), e);
	io_loop_call(s->merge->top->loop, cancel_on_loop, s->merge->mirror);
	return 0;
}

static void
tell_end(struct slot *s, const struct mirror_report *r)
{
	struct news n = { .kind = r->state == MIRROR_MERGED ? NEWS_MERGED : NEWS_MERGE_ENDED,
		.controller = (unsigned)s->unit.controller,
		.lun = (unsigned)s->unit.lun };

	if (r->state == MIRROR_ENDED)
		n.text = r->why.msg;
	disks_send(s->all, &n);
}

static void
hear(struct slot *s)
{
	struct live_merge *g = s->merge;
	struct mirror_report r;
	struct err e = { 0 };

	if (!g || !atomic_exchange(&g->told, false))
		return;
	r = look_at(g);
	if (r.state == MIRROR_ENDED && go_back(s, &e) < 0) {
		/* The mirror is the top by another name: it stays until there is a better moment. */
		complain(s, &e, "its merge has ended");
		atomic_store(&g->told, true);
		return;
	}
	tell_end(s, &r);
}

void
live_work(struct disks *d)
{
	for (unsigned c = 0; c < d->controllers; c++)
		for (unsigned lun = 0; lun < STORAGE_UNITS; lun++)
			hear(&d->slot[c][lun]);
}

int
live_busy(const struct slot *s, const char *what, struct err *e)
{
	if (!s->merge)
		return 0;
	return err_set(e, EBUSY,
	    "disk %llu:%llu is being merged: %s has to wait for its end (disk.merge.complete), or cancel it",
	    (unsigned long long)s->unit.controller, (unsigned long long)s->unit.lun, what);
}

void
live_report(const struct slot *s, struct unit_report *r)
{
	struct mirror_report m;

	if (!s->merge)
		return;
	m = look_at(s->merge);
	r->merge = m.state == MIRROR_MERGED  ? MERGE_DONE
		   : m.state == MIRROR_ENDED ? MERGE_NONE
					     : MERGE_MOVING;
	r->merge_at = m.done;
	r->merge_size = m.total;
}

void
live_drop(struct slot *s)
{
	struct err e = { 0 };

	if (!s->merge)
		return;
	io_loop_call(s->merge->top->loop, cancel_on_loop, s->merge->mirror);
	while (look_at(s->merge).state != MIRROR_ENDED)
		poll(NULL, 0, STEP_MS);
	if (go_back(s, &e) < 0)
		complain(s, &e, "its merge has ended");
}
